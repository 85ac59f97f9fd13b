//! What each stage costs in instructions a record, for a machine that counts them (Valgrind): figures that are
//! the same whatever else runs, so that a regression shows without timing noise.
//!
//! `cargo xtask bench instructions` runs every stage twice under Valgrind, with different numbers of repeats:
//! the difference is the stage alone. One thread; events of the job `roman-numerals`.

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;

use bytes::Bytes;
use strandline::connectors::iceberg::{CatalogKind, CatalogSettings, IcebergConnector, open_files};
use strandline::generator::{GeneratedRecord, Generator, GeneratorConfig};
use strandline_jobs::roman_numerals::ROMAN_NUMERALS;
use strandline_operators::Result;
use strandline_operators::arrow_array::cast::AsArray;
use strandline_operators::arrow_array::{
    ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use strandline_operators::credit::Budget;
use strandline_operators::decode::{Decoded, decoder};
use strandline_operators::dedup::hash::hash_strings;
use strandline_operators::dedup::judge::Judge;
use strandline_operators::io::{FileKey, Files, TableIndex};
use strandline_operators::landing::claim::ClaimOptions;
use strandline_operators::record::{RawBatch, RawRecord, Span, TopicPartition};
use strandline_operators::time::{Epoch, EventTime};

/// Records in a batch, as many as the source takes at a time.
const BATCH_RECORDS: usize = 4096;
/// Batches that a stage works through in one repeat.
const BATCHES: usize = 4;
/// As large as the filters of a million ids.
const FILTER_BYTES: u64 = 2 << 20;
const TTL_HOURS: u32 = 24;
const SEED: u64 = 7;
const MICROS_PER_DAY: i64 = 86_400_000_000;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| arg != "--bench")
        .collect();
    let (Some(stage), Some(repeats)) = (args.first(), args.get(1).and_then(|n| n.parse().ok()))
    else {
        eprintln!("usage: instructions decode|hash|verdict|parquet REPEATS");
        return ExitCode::from(2);
    };
    match run(stage, repeats) {
        Ok(records) => {
            println!("{records}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Does a stage so many times; returns the records of one repeat.
fn run(stage: &str, repeats: usize) -> Result<usize> {
    let batches = raw_batches();
    let mut decoder = decoder(&ROMAN_NUMERALS.settings(), false)?;
    if stage == "decode" {
        for _ in 0..repeats {
            for batch in &batches {
                black_box(decoder.decode(black_box(batch)));
            }
        }
        return Ok(BATCHES * BATCH_RECORDS);
    }
    let decoded: Vec<Decoded> = batches.iter().map(|batch| decoder.decode(batch)).collect();
    let rows = decoded.iter().map(|d| d.columns.num_rows()).sum();
    let hash = |decoded: &Decoded| hash_strings(decoded.columns.column(0).as_string(), SEED);
    match stage {
        "hash" => {
            for _ in 0..repeats {
                decoded.iter().for_each(|d| drop(black_box(hash(d))));
            }
        }
        "verdict" => {
            let hashes: Vec<Vec<u128>> = decoded.iter().map(hash).collect();
            (0..repeats).for_each(|_| judge(&hashes));
        }
        "parquet" => {
            let folder = tempfile::tempdir().map_err(|e| {
                strandline_operators::Error::internal(format!("no temporary folder: {e}"))
            })?;
            let files = files(folder.path())?;
            let day = files_of_one_day(&*files, &decoded)?;
            for epoch in 0..repeats {
                write(&*files, epoch as u64, &day)?;
            }
        }
        _ => {
            return Err(strandline_operators::Error::configuration(format!(
                "there is no stage `{stage}`"
            )));
        }
    }
    Ok(rows)
}

/// Batches of generated events, none malformed or a copy: every record takes the usual path.
fn raw_batches() -> Vec<RawBatch> {
    let config = GeneratorConfig {
        events: (BATCHES * BATCH_RECORDS) as u64,
        partitions: 1,
        duplicates: 0.0,
        too_late: 0.0,
        malformed: 0.0,
        ..GeneratorConfig::default()
    };
    let mut generator = Generator::new(config);
    let mut record = GeneratedRecord::empty();
    let budget = Budget::new(1 << 30);
    (0..BATCHES)
        .map(|batch| {
            let mut arena = Vec::new();
            let mut records = Vec::with_capacity(BATCH_RECORDS);
            let start = (batch * BATCH_RECORDS) as i64;
            for offset in start..start + BATCH_RECORDS as i64 {
                generator.fill(&mut record);
                let from = arena.len() as u32;
                arena.extend_from_slice(record.value.as_deref().unwrap_or_default());
                let value = Span {
                    start: from,
                    end: arena.len() as u32,
                };
                records.push(RawRecord {
                    offset,
                    timestamp: Some(EventTime(record.timestamp_ms * 1000)),
                    key: None,
                    value: Some(value),
                });
            }
            let credit = budget.take(arena.len() as u64);
            RawBatch {
                source: TopicPartition::new("events", 0),
                start,
                next: start + BATCH_RECORDS as i64,
                leader_epoch: None,
                received_at: EventTime(record.timestamp_ms * 1000),
                arena: Bytes::from(arena),
                records,
                headers: None,
                credit,
            }
        })
        .collect()
}

/// Judges every id once, as new.
fn judge(hashes: &[Vec<u128>]) {
    let mut judge = Judge::new(FILTER_BYTES, TTL_HOURS);
    let (mut duplicates, mut questions) = (Vec::new(), Vec::new());
    for hashes in hashes {
        let buckets = vec![1000 + TTL_HOURS; hashes.len()];
        let remember = vec![true; hashes.len()];
        duplicates.clear();
        questions.clear();
        judge.judge(
            Epoch::first_of(1),
            hashes,
            &buckets,
            &remember,
            &mut duplicates,
            &mut questions,
        );
        black_box(&duplicates);
    }
}

fn files(folder: &std::path::Path) -> Result<Arc<dyn Files>> {
    let catalog = IcebergConnector::open(&CatalogSettings {
        kind: CatalogKind::Sql,
        uri: format!("sqlite://{}/catalog.db", folder.display()),
        warehouse: folder.join("warehouse").display().to_string(),
        properties: Default::default(),
    })?;
    let options = ClaimOptions {
        accept_new_fingerprint: false,
    };
    let tables = catalog.prepare(&ROMAN_NUMERALS.settings(), options, &mut |_| Ok(()))?;
    open_files(tables.description())
}

/// The rows as they are written: with the metadata columns behind the job's own.
fn files_of_one_day(files: &dyn Files, decoded: &[Decoded]) -> Result<Vec<RecordBatch>> {
    let schema = files.schema(TableIndex::PRIMARY);
    let utc = |micros: i64, rows: usize| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from(vec![micros; rows]).with_timezone("+00:00"))
    };
    decoded
        .iter()
        .map(|decoded| {
            let rows = decoded.columns.num_rows();
            let mut columns = decoded.columns.columns().to_vec();
            let offsets = decoded.rows.iter().map(|&row| i64::from(row));
            let more: [ArrayRef; 8] = [
                Arc::new(BooleanArray::from(vec![false; rows])),
                Arc::new(StringArray::from(vec!["events"; rows])),
                Arc::new(Int32Array::from(vec![0; rows])),
                Arc::new(Int64Array::from_iter_values(offsets)),
                utc(MICROS_PER_DAY, rows),
                utc(MICROS_PER_DAY, rows),
                Arc::new(Int64Array::from(vec![1; rows])),
                utc(MICROS_PER_DAY, rows),
            ];
            columns.extend(more);
            RecordBatch::try_new(Arc::clone(&schema), columns).map_err(|e| {
                strandline_operators::Error::internal(format!("rows that do not fit: {e}"))
            })
        })
        .collect()
}

fn write(files: &dyn Files, epoch: u64, rows: &[RecordBatch]) -> Result<()> {
    let key = FileKey {
        table: TableIndex::PRIMARY,
        day: 1,
        epoch: Epoch(Epoch::first_of(1).0 + epoch),
        worker: 0,
    };
    let mut file = files.open(key, &files.schema(TableIndex::PRIMARY))?;
    for rows in rows {
        file.write(rows)?;
    }
    black_box(file.close()?);
    Ok(())
}
