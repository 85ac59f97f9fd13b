//! Events of the Roman numeral service that happen now.

use strandline_operators::time::EventTime;

/// The value of one.
pub fn fresh(number: u64) -> Vec<u8> {
    format!(
        "{{\"event_id\":\"fresh-{number:012}\",\"event_type\":\"conversion\",\"event_time\":{},\"user_id\":\"user-{:05}\",\"session_id\":\"{number:012x}\",\"input_value\":{},\"roman_numeral\":\"MCMXCIV\",\"response_time_ms\":12.5,\"source\":\"bench\"}}",
        EventTime::now().0 / 1000,
        number % 50_000,
        number % 3999 + 1
    )
    .into_bytes()
}
