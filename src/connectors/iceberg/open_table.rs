//! One table that this process commits to: its version in hand, its manifests, its litter.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use iceberg::TableIdent;
use iceberg::spec::{DataFile, ManifestFile, deserialize_data_file_from_json};
use iceberg::table::Table;
use strandline_operators::{Error, Result};

use super::catalog::{OpenCatalog, reason};
use super::litter::{GRACE_MS, Litter};
use super::location;
use super::pointer::NotSwapped;
use super::producer::{Append, Produced, produce};
use super::tables::{Fit, TableShape};

/// How often one commit is tried before it is given up.
const ATTEMPTS_MAX: u32 = 30;

/// How long one commit may take with all its attempts.
const COMMIT_DEADLINE_MS: u64 = 60_000;

/// The first pause between attempts; it doubles. A pause also lets compaction, a slow writer, come first.
const PAUSE_MS: u64 = 20;

/// The longest pause between attempts.
const PAUSE_MAX_MS: u64 = 2_000;

/// A table open for commits.
#[derive(Debug)]
pub(super) struct OpenTable {
    catalog: Arc<OpenCatalog>,
    ident: TableIdent,
    /// The version that the next commit is made for.
    table: Table,
    // The manifests of a snapshot, by its id: the one that we committed last.
    manifests: Option<(i64, Vec<ManifestFile>)>,
    litter: Litter,
    // What the data files were written for, once there are any.
    fit: Option<Fit>,
}

/// What the owner of a commit decides for each version of the table it might be made on.
pub(super) enum Verdict {
    /// Append this.
    Append(Box<Append>),
    /// It is there already.
    Done,
}

/// A commit that the catalog says it did not make.
///
/// Something between us and the catalog may send our request again, and hand us the answer to the second
/// one: a conflict with our own commit. So its files are kept until the table was read again.
struct Refused {
    produced: Produced,
    /// The snapshot that the commit was made for.
    head: Option<i64>,
}

impl OpenTable {
    pub(super) fn new(catalog: Arc<OpenCatalog>, table: Table) -> OpenTable {
        OpenTable {
            catalog,
            ident: table.identifier().clone(),
            table,
            manifests: None,
            litter: Litter::new(Duration::from_millis(GRACE_MS)),
            fit: None,
        }
    }

    /// From here on only versions of the table that data files of this shape fit are committed to.
    pub(super) fn write_for(&mut self, shape: &TableShape) {
        self.fit = Some(Fit::of(shape, &self.table));
    }

    /// Changes how long superseded metadata is kept.
    #[cfg(test)]
    pub(super) fn set_grace(&mut self, grace: Duration) {
        self.litter = Litter::new(grace);
    }

    pub(super) fn table(&self) -> &Table {
        &self.table
    }

    pub(super) fn name(&self) -> String {
        self.ident.to_string()
    }

    /// Reads the current version.
    pub(super) fn reload(&mut self) -> Result<()> {
        self.table = self.catalog.reload(&self.ident)?;
        Ok(())
    }

    /// The data files that a writer described.
    pub(super) fn data_files<'a>(
        &self,
        descriptions: impl Iterator<Item = &'a str>,
    ) -> Result<Vec<DataFile>> {
        let metadata = self.table.metadata();
        descriptions
            .map(|json| {
                deserialize_data_file_from_json(
                    json,
                    metadata.default_partition_spec_id(),
                    metadata.default_partition_type(),
                    metadata.current_schema(),
                )
                .map_err(|e| {
                    Error::internal(format!("cannot read the description of a data file: {e}"))
                })
            })
            .collect()
    }

    /// Whether the current version refers to any of these data files. Reads all manifests.
    pub(super) fn refers_to_any(&self, files: &[DataFile]) -> Result<bool> {
        let metadata = self.table.metadata();
        let Some(current) = metadata.current_snapshot() else {
            return Ok(false);
        };
        let paths: HashSet<&str> = files.iter().map(DataFile::file_path).collect();
        let what = format!("read the manifests of `{}`", self.ident);
        self.catalog.ask(&what, async {
            let list = self.table.manifest_list_reader(current).load().await?;
            for manifest in list.entries() {
                let manifest = manifest.load_manifest(self.table.file_io()).await?;
                let entries = manifest.entries().iter();
                if entries
                    .filter(|entry| entry.is_alive())
                    .any(|entry| paths.contains(entry.file_path()))
                {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    /// Commits what `decide` says, exactly once.
    ///
    /// `decide` is asked for every version of the table that the commit might be made on, so its checks
    /// (fence, progress, whether it is there already) always hold for the very version that is committed
    /// to. Returns the id of the snapshot, `None` when it was there already.
    pub(super) fn commit(
        &mut self,
        mut decide: impl FnMut(&Table) -> Result<Verdict>,
    ) -> Result<Option<i64>> {
        let deadline = Instant::now() + Duration::from_millis(COMMIT_DEADLINE_MS);
        let mut pause = PAUSE_MS;
        let mut last = String::new();
        let mut refused = None;
        for attempt in 0..ATTEMPTS_MAX {
            if attempt > 0 {
                std::thread::sleep(Duration::from_millis(pause));
                pause = (pause * 2).min(PAUSE_MAX_MS);
                if let Err(e) = self.reload() {
                    if Instant::now() >= deadline
                        || e.kind() != strandline_operators::ErrorKind::Unreachable
                    {
                        return Err(e);
                    }
                    last = e.message().to_owned();
                    continue;
                }
                if let Some(Refused { produced, head }) = refused.take() {
                    let metadata = self.table.metadata();
                    if metadata.snapshot_by_id(produced.snapshot_id).is_some() {
                        let snapshot_id = produced.snapshot_id;
                        tracing::warn!(table = %self.ident, snapshot_id, "a commit was answered with a conflict, but was made");
                        self.accept(self.table.clone(), produced);
                        return Ok(Some(snapshot_id));
                    }
                    // On the same head a request that is still on its way could yet be carried out: then the
                    // files stay, and if they are orphans, the next start removes them.
                    if metadata.current_snapshot_id() != head {
                        discard(&produced.written);
                    }
                }
            }
            let append = match decide(&self.table)? {
                Verdict::Append(append) => append,
                Verdict::Done => return Ok(None),
            };
            let produced = self.produce(&append)?;
            let snapshot_id = produced.snapshot_id;
            match self.catalog.blocking.wait(
                self.catalog
                    .pointer
                    .swap(&self.table, produced.change.clone()),
            )? {
                Ok(swapped) => {
                    self.accept(swapped.table, produced);
                    self.litter.add(swapped.superseded);
                    self.litter.sweep(&self.table);
                    return Ok(Some(snapshot_id));
                }
                Err(NotSwapped::Conflict(why)) => {
                    tracing::debug!(table = %self.ident, why, "the table has moved, building the commit again");
                    let head = self.table.metadata().current_snapshot_id();
                    refused = Some(Refused { produced, head });
                    last = why;
                }
                Err(NotSwapped::Unknown(why)) => {
                    tracing::warn!(table = %self.ident, why, "the answer to a commit was lost, looking it up");
                    last = why;
                    if self.look_up(snapshot_id, deadline)? {
                        self.accept(self.table.clone(), produced);
                        return Ok(Some(snapshot_id));
                    }
                }
                // Nobody has read the table since, so the files stay; the next start removes orphans.
                Err(NotSwapped::Failed(error)) => return Err(error),
            }
            if Instant::now() >= deadline {
                break;
            }
        }
        Err(
            Error::unreachable(format!("cannot commit to `{}`: {last}", self.ident))
                .hint("see that the catalog is up and that no other writer commits without pause"),
        )
    }

    /// After a lost answer: reads the table until it answers; whether our snapshot is in it.
    fn look_up(&mut self, snapshot_id: i64, deadline: Instant) -> Result<bool> {
        let mut pause = PAUSE_MS;
        loop {
            match self.reload() {
                Ok(()) => return Ok(self.table.metadata().snapshot_by_id(snapshot_id).is_some()),
                Err(e)
                    if Instant::now() >= deadline
                        || e.kind() != strandline_operators::ErrorKind::Unreachable =>
                {
                    return Err(e);
                }
                Err(_) => std::thread::sleep(Duration::from_millis(pause)),
            }
            pause = (pause * 2).min(PAUSE_MAX_MS);
        }
    }

    fn produce(&self, append: &Append) -> Result<Produced> {
        if let Some(fit) = &self.fit {
            fit.verify(&self.table)?;
        }
        let files = append.files.iter().map(DataFile::file_path);
        if let Some(missing) = location::first_missing(files) {
            return Err(Error::unreachable(format!(
                "cannot commit to `{}`: its data file `{missing}` was removed before it was committed",
                self.ident
            ))
            .hint(
                "start the job again, it writes the rows anew; let the removal of orphan files take only \
                 files older than a day",
            ));
        }
        let current = self.table.metadata().current_snapshot_id();
        let known = self
            .manifests
            .as_ref()
            .filter(|(id, _)| Some(*id) == current)
            .map(|(_, m)| m.as_slice());
        self.catalog
            .blocking
            .wait(produce(&self.table, append, known))?
            .map_err(|e| {
                Error::unreachable(format!(
                    "cannot write the manifests of a commit to `{}`: {}",
                    self.ident,
                    reason(&e)
                ))
                .hint("see that the warehouse is there, writable, and not full")
            })
    }

    fn accept(&mut self, table: Table, produced: Produced) {
        self.table = table;
        self.manifests = Some((produced.snapshot_id, produced.manifests));
        self.litter.add(produced.expired_lists);
        self.litter
            .add_merged(produced.sequence_number, produced.replaced);
    }
}

/// Deletes metadata files that nothing refers to. A failure only leaves them lying there.
fn discard(files: &[String]) {
    for path in files.iter().filter_map(|file| location::local_path(file)) {
        let _ = std::fs::remove_file(path);
    }
}

/// One property.
pub(super) fn property(name: String, value: String) -> HashMap<String, String> {
    HashMap::from([(name, value)])
}
