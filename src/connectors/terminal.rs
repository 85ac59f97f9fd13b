//! The terminal in the place of tables: every row is one JSON object on standard output.
//!
//! Rows are printed when a data file would have been written. What was printed is never taken back, so a run
//! that fails, or a group that goes on from its last commit, may show records twice. When whoever reads standard
//! output has gone away (`| head`), there is nothing left to do.

use std::io::{self, Write};
use std::sync::Arc;

use serde_json::Value;
use strandline_operators::arrow_array::RecordBatch;
use strandline_operators::arrow_schema::SchemaRef;
use strandline_operators::io::{
    Committed, DataFileWriter, FileKey, Files, Table, TableIndex, WrittenFile,
};
use strandline_operators::job::JobSettings;
use strandline_operators::progress::EpochCommit;
use strandline_operators::schema::{bronze_schema, dead_letter_schema};
use strandline_operators::{Error, Result};

use super::json_row::object;

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
            text.push_str(&Value::Object(object(rows, row, &OF_TABLES)).to_string());
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
