import java.io.IOException;
import org.apache.flink.core.memory.DataInputView;
import org.apache.flink.core.memory.DataOutputView;
import org.apache.kafka.clients.consumer.ConsumerRecord;

/** What every record has on its way through a job: where it comes from, its key and its time. */
abstract class Incoming {
    /** The 128-bit hash of the event id: the key. */
    long hashHigh;

    long hashLow;
    /** Microseconds since 1970. */
    long eventTime;

    String topic;
    int partition;
    long offset;
    /** The broker's, in milliseconds since 1970. */
    long timestamp;
    /** When the source read it, in milliseconds since 1970. */
    long ingestedAt;

    /** Why the record cannot land; null when it can. Not sent to the worker that owns the id. */
    String problem;

    /** Takes over where a record of Kafka lies. */
    final void comesFrom(ConsumerRecord<byte[], byte[]> record) {
        topic = record.topic();
        partition = record.partition();
        offset = record.offset();
        timestamp = record.timestamp();
        ingestedAt = System.currentTimeMillis();
    }

    /** Says why the record cannot land. It has no time of its own then and must not move the watermark. */
    final void reject(String why) {
        problem = why;
        eventTime = Long.MIN_VALUE;
    }

    /** The event's time in milliseconds, as Flink counts. */
    final long eventMillis() {
        return Math.floorDiv(eventTime, 1000L);
    }

    final void copyOrigin(Incoming other) {
        hashHigh = other.hashHigh;
        hashLow = other.hashLow;
        eventTime = other.eventTime;
        topic = other.topic;
        partition = other.partition;
        offset = other.offset;
        timestamp = other.timestamp;
        ingestedAt = other.ingestedAt;
        problem = other.problem;
    }

    final void writeOrigin(DataOutputView out) throws IOException {
        out.writeLong(hashHigh);
        out.writeLong(hashLow);
        out.writeLong(eventTime);
        out.writeLong(offset);
        out.writeLong(timestamp);
        out.writeLong(ingestedAt);
        out.writeInt(partition);
        out.writeUTF(topic);
    }

    final void readOrigin(DataInputView in) throws IOException {
        hashHigh = in.readLong();
        hashLow = in.readLong();
        eventTime = in.readLong();
        offset = in.readLong();
        timestamp = in.readLong();
        ingestedAt = in.readLong();
        partition = in.readInt();
        topic = in.readUTF();
        problem = null;
    }
}
