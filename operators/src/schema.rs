//! The columns of a job, and the columns that every Bronze table has besides.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// The type of a job's column. Iceberg's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// UTF-8 text.
    String,
    /// 32-bit integer.
    Int,
    /// 64-bit integer.
    Long,
    /// 64-bit IEEE 754.
    Double,
    /// true or false.
    Boolean,
    /// Microseconds, UTC. Read from ISO-8601 text or from epoch milliseconds.
    Timestamptz,
}

impl ColumnType {
    /// The Arrow type that carries this column.
    pub fn data_type(self) -> DataType {
        match self {
            ColumnType::String => DataType::Utf8,
            ColumnType::Int => DataType::Int32,
            ColumnType::Long => DataType::Int64,
            ColumnType::Double => DataType::Float64,
            ColumnType::Boolean => DataType::Boolean,
            ColumnType::Timestamptz => timestamptz(),
        }
    }

    /// Iceberg's name of the type.
    pub fn name(self) -> &'static str {
        match self {
            ColumnType::String => "string",
            ColumnType::Int => "int",
            ColumnType::Long => "long",
            ColumnType::Double => "double",
            ColumnType::Boolean => "boolean",
            ColumnType::Timestamptz => "timestamptz",
        }
    }
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
}

impl Column {
    /// A column that may be absent or null.
    pub const fn optional(name: &'static str, column_type: ColumnType) -> Column {
        Column {
            name,
            column_type,
            required: false,
        }
    }

    /// A column whose absence makes the record a dead letter.
    pub const fn required(name: &'static str, column_type: ColumnType) -> Column {
        Column {
            name,
            column_type,
            required: true,
        }
    }
}

/// `timestamp[us, UTC]`, the only time type written.
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
