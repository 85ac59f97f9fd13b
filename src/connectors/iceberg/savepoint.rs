//! Savepoints: a tag on every table of a job, all of one point, from which a run can go on.
//!
//! Progress is a property and has no versions, so the savepoint keeps its own copy: one document in the
//! property `strandline.savepoint.<job>.<name>` of the primary table, written in the same commit as the
//! primary's tag. That commit is the savepoint; tags on secondaries come before it, and are replaced by the
//! next attempt when it never came.
//!
//! The point is an epoch. The primary is at it when its current snapshot and its progress were read from
//! one version of its metadata. A secondary is at it in the last snapshot before any later epoch of the
//! job, once the pending file of the epoch is rolled forward.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use iceberg::spec::{ManifestContentType, SnapshotReference, SnapshotRetention, TableMetadata};
use iceberg::table::Table;
use iceberg::{TableRequirement, TableUpdate};
use serde::{Deserialize, Serialize};
use strandline_operators::job::{JobSettings, SecondaryTable};
use strandline_operators::landing::attempt::Verdict;
use strandline_operators::landing::fence::read_progress;
use strandline_operators::landing::pending::Mark;
use strandline_operators::landing::summary;
use strandline_operators::landing::table::Append;
use strandline_operators::progress::Progress;
use strandline_operators::time::Epoch;
use strandline_operators::{Error, ErrorKind, Result};
use uuid::Uuid;

use super::IcebergConnector;
use super::catalog::OpenCatalog;
use super::change::change;
use super::open_table::OpenTable;
use super::pending;
use super::pointer::Change;
use super::producer::ancestry;
use super::tables;
use super::version::{TableVersion, says};

/// The version of the document that this build writes.
const VERSION: u32 = 1;

/// Characters of a name, at most.
const NAME_CHARS_MAX: usize = 100;

/// How long a point is looked for while the job commits.
const DEADLINE: Duration = Duration::from_secs(60);

/// How long a running job is given to commit an epoch's secondaries before that is done for it.
const SECONDARY_PATIENCE: Duration = Duration::from_millis(500);

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// A savepoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Savepoint {
    version: u32,
    /// Which of the attempts to make it was the one.
    id: String,
    /// Its name, and that of its tags.
    pub name: String,
    /// When it was made: RFC 3339.
    pub created: String,
    /// The primary table.
    pub primary: TablePoint,
    /// The job's other tables.
    pub secondaries: Vec<TablePoint>,
    /// The job's progress at this point.
    pub progress: Progress,
}

/// A table at a savepoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TablePoint {
    /// `namespace.table`.
    pub name: String,
    /// The route that leads there; `None` of the primary table and of the dead letters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) route: Option<String>,
    pub(super) uuid: String,
    /// The snapshot that is tagged.
    pub snapshot_id: i64,
    /// Rows in it, row-level deletes not taken off.
    pub rows: u64,
    /// Those that the job's account does not know: of other writers, and of times before the account.
    pub(super) foreign_rows: i64,
}

impl Savepoint {
    /// The last epoch in it.
    pub(super) fn epoch(&self) -> Epoch {
        self.progress.epoch.unwrap_or(Epoch(0))
    }
}

fn property_name(job: &str, name: &str) -> String {
    format!("strandline.savepoint.{job}.{name}")
}

/// Checks that a savepoint may have this name.
///
/// # Errors
/// It may not; the hint says which may.
pub fn validate_name(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let is_good = name.len() <= NAME_CHARS_MAX
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(plain)
        && !name.eq_ignore_ascii_case("main");
    if is_good {
        return Ok(());
    }
    Err(
        Error::configuration(format!("`{name}` cannot be the name of a savepoint")).hint(format!(
            "letters, digits, `-`, `_` and `.`, beginning with a letter or digit, at most {NAME_CHARS_MAX} of them, and not `main`"
        )),
    )
}

/// The savepoint of this name, if the table has it.
pub(super) fn read(table: &Table, job: &str, name: &str) -> Result<Option<Savepoint>> {
    let property = property_name(job, name);
    let Some(json) = table.metadata().properties().get(&property) else {
        return Ok(None);
    };
    let table = table.identifier();
    let savepoint: Savepoint = serde_json::from_str(json).map_err(|e| {
        Error::refused(format!("cannot read `{property}` of table `{table}`: {e}"))
            .hint("the property was changed by hand, or a newer build wrote it; restore it, or run that build")
    })?;
    if savepoint.version > VERSION {
        return Err(Error::refused(format!(
            "savepoint `{name}` of table `{table}` has version {}, this build reads up to {VERSION}",
            savepoint.version
        ))
        .hint("run the newer build that wrote it"));
    }
    Ok(Some(savepoint))
}

/// The names of the job's savepoints in the table, oldest first.
pub(super) fn names(table: &Table, job: &str) -> Vec<String> {
    let prefix = property_name(job, "");
    let mut found: Vec<(String, String)> = table
        .metadata()
        .properties()
        .keys()
        .filter_map(|key| key.strip_prefix(&prefix))
        .filter_map(|name| Some((read(table, job, name).ok()??.created, name.to_owned())))
        .collect();
    found.sort();
    found.into_iter().map(|(_, name)| name).collect()
}

/// Rows of a snapshot, as its manifests count them.
pub(super) fn rows(catalog: &OpenCatalog, table: &Table, snapshot_id: i64) -> Result<u64> {
    let snapshot = table
        .metadata()
        .snapshot_by_id(snapshot_id)
        .ok_or_else(|| {
            Error::refused(format!(
                "table `{}` has no snapshot {snapshot_id} any more",
                table.identifier()
            ))
            .hint("it was expired by hand; another savepoint may still be there")
        })?;
    let reader = table.manifest_list_reader(snapshot);
    let list = catalog.ask("read the manifest list", async { reader.load().await })?;
    Ok(list
        .entries()
        .iter()
        .filter(|m| m.content == ManifestContentType::Data)
        .map(|m| m.added_rows_count.unwrap_or(0) + m.existing_rows_count.unwrap_or(0))
        .sum())
}

/// A table at a snapshot, of whose rows the job knows so many.
fn point(catalog: &OpenCatalog, table: &Table, snapshot_id: i64, known: u64) -> Result<TablePoint> {
    let rows = rows(catalog, table, snapshot_id)?;
    Ok(TablePoint {
        name: table.identifier().to_string(),
        route: None,
        uuid: table.metadata().uuid().to_string(),
        snapshot_id,
        rows,
        foreign_rows: rows as i64 - known as i64,
    })
}

impl IcebergConnector {
    /// Makes a savepoint of the job as its tables are, whether it runs or not.
    ///
    /// # Errors
    /// Configuration for a name that cannot be, or is in use, and for a job that has not run yet.
    pub fn savepoint(&self, settings: &JobSettings, name: &str) -> Result<Savepoint> {
        validate_name(name)?;
        let taking = Taking {
            catalog: &self.catalog,
            settings,
            name,
            id: Uuid::new_v4().simple().to_string(),
        };
        taking
            .take()
            .map_err(|e| e.context(format!("job {}", settings.name)))
    }
}

/// A savepoint being made.
struct Taking<'a> {
    catalog: &'a Arc<OpenCatalog>,
    settings: &'a JobSettings,
    name: &'a str,
    id: String,
}

impl Taking<'_> {
    fn take(&self) -> Result<Savepoint> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(savepoint) = self.attempt()? {
                self.align_tags(&savepoint)?;
                return Ok(savepoint);
            }
            if Instant::now() >= deadline {
                return Err(Error::unreachable(format!(
                    "found no point at which all tables of the job stand still, for {} s",
                    DEADLINE.as_secs()
                ))
                .hint("try again, or stop the job first: a savepoint needs no running job"));
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn nothing_yet(&self) -> Error {
        Error::configuration(format!(
            "there is nothing to save: table `{}` holds no progress of this job",
            self.settings.table
        ))
        .hint(format!(
            "run the job first: `strandline run {}`",
            self.settings.name
        ))
    }

    /// One look at the tables; `None` when they have moved meanwhile.
    fn attempt(&self) -> Result<Option<Savepoint>> {
        let (job, name) = (&self.settings.name, &self.settings.table);
        let ident = tables::ident(name)?;
        let primary = self
            .catalog
            .load_if_there(&ident)?
            .ok_or_else(|| self.nothing_yet())?;
        self.require_free(&primary)?;
        let metadata = primary.metadata();
        let progress =
            read_progress(&TableVersion::of(&primary), job)?.ok_or_else(|| self.nothing_yet())?;
        let snapshot_id = metadata
            .current_snapshot_id()
            .ok_or_else(|| self.nothing_yet())?;
        if progress.pending.is_some() && !self.settle(&primary, &progress)? {
            return Ok(None);
        }
        let account = progress.account();
        let mut secondaries = Vec::new();
        for SecondaryTable { name, route, .. } in self.settings.secondary_tables() {
            let Some(secondary) = self.find_secondary(name, &progress)? else {
                return Ok(None);
            };
            let (table, snapshot_id) = secondary;
            let known = progress.rows_of(route);
            let point = point(self.catalog, &table, snapshot_id, known)?;
            secondaries.push(TablePoint {
                route: route.map(str::to_owned),
                ..point
            });
        }
        let savepoint = Savepoint {
            version: VERSION,
            id: self.id.clone(),
            name: self.name.to_owned(),
            created: chrono::Utc::now()
                .format("%Y-%m-%dT%H:%M:%S%.3fZ")
                .to_string(),
            primary: point(self.catalog, &primary, snapshot_id, account.landed)?,
            secondaries,
            progress: Progress {
                // Rolled forward, and deleted by the job's next commit.
                pending: None,
                pending_tables: BTreeMap::new(),
                ..progress
            },
        };
        for secondary in &savepoint.secondaries {
            self.tag_secondary(&savepoint, secondary)?;
        }
        self.tag_primary(&savepoint)?;
        Ok(Some(savepoint))
    }

    /// Refuses a name that is in use in the primary.
    fn require_free(&self, primary: &Table) -> Result<()> {
        let other_name = "give it another name: `--name`";
        if let Some(savepoint) = read(primary, &self.settings.name, self.name)? {
            return Err(Error::configuration(format!(
                "the job has a savepoint `{}` already, of {}",
                self.name, savepoint.created
            ))
            .hint(other_name));
        }
        if primary.metadata().snapshot_for_ref(self.name).is_some() {
            return Err(Error::configuration(format!(
                "table `{}` has a branch or tag `{}` already, which is no savepoint of this job",
                primary.identifier(),
                self.name
            ))
            .hint(other_name));
        }
        Ok(())
    }

    /// Waits until the secondaries have what the committed epoch left for them, and sees to it when nobody
    /// does; `false` when the job has gone on meanwhile.
    fn settle(&self, primary: &Table, progress: &Progress) -> Result<bool> {
        let deadline = Instant::now() + SECONDARY_PATIENCE;
        while Instant::now() < deadline {
            let mut lacking = false;
            for (name, epoch) in &progress.pending_tables {
                lacking |= !self.has_epoch(name, *epoch, progress)?;
            }
            // Earlier builds did not say which tables a pending file is for.
            if !lacking && !progress.pending_tables.is_empty() {
                return Ok(true);
            }
            std::thread::sleep(PAUSE);
        }
        match pending::recover(self.catalog, primary, progress) {
            Ok(_) => Ok(true),
            // The job is past this epoch, and its pending file gone.
            Err(error) => {
                let now = self.catalog.load(primary.identifier())?;
                let found = read_progress(&TableVersion::of(&now), &self.settings.name)?;
                match found {
                    Some(found) if found == *progress => Err(error),
                    _ => Ok(false),
                }
            }
        }
    }

    /// Whether a secondary has come to an epoch.
    fn has_epoch(&self, name: &str, epoch: Epoch, progress: &Progress) -> Result<bool> {
        let Some(table) = self.catalog.load_if_there(&tables::ident(name)?)? else {
            return Ok(false);
        };
        let version = TableVersion::of(&table);
        let mark = Mark::read(&version, &progress.job, &progress.table_uuid)?;
        Ok(mark.is_some_and(|mark| mark.epoch >= epoch))
    }

    /// The secondary, and its snapshot of the progress' epoch; `None` when it cannot be told (any more).
    fn find_secondary(&self, name: &str, progress: &Progress) -> Result<Option<(Table, i64)>> {
        let ident = tables::ident(name)?;
        let Some(mut table) = self.catalog.load_if_there(&ident)? else {
            return Err(
                Error::configuration(format!("table `{name}` of the job does not exist"))
                    .hint("run the job once, it creates its tables"),
            );
        };
        if table.metadata().current_snapshot().is_none() {
            table = self.first_snapshot(table, progress)?;
        }
        let snapshot_id = snapshot_of(table.metadata(), &self.settings.name, progress.epoch);
        Ok(snapshot_id.map(|id| (table, id)))
    }

    /// Gives an empty table a snapshot, for there is nothing else that could be tagged.
    fn first_snapshot(&self, table: Table, progress: &Progress) -> Result<Table> {
        let mut open = OpenTable::new(Arc::clone(self.catalog), table);
        open.append_once(|base| {
            if base.metadata().current_snapshot().is_some() {
                return Ok(Verdict::Done);
            }
            Ok(Verdict::Append(Append {
                job: progress.job.clone(),
                files: Vec::new(),
                summary: [(summary::JOB.to_owned(), progress.job.clone())].into(),
                ..Append::default()
            }))
        })?;
        Ok(open.table().clone())
    }

    fn tag_primary(&self, savepoint: &Savepoint) -> Result<()> {
        let ident = tables::ident(&savepoint.primary.name)?;
        let json = serde_json::to_string(savepoint)
            .map_err(|e| Error::internal(format!("cannot write a savepoint: {e}")))?;
        let job = &self.settings.name;
        let tagged = change(self.catalog, &ident, |table| {
            if let Some(found) = read(table, job, self.name)?
                && found.id == savepoint.id
            {
                return Ok(None);
            }
            self.require_free(table)?;
            let properties = HashMap::from([(property_name(job, self.name), json.clone())]);
            let snapshot_id = savepoint.primary.snapshot_id;
            // Not the branch: the tag is right wherever that has gone meanwhile.
            tag(table, self.name, snapshot_id, properties).map(Some)
        });
        if let Err(error) = tagged {
            // Another attempt under this name was quicker, and ours has moved its tags.
            if error.kind() == ErrorKind::Configuration
                && let Some(found) = read(&self.catalog.load(&ident)?, job, self.name)?
            {
                self.align_tags(&found)?;
            }
            return Err(error);
        }
        Ok(())
    }

    fn tag_secondary(&self, savepoint: &Savepoint, point: &TablePoint) -> Result<()> {
        let job = &self.settings.name;
        let property_name = property_name(job, self.name);
        let ours = SecondaryTag {
            version: VERSION,
            id: savepoint.id.clone(),
            primary_uuid: savepoint.primary.uuid.clone(),
            snapshot_id: point.snapshot_id,
        };
        let json = serde_json::to_string(&ours)
            .map_err(|e| Error::internal(format!("cannot write a savepoint: {e}")))?;
        change(self.catalog, &tables::ident(&point.name)?, |table| {
            let metadata = table.metadata();
            let known = metadata.properties().get(&property_name);
            let known = known.and_then(|json| serde_json::from_str::<SecondaryTag>(json).ok());
            let tagged = metadata.snapshot_for_ref(self.name);
            if let Some(tagged) = tagged {
                match &known {
                    Some(known) if *known == ours && tagged.snapshot_id() == point.snapshot_id => {
                        return Ok(None);
                    }
                    // What an attempt left behind that ended before the primary's commit.
                    Some(known) if known.primary_uuid == ours.primary_uuid => {}
                    _ => {
                        return Err(Error::configuration(format!(
                            "table `{}` has a branch or tag `{}` already, which is no savepoint of this job",
                            point.name, self.name
                        ))
                        .hint("give it another name: `--name`"));
                    }
                }
            }
            let properties = HashMap::from([(property_name.clone(), json.clone())]);
            tag(table, self.name, point.snapshot_id, properties).map(Some)
        })?;
        Ok(())
    }

    /// Sees to it that the tags of the secondaries are those of the savepoint that was made: two attempts
    /// under one name may have crossed.
    fn align_tags(&self, savepoint: &Savepoint) -> Result<()> {
        for secondary in &savepoint.secondaries {
            self.tag_secondary(savepoint, secondary)?;
        }
        Ok(())
    }
}

/// What a secondary says of a tag: whose it is.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SecondaryTag {
    version: u32,
    id: String,
    primary_uuid: String,
    snapshot_id: i64,
}

/// A change that sets a tag and properties, if the tag is as it was found.
fn tag(
    table: &Table,
    name: &str,
    snapshot_id: i64,
    properties: HashMap<String, String>,
) -> Result<Change> {
    let metadata = table.metadata();
    if metadata.snapshot_by_id(snapshot_id).is_none() {
        return Err(Error::unreachable(format!(
            "snapshot {snapshot_id} of table `{}` was expired while it was to be tagged",
            table.identifier()
        ))
        .hint("try again"));
    }
    Ok(Change {
        requirements: vec![
            TableRequirement::UuidMatch {
                uuid: metadata.uuid(),
            },
            TableRequirement::RefSnapshotIdMatch {
                r#ref: name.to_owned(),
                snapshot_id: metadata.snapshot_for_ref(name).map(|s| s.snapshot_id()),
            },
        ],
        updates: vec![
            TableUpdate::SetSnapshotRef {
                ref_name: name.to_owned(),
                reference: SnapshotReference::new(
                    snapshot_id,
                    SnapshotRetention::Tag {
                        max_ref_age_ms: None,
                    },
                ),
            },
            TableUpdate::SetProperties {
                updates: properties,
            },
        ],
    })
}

/// The last snapshot on the main branch before any of the job's epochs after `epoch`; `None` when there is
/// none, or it is expired.
pub(super) fn snapshot_of(
    metadata: &TableMetadata,
    job: &str,
    epoch: Option<Epoch>,
) -> Option<i64> {
    let head = metadata.current_snapshot()?;
    let mut found = Some(head.snapshot_id());
    for id in ancestry(metadata, head.snapshot_id()) {
        let snapshot = metadata.snapshot_by_id(id)?;
        let of = snapshot.summary().additional_properties.get(summary::EPOCH);
        let later = of
            .and_then(|e| e.parse().ok())
            .is_some_and(|e| Some(Epoch(e)) > epoch);
        if says(snapshot, summary::JOB, job) && later {
            found = snapshot.parent_snapshot_id();
        }
    }
    found.filter(|&id| metadata.snapshot_by_id(id).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_savepoint_is_named_by_letters_and_digits() {
        for name in ["a", "before-upgrade", "20261121T140501Z", "v1.2_b"] {
            validate_name(name).expect(name);
        }
        let long = "x".repeat(NAME_CHARS_MAX + 1);
        for name in ["", "main", "-a", "a b", "a/b", "ä", ".", &long] {
            let error = validate_name(name).expect_err(name);
            assert_eq!(error.kind(), ErrorKind::Configuration);
        }
    }
}
