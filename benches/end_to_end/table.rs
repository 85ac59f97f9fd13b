//! The table as any reader sees it: its metadata file, and the data files behind it.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use iceberg::spec::{Manifest, ManifestContentType, ManifestList, TableMetadata};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use strandline_operators::arrow_array::Array;
use strandline_operators::arrow_array::cast::AsArray;
use strandline_operators::arrow_array::types::TimestampMicrosecondType;
use strandline_operators::time::EventTime;

use crate::Outcome;

/// A table at one moment.
pub struct View {
    /// The file that was read.
    pub metadata_file: PathBuf,
    metadata: TableMetadata,
}

/// A snapshot, as its summary describes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Snapshot {
    /// Its id.
    pub id: i64,
    /// When its writer says it was committed, in milliseconds since 1970.
    pub committed_ms: i64,
    /// Rows in the table from then on.
    pub total_rows: u64,
}

impl View {
    /// Reads a metadata file.
    ///
    /// # Errors
    /// It is not there, or no table metadata.
    pub fn read(metadata_file: &Path) -> Outcome<View> {
        let text = std::fs::read(metadata_file)
            .map_err(|e| format!("cannot read {}: {e}", metadata_file.display()))?;
        Ok(View {
            metadata_file: metadata_file.to_owned(),
            metadata: serde_json::from_slice(&text)
                .map_err(|e| format!("{}: {e}", metadata_file.display()))?,
        })
    }

    /// The snapshots that are not expired, oldest first.
    pub fn snapshots(&self) -> Vec<Snapshot> {
        let mut snapshots: Vec<_> = self.metadata.snapshots().collect();
        snapshots.sort_by_key(|s| s.sequence_number());
        let described = snapshots.into_iter().map(|s| {
            let total = s.summary().additional_properties.get("total-records");
            Snapshot {
                id: s.snapshot_id(),
                committed_ms: s.timestamp_ms(),
                total_rows: total.and_then(|t| t.parse().ok()).unwrap_or(0),
            }
        });
        described.collect()
    }

    /// Rows in the current snapshot.
    pub fn rows(&self) -> u64 {
        self.snapshots().last().map_or(0, |s| s.total_rows)
    }

    /// The current data files, each with the snapshot that added it.
    ///
    /// # Errors
    /// Manifests that cannot be read.
    pub fn data_files(&self) -> Outcome<Vec<(i64, PathBuf)>> {
        let Some(current) = self.metadata.current_snapshot() else {
            return Ok(Vec::new());
        };
        let list = std::fs::read(local(current.manifest_list()))?;
        let list = ManifestList::parse_with_version(&list, self.metadata.format_version())?;
        let mut files = Vec::new();
        for file in list.entries() {
            if file.content != ManifestContentType::Data {
                continue;
            }
            let manifest = Manifest::parse_avro(&std::fs::read(local(&file.manifest_path))?)?;
            for entry in manifest.entries() {
                if entry.is_alive() {
                    // The format lets an entry leave it to its manifest to say who added it.
                    let added_by = entry.snapshot_id().unwrap_or(file.added_snapshot_id);
                    files.push((added_by, local(entry.file_path())));
                }
            }
        }
        Ok(files)
    }

    /// For each of the `newest` rows by broker timestamp, the milliseconds from that timestamp to the moment at
    /// which the row's snapshot was first seen. `seen` is by snapshot id, in microseconds since 1970.
    ///
    /// # Errors
    /// A file that cannot be read, or a snapshot that was never seen.
    pub fn latencies_ms(&self, seen: &BTreeMap<i64, i64>, newest: u64) -> Outcome<Vec<f64>> {
        let mut rows: Vec<(i64, i64)> = Vec::new();
        for (snapshot, path) in self.data_files()? {
            let &visible = seen
                .get(&snapshot)
                .ok_or_else(|| format!("snapshot {snapshot} was never seen"))?;
            let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(&path)?)?;
            let columns = ProjectionMask::columns(builder.parquet_schema(), ["kafka_timestamp"]);
            for batch in builder.with_projection(columns).build()? {
                let batch = batch?;
                let times = batch
                    .column(0)
                    .as_primitive_opt::<TimestampMicrosecondType>()
                    .ok_or("kafka_timestamp is no timestamp")?;
                let sent = (0..times.len()).filter(|&row| times.is_valid(row));
                rows.extend(sent.map(|row| (times.value(row), visible)));
            }
        }
        rows.sort_unstable();
        let from = rows.len().saturating_sub(usize::try_from(newest)?);
        let latency = |&(sent, visible): &(i64, i64)| (visible - sent) as f64 / 1000.0;
        Ok(rows[from..].iter().map(latency).collect())
    }

    /// Bytes and number of the current data files.
    ///
    /// # Errors
    /// Manifests or files that cannot be read.
    pub fn size(&self) -> Outcome<(u64, u64)> {
        let files = self.data_files()?;
        let mut bytes = 0;
        for (_, path) in &files {
            bytes += std::fs::metadata(path)?.len();
        }
        Ok((bytes, files.len() as u64))
    }
}

/// A path on this machine, of a `file:` URI or a path.
pub fn local(location: &str) -> PathBuf {
    let path = location.strip_prefix("file:").unwrap_or(location);
    PathBuf::from(format!("/{}", path.trim_start_matches('/')))
}

/// Notes when each snapshot is first seen.
#[derive(Default)]
pub struct Seen {
    /// By snapshot id, in microseconds since 1970.
    pub at: BTreeMap<i64, i64>,
    last: Option<PathBuf>,
}

impl Seen {
    /// Looks at the table; `Some` when its metadata file has changed since the last look.
    ///
    /// # Errors
    /// Metadata that cannot be read.
    pub fn look(&mut self, metadata_file: Option<PathBuf>) -> Outcome<Option<View>> {
        let Some(file) = metadata_file else {
            return Ok(None);
        };
        if self.last.as_ref() == Some(&file) {
            return Ok(None);
        }
        // A writer may name a file just before it is whole, or delete an old one: the next look tells.
        let Ok(view) = View::read(&file) else {
            return Ok(None);
        };
        let now = EventTime::now().0;
        for snapshot in view.snapshots() {
            self.at.entry(snapshot.id).or_insert(now);
        }
        self.last = Some(file);
        Ok(Some(view))
    }
}
