//! Records that would take much memory or time.

use super::*;

#[test]
fn nesting_is_bounded_at_64_levels() {
    for (depth, expected) in [
        (63, None),
        (64, Some(ErrorType::Malformed)),
        (1500, Some(ErrorType::Malformed)),
    ] {
        let json = with_field("other", &("[".repeat(depth) + &"]".repeat(depth)));
        assert_eq!(
            decode_one(&json).err().map(|e| e.0),
            expected,
            "{depth} below the object"
        );
    }
    let deep = vec![b'['; 1_000_000];
    let mut decoder = JsonDecoder::new(COLUMNS, Some(0), 1, 1 << 30).expect("decoder");
    assert_eq!(
        decoder.decode(&raw_batch(&[Some(deep)])).failures[0].error_type,
        ErrorType::Malformed
    );
}

#[test]
fn a_great_many_fields_are_read_in_bounded_time() {
    let mut members: Vec<String> = (0..200_000).map(|i| format!("\"k{i}\":{i}")).collect();
    let mut decoder = JsonDecoder::new(COLUMNS, Some(0), 1, 1 << 30).expect("decoder");
    let document = |members: &[String]| {
        Some(format!(
            "{{\"event_id\":\"a\",\"event_time\":0,\"count\":1,{}}}",
            members.join(",")
        ))
    };
    assert_eq!(decoder.decode(&raw_batch(&[document(&members)])).rows, [0]);
    members.push("\"k77\":0".to_owned());
    let failure = decoder
        .decode(&raw_batch(&[document(&members)]))
        .failures
        .remove(0);
    assert!(
        failure.message.contains("`k77` stands twice"),
        "{}",
        failure.message
    );
}
