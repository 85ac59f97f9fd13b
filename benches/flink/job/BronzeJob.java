import java.time.Duration;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.serialization.SerializationSchema;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.datastream.SingleOutputStreamOperator;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.ProcessFunction;
import org.apache.flink.table.data.RowData;
import org.apache.flink.util.Collector;
import org.apache.flink.util.OutputTag;
import org.apache.iceberg.DistributionMode;
import org.apache.iceberg.flink.FlinkSchemaUtil;
import org.apache.iceberg.flink.TableLoader;
import org.apache.iceberg.flink.sink.FlinkSink;
import org.apache.iceberg.flink.util.FlinkCompatibilityUtil;

/**
 * The opponent: Kafka, watermark, keyed deduplication, late flag, Iceberg, as a team that knows Flink well
 * would write and tune it. Dead letters go to a topic.
 *
 * <p>Arguments: {@code --bootstrap-servers S --topic T --dead-letters T --warehouse DIR [--bounded]}.
 */
public final class BronzeJob {
    private static final OutputTag<Event> INVALID = new OutputTag<>("invalid", new EventSerializer.Info()) {};

    private BronzeJob() {}

    public static void main(String[] args) throws Exception {
        Map<String, String> options = new HashMap<>();
        for (int i = 0; i < args.length; i++) {
            boolean hasValue = i + 1 < args.length && !args[i + 1].startsWith("--");
            options.put(args[i], hasValue ? args[++i] : "");
        }
        String servers = options.get("--bootstrap-servers");
        StreamExecutionEnvironment environment = StreamExecutionEnvironment.getExecutionEnvironment();

        var source = KafkaSource.<Event>builder()
                .setBootstrapServers(servers)
                .setTopics(options.get("--topic"))
                .setGroupId("flink-" + options.get("--topic"))
                .setStartingOffsets(OffsetsInitializer.earliest())
                .setProperty("isolation.level", "read_committed")
                .setProperty("fetch.max.bytes", String.valueOf(64 << 20))
                .setProperty("max.partition.fetch.bytes", String.valueOf(8 << 20))
                .setProperty("max.poll.records", "5000")
                .setDeserializer(new ParseRecords());
        if (options.containsKey("--bounded")) {
            source.setBounded(OffsetsInitializer.latest());
        }
        WatermarkStrategy<Event> watermarks = WatermarkStrategy.<Event>forBoundedOutOfOrderness(Duration.ofMinutes(5))
                .withTimestampAssigner((event, timestamp) -> Math.floorDiv(event.eventTime, 1000L))
                .withIdleness(Duration.ofSeconds(30));

        SingleOutputStreamOperator<Event> events = environment
                .fromSource(source.build(), watermarks, "read", new EventSerializer.Info())
                .process(new SplitOffInvalid())
                .returns(new EventSerializer.Info())
                .name("valid");
        SingleOutputStreamOperator<RowData> rows = events
                .keyBy(event -> new EventKey(event.hashHigh, event.hashLow), new EventKey.Info())
                .process(new Deduplicate())
                .returns(FlinkCompatibilityUtil.toTypeInfo(FlinkSchemaUtil.convert(BronzeTable.SCHEMA)))
                .name("deduplicate");

        String location = BronzeTable.create(options.get("--warehouse"));
        FlinkSink.forRowData(rows)
                .tableLoader(TableLoader.fromHadoopTable(location))
                .distributionMode(DistributionMode.NONE)
                .append();

        DataStream<Event> dead = events.getSideOutput(INVALID).union(rows.getSideOutput(Deduplicate.TOO_LATE));
        dead.sinkTo(deadLetters(servers, options.get("--dead-letters"))).name("dead letters");
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

    private static KafkaSink<Event> deadLetters(String servers, String topic) {
        return KafkaSink.<Event>builder()
                .setBootstrapServers(servers)
                .setDeliveryGuarantee(DeliveryGuarantee.AT_LEAST_ONCE)
                .setRecordSerializer(KafkaRecordSerializationSchema.<Event>builder()
                        .setTopic(topic)
                        .setValueSerializationSchema(new OriginalPayload())
                        .build())
                .build();
    }
}
