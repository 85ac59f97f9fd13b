import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.serialization.SerializationSchema;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;

/**
 * What all jobs set alike.
 *
 * <p>Arguments: {@code --bootstrap-servers S --topic T --dead-letters T [--bounded]}, and where the table is: {@code
 * --warehouse DIR}, or {@code --catalog-uri URI} of a REST catalog, and {@code [--table NAMESPACE.NAME]}.
 */
final class Settings {
    private static final Duration OUT_OF_ORDERNESS = Duration.ofMinutes(5);
    private static final Duration IDLENESS = Duration.ofSeconds(30);
    private static final long ALLOWED_LATENESS_MS = Duration.ofHours(1).toMillis();
    private static final long MAX_FUTURE_SKEW_MS = Duration.ofHours(1).toMillis();

    private final Map<String, String> options = new HashMap<>();

    /** {@code --name VALUE} and {@code --name} alone. */
    Settings(String[] args) {
        for (int i = 0; i < args.length; i++) {
            boolean hasValue = i + 1 < args.length && !args[i + 1].startsWith("--");
            options.put(args[i], hasValue ? args[++i] : "");
        }
    }

    String get(String name) {
        return options.get(name);
    }

    <T extends Incoming> KafkaSource<T> source(KafkaRecordDeserializationSchema<T> parse) {
        var source = KafkaSource.<T>builder()
                .setBootstrapServers(get("--bootstrap-servers"))
                .setTopics(get("--topic"))
                .setGroupId("flink-" + get("--topic"))
                .setStartingOffsets(OffsetsInitializer.earliest())
                .setProperty("isolation.level", "read_committed")
                .setProperty("fetch.max.bytes", String.valueOf(64 << 20))
                .setProperty("max.partition.fetch.bytes", String.valueOf(8 << 20))
                .setProperty("max.poll.records", "5000")
                .setDeserializer(parse);
        if (options.containsKey("--bounded")) {
            source.setBounded(OffsetsInitializer.latest());
        }
        return source.build();
    }

    static <T extends Incoming> WatermarkStrategy<T> watermarks() {
        return WatermarkStrategy.<T>forBoundedOutOfOrderness(OUT_OF_ORDERNESS)
                .withTimestampAssigner((record, timestamp) -> record.eventMillis())
                .withIdleness(IDLENESS);
    }

    static boolean isTooLate(Incoming record, long watermark) {
        return watermark != Long.MIN_VALUE && record.eventMillis() < watermark - ALLOWED_LATENESS_MS;
    }

    /**
     * Whether an event says that it happened long after its record was made. One of the year 9999 in each partition would
     * else take the watermark there, and every event that follows would be too late.
     */
    static boolean isOfTheFuture(Incoming record) {
        return record.timestamp >= 0 && record.eventTime > (record.timestamp + MAX_FUTURE_SKEW_MS) * 1000;
    }

    <T> KafkaSink<T> deadLetters(SerializationSchema<T> original) {
        return KafkaSink.<T>builder()
                .setBootstrapServers(get("--bootstrap-servers"))
                .setDeliveryGuarantee(DeliveryGuarantee.AT_LEAST_ONCE)
                .setRecordSerializer(KafkaRecordSerializationSchema.<T>builder()
                        .setTopic(get("--dead-letters"))
                        .setValueSerializationSchema(original)
                        .build())
                .build();
    }
}
