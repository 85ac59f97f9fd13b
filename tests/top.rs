//! What is shown in a real terminal: `top`, a running job, live, and the terminal as it was when `top` has ended; and the
//! log of `run`, for people.

mod support;

use chrono::DateTime;
use serde_json::Value;
use strandline_operators::numbers::grouped;
use support::{DEADLINE, Finished, Terminal, load, served, status, wait_until_consumed};

const PARTITIONS: i32 = 2;
const TOP: [&str; 2] = ["top", "roman-numerals"];
/// Rows and columns in which everything has room.
const LARGE: (usize, usize) = (60, 200);
const SMALL: (usize, usize) = (8, 40);
/// The alternate screen and the cursor, which programs hide there.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// What begins every picture of a job that runs.
const IS_RUNNING: &str = "roman-numerals is running";

/// What a picture has in the line of this name.
fn value<'a>(picture: &'a [String], name: &str) -> Option<&'a str> {
    let mut lines = picture.iter().map(|line| line.trim_start());
    lines
        .find_map(|line| line.strip_prefix(name))
        .map(str::trim)
}

/// Whether a picture has the facts of a status: state, account, lag, watermark, last commit, partitions.
fn shows(picture: &[String], status: &Value) -> bool {
    let count = |name: &str| grouped(status["account"][name].as_u64().unwrap_or(u64::MAX));
    let text = |value: &Value| value.as_str().unwrap_or("missing").to_owned();
    let begins = |name: &str, with: &str| {
        let value = value(picture, name);
        value.is_some_and(|value| value.starts_with(with))
    };
    let is = |name: &str, what: String| value(picture, name) == Some(what.as_str());
    let partitions = status["partitions"].as_array().cloned().unwrap_or_default();
    picture[0].starts_with(IS_RUNNING)
        && is("consumed", count("consumed"))
        && is(
            "landed",
            format!("{}, of them late {}", count("landed"), count("late")),
        )
        && is("duplicates", count("duplicates"))
        && is("dead letters", count("dead_letters"))
        && value(picture, "reads").is_some_and(|reads| reads.ends_with(" 0 behind"))
        && begins("watermark", &text(&status["watermark"]["time"]))
        && begins("last commit", &text(&status["commits"]["last"][0]["at"]))
        && partitions.len() == PARTITIONS as usize
        && partitions.iter().all(|of| {
            let name = format!("{}[{}]", text(&of["topic"]), of["partition"]);
            begins(&name, &of["committed"].to_string())
        })
}

/// Asserts that the terminal was taken, and given back; what is shown since then is the rest.
#[track_caller]
fn rest(finished: &Finished) -> &str {
    let shown = &finished.stdout;
    assert!(shown.starts_with(ENTER), "{shown:?}");
    assert_eq!(shown.matches("\x1b[?1049h").count(), 1, "{shown:?}");
    let (_, rest) = shown.split_once(LEAVE).expect("the terminal given back");
    assert!(!rest.contains('\x1b'), "{rest:?}");
    rest
}

#[test]
fn top_follows_a_job_until_somebody_leaves_and_gives_the_terminal_back() {
    let job = served(PARTITIONS);
    load(&job, PARTITIONS, 0, 1_000, 1);
    let mut running = job.spawn(&["run", "roman-numerals"]);
    wait_until_consumed(&job, 1_000);
    let mut terminal = Terminal::open(&job, LARGE, &TOP);
    for (more, records) in [(0, "1,000"), (500, "1,500")] {
        if more > 0 {
            load(&job, PARTITIONS, 1_000, more, 2);
        }
        let what = format!("{records} records and all else that `status` says");
        let picture = terminal.wait_for(&what, DEADLINE, |picture| {
            value(picture, "consumed") == Some(records)
                && shows(picture, &status(&job).unwrap_or_default())
        });
        let last = picture.last().expect("a last line");
        assert!(last.starts_with("q or Ctrl-C leaves"), "{last}");
    }
    // A key that means nothing.
    terminal.press(b"x");
    terminal.press(b"q");
    let left = terminal.wait(DEADLINE).expect_exit(0);
    assert_eq!(rest(&left), "");

    let mut terminal = Terminal::open(&job, SMALL, &TOP);
    let picture = terminal.wait_for("a picture", DEADLINE, |_| true);
    assert!(picture[0].starts_with(IS_RUNNING), "{picture:#?}");
    assert_eq!(picture.len(), SMALL.0, "{picture:#?}");
    for line in &picture {
        assert!(line.chars().count() < SMALL.1, "{line} wraps");
    }
    terminal.press(b"\x03");
    let left = terminal.wait(DEADLINE).expect_exit(0);
    assert_eq!(rest(&left), "");

    let mut terminal = Terminal::open(&job, LARGE, &TOP);
    terminal.wait_for("a picture", DEADLINE, |_| true);
    terminal.signal("TERM");
    let ended = terminal.wait(DEADLINE).expect_exit(143);
    assert_eq!(rest(&ended), "");

    assert!(running.is_running(), "it went on: {}", running.stderr());
    running.terminate();
    running.wait(DEADLINE).expect_exit(143);
}

#[test]
fn top_ends_with_the_job_and_says_so_on_the_screen_that_stays() {
    let job = served(PARTITIONS);
    load(&job, PARTITIONS, 0, 100, 1);
    let running = job.spawn(&["run", "roman-numerals"]);
    wait_until_consumed(&job, 100);
    let mut terminal = Terminal::open(&job, LARGE, &TOP);
    terminal.wait_for("a picture", DEADLINE, |_| true);
    running.terminate();
    running.wait(DEADLINE).expect_exit(143);
    let ended = terminal.wait(DEADLINE).expect_exit(0);
    assert_eq!(rest(&ended).trim(), "roman-numerals has ended");

    // Of one that does not run there is no picture.
    let absent = Terminal::open(&job, LARGE, &TOP)
        .wait(DEADLINE)
        .expect_exit(3);
    assert!(!absent.stdout.contains('\x1b'), "{:?}", absent.stdout);
    let said = "error: the job roman-numerals does not run on this host";
    assert!(absent.stdout.starts_with(said), "{}", absent.stdout);
}

#[test]
fn without_a_terminal_top_is_one_picture_in_plain_text() {
    let job = served(PARTITIONS);
    load(&job, PARTITIONS, 0, 100, 1);
    let running = job.spawn(&["run", "roman-numerals"]);
    wait_until_consumed(&job, 100);
    let shown = job.run(&TOP, DEADLINE).expect_exit(0).stdout;
    assert!(shown.starts_with(IS_RUNNING), "{shown}");
    assert!(!shown.contains('\x1b'), "{shown:?}");
    let picture: Vec<String> = shown.lines().map(str::to_owned).collect();
    assert_eq!(value(&picture, "consumed"), Some("100"));
    assert!(
        shown.contains("STAGE") && shown.contains("PARTITION"),
        "{shown}"
    );

    let document = job.run(&[&TOP[..], &["--json"]].concat(), DEADLINE);
    let document = document.expect_exit(0).json();
    assert_eq!(
        document["account"],
        status(&job).expect("it runs")["account"]
    );
    running.terminate();
    running.wait(DEADLINE).expect_exit(143);
}

/// A text without the colours in it: `ESC [ ... m`. Nothing else that is for terminals only may be there.
#[track_caller]
fn without_colours(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (colour, rest) = part.split_once('m').expect("the end of a colour");
        let is_colour = |c: char| c.is_ascii_digit() || c == ';';
        assert!(colour.chars().all(is_colour), "no colour: {part:?}");
        plain.push_str(rest);
    }
    assert!(!plain.contains('\x1b'), "{plain:?}");
    plain
}

#[test]
fn in_a_terminal_the_log_is_for_people() {
    let job = served(PARTITIONS);
    load(&job, PARTITIONS, 0, 100, 1);
    let terminal = Terminal::open(&job, LARGE, &["run", "roman-numerals"]);
    wait_until_consumed(&job, 100);
    terminal.signal("TERM");
    let ended = terminal.wait(DEADLINE).expect_exit(143);

    // The line that tells how far the run is takes the place of the one before.
    let log = without_colours(&ended.stdout.replace("\r\x1b[K", "\n"));
    for line in log.lines() {
        assert!(!line.trim_start().starts_with('{'), "JSON: {line}");
    }
    // The time, how grave it is, what happened, and its fields by their names.
    for (what, field) in [
        ("starting", "job=\"roman-numerals\""),
        ("reading begins", "generation=1"),
    ] {
        let mut lines = log.lines();
        let line = lines.find(|line| line.contains(what) && line.contains(field));
        let line = line.unwrap_or_else(|| panic!("no `{what}` with {field} in {log}"));
        let mut words = line.split_whitespace();
        let time = words.next().unwrap_or_default();
        assert!(DateTime::parse_from_rfc3339(time).is_ok(), "{line}");
        assert_eq!(words.next(), Some("INFO"), "{line}");
    }
    // What a log has as summaries of commits.
    let mut lines = log.lines();
    let is_told = |line: &str| line.starts_with("roman-numerals: ") && line.contains(" 100 landed");
    assert!(lines.any(is_told), "{log}");
}
