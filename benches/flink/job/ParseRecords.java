import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;
import org.apache.flink.util.Collector;
import org.apache.kafka.clients.consumer.ConsumerRecord;

/** From Kafka's record to an event, in the source, so that watermarks follow each partition. */
public final class ParseRecords implements KafkaRecordDeserializationSchema<Event> {
    private transient EventParser parser;
    private transient Event event;

    @Override
    public void open(org.apache.flink.api.common.serialization.DeserializationSchema.InitializationContext context) {
        parser = new EventParser();
        event = new Event();
    }

    @Override
    public void deserialize(ConsumerRecord<byte[], byte[]> record, Collector<Event> out) {
        // The same one each time: the task's thread calls this and passes it on before it calls again.
        event.clear();
        event.topic = record.topic();
        event.partition = record.partition();
        event.offset = record.offset();
        event.timestamp = record.timestamp();
        event.ingestedAt = System.currentTimeMillis();
        byte[] value = record.value();
        if (value == null) {
            event.problem = "null value";
        } else {
            event.bytes = value;
            event.length = value.length;
            parser.parse(event);
        }
        if (event.problem == null) {
            int id = event.start[Event.EVENT_ID];
            EventKey.hash(event.bytes, id, event.end[Event.EVENT_ID] - id, event);
        } else {
            // No time of its own: must not move the watermark.
            event.eventTime = Long.MIN_VALUE;
        }
        out.collect(event);
    }

    @Override
    public TypeInformation<Event> getProducedType() {
        return new EventSerializer.Info();
    }
}
