import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.serialization.SerializationSchema;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.streaming.api.datastream.SingleOutputStreamOperator;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.table.data.RowData;
import org.apache.flink.util.OutputTag;
import org.apache.iceberg.DistributionMode;
import org.apache.iceberg.Schema;
import org.apache.iceberg.catalog.TableIdentifier;
import org.apache.iceberg.flink.FlinkSchemaUtil;
import org.apache.iceberg.flink.TableLoader;
import org.apache.iceberg.flink.sink.FlinkSink;
import org.apache.iceberg.flink.util.FlinkCompatibilityUtil;

/** What {@link RawAvroJob} and {@link DebeziumJob} have in common; the settings are those of {@link BronzeJob}. */
final class FlatJob {
    private FlatJob() {}

    /** {@code --name VALUE} and {@code --name} alone. */
    static Map<String, String> options(String[] args) {
        Map<String, String> options = new HashMap<>();
        for (int i = 0; i < args.length; i++) {
            boolean hasValue = i + 1 < args.length && !args[i + 1].startsWith("--");
            options.put(args[i], hasValue ? args[++i] : "");
        }
        return options;
    }

    static void run(
            Map<String, String> options,
            FlatParser parser,
            FlatRecordInfo info,
            TableIdentifier table,
            List<FlatColumn> own)
            throws Exception {
        String servers = options.get("--bootstrap-servers");
        StreamExecutionEnvironment environment = StreamExecutionEnvironment.getExecutionEnvironment();
        var source = KafkaSource.<FlatRecord>builder()
                .setBootstrapServers(servers)
                .setTopics(options.get("--topic"))
                .setGroupId("flink-" + options.get("--topic"))
                .setStartingOffsets(OffsetsInitializer.earliest())
                .setProperty("isolation.level", "read_committed")
                .setProperty("fetch.max.bytes", String.valueOf(64 << 20))
                .setProperty("max.partition.fetch.bytes", String.valueOf(8 << 20))
                .setProperty("max.poll.records", "5000")
                .setDeserializer(new ParseFlat(parser, info));
        if (options.containsKey("--bounded")) {
            source.setBounded(OffsetsInitializer.latest());
        }
        WatermarkStrategy<FlatRecord> watermarks = WatermarkStrategy
                .<FlatRecord>forBoundedOutOfOrderness(Duration.ofMinutes(5))
                .withTimestampAssigner((record, timestamp) -> Math.floorDiv(record.eventTime, 1000L))
                .withIdleness(Duration.ofSeconds(30));
        OutputTag<FlatRecord> dead = new OutputTag<>("dead", info);
        List<FlatColumn> columns = FlatColumn.withMetadata(own);
        Schema schema = FlatColumn.schema(columns);

        SingleOutputStreamOperator<FlatRecord> records = environment
                .fromSource(source.build(), watermarks, "read", info)
                .process(new JudgeLateness(dead))
                .returns(info)
                .name("valid");
        SingleOutputStreamOperator<RowData> rows = records
                .keyBy(record -> new EventKey(record.hashHigh, record.hashLow), new EventKey.Info())
                .process(new DeduplicateFlat(columns))
                .returns(FlinkCompatibilityUtil.toTypeInfo(FlinkSchemaUtil.convert(schema)))
                .name("deduplicate");
        FlinkSink.forRowData(rows)
                .tableLoader(TableLoader.fromHadoopTable(BronzeTable.create(options.get("--warehouse"), table, schema)))
                .distributionMode(DistributionMode.NONE)
                .append();
        records.getSideOutput(dead)
                .sinkTo(KafkaSink.<FlatRecord>builder()
                        .setBootstrapServers(servers)
                        .setDeliveryGuarantee(DeliveryGuarantee.AT_LEAST_ONCE)
                        .setRecordSerializer(KafkaRecordSerializationSchema.<FlatRecord>builder()
                                .setTopic(options.get("--dead-letters"))
                                .setValueSerializationSchema(new OriginalPayload())
                                .build())
                        .build())
                .name("dead letters");
        environment.execute(table.name());
    }

    /** A dead letter keeps the bytes it came with. */
    private static final class OriginalPayload implements SerializationSchema<FlatRecord> {
        @Override
        public byte[] serialize(FlatRecord record) {
            return record.original;
        }
    }
}
