//! Builds snapshots: an append of data files to exactly one version of a table, with everything that goes
//! into the same commit: summary, properties, expiry of old snapshots, manifests that were merged meanwhile.

use std::collections::{HashMap, HashSet};

use iceberg::spec::{
    DataFile, MAIN_BRANCH, ManifestFile, ManifestListWriter, ManifestWriter, ManifestWriterBuilder,
    Operation, Snapshot, SnapshotRef, SnapshotReference, SnapshotRetention,
    SnapshotSummaryCollector, Summary, TableMetadata, UNASSIGNED_SEQUENCE_NUMBER,
};
use iceberg::table::Table;
use iceberg::{Result, TableUpdate};
use strandline_operators::landing::table::Append;
use uuid::Uuid;

use super::merging::Merged;
use super::pointer::Change;

/// Snapshots kept on the main branch. At 731 bytes each in the metadata file, which every commit writes
/// anew, 100 cost 73 KB and about 2 ms a commit.
pub(super) const SNAPSHOTS_KEPT: usize = 100;

/// Snapshots above [`SNAPSHOTS_KEPT`] before they are expired, together.
pub(super) const EXPIRY_BATCH: usize = 20;

/// A snapshot ready to be committed: its files are written and durable, nobody refers to them yet.
#[derive(Debug)]
pub(super) struct Produced {
    /// What to send to the catalog.
    pub change: Change,
    /// The snapshot's id.
    pub snapshot_id: i64,
    /// Its sequence number.
    pub sequence_number: i64,
    /// Its manifests, so that the next append need not read them back.
    pub manifests: Vec<ManifestFile>,
    /// Metadata files written; garbage if the commit does not happen.
    pub written: Vec<String>,
    /// Manifests that it no longer refers to, because they were merged.
    pub replaced: Vec<String>,
    /// Manifest lists of the snapshots that it expires.
    pub expired_lists: Vec<String>,
}

/// Writes the manifests and the manifest list of an append to `base`.
///
/// `files` are the append's data files. `manifests` are those of the base's current snapshot, and `merged` is one that
/// fits them.
pub(super) async fn produce(
    base: &Table,
    append: &Append,
    files: &[DataFile],
    manifests: Vec<ManifestFile>,
    merged: Option<&Merged>,
) -> Result<Produced> {
    let parent = base.metadata().current_snapshot();
    let expiry = expiry(base.metadata());
    produce_on(base, parent, append, files, (manifests, merged), expiry).await
}

/// The manifests of a snapshot.
pub(super) async fn manifests_of(
    base: &Table,
    snapshot: &SnapshotRef,
) -> Result<Vec<ManifestFile>> {
    let list = base.manifest_list_reader(snapshot).load().await?;
    Ok(list.consume_entries().into_iter().collect())
}

/// As [`produce`], but on top of an earlier snapshot, which takes the main branch back to it: what came
/// after is no longer an ancestor. The branch itself is never set to a snapshot that it was at before,
/// so whatever was made for that one does not fit again.
pub(super) async fn produce_back_on(
    base: &Table,
    snapshot_id: i64,
    append: &Append,
) -> Result<Produced> {
    let parent = base.metadata().snapshot_by_id(snapshot_id);
    let retention = refs(base.metadata())
        .and_then(|refs| refs.get(MAIN_BRANCH).map(|main| main.retention.clone()));
    let manifests = match parent {
        Some(parent) => manifests_of(base, parent).await?,
        None => Vec::new(),
    };
    produce_on(
        base,
        parent,
        append,
        &[],
        (manifests, None),
        (Vec::new(), retention),
    )
    .await
}

async fn produce_on(
    base: &Table,
    parent: Option<&SnapshotRef>,
    append: &Append,
    files: &[DataFile],
    (mut manifests, merged): (Vec<ManifestFile>, Option<&Merged>),
    (expired, retention): (Vec<i64>, Option<SnapshotRetention>),
) -> Result<Produced> {
    let metadata = base.metadata();
    let parent_id = parent.map(|snapshot| snapshot.snapshot_id());
    let mut writing = Writing {
        base,
        parent_id,
        snapshot_id: new_snapshot_id(metadata),
        sequence_number: metadata.next_sequence_number(),
        name: format!("{}{}", own_prefix(&append.job), Uuid::now_v7()),
        written: Vec::new(),
    };
    if let Some(merged) = merged {
        merged.replace(&mut manifests, writing.snapshot_id, writing.sequence_number);
    }
    if !files.is_empty() {
        manifests.push(writing.added_manifest(files).await?);
    }
    let list = writing.manifest_list(&manifests).await?;

    let snapshot = Snapshot::builder()
        .with_snapshot_id(writing.snapshot_id)
        .with_parent_snapshot_id(parent_id)
        .with_sequence_number(writing.sequence_number)
        // Never behind the table's own clock: a snapshot a minute older than the last is refused.
        .with_timestamp_ms(
            chrono::Utc::now()
                .timestamp_millis()
                .max(metadata.last_updated_ms()),
        )
        .with_manifest_list(list)
        .with_summary(summary(base, parent, append, files))
        .with_schema_id(metadata.current_schema_id())
        .build();
    let mut updates = Vec::new();
    for &snapshot_id in &expired {
        if metadata.statistics_for_snapshot(snapshot_id).is_some() {
            updates.push(TableUpdate::RemoveStatistics { snapshot_id });
        }
        if metadata
            .partition_statistics_for_snapshot(snapshot_id)
            .is_some()
        {
            updates.push(TableUpdate::RemovePartitionStatistics { snapshot_id });
        }
    }
    let expired_lists = expired
        .iter()
        .filter_map(|id| metadata.snapshot_by_id(*id))
        .map(|snapshot| snapshot.manifest_list().to_owned())
        .collect();
    if !expired.is_empty() {
        updates.push(TableUpdate::RemoveSnapshots {
            snapshot_ids: expired,
        });
    }
    updates.push(TableUpdate::AddSnapshot { snapshot });
    updates.push(TableUpdate::SetSnapshotRef {
        ref_name: MAIN_BRANCH.to_owned(),
        reference: SnapshotReference::new(
            writing.snapshot_id,
            retention.unwrap_or_else(|| SnapshotRetention::branch(None, None, None)),
        ),
    });
    if !append.properties.is_empty() {
        updates.push(TableUpdate::SetProperties {
            updates: append.properties.clone().into_iter().collect(),
        });
    }
    Ok(Produced {
        change: Change::of(base, updates),
        snapshot_id: writing.snapshot_id,
        sequence_number: writing.sequence_number,
        manifests,
        written: writing.written,
        replaced: merged
            .map(|merged| merged.replaced.clone())
            .unwrap_or_default(),
        expired_lists,
    })
}

/// The files of one snapshot being written.
struct Writing<'a> {
    base: &'a Table,
    parent_id: Option<i64>,
    snapshot_id: i64,
    sequence_number: i64,
    name: String,
    written: Vec<String>,
}

impl Writing<'_> {
    fn manifest_writer(&mut self) -> Result<ManifestWriter> {
        let metadata = self.base.metadata();
        let number = self.written.len();
        let path = format!(
            "{}/metadata/{}-m{number}.avro",
            metadata.location(),
            self.name
        );
        let output = self.base.file_io().new_output(&path)?;
        self.written.push(path);
        let schema = metadata.current_schema().clone();
        let spec = metadata.default_partition_spec().as_ref().clone();
        Ok(
            ManifestWriterBuilder::new(output, Some(self.snapshot_id), schema, spec)
                .build_v2_data(),
        )
    }

    /// Fills in what the library's list writer would, because the manifests are kept for the next append.
    async fn finish(&self, writer: ManifestWriter) -> Result<ManifestFile> {
        let mut manifest = writer.write_manifest_file().await?;
        manifest.sequence_number = self.sequence_number;
        if manifest.min_sequence_number == UNASSIGNED_SEQUENCE_NUMBER {
            manifest.min_sequence_number = self.sequence_number;
        }
        Ok(manifest)
    }

    async fn added_manifest(&mut self, files: &[DataFile]) -> Result<ManifestFile> {
        let mut writer = self.manifest_writer()?;
        for file in files {
            // Without a sequence number of its own, the entry inherits the snapshot's.
            writer.add_file(file.clone(), UNASSIGNED_SEQUENCE_NUMBER)?;
        }
        self.finish(writer).await
    }

    async fn manifest_list(&mut self, manifests: &[ManifestFile]) -> Result<String> {
        let metadata = self.base.metadata();
        let path = format!(
            "{}/metadata/{}-{}.avro",
            metadata.location(),
            self.name,
            self.snapshot_id
        );
        let output = self.base.file_io().new_output(&path)?.writer().await?;
        self.written.push(path.clone());
        let mut writer = ManifestListWriter::v2(
            output,
            self.snapshot_id,
            self.parent_id,
            self.sequence_number,
        );
        // A manifest without files says nothing (iceberg-java leaves them out too).
        let says_something = |m: &&ManifestFile| {
            m.has_added_files() || m.has_existing_files() || m.has_deleted_files()
        };
        writer.add_manifests(manifests.iter().filter(says_something).cloned())?;
        writer.close().await?;
        Ok(path)
    }
}

/// How the names of the manifests and manifest lists of a job begin.
pub(super) fn own_prefix(job: &str) -> String {
    format!("strandline-{job}-snap-")
}

fn new_snapshot_id(metadata: &TableMetadata) -> i64 {
    loop {
        let (high, low) = Uuid::new_v4().as_u64_pair();
        let id = ((high ^ low) & (i64::MAX as u64)) as i64;
        if id != 0 && metadata.snapshot_by_id(id).is_none() {
            return id;
        }
    }
}

/// The summary: ours, then what is computed, so that nothing of ours can shadow a count.
fn summary(
    base: &Table,
    parent: Option<&SnapshotRef>,
    append: &Append,
    files: &[DataFile],
) -> Summary {
    let metadata = base.metadata();
    let mut collector = SnapshotSummaryCollector::default();
    for file in files {
        collector.add_file(
            file,
            metadata.current_schema().clone(),
            metadata.default_partition_spec().clone(),
        );
    }
    let mut properties: HashMap<String, String> = append.summary.clone().into_iter().collect();
    let computed = collector.build();
    let previous = parent.map(|s| s.summary());
    for (total, added) in [
        ("total-data-files", Some("added-data-files")),
        ("total-records", Some("added-records")),
        ("total-files-size", Some("added-files-size")),
        ("total-delete-files", None),
        ("total-position-deletes", None),
        ("total-equality-deletes", None),
    ] {
        let number = |map: &HashMap<String, String>, key: &str| {
            map.get(key).and_then(|v| v.parse::<u64>().ok())
        };
        let before = match previous {
            // A writer that kept no totals: then nobody knows them from here on.
            Some(summary) => match number(&summary.additional_properties, total) {
                Some(before) => before,
                None => continue,
            },
            None => 0,
        };
        let now = before + added.and_then(|key| number(&computed, key)).unwrap_or(0);
        properties.insert(total.to_owned(), now.to_string());
    }
    properties.extend(computed);
    Summary {
        operation: Operation::Append,
        additional_properties: properties,
    }
}

/// The snapshots to expire, and the main branch's own retention where it has one.
///
/// Only ancestors of the main branch go, oldest first. What another branch or a tag needs stays.
fn expiry(metadata: &TableMetadata) -> (Vec<i64>, Option<SnapshotRetention>) {
    let keep = metadata
        .properties()
        .get("history.expire.min-snapshots-to-keep")
        .and_then(|v| v.parse::<usize>().ok())
        .map_or(SNAPSHOTS_KEPT, |n| n.max(SNAPSHOTS_KEPT));
    // Of the main branch only: what a return to a savepoint left behind is not counted.
    let main: Vec<i64> = metadata
        .current_snapshot_id()
        .into_iter()
        .flat_map(|id| ancestry(metadata, id))
        .collect();
    if !deletion_allowed(metadata) || main.len() < keep + EXPIRY_BATCH {
        return (Vec::new(), None);
    }
    // The library shows no refs; their JSON does. Once in `EXPIRY_BATCH` commits that is cheap enough.
    let Some(refs) = refs(metadata) else {
        return (Vec::new(), None);
    };
    let mut protected = HashSet::new();
    for (name, reference) in &refs {
        if name == MAIN_BRANCH {
            continue;
        }
        protected.insert(reference.snapshot_id);
        if reference.is_branch() {
            protected.extend(ancestry(metadata, reference.snapshot_id));
        }
    }
    let expired = main
        .into_iter()
        .skip(keep)
        .filter(|id| !protected.contains(id))
        .collect();
    (
        expired,
        refs.get(MAIN_BRANCH).map(|main| main.retention.clone()),
    )
}

/// Whether the table lets anyone delete what it refers to, or referred to.
pub(super) fn deletion_allowed(metadata: &TableMetadata) -> bool {
    metadata
        .properties()
        .get("gc.enabled")
        .is_none_or(|v| !v.eq_ignore_ascii_case("false"))
}

/// Whether the table has no branch but the main one.
pub(super) fn only_main_branch(metadata: &TableMetadata) -> bool {
    refs(metadata).is_some_and(|refs| {
        refs.iter()
            .all(|(name, reference)| name == MAIN_BRANCH || !reference.is_branch())
    })
}

fn refs(metadata: &TableMetadata) -> Option<HashMap<String, SnapshotReference>> {
    let mut document = serde_json::to_value(metadata).ok()?;
    serde_json::from_value(document.get_mut("refs")?.take()).ok()
}

/// A snapshot and its ancestors, newest first, as far as the metadata still knows them.
pub(super) fn ancestry(metadata: &TableMetadata, head: i64) -> impl Iterator<Item = i64> + '_ {
    let mut next = metadata.snapshot_by_id(head);
    std::iter::from_fn(move || {
        let snapshot = next?;
        next = snapshot
            .parent_snapshot_id()
            .and_then(|parent| metadata.snapshot_by_id(parent));
        Some(snapshot.snapshot_id())
    })
}
