import java.io.IOException;
import org.apache.flink.api.common.typeutils.SimpleTypeSerializerSnapshot;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.common.typeutils.TypeSerializerSnapshot;
import org.apache.flink.api.common.typeutils.base.TypeSerializerSingleton;
import org.apache.flink.api.common.serialization.SerializerConfig;
import org.apache.flink.core.memory.DataInputView;
import org.apache.flink.core.memory.DataOutputView;

/** Events on their way to the worker that owns their id: the payload as it is, and what the parser found. */
public final class EventSerializer extends TypeSerializerSingleton<Event> {
    static final EventSerializer INSTANCE = new EventSerializer();
    private static final int HAS_INPUT_VALUE = 1;
    private static final int HAS_RESPONSE_TIME = 2;

    @Override
    public boolean isImmutableType() {
        return false;
    }

    @Override
    public Event createInstance() {
        return new Event();
    }

    @Override
    public Event copy(Event from) {
        return copy(from, new Event());
    }

    @Override
    public Event copy(Event from, Event reuse) {
        reuse.copyFrom(from);
        return reuse;
    }

    @Override
    public int getLength() {
        return -1;
    }

    @Override
    public void serialize(Event event, DataOutputView out) throws IOException {
        event.writeOrigin(out);
        out.writeByte((event.hasInputValue ? HAS_INPUT_VALUE : 0) | (event.hasResponseTime ? HAS_RESPONSE_TIME : 0));
        out.writeInt(event.inputValue);
        out.writeDouble(event.responseTime);
        for (int i = 0; i < Event.TEXTS; i++) {
            out.writeInt(event.start[i]);
            out.writeInt(event.end[i]);
        }
        out.writeInt(event.length);
        out.write(event.bytes, 0, event.length);
    }

    @Override
    public Event deserialize(DataInputView in) throws IOException {
        return deserialize(new Event(), in);
    }

    @Override
    public Event deserialize(Event event, DataInputView in) throws IOException {
        event.readOrigin(in);
        int flags = in.readByte();
        event.hasInputValue = (flags & HAS_INPUT_VALUE) != 0;
        event.hasResponseTime = (flags & HAS_RESPONSE_TIME) != 0;
        event.inputValue = in.readInt();
        event.responseTime = in.readDouble();
        for (int i = 0; i < Event.TEXTS; i++) {
            event.start[i] = in.readInt();
            event.end[i] = in.readInt();
        }
        event.length = in.readInt();
        event.ensureCapacity(event.length);
        in.readFully(event.bytes, 0, event.length);
        return event;
    }

    @Override
    public void copy(DataInputView in, DataOutputView out) throws IOException {
        serialize(deserialize(in), out);
    }

    @Override
    public TypeSerializerSnapshot<Event> snapshotConfiguration() {
        return new Snapshot();
    }

    /** Flink's way to know the serializer of a savepoint. */
    public static final class Snapshot extends SimpleTypeSerializerSnapshot<Event> {
        public Snapshot() {
            super(() -> INSTANCE);
        }
    }

    /** Tells Flink to use this serializer instead of Kryo. */
    public static final class Info extends OwnType<Event> {
        Info() {
            super(Event.class, false);
        }

        @Override
        public TypeSerializer<Event> createSerializer(SerializerConfig config) {
            return INSTANCE;
        }
    }
}
