//! Timestamps as text: ISO-8601 / RFC 3339 date and time, to microseconds since 1970 in UTC.
//!
//! `YYYY-MM-DD`, then `T`, `t` or a space, then `hh:mm`, `hh:mm:ss` or `hh:mm:ss` with 1 to 9 digits of
//! fraction after `.` or `,` (truncated to microseconds), then `Z`, `z`, `+hh:mm`, `+hhmm`, `+hh`, the
//! same with `-`, or nothing, which means UTC. Years 0001 to 9999 as written. A leap second (`:60`) is
//! refused: it has no place in a count of seconds since 1970, and moving it would be guessing.

use crate::time::MICROS_PER_SECOND;

const SHAPE: &str = "not `YYYY-MM-DDThh:mm[:ss[.fraction]][Z|+hh:mm]`";
const DATE: &str = "no such date";
const TIME: &str = "no such time of day";
const OFFSET: &str = "no such offset from UTC";
const FRACTION: &str = "a fraction of a second must have 1 to 9 digits";
const LEAP_SECOND: &str = "a leap second has no place in a count of seconds since 1970";
const DIGITS_ONLY: &str =
    "digits alone are ambiguous; send epoch milliseconds as a JSON integer, without quotes";

/// Parses a timestamp; the error says what is wrong with it.
pub(super) fn parse(text: &[u8]) -> Result<i64, &'static str> {
    if !text.is_empty() && text.iter().all(u8::is_ascii_digit) {
        return Err(DIGITS_ONLY);
    }
    let Some((
        &[
            y1,
            y2,
            y3,
            y4,
            b'-',
            m1,
            m2,
            b'-',
            d1,
            d2,
            b'T' | b't' | b' ',
            h1,
            h2,
            b':',
            n1,
            n2,
        ],
        mut rest,
    )) = text.split_first_chunk::<16>()
    else {
        return Err(SHAPE);
    };
    let year = two(y1, y2).ok_or(SHAPE)? * 100 + two(y3, y4).ok_or(SHAPE)?;
    let (month, day) = (two(m1, m2).ok_or(SHAPE)?, two(d1, d2).ok_or(SHAPE)?);
    let (hour, minute) = (two(h1, h2).ok_or(SHAPE)?, two(n1, n2).ok_or(SHAPE)?);
    let mut second = 0;
    let mut micros = 0;
    if let Some((&[b':', s1, s2], after)) = rest.split_first_chunk::<3>() {
        second = two(s1, s2).ok_or(SHAPE)?;
        rest = after;
        if let [b'.' | b',', fraction @ ..] = rest {
            (micros, rest) = parse_fraction(fraction)?;
        }
    }
    let offset_minutes = parse_offset(rest)?;
    if year == 0 || !(1..=12).contains(&month) || day == 0 || day > days_in_month(year, month) {
        return Err(DATE);
    }
    if second == 60 {
        return Err(LEAP_SECOND);
    }
    if hour > 23 || minute > 59 || second > 59 {
        return Err(TIME);
    }
    let minutes = days_since_1970(year, month, day) * 1440 + hour * 60 + minute - offset_minutes;
    Ok((minutes * 60 + second) * MICROS_PER_SECOND + micros)
}

/// Parses a day, `YYYY-MM-DD`, years 0001 to 9999, to days since 1970-01-01.
pub(super) fn parse_date(text: &[u8]) -> Result<i32, &'static str> {
    const SHAPE: &str = "not `YYYY-MM-DD`";
    // Debezium's `isostring` writes dates with a `Z`.
    let text = text.strip_suffix(b"Z").unwrap_or(text);
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text else {
        return Err(SHAPE);
    };
    let year = two(y1, y2).ok_or(SHAPE)? * 100 + two(y3, y4).ok_or(SHAPE)?;
    let (month, day) = (two(m1, m2).ok_or(SHAPE)?, two(d1, d2).ok_or(SHAPE)?);
    if year == 0 || !(1..=12).contains(&month) || day == 0 || day > days_in_month(year, month) {
        return Err(DATE);
    }
    i32::try_from(days_since_1970(year, month, day)).map_err(|_| DATE)
}

/// Parses a time of day, `hh:mm[:ss[.fraction]]`, with or without `Z`, to microseconds since midnight.
pub(super) fn parse_time(text: &[u8]) -> Result<i64, &'static str> {
    const SHAPE: &str = "not `hh:mm[:ss[.fraction]]`";
    let Some((&[h1, h2, b':', n1, n2], mut rest)) = text.split_first_chunk::<5>() else {
        return Err(SHAPE);
    };
    let (hour, minute) = (two(h1, h2).ok_or(SHAPE)?, two(n1, n2).ok_or(SHAPE)?);
    let (mut second, mut micros) = (0, 0);
    if let Some((&[b':', s1, s2], after)) = rest.split_first_chunk::<3>() {
        second = two(s1, s2).ok_or(SHAPE)?;
        rest = after;
        if let [b'.' | b',', fraction @ ..] = rest {
            (micros, rest) = parse_fraction(fraction)?;
        }
    }
    if !matches!(rest, [] | [b'Z' | b'z']) {
        return Err(SHAPE);
    }
    if hour > 23 || minute > 59 || second > 59 {
        return Err(TIME);
    }
    Ok(((hour * 60 + minute) * 60 + second) * MICROS_PER_SECOND + micros)
}

/// Two digits.
#[inline]
fn two(tens: u8, ones: u8) -> Option<i64> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens <= 9 && ones <= 9).then(|| i64::from(tens) * 10 + i64::from(ones))
}

/// The digits of a fraction as microseconds, and what follows them.
#[inline]
fn parse_fraction(text: &[u8]) -> Result<(i64, &[u8]), &'static str> {
    let mut micros = 0;
    let mut scale = MICROS_PER_SECOND;
    let mut digits = 0;
    while let Some(digit @ b'0'..=b'9') = text.get(digits) {
        scale /= 10;
        micros += i64::from(digit - b'0') * scale;
        digits += 1;
    }
    if !(1..=9).contains(&digits) {
        return Err(FRACTION);
    }
    Ok((micros, &text[digits..]))
}

/// The offset from UTC in minutes.
#[inline]
fn parse_offset(text: &[u8]) -> Result<i64, &'static str> {
    let (sign, h1, h2, m1, m2) = match *text {
        [] | [b'Z' | b'z'] => return Ok(0),
        [sign @ (b'+' | b'-'), h1, h2] => (sign, h1, h2, b'0', b'0'),
        [sign @ (b'+' | b'-'), h1, h2, m1, m2] => (sign, h1, h2, m1, m2),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => (sign, h1, h2, m1, m2),
        _ => return Err(SHAPE),
    };
    let (hours, minutes) = (two(h1, h2).ok_or(SHAPE)?, two(m1, m2).ok_or(SHAPE)?);
    if hours > 23 || minutes > 59 {
        return Err(OFFSET);
    }
    let offset = hours * 60 + minutes;
    Ok(if sign == b'-' { -offset } else { offset })
}

#[inline]
fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the Gregorian calendar, for years 1 to 9999: the year is counted from March,
/// so that the leap day is its last.
#[inline]
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    // 153 days in each five months from March on; 719,468 days from 0000-03-01 to 1970-01-01.
    365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, Duration, FixedOffset, NaiveDate, NaiveDateTime, TimeZone};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn dates_and_times_are_read_as_chrono_reads_them(days in -719_162i32..2_932_896, micros in 0i64..86_400_000_000) {
            let date = chrono::DateTime::from_timestamp(i64::from(days) * 86_400, 0).expect("in range").date_naive();
            prop_assert_eq!(parse_date(date.format("%Y-%m-%d").to_string().as_bytes()), Ok(days));
            let time = chrono::DateTime::from_timestamp_micros(micros).expect("in range");
            prop_assert_eq!(parse_time(time.format("%H:%M:%S%.6f").to_string().as_bytes()), Ok(micros));
        }
    }

    #[test]
    fn what_is_no_date_or_time_is_refused() {
        for text in [
            "",
            "2026-13-01",
            "2026-02-29",
            "2026-1-1",
            "0000-01-01",
            "2026-01-01T",
            "20260101",
        ] {
            assert!(parse_date(text.as_bytes()).is_err(), "{text}");
        }
        for text in [
            "",
            "24:00",
            "12:60",
            "12:00:60",
            "12:00:00.",
            "12:00+01:00",
            "1:00",
        ] {
            assert!(parse_time(text.as_bytes()).is_err(), "{text}");
        }
        assert_eq!(parse_time(b"12:00"), Ok(43_200_000_000));
    }

    fn instant() -> impl Strategy<Value = NaiveDateTime> {
        let days = NaiveDate::from_ymd_opt(9999, 12, 31)
            .expect("date")
            .signed_duration_since(first_day())
            .num_days();
        (0..=days, 0i64..86_400, 0i64..1_000_000_000).prop_map(|(day, second, nanos)| {
            first_day().and_hms_opt(0, 0, 0).expect("midnight")
                + Duration::days(day)
                + Duration::seconds(second)
                + Duration::nanoseconds(nanos)
        })
    }

    fn first_day() -> NaiveDate {
        NaiveDate::from_ymd_opt(1, 1, 1).expect("date")
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn every_way_of_writing_it_is_the_instant_that_chrono_says(
            local in instant(),
            offset_minutes in -1439i32..=1439,
            digits in 0usize..=9,
            separator in "[Tt ]",
            point in "[.,]",
            style in 0..5,
        ) {
            let offset = FixedOffset::east_opt(offset_minutes * 60).expect("offset");
            let (sign, hours, minutes) =
                (if offset_minutes < 0 { '-' } else { '+' }, offset_minutes.abs() / 60, offset_minutes.abs() % 60);
            let (zone, offset) = match style {
                0 => (format!("{sign}{hours:02}:{minutes:02}"), offset),
                1 => (format!("{sign}{hours:02}{minutes:02}"), offset),
                2 => {
                    let whole = FixedOffset::east_opt(offset_minutes / 60 * 3600).expect("offset");
                    (format!("{sign}{hours:02}"), whole)
                }
                3 => ("Z".to_owned(), FixedOffset::east_opt(0).expect("offset")),
                _ => (String::new(), FixedOffset::east_opt(0).expect("offset")),
            };
            let mut text = format!("{}{separator}{}", local.format("%Y-%m-%d"), local.format("%H:%M:%S"));
            let nanos = local.format("%f").to_string();
            let mut written = local.format("%Y-%m-%dT%H:%M:%S").to_string();
            if digits > 0 {
                text = format!("{text}{point}{}", &nanos[..digits]);
                written = format!("{written}.{}", &nanos[..digits]);
            }
            let text = format!("{text}{zone}");
            let local = NaiveDateTime::parse_from_str(&written, "%Y-%m-%dT%H:%M:%S%.f").expect("chrono");
            // Chrono's own arithmetic ends before year 1 or after 9999 only far outside of this range.
            let expected = offset.from_local_datetime(&local).single().expect("instant").timestamp_micros();
            prop_assert_eq!(parse(text.as_bytes()), Ok(expected), "{}", text);
        }

        #[test]
        fn what_is_taken_for_rfc_3339_chrono_takes_too(
            text in "[0-9]{3}[0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{1,9})?(Z|[+-][0-2][0-9]:[0-6][0-9])"
        ) {
            let chrono = DateTime::parse_from_rfc3339(&text).ok().map(|t| t.timestamp_micros());
            let refused_here = text.contains(":60") || text.starts_with("0000");
            match parse(text.as_bytes()) {
                Ok(micros) => prop_assert_eq!(Some(micros), chrono, "{}", text),
                Err(_) => prop_assert!(chrono.is_none() || refused_here, "{}", text),
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }

        #[test]
        fn no_change_of_one_byte_makes_it_panic(place in 0usize..29, byte: u8) {
            let mut text = *b"2026-11-21T10:00:00.123+05:30";
            text[place] = byte;
            let _ = parse(&text);
        }
    }

    #[test]
    fn every_day_of_9999_years_is_the_one_that_chrono_says() {
        let mut text = *b"0000-00-00T00:00";
        let digits = |number: u32| [number / 10 % 10, number % 10].map(|digit| b'0' + digit as u8);
        for year in 0..=9999 {
            text[..2].copy_from_slice(&digits(year / 100));
            text[2..4].copy_from_slice(&digits(year));
            for (month, day) in (0..=13).flat_map(|month| (0..=32).map(move |day| (month, day))) {
                text[5..7].copy_from_slice(&digits(month));
                text[8..10].copy_from_slice(&digits(day));
                let date = NaiveDate::from_ymd_opt(year as i32, month, day).filter(|_| year > 0);
                let midnight = date.and_then(|date| date.and_hms_opt(0, 0, 0));
                let expected = midnight.map(|time| time.and_utc().timestamp_micros());
                assert_eq!(parse(&text), expected.ok_or(DATE), "{year}-{month}-{day}");
            }
        }
    }

    #[test]
    fn what_is_written_is_what_is_meant() {
        let micros = |text: &str| parse(text.as_bytes());
        let known = DateTime::parse_from_rfc3339("2026-11-21T10:00:00.123456Z")
            .expect("time")
            .timestamp_micros();
        assert_eq!(micros("2026-11-21T10:00:00.123456Z"), Ok(known));
        assert_eq!(
            micros("2026-11-21 10:00:00,123456789"),
            Ok(known),
            "truncated, UTC when it does not say"
        );
        assert_eq!(micros("2026-11-21t12:00:00.123456+02"), Ok(known));
        assert_eq!(
            micros("1969-12-31T23:59:59.9999999Z"),
            Ok(-1),
            "truncation is towards the past"
        );
        assert_eq!(micros("1970-01-01T00:00"), Ok(0));
        assert_eq!(micros("1970-01-01T00:00-00:00"), Ok(0));
        assert_eq!(micros("0001-01-01T00:00:00Z"), Ok(-62_135_596_800_000_000));
        assert_eq!(
            micros("9999-12-31T23:59:59.999999Z"),
            Ok(253_402_300_799_999_999)
        );
        assert_eq!(micros("2024-02-29T00:00:00Z"), Ok(1_709_164_800_000_000));
    }

    #[test]
    fn what_is_no_timestamp_is_refused_with_the_reason() {
        let cases = [
            ("", SHAPE),
            ("1795255200000", DIGITS_ONLY),
            ("20261121", DIGITS_ONLY),
            ("2026-11-21", SHAPE),
            ("20261121T100000Z", SHAPE),
            ("2026-11-21T10", SHAPE),
            ("2026-11-21T10:00:0", SHAPE),
            ("2026-11-21T10:00.5Z", SHAPE),
            ("2026-11-21T10:00:00.Z", FRACTION),
            ("2026-11-21T10:00:00.1234567890Z", FRACTION),
            ("2026-11-21T10:00:00+1", SHAPE),
            ("2026-11-21T10:00:00+24:00", OFFSET),
            ("2026-11-21T10:00:00+01:60", OFFSET),
            ("2026-11-21T10:00:00ZZ", SHAPE),
            ("2026-11-21T10:00:00 Z", SHAPE),
            ("2026-11-21T10:00:00Z ", SHAPE),
            (" 2026-11-21T10:00:00Z", SHAPE),
            ("2026-11-21T24:00:00Z", TIME),
            ("2026-11-21T10:60:00Z", TIME),
            ("2026-11-21T10:00:61Z", TIME),
            ("2016-12-31T23:59:60Z", LEAP_SECOND),
            ("2026-13-01T10:00:00Z", DATE),
            ("2026-00-01T10:00:00Z", DATE),
            ("2026-04-31T10:00:00Z", DATE),
            ("2026-04-00T10:00:00Z", DATE),
            ("2026-02-29T10:00:00Z", DATE),
            ("1900-02-29T10:00:00Z", DATE),
            ("0000-01-01T10:00:00Z", DATE),
            ("+2026-11-21T10:00:00Z", SHAPE),
            ("2026-11-2\u{661}T10:00:00Z", SHAPE),
        ];
        for (text, reason) in cases {
            assert_eq!(parse(text.as_bytes()), Err(reason), "`{text}`");
        }
    }
}
