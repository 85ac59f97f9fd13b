import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.time.LocalDate;

/** Walks over the bytes of a JSON text, without an allocation; strings are looked through eight bytes at a time. */
final class JsonCursor {
    private static final VarHandle LONGS = MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);
    private static final long ONES = 0x0101010101010101L;
    private static final long HIGH = 0x8080808080808080L;
    private static final int MAX_DEPTH = 64;
    private static final double[] POWERS = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9};

    byte[] bytes;
    int at;
    private int limit;
    /** The span of the last string, between its quotes. */
    int textStart;

    int textEnd;
    private boolean hasEscapes;
    /** The day that was parsed last: event times come in runs of one day. */
    private long lastDay = -1;

    private long lastDayMillis;

    void read(byte[] json, int from, int to) {
        bytes = json;
        at = from;
        limit = to;
    }

    boolean isAtEnd() {
        return at == limit;
    }

    byte peek() {
        if (at >= limit) {
            throw new Invalid("the JSON ends too early");
        }
        return bytes[at];
    }

    private byte next() {
        byte b = peek();
        at++;
        return b;
    }

    void expect(char c) {
        if (next() != c) {
            throw new Invalid("expected " + c);
        }
    }

    void skipSpace() {
        while (at < limit && (bytes[at] == ' ' || bytes[at] == '\n' || bytes[at] == '\r' || bytes[at] == '\t')) {
            at++;
        }
    }

    /** Behind a value in an object: whether another member comes. */
    boolean another() {
        skipSpace();
        byte b = next();
        if (b == ',') {
            skipSpace();
            return true;
        }
        if (b != '}') {
            throw new Invalid("expected , or }");
        }
        return false;
    }

    /** The opening of an object: whether it has members. */
    boolean open() {
        expect('{');
        skipSpace();
        if (peek() == '}') {
            at++;
            return false;
        }
        return true;
    }

    /** A member's name, whose span is left in textStart and textEnd, and the colon. */
    void name() {
        string();
        skipSpace();
        expect(':');
        skipSpace();
    }

    boolean isText(byte[] name) {
        return is(textStart, textEnd, name);
    }

    boolean is(int from, int to, byte[] text) {
        return java.util.Arrays.equals(bytes, from, to, text, 0, text.length);
    }

    /** Leaves the span of a string in textStart and textEnd. */
    void string() {
        expect('"');
        textStart = at;
        hasEscapes = false;
        while (true) {
            while (at + 8 <= limit) {
                long found = special((long) LONGS.get(bytes, at));
                if (found != 0) {
                    at += Long.numberOfTrailingZeros(found) >>> 3;
                    break;
                }
                at += 8;
            }
            byte b = next();
            if (b == '"') {
                textEnd = at - 1;
                return;
            }
            if (b == '\\') {
                hasEscapes = true;
                next();
            } else if (b >= 0 && b < ' ') {
                throw new Invalid("control character in a string");
            }
        }
    }

    /** The high bit of each byte that is a quote, a backslash or a control character; exact up to the first one. */
    private static long special(long word) {
        long quote = word ^ ONES * '"';
        long backslash = word ^ ONES * '\\';
        return ((quote - ONES) & ~quote | (backslash - ONES) & ~backslash | (word - ONES * ' ') & ~word) & HIGH;
    }

    boolean hasEscapes() {
        return hasEscapes;
    }

    /** Adds the last string to a record as one of its texts, its escapes resolved. */
    void put(FlatRecord into, int text) {
        if (!hasEscapes) {
            into.put(text, bytes, textStart, textEnd - textStart);
            return;
        }
        into.reserve(textEnd - textStart);
        into.start[text] = into.length;
        into.length = unescape(into.bytes, into.length);
        into.end[text] = into.length;
    }

    /**
     * Writes the last string with its escapes resolved; returns where it ends. The room that it takes as it stands is
     * enough: an escape is never shorter than what it stands for.
     */
    int unescape(byte[] out, int to) {
        int from = textStart;
        while (from < textEnd) {
            byte b = bytes[from++];
            if (b != '\\') {
                out[to++] = b;
                continue;
            }
            byte escape = bytes[from++];
            switch (escape) {
                case '"', '\\', '/' -> out[to++] = escape;
                case 'b' -> out[to++] = '\b';
                case 'f' -> out[to++] = '\f';
                case 'n' -> out[to++] = '\n';
                case 'r' -> out[to++] = '\r';
                case 't' -> out[to++] = '\t';
                case 'u' -> {
                    int unit = unit(from);
                    from += 4;
                    boolean isPair = Character.isHighSurrogate((char) unit)
                            && from + 6 <= textEnd
                            && bytes[from] == '\\'
                            && bytes[from + 1] == 'u';
                    char[] units = isPair ? new char[] {(char) unit, (char) unit(from + 2)} : new char[] {(char) unit};
                    from += isPair ? 6 : 0;
                    byte[] utf8 = new String(units).getBytes(StandardCharsets.UTF_8);
                    System.arraycopy(utf8, 0, out, to, utf8.length);
                    to += utf8.length;
                }
                default -> throw new Invalid("bad escape");
            }
        }
        return to;
    }

    private int unit(int from) {
        int unit = 0;
        for (int i = from; i < from + 4; i++) {
            int digit = i < textEnd ? Character.digit(bytes[i], 16) : -1;
            if (digit < 0) {
                throw new Invalid("bad escape");
            }
            unit = unit << 4 | digit;
        }
        return unit;
    }

    long integer() {
        boolean negative = peek() == '-';
        if (negative) {
            at++;
        }
        int from = at;
        long value = 0;
        while (at < limit && bytes[at] >= '0' && bytes[at] <= '9') {
            value = value * 10 + (bytes[at++] - '0');
        }
        if (at == from || at - from > 18) {
            throw new Invalid("no integer that fits");
        }
        return negative ? -value : value;
    }

    void literal(String word) {
        for (int i = 0; i < word.length(); i++) {
            expect(word.charAt(i));
        }
    }

    /** Any value, looked at only for being one. */
    void skipValue(int depth) {
        if (depth > MAX_DEPTH) {
            throw new Invalid("nested too deeply");
        }
        switch (peek()) {
            case '"' -> string();
            case '{' -> {
                boolean more = open();
                while (more) {
                    name();
                    skipValue(depth + 1);
                    more = another();
                }
            }
            case '[' -> {
                at++;
                skipSpace();
                boolean more = peek() != ']';
                while (more) {
                    skipValue(depth + 1);
                    skipSpace();
                    more = peek() == ',';
                    if (more) {
                        at++;
                        skipSpace();
                    }
                }
                expect(']');
            }
            case 't' -> literal("true");
            case 'f' -> literal("false");
            case 'n' -> literal("null");
            default -> decimal();
        }
    }

    double decimal() {
        int from = at;
        boolean negative = peek() == '-';
        if (negative) {
            at++;
        }
        long mantissa = 0;
        int digits = 0;
        int places = 0;
        boolean behindPoint = false;
        while (at < limit) {
            byte b = bytes[at];
            if (b >= '0' && b <= '9') {
                mantissa = mantissa * 10 + (b - '0');
                digits++;
                places += behindPoint ? 1 : 0;
            } else if (b == '.' && !behindPoint) {
                behindPoint = true;
            } else {
                break;
            }
            at++;
        }
        boolean exponent = at < limit && (bytes[at] == 'e' || bytes[at] == 'E');
        if (digits == 0) {
            throw new Invalid("no number");
        }
        // Both are exact in a double, so one rounding is all there is.
        if (!exponent && digits <= 15 && places < POWERS.length) {
            double value = mantissa / POWERS[places];
            return negative ? -value : value;
        }
        while (at < limit && "0123456789.eE+-".indexOf(bytes[at]) >= 0) {
            at++;
        }
        try {
            return Double.parseDouble(new String(bytes, from, at - from, StandardCharsets.US_ASCII));
        } catch (NumberFormatException e) {
            throw new Invalid("no number");
        }
    }

    /** {@code 2026-11-21T17:28:49.123Z}, with up to six digits behind the point; microseconds since 1970. */
    long instant() {
        int from = textStart;
        int to = textEnd;
        if (to - from < 20 || bytes[from + 10] != 'T' || bytes[to - 1] != 'Z') {
            throw new Invalid("event_time is no ISO-8601 instant in UTC");
        }
        long day = digits(from, 4) * 10000L + digits(from + 5, 2) * 100L + digits(from + 8, 2);
        if (day != lastDay) {
            try {
                lastDayMillis = LocalDate.of((int) (day / 10000), (int) (day / 100 % 100), (int) (day % 100))
                        .toEpochDay()
                        * 86_400_000L;
            } catch (java.time.DateTimeException e) {
                throw new Invalid("event_time is no date");
            }
            lastDay = day;
        }
        long seconds = digits(from + 11, 2) * 3600L + digits(from + 14, 2) * 60L + digits(from + 17, 2);
        long micros = 0;
        int places = to - 1 - (from + 19) - 1;
        if (places > 0) {
            if (bytes[from + 19] != '.' || places > 6) {
                throw new Invalid("event_time has a bad fraction");
            }
            micros = digits(from + 20, places);
            for (int i = places; i < 6; i++) {
                micros *= 10;
            }
        }
        return (lastDayMillis + seconds * 1000) * 1000 + micros;
    }

    private int digits(int from, int count) {
        int value = 0;
        for (int i = from; i < from + count; i++) {
            int digit = bytes[i] - '0';
            if (digit < 0 || digit > 9) {
                throw new Invalid("event_time is no ISO-8601 instant in UTC");
            }
            value = value * 10 + digit;
        }
        return value;
    }
}
