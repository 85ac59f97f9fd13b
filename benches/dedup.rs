//! CPU time an event for deduplication alone: hash, tiers, filters, look-ups, sorting, ingestion and
//! compaction, one worker's share, without timely. One event in ten is a duplicate of any earlier one.
//!
//!     cargo bench --bench dedup -- [MILLIONS OF IDS, default 12] [FOLDER, default a temporary one]
//!
//! Prints a line every two million events: CPU microseconds an event since the line before (all threads,
//! compaction included), and what answered.

use std::collections::VecDeque;
use std::time::Instant;

use strandline::connectors::rocksdb::{RocksIdStore, StoreCache, StoreIdentity};
use strandline_operators::Result;
use strandline_operators::dedup::filter::BITS_PER_ID;
use strandline_operators::dedup::hash::hash_string;
use strandline_operators::dedup::judge::Judge;
use strandline_operators::io::{IdStore, StateMarker};
use strandline_operators::time::Epoch;

const BATCH: u64 = 2000;
const EPOCH_EVENTS: u64 = 500_000;
const LINE_EVENTS: u64 = 2_000_000;
const TTL_HOURS: u32 = 24;
const CACHE_BYTES: usize = 128 << 20;

/// User and system time of the process, in seconds. 100 ticks a second on Linux.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = |n: usize| {
        after_name
            .split_whitespace()
            .nth(n)
            .and_then(|t| t.parse::<f64>().ok())
            .unwrap_or(0.0)
    };
    (ticks(11) + ticks(12)) / 100.0
}

fn peak_rss() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|l| l.strip_prefix("VmHWM:"))
        .unwrap_or("?")
        .trim()
        .to_owned()
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).filter(|a| a != "--bench");
    let ids: u64 = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(12) * 1_000_000;
    let temporary = tempfile::tempdir().expect("temporary folder");
    let dir = arguments
        .next()
        .map_or_else(|| temporary.path().to_owned(), Into::into);
    let identity = StoreIdentity {
        table_uuid: "bench".to_owned(),
        job: "bench".to_owned(),
        key: "event_id".to_owned(),
        hash_seed: 1,
        ttl_ms: 86_400_000,
        workers: 1,
        worker: 0,
    };
    let store =
        RocksIdStore::open(&dir, &identity, &StoreCache::new(CACHE_BYTES), |_| false)?.store;
    let mut judge = Judge::new(ids * BITS_PER_ID / 8, TTL_HOURS);

    let mut random = 1u64;
    let mut epoch = Epoch::first_of(1);
    let (mut events, mut next_id, mut duplicates_seen) = (0u64, 0u64, 0u64);
    let mut line_cpu = cpu_seconds();
    let started = Instant::now();
    let mut open: VecDeque<Epoch> = VecDeque::new();
    let mut id = String::new();
    println!(
        "{:>10} {:>12} {:>10} {:>10} {:>10} {:>12}",
        "events", "us/event", "memory", "filter", "store", "peak RSS"
    );
    while next_id < ids {
        let (mut hashes, mut buckets) = (Vec::new(), Vec::new());
        for _ in 0..BATCH {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let number = if random.is_multiple_of(10) && next_id > 0 {
                (random >> 8) % next_id
            } else {
                next_id
            };
            next_id += u64::from(number == next_id);
            // As long as a UUID, and in the bucket of its own event time.
            use std::fmt::Write as _;
            id.clear();
            let _ = write!(id, "{number:032x}-bench");
            hashes.push(hash_string(&id, identity.hash_seed));
            buckets.push(1000 + TTL_HOURS + (number * u64::from(TTL_HOURS) / ids) as u32);
        }
        let remember = vec![true; hashes.len()];
        let (mut duplicates, mut questions) = (Vec::new(), Vec::new());
        judge.judge(
            epoch,
            &hashes,
            &buckets,
            &remember,
            &mut duplicates,
            &mut questions,
        );
        duplicates_seen += duplicates.iter().filter(|&&d| d).count() as u64;
        let asked: Vec<_> = questions.iter().map(|(_, question)| *question).collect();
        let known =
            strandline_operators::dedup::lookup::answer_all(&store, &asked, &judge.slab_buckets())?;
        for (question, known) in asked.iter().zip(known) {
            judge.answer(epoch, question, known);
            duplicates_seen += u64::from(known);
        }
        events += BATCH;
        if events % EPOCH_EVENTS == 0 {
            open.push_back(epoch);
            epoch = epoch.next();
            if open.len() > 2 {
                let durable = open.pop_front();
                judge.commit(|e| Some(e) <= durable, Instant::now());
            }
            if let Some(mut flush) = judge.flush(Instant::now(), false) {
                flush.sort();
                store.ingest(
                    &flush.ids,
                    Some(StateMarker {
                        generation: 1,
                        epoch: flush.epoch,
                    }),
                )?;
                judge.ingested(flush.ids);
                while judge.retire(1 << 16) {}
            }
        }
        if events % LINE_EVENTS == 0 {
            let (cpu, answers) = (cpu_seconds(), judge.take_answers());
            println!(
                "{events:>10} {:>12.3} {:>10} {:>10} {:>10} {:>12}",
                (cpu - line_cpu) * 1e6 / LINE_EVENTS as f64,
                answers.memory,
                answers.filter,
                answers.store,
                peak_rss()
            );
            line_cpu = cpu;
        }
    }
    assert_eq!(
        duplicates_seen,
        events - next_id,
        "every duplicate and nothing else is found"
    );
    println!(
        "{events} events, {next_id} ids, {:.3} CPU-us an event, {:.1} s",
        cpu_seconds() * 1e6 / events as f64,
        started.elapsed().as_secs_f64()
    );
    Ok(())
}
