//! Reading the deduplication state back from the table, its folder deleted: ids a second, CPU, memory.
//!
//! `cargo xtask bench read-back [--ids N] [--workers W] [--processes P] [--commit-rows N]`. Needs no broker.
//! Writes a Bronze table with the job's own writer and committer, a commit of two files a second at the rate
//! that `--commit-rows` is, and then opens the state as process 0 of `P` does: with its folder gone, and again
//! with it there. Prints what was measured in this run, on this machine; nothing is compared with a number in
//! this file.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use strandline::connectors::iceberg::{
    CatalogKind, CatalogSettings, IcebergConnector, TablesDescription, open_files,
};
use strandline::connectors::kafka::client::KafkaSettings;
use strandline::engine::JobRun;
use strandline::engine::cluster::ClusterShape;
use strandline::engine::start::StartingPoint;
use strandline::engine::state;
use strandline_jobs::roman_numerals::ROMAN_NUMERALS;
use strandline_operators::account::Account;
use strandline_operators::arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use strandline_operators::arrow_schema::DataType;
use strandline_operators::host::Machine;
use strandline_operators::io::{FileKey, Files, TableIndex, WrittenFile};
use strandline_operators::job::JobSettings;
use strandline_operators::landing::behind::SecondariesBehind;
use strandline_operators::landing::claim::ClaimOptions;
use strandline_operators::landing::trouble::CommitTrouble;
use strandline_operators::progress::{EpochCommit, PartitionDelta};
use strandline_operators::record::TopicPartition;
use strandline_operators::time::{Epoch, EventTime};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// 2026-11-21, in days since 1970.
const DAY: i32 = 20_778;
const DAY_MICROS: i64 = 86_400_000_000;
/// All ids lie within this much event time, so that none has expired at the end.
const SPAN_MICROS: i64 = 20 * 3_600_000_000;
/// The watermark is behind the event time by the out-of-orderness.
const BEHIND_MICROS: i64 = 300_000_000;
/// Rows of a batch, as the engine decodes them.
const BATCH_ROWS: u64 = 8192;
/// Data files of a commit: what two workers write.
const FILES: u64 = 2;
/// Ids of a piece of a refill, as the engine takes them.
const REFILL_IDS: usize = 1 << 17;
/// Clock ticks in a second, as Linux counts CPU time in /proc (USER_HZ).
const TICKS_PER_SECOND: f64 = 100.0;

fn main() -> Outcome {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench" && a != "read-back")
        .collect();
    let number = |name: &str, default: u64| -> Outcome<u64> {
        match args.iter().position(|a| a == name) {
            Some(at) => Ok(args
                .get(at + 1)
                .ok_or(format!("{name} needs a number"))?
                .replace('_', "")
                .parse()?),
            None => Ok(default),
        }
    };
    let ids = number("--ids", 10_000_000)?;
    let workers = number("--workers", 2)?.max(1);
    let processes = number("--processes", 1)?.max(1);
    let commit_rows = number("--commit-rows", 200_000)?.max(FILES);

    let folder = tempfile::tempdir()?;
    let run = job_run(folder.path(), workers as usize, processes as usize);
    let start = write_table(&run, ids, commit_rows)?;

    // A new peak from here on: the writer's memory is not what is measured.
    std::fs::write("/proc/self/clear_refs", "5")?;
    let (rss_before, cpu_before, started) = (memory("VmRSS:"), cpu_seconds(), Instant::now());
    let states = state::open(&run, &start, &Machine)?;
    let (seconds, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds() - cpu_before);
    let entries: u64 = states.iter().flatten().map(|s| s.judge.entries()).sum();
    if processes == 1 && entries != ids {
        return Err(format!("{entries} ids are known of {ids}").into());
    }
    let share = entries as f64;
    println!("{ids} ids in the table, {entries} of them this process' share, {workers} workers");
    println!("  {seconds:.2} s, {:.0} ids a second", share / seconds);
    println!(
        "  {:.3} CPU-us an id, {:.2} million ids a second and core",
        cpu * 1e6 / share,
        share / cpu / 1e6
    );
    println!(
        "  peak RSS {} MB, {} MB before",
        memory("VmHWM:") / 1024,
        rss_before / 1024
    );
    drop(states);
    open_again(&run, &start, entries)
}

/// With the state still there, as after a kill: what comes before the first record, and what behind it.
fn open_again(run: &JobRun, start: &StartingPoint, ids: u64) -> Outcome {
    let started = Instant::now();
    let states = state::open(run, start, &Machine)?;
    println!(
        "opened again with its state in {:.0} ms",
        started.elapsed().as_secs_f64() * 1e3
    );
    let (started, cpu) = (Instant::now(), cpu_seconds());
    let mut refilled = 0;
    for mut state in states.into_iter().flatten() {
        while let Some(from) = state.judge.refill_from() {
            state.judge.refilled(&state.store.scan(from, REFILL_IDS)?);
        }
        refilled += state.judge.entries();
    }
    if refilled != ids {
        return Err(format!("the filters have {refilled} ids of {ids}").into());
    }
    println!(
        "  filters refilled on one thread in {:.2} s, {:.3} CPU-us an id",
        started.elapsed().as_secs_f64(),
        (cpu_seconds() - cpu) * 1e6 / ids as f64
    );
    Ok(())
}

fn job_run(folder: &Path, workers: usize, processes: usize) -> JobRun {
    let mut settings: JobSettings = ROMAN_NUMERALS.settings();
    settings.topics = vec!["bench".to_owned()];
    JobRun {
        registry: None,
        settings,
        kafka: KafkaSettings::new("localhost:1".to_owned()),
        catalog: CatalogSettings {
            kind: CatalogKind::Sql,
            uri: format!("sqlite://{}/catalog.db", folder.display()),
            warehouse: folder.join("warehouse").display().to_string(),
            properties: Default::default(),
        },
        state_dir: folder.join("state"),
        shape: ClusterShape {
            workers,
            process: 0,
            addresses: vec!["localhost:1".to_owned(); processes],
        },
        until_caught_up: false,
        accept_new_fingerprint: false,
        from_savepoint: None,
    }
}

/// Writes and commits the table, and claims the next generation on it.
fn write_table(run: &JobRun, ids: u64, commit_rows: u64) -> Outcome<StartingPoint> {
    let iceberg = IcebergConnector::open(&run.catalog)?;
    let prepare = || iceberg.prepare(&run.settings, ClaimOptions::default(), &mut |_| Ok(()));
    let tables = prepare()?;
    let files = open_files(tables.description(), &HashMap::new())?;
    let mut epoch = Epoch::first_of(tables.generation());
    let mut table = tables.into_committer(&CommitTrouble::default(), &SecondariesBehind::default());
    let (mut next, mut commits, started) = (0, 0, Instant::now());
    while next < ids {
        let upto = (next + commit_rows).min(ids);
        let middle = next + (upto - next) / FILES;
        let written = [(0, next..middle), (1, middle..upto)]
            .into_iter()
            .filter(|(_, rows)| !rows.is_empty())
            .map(|(worker, rows)| write_file(&*files, epoch, worker, rows, ids))
            .collect::<Outcome<Vec<_>>>()?;
        let max_event_time = EventTime(event_time(upto - 1, ids));
        let account = Account {
            consumed: upto - next,
            landed: upto - next,
            ..Account::default()
        };
        let delta = PartitionDelta {
            start: next as i64,
            next: upto as i64,
            leader_epoch: None,
            max_event_time: Some(max_event_time),
            account,
        };
        table.commit(&EpochCommit {
            epoch,
            watermark: Some(EventTime(max_event_time.0 - BEHIND_MICROS)),
            partitions: BTreeMap::from([(TopicPartition::new("bench", 0), delta)]),
            files: written,
        })?;
        (next, epoch, commits) = (upto, epoch.next(), commits + 1);
    }
    println!(
        "the table has {ids} rows in {commits} commits, written in {:.1} s",
        started.elapsed().as_secs_f64()
    );
    drop(table);
    let tables = prepare()?;
    Ok(StartingPoint {
        progress: tables.progress().clone(),
        partitions: Vec::new(),
        formats: run.settings.formats_by_topic(),
        tables: TablesDescription::clone(tables.description()),
    })
}

fn event_time(row: u64, ids: u64) -> i64 {
    let share = row as f64 / ids as f64;
    i64::from(DAY) * DAY_MICROS + (share * SPAN_MICROS as f64) as i64
}

/// An id as long and as random as a UUID; another for every row.
fn event_id(row: u64) -> String {
    // splitmix64, twice: a bijection of the row's number, so that none repeats.
    let mix = |mut z: u64| {
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let high = mix(row.wrapping_add(0x9e37_79b9_7f4a_7c15));
    let low = mix(high);
    let text = format!("{high:016x}{low:016x}");
    let parts = [
        &text[..8],
        &text[8..12],
        &text[12..16],
        &text[16..20],
        &text[20..],
    ];
    parts.join("-")
}

fn write_file(
    files: &dyn Files,
    epoch: Epoch,
    worker: u32,
    rows: std::ops::Range<u64>,
    ids: u64,
) -> Outcome<WrittenFile> {
    let key = FileKey {
        table: TableIndex::PRIMARY,
        day: DAY,
        epoch,
        worker,
    };
    let schema = files.schema(TableIndex::PRIMARY);
    let mut writer = files.open(key, &schema)?;
    let mut next = rows.start;
    while next < rows.end {
        let upto = (next + BATCH_ROWS).min(rows.end);
        let columns = schema
            .fields()
            .iter()
            .map(|field| column(field.name(), field.data_type(), next..upto, epoch, ids));
        let columns = columns.collect::<Outcome<Vec<_>>>()?;
        writer.write(&RecordBatch::try_new(Arc::clone(&schema), columns)?)?;
        next = upto;
    }
    Ok(writer.close()?)
}

fn column(
    name: &str,
    data_type: &DataType,
    rows: std::ops::Range<u64>,
    epoch: Epoch,
    ids: u64,
) -> Outcome<ArrayRef> {
    let texts = |of: &dyn Fn(u64) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(rows.clone().map(of)))
    };
    let times = |of: &dyn Fn(u64) -> i64| -> ArrayRef {
        let times = TimestampMicrosecondArray::from_iter_values(rows.clone().map(of));
        Arc::new(times.with_timezone("+00:00"))
    };
    let few = |row: u64, of: u64| (row.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) % of;
    Ok(match (name, data_type) {
        ("event_id", _) => texts(&event_id),
        ("kafka_topic", _) => texts(&|_| "bench".to_owned()),
        ("ingest_watermark", _) => times(&|row| event_time(row, ids) - BEHIND_MICROS),
        ("ingest_epoch", _) => Arc::new(Int64Array::from_iter_values(rows.map(|_| epoch.0 as i64))),
        ("kafka_offset", _) => Arc::new(Int64Array::from_iter_values(rows.map(|row| row as i64))),
        (_, DataType::Utf8) => texts(&|row| format!("user-{:05}", few(row, 20_000))),
        (_, DataType::Timestamp(..)) => times(&|row| event_time(row, ids)),
        (_, DataType::Int32) => Arc::new(Int32Array::from_iter_values(
            rows.map(|row| few(row, 3999) as i32),
        )),
        (_, DataType::Int64) => Arc::new(Int64Array::from_iter_values(
            rows.map(|row| few(row, 3999) as i64),
        )),
        (_, DataType::Float64) => Arc::new(Float64Array::from_iter_values(
            rows.map(|row| few(row, 1000) as f64 / 8.0),
        )),
        (_, DataType::Boolean) => Arc::new(BooleanArray::from_iter(rows.map(|_| Some(false)))),
        (name, other) => return Err(format!("no values for column `{name}`: {other}").into()),
    })
}

/// User and system time of this process.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = |nth: usize| -> f64 {
        let field = after_name.split_whitespace().nth(nth);
        field.and_then(|t| t.parse().ok()).unwrap_or(0.0)
    };
    (ticks(11) + ticks(12)) / TICKS_PER_SECOND
}

/// A line of /proc/self/status, in KiB.
fn memory(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|l| l.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}
