//! What a dead letter says of its cause: for a person, of bounded length.

use crate::record::ErrorType;

/// Characters of the record quoted in a message, at most.
const MAX_EXCERPT_CHARS: usize = 48;

/// Bytes of a whole message, at most (field names are as long as their authors like).
pub(super) const MAX_MESSAGE_BYTES: usize = 512;

/// Why a record is a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub error_type: ErrorType,
    /// For a person; of bounded length.
    pub message: String,
}

impl Failure {
    pub fn new(error_type: ErrorType, message: impl Into<String>) -> Failure {
        Failure {
            error_type,
            message: bounded(message.into()),
        }
    }
}

/// The beginning of `text` in backticks, control characters escaped.
pub(super) fn excerpt(text: &str) -> String {
    let mut quoted = String::from("`");
    let mut chars = text.chars();
    for c in chars.by_ref().take(MAX_EXCERPT_CHARS) {
        if c.is_control() {
            quoted.extend(c.escape_default())
        } else {
            quoted.push(c)
        }
    }
    if chars.next().is_some() {
        quoted.push('…');
    }
    quoted.push('`');
    quoted
}

/// Cuts a message to [`MAX_MESSAGE_BYTES`], between two characters.
pub(super) fn bounded(mut message: String) -> String {
    if message.len() > MAX_MESSAGE_BYTES {
        let end = (0..=MAX_MESSAGE_BYTES - '…'.len_utf8())
            .rev()
            .find(|&i| message.is_char_boundary(i));
        message.truncate(end.unwrap_or(0));
        message.push('…');
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_cut_between_characters() {
        let message = bounded("é".repeat(MAX_MESSAGE_BYTES));
        assert!(message.len() <= MAX_MESSAGE_BYTES && message.ends_with('…'));
        assert_eq!(bounded("short".to_owned()), "short");
    }

    #[test]
    fn an_excerpt_is_short_and_on_one_line() {
        assert_eq!(excerpt("a\n\u{1b}b"), "`a\\n\\u{1b}b`");
        assert_eq!(
            excerpt(&"x".repeat(1000)).chars().count(),
            MAX_EXCERPT_CHARS + 3
        );
    }
}
