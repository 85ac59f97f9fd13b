import java.time.Duration;
import java.util.List;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.StateTtlConfig;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.table.data.RowData;
import org.apache.flink.util.Collector;

/** As {@link Deduplicate}, of records whose lateness is judged already. */
final class DeduplicateFlat extends KeyedProcessFunction<EventKey, FlatRecord, RowData> {
    private static final Duration TTL = Duration.ofHours(24);

    private final List<FlatColumn> columns;
    private transient ValueState<Boolean> seen;
    private transient FlatRow row;

    DeduplicateFlat(List<FlatColumn> columns) {
        this.columns = columns;
    }

    @Override
    public void open(OpenContext context) {
        StateTtlConfig ttl = StateTtlConfig.newBuilder(TTL)
                .setUpdateType(StateTtlConfig.UpdateType.OnCreateAndWrite)
                .setStateVisibility(StateTtlConfig.StateVisibility.NeverReturnExpired)
                .cleanupInRocksdbCompactFilter(100_000)
                .build();
        ValueStateDescriptor<Boolean> descriptor = new ValueStateDescriptor<>("seen", Types.BOOLEAN);
        descriptor.enableTimeToLive(ttl);
        seen = getRuntimeContext().getState(descriptor);
        row = new FlatRow(columns);
    }

    @Override
    public void processElement(FlatRecord record, Context context, Collector<RowData> out) throws Exception {
        if (seen.value() != null) {
            return;
        }
        seen.update(Boolean.TRUE);
        row.record = record;
        out.collect(row);
    }
}
