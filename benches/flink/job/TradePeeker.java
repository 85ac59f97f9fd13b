import java.util.HashMap;
import java.util.Map;

/**
 * Finds id and time of a trade in its Avro, by the schema that its header names, and keeps its bytes. All of the value is
 * walked through, so that one that is cut off is a dead letter; nothing is decoded but the two fields, nothing allocated.
 */
final class TradePeeker implements FlatParser {
    static final int VALUE = 1;
    static final int KEY = 2;
    static final int TEXTS = 3;
    static final int SCHEMA_ID = 0;
    static final int NUMBERS = 1;
    private static final int HEADER = 5;

    private final String registry;
    private transient Map<Integer, AvroSteps> known;
    private transient int lastId;
    private transient AvroSteps last;

    private transient byte[] bytes;
    private transient int at;

    TradePeeker(String registry) {
        this.registry = registry;
    }

    @Override
    public boolean parse(byte[] key, byte[] value, FlatRecord into) {
        if (value == null) {
            throw new Invalid("null value");
        }
        if (value.length < HEADER || value[0] != 0) {
            throw new Invalid("no schema registry header");
        }
        int id = value[1] << 24 | (value[2] & 0xff) << 16 | (value[3] & 0xff) << 8 | value[4] & 0xff;
        // The bytes are kept in any case; the id is a part of them.
        into.put(VALUE, value, 0, value.length);
        into.numbers[SCHEMA_ID] = id;
        bytes = value;
        at = HEADER;
        try {
            walk(steps(id), into);
        } catch (ArrayIndexOutOfBoundsException truncated) {
            throw new Invalid("the Avro ends too early");
        }
        if (at != value.length) {
            throw new Invalid("bytes behind the Avro");
        }
        if (key != null) {
            into.put(KEY, key, 0, key.length);
        }
        return true;
    }

    private AvroSteps steps(int id) {
        if (last == null || id != lastId) {
            if (known == null) {
                known = new HashMap<>();
            }
            last = known.computeIfAbsent(id, missing -> AvroSteps.fetch(registry, missing));
            lastId = id;
        }
        return last;
    }

    private void walk(AvroSteps steps, FlatRecord into) {
        for (byte step : steps.steps) {
            switch (step) {
                case AvroSteps.ID -> {
                    int length = length();
                    // A part of the value, which is there already.
                    into.start[FlatRecord.EVENT_ID] = at;
                    at += length;
                    into.end[FlatRecord.EVENT_ID] = at;
                    if (length == 0) {
                        throw new Invalid("no message_id");
                    }
                }
                case AvroSteps.TIME_MICROS -> into.eventTime = number();
                case AvroSteps.TIME_MILLIS -> into.eventTime = Math.multiplyExact(number(), 1000L);
                case AvroSteps.NUMBER -> number();
                case AvroSteps.BYTES -> {
                    int length = length();
                    at += length;
                }
                default -> at += step;
            }
        }
        // Where the last step led to, there must be bytes.
        if (at > bytes.length) {
            throw new Invalid("the Avro ends too early");
        }
    }

    private int length() {
        long length = number();
        if (length < 0 || length > bytes.length - at) {
            throw new Invalid("a length beyond the record");
        }
        return (int) length;
    }

    /** Zigzag, as Avro writes integers. */
    private long number() {
        long b = bytes[at++];
        long value = b & 0x7f;
        for (int shift = 7; b < 0; shift += 7) {
            if (shift > 63) {
                throw new Invalid("an integer of more than ten bytes");
            }
            b = bytes[at++];
            value |= (b & 0x7f) << shift;
        }
        return value >>> 1 ^ -(value & 1);
    }
}
