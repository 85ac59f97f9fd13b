//! The columns of a job, and the columns that every Bronze table has besides.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, MapArray, StructArray};
use arrow_schema::{ArrowError, DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use serde::{Deserialize, Serialize};

use crate::job::IntegerTimestamps;

/// The most digits that a decimal column may have (Iceberg's limit, and what 128 bits hold).
pub const MAX_DECIMAL_PRECISION: u8 = 38;

/// Columns that a table may have to have more added to it. A producer that puts data into field names would make a
/// table that no reader can open; real ones have some hundreds.
pub const MAX_TABLE_COLUMNS: usize = 1000;

/// The type of a job's column. Iceberg's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnType {
    /// UTF-8 text.
    String,
    /// 32-bit integer.
    Int,
    /// 64-bit integer.
    Long,
    /// 32-bit IEEE 754.
    Float,
    /// 64-bit IEEE 754.
    Double,
    /// true or false.
    Boolean,
    /// An exact decimal number of `precision` digits, `scale` of them behind the point.
    Decimal {
        /// Digits in all, 1 to [`MAX_DECIMAL_PRECISION`].
        precision: u8,
        /// Digits behind the point, at most `precision`.
        scale: u8,
    },
    /// A day of the calendar.
    Date,
    /// A time of day in microseconds, of no zone.
    Time,
    /// Microseconds of a clock of no zone.
    Timestamp,
    /// Microseconds, UTC. Read from ISO-8601 text or from epoch milliseconds.
    Timestamptz,
    /// Bytes.
    Binary,
    /// Names to bytes: the headers of a record.
    BinaryMap,
}

impl ColumnType {
    /// The Arrow type that carries this column.
    pub fn data_type(self) -> DataType {
        match self {
            ColumnType::String => DataType::Utf8,
            ColumnType::Int => DataType::Int32,
            ColumnType::Long => DataType::Int64,
            ColumnType::Float => DataType::Float32,
            ColumnType::Double => DataType::Float64,
            ColumnType::Boolean => DataType::Boolean,
            ColumnType::Decimal { precision, scale } => {
                DataType::Decimal128(precision, scale as i8)
            }
            ColumnType::Date => DataType::Date32,
            ColumnType::Time => DataType::Time64(TimeUnit::Microsecond),
            ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            ColumnType::Timestamptz => timestamptz(),
            ColumnType::Binary => DataType::Binary,
            ColumnType::BinaryMap => DataType::Map(Arc::new(binary_map_entries()), false),
        }
    }

    /// Iceberg's name of the type.
    pub fn name(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            ColumnType::String => "string",
            ColumnType::Int => "int",
            ColumnType::Long => "long",
            ColumnType::Float => "float",
            ColumnType::Double => "double",
            ColumnType::Boolean => "boolean",
            ColumnType::Decimal { precision, scale } => {
                return Cow::Owned(format!("decimal({precision}, {scale})"));
            }
            ColumnType::Date => "date",
            ColumnType::Time => "time",
            ColumnType::Timestamp => "timestamp",
            ColumnType::Timestamptz => "timestamptz",
            ColumnType::Binary => "binary",
            ColumnType::BinaryMap => "map<string, binary>",
        })
    }

    /// Whether the type is one that a table can have.
    pub fn is_valid(self) -> bool {
        match self {
            ColumnType::Decimal { precision, scale } => {
                (1..=MAX_DECIMAL_PRECISION).contains(&precision) && scale <= precision
            }
            _ => true,
        }
    }
}

/// The entries of a [`ColumnType::BinaryMap`], with the names that Iceberg gives them in Arrow.
pub(crate) fn binary_map_entries() -> Field {
    Field::new("key_value", DataType::Struct(binary_map_fields()), false)
}

/// Key and value of a [`ColumnType::BinaryMap`]. A header of Kafka's may have no value.
pub(crate) fn binary_map_fields() -> Fields {
    Fields::from(vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("value", DataType::Binary, true),
    ])
}

/// A column as the table names it: the entries of a map carry the table's field ids, which decoders do
/// not know. Any other column is given back as it is.
///
/// # Errors
/// A table whose map has keys or values of other types.
pub fn as_of_table(column: &ArrayRef, table: &DataType) -> Result<ArrayRef, ArrowError> {
    let (DataType::Map(entries, ordered), Some(map)) = (table, column.as_map_opt()) else {
        return Ok(Arc::clone(column));
    };
    let DataType::Struct(fields) = entries.data_type() else {
        return Ok(Arc::clone(column));
    };
    let (_, offsets, values, nulls, _) = map.clone().into_parts();
    let values = StructArray::try_new(
        fields.clone(),
        values.columns().to_vec(),
        values.nulls().cloned(),
    )?;
    let map = MapArray::try_new(Arc::clone(entries), offsets, values, nulls, *ordered)?;
    Ok(Arc::new(map))
}

/// A column that a job decodes out of its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// The column's name, also the field's name in the record.
    pub name: &'static str,
    /// The column's type.
    pub column_type: ColumnType,
    /// Whether a record without it is a dead letter (`schema_mismatch`).
    pub required: bool,
    /// Other names that the field has in Avro schemas, earlier or later ones.
    pub aliases: &'static [&'static str],
    /// What an integer counts that stands for a time, where it is another unit than the job's. Looked at by
    /// Debezium's formats, where no Connect schema says it.
    pub counts: Option<IntegerTimestamps>,
}

impl Column {
    /// A column that may be absent or null.
    pub const fn optional(name: &'static str, column_type: ColumnType) -> Column {
        Column {
            name,
            column_type,
            required: false,
            aliases: &[],
            counts: None,
        }
    }

    /// A column whose absence makes the record a dead letter.
    pub const fn required(name: &'static str, column_type: ColumnType) -> Column {
        Column {
            name,
            column_type,
            required: true,
            aliases: &[],
            counts: None,
        }
    }

    /// The same column, which Avro schemas may call by these names too.
    pub const fn aliases(self, aliases: &'static [&'static str]) -> Column {
        Column { aliases, ..self }
    }

    /// The same column, whose integers count this. By default Debezium counts milliseconds in columns of at most
    /// three digits (`timestamp(3)`) and microseconds in others.
    pub const fn counts(self, counts: IntegerTimestamps) -> Column {
        Column {
            counts: Some(counts),
            ..self
        }
    }
}

/// A column that no job's code names: the table has it, or is to have it, because a schema of its records does.
/// It may be null.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddedColumn {
    /// Its name, also the field's name in the record.
    pub name: String,
    /// Its type.
    pub column_type: ColumnType,
}

impl AddedColumn {
    /// As a column of a job.
    pub fn column(&self) -> Column {
        Column::optional(column_name(&self.name), self.column_type)
    }
}

/// A column's name that lives as long as the process, as those do that stand in a job's code. Each name is kept
/// once; there are as many as the tables of the process' jobs have columns ([`MAX_TABLE_COLUMNS`]).
pub(crate) fn column_name(name: &str) -> &'static str {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    match names.get(name) {
        Some(&known) => known,
        None => {
            let kept: &'static str = Box::leak(Box::<str>::from(name));
            names.insert(kept);
            kept
        }
    }
}

/// The columns of a raw job (INTERFACES section 3). Id and time are peeked.
pub const RAW_COLUMNS: &[Column] = &[
    Column::required("event_id", ColumnType::String),
    Column::required("event_time", ColumnType::Timestamptz),
    Column::optional("kafka_key", ColumnType::Binary),
    Column::required("value", ColumnType::Binary),
    Column::required("kafka_headers", ColumnType::BinaryMap),
    Column::optional("schema_id", ColumnType::Int),
];

/// `timestamp[us, UTC]`, the type of every time that the engine itself writes.
pub fn timestamptz() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))
}

/// The columns that every Bronze table has after the job's own, in this order (INTERFACES section 3).
/// `event_id` and `event_time` are columns of the job.
pub fn metadata_fields() -> Vec<Field> {
    vec![
        Field::new("is_late_arrival", DataType::Boolean, false),
        Field::new("kafka_topic", DataType::Utf8, false),
        Field::new("kafka_partition", DataType::Int32, false),
        Field::new("kafka_offset", DataType::Int64, false),
        Field::new("kafka_timestamp", timestamptz(), true),
        Field::new("ingested_at", timestamptz(), false),
        Field::new("ingest_epoch", DataType::Int64, false),
        Field::new("ingest_watermark", timestamptz(), true),
    ]
}

/// The schema of a job's decoded columns, in the order of the job.
pub fn decoded_schema(columns: &[Column]) -> SchemaRef {
    Arc::new(Schema::new(
        columns
            .iter()
            .map(|c| Field::new(c.name, c.column_type.data_type(), !c.required))
            .collect::<Vec<_>>(),
    ))
}

/// The schema of a job's Bronze table: its columns, then [`metadata_fields`].
pub fn bronze_schema(columns: &[Column]) -> SchemaRef {
    let mut fields: Vec<Field> = decoded_schema(columns)
        .fields()
        .iter()
        .map(|f| f.as_ref().clone())
        .collect();
    fields.extend(metadata_fields());
    Arc::new(Schema::new(fields))
}

/// The schema of a dead-letter table (INTERFACES section 3), plus the `ingest_epoch` it came in with.
pub fn dead_letter_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("original_payload", DataType::Utf8, true),
        Field::new("payload_encoding", DataType::Utf8, false),
        Field::new("error_type", DataType::Utf8, false),
        Field::new("error_message", DataType::Utf8, false),
        Field::new("failed_at", timestamptz(), false),
        Field::new("job", DataType::Utf8, false),
        Field::new("kafka_topic", DataType::Utf8, false),
        Field::new("kafka_partition", DataType::Int32, false),
        Field::new("kafka_offset", DataType::Int64, false),
        Field::new("kafka_timestamp", timestamptz(), true),
        Field::new("ingest_epoch", DataType::Int64, false),
    ]))
}
