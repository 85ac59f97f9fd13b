//! The systemd unit that is shipped: systemd takes it as it is.

mod support;

use std::process::Command;

use support::in_repository;

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
