import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.TimestampData;
import org.apache.flink.table.data.binary.BinaryStringData;

/** An event as a row of the table (see {@link BronzeTable}): a view, so that no row object is filled. */
final class EventRow extends AppendedRow {
    /** The order of {@link BronzeTable}'s columns. */
    private static final int EVENT_TIME = 2;
    private static final int INPUT_VALUE = 5;
    private static final int RESPONSE_TIME = 7;
    private static final int IS_LATE = 9;
    private static final int TOPIC = 10;
    private static final int PARTITION = 11;
    private static final int OFFSET = 12;
    private static final int KAFKA_TIMESTAMP = 13;
    private static final int INGESTED_AT = 14;
    private static final int INGEST_WATERMARK = 15;
    private static final int COLUMNS = 16;
    /** For each column, the event's text that it shows. */
    private static final int[] TEXT = {
        Event.EVENT_ID, Event.EVENT_TYPE, -1, Event.USER_ID, Event.SESSION_ID, -1, Event.ROMAN_NUMERAL, -1, Event.SOURCE
    };

    Event event;
    boolean isLate;
    /** Milliseconds; {@link Long#MIN_VALUE} before the first. */
    long watermark;

    @Override
    public int getArity() {
        return COLUMNS;
    }

    @Override
    public boolean isNullAt(int column) {
        return switch (column) {
            case INPUT_VALUE -> !event.hasInputValue;
            case RESPONSE_TIME -> !event.hasResponseTime;
            case INGEST_WATERMARK -> watermark == Long.MIN_VALUE;
            default -> column < TEXT.length && TEXT[column] >= 0 && event.start[TEXT[column]] < 0;
        };
    }

    @Override
    public StringData getString(int column) {
        if (column == TOPIC) {
            return topic(event);
        }
        int text = TEXT[column];
        return BinaryStringData.fromBytes(event.bytes, event.start[text], event.end[text] - event.start[text]);
    }

    @Override
    public TimestampData getTimestamp(int column, int precision) {
        return switch (column) {
            case EVENT_TIME -> eventTime(event);
            case KAFKA_TIMESTAMP -> TimestampData.fromEpochMillis(event.timestamp);
            case INGESTED_AT -> TimestampData.fromEpochMillis(event.ingestedAt);
            case INGEST_WATERMARK -> TimestampData.fromEpochMillis(watermark);
            default -> throw new IllegalArgumentException("column " + column + " is no timestamp");
        };
    }

    @Override
    public boolean getBoolean(int column) {
        return isLate;
    }

    @Override
    public int getInt(int column) {
        return column == PARTITION ? event.partition : event.inputValue;
    }

    @Override
    public long getLong(int column) {
        return event.offset;
    }

    @Override
    public double getDouble(int column) {
        return event.responseTime;
    }
}
