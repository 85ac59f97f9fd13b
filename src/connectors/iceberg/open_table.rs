//! One table that this process commits to: its version in hand, its manifests, its litter.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use iceberg::TableIdent;
use iceberg::spec::{DataFile, ManifestFile, deserialize_data_file_from_json};
use iceberg::table::Table;
use strandline_operators::failpoint::Failpoint;
use strandline_operators::host::Machine;
use strandline_operators::io::WrittenFile;
use strandline_operators::landing::attempt::{Around, Patience, Verdict, commit};
use strandline_operators::landing::table::{Append, Sent, Version, VersionedTable};
use strandline_operators::landing::trouble::CommitTrouble;
use strandline_operators::{Error, Result};

use super::catalog::{OpenCatalog, reason};
use super::litter::{GRACE_MS, Litter};
use super::merging::Merging;
use super::pointer::NotSwapped;
use super::producer::{Produced, manifests_of, produce};
use super::store::{Fault, Store};
use super::tables::{Fit, TableShape};
use super::version::TableVersion;

/// Stands for the snapshot of an append that was never made; ids are positive.
const NO_SNAPSHOT: i64 = -1;

/// Why the manifests of a commit were not written.
enum NotProduced {
    /// The object store is away.
    ForNow(String),
    /// Trying again will not help, or not at once.
    Failed(Error),
}

/// A table open for commits.
#[derive(Debug)]
pub(super) struct OpenTable {
    catalog: Arc<OpenCatalog>,
    ident: TableIdent,
    /// What the data files were written for, once there are any.
    fit: Option<Fit>,
    /// The version that the next commit is made for.
    version: TableVersion,
    /// The manifests of a snapshot, by its id: the one that we committed last.
    manifests: Option<(i64, Vec<ManifestFile>)>,
    /// What was sent last and is not known to be committed. One commit is tried at a time.
    unresolved: Option<Produced>,
    litter: Litter,
    merging: Merging,
    trouble: CommitTrouble,
}

impl OpenTable {
    pub(super) fn new(catalog: Arc<OpenCatalog>, table: Table) -> OpenTable {
        OpenTable {
            catalog,
            ident: table.identifier().clone(),
            fit: None,
            version: TableVersion(table),
            manifests: None,
            unresolved: None,
            litter: Litter::new(Duration::from_millis(GRACE_MS)),
            merging: Merging::default(),
            trouble: CommitTrouble::default(),
        }
    }

    /// From here on the trouble of commits is told there.
    pub(super) fn tell(&mut self, trouble: &CommitTrouble) {
        self.trouble = trouble.clone();
    }

    /// From here on only versions of the table that data files of this shape fit are committed to.
    pub(super) fn write_for(&mut self, shape: &TableShape) {
        self.fit = Some(Fit::of(shape, self.table()));
    }

    /// Changes how long superseded metadata is kept.
    #[cfg(test)]
    pub(super) fn set_grace(&mut self, grace: Duration) {
        self.litter = Litter::new(grace);
    }

    pub(super) fn table(&self) -> &Table {
        &self.version.0
    }

    fn store(&self) -> Store {
        Store::of(self.table().file_io())
    }

    /// The data files that a writer described.
    pub(super) fn data_files(&self, files: &[WrittenFile]) -> Result<Vec<DataFile>> {
        let metadata = self.table().metadata();
        let parse = |description: &str| {
            deserialize_data_file_from_json(
                description,
                metadata.default_partition_spec_id(),
                metadata.default_partition_type(),
                metadata.current_schema(),
            )
            .map_err(|e| {
                Error::internal(format!("cannot read the description of a data file: {e}"))
            })
        };
        files.iter().map(|f| parse(&f.description)).collect()
    }

    /// The manifests of the version in hand.
    fn current_manifests(&self) -> Result<iceberg::Result<Vec<ManifestFile>>> {
        let Some(current) = self.table().metadata().current_snapshot() else {
            return Ok(Ok(Vec::new()));
        };
        match &self.manifests {
            Some((id, manifests)) if *id == current.snapshot_id() => Ok(Ok(manifests.clone())),
            _ => self
                .catalog
                .blocking
                .wait(manifests_of(self.table(), current)),
        }
    }

    fn produce(&mut self, append: &Append, files: &[DataFile]) -> Result<Produced, NotProduced> {
        self.current_manifests()
            .and_then(|manifests| {
                let manifests = match manifests {
                    Ok(manifests) => manifests,
                    Err(error) => return Ok(Err(error)),
                };
                let (merged, unfit) = self.merging.merged(&self.catalog.blocking, &manifests);
                self.litter.add(unfit);
                let produce = produce(self.table(), append, files, manifests, merged.as_ref());
                self.catalog.blocking.wait(produce)
            })
            .map_err(NotProduced::Failed)?
            .map_err(|e| {
                let what = format!("cannot write the manifests of a commit to `{}`", self.ident);
                let hint = "see that the warehouse is there, writable, and not full";
                match Fault::within(&e) {
                    Some(fault) if fault.may_pass() => {
                        NotProduced::ForNow(format!("{what}: {fault}"))
                    }
                    Some(fault) => NotProduced::Failed(fault.clone().explain(what, hint)),
                    None => NotProduced::Failed(
                        Error::unreachable(format!("{what}: {}", reason(&e))).hint(hint),
                    ),
                }
            })
    }

    /// What comes of an append whose data file is gone. Whoever claimed the table since has removed it, and
    /// then the fence is what is to be told; else somebody removed it who took it for an orphan.
    fn without(&mut self, missing: &str) -> Result<Sent> {
        let head = self.version.head();
        self.reload()?;
        let why = format!(
            "cannot commit to `{}`: its data file `{missing}` was removed before it was committed",
            self.ident
        );
        if self.version.head() != head {
            return Ok(Sent::Conflict {
                snapshot_id: NO_SNAPSHOT,
                why,
            });
        }
        Err(Error::unreachable(why).hint(
            "start the job again, it writes the rows anew; let the removal of orphan files take only \
             files older than a day",
        ))
    }

    /// Whether files have columns that the version in hand lacks.
    fn has_unknown_columns(&self, files: &[DataFile]) -> bool {
        let schema = self.table().metadata().current_schema();
        let mut ids = files.iter().flat_map(|file| file.value_counts().keys());
        ids.any(|id| schema.field_by_id(*id).is_none())
    }

    /// What comes of files with columns that the version in hand lacks: they were added since, or dropped.
    fn with_columns(&mut self, files: &[DataFile]) -> Result<Sent> {
        self.reload()?;
        if self.has_unknown_columns(files) {
            return Err(Error::refused(format!(
                "cannot write to table `{}`: a column that was added to it was dropped while the job ran",
                self.ident
            ))
            .hint("start the job again; with `schema_evolution: add_columns` it adds the column anew, empty in the rows that are there"));
        }
        Ok(Sent::Conflict {
            snapshot_id: NO_SNAPSHOT,
            why: format!("columns were added to `{}`", self.ident),
        })
    }

    /// Takes over what a commit made that is in the version in hand.
    fn accept(&mut self, produced: Produced) {
        self.merging.committed(&produced.manifests);
        self.manifests = Some((produced.snapshot_id, produced.manifests));
        self.litter.add(produced.expired_lists);
        self.litter
            .add_merged(produced.sequence_number, produced.replaced);
    }

    /// Has manifests merged while nothing is committed. A runtime that is being closed merges nothing: what was committed is
    /// so all the same.
    fn merge_ahead(&mut self, job: &str) {
        if let (Ok(runtime), Some((_, manifests))) =
            (self.catalog.blocking.tokio(), &self.manifests)
        {
            self.merging
                .begin(&runtime, &self.version.0, job, manifests);
        }
    }

    /// Appends what `decide` says, once, outside of any epoch.
    pub(super) fn append_once(
        &mut self,
        mut decide: impl FnMut(&Table) -> Result<Verdict>,
    ) -> Result<()> {
        let around = Around {
            send: Failpoint::SecondarySend,
            sent: Failpoint::SecondarySent,
        };
        let patience = Patience::FULL;
        commit(&Machine, self, around, patience, |table| {
            decide(table.table())
        })
        .map(drop)
    }

    fn take_unresolved(&mut self, snapshot_id: i64) -> Option<Produced> {
        self.unresolved
            .take()
            .filter(|produced| produced.snapshot_id == snapshot_id)
    }
}

impl VersionedTable for OpenTable {
    type Version = TableVersion;

    fn version(&self) -> &TableVersion {
        &self.version
    }

    fn reload(&mut self) -> Result<()> {
        self.version = TableVersion(self.catalog.reload(&self.ident)?);
        Ok(())
    }

    fn refers_to_any(&self, files: &[WrittenFile]) -> Result<bool> {
        let Some(current) = self.table().metadata().current_snapshot() else {
            return Ok(false);
        };
        let files = self.data_files(files)?;
        let paths: HashSet<&str> = files.iter().map(DataFile::file_path).collect();
        let what = format!("read the manifests of `{}`", self.ident);
        self.catalog.ask(&what, async {
            let list = self.table().manifest_list_reader(current).load().await?;
            for manifest in list.entries() {
                let manifest = manifest.load_manifest(self.table().file_io()).await?;
                let mut alive = manifest.entries().iter().filter(|entry| entry.is_alive());
                if alive.any(|entry| paths.contains(entry.file_path())) {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    fn append(&mut self, append: &Append) -> Result<Sent> {
        if let Some(fit) = &self.fit {
            fit.verify(self.table())?;
        }
        let files = self.data_files(&append.files)?;
        if self.fit.is_some() && self.has_unknown_columns(&files) {
            return self.with_columns(&files);
        }
        let paths = files.iter().map(DataFile::file_path);
        if let Some(missing) = self.store().first_missing(paths) {
            return self.without(missing);
        }
        let produced = match self.produce(append, &files) {
            Ok(produced) => produced,
            // As a catalog that is away: the commit is built again, until its patience ends.
            Err(NotProduced::ForNow(why)) => {
                let snapshot_id = NO_SNAPSHOT;
                return Ok(Sent::Conflict { snapshot_id, why });
            }
            Err(NotProduced::Failed(error)) => return Err(error),
        };
        let snapshot_id = produced.snapshot_id;
        let change = produced.change.clone();
        let swap = self.catalog.pointer.swap(self.table(), change);
        let sent = self.catalog.blocking.wait(swap)?;
        Ok(match sent {
            Ok(swapped) => {
                self.version = TableVersion(swapped.table);
                self.accept(produced);
                self.litter.add(swapped.superseded);
                self.litter.sweep(&self.version.0);
                self.merge_ahead(&append.job);
                Sent::Committed { snapshot_id }
            }
            Err(NotSwapped::Conflict(why)) => {
                self.unresolved = Some(produced);
                Sent::Conflict { snapshot_id, why }
            }
            Err(NotSwapped::Unknown(why)) => {
                self.unresolved = Some(produced);
                Sent::Unknown { snapshot_id, why }
            }
            Err(NotSwapped::Failed(error)) => Sent::Failed(error),
        })
    }

    fn found(&mut self, snapshot_id: i64) {
        if let Some(produced) = self.take_unresolved(snapshot_id) {
            self.accept(produced);
        }
    }

    fn troubled(&self, why: Option<&str>) {
        match why {
            Some(why) => self.trouble.tell(why),
            None => self.trouble.over(),
        }
    }

    fn discard(&mut self, snapshot_id: i64) {
        let produced = self.take_unresolved(snapshot_id);
        let written = produced.into_iter().flat_map(|produced| produced.written);
        // A failure only leaves the file lying there.
        self.store().delete_all(written.collect());
    }
}
