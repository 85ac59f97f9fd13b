//! Data files: Parquet in the warehouse, one writer a (table, day, epoch, worker).

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use iceberg::spec::{SchemaRef as IcebergSchemaRef, StructType};
use iceberg::table::Table;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use strandline_operators::arrow_array::RecordBatch;
use strandline_operators::arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use strandline_operators::io::{DataFileWriter, FileKey, Files, TableIndex, WrittenFile};
use strandline_operators::schema::AddedColumn;
use strandline_operators::time::Epoch;
use strandline_operators::{Error, Result};
use uuid::Uuid;

use super::data_file;
use super::description::{TableDescription, TablesDescription};
use super::store::{Fault, Output, Properties, Store};
use super::tables::TableShape;

/// zstd level: 1 costs half the CPU of 3 and 5 % in size on Bronze rows.
const ZSTD_LEVEL: i32 = 1;

/// Rows of a row group, at most. It bounds what a writer holds in memory.
const ROW_GROUP_ROWS: usize = 256 * 1024;

/// Bytes of a row group, at most, as encoded.
const ROW_GROUP_BYTES: usize = 64 << 20;

/// A dictionary larger than this is given up: the column is not of few values. Small, because until then
/// every distinct value is hashed, copied and kept, twice as costly as writing it out.
const DICTIONARY_BYTES: usize = 32 * 1024;

/// The name of a data file tells who wrote it for which epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DataFileName {
    pub job: String,
    pub epoch: Epoch,
    pub worker: u32,
    /// The UUID of the primary table whose progress counts the epoch: a dead-letter table may have served
    /// several, each with generations of its own.
    pub primary: Uuid,
}

impl DataFileName {
    fn new_file(&self) -> String {
        format!(
            "{}-g{}-e{}-w{}-{}-{}.parquet",
            self.job,
            self.epoch.generation(),
            self.epoch.number(),
            self.worker,
            self.primary.simple(),
            Uuid::new_v4().simple()
        )
    }

    /// Reads a file's name; `None` for names that are not ours.
    pub(super) fn parse(name: &str) -> Option<DataFileName> {
        let mut parts = name.strip_suffix(".parquet")?.rsplitn(6, '-');
        let uuid = parts.next()?;
        Uuid::parse_str(uuid).ok()?;
        let primary = Uuid::parse_str(parts.next()?).ok()?;
        let worker = parts.next()?.strip_prefix('w')?.parse().ok()?;
        let number: u32 = parts.next()?.strip_prefix('e')?.parse().ok()?;
        let generation: u32 = parts.next()?.strip_prefix('g')?.parse().ok()?;
        let job = parts.next()?.to_owned();
        Some(DataFileName {
            job,
            epoch: Epoch(u64::from(generation) << 32 | u64::from(number)),
            worker,
            primary,
        })
    }
}

/// Opens the store of data files that the description names. `configured` are the catalog's properties of this process.
pub fn open_files(
    description: &TablesDescription,
    configured: &HashMap<String, String>,
) -> Result<Arc<ParquetFiles>> {
    let primary = Uuid::parse_str(&description.primary_uuid)
        .map_err(|e| Error::internal(format!("the primary table's UUID is none: {e}")))?;
    let tables = description
        .tables
        .iter()
        .map(|table| ParquetTable::new(&description.job, primary, table, table.store(configured)))
        .collect::<Result<Vec<_>>>()?;
    if tables
        .first()
        .is_none_or(|t| t.index != TableIndex::PRIMARY)
    {
        return Err(Error::internal(
            "the description of the tables does not begin with the primary",
        ));
    }
    Ok(Arc::new(ParquetFiles {
        tables: RwLock::new(tables),
    }))
}

/// The store of the data files of a job's tables.
#[derive(Debug)]
pub struct ParquetFiles {
    /// As they are by now: columns may be added to them.
    tables: RwLock<Vec<Arc<ParquetTable>>>,
}

impl ParquetFiles {
    fn table(&self, index: TableIndex) -> Option<Arc<ParquetTable>> {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        tables.iter().find(|t| t.index == index).map(Arc::clone)
    }

    /// Takes batches with these columns too from here on, which the table has. Files that are open stay as they are.
    pub(super) fn grow(
        &self,
        index: TableIndex,
        shape: &TableShape,
        table: &Table,
        added: &[AddedColumn],
    ) -> Result<()> {
        let known = self
            .table(index)
            .ok_or_else(|| Error::internal(format!("the job has no table {}", index.0)))?;
        let mut fields: Vec<FieldRef> = known.arrow_schema.fields().iter().cloned().collect();
        for column in added {
            if known.arrow_schema.field_with_name(&column.name).is_err() {
                let data_type = column.column_type.data_type();
                fields.push(Arc::new(Field::new(&column.name, data_type, true)));
            }
        }
        let shape = TableShape {
            columns: Arc::new(Schema::new(fields)),
            ..shape.clone()
        };
        let description = TableDescription::of(index, &shape, table, &Properties::default());
        let store = known.store.clone();
        let grown = ParquetTable::new(&known.job, known.primary, &description, store)?;
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        for known in tables.iter_mut().filter(|known| known.index == index) {
            *known = Arc::clone(&grown);
        }
        Ok(())
    }
}

/// What all writers of one table share.
#[derive(Debug)]
pub(super) struct ParquetTable {
    index: TableIndex,
    job: String,
    primary: Uuid,
    name: String,
    location: String,
    store: Store,
    day_of: String,
    arrow_schema: SchemaRef,
    pub(super) schema: IcebergSchemaRef,
    pub(super) spec_id: i32,
    pub(super) partition_type: StructType,
    properties: WriterProperties,
}

impl ParquetTable {
    fn new(
        job: &str,
        primary: Uuid,
        table: &TableDescription,
        store: Store,
    ) -> Result<Arc<ParquetTable>> {
        let arrow_schema = table.arrow_schema()?;
        let schema = table.schema();
        let partition_type = table
            .partition_spec()
            .partition_type(&schema)
            .map_err(|e| {
                Error::internal(format!(
                    "cannot derive the partition type of `{}`: {e}",
                    table.name
                ))
            })?;
        store.require(&table.data_location).map_err(|fault| {
            let what = format!(
                "cannot write data files of `{}` to `{}`",
                table.name, table.data_location
            );
            fault.explain(what, WRITABLE)
        })?;
        Ok(Arc::new(ParquetTable {
            index: table.index,
            job: job.to_owned(),
            primary,
            name: table.name.clone(),
            location: table.data_location.clone(),
            store,
            day_of: table.day_of.clone(),
            properties: writer_properties(&arrow_schema)?,
            arrow_schema,
            schema,
            spec_id: table.partition_spec().spec_id(),
            partition_type,
        }))
    }

    /// The same for files of these columns only, in their order.
    fn of_columns(self: Arc<Self>, columns: &SchemaRef) -> Result<Arc<ParquetTable>> {
        let names = |schema: &SchemaRef| -> Vec<String> {
            schema.fields().iter().map(|f| f.name().clone()).collect()
        };
        let wanted = names(columns);
        if wanted == names(&self.arrow_schema) {
            return Ok(self);
        }
        let fields = wanted.iter().map(|name| {
            let field = self.arrow_schema.field_with_name(name).cloned();
            field.map_err(|e| Error::internal(format!("no column of `{}`: {e}", self.name)))
        });
        let arrow_schema: SchemaRef = Arc::new(Schema::new(fields.collect::<Result<Vec<_>>>()?));
        Ok(Arc::new(ParquetTable {
            index: self.index,
            job: self.job.clone(),
            primary: self.primary,
            name: self.name.clone(),
            location: self.location.clone(),
            store: self.store.clone(),
            day_of: self.day_of.clone(),
            properties: writer_properties(&arrow_schema)?,
            arrow_schema,
            schema: Arc::clone(&self.schema),
            spec_id: self.spec_id,
            partition_type: self.partition_type.clone(),
        }))
    }
}

/// How each column is encoded. Integers and times of neighbouring rows differ little, so they are written
/// as differences; strings try a dictionary that is given up early, except ids, which never repeat.
fn writer_properties(schema: &SchemaRef) -> Result<WriterProperties> {
    let level =
        ZstdLevel::try_new(ZSTD_LEVEL).map_err(|e| Error::internal(format!("zstd level: {e}")))?;
    let mut properties = WriterProperties::builder()
        .set_created_by(format!("strandline {}", env!("CARGO_PKG_VERSION")))
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_dictionary_page_size_limit(DICTIONARY_BYTES)
        .set_statistics_enabled(EnabledStatistics::Chunk);
    for field in schema.fields() {
        let column = ColumnPath::from(field.name().as_str());
        let never_repeats = field.name().ends_with("_id");
        match field.data_type() {
            DataType::Int64
            | DataType::Timestamp(..)
            | DataType::Int32
            | DataType::Date32
            | DataType::Time64(_) => {
                properties = properties
                    .set_column_dictionary_enabled(column.clone(), false)
                    .set_column_encoding(column, Encoding::DELTA_BINARY_PACKED);
            }
            DataType::Utf8 | DataType::Binary if never_repeats => {
                properties = properties
                    .set_column_dictionary_enabled(column.clone(), false)
                    .set_column_encoding(column, Encoding::PLAIN);
            }
            DataType::Boolean | DataType::Float64 | DataType::Float32 => {
                properties = properties.set_column_dictionary_enabled(column, false);
            }
            _ => {}
        }
    }
    Ok(properties.build())
}

impl Files for ParquetFiles {
    fn schema(&self, table: TableIndex) -> SchemaRef {
        // The port cannot fail; an unknown index fails at `open`.
        self.table(table).map_or_else(
            || Arc::new(Schema::empty()),
            |t| Arc::clone(&t.arrow_schema),
        )
    }

    fn open(&self, key: FileKey, columns: &SchemaRef) -> Result<Box<dyn DataFileWriter>> {
        let table = self
            .table(key.table)
            .ok_or_else(|| Error::internal(format!("the job has no table {}", key.table.0)))?;
        let table = table.of_columns(columns)?;
        Ok(Box::new(ParquetFile::create(table, key)?))
    }
}

/// One Parquet file being written.
struct ParquetFile {
    table: Arc<ParquetTable>,
    key: FileKey,
    location: String,
    writer: ArrowWriter<Output>,
    rows: u64,
}

impl ParquetFile {
    fn create(table: Arc<ParquetTable>, key: FileKey) -> Result<ParquetFile> {
        let name = DataFileName {
            job: table.job.clone(),
            epoch: key.epoch,
            worker: key.worker,
            primary: table.primary,
        };
        let location = format!(
            "{}/{}_day={}/{}",
            table.location,
            table.day_of,
            day(key.day),
            name.new_file()
        );
        let created = table.store.create(&location);
        let output = created.map_err(|fault| cannot(&table.name, &location, &fault))?;
        let writer = ArrowWriter::try_new(
            output,
            Arc::clone(&table.arrow_schema),
            Some(table.properties.clone()),
        )
        .map_err(|e| cannot(&table.name, &location, &e))?;
        Ok(ParquetFile {
            table,
            key,
            location,
            writer,
            rows: 0,
        })
    }
}

const WRITABLE: &str = "see that the warehouse is there, writable, and not full";

fn cannot(table: &str, location: &str, error: &(dyn std::error::Error + 'static)) -> Error {
    let what = format!("cannot write a data file of `{table}`, `{location}`");
    match Fault::within(error) {
        Some(fault) => fault.clone().explain(what, WRITABLE),
        None => Error::unreachable(format!("{what}: {error}")).hint(WRITABLE),
    }
}

/// The day as people write it: `2026-11-21`; years beyond four digits have a sign.
fn day(days: i32) -> String {
    chrono::DateTime::from_timestamp(i64::from(days) * 86_400, 0)
        .map_or_else(|| days.to_string(), |t| t.format("%Y-%m-%d").to_string())
}

impl DataFileWriter for ParquetFile {
    fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        // The same columns under the table's schema, which carries the field ids; types and nulls are checked.
        let batch = RecordBatch::try_new(
            Arc::clone(&self.table.arrow_schema),
            rows.columns().to_vec(),
        )
        .map_err(|e| {
            Error::internal(format!(
                "a batch does not fit table `{}`: {e}",
                self.table.name
            ))
        })?;
        let failed =
            |e: parquet::errors::ParquetError| cannot(&self.table.name, &self.location, &e);
        self.writer.write(&batch).map_err(failed)?;
        if self.writer.in_progress_size() >= ROW_GROUP_BYTES {
            self.writer.flush().map_err(failed)?;
        }
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    fn bytes(&self) -> u64 {
        (self.writer.bytes_written() + self.writer.in_progress_size()) as u64
    }

    fn close(mut self: Box<Self>) -> Result<WrittenFile> {
        let metadata = self
            .writer
            .finish()
            .map_err(|e| cannot(&self.table.name, &self.location, &e))?;
        let bytes = self.writer.bytes_written() as u64;
        let description = data_file::describe(
            &self.table,
            &metadata,
            &self.location,
            self.key.day,
            self.rows,
            bytes,
        )?;
        // `finish` has handed everything to the output.
        let durable = self.writer.inner_mut().finish();
        let size = durable.map_err(|fault| cannot(&self.table.name, &self.location, &fault))?;
        if size != bytes {
            return Err(Error::internal(format!(
                "`{}` has {size} bytes, {bytes} were written",
                self.location
            )));
        }
        Ok(WrittenFile {
            table: self.table.index,
            description,
            rows: self.rows,
            bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_files_name_tells_who_wrote_it() {
        let name = DataFileName {
            job: "roman-numerals".to_owned(),
            epoch: Epoch(7 << 32 | 12),
            worker: 3,
            primary: Uuid::new_v4(),
        };
        assert_eq!(DataFileName::parse(&name.new_file()), Some(name));
        for foreign in [
            "00000-0-8f0e.parquet",
            "a-g1-e2-w3-x.parquet",
            "x.avro",
            "roman-numerals-g1-e1-w0.parquet",
            "a-g1-e2-w3-67e5504410b1426f9247bb680e5fe0c8.parquet",
        ] {
            assert_eq!(DataFileName::parse(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn days_are_written_as_dates_over_the_whole_calendar() {
        assert_eq!(day(0), "1970-01-01");
        assert_eq!(day(-719_162), "0001-01-01");
        assert_eq!(day(2_932_896), "9999-12-31");
    }
}
