import java.time.Duration;
import org.apache.flink.api.common.functions.RuntimeContext;
import org.apache.flink.api.common.state.StateTtlConfig;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.Types;

/** The state of the deduplication: a flag for each id, for 24 hours; expired ones go with RocksDB's compactions. */
final class Seen {
    private static final Duration TTL = Duration.ofHours(24);
    private static final int ENTRIES_BETWEEN_CLOCK_READS = 100_000;

    private Seen() {}

    static ValueState<Boolean> of(RuntimeContext context) {
        StateTtlConfig ttl = StateTtlConfig.newBuilder(TTL)
                .setUpdateType(StateTtlConfig.UpdateType.OnCreateAndWrite)
                .setStateVisibility(StateTtlConfig.StateVisibility.NeverReturnExpired)
                .cleanupInRocksdbCompactFilter(ENTRIES_BETWEEN_CLOCK_READS)
                .build();
        ValueStateDescriptor<Boolean> descriptor = new ValueStateDescriptor<>("seen", Types.BOOLEAN);
        descriptor.enableTimeToLive(ttl);
        return context.getState(descriptor);
    }
}
