import java.io.IOException;
import java.util.HashMap;
import java.util.Map;
import org.apache.flink.api.common.serialization.SerializerConfig;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.common.typeutils.TypeSerializerSnapshot;
import org.apache.flink.core.memory.DataInputView;
import org.apache.flink.core.memory.DataOutputView;

/** How records travel to the worker that owns their id, by the number of their texts and numbers; instead of Kryo. */
public final class FlatRecordInfo extends TypeInformation<FlatRecord> {
    private final int texts;
    private final int numbers;

    FlatRecordInfo(int texts, int numbers) {
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
    public boolean isBasicType() {
        return false;
    }

    @Override
    public boolean isTupleType() {
        return false;
    }

    @Override
    public int getArity() {
        return 1;
    }

    @Override
    public int getTotalFields() {
        return 1;
    }

    @Override
    public Class<FlatRecord> getTypeClass() {
        return FlatRecord.class;
    }

    @Override
    public boolean isKeyType() {
        return false;
    }

    @Override
    public String toString() {
        return "FlatRecord(" + texts + ", " + numbers + ")";
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof FlatRecordInfo info && info.texts == texts && info.numbers == numbers;
    }

    @Override
    public int hashCode() {
        return 31 * texts + numbers;
    }

    @Override
    public boolean canEqual(Object other) {
        return other instanceof FlatRecordInfo;
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
            out.writeLong(record.hashHigh);
            out.writeLong(record.hashLow);
            out.writeLong(record.eventTime);
            out.writeLong(record.watermark);
            out.writeBoolean(record.isLate);
            out.writeLong(record.offset);
            out.writeLong(record.timestamp);
            out.writeLong(record.ingestedAt);
            out.writeInt(record.partition);
            out.writeUTF(record.topic);
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
            record.hashHigh = in.readLong();
            record.hashLow = in.readLong();
            record.eventTime = in.readLong();
            record.watermark = in.readLong();
            record.isLate = in.readBoolean();
            record.offset = in.readLong();
            record.timestamp = in.readLong();
            record.ingestedAt = in.readLong();
            record.partition = in.readInt();
            record.topic = in.readUTF();
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
            record.problem = null;
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
