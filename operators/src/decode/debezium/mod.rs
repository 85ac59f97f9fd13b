//! Changes of a database, as Debezium writes them in JSON: one row a change, appended.
//!
//! | a record that is | is |
//! |---|---|
//! | an envelope: `op`, `before`, `after`, `source`, `ts_ms` | a row of `after`; of `before` when it is a delete (`d`); of nulls when it is a truncation (`t`) |
//! | that within Connect's `schema` and `payload` | the same; the schema says what integers and quoted decimals mean |
//! | an object without `op`, or with `op` but neither images nor a source: a row unwrapped already (`ExtractNewRecordState`) | that row |
//! | null: a tombstone | dropped |
//! | a heartbeat (`ts_ms` alone), a transaction marker (`status`, `id`, `ts_ms`, with `event_count` and `data_collections` or without, and nothing else) | dropped |
//! | Connect's wrapper with `payload` null | `null_value` |
//! | a logical decoding message (`m`) or another `op`; a create, update or read without `after` | `schema_mismatch` |
//! | anything that [`json`](super::json) makes a dead letter | the same |
//!
//! Columns of these names hold what the envelope says, unless the row itself has a field of the name:
//!
//! | column | type | |
//! |---|---|---|
//! | `__op` | string | `c`, `u`, `d`, `r` (snapshot), `t`; of an unwrapped row only what its own `__op` and `__deleted` say |
//! | `__table`, `__schema`, `__db` | string | of the source |
//! | `__ts_ms`, `__source_ts_ms` | long or timestamptz | the connector's time, the database's time |
//! | `__lsn` | long | the position in PostgreSQL's log |
//! | `__deleted` | boolean | a delete |
//! | `__before` | string | `before` as JSON, of updates and deletes, if the database gives it |
//! | `__unavailable` | string | JSON list of the columns that hold null because the database did not say (TOAST) |
//!
//! The event time is the row's, else the database's time, else the connector's. Of a delete the epoch counts as no time
//! if the change has one of those: Debezium writes it for a time that must not be null where the database logged the
//! key alone (PostgreSQL's `REPLICA IDENTITY DEFAULT`).
//!
//! The event id is the row's, else `db.schema.table:position:op:hash`, of the source's position and the row's text. The
//! position alone would not do: a snapshot has one for all of its rows. Two equal rows at one position, in a table
//! without a primary key, count as one.
//!
//! | database | its position |
//! |---|---|
//! | PostgreSQL | `lsn` |
//! | MySQL, MariaDB | `file`, `pos`, `row` |
//! | SQL Server, Db2 | `change_lsn`, `event_serial_no`; of a snapshot `commit_lsn` |
//! | Oracle | `scn`, `commit_scn`, `lcr_position` (XStream), `rs_id`, `ssn` (LogMiner) |
//! | MongoDB | `sec`, else the database's time; `ord` |
//!
//! An unwrapped row says it in `__lsn` or `__source_lsn`, and so on (`add.fields`).

mod envelope;
mod meaning;
mod members;
#[cfg(test)]
mod prediction_tests;
mod readings;
mod steady;
#[cfg(test)]
mod tests;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use xxhash_rust::xxh3::xxh3_128;

use super::columns::{ColumnBuilder, Reading, Unit, Values};
use super::each::{NullValue, Outcome, for_each_record};
use super::framing::Framing;
use super::json_failures::{not_json, not_utf8};
use super::json_rows::JsonRows;
use super::message::{Failure, excerpt};
use super::quoted::QuotedDecimal;
use super::scan::Scanner;
use super::{Decode, Decoded, SchemaIds};
use crate::error::Result;
use crate::io::SchemaAnswer;
use crate::job::{JobSettings, QuotedDecimals};
use crate::record::{ErrorType, RawBatch};
use crate::schema::{Column, ColumnType, decoded_schema};
use envelope::{Envelope, Kind, NO_ROW, ReadRow, Shapes};
pub(super) use meaning::is_enveloped;
use readings::Readings;

/// What Debezium writes where the database did not say (`unavailable.value.placeholder`).
pub(super) const UNAVAILABLE: &str = "__debezium_unavailable_value";

/// The same where the value would be an array or an object (Debezium's `UnchangedToastedPlaceholder`).
const UNAVAILABLE_NESTED: [&str; 5] = [
    // text[], varchar[], json[]
    r#"["__debezium_unavailable_value"]"#,
    // integer[], bigint[], date[]: the bytes of the text.
    "[95,95,100,101,98,101,122,105,117,109,95,117,110,97,118,97,105,108,97,98,108,101,95,118,97,108,117,101]",
    // hstore, as a map and as JSON
    r#"{"__debezium_unavailable_value":"__debezium_unavailable_value"}"#,
    // bytea[], in base64
    r#"["X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ=="]"#,
    // uuid[]: Java's `UUID.nameUUIDFromBytes` of the text.
    r#"["b68a35a7-17ad-35b3-af2a-ae46edb4545a"]"#,
];

/// Where the columns are that hold what the envelope says.
#[derive(Clone, Copy, Debug, Default)]
struct Places {
    op: Option<usize>,
    table: Option<usize>,
    schema: Option<usize>,
    db: Option<usize>,
    ts_ms: Option<usize>,
    source_ts_ms: Option<usize>,
    lsn: Option<usize>,
    deleted: Option<usize>,
    before: Option<usize>,
    unavailable: Option<usize>,
}

/// A decoder of Debezium's changes in JSON; see the module's documentation.
#[derive(Debug)]
pub struct DebeziumDecoder {
    change: Changes,
    framing: Framing,
    max_record_bytes: u64,
}

/// Rows under construction out of changes.
#[derive(Debug)]
struct Changes {
    rows: JsonRows,
    schema: SchemaRef,
    /// What each column must have that is required; but for id and time.
    required: Vec<usize>,
    places: Places,
    event_id: Option<usize>,
    event_time: usize,
    readings: Readings,
    shapes: Shapes,
    /// What the id of a row is made of that has none; kept for its memory.
    scratch: Scratch,
    /// Strings and bytes, which may be unavailable.
    may_be_unavailable: Vec<usize>,
}

impl DebeziumDecoder {
    /// A decoder for the job; `event_id` and `event_time` are places in its columns.
    ///
    /// # Errors
    /// Columns that cannot be; a column of a reserved name of another type.
    pub fn new(
        settings: &JobSettings,
        event_id: Option<usize>,
        event_time: usize,
    ) -> Result<DebeziumDecoder> {
        let columns = &settings.columns;
        super::check_columns(columns, event_id, Some(event_time))?;
        let mut places = Places::default();
        for (place, column) in columns.iter().enumerate() {
            use ColumnType as C;
            let slot = match (column.name, column.column_type) {
                ("__op", C::String) => &mut places.op,
                ("__table", C::String) => &mut places.table,
                ("__schema", C::String) => &mut places.schema,
                ("__db", C::String) => &mut places.db,
                ("__ts_ms", C::Long | C::Timestamptz) => &mut places.ts_ms,
                ("__source_ts_ms", C::Long | C::Timestamptz) => &mut places.source_ts_ms,
                ("__lsn", C::Long) => &mut places.lsn,
                ("__deleted", C::Boolean) => &mut places.deleted,
                ("__before", C::String) => &mut places.before,
                ("__unavailable", C::String) => &mut places.unavailable,
                _ => continue,
            };
            *slot = Some(place);
        }
        // What is required is asked of the whole change, not of the part that JSON rows see.
        let inner: Vec<Column> = columns
            .iter()
            .map(|&column| Column {
                required: false,
                ..column
            })
            .collect();
        let plain = Reading {
            unit: Unit::from(settings.debezium.timestamps),
            decimals: match settings.debezium.decimals {
                QuotedDecimals::Base64 => QuotedDecimal::Base64(None),
                QuotedDecimals::Digits => QuotedDecimal::Digits,
                QuotedDecimals::Double => QuotedDecimal::Nothing,
            },
            binaries: settings.debezium.binaries,
            by_setting: true,
            quoted_literals: true,
            nested_text: true,
            refuses: false,
        };
        let required = |(place, column): (usize, &Column)| {
            let own = Some(place) == event_id || place == event_time;
            (column.required && !own).then_some(place)
        };
        let mut rows = JsonRows::new(&inner, None, None)?;
        rows.leaves_absent = true;
        let unavailable = |(place, column): (usize, &Column)| {
            matches!(column.column_type, ColumnType::String | ColumnType::Binary).then_some(place)
        };
        Ok(DebeziumDecoder {
            change: Changes {
                rows,
                schema: decoded_schema(columns),
                required: columns.iter().enumerate().filter_map(required).collect(),
                may_be_unavailable: columns.iter().enumerate().filter_map(unavailable).collect(),
                places,
                event_id,
                event_time,
                readings: Readings::new(columns, plain),
                shapes: Shapes::default(),
                scratch: Scratch::default(),
            },
            framing: Framing::None,
            max_record_bytes: settings.max_record_bytes,
        })
    }

    /// The same for records with the schema registry's header in front. With `has_registry` their ids must
    /// be ones that the registry knows.
    #[must_use]
    pub fn framed(mut self, has_registry: bool) -> DebeziumDecoder {
        self.framing = Framing::schema_id(has_registry);
        self
    }
}

impl Changes {
    /// Adds a change as one row, or nothing.
    fn decode(&mut self, value: &[u8]) -> std::result::Result<Outcome, Failure> {
        let before = self.rows.rows;
        let outcome = self.add(value, before);
        if !matches!(outcome, Ok(Outcome::Row)) {
            self.rows.rows = before;
            self.rows.roll_back();
        }
        outcome
    }

    /// The same; what is not a row may leave parts of one.
    fn add(&mut self, value: &[u8], at: usize) -> std::result::Result<Outcome, Failure> {
        let text = simdutf8::basic::from_utf8(value).map_err(|_| not_utf8(value))?;
        let mut in_place = InPlace {
            rows: &mut self.rows,
            readings: &mut self.readings,
        };
        let mut envelope = Envelope::read(text, &mut self.shapes, &mut in_place)
            .map_err(|malformed| not_json(text, malformed))?;
        let row = match envelope.kind() {
            Kind::Heartbeat | Kind::Transaction => return Ok(Outcome::Dropped),
            Kind::NotAnObject => {
                // For what it says of it: what is no object is no row.
                self.rows.decode_record(envelope.document)?;
                return Err(Failure::new(
                    ErrorType::SchemaMismatch,
                    "expected a JSON object",
                ));
            }
            Kind::NullPayload => {
                return Err(Failure::new(
                    ErrorType::NullValue,
                    "`payload` is null: Connect's wrapper without a change",
                ));
            }
            Kind::Row => {
                envelope.take_as_row();
                envelope.document
            }
            Kind::Change => envelope.row()?,
        };
        if envelope
            .read_row
            .is_some_and(|read| std::ptr::eq(read, row))
        {
            self.rows.keep();
        } else {
            self.rows.roll_back();
            self.readings
                .apply(envelope.schema, &mut self.rows.builders);
            self.rows.decode_record(row)?;
        }
        self.complete(&envelope, row, at)?;
        Ok(Outcome::Row)
    }

    /// Fills in what the envelope says, and asks for what is required.
    fn complete(
        &mut self,
        envelope: &Envelope<'_>,
        row: &str,
        at: usize,
    ) -> std::result::Result<(), Failure> {
        self.take_out_unavailable(at)?;
        self.fill_metadata(envelope, at)?;
        self.fill_event_time(envelope, at)?;
        if let Some(place) = self.event_id {
            let builder = &mut self.rows.builders[place];
            if builder.lacks(at) || builder.ends_with_empty_string() {
                let id = self.scratch.event_id(envelope, row).ok_or_else(|| {
                    Failure::new(
                        ErrorType::MissingEventId,
                        format!(
                            "field `{}`, the event id, is absent, null or empty, and the change has no position in its source either that tells it from others",
                            self.rows.columns[place].name
                        ),
                    )
                })?;
                builder.truncate(at);
                push(builder, id)?;
            }
        }
        self.rows.fill_with_nulls(at);
        for &place in &self.required {
            if self.rows.builders[place].ends_with_null() {
                return Err(Failure::new(
                    ErrorType::SchemaMismatch,
                    format!(
                        "field `{}` is absent, null or unavailable, but required",
                        self.rows.columns[place].name
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Takes the change's own time for the event time where the row has none, or one that Debezium made up.
    fn fill_event_time(
        &mut self,
        envelope: &Envelope<'_>,
        at: usize,
    ) -> std::result::Result<(), Failure> {
        let builder = &self.rows.builders[self.event_time];
        let is_absent = builder.lacks(at);
        // PostgreSQL logs of a deleted row no more than its key (REPLICA IDENTITY DEFAULT). In other columns that must
        // not be null `before` has what stands for nothing (JdbcValueConverters.convertValue): of a time the epoch.
        let is_made_up = || builder.ends_with_epoch() && envelope.op.as_deref() == Some("d");
        if !is_absent && !is_made_up() {
            return Ok(());
        }
        let millis = match envelope.source_ts_ms.or(envelope.ts_ms) {
            Some(millis) => millis,
            None if is_absent => {
                return Err(Failure::new(
                    ErrorType::MissingEventTime,
                    format!(
                        "field `{}`, the event time, is absent or null, and there is no `ts_ms` either",
                        self.rows.columns[self.event_time].name
                    ),
                ));
            }
            // Nothing says it better.
            None => return Ok(()),
        };
        let micros = millis
            .checked_mul(1000)
            .ok_or_else(|| Failure::new(ErrorType::SchemaMismatch, "`ts_ms` is out of range"))?;
        let builder = &mut self.rows.builders[self.event_time];
        builder.truncate(at);
        builder.push_long(micros);
        Ok(())
    }

    /// Makes null of what the database did not say, and notes the columns.
    fn take_out_unavailable(&mut self, at: usize) -> std::result::Result<(), Failure> {
        let mut names: Vec<&str> = Vec::new();
        for &place in &self.may_be_unavailable {
            let builder = &mut self.rows.builders[place];
            if builder.len() > at && ends_unavailable(builder) {
                builder.truncate(at);
                builder.append_null();
                names.push(self.rows.columns[place].name);
            }
        }
        if let Some(place) = self.places.unavailable
            && !names.is_empty()
        {
            let list = serde_json::Value::from(names).to_string();
            let builder = &mut self.rows.builders[place];
            builder.truncate(at);
            push(builder, &list)?;
        }
        Ok(())
    }

    fn fill_metadata(
        &mut self,
        envelope: &Envelope<'_>,
        at: usize,
    ) -> std::result::Result<(), Failure> {
        let places = self.places;
        let builders = &mut self.rows.builders;
        let mut text = |place: Option<usize>, value: Option<&str>| match (place, value) {
            (Some(place), Some(value)) if builders[place].lacks(at) => {
                builders[place].truncate(at);
                push(&mut builders[place], value)
            }
            _ => Ok(()),
        };
        text(places.op, envelope.op.as_deref())?;
        text(places.table, envelope.source.table.as_deref())?;
        text(places.schema, envelope.source.schema.as_deref())?;
        text(places.db, envelope.source.db.as_deref())?;
        text(places.before, envelope.before)?;
        for (place, millis) in [
            (places.ts_ms, envelope.ts_ms),
            (places.source_ts_ms, envelope.source_ts_ms),
        ] {
            let (Some(place), Some(millis)) = (place, millis) else {
                continue;
            };
            let is_long = self.rows.columns[place].column_type == ColumnType::Long;
            // An unwrapped row says it in milliseconds whatever its own times count.
            let value = if is_long {
                Some(millis)
            } else {
                millis.checked_mul(1000)
            };
            let value = value.ok_or_else(|| {
                Failure::new(ErrorType::SchemaMismatch, "`ts_ms` is out of range")
            })?;
            builders[place].truncate(at);
            builders[place].push_long(value);
        }
        if let (Some(place), Some(lsn)) = (places.lsn, envelope.source.lsn)
            && builders[place].lacks(at)
        {
            builders[place].truncate(at);
            builders[place].push_long(lsn.value);
        }
        if let (Some(place), Some(op)) = (places.deleted, &envelope.op)
            && builders[place].lacks(at)
        {
            builders[place].truncate(at);
            builders[place].push_boolean(op == "d");
        }
        Ok(())
    }

    fn finish(&mut self) -> RecordBatch {
        self.rows.rows = 0;
        super::columns::finish(&self.schema, &mut self.rows.builders)
    }
}

/// Whether the last row of a column stands for a value that the database did not say.
#[inline]
fn ends_unavailable(builder: &ColumnBuilder) -> bool {
    match &builder.values {
        // A null is empty here.
        Values::Strings(strings) => match strings.last().as_bytes() {
            nested @ [b'[' | b'{', ..] => {
                let mut shapes = UNAVAILABLE_NESTED.iter();
                shapes.any(|shape| shape.as_bytes() == nested)
            }
            text => text == UNAVAILABLE.as_bytes(),
        },
        _ => builder.ends_with_bytes(UNAVAILABLE.as_bytes()),
    }
}

fn push(builder: &mut ColumnBuilder, text: &str) -> std::result::Result<(), Failure> {
    builder.push_string(text).map_err(|_| {
        Failure::new(
            ErrorType::TooLarge,
            "the records read together have more than 2 GiB",
        )
    })
}

/// The rows as a change's envelope is read.
struct InPlace<'a> {
    rows: &'a mut JsonRows,
    readings: &'a mut Readings,
}

impl ReadRow for InPlace<'_> {
    fn last_schema(&self) -> Option<&str> {
        self.readings.last_schema()
    }

    fn read_row(&mut self, json: &mut Scanner<'_>, schema: Option<&str>) -> bool {
        self.readings.apply(schema, &mut self.rows.builders);
        let is_read = self.rows.read_as_predicted(json).is_some();
        if !is_read {
            self.rows.roll_back();
        }
        is_read
    }
}

#[derive(Debug, Default)]
struct Scratch {
    said: String,
    id: String,
}

impl Scratch {
    /// An id of a change whose row has none; `None` without a position.
    fn event_id(&mut self, envelope: &Envelope<'_>, row: &str) -> Option<&str> {
        let Scratch { said, id } = self;
        id.clear();
        let source = &envelope.source;
        for part in [&source.db, &source.schema, &source.table] {
            id.push_str(part.as_deref().unwrap_or_default());
            id.push('.');
        }
        id.pop();
        id.push(':');
        envelope.write_position(row, id)?;
        id.push(':');
        id.push_str(envelope.op.as_deref().unwrap_or_default());
        let hash = match envelope.before {
            None => xxh3_128(row.as_bytes()),
            Some(before) => {
                said.clear();
                said.push_str(row);
                said.push_str(before);
                xxh3_128(said.as_bytes())
            }
        };
        id.push(':');
        push_hexadecimal(hash, id);
        Some(id)
    }
}

/// Adds the 32 hexadecimal digits of a hash. By hand: every row without an id of its own goes through this.
fn push_hexadecimal(hash: u128, to: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 32];
    for (byte, pair) in hash.to_be_bytes().into_iter().zip(text.chunks_exact_mut(2)) {
        pair.copy_from_slice(&[
            DIGITS[usize::from(byte >> 4)],
            DIGITS[usize::from(byte & 15)],
        ]);
    }
    // Digits are UTF-8.
    to.push_str(std::str::from_utf8(&text).unwrap_or_default());
}

impl Envelope<'_> {
    /// The row of a change.
    fn row(&self) -> std::result::Result<&str, Failure> {
        let mismatch = |message: String| Err(Failure::new(ErrorType::SchemaMismatch, message));
        let op = self.op.as_deref().unwrap_or_default();
        match (op, self.after, self.before) {
            ("c" | "u" | "r", Some(after), _) => Ok(after),
            ("c" | "u" | "r", None, _) if self.is_text("after") => mismatch(format!(
                "`op` is `{op}`, and `after` is text, as MongoDB's documents are: it must be an object; unwrap it in \
                 the connector (`ExtractNewDocumentState`)"
            )),
            ("c" | "u" | "r", None, _) => {
                mismatch(format!("`op` is `{op}`, but `after` is absent or null"))
            }
            ("d", _, Some(before)) => Ok(before),
            // The database gives no former row (REPLICA IDENTITY NOTHING), or all rows went.
            ("d" | "t", _, _) => Ok(NO_ROW),
            ("m", _, _) => {
                mismatch("`op` is `m`: a logical decoding message carries no row".to_owned())
            }
            _ => mismatch(format!(
                "`op` is {}, expected one of `c`, `u`, `d`, `r`, `t`",
                excerpt(op)
            )),
        }
    }
}

impl Decode for DebeziumDecoder {
    fn decode(&mut self, batch: &RawBatch) -> Decoded {
        let DebeziumDecoder {
            change, framing, ..
        } = self;
        let each = for_each_record(batch, self.max_record_bytes, NullValue::Drop, |_, value| {
            change.decode(framing.open(value)?.json)
        });
        each.into_decoded(change.finish())
    }

    fn missing_schemas(&self, batch: &RawBatch, missing: &mut SchemaIds) {
        self.framing.missing_schemas(batch, missing);
    }

    fn learn(&mut self, id: u32, answer: &SchemaAnswer) {
        self.framing.learn(id, answer);
    }

    fn forget(&mut self, id: u32) {
        self.framing.forget(id);
    }
}
