import java.util.HashMap;
import java.util.Map;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;
import org.apache.flink.util.Collector;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.header.Header;

/** From Kafka's record to a {@link FlatRecord}, in the source, so that watermarks follow each partition. */
final class ParseFlat implements KafkaRecordDeserializationSchema<FlatRecord> {
    private final FlatParser parser;
    private final FlatRecordInfo info;
    private transient FlatRecord record;

    ParseFlat(FlatParser parser, FlatRecordInfo info) {
        this.parser = parser;
        this.info = info;
    }

    @Override
    public void open(org.apache.flink.api.common.serialization.DeserializationSchema.InitializationContext context) {
        record = info.create();
    }

    @Override
    public void deserialize(ConsumerRecord<byte[], byte[]> from, Collector<FlatRecord> out) {
        // The same one each time: the task's thread calls this and passes it on before it calls again.
        record.clear();
        record.comesFrom(from);
        record.original = from.value();
        for (Header header : from.headers()) {
            if (record.headers.isEmpty()) {
                record.headers = new HashMap<>();
            }
            record.headers.put(header.key(), header.value());
        }
        try {
            if (!parser.parse(from.key(), from.value(), record)) {
                return;
            }
            record.hashId();
        } catch (Invalid invalid) {
            record.reject(invalid.getMessage());
        }
        out.collect(record);
    }

    @Override
    public TypeInformation<FlatRecord> getProducedType() {
        return info;
    }
}
