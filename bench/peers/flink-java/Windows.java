import java.time.Instant;
import java.util.concurrent.locks.LockSupport;
import org.apache.flink.api.common.functions.AggregateFunction;
import org.apache.flink.api.common.serialization.SimpleStringEncoder;
import org.apache.flink.api.common.state.ListState;
import org.apache.flink.api.common.state.ListStateDescriptor;
import org.apache.flink.api.common.typeinfo.PrimitiveArrayTypeInfo;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.java.tuple.Tuple3;
import org.apache.flink.api.java.utils.ParameterTool;
import org.apache.flink.connector.file.sink.FileSink;
import org.apache.flink.core.fs.Path;
import org.apache.flink.runtime.state.FunctionInitializationContext;
import org.apache.flink.runtime.state.FunctionSnapshotContext;
import org.apache.flink.runtime.state.hashmap.HashMapStateBackend;
import org.apache.flink.streaming.api.CheckpointingMode;
import org.apache.flink.streaming.api.checkpoint.CheckpointedFunction;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.sink.filesystem.bucketassigners.BasePathBucketAssigner;
import org.apache.flink.streaming.api.functions.sink.filesystem.rollingpolicies.OnCheckpointRollingPolicy;
import org.apache.flink.streaming.api.functions.source.RichParallelSourceFunction;
import org.apache.flink.streaming.api.functions.windowing.ProcessWindowFunction;
import org.apache.flink.streaming.api.watermark.Watermark;
import org.apache.flink.streaming.api.windowing.assigners.TumblingEventTimeWindows;
import org.apache.flink.streaming.api.windowing.time.Time;
import org.apache.flink.streaming.api.windowing.windows.TimeWindow;
import org.apache.flink.util.Collector;

/** The job of bench/flink/windows.yaml as a Java programmer would write it for Flink: the same records, windows and results. */
public final class Windows {
  public static void main(String[] args) throws Exception {
    ParameterTool p = ParameterTool.fromArgs(args);
    StreamExecutionEnvironment env = StreamExecutionEnvironment.getExecutionEnvironment();
    env.setParallelism(p.getInt("parallelism", 2));
    env.enableCheckpointing(p.getLong("interval", 10_000), CheckpointingMode.EXACTLY_ONCE);
    env.getConfig().enableObjectReuse();
    if (p.get("state", "cluster").equals("heap")) {
      env.setStateBackend(new HashMapStateBackend());
    }
    env.addSource(new Numbers(p.getInt("keys"), p.getLong("start"), p.getLong("step", 1_000), p.getBoolean("live", false)), "numbers")
        .returns(Types.TUPLE(Types.STRING, Types.LONG, PrimitiveArrayTypeInfo.BYTE_PRIMITIVE_ARRAY_TYPE_INFO))
        .keyBy(r -> r.f0, Types.STRING)
        .window(TumblingEventTimeWindows.of(Time.seconds(1)))
        .aggregate(new Count(), new Result(p.getBoolean("live", false)))
        .name("counted")
        .sinkTo(
            FileSink.forRowFormat(new Path(p.get("out")), new SimpleStringEncoder<String>())
                .withBucketAssigner(new BasePathBucketAssigner<>())
                .withRollingPolicy(OnCheckpointRollingPolicy.build())
                .build())
        .name("out");
    env.execute("bench-flink-java");
  }

  /** Makes records up as adf's generate does: record n has the event time start + n steps, a key and text of 85 bytes that a hash picks. */
  static final class Numbers extends RichParallelSourceFunction<Tuple3<String, Long, byte[]>> implements CheckpointedFunction {
    private static final int BATCH = 1024;
    private static final int TEXTS = 1 << 12;
    private final int keys;
    private final long start; // ms
    private final long step; // ns
    private final boolean live; // a record is made when its event time has come
    private volatile boolean running = true;
    private transient ListState<Long> saved;
    private long next = -1;

    Numbers(int keys, long start, long step, boolean live) {
      this.keys = keys;
      this.start = start;
      this.step = step;
      this.live = live;
    }

    @Override
    public void run(SourceContext<Tuple3<String, Long, byte[]>> to) {
      int of = getRuntimeContext().getNumberOfParallelSubtasks();
      if (next < 0) {
        next = getRuntimeContext().getIndexOfThisSubtask();
      }
      String[] names = new String[keys];
      for (int i = 0; i < keys; i++) {
        names[i] = "k" + i;
      }
      byte[][] texts = new byte[TEXTS][85];
      for (int i = 0; i < TEXTS; i++) {
        for (int j = 0; j < 85; j++) {
          texts[i][j] = (byte) ('a' + Long.remainderUnsigned(mix(i * 85L + j), 26));
        }
      }
      Tuple3<String, Long, byte[]> record = new Tuple3<>();
      while (running) {
        synchronized (to.getCheckpointLock()) {
          long at = 0;
          long now = live ? System.currentTimeMillis() : 0;
          int made = 0;
          for (; made < BATCH; made++) {
            long due = start + next * step / 1_000_000;
            if (live && due > now) {
              break;
            }
            at = due;
            long hash = mix(next);
            record.f0 = names[(int) Math.multiplyHigh(hash >>> 1, 2L * keys)];
            record.f1 = at;
            record.f2 = texts[(int) (hash & (TEXTS - 1))];
            to.collectWithTimestamp(record, at);
            next += of;
          }
          if (made > 0) {
            to.emitWatermark(new Watermark(at - 1));
          }
          if (made == BATCH) {
            continue;
          }
        }
        LockSupport.parkNanos(1_000_000);
      }
    }

    private static long mix(long x) {
      x += 0x9e3779b97f4a7c15L;
      x = (x ^ x >>> 30) * 0xbf58476d1ce4e5b9L;
      x = (x ^ x >>> 27) * 0x94d049bb133111ebL;
      return x ^ x >>> 31;
    }

    @Override
    public void cancel() {
      running = false;
    }

    @Override
    public void snapshotState(FunctionSnapshotContext c) throws Exception {
      saved.update(java.util.Collections.singletonList(next));
    }

    @Override
    public void initializeState(FunctionInitializationContext c) throws Exception {
      saved = c.getOperatorStateStore().getListState(new ListStateDescriptor<>("next", Types.LONG));
      for (Long n : saved.get()) {
        next = n;
      }
    }
  }

  static final class Count implements AggregateFunction<Tuple3<String, Long, byte[]>, Long, Long> {
    @Override
    public Long createAccumulator() {
      return 0L;
    }

    @Override
    public Long add(Tuple3<String, Long, byte[]> r, Long n) {
      return n + 1;
    }

    @Override
    public Long getResult(Long n) {
      return n;
    }

    @Override
    public Long merge(Long a, Long b) {
      return a + b;
    }
  }

  static final class Result extends ProcessWindowFunction<Long, String, String, TimeWindow> {
    private final boolean emitted; // results tell when they were there
    private transient long of;
    private transient String window;

    Result(boolean emitted) {
      this.emitted = emitted;
    }

    @Override
    public void process(String key, Context c, Iterable<Long> counts, Collector<String> out) {
      if (window == null || of != c.window().getStart()) {
        of = c.window().getStart();
        window = ",\"window_start\":\"" + Instant.ofEpochMilli(of) + "\",\"window_end\":\"" + Instant.ofEpochMilli(c.window().getEnd()) + "\",\"records\":";
      }
      out.collect("{\"key\":\"" + key + "\"" + window + counts.iterator().next() + (emitted ? ",\"emitted\":" + System.currentTimeMillis() + "}" : "}"));
    }
  }
}
