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
        event.comesFrom(record);
        byte[] value = record.value();
        if (value == null) {
            event.reject("null value");
        } else {
            event.bytes = value;
            event.length = value.length;
            try {
                parser.parse(event);
                int id = event.start[Event.EVENT_ID];
                EventKey.hash(event.bytes, id, event.end[Event.EVENT_ID] - id, event);
                if (Settings.isOfTheFuture(event)) {
                    event.reject("event_time is in the future");
                }
            } catch (Invalid invalid) {
                event.reject(invalid.getMessage());
            }
        }
        out.collect(event);
    }

    @Override
    public TypeInformation<Event> getProducedType() {
        return new EventSerializer.Info();
    }
}
