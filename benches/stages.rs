//! What each stage of the dataflow costs alone, in wall time, with criterion's statistics.
//!
//!     cargo bench --bench stages -- [FILTER]
//!
//! | case | what is timed |
//! |---|---|
//! | source copy | records that the client has fetched, from its queue into batches; of an embedded Kafka |
//! | decode | batches of JSON to columns |
//! | hash | ids to hashes |
//! | exchange | hashes to the workers that own them, and verdicts back: the threads of all workers together |
//! | verdict | new ids, by the tiers in memory and the filters |
//! | state write | the ids of an epoch, sorted, written as table files and ingested by RocksDB |
//! | Parquet | a data file, into the page cache |
//! | commit | an epoch of two files into a table on the local disk, in a catalog of SQLite: for each commit, not each record |
//!
//! Instead of the last two, `cargo xtask bench drain` says what a catalog and a broker add.

#[path = "fixtures/mod.rs"]
mod fixtures;

use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use fixtures::{
    BATCH_RECORDS, BATCHES, FILTER_BYTES, TTL_HOURS, judge_new, raw_batches, rows_of_one_day,
    tables,
};
use strandline::connectors::iceberg::open_files;
use strandline::connectors::kafka::embedded::EmbeddedKafka;
use strandline::connectors::kafka::fetching::Fetching;
use strandline::connectors::kafka::log::KafkaLog;
use strandline::connectors::rocksdb::{RocksIdStore, StoreCache, StoreIdentity};
use strandline::generator::producer::produce;
use strandline::generator::{Generator, GeneratorConfig};
use strandline_jobs::roman_numerals::ROMAN_NUMERALS;
use strandline_operators::account::Account;
use strandline_operators::arrow_array::RecordBatch;
use strandline_operators::arrow_array::cast::AsArray;
use strandline_operators::credit::Budget;
use strandline_operators::decode::{Decoded, decoder};
use strandline_operators::dedup::admission::{Admissions, Verdicts, owner_of};
use strandline_operators::dedup::hash::hash_strings;
use strandline_operators::dedup::judge::Judge;
use strandline_operators::io::{
    AssignedPartition, FileKey, Files, IdStore as _, IdsByBucket, Log as _, Polled, StateMarker,
    TableIndex, WrittenFile,
};
use strandline_operators::landing::behind::SecondariesBehind;
use strandline_operators::landing::trouble::CommitTrouble;
use strandline_operators::positions::Position;
use strandline_operators::progress::{EpochCommit, PartitionDelta};
use strandline_operators::record::TopicPartition;
use strandline_operators::time::Epoch;
use timely::dataflow::InputHandle;
use timely::dataflow::operators::vec::Map;
use timely::dataflow::operators::{Exchange, Input, Probe};

const SEED: u64 = 7;
const RECORDS: u64 = (BATCH_RECORDS * BATCHES) as u64;
const WORKERS: usize = 2;
const PARTITIONS: i32 = 6;
/// As many as the embedded broker keeps.
const FETCHED_RECORDS: u64 = 90_000;
/// The ids of an epoch at 50,000 a second.
const EPOCH_IDS: usize = 50_000;

fn decoded() -> Vec<Decoded> {
    let mut decoder = decoder(&ROMAN_NUMERALS.settings(), false).expect("the job's decoder");
    let batches = raw_batches();
    batches.iter().map(|batch| decoder.decode(batch)).collect()
}

fn hashes() -> Vec<Vec<u128>> {
    let ids = |decoded: &Decoded| hash_strings(decoded.columns.column(0).as_string(), SEED);
    decoded().iter().map(ids).collect()
}

fn source_copy(criterion: &mut Criterion) {
    const TOPIC: &str = "events";
    let kafka = EmbeddedKafka::start(&[(TOPIC, PARTITIONS)]).expect("an embedded Kafka");
    let config = GeneratorConfig {
        events: FETCHED_RECORDS,
        partitions: PARTITIONS,
        ..GeneratorConfig::default()
    };
    let mut generator = Generator::new(config);
    produce(&kafka.settings(), TOPIC, &mut generator, None, &|| true).expect("records");
    let positions: Vec<Position> = (0..PARTITIONS)
        .map(|partition| Position {
            assigned: AssignedPartition {
                source: TopicPartition::new(TOPIC, partition),
                start: 0,
                end_at_start: 0,
                max_event_time: None,
            },
            read_from: 0,
            leader_epoch: None,
            reason: String::new(),
        })
        .collect();
    let fetching = Fetching {
        queue_bytes: 64 << 20,
        wait: Duration::ZERO,
    };
    let budget = Budget::new(1 << 30);
    let mut group = criterion.benchmark_group("source copy");
    group.throughput(Throughput::Elements(FETCHED_RECORDS));
    group.sample_size(10);
    group.bench_function("from the client's queue", |bencher| {
        bencher.iter_custom(|repeats| {
            let mut took = Duration::ZERO;
            for _ in 0..repeats {
                let mut log = KafkaLog::open(
                    &kafka.settings(),
                    "bench",
                    &positions,
                    ROMAN_NUMERALS.settings().on_gap,
                    fetching,
                )
                .expect("a log");
                let mut records = 0;
                // Only what takes records counts; waiting for the broker does not.
                while records < FETCHED_RECORDS {
                    let began = Instant::now();
                    if let Polled::Batch(batch) = log.poll(BATCH_RECORDS, &budget).expect("a poll")
                    {
                        took += began.elapsed();
                        records += batch.records.len() as u64;
                        black_box(batch);
                    }
                }
            }
            took
        });
    });
    group.finish();
}

fn decode(criterion: &mut Criterion) {
    let batches = raw_batches();
    let mut decoder = decoder(&ROMAN_NUMERALS.settings(), false).expect("the job's decoder");
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(RECORDS));
    group.bench_function("JSON to columns", |bencher| {
        bencher.iter(|| {
            for batch in &batches {
                black_box(decoder.decode(black_box(batch)));
            }
        });
    });
    group.finish();
}

fn hash(criterion: &mut Criterion) {
    let decoded = decoded();
    let mut group = criterion.benchmark_group("hash");
    group.throughput(Throughput::Elements(RECORDS));
    group.bench_function("ids", |bencher| {
        bencher.iter(|| {
            for decoded in &decoded {
                black_box(hash_strings(decoded.columns.column(0).as_string(), SEED));
            }
        });
    });
    group.finish();
}

/// A batch's hashes, by the worker that owns them.
fn admissions_of(hashes: &[u128], origin: usize) -> Vec<Admissions> {
    let of = |owner: usize| {
        let own = hashes.iter().copied();
        let own: Vec<u128> = own
            .filter(|&hash| owner_of(hash, WORKERS) == owner)
            .collect();
        Admissions {
            owner: owner as u32,
            origin: origin as u32,
            batch: 0,
            buckets: vec![1000; own.len()],
            remember: vec![true; own.len()],
            hashes: own,
        }
    };
    (0..WORKERS).map(of).collect()
}

fn exchange(criterion: &mut Criterion) {
    let batches = hashes();
    let mut group = criterion.benchmark_group("exchange");
    // Every worker sends all batches.
    group.throughput(Throughput::Elements(RECORDS * WORKERS as u64));
    group.bench_function("two workers of a process", |bencher| {
        bencher.iter_custom(|repeats| {
            let batches = batches.clone();
            let guards = timely::execute(timely::Config::process(WORKERS), move |worker| {
                let index = worker.index();
                let mut input = InputHandle::new();
                let probe = worker.dataflow::<u64, _, _>(|scope| {
                    scope
                        .input_from(&mut input)
                        .container::<Vec<_>>()
                        .exchange(|admissions: &Admissions| u64::from(admissions.owner))
                        .map(|admissions| Verdicts {
                            owner: admissions.owner,
                            origin: admissions.origin,
                            batch: admissions.batch,
                            duplicates: vec![false; admissions.hashes.len()],
                        })
                        .exchange(|verdicts: &Verdicts| u64::from(verdicts.origin))
                        .probe()
                        .0
                });
                let sent: Vec<Vec<Admissions>> = batches
                    .iter()
                    .map(|hashes| admissions_of(hashes, index))
                    .collect();
                let began = Instant::now();
                for repeat in 0..repeats {
                    for admissions in &sent {
                        admissions.iter().for_each(|a| input.send(a.clone()));
                    }
                    input.advance_to(repeat + 1);
                    while probe.less_than(input.time()) {
                        worker.step();
                    }
                }
                began.elapsed()
            })
            .expect("timely's workers");
            let took = guards
                .join()
                .into_iter()
                .map(|took| took.expect("a worker"));
            took.max().unwrap_or_default()
        });
    });
    group.finish();
}

fn verdict(criterion: &mut Criterion) {
    let batches = hashes();
    let mut group = criterion.benchmark_group("verdict");
    group.throughput(Throughput::Elements(RECORDS));
    group.bench_function("new ids", |bencher| {
        bencher.iter_batched_ref(
            || Judge::new(FILTER_BYTES, TTL_HOURS),
            |judge| judge_new(judge, &batches),
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

fn state_write(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let identity = StoreIdentity {
        table_uuid: "bench".to_owned(),
        job: "bench".to_owned(),
        key: "event_id".to_owned(),
        hash_seed: SEED,
        ttl_ms: 86_400_000,
        workers: 1,
        worker: 0,
    };
    let opened = RocksIdStore::open(folder.path(), &identity, &StoreCache::new(64 << 20), |_| {
        false
    });
    let store = opened.expect("a store").store;
    let mut epoch = Epoch::first_of(1);
    let mut random = 1u128;
    let mut group = criterion.benchmark_group("state write");
    group.throughput(Throughput::Elements(EPOCH_IDS as u64));
    group.sample_size(20);
    group.bench_function("ids of an epoch", |bencher| {
        bencher.iter_batched(
            || {
                epoch = epoch.next();
                let ids = (0..EPOCH_IDS).map(|_| {
                    random = random.wrapping_mul(0xda94_2042_e4dd_58b5).wrapping_add(1);
                    random.rotate_left(64) ^ (random << 7)
                });
                (epoch, ids.collect::<Vec<u128>>())
            },
            |(epoch, mut ids)| {
                ids.sort_unstable();
                let marker = StateMarker {
                    generation: 1,
                    epoch,
                };
                let ids = IdsByBucket::from([(1000, ids)]);
                store.ingest(&ids, Some(marker)).expect("an ingestion");
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

fn write(files: &dyn Files, epoch: Epoch, worker: u32, rows: &[RecordBatch]) -> WrittenFile {
    let key = FileKey {
        table: TableIndex::PRIMARY,
        day: 1,
        epoch,
        worker,
    };
    let mut file = files
        .open(key, &files.schema(TableIndex::PRIMARY))
        .expect("a data file");
    for rows in rows {
        file.write(rows).expect("rows");
    }
    file.close().expect("a data file")
}

fn parquet(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let tables = tables(folder.path()).expect("tables");
    let files = open_files(tables.description(), &HashMap::new()).expect("files");
    let rows = rows_of_one_day(&*files, &decoded()).expect("rows");
    let mut epoch = Epoch::first_of(1);
    let mut group = criterion.benchmark_group("Parquet");
    group.throughput(Throughput::Elements(RECORDS));
    group.sample_size(20);
    group.bench_function("a data file", |bencher| {
        bencher.iter(|| {
            epoch = epoch.next();
            black_box(write(&*files, epoch, 0, &rows))
        });
    });
    group.finish();
}

fn commit(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let tables = tables(folder.path()).expect("tables");
    let files = open_files(tables.description(), &HashMap::new()).expect("files");
    let rows = rows_of_one_day(&*files, &decoded()[..1]).expect("rows");
    let records = rows.iter().map(RecordBatch::num_rows).sum::<usize>() as u64;
    let source = TopicPartition::new("events", 0);
    let mut epoch = Epoch::first_of(tables.generation());
    let mut next = 0;
    let mut table = tables.into_committer(&CommitTrouble::default(), &SecondariesBehind::default());
    let mut group = criterion.benchmark_group("commit");
    group.throughput(Throughput::Elements(1));
    group.sample_size(20);
    group.bench_function("two files, local disk, SQLite", |bencher| {
        bencher.iter_batched(
            || {
                epoch = epoch.next();
                let written = (0..2).map(|worker| write(&*files, epoch, worker, &rows));
                let delta = PartitionDelta {
                    start: next,
                    next: next + 2 * records as i64,
                    leader_epoch: None,
                    max_event_time: None,
                    account: Account {
                        consumed: 2 * records,
                        landed: 2 * records,
                        ..Account::default()
                    },
                };
                next = delta.next;
                EpochCommit {
                    epoch,
                    watermark: None,
                    partitions: BTreeMap::from([(source.clone(), delta)]),
                    files: written.collect(),
                }
            },
            |epoch| table.commit(&epoch).expect("a commit"),
            // One at a time: an epoch is committed before the next is written.
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(
    stages,
    source_copy,
    decode,
    hash,
    exchange,
    verdict,
    state_write,
    parquet,
    commit
);
criterion_main!(stages);
