//! Dead letters as they leave: a JSON record for the topic, rows for the table (INTERFACES section 3).
//!
//! Both have the same fields. `original_payload` is the record's value as text; a value that is not UTF-8
//! is written in base64 (RFC 4648, with padding), and then `payload_encoding` is `base64`, else `utf8`.
//! The payload of a record whose value was null is null. Times are microseconds in UTC, in JSON as
//! RFC 3339 text. The table has the epoch besides.

use std::borrow::Cow;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::record::DeadLetter;
use crate::schema::dead_letter_schema;
use crate::time::{Epoch, EventTime};

/// Bytes of text that one column of one batch may have: Arrow's offsets have 32 bits.
const MAX_COLUMN_BYTES: usize = i32::MAX as usize;

/// The topic's record; the fields in the order of INTERFACES section 3.
#[derive(Serialize)]
struct Record<'a> {
    original_payload: Option<Cow<'a, str>>,
    payload_encoding: &'static str,
    error_type: &'static str,
    error_message: &'a str,
    failed_at: String,
    job: &'a str,
    kafka_topic: &'a str,
    kafka_partition: i32,
    kafka_offset: i64,
    kafka_timestamp: Option<String>,
}

/// The value of the dead-letter topic's record. Its key is the original record's, [`DeadLetter::key`].
///
/// ```
/// use strandline_operators::dead_letter::to_json;
/// use strandline_operators::record::{DeadLetter, ErrorType, TopicPartition};
/// use strandline_operators::time::EventTime;
/// let letter = DeadLetter {
///     source: TopicPartition::new("events", 3),
///     offset: 17,
///     timestamp: None,
///     key: None,
///     payload: Some(b"{".to_vec()),
///     error_type: ErrorType::Malformed,
///     message: "not JSON".to_owned(),
///     failed_at: EventTime(0),
/// };
/// let json: serde_json::Value = serde_json::from_slice(&to_json(&letter, "my-job")).unwrap();
/// assert_eq!(json["original_payload"], "{");
/// assert_eq!(json["error_type"], "malformed");
/// assert_eq!(json["failed_at"], "1970-01-01T00:00:00.000000Z");
/// ```
pub fn to_json(letter: &DeadLetter, job: &str) -> Vec<u8> {
    let (original_payload, payload_encoding) = encode_payload(letter.payload.as_deref());
    let record = Record {
        original_payload,
        payload_encoding,
        error_type: letter.error_type.name(),
        error_message: &letter.message,
        failed_at: letter.failed_at.to_string(),
        job,
        kafka_topic: &letter.source.topic,
        kafka_partition: letter.source.partition,
        kafka_offset: letter.offset,
        kafka_timestamp: letter.timestamp.map(|time| time.to_string()),
    };
    // Cannot fail whatever the record holds: strings and integers into memory, no map keys.
    serde_json::to_vec(&record).expect("strings and integers are JSON")
}

/// Rows of the dead-letter table, one a letter, in their order, with [`dead_letter_schema`].
///
/// # Errors
/// Payloads of together more than 2 GiB as text, which no Arrow column of strings can hold.
pub fn to_rows(letters: &[DeadLetter], job: &str, epoch: Epoch) -> Result<RecordBatch> {
    let epoch = i64::try_from(epoch.0)
        .map_err(|_| Error::internal(format!("epoch {epoch} is beyond 63 bits")))?;
    let (payloads, encodings): (Vec<_>, Vec<_>) = letters
        .iter()
        .map(|letter| encode_payload(letter.payload.as_deref()))
        .unzip();
    let payload_bytes = payloads.iter().flatten().map(|payload| payload.len());
    let message_bytes = letters.iter().map(|letter| letter.message.len());
    let name_bytes = letters
        .iter()
        .map(|letter| letter.source.topic.len().max(job.len()));
    if payload_bytes
        .sum::<usize>()
        .max(message_bytes.sum())
        .max(name_bytes.sum())
        > MAX_COLUMN_BYTES
    {
        return Err(Error::internal(format!(
            "cannot write {} dead letters as one batch: their text has more than {MAX_COLUMN_BYTES} bytes",
            letters.len()
        ))
        .hint("write fewer at once"));
    }
    let strings = |values: &mut dyn Iterator<Item = &str>| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(values))
    };
    let times = |values: &mut dyn Iterator<Item = Option<EventTime>>| -> ArrayRef {
        let micros: TimestampMicrosecondArray =
            values.map(|time| time.map(|time| time.0)).collect();
        Arc::new(micros.with_timezone("+00:00"))
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter(
            payloads.iter().map(|payload| payload.as_deref()),
        )),
        strings(&mut encodings.iter().copied()),
        strings(&mut letters.iter().map(|letter| letter.error_type.name())),
        strings(&mut letters.iter().map(|letter| letter.message.as_str())),
        times(&mut letters.iter().map(|letter| Some(letter.failed_at))),
        strings(&mut letters.iter().map(|_| job)),
        strings(&mut letters.iter().map(|letter| &*letter.source.topic)),
        Arc::new(Int32Array::from_iter_values(
            letters.iter().map(|letter| letter.source.partition),
        )),
        Arc::new(Int64Array::from_iter_values(
            letters.iter().map(|letter| letter.offset),
        )),
        times(&mut letters.iter().map(|letter| letter.timestamp)),
        Arc::new(Int64Array::from_iter_values(letters.iter().map(|_| epoch))),
    ];
    RecordBatch::try_new(dead_letter_schema(), columns)
        .map_err(|e| Error::internal(format!("cannot write dead letters as rows: {e}")))
}

/// The payload as text, and the name of how it was made text.
fn encode_payload(payload: Option<&[u8]>) -> (Option<Cow<'_, str>>, &'static str) {
    match payload {
        None => (None, "utf8"),
        Some(bytes) => match simdutf8::basic::from_utf8(bytes) {
            Ok(text) => (Some(Cow::Borrowed(text)), "utf8"),
            Err(_) => (Some(Cow::Owned(STANDARD.encode(bytes))), "base64"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::Array;
    use arrow_array::cast::AsArray;
    use arrow_array::types::{Int32Type, Int64Type, TimestampMicrosecondType};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use crate::record::{ErrorType, TopicPartition};

    fn letter(payload: Option<Vec<u8>>, message: &str, micros: i64) -> DeadLetter {
        DeadLetter {
            source: TopicPartition::new("events", 3),
            offset: 1 << 40,
            timestamp: Some(EventTime(micros)),
            key: Some(b"k".to_vec()),
            payload,
            error_type: ErrorType::SchemaMismatch,
            message: message.to_owned(),
            failed_at: EventTime(micros + 1),
        }
    }

    /// The original bytes, as a reader of the topic or the table gets them back.
    fn decode_payload(payload: Option<&str>, encoding: &str) -> Option<Vec<u8>> {
        payload.map(|payload| match encoding {
            "utf8" => payload.as_bytes().to_vec(),
            "base64" => STANDARD.decode(payload).expect("base64"),
            other => panic!("an encoding that is not documented: {other}"),
        })
    }

    proptest! {
        #[test]
        fn topic_and_table_give_back_the_original_bytes(
            payload in proptest::option::of(prop_oneof![any::<Vec<u8>>(), any::<String>().prop_map(String::into_bytes)]),
            message: String,
        ) {
            let letters = [letter(payload.clone(), &message, 0), letter(None, "", 0)];
            let json: Value = serde_json::from_slice(&to_json(&letters[0], "j")).expect("json");
            let encoding = json["payload_encoding"].as_str().expect("encoding");
            prop_assert_eq!(decode_payload(json["original_payload"].as_str(), encoding), payload.clone());
            prop_assert_eq!(json["original_payload"].is_null(), payload.is_none());
            prop_assert_eq!(json["error_message"].as_str(), Some(&*message));

            let rows = to_rows(&letters, "j", Epoch(1)).expect("rows");
            let column = |place: usize| rows.column(place).as_string::<i32>();
            let text = (!column(0).is_null(0)).then(|| column(0).value(0));
            prop_assert_eq!(decode_payload(text, column(1).value(0)), payload);
            prop_assert_eq!(column(3).value(0), message);
            prop_assert!(column(0).is_null(1));
        }
    }

    #[test]
    fn the_topic_has_exactly_the_documented_fields() {
        let json: Value = serde_json::from_slice(&to_json(
            &letter(Some(vec![0xff, 0]), "m", 1_795_255_200_123_456),
            "j",
        ))
        .expect("json");
        let expected = json!({
            "original_payload": "/wA=",
            "payload_encoding": "base64",
            "error_type": "schema_mismatch",
            "error_message": "m",
            "failed_at": "2026-11-21T10:00:00.123457Z",
            "job": "j",
            "kafka_topic": "events",
            "kafka_partition": 3,
            "kafka_offset": 1_099_511_627_776i64,
            "kafka_timestamp": "2026-11-21T10:00:00.123456Z",
        });
        assert_eq!(json, expected);
        let mut unstamped = letter(None, "m", 0);
        unstamped.timestamp = None;
        let json: Value = serde_json::from_slice(&to_json(&unstamped, "j")).expect("json");
        assert!(json["kafka_timestamp"].is_null() && json["original_payload"].is_null());
        assert_eq!(json["payload_encoding"], "utf8");
    }

    #[test]
    fn the_table_has_the_same_values_and_the_epoch() {
        let mut unstamped = letter(Some(b"{}".to_vec()), "n", 9);
        unstamped.timestamp = None;
        let rows = to_rows(
            &[letter(Some(b"{".to_vec()), "m", 7), unstamped],
            "j",
            Epoch::first_of(2),
        )
        .expect("rows");
        assert_eq!(rows.schema(), dead_letter_schema());
        let text = |place: usize| {
            rows.column(place)
                .as_string::<i32>()
                .iter()
                .flatten()
                .collect::<Vec<_>>()
        };
        assert_eq!(text(0), ["{", "{}"]);
        assert_eq!(text(1), ["utf8", "utf8"]);
        assert_eq!(text(2), ["schema_mismatch", "schema_mismatch"]);
        assert_eq!(text(3), ["m", "n"]);
        assert_eq!(
            rows.column(4)
                .as_primitive::<TimestampMicrosecondType>()
                .values(),
            &[8, 10]
        );
        assert_eq!(text(5), ["j", "j"]);
        assert_eq!(text(6), ["events", "events"]);
        assert_eq!(rows.column(7).as_primitive::<Int32Type>().values(), &[3, 3]);
        assert_eq!(
            rows.column(8).as_primitive::<Int64Type>().values(),
            &[1 << 40, 1 << 40]
        );
        let timestamps: Vec<_> = rows
            .column(9)
            .as_primitive::<TimestampMicrosecondType>()
            .iter()
            .collect();
        assert_eq!(timestamps, [Some(7), None]);
        assert_eq!(
            rows.column(10).as_primitive::<Int64Type>().values(),
            &[2 << 32, 2 << 32]
        );
        assert_eq!(to_rows(&[], "j", Epoch(0)).expect("no rows").num_rows(), 0);
    }

    #[test]
    fn an_epoch_that_the_table_cannot_hold_is_an_error() {
        assert!(to_rows(&[], "j", Epoch(u64::MAX)).is_err());
    }
}
