//! Which format records have, told from their bytes. A decision over a sample; who reads the sample, and whom the
//! registry's word is from, is not its business.
//!
//! | a record that | looks like |
//! |---|---|
//! | is an object of JSON | `json`; as Debezium writes changes, `debezium_json` |
//! | begins with the schema registry's header | the format of the kind of schema that the registry has for the id: `avro_sr`, `protobuf_sr`, `json_sr` or `debezium_json_sr` |
//! | the same, and the registry does not say | `json_sr` or `debezium_json_sr` when JSON stands behind the header, else one of the binary ones |
//! | is text of as many cells as there should be | `csv` |
//! | is Avro of the schema that is given | `avro` |
//!
//! Null and empty records say nothing. A format is recognised when at least [`AGREEMENT_PERCENT`] of the others
//! look like it; else nothing is guessed. `raw` fits anything and is never recognised.

use std::collections::BTreeMap;

use csv_core::{ReadRecordResult, ReaderBuilder};

use super::avro::AvroRows;
use super::columns::ColumnBuilder;
use super::derived::decoded_columns;
use super::frame;
use super::message::excerpt;
use super::target::targets;
use crate::io::SchemaKind;
use crate::job::{Format, JobSettings};
use crate::record::ErrorType;

/// How many of a hundred records must look like a format: the others are what dead letters are for.
pub const AGREEMENT_PERCENT: usize = 90;

/// Bytes shown in hexadecimal.
const HEX_BYTES: usize = 16;

/// What the registry says of a schema id; `None` when it cannot be asked, or denies the id.
pub type KindOf<'a> = &'a mut dyn FnMut(u32) -> Option<SchemaKind>;

/// What one record looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// The formats that may be meant; one when it is clear, none when it is none that is known.
    pub formats: Vec<Format>,
    /// What was seen, such as `a schema registry header (schema id 7)`.
    pub seen: String,
}

impl Look {
    fn of(formats: &[Format], seen: impl Into<String>) -> Look {
        Look {
            formats: formats.to_vec(),
            seen: seen.into(),
        }
    }

    /// The setting of `key` that would fit, such as `format: json_sr`; `None` when none is known.
    pub fn setting(&self, key: &str) -> Option<String> {
        let names: Vec<String> = self
            .formats
            .iter()
            .map(|format| format!("`{key}: {}`", format.name()))
            .collect();
        (!names.is_empty()).then(|| names.join(" or "))
    }
}

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

/// What one record looks like, of a job with these settings, when neither the registry nor a given schema of Avro
/// is asked.
pub fn look(value: &[u8], settings: &JobSettings) -> Look {
    RecordReader::of_rows(settings).look(value, &mut |_| None)
}

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

/// Reads records one by one.
struct RecordReader {
    avro: Option<(AvroRows, Vec<ColumnBuilder>)>,
    delimiter: u8,
    cells: usize,
}

impl RecordReader {
    fn new(settings: &JobSettings) -> RecordReader {
        RecordReader {
            avro: given_avro(settings),
            ..RecordReader::of_rows(settings)
        }
    }

    /// Without the schema of Avro that is given.
    fn of_rows(settings: &JobSettings) -> RecordReader {
        RecordReader {
            avro: None,
            delimiter: settings.csv.delimiter,
            cells: match settings.csv.columns.len() {
                0 => decoded_columns(settings).len(),
                named => named,
            },
        }
    }

    fn look(&mut self, value: &[u8], kind_of: KindOf<'_>) -> Look {
        if let Ok(framed) = frame::read(value) {
            return self.behind_header(value, framed, kind_of);
        }
        if let Some(look) = json(value, false) {
            return look;
        }
        if self.is_avro(value) {
            return Look::of(&[Format::Avro], "Avro of the schema that is given");
        }
        if value.starts_with(b"Obj\x01") {
            return Look::of(
                &[],
                "Avro files with their own header, which no format reads",
            );
        }
        match std::str::from_utf8(value) {
            Ok(text) if !text.contains('\0') => self.of_text(text),
            _ => Look::of(
                &[Format::Avro, Format::Raw],
                "bytes without a schema registry header, such as Avro",
            ),
        }
    }

    fn behind_header(
        &mut self,
        value: &[u8],
        framed: frame::Frame<'_>,
        kind_of: KindOf<'_>,
    ) -> Look {
        let header = format!("behind a schema registry header (schema id {})", framed.id);
        match (kind_of(framed.id), json(framed.payload, true)) {
            (Some(SchemaKind::Avro), _) => Look::of(&[Format::AvroSr], format!("Avro {header}")),
            (Some(SchemaKind::Protobuf), _) => {
                Look::of(&[Format::ProtobufSr], format!("Protobuf {header}"))
            }
            (_, Some(json)) => Look {
                seen: format!("{} {header}", json.seen),
                ..json
            },
            (Some(SchemaKind::Json), None) => Look::of(
                &[Format::JsonSr],
                format!("JSON that is cut off or broken {header}"),
            ),
            (None, None) if self.is_avro(value) => {
                Look::of(&[Format::Avro], "Avro of the schema that is given")
            }
            (None, None) => Look::of(
                &[Format::AvroSr, Format::ProtobufSr],
                format!("bytes {header} of which no registry says what it is"),
            ),
        }
    }

    fn of_text(&self, text: &str) -> Look {
        if text.trim_start().starts_with(['{', '[']) {
            return Look::of(&[Format::Json], "JSON that is cut off or broken");
        }
        match self.count_cells(text) {
            Some(count) if count == self.cells && count > 1 => {
                Look::of(&[Format::Csv], format!("rows of {count} cells"))
            }
            Some(count) if count > 1 => Look::of(
                &[],
                format!(
                    "text of {count} cells, where CSV of this job would have {}: see `csv.columns`",
                    self.cells
                ),
            ),
            _ => Look::of(&[], "text, but no JSON, and not of several cells"),
        }
    }

    /// The cells of a row, if it is one.
    fn count_cells(&self, text: &str) -> Option<usize> {
        let mut reader = ReaderBuilder::new().delimiter(self.delimiter).build();
        let mut cells = vec![0; text.len() + 1];
        let mut ends = vec![0; text.len() + 2];
        let (found, _, written, count) = reader.read_record(text.as_bytes(), &mut cells, &mut ends);
        let (found, more) = match found {
            ReadRecordResult::InputEmpty => {
                let (cells, ends) = (&mut cells[written..], &mut ends[count..]);
                let (found, _, _, more) = reader.read_record(b"\n", cells, ends);
                (found, more)
            }
            found => (found, 0),
        };
        (found == ReadRecordResult::Record).then_some(count + more)
    }

    /// Whether it is Avro of the schema that is given, from the first byte to the last.
    fn is_avro(&mut self, value: &[u8]) -> bool {
        let Some((rows, builders)) = &mut self.avro else {
            return false;
        };
        let read = rows.read(value, builders);
        builders.iter_mut().for_each(|builder| builder.truncate(0));
        !matches!(read, Err(failure) if failure.error_type == ErrorType::Malformed)
    }
}

/// A reader of Avro, when a schema is given that can be used.
fn given_avro(settings: &JobSettings) -> Option<(AvroRows, Vec<ColumnBuilder>)> {
    let schema = settings.avro_schema.as_deref()?;
    let columns = decoded_columns(settings);
    let place = |name: &str| columns.iter().position(|column| column.name == name);
    let id = settings.dedup.as_ref().and_then(|dedup| place(&dedup.key));
    let targets = targets(&columns, id, place(&settings.event_time)?);
    let rows = AvroRows::given(targets, id, schema).ok()?;
    let builders = columns.iter().map(|c| ColumnBuilder::new(c.column_type));
    Some((rows, builders.collect()))
}

/// What JSON says; `None` when it is no object.
fn json(value: &[u8], has_header: bool) -> Option<Look> {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(value).ok()?;
    let (plain, debezium) = match has_header {
        false => (Format::Json, Format::DebeziumJson),
        true => (Format::JsonSr, Format::DebeziumJsonSr),
    };
    let is_wrapper = object.len() == 2 && object.contains_key("schema");
    Some(match object.get("payload") {
        Some(serde_json::Value::Object(payload)) if is_wrapper => {
            if is_change(payload) {
                Look::of(&[debezium], "changes in Debezium's JSON, with their schema")
            } else {
                Look::of(
                    &[debezium, plain],
                    "JSON with a Connect schema, which Debezium may have written or not",
                )
            }
        }
        _ if is_change(&object) => Look::of(&[debezium], "changes in Debezium's JSON"),
        _ => Look::of(&[plain], "JSON objects"),
    })
}

/// Whether an object is a change as Debezium writes it, or a row of such a change that was taken out.
fn is_change(object: &serde_json::Map<String, serde_json::Value>) -> bool {
    let has = |key: &str| object.contains_key(key);
    let is_op = object
        .get("op")
        .and_then(serde_json::Value::as_str)
        .is_some_and(|op| ["c", "u", "d", "r", "t", "m"].contains(&op));
    let is_envelope = is_op && has("source") && (has("before") || has("after") || has("message"));
    let is_row = has("__op") || has("__deleted") || (has("__table") && has("__ts_ms"));
    is_envelope || is_row
}

#[cfg(test)]
mod tests {
    use super::*;
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

    #[test]
    fn a_payload_is_shown_within_bounds() {
        assert_eq!(hex(&[0, 0, 1, 0x86, 0xba]), "00 00 01 86 BA");
        assert_eq!(hex(&[7; 100]).split(' ').count(), HEX_BYTES + 1);
        assert!(text(&[b'x'; 100_000]).chars().count() < 100);
        assert!(text(&[0xff, b'a']).contains('a'));
    }
}
