//! The UI, in a real browser. Pictures are left in `target/screenshots`.

mod support;

use std::sync::{Mutex, PoisonError};

use support::{
    DEADLINE, Steady, address, behind_tls, children, client, look, screenshots, served, signal,
    wait_for_status,
};

const PARTITIONS: i32 = 4;

/// One at a time: how quickly a page is painted is measured.
static BROWSER: Mutex<()> = Mutex::new(());

#[test]
fn the_ui_shows_a_running_job_in_a_real_browser() {
    let _alone = BROWSER.lock().unwrap_or_else(PoisonError::into_inner);
    let job = served(PARTITIONS);
    job.configure("restart: { attempts: 5, delay: 0s }");
    let _load = Steady::begin(&job, PARTITIONS, 1);
    let launcher = job.spawn(&["launch", "roman-numerals", "-n", "2"]);
    wait_for_status(&job, "a commit", |status| status["ready"] == true);
    // One restart, for the page to tell of.
    let process = children(&launcher)[1];
    signal("KILL", &process.to_string());
    let status = wait_for_status(
        &job,
        "a commit after the restart, and a dead letter",
        |status| {
            status["ready"] == true
                && status["restarts"]["total"] == 1
                && status["dead_letters"]["samples"][0].is_object()
        },
    );
    let mut browser = client("ui.py");
    browser
        .arg(format!("http://{}", address(&status)))
        .arg(screenshots());
    let said = look(browser);
    let compared = said.matches("cells are what the API says").count();
    assert_eq!(compared, 3, "once a screen: {said}");
    for screen in ["desktop-light", "desktop-dark", "phone-dark"] {
        assert!(said.contains(&format!("{screen}: ok")), "{said}");
        let picture = screenshots().join(format!("{screen}.png"));
        assert!(picture.metadata().is_ok_and(|file| file.len() > 10_000));
    }
}

#[test]
fn over_tls_the_ui_is_shown_to_who_trusts_the_certificate_and_has_the_token() {
    let _alone = BROWSER.lock().unwrap_or_else(PoisonError::into_inner);
    let job = served(PARTITIONS);
    let tls = behind_tls(&job, "s3cret");
    let _load = Steady::begin(&job, PARTITIONS, 1);
    let running = job.spawn(&["run", "roman-numerals"]);
    let status = wait_for_status(&job, "a commit", |status| status["ready"] == true);
    let mut browser = client("ui_tls.py");
    browser
        .arg(format!("https://{}", address(&status)))
        .arg(tls.public_key)
        .arg("s3cret")
        .arg(screenshots());
    let said = look(browser);
    assert!(said.contains("over-tls: ok"), "{said}");
    running.terminate();
    running.wait(DEADLINE).expect_exit(143);
}
