import java.io.IOException;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.apache.iceberg.PartitionSpec;
import org.apache.iceberg.Schema;
import org.apache.iceberg.Table;
import org.apache.iceberg.catalog.Catalog;
import org.apache.iceberg.catalog.TableIdentifier;
import org.apache.iceberg.flink.CatalogLoader;
import org.apache.iceberg.flink.TableLoader;
import org.apache.iceberg.hadoop.HadoopCatalog;
import org.apache.iceberg.hadoop.HadoopFileIO;
import org.apache.iceberg.rest.RESTCatalog;
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

    /**
     * Creates a table when it is missing; returns what the sink loads it with. It is in the REST catalog of {@code
     * --catalog-uri}; without that, in the folder {@code --warehouse}. Its name is {@code --table}, or {@code usual}.
     */
    static TableLoader loader(Settings settings, TableIdentifier usual, Schema schema) throws IOException {
        String table = settings.get("--table");
        TableIdentifier name = table == null ? usual : TableIdentifier.parse(table);
        Configuration hadoop = new Configuration();
        String uri = settings.get("--catalog-uri");
        if (uri == null) {
            try (HadoopCatalog catalog = new HadoopCatalog(hadoop, settings.get("--warehouse"))) {
                return TableLoader.fromHadoopTable(create(catalog, name, schema).location());
            }
        }
        CatalogLoader rest = CatalogLoader.rest(
                "rest",
                hadoop,
                Map.of(
                        "uri", uri,
                        // The catalog's tables are in a folder, too.
                        "io-impl", HadoopFileIO.class.getName(),
                        // A request more for each commit, which nobody reads.
                        "rest-metrics-reporting-enabled", "false"));
        try (RESTCatalog catalog = (RESTCatalog) rest.loadCatalog()) {
            if (!catalog.namespaceExists(name.namespace())) {
                catalog.createNamespace(name.namespace());
            }
            create(catalog, name, schema);
        }
        return TableLoader.fromCatalog(rest, name);
    }

    /** The table, with the properties of all when it has to be created. */
    private static Table create(Catalog catalog, TableIdentifier name, Schema schema) {
        if (catalog.tableExists(name)) {
            return catalog.loadTable(name);
        }
        return catalog.createTable(
                name,
                schema,
                PartitionSpec.builderFor(schema).day("event_time").build(),
                Map.of(
                        "format-version", "2",
                        "write.parquet.compression-codec", "zstd",
                        "write.parquet.compression-level", "1",
                        // The ids do not repeat: a dictionary of them only costs.
                        "write.parquet.dict-size-bytes", "1024",
                        "write.metadata.delete-after-commit.enabled", "true"));
    }
}
