import java.util.Arrays;
import org.apache.flink.api.common.serialization.SerializationSchema;
import org.apache.flink.streaming.api.datastream.SingleOutputStreamOperator;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.ProcessFunction;
import org.apache.flink.table.data.RowData;
import org.apache.flink.util.Collector;
import org.apache.flink.util.OutputTag;
import org.apache.iceberg.DistributionMode;
import org.apache.iceberg.flink.FlinkSchemaUtil;
import org.apache.iceberg.flink.sink.FlinkSink;
import org.apache.iceberg.flink.util.FlinkCompatibilityUtil;

/**
 * The opponent: Kafka, watermark, keyed deduplication, late flag, Iceberg, as a team that knows Flink well
 * would write and tune it. Dead letters go to a topic.
 *
 * <p>Arguments: those of {@link Settings}.
 */
public final class BronzeJob {
    private static final OutputTag<Event> INVALID = new OutputTag<>("invalid", new EventSerializer.Info()) {};

    private BronzeJob() {}

    public static void main(String[] args) throws Exception {
        Settings settings = new Settings(args);
        StreamExecutionEnvironment environment = StreamExecutionEnvironment.getExecutionEnvironment();
        SingleOutputStreamOperator<Event> events = environment
                .fromSource(
                        settings.source(new ParseRecords()),
                        Settings.watermarks(),
                        "read",
                        new EventSerializer.Info())
                .process(new SplitOffInvalid())
                .returns(new EventSerializer.Info())
                .name("valid");
        SingleOutputStreamOperator<RowData> rows = events
                .keyBy(event -> new EventKey(event.hashHigh, event.hashLow), new EventKey.Info())
                .process(new Deduplicate())
                .returns(FlinkCompatibilityUtil.toTypeInfo(FlinkSchemaUtil.convert(BronzeTable.SCHEMA)))
                .name("deduplicate");

        FlinkSink.forRowData(rows)
                .tableLoader(BronzeTable.loader(settings, BronzeTable.NAME, BronzeTable.SCHEMA))
                .distributionMode(DistributionMode.NONE)
                .append();

        events.getSideOutput(INVALID)
                .union(rows.getSideOutput(Deduplicate.TOO_LATE))
                .sinkTo(settings.deadLetters(new OriginalPayload()))
                .name("dead letters");
        environment.execute("bronze");
    }

    /** Sends what is no event to the side. */
    private static final class SplitOffInvalid extends ProcessFunction<Event, Event> {
        @Override
        public void processElement(Event event, Context context, Collector<Event> out) {
            if (event.problem == null) {
                out.collect(event);
            } else {
                context.output(INVALID, event);
            }
        }
    }

    /** A dead letter keeps the bytes it came with. */
    private static final class OriginalPayload implements SerializationSchema<Event> {
        @Override
        public byte[] serialize(Event event) {
            return Arrays.copyOf(event.bytes, event.length);
        }
    }
}
