//! Catalogs that do not answer, answer late, or do not let a job in.

use std::time::Instant;

use crate::compare::{compare_finding_in_time, compare_start};
use crate::support::{
    Answered, Applied, Catalog, CatalogProxy, Fault, RomanNumerals, Stack, load, refusing_server,
    stack, wait_until_consumed,
};
use crate::{JOB, nobody};

/// A job whose catalog is a REST server, behind a proxy.
fn behind_proxy() -> (CatalogProxy, RomanNumerals) {
    let stack = stack();
    let proxy = CatalogProxy::before(&stack.rest_uri);
    let through = Stack {
        rest_uri: proxy.uri(),
        ..stack
    };
    let job = RomanNumerals::on(&through, Catalog::Rest, 1, "commit: { interval: 50ms }");
    job.reconfigure("http: \"off\"", "http: 127.0.0.1:0");
    (proxy, job)
}

#[test]
fn catalogs_that_do_not_answer() {
    let job = RomanNumerals::new(Catalog::Rest, 1, "");
    job.reconfigure(&stack().rest_uri, &format!("http://{}", nobody()));
    compare_start("catalog_unreachable", &job);

    let job = RomanNumerals::new(Catalog::Rest, 1, "");
    job.reconfigure(&stack().rest_uri, &refusing_server());
    compare_start("catalog_credentials", &job);

    for (fault, kind, answered) in [
        ("catalog_slow", "commit_slow", Answered::Stalled),
        ("catalog_failing", "commit_failing", Answered::Status(503)),
    ] {
        let (proxy, job) = behind_proxy();
        load(&job, 1, 0, 100, 1);
        let running = job.spawn(&["run", JOB]);
        wait_until_consumed(&job, 100);
        let applied = Applied::Never;
        let faults = vec![Fault { applied, answered }; 1_000];
        proxy.inject(faults, 1);
        let caused = Instant::now();
        load(&job, 1, 100, 100, 2);
        compare_finding_in_time(fault, &job, kind, caused);
        drop(running);
    }
}
