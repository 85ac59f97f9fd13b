import java.nio.charset.StandardCharsets;

/** A hand-written parser of the events: one pass over the bytes, no allocation on the usual path. */
final class EventParser {
    private static final byte[][] TEXT_NAMES = {
        name("event_id"), name("event_type"), name("user_id"), name("session_id"), name("roman_numeral"), name("source")
    };
    private static final byte[] EVENT_TIME = name("event_time");
    private static final byte[] INPUT_VALUE = name("input_value");
    private static final byte[] RESPONSE_TIME = name("response_time_ms");

    private final JsonCursor json = new JsonCursor();
    private Event event;
    private boolean hasEventTime;

    private static byte[] name(String name) {
        return name.getBytes(StandardCharsets.US_ASCII);
    }

    /** Parses what {@code event.bytes} holds, or says why it is no event. */
    void parse(Event into) {
        event = into;
        hasEventTime = false;
        json.read(into.bytes, 0, into.length);
        try {
            object();
        } catch (ArrayIndexOutOfBoundsException truncated) {
            throw new Invalid("the JSON ends too early");
        }
        if (into.start[Event.EVENT_ID] < 0 || into.end[Event.EVENT_ID] == into.start[Event.EVENT_ID]) {
            throw new Invalid("no event_id");
        }
        if (!hasEventTime) {
            throw new Invalid("no event_time");
        }
    }

    private void object() {
        json.skipSpace();
        boolean more = json.open();
        while (more) {
            json.name();
            field();
            more = json.another();
        }
        json.skipSpace();
        if (!json.isAtEnd()) {
            throw new Invalid("bytes behind the JSON");
        }
    }

    private void field() {
        if (json.isText(EVENT_TIME)) {
            eventTime();
        } else if (json.isText(INPUT_VALUE)) {
            if (!isNull()) {
                inputValue();
            }
        } else if (json.isText(RESPONSE_TIME)) {
            if (!isNull()) {
                event.responseTime = json.decimal();
                event.hasResponseTime = true;
            }
        } else {
            for (int text = 0; text < Event.TEXTS; text++) {
                if (json.isText(TEXT_NAMES[text])) {
                    if (!isNull()) {
                        text(text);
                    }
                    return;
                }
            }
            json.skipValue(0);
        }
    }

    private boolean isNull() {
        if (json.peek() != 'n') {
            return false;
        }
        json.literal("null");
        return true;
    }

    private void eventTime() {
        if (json.peek() == '"') {
            json.string();
            event.eventTime = json.instant();
        } else {
            event.eventTime = Math.multiplyExact(json.integer(), 1000L);
        }
        hasEventTime = true;
    }

    private void inputValue() {
        long value = json.integer();
        if (value != (int) value) {
            throw new Invalid("input_value does not fit");
        }
        event.inputValue = (int) value;
        event.hasInputValue = true;
    }

    /** A text stays where it is in the payload; the rare one with escapes is decoded behind the payload. */
    private void text(int text) {
        json.string();
        if (!json.hasEscapes()) {
            event.start[text] = json.textStart;
            event.end[text] = json.textEnd;
            return;
        }
        event.ensureCapacity(event.length + json.textEnd - json.textStart);
        event.start[text] = event.length;
        event.length = json.unescape(event.bytes, event.length);
        event.end[text] = event.length;
    }
}
