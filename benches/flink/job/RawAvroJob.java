import java.util.List;
import org.apache.iceberg.catalog.TableIdentifier;
import org.apache.iceberg.types.Types;

/**
 * Trades in Avro with a schema registry's header, kept byte for byte, deduplicated by the {@code message_id} in them: what
 * Strandline's job {@code crypto-binance} does.
 *
 * <p>Arguments: those of {@link Settings}, and {@code --registry URL}.
 */
public final class RawAvroJob {
    private RawAvroJob() {}

    public static void main(String[] args) throws Exception {
        Settings settings = new Settings(args);
        FlatJob.run(
                settings,
                new TradePeeker(settings.get("--registry")),
                new FlatRecordInfo(TradePeeker.TEXTS, TradePeeker.NUMBERS),
                TableIdentifier.of("bronze", "crypto_trades_binance_raw"),
                List.of(
                        FlatColumn.text("event_id", FlatRecord.EVENT_ID),
                        FlatColumn.of("kafka_key", Types.BinaryType.get(), false, FlatColumn.Shows.BINARY, TradePeeker.KEY),
                        FlatColumn.of("value", Types.BinaryType.get(), true, FlatColumn.Shows.BINARY, TradePeeker.VALUE),
                        FlatColumn.of(
                                "kafka_headers",
                                Types.MapType.ofOptional(101, 102, Types.StringType.get(), Types.BinaryType.get()),
                                true,
                                FlatColumn.Shows.HEADERS,
                                0),
                        FlatColumn.of(
                                "schema_id",
                                Types.IntegerType.get(),
                                false,
                                FlatColumn.Shows.NUMBER,
                                TradePeeker.SCHEMA_ID)));
    }
}
