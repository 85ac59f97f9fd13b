import java.time.Duration;
import org.apache.flink.streaming.api.functions.ProcessFunction;
import org.apache.flink.util.Collector;
import org.apache.flink.util.OutputTag;

/**
 * Flags what is late; sends what is too late, or no event, to the side. Before the exchange, where the value is still at
 * hand, so that only what the row needs has to travel.
 */
final class JudgeLateness extends ProcessFunction<FlatRecord, FlatRecord> {
    private static final long ALLOWED_LATENESS_MS = Duration.ofHours(1).toMillis();
    private final OutputTag<FlatRecord> dead;

    JudgeLateness(OutputTag<FlatRecord> dead) {
        this.dead = dead;
    }

    @Override
    public void processElement(FlatRecord record, Context context, Collector<FlatRecord> out) {
        long watermark = context.timerService().currentWatermark();
        long eventTime = Math.floorDiv(record.eventTime, 1000L);
        boolean isTooLate = watermark != Long.MIN_VALUE && eventTime < watermark - ALLOWED_LATENESS_MS;
        if (record.problem != null || isTooLate) {
            context.output(dead, record);
            return;
        }
        record.watermark = watermark;
        record.isLate = eventTime < watermark;
        out.collect(record);
    }
}
