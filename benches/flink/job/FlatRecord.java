import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;

/**
 * One record of the jobs {@link RawAvroJob} and {@link DebeziumJob} on its way: its texts in one buffer, its numbers.
 *
 * <p>As {@link Event}, an instance is filled again and again (the jobs run with object reuse).
 */
public final class FlatRecord extends Incoming {
    /** The place of the event id among the texts of every job. */
    static final int EVENT_ID = 0;

    /** The texts, one behind the other; valid up to {@link #length}. */
    byte[] bytes = new byte[1024];
    int length;
    /** Where a text begins, -1 when there is none. */
    final int[] start;
    final int[] end;
    /** Numbers that a column may hold; {@link Long#MIN_VALUE} when there is none. */
    final long[] numbers;
    /** Kafka's headers; empty in nearly all records. */
    Map<String, byte[]> headers = Map.of();

    /** Milliseconds since 1970, {@link Long#MIN_VALUE} before the first. */
    long watermark;
    boolean isLate;

    /** The value as Kafka had it, for a dead letter; not sent to the worker that owns the id. */
    byte[] original;

    FlatRecord(int texts, int numbers) {
        start = new int[texts];
        end = new int[texts];
        this.numbers = new long[numbers];
    }

    void clear() {
        length = 0;
        Arrays.fill(start, -1);
        Arrays.fill(numbers, Long.MIN_VALUE);
        headers = Map.of();
        problem = null;
    }

    /** Makes room for so many bytes more. */
    void reserve(int more) {
        if (bytes.length < length + more) {
            bytes = Arrays.copyOf(bytes, Math.max(length + more, bytes.length * 2));
        }
    }

    /** Adds a text, or a part of it, behind the others. */
    void append(byte[] from, int at, int count) {
        reserve(count);
        System.arraycopy(from, at, bytes, length, count);
        length += count;
    }

    void append(byte one) {
        reserve(1);
        bytes[length++] = one;
    }

    /** Adds a whole text. */
    void put(int text, byte[] from, int at, int count) {
        start[text] = length;
        append(from, at, count);
        end[text] = length;
    }

    void hashId() {
        EventKey.hash(bytes, start[EVENT_ID], end[EVENT_ID] - start[EVENT_ID], this);
    }

    void copyFrom(FlatRecord other) {
        length = 0;
        append(other.bytes, 0, other.length);
        System.arraycopy(other.start, 0, start, 0, start.length);
        System.arraycopy(other.end, 0, end, 0, end.length);
        System.arraycopy(other.numbers, 0, numbers, 0, numbers.length);
        headers = other.headers.isEmpty() ? Map.of() : new HashMap<>(other.headers);
        watermark = other.watermark;
        isLate = other.isLate;
        original = other.original;
        copyOrigin(other);
    }
}
