//! Manifests are merged beside the commits. A commit that puts a merged one in the place of fifty may be made without
//! the engine's hearing of it, or after the engine looked for it: no snapshot loses a data file or a manifest by that.

mod support;

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::faulted::Faulted;
use support::{Answered, Applied, Fault, judge};

/// The table that is the commit point, without its namespace.
const PRIMARY: &str = "conversion_events";
/// Commits before the faults; with fifty manifests the first merge begins.
const QUIET: usize = 45;
/// Commits that are hit then: enough for the one that follows the first merge to be among them.
const HIT: usize = 25;
/// How long the engine keeps what nothing refers to any more, and some more: what it deletes wrongly is gone then.
const GRACE: Duration = Duration::from_secs(63);
/// How often it is fed meanwhile; it deletes with its commits.
const PACE: Duration = Duration::from_millis(500);

/// The snapshots that the table keeps, with their manifests' paths, oldest first. PyIceberg has read all of them.
#[track_caller]
fn manifests(it: &Faulted) -> Vec<(i64, Vec<String>)> {
    let mut args = vec!["manifests".to_owned()];
    args.extend(it.job.table_for_python(&it.job.table));
    let report = judge(&args);
    let path = |path: &Value| path.as_str().expect("a path").to_owned();
    let snapshots = report["snapshots"].as_array().expect("snapshots").iter();
    snapshots
        .map(|snapshot| {
            let manifests = snapshot["manifests"].as_array().expect("manifests");
            let id = snapshot["snapshot_id"].as_i64().expect("an id");
            (id, manifests.iter().map(path).collect())
        })
        .collect()
}

/// The merged manifests, each with the snapshot that put it in the place of others.
fn merging(snapshots: &[(i64, Vec<String>)]) -> HashMap<String, i64> {
    let mut brought_by = HashMap::new();
    for (id, manifests) in snapshots {
        for path in manifests.iter().filter(|p| p.ends_with("-merged.avro")) {
            brought_by.entry(path.clone()).or_insert(*id);
        }
    }
    brought_by
}

/// Hits the commits around a merge of the primary's manifests, waits until what is wrongly taken for litter is
/// deleted, and has every snapshot read.
#[track_caller]
fn survive(fault: Fault) {
    let mut it = Faulted::new();
    it.feed();
    let mut running = it.spawn();
    it.feed_until("commits without a fault", &mut running, |proxy| {
        proxy.made(PRIMARY) >= QUIET
    });
    it.proxy.inject_into(PRIMARY, [fault; HIT]);
    it.feed_until("the faults", &mut running, |proxy| proxy.left() == 0);
    it.proxy.calm();
    let hit: HashSet<i64> = it
        .proxy
        .injected()
        .iter()
        .filter(|injected| injected.upstream == Some(200))
        .filter_map(|injected| injected.snapshot_id)
        .collect();
    let met: Vec<String> = merging(&manifests(&it))
        .into_iter()
        .filter_map(|(path, brought_by)| hit.contains(&brought_by).then_some(path))
        .collect();
    assert!(!met.is_empty(), "no fault met a merge: {hit:?}");

    let calm = Instant::now();
    while calm.elapsed() < GRACE {
        assert!(running.is_running(), "it ended:\n{}", running.stderr());
        it.feed();
        std::thread::sleep(PACE);
    }
    let made = it.proxy.made(PRIMARY);
    it.feed_until("commits after the grace period", &mut running, |proxy| {
        proxy.made(PRIMARY) >= made + 2
    });
    it.drain_and_judge(running);

    let snapshots = manifests(&it);
    let still_there = snapshots.iter().flat_map(|(_, manifests)| manifests);
    let still_there: HashSet<&String> = still_there.collect();
    assert!(
        met.iter().any(|path| still_there.contains(path)),
        "no snapshot refers to the merge that was met: {met:?}"
    );
}

#[test]
fn a_merge_whose_commit_is_answered_with_nothing_is_kept() {
    survive(Fault {
        applied: Applied::Now,
        answered: Answered::Dropped,
    });
}

#[test]
fn a_merge_whose_commit_is_made_late_is_kept() {
    survive(Fault {
        applied: Applied::AfterLookUp,
        answered: Answered::Dropped,
    });
}
