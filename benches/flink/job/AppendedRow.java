import org.apache.flink.table.data.ArrayData;
import org.apache.flink.table.data.DecimalData;
import org.apache.flink.table.data.MapData;
import org.apache.flink.table.data.RawValueData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.TimestampData;
import org.apache.flink.types.RowKind;
import org.apache.flink.types.variant.Variant;

/**
 * A row of a table that is only appended to. Rows are views of the records, so that no row object is filled; one shows
 * what its table has and leaves the other types to this.
 */
abstract class AppendedRow implements RowData {
    private String topic;
    private StringData topicText;

    /** The topic's name as a column: made once, as it seldom changes. */
    final StringData topic(Incoming record) {
        if (!record.topic.equals(topic)) {
            topic = record.topic;
            topicText = StringData.fromString(topic);
        }
        return topicText;
    }

    /** The event's time as a column, exact to the microsecond. */
    static TimestampData eventTime(Incoming record) {
        return TimestampData.fromEpochMillis(
                record.eventMillis(), (int) Math.floorMod(record.eventTime, 1000L) * 1000);
    }

    @Override
    public final RowKind getRowKind() {
        return RowKind.INSERT;
    }

    @Override
    public final void setRowKind(RowKind kind) {
        if (kind != RowKind.INSERT) {
            throw new UnsupportedOperationException("the table is appended to");
        }
    }

    @Override
    public double getDouble(int column) {
        throw unsupported();
    }

    @Override
    public byte[] getBinary(int column) {
        throw unsupported();
    }

    @Override
    public MapData getMap(int column) {
        throw unsupported();
    }

    @Override
    public final byte getByte(int column) {
        throw unsupported();
    }

    @Override
    public final short getShort(int column) {
        throw unsupported();
    }

    @Override
    public final float getFloat(int column) {
        throw unsupported();
    }

    @Override
    public final DecimalData getDecimal(int column, int precision, int scale) {
        throw unsupported();
    }

    @Override
    public final <T> RawValueData<T> getRawValue(int column) {
        throw unsupported();
    }

    @Override
    public final ArrayData getArray(int column) {
        throw unsupported();
    }

    @Override
    public final RowData getRow(int column, int fields) {
        throw unsupported();
    }

    @Override
    public final Variant getVariant(int column) {
        throw unsupported();
    }

    private static UnsupportedOperationException unsupported() {
        return new UnsupportedOperationException("the table has no column of this type");
    }
}
