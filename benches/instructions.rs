//! What each stage costs in instructions a record, for a machine that counts them (Valgrind): figures that are
//! the same whatever else runs, so that a regression shows without timing noise.
//!
//! `cargo xtask bench instructions` runs every stage twice under Valgrind, with different numbers of repeats:
//! the difference is the stage alone. One thread; events of the job `roman-numerals`.

#[path = "fixtures/mod.rs"]
mod fixtures;

use std::collections::HashMap;
use std::hint::black_box;
use std::process::ExitCode;

use fixtures::{
    BATCH_RECORDS, BATCHES, FILTER_BYTES, TTL_HOURS, judge_new, raw_batches, rows_of_one_day,
    tables,
};
use strandline::connectors::iceberg::open_files;
use strandline_jobs::roman_numerals::ROMAN_NUMERALS;
use strandline_operators::Result;
use strandline_operators::arrow_array::RecordBatch;
use strandline_operators::arrow_array::cast::AsArray;
use strandline_operators::decode::{Decoded, decoder};
use strandline_operators::dedup::hash::hash_strings;
use strandline_operators::dedup::judge::Judge;
use strandline_operators::io::{FileKey, Files, TableIndex};
use strandline_operators::time::Epoch;

const SEED: u64 = 7;

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
            let mut judges = Vec::new();
            for _ in 0..repeats {
                let mut judge = Judge::new(FILTER_BYTES, TTL_HOURS);
                judge_new(&mut judge, &hashes);
                // Kept: memory that is used again would be zeroed here, by instructions that depend on the processor.
                judges.push(judge);
            }
            black_box(&judges);
        }
        "parquet" => {
            let folder = tempfile::tempdir().map_err(|e| {
                strandline_operators::Error::internal(format!("no temporary folder: {e}"))
            })?;
            let files = open_files(tables(folder.path())?.description(), &HashMap::new())?;
            let day = rows_of_one_day(&*files, &decoded)?;
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
