import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.flink.table.data.GenericMapData;
import org.apache.flink.table.data.MapData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.TimestampData;
import org.apache.flink.table.data.binary.BinaryStringData;

/** A {@link FlatRecord} as a row of the job's table: a view, so that no row object is filled. */
final class FlatRow extends AppendedRow {
    private static final MapData NO_HEADERS = new GenericMapData(Map.of());

    FlatRecord record;
    private final FlatColumn.Shows[] shows;
    private final int[] places;

    FlatRow(List<FlatColumn> columns) {
        shows = columns.stream().map(FlatColumn::shows).toArray(FlatColumn.Shows[]::new);
        places = columns.stream().mapToInt(FlatColumn::place).toArray();
    }

    @Override
    public int getArity() {
        return shows.length;
    }

    @Override
    public boolean isNullAt(int column) {
        return switch (shows[column]) {
            case TEXT, BINARY -> record.start[places[column]] < 0;
            case NUMBER, MILLIS, FLAG -> record.numbers[places[column]] == Long.MIN_VALUE;
            case WATERMARK -> record.watermark == Long.MIN_VALUE;
            default -> false;
        };
    }

    @Override
    public StringData getString(int column) {
        if (shows[column] == FlatColumn.Shows.TOPIC) {
            return topic(record);
        }
        int start = record.start[places[column]];
        return BinaryStringData.fromBytes(record.bytes, start, record.end[places[column]] - start);
    }

    @Override
    public byte[] getBinary(int column) {
        int place = places[column];
        return Arrays.copyOfRange(record.bytes, record.start[place], record.end[place]);
    }

    @Override
    public TimestampData getTimestamp(int column, int precision) {
        return switch (shows[column]) {
            case EVENT_TIME -> eventTime(record);
            case MILLIS -> TimestampData.fromEpochMillis(record.numbers[places[column]]);
            case KAFKA_TIMESTAMP -> TimestampData.fromEpochMillis(record.timestamp);
            case INGESTED_AT -> TimestampData.fromEpochMillis(record.ingestedAt);
            case WATERMARK -> TimestampData.fromEpochMillis(record.watermark);
            default -> throw new IllegalArgumentException("column " + column + " is no timestamp");
        };
    }

    @Override
    public boolean getBoolean(int column) {
        return shows[column] == FlatColumn.Shows.IS_LATE ? record.isLate : record.numbers[places[column]] != 0;
    }

    @Override
    public int getInt(int column) {
        return shows[column] == FlatColumn.Shows.PARTITION ? record.partition : (int) record.numbers[places[column]];
    }

    @Override
    public long getLong(int column) {
        return shows[column] == FlatColumn.Shows.OFFSET ? record.offset : record.numbers[places[column]];
    }

    @Override
    public MapData getMap(int column) {
        if (record.headers.isEmpty()) {
            return NO_HEADERS;
        }
        Map<StringData, byte[]> headers = new HashMap<>();
        record.headers.forEach((name, value) -> headers.put(StringData.fromString(name), value));
        return new GenericMapData(headers);
    }
}
