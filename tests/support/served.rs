//! A job that serves HTTP, and what it says of itself.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Catalog, RomanNumerals, wait_until};

/// How long a job may take for something that it does in a moment on an idle machine.
pub const DEADLINE: Duration = Duration::from_secs(180);

/// What is promised for the name of a stall, from its cause on.
const NAMED_WITHIN: Duration = Duration::from_secs(10);

/// An HTTP answer: status, headers, body.
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Status line and headers, in lower case.
    pub head: String,
    /// The body.
    pub body: String,
}

impl Answer {
    /// The body, as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }
}

/// Sends a request, with headers of its own, over a connection of its own.
#[track_caller]
pub fn http(address: &str, line: &str, headers: &str) -> Answer {
    let stream = TcpStream::connect(address).expect("connect");
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("a timeout");
    http_over(stream, address, line, headers)
}

/// Sends a request over a stream, and reads the answer to the stream's end.
#[track_caller]
pub fn http_over(mut stream: impl Read + Write, host: &str, line: &str, headers: &str) -> Answer {
    write!(
        stream,
        "{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n"
    )
    .expect("send");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("headers and a body");
    Answer {
        status: head[9..12].parse().expect("a status"),
        head: head.to_ascii_lowercase(),
        body: body.to_owned(),
    }
}

/// The job, served at any free port, with a commit five times a second.
#[track_caller]
pub fn served(partitions: i32) -> RomanNumerals {
    let job = RomanNumerals::new(Catalog::Sql, partitions, "commit: { interval: 200ms }");
    job.reconfigure("http: \"off\"", "http: 127.0.0.1:0");
    job
}

/// What `status --json` says, once the job runs.
#[track_caller]
pub fn status(job: &RomanNumerals) -> Option<Value> {
    let args = ["status", "roman-numerals", "--json"];
    let finished = job.run(&args, DEADLINE);
    (finished.status.code() == Some(0)).then(|| finished.json())
}

/// Waits for a status of which this holds.
#[track_caller]
pub fn wait_for_status(job: &RomanNumerals, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    wait_until(what, DEADLINE, || status(job).filter(&is))
}

/// Waits until the job reads; returns the moment.
#[track_caller]
pub fn wait_until_it_reads(job: &RomanNumerals) -> Instant {
    wait_for_status(job, "it reads", |status| status["state"] == "running");
    Instant::now()
}

/// Waits until the job names a finding, and returns it.
#[track_caller]
pub fn named(job: &RomanNumerals, kind: &str) -> Value {
    wait_until(kind, DEADLINE, || {
        let status = status(job)?;
        let findings = status["findings"].as_array()?;
        findings.iter().find(|f| f["kind"] == kind).cloned()
    })
}

/// Asserts that it is no longer than promised since what has just been named was caused.
#[track_caller]
pub fn assert_named_in_time(what: &str, caused: Instant) {
    let took = caused.elapsed();
    eprintln!("{what} was named after {took:?}");
    assert!(took < NAMED_WITHIN, "{what} was named after {took:?}");
}

/// Waits until the account says so.
#[track_caller]
pub fn wait_until_consumed(job: &RomanNumerals, records: u64) -> Value {
    let what = format!("{records} records consumed");
    wait_for_status(job, &what, |status| {
        status["account"]["consumed"] == records
    })
}

/// The address in a status, without its scheme.
#[track_caller]
pub fn address(status: &Value) -> String {
    let url = status["http"].as_str().expect("it serves HTTP");
    let (_, address) = url.split_once("://").expect("a URL");
    address.to_owned()
}
