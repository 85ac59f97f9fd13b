//! The ids of topics, which rdkafka 0.39 does not show: a topic created again under the same name has
//! another one.
//!
//! # Safety argument
//! Every handle made here (queue, collection, options, event) is destroyed here, once, on every path, by
//! its guard; what is read out of the event is copied before the event goes. The client outlives the call.

use std::ffi::{CStr, CString, c_char};
use std::time::Duration;

use rdkafka_sys as sys;

struct Guard<T>(*mut T, unsafe extern "C" fn(*mut T));

impl<T> Drop for Guard<T> {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: the pointer came from librdkafka with this destructor, and goes once.
            unsafe { (self.1)(self.0) }
        }
    }
}

/// The broker that is the controller, as metadata told; negative when it told of none.
pub(super) fn controller(client: *mut sys::rd_kafka_t) -> i32 {
    // SAFETY: the client is valid; without a timeout only what is cached is read.
    unsafe { sys::rd_kafka_controllerid(client, 0) }
}

/// What a broker says of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Described {
    /// Its id, in Kafka's base64.
    Id(String),
    /// It knows none of that name.
    Unknown,
    /// It is there, and has no id: Kafka tells them since 2.8.
    NoId,
    /// We may not know.
    Denied,
    /// Something else, in librdkafka's words.
    Failed(String),
}

/// What one broker says of each topic, in their order. It says what it has heard by now of the cluster's metadata.
///
/// # Errors
/// Why nobody has answered in time.
pub(super) fn describe_topics(
    client: *mut sys::rd_kafka_t,
    broker: i32,
    topics: &[&str],
    timeout: Duration,
) -> Result<Vec<Described>, String> {
    let names: Vec<CString> = topics
        .iter()
        .map(|&topic| CString::new(topic).map_err(|e| e.to_string()))
        .collect::<Result<_, _>>()?;
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    // A connection whose broker has not told yet who it is.
    if broker < 0 {
        return Err("no broker has told its id yet".to_owned());
    }
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: see the safety argument; each call gets valid pointers.
    unsafe {
        let queue = Guard(sys::rd_kafka_queue_new(client), sys::rd_kafka_queue_destroy);
        let collection = Guard(
            sys::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len()),
            sys::rd_kafka_TopicCollection_destroy,
        );
        let options = Guard(
            sys::rd_kafka_AdminOptions_new(
                client,
                sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
            ),
            sys::rd_kafka_AdminOptions_destroy,
        );
        let mut error = [0; 256];
        sys::rd_kafka_AdminOptions_set_request_timeout(
            options.0,
            timeout_ms,
            error.as_mut_ptr(),
            error.len(),
        );
        // Else librdkafka asks the controller that it heard of last, and waits for it while it is down.
        sys::rd_kafka_AdminOptions_set_broker(options.0, broker, error.as_mut_ptr(), error.len());
        sys::rd_kafka_DescribeTopics(client, collection.0, options.0, queue.0);
        let event = Guard(
            sys::rd_kafka_queue_poll(queue.0, timeout_ms),
            sys::rd_kafka_event_destroy,
        );
        if event.0.is_null() {
            return Err(format!("no answer within {timeout_ms} ms"));
        }
        let code = sys::rd_kafka_event_error(event.0);
        if code != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(text(sys::rd_kafka_event_error_string(event.0)));
        }
        let result = sys::rd_kafka_event_DescribeTopics_result(event.0);
        if result.is_null() {
            return Err("an answer to another question".to_owned());
        }
        let mut count = 0;
        let descriptions = sys::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        if descriptions.is_null() {
            return Err("an answer without topics".to_owned());
        }
        let mut described =
            vec![Described::Failed("left out of the answer".to_owned()); topics.len()];
        for &description in std::slice::from_raw_parts(descriptions, count) {
            if description.is_null() {
                continue;
            }
            let name = sys::rd_kafka_TopicDescription_name(description);
            if name.is_null() {
                continue;
            }
            let name = CStr::from_ptr(name).to_bytes();
            // librdkafka answers in an order of its own.
            if let Some(place) = topics.iter().position(|topic| topic.as_bytes() == name) {
                described[place] = read(description);
            }
        }
        Ok(described)
    }
}

/// A text of librdkafka's.
///
/// # Safety
/// Null, or a valid string.
unsafe fn text(of: *const c_char) -> String {
    if of.is_null() {
        return String::new();
    }
    // SAFETY: a valid string, copied.
    unsafe { CStr::from_ptr(of) }.to_string_lossy().into_owned()
}

/// What a description says.
///
/// # Safety
/// The description is valid.
unsafe fn read(description: *const sys::rd_kafka_TopicDescription_t) -> Described {
    use sys::rd_kafka_resp_err_t as code;
    // SAFETY: the description is valid, and so is what it points to, as long as its event.
    unsafe {
        let error = sys::rd_kafka_TopicDescription_error(description);
        if !error.is_null() {
            match sys::rd_kafka_error_code(error) {
                code::RD_KAFKA_RESP_ERR_NO_ERROR => {}
                code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART => return Described::Unknown,
                code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED => return Described::Denied,
                _ => return Described::Failed(text(sys::rd_kafka_error_string(error))),
            }
        }
        let id = sys::rd_kafka_TopicDescription_topic_id(description);
        if id.is_null()
            || (sys::rd_kafka_Uuid_most_significant_bits(id) == 0
                && sys::rd_kafka_Uuid_least_significant_bits(id) == 0)
        {
            return Described::NoId;
        }
        match text(sys::rd_kafka_Uuid_base64str(id)) {
            id if id.is_empty() => Described::NoId,
            id => Described::Id(id),
        }
    }
}
