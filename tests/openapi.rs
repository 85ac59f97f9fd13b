//! The API against its own description, by a fuzzer that knows nothing else of it.

mod support;

use std::path::Path;
use std::process::Command;

use support::{DEADLINE, address, load, look, served, status, variable, wait_until_consumed};

/// Requests of each kind to each operation.
const EXAMPLES: &str = "25";
/// Fixed, so that a failure is found again.
const SEED: &str = "20260521";

/// Schemathesis, on the description that the job at this address serves. `parameters` are what it must ask
/// with, `exclude` the operations that it leaves out.
fn fuzz(folder: &Path, address: &str, parameters: &str, exclude: &[&str]) -> Command {
    std::fs::write(folder.join("schemathesis.toml"), parameters).expect("write");
    let python = variable("STRANDLINE_CLIENTS_PYTHON");
    let mut fuzz = Command::new(Path::new(&python).with_file_name("schemathesis"));
    fuzz.current_dir(folder)
        .args(["run", &format!("http://{address}/api/v1/openapi.json")])
        .args(["--checks", "all", "--phases", "examples,coverage,fuzzing"])
        .args(["--max-examples", EXAMPLES, "--seed", SEED])
        .args(["--request-timeout", "30", "--continue-on-failure"])
        .args(exclude);
    fuzz
}

/// Runs it; returns how many requests it has made up.
#[track_caller]
fn requests(fuzz: Command) -> u64 {
    let said = look(fuzz);
    let line = said.lines().find(|line| line.contains(" generated, "));
    let count = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    count.unwrap_or_else(|| panic!("it does not say how many: {said}"))
}

#[test]
fn the_api_is_what_its_description_says_whatever_is_asked() {
    let job = served(2);
    load(&job, 2, 0, 1_000, 1);
    let running = job.spawn(&["run", "roman-numerals"]);
    let address = address(&wait_until_consumed(&job, 1_000));

    // Of this job: all but what would end it, and two that answer for as long as one listens.
    let this = "[parameters]\n\"path.job\" = \"roman-numerals\"\n";
    let exclude = ["--exclude-path-regex", "/(stop|cancel|events|end)$"];
    let named = requests(fuzz(job.path(), &address, this, &exclude));
    // Of jobs of any name: everything.
    let of_any_name = requests(fuzz(job.path(), &address, "", &[]));
    assert!(
        named > 50 && of_any_name > 100,
        "{named} and {of_any_name} requests"
    );

    let after = status(&job).expect("it still runs");
    assert_eq!(after["state"], "running");
    load(&job, 2, 1_000, 100, 2);
    wait_until_consumed(&job, 1_100);
    running.terminate();
    running.wait(DEADLINE).expect_exit(143);
}
