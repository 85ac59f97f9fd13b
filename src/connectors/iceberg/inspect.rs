//! What `check`, `audit` and `demo` want to know of a table. Reads only, and claims nothing.

use std::collections::BTreeMap;

use iceberg::spec::ManifestContentType;
use iceberg::table::Table;
use serde::Serialize;
use strandline_operators::arrow_array::RecordBatch;
use strandline_operators::job::JobSettings;
use strandline_operators::landing::claim::check_fingerprint;
use strandline_operators::landing::fence::read_progress;
use strandline_operators::landing::pending::Mark;
use strandline_operators::progress::Progress;
use strandline_operators::{Error, Result};
use uuid::Uuid;

use super::catalog::{CatalogKind, OpenCatalog};
use super::readback;
use super::store::{Patience, Store};
use super::tables;
use super::version::TableVersion;
use super::{IcebergConnector, primary_shape, refuse_rows_without_progress, secondary_shape};

/// What a table is and holds now.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TableFacts {
    /// `namespace.table`.
    pub name: String,
    /// Where the table lies.
    pub location: String,
    /// Its current metadata file.
    pub metadata_location: String,
    /// Rows in the current snapshot; files of row-level deletes, which this engine never writes, not taken off.
    pub rows: u64,
    /// Data files in the current snapshot.
    pub files: u64,
    /// The progress of each job that lands in it.
    pub progress: BTreeMap<String, Progress>,
    /// The snapshots that are not expired, newest first.
    pub snapshots: Vec<SnapshotFacts>,
}

/// One snapshot.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SnapshotFacts {
    /// Its id.
    pub snapshot_id: i64,
    /// Its sequence number.
    pub sequence_number: i64,
    /// When it was committed: milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Its summary.
    pub summary: BTreeMap<String, String>,
}

/// A table as it was read at one moment: what is asked of it is of that version, whatever is committed meanwhile.
pub struct TableView<'a> {
    catalog: &'a OpenCatalog,
    table: Table,
    name: String,
}

impl TableView<'_> {
    /// What the table holds.
    ///
    /// # Errors
    /// A manifest list that cannot be read; progress that cannot be parsed.
    pub fn facts(&self) -> Result<TableFacts> {
        let name = &self.name;
        let metadata = self.table.metadata();
        let (rows, files) = self.count()?;
        let mut progress = BTreeMap::new();
        let prefix = Progress::property("");
        for (property, value) in metadata.properties() {
            if let Some(job) = property.strip_prefix(&prefix) {
                progress.insert(
                    job.to_owned(),
                    Progress::parse(value).map_err(|e| e.context(format!("table {name}")))?,
                );
            }
        }
        let mut snapshots: Vec<SnapshotFacts> = metadata
            .snapshots()
            .map(|s| SnapshotFacts {
                snapshot_id: s.snapshot_id(),
                sequence_number: s.sequence_number(),
                timestamp_ms: s.timestamp_ms(),
                summary: s
                    .summary()
                    .additional_properties
                    .clone()
                    .into_iter()
                    .collect(),
            })
            .collect();
        snapshots.sort_by_key(|s| std::cmp::Reverse(s.sequence_number));
        let location = self.table.metadata_location();
        Ok(TableFacts {
            name: name.clone(),
            location: metadata.location().to_owned(),
            metadata_location: location.unwrap_or_default().to_owned(),
            rows,
            files,
            progress,
            snapshots,
        })
    }

    /// The progress that a run of the job would go on from, `None` when it would begin anew.
    ///
    /// # Errors
    /// Refuses what a run refuses of a table's history: no progress where there should be some, progress of another
    /// table, a table that was rolled back, rows of the job's topics without progress.
    pub fn progress(&self, settings: &JobSettings) -> Result<Option<Progress>> {
        let version = TableVersion::of(&self.table);
        let progress = read_progress(&version, &settings.name)?;
        if progress.is_none() {
            refuse_rows_without_progress(&self.catalog.blocking, &self.table, settings)?;
        }
        Ok(progress)
    }

    /// Whether it is a table besides the primary that lacks, or has more than, what `progress` says was brought to it:
    /// the job runs and has not followed yet, has followed further since the progress was read, or the table could not
    /// be committed to.
    ///
    /// # Errors
    /// A mark that cannot be understood.
    pub fn is_behind(&self, progress: &Progress) -> Result<bool> {
        let version = TableVersion::of(&self.table);
        let mark = Mark::read(&version, &progress.job, &progress.table_uuid)?;
        let expected = progress.pending_tables.get(&self.name);
        Ok(match (mark, expected) {
            (Some(mark), Some(expected)) => mark.epoch != *expected,
            (None, Some(_)) => true,
            // What was owed before is paid; only what the job has done since is not in the progress.
            (Some(mark), None) => Some(mark.epoch) > progress.epoch,
            (None, None) => false,
        })
    }

    /// Streams the named columns (all when `None`) of the rows to `visit`.
    ///
    /// # Errors
    /// A file that cannot be read; what `visit` says.
    pub fn scan(
        &self,
        columns: Option<&[&str]>,
        visit: &mut dyn FnMut(&RecordBatch) -> Result<()>,
    ) -> Result<()> {
        let (blocking, table) = (&self.catalog.blocking, &self.table);
        readback::scan(blocking, table, &self.name, columns, None, visit)
    }

    fn count(&self) -> Result<(u64, u64)> {
        let table = &self.table;
        let Some(snapshot) = table.metadata().current_snapshot() else {
            return Ok((0, 0));
        };
        let reader = table.manifest_list_reader(snapshot);
        let list = self
            .catalog
            .ask("read the manifest list", async { reader.load().await })?;
        let mut totals = (0, 0);
        for manifest in list
            .entries()
            .iter()
            .filter(|m| m.content == ManifestContentType::Data)
        {
            totals.0 +=
                manifest.added_rows_count.unwrap_or(0) + manifest.existing_rows_count.unwrap_or(0);
            totals.1 += u64::from(manifest.added_files_count.unwrap_or(0))
                + u64::from(manifest.existing_files_count.unwrap_or(0));
        }
        Ok(totals)
    }
}

impl IcebergConnector {
    /// The table as it is now, `None` when it does not exist.
    ///
    /// # Errors
    /// `Unreachable` when the catalog does not answer.
    pub fn view(&self, table: &str) -> Result<Option<TableView<'_>>> {
        let loaded = self.catalog.load_if_there(&tables::ident(table)?)?;
        Ok(loaded.map(|loaded| TableView {
            catalog: &self.catalog,
            table: loaded,
            name: table.to_owned(),
        }))
    }

    /// What the table holds now, `None` when it does not exist.
    ///
    /// # Errors
    /// As [`IcebergConnector::view`] and [`TableView::facts`].
    pub fn inspect(&self, table: &str) -> Result<Option<TableFacts>> {
        self.view(table)?.map(|view| view.facts()).transpose()
    }

    /// What a run of the job would find, before it writes anything: the progress that it would go on from, `None` when it
    /// would begin anew.
    ///
    /// # Errors
    /// What a run refuses: see [`TableView::progress`]; also a table with other columns or another partitioning than
    /// the job's, and deduplication state that no longer means the same.
    pub fn examine(&self, settings: &JobSettings) -> Result<Option<Progress>> {
        let mut settings = settings.clone();
        settings.add_columns(&self.added_columns(&settings)?);
        let secondaries = settings.secondary_tables();
        let secondaries = secondaries.iter().map(|s| secondary_shape(&settings, s));
        for shape in std::iter::once(primary_shape(&settings)).chain(secondaries) {
            if let Some(view) = self.view(&shape.name)? {
                tables::verify(&view.table, &shape)?;
            }
        }
        let Some(view) = self.view(&settings.table)? else {
            return Ok(None);
        };
        let progress = view.progress(&settings)?;
        if let Some(progress) = &progress {
            check_fingerprint(progress, &settings.fingerprint(), &settings.table)?;
        }
        Ok(progress)
    }

    /// Up to `rows` rows of the table, in no particular order.
    pub fn sample(&self, table: &str, rows: usize) -> Result<Vec<RecordBatch>> {
        let mut batches = Vec::new();
        let mut left = rows;
        // Ends the scan early; never leaves this function.
        let enough = || Error::internal("enough rows");
        let Some(view) = self.view(table)? else {
            return Ok(batches);
        };
        let outcome = view.scan(None, &mut |batch| {
            let taken = batch.num_rows().min(left);
            batches.push(batch.slice(0, taken));
            left -= taken;
            if left == 0 { Err(enough()) } else { Ok(()) }
        });
        match outcome {
            Err(error) if left > 0 => Err(error),
            _ => Ok(batches),
        }
    }

    /// Writes a file below the warehouse (below `table`, when it is a server's and there already), reads it back and deletes
    /// it. Returns the folder that was tried, `None` when only the server knows the folder, or how to get there, and has no
    /// such table yet.
    pub fn probe_warehouse(&self, table: &str) -> Result<Option<String>> {
        // A server may hand out with a table how to get at its files: what is configured alone would be refused there.
        let table = match self.catalog.kind {
            CatalogKind::Sql => None,
            CatalogKind::Rest => self.catalog.load_if_there(&tables::ident(table)?)?,
        };
        let (place, store) = match (&self.catalog.warehouse, table) {
            (_, Some(table)) => (
                table.metadata().location().to_owned(),
                Store::of(table.file_io()),
            ),
            (Some(warehouse), None) if self.catalog.can_reach(warehouse) => {
                (warehouse.clone(), self.catalog.store())
            }
            (_, None) => return Ok(None),
        };
        let file = format!("{place}/strandline-probe-{}", Uuid::new_v4().simple());
        let what = |doing: &str| format!("cannot {doing} a file in the warehouse `{place}`");
        let hint = "see that it is there, writable by this user, and not full";
        let written = store.write(&file, place.clone().into(), Patience::Brief);
        written.map_err(|fault| fault.explain(what("create"), hint))?;
        let read = store.read(&file, Patience::Brief);
        let deleted = store.delete(&file);
        let read = read.map_err(|fault| fault.explain(what("read"), hint))?;
        deleted.map_err(|fault| fault.explain(what("delete"), hint))?;
        if read.as_deref() != Some(place.as_bytes()) {
            return Err(Error::unreachable(format!(
                "{}: it holds something else",
                what("read back")
            ))
            .hint(hint));
        }
        Ok(Some(place))
    }
}
