//! Columns that are added to the job's tables while it runs, because a schema of its records has them.
//!
//! Any process of the job may add them: a column is optional and in no file until somebody writes one with it, so
//! that nothing has to be agreed. As every commit, the change is made for exactly the version of the primary table on
//! which the fence was checked; the other tables follow, and the next start gives them what they lack.

use std::sync::{Arc, Mutex, PoisonError};

use iceberg::spec::{PrimitiveType, Type};
use iceberg::table::Table;
use strandline_operators::failpoint::{Failpoint, reached};
use strandline_operators::host::Host;
use strandline_operators::io::{TableColumns, TableIndex};
use strandline_operators::job::JobSettings;
use strandline_operators::landing::fence::{check_generation, read_progress};
use strandline_operators::schema::{AddedColumn, ColumnType, bronze_schema};
use strandline_operators::{Error, Result};

use super::IcebergConnector;
use super::catalog::OpenCatalog;
use super::change::change;
use super::files::ParquetFiles;
use super::tables::{self, TableShape};
use super::version::TableVersion;

/// The job's tables, open for columns.
struct GrowingTables {
    host: Arc<dyn Host>,
    catalog: Arc<OpenCatalog>,
    job: String,
    generation: u32,
    primary: TableShape,
    routes: Vec<(TableIndex, TableShape)>,
    files: Arc<ParquetFiles>,
    /// One at a time: the workers of a process meet the same schemas at the same time.
    adding: Mutex<()>,
}

impl IcebergConnector {
    /// The columns of the job's tables, which this generation may add to. `settings` have those that were there
    /// when it was claimed.
    pub fn columns(
        &self,
        settings: &JobSettings,
        generation: u32,
        files: Arc<ParquetFiles>,
    ) -> Arc<dyn TableColumns> {
        let shape = |name: &str| TableShape {
            name: name.to_owned(),
            columns: bronze_schema(&settings.columns),
            day_of: settings.event_time.clone(),
        };
        let secondaries = settings.secondary_tables().into_iter();
        let routes = secondaries.filter(|table| table.route.is_some());
        Arc::new(GrowingTables {
            host: Arc::clone(&self.host),
            catalog: Arc::clone(&self.catalog),
            job: settings.name.clone(),
            generation,
            primary: shape(&settings.table),
            routes: routes
                .map(|table| (table.index, shape(table.name)))
                .collect(),
            files,
            adding: Mutex::new(()),
        })
    }
}

impl GrowingTables {
    /// Refuses when this version of the primary table is another generation's.
    fn check_fence(&self, primary: &Table) -> Result<()> {
        let version = TableVersion::of(primary);
        match read_progress(&version, &self.job)? {
            Some(progress) => check_generation(&version, &progress, self.generation),
            None => Err(Error::refused(format!(
                "cannot add columns to `{}`: it holds no progress of this job any more",
                self.primary.name
            ))
            .hint("restore the table's properties from its newest metadata file that has them")),
        }
    }

    fn add_to_primary(&self, columns: &[AddedColumn]) -> Result<Table> {
        let shape = &self.primary;
        change(&self.catalog, &tables::ident(&shape.name)?, |table| {
            self.check_fence(table)?;
            tables::addition(table, shape, columns)
        })
    }

    fn add_to_route(&self, shape: &TableShape, columns: &[AddedColumn]) -> Result<Table> {
        let primary = tables::ident(&self.primary.name)?;
        let table = change(&self.catalog, &tables::ident(&shape.name)?, |table| {
            self.check_fence(&self.catalog.load(&primary)?)?;
            tables::addition(table, shape, columns)
        })?;
        let there = fillable(&table);
        match columns.iter().find(|column| !there.contains(column)) {
            None => Ok(table),
            Some(AddedColumn { name, column_type }) => Err(Error::refused(format!(
                "table `{}` has another column `{name}` than `{}`, where it is a {}",
                shape.name,
                self.primary.name,
                column_type.name()
            ))
            .hint("drop the column of the route's table, or give it the type of the other")),
        }
    }
}

impl TableColumns for GrowingTables {
    fn add(&self, columns: &[AddedColumn]) -> Result<Vec<AddedColumn>> {
        let _one_at_a_time = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        reached(&*self.host, Failpoint::ColumnsAdd)?;
        let primary = self.add_to_primary(columns)?;
        reached(&*self.host, Failpoint::ColumnsAdded)?;
        let mut added = fillable(&primary);
        added.retain(|there| columns.iter().any(|column| column.name == there.name));
        let mut grown = vec![(TableIndex::PRIMARY, &self.primary, primary)];
        for (index, shape) in &self.routes {
            grown.push((*index, shape, self.add_to_route(shape, &added)?));
        }
        for (index, shape, table) in grown {
            self.files.grow(index, shape, &table, &added)?;
        }
        Ok(added)
    }
}

/// The columns of a table that records may fill and need not: optional, and of a type that a job's column can have.
pub(super) fn fillable(table: &Table) -> Vec<AddedColumn> {
    let fields = table.metadata().current_schema().as_struct().fields();
    let optional = fields.iter().filter(|field| !field.required);
    let column = optional.filter_map(|field| {
        Some(AddedColumn {
            name: field.name.clone(),
            column_type: column_type(&field.field_type)?,
        })
    });
    column.collect()
}

/// The columns of a table that a job's code does not name, and that records fill all the same.
pub(super) fn beyond(table: &Table, settings: &JobSettings) -> Vec<AddedColumn> {
    let ours = bronze_schema(&settings.columns);
    let mut columns = fillable(table);
    columns.retain(|column| ours.field_with_name(&column.name).is_err());
    columns
}

fn column_type(found: &Type) -> Option<ColumnType> {
    let Type::Primitive(found) = found else {
        return None;
    };
    Some(match found {
        PrimitiveType::Boolean => ColumnType::Boolean,
        PrimitiveType::Int => ColumnType::Int,
        PrimitiveType::Long => ColumnType::Long,
        PrimitiveType::Float => ColumnType::Float,
        PrimitiveType::Double => ColumnType::Double,
        PrimitiveType::Decimal { precision, scale } => ColumnType::Decimal {
            precision: u8::try_from(*precision).ok()?,
            scale: u8::try_from(*scale).ok()?,
        },
        PrimitiveType::Date => ColumnType::Date,
        PrimitiveType::Time => ColumnType::Time,
        PrimitiveType::Timestamp => ColumnType::Timestamp,
        PrimitiveType::Timestamptz => ColumnType::Timestamptz,
        PrimitiveType::String => ColumnType::String,
        PrimitiveType::Binary => ColumnType::Binary,
        _ => return None,
    })
}
