import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.apache.iceberg.PartitionSpec;
import org.apache.iceberg.Schema;
import org.apache.iceberg.catalog.Namespace;
import org.apache.iceberg.catalog.TableIdentifier;
import org.apache.iceberg.hadoop.HadoopCatalog;
import org.apache.iceberg.types.Types;

/** The table, with the columns of Strandline's Bronze table but its epoch, which Flink has no like of. */
final class BronzeTable {
    static final TableIdentifier NAME = TableIdentifier.of("bronze", "conversion_events");

    static final Schema SCHEMA = new Schema(
            Types.NestedField.required(1, "event_id", Types.StringType.get()),
            Types.NestedField.optional(2, "event_type", Types.StringType.get()),
            Types.NestedField.required(3, "event_time", Types.TimestampType.withZone()),
            Types.NestedField.optional(4, "user_id", Types.StringType.get()),
            Types.NestedField.optional(5, "session_id", Types.StringType.get()),
            Types.NestedField.optional(6, "input_value", Types.IntegerType.get()),
            Types.NestedField.optional(7, "roman_numeral", Types.StringType.get()),
            Types.NestedField.optional(8, "response_time_ms", Types.DoubleType.get()),
            Types.NestedField.optional(9, "source", Types.StringType.get()),
            Types.NestedField.required(10, "is_late_arrival", Types.BooleanType.get()),
            Types.NestedField.required(11, "kafka_topic", Types.StringType.get()),
            Types.NestedField.required(12, "kafka_partition", Types.IntegerType.get()),
            Types.NestedField.required(13, "kafka_offset", Types.LongType.get()),
            Types.NestedField.optional(14, "kafka_timestamp", Types.TimestampType.withZone()),
            Types.NestedField.required(15, "ingested_at", Types.TimestampType.withZone()),
            Types.NestedField.optional(16, "ingest_watermark", Types.TimestampType.withZone()));

    private BronzeTable() {}

    /** Creates a table when it is missing, with the properties of all; returns where it is. */
    static String create(String warehouse, TableIdentifier name, Schema schema) throws java.io.IOException {
        try (HadoopCatalog catalog = new HadoopCatalog(new Configuration(), warehouse)) {
            if (!catalog.tableExists(name)) {
                PartitionSpec spec = PartitionSpec.builderFor(schema).day("event_time").build();
                catalog.createTable(
                        name,
                        schema,
                        spec,
                        Map.of(
                                "format-version", "2",
                                "write.parquet.compression-codec", "zstd",
                                "write.parquet.compression-level", "1",
                                // The ids do not repeat: a dictionary of them only costs.
                                "write.parquet.dict-size-bytes", "1024",
                                "write.metadata.delete-after-commit.enabled", "true"));
            }
            return catalog.loadTable(name).location();
        }
    }
}
