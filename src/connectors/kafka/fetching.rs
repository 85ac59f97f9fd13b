//! How a reading client fetches: what librdkafka holds, and how long a broker may collect records.

use std::time::Duration;

/// How often a full partition queue looks again whether it may fetch. 1000 ms by default, and stalls us
/// after backpressure (librdkafka, `fetch.queue.backoff.ms`).
const FETCH_QUEUE_BACKOFF_MS: u32 = 10;

/// librdkafka's own default for one partition's share of a fetch response.
const MAX_FETCH_BYTES: u64 = 1 << 20;

/// librdkafka's own default: how long a broker holds a fetch back for which it has nothing.
const FETCH_WAIT_MAX_MS: u128 = 500;

/// What a broker collects before it answers a fetch, if it comes within [`Fetching::wait`]. At more than this in that
/// time it answers as before; at less, a fetch for every few records costs several times what the records do.
const FETCH_MIN_BYTES: u32 = 64 << 10;

/// A partition whose queue is full is left out of the next fetch, and there is one fetch at a time: where no other
/// partition has records, it waits for as long as the broker may collect them. What the queue holds should last for that
/// long at this rate. With a thousand partitions, six of them with records, two workers drained 0.58 million records/s
/// where a broker might collect for 50 ms, and 0.89 with 20; less than that costs a broker more when nothing comes.
const QUEUE_LASTS_BYTES_PER_MS: u64 = 12_500;

/// A partition's queue is never smaller than this, whatever the budget: a fetch must fit.
const MIN_QUEUE_BYTES: u64 = 256 << 10;

/// librdkafka's limit of `queued.max.messages.kbytes`.
const MAX_QUEUE_KBYTES: u64 = 2_097_151;

/// How a reading client fetches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetching {
    /// Bounds what librdkafka holds, all partitions together; 256 KiB a partition is the least.
    pub queue_bytes: u64,
    /// How long a broker may collect records before it answers; zero for an answer as soon as there is one.
    pub wait: Duration,
}

impl Fetching {
    /// librdkafka's properties for a client that reads `partitions` partitions.
    pub(super) fn properties(self, partitions: usize) -> [(&'static str, String); 7] {
        // With split queues librdkafka's limits count per partition.
        let share = (self.queue_bytes / partitions.max(1) as u64).max(MIN_QUEUE_BYTES);
        let lasts_ms = u128::from(share / QUEUE_LASTS_BYTES_PER_MS);
        let (min_bytes, wait_ms) = match self.wait.as_millis() {
            0 => (1, FETCH_WAIT_MAX_MS),
            wait_ms => (FETCH_MIN_BYTES, wait_ms.min(lasts_ms)),
        };
        [
            ("fetch.min.bytes", min_bytes.to_string()),
            ("fetch.wait.max.ms", wait_ms.to_string()),
            ("fetch.queue.backoff.ms", FETCH_QUEUE_BACKOFF_MS.to_string()),
            (
                "queued.max.messages.kbytes",
                (share >> 10).clamp(1, MAX_QUEUE_KBYTES).to_string(),
            ),
            // The bytes bound it; the count only must not bind first for small records.
            (
                "queued.min.messages",
                (share / 64).clamp(1_000, 1_000_000).to_string(),
            ),
            // Costs nothing that could be measured (1.2M records/s with it, 0.9M without, on a noisy machine),
            // and a damaged record would land otherwise.
            ("check.crcs", "true".to_owned()),
            // A queue overshoots its limit by one fetch.
            (
                "fetch.message.max.bytes",
                (share / 2).min(MAX_FETCH_BYTES).to_string(),
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn properties(
        queue_bytes: u64,
        wait_ms: u64,
        partitions: usize,
    ) -> BTreeMap<&'static str, String> {
        let wait = Duration::from_millis(wait_ms);
        let fetching = Fetching { queue_bytes, wait };
        fetching.properties(partitions).into_iter().collect()
    }

    #[test]
    fn a_broker_collects_for_as_long_as_it_may_and_answers_at_once_when_it_may_not() {
        let collects = properties(8 << 20, 50, 1);
        assert_eq!(collects["fetch.wait.max.ms"], "50");
        assert_eq!(collects["fetch.min.bytes"], "65536");
        let at_once = properties(8 << 20, 0, 1);
        assert_eq!(at_once["fetch.min.bytes"], "1");
        // Only for how long a fetch without an answer stays with the broker.
        assert_eq!(at_once["fetch.wait.max.ms"], "500");
    }

    #[test]
    fn partitions_share_the_queue_and_a_fetch_fits_into_each_share() {
        let kib = |shared: &BTreeMap<&str, String>| -> u64 {
            let kib = shared["queued.max.messages.kbytes"].parse();
            kib.expect("a number")
        };
        let fetch = |shared: &BTreeMap<&str, String>| -> u64 {
            let bytes = shared["fetch.message.max.bytes"].parse();
            bytes.expect("a number")
        };
        let of_four = properties(8 << 20, 50, 4);
        assert_eq!((kib(&of_four), fetch(&of_four)), (2048, 1 << 20));
        let of_thousand = properties(8 << 20, 50, 1000);
        assert_eq!((kib(&of_thousand), fetch(&of_thousand)), (256, 128 << 10));
        assert_eq!(of_four["fetch.wait.max.ms"], "50");
        assert_eq!(
            of_thousand["fetch.wait.max.ms"], "20",
            "a queue lasts longer"
        );
        let of_none = properties(u64::MAX, 50, 0);
        assert_eq!((kib(&of_none), fetch(&of_none)), (2_097_151, 1 << 20));
        for always in [of_four, of_thousand, of_none] {
            assert_eq!(always["check.crcs"], "true");
            assert_eq!(always["fetch.queue.backoff.ms"], "10");
        }
    }
}
