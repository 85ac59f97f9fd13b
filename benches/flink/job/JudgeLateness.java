import org.apache.flink.streaming.api.functions.ProcessFunction;
import org.apache.flink.util.Collector;
import org.apache.flink.util.OutputTag;

/**
 * Flags what is late; sends what is too late, or no event, to the side. Before the exchange, where the value is still at
 * hand, so that only what the row needs has to travel.
 */
final class JudgeLateness extends ProcessFunction<FlatRecord, FlatRecord> {
    private final OutputTag<FlatRecord> dead;

    JudgeLateness(OutputTag<FlatRecord> dead) {
        this.dead = dead;
    }

    @Override
    public void processElement(FlatRecord record, Context context, Collector<FlatRecord> out) {
        long watermark = context.timerService().currentWatermark();
        if (record.problem != null || Settings.isTooLate(record, watermark)) {
            context.output(dead, record);
            return;
        }
        record.watermark = watermark;
        record.isLate = record.eventMillis() < watermark;
        out.collect(record);
    }
}
