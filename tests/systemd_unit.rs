//! The systemd unit that is shipped: systemd takes it as it is, and hears of the job what it waits for.

mod support;

use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::{Duration, Instant};

use support::{DEADLINE, in_repository, load, served};

/// `WatchdogSec`, as systemd tells it to who is to say that he is alive.
const WATCHDOG: Duration = Duration::from_secs(30);

/// What is heard until a line says `last`, line by line. A silence of half of `WatchdogSec` is too long.
#[track_caller]
fn heard_until(systemd: &UnixDatagram, last: &str) -> Vec<String> {
    let (begin, mut heard) = (Instant::now(), Vec::<String>::new());
    let mut buffer = [0; 4096];
    while !heard.iter().any(|line| line == last) {
        let length = match systemd.recv(&mut buffer) {
            Ok(length) => length,
            Err(error) => panic!("waited for {last}, and heard {heard:?}: {error}"),
        };
        let text = String::from_utf8_lossy(&buffer[..length]);
        heard.extend(text.lines().map(str::to_owned));
        assert!(begin.elapsed() < DEADLINE, "no {last} in {heard:?}");
    }
    heard
}

#[test]
fn systemd_finds_nothing_wrong_with_the_unit() {
    let unit = std::fs::read_to_string(in_repository("deploy/systemd").join("strandline@.service"))
        .expect("the unit");
    let program = env!("CARGO_BIN_EXE_strandline");
    // The program is not installed here; all else is as it is shipped.
    let unit = unit.replace("/usr/bin/strandline", program);
    assert!(unit.contains(&format!("ExecStart={program} ")), "{unit}");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("strandline@job.service");
    std::fs::write(&file, unit).expect("write the unit");
    let verified = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(&file)
        .output()
        .expect("run systemd-analyze");
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success(), "{said}");
    assert!(!said.contains("strandline@job.service:"), "{said}");
}

#[test]
fn systemd_hears_that_the_job_reads_that_it_lives_and_that_it_stops() {
    for command in ["launch", "run"] {
        let mut job = served(1);
        load(&job, 1, 0, 100, 1);
        let path = job.path().join("notify");
        let systemd = UnixDatagram::bind(&path).expect("a socket");
        systemd
            .set_read_timeout(Some(WATCHDOG / 2))
            .expect("a timeout");
        job.environment = vec![
            (
                "NOTIFY_SOCKET".to_owned(),
                path.to_string_lossy().into_owned(),
            ),
            ("WATCHDOG_USEC".to_owned(), WATCHDOG.as_micros().to_string()),
        ];
        let running = job.spawn(&[command, "roman-numerals"]);
        let begins = heard_until(&systemd, "READY=1");
        assert!(begins.contains(&"STATUS=running".to_owned()), "{begins:?}");
        let lives = heard_until(&systemd, "WATCHDOG=1");
        for line in begins.iter().chain(&lives) {
            assert_ne!(line, "STOPPING=1", "{command}: {begins:?}, {lives:?}");
        }
        running.terminate();
        let stops = heard_until(&systemd, "STOPPING=1");
        assert!(!stops.contains(&"READY=1".to_owned()), "{stops:?}");
        running.wait(DEADLINE).expect_exit(143);
    }
}
