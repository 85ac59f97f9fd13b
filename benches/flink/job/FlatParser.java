import java.io.Serializable;

/** What the jobs differ in: how a value becomes a {@link FlatRecord}. */
interface FlatParser extends Serializable {
    /**
     * Fills a record that was cleared, whose coordinates are set; sets its problem when it cannot land.
     *
     * @return whether it is anything at all: what is not is dropped
     */
    boolean parse(byte[] key, byte[] value, FlatRecord into);
}
