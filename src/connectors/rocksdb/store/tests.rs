use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use strandline_operators::ErrorKind;
use strandline_operators::dedup::memory_store::MemoryIdStore;
use strandline_operators::dedup::recover::recover;
use strandline_operators::dedup::shares::IdsByShare;
use strandline_operators::time::Epoch;

use super::*;

fn identity() -> StoreIdentity {
    StoreIdentity {
        table_uuid: "6f1c".to_owned(),
        job: "roman-numerals".to_owned(),
        key: "event_id".to_owned(),
        hash_seed: 7,
        ttl_ms: 86_400_000,
        workers: 2,
        worker: 1,
    }
}

fn marker(n: u64) -> StateMarker {
    StateMarker {
        generation: 1,
        epoch: Epoch(Epoch::first_of(1).0 + n),
    }
}

fn open(dir: &Path) -> OpenedStore {
    RocksIdStore::open(dir, &identity(), &StoreCache::new(1 << 20), |_| true).expect("open")
}

fn ids(bucket: u32, hashes: impl IntoIterator<Item = u128>) -> IdsByBucket {
    IdsByBucket::from([(bucket, hashes.into_iter().collect())])
}

fn all(store: &dyn IdStore) -> Vec<StoredId> {
    // Odd, so that pieces end in the middle of buckets.
    const AT_ONCE: usize = 77;
    let mut all = Vec::new();
    let mut from = Some(StoredId { bucket: 1, hash: 0 });
    while let Some(start) = from {
        let scanned = store.scan(start, AT_ONCE).expect("scan");
        let before = all.len();
        for (bucket, hashes) in scanned.ids {
            all.extend(hashes.iter().map(|&hash| StoredId { bucket, hash }));
        }
        assert!(all.len() - before <= AT_ONCE, "no more than asked for");
        from = scanned.next;
    }
    let mut buckets: Vec<u32> = all.iter().map(|id| id.bucket).collect();
    buckets.dedup();
    assert_eq!(store.buckets().expect("buckets"), buckets);
    all
}

fn holds(store: &dyn IdStore, bucket: u32, hash: u128) -> bool {
    let mut held = Vec::new();
    store
        .contains(&[StoredId { bucket, hash }], &mut held)
        .expect("contains");
    held[0]
}

#[test]
fn ids_and_marker_survive_a_kill() {
    let dir = tempfile::tempdir().expect("dir");
    let first = open(dir.path());
    assert!(!first.is_trusted, "a new store is not complete");
    first
        .store
        .ingest(&ids(5, 10..1010), Some(marker(1)))
        .expect("ingest");
    first
        .store
        .ingest(&ids(6, 10..20), Some(marker(2)))
        .expect("ingest");
    // Not closed but copied, as a kill would leave it.
    let left = tempfile::tempdir().expect("dir");
    copy(dir.path(), left.path());
    drop(first);

    let OpenedStore { store, is_trusted } = open(left.path());
    assert!(is_trusted);
    assert_eq!(store.marker(), Some(marker(2)));
    assert_eq!(all(&store).len(), 1010);
    assert!(
        holds(&store, 5, 1009)
            && !holds(&store, 5, 1010)
            && holds(&store, 6, 10)
            && !holds(&store, 7, 10)
    );
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("read_dir") {
        let entry = entry.expect("entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("type").is_dir() {
            fs::create_dir_all(&target).expect("create_dir");
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copy");
        }
    }
}

#[test]
fn a_store_of_something_else_is_deleted() {
    let others: [fn(&mut StoreIdentity); 6] = [
        |i| i.table_uuid.push('x'),
        |i| i.job.push('x'),
        |i| i.hash_seed += 1,
        |i| i.ttl_ms += 1,
        |i| i.workers += 1,
        |i| i.worker -= 1,
    ];
    for change in others {
        let dir = tempfile::tempdir().expect("dir");
        open(dir.path())
            .store
            .ingest(&ids(5, [1]), Some(marker(1)))
            .expect("ingest");
        let mut other = identity();
        change(&mut other);
        let opened = RocksIdStore::open(dir.path(), &other, &StoreCache::new(1 << 20), |_| true)
            .expect("open");
        assert!(!opened.is_trusted, "{other:?}");
        assert_eq!(all(&opened.store), []);
        assert_eq!(opened.store.marker(), None);
    }
}

#[test]
fn a_store_that_the_table_does_not_vouch_for_is_deleted() {
    let dir = tempfile::tempdir().expect("dir");
    open(dir.path())
        .store
        .ingest(&ids(5, [1]), Some(marker(3)))
        .expect("ingest");
    let vouch = |m: StateMarker| m.epoch <= marker(2).epoch;
    let opened = RocksIdStore::open(dir.path(), &identity(), &StoreCache::new(1 << 20), vouch)
        .expect("open");
    assert!(!opened.is_trusted);
    assert_eq!(all(&opened.store), []);
}

#[test]
fn a_store_that_was_never_complete_is_deleted() {
    let dir = tempfile::tempdir().expect("dir");
    open(dir.path())
        .store
        .ingest(&ids(5, [1]), None)
        .expect("ingest");
    let opened = open(dir.path());
    assert!(!opened.is_trusted);
    assert_eq!(all(&opened.store), []);
}

/// The files of RocksDB whose names end in `suffix`, or begin with it.
fn files(dir: &Path, part: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.join("ids")).expect("read_dir");
    let paths = entries.map(|entry| entry.expect("entry").path());
    paths
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().contains(part))
        })
        .collect()
}

#[test]
fn a_damaged_folder_is_rebuilt() {
    for damage in ["MANIFEST", "CURRENT", ".sst", "IDENTITY"] {
        for delete in [true, false] {
            let dir = tempfile::tempdir().expect("dir");
            open(dir.path())
                .store
                .ingest(&ids(5, 0..100_000), Some(marker(1)))
                .expect("ingest");
            let damaged = files(dir.path(), damage);
            assert!(!damaged.is_empty(), "no file {damage}");
            for path in damaged {
                if delete {
                    fs::remove_file(path)
                } else {
                    fs::write(path, b"garbage")
                }
                .expect("damage");
            }
            let opened = open(dir.path());
            assert!(
                !opened.is_trusted || all(&opened.store).len() == 100_000,
                "{damage}, deleted: {delete}"
            );
            opened
                .store
                .ingest(&ids(6, [1]), Some(marker(2)))
                .expect("ingest");
        }
    }
}

#[test]
fn damage_found_while_in_use_is_an_error_and_mended_at_the_next_start() {
    let dir = tempfile::tempdir().expect("dir");
    open(dir.path())
        .store
        .ingest(&ids(5, 0..1_000_000), Some(marker(1)))
        .expect("ingest");
    let largest = files(dir.path(), ".sst")
        .into_iter()
        .max_by_key(|path| fs::metadata(path).expect("file").len());
    let path = largest.expect("a table file");
    let mut bytes = fs::read(&path).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle..middle + 64]
        .iter_mut()
        .for_each(|byte| *byte ^= 0xff);
    fs::write(path, bytes).expect("write");
    {
        let opened = open(dir.path());
        assert!(opened.is_trusted, "the damage is in the middle of the ids");
        let error = opened
            .store
            .scan(StoredId { bucket: 1, hash: 0 }, usize::MAX)
            .expect_err("a damaged block");
        assert_eq!(error.kind(), ErrorKind::Unreachable);
        assert!(
            error.to_string().contains("rebuilt from the table"),
            "{error}"
        );
    }
    assert!(!open(dir.path()).is_trusted);
    open(dir.path())
        .store
        .ingest(&ids(5, [1]), Some(marker(1)))
        .expect("ingest");
    assert!(open(dir.path()).is_trusted, "mended once, not for ever");
}

#[test]
fn a_store_in_use_is_an_error_that_says_so_and_deletes_nothing() {
    let dir = tempfile::tempdir().expect("dir");
    let first = open(dir.path());
    first
        .store
        .ingest(&ids(5, [1]), Some(marker(1)))
        .expect("ingest");
    // Even one that would be deleted, were it free.
    let mut other = identity();
    other.hash_seed += 1;
    let error = RocksIdStore::open(dir.path(), &other, &StoreCache::new(1 << 20), |_| true)
        .map(drop)
        .expect_err("in use");
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(
        error.message().contains("another process has it open"),
        "{error}"
    );
    assert!(
        error.message().contains(&dir.path().display().to_string()),
        "{error}"
    );
    assert!(holds(&first.store, 5, 1));
    drop(first);
    assert!(open(dir.path()).is_trusted);
}

#[test]
fn a_state_folder_that_is_a_file_is_an_error_with_its_path() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("state");
    fs::write(&path, b"").expect("write");
    let error = RocksIdStore::open(&path, &identity(), &StoreCache::new(1 << 20), |_| true)
        .map(drop)
        .expect_err("a file");
    assert!(
        error.message().contains(&path.display().to_string()),
        "{error}"
    );
}

#[test]
fn a_full_disk_is_an_error_with_its_path() {
    let dir = tempfile::tempdir().expect("dir");
    let store = open(dir.path()).store;
    // Every write to this device says that there is no space left.
    std::os::unix::fs::symlink("/dev/full", dir.path().join("ingest/ids.sst")).expect("symlink");
    let error = store
        .ingest(&ids(5, 0..100_000), Some(marker(1)))
        .expect_err("a full disk");
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(error.message().contains("the disk is full"), "{error}");
    assert!(
        error.message().contains(&dir.path().display().to_string()),
        "{error}"
    );
    assert_eq!(store.marker(), None, "what was not written is not marked");
}

#[test]
fn expired_buckets_are_gone_and_the_marker_is_not() {
    let dir = tempfile::tempdir().expect("dir");
    let store = open(dir.path()).store;
    for bucket in 5..10 {
        store
            .ingest(&ids(bucket, 0..1000), Some(marker(bucket.into())))
            .expect("ingest");
    }
    store.expire_below(8).expect("expire");
    let left: BTreeSet<u32> = all(&store).iter().map(|id| id.bucket).collect();
    assert_eq!(left, BTreeSet::from([8, 9]));
    assert!(!holds(&store, 7, 1) && holds(&store, 8, 0));
    drop(store);
    let opened = open(dir.path());
    assert!(opened.is_trusted);
    assert_eq!(opened.store.marker(), Some(marker(9)));
}

#[test]
fn recovery_reads_back_what_is_missing_and_nothing_of_other_workers() {
    let dir = tempfile::tempdir().expect("dir");
    let hash = |n: u128| n << 64 | n.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_0C9A) | (n & 1) << 127;
    let store = open(dir.path()).store;
    store
        .ingest(&ids(9, [hash(1)]), Some(marker(1)))
        .expect("ingest");
    let table: Vec<StoredId> = (0..1000)
        .map(|n| StoredId {
            bucket: 5 + (n % 10) as u32,
            hash: hash(n),
        })
        .collect();
    let mut shares = IdsByShare::new(1..2, 2);
    let batches = table.chunks(64).map(|ids| {
        ids.iter().for_each(|&id| shares.push(id));
        Ok(shares.take(0, 0).expect("some"))
    });
    let mut judge =
        recover(&store, 1, 1 << 16, 24, Some(8), batches, Some(marker(7))).expect("recover");
    while let Some(from) = judge.refill_from() {
        judge.refilled(&store.scan(from, 100).expect("scan"));
    }
    let expected: BTreeSet<StoredId> = table
        .iter()
        .copied()
        .filter(|id| id.hash >> 127 == 1 && id.bucket >= 8)
        .chain([StoredId {
            bucket: 9,
            hash: hash(1),
        }])
        .collect();
    assert_eq!(all(&store).into_iter().collect::<BTreeSet<_>>(), expected);
    assert_eq!(judge.entries(), expected.len() as u64);
    assert_eq!(store.marker(), Some(marker(7)));
}

/// What may happen to a store.
#[derive(Clone, Debug)]
enum Step {
    Ingest(Vec<(u32, u8)>),
    Expire(u32),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => proptest::collection::vec((1u32..30, any::<u8>()), 0..200).prop_map(Step::Ingest),
        1 => (0u32..30).prop_map(Step::Expire),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_store_holds_what_a_store_in_memory_holds(steps in proptest::collection::vec(step(), 1..25)) {
        let dir = tempfile::tempdir().expect("dir");
        let model = MemoryIdStore::default();
        let mut store = open(dir.path()).store;
        store.ingest(&IdsByBucket::new(), Some(marker(0))).expect("ingest");
        for (n, step) in steps.into_iter().enumerate() {
            match step {
                Step::Ingest(pairs) => {
                    let mut batch = IdsByBucket::new();
                    for (bucket, hash) in pairs.into_iter().collect::<BTreeSet<_>>() {
                        batch.entry(bucket).or_default().push(u128::from(hash));
                    }
                    let marker = (n % 2 == 0).then(|| marker(n as u64));
                    store.ingest(&batch, marker).expect("ingest");
                    model.ingest(&batch, marker).expect("ingest");
                }
                Step::Expire(bucket) => {
                    store.expire_below(bucket).expect("expire");
                    model.expire_below(bucket).expect("expire");
                }
                Step::Reopen => {
                    drop(store);
                    let opened = open(dir.path());
                    prop_assert!(opened.is_trusted);
                    store = opened.store;
                }
            }
            prop_assert_eq!(all(&store), model.ids());
            prop_assert!(model.marker().is_none() || store.marker() == model.marker());
            let keys: Vec<StoredId> =
                (0..30).flat_map(|bucket| (0..=255).map(move |hash| StoredId { bucket, hash })).skip(1).collect();
            let (mut held, mut expected) = (Vec::new(), Vec::new());
            store.contains(&keys, &mut held).expect("contains");
            model.contains(&keys, &mut expected).expect("contains");
            prop_assert_eq!(held, expected);
        }
    }
}

#[test]
fn two_threads_look_up_and_ingest_at_once() {
    let dir = tempfile::tempdir().expect("dir");
    let store = Arc::new(open(dir.path()).store);
    let ingested = Arc::new(Mutex::new(0u128));
    let (reader, progress) = (Arc::clone(&store), Arc::clone(&ingested));
    let looking = std::thread::spawn(move || {
        loop {
            let upto = *progress.lock().expect("lock");
            assert!(
                upto == 0 || holds(&*reader, 5, upto - 1),
                "id {} was ingested",
                upto - 1
            );
            if upto == 50_000 {
                return;
            }
        }
    });
    for n in 0..50u128 {
        store
            .ingest(&ids(5, n * 1000..(n + 1) * 1000), None)
            .expect("ingest");
        *ingested.lock().expect("lock") = (n + 1) * 1000;
    }
    looking.join().expect("look-ups");
}
