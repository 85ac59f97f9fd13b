//! Files that no version of a table refers to, and that nobody can commit any more: removed at start, once
//! the generation is claimed, because only then is every earlier writer of this job fenced.
//!
//! - data files of earlier generations above the last epoch that the generation committed (aborted epochs);
//! - pending files that the progress does not name;
//! - manifests and manifest lists of this job that no snapshot refers to, and metadata files that fell off
//!   the log, both older than the grace period.
//!
//! All by names that only this job writes. Failures are logged: orphans cost space, not correctness.

use std::collections::{HashMap, HashSet};
use std::fs::DirEntry;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use iceberg::MetadataLocation;
use iceberg::spec::{FormatVersion, ManifestList, TableMetadata};
use iceberg::table::Table;
use strandline_operators::progress::Progress;
use strandline_operators::time::Epoch;
use uuid::Uuid;

use super::description::TablesDescription;
use super::files::DataFileName;
use super::litter::GRACE_MS;
use super::location;
use super::pending;
use super::producer::{deletion_allowed, own_prefix};

/// Names looked at in one folder tree, at most: a start must not take minutes on a large table. The
/// folders that changed last come first, and aborted epochs are in those.
const NAMES_MAX: usize = 200_000;

/// Removes them from all of the job's tables.
pub(super) fn remove<'a>(
    description: &TablesDescription,
    progress: &Progress,
    primary: &'a Table,
    secondaries: impl Iterator<Item = &'a Table>,
) {
    let mut removed = 0;
    for (described, table) in description
        .tables
        .iter()
        .zip(std::iter::once(primary).chain(secondaries))
    {
        if !deletion_allowed(table.metadata()) {
            continue;
        }
        if let Some(folder) = location::local_path(&described.data_location) {
            removed += remove_aborted(&folder, progress);
        }
        if let Some(folder) =
            location::local_path(&format!("{}/metadata", table.metadata().location()))
        {
            removed += remove_metadata(&folder, table, progress);
        }
    }
    if removed > 0 {
        tracing::info!(job = %progress.job, removed, "removed files that earlier runs left behind");
    }
}

/// Whether a data file belongs to an epoch that was aborted and can never be committed.
///
/// The progress judges only files of epochs that it counts itself: those with its table's UUID in their
/// name. A dead-letter table, or a folder, may hold rows of another primary, whose generations are others.
fn is_aborted(file: &DataFileName, progress: &Progress, last_epochs: &HashMap<u32, Epoch>) -> bool {
    let generation = file.epoch.generation();
    // From before a return to a savepoint: the history of generations has forgotten what was committed
    // since, and another savepoint may still refer to it.
    let restored = progress.restored.as_ref();
    if restored.is_some_and(|restored| generation < restored.generation) {
        return false;
    }
    file.job == progress.job
        && Uuid::parse_str(&progress.table_uuid).is_ok_and(|uuid| file.primary == uuid)
        && generation < progress.generation()
        // A generation too old to be remembered is left alone: nobody knows how far it came.
        && last_epochs.get(&generation).is_some_and(|last| file.epoch > *last)
}

fn remove_aborted(data: &Path, progress: &Progress) -> usize {
    let last_epochs = progress
        .generations
        .iter()
        .map(|g| (g.generation, g.last_epoch))
        .collect();
    let mut folders: Vec<(SystemTime, PathBuf)> = entries(data)
        .filter(|entry| entry.path().is_dir())
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    folders.sort_by(|a, b| b.cmp(a));
    folders
        .into_iter()
        .flat_map(|(_, folder)| entries(&folder).collect::<Vec<_>>())
        .take(NAMES_MAX)
        .filter(|entry| {
            entry
                .file_name()
                .to_str()
                .and_then(DataFileName::parse)
                .is_some_and(|name| is_aborted(&name, progress, &last_epochs))
        })
        .filter(|entry| delete(&entry.path()))
        .count()
}

fn remove_metadata(folder: &Path, table: &Table, progress: &Progress) -> usize {
    let metadata = table.metadata();
    let Some(reachable) = reachable(metadata) else {
        return 0;
    };
    let log: HashSet<&str> = metadata
        .metadata_log()
        .iter()
        .map(|log| log.metadata_file.as_str())
        .collect();
    let oldest_version = metadata
        .metadata_log()
        .first()
        .and_then(|log| version(&log.metadata_file));
    let current = table.metadata_location().unwrap_or_default();
    let manifests = own_prefix(&progress.job);
    let pending = pending::own_prefix(&progress.job);
    let base = format!("{}/metadata", metadata.location());
    entries(folder)
        .take(NAMES_MAX)
        .filter(|entry| {
            let name = entry.file_name();
            let Some(name) = name.to_str() else {
                return false;
            };
            let place = format!("{base}/{name}");
            if name.starts_with(&pending) {
                // A pending file of the generation before is either named or was never committed.
                return progress.pending.as_ref() != Some(&place);
            }
            if name.starts_with(&manifests) {
                return !reachable.contains(&place) && is_past_grace(entry);
            }
            match (version(&place), oldest_version) {
                (Some(version), Some(oldest)) => {
                    version < oldest
                        && place != current
                        && !log.contains(place.as_str())
                        && is_past_grace(entry)
                }
                _ => false,
            }
        })
        .filter(|entry| delete(&entry.path()))
        .count()
}

/// The number in a metadata file's name.
fn version(place: &str) -> Option<u32> {
    MetadataLocation::from_str(place).ok()?;
    place.rsplit('/').next()?.split('-').next()?.parse().ok()
}

/// Every manifest list and manifest that a snapshot refers to; `None` when one cannot be read.
pub(super) fn reachable(metadata: &TableMetadata) -> Option<HashSet<String>> {
    let mut reachable = HashSet::new();
    for snapshot in metadata.snapshots() {
        let list = snapshot.manifest_list();
        let bytes = std::fs::read(location::local_path(list)?).ok()?;
        let manifests = ManifestList::parse_with_version(&bytes, FormatVersion::V2).ok()?;
        reachable.extend(manifests.entries().iter().map(|m| m.manifest_path.clone()));
        reachable.insert(list.to_owned());
    }
    Some(reachable)
}

fn is_past_grace(entry: &DirEntry) -> bool {
    entry
        .metadata()
        .and_then(|m| m.modified())
        .ok()
        .and_then(|modified| modified.elapsed().ok())
        .is_some_and(|age| age > Duration::from_millis(GRACE_MS))
}

fn entries(folder: &Path) -> impl Iterator<Item = DirEntry> {
    std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
}

fn delete(path: &Path) -> bool {
    match std::fs::remove_file(path) {
        Ok(()) => true,
        Err(e) => {
            tracing::warn!(path = %path.display(), error = %e, "cannot remove a file that an earlier run left behind");
            false
        }
    }
}
