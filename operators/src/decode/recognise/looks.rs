//! What one record looks like, told from its bytes.
//!
//! | a record that | looks like |
//! |---|---|
//! | is an object of JSON | `json`; as Debezium writes changes, `debezium_json` |
//! | begins with the schema registry's header | the format of the kind of schema that the registry has for the id: `avro_sr`, `protobuf_sr`, `json_sr` or `debezium_json_sr` |
//! | the same, and the registry does not say | `json_sr` or `debezium_json_sr` when JSON stands behind the header, else one of the binary ones |
//! | is text of as many cells as there should be | `csv` |
//! | is Avro of the schema that is given | `avro` |

use csv_core::{ReadRecordResult, ReaderBuilder};

use super::super::avro::AvroRows;
use super::super::columns::ColumnBuilder;
use super::super::derived::decoded_columns;
use super::super::frame;
use super::super::target::targets;
use crate::io::SchemaKind;
use crate::job::{Format, JobSettings};
use crate::record::ErrorType;

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

/// What one record looks like, of a job with these settings, when neither the registry nor a given schema of Avro
/// is asked.
pub fn look(value: &[u8], settings: &JobSettings) -> Look {
    RecordReader::of_rows(settings).look(value, &mut |_| None)
}

/// Reads records one by one.
pub(super) struct RecordReader {
    avro: Option<(AvroRows, Vec<ColumnBuilder>)>,
    delimiter: u8,
    cells: usize,
}

impl RecordReader {
    pub(super) fn new(settings: &JobSettings) -> RecordReader {
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

    pub(super) fn look(&mut self, value: &[u8], kind_of: KindOf<'_>) -> Look {
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
