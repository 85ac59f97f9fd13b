//! Manifests are merged beside the commits. The commit that puts a merged one in the place of fifty may be made without
//! the engine's hearing of it, or after the engine looked for it: no snapshot loses a data file or a manifest by that.

mod support;

use std::time::{Duration, Instant};

use serde_json::Value;
use support::faulted::Faulted;
use support::{Answered, Applied, Fault, judge};

/// The table that is the commit point, without its namespace.
const PRIMARY: &str = "conversion_events";
/// How long the engine keeps what nothing refers to any more, and some more: what it deletes wrongly is gone then.
const GRACE: Duration = Duration::from_secs(63);
/// How often it is fed meanwhile. It deletes with its commits; so seldom that no snapshot is expired before it is read.
const PACE: Duration = Duration::from_secs(4);
/// Commits, and look-ups after them, until a fault is over.
const SETTLED: usize = 3;

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

/// Hits the commit that brings the first merged manifest of the primary, waits until what is wrongly taken for litter is
/// deleted, and has every snapshot read.
#[track_caller]
fn survive(fault: Fault) {
    let mut it = Faulted::new();
    it.feed();
    let mut running = it.spawn();
    it.proxy.inject_into_merge(PRIMARY, fault);
    it.feed_until("a merge", &mut running, |proxy| {
        proxy.injected().iter().any(|i| i.upstream.is_some())
    });
    let made = it.proxy.made(PRIMARY);
    it.feed_until("commits after it", &mut running, |proxy| {
        proxy.made(PRIMARY) >= made + SETTLED
    });
    let injected = it.proxy.injected();
    assert_eq!(injected.len(), 1);
    assert_eq!(injected[0].upstream, Some(200), "{injected:?}");
    let hit = injected[0].snapshot_id.expect("a snapshot");

    let calm = Instant::now();
    while calm.elapsed() < GRACE {
        assert!(running.is_running(), "it ended:\n{}", running.stderr());
        it.feed();
        std::thread::sleep(PACE);
    }
    let made = it.proxy.made(PRIMARY);
    it.feed_until("commits after the grace period", &mut running, |proxy| {
        proxy.made(PRIMARY) >= made + SETTLED
    });
    let snapshots = manifests(&it);
    it.drain_and_judge(running);

    let (id, before) = &snapshots[0];
    assert!(
        before.len() <= 1,
        "snapshots before {id} were expired unread"
    );
    let place = snapshots.iter().position(|(id, _)| *id == hit);
    let place = place.expect("the snapshot of the commit that was hit");
    let merged = |at: usize| snapshots[at].1.iter().find(|p| p.ends_with("-merged.avro"));
    assert_eq!(merged(place - 1), None, "it brought the first one");
    let brought = merged(place).expect("a merged manifest");
    for (id, manifests) in &snapshots[place..] {
        assert!(manifests.contains(brought), "snapshot {id} lost it");
    }
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
