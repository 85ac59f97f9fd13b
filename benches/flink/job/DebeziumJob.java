import java.util.List;
import org.apache.iceberg.catalog.TableIdentifier;
import org.apache.iceberg.types.Types;

/**
 * Debezium's changes in JSON, flattened into columns, deduplicated by their position in the database's log: what
 * Strandline's job {@code business-events} does with {@code format: debezium_json}.
 *
 * <p>Arguments: those of {@link Settings}.
 */
public final class DebeziumJob {
    private DebeziumJob() {}

    public static void main(String[] args) throws Exception {
        FlatJob.run(
                new Settings(args),
                new ChangeParser(),
                new FlatRecordInfo(ChangeParser.TEXTS, ChangeParser.NUMBERS),
                TableIdentifier.of("bronze", "business_events"),
                List.of(
                        FlatColumn.text("event_id", FlatRecord.EVENT_ID),
                        FlatColumn.text("event_type", ChangeParser.EVENT_TYPE),
                        FlatColumn.text("aggregate_type", ChangeParser.AGGREGATE_TYPE),
                        FlatColumn.text("aggregate_id", ChangeParser.AGGREGATE_ID),
                        FlatColumn.text("payload", ChangeParser.PAYLOAD),
                        FlatColumn.text("__op", ChangeParser.OP),
                        FlatColumn.text("__table", ChangeParser.TABLE),
                        FlatColumn.text("__schema", ChangeParser.SCHEMA),
                        millis("__ts_ms", ChangeParser.TS_MS),
                        millis("__source_ts_ms", ChangeParser.SOURCE_TS_MS),
                        FlatColumn.of(
                                "__lsn", Types.LongType.get(), false, FlatColumn.Shows.NUMBER, ChangeParser.LSN),
                        FlatColumn.of(
                                "__deleted", Types.BooleanType.get(), false, FlatColumn.Shows.FLAG, ChangeParser.DELETED),
                        FlatColumn.text("__before", ChangeParser.BEFORE),
                        FlatColumn.text("__unavailable", ChangeParser.UNAVAILABLE)));
    }

    private static FlatColumn millis(String name, int place) {
        return FlatColumn.of(name, Types.TimestampType.withZone(), false, FlatColumn.Shows.MILLIS, place);
    }
}
