import java.nio.charset.StandardCharsets;

/**
 * A change as Debezium writes it in JSON without its schema, flattened in one pass over its bytes. A row is {@code after},
 * of a delete {@code before}. Tombstones and heartbeats are dropped.
 *
 * <p>Flink's own format {@code debezium-json} turns changes into a changelog and says neither the operation nor a position,
 * so a table of appended changes cannot be made with it; this reads the same records.
 */
final class ChangeParser implements FlatParser {
    static final int EVENT_TYPE = 1;
    static final int AGGREGATE_TYPE = 2;
    static final int AGGREGATE_ID = 3;
    static final int PAYLOAD = 4;
    static final int OP = 5;
    static final int TABLE = 6;
    static final int SCHEMA = 7;
    static final int BEFORE = 8;
    static final int UNAVAILABLE = 9;
    static final int TEXTS = 10;

    static final int TS_MS = 0;
    static final int SOURCE_TS_MS = 1;
    static final int LSN = 2;
    static final int DELETED = 3;
    static final int NUMBERS = 4;

    private static final byte[][] ROW_TEXTS = {
        name("event_id"), name("event_type"), name("aggregate_type"), name("aggregate_id"), name("payload")
    };
    private static final byte[] EVENT_TIME = name("event_time");
    private static final byte[] BEFORE_NAME = name("before");
    private static final byte[] AFTER_NAME = name("after");
    private static final byte[] SOURCE_NAME = name("source");
    private static final byte[] OP_NAME = name("op");
    private static final byte[] TS_MS_NAME = name("ts_ms");
    private static final byte[] STATUS_NAME = name("status");
    private static final byte[] DB_NAME = name("db");
    private static final byte[] SCHEMA_NAME = name("schema");
    private static final byte[] TABLE_NAME = name("table");
    private static final byte[] LSN_NAME = name("lsn");
    /** What Debezium writes where the database did not say. */
    private static final byte[] NOT_SAID = name("__debezium_unavailable_value");

    private static final int NONE = -1;

    private transient JsonCursor json;
    private transient FlatRecord record;
    private transient boolean hasEventTime;
    private transient boolean hasRow;
    private transient boolean isMarker;
    private transient int members;
    private transient int beforeStart;
    private transient int beforeEnd;
    private transient int dbStart;
    private transient int dbEnd;

    private static byte[] name(String name) {
        return name.getBytes(StandardCharsets.US_ASCII);
    }

    @Override
    public boolean parse(byte[] key, byte[] value, FlatRecord into) {
        if (value == null) {
            return false;
        }
        if (json == null) {
            json = new JsonCursor();
        }
        record = into;
        hasEventTime = false;
        hasRow = false;
        isMarker = false;
        members = 0;
        beforeStart = NONE;
        dbStart = NONE;
        dbEnd = NONE;
        json.read(value, 0, value.length);
        try {
            envelope();
        } catch (ArrayIndexOutOfBoundsException truncated) {
            throw new Invalid("the JSON ends too early");
        }
        if (into.start[OP] < 0) {
            boolean isHeartbeat = members == 1 && into.numbers[TS_MS] != Long.MIN_VALUE;
            if (isMarker || isHeartbeat) {
                return false;
            }
            throw new Invalid("no op: not a change of Debezium");
        }
        complete(value);
        return true;
    }

    private void envelope() {
        json.skipSpace();
        boolean more = json.open();
        while (more) {
            json.name();
            members++;
            if (json.isText(BEFORE_NAME)) {
                boolean isRow = json.peek() == '{';
                int from = json.at;
                json.skipValue(1);
                beforeStart = isRow ? from : NONE;
                beforeEnd = json.at;
            } else if (json.isText(AFTER_NAME)) {
                if (json.peek() == '{') {
                    row();
                } else {
                    json.skipValue(1);
                }
            } else if (json.isText(SOURCE_NAME)) {
                source();
            } else if (json.isText(OP_NAME)) {
                json.string();
                json.put(record, OP);
            } else if (json.isText(TS_MS_NAME)) {
                record.numbers[TS_MS] = json.integer();
            } else {
                isMarker |= json.isText(STATUS_NAME);
                json.skipValue(1);
            }
            more = json.another();
        }
        json.skipSpace();
        if (!json.isAtEnd()) {
            throw new Invalid("bytes behind the JSON");
        }
    }

    private void source() {
        boolean more = json.open();
        while (more) {
            json.name();
            if (json.isText(TS_MS_NAME)) {
                record.numbers[SOURCE_TS_MS] = json.integer();
            } else if (json.isText(LSN_NAME) && json.peek() != 'n') {
                record.numbers[LSN] = json.integer();
            } else if (json.isText(DB_NAME)) {
                json.string();
                dbStart = json.textStart;
                dbEnd = json.textEnd;
            } else if (json.isText(SCHEMA_NAME) && json.peek() == '"') {
                json.string();
                json.put(record, SCHEMA);
            } else if (json.isText(TABLE_NAME)) {
                json.string();
                json.put(record, TABLE);
            } else {
                json.skipValue(2);
            }
            more = json.another();
        }
    }

    private void row() {
        hasRow = true;
        boolean more = json.open();
        while (more) {
            json.name();
            field();
            more = json.another();
        }
    }

    private void field() {
        if (json.isText(EVENT_TIME)) {
            if (json.peek() == '"') {
                json.string();
                record.eventTime = json.instant();
                hasEventTime = true;
            } else if (json.peek() == 'n') {
                json.literal("null");
            } else {
                record.eventTime = json.integer();
                hasEventTime = true;
            }
            return;
        }
        for (int text = 0; text < ROW_TEXTS.length; text++) {
            if (json.isText(ROW_TEXTS[text])) {
                if (json.peek() == 'n') {
                    json.literal("null");
                    return;
                }
                json.string();
                if (json.isText(NOT_SAID)) {
                    unavailable(ROW_TEXTS[text]);
                } else {
                    json.put(record, text);
                }
                return;
            }
        }
        json.skipValue(2);
    }

    /** Adds a column to the list of those that the database did not say. */
    private void unavailable(byte[] column) {
        StringBuilder list = new StringBuilder();
        if (record.start[UNAVAILABLE] >= 0) {
            int from = record.start[UNAVAILABLE];
            int count = record.end[UNAVAILABLE] - from - 1;
            list.append(new String(record.bytes, from, count, StandardCharsets.US_ASCII)).append(',');
        } else {
            list.append('[');
        }
        list.append('"').append(new String(column, StandardCharsets.US_ASCII)).append("\"]");
        byte[] text = name(list.toString());
        record.put(UNAVAILABLE, text, 0, text.length);
    }

    /** What only the whole change tells: the row of a delete, the event time and the id of a row that has none. */
    private void complete(byte[] value) {
        byte op = record.end[OP] - record.start[OP] == 1 ? record.bytes[record.start[OP]] : 0;
        switch (op) {
            case 'c', 'u', 'r' -> {
                if (!hasRow) {
                    throw new Invalid("no after");
                }
            }
            case 'd' -> {
                if (!hasRow && beforeStart >= 0) {
                    json.read(value, beforeStart, beforeEnd);
                    row();
                }
            }
            case 't' -> {}
            default -> throw new Invalid("an op that is none of c, u, d, r, t");
        }
        record.numbers[DELETED] = op == 'd' ? 1 : 0;
        if (beforeStart >= 0) {
            record.put(BEFORE, value, beforeStart, beforeEnd - beforeStart);
        }
        if (!hasEventTime) {
            long source = record.numbers[SOURCE_TS_MS];
            long millis = source != Long.MIN_VALUE ? source : record.numbers[TS_MS];
            if (millis == Long.MIN_VALUE) {
                throw new Invalid("no event time");
            }
            record.eventTime = Math.multiplyExact(millis, 1000L);
        }
        int id = FlatRecord.EVENT_ID;
        if (record.start[id] < 0 || record.start[id] == record.end[id]) {
            position(value);
        }
    }

    /** {@code db.schema.table:lsn:op} */
    private void position(byte[] value) {
        if (record.numbers[LSN] == Long.MIN_VALUE) {
            throw new Invalid("no event id and no position");
        }
        int start = record.length;
        if (dbStart >= 0) {
            record.append(value, dbStart, dbEnd - dbStart);
        }
        record.append((byte) '.');
        part(SCHEMA);
        record.append((byte) '.');
        part(TABLE);
        record.append((byte) ':');
        decimal(record.numbers[LSN]);
        record.append((byte) ':');
        part(OP);
        record.start[FlatRecord.EVENT_ID] = start;
        record.end[FlatRecord.EVENT_ID] = record.length;
    }

    private void part(int text) {
        if (record.start[text] >= 0) {
            int count = record.end[text] - record.start[text];
            record.reserve(count);
            record.append(record.bytes, record.start[text], count);
        }
    }

    private void decimal(long number) {
        if (number < 0) {
            throw new Invalid("a position below zero");
        }
        int digits = 1;
        for (long rest = number / 10; rest > 0; rest /= 10) {
            digits++;
        }
        record.reserve(digits);
        record.length += digits;
        long rest = number;
        for (int at = record.length - 1; at >= record.length - digits; at--) {
            record.bytes[at] = (byte) ('0' + rest % 10);
            rest /= 10;
        }
    }
}
