//! Avro records straight into Arrow columns, with or without the schema registry's header.
//!
//! | a record that is | is |
//! |---|---|
//! | null | `null_value` |
//! | longer than the job's limit | `too_large` |
//! | without the header, where there should be one; cut off; followed by other bytes; with a branch or a symbol that does not exist; a string that is not UTF-8 (unless no column wants it and the record is kept as bytes); a length, a count or a depth beyond bounds | `malformed` |
//! | of a schema that the registry does not know | `unknown_schema` |
//! | of a schema that is no Avro, or does not fit the columns; with a value that does not fit its column; without a required one | `schema_mismatch` |
//! | without event id, or with a null or empty one | `missing_event_id` |
//! | without event time, or with a null one | `missing_event_time` |
//!
//! The first line that applies decides, so a record is `malformed` wherever the fault stands. What fits a
//! column: see [`program`].
//!
//! A writer's schema is compiled once into a list of steps, one a field: read into a column, or skip.
//! Neither apache-avro nor arrow-avro decodes here: the one makes a tree of every record, the other goes on
//! after a fault as if it knew where the next record begins.

mod columns;
mod cursor;
#[cfg(test)]
mod nested_tests;
mod parser_input;
mod program;
mod schema;
#[cfg(test)]
mod schema_tests;
#[cfg(test)]
mod tests;

use super::columns::ColumnBuilder;
use super::frame::{self, KnownSchemas};
use super::message::Failure;
use super::rows::RowColumns;
use super::target::{Target, targets};
use super::{Decode, Decoded, SchemaIds};
use crate::error::{Error, Result};
use crate::io::{RegisteredSchema, SchemaAnswer, SchemaKind};
use crate::record::{ErrorType, RawBatch};
use crate::schema::Column;
pub(super) use columns::fields;
use program::Program;
use schema::Types;

/// Where the schema of a record is said.
#[derive(Debug)]
enum Source {
    /// In its header.
    Registry(KnownSchemas<Program>),
    /// In the configuration.
    Given(Box<Program>),
}

/// Reads Avro records into columns.
#[derive(Debug)]
pub(super) struct AvroRows {
    targets: Vec<Target>,
    event_id: Option<usize>,
    source: Source,
    /// Whether texts that no column wants must be UTF-8.
    checks_passed_texts: bool,
}

impl AvroRows {
    /// Rows out of records with a header.
    pub fn registered(targets: Vec<Target>, event_id: Option<usize>) -> AvroRows {
        AvroRows {
            targets,
            event_id,
            source: Source::Registry(KnownSchemas::default()),
            checks_passed_texts: true,
        }
    }

    /// The same out of records that are kept as bytes besides: what is not wanted of them is passed over by its lengths.
    pub fn peeked(targets: Vec<Target>, event_id: Option<usize>) -> AvroRows {
        AvroRows {
            checks_passed_texts: false,
            ..AvroRows::registered(targets, event_id)
        }
    }

    /// Rows out of records of one schema.
    pub fn given(targets: Vec<Target>, event_id: Option<usize>, schema: &str) -> Result<AvroRows> {
        let program = Types::parse(schema, &[])
            .and_then(|types| Program::compile(types, &targets, true).map_err(|f| f.message))
            .map_err(|why| Error::configuration(format!("`avro_schema` cannot be used: {why}")))?;
        Ok(AvroRows {
            targets,
            event_id,
            source: Source::Given(Box::new(program)),
            checks_passed_texts: true,
        })
    }

    /// Adds a record as one row at `row`; after a failure the columns must be cut back.
    #[inline]
    pub fn read(
        &self,
        value: &[u8],
        builders: &mut [ColumnBuilder],
    ) -> std::result::Result<(), Failure> {
        let (program, record) = match &self.source {
            Source::Given(program) => (&**program, value),
            Source::Registry(known) => {
                let frame = frame::read(value)?;
                (known.get(frame.id)?, frame.payload)
            }
        };
        program.read(record, &self.targets, builders)?;
        match self.event_id {
            Some(place) if builders[place].ends_with_empty_string() => {
                Err(self.targets[place].missing("is empty"))
            }
            _ => Ok(()),
        }
    }

    pub fn missing_schemas(&self, batch: &RawBatch, missing: &mut SchemaIds) {
        if let Source::Registry(known) = &self.source {
            known.missing(batch, missing);
        }
    }

    pub fn forget(&mut self, id: u32) {
        if let Source::Registry(known) = &mut self.source {
            known.forget(id);
        }
    }

    pub fn learn(&mut self, id: u32, answer: &SchemaAnswer) {
        let (targets, checks) = (&self.targets, self.checks_passed_texts);
        if let Source::Registry(known) = &mut self.source {
            known.learn(id, answer, |schema| compile(id, schema, targets, checks));
        }
    }
}

fn compile(
    id: u32,
    schema: &RegisteredSchema,
    targets: &[Target],
    checks_passed_texts: bool,
) -> std::result::Result<Program, Failure> {
    let unusable = |why: String| {
        Failure::new(
            ErrorType::SchemaMismatch,
            format!("schema {id} of the registry cannot be used: {why}"),
        )
    };
    if schema.kind != SchemaKind::Avro {
        return Err(unusable(frame::wrong_kind(schema.kind, "Avro")));
    }
    let types = Types::parse(&schema.text, &schema.references).map_err(unusable)?;
    Program::compile(types, targets, checks_passed_texts)
}

/// A decoder of Avro records; see the module's documentation for what it takes for what.
#[derive(Debug)]
pub struct AvroDecoder {
    rows: AvroRows,
    columns: RowColumns,
}

impl AvroDecoder {
    /// A decoder of records with the schema registry's header into `columns`. `event_id` and `event_time`
    /// are places in them. Values longer than `max_record_bytes` are `too_large`.
    ///
    /// # Errors
    /// Columns of the same name; an id or a time that is no column, or of another type.
    pub fn registered(
        columns: &[Column],
        event_id: Option<usize>,
        event_time: usize,
        max_record_bytes: u64,
    ) -> Result<AvroDecoder> {
        let targets = targets(columns, event_id, event_time);
        let rows = AvroRows::registered(targets, event_id);
        AvroDecoder::new(columns, event_id, event_time, max_record_bytes, rows)
    }

    /// The same for records of nothing but Avro, all of them written with `schema`.
    ///
    /// # Errors
    /// Those of [`AvroDecoder::registered`], and a schema that cannot be parsed or does not fit the columns.
    pub fn given(
        columns: &[Column],
        event_id: Option<usize>,
        event_time: usize,
        max_record_bytes: u64,
        schema: &str,
    ) -> Result<AvroDecoder> {
        let targets = targets(columns, event_id, event_time);
        let rows = AvroRows::given(targets, event_id, schema)?;
        AvroDecoder::new(columns, event_id, event_time, max_record_bytes, rows)
    }

    fn new(
        columns: &[Column],
        event_id: Option<usize>,
        event_time: usize,
        max_record_bytes: u64,
        rows: AvroRows,
    ) -> Result<AvroDecoder> {
        super::check_columns(columns, event_id, Some(event_time))?;
        Ok(AvroDecoder {
            rows,
            columns: RowColumns::new(columns, max_record_bytes),
        })
    }
}

impl Decode for AvroDecoder {
    fn decode(&mut self, batch: &RawBatch) -> Decoded {
        let AvroDecoder { rows, columns } = self;
        columns.decode(batch, |value, builders| rows.read(value, builders))
    }

    fn missing_schemas(&self, batch: &RawBatch, missing: &mut SchemaIds) {
        self.rows.missing_schemas(batch, missing);
    }

    fn learn(&mut self, id: u32, answer: &SchemaAnswer) {
        self.rows.learn(id, answer);
    }

    fn forget(&mut self, id: u32) {
        self.rows.forget(id);
    }
}
