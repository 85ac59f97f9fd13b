//! Group offsets on their way to the broker: one request at a time, the newest offsets win.
//!
//! They are for people and lag tools, never for recovery, so nothing here is an error of the job.
//! rdkafka's asynchronous commit tells nobody how it ended (librdkafka answers only to an
//! `offset_commit_cb`, which rdkafka 0.39 does not set), so the answers come to a queue of our own.
//!
//! # Safety argument
//! The queue is made and destroyed here, once; it holds the consumer, so that the client outlives it. An
//! answer that comes after the queue is gone is dropped by librdkafka, which counts references. Events are
//! destroyed once read.

use std::collections::BTreeMap;
use std::ptr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka_sys as sys;
use strandline_operators::record::TopicPartition;

use super::client::{Consumer, Diagnosis};

/// How often a failed commit is logged.
const WARN_INTERVAL: Duration = Duration::from_secs(60);

/// How often it is told that we have no right to the group: as long as that is so, whoever looks shall find it.
const DENIED_INTERVAL: Duration = Duration::from_secs(10);

/// How the report of a refusal begins.
pub const REFUSED: &str = "group offsets are not committed";

/// The group offsets of one consumer.
pub(super) struct GroupCommits {
    pending: BTreeMap<TopicPartition, i64>,
    in_flight: Option<BTreeMap<TopicPartition, i64>>,
    warned_at: Option<Instant>,
    /// When it was told last that we have no right to the group; `None` when we have.
    denied_at: Option<Instant>,
    answers: *mut sys::rd_kafka_queue_t,
    consumer: Arc<Consumer>,
}

// SAFETY: librdkafka's queues may be used from any thread.
unsafe impl Send for GroupCommits {}

impl GroupCommits {
    pub(super) fn new(consumer: &Arc<Consumer>) -> GroupCommits {
        // SAFETY: the client is valid; the queue is ours until `drop`.
        let answers = unsafe { sys::rd_kafka_queue_new(consumer.client().native_ptr()) };
        GroupCommits {
            pending: BTreeMap::new(),
            in_flight: None,
            warned_at: None,
            denied_at: None,
            answers,
            consumer: Arc::clone(consumer),
        }
    }

    /// Whether something is still on its way that may arrive.
    pub(super) fn is_busy(&self) -> bool {
        self.denied_at.is_none() && (self.in_flight.is_some() || !self.pending.is_empty())
    }

    /// The broker does not let us use the group. librdkafka hears that when it asks for the group's coordinator, says
    /// it once, and leaves what we commit without an answer, as for a coordinator that is late.
    pub(super) fn denied(&mut self, diagnosis: &Diagnosis) {
        self.denied_at = Some(Instant::now());
        self.warn(RDKafkaErrorCode::GroupAuthorizationFailed, diagnosis);
    }

    /// Everything before `next` is durable.
    pub(super) fn add(&mut self, source: TopicPartition, next: i64) {
        self.pending.insert(source, next);
    }

    /// Takes an answer that has come in within `wait`, and sends what is pending when none is awaited.
    pub(super) fn advance(&mut self, wait: Duration, diagnosis: &Diagnosis) {
        if self
            .denied_at
            .is_some_and(|at| at.elapsed() >= DENIED_INTERVAL)
        {
            self.denied(diagnosis);
        }
        if let Some(sent) = self.in_flight.take() {
            match self.answer(wait) {
                None => {
                    self.in_flight = Some(sent);
                    return;
                }
                // It was given up without a coordinator; one may be found later.
                Some(RDKafkaErrorCode::WaitingForCoordinator) => {
                    for (source, next) in sent {
                        self.pending.entry(source).or_insert(next);
                    }
                    if self.denied_at.is_none() {
                        self.warn(RDKafkaErrorCode::WaitingForCoordinator, diagnosis);
                    }
                }
                Some(RDKafkaErrorCode::NoError | RDKafkaErrorCode::NoOffset) => {
                    self.denied_at = None;
                }
                Some(code) => self.warn(code, diagnosis),
            }
        }
        if self.pending.is_empty() {
            return;
        }
        let mut list = TopicPartitionList::with_capacity(self.pending.len());
        for (source, next) in &self.pending {
            // The only failure is a topic name with a NUL, which cannot have been assigned.
            let _ =
                list.add_partition_offset(&source.topic, source.partition, Offset::Offset(*next));
        }
        // SAFETY: client, list and queue are valid; librdkafka copies the list.
        let code = unsafe {
            sys::rd_kafka_commit_queue(
                self.consumer.client().native_ptr(),
                list.ptr(),
                self.answers,
                None,
                ptr::null_mut(),
            )
        };
        match RDKafkaErrorCode::from(code) {
            RDKafkaErrorCode::NoError => self.in_flight = Some(std::mem::take(&mut self.pending)),
            code => {
                self.pending.clear();
                self.warn(code, diagnosis);
            }
        }
    }

    /// The answer to the request in flight.
    fn answer(&self, wait: Duration) -> Option<RDKafkaErrorCode> {
        let wait_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the queue is valid; a non-null event is ours to destroy, and is read before.
        unsafe {
            let event = sys::rd_kafka_queue_poll(self.answers, wait_ms);
            if event.is_null() {
                return None;
            }
            let code = sys::rd_kafka_event_error(event);
            sys::rd_kafka_event_destroy(event);
            Some(RDKafkaErrorCode::from(code))
        }
    }

    fn warn(&mut self, code: RDKafkaErrorCode, diagnosis: &Diagnosis) {
        let why = match code {
            RDKafkaErrorCode::UnknownMemberId
            | RDKafkaErrorCode::IllegalGeneration
            | RDKafkaErrorCode::RebalanceInProgress => "another consumer holds the group",
            RDKafkaErrorCode::GroupAuthorizationFailed => "the broker does not allow us to",
            _ => "the broker refuses",
        };
        let text = format!("{REFUSED}: {why} ({code})");
        if self
            .warned_at
            .is_none_or(|at| at.elapsed() >= WARN_INTERVAL)
        {
            tracing::warn!("{text}");
            self.warned_at = Some(Instant::now());
        }
        diagnosis.report(Some(code), &text);
    }
}

impl Drop for GroupCommits {
    fn drop(&mut self) {
        // SAFETY: our only reference, given back once.
        unsafe { sys::rd_kafka_queue_destroy(self.answers) };
        let _outlives_the_queue = &self.consumer;
    }
}
