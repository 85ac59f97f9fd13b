/** What a parser says about a value that it cannot read. */
final class Invalid extends RuntimeException {
    Invalid(String message) {
        super(message, null, false, false);
    }
}
