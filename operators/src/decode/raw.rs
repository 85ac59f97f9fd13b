//! Records kept byte for byte, with their id and event time peeked.
//!
//! | column | holds |
//! |---|---|
//! | the job's deduplication key | what `peek.event_id` names |
//! | the job's event time | what `peek.event_time` names |
//! | `kafka_key`, `value` | the bytes, schema registry header included |
//! | `kafka_headers` | the headers; of several with one name the last, as Kafka's `lastHeader` |
//! | `schema_id` | the id in the schema registry's header, when the peek's format has one |
//! | any other | the field of its name, null when there is none |
//!
//! A record is a dead letter as its peek's format says; when nothing is peeked from the value, its bytes are
//! not looked at. The whole value is checked, not only up to the last field that is wanted; only of Avro's texts that
//! are not wanted it does not matter whether they are UTF-8.

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::SchemaRef;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use super::avro::AvroRows;
use super::columns::ColumnBuilder;
use super::each::{NullValue, Outcome, for_each_record};
use super::frame::{self, KnownSchemas};
use super::json_rows::JsonRows;
use super::message::{Failure, excerpt};
use super::target::Target;
use super::{Decode, Decoded, SchemaIds, timestamp};
use crate::error::{Error, Result};
use crate::io::SchemaAnswer;
use crate::job::{Format, JobSettings, PeekAt};
use crate::record::{ErrorType, RawBatch};
use crate::schema::{Column, ColumnType, decoded_schema};

/// What fills a column.
#[derive(Clone, Debug)]
enum Filling {
    /// A peeked field, by its place among those.
    Field(usize),
    Header {
        name: String,
        missing: ErrorType,
    },
    Key,
    Timestamp,
    KafkaKey,
    Value,
    Headers,
    SchemaId,
}

/// The fields that are peeked.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "there is one a decoder")]
enum Fields {
    None,
    Json(JsonRows),
    JsonSr(JsonRows, Option<KnownSchemas<()>>),
    Avro(AvroRows, Vec<ColumnBuilder>),
}

/// A decoder of records kept as bytes.
#[derive(Debug)]
pub struct RawDecoder {
    schema: SchemaRef,
    /// For each column, in the job's order.
    columns: Vec<(Filling, ColumnBuilder)>,
    fields: Fields,
    has_header: bool,
    max_record_bytes: u64,
}

impl RawDecoder {
    /// A decoder for the job; `event_id` and `event_time` are places in its columns.
    ///
    /// # Errors
    /// No peek, or one that cannot be: a format without fields, an id out of a timestamp, a time out of a key.
    pub fn new(
        settings: &JobSettings,
        event_id: Option<usize>,
        event_time: usize,
        has_registry: bool,
    ) -> Result<RawDecoder> {
        super::check_columns(&settings.columns, event_id, Some(event_time))?;
        let peek = settings.peek.as_ref().ok_or_else(|| {
            Error::configuration("format `raw` needs `peek`: where the event id and the event time are")
                .hint("for example `peek: { format: avro_sr, event_id: field:message_id, event_time: field:event_time }`")
        })?;
        let mut peeked: Vec<(Column, String)> = Vec::new();
        let (mut id_field, mut time_field) = (None, None);
        let mut columns = Vec::with_capacity(settings.columns.len());
        for (place, &column) in settings.columns.iter().enumerate() {
            let (is_id, is_time) = (Some(place) == event_id, place == event_time);
            let at = match column.name {
                _ if is_id => peek.event_id.clone(),
                _ if is_time => peek.event_time.clone(),
                name => PeekAt::Field(name.to_owned()),
            };
            let is_raw = |name: &str, column_type| {
                !is_id && !is_time && column.name == name && column.column_type == column_type
            };
            let filling = match at {
                _ if is_raw("kafka_key", ColumnType::Binary) => Filling::KafkaKey,
                _ if is_raw("value", ColumnType::Binary) => Filling::Value,
                _ if is_raw("kafka_headers", ColumnType::BinaryMap) => Filling::Headers,
                _ if is_raw("schema_id", ColumnType::Int) => Filling::SchemaId,
                PeekAt::Field(field) => {
                    id_field = id_field.or(is_id.then_some(peeked.len()));
                    time_field = time_field.or(is_time.then_some(peeked.len()));
                    peeked.push((column, field));
                    Filling::Field(peeked.len() - 1)
                }
                PeekAt::Header(name) => Filling::Header {
                    name,
                    missing: if is_id {
                        ErrorType::MissingEventId
                    } else {
                        ErrorType::MissingEventTime
                    },
                },
                PeekAt::Key if is_id => Filling::Key,
                PeekAt::Timestamp if is_time => Filling::Timestamp,
                at => {
                    let role = if is_id { "event id" } else { "event time" };
                    return Err(Error::configuration(format!(
                        "`peek`: the {role} cannot be `{}`",
                        at.text()
                    )));
                }
            };
            columns.push((filling, ColumnBuilder::new(column.column_type)));
        }
        Ok(RawDecoder {
            schema: decoded_schema(&settings.columns),
            columns,
            fields: Fields::new(peek.format, peeked, id_field, time_field, has_registry)?,
            has_header: matches!(peek.format, Format::JsonSr | Format::AvroSr),
            max_record_bytes: settings.max_record_bytes,
        })
    }
}

impl Fields {
    fn new(
        format: Format,
        peeked: Vec<(Column, String)>,
        event_id: Option<usize>,
        event_time: Option<usize>,
        has_registry: bool,
    ) -> Result<Fields> {
        let targets = peeked
            .iter()
            .enumerate()
            .map(|(place, (column, field))| Target {
                column: *column,
                field: Some(field.clone()),
                required: if Some(place) == event_id {
                    Some(ErrorType::MissingEventId)
                } else if Some(place) == event_time {
                    Some(ErrorType::MissingEventTime)
                } else {
                    column.required.then_some(ErrorType::SchemaMismatch)
                },
            });
        let json = || {
            let (columns, fields): (Vec<Column>, Vec<String>) = peeked.iter().cloned().unzip();
            JsonRows::of_fields(&columns, fields, event_id, event_time)
        };
        Ok(match format {
            _ if peeked.is_empty() => Fields::None,
            Format::Json => Fields::Json(json()?),
            Format::JsonSr => Fields::JsonSr(json()?, has_registry.then(KnownSchemas::default)),
            Format::AvroSr => {
                let rows = AvroRows::peeked(targets.collect(), event_id);
                let builders = peeked
                    .iter()
                    .map(|(c, _)| ColumnBuilder::new(c.column_type));
                Fields::Avro(rows, builders.collect())
            }
            other => {
                return Err(Error::configuration(format!(
                    "`peek.format` cannot be `{}`",
                    other.name()
                ))
                .hint("it must be one of `json`, `json_sr`, `avro_sr`"));
            }
        })
    }

    /// Adds a row of the fields, or nothing.
    #[inline]
    fn read(&mut self, value: &[u8], row: usize) -> std::result::Result<(), Failure> {
        match self {
            Fields::None => Ok(()),
            Fields::Json(rows) => rows.decode_bytes(value),
            Fields::JsonSr(rows, known) => {
                let frame = frame::read(value)?;
                if let Some(known) = known {
                    known.get(frame.id)?;
                }
                rows.decode_bytes(frame.payload)
            }
            Fields::Avro(rows, builders) => {
                let read = rows.read(value, builders);
                if read.is_err() {
                    builders.iter_mut().for_each(|b| b.truncate(row));
                }
                read
            }
        }
    }

    /// Takes back what was added after `rows` rows.
    fn truncate(&mut self, to: usize) {
        match self {
            Fields::None => {}
            Fields::Json(rows) | Fields::JsonSr(rows, _) => {
                rows.rows = to;
                rows.roll_back();
            }
            Fields::Avro(_, builders) => builders.iter_mut().for_each(|b| b.truncate(to)),
        }
    }

    fn finish(&mut self) -> Vec<ArrayRef> {
        match self {
            Fields::None => Vec::new(),
            Fields::Json(rows) | Fields::JsonSr(rows, _) => rows.finish().columns().to_vec(),
            Fields::Avro(_, builders) => builders.iter_mut().map(ColumnBuilder::finish).collect(),
        }
    }
}

/// One record, as its columns are filled.
struct Record<'a> {
    batch: &'a RawBatch,
    place: usize,
    value: &'a [u8],
    has_header: bool,
}

impl<'a> Record<'a> {
    fn headers(&self) -> impl DoubleEndedIterator<Item = (&'a [u8], Option<&'a [u8]>)> + Clone {
        let headers = self.batch.headers.as_ref();
        let headers = headers.map_or(&[][..], |headers| headers.of(self.place));
        let batch = self.batch;
        headers
            .iter()
            .map(move |(name, value)| (batch.bytes(*name), value.map(|value| batch.bytes(value))))
    }

    fn fill(
        &self,
        filling: &Filling,
        builder: &mut ColumnBuilder,
    ) -> std::result::Result<(), Failure> {
        let record = &self.batch.records[self.place];
        let key = self.batch.key(record);
        let pushed = match filling {
            Filling::Field(_) => Ok(()),
            Filling::Value => builder.push_bytes(self.value),
            Filling::KafkaKey => match key {
                Some(key) => builder.push_bytes(key),
                None => {
                    builder.append_null();
                    Ok(())
                }
            },
            Filling::Headers => self.push_headers(builder)?,
            Filling::SchemaId => {
                match frame::id_of(self.value).filter(|_| self.has_header) {
                    // Registries count from 1; the bits are kept even of an id that they never give.
                    Some(id) => builder.push_int(id as i32),
                    None => builder.append_null(),
                }
                Ok(())
            }
            Filling::Key => {
                let key = key.filter(|key| !key.is_empty()).ok_or_else(|| {
                    Failure::new(
                        ErrorType::MissingEventId,
                        "the record's key, the event id, is null or empty",
                    )
                })?;
                builder.push_string(text_of(key, "the record's key", ErrorType::MissingEventId)?)
            }
            Filling::Timestamp => {
                let timestamp = record.timestamp.ok_or_else(|| {
                    Failure::new(
                        ErrorType::MissingEventTime,
                        "the record has no timestamp, which is the event time",
                    )
                })?;
                builder.push_long(timestamp.0);
                Ok(())
            }
            Filling::Header { name, missing } => {
                let mut found = self.headers().rev();
                let value = found
                    .find(|(other, _)| *other == name.as_bytes())
                    .and_then(|(_, value)| value)
                    .filter(|value| !value.is_empty())
                    .ok_or_else(|| {
                        let message = format!("header `{name}` is absent, null or empty");
                        Failure::new(*missing, message)
                    })?;
                let text = text_of(value, &format!("header `{name}`"), *missing)?;
                if *missing == ErrorType::MissingEventId {
                    builder.push_string(text)
                } else {
                    builder.push_long(time_of(text).map_err(|why| {
                        Failure::new(
                            ErrorType::SchemaMismatch,
                            format!(
                                "header `{name}` is no event time: {} ({why})",
                                excerpt(text)
                            ),
                        )
                    })?);
                    Ok(())
                }
            }
        };
        pushed.map_err(|_| {
            Failure::new(
                ErrorType::TooLarge,
                "the records read together have more than 2 GiB",
            )
        })
    }

    fn push_headers(
        &self,
        builder: &mut ColumnBuilder,
    ) -> std::result::Result<std::result::Result<(), super::strings::ColumnFull>, Failure> {
        let headers = self.headers();
        if headers.clone().next().is_none() {
            return Ok(builder.push_map(std::iter::empty()));
        }
        let mut entries: Vec<(&str, Option<&[u8]>)> = Vec::new();
        // By name, so that a record of a million headers is not looked through a million times.
        let mut places: HashMap<&str, usize> = HashMap::new();
        for (name, value) in headers {
            let name = text_of(name, "the name of a header", ErrorType::Malformed)?;
            match places.entry(name) {
                Entry::Occupied(place) => entries[*place.get()].1 = value,
                Entry::Vacant(place) => {
                    place.insert(entries.len());
                    entries.push((name, value));
                }
            }
        }
        Ok(builder.push_map(entries.into_iter()))
    }
}

fn text_of<'a>(
    bytes: &'a [u8],
    what: &str,
    error_type: ErrorType,
) -> std::result::Result<&'a str, Failure> {
    std::str::from_utf8(bytes).map_err(|_| Failure::new(error_type, format!("{what} is not UTF-8")))
}

/// ISO-8601, or digits of epoch milliseconds: a header has no type that could tell them apart otherwise.
fn time_of(text: &str) -> std::result::Result<i64, &'static str> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        let millis: Option<i64> = text.parse().ok();
        return millis
            .and_then(|millis| millis.checked_mul(1000))
            .ok_or("out of range in microseconds");
    }
    timestamp::parse(text.as_bytes())
}

impl Decode for RawDecoder {
    fn decode(&mut self, batch: &RawBatch) -> Decoded {
        let RawDecoder {
            columns,
            fields,
            has_header,
            ..
        } = self;
        let mut row = 0;
        let each = for_each_record(
            batch,
            self.max_record_bytes,
            NullValue::DeadLetter,
            |place, value| {
                fields.read(value, row)?;
                let record = Record {
                    batch,
                    place,
                    value,
                    has_header: *has_header,
                };
                let filled = columns
                    .iter_mut()
                    .try_for_each(|(filling, builder)| record.fill(filling, builder));
                if let Err(failure) = filled {
                    fields.truncate(row);
                    columns.iter_mut().for_each(|(_, b)| b.truncate(row));
                    return Err(failure);
                }
                row += 1;
                Ok(Outcome::Row)
            },
        );
        let peeked = self.fields.finish();
        let arrays = self
            .columns
            .iter_mut()
            .map(|(filling, builder)| match filling {
                Filling::Field(place) => ArrayRef::clone(&peeked[*place]),
                _ => builder.finish(),
            });
        // Cannot fail whatever the records say: see the other decoders.
        let columns = RecordBatch::try_new(self.schema.clone(), arrays.collect())
            .expect("columns of the schema's types and one length");
        each.into_decoded(columns)
    }

    fn missing_schemas(&self, batch: &RawBatch, missing: &mut SchemaIds) {
        match &self.fields {
            Fields::Avro(rows, _) => rows.missing_schemas(batch, missing),
            Fields::JsonSr(_, Some(known)) => known.missing(batch, missing),
            _ => {}
        }
    }

    fn learn(&mut self, id: u32, answer: &SchemaAnswer) {
        match &mut self.fields {
            Fields::Avro(rows, _) => rows.learn(id, answer),
            Fields::JsonSr(_, Some(known)) => known.learn(id, answer, |_| Ok(())),
            _ => {}
        }
    }

    fn forget(&mut self, id: u32) {
        match &mut self.fields {
            Fields::Avro(rows, _) => rows.forget(id),
            Fields::JsonSr(_, Some(known)) => known.forget(id),
            _ => {}
        }
    }
}
