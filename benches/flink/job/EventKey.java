import java.io.IOException;
import org.apache.flink.api.common.serialization.SerializerConfig;
import org.apache.flink.api.common.typeutils.SimpleTypeSerializerSnapshot;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.common.typeutils.TypeSerializerSnapshot;
import org.apache.flink.api.common.typeutils.base.TypeSerializerSingleton;
import org.apache.flink.core.memory.DataInputView;
import org.apache.flink.core.memory.DataOutputView;

/** 128 bits of an event id's hash, the key of the state: 16 bytes in RocksDB instead of 36 of text. */
public record EventKey(long high, long low) {
    private static final long C1 = 0x87c37b91114253d5L;
    private static final long C2 = 0x4cf5ad432745937fL;

    @Override
    public int hashCode() {
        return (int) (low ^ low >>> 32);
    }

    /** MurmurHash3 x64 128 with seed 0, as published by Austin Appleby. */
    static void hash(byte[] bytes, int from, int length, Incoming record) {
        long h1 = 0;
        long h2 = 0;
        int at = from;
        for (int left = length; left >= 16; left -= 16, at += 16) {
            h1 = Long.rotateLeft(h1 ^ mix1(word(bytes, at, 8)), 27) + h2;
            h1 = h1 * 5 + 0x52dce729;
            h2 = Long.rotateLeft(h2 ^ mix2(word(bytes, at + 8, 8)), 31) + h1;
            h2 = h2 * 5 + 0x38495ab5;
        }
        int tail = from + length - at;
        if (tail > 8) {
            h2 ^= mix2(word(bytes, at + 8, tail - 8));
        }
        if (tail > 0) {
            h1 ^= mix1(word(bytes, at, Math.min(tail, 8)));
        }
        h1 ^= length;
        h2 ^= length;
        h1 += h2;
        h2 += h1;
        h1 = finish(h1);
        h2 = finish(h2);
        h1 += h2;
        h2 += h1;
        record.hashHigh = h1;
        record.hashLow = h2;
    }

    private static final java.lang.invoke.VarHandle LONGS =
            java.lang.invoke.MethodHandles.byteArrayViewVarHandle(long[].class, java.nio.ByteOrder.LITTLE_ENDIAN);

    private static long word(byte[] bytes, int at, int count) {
        if (count == 8) {
            return (long) LONGS.get(bytes, at);
        }
        long word = 0;
        for (int i = count - 1; i >= 0; i--) {
            word = word << 8 | (bytes[at + i] & 0xffL);
        }
        return word;
    }

    private static long mix1(long k) {
        return Long.rotateLeft(k * C1, 31) * C2;
    }

    private static long mix2(long k) {
        return Long.rotateLeft(k * C2, 33) * C1;
    }

    private static long finish(long k) {
        k = (k ^ k >>> 33) * 0xff51afd7ed558ccdL;
        k = (k ^ k >>> 33) * 0xc4ceb9fe1a85ec53L;
        return k ^ k >>> 33;
    }

    /** Sixteen bytes, big endian. */
    public static final class Serializer extends TypeSerializerSingleton<EventKey> {
        static final Serializer INSTANCE = new Serializer();

        @Override
        public boolean isImmutableType() {
            return true;
        }

        @Override
        public EventKey createInstance() {
            return new EventKey(0, 0);
        }

        @Override
        public EventKey copy(EventKey from) {
            return from;
        }

        @Override
        public EventKey copy(EventKey from, EventKey reuse) {
            return from;
        }

        @Override
        public int getLength() {
            return 16;
        }

        @Override
        public void serialize(EventKey key, DataOutputView out) throws IOException {
            out.writeLong(key.high);
            out.writeLong(key.low);
        }

        @Override
        public EventKey deserialize(DataInputView in) throws IOException {
            return new EventKey(in.readLong(), in.readLong());
        }

        @Override
        public EventKey deserialize(EventKey reuse, DataInputView in) throws IOException {
            return deserialize(in);
        }

        @Override
        public void copy(DataInputView in, DataOutputView out) throws IOException {
            serialize(deserialize(in), out);
        }

        @Override
        public TypeSerializerSnapshot<EventKey> snapshotConfiguration() {
            return new Snapshot();
        }
    }

    /** Flink's way to know the serializer of a savepoint. */
    public static final class Snapshot extends SimpleTypeSerializerSnapshot<EventKey> {
        public Snapshot() {
            super(() -> Serializer.INSTANCE);
        }
    }

    /** Tells Flink to use {@link Serializer} instead of Kryo. */
    public static final class Info extends OwnType<EventKey> {
        Info() {
            super(EventKey.class, true);
        }

        @Override
        public TypeSerializer<EventKey> createSerializer(SerializerConfig config) {
            return Serializer.INSTANCE;
        }
    }
}
