import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.sink.DiscardingSink;
import org.apache.flink.streaming.api.functions.source.SourceFunction;

/** Counts for ever and sums up by key: a job of Flink itself, for tests of the cluster. */
public class Numbers {
  static class Count implements SourceFunction<Long> {
    private volatile boolean running = true;

    @Override
    public void run(SourceContext<Long> context) throws Exception {
      for (long i = 0; running; i++) {
        synchronized (context.getCheckpointLock()) {
          context.collect(i);
        }
        Thread.sleep(1);
      }
    }

    @Override
    public void cancel() {
      running = false;
    }
  }

  public static void main(String[] args) throws Exception {
    StreamExecutionEnvironment env = StreamExecutionEnvironment.getExecutionEnvironment();
    env.enableCheckpointing(500);
    env.addSource(new Count()).name("numbers").keyBy(x -> x % 10).reduce(Long::sum).name("sum").addSink(new DiscardingSink<>()).name("out");
    env.execute("numbers");
  }
}
