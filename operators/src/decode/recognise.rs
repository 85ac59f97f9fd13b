//! Which format records have, told from their bytes. A decision over a sample; who reads the sample, and whom the
//! registry's word is from, is not its business.
//!
//! What one record looks like is its [`Look`]; null and empty records say nothing. A format is recognised when at least
//! [`AGREEMENT_PERCENT`] of the others look like it; else nothing is guessed. `raw` fits anything and is never
//! recognised.

mod looks;
mod shown;

use std::collections::BTreeMap;

use crate::job::{Format, JobSettings};
use looks::RecordReader;
pub use looks::{KindOf, Look, look};
pub use shown::{hex, text};

/// How many of a hundred records must look like a format: the others are what dead letters are for.
pub const AGREEMENT_PERCENT: usize = 90;

/// The format of a topic's records, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recognised {
    /// The format.
    pub format: Format,
    /// Why, such as `100 of 100 records are JSON objects`.
    pub reason: String,
}

/// Why no format is recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unrecognised {
    /// What stands in the way.
    pub reason: String,
    /// Those that may be meant.
    pub candidates: Vec<Format>,
}

/// Says which format the records of a sample have, of a job with these settings.
///
/// # Errors
/// They may be of several, or of none that is known.
pub fn recognise<'v>(
    sample: impl IntoIterator<Item = Option<&'v [u8]>>,
    settings: &JobSettings,
    kind_of: KindOf<'_>,
) -> Result<Recognised, Unrecognised> {
    let mut reader = RecordReader::new(settings);
    let (mut total, mut silent) = (0, 0);
    // By the formats' names, so that the same sample gives the same words.
    let mut looks: BTreeMap<Vec<&'static str>, (usize, Look)> = BTreeMap::new();
    for value in sample {
        match value {
            None | Some([]) => silent += 1,
            Some(value) => {
                total += 1;
                let look = reader.look(value, kind_of);
                let names = look.formats.iter().map(|format| format.name()).collect();
                looks.entry(names).or_insert((0, look)).0 += 1;
            }
        }
    }
    if total == 0 {
        let reason = match silent {
            0 => "there are no records yet".to_owned(),
            silent => format!("all of the {silent} first records are null or empty"),
        };
        return Err(Unrecognised {
            reason,
            candidates: Vec::new(),
        });
    }
    let mut looks: Vec<(usize, Look)> = looks.into_values().collect();
    looks.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    let (count, first) = &looks[0];
    let is_most = count * 100 >= total * AGREEMENT_PERCENT;
    if let ([format], true) = (first.formats.as_slice(), is_most) {
        return Ok(Recognised {
            format: *format,
            reason: format!("{count} of {total} records are {}", first.seen),
        });
    }
    let said: Vec<String> = looks
        .iter()
        .map(|(count, look)| format!("{count} of {total} records are {}", look.seen))
        .collect();
    let mut candidates = Vec::new();
    for format in looks.iter().flat_map(|(_, look)| &look.formats) {
        if !candidates.contains(format) {
            candidates.push(*format);
        }
    }
    Err(Unrecognised {
        reason: said.join(", "),
        candidates,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::SchemaKind;
    use crate::job::Job;
    use crate::schema::{Column, ColumnType};

    const AVRO: &str = r#"{"type":"record","name":"E","fields":[
        {"name":"event_id","type":"string"},{"name":"event_time","type":"long"}]}"#;

    const COLUMNS: &[Column] = &[
        Column::required("event_id", ColumnType::String),
        Column::required("event_time", ColumnType::Timestamptz),
        Column::optional("url", ColumnType::String),
    ];

    fn settings() -> JobSettings {
        Job {
            name: "clicks",
            columns: COLUMNS,
            ..Job::BRONZE
        }
        .settings()
    }

    /// The registry of the tests.
    fn kind_of(id: u32) -> Option<SchemaKind> {
        match id {
            1 => Some(SchemaKind::Avro),
            2 => Some(SchemaKind::Json),
            3 => Some(SchemaKind::Protobuf),
            _ => None,
        }
    }

    fn framed(id: u8, payload: &[u8]) -> Vec<u8> {
        [&[0, 0, 0, 0, id], payload].concat()
    }

    fn of(values: &[Vec<u8>]) -> Result<Recognised, Unrecognised> {
        let sample = values.iter().map(|value| Some(value.as_slice()));
        recognise(sample, &settings(), &mut |id| kind_of(id))
    }

    const CHANGE: &str = r#"{"op":"c","before":null,"after":{"id":1},"source":{"table":"t"}}"#;

    #[test]
    fn each_format_is_recognised_with_its_reason() {
        let wrapped = format!(r#"{{"schema":{{}},"payload":{CHANGE}}}"#);
        let row = r#"{"id":1,"__op":"c","__deleted":"false"}"#;
        for (value, format, part) in [
            (br#"{"a":1}"#.to_vec(), Format::Json, "JSON objects"),
            (b" {}\n".to_vec(), Format::Json, "JSON objects"),
            (br#"{"op":"buy","after":1}"#.to_vec(), Format::Json, "JSON"),
            (framed(2, b"{}"), Format::JsonSr, "schema id 2"),
            (framed(9, b"{}"), Format::JsonSr, "schema id 9"),
            (framed(1, &[2, b'a']), Format::AvroSr, "schema id 1"),
            // What the registry says counts, whatever stands behind the header.
            (framed(1, b"{}"), Format::AvroSr, "schema id 1"),
            (framed(3, &[0, 8, 1]), Format::ProtobufSr, "schema id 3"),
            (CHANGE.as_bytes().to_vec(), Format::DebeziumJson, "Debezium"),
            (
                wrapped.clone().into_bytes(),
                Format::DebeziumJson,
                "with their schema",
            ),
            (row.as_bytes().to_vec(), Format::DebeziumJson, "Debezium"),
            (
                framed(2, CHANGE.as_bytes()),
                Format::DebeziumJsonSr,
                "schema id 2",
            ),
            (
                framed(2, wrapped.as_bytes()),
                Format::DebeziumJsonSr,
                "schema id 2",
            ),
            (b"a,1,\"x,\ny\"".to_vec(), Format::Csv, "rows of 3 cells"),
        ] {
            let shown = String::from_utf8_lossy(&value).into_owned();
            let found = of(&[value]).unwrap_or_else(|e| panic!("{shown}: {e:?}"));
            assert_eq!(found.format, format, "{shown}: {}", found.reason);
            assert!(found.reason.contains(part), "{shown}: {}", found.reason);
        }
    }

    #[test]
    fn nothing_is_guessed() {
        let connect = br#"{"schema":{},"payload":{"id":1}}"#.to_vec();
        for (value, candidates, part) in [
            (
                framed(9, &[2, b'a']),
                &[Format::AvroSr, Format::ProtobufSr][..],
                "no registry says",
            ),
            (
                connect,
                &[Format::DebeziumJson, Format::Json],
                "Connect schema",
            ),
            (
                b"a,1".to_vec(),
                &[],
                "2 cells, where CSV of this job would have 3",
            ),
            (b"hello".to_vec(), &[], "text"),
            (b"12".to_vec(), &[], "text"),
            (b"Obj\x01abc".to_vec(), &[], "Avro files"),
            (
                vec![2, b'a', 0xff, 0],
                &[Format::Avro, Format::Raw],
                "without a schema registry header",
            ),
        ] {
            let shown = String::from_utf8_lossy(&value).into_owned();
            let found = of(&[value]);
            match found {
                Err(found) => {
                    assert_eq!(found.candidates, candidates, "{shown}: {}", found.reason);
                    assert!(found.reason.contains(part), "{shown}: {}", found.reason);
                }
                Ok(found) => panic!("{shown} is taken for {found:?}"),
            }
        }
        let nothing = recognise([None, Some(&[][..])], &settings(), &mut |_| None);
        assert!(
            nothing
                .expect_err("no format")
                .reason
                .contains("2 first records")
        );
        let empty = recognise([], &settings(), &mut |_| None).expect_err("no format");
        assert!(empty.reason.contains("no records yet"));
    }

    #[test]
    fn some_bad_records_do_not_hide_the_format_and_many_do() {
        let with = |bad: usize| {
            let mut values = vec![b"{}".to_vec(); 100 - bad];
            values.extend(vec![b"a,1,x".to_vec(); bad]);
            of(&values)
        };
        assert_eq!(
            with(10),
            Ok(Recognised {
                format: Format::Json,
                reason: "90 of 100 records are JSON objects".to_owned()
            })
        );
        let found = with(11).expect_err("no format");
        assert_eq!(found.candidates, [Format::Json, Format::Csv]);
        assert!(
            found
                .reason
                .contains("11 of 100 records are rows of 3 cells"),
            "{}",
            found.reason
        );
    }

    #[test]
    fn avro_of_the_schema_that_is_given_is_recognised() {
        let mut settings = settings();
        settings.avro_schema = Some(AVRO.to_owned());
        // `a`, and 1 ms: the first byte may be a zero as well.
        for value in [&[2, b'a', 2][..], &[8, 0, 0, 0, 0, 2]] {
            let found = recognise([Some(value)], &settings, &mut |_| None).expect("a format");
            assert_eq!(found.format, Format::Avro);
        }
        let found = recognise([Some(&[2, b'a'][..])], &settings, &mut |_| None);
        assert!(found.is_err(), "{found:?}");
    }
}
