//! A record whose format nobody knows, as a person is shown it.

use super::super::message::excerpt;

/// Bytes shown in hexadecimal.
const HEX_BYTES: usize = 16;

/// The first bytes of a record in hexadecimal.
pub fn hex(value: &[u8]) -> String {
    let bytes = value.iter().take(HEX_BYTES);
    let mut text = bytes
        .map(|byte| format!("{byte:02X}"))
        .collect::<Vec<_>>()
        .join(" ");
    if value.len() > HEX_BYTES {
        text.push_str(" …");
    }
    text
}

/// The first characters of a record, in backticks; what is no text is shown as `\u{fffd}`.
pub fn text(value: &[u8]) -> String {
    // Far more than is shown, so that a cut character at the end does not matter.
    excerpt(&String::from_utf8_lossy(&value[..value.len().min(1024)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_shown_within_bounds() {
        assert_eq!(hex(&[0, 0, 1, 0x86, 0xba]), "00 00 01 86 BA");
        assert_eq!(hex(&[7; 100]).split(' ').count(), HEX_BYTES + 1);
        assert!(text(&[b'x'; 100_000]).chars().count() < 100);
        assert!(text(&[0xff, b'a']).contains('a'));
    }
}
