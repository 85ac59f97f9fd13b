//! Files that no version of a table refers to, and that nobody can commit any more: removed at start, once
//! the generation is claimed, because only then is every earlier writer of this job fenced.
//!
//! - data files of earlier generations above the last epoch that the generation committed (aborted epochs);
//! - pending files that the progress does not name;
//! - manifests and manifest lists of this job that no snapshot refers to, and metadata files that fell off
//!   the log, both older than the grace period.
//!
//! All by names that only this job writes. Locations are compared by where they lead, not as text: somebody may have given
//! the table its location in another spelling. Failures are logged: orphans cost space, not correctness.

use std::collections::{HashMap, HashSet};
use std::str::FromStr;
use std::time::Duration;

use iceberg::MetadataLocation;
use iceberg::spec::{FormatVersion, ManifestList, TableMetadata};
use iceberg::table::Table;
use strandline_operators::progress::Progress;
use strandline_operators::time::Epoch;
use uuid::Uuid;

use super::description::TablesDescription;
use super::files::DataFileName;
use super::litter::GRACE_MS;
use super::location::Place;
use super::pending;
use super::producer::{deletion_allowed, own_prefix};
use super::store::{Fault, Listed, Store};

/// Names looked at in one folder tree, at most: a start must not take minutes on a large table. The newest
/// folders come first, and aborted epochs are in those. Of an object store the store itself lists fewer.
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
        let store = Store::of(table.file_io());
        removed += remove_aborted(&store, &described.data_location, progress);
        removed += remove_metadata(&store, table, progress);
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

fn remove_aborted(store: &Store, data: &str, progress: &Progress) -> usize {
    let last_epochs = progress
        .generations
        .iter()
        .map(|g| (g.generation, g.last_epoch))
        .collect();
    let aborted = found(data, store.list_folders(data, NAMES_MAX)).filter(|file| {
        DataFileName::parse(file.name())
            .is_some_and(|name| is_aborted(&name, progress, &last_epochs))
    });
    delete(store, aborted)
}

fn remove_metadata(store: &Store, table: &Table, progress: &Progress) -> usize {
    let metadata = table.metadata();
    let Some(reachable) = reachable(store, metadata) else {
        return 0;
    };
    let log = metadata.metadata_log().iter().map(|log| &log.metadata_file);
    let Some(log) = log
        .map(|file| Place::of(file))
        .collect::<Option<HashSet<_>>>()
    else {
        return 0;
    };
    let oldest_version = metadata
        .metadata_log()
        .first()
        .and_then(|log| version(&log.metadata_file));
    let current = table.metadata_location().and_then(Place::of);
    let manifests = own_prefix(&progress.job);
    let pending = pending::own_prefix(&progress.job);
    let named = progress.pending.as_deref().and_then(Place::of);
    let folder = format!("{}/metadata", metadata.location());
    let listed = found(&folder, store.list(&folder)).take(NAMES_MAX);
    let left_behind = listed.filter(|file| {
        let name = file.name();
        let Some(place) = Place::of(&file.location) else {
            return false;
        };
        if name.starts_with(&pending) {
            // A pending file of the generation before is either named or was never committed.
            return named.as_ref() != Some(&place);
        }
        if name.starts_with(&manifests) {
            return !reachable.contains(&place) && is_past_grace(file);
        }
        match (version(&file.location), oldest_version) {
            (Some(version), Some(oldest)) => {
                version < oldest
                    && current.as_ref() != Some(&place)
                    && !log.contains(&place)
                    && is_past_grace(file)
            }
            _ => false,
        }
    });
    delete(store, left_behind)
}

/// The number in a metadata file's name.
fn version(place: &str) -> Option<u32> {
    MetadataLocation::from_str(place).ok()?;
    place.rsplit('/').next()?.split('-').next()?.parse().ok()
}

/// Where every manifest list and manifest is that a snapshot refers to; `None` when one cannot be read.
pub(super) fn reachable(store: &Store, metadata: &TableMetadata) -> Option<HashSet<Place>> {
    let lists = metadata.snapshots().map(|s| s.manifest_list());
    let lists: Vec<&str> = lists.collect();
    let mut reachable = HashSet::new();
    for (list, bytes) in lists.iter().zip(store.read_all(&lists).ok()?) {
        let manifests = ManifestList::parse_with_version(&bytes?, FormatVersion::V2).ok()?;
        for manifest in manifests.entries() {
            reachable.insert(Place::of(&manifest.manifest_path)?);
        }
        reachable.insert(Place::of(list)?);
    }
    Some(reachable)
}

fn is_past_grace(file: &Listed) -> bool {
    let age = file.written.and_then(|written| written.elapsed().ok());
    age.is_some_and(|age| age > Duration::from_millis(GRACE_MS))
}

fn found(folder: &str, listed: Result<Vec<Listed>, Fault>) -> impl Iterator<Item = Listed> {
    let listed = listed.unwrap_or_else(|fault| {
        tracing::warn!(folder, error = %fault, "cannot look for files that earlier runs left behind");
        Vec::new()
    });
    listed.into_iter()
}

/// Deletes files; returns how many are gone.
fn delete(store: &Store, files: impl Iterator<Item = Listed>) -> usize {
    let locations: Vec<String> = files.map(|file| file.location).collect();
    let asked = locations.len();
    let failed = store.delete_all(locations);
    for (location, fault) in &failed {
        tracing::warn!(location, error = %fault, "cannot remove a file that an earlier run left behind");
    }
    asked - failed.len()
}
