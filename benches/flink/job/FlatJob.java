import java.util.List;
import org.apache.flink.api.common.serialization.SerializationSchema;
import org.apache.flink.streaming.api.datastream.SingleOutputStreamOperator;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.table.data.RowData;
import org.apache.flink.util.OutputTag;
import org.apache.iceberg.DistributionMode;
import org.apache.iceberg.Schema;
import org.apache.iceberg.catalog.TableIdentifier;
import org.apache.iceberg.flink.FlinkSchemaUtil;
import org.apache.iceberg.flink.sink.FlinkSink;
import org.apache.iceberg.flink.util.FlinkCompatibilityUtil;

/** What {@link RawAvroJob} and {@link DebeziumJob} have in common. */
final class FlatJob {
    private FlatJob() {}

    static void run(
            Settings settings, FlatParser parser, FlatRecordInfo info, TableIdentifier table, List<FlatColumn> own)
            throws Exception {
        StreamExecutionEnvironment environment = StreamExecutionEnvironment.getExecutionEnvironment();
        OutputTag<FlatRecord> dead = new OutputTag<>("dead", info);
        List<FlatColumn> columns = FlatColumn.withMetadata(own);
        Schema schema = FlatColumn.schema(columns);

        SingleOutputStreamOperator<FlatRecord> records = environment
                .fromSource(settings.source(new ParseFlat(parser, info)), Settings.watermarks(), "read", info)
                .process(new JudgeLateness(dead))
                .returns(info)
                .name("valid");
        SingleOutputStreamOperator<RowData> rows = records
                .keyBy(record -> new EventKey(record.hashHigh, record.hashLow), new EventKey.Info())
                .process(new DeduplicateFlat(columns))
                .returns(FlinkCompatibilityUtil.toTypeInfo(FlinkSchemaUtil.convert(schema)))
                .name("deduplicate");
        FlinkSink.forRowData(rows)
                .tableLoader(BronzeTable.loader(settings, table, schema))
                .distributionMode(DistributionMode.NONE)
                .append();
        records.getSideOutput(dead)
                .sinkTo(settings.deadLetters(new OriginalPayload()))
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
