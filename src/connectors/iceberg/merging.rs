//! Merges small manifests, beside the commits.
//!
//! A commit a second writes a manifest a second. Without merging, the manifest list, which every commit
//! writes anew, grows by 129 bytes a commit (464 KB after an hour, 11 MB after a day). So manifests are
//! merged in tiers: [`MERGE_FAN`] of up to [`MERGE_FAN`] entries into one, and `MERGE_FAN` of those again,
//! up to [`MERGED_ENTRIES_MAX`]. An entry is written at most three times in its life.
//!
//! Reading fifty manifests takes longer than a commit may: a fifth of a second from a local disk. Manifests never
//! change, so one of their entries can be written while commits go on, and the next commit puts it in their place:
//! if the table still refers to all of them, else it is litter.

use std::collections::HashSet;

use iceberg::Result;
use iceberg::spec::{ManifestContentType, ManifestFile, ManifestWriterBuilder};
use iceberg::table::Table;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::blocking::Blocking;
use super::producer::own_prefix;

/// How many manifests of one tier are merged into one.
const MERGE_FAN: usize = 50;

/// Entries of a merged manifest, at most. Reading and writing one costs tens of microseconds an entry.
const MERGED_ENTRIES_MAX: u64 = 10_000;

/// Commits that a merge may take; the next one waits for it, so that they do not outrun it for ever.
const COMMITS_MEANWHILE_MAX: usize = 2 * MERGE_FAN;

/// A manifest that holds the entries of others. No version of the table refers to it yet.
#[derive(Clone, Debug)]
pub(super) struct Merged {
    manifest: ManifestFile,
    /// The paths of those whose entries it holds.
    pub replaced: Vec<String>,
}

impl Merged {
    /// Where it is.
    pub fn path(&self) -> &str {
        &self.manifest.manifest_path
    }

    /// Whether all that it replaces is among these.
    pub fn fits(&self, manifests: &[ManifestFile]) -> bool {
        let there: HashSet<&str> = manifests.iter().map(|m| m.manifest_path.as_str()).collect();
        self.replaced
            .iter()
            .all(|path| there.contains(path.as_str()))
    }

    /// Takes the place of what it replaces, as a part of a snapshot.
    pub fn replace(
        &self,
        manifests: &mut Vec<ManifestFile>,
        snapshot_id: i64,
        sequence_number: i64,
    ) {
        let replaced: HashSet<&str> = self.replaced.iter().map(String::as_str).collect();
        manifests.retain(|m| !replaced.contains(m.manifest_path.as_str()));
        let mut manifest = self.manifest.clone();
        manifest.added_snapshot_id = snapshot_id;
        manifest.sequence_number = sequence_number;
        manifests.push(manifest);
    }
}

/// The merging of one table's manifests, one merge at a time.
#[derive(Debug, Default)]
pub(super) struct Merging {
    running: Option<JoinHandle<Result<Merged>>>,
    /// Attempts at a commit since it runs.
    meanwhile: usize,
    /// Until a commit with it is known to have happened.
    done: Option<Merged>,
    /// Whether it was part of an attempt at a commit. Such an attempt may have been applied without our hearing of it.
    is_sent: bool,
}

impl Merging {
    /// Begins a merge on `runtime`, if enough has gathered and none is under way.
    pub fn begin(
        &mut self,
        runtime: &Handle,
        table: &Table,
        job: &str,
        manifests: &[ManifestFile],
    ) {
        if self.running.is_some() || self.done.is_some() {
            return;
        }
        if let Some(picked) = pick(manifests, table.metadata().default_partition_spec_id()) {
            let path = format!(
                "{}/metadata/{}{}-merged.avro",
                table.metadata().location(),
                own_prefix(job),
                Uuid::now_v7()
            );
            self.meanwhile = 0;
            self.is_sent = false;
            self.running = Some(runtime.spawn(merge(table.clone(), path, picked)));
        }
    }

    /// What is merged, for a commit on top of these manifests. Waits for a merge that takes too long. The
    /// second is what was merged, does not fit them any more, and was never part of an attempt: nothing refers to it, or will.
    /// What was part of one is left to the removal of orphans at the next start, which looks at every snapshot.
    pub fn merged(
        &mut self,
        blocking: &Blocking,
        manifests: &[ManifestFile],
    ) -> (Option<Merged>, Option<String>) {
        self.meanwhile += 1;
        let is_done = |running: &JoinHandle<_>| running.is_finished();
        if self.running.as_ref().is_some_and(is_done) || self.meanwhile > COMMITS_MEANWHILE_MAX {
            self.done = self.end(blocking).or(self.done.take());
        }
        match self.done.take() {
            Some(merged) if merged.fits(manifests) => {
                self.done = Some(merged.clone());
                self.is_sent = true;
                (Some(merged), None)
            }
            Some(merged) if !self.is_sent => (None, Some(merged.manifest.manifest_path)),
            _ => (None, None),
        }
    }

    /// Takes over that the table refers to these manifests now.
    pub fn committed(&mut self, manifests: &[ManifestFile]) {
        let is_there = |merged: &Merged| manifests.iter().any(|m| m.manifest_path == merged.path());
        if self.done.as_ref().is_some_and(is_there) {
            self.done = None;
        }
    }

    /// Waits for the merge that is under way. One that failed is begun again after the next commit.
    fn end(&mut self, blocking: &Blocking) -> Option<Merged> {
        let running = self.running.take()?;
        let waited = blocking.wait(running).map_err(|error| error.to_string());
        let merged = waited
            .and_then(|joined| joined.map_err(|error| error.to_string()))
            .and_then(|merged| merged.map_err(|error| error.to_string()));
        match merged {
            Ok(merged) => Some(merged),
            Err(error) => {
                tracing::warn!(error, "manifests could not be merged");
                None
            }
        }
    }
}

/// Writes one manifest with the entries of the picked ones.
async fn merge(table: Table, path: String, picked: Vec<ManifestFile>) -> Result<Merged> {
    let metadata = table.metadata();
    let output = table.file_io().new_output(&path)?;
    let schema = metadata.current_schema().clone();
    let spec = metadata.default_partition_spec().as_ref().clone();
    // Which snapshot adds it is not known yet; its entries name those that added them.
    let mut writer = ManifestWriterBuilder::new(output, None, schema, spec).build_v2_data();
    for picked in &picked {
        let manifest = picked.load_manifest(table.file_io()).await?;
        for entry in manifest.entries().iter().filter(|entry| entry.is_alive()) {
            let unassigned = || {
                iceberg::Error::new(
                    iceberg::ErrorKind::DataInvalid,
                    format!(
                        "a committed entry of `{}` has no sequence number",
                        picked.manifest_path
                    ),
                )
            };
            writer.add_existing_file(
                entry.data_file().clone(),
                entry.snapshot_id().ok_or_else(unassigned)?,
                entry.sequence_number().ok_or_else(unassigned)?,
                entry.file_sequence_number,
            )?;
        }
    }
    Ok(Merged {
        manifest: writer.write_manifest_file().await?,
        replaced: picked.into_iter().map(|m| m.manifest_path).collect(),
    })
}

/// The manifests to merge: the lowest tier that is full.
fn pick(manifests: &[ManifestFile], spec_id: i32) -> Option<Vec<ManifestFile>> {
    let fan = MERGE_FAN as u64;
    for (low, high) in [(1, fan), (fan, fan * fan)] {
        let mut picked = Vec::new();
        let mut total = 0;
        for manifest in manifests {
            let (Some(added), Some(existing), Some(0)) = (
                manifest.added_files_count,
                manifest.existing_files_count,
                manifest.deleted_files_count,
            ) else {
                continue;
            };
            let entries = u64::from(added) + u64::from(existing);
            let plain = manifest.content == ManifestContentType::Data
                && manifest.partition_spec_id == spec_id
                && manifest.key_metadata.is_none();
            if plain && (low..high).contains(&entries) && total + entries <= MERGED_ENTRIES_MAX {
                total += entries;
                picked.push(manifest);
            }
        }
        if picked.len() >= MERGE_FAN {
            return Some(picked.into_iter().cloned().collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(number: usize, entries: u32) -> ManifestFile {
        ManifestFile {
            manifest_path: format!("m{number}"),
            manifest_length: 1,
            partition_spec_id: 0,
            content: ManifestContentType::Data,
            sequence_number: 1,
            min_sequence_number: 1,
            added_snapshot_id: 1,
            added_files_count: Some(entries),
            existing_files_count: Some(0),
            deleted_files_count: Some(0),
            added_rows_count: Some(1),
            existing_rows_count: Some(0),
            deleted_rows_count: Some(0),
            partitions: None,
            key_metadata: None,
            first_row_id: None,
        }
    }

    fn small(count: usize) -> Vec<ManifestFile> {
        (0..count).map(|number| manifest(number, 1)).collect()
    }

    #[test]
    fn manifests_are_merged_only_when_a_tier_is_full() {
        let mut manifests = small(MERGE_FAN - 1);
        assert_eq!(pick(&manifests, 0), None);
        manifests.push(manifest(100, 2_500));
        assert_eq!(pick(&manifests, 0), None, "another tier does not count");
        manifests.push(manifest(101, 3));
        let picked = pick(&manifests, 0).expect("full");
        assert_eq!(picked.len(), MERGE_FAN);
        assert!(
            picked.iter().all(|m| m.manifest_path != "m100"),
            "the big one stays"
        );
    }

    #[test]
    fn manifests_with_deletions_or_of_another_partitioning_are_left_alone() {
        let mut manifests = small(MERGE_FAN);
        manifests[0].deleted_files_count = Some(1);
        assert_eq!(pick(&manifests, 0), None);
        manifests[0].deleted_files_count = Some(0);
        assert!(pick(&manifests, 0).is_some());
        assert_eq!(pick(&manifests, 1), None);
        manifests[0].content = ManifestContentType::Deletes;
        assert_eq!(pick(&manifests, 0), None);
    }

    #[test]
    fn a_merged_manifest_replaces_what_it_holds_or_nothing() {
        let merged = Merged {
            manifest: manifest(100, 2),
            replaced: vec!["m0".to_owned(), "m2".to_owned()],
        };
        let mut manifests = small(4);
        assert!(merged.fits(&manifests));
        merged.replace(&mut manifests, 7, 9);
        let paths: Vec<&str> = manifests.iter().map(|m| m.manifest_path.as_str()).collect();
        assert_eq!(paths, ["m1", "m3", "m100"]);
        assert_eq!(manifests[2].added_snapshot_id, 7);
        assert_eq!(manifests[2].sequence_number, 9);
        assert!(!merged.fits(&manifests), "it is done");
        // Somebody has rewritten one of them since.
        assert!(!merged.fits(&small(4)[1..]));
    }

    fn done(merged: Merged) -> Merging {
        Merging {
            done: Some(merged),
            ..Merging::default()
        }
    }

    #[test]
    fn what_may_be_in_a_snapshot_is_no_litter() {
        let blocking = Blocking::new().expect("a runtime");
        let merged = Merged {
            manifest: manifest(100, 2),
            replaced: vec!["m0".to_owned(), "m2".to_owned()],
        };
        // An attempt with it that was applied after another one was begun: its own manifests are not those we know of.
        let mut merging = done(merged.clone());
        let (handed_out, _) = merging.merged(&blocking, &small(4));
        assert!(handed_out.is_some());
        let mut applied = small(4);
        merged.replace(&mut applied, 7, 9);
        let (again, litter) = merging.merged(&blocking, &applied);
        assert!(again.is_none());
        assert_eq!(litter, None, "the table refers to it");
        // The same, and somebody has rewritten it since: an older snapshot still refers to it.
        let mut merging = done(merged.clone());
        let _ = merging.merged(&blocking, &small(4));
        let (_, litter) = merging.merged(&blocking, &[manifest(101, 4)]);
        assert_eq!(litter, None, "a snapshot refers to it");
        // What was in no attempt is in no snapshot.
        let (_, litter) = done(merged).merged(&blocking, &small(4)[1..]);
        assert_eq!(litter.as_deref(), Some("m100"));
    }
}
