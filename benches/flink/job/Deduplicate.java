import java.time.Duration;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.StateTtlConfig;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.table.data.RowData;
import org.apache.flink.util.Collector;
import org.apache.flink.util.OutputTag;

/** The first event of each id goes on, flagged when it is late; later ones end here for 24 hours. */
final class Deduplicate extends KeyedProcessFunction<EventKey, Event, RowData> {
    static final OutputTag<Event> TOO_LATE = new OutputTag<>("too-late", new EventSerializer.Info()) {};
    private static final Duration TTL = Duration.ofHours(24);
    private static final long ALLOWED_LATENESS_MS = Duration.ofHours(1).toMillis();

    private transient ValueState<Boolean> seen;
    private transient EventRow row;

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
        row = new EventRow();
    }

    @Override
    public void processElement(Event event, Context context, Collector<RowData> out) throws Exception {
        if (seen.value() != null) {
            return;
        }
        long watermark = context.timerService().currentWatermark();
        long eventTime = Math.floorDiv(event.eventTime, 1000L);
        if (watermark != Long.MIN_VALUE && eventTime < watermark - ALLOWED_LATENESS_MS) {
            context.output(TOO_LATE, event);
            return;
        }
        seen.update(Boolean.TRUE);
        row.event = event;
        row.watermark = watermark;
        row.isLate = eventTime < watermark;
        out.collect(row);
    }
}
