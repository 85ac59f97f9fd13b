//! A partition's queue of fetched messages, and taking thousands of them at a time.
//!
//! rdkafka hands out one message at a time through an event: 0.92 CPU-us a record for the whole process
//! and 1.5M records/s at 245 B. `rd_kafka_consume_batch_queue` on split queues, payloads copied once:
//! 0.42 and 2.9M. So this file, and only this file, calls librdkafka for messages.
//!
//! # Safety argument
//! - A [`PartitionQueue`] owns one reference of a queue handle (`rd_kafka_queue_get_partition`) and gives
//!   it back once, on drop. It holds the consumer that the handle belongs to, so the client outlives it.
//! - The non-empty callback's opaque points into an `Arc<Readiness>` that the queue holds. librdkafka reads
//!   and clears callback and opaque under the queue's lock, and calls the callback under it: once
//!   `rd_kafka_queue_cb_event_enable(.., None, ..)` has returned, it is never called again. Only after that
//!   may the `Arc` go. The callback touches an atomic and nothing of librdkafka's (the queue's lock is held and
//!   not recursive).
//! - A [`Fetched`] owns the messages that librdkafka returned: each pointer is destroyed once, when passed
//!   or on drop, and read only before. It holds the consumer, because `rd_kafka_destroy` waits for messages.
//! - Payload and key pointers are valid for `len` and `key_len` bytes until the message is destroyed, and so
//!   are the headers; the slices borrow the [`Fetched`], which is borrowed mutably to destroy one.
//! - librdkafka's handles may be used from any thread; `Send` rests on that. Nothing here is `Sync`.

use std::ffi::{CStr, CString, c_void};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rdkafka::consumer::Consumer as _;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka_sys as sys;
use strandline_operators::record::TopicPartition;
use strandline_operators::{Error, Result};

use super::client::Consumer;

/// Whether a queue may hold messages.
#[derive(Default)]
pub(super) struct Readiness {
    ready: AtomicBool,
}

impl Readiness {
    /// Says that the queue may hold something.
    pub(super) fn set(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// Whether the queue may hold something; assumes not from here on.
    pub(super) fn take(&self) -> bool {
        // A plain load first: most queues are empty most of the time.
        self.ready.load(Ordering::Relaxed) && self.ready.swap(false, Ordering::AcqRel)
    }
}

unsafe extern "C" fn queue_is_not_empty(_client: *mut sys::rd_kafka_t, opaque: *mut c_void) {
    // SAFETY: the opaque is the `Readiness` of a live `PartitionQueue`; see the safety argument.
    let readiness = unsafe { &*opaque.cast::<Readiness>() };
    readiness.set();
}

/// The queue of one partition.
pub(super) struct PartitionQueue {
    queue: *mut sys::rd_kafka_queue_t,
    readiness: Arc<Readiness>,
    consumer: Arc<Consumer>,
}

// SAFETY: see the safety argument.
unsafe impl Send for PartitionQueue {}

impl PartitionQueue {
    /// Splits the partition's messages off the consumer's common queue.
    ///
    /// To be called before the partition is assigned: `assign` forwards a partition's queue to the common
    /// one unless the application has said where it goes (`RD_KAFKA_Q_F_FWD_APP`). After `assign`, the
    /// first messages could already have gone there.
    pub(super) fn split(
        consumer: &Arc<Consumer>,
        source: &TopicPartition,
    ) -> Result<PartitionQueue> {
        let invalid = || Error::internal(format!("cannot split the queue of partition {source}"));
        let topic = CString::new(&*source.topic).map_err(|_| invalid())?;
        let client = consumer.client().native_ptr();
        // SAFETY: client and topic are valid for the call; the result is null or a reference that is ours.
        let queue =
            unsafe { sys::rd_kafka_queue_get_partition(client, topic.as_ptr(), source.partition) };
        if queue.is_null() {
            return Err(invalid());
        }
        let readiness = Arc::new(Readiness::default());
        readiness.set();
        let opaque = Arc::as_ptr(&readiness).cast_mut().cast::<c_void>();
        // SAFETY: the queue is valid; the opaque lives until `drop` has disabled the callback.
        unsafe {
            sys::rd_kafka_queue_forward(queue, ptr::null_mut());
            sys::rd_kafka_queue_cb_event_enable(queue, Some(queue_is_not_empty), opaque);
        }
        Ok(PartitionQueue {
            queue,
            readiness,
            consumer: Arc::clone(consumer),
        })
    }

    /// Whether the queue may hold messages.
    pub(super) fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// Takes up to `max` messages, without waiting, into `fetched`, which must be empty.
    pub(super) fn fetch(&self, fetched: &mut Fetched, max: usize) {
        fetched.clear();
        fetched.messages.reserve(max);
        let slots = fetched.messages.spare_capacity_mut();
        let max = max.min(slots.len());
        // SAFETY: `slots` has room for `max` pointers; librdkafka writes as many as it returns.
        let taken = unsafe {
            let taken =
                sys::rd_kafka_consume_batch_queue(self.queue, 0, slots.as_mut_ptr().cast(), max);
            let taken = usize::try_from(taken).unwrap_or(0).min(max);
            fetched.messages.set_len(taken);
            taken
        };
        if taken == max {
            // There may be more, and no callback for it: the queue was never empty.
            self.readiness.set();
        }
    }
}

impl Drop for PartitionQueue {
    fn drop(&mut self) {
        // SAFETY: disables the callback before the `Readiness` goes, then gives our reference back.
        unsafe {
            sys::rd_kafka_queue_cb_event_enable(self.queue, None, ptr::null_mut());
            sys::rd_kafka_queue_destroy(self.queue);
        }
        let _outlives_the_queue = &self.consumer;
    }
}

/// Messages taken out of a queue, in order.
pub(super) struct Fetched {
    messages: Vec<*mut sys::rd_kafka_message_t>,
    at: usize,
    consumer: Arc<Consumer>,
}

// SAFETY: see the safety argument.
unsafe impl Send for Fetched {}

impl Fetched {
    pub(super) fn new(consumer: &Arc<Consumer>) -> Fetched {
        Fetched {
            messages: Vec::new(),
            at: 0,
            consumer: Arc::clone(consumer),
        }
    }

    /// The messages not yet passed.
    pub(super) fn rest(&self) -> impl Iterator<Item = Message<'_>> {
        self.messages[self.at..].iter().map(|&message| {
            // SAFETY: messages from `at` on are not destroyed yet, and live as long as the borrow.
            Message(unsafe { &*message })
        })
    }

    /// Whether all messages have been passed.
    pub(super) fn is_empty(&self) -> bool {
        self.at == self.messages.len()
    }

    /// Destroys the next `count` messages.
    pub(super) fn pass(&mut self, count: usize) {
        let end = (self.at + count).min(self.messages.len());
        for &message in &self.messages[self.at..end] {
            // SAFETY: each is destroyed once; `at` moves past it before anything reads again.
            unsafe { sys::rd_kafka_message_destroy(message) };
        }
        self.at = end;
    }

    fn clear(&mut self) {
        self.pass(self.messages.len() - self.at);
        self.messages.clear();
        self.at = 0;
    }
}

impl Drop for Fetched {
    fn drop(&mut self) {
        self.clear();
        let _outlives_the_messages = &self.consumer;
    }
}

/// A message: a record, or what happened instead of one.
#[derive(Clone, Copy)]
pub(super) struct Message<'a>(&'a sys::rd_kafka_message_t);

impl<'a> Message<'a> {
    /// Its offset; with an error, the offset that the error is about.
    pub(super) fn offset(self) -> i64 {
        self.0.offset
    }

    /// What happened instead of a record.
    pub(super) fn error(self) -> Option<RDKafkaErrorCode> {
        match RDKafkaErrorCode::from(self.0.err) {
            RDKafkaErrorCode::NoError => None,
            code => Some(code),
        }
    }

    /// librdkafka's text for the error.
    pub(super) fn error_text(self) -> String {
        // SAFETY: the message is valid; the text is null or lives as long as the message.
        unsafe {
            let text = sys::rd_kafka_message_errstr(self.0);
            if text.is_null() {
                String::new()
            } else {
                CStr::from_ptr(text).to_string_lossy().into_owned()
            }
        }
    }

    /// The timestamp in milliseconds since 1970; `None` when the message has none.
    pub(super) fn timestamp_ms(self) -> Option<i64> {
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is valid and carries no error.
        let timestamp = unsafe { sys::rd_kafka_message_timestamp(self.0, &mut kind) };
        (kind != sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE)
            .then_some(timestamp)
    }

    /// The epoch of the leader that wrote it; `None` when the broker does not tell (before Kafka 0.11).
    pub(super) fn leader_epoch(self) -> Option<i32> {
        // SAFETY: the message is valid.
        let epoch = unsafe { sys::rd_kafka_message_leader_epoch(self.0) };
        (epoch >= 0).then_some(epoch)
    }

    /// The value; `None` when it is null.
    pub(super) fn value(self) -> Option<&'a [u8]> {
        bytes(self.0.payload, self.0.len)
    }

    /// The key; `None` when it is null.
    pub(super) fn key(self) -> Option<&'a [u8]> {
        bytes(self.0.key, self.0.key_len)
    }

    /// Visits the headers in their order; a header's value may be null. librdkafka parses them at the first
    /// visit, so whoever does not want them does not pay.
    pub(super) fn headers(self, mut visit: impl FnMut(&'a [u8], Option<&'a [u8]>)) {
        let mut headers = ptr::null_mut();
        // SAFETY: the message is valid; the headers, if any, are its own and live as long as it does.
        let code = unsafe { sys::rd_kafka_message_headers(self.0, &mut headers) };
        if code != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return;
        }
        for at in 0.. {
            let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
            // SAFETY: the headers are valid; name and value are written when there is a header at the place,
            // and live as long as the message. The name ends with a zero; the value is null or has `size` bytes.
            unsafe {
                let code =
                    sys::rd_kafka_header_get_all(headers, at, &mut name, &mut value, &mut size);
                if code != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR || name.is_null() {
                    return;
                }
                visit(
                    CStr::from_ptr(name).to_bytes(),
                    bytes(value.cast_mut(), size),
                );
            }
        }
    }
}

fn bytes<'a>(start: *mut c_void, length: usize) -> Option<&'a [u8]> {
    if start.is_null() {
        return None;
    }
    // SAFETY: called with a live message's payload, key or header; librdkafka says that many bytes are there.
    Some(unsafe { std::slice::from_raw_parts(start.cast::<u8>(), length) })
}

/// Says of a partition in `list` which leader wrote the record before its offset: rdkafka 0.39 has no
/// method for it.
pub(super) fn set_leader_epoch(
    list: &TopicPartitionList,
    source: &TopicPartition,
    epoch: i32,
) -> Result<()> {
    let missing = || Error::internal(format!("partition {source} is not in the list"));
    let topic = CString::new(&*source.topic).map_err(|_| missing())?;
    // SAFETY: list and name are valid for the calls; the element, if there is one, lives as long as the list.
    unsafe {
        let element =
            sys::rd_kafka_topic_partition_list_find(list.ptr(), topic.as_ptr(), source.partition);
        if element.is_null() {
            return Err(missing());
        }
        sys::rd_kafka_topic_partition_set_leader_epoch(element, epoch);
    }
    Ok(())
}

/// The end of a partition as the consumer last heard of it, without asking the broker.
pub(super) fn cached_end(consumer: &Consumer, topic: &CStr, partition: i32) -> Option<i64> {
    let (mut low, mut high) = (0, 0);
    // SAFETY: all pointers are valid for the call.
    let code = unsafe {
        sys::rd_kafka_get_watermark_offsets(
            consumer.client().native_ptr(),
            topic.as_ptr(),
            partition,
            &mut low,
            &mut high,
        )
    };
    (code == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
}
