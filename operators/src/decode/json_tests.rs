//! The JSON decoder against the model, and against cases that everyone gets wrong once.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimestampMicrosecondType,
};
use arrow_array::{Array, RecordBatch};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::json_model::{Cell, Model};
use super::message::MAX_MESSAGE_BYTES;
use super::testing::raw_batch;
use super::{Decode, Decoded, JsonDecoder, decoder};
use crate::job::Job;
use crate::record::ErrorType;
use crate::schema::{Column, ColumnType, decoded_schema};

const COLUMNS: &[Column] = &[
    Column::required("event_id", ColumnType::String),
    Column::required("event_time", ColumnType::Timestamptz),
    Column::required("count", ColumnType::Int),
    Column::optional("name", ColumnType::String),
    Column::optional("total", ColumnType::Long),
    Column::optional("ratio", ColumnType::Double),
    Column::optional("is_new", ColumnType::Boolean),
    Column::optional("seen_at", ColumnType::Timestamptz),
];
const MAX_RECORD_BYTES: usize = 4096;
const MODEL: Model<'_> = Model {
    columns: COLUMNS,
    event_id: Some(0),
    event_time: 1,
    max_record_bytes: MAX_RECORD_BYTES,
};

fn test_decoder() -> JsonDecoder {
    JsonDecoder::new(COLUMNS, Some(0), 1, MAX_RECORD_BYTES as u64).expect("decoder")
}

fn cell(columns: &RecordBatch, place: usize, row: usize) -> Cell {
    let array = columns.column(place);
    if array.is_null(row) {
        return Cell::Null;
    }
    match COLUMNS[place].column_type {
        ColumnType::String => Cell::Text(array.as_string::<i32>().value(row).to_owned()),
        ColumnType::Int => Cell::Integer(array.as_primitive::<Int32Type>().value(row).into()),
        ColumnType::Long => Cell::Integer(array.as_primitive::<Int64Type>().value(row)),
        ColumnType::Double => {
            Cell::Double(array.as_primitive::<Float64Type>().value(row).to_bits())
        }
        ColumnType::Boolean => Cell::Boolean(array.as_boolean().value(row)),
        ColumnType::Timestamptz => {
            Cell::Micros(array.as_primitive::<TimestampMicrosecondType>().value(row))
        }
        other => panic!("the model has no {}", other.name()),
    }
}

/// For each record its row or failure; checks that the batch is accounted for and the messages bounded.
fn outcomes(decoded: &Decoded, records: usize) -> Vec<Result<Vec<Cell>, (ErrorType, String)>> {
    assert_eq!(decoded.columns.num_rows(), decoded.rows.len());
    assert_eq!(decoded.columns.schema(), decoded_schema(COLUMNS));
    assert!(decoded.rows.is_sorted() && decoded.failures.is_sorted_by_key(|f| f.record));
    let mut outcomes = vec![None; records];
    for (row, &record) in decoded.rows.iter().enumerate() {
        let cells = (0..COLUMNS.len())
            .map(|place| cell(&decoded.columns, place, row))
            .collect();
        assert!(
            outcomes[record as usize].replace(Ok(cells)).is_none(),
            "record {record} is there twice"
        );
    }
    for failure in &decoded.failures {
        assert!(!failure.message.is_empty() && failure.message.len() <= MAX_MESSAGE_BYTES);
        assert!(!failure.message.contains('\n'), "{}", failure.message);
        let outcome = Err((failure.error_type, failure.message.clone()));
        assert!(
            outcomes[failure.record as usize].replace(outcome).is_none(),
            "a record is there twice"
        );
    }
    outcomes
        .into_iter()
        .map(|outcome| outcome.expect("every record is a row or a failure"))
        .collect()
}

fn decode_one(value: &[u8]) -> Result<Vec<Cell>, (ErrorType, String)> {
    outcomes(&test_decoder().decode(&raw_batch(&[Some(value)])), 1).remove(0)
}

/// Records decoded together are what the model says, and what each is alone, without a prediction.
fn check(values: &[Option<Vec<u8>>]) {
    let decoded = outcomes(&test_decoder().decode(&raw_batch(values)), values.len());
    for (value, outcome) in values.iter().zip(decoded) {
        let alone = outcomes(
            &test_decoder().decode(&raw_batch(std::slice::from_ref(value))),
            1,
        )
        .remove(0);
        let text = value
            .as_ref()
            .map(|value| String::from_utf8_lossy(value).into_owned());
        assert_eq!(outcome, alone, "with and without a prediction: {text:?}");
        let expected = MODEL.decode(value.as_deref());
        assert_eq!(
            outcome.map_err(|(error_type, _)| error_type),
            expected,
            "decoder and model: {text:?}"
        );
    }
}

fn whitespace() -> impl Strategy<Value = &'static str> {
    prop_oneof![6 => Just(""), 2 => Just(" "), 1 => select(vec!["\n  ", "\t", "\r\n", " \n\t\r "])]
}

/// Strings; of a hundred about `odd` are malformed. The same for the strategies below.
fn json_string(odd: u32) -> impl Strategy<Value = String> {
    let good = select(vec![
        "a",
        "Grüße",
        "😀",
        "\\n",
        "\\\"",
        "\\\\",
        "\\/",
        "\\b\\f\\r\\t",
        "\\u0041",
        "\\u00e9",
        "\\uD83D\\uDE00",
        "\\u0000",
        "\u{7f}",
        "\u{2028}",
        "0123456789abcdef",
        "MCMXCIV",
    ]);
    let bad = select(vec![
        "\\ud800",
        "\\udc00x",
        "\\ud800\\u0041",
        "\\x",
        "\\u12g4",
        "\\u12",
        "\u{1}",
        "\n",
        "\\U0041",
    ]);
    prop_oneof![
        60 => "[ -!#-\\[\\]-~]{0,40}",
        40 => vec(good.clone(), 0..6).prop_map(|parts| parts.concat()),
        odd => (vec(good, 0..3), bad).prop_map(|(parts, bad)| parts.concat() + bad),
    ]
    .prop_map(|text| format!("\"{text}\""))
}

fn json_number(odd: u32) -> impl Strategy<Value = String> {
    prop_oneof![
        30 => any::<i32>().prop_map(|i| i.to_string()),
        15 => any::<i64>().prop_map(|i| i.to_string()),
        15 => any::<f64>().prop_filter("finite", |d| d.is_finite()).prop_map(|d| d.to_string()),
        15 => (any::<i32>(), 0u32..1000).prop_map(|(whole, part)| format!("{whole}.{part}")),
        15 => any::<f64>().prop_filter("finite", |d| d.is_finite()).prop_map(|d| format!("{d:e}")),
        20 => select(vec![
            "0", "-0", "1.0", "1e2", "-0.0", "2147483647", "2147483648", "-2147483648", "-2147483649",
            "9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809",
            "9223372036854775", "9223372036854776", "-9223372036854775", "-9223372036854776",
            "18446744073709551616", "123456789012345678901234567890", "1e-999", "0.1e1",
            "9007199254740993", "9007199254740993.0", "0.30000000000000004", "1797693134862315708145274237317043567e272",
        ]).prop_map(str::to_owned),
        odd => select(vec![
            "1e999", "-1E+999", "00", "01", "-", "1.", ".5", "1e", "1e+", "+1", "0x1", "NaN", "Infinity", "-Infinity",
        ]).prop_map(str::to_owned),
    ]
}

fn json_timestamp(odd: u32) -> impl Strategy<Value = String> {
    let text = (
        select(vec![
            "2026-11-21",
            "1969-12-31",
            "2024-02-29",
            "2023-02-29",
            "0001-01-01",
            "9999-12-31",
            "0000-01-01",
        ]),
        select(vec!["T", "t", " ", "_"]),
        select(vec![
            "10:00", "23:59:59", "10:00:60", "24:00:00", "10:00:00",
        ]),
        prop_oneof![Just(String::new()), "[.,][0-9]{0,10}"],
        select(vec!["", "Z", "z", "+02:00", "-0130", "+14", "+24:00", "+1"]),
    );
    prop_oneof![
        60 => Just("\"2026-11-21T10:00:00.123Z\"".to_owned()),
        20 => (0i64..4_000_000_000_000).prop_map(|millis| millis.to_string()),
        5 => Just("\"2026-11-21T10\\u003a00\"".to_owned()),
        odd => Just("\"1795255200000\"".to_owned()),
        3 * odd => text.prop_map(|(date, separator, time, fraction, zone)| {
            format!("\"{date}{separator}{time}{fraction}{zone}\"")
        }),
    ]
}

fn json_value(odd: u32) -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        40 => json_string(odd),
        40 => json_number(odd),
        20 => json_timestamp(odd),
        20 => select(vec!["true", "false", "null", "{}", "[]"]).prop_map(str::to_owned),
        odd => select(vec!["tru", "nul", "True", "", "nulll", "'a'"]).prop_map(str::to_owned),
        odd => (60usize..70).prop_map(|depth| "[".repeat(depth) + &"]".repeat(depth)),
    ];
    leaf.prop_recursive(3, 12, 4, move |inner| {
        prop_oneof![
            vec((whitespace(), inner.clone()), 1..4).prop_map(|elements| {
                let elements: Vec<String> = elements
                    .into_iter()
                    .map(|(space, e)| format!("{space}{e}{space}"))
                    .collect();
                format!("[{}]", elements.join(","))
            }),
            vec((json_string(odd), whitespace(), inner), 1..4).prop_map(|members| {
                let members: Vec<String> = members
                    .into_iter()
                    .map(|(key, space, value)| format!("{key}{space}:{space}{value}"))
                    .collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

fn value_of(column_type: ColumnType) -> BoxedStrategy<String> {
    let fitting = match column_type {
        ColumnType::String => json_string(1).boxed(),
        ColumnType::Int => any::<i32>().prop_map(|i| i.to_string()).boxed(),
        ColumnType::Long => any::<i64>().prop_map(|i| i.to_string()).boxed(),
        ColumnType::Double => json_number(1).boxed(),
        ColumnType::Boolean => any::<bool>().prop_map(|b| b.to_string()).boxed(),
        ColumnType::Timestamptz => json_timestamp(1).boxed(),
        other => panic!("the model has no {}", other.name()),
    };
    prop_oneof![150 => fitting, 1 => json_value(1), 1 => Just("null".to_owned()), 1 => Just("\"\"".to_owned())].boxed()
}

/// How the keys of some records are written: a permutation of the columns and other fields.
fn shape() -> impl Strategy<Value = Vec<(String, Option<ColumnType>, &'static str)>> {
    let mut fields: Vec<(String, Option<ColumnType>)> = COLUMNS
        .iter()
        .map(|c| (format!("\"{}\"", c.name), Some(c.column_type)))
        .collect();
    for other in [
        "\"other\"",
        "\"\\u006fther2\"",
        "\"\"",
        "\"event_\\u0069d2\"",
    ] {
        fields.push((other.to_owned(), None));
    }
    let odd = select(vec![
        "\"event\\u005fid\"",
        "\"na\\u006de\"",
        "\"other\"",
        "\"\\u006fther\"",
        "\"Event_id\"",
        "\"count \"",
    ]);
    let keep = prop_oneof![3 => Just(fields.len()), 1 => 0..=fields.len()];
    (
        Just(fields).prop_shuffle(),
        keep,
        vec(odd, 0..2),
        proptest::bool::weighted(0.1),
        whitespace(),
    )
        .prop_map(|(mut fields, keep, odd, use_odd, space)| {
            // What is cut off are mostly required columns' neighbours: keep those, so that most records decode.
            let mut place = 0;
            fields.retain(|(key, _)| {
                place += 1;
                place <= keep
                    || ["\"event_id\"", "\"event_time\"", "\"count\""].contains(&key.as_str())
            });
            if use_odd {
                fields.extend(
                    odd.into_iter()
                        .map(|key| (key.to_owned(), Some(ColumnType::String))),
                );
            }
            fields
                .into_iter()
                .map(|(key, column_type)| (key, column_type, space))
                .collect()
        })
}

/// A record of the shape; `skipped` leaves out members.
fn record(
    shape: Vec<(String, Option<ColumnType>, &'static str)>,
    skip: f64,
) -> impl Strategy<Value = Vec<u8>> {
    let members: Vec<_> = shape
        .into_iter()
        .map(|(key, column_type, space)| {
            let value = match column_type {
                Some(column_type) => value_of(column_type),
                None => json_value(1).boxed(),
            };
            (value, proptest::bool::weighted(skip)).prop_map(move |(value, skipped)| {
                (!skipped).then(|| format!("{space}{key}{space}:{space}{value}"))
            })
        })
        .collect();
    (members, whitespace()).prop_map(|(members, end)| {
        let members: Vec<String> = members.into_iter().flatten().collect();
        format!("{{{}{end}}}{end}", members.join(",")).into_bytes()
    })
}

fn damage() -> impl Strategy<Value = Option<(Index, Index, u8, u8)>> {
    proptest::option::weighted(0.15, (any::<Index>(), any::<Index>(), any::<u8>(), 0u8..6))
}

fn damaged(mut value: Vec<u8>, damage: Option<(Index, Index, u8, u8)>) -> Option<Vec<u8>> {
    let Some((at, to, byte, kind)) = damage else {
        return Some(value);
    };
    let at = at.index(value.len());
    match kind {
        0 => value.truncate(at),
        1 => value[at] = byte,
        2 => value.insert(
            at,
            *b"\"\\{}[]:,0 \n\xff"
                .get(usize::from(byte) % 12)
                .unwrap_or(&byte),
        ),
        3 => drop(value.remove(at)),
        4 => {
            let (start, end) = (at.min(to.index(value.len())), at.max(to.index(value.len())));
            let part = value[start..end].to_vec();
            value.splice(at..at, part);
        }
        _ => return None,
    }
    Some(value)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn any_records_are_what_the_model_says(
        values in shape().prop_flat_map(|first| shape().prop_flat_map(move |second| {
            let of_shape = prop_oneof![
                4 => record(first.clone(), 0.0),
                2 => record(first.clone(), 0.1),
                1 => record(second, 0.0),
            ];
            vec((of_shape, damage()).prop_map(|(value, damage)| damaged(value, damage)), 1..12)
        }))
    ) {
        check(&values);
    }

    #[test]
    fn any_value_in_any_field_is_what_the_model_says(value in json_value(10), place in 0..=COLUMNS.len()) {
        let key = COLUMNS.get(place).map_or("other", |column| column.name);
        check(&[Some(with_field(key, &value)), Some(with_field(key, &value)), Some(value.into_bytes())]);
    }

    #[test]
    fn any_bytes_are_what_the_model_says(values: Vec<Option<Vec<u8>>>) {
        check(&values);
    }
}

/// A good record, but for the value of one field.
fn with_field(key: &str, value: &str) -> Vec<u8> {
    let good = [
        ("event_id", "\"a\""),
        ("event_time", "0"),
        ("count", "1"),
        ("name", "\"n\""),
        ("total", "2"),
        ("ratio", "0.5"),
        ("is_new", "true"),
        ("seen_at", "\"2026-11-21T10:00:00.123Z\""),
        ("other", "[]"),
    ];
    let members: Vec<String> = good
        .iter()
        .map(|(name, v)| format!("\"{name}\":{}", if *name == key { value } else { v }))
        .collect();
    format!("{{{}}}", members.join(",")).into_bytes()
}

#[test]
fn a_record_cut_off_or_changed_anywhere_is_what_the_model_says() {
    let good = br#"{"event_id":"4f\u00e9\"-x","other":{"a":[1,-2.5e3,null]},"event_time":"2026-11-21T10:00:00.123+05:30", "count":-12, "ratio":0.25,"is_new":false,"total":77 ,"name":"Gr\u00fc\u00dfe \ud83d\ude00 plain text beyond a block"}"#;
    let mut values = vec![Some(good.to_vec())];
    for at in 0..good.len() {
        values.push(Some(good[..at].to_vec()));
        values.push(Some(good[at..].to_vec()));
        for byte in [
            b'"', b'\\', b'{', b'}', b'[', b']', b',', b':', b' ', b'0', b'e', b'u', 0, 0x1f, 0x7f,
            0x80, 0xff,
        ] {
            let mut changed = good.to_vec();
            changed[at] = byte;
            values.push(Some(changed.clone()));
            changed.insert(at, byte);
            values.push(Some(changed));
            // The good one in between, so that each is met by its prediction.
            values.push(Some(good.to_vec()));
        }
    }
    check(&values);
}

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

#[test]
fn what_is_json_is_accepted_in_a_field_that_is_no_column() {
    let values = [
        "[]",
        "{}",
        "[[]   ]",
        "[\"\"]",
        "[false]",
        "[null, 1, \"1\", {}]",
        "[1\n]",
        " [1]",
        "[1,null,null,null,2]",
        "[2] ",
        "[123e65]",
        "[0e+1]",
        "[0e1]",
        "[ 4]",
        "[-0.000000000000000000000000000000000000000000000000000000000000000000000000000001]",
        "[20e1]",
        "[-0]",
        "[-123]",
        "[-1]",
        "[1E22]",
        "[1E-2]",
        "[1E+2]",
        "[123e45]",
        "[123.456e78]",
        "[1e-2]",
        "[1e+2]",
        "[123]",
        "[123.456789]",
        "[1e9999]",
        "[-1e9999]",
        "[0.4e00669999999999999999999999]",
        "[100000000000000000000]",
        "{\"asd\":\"sdf\", \"dfg\":\"fgh\"}",
        "{\"a\":\"b\",\"a\":\"c\"}",
        "{\"a\":\"b\",\"a\":\"b\"}",
        "{\"\":0}",
        "{\"foo\\u0000bar\": 42}",
        "{\"min\": -1.0e+28, \"max\": 1.0e+28}",
        "{\"a\":[]}",
        "{\"title\":\"\\u041f\\u043e\\u043b\"}",
        "{\n\"a\": \"b\"\n}",
        "[\"\\u0060\\u012a\\u12AB\"]",
        "[\"\\uD801\\udc37\"]",
        "[\"\\ud83d\\ude39\\ud83d\\udc8d\"]",
        "[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]",
        "[\"\\\\u0000\"]",
        "[\"\\\"\"]",
        "[\"a/*b*/c/*d//e\"]",
        "[\"\\\\a\"]",
        "[\"\\\\n\"]",
        "[\"\\u0012\"]",
        "[\"\\uFFFF\"]",
        "[\"asd\"]",
        "[ \"asd\"]",
        "[\"\\uDBFF\\uDFFF\"]",
        "[\"new\\u00A0line\"]",
        "[\"\u{10ffff}\"]",
        "[\"\u{ffff}\"]",
        "[\"\\u0000\"]",
        "[\"\\u002c\"]",
        "[\"π\"]",
        "[\"\u{1bfff}\"]",
        "[\"asd \"]",
        "\" \"",
        "[\"\\uD834\\uDd1e\"]",
        "[\"\\u0821\"]",
        "[\"\\u0123\"]",
        "[\"\u{2028}\"]",
        "[\"\u{2029}\"]",
        "[\"\\u0061\\u30af\\u30EA\\u30b9\"]",
        "[\"new\\u000Aline\"]",
        "[\"\u{7f}\"]",
        "[\"\\uA66D\"]",
        "[\"\\u005C\"]",
        "[\"⍂㈴⍂\"]",
        "[\"\\u0022\"]",
        "[\"\\uDBFF\\uDFFE\"]",
        "[\"\\u200B\"]",
        "[\"\\u2064\"]",
        "[\"\\uFDD0\"]",
        "[\"\\uFFFE\"]",
        "[\"€𝄞\"]",
        "[\"aa\u{7f}a\"]",
        "false",
        "42",
        "-0.1",
        "null",
        "\"asd\"",
        "true",
        "\"\"",
        "[\"a\"]\n",
        "[true]",
        " [] ",
    ];
    for value in values {
        let outcome = decode_one(&with_field("other", value));
        assert!(outcome.is_ok(), "{value}: {outcome:?}");
        assert!(
            MODEL.decode(Some(&with_field("other", value))).is_ok(),
            "the model: {value}"
        );
    }
}

#[test]
fn what_is_no_json_is_malformed_in_a_field_that_is_no_column() {
    let values = [
        "[1 true]",
        "[\"\": 1]",
        "[\"\"],",
        "[,1]",
        "[1,,2]",
        "[\"x\",,]",
        "[\"x\"]]",
        "[\"\",]",
        "[\"x\"",
        "[x",
        "[3[4]]",
        "[1:2]",
        "[,]",
        "[-]",
        "[   , \"\"]",
        "[\"a\",\n4\n,1,",
        "[1,]",
        "[1,,]",
        "[\"a\",*]",
        "[*]",
        "[\"a\"",
        "[1,",
        "[1,\n1\n,1",
        "[{}",
        "[fals]",
        "[nul]",
        "[tru]",
        "[++1234]",
        "[+1]",
        "[+Inf]",
        "[-01]",
        "[-1.0.]",
        "[-2.]",
        "[-NaN]",
        "[.-1]",
        "[.2e-3]",
        "[0.1.2]",
        "[0.3e+]",
        "[0.3e]",
        "[0.e1]",
        "[0E+]",
        "[0E]",
        "[0e+]",
        "[0e]",
        "[1.0e+]",
        "[1.0e-]",
        "[1.0e]",
        "[1 000.0]",
        "[1eE2]",
        "[2.e+3]",
        "[2.e-3]",
        "[2.e3]",
        "[9.e+]",
        "[Inf]",
        "[NaN]",
        "[\u{ff11}]",
        "[1+2]",
        "[0x1]",
        "[0x42]",
        "[Infinity]",
        "[-Infinity]",
        "[0e+-1]",
        "[-123.123foo]",
        "[-foo]",
        "[- 1]",
        "[-012]",
        "[-.123]",
        "[-1x]",
        "[1ea]",
        "[1.]",
        "[.123]",
        "[1.2a-3]",
        "[1.8011670033376514H-308]",
        "[012]",
        "[\"x\", truth]",
        "{[: \"x\"}",
        "{\"x\", null}",
        "{\"x\"::\"b\"}",
        "{\"a\":\"a\" 123}",
        "{key: 'value'}",
        "{\"a\" b}",
        "{:\"b\"}",
        "{\"a\" \"b\"}",
        "{\"a\":",
        "{\"a\"",
        "{1:1}",
        "{9999E9999:1}",
        "{null:null,null:null}",
        "{\"id\":0,,,,,}",
        "{'a':0}",
        "{\"id\":0,}",
        "{\"a\":\"b\"}/**/",
        "{\"a\":\"b\"}//",
        "{\"a\":\"b\",,\"c\":\"d\"}",
        "{a: \"b\"}",
        "{\"a\":\"a",
        "{ \"foo\" : \"bar\", \"a\" }",
        "{\"a\":\"b\"}#",
        "[\"\\uD800\\\"]",
        "[\"\\uD800\\u\"]",
        "[\"\\uD800\\u1\"]",
        "[\"\\uD800\\u1x\"]",
        "[é]",
        "[\"\\x00\"]",
        "[\"\\\\\\\"]",
        "[\"\\\t\"]",
        "[\"\\🌀\"]",
        "[\"\\\"]",
        "[\"\\u00A\"]",
        "[\"\\uD834\\uDd\"]",
        "[\"\\uD800\\uD800\\x\"]",
        "[\"\\a\"]",
        "[\"\\uqqqq\"]",
        "[\\u0020\"asd\"]",
        "[\\n]",
        "\"",
        "['single quote']",
        "abc",
        "[\"\\",
        "[\"a\u{0}a\"]",
        "[\"new\nline\"]",
        "[\"\t\"]",
        "\"\\UA66D\"",
        "\u{2060}",
        "[\u{2060}]",
        "<.>",
        "[<null>]",
        "[1]x",
        "[\"asd]",
        "aå",
        "[True]",
        "1]",
        "{\"x\": true,",
        "[][]",
        "]",
        "",
        "{\"a\": true} \"x\"",
        "\u{feff}1",
        "[\u{c}]",
        "\\u0061",
        "*",
        "{\"\":",
        "{\"a\":/*comment*/\"b\"}",
        "{\"a\": 'b'}",
        "['",
        "[,",
        "[{",
        "[\"a",
        "{,",
        "{[",
        "{\"a",
        "{'a'",
        "[\"\\{[\"\\{[\"\\{",
        "é",
        "[1\u{a0}]",
        "nan",
        "--1",
        "1 1",
        "\"\\ud800\"",
        "\"\\udc00\"",
        "\"\\udc00\\ud800\"",
        "\"\\ud800\\ud800\"",
        "\"\\ud800\\n\"",
        "\"\\ud800 \\udc00\"",
        "{\"\\ud800\":1}",
    ];
    for value in values {
        for json in [
            with_field("other", value),
            with_field("name", value),
            value.as_bytes().to_vec(),
        ] {
            let outcome = decode_one(&json).map_err(|e| e.0);
            assert_eq!(
                outcome,
                Err(ErrorType::Malformed),
                "{}",
                String::from_utf8_lossy(&json)
            );
        }
    }
    for bytes in [
        &b"\xff"[..],
        b"\xe5",
        b"\"\xc0\xaf\"",
        b"\"\xed\xa0\x80\"",
        b"\"\xf4\xbf\xbf\xbf\"",
        b"\"\xfc\x83\xbf\xbf\xbf\xbf\"",
        b"\"\x81\"",
    ] {
        let mut json = br#"{"event_id":"a","event_time":0,"count":1,"other":"#.to_vec();
        json.extend_from_slice(bytes);
        json.push(b'}');
        let (error_type, message) = decode_one(&json).expect_err("not UTF-8");
        assert_eq!(error_type, ErrorType::Malformed);
        assert!(message.starts_with("not UTF-8: byte "), "{message}");
    }
}

#[test]
fn a_failure_has_the_first_kind_that_applies() {
    use ErrorType::*;
    let cases: &[(&str, ErrorType)] = &[
        ("", Malformed),
        (" \n", Malformed),
        (
            "\u{feff}{\"event_id\":\"a\",\"event_time\":0,\"count\":1}",
            Malformed,
        ),
        (r#"{"event_id":"a","event_time":0,"count":1} x"#, Malformed),
        (r#"{"event_id":"a","event_time":0,"count":1}{}"#, Malformed),
        (
            r#"{"event_id":"a","event_id":"a","event_time":0,"count":1}"#,
            Malformed,
        ),
        (
            r#"{"event_id":"a","event\u005fid":"b","event_time":0,"count":1}"#,
            Malformed,
        ),
        (
            r#"{"event_id":"a","event_time":0,"count":1,"x":1,"x":1}"#,
            Malformed,
        ),
        (
            r#"{"event_id":"a","event_time":0,"count":1,"x":1,"y":2,"\u0078":1}"#,
            Malformed,
        ),
        (
            r#"{"event_id":null,"event_id":"a","event_time":0,"count":1}"#,
            Malformed,
        ),
        (
            r#"{"event_id":7,"event_time":"never","count":1.5,"x":tru}"#,
            Malformed,
        ),
        ("7", SchemaMismatch),
        ("[]", SchemaMismatch),
        ("null", SchemaMismatch),
        (r#""{}""#, SchemaMismatch),
        (r#"{"event_id":1,"event_time":0,"count":1}"#, SchemaMismatch),
        (
            r#"{"event_id":null,"event_time":null,"count":"1"}"#,
            SchemaMismatch,
        ),
        (
            r#"{"event_id":"a","event_time":"1795255200000","count":1}"#,
            SchemaMismatch,
        ),
        (
            r#"{"event_id":"a","event_time":1.0,"count":1}"#,
            SchemaMismatch,
        ),
        (
            r#"{"event_id":"a","event_time":true,"count":1}"#,
            SchemaMismatch,
        ),
        (
            r#"{"event_id":"a","event_time":9223372036854776,"count":1}"#,
            SchemaMismatch,
        ),
        (
            r#"{"event_id":"a","event_time":0,"count":1e2}"#,
            SchemaMismatch,
        ),
        (
            r#"{"event_id":"a","event_time":0,"count":1,"ratio":1e999}"#,
            SchemaMismatch,
        ),
        (r#"{"event_id":"a","event_time":0}"#, SchemaMismatch),
        (r#"{"event_time":null,"count":null}"#, SchemaMismatch),
        (r#"{"count":1}"#, MissingEventId),
        (r#"{"event_id":"","count":1}"#, MissingEventId),
        (
            r#"{"event_id":null,"event_time":0,"count":1}"#,
            MissingEventId,
        ),
        (r#"{"event_id":"a","count":1}"#, MissingEventTime),
        (
            r#"{"event_id":"a","event_time":null,"count":1}"#,
            MissingEventTime,
        ),
    ];
    for (json, expected) in cases {
        assert_eq!(
            decode_one(json.as_bytes()).map_err(|e| e.0),
            Err(*expected),
            "{json}"
        );
        assert_eq!(
            MODEL.decode(Some(json.as_bytes())),
            Err(*expected),
            "the model: {json}"
        );
    }
}

#[test]
fn a_message_says_which_field_what_was_found_and_what_was_expected() {
    let message = |json: &[u8]| decode_one(json).expect_err("a bad record").1;
    assert_eq!(
        message(&with_field("count", "\"x\"")),
        "field `count`: expected a JSON integer of 32 bits, found `\"x\"`"
    );
    assert!(
        message(&with_field("event_time", "\"1795255200000\""))
            .contains("digits alone are ambiguous")
    );
    assert!(message(&with_field("name", &"[1,".repeat(30))).starts_with("not JSON: "));
    let long = message(&with_field("count", &format!("\"{}\"", "é".repeat(1000))));
    assert!(long.contains("éé…`"), "{long}");
    assert!(message(b"\xef\xbb\xbf{}").contains("byte order mark"));
    assert_eq!(
        message(br#"{"event_id":"","event_time":0,"count":1}"#),
        "field `event_id`: the event id is empty; it must be a string"
    );
    assert!(
        message(br#"{"event_id":"a","event_time":0,"count":1,"x":1,"x":1}"#)
            .contains("the key `x` stands twice")
    );
    assert_eq!(
        message(b"{\"a\":1"),
        "not JSON: neither `,` nor `}` after a member, at byte 6 of 6; the record ends there"
    );
}

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
fn null_and_too_large_values_are_told_apart_from_bad_ones() {
    let mut full = with_field("", "");
    full.resize(MAX_RECORD_BYTES, b' ');
    let mut larger = full.clone();
    larger.push(b' ');
    let values = [
        None,
        Some(full),
        Some(larger),
        Some(vec![0xff; MAX_RECORD_BYTES + 1]),
    ];
    let decoded = outcomes(&test_decoder().decode(&raw_batch(&values)), 4);
    assert_eq!(
        decoded[0].as_ref().err().map(|e| e.0),
        Some(ErrorType::NullValue)
    );
    assert!(decoded[1].is_ok(), "as long as the limit");
    for decoded in &decoded[2..] {
        assert_eq!(
            decoded.as_ref().err().map(|e| e.0),
            Some(ErrorType::TooLarge)
        );
    }
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

#[test]
fn without_deduplication_an_id_is_a_column_like_any_other() {
    let columns = [
        Column::optional("event_id", ColumnType::String),
        Column::required("at", ColumnType::Timestamptz),
    ];
    let mut decoder = JsonDecoder::new(&columns, None, 1, 1000).expect("decoder");
    let values = [
        Some(r#"{"at":1,"event_id":""}"#),
        Some(r#"{"at":1}"#),
        Some(r#"{"at":1,"event_id":null}"#),
    ];
    let decoded = decoder.decode(&raw_batch(&values));
    assert_eq!(decoded.rows, [0, 1, 2]);
    assert_eq!(decoded.columns.column(0).null_count(), 2);
}

#[test]
fn a_decoder_is_made_from_settings_that_fit_together() {
    let job = Job {
        name: "t",
        topics: &["t"],
        columns: COLUMNS,
        table: "bronze.t",
        ..Job::BRONZE
    };
    let mut made = decoder(&job.settings(), false).expect("decoder");
    assert_eq!(
        made.decode(&raw_batch(&[Some(with_field("", ""))])).rows,
        [0]
    );
    let mut settings = job.settings();
    settings.event_time = "evnt_time".to_owned();
    let error = decoder(&settings, false).err().expect("an unknown column");
    assert_eq!(error.kind(), crate::ErrorKind::Configuration);
    assert!(
        error.to_string().contains("`evnt_time` is no column"),
        "{error}"
    );
    settings.event_time = "count".to_owned();
    let error = decoder(&settings, false)
        .err()
        .expect("a column of another type");
    assert!(
        error
            .message()
            .contains("`count` is a int; it must be a timestamptz"),
        "{error}"
    );
    assert!(
        JsonDecoder::new(&[COLUMNS[1], COLUMNS[1]], None, 0, 1).is_err(),
        "a column twice"
    );
}

#[test]
fn an_empty_batch_has_no_rows_and_the_right_columns() {
    let decoded = test_decoder().decode(&raw_batch::<&[u8]>(&[]));
    assert_eq!(decoded.columns.num_rows(), 0);
    assert_eq!(decoded.columns.schema(), decoded_schema(COLUMNS));
}

/// A type, what fits it with how Arrow prints it, and what does not fit.
type Case<'a> = (ColumnType, &'a [(&'a str, &'a str)], &'a [&'a str]);

/// The types that the model does not have.
#[test]
fn the_seldom_types_take_what_fits_and_refuse_the_rest() {
    let decimal = ColumnType::Decimal {
        precision: 10,
        scale: 2,
    };
    let cases: [Case<'_>; 6] = [
        (
            decimal,
            &[
                ("1.5", "150"),
                ("\"-0.05\"", "-5"),
                ("12e1", "12000"),
                ("0", "0"),
            ],
            &["1.005", "123456789", "\"JwA=\"", "true", "\"\"", "{}"],
        ),
        (
            ColumnType::Float,
            &[("1.5", "1.5"), ("-3", "-3.0")],
            &["1e39", "\"1\""],
        ),
        (
            ColumnType::Date,
            &[("\"1970-01-02\"", "1970-01-02"), ("20000", "2024-10-04")],
            &["\"1970-02-30\"", "1.5", "99999999999"],
        ),
        (
            ColumnType::Time,
            &[("\"00:00:01\"", "00:00:01"), ("1000", "00:00:01")],
            &["86400000", "-1", "\"24:00:00\""],
        ),
        (
            ColumnType::Timestamp,
            &[
                ("\"1970-01-01T00:00:01\"", "1970-01-01T00:00:01"),
                ("1000", "1970-01-01T00:00:01"),
            ],
            &["\"1970-01-01\"", "1.5"],
        ),
        (
            ColumnType::Binary,
            &[("\"/wA=\"", "[255, 0]"), ("\"\"", "[]")],
            &["\"/w\"", "\"*\"", "7"],
        ),
    ];
    for (column_type, fits, misfits) in cases {
        let columns = [
            Column::required("event_time", ColumnType::Timestamptz),
            Column::optional("v", column_type),
        ];
        let mut decoder = JsonDecoder::new(&columns, None, 0, 1 << 20).expect("decoder");
        let record = |value: &str| Some(format!("{{\"event_time\":1,\"v\":{value}}}"));
        let values = fits.iter().map(|(value, _)| record(value));
        let decoded = decoder.decode(&raw_batch(&values.collect::<Vec<_>>()));
        assert_eq!(decoded.failures, [], "{}", column_type.name());
        let array = decoded.columns.column(1);
        for (row, (value, expected)) in fits.iter().enumerate() {
            let found = match column_type {
                ColumnType::Decimal { .. } => array
                    .as_primitive::<Decimal128Type>()
                    .value(row)
                    .to_string(),
                ColumnType::Float => {
                    format!("{:?}", array.as_primitive::<Float32Type>().value(row))
                }
                ColumnType::Date => {
                    let date = array.as_primitive::<Date32Type>().value_as_date(row);
                    date.expect("a date").to_string()
                }
                ColumnType::Time => {
                    let time = array
                        .as_primitive::<Time64MicrosecondType>()
                        .value_as_time(row);
                    time.expect("a time").to_string()
                }
                ColumnType::Binary => format!("{:?}", array.as_binary::<i32>().value(row)),
                _ => {
                    let time = array.as_primitive::<TimestampMicrosecondType>();
                    let time = time.value_as_datetime(row).expect("a time");
                    time.format("%Y-%m-%dT%H:%M:%S").to_string()
                }
            };
            assert_eq!(&found, expected, "{value} as {}", column_type.name());
        }
        let values: Vec<Option<String>> = misfits.iter().map(|value| record(value)).collect();
        let decoded = decoder.decode(&raw_batch(&values));
        assert_eq!(
            decoded.failures.len(),
            misfits.len(),
            "{}",
            column_type.name()
        );
        for failure in &decoded.failures {
            assert_eq!(
                failure.error_type,
                ErrorType::SchemaMismatch,
                "{}",
                failure.message
            );
        }
    }
}

#[test]
fn a_header_of_the_schema_registry_is_taken_by_json_sr_and_named_by_json() {
    let value = b"\x00\x00\x01\x86\xba{\"event_id\":\"a\",\"event_time\":1,\"count\":1}";
    let failure = decode_one(value).expect_err("not plain JSON");
    assert!(failure.1.contains("use `format: json_sr`"), "{}", failure.1);
    let mut decoder = test_decoder().framed(true);
    let batch = raw_batch(&[Some(&value[..]), Some(&value[5..]), Some(&value[..4])]);
    let mut missing = super::SchemaIds::new();
    decoder.missing_schemas(&batch, &mut missing);
    assert_eq!(missing, [100_026].into());
    let denied = crate::io::SchemaAnswer::Denied("no".to_owned());
    decoder.learn(100_026, &denied);
    let kinds = |decoded: Decoded| -> Vec<ErrorType> {
        decoded.failures.iter().map(|f| f.error_type).collect()
    };
    let malformed = ErrorType::Malformed;
    let with_registry = kinds(decoder.decode(&batch));
    assert_eq!(
        with_registry,
        [ErrorType::UnknownSchema, malformed, malformed]
    );
    decoder.forget(100_026);
    missing.clear();
    decoder.missing_schemas(&batch, &mut missing);
    assert_eq!(missing, [100_026].into(), "asked again");
    let without = kinds(test_decoder().framed(false).decode(&batch));
    assert_eq!(without, [malformed, malformed]);
}
