import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.table.data.RowData;
import org.apache.flink.util.Collector;
import org.apache.flink.util.OutputTag;

/** The first event of each id goes on, flagged when it is late; later ones end here for 24 hours. */
final class Deduplicate extends KeyedProcessFunction<EventKey, Event, RowData> {
    static final OutputTag<Event> TOO_LATE = new OutputTag<>("too-late", new EventSerializer.Info()) {};

    private transient ValueState<Boolean> seen;
    private transient EventRow row;

    @Override
    public void open(OpenContext context) {
        seen = Seen.of(getRuntimeContext());
        row = new EventRow();
    }

    @Override
    public void processElement(Event event, Context context, Collector<RowData> out) throws Exception {
        if (seen.value() != null) {
            return;
        }
        long watermark = context.timerService().currentWatermark();
        if (Settings.isTooLate(event, watermark)) {
            context.output(TOO_LATE, event);
            return;
        }
        seen.update(Boolean.TRUE);
        row.event = event;
        row.watermark = watermark;
        row.isLate = event.eventMillis() < watermark;
        out.collect(row);
    }
}
