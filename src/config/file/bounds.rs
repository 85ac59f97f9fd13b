//! What a setting may be at least and at most.

use std::ops::RangeInclusive;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

/// Ten years: longer than anything sensible, and far from overflow in microseconds.
const LONGEST: Duration = Duration::from_secs(3650 * 86_400);

/// Bounds of `commit.interval`. Below 10 ms a local catalog does nothing but commit.
pub const COMMIT_INTERVAL: RangeInclusive<Duration> = Duration::from_millis(10)..=HOUR;
/// Bounds of `commit.max_bytes`.
pub const COMMIT_MAX_BYTES: RangeInclusive<u64> = 64 << 10..=64 << 30;
/// Bounds of `memory`. Below 64 MiB librdkafka's queues and the filters have no room.
pub const MEMORY: RangeInclusive<u64> = 64 << 20..=1 << 40;
/// Bounds of `max_record_bytes`. Kafka's own limit is an i32.
pub const MAX_RECORD_BYTES: RangeInclusive<u64> = 1 << 10..=(1 << 31) - 1;
/// Bounds of durations that may be nothing.
pub const FROM_ZERO: RangeInclusive<Duration> = Duration::ZERO..=LONGEST;
/// Bounds of `watermark.idle_timeout`.
pub const IDLE_TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(1)..=LONGEST;
/// Bounds of `partition_discovery_interval`. More often is a burden on the broker, and of no use.
pub const PARTITION_DISCOVERY_INTERVAL: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(86_400);
/// Bounds of `dedup.ttl`.
pub const DEDUP_TTL: RangeInclusive<Duration> = Duration::from_secs(1)..=LONGEST;
/// Bounds of `restart.delay`.
pub const RESTART_DELAY: RangeInclusive<Duration> = Duration::ZERO..=HOUR;
/// Most restarts in a row.
pub const MAX_RESTART_ATTEMPTS: u32 = 1_000_000;
