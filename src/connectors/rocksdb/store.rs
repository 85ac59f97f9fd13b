//! [`RocksIdStore`]: ids by bucket, in RocksDB.
//!
//! Key: bucket (u32, big-endian), hash (16 bytes, big-endian); the value is empty. The first key, bucket 0
//! and hash 0, holds the header. Ids come in sorted, a million at a time, so they are written as one table
//! file with the header in it, and the file is ingested: ids and marker appear together or not at all.
//! There is no write-ahead log, because nothing but expiry is ever written in another way, and expiry is
//! repeated at the next start. Compaction is universal: files grow old together and expire together.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ::rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, BoundColumnFamily, Cache, ColumnFamilyDescriptor,
    DBCompactionStyle, DBCompressionType, DBRawIteratorWithThreadMode, DBWithThreadMode,
    IngestExternalFileOptions, LogLevel, MultiThreaded, Options, ReadOptions, SstFileWriter,
    UniversalCompactOptions, WriteOptions,
};
use strandline_operators::dedup::expiry::FIRST_BUCKET;
use strandline_operators::io::{IdStore, IdsByBucket, Scanned, StateMarker, StoredId};
use strandline_operators::{Error, Result};

use super::error::{Trouble, explain, explain_io};
use super::identity::{Header, StoreIdentity};

type Db = DBWithThreadMode<MultiThreaded>;

const KEY_BYTES: usize = 20;
type Key = [u8; KEY_BYTES];

/// Below every id: ids are in bucket 1 and above.
const HEADER_KEY: Key = [0; KEY_BYTES];

/// The memtable holds nothing but expiries.
const WRITE_BUFFER_BYTES: usize = 1 << 20;

/// Sorted runs that start a compaction. Each id is then rewritten about twice at 54 million.
const RUNS_TO_COMPACT: i32 = 8;

/// Sorted runs that slow ingestion down, and that stop it: compaction is then hopelessly behind.
const RUNS_TO_SLOW: i32 = 40;
const RUNS_TO_STOP: i32 = 60;

/// RocksDB's threads for compaction, for all stores of the process together.
const BACKGROUND_JOBS: i32 = 2;

/// Bits of filter an id has in a table file: a look-up then reads one run and not all of them.
const FILTER_BITS: f64 = 10.0;

const BLOCK_BYTES: usize = 4096;

/// How far a scan reads ahead.
const SCAN_READAHEAD_BYTES: usize = 1 << 20;

fn key(bucket: u32, hash: u128) -> Key {
    let mut key = [0; KEY_BYTES];
    key[..4].copy_from_slice(&bucket.to_be_bytes());
    key[4..].copy_from_slice(&hash.to_be_bytes());
    key
}

/// `None` for what is not a key of ours.
fn parse(key: &[u8]) -> Option<StoredId> {
    let (bucket, hash) = key.split_first_chunk::<4>()?;
    let hash: [u8; 16] = hash.try_into().ok()?;
    Some(StoredId {
        bucket: u32::from_be_bytes(*bucket),
        hash: u128::from_be_bytes(hash),
    })
}

/// Memory for blocks, indexes and filters of table files, shared by the stores of a process. A few bytes
/// an id keep look-ups of duplicates in memory; less costs reads.
#[derive(Clone)]
pub struct StoreCache(Cache);

impl StoreCache {
    /// A cache of `bytes`.
    pub fn new(bytes: usize) -> StoreCache {
        StoreCache(Cache::new_lru_cache(bytes))
    }
}

/// A store, and whether what it held is still of use.
pub struct OpenedStore {
    /// The store.
    pub store: RocksIdStore,
    /// `true`: it holds the ids up to its marker. `false`: it is new, or was deleted, and is empty.
    pub is_trusted: bool,
}

/// The ids of one worker's share, in RocksDB.
pub struct RocksIdStore {
    db: Db,
    options: Options,
    /// The worker's folder: `ids` in it is RocksDB's, `ingest` is for files on their way there.
    dir: PathBuf,
    header: Mutex<Header>,
}

impl RocksIdStore {
    /// Opens the store of a worker in `dir`, which is made when missing and belongs to the store alone.
    /// What is there is deleted when it has another identity, when `vouch` does not know its marker as one
    /// of a committed epoch, or when it is damaged.
    ///
    /// # Errors
    /// [`ErrorKind::Unreachable`](strandline_operators::ErrorKind::Unreachable): another process has it
    /// open, the disk is full, or access is denied. Nothing is deleted then.
    pub fn open(
        dir: &Path,
        identity: &StoreIdentity,
        cache: &StoreCache,
        vouch: impl Fn(StateMarker) -> bool,
    ) -> Result<OpenedStore> {
        fs::create_dir_all(dir).map_err(|e| explain_io("create the state folder", dir, &e))?;
        let mut doubt = damaged_file(dir)
            .exists()
            .then(|| "it was found damaged in the last run".to_owned());
        if doubt.is_none() && dir.join("ids").exists() {
            match Self::open_existing(dir, cache)? {
                Ok(store) => match store.doubt(identity, vouch) {
                    None => {
                        return Ok(OpenedStore {
                            store,
                            is_trusted: true,
                        });
                    }
                    reason => doubt = reason,
                },
                Err(reason) => doubt = Some(reason),
            }
        }
        if let Some(reason) = doubt {
            tracing::warn!(dir = %dir.display(), reason, "the deduplication state is deleted and rebuilt from the table");
        }
        let store = Self::create(dir, identity, cache)?;
        Ok(OpenedStore {
            store,
            is_trusted: false,
        })
    }

    /// The store, or why it is of no use.
    fn open_existing(dir: &Path, cache: &StoreCache) -> Result<Result<RocksIdStore, String>> {
        let options = options(cache);
        let db = match open_db(&options, dir) {
            Ok(db) => db,
            Err(error) if Trouble::of(&error) == Trouble::Damaged => {
                return Ok(Err(error.to_string()));
            }
            Err(error) => return Err(explain("open", dir, &error)),
        };
        let header = match db.get(HEADER_KEY) {
            Ok(Some(bytes)) => Header::decode(&bytes),
            Ok(None) => None,
            Err(error) if Trouble::of(&error) == Trouble::Damaged => {
                return Ok(Err(error.to_string()));
            }
            Err(error) => return Err(explain("read", dir, &error)),
        };
        let Some(header) = header else {
            return Ok(Err("it has no header of this format".to_owned()));
        };
        // What a run that was killed was about to ingest.
        empty_folder(&dir.join("ingest"))?;
        Ok(Ok(RocksIdStore {
            db,
            options,
            dir: dir.to_owned(),
            header: Mutex::new(header),
        }))
    }

    /// Why what the store holds is of no use; `None` when it is.
    fn doubt(
        &self,
        identity: &StoreIdentity,
        vouch: impl Fn(StateMarker) -> bool,
    ) -> Option<String> {
        let header = self.header();
        if header.identity != *identity {
            let theirs = &header.identity;
            return Some(
                if (theirs.workers, theirs.worker) == (identity.workers, identity.worker) {
                    "it belongs to another table, job, key, seed or TTL".to_owned()
                } else {
                    format!(
                        "it was written by worker {} of {}, this is worker {} of {}",
                        theirs.worker, theirs.workers, identity.worker, identity.workers
                    )
                },
            );
        }
        match header.marker {
            None => Some("it was never complete".to_owned()),
            Some(marker) if !vouch(marker) => Some(format!(
                "the table does not vouch for epoch {} of generation {}",
                marker.epoch, marker.generation
            )),
            Some(_) => None,
        }
    }

    fn create(dir: &Path, identity: &StoreIdentity, cache: &StoreCache) -> Result<RocksIdStore> {
        let ids = dir.join("ids");
        if ids.exists() {
            fs::remove_dir_all(&ids).map_err(|e| explain_io("delete", &ids, &e))?;
        }
        empty_folder(&dir.join("ingest"))?;
        let options = options(cache);
        let db = open_db(&options, dir).map_err(|e| explain("create", dir, &e))?;
        let header = Mutex::new(Header::new(identity.clone(), None));
        let store = RocksIdStore {
            db,
            options,
            dir: dir.to_owned(),
            header,
        };
        store.ingest(&IdsByBucket::new(), None)?;
        let damaged = damaged_file(dir);
        if damaged.exists() {
            fs::remove_file(&damaged).map_err(|e| explain_io("delete", &damaged, &e))?;
        }
        Ok(store)
    }

    fn header(&self) -> Header {
        self.header
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn column_family(&self) -> Result<std::sync::Arc<BoundColumnFamily<'_>>> {
        self.db
            .cf_handle("default")
            .ok_or_else(|| Error::internal("RocksDB has no default column family"))
    }

    /// The error for a person. A damaged store is noted on disk, so that the next start rebuilds it.
    fn failed(&self, action: &str, error: &::rocksdb::Error) -> Error {
        if Trouble::of(error) == Trouble::Damaged {
            let note = damaged_file(&self.dir);
            if let Err(e) = fs::write(&note, error.as_ref()) {
                tracing::warn!(path = %note.display(), error = %e, "cannot note that the deduplication state is damaged");
            }
        }
        explain(action, &self.dir, error)
    }

    /// The id that an iterator stands at; `None` at the end.
    fn current(&self, ids: &DBRawIteratorWithThreadMode<'_, Db>) -> Result<Option<StoredId>> {
        let Some(key) = ids.key() else {
            ids.status().map_err(|e| self.failed("read", &e))?;
            return Ok(None);
        };
        let id = parse(key).ok_or_else(|| {
            Error::internal(format!(
                "the deduplication state in `{}` holds a key of {} bytes",
                self.dir.display(),
                key.len()
            ))
        })?;
        Ok(Some(id))
    }

    fn write_file(
        &self,
        path: &Path,
        header: &[u8],
        ids: &IdsByBucket,
    ) -> Result<(), ::rocksdb::Error> {
        let mut writer = SstFileWriter::create(&self.options);
        writer.open(path)?;
        writer.put(HEADER_KEY, header)?;
        for (&bucket, hashes) in ids {
            for &hash in hashes {
                writer.put(key(bucket, hash), b"")?;
            }
        }
        writer.finish()
    }
}

impl IdStore for RocksIdStore {
    fn marker(&self) -> Option<StateMarker> {
        self.header().marker
    }

    fn contains(&self, keys: &[StoredId], held: &mut Vec<bool>) -> Result<()> {
        let mut sorted: Vec<(Key, usize)> = keys
            .iter()
            .enumerate()
            .map(|(place, id)| (key(id.bucket, id.hash), place))
            .collect();
        sorted.sort_unstable();
        held.clear();
        held.resize(keys.len(), false);
        let is_sorted = true;
        let column_family = self.column_family()?;
        let found = self.db.batched_multi_get_cf(
            &column_family,
            sorted.iter().map(|(key, _)| key),
            is_sorted,
        );
        for (found, (_, place)) in found.into_iter().zip(sorted) {
            held[place] = found.map_err(|e| self.failed("read", &e))?.is_some();
        }
        Ok(())
    }

    fn ingest(&self, ids: &IdsByBucket, marker: Option<StateMarker>) -> Result<()> {
        let mut header = self.header();
        header.marker = marker.or(header.marker);
        let path = self.dir.join("ingest").join("ids.sst");
        self.write_file(&path, &header.encode()?, ids)
            .map_err(|e| self.failed("write", &e))?;
        let mut ingestion = IngestExternalFileOptions::default();
        ingestion.set_move_files(true);
        self.db
            .ingest_external_file_opts(&ingestion, vec![&path])
            .map_err(|e| self.failed("write", &e))?;
        *self.header.lock().unwrap_or_else(PoisonError::into_inner) = header;
        Ok(())
    }

    fn expire_below(&self, bucket: u32) -> Result<()> {
        if bucket <= FIRST_BUCKET {
            return Ok(());
        }
        let from = key(FIRST_BUCKET, 0);
        // The end is inclusive here and exclusive there.
        let dropped = self
            .db
            .delete_file_in_range(from, key(bucket - 1, u128::MAX));
        dropped.map_err(|e| self.failed("expire", &e))?;
        let mut write = WriteOptions::default();
        write.disable_wal(true);
        let column_family = self.column_family()?;
        let deleted = self
            .db
            .delete_range_cf_opt(&column_family, from, key(bucket, 0), &write);
        deleted.map_err(|e| self.failed("expire", &e))
    }

    fn buckets(&self) -> Result<Vec<u32>> {
        let mut buckets = Vec::new();
        let mut ids = self.db.raw_iterator_opt(ReadOptions::default());
        ids.seek(key(FIRST_BUCKET, 0));
        while let Some(id) = self.current(&ids)? {
            buckets.push(id.bucket);
            let Some(above) = id.bucket.checked_add(1) else {
                break;
            };
            ids.seek(key(above, 0));
        }
        Ok(buckets)
    }

    fn scan(&self, from: StoredId, at_most: usize) -> Result<Scanned> {
        let mut read = ReadOptions::default();
        read.fill_cache(false);
        read.set_readahead_size(SCAN_READAHEAD_BYTES);
        // Not `iterator`: that allocates key and value of every entry.
        let mut ids = self.db.raw_iterator_opt(read);
        ids.seek(key(from.bucket.max(FIRST_BUCKET), from.hash));
        let mut scanned = Scanned::default();
        let (mut bucket, mut hashes, mut left) = (0, Vec::new(), at_most.max(1));
        while let Some(id) = self.current(&ids)? {
            if left == 0 {
                scanned.next = Some(id);
                break;
            }
            left -= 1;
            if id.bucket != bucket && !hashes.is_empty() {
                scanned.ids.insert(bucket, std::mem::take(&mut hashes));
            }
            bucket = id.bucket;
            hashes.push(id.hash);
            ids.next();
        }
        if !hashes.is_empty() {
            scanned.ids.insert(bucket, hashes);
        }
        Ok(scanned)
    }
}

/// Its presence says that the store was found damaged while it was in use.
fn damaged_file(dir: &Path) -> PathBuf {
    dir.join("damaged")
}

fn empty_folder(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).map_err(|e| explain_io("delete", dir, &e))?;
    }
    fs::create_dir_all(dir).map_err(|e| explain_io("create", dir, &e))
}

fn open_db(options: &Options, dir: &Path) -> Result<Db, ::rocksdb::Error> {
    let column_family = ColumnFamilyDescriptor::new("default", options.clone());
    Db::open_cf_descriptors(options, dir.join("ids"), [column_family])
}

fn options(cache: &StoreCache) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_size(BLOCK_BYTES);
    table.set_block_cache(&cache.0);
    table.set_cache_index_and_filter_blocks(true);
    table.set_cache_index_and_filter_blocks_with_high_priority(true);
    // Index and filter in blocks too, so that a cache that is too small degrades instead of failing.
    table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    table.set_partition_filters(true);
    table.set_pin_top_level_index_and_filter(true);
    table.set_bloom_filter(FILTER_BITS, false);
    table.set_format_version(6);

    let mut compaction = UniversalCompactOptions::default();
    compaction.set_min_merge_width(2);

    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_block_based_table_factory(&table);
    options.set_compression_type(DBCompressionType::None);
    options.set_compaction_style(DBCompactionStyle::Universal);
    options.set_universal_compaction_options(&compaction);
    options.set_level_zero_file_num_compaction_trigger(RUNS_TO_COMPACT);
    options.set_level_zero_slowdown_writes_trigger(RUNS_TO_SLOW);
    options.set_level_zero_stop_writes_trigger(RUNS_TO_STOP);
    options.set_max_background_jobs(BACKGROUND_JOBS);
    options.set_write_buffer_size(WRITE_BUFFER_BYTES);
    options.set_max_write_buffer_number(2);
    options.set_log_level(LogLevel::Warn);
    options.set_keep_log_file_num(2);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options
}

#[cfg(test)]
mod tests;
