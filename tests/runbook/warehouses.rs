//! Warehouses that cannot be written: of an unknown scheme, without the right, in an object store that says no.

use std::time::Instant;

use crate::compare::{compare_finding_in_time, compare_start};
use crate::support::{ObjectStore, OwnStack, load, served, wait_until_consumed};
use crate::{JOB, end, nobody};

/// Many times what a sixteenth of the least `memory` holds.
const MORE_THAN_MEMORY_HOLDS: u64 = 50_000;

#[test]
fn warehouses_that_cannot_be_written() {
    for (fault, place) in [
        ("warehouse_scheme", "gs://bucket/warehouse"),
        // Not even root may write there.
        ("warehouse_denied", "/sys/strandline-warehouse"),
    ] {
        let job = served(1);
        let warehouse = format!("{}/warehouse", job.path().display());
        job.reconfigure(
            &format!("warehouse: {warehouse}"),
            &format!("warehouse: {place}"),
        );
        compare_start(fault, &job);
    }
}

#[test]
fn object_stores() {
    let own = OwnStack::up(&["s3"]);
    let store = ObjectStore::of(&own);
    let bucket = &store.bucket;
    let with = |warehouse: &str, properties: &str| {
        let job = served(1);
        load(&job, 1, 0, 100, 1);
        job.reconfigure(
            &format!("warehouse: {}/warehouse", job.path().display()),
            &format!("warehouse: s3://{warehouse}\n  properties: {properties}"),
        );
        job
    };
    let properties = store.properties();
    compare_start("s3_bucket", &with("no-such-bucket/w", &properties));
    let wrong = properties.replace("not-a-secret", "wrong");
    assert_ne!(wrong, properties);
    compare_start("s3_credentials", &with(&format!("{bucket}/w"), &wrong));
    let none = format!("{{ s3.endpoint: '{}' }}", store.endpoint);
    compare_start("s3_no_credentials", &with(&format!("{bucket}/w"), &none));
    let region = properties.replace("us-east-1", "eu-west-1");
    assert_ne!(region, properties);
    compare_start("s3_region", &with(&format!("{bucket}/w"), &region));
    let nowhere = properties.replace(&store.endpoint, &format!("http://{}", nobody()));
    compare_start("s3_unreachable", &with(&format!("{bucket}/w"), &nowhere));

    // While it runs: rows wait, and the job says for what.
    let job = with(&format!("{bucket}/w"), &properties);
    job.reconfigure("commit:", "memory: 64MiB\n    commit:");
    let running = job.spawn(&["run", JOB]);
    wait_until_consumed(&job, 100);
    own.stop("s3");
    let caused = Instant::now();
    load(&job, 1, 100, 100, 2);
    compare_finding_in_time("s3_away", &job, "store_slow", caused);
    // Records are read as long as there is room for them.
    load(&job, 1, 200, MORE_THAN_MEMORY_HOLDS, 3);
    let caused = Instant::now();
    compare_finding_in_time("waits_for_memory", &job, "waits_for_memory", caused);
    own.start("s3");
    wait_until_consumed(&job, 200 + MORE_THAN_MEMORY_HOLDS);
    end(running);
}
