//! A full disk: a job of its own whose state or warehouse is a small file system, filled while it runs. It
//! must stop with a message that says so, and go on exactly once there is room.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use strandline::generator::GeneratorConfig;

use super::cluster::{JOB, tail};
use super::judge;
use super::load::Load;
use super::processes;
use super::reader::{Reader, by_strandline};
use super::run::Run;
use super::schedule::{Fault, Step};
use crate::support::{Catalog, RomanNumerals, Running};

/// Big enough for a minute's rows and their metadata, small enough to be filled at once.
const DISK_SIZE: &str = "48m";
/// How often the disk is filled.
const ROUNDS: u64 = 2;
/// Bytes left free, at most: so that one time a data file meets the end, another time a manifest does.
const LEFT_FREE: u64 = 96 << 10;
/// A job that cannot write must have ended within this, and one that can must have committed.
const DEADLINE: Duration = Duration::from_secs(240);
/// Starts on a full disk, at most, and how long each is given to meet the end of it.
const STARTS: u32 = 8;
const START_WAIT: Duration = Duration::from_secs(20);
/// The job of the episode, without a supervisor.
const ARGS: [&str; 5] = ["run", JOB, "-w", "2", "--json"];
/// How often a condition is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// What any message about a full disk says.
const WORDS: [&str; 3] = ["No space left on device", "no space left", "disk is full"];

/// Runs the episode of a step; where nothing can be mounted it says so and does nothing.
pub fn fill(run: &mut Run, step: Step) {
    let name = step.fault.name();
    let stack = run.stack.description();
    let settings = "commit: { interval: 100ms }";
    let job = RomanNumerals::on(&stack, Catalog::Rest, 2, settings);
    let warehouse = stack.rest_warehouse.trim_start_matches("file://");
    let namespace = job.table.split('.').next().unwrap_or_default();
    let folder = match step.fault {
        Fault::FullState => job.path().join("state"),
        _ => Path::new(warehouse).join(namespace),
    };
    let disk = match SmallDisk::mount(&folder) {
        Ok(disk) => disk,
        Err(why) => {
            run.tally.say(&format!("{name} is SKIPPED: {why}"));
            run.tally.skipped.insert(name, why);
            return;
        }
    };
    let config = GeneratorConfig {
        seed: step.draw,
        partitions: 2,
        events: u64::MAX,
        ..GeneratorConfig::default()
    };
    let load = Load::start(&job.topic, config, 0);
    load.go_on(run.options.rate.min(5000));
    let reader = Reader::start(&stack.rest_uri, &job.table, by_strandline);
    let mut running = job.spawn(&ARGS);
    for round in 0..ROUNDS {
        running = await_commit(run, &job, running, &reader, Instant::now());
        disk.fill((step.draw >> (8 * round)) % LEFT_FREE);
        if step.fault == Fault::FullState {
            running = start_on_full_disk(&job, &disk, running);
        }
        let ended = running.wait(DEADLINE);
        run.tally.ended(&ended);
        let said = WORDS.iter().any(|words| ended.stderr.contains(words));
        if ended.status.success() || ended.status.code().is_none() || !said {
            run.tally.find(format!(
                "with a full disk ({name}) the job ended with {}, and said {}",
                ended.status,
                ended.stderr.lines().last().unwrap_or("nothing")
            ));
        }
        disk.free();
        let since = Instant::now();
        running = job.spawn(&ARGS);
        running = await_commit(run, &job, running, &reader, since);
    }
    let produced = load.finish();
    running.terminate();
    run.tally.ended(&running.wait(DEADLINE).expect_exit(143));
    let printed = job.run_until_caught_up(&[], DEADLINE);
    let verdict = judge::judge(&job, &printed, false);
    if !verdict.failure.is_empty() || printed["account"]["consumed"] != produced {
        run.tally.find(format!(
            "after {name}, of {produced} records: {printed}\n{}",
            verdict.failure
        ));
    }
    *run.tally.faults.entry(name).or_default() += ROUNDS;
}

/// Starts the job again: the state is written seldom, but always at a start. Files that a start finds useless
/// make room, so it is filled again until one start meets the end of it.
fn start_on_full_disk(job: &RomanNumerals, disk: &SmallDisk, running: Running) -> Running {
    let mut running = running;
    for _ in 0..STARTS {
        processes::signal("KILL", running.pid());
        running.wait(DEADLINE);
        disk.fill(0);
        running = job.spawn(&ARGS);
        let started = Instant::now();
        while running.is_running() && started.elapsed() < START_WAIT {
            std::thread::sleep(LOOK_INTERVAL);
        }
        if !running.is_running() {
            break;
        }
    }
    running
}

/// Waits for a commit on a disk with room; a job that ends meanwhile is a finding, and started again.
fn await_commit(
    run: &mut Run,
    job: &RomanNumerals,
    mut running: Running,
    reader: &Reader,
    since: Instant,
) -> Running {
    while reader.commit_after(since, 0).is_none() {
        assert!(since.elapsed() < DEADLINE, "no commit on a disk with room");
        if !running.is_running() {
            let ended = running.wait(DEADLINE);
            run.tally.ended(&ended);
            run.tally.find(format!(
                "with room on the disk the job ended with {}, and said {}",
                ended.status,
                tail(&ended.stderr)
            ));
            running = job.spawn(&ARGS);
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
    running
}

/// A small file system in memory; gone with the value.
struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    fn mount(folder: &Path) -> Result<SmallDisk, String> {
        fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        let options = format!("size={DISK_SIZE}");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(folder)
            .stdin(Stdio::null())
            .output()
            .map_err(|e| format!("cannot run mount: {e}"))?;
        if mounted.status.success() {
            return Ok(SmallDisk {
                folder: folder.to_owned(),
            });
        }
        let said = String::from_utf8_lossy(&mounted.stderr);
        Err(format!("mounting a small disk takes root: {}", said.trim()))
    }

    fn filler(&self) -> PathBuf {
        self.folder.join("filler")
    }

    /// Takes all of its room but so many bytes.
    fn fill(&self, left: u64) {
        let mut filler = File::create(self.filler()).expect("create a file");
        let block = [0u8; 64 << 10];
        while filler.write_all(&block).is_ok() {}
        let length = filler.metadata().expect("a file's length").len();
        filler
            .set_len(length.saturating_sub(left))
            .expect("shorten a file");
    }

    fn free(&self) {
        fs::remove_file(self.filler()).expect("delete a file");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process that is just being killed may still hold a file.
        let unmounted = Command::new("umount").arg("-l").arg(&self.folder).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("cannot unmount {}", self.folder.display());
        }
    }
}
