//! Disks that are full or read-only, under the warehouse, the catalog and the state.

use std::process::Command;

use crate::compare::compare_end;
use crate::support::{DEADLINE, Finished, RomanNumerals, Running, load, served};

/// Runs a command of the job with a folder of its own file system, full or read-only.
#[track_caller]
fn run_on_full_disk(job: &RomanNumerals, folder: &str, read_only: bool, command: &str) -> Finished {
    const SCRIPT: &str = "
set -e
mkdir -p \"$1\"
mount -t tmpfs -o size=1m tmpfs \"$1\"
if [ \"$2\" = true ]; then mount -o remount,ro \"$1\"
else head -c 2m /dev/zero > \"$1/all-that-fits\" 2>/dev/null || true; fi
exec \"$3\" \"$4\" roman-numerals
";
    let mut run = Command::new("unshare");
    run.args(["--mount", "--map-root-user", "sh", "-c", SCRIPT, "sh"])
        .arg(job.path().join(folder))
        .args([
            read_only.to_string().as_str(),
            env!("CARGO_BIN_EXE_strandline"),
            command,
        ])
        .env_remove("STRANDLINE_CONFIG");
    Running::spawn(run, job.path()).wait(DEADLINE)
}

#[test]
fn disks_that_are_full_or_read_only() {
    let possible = Command::new("unshare")
        .args([
            "--mount",
            "--map-root-user",
            "mount",
            "-t",
            "tmpfs",
            "tmpfs",
            "/mnt",
        ])
        .status();
    assert!(
        possible.is_ok_and(|status| status.success()),
        "this test needs the right to mount (a user namespace of its own)"
    );
    for (fault, folder, read_only) in [
        ("warehouse_full", "warehouse", false),
        ("warehouse_read_only", "warehouse", true),
        ("catalog_read_only", "catalog", true),
        ("state_full", "state", false),
        ("state_read_only", "state", true),
    ] {
        let job = served(1);
        // In a folder of its own, which can be on a disk of its own.
        job.reconfigure("/catalog.db", "/catalog/catalog.db");
        load(&job, 1, 0, 100, 1);
        for command in ["check", "run"] {
            compare_end(fault, &run_on_full_disk(&job, folder, read_only, command));
        }
    }
}
