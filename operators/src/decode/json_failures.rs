//! What is said of a JSON record that is no row.

use super::frame;
use super::json_value::fitting;
use super::message::{Failure, excerpt};
use super::scan::{Malformed, Scanner};
use crate::record::ErrorType;
use crate::schema::Column;

#[cold]
pub(super) fn does_not_fit(column: &Column, found: &str, reason: &str) -> Failure {
    let because = if reason.is_empty() {
        String::new()
    } else {
        format!(" ({reason})")
    };
    let (name, fitting) = (column.name, fitting(column.column_type));
    let message = format!(
        "field `{name}`: expected {fitting}, found {}{because}",
        excerpt(found)
    );
    Failure::new(ErrorType::SchemaMismatch, message)
}

#[cold]
pub(super) fn not_json(text: &str, malformed: Malformed) -> Failure {
    if let Some(failure) = frame::instead_of_text(text.as_bytes()) {
        return failure;
    }
    let Malformed { at, what } = malformed;
    let found = match text.get(at..) {
        Some("") => "the record ends there".to_owned(),
        Some(rest) => format!("found {}", excerpt(rest)),
        None => "found a byte inside of a character".to_owned(),
    };
    Failure::new(
        ErrorType::Malformed,
        format!("not JSON: {what}, at byte {at} of {}; {found}", text.len()),
    )
}

#[cold]
pub(super) fn duplicate_key(key: &str) -> Failure {
    Failure::new(
        ErrorType::Malformed,
        format!("the key {} stands twice in the object", excerpt(key)),
    )
}

#[cold]
pub(super) fn not_utf8(value: &[u8]) -> Failure {
    if let Some(failure) = frame::instead_of_text(value) {
        return failure;
    }
    let at = std::str::from_utf8(value)
        .err()
        .map_or(0, |e| e.valid_up_to());
    let byte = value.get(at).copied().unwrap_or_default();
    let message = format!(
        "not UTF-8: byte {at} of {} is 0x{byte:02x}, which no character has there",
        value.len()
    );
    Failure::new(ErrorType::Malformed, message)
}

#[cold]
pub(super) fn not_an_object(text: &str, mut json: Scanner<'_>) -> Failure {
    if json.peek().is_none() {
        let message = if text.is_empty() {
            "the record is empty"
        } else {
            "the record is all whitespace"
        };
        return Failure::new(ErrorType::Malformed, format!("not JSON: {message}"));
    }
    let start = json.at;
    match json
        .skip_value(0)
        .and_then(|()| Ok((json.at, json.expect_end()?)))
    {
        Ok((end, ())) => {
            let found = excerpt(json.between(start, end));
            Failure::new(
                ErrorType::SchemaMismatch,
                format!("expected a JSON object, found {found}"),
            )
        }
        Err(malformed) => not_json(text, malformed),
    }
}
