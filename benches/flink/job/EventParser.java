import java.nio.charset.StandardCharsets;
import java.time.LocalDate;

/** A hand-written parser of the events: one pass over the bytes, no allocation on the usual path. */
final class EventParser {
    private static final byte[][] TEXT_NAMES = {
        name("event_id"), name("event_type"), name("user_id"), name("session_id"), name("roman_numeral"), name("source")
    };
    private static final byte[] EVENT_TIME = name("event_time");
    private static final byte[] INPUT_VALUE = name("input_value");
    private static final byte[] RESPONSE_TIME = name("response_time_ms");
    private static final double[] POWERS = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9};
    private static final int MAX_DEPTH = 64;

    private byte[] bytes;
    private int at;
    private int limit;
    private Event event;
    private int textStart;
    private int textEnd;
    private boolean hasEventTime;
    /** The day that was parsed last: event times come in runs of one day. */
    private long lastDay = -1;
    private long lastDayMillis;

    private static final class Invalid extends RuntimeException {
        Invalid(String message) {
            super(message, null, false, false);
        }
    }

    private static byte[] name(String name) {
        return name.getBytes(StandardCharsets.US_ASCII);
    }

    /** Parses what {@code event.bytes} holds; sets {@code event.problem} when it is no event. */
    void parse(Event into) {
        event = into;
        bytes = into.bytes;
        at = 0;
        limit = into.length;
        hasEventTime = false;
        try {
            object();
            if (into.start[Event.EVENT_ID] < 0 || into.end[Event.EVENT_ID] == into.start[Event.EVENT_ID]) {
                throw new Invalid("no event_id");
            }
            if (!hasEventTime) {
                throw new Invalid("no event_time");
            }
        } catch (Invalid invalid) {
            into.problem = invalid.getMessage();
        } catch (ArrayIndexOutOfBoundsException truncated) {
            into.problem = "the JSON ends too early";
        }
    }

    private void object() {
        skipSpace();
        expect('{');
        skipSpace();
        if (peek() == '}') {
            at++;
        } else {
            while (true) {
                string();
                int nameStart = textStart;
                int nameEnd = textEnd;
                skipSpace();
                expect(':');
                skipSpace();
                field(nameStart, nameEnd);
                skipSpace();
                byte next = next();
                if (next == '}') {
                    break;
                }
                if (next != ',') {
                    throw new Invalid("expected , or }");
                }
                skipSpace();
            }
        }
        skipSpace();
        if (at != limit) {
            throw new Invalid("bytes behind the JSON");
        }
    }

    private void field(int nameStart, int nameEnd) {
        if (is(EVENT_TIME, nameStart, nameEnd)) {
            eventTime();
        } else if (is(INPUT_VALUE, nameStart, nameEnd)) {
            if (peek() == 'n') {
                literal("null");
                return;
            }
            long value = integer();
            if (value != (int) value) {
                throw new Invalid("input_value does not fit");
            }
            event.inputValue = (int) value;
            event.hasInputValue = true;
        } else if (is(RESPONSE_TIME, nameStart, nameEnd)) {
            if (peek() == 'n') {
                literal("null");
                return;
            }
            event.responseTime = decimal();
            event.hasResponseTime = true;
        } else {
            for (int text = 0; text < Event.TEXTS; text++) {
                if (is(TEXT_NAMES[text], nameStart, nameEnd)) {
                    if (peek() == 'n') {
                        literal("null");
                        return;
                    }
                    string();
                    event.start[text] = textStart;
                    event.end[text] = textEnd;
                    return;
                }
            }
            skipValue(0);
        }
    }

    private boolean is(byte[] name, int from, int to) {
        if (to - from != name.length) {
            return false;
        }
        for (int i = 0; i < name.length; i++) {
            if (bytes[from + i] != name[i]) {
                return false;
            }
        }
        return true;
    }

    /** Leaves the span of a string in textStart and textEnd. */
    private void string() {
        expect('"');
        int from = at;
        while (true) {
            byte b = next();
            if (b == '"') {
                textStart = from;
                textEnd = at - 1;
                return;
            }
            if (b == '\\') {
                escaped(from);
                return;
            }
            if (b >= 0 && b < ' ') {
                throw new Invalid("control character in a string");
            }
        }
    }

    /** The rare string with escapes: decoded behind the payload. */
    private void escaped(int from) {
        at = from;
        StringBuilder text = new StringBuilder();
        int plain = at;
        while (true) {
            byte b = next();
            if (b != '"' && b != '\\') {
                continue;
            }
            text.append(new String(bytes, plain, at - 1 - plain, StandardCharsets.UTF_8));
            if (b == '"') {
                break;
            }
            byte escape = next();
            switch (escape) {
                case '"', '\\', '/' -> text.append((char) escape);
                case 'b' -> text.append('\b');
                case 'f' -> text.append('\f');
                case 'n' -> text.append('\n');
                case 'r' -> text.append('\r');
                case 't' -> text.append('\t');
                case 'u' -> {
                    int unit = 0;
                    for (int i = 0; i < 4; i++) {
                        int digit = Character.digit(next(), 16);
                        if (digit < 0) {
                            throw new Invalid("bad escape");
                        }
                        unit = unit << 4 | digit;
                    }
                    text.append((char) unit);
                }
                default -> throw new Invalid("bad escape");
            }
            plain = at;
        }
        byte[] decoded = text.toString().getBytes(StandardCharsets.UTF_8);
        event.ensureCapacity(event.length + decoded.length);
        System.arraycopy(decoded, 0, event.bytes, event.length, decoded.length);
        bytes = event.bytes;
        textStart = event.length;
        event.length += decoded.length;
        textEnd = event.length;
    }

    private void eventTime() {
        if (peek() == '"') {
            string();
            event.eventTime = instant(textStart, textEnd);
        } else {
            event.eventTime = Math.multiplyExact(integer(), 1000L);
        }
        hasEventTime = true;
    }

    /** {@code 2026-11-21T17:28:49.123Z}, with up to six digits behind the point; microseconds since 1970. */
    private long instant(int from, int to) {
        if (to - from < 20 || bytes[from + 10] != 'T' || bytes[to - 1] != 'Z') {
            throw new Invalid("event_time is no ISO-8601 instant in UTC");
        }
        long day = digits(from, 4) * 10000L + digits(from + 5, 2) * 100L + digits(from + 8, 2);
        if (day != lastDay) {
            try {
                lastDayMillis = LocalDate.of((int) (day / 10000), (int) (day / 100 % 100), (int) (day % 100))
                        .toEpochDay() * 86_400_000L;
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

    private long integer() {
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

    private double decimal() {
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

    private void skipValue(int depth) {
        if (depth > MAX_DEPTH) {
            throw new Invalid("nested too deeply");
        }
        switch (peek()) {
            case '"' -> string();
            case '{', '[' -> {
                byte close = (byte) (next() == '{' ? '}' : ']');
                skipSpace();
                while (peek() != close) {
                    if (close == '}') {
                        string();
                        skipSpace();
                        expect(':');
                        skipSpace();
                    }
                    skipValue(depth + 1);
                    skipSpace();
                    if (peek() == ',') {
                        at++;
                        skipSpace();
                    } else if (peek() != close) {
                        throw new Invalid("expected , or the end");
                    }
                }
                at++;
            }
            case 't' -> literal("true");
            case 'f' -> literal("false");
            case 'n' -> literal("null");
            default -> decimal();
        }
    }

    private void literal(String word) {
        for (int i = 0; i < word.length(); i++) {
            expect(word.charAt(i));
        }
    }

    private void skipSpace() {
        while (at < limit && (bytes[at] == ' ' || bytes[at] == '\n' || bytes[at] == '\r' || bytes[at] == '\t')) {
            at++;
        }
    }

    private byte peek() {
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

    private void expect(char c) {
        if (next() != c) {
            throw new Invalid("expected " + c);
        }
    }
}
