import java.io.IOException;
import java.util.HashMap;
import java.util.Map;
import org.apache.flink.api.common.serialization.SerializerConfig;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.common.typeutils.TypeSerializerSnapshot;
import org.apache.flink.core.memory.DataInputView;
import org.apache.flink.core.memory.DataOutputView;

/** How records travel to the worker that owns their id, by the number of their texts and numbers; instead of Kryo. */
public final class FlatRecordInfo extends OwnType<FlatRecord> {
    private final int texts;
    private final int numbers;

    FlatRecordInfo(int texts, int numbers) {
        super(FlatRecord.class, false);
        this.texts = texts;
        this.numbers = numbers;
    }

    FlatRecord create() {
        return new FlatRecord(texts, numbers);
    }

    @Override
    public TypeSerializer<FlatRecord> createSerializer(SerializerConfig config) {
        return new Serializer(texts, numbers);
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof FlatRecordInfo info && info.texts == texts && info.numbers == numbers;
    }

    @Override
    public int hashCode() {
        return 31 * texts + numbers;
    }

    private static final class Serializer extends TypeSerializer<FlatRecord> {
        private final int texts;
        private final int numbers;

        Serializer(int texts, int numbers) {
            this.texts = texts;
            this.numbers = numbers;
        }

        @Override
        public boolean isImmutableType() {
            return false;
        }

        @Override
        public TypeSerializer<FlatRecord> duplicate() {
            return this;
        }

        @Override
        public FlatRecord createInstance() {
            return new FlatRecord(texts, numbers);
        }

        @Override
        public FlatRecord copy(FlatRecord from) {
            return copy(from, createInstance());
        }

        @Override
        public FlatRecord copy(FlatRecord from, FlatRecord reuse) {
            reuse.copyFrom(from);
            return reuse;
        }

        @Override
        public int getLength() {
            return -1;
        }

        @Override
        public void serialize(FlatRecord record, DataOutputView out) throws IOException {
            record.writeOrigin(out);
            out.writeLong(record.watermark);
            out.writeBoolean(record.isLate);
            for (int i = 0; i < texts; i++) {
                out.writeInt(record.start[i]);
                out.writeInt(record.end[i]);
            }
            for (int i = 0; i < numbers; i++) {
                out.writeLong(record.numbers[i]);
            }
            out.writeInt(record.length);
            out.write(record.bytes, 0, record.length);
            out.writeShort(record.headers.size());
            for (Map.Entry<String, byte[]> header : record.headers.entrySet()) {
                out.writeUTF(header.getKey());
                out.writeInt(header.getValue().length);
                out.write(header.getValue());
            }
        }

        @Override
        public FlatRecord deserialize(DataInputView in) throws IOException {
            return deserialize(createInstance(), in);
        }

        @Override
        public FlatRecord deserialize(FlatRecord record, DataInputView in) throws IOException {
            record.readOrigin(in);
            record.watermark = in.readLong();
            record.isLate = in.readBoolean();
            for (int i = 0; i < texts; i++) {
                record.start[i] = in.readInt();
                record.end[i] = in.readInt();
            }
            for (int i = 0; i < numbers; i++) {
                record.numbers[i] = in.readLong();
            }
            int length = in.readInt();
            record.length = 0;
            record.reserve(length);
            in.readFully(record.bytes, 0, length);
            record.length = length;
            int headers = in.readUnsignedShort();
            record.headers = headers == 0 ? Map.of() : new HashMap<>();
            for (int i = 0; i < headers; i++) {
                String name = in.readUTF();
                byte[] value = new byte[in.readInt()];
                in.readFully(value);
                record.headers.put(name, value);
            }
            record.original = null;
            return record;
        }

        @Override
        public void copy(DataInputView in, DataOutputView out) throws IOException {
            serialize(deserialize(in), out);
        }

        @Override
        public boolean equals(Object other) {
            return other instanceof Serializer serializer
                    && serializer.texts == texts
                    && serializer.numbers == numbers;
        }

        @Override
        public int hashCode() {
            return 31 * texts + numbers;
        }

        @Override
        public TypeSerializerSnapshot<FlatRecord> snapshotConfiguration() {
            // Records are in no state: only the hashes of their ids are.
            throw new UnsupportedOperationException("records are in no state");
        }
    }
}
