//! The terminal in the place of tables: every row is one JSON object on standard output.
//!
//! Rows are printed when a data file would have been written. What was printed is never taken back, so a run
//! that fails, or a group that goes on from its last commit, may show records twice. When whoever reads standard
//! output has gone away (`| head`), there is nothing left to do.

use std::io::{self, Write};
use std::sync::Arc;

use serde_json::{Map, Value};
use strandline_operators::arrow_array::cast::AsArray;
use strandline_operators::arrow_array::types::{Int32Type, Int64Type, TimestampMicrosecondType};
use strandline_operators::arrow_array::{Array, RecordBatch, StructArray};
use strandline_operators::arrow_schema::{DataType, SchemaRef};
use strandline_operators::io::{
    Committed, DataFileWriter, FileKey, Files, Table, TableIndex, WrittenFile,
};
use strandline_operators::job::JobSettings;
use strandline_operators::progress::EpochCommit;
use strandline_operators::schema::{bronze_schema, dead_letter_schema};
use strandline_operators::time::EventTime;
use strandline_operators::{Error, Result};

/// Columns that say something only of a row in a table.
const OF_TABLES: [&str; 6] = [
    "event_time",
    "is_late_arrival",
    "ingested_at",
    "ingest_epoch",
    "ingest_watermark",
    "job",
];

/// The port [`Files`] on standard output.
#[derive(Debug)]
pub struct TerminalFiles {
    rows: SchemaRef,
    reader_is_gone: fn() -> !,
}

impl TerminalFiles {
    /// For the rows of a job. `reader_is_gone` is called when nobody reads standard output any more; it ends the
    /// process, so that what nobody saw is not committed as shown.
    pub fn new(settings: &JobSettings, reader_is_gone: fn() -> !) -> TerminalFiles {
        TerminalFiles {
            rows: bronze_schema(&settings.columns),
            reader_is_gone,
        }
    }
}

impl Files for TerminalFiles {
    fn schema(&self, table: TableIndex) -> SchemaRef {
        match table {
            TableIndex::DEAD_LETTERS => dead_letter_schema(),
            _ => Arc::clone(&self.rows),
        }
    }

    fn open(&self, key: FileKey, _columns: &SchemaRef) -> Result<Box<dyn DataFileWriter>> {
        Ok(Box::new(Printing {
            key,
            rows: 0,
            reader_is_gone: self.reader_is_gone,
        }))
    }
}

struct Printing {
    key: FileKey,
    rows: u64,
    reader_is_gone: fn() -> !,
}

impl DataFileWriter for Printing {
    fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        let mut text = String::new();
        for row in 0..rows.num_rows() {
            text.push_str(&Value::Object(object(rows, row)).to_string());
            text.push('\n');
        }
        let mut out = std::io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => (self.reader_is_gone)(),
            Err(e) => {
                return Err(
                    Error::unreachable(format!("cannot write to standard output: {e}"))
                        .hint("see to what it is redirected to"),
                );
            }
        }
        self.rows += rows.num_rows() as u64;
        Ok(())
    }

    fn bytes(&self) -> u64 {
        0
    }

    fn close(self: Box<Self>) -> Result<WrittenFile> {
        Ok(WrittenFile {
            table: self.key.table,
            description: String::new(),
            rows: self.rows,
            bytes: 0,
        })
    }
}

/// A row without what only a table needs, and without what is null.
fn object(rows: &RecordBatch, row: usize) -> Map<String, Value> {
    let mut object = Map::new();
    for (field, column) in rows.schema_ref().fields().iter().zip(rows.columns()) {
        let name = field.name().as_str();
        if !OF_TABLES.contains(&name) && column.is_valid(row) {
            object.insert(name.to_owned(), value(column, row));
        }
    }
    object
}

fn value(column: &dyn Array, row: usize) -> Value {
    match column.data_type() {
        DataType::Utf8 => Value::from(column.as_string::<i32>().value(row)),
        DataType::Int32 => Value::from(column.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => Value::from(column.as_primitive::<Int64Type>().value(row)),
        DataType::Timestamp(..) => {
            let micros = column.as_primitive::<TimestampMicrosecondType>().value(row);
            Value::from(EventTime(micros).to_string())
        }
        DataType::Binary => bytes(column.as_binary::<i32>().value(row)),
        DataType::Map(..) => Value::Object(headers(&column.as_map().value(row))),
        other => Value::from(format!("a {other}")),
    }
}

fn headers(entries: &StructArray) -> Map<String, Value> {
    let [names, values] = entries.columns() else {
        return Map::new();
    };
    let (names, values) = (names.as_string::<i32>(), values.as_binary::<i32>());
    let value = |i| match values.is_valid(i) {
        true => bytes(values.value(i)),
        false => Value::Null,
    };
    let entries = (0..names.len()).map(|i| (names.value(i).to_owned(), value(i)));
    entries.collect()
}

/// The JSON that it is, else the text that it is, else `hex:` and the bytes.
fn bytes(bytes: &[u8]) -> Value {
    if let Ok(json @ (Value::Object(_) | Value::Array(_))) = serde_json::from_slice(bytes) {
        return json;
    }
    let is_control = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains(is_control) => Value::from(text),
        _ => {
            let mut text = "hex:".to_owned();
            text.extend(bytes.iter().map(|byte| format!("{byte:02x}")));
            Value::from(text)
        }
    }
}

/// The port [`Table`] of a job that lands nothing: what was printed is durable.
#[derive(Debug)]
pub struct TerminalTable;

impl Table for TerminalTable {
    fn commit(&mut self, _epoch: &EpochCommit) -> Result<Committed> {
        Ok(Committed {
            snapshot_id: None,
            is_behind: false,
        })
    }

    fn catch_up(&mut self) -> Result<bool> {
        Ok(false)
    }

    fn settle(&mut self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bytes_are_shown_as_what_they_are() {
        assert_eq!(bytes(br#"{"a": [1]}"#), json!({"a": [1]}));
        assert_eq!(bytes("Grüße\n".as_bytes()), json!("Grüße\n"));
        // A number alone may be the text of a longer one.
        assert_eq!(
            bytes(b"12345678901234567890123"),
            json!("12345678901234567890123")
        );
        assert_eq!(bytes(b""), json!(""));
        assert_eq!(bytes(b"\x00\x00\x01\x86\xba"), json!("hex:00000186ba"));
        assert_eq!(bytes(b"\xff"), json!("hex:ff"));
        assert_eq!(
            bytes(b"\x1b[2J"),
            json!("hex:1b5b324a"),
            "no orders to the terminal"
        );
    }
}
