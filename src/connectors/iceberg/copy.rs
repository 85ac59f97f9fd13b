//! Going on from a savepoint in new tables: they begin with copies of the savepoint's data files.
//!
//! The new primary's first commit holds the files and the progress, so it is there whole or not at all; the
//! new dead-letter table is filled before it, and says so in its mark. The files are copied, not shared:
//! each table may be dropped, and its files deleted, without the other.

use std::collections::HashMap;
use std::sync::Arc;

use iceberg::arrow::schema_to_arrow_schema;
use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, FormatVersion, ManifestContentType,
    serialize_data_file_to_json,
};
use iceberg::table::Table;
use strandline_operators::account::Account;
use strandline_operators::arrow_schema::{Field, Schema};
use strandline_operators::io::{TableIndex, WrittenFile};
use strandline_operators::job::{JobSettings, SecondaryTable};
use strandline_operators::landing::attempt::Verdict;
use strandline_operators::landing::fence::read_progress;
use strandline_operators::landing::pending::Mark;
use strandline_operators::landing::summary;
use strandline_operators::landing::table::Append;
use strandline_operators::progress::{Progress, RestoredTable};
use strandline_operators::time::Epoch;
use strandline_operators::{Error, Result};

use super::DEAD_LETTER_DAY;
use super::catalog::{OpenCatalog, reason};
use super::open_table::OpenTable;
use super::restore::{Examine, FromSavepoint, require_nothing_later, require_snapshot};
use super::savepoint::{Savepoint, TablePoint};
use super::store::Store;
use super::tables::{self, TableShape};
use super::version::TableVersion;

/// Fills the job's tables from the savepoint of another table.
pub(super) fn copy(
    catalog: &Arc<OpenCatalog>,
    settings: &JobSettings,
    from: &FromSavepoint,
    source: &Table,
    savepoint: &Savepoint,
    examine: Examine<'_>,
) -> Result<()> {
    let job = &settings.name;
    let target = catalog.load_if_there(&tables::ident(&settings.table)?)?;
    if let Some(target) = &target
        && is_done(target, settings, from)?
    {
        tracing::info!(
            job,
            savepoint = from.name,
            "the savepoint was taken up already, going on from where the table is"
        );
        return Ok(());
    }
    // May refuse, as it may at any start: before anything is done.
    let mut examined = savepoint.progress.clone();
    examine(&mut examined)?;
    let shape = shape_like(source, &settings.table, &settings.event_time)?;
    let primary = tables::ensure(catalog, &shape)?;
    require_same_columns(source, &primary)?;
    let mut progress = savepoint.progress.clone();
    progress.claimed_by = examined.claimed_by;
    progress.table_uuid = primary.metadata().uuid().to_string();
    let generation = progress.claim_after(savepoint.progress.generation());
    progress.restored = Some(from.restored(generation, Vec::<RestoredTable>::new()));

    for SecondaryTable { name, route, .. } in settings.secondary_tables() {
        let same_role = |point: &&TablePoint| point.route.as_deref() == route;
        match savepoint.secondaries.iter().find(same_role) {
            Some(point) if point.name != name => {
                let fills = Filling {
                    catalog,
                    progress: &progress,
                    epoch: savepoint.epoch(),
                };
                let day_of = match route {
                    Some(_) => &settings.event_time,
                    None => DEAD_LETTER_DAY,
                };
                fills.fill_secondary(point, name, day_of)?;
            }
            // The same one, which goes on.
            Some(_) => require_nothing_later(catalog, settings, savepoint, name)?,
            None => {}
        }
    }

    let files = copy_files(catalog, source, &savepoint.primary, &primary)?;
    let count = files.len();
    let mut open = OpenTable::new(Arc::clone(catalog), primary);
    open.append_once(|base| {
        if is_done(base, settings, from)? {
            return Ok(Verdict::Done);
        }
        progress.sequence_number = base.metadata().next_sequence_number();
        Ok(Verdict::Append(Append {
            job: job.clone(),
            files: files.clone(),
            summary: summary::of(&progress, &Account::default()),
            properties: [(Progress::property(job), progress.to_json()?)].into(),
        }))
    })?;
    tracing::info!(job, savepoint = from.name, files = count, from = %source.identifier(), to = %settings.table, "copied the savepoint's rows");
    Ok(())
}

/// Whether the target has the savepoint's rows already, by this very request.
///
/// # Errors
/// It is not a new table.
fn is_done(target: &Table, settings: &JobSettings, from: &FromSavepoint) -> Result<bool> {
    let name = &settings.table;
    if let Some(progress) = read_progress(&TableVersion::of(target), &settings.name)? {
        if progress
            .restored
            .is_some_and(|restored| restored.id == from.id)
        {
            return Ok(true);
        }
        return Err(Error::configuration(format!(
            "table `{name}` holds progress of the job already, so it cannot begin with the savepoint"
        ))
        .hint("leave `--from-savepoint` out to go on in it, or name a table that does not exist yet"));
    }
    require_empty(target)?;
    Ok(false)
}

fn require_empty(target: &Table) -> Result<()> {
    if target.metadata().current_snapshot().is_none() {
        return Ok(());
    }
    Err(Error::configuration(format!(
        "table `{}` is not empty, so it cannot begin with the savepoint",
        target.identifier()
    ))
    .hint("name a table that does not exist yet"))
}

/// A table like the source: the same columns in the same order, which gives them the same ids.
fn shape_like(source: &Table, name: &str, day_of: &str) -> Result<TableShape> {
    let schema = schema_to_arrow_schema(source.metadata().current_schema()).map_err(|e| {
        Error::internal(format!(
            "cannot translate the schema of `{}`: {e}",
            source.identifier()
        ))
    })?;
    let plain = |field: &Arc<Field>| field.as_ref().clone().with_metadata(HashMap::new());
    Ok(TableShape {
        name: name.to_owned(),
        columns: Arc::new(Schema::new(
            schema.fields().iter().map(plain).collect::<Vec<_>>(),
        )),
        day_of: day_of.to_owned(),
    })
}

/// Files are read by column ids: those of the new table must be those of the old one.
fn require_same_columns(source: &Table, target: &Table) -> Result<()> {
    let (ours, theirs) = (
        source.metadata().current_schema(),
        target.metadata().current_schema(),
    );
    for column in ours.as_struct().fields() {
        let same = theirs
            .field_by_name(&column.name)
            .is_some_and(|found| found.id == column.id && found.field_type == column.field_type);
        if !same {
            return Err(Error::refused(format!(
                "column `{}` of `{}` would have another id in `{}`, and the copied files could not be read",
                column.name,
                source.identifier(),
                target.identifier()
            ))
            .hint("columns of the old table were dropped or moved; go on from the savepoint in the old table"));
        }
    }
    let (from, to) = (
        source.metadata().default_partition_spec(),
        target.metadata().default_partition_spec(),
    );
    if from.fields().len() != to.fields().len() || from.spec_id() != to.spec_id() {
        return Err(Error::refused(format!(
            "`{}` is not partitioned as `{}` is",
            source.identifier(),
            target.identifier()
        ))
        .hint("go on from the savepoint in the old table"));
    }
    Ok(())
}

/// A new secondary to be filled.
struct Filling<'a> {
    catalog: &'a Arc<OpenCatalog>,
    /// The new primary's, as it is about to be committed.
    progress: &'a Progress,
    epoch: Epoch,
}

impl Filling<'_> {
    fn fill_secondary(&self, point: &TablePoint, name: &str, day_of: &str) -> Result<()> {
        let source = self.catalog.load(&tables::ident(&point.name)?)?;
        require_snapshot(&source, point)?;
        let shape = shape_like(&source, name, day_of)?;
        let target = tables::ensure(self.catalog, &shape)?;
        require_same_columns(&source, &target)?;
        if self.is_filled(&target)? {
            return Ok(());
        }
        let files = copy_files(self.catalog, &source, point, &target)?;
        let (job, generation) = (&self.progress.job, self.progress.generation());
        let summary = [
            (summary::JOB, job.clone()),
            (summary::GENERATION, generation.to_string()),
            (summary::EPOCH, self.epoch.0.to_string()),
        ];
        let mark = Mark::new(generation, self.epoch).to_json()?;
        let mut open = OpenTable::new(Arc::clone(self.catalog), target);
        open.append_once(|base| {
            if self.is_filled(base)? {
                return Ok(Verdict::Done);
            }
            let of_mark = Mark::property(job, &self.progress.table_uuid);
            Ok(Verdict::Append(Append {
                job: job.clone(),
                files: files.clone(),
                summary: summary
                    .iter()
                    .map(|(key, value)| ((*key).to_owned(), value.clone()))
                    .collect(),
                properties: [(of_mark, mark.clone())].into(),
            }))
        })?;
        Ok(())
    }

    /// Whether an earlier attempt has filled it with this very epoch.
    fn is_filled(&self, target: &Table) -> Result<bool> {
        let mark = Mark::read(
            &TableVersion::of(target),
            &self.progress.job,
            &self.progress.table_uuid,
        )?;
        if mark.is_some_and(|mark| mark.epoch == self.epoch) {
            return Ok(true);
        }
        require_empty(target)?;
        Ok(false)
    }
}

/// Copies the data files of a snapshot; they are durable when this returns, and nothing refers to them.
fn copy_files(
    catalog: &OpenCatalog,
    source: &Table,
    point: &TablePoint,
    target: &Table,
) -> Result<Vec<WrittenFile>> {
    let data = data_location(target);
    // Each with the credentials of its own table.
    let stores = (Store::of(source.file_io()), Store::of(target.file_io()));
    let mut copied = Vec::new();
    for file in live_files(catalog, source, point)? {
        let place = format!("{data}/{}", relative_path(file.file_path()));
        copy_file(&stores, file.file_path(), &place, file.file_size_in_bytes())?;
        copied.push(written(moved(&file, place, target)?, target)?);
    }
    Ok(copied)
}

fn data_location(table: &Table) -> String {
    let metadata = table.metadata();
    metadata.properties().get("write.data.path").map_or_else(
        || format!("{}/data", metadata.location()),
        |path| path.trim_end_matches('/').to_owned(),
    )
}

/// The folder of the partition, and the name. Names are unique; two attempts write the same files.
fn relative_path(location: &str) -> &str {
    let mut slashes = location.rmatch_indices('/').map(|(place, _)| place);
    let _name = slashes.next();
    slashes
        .next()
        .map_or(location, |place| &location[place + 1..])
}

fn copy_file((source, target): &(Store, Store), from: &str, to: &str, bytes: u64) -> Result<()> {
    let written = source.copy(from, target, to, bytes).map_err(|fault| {
        fault.explain(
            format!("cannot copy data file `{from}` to `{to}`"),
            "see that the warehouse is there, writable, and not full",
        )
    })?;
    if written == bytes {
        return Ok(());
    }
    Err(Error::refused(format!(
        "data file `{from}` has {written} bytes, its table says {bytes}"
    ))
    .hint("it was changed by hand; restore it"))
}

/// The data files of the savepoint's snapshot.
fn live_files(catalog: &OpenCatalog, source: &Table, point: &TablePoint) -> Result<Vec<DataFile>> {
    require_snapshot(source, point)?;
    let snapshot = source
        .metadata()
        .snapshot_by_id(point.snapshot_id)
        .ok_or_else(|| Error::internal("a snapshot that was there is gone"))?;
    let failed = |e: iceberg::Error| {
        Error::unreachable(format!(
            "cannot read the manifests of `{}`: {}",
            point.name,
            reason(&e)
        ))
        .hint("see that the warehouse is there and readable")
    };
    let reader = source.manifest_list_reader(snapshot);
    let list = catalog.ask("read the manifest list", async { reader.load().await })?;
    let mut files = Vec::new();
    for manifest in list.entries() {
        let manifest_of_data = manifest.content == ManifestContentType::Data;
        let loaded = catalog
            .blocking
            .wait(manifest.load_manifest(source.file_io()))?
            .map_err(failed)?;
        for entry in loaded.entries().iter().filter(|entry| entry.is_alive()) {
            if !manifest_of_data || entry.data_file().content_type() != DataContentType::Data {
                return Err(Error::refused(format!(
                    "table `{}` has files of row-level deletes at the savepoint, which cannot be copied",
                    point.name
                ))
                .hint("compact the table, make another savepoint, and go on from that; or go on in the old table"));
            }
            files.push(entry.data_file().clone());
        }
    }
    Ok(files)
}

/// The description of a file's copy.
fn moved(file: &DataFile, place: String, target: &Table) -> Result<DataFile> {
    let mut builder = DataFileBuilder::default();
    builder
        .content(file.content_type())
        .file_path(place)
        .file_format(file.file_format())
        .partition(file.partition().clone())
        .record_count(file.record_count())
        .file_size_in_bytes(file.file_size_in_bytes())
        .column_sizes(file.column_sizes().clone())
        .value_counts(file.value_counts().clone())
        .null_value_counts(file.null_value_counts().clone())
        .nan_value_counts(file.nan_value_counts().clone())
        .lower_bounds(file.lower_bounds().clone())
        .upper_bounds(file.upper_bounds().clone())
        .split_offsets(file.split_offsets().map(<[i64]>::to_vec))
        .partition_spec_id(target.metadata().default_partition_spec_id());
    if let Some(order) = file.sort_order_id() {
        builder.sort_order_id(order);
    }
    builder
        .build()
        .map_err(|e| Error::internal(format!("cannot describe a copied data file: {e}")))
}

/// A copy, as a commit takes it.
fn written(file: DataFile, target: &Table) -> Result<WrittenFile> {
    let (rows, bytes) = (file.record_count(), file.file_size_in_bytes());
    let partition_type = target.metadata().default_partition_type();
    let description = serialize_data_file_to_json(file, partition_type, FormatVersion::V2)
        .map_err(|e| Error::internal(format!("cannot describe a copied data file: {e}")))?;
    Ok(WrittenFile {
        table: TableIndex::PRIMARY,
        description,
        rows,
        bytes,
    })
}
