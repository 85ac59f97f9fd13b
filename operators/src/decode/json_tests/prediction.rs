//! Keys that are predicted from the record before.

use super::*;

#[test]
fn records_of_one_shape_are_decoded_as_predicted() {
    let values: Vec<Option<Vec<u8>>> = (0..100)
        .map(|i| Some(with_field("count", &i.to_string())))
        .collect();
    let mut decoder = test_decoder();
    assert_eq!(decoder.decode(&raw_batch(&values)).rows.len(), 100);
    assert_eq!(decoder.rows.predicted, 99, "all but the first");
    let shorter = br#"{"event_id":"a","event_time":0,"count":1,"ratio":0.5,"other":[]}"#.to_vec();
    let decoded = decoder.decode(&raw_batch(&[Some(shorter), values[0].clone()]));
    assert_eq!(decoded.rows.len(), 2);
    assert_eq!(
        decoder.rows.predicted, 101,
        "a record that leaves optional fields out, and a full one after it"
    );
}

#[test]
fn a_later_member_is_not_taken_for_the_first() {
    let good = br#"{"name":"n","event_id":"a","event_time":0,"count":1}"#;
    let without_the_first = &good[br#"{"name":"n""#.len()..];
    let mut decoder = test_decoder();
    let values = [Some(&good[..]), Some(without_the_first), Some(good)];
    let outcomes = outcomes(&decoder.decode(&raw_batch(&values)), 3);
    assert!(outcomes[0].is_ok() && outcomes[2].is_ok());
    let error_type = outcomes[1].as_ref().err().map(|e| e.0);
    assert_eq!(error_type, Some(ErrorType::Malformed));
}

#[test]
fn what_a_wrong_prediction_left_in_the_columns_is_taken_back() {
    let values = [
        r#"{"event_id":"a","event_time":0,"name":"n","count":1}"#,
        r#"{"event_id":"b","event_time":1,"name":"m","ratio":0.5,"count":2}"#,
        r#"{"event_id":"c","event_time":2,"name":"o","ratio":0.5,"count":null}"#,
        r#"{"event_id":"d","event_time":3,"name":"p","ratio":1.5,"count":4}"#,
        r#"{"event_id":"e","event_time":4,"name":"unfinished"#,
        r#"{"event_id":"f","event_time":5,"name":null,"ratio":2.5,"count":6}"#,
    ];
    check(&values.map(|value| Some(value.as_bytes().to_vec())));
}
