//! Decimal numbers as 128-bit integers of a scale: from text, and from the bytes that Avro and Connect write.

/// Why a number is not in its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// It is no decimal number.
    NotANumber,
    /// More digits behind the point than the column has; dropping them would be silent loss.
    Scale,
    /// More digits than the column has.
    Precision,
}

impl Unfit {
    pub fn reason(self) -> &'static str {
        match self {
            Unfit::NotANumber => "not a decimal number",
            Unfit::Scale => "more digits behind the point than the column has",
            Unfit::Precision => "more digits than the column has",
        }
    }
}

/// Powers of ten up to the largest that 128 bits with a sign hold.
const POWERS: [i128; 39] = {
    let mut powers = [1; 39];
    let mut i = 1;
    while i < powers.len() {
        powers[i] = powers[i - 1] * 10;
        i += 1;
    }
    powers
};

/// The largest exponent that is looked at: beyond it no column has room, whatever the digits.
const MAX_EXPONENT: i32 = 10_000;

/// `unscaled` of scale `from` as an integer of scale `scale`, of at most `precision` digits.
#[inline]
pub(super) fn rescale(unscaled: i128, from: i32, precision: u8, scale: u8) -> Result<i128, Unfit> {
    // A schema may say any scale.
    let by = i32::from(scale).saturating_sub(from);
    let scaled = match POWERS.get(by.unsigned_abs() as usize) {
        _ if unscaled == 0 => 0,
        Some(power) if by >= 0 => unscaled.checked_mul(*power).ok_or(Unfit::Precision)?,
        Some(power) if unscaled % power == 0 => unscaled / power,
        None if by >= 0 => return Err(Unfit::Precision),
        _ => return Err(Unfit::Scale),
    };
    match POWERS.get(usize::from(precision)) {
        Some(&limit) if scaled.unsigned_abs() >= limit as u128 => Err(Unfit::Precision),
        _ => Ok(scaled),
    }
}

/// The big-endian two's complement integer that Avro and Connect write; no bytes at all are 0.
#[inline]
pub(super) fn from_bytes(bytes: &[u8]) -> Result<i128, Unfit> {
    let Some(&first) = bytes.first() else {
        return Ok(0);
    };
    let sign = if first & 0x80 == 0 { 0x00 } else { 0xff };
    let (lead, tail) = bytes.split_at(bytes.len().saturating_sub(16));
    let mut wide = [sign; 16];
    wide[16 - tail.len()..].copy_from_slice(tail);
    let value = i128::from_be_bytes(wide);
    // Bytes in front may only repeat the sign.
    let fits = lead.iter().all(|&byte| byte == sign) && (value < 0) == (sign == 0xff);
    if fits {
        Ok(value)
    } else {
        Err(Unfit::Precision)
    }
}

/// A decimal number as JSON and people write it (`-12.50`, `1e3`), exactly.
pub(super) fn parse(text: &str, precision: u8, scale: u8) -> Result<i128, Unfit> {
    let (number, exponent) = match text.find(['e', 'E']) {
        Some(at) => {
            let exponent = &text[at + 1..];
            let exponent = exponent.parse::<i32>().map_err(|_| Unfit::NotANumber)?;
            (&text[..at], exponent.clamp(-MAX_EXPONENT, MAX_EXPONENT))
        }
        None => (text, 0),
    };
    let (negative, digits) = match number.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, number),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() || (fraction.is_empty() && digits.contains('.')) {
        return Err(Unfit::NotANumber);
    }
    // Zeros at the end say nothing, and without them any number that fits the column fits 128 bits.
    let fraction = fraction.trim_end_matches('0');
    let mut unscaled: i128 = 0;
    for digit in whole.bytes().chain(fraction.bytes()) {
        if !digit.is_ascii_digit() {
            return Err(Unfit::NotANumber);
        }
        unscaled = unscaled
            .checked_mul(10)
            .and_then(|value| value.checked_add(i128::from(digit - b'0')))
            .ok_or(Unfit::Precision)?;
    }
    let from = i32::try_from(fraction.len()).map_err(|_| Unfit::Scale)? - exponent;
    rescale(
        if negative { -unscaled } else { unscaled },
        from,
        precision,
        scale,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bytes_are_the_twos_complement_of_any_width(value: i128, pad in 0usize..4) {
            let bytes = value.to_be_bytes();
            let sign = if value < 0 { 0xff } else { 0 };
            let padded: Vec<u8> = std::iter::repeat_n(sign, pad).chain(bytes).collect();
            prop_assert_eq!(from_bytes(&padded), Ok(value));
            // And as short as it can be written.
            let mut short = bytes.as_slice();
            while let [a, b, ..] = *short {
                if a != sign || (b & 0x80 != 0) != (sign == 0xff) {
                    break;
                }
                short = &short[1..];
            }
            prop_assert_eq!(from_bytes(short), Ok(value));
        }

        #[test]
        fn text_is_read_exactly(value in -99_999_999_999_999_999i64..99_999_999_999_999_999, scale in 0u8..12) {
            let digits = format!("{:0width$}", value.unsigned_abs(), width = usize::from(scale) + 1);
            let (whole, fraction) = digits.split_at(digits.len() - usize::from(scale));
            let sign = if value < 0 { "-" } else { "" };
            let point = if fraction.is_empty() { "" } else { "." };
            let text = format!("{sign}{whole}{point}{fraction}");
            prop_assert_eq!(parse(&text, 38, scale), Ok(i128::from(value)));
            let with_exponent = format!("{sign}{}e-{scale}", value.unsigned_abs());
            prop_assert_eq!(parse(&with_exponent, 38, scale), Ok(i128::from(value)));
        }

        #[test]
        fn no_text_makes_it_panic(text: String) {
            let _ = parse(&text, 38, 9);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_and_never_rounded() {
        assert_eq!(parse("1.25", 5, 1), Err(Unfit::Scale));
        assert_eq!(parse("1.50", 5, 1), Ok(15));
        assert_eq!(parse("1000", 5, 2), Err(Unfit::Precision));
        assert_eq!(parse("999.99", 5, 2), Ok(99_999));
        assert_eq!(parse("0e999999999", 5, 2), Ok(0));
        assert_eq!(parse("1e999999999", 5, 2), Err(Unfit::Precision));
        assert_eq!(parse("1e-999999999", 5, 2), Err(Unfit::Scale));
        for text in ["", "-", ".5", "5.", "1e", "+1", "0x1", "1 ", "NaN"] {
            assert_eq!(parse(text, 5, 2), Err(Unfit::NotANumber), "{text}");
        }
        // Scales are what a schema says, be it nonsense.
        assert_eq!(rescale(1, i32::MIN, 5, 2), Err(Unfit::Precision));
        assert_eq!(rescale(1, i32::MAX, 5, 2), Err(Unfit::Scale));
        assert_eq!(from_bytes(&[1; 17]), Err(Unfit::Precision));
        assert_eq!(from_bytes(&[]), Ok(0));
    }
}
