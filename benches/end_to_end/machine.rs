//! The machine that measured: what it is, and how fast its memory was while it measured.

use std::process::Command;
use std::time::Instant;

use serde_json::{Value, json};

use crate::Outcome;

/// Larger than any cache that one tenant of a shared machine can count on.
const MEMORY_MIB: usize = 64;
/// Enough to last some hundred milliseconds.
const READS: usize = 1_000_000;
/// Of the shuffle; any will do.
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// What a reader must know to compare.
///
/// # Errors
/// Linux does not tell.
pub fn facts() -> Outcome<Value> {
    Ok(json!({
        "cpu": line_of("/proc/cpuinfo", "model name")?,
        "cores": std::thread::available_parallelism()?.get(),
        "memory": line_of("/proc/meminfo", "MemTotal")?,
        "kernel": std::fs::read_to_string("/proc/sys/kernel/osrelease")?.trim(),
        "load_at_start": std::fs::read_to_string("/proc/loadavg")?.trim(),
        "random_read_ns": random_read_ns().round(),
    }))
}

/// The commit that was measured, with a mark when files differ from it.
pub fn commit() -> String {
    let described = Command::new("git")
        .args(["describe", "--always", "--dirty", "--abbrev=12"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    let text = described.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned());
    text.unwrap_or_default()
}

/// How long a read takes that depends on the one before it, anywhere in 64 MiB, in nanoseconds.
///
/// Both engines look ids up in memory that no cache holds, so their CPU time an event follows this. On a virtual
/// machine it changes with what the neighbours do: runs whose values differ cannot be compared.
pub fn random_read_ns() -> f64 {
    let length = MEMORY_MIB * 1024 * 1024 / size_of::<u64>();
    let next = one_cycle(length);
    let began = Instant::now();
    let mut at = 0;
    for _ in 0..READS {
        at = next[at as usize];
    }
    let took = began.elapsed().as_nanos() as f64;
    std::hint::black_box(at);
    took / READS as f64
}

/// A permutation that is one cycle, so that following it visits everything in no order that could be foreseen
/// (Sattolo's shuffle).
fn one_cycle(length: usize) -> Vec<u64> {
    let mut next: Vec<u64> = (0..length as u64).collect();
    let mut random = SEED;
    for i in (1..length).rev() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        next.swap(i, (random % i as u64) as usize);
    }
    next
}

fn line_of(file: &str, key: &str) -> Outcome<String> {
    let text = std::fs::read_to_string(file)?;
    let line = text.lines().find(|line| line.starts_with(key));
    let value = line.and_then(|line| line.split_once(':'));
    Ok(value.map_or_else(String::new, |(_, value)| value.trim().to_owned()))
}
