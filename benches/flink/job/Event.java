import java.util.Arrays;

/**
 * One parsed record: the original bytes, where each text field lies in them, and the parsed numbers.
 *
 * <p>Nothing is copied out of the payload before the sink reads it, and an instance is filled again and again
 * (the job runs with object reuse), so that parsing and exchanging a record allocates nothing.
 */
public final class Event extends Incoming {
    static final int EVENT_ID = 0;
    static final int EVENT_TYPE = 1;
    static final int USER_ID = 2;
    static final int SESSION_ID = 3;
    static final int ROMAN_NUMERAL = 4;
    static final int SOURCE = 5;
    static final int TEXTS = 6;

    /** The payload; valid up to {@link #length}. Texts with escapes are decoded behind it. */
    byte[] bytes = new byte[512];
    int length;
    /** Where a text begins, -1 when the field is absent or null. */
    final int[] start = new int[TEXTS];
    final int[] end = new int[TEXTS];

    boolean hasInputValue;
    int inputValue;
    boolean hasResponseTime;
    double responseTime;

    void clear() {
        length = 0;
        Arrays.fill(start, -1);
        hasInputValue = false;
        hasResponseTime = false;
        problem = null;
    }

    void ensureCapacity(int capacity) {
        if (bytes.length < capacity) {
            bytes = Arrays.copyOf(bytes, Math.max(capacity, bytes.length * 2));
        }
    }

    void copyFrom(Event other) {
        ensureCapacity(other.length);
        System.arraycopy(other.bytes, 0, bytes, 0, other.length);
        length = other.length;
        System.arraycopy(other.start, 0, start, 0, TEXTS);
        System.arraycopy(other.end, 0, end, 0, TEXTS);
        hasInputValue = other.hasInputValue;
        inputValue = other.inputValue;
        hasResponseTime = other.hasResponseTime;
        responseTime = other.responseTime;
        copyOrigin(other);
    }
}
