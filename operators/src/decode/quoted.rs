//! What stands in quotes for a decimal or for bytes, where JSON leaves it open.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use super::columns::Reading;
use super::debezium::UNAVAILABLE;
use super::decimal::{self, Unfit};
use crate::job::QuotedBinaries;

/// What stands in quotes for a decimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QuotedDecimal {
    /// Its digits.
    Digits,
    /// Base64 of its unscaled bytes, of this scale (`None`: of the column's).
    Base64(Option<i32>),
    /// Nothing: a decimal is a number.
    Nothing,
}

/// The unscaled integer of a decimal in quotes, for a column of this precision and scale.
///
/// # Errors
/// Why it is none, for a person; names the setting that says what it should be.
pub(super) fn decimal_of(
    text: &str,
    reading: Reading,
    precision: u8,
    scale: u8,
) -> Result<i128, &'static str> {
    let said = |by_setting: &'static str, else_said: &'static str| match reading.by_setting {
        true => by_setting,
        false => else_said,
    };
    match reading.decimals {
        QuotedDecimal::Digits => decimal::parse(text, precision, scale).map_err(|unfit| {
            let reason = unfit.reason();
            match unfit {
                Unfit::NotANumber => said("not the digits that `debezium.decimals` says", reason),
                _ => reason,
            }
        }),
        QuotedDecimal::Base64(of_scale) => {
            let bytes = STANDARD
                .decode(text)
                .map_err(|_| said("not the base64 that `debezium.decimals` says", "not base64"))?;
            let from = of_scale.unwrap_or(i32::from(scale));
            decimal::from_bytes(&bytes)
                .and_then(|value| decimal::rescale(value, from, precision, scale))
                .map_err(Unfit::reason)
        }
        QuotedDecimal::Nothing => Err("not the number that `debezium.decimals` says"),
    }
}

/// The bytes that stand in quotes.
///
/// # Errors
/// Why there are none, for a person; names the setting that says what they should be.
pub(super) fn bytes_of(text: &str, reading: Reading) -> Result<Vec<u8>, &'static str> {
    use QuotedBinaries as B;
    let bytes = match reading.binaries {
        B::Bytes | B::Base64 => STANDARD.decode(text).ok(),
        B::Base64UrlSafe => URL_SAFE.decode(text).ok(),
        // Of a value that PostgreSQL did not say the placeholder stands as it is
        // (PostgresValueConverter.convertBinaryToHex).
        B::Hex if text == UNAVAILABLE => Some(text.as_bytes().to_vec()),
        B::Hex => from_hex(text),
    };
    bytes.ok_or(match reading.binaries {
        _ if !reading.by_setting => "not base64",
        B::Bytes | B::Base64 => "not the base64 that `debezium.binaries` says",
        B::Base64UrlSafe => "not the base64-url-safe that `debezium.binaries` says",
        B::Hex => "not the hex that `debezium.binaries` says",
    })
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = text.as_bytes().chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    let byte = |pair: &[u8]| match pair {
        [high, low] => u8::try_from(digit(*high)? * 16 + digit(*low)?).ok(),
        _ => None,
    };
    pairs.map(byte).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reading(binaries: QuotedBinaries) -> Reading {
        Reading {
            binaries,
            by_setting: true,
            ..Reading::PLAIN
        }
    }

    proptest! {
        #[test]
        fn bytes_are_what_was_written_and_never_what_another_way_would_make_of_them(bytes: Vec<u8>) {
            use QuotedBinaries as B;
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let (standard, url_safe) = (STANDARD.encode(&bytes), URL_SAFE.encode(&bytes));
            for (written, binaries) in [
                (&standard, B::Bytes), (&standard, B::Base64), (&url_safe, B::Base64UrlSafe), (&hex, B::Hex),
                (&hex.to_uppercase(), B::Hex),
            ] {
                prop_assert_eq!(bytes_of(written, reading(binaries)), Ok(bytes.clone()));
            }
            if standard != url_safe {
                prop_assert!(bytes_of(&standard, reading(B::Base64UrlSafe)).is_err());
                prop_assert!(bytes_of(&url_safe, reading(B::Base64)).is_err());
            }
        }

        #[test]
        fn no_text_makes_it_panic(text: String) {
            use QuotedBinaries as B;
            for binaries in [B::Bytes, B::Base64, B::Base64UrlSafe, B::Hex] {
                let _ = bytes_of(&text, reading(binaries));
            }
        }
    }

    #[test]
    fn what_is_no_hex_is_refused() {
        for text in ["0", "0g", "+1", " 1", "0x01", "é"] {
            let why = bytes_of(text, reading(QuotedBinaries::Hex));
            assert_eq!(
                why,
                Err("not the hex that `debezium.binaries` says"),
                "{text}"
            );
        }
    }
}
