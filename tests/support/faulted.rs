//! A job whose catalog is behind a proxy that misbehaves.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Catalog, CatalogProxy, Message, RomanNumerals, Running, Stack, events, stack};

const PARTITIONS: i32 = 4;
/// Of any one step; generous, for a machine that does other things too.
pub const DEADLINE: Duration = Duration::from_secs(180);
/// Events produced at a time: enough for a commit of both tables.
const CHUNK: usize = 100;
/// Between two such chunks, so that the judge has less to read.
const PACE: Duration = Duration::from_millis(30);
/// More than any test needs.
const EVENTS: usize = 1_000_000;

/// A job whose catalog is behind a proxy, and the events it is fed with.
pub struct Faulted {
    /// Before its catalog.
    pub proxy: CatalogProxy,
    /// The job.
    pub job: RomanNumerals,
    events: Box<dyn Iterator<Item = Message>>,
}

/// A client that gives up soon, so that a stall costs a test little; on a slow machine not so soon that a
/// start fails.
const IMPATIENT: &str = "rest.client.socket-timeout-ms: \"3000\"";

impl Faulted {
    /// With a client that waits as long as it does by default.
    pub fn new() -> Faulted {
        let stack = stack();
        let proxy = CatalogProxy::before(&stack.rest_uri);
        let through = Stack {
            rest_uri: proxy.uri(),
            ..stack
        };
        let job = RomanNumerals::on(
            &through,
            Catalog::Rest,
            PARTITIONS,
            "commit: { interval: 50ms }",
        );
        Faulted {
            proxy,
            job,
            events: Box::new(events(EVENTS, PARTITIONS, rand::random())),
        }
    }

    /// With a client that gives up soon, once the tables are there.
    #[track_caller]
    pub fn impatient() -> Faulted {
        let mut it = Faulted::new();
        it.feed();
        it.job.run_until_caught_up(&[], DEADLINE);
        it.job.reconfigure(
            "type: rest",
            &format!("type: rest\n  properties: {{ {IMPATIENT} }}"),
        );
        it
    }

    /// Produces a few events.
    pub fn feed(&mut self) {
        self.job.topic.produce(self.events.by_ref().take(CHUNK));
    }

    /// Starts the job.
    pub fn spawn(&self) -> Running {
        self.job.spawn(&["run", "roman-numerals", "--json"])
    }

    /// Feeds the job until `enough`.
    #[track_caller]
    pub fn feed_until(
        &mut self,
        what: &str,
        job: &mut Running,
        enough: impl Fn(&CatalogProxy) -> bool,
    ) {
        let started = Instant::now();
        while !enough(&self.proxy) {
            assert!(
                job.is_running(),
                "it ended while waiting for {what}:\n{}",
                job.stderr()
            );
            assert!(
                started.elapsed() < DEADLINE,
                "waited {DEADLINE:?} for {what}:\n{}",
                job.stderr()
            );
            self.feed();
            std::thread::sleep(PACE);
        }
    }

    /// Drains the job, runs it once more over what is left, and has everything judged.
    #[track_caller]
    pub fn drain_and_judge(&mut self, running: Running) -> Value {
        running.terminate();
        running.wait(DEADLINE).expect_exit(143);
        self.proxy.calm();
        self.judge()
    }

    /// Runs the job over what is left, and has everything judged.
    #[track_caller]
    pub fn judge(&mut self) -> Value {
        self.feed();
        let printed = self.job.run_until_caught_up(&[], DEADLINE);
        self.job.judge_with_account(&printed)
    }
}
