import java.util.List;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.table.data.RowData;
import org.apache.flink.util.Collector;

/** As {@link Deduplicate}, of records whose lateness is judged already. */
final class DeduplicateFlat extends KeyedProcessFunction<EventKey, FlatRecord, RowData> {
    private final List<FlatColumn> columns;
    private transient ValueState<Boolean> seen;
    private transient FlatRow row;

    DeduplicateFlat(List<FlatColumn> columns) {
        this.columns = columns;
    }

    @Override
    public void open(OpenContext context) {
        seen = Seen.of(getRuntimeContext());
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
