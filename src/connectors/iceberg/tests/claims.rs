//! Generations, and what a claim refuses.

use super::*;

#[test]
fn history_without_progress_is_refused() {
    let place = Place::new();
    Run::start(&place.connector).land(5).expect("commit");
    change_by_hand(&place.connector, |_| {
        vec![TableUpdate::RemoveProperties {
            removals: vec![Progress::property("clicks")],
        }]
    });
    let error = claim(&place.connector).expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(
        error.to_string().contains("strandline.progress.clicks"),
        "{error}"
    );
}

#[test]
fn a_rolled_back_table_is_refused() {
    let place = Place::new();
    let mut run = Run::start(&place.connector);
    run.land(5).expect("commit");
    run.land(5).expect("commit");
    roll_back_to(&place.connector, 2);
    let running = run.land(5).expect_err("refused while running");
    let starting = claim(&place.connector).expect_err("refused at start");
    append_by_another(&place.connector);
    let later = claim(&place.connector).expect_err("refused after another's append");
    for error in [running, starting, later] {
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert!(error.to_string().contains("rolled back"), "{error}");
    }
}

#[test]
fn a_change_of_what_the_state_means_needs_consent() {
    let place = Place::new();
    let first = claim(&place.connector).expect("claim");
    let seed = first.progress().hash_seed;
    let mut settings = JOB.settings();
    settings.lateness.allowed *= 2;
    let error = place
        .connector
        .prepare(&settings, ClaimOptions::default(), &mut |_| Ok(()))
        .expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Refused);
    let consent = ClaimOptions {
        accept_new_fingerprint: true,
    };
    let tables = place
        .connector
        .prepare(&settings, consent, &mut |_| Ok(()))
        .expect("accepted");
    assert_eq!(
        tables.progress().hash_seed,
        seed,
        "the seed stays for the life of the table"
    );
    assert_eq!(tables.progress().fingerprint, settings.fingerprint());
}

#[test]
fn what_the_caller_knows_goes_into_the_claim() {
    let place = Place::new();
    place
        .connector
        .prepare(&JOB.settings(), ClaimOptions::default(), &mut |progress| {
            progress.cluster_id = Some("cluster-1".to_owned());
            Ok(())
        })
        .expect("claim");
    let error = place
        .connector
        .prepare(
            &JOB.settings(),
            ClaimOptions::default(),
            &mut |progress| match progress.cluster_id.as_deref() {
                Some("cluster-2") => Ok(()),
                other => Err(Error::refused(format!("another cluster: {other:?}"))),
            },
        )
        .expect_err("refused");
    assert!(error.to_string().contains("cluster-1"), "{error}");
    assert_eq!(
        facts(&place.connector).progress["clicks"].generation(),
        1,
        "a refused start claims nothing"
    );
}
