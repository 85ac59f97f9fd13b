//! The job's tables: created when missing, otherwise held against what the job writes.

use std::collections::HashMap;
use std::sync::Arc;

use iceberg::arrow::arrow_type_to_type;
use iceberg::spec::{
    FormatVersion, MapType, NestedField, NestedFieldRef, Schema, Transform, Type,
    UnboundPartitionSpec,
};
use iceberg::table::Table;
use iceberg::{Catalog, ErrorKind, TableCreation, TableIdent, TableRequirement, TableUpdate};
use strandline_operators::arrow_schema::{DataType, SchemaRef};
use strandline_operators::schema::{AddedColumn, Column, MAX_TABLE_COLUMNS, decoded_schema};
use strandline_operators::{Error, Result};
use uuid::Uuid;

use super::catalog::OpenCatalog;
use super::location;
use super::pointer::{Change, NotSwapped};
use super::store::Store;

/// How often adding columns is tried again when other writers come first.
const EVOLUTION_ATTEMPTS: usize = 10;

/// Metadata files that the log in a table's metadata keeps; older ones are deleted.
const METADATA_VERSIONS_KEPT: usize = 100;

/// What a table must look like.
#[derive(Clone, Debug)]
pub(super) struct TableShape {
    /// `namespace.table`.
    pub name: String,
    /// The columns that are written.
    pub columns: SchemaRef,
    /// The timestamptz column whose day is the partition.
    pub day_of: String,
}

/// What data files were written for: a table, and columns under certain ids. A file says which ids its
/// columns have, not which names, so a commit for other columns would hide values without a word.
#[derive(Clone, Debug)]
pub(super) struct Fit {
    shape: TableShape,
    uuid: Uuid,
    field_ids: HashMap<String, i32>,
}

impl Fit {
    /// Of files that are written for this version of the table.
    pub(super) fn of(shape: &TableShape, table: &Table) -> Fit {
        let metadata = table.metadata();
        let schema = metadata.current_schema();
        let ids = shape.columns.fields().iter().filter_map(|column| {
            let id = schema.field_id_by_name(column.name())?;
            Some((column.name().clone(), id))
        });
        Fit {
            shape: shape.clone(),
            uuid: metadata.uuid(),
            field_ids: ids.collect(),
        }
    }

    /// Refuses a version of the table that the files do not fit.
    pub(super) fn verify(&self, table: &Table) -> Result<()> {
        let metadata = table.metadata();
        let name = &self.shape.name;
        if metadata.uuid() != self.uuid {
            return Err(Error::refused(format!(
                "table `{name}` is another one than it was when the job started: it was dropped and made again"
            ))
            .hint("register the newest metadata file of the former table, or start the job again to go on with this one"));
        }
        verify(table, &self.shape)?;
        let schema = metadata.current_schema();
        for (column, id) in &self.field_ids {
            if schema.field_id_by_name(column) != Some(*id) {
                return Err(Error::refused(format!(
                    "cannot write to table `{name}`: its column `{column}` was dropped while the job ran"
                ))
                .hint("start the job again: it adds the column anew, empty in the rows that are there"));
            }
        }
        Ok(())
    }
}

/// The identifier of `namespace.table`.
pub(super) fn ident(name: &str) -> Result<TableIdent> {
    let parts: Vec<&str> = name.split('.').collect();
    if parts.len() < 2 || parts.iter().any(|part| part.is_empty()) {
        return Err(
            Error::configuration(format!("`{name}` is no name of a table"))
                .hint("write it as `namespace.table`"),
        );
    }
    TableIdent::from_strs(parts)
        .map_err(|e| Error::configuration(format!("`{name}` is no name of a table: {e}")))
}

/// Loads the table; creates it, and its namespace, when missing; adds optional columns that it lacks.
///
/// # Errors
/// Refuses a table whose columns or partitioning are not what the job writes.
pub(super) fn ensure(catalog: &OpenCatalog, shape: &TableShape) -> Result<Table> {
    let ident = ident(&shape.name)?;
    let mut table = match catalog.load_if_there(&ident)? {
        Some(table) => table,
        None => create(catalog, &ident, shape)?,
    };
    for _ in 0..EVOLUTION_ATTEMPTS {
        let missing = verify(&table, shape)?;
        if missing.is_empty() {
            return Ok(table);
        }
        let known = |field: &NestedFieldRef| field_id_once(&table, &field.name).is_some();
        let (dropped, new): (Vec<_>, Vec<_>) = missing.iter().cloned().partition(known);
        if !dropped.is_empty() {
            tracing::warn!(table = %shape.name, columns = ?names(&dropped), "adding columns anew that were dropped: their former values stay hidden");
        }
        if !new.is_empty() {
            tracing::info!(table = %shape.name, columns = ?names(&new), "adding columns");
        }
        let change = add_columns(&table, &missing)?;
        let swapped = catalog
            .blocking
            .wait(catalog.pointer.swap(&table, change))?;
        table = match swapped {
            Ok(swapped) => swapped.table,
            // Someone else was quicker, perhaps with the same columns; or nobody knows: look again.
            Err(NotSwapped::Conflict(_) | NotSwapped::Unknown(_)) => catalog.load(&ident)?,
            Err(NotSwapped::Failed(error)) => return Err(error),
        };
    }
    Err(Error::unreachable(format!(
        "cannot add columns to `{}`: other writers keep changing it",
        shape.name
    ))
    .hint("try again when they are done"))
}

fn names(fields: &[NestedFieldRef]) -> Vec<&str> {
    fields.iter().map(|f| f.name.as_str()).collect()
}

/// The Iceberg fields of the columns, with ids counted up from `first_id`: first those of the columns, then
/// those within them.
fn fields(columns: &SchemaRef, first_id: i32) -> Result<Vec<NestedFieldRef>> {
    let mut nested = (first_id + columns.fields().len() as i32)..;
    columns
        .fields()
        .iter()
        .zip(first_id..)
        .map(|(column, id)| {
            let field_type = type_of(column.data_type(), &mut nested).map_err(|e| {
                Error::configuration(format!(
                    "column `{}` has a type that Iceberg lacks: {e}",
                    column.name()
                ))
            })?;
            Ok(Arc::new(NestedField::new(
                id,
                column.name(),
                field_type,
                !column.is_nullable(),
            )))
        })
        .collect()
}

/// The Iceberg type of a column; the parts of a map take their ids from `ids`.
fn type_of(column: &DataType, ids: &mut impl Iterator<Item = i32>) -> iceberg::Result<Type> {
    let DataType::Map(entries, _) = column else {
        return arrow_type_to_type(column);
    };
    let DataType::Struct(parts) = entries.data_type() else {
        return arrow_type_to_type(column);
    };
    let [key, value] = parts.as_ref() else {
        return arrow_type_to_type(column);
    };
    let mut id = || ids.next().unwrap_or(i32::MAX);
    let key = NestedField::map_key_element(id(), arrow_type_to_type(key.data_type())?);
    let required = !value.is_nullable();
    let value = arrow_type_to_type(value.data_type())?;
    let value = NestedField::map_value_element(id(), value, required);
    Ok(Type::Map(MapType::new(Arc::new(key), Arc::new(value))))
}

/// Whether a column holds the same values as another, whatever ids their parts have.
fn is_same_type(found: &Type, expected: &Type) -> bool {
    match (found, expected) {
        (Type::Map(found), Type::Map(expected)) => {
            found.key_field.field_type == expected.key_field.field_type
                && found.value_field.field_type == expected.value_field.field_type
                && found.value_field.required == expected.value_field.required
        }
        _ => found == expected,
    }
}

/// The same type with new ids for its parts.
fn with_new_ids(field_type: &Type, ids: &mut impl Iterator<Item = i32>) -> Type {
    let Type::Map(map) = field_type else {
        return field_type.clone();
    };
    let mut id = || ids.next().unwrap_or(i32::MAX);
    let key = NestedField::map_key_element(id(), map.key_field.field_type.as_ref().clone());
    let value = map.value_field.field_type.as_ref().clone();
    let value = NestedField::map_value_element(id(), value, map.value_field.required);
    Type::Map(MapType::new(Arc::new(key), Arc::new(value)))
}

fn create(catalog: &OpenCatalog, ident: &TableIdent, shape: &TableShape) -> Result<Table> {
    let invalid =
        |e: iceberg::Error| Error::internal(format!("cannot describe table `{}`: {e}", shape.name));
    let fields = fields(&shape.columns, 1)?;
    let day_of = fields
        .iter()
        .find(|f| f.name == shape.day_of)
        .map(|f| f.id)
        .ok_or_else(|| {
            Error::configuration(format!("`{}` has no column `{}`", shape.name, shape.day_of))
        })?;
    let schema = Schema::builder()
        .with_schema_id(0)
        .with_fields(fields)
        .build()
        .map_err(invalid)?;
    // Servers differ on a missing spec id; 0 is what the first spec has anyway.
    let spec = UnboundPartitionSpec::builder()
        .with_spec_id(0)
        .add_partition_field(day_of, partition_name(&shape.day_of), Transform::Day)
        .map_err(invalid)?
        .build();
    let location = catalog.warehouse.as_ref().map(|warehouse| {
        format!(
            "{warehouse}/{}/{}",
            ident.namespace().join("/"),
            ident.name()
        )
    });
    let properties = HashMap::from(
        [
            ("write.format.default", "parquet".to_owned()),
            ("write.parquet.compression-codec", "zstd".to_owned()),
            // A commit a second: without these the folder grows by a metadata file with every one.
            (
                "write.metadata.previous-versions-max",
                METADATA_VERSIONS_KEPT.to_string(),
            ),
            (
                "write.metadata.delete-after-commit.enabled",
                "true".to_owned(),
            ),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    let creation = || {
        TableCreation::builder()
            .name(ident.name().to_owned())
            .location_opt(location.clone())
            .schema(schema.clone())
            .partition_spec(spec.clone())
            .properties(properties.clone())
            .format_version(FormatVersion::V2)
            .build()
    };
    let what = format!("create table `{ident}`");
    let library: &dyn Catalog = catalog.catalog.as_ref();
    let table = catalog.ask(&what, async {
        let namespace = ident.namespace();
        if !library.namespace_exists(namespace).await?
            && let Err(e) = library.create_namespace(namespace, HashMap::new()).await
            // Another process may have been quicker; servers differ in what they answer then.
            && !library.namespace_exists(namespace).await.unwrap_or(false)
        {
            return Err(e);
        }
        match library.create_table(namespace, creation()).await {
            Ok(table) => Ok(table),
            Err(e) if e.kind() == ErrorKind::TableAlreadyExists => library.load_table(ident).await,
            // The same race, lost in the database.
            Err(e) => library.load_table(ident).await.map_err(|_| e),
        }
    })?;
    // A server may have written it where this machine sees nothing of it.
    if let Some(location) = table.metadata_location()
        && location::local_path(location).is_none_or(|path| path.exists())
    {
        Store::of(table.file_io()).sync(location).map_err(|fault| {
            fault.explain(
                format!("cannot sync `{location}`"),
                "see that the warehouse is there",
            )
        })?;
    }
    tracing::info!(table = %shape.name, location = table.metadata().location(), "created");
    Ok(table)
}

fn partition_name(day_of: &str) -> String {
    format!("{day_of}_day")
}

/// Holds the table against the shape; returns the optional columns that it lacks.
pub(super) fn verify(table: &Table, shape: &TableShape) -> Result<Vec<NestedFieldRef>> {
    let metadata = table.metadata();
    let refused = |what: String| {
        Err(Error::refused(format!(
            "cannot write to table `{}`: {what}",
            shape.name
        )))
    };
    if metadata.format_version() != FormatVersion::V2 {
        return refused(format!(
            "it has format {}, expected v2",
            metadata.format_version()
        ))
        .map_err(|e| e.hint("let the job write to a new table"));
    }
    let schema = metadata.current_schema();
    let spec = metadata.default_partition_spec();
    let by_day = match spec.fields() {
        [field] => {
            field.transform == Transform::Day
                && schema.name_by_field_id(field.source_id) == Some(&shape.day_of)
        }
        _ => false,
    };
    if !by_day {
        let found: Vec<String> = spec
            .fields()
            .iter()
            .map(|f| {
                format!(
                    "{}({})",
                    f.transform,
                    schema.name_by_field_id(f.source_id).unwrap_or("?")
                )
            })
            .collect();
        return refused(format!(
            "it is partitioned by [{}], expected [day({})]",
            found.join(", "),
            shape.day_of
        ))
        .map_err(|e| e.hint("let the job write to a new table, or restore the partitioning"));
    }
    let mut missing = Vec::new();
    for expected in fields(&shape.columns, metadata.last_column_id() + 1)? {
        let Some(found) = schema
            .as_struct()
            .fields()
            .iter()
            .find(|f| f.name == expected.name)
        else {
            refuse_renamed(table, &shape.name, &expected.name)?;
            if expected.required {
                return refused(format!("it lacks column `{}` ({}, required)", expected.name, expected.field_type))
                    .map_err(|e| e.hint("a required column cannot be added to a table that has rows: make it optional, or use a new table"));
            }
            missing.push(expected);
            continue;
        };
        if !is_same_type(&found.field_type, &expected.field_type) {
            return refused(format!(
                "column `{}` is {}, expected {}",
                expected.name, found.field_type, expected.field_type
            ))
            .map_err(|e| e.hint("change the column's type in the job, or use a new table"));
        }
        if found.required && !expected.required {
            return refused(format!(
                "column `{}` is required, but the job may leave it null",
                expected.name
            ))
            .map_err(|e| e.hint("make it optional in the table, or required in the job"));
        }
    }
    for found in schema.as_struct().fields() {
        if found.required && shape.columns.field_with_name(&found.name).is_err() {
            return refused(format!(
                "it requires column `{}`, which the job does not write",
                found.name
            ))
            .map_err(|e| e.hint("make it optional in the table"));
        }
    }
    Ok(missing)
}

/// Refuses to add a column that the table has under another name by now.
fn refuse_renamed(table: &Table, name: &str, column: &str) -> Result<()> {
    let schema = table.metadata().current_schema();
    match field_id_once(table, column).and_then(|id| schema.name_by_field_id(id)) {
        None => Ok(()),
        Some(now) => Err(Error::refused(format!(
            "cannot write to table `{name}`: its column `{column}` was renamed to `{now}`"
        ))
        .hint("rename it back, or give the job's column the new name")),
    }
}

/// The change that gives a table, which must be as its shape says, those of the columns that it lacks; `None` when it
/// lacks none. One whose name differs from that of another column in nothing but case is left out.
pub(super) fn addition(
    table: &Table,
    shape: &TableShape,
    columns: &[AddedColumn],
) -> Result<Option<Change>> {
    if !verify(table, shape)?.is_empty() {
        // Dropped while the job ran, which the next commit is refused for.
        return Err(Error::refused(format!(
            "cannot add columns to table `{}`: columns of the job were dropped",
            shape.name
        ))
        .hint("start the job again: it adds them anew, empty in the rows that are there"));
    }
    let metadata = table.metadata();
    let there = metadata.current_schema().as_struct().fields();
    let columns: Vec<Column> = columns
        .iter()
        .filter(|column| {
            !there
                .iter()
                .any(|f| f.name.eq_ignore_ascii_case(&column.name))
        })
        .map(AddedColumn::column)
        .collect();
    if columns.is_empty() {
        return Ok(None);
    }
    for column in &columns {
        refuse_renamed(table, &shape.name, column.name)?;
    }
    if there.len() + columns.len() > MAX_TABLE_COLUMNS {
        return Err(Error::refused(format!(
            "table `{}` has {} columns, and a schema adds {} more: {MAX_TABLE_COLUMNS} are the most",
            shape.name,
            there.len(),
            columns.len()
        ))
        .hint("set `schema_evolution: off` for the job, or have the producer write what varies into a map"));
    }
    let missing = fields(&decoded_schema(&columns), metadata.last_column_id() + 1)?;
    tracing::info!(table = %shape.name, columns = ?names(&missing), "adding columns");
    add_columns(table, &missing).map(Some)
}

/// The id of a column that the table no longer has, but had under this name in an earlier schema.
fn field_id_once(table: &Table, name: &str) -> Option<i32> {
    let metadata = table.metadata();
    let mut schemas: Vec<_> = metadata.schemas_iter().collect();
    schemas.sort_by_key(|schema| std::cmp::Reverse(schema.schema_id()));
    schemas
        .into_iter()
        .find_map(|schema| schema.field_id_by_name(name))
}

/// A change that adds optional columns, and nothing else, so that files written later find their ids.
fn add_columns(base: &Table, missing: &[NestedFieldRef]) -> Result<Change> {
    let metadata = base.metadata();
    let current = metadata.current_schema();
    let mut ids = metadata.last_column_id() + 1..;
    let added: Vec<NestedFieldRef> = missing
        .iter()
        .map(|field| {
            let id = ids.next().unwrap_or(i32::MAX);
            let field_type = with_new_ids(&field.field_type, &mut ids);
            Arc::new(NestedField::optional(id, &field.name, field_type))
        })
        .collect();
    let schema_id = metadata
        .schemas_iter()
        .map(|s| s.schema_id())
        .max()
        .unwrap_or_default()
        + 1;
    let schema = current
        .as_ref()
        .clone()
        .into_builder()
        .with_schema_id(schema_id)
        .with_fields(added)
        .build()
        .map_err(|e| Error::internal(format!("cannot add columns: {e}")))?;
    let updates = vec![
        TableUpdate::AddSchema { schema },
        TableUpdate::SetCurrentSchema { schema_id: -1 },
    ];
    let mut change = Change::of(base, updates);
    change
        .requirements
        .push(TableRequirement::LastAssignedFieldIdMatch {
            last_assigned_field_id: metadata.last_column_id(),
        });
    Ok(change)
}
