//! A schema registry that does not answer, or does not let a job in.

use std::time::Instant;

use crate::compare::{compare_end, compare_finding_in_time};
use crate::support::{
    DEADLINE, Message, OwnStack, go_on, refusing_server, served, status, stop, wait_until_consumed,
    wait_until_it_reads,
};
use crate::{JOB, end, nobody};

/// A record of a schema that only a registry knows.
fn with_schema(partition: i32) -> Message {
    Message {
        partition,
        value: Some([&[0, 0, 0, 0, 7][..], b"{}"].concat()),
        ..Message::default()
    }
}

#[test]
fn a_registry_that_does_not_answer_is_named_whichever_process_waits_for_it() {
    let job = served(2);
    job.reconfigure("commit:", "format: json_sr\n    commit:");
    job.configure(&format!(
        "schema_registry: {{ url: 'http://{}' }}",
        nobody()
    ));
    // The partition that process 1 reads: in process 0 nothing waits.
    job.topic.produce([with_schema(1)]);
    let launcher = job.spawn(&["launch", JOB, "-n", "2"]);
    let reads = wait_until_it_reads(&job);
    let found = compare_finding_in_time("registry_unreachable", &job, "waits_for_registry", reads);
    assert_eq!(found["severity"], "stalled");
    let status = status(&job).expect("it runs");
    let process = |n: usize| status["partitions"][n]["worker"].as_u64();
    assert_eq!((process(0), process(1)), (Some(0), Some(1)));
    drop(launcher);

    let job = served(1);
    job.reconfigure("commit:", "format: json_sr\n    commit:");
    job.configure(&format!(
        "schema_registry: {{ url: '{}' }}",
        refusing_server()
    ));
    compare_end("registry_credentials", &job.run(&["run", JOB], DEADLINE));
}

#[test]
fn a_registry_that_takes_the_question_and_never_answers() {
    let own = OwnStack::up(&["schema-registry"]);
    let job = served(1);
    job.reconfigure("commit:", "format: json_sr\n    commit:");
    let url = own.description().registry_url;
    job.configure(&format!("schema_registry: {{ url: '{url}' }}"));
    let running = job.spawn(&["run", JOB]);
    wait_until_it_reads(&job);
    // Its port stays open.
    let registry = own.pid("schema-registry");
    stop(registry);
    let caused = Instant::now();
    job.topic.produce([with_schema(0)]);
    compare_finding_in_time("registry_silent", &job, "waits_for_registry", caused);
    go_on(registry);
    // It has no such schema, which is an answer.
    let seen = wait_until_consumed(&job, 1);
    assert_eq!(seen["account"]["dead_letters"], 1, "{seen}");
    end(running);
}
