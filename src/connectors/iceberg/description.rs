//! What every process of the job must know of its tables in order to write files for them. One process
//! prepares the tables; the others get this description and never ask the catalog.

use std::collections::HashMap;
use std::sync::Arc;

use iceberg::arrow::schema_to_arrow_schema;
use iceberg::spec::{PartitionSpec, Schema, SchemaRef as IcebergSchemaRef};
use iceberg::table::Table;
use serde::{Deserialize, Serialize};
use strandline_operators::arrow_schema::{DataType, Field, Schema as ArrowSchema, SchemaRef};
use strandline_operators::io::TableIndex;
use strandline_operators::schema::AddedColumn;
use strandline_operators::{Error, Result};

use super::store::{Properties, Store};
use super::tables::TableShape;

/// The job's tables, as JSON between processes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TablesDescription {
    /// The job's name; it stands in the names of data files.
    pub job: String,
    /// The generation that was claimed.
    pub generation: u32,
    /// The UUID of the primary table; it too stands in the names of data files.
    pub primary_uuid: String,
    /// The tables; the primary first.
    pub tables: Vec<TableDescription>,
    /// Columns that the tables have, and the job's code has not, which records fill all the same.
    pub added: Vec<AddedColumn>,
}

/// One table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableDescription {
    /// Its place in the job.
    pub index: TableIndex,
    /// `namespace.table`.
    pub name: String,
    /// Where its data files go.
    pub data_location: String,
    /// The metadata file of the version that was claimed: what a read-back reads.
    pub metadata_location: String,
    /// The column whose day is the partition.
    pub day_of: String,
    /// What the catalog says of the store besides what is configured: credentials, an endpoint.
    handed_out: Properties,
    /// The columns that are written, in the order of the batches.
    columns: Vec<String>,
    schema: Schema,
    partition_spec: PartitionSpec,
}

/// The column with 32-bit offsets for its bytes, as batches have them: the library translates Iceberg's binary
/// to Arrow's large one. In a file they are the same.
fn with_short_offsets(field: &Field) -> Field {
    let data_type = match field.data_type() {
        DataType::LargeBinary => DataType::Binary,
        DataType::Struct(parts) => {
            DataType::Struct(parts.iter().map(|part| with_short_offsets(part)).collect())
        }
        DataType::Map(entries, ordered) => {
            DataType::Map(Arc::new(with_short_offsets(entries)), *ordered)
        }
        other => other.clone(),
    };
    field.clone().with_data_type(data_type)
}

impl TableDescription {
    /// `configured` are the properties that every process of the job has by itself.
    pub(super) fn of(
        index: TableIndex,
        shape: &TableShape,
        table: &Table,
        configured: &Properties,
    ) -> TableDescription {
        let metadata = table.metadata();
        let data_location = metadata.properties().get("write.data.path").map_or_else(
            || format!("{}/data", metadata.location()),
            |path| path.trim_end_matches('/').to_owned(),
        );
        TableDescription {
            index,
            name: shape.name.clone(),
            data_location,
            metadata_location: table.metadata_location().unwrap_or_default().to_owned(),
            day_of: shape.day_of.clone(),
            handed_out: Properties::of(table.file_io().config().props()).beyond(configured),
            columns: shape
                .columns
                .fields()
                .iter()
                .map(|f| f.name().clone())
                .collect(),
            schema: metadata.current_schema().as_ref().clone(),
            partition_spec: metadata.default_partition_spec().as_ref().clone(),
        }
    }

    /// All that is known of the table's store, in a process where this is configured of the catalog.
    pub(super) fn store_properties(&self, configured: &HashMap<String, String>) -> Properties {
        Properties::of(configured).with(&self.handed_out)
    }

    /// The store of the table's files.
    pub(super) fn store(&self, configured: &HashMap<String, String>) -> Store {
        Store::with(self.store_properties(configured))
    }

    /// The Arrow schema of the batches: the columns in their order, with the field ids of the table.
    pub fn arrow_schema(&self) -> Result<SchemaRef> {
        let all = schema_to_arrow_schema(&self.schema).map_err(|e| {
            Error::internal(format!(
                "cannot translate the schema of `{}`: {e}",
                self.name
            ))
        })?;
        let fields = self
            .columns
            .iter()
            .map(|name| all.field_with_name(name).map(with_short_offsets))
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(|e| {
                Error::internal(format!(
                    "the description of `{}` contradicts itself: {e}",
                    self.name
                ))
            })?;
        Ok(Arc::new(ArrowSchema::new_with_metadata(
            fields,
            HashMap::new(),
        )))
    }

    pub(super) fn schema(&self) -> IcebergSchemaRef {
        Arc::new(self.schema.clone())
    }

    pub(super) fn partition_spec(&self) -> &PartitionSpec {
        &self.partition_spec
    }
}
