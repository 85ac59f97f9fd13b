//! The text of a schema that is written in JSON: Avro's, and JSON Schema's.

use serde_json::Value;

/// It as JSON.
///
/// # Errors
/// It is none; for a person.
pub(super) fn json_of(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|e| format!("it is not JSON: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_json_says_so_and_where() {
        assert_eq!(json_of("{\"type\": 1}").map(|of| of["type"] == 1), Ok(true));
        let error = json_of("{\"type\": }").expect_err("no JSON");
        assert!(error.starts_with("it is not JSON: "), "{error}");
        assert!(error.contains("line 1 column "), "{error}");
    }
}
