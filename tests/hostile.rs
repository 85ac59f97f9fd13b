//! Clients that mean harm, or hang: they neither slow the workers nor grow memory.

mod support;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use strandline::engine::file_limit;
use support::{
    DEADLINE, RomanNumerals, Running, address, http, load, served, status, thread_seconds,
    wait_until, wait_until_consumed,
};

/// Connections that are held at once.
const IDLE: u64 = 10_000;
/// Files that the test itself may need besides.
const RESERVE: u64 = 500;
/// What all of it may add to the memory of the process.
const GROWTH_MIB: u64 = 64;
/// What a client may take for headers or a body is 10 s; as much again for a machine that does other things.
const GIVEN_UP_WITHIN: Duration = Duration::from_secs(20);
/// Records whose landing is timed.
const RECORDS: u64 = 200_000;

/// Megabytes of memory that a process has in RAM.
fn resident_mib(running: &Running) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", running.pid()));
    let status = status.expect("the process' status");
    let line = status.lines().find(|l| l.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.expect("VmRSS") / 1024
}

/// Seconds that the process' thread for HTTP has run.
fn http_seconds(running: &Running) -> f64 {
    thread_seconds(running.pid(), |name| name == "http")
}

/// Lets this process hold all the connections. With fewer of them the test would say nothing, so it fails.
#[track_caller]
fn make_room() {
    let most = file_limit::raise().unwrap_or(u64::MAX);
    let needed = IDLE + RESERVE;
    assert!(
        most >= needed,
        "{IDLE} connections need {needed} open files, and the system allows this test {most}: raise the hard limit (`ulimit -Hn`)"
    );
}

/// Loads records and waits until they are consumed, which makes `total`; how long that took.
fn time_to_land(job: &RomanNumerals, before: u64, seed: u64) -> Duration {
    let begin = Instant::now();
    load(job, 2, before, RECORDS, seed);
    wait_until_consumed(job, before + RECORDS);
    begin.elapsed()
}

fn is_answered(address: &str) -> Option<()> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream
        .write_all(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.contains(" 200 ").then_some(())
}

#[test]
fn ten_thousand_idle_connections_take_nothing_away() {
    make_room();
    let job = served(2);
    load(&job, 2, 0, 100, 1);
    let running = job.spawn(&["run", "roman-numerals"]);
    let address = address(&wait_until_consumed(&job, 100));
    // Warm, so that what comes after is compared with the same.
    time_to_land(&job, 100, 2);
    let alone = time_to_land(&job, 100 + RECORDS, 3);

    let before = resident_mib(&running);
    let mut clients = Vec::new();
    for i in 0..IDLE {
        let mut stream = TcpStream::connect(&address)
            .unwrap_or_else(|e| panic!("connection {i} of {IDLE}: {e}"));
        if i % 2 == 0 {
            // Those that find no room are closed already.
            let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ");
        }
        clients.push(stream);
    }
    assert_eq!(clients.len() as u64, IDLE);
    let (since, spent) = (Instant::now(), http_seconds(&running));
    assert!(spent > 0.0, "the thread is found");
    assert!(
        status(&job).is_some(),
        "the socket in the state folder answers"
    );
    let crowded = time_to_land(&job, 100 + 2 * RECORDS, 4);
    let busy = (http_seconds(&running) - spent) / since.elapsed().as_secs_f64();
    let grown = resident_mib(&running).saturating_sub(before);
    eprintln!(
        "{} connections: {RECORDS} records landed in {crowded:?}, {alone:?} without; HTTP used {:.1} % of a core; {grown} MiB more",
        clients.len(),
        busy * 100.0
    );
    assert!(
        crowded < 3 * alone + Duration::from_secs(2),
        "{crowded:?}, {alone:?} without"
    );
    assert!(busy < 0.2, "HTTP used {busy} of a core");
    assert!(grown < GROWTH_MIB, "grew by {grown} MiB");

    // The clients still hold their connections; the server gives them up.
    wait_until("the server to answer", 2 * GIVEN_UP_WITHIN, || {
        is_answered(&address)
    });
    drop(clients);
    running.terminate();
    running.wait(DEADLINE).expect_exit(143);
}

/// Sends `piece` again and again, with a pause, until the server has closed the connection; what it answered,
/// how long that took, and how many bytes it took.
fn send_until_closed(
    mut stream: TcpStream,
    piece: &[u8],
    pause: Duration,
    most: u64,
) -> (String, Duration, u64) {
    stream
        .set_write_timeout(Some(GIVEN_UP_WITHIN))
        .expect("a timeout");
    stream
        .set_read_timeout(Some(GIVEN_UP_WITHIN))
        .expect("a timeout");
    let (begin, mut sent) = (Instant::now(), 0);
    while sent < most && begin.elapsed() < 2 * GIVEN_UP_WITHIN {
        match stream.write(piece) {
            Ok(bytes) => sent += bytes as u64,
            Err(e) => {
                let closed = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
                assert!(closed.contains(&e.kind()), "{e}");
                break;
            }
        }
        std::thread::sleep(pause);
    }
    let took = begin.elapsed();
    let mut answer = Vec::new();
    // After a reset there may be nothing left to read.
    let _ = stream.read_to_end(&mut answer);
    (String::from_utf8_lossy(&answer).into_owned(), took, sent)
}

#[test]
fn large_bodies_slow_senders_and_readers_that_do_not_read_are_given_up() {
    let job = served(1);
    load(&job, 1, 0, 100, 1);
    let running = job.spawn(&["run", "roman-numerals"]);
    let address = address(&wait_until_consumed(&job, 100));
    let before = resident_mib(&running);
    let savepoint = "POST /api/v1/jobs/roman-numerals/savepoint";
    let begin = |head: &str| {
        let mut stream = TcpStream::connect(&address).expect("connect");
        write!(stream, "{head}").expect("send");
        stream
    };

    // A gigabyte that says how long it is, and one that does not.
    let announced = http(&address, savepoint, "Content-Length: 1073741824\r\n");
    assert_eq!(
        (announced.status, announced.json()["status"].as_u64()),
        (413, Some(413))
    );
    let chunked = begin(&format!(
        "{savepoint} HTTP/1.1\r\nHost: {address}\r\nTransfer-Encoding: chunked\r\n\r\n"
    ));
    let chunk = [b"10000\r\n", [b'x'; 65536].as_slice(), b"\r\n"].concat();
    let (answer, took, sent) = send_until_closed(chunked, &chunk, Duration::ZERO, 1 << 30);
    eprintln!("a gigabyte in chunks: closed after {sent} bytes and {took:?}");
    // What the sockets' buffers hold is sent before the end is seen.
    assert!(sent < 64 << 20, "{sent} bytes were taken");
    assert!(answer.is_empty() || answer.contains(" 413 "), "{answer}");

    std::thread::scope(|scope| {
        let drip = |head: String, piece: &'static [u8]| {
            let stream = begin(&head);
            scope.spawn(move || {
                send_until_closed(stream, piece, Duration::from_millis(200), u64::MAX)
            })
        };
        let headers = drip(format!("GET / HTTP/1.1\r\nHost: {address}\r\n"), b"x");
        let body = drip(
            format!("{savepoint} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 10000\r\n\r\n"),
            b"x",
        );
        for (what, drip) in [("headers", headers), ("a body", body)] {
            let (answer, took, _) = drip.join().expect("a slow client");
            eprintln!("slow with {what}: given up after {took:?}, {answer}");
            assert!(took < GIVEN_UP_WITHIN, "slow with {what}: {took:?}");
        }
    });

    // Answers that nobody fetches wait in the sockets, not in the process.
    let deaf: Vec<TcpStream> = (0..200)
        .map(|_| {
            let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\n\r\n");
            begin(&request.repeat(100))
        })
        .collect();
    wait_until("the server to answer beside them", DEADLINE, || {
        is_answered(&address)
    });
    let grown = resident_mib(&running).saturating_sub(before);
    eprintln!("grew by {grown} MiB");
    assert!(grown < GROWTH_MIB, "grew by {grown} MiB");
    drop(deaf);
    load(&job, 1, 100, 100, 2);
    wait_until_consumed(&job, 200);
    running.terminate();
    running.wait(DEADLINE).expect_exit(143);
}
