//! A data file read by us: a few columns of it, on the calling thread.
//!
//! The library's reader filters every row by columns that the file's statistics have already decided about,
//! and does it on the threads of its runtime. This reader takes Parquet files without deletes whose columns carry the table's field ids and types; for everything else there is the library's.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow_select::filter::filter;
use iceberg::arrow::schema_to_arrow_schema;
use iceberg::scan::FileScanTask;
use iceberg::spec::DataFileFormat;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;
use strandline_operators::arrow_array::RecordBatch;
use strandline_operators::arrow_schema::{
    ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit,
};

use super::super::store::{Fault, Input, Store};
use super::BATCH_ROWS;
use super::wanted::{Fields, Open, Wanted};

/// A file that can be read without the library.
pub(super) struct DataFile {
    file: Input,
    metadata: ArrowReaderMetadata,
    /// The column of a field in the file.
    leaves: HashMap<i32, usize>,
    fields: Fields,
    /// The fields that are handed out, and their names.
    projected: Vec<i32>,
    names: Vec<String>,
}

impl DataFile {
    /// Opens the file of a task; `None` when it takes the library to read it, or to say why it cannot be read.
    pub(super) fn open(store: &Store, task: &FileScanTask, wanted: &Wanted) -> Option<DataFile> {
        let is_whole = task.start == 0 && task.length == task.file_size_in_bytes;
        if !task.deletes.is_empty() || !is_whole || task.data_file_format != DataFileFormat::Parquet
        {
            return None;
        }
        let fields = wanted.fields(task.schema())?;
        let file = store.open(task.data_file_path(), task.file_size_in_bytes);
        let file = file.and_then(|file| file.with_tail()).ok()?;
        // What other engines leave in the file for themselves does not count.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata = ArrowReaderMetadata::load(&file, options).ok()?;
        let projected = task.project_field_ids().to_vec();
        let all = Fields::all(fields)
            .into_iter()
            .chain(projected.iter().copied());
        let leaves = leaves(&metadata, task, all)?;
        let name = |&id: &i32| task.schema().name_by_field_id(id).map(str::to_owned);
        let names = projected.iter().map(name).collect::<Option<Vec<_>>>()?;
        Some(DataFile {
            file,
            metadata,
            leaves,
            fields,
            projected,
            names,
        })
    }

    /// Hands the wanted rows to `visit`, which may end it with an error of its own.
    pub(super) fn read<E: From<ParquetError> + From<ArrowError> + From<Fault>>(
        &self,
        wanted: &Wanted,
        visit: &mut dyn FnMut(&RecordBatch) -> Result<(), E>,
    ) -> Result<(), E> {
        let leaf = |field: i32| self.leaves.get(&field).copied();
        for (place, group) in self.metadata.metadata().row_groups().iter().enumerate() {
            if let Some(open) = wanted.open_of(group, self.fields, leaf) {
                self.read_group(place, open, wanted, visit)?;
            }
        }
        Ok(())
    }

    fn read_group<E: From<ParquetError> + From<ArrowError> + From<Fault>>(
        &self,
        group: usize,
        open: Open,
        wanted: &Wanted,
        visit: &mut dyn FnMut(&RecordBatch) -> Result<(), E>,
    ) -> Result<(), E> {
        let needed = wanted.needed(open, self.fields);
        let read = needed.iter().chain(&self.projected);
        let mut leaves: Vec<usize> = read.filter_map(|f| self.leaves.get(f).copied()).collect();
        leaves.sort_unstable();
        leaves.dedup();
        let columns = self.metadata.metadata().row_group(group).columns();
        let chunks = leaves.iter().filter_map(|&leaf| columns.get(leaf));
        let ranges: Vec<Range<u64>> = chunks
            .map(|chunk| chunk.byte_range())
            .map(|(start, length)| start..start + length)
            .collect();
        let file = self.file.with(&ranges)?;
        let metadata = self.metadata.clone();
        let mask = ProjectionMask::leaves(metadata.parquet_schema(), leaves.iter().copied());
        let batches = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata)
            .with_projection(mask)
            .with_row_groups(vec![group])
            .with_batch_size(BATCH_ROWS)
            .build()?;
        for batch in batches {
            let batch = batch?;
            // The columns come in the order of the file.
            let column = |field: i32| {
                let leaf = self.leaves.get(&field)?;
                batch.columns().get(leaves.binary_search(leaf).ok()?)
            };
            let unexpected = || ParquetError::General("a column is not of its type".to_owned());
            let rows = wanted.rows(open, self.fields, column).transpose();
            let rows = rows.map_err(|_| unexpected())?;
            let mut columns = Vec::with_capacity(self.projected.len());
            for &field in &self.projected {
                let column = column(field).ok_or_else(unexpected)?;
                columns.push(match &rows {
                    Some(rows) => filter(column, rows)?,
                    None => Arc::clone(column),
                });
            }
            visit(&RecordBatch::try_new(self.schema(&columns), columns)?)?;
        }
        Ok(())
    }

    fn schema(&self, columns: &[strandline_operators::arrow_array::ArrayRef]) -> SchemaRef {
        let fields = self.names.iter().zip(columns);
        let fields =
            fields.map(|(name, column)| Field::new(name, column.data_type().clone(), true));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }
}

/// Where the fields are in the file; `None` when one is missing, is there twice, or has another type than in
/// the table. Ids decide, never names: a column may have been renamed, and another given its name.
fn leaves(
    metadata: &ArrowReaderMetadata,
    task: &FileScanTask,
    fields: impl Iterator<Item = i32>,
) -> Option<HashMap<i32, usize>> {
    let descriptor = metadata.parquet_schema();
    let expected = schema_to_arrow_schema(task.schema()).ok()?;
    let mut leaves = HashMap::new();
    for field in fields {
        let top_level = (0..descriptor.num_columns()).filter(|&leaf| {
            let column = descriptor.column(leaf);
            let info = column.self_type().get_basic_info();
            column.path().parts().len() == 1 && info.has_id() && info.id() == field
        });
        let found: Vec<usize> = top_level.collect();
        let [leaf] = found[..] else {
            return None;
        };
        let root = descriptor.get_column_root_idx(leaf);
        let found = metadata.schema().fields().get(root)?.data_type();
        let name = task.schema().name_by_field_id(field)?;
        let expected = expected.field_with_name(name).ok()?.data_type();
        if !fits(found, expected) {
            return None;
        }
        leaves.insert(field, leaf);
    }
    Some(leaves)
}

/// Whether a file's type is the table's. UTC has several names.
fn fits(found: &DataType, expected: &DataType) -> bool {
    use DataType::Timestamp;
    match (found, expected) {
        (Timestamp(TimeUnit::Microsecond, a), Timestamp(TimeUnit::Microsecond, b)) => {
            a.is_some() == b.is_some()
        }
        _ => found == expected,
    }
}
