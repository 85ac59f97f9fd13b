//! What is found, and when.

use super::*;

const NOW: i64 = 1_800_000_000_000_000;

fn partition(number: i32, next: i64, end: i64) -> PartitionFacts {
    PartitionFacts {
        topic: "t".to_owned(),
        partition: number,
        next: Some(next),
        end: Some(end),
        watermark: Some(NOW - 300_000_000),
        worker: Some(0),
        ..PartitionFacts::default()
    }
}

fn look(partitions: &[PartitionFacts]) -> Look<'_> {
    Look {
        state: JobState::Running,
        read: 10,
        consumed: 10,
        partitions,
        wall_clock: NOW,
        out_of_orderness_micros: 300_000_000,
        idle_timeout: Duration::from_secs(30),
        ..Look::default()
    }
}

/// Looks twice a second for this long at the same; the kinds found at the end, and the first message.
fn after(
    seconds: u64,
    mut at: impl FnMut(u64) -> Vec<PartitionFacts>,
    change: impl Fn(&mut Look<'_>),
) -> (Vec<String>, String) {
    let (start, mut diagnosis) = (Instant::now(), Diagnosis::default());
    let mut last = Vec::new();
    for half in 0..=seconds * 2 {
        let partitions = at(half / 2);
        let mut look = look(&partitions);
        change(&mut look);
        last = diagnosis.look(start + Duration::from_millis(500) * half as u32, &look);
    }
    let message = last.first().map(|f| f.message.clone()).unwrap_or_default();
    (last.into_iter().map(|f| f.kind).collect(), message)
}

#[test]
fn records_that_wait_unread_are_told_of_with_the_cause() {
    let waiting = |_| vec![partition(0, 10, 25)];
    assert!(after(4, waiting, |_| {}).0.is_empty());
    let (kinds, message) = after(5, waiting, |look| {
        look.complaint = Some("broker 1: timed out")
    });
    assert_eq!(kinds, ["not_reading"]);
    assert_eq!(
        message,
        "nothing has been read for 5 s although 15 records wait: broker 1: timed out"
    );
    assert_eq!(
        after(5, waiting, |look| look.waits = Some("memory")).0,
        ["waits_for_memory"]
    );
    assert_eq!(
        after(5, waiting, |look| look.waits = Some("commit")).0,
        ["waits_for_commit"]
    );
    let lost = |look: &mut Look<'_>| look.has_lost_brokers = true;
    assert_eq!(after(0, waiting, lost).0, ["brokers_unreachable"]);
    assert!(
        after(60, waiting, |look| look.state = JobState::Starting)
            .0
            .is_empty(),
        "it has not begun"
    );
    assert!(
        after(60, |_| vec![partition(0, 25, 25)], |_| {})
            .0
            .is_empty(),
        "nothing waits"
    );
}

#[test]
fn records_that_wait_for_the_registry_are_told_of_with_the_cause() {
    let waiting = |_| vec![partition(0, 10, 25)];
    let held = |look: &mut Look<'_>| {
        look.held_back = 3;
        look.waits = Some("memory");
        look.registry_trouble = Some("connection refused");
    };
    assert!(after(4, waiting, held).0.is_empty());
    let (kinds, message) = after(7, waiting, held);
    assert_eq!(kinds, ["waits_for_registry"], "and what comes of it is not");
    assert_eq!(
        message,
        "records have waited for their schema for 7 s: connection refused"
    );
}

#[test]
fn the_partition_that_holds_the_watermark_back_is_named() {
    let moving = |seconds: u64, number| PartitionFacts {
        watermark: Some(NOW - 300_000_000 + seconds as i64 * 1_000_000),
        ..partition(number, 10, 10)
    };
    let stuck = |seconds| vec![partition(0, 10, 10), moving(seconds, 1)];
    assert!(after(4, stuck, |_| {}).0.is_empty());
    let (kinds, message) = after(6, stuck, |_| {});
    assert_eq!(kinds, ["watermark_held"]);
    assert!(message.contains("t[0]"), "{message}");
    let silent = |seconds: u64| {
        let end = PartitionFacts {
            watermark: None,
            at_end_ms: Some(seconds * 1000),
            ..partition(0, 0, 0)
        };
        vec![end, moving(seconds, 1)]
    };
    let (_, message) = after(6, silent, |_| {});
    assert!(
        message.contains("at its end for 6 s and counts as idle after 30 s"),
        "{message}"
    );
    let idle = |seconds| {
        vec![
            PartitionFacts {
                is_idle: true,
                ..partition(0, 10, 10)
            },
            moving(seconds, 1),
        ]
    };
    assert!(after(60, idle, |_| {}).0.is_empty());
    let all_rest = |_| vec![partition(0, 10, 10), moving(7, 1)];
    assert!(
        after(60, all_rest, |_| {}).0.is_empty(),
        "nobody waits for it"
    );
}

#[test]
fn a_commit_that_takes_long_is_told_of_with_what_it_met() {
    let none = |_| vec![partition(0, 10, 10)];
    let slow = |look: &mut Look<'_>| look.committing = Some((7, Duration::from_secs(5)));
    let (kinds, message) = after(0, none, slow);
    assert_eq!(kinds, ["commit_slow"]);
    assert_eq!(
        message,
        "the commit of epoch 7 has been under way for 5 s: the catalog has not answered yet"
    );
    let (kinds, message) = after(0, none, |look| {
        slow(look);
        look.commit_trouble = Some("connection refused");
    });
    assert_eq!(kinds, ["commit_failing"]);
    assert!(message.ends_with("connection refused"), "{message}");
    let (kinds, message) = after(0, none, |look| {
        slow(look);
        look.commit_trouble = Some("Kafka tells no ids of topics");
        look.awaits_kafka = true;
    });
    assert_eq!(kinds, ["waits_for_kafka"]);
    assert!(message.ends_with("no ids of topics"), "{message}");
    let (kinds, message) = after(0, none, |look| {
        slow(look);
        look.store_trouble = Some("bucket `lake` has given no answer for 6 s");
    });
    assert_eq!(kinds, ["store_slow"], "and not what comes of it");
    assert!(message.ends_with("no answer for 6 s"), "{message}");
}

#[test]
fn who_is_waited_for_is_told_of_while_the_job_starts_or_drains_and_that_nothing_is_read_is_not() {
    let waiting = |_| vec![partition(0, 10, 25)];
    for state in [JobState::Starting, JobState::Draining] {
        let idle = |look: &mut Look<'_>| {
            look.state = state;
            look.waits = Some("commit");
            look.has_lost_brokers = true;
            look.group_trouble = Some("another consumer holds the group");
        };
        assert!(after(60, waiting, idle).0.is_empty(), "{state:?}");
        let held = |look: &mut Look<'_>| {
            idle(look);
            look.held_back = 3;
        };
        assert!(after(4, waiting, held).0.is_empty(), "{state:?}");
        assert_eq!(after(5, waiting, held).0, ["waits_for_registry"]);
        let slow = |look: &mut Look<'_>| {
            idle(look);
            look.committing = Some((7, Duration::from_secs(5)));
        };
        assert_eq!(after(0, waiting, slow).0, ["commit_slow"]);
        let (kinds, message) = after(0, waiting, |look| {
            slow(look);
            look.store_trouble = Some("bucket `lake` has given no answer for 6 s");
        });
        assert_eq!(kinds, ["store_slow"]);
        let what = match state {
            JobState::Starting => "the start cannot go on: bucket `lake`",
            _ => "rows cannot be written: bucket `lake`",
        };
        assert!(message.starts_with(what), "{message}");
    }
    for state in [JobState::Restarting, JobState::Ended] {
        let slow = |look: &mut Look<'_>| {
            look.state = state;
            look.committing = Some((7, Duration::from_secs(5)));
        };
        assert!(after(60, waiting, slow).0.is_empty(), "{state:?}");
    }
}

#[test]
fn what_has_lasted_since_before_the_drain_goes_on_in_it() {
    let (start, mut diagnosis) = (Instant::now(), Diagnosis::default());
    let partitions = [partition(0, 10, 10)];
    let looks = [
        (0, JobState::Running, 1),
        (3, JobState::Draining, 1),
        (5, JobState::Draining, 1),
        (6, JobState::Draining, 0),
    ];
    let told = looks.map(|(second, state, held_back)| {
        let look = Look {
            state,
            held_back,
            committing: Some((7, Duration::from_secs(5 + second))),
            ..look(&partitions)
        };
        let found = diagnosis.look(start + Duration::from_secs(second), &look);
        let slow = found.iter().find(|f| f.kind == "commit_slow");
        let slow = slow.map(|f| f.seconds);
        let is_held = found.iter().any(|f| f.kind == "waits_for_registry");
        (slow, is_held)
    });
    let expected = [
        (Some(0), false),
        (Some(3), false),
        (Some(5), true),
        (Some(6), false),
    ];
    assert_eq!(told, expected);
}

#[test]
fn offsets_that_the_broker_does_not_take_are_told_of() {
    let none = |_| vec![partition(0, 10, 10)];
    let held = "group offsets are not committed: another consumer holds the group";
    let (kinds, message) = after(0, none, |look| look.group_trouble = Some(held));
    assert_eq!(kinds, ["group_refused"]);
    assert!(message.starts_with(held), "{message}");
}

#[test]
fn an_open_transaction_a_wrong_clock_and_an_empty_topic_are_told_apart() {
    let held = |seconds: u64, at_first| {
        vec![PartitionFacts {
            at_end_ms: Some(at_first + seconds * 1000),
            ..partition(2, 10, 25)
        }]
    };
    let (kinds, message) = after(1, |s| held(s, 5_000), |_| {});
    assert_eq!(kinds, ["open_transaction"]);
    assert!(message.starts_with("15 records of t[2]"), "{message}");
    assert!(after(1, |s| held(s, 3_900), |_| {}).0.is_empty());
    let seen_once = |_| held(0, 5_000);
    assert!(after(1, seen_once, |_| {}).0.is_empty());
    let seen_twice = |s: u64| held(s.min(1), 5_000);
    assert_eq!(
        after(2, seen_twice, |_| {}).0,
        ["open_transaction"],
        "facts that are not new take nothing back"
    );
    let read_on = |seconds| {
        let next = 10 + seconds as i64;
        vec![PartitionFacts {
            at_end_ms: Some(5_000 + seconds * 1000),
            ..partition(2, next, 25)
        }]
    };
    assert!(
        after(3, read_on, |_| {}).0.is_empty(),
        "what has just come is no transaction"
    );

    let ahead = |_| {
        vec![PartitionFacts {
            watermark: Some(NOW),
            ..partition(0, 10, 10)
        }]
    };
    assert_eq!(after(0, ahead, |_| {}).0, ["partition_ahead"]);

    let empty = |end| {
        vec![PartitionFacts {
            at_end_ms: Some(0),
            ..partition(0, end, end)
        }]
    };
    let nothing = |look: &mut Look<'_>| (look.read, look.consumed) = (0, 0);
    assert_eq!(after(0, |_| empty(0), nothing).0, ["topic_empty"]);
    assert_eq!(after(0, |_| empty(9), nothing).0, ["nothing_new"]);
    assert!(
        after(0, |_| empty(9), |_| {}).0.is_empty(),
        "it has read before"
    );
}

#[test]
fn what_is_there_is_read_after_a_reset_and_by_the_terminal_with_another_setting() {
    let partitions = [PartitionFacts {
        at_end_ms: Some(0),
        ..partition(0, 9, 9)
    }];
    let hint = |is_terminal| {
        let look = Look {
            read: 0,
            consumed: 0,
            is_terminal,
            ..look(&partitions)
        };
        let found = Diagnosis::default().look(Instant::now(), &look);
        found.into_iter().map(|f| f.hint).collect::<String>()
    };
    let of_tables = hint(false);
    let command = "`strandline offsets reset JOB --to earliest --execute`";
    assert!(of_tables.contains(command), "{of_tables}");
    assert!(of_tables.contains("`strandline stop JOB`"), "{of_tables}");
    let of_terminal = hint(true);
    assert!(!of_terminal.contains("reset"), "{of_terminal}");
}

/// Looks once a second; `at` says how many records were decoded, and the dead letters of each kind.
fn letters(
    seconds: u64,
    at: impl Fn(u64) -> (u64, &'static [(&'static str, u64)]),
    sample: &LetterFacts,
) -> Vec<Option<Finding>> {
    let (start, mut diagnosis) = (Instant::now(), Diagnosis::default());
    let partitions = [partition(0, 10, 10)];
    let looks = 0..=seconds;
    let looks = looks.map(|second| {
        let (decoded, letters) = at(second);
        let letters = letters.iter().map(|&(kind, n)| (kind.to_owned(), n));
        let look = Look {
            decoded,
            letters: letters.collect(),
            samples: vec![sample],
            ..look(&partitions)
        };
        let found = diagnosis.look(start + Duration::from_secs(second), &look);
        found.into_iter().find(|f| f.kind == "dead_letters")
    });
    looks.collect()
}

fn sample() -> LetterFacts {
    LetterFacts {
        topic: "t".to_owned(),
        offset: 17,
        error_type: "malformed".to_owned(),
        message: "not JSON".to_owned(),
        payload_bytes: 7,
        hex: "00 00 01 86 BA".to_owned(),
        text: "`{}`".to_owned(),
        format: "json".to_owned(),
        expects: "one JSON object".to_owned(),
        seen: Some("JSON objects behind a schema registry header (schema id 100026)".to_owned()),
        setting: Some("`format: json_sr`".to_owned()),
        ..LetterFacts::default()
    }
}

#[test]
fn more_than_one_dead_letter_in_a_hundred_is_told_of_with_the_setting_that_would_fit() {
    let just = |_| (1000, &[("malformed", 10)][..]);
    assert_eq!(letters(3, just, &sample()), vec![None; 4]);
    let more = |_| (1000, &[("malformed", 8), ("too_late", 3)][..]);
    let found = letters(0, more, &sample()).remove(0).expect("a finding");
    assert_eq!(found.severity, Severity::Warning);
    assert_eq!(
        found.message,
        "11 of the last 1000 records are dead letters, 8 of them `malformed`; the last one, at offset 17 of t[0]: not JSON; its 7 bytes begin with 00 00 01 86 BA, as text `{}`"
    );
    assert_eq!(
        found.hint,
        "format `json` expects one JSON object; it looks like JSON objects behind a schema registry header (schema id 100026), for which `format: json_sr` would fit"
    );
    let late = LetterFacts {
        error_type: "too_late".to_owned(),
        ..sample()
    };
    let found = letters(0, |_| (10, &[("too_late", 3)]), &late).remove(0);
    assert!(
        found
            .expect("a finding")
            .hint
            .contains("`lateness.allowed`")
    );
}

#[test]
fn dead_letters_are_held_against_the_records_of_the_last_minute() {
    // A hundred bad ones at the start, then a thousand good ones a second: they are under 1 % after 10 s.
    let begin = |second| (100 + second * 1000, &[("malformed", 100)][..]);
    let found = letters(12, begin, &sample());
    assert!(found[9].is_some() && found[10].is_none(), "{found:?}");
    // Long good, then bad: the minute counts, not the whole run.
    let late = |second| match second {
        0..200 => (second * 1000, &[][..]),
        _ => (200_000 + (second - 200) * 1000, &[("malformed", 700)][..]),
    };
    let found = letters(300, late, &sample());
    assert!(found[199].is_none() && found[200].is_some(), "{found:?}");
    assert!(found[262].is_none(), "a minute later they are forgotten");
    // A new run counts from nothing again.
    let restarted = |second| match second {
        0..5 => (1_000_000, &[][..]),
        _ => (100, &[("malformed", 2)][..]),
    };
    let found = letters(5, restarted, &sample());
    assert!(found[4].is_none() && found[5].is_some(), "{found:?}");
}

/// Looks once a second at what the run has committed by then; `interval` is the job's between two commits, in seconds.
fn unlanded(seconds: u64, interval: u64, at: impl Fn(u64) -> Account) -> Vec<Option<Finding>> {
    let (start, mut diagnosis) = (Instant::now(), Diagnosis::default());
    let partitions = [partition(0, 10, 10)];
    let looks = 0..=seconds;
    let looks = looks.map(|second| {
        let look = Look {
            account: at(second),
            dedup_key: Some("order_id"),
            commit_interval: Duration::from_secs(interval),
            ..look(&partitions)
        };
        let found = diagnosis.look(start + Duration::from_secs(second), &look);
        found.into_iter().find(|f| f.kind == "nothing_lands")
    });
    looks.collect()
}

fn committed(landed: u64, duplicates: u64) -> Account {
    Account {
        consumed: landed + duplicates,
        landed,
        duplicates,
        ..Account::default()
    }
}

#[test]
fn when_only_duplicates_are_committed_the_key_is_named_after_10_s() {
    let found = unlanded(11, 1, |second| committed(50, second * 1_000));
    assert!(found[..11].iter().all(Option::is_none), "{found:?}");
    let found = found[11].as_ref().expect("a finding");
    assert_eq!(found.severity, Severity::Warning);
    assert_eq!(
        found.message,
        "of the last 11,000 records that were committed none has landed: 11,000 duplicates"
    );
    assert!(
        found.hint.starts_with("`dedup.key` is `order_id`"),
        "{}",
        found.hint
    );
}

#[test]
fn what_most_records_became_is_what_is_explained() {
    let found = |letters: u64, dropped: u64| {
        let at = |second: u64| Account {
            consumed: second * (100 + letters + dropped),
            duplicates: second * 100,
            dead_letters: second * letters,
            dropped: second * dropped,
            ..Account::default()
        };
        unlanded(11, 1, at).remove(11).expect("a finding")
    };
    let letters = found(300, 10);
    assert!(
        letters
            .message
            .ends_with("landed: 1,100 duplicates, 3,300 dead letters, 110 dropped"),
        "{}",
        letters.message
    );
    assert!(letters.hint.contains("`dead_letters`"), "{}", letters.hint);
    let dropped = found(10, 300);
    assert!(
        dropped.hint.contains("`lateness.too_late: drop`"),
        "{}",
        dropped.hint
    );
}

#[test]
fn one_record_that_lands_is_enough() {
    let now_and_then = unlanded(60, 1, |second| committed(second / 7, second * 1_000));
    assert!(now_and_then.iter().all(Option::is_none), "{now_and_then:?}");
    let once = unlanded(26, 1, |second| {
        committed(u64::from(second >= 15), second * 1_000)
    });
    assert!(once[14].is_some());
    assert!(once[15..26].iter().all(Option::is_none), "{once:?}");
    assert!(once[26].is_some(), "and it was the only one");
}

#[test]
fn a_few_duplicates_are_no_reason_to_say_that_nothing_lands() {
    let few = unlanded(200, 1, |second| committed(0, second));
    assert!(few.iter().all(Option::is_none), "{few:?}");
    let twice_as_many = unlanded(50, 1, |second| committed(0, second * 2));
    assert!(twice_as_many[49].is_none() && twice_as_many[50].is_some());
    let at_once = unlanded(60, 1, |second| committed(0, second.min(9) * 1_000));
    assert!(at_once.iter().all(Option::is_none), "{at_once:?}");
}

#[test]
fn that_nothing_lands_is_forgotten_when_nothing_comes_any_more_and_by_a_new_run() {
    let ends = unlanded(120, 1, |second| committed(0, second.min(20) * 1_000));
    assert!(ends[20].is_some() && ends[80..].iter().all(Option::is_none));
    let restarted = unlanded(19, 1, |second| match second {
        0..8 => committed(0, second * 1_000),
        _ => committed(0, (second - 8) * 500),
    });
    assert!(restarted[..19].iter().all(Option::is_none), "{restarted:?}");
    assert!(restarted[19].is_some(), "of its own");
}

#[test]
fn commits_that_are_minutes_apart_are_looked_at_together() {
    let found = unlanded(900, 300, |second| committed(0, second / 300 * 1_000));
    assert!(found[..600].iter().all(Option::is_none));
    assert!(found[600..].iter().all(Option::is_some));
}
