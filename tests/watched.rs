//! What it costs that somebody looks: two pages open, metrics scraped every second.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use support::{
    DEADLINE, Steady, address, http, load, served, status, thread_seconds, wait_for_status,
    wait_until,
};

/// Records that are landed meanwhile: some seconds of work for two workers. In a second of it a hundredth
/// is less than what the host of a virtual machine may take from a thread at once, and that counts as the thread's.
const RECORDS: u64 = 4_000_000;
const PARTITIONS: i32 = 4;
/// The threads that look, tell and serve.
const WATCHERS: [&str; 4] = ["http", "status", "facts", "last-seen"];
/// Promised is a hundredth of the throughput. Processor time does not depend on what else the machine does.
const SHARE: f64 = 0.01;

/// What is promised for an answer of `status`, the start of its process included.
const ANSWERED_WITHIN: Duration = Duration::from_millis(50);
/// How often it is asked. A loaded machine is several times slower than an idle one: the fastest says what it costs.
const ASKED: usize = 25;

/// Reads the stream of a page until it ends, and counts its bytes.
fn follow(address: &str, bytes: &AtomicU64, done: &AtomicBool) {
    let mut stream = TcpStream::connect(address).expect("connect");
    stream
        .set_read_timeout(Some(Duration::from_millis(500)))
        .expect("a timeout");
    let path = "/api/v1/jobs/roman-numerals/events";
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").expect("send");
    let mut buffer = [0; 65_536];
    while !done.load(Ordering::Relaxed) {
        // A pause between two events is no end.
        let read = stream.read(&mut buffer).unwrap_or(0);
        bytes.fetch_add(read as u64, Ordering::Relaxed);
    }
}

#[test]
fn two_pages_and_a_scraper_cost_less_than_a_hundredth() {
    let job = served(PARTITIONS);
    load(&job, PARTITIONS, 0, RECORDS, 1);
    let running = job.spawn(&["run", "roman-numerals", "-w", "2"]);
    let begun = wait_for_status(&job, "it is there", |status| status["http"].is_string());
    let address = address(&begun);
    let (bytes, scrapes, done) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let (watching, all) = std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| follow(&address, &bytes, &done));
        }
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                assert_eq!(http(&address, "GET /metrics", "").status, 200);
                scrapes.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_secs(1));
            }
        });
        wait_until("all of it to be consumed", DEADLINE, || {
            // Asked no oftener than a page is told: this too is answered by the thread that is measured.
            std::thread::sleep(Duration::from_secs(1));
            (status(&job)?["account"]["consumed"] == RECORDS).then_some(())
        });
        let watching = thread_seconds(running.pid(), |name| WATCHERS.contains(&name));
        let all = thread_seconds(running.pid(), |_| true);
        done.store(true, Ordering::Relaxed);
        (watching, all)
    });
    let share = watching / all;
    eprintln!(
        "{watching:.3} of {all:.3} s, {:.2} %, for {scrapes:?} scrapes and {bytes:?} bytes to two pages",
        share * 100.0
    );
    assert!(bytes.into_inner() > 10_000, "the pages were told");
    assert!(watching > 0.0, "the threads are found");
    assert!(share < SHARE, "{share}");
    running.terminate();
    running.wait(DEADLINE).expect_exit(143);
}

#[test]
fn status_answers_within_50_ms() {
    let job = served(PARTITIONS);
    let _load = Steady::begin(&job, PARTITIONS, 1);
    let running = job.spawn(&["run", "roman-numerals"]);
    wait_for_status(&job, "a commit", |status| status["ready"] == true);
    let mut took: Vec<Duration> = (0..ASKED)
        .map(|_| {
            let mut ask = Command::new(env!("CARGO_BIN_EXE_strandline"));
            ask.args(["status", "roman-numerals"])
                .current_dir(job.path())
                .env_remove("STRANDLINE_CONFIG");
            let asked = Instant::now();
            let answer = ask.output().expect("run `status`");
            let took = asked.elapsed();
            let said = String::from_utf8_lossy(&answer.stdout);
            assert!(
                answer.status.success() && said.contains("running"),
                "{said}"
            );
            took
        })
        .collect();
    took.sort_unstable();
    let (fastest, median) = (took[0], took[ASKED / 2]);
    eprintln!(
        "`status`: fastest {fastest:?}, median {median:?}, slowest {:?}",
        took[ASKED - 1]
    );
    assert!(fastest < ANSWERED_WITHIN, "{took:?}");
    running.terminate();
    running.wait(DEADLINE).expect_exit(143);
}
