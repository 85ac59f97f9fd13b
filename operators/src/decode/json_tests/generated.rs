//! Records of any kind, good ones and damaged ones: each is what the model says.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;

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
