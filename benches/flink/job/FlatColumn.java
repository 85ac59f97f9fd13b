import java.io.Serializable;
import java.util.ArrayList;
import java.util.List;
import org.apache.iceberg.Schema;
import org.apache.iceberg.types.Type;
import org.apache.iceberg.types.Types;

/** A column, and what of a {@link FlatRecord} it shows. */
record FlatColumn(String name, Type type, boolean required, Shows shows, int place) implements Serializable {
    /** Where a column's value comes from. */
    enum Shows {
        TEXT,
        BINARY,
        NUMBER,
        /** A number of milliseconds, as a timestamp. */
        MILLIS,
        /** A number, as a boolean: not zero. */
        FLAG,
        HEADERS,
        EVENT_TIME,
        IS_LATE,
        TOPIC,
        PARTITION,
        OFFSET,
        KAFKA_TIMESTAMP,
        INGESTED_AT,
        WATERMARK
    }

    static FlatColumn text(String name, int place) {
        return new FlatColumn(name, Types.StringType.get(), place == FlatRecord.EVENT_ID, Shows.TEXT, place);
    }

    static FlatColumn of(String name, Type type, boolean required, Shows shows, int place) {
        return new FlatColumn(name, type, required, shows, place);
    }

    /** The job's own columns and, behind them, those of every Bronze table. */
    static List<FlatColumn> withMetadata(List<FlatColumn> own) {
        Type time = Types.TimestampType.withZone();
        List<FlatColumn> all = new ArrayList<>(own);
        all.add(of("event_time", time, true, Shows.EVENT_TIME, 0));
        all.add(of("is_late_arrival", Types.BooleanType.get(), true, Shows.IS_LATE, 0));
        all.add(of("kafka_topic", Types.StringType.get(), true, Shows.TOPIC, 0));
        all.add(of("kafka_partition", Types.IntegerType.get(), true, Shows.PARTITION, 0));
        all.add(of("kafka_offset", Types.LongType.get(), true, Shows.OFFSET, 0));
        all.add(of("kafka_timestamp", time, false, Shows.KAFKA_TIMESTAMP, 0));
        all.add(of("ingested_at", time, true, Shows.INGESTED_AT, 0));
        all.add(of("ingest_watermark", time, false, Shows.WATERMARK, 0));
        return all;
    }

    static Schema schema(List<FlatColumn> columns) {
        List<Types.NestedField> fields = new ArrayList<>();
        for (FlatColumn column : columns) {
            int id = fields.size() + 1;
            fields.add(
                    column.required
                            ? Types.NestedField.required(id, column.name, column.type)
                            : Types.NestedField.optional(id, column.name, column.type));
        }
        return new Schema(fields);
    }
}
