//! Durations and sizes as people write them.

use std::fmt::Write;
use std::time::Duration;

/// What a duration looks like, for messages.
pub const DURATION_FORM: &str = "a duration such as `250ms`, `30s`, `5m`, `24h` or `1h30m`";

/// What a size looks like, for messages.
pub const SIZE_FORM: &str = "a size such as `512KiB`, `64MiB` or `1GiB`, or a number of bytes";

/// What a duration looks like, for editors.
pub const DURATION_PATTERN: &str =
    r"^(0|(?=[0-9])([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?)$";

/// What a size looks like, for editors.
pub const SIZE_PATTERN: &str = r"^[0-9]+ ?(B|KiB|MiB|GiB|TiB)?$";

/// Largest first: a duration is written in descending units. Milliseconds are the smallest, since
/// Kafka's timestamps are no finer.
const DURATION_UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

const SIZE_UNITS: [(&str, u64); 5] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

/// Reads `5m`, `1h30m`, `1500ms`, `0`; `None` for anything else, or when it overflows.
///
/// ```
/// use std::time::Duration;
/// use strandline::config::units::parse_duration;
/// assert_eq!(parse_duration("1h30m"), Some(Duration::from_secs(5400)));
/// assert_eq!(parse_duration("30"), None);
/// ```
pub fn parse_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total_ms: u64 = 0;
    let mut units = DURATION_UNITS.iter();
    while !rest.is_empty() {
        let (count, after) = split_number(rest)?;
        let unit_length = after
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_length);
        // The iterator goes on from the unit before, so units can neither repeat nor ascend.
        let (_, unit_ms) = units.find(|(name, _)| *name == unit)?;
        total_ms = total_ms.checked_add(count.checked_mul(*unit_ms)?)?;
        rest = after;
    }
    (!text.is_empty()).then(|| Duration::from_millis(total_ms))
}

/// Writes a duration as [`parse_duration`] reads it. What is below a millisecond is left out.
pub fn format_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, unit_ms) in DURATION_UNITS {
        // 24h, not 1d: the words of the interface.
        if unit == "d" && rest < 3 * unit_ms {
            continue;
        }
        if rest >= unit_ms {
            let _ = write!(text, "{}{unit}", rest / unit_ms);
            rest %= unit_ms;
        }
    }
    if text.is_empty() {
        "0s".to_owned()
    } else {
        text
    }
}

/// Reads `64MiB`, `1 GiB`, `1048576`; `None` for anything else, or when it overflows.
pub fn parse_size(text: &str) -> Option<u64> {
    let (count, unit) = split_number(text)?;
    let unit = unit.strip_prefix(' ').unwrap_or(unit);
    if unit.is_empty() {
        return Some(count);
    }
    let (_, bytes) = SIZE_UNITS.iter().find(|(name, _)| *name == unit)?;
    count.checked_mul(*bytes)
}

/// Writes a size in the largest unit that divides it.
pub fn format_size(bytes: u64) -> String {
    for (unit, unit_bytes) in SIZE_UNITS {
        if unit != "B" && bytes >= unit_bytes && bytes.is_multiple_of(unit_bytes) {
            return format!("{}{unit}", bytes / unit_bytes);
        }
    }
    bytes.to_string()
}

fn split_number(text: &str) -> Option<(u64, &str)> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    Some((number.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_duration_is_read_in_descending_units_and_nothing_else_is() {
        for (text, ms) in [
            ("5m", 300_000),
            ("30s", 30_000),
            ("1500ms", 1500),
            ("24h", 86_400_000),
            ("1h30m", 5_400_000),
            ("0", 0),
            ("2d", 172_800_000),
        ] {
            assert_eq!(
                parse_duration(text),
                Some(Duration::from_millis(ms)),
                "{text}"
            );
        }
        for text in [
            "",
            "5",
            "m",
            "5 m",
            "30m1h",
            "5m5m",
            "-5m",
            "1.5s",
            "5min",
            "99999999999999999999s",
            "9999999999999999d",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn a_size_is_read_with_a_binary_unit_or_none() {
        for (text, bytes) in [
            ("64MiB", 64 << 20),
            ("1GiB", 1 << 30),
            ("512KiB", 512 << 10),
            ("17", 17),
            ("1 GiB", 1 << 30),
        ] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for text in [
            "",
            "MiB",
            "64MB",
            "64 M",
            "-1",
            "1.5GiB",
            "18446744073709551615GiB",
        ] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(ms in 0..u64::MAX / 2, bytes: u64) {
            let duration = Duration::from_millis(ms);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Some(duration));
            prop_assert_eq!(parse_size(&format_size(bytes)), Some(bytes));
        }
    }
}
