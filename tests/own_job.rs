//! A crate of a user's own builds against Strandline and has its commands.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

#[test]
fn a_job_of_ones_own_gets_every_command() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // The folder that this test was built in, so that RocksDB is not built again.
    let strandline = Path::new(env!("CARGO_BIN_EXE_strandline"));
    let target = strandline.parent().and_then(Path::parent).unwrap();
    let mut build = Command::new(env!("CARGO"));
    // What cargo tells a test about its own package makes build scripts that watch it run again (ring's
    // does), and with them everything above: half a tree, in both directions.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            build.env_remove(&name);
        }
    }
    let build = build
        .args(["build", "--release", "--locked", "--manifest-path"])
        .arg(root.join("examples/own-job/Cargo.toml"))
        .env("CARGO_TARGET_DIR", target)
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&build.stderr);
    assert!(build.status.success(), "{}: {log}", build.status);

    let dir = tempfile::tempdir().unwrap();
    let own_job = |arguments: &[&str]| {
        let program = target.join("release/own-job");
        let mut run = Command::new(program);
        run.args(arguments)
            .current_dir(dir.path())
            .env_remove("STRANDLINE_CONFIG");
        let output = run.env_remove("RUST_LOG").output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (status, listed, _) = own_job(&["list", "--json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(
        (status, &listed["jobs"][0]["name"]),
        (Some(0), &"orders".into())
    );
    assert_eq!(
        listed["jobs"].as_array().unwrap().len(),
        1,
        "only its own jobs"
    );

    let (status, plan, _) = own_job(&["plan", "orders"]);
    assert_eq!(status, Some(0));
    assert!(
        plan.contains("exchange by hash(order_id)") && plan.contains("remembered for 7d"),
        "{plan}"
    );

    let (status, _, message) = own_job(&["plan", "order"]);
    assert_eq!(status, Some(2));
    assert!(message.contains("did you mean `orders`?"), "{message}");
}
