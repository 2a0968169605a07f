import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.Scanner;
import org.apache.beam.runners.flink.translation.types.EncodedValueComparator;
import org.apache.beam.runners.flink.translation.types.KvKeySelector;
import org.apache.beam.runners.flink.translation.wrappers.streaming.FlinkKeyUtils;
import org.apache.beam.runners.flink.translation.wrappers.streaming.KvToByteBufferKeySelector;
import org.apache.beam.sdk.coders.ByteArrayCoder;
import org.apache.beam.sdk.util.WindowedValue;
import org.apache.beam.sdk.values.KV;
import org.apache.beam.vendor.guava.v32_1_2_jre.com.google.common.hash.Hashing;
import org.apache.flink.runtime.state.KeyGroupRangeAssignment;
import org.apache.flink.util.MathUtils;

/**
 * Says where Flink and Beam's runner put keys. Reads lines "KEY GROUPS", the key in hexadecimal digits, and writes for each the group of a streaming job by the
 * runner's key of Beam 2.62, the one by that of 2.70 (its FlinkKey.hashCode), and the channel of a batch job.
 *
 * java -cp RUNNER.jar:flink-dist.jar Placed.java
 */
public class Placed {
  public static void main(String[] args) throws Exception {
    KvToByteBufferKeySelector<byte[], byte[]> streaming = new KvToByteBufferKeySelector<>(ByteArrayCoder.of(), null);
    KvKeySelector<byte[], byte[]> batch = new KvKeySelector<>(ByteArrayCoder.of());
    EncodedValueComparator comparator = new EncodedValueComparator(true);
    Scanner in = new Scanner(System.in, StandardCharsets.UTF_8);
    while (in.hasNext()) {
      byte[] key = HexFormat.of().parseHex(in.next());
      int groups = in.nextInt();
      WindowedValue<KV<byte[], byte[]>> element = WindowedValue.valueInGlobalWindow(KV.of(key, new byte[0]));
      int buffer = KeyGroupRangeAssignment.assignToKeyGroup(streaming.getKey(element), groups);
      byte[] encoded = FlinkKeyUtils.encodeKey(key, ByteArrayCoder.of()).array();
      int murmur = KeyGroupRangeAssignment.assignToKeyGroup(Hashing.murmur3_128().hashBytes(encoded).asInt(), groups);
      int channel = MathUtils.murmurHash(comparator.hash(batch.getKey(element))) % groups;
      System.out.println(buffer + " " + murmur + " " + channel);
    }
  }
}
