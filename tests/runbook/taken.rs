//! What somebody else has already: the job's state, the job itself, the port.

use std::fs;

use crate::compare::compare_end;
use crate::support::{DEADLINE, load, served, wait_until, wait_until_consumed};
use crate::{JOB, end};

#[test]
fn a_job_that_runs_already() {
    let job = served(1);
    load(&job, 1, 0, 100, 1);
    let running = job.spawn(&["run", JOB]);
    wait_until_consumed(&job, 100);
    compare_end("state_in_use", &job.run(&["run", JOB], DEADLINE));

    // From elsewhere, with a state of its own, the second one takes over.
    let text = fs::read_to_string(job.path().join("strandline.yaml")).expect("read");
    let elsewhere = text.replace("/state\n", "/elsewhere\n");
    fs::write(job.path().join("elsewhere.yaml"), elsewhere).expect("write");
    let second = job.spawn(&["-c", "elsewhere.yaml", "run", JOB]);
    let mut running = Some(running);
    let mut loaded = 100;
    let fenced = wait_until("the first one to be fenced", DEADLINE, || {
        load(&job, 1, loaded, 100, loaded + 1);
        loaded += 100;
        let ended = running
            .as_mut()
            .is_some_and(|running| !running.is_running());
        ended.then(|| running.take()).flatten()
    });
    compare_end("fenced", &fenced.wait(DEADLINE));
    end(second);
}

#[test]
fn a_port_in_use() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    let job = served(1);
    job.reconfigure("http: 127.0.0.1:0", &format!("http: {address}"));
    compare_end("port_in_use", &job.run(&["run", JOB], DEADLINE));
}
