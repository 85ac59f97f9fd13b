use super::*;

fn delta(start: i64, next: i64) -> PartitionDelta {
    let consumed = (next - start) as u64;
    let account = Account {
        consumed,
        landed: consumed,
        ..Account::default()
    };
    PartitionDelta {
        start,
        next,
        leader_epoch: Some(LeaderEpoch {
            epoch: 3,
            offset: next - 1,
        }),
        max_event_time: Some(EventTime(next)),
        account,
    }
}

fn commit(epoch: Epoch, start: i64, next: i64) -> EpochCommit {
    let partitions = BTreeMap::from([(TopicPartition::new("t", 0), delta(start, next))]);
    EpochCommit {
        epoch,
        watermark: Some(EventTime(next)),
        partitions,
        files: Vec::new(),
    }
}

fn claimed() -> Progress {
    let mut progress = Progress::new("job", "uuid", 7, "fingerprint");
    progress.claim();
    progress
}

#[test]
fn an_epoch_is_added_once_and_in_order() {
    let mut progress = claimed();
    let first = Epoch::first_of(1);
    progress.advance(&commit(first, 0, 10)).expect("first");
    assert!(
        progress.advance(&commit(first, 10, 20)).is_err(),
        "the same epoch again"
    );
    assert!(
        progress.advance(&commit(first.next(), 11, 20)).is_err(),
        "an offset skipped"
    );
    progress
        .advance(&commit(first.next(), 10, 20))
        .expect("second");
    assert_eq!(progress.account().consumed, 20);
}

#[test]
fn where_a_partition_begins_is_decided_once() {
    let mut progress = claimed();
    let source = TopicPartition::new("t", 0);
    progress.begin(&source, 100);
    progress.begin(&source, 5100);
    assert_eq!(progress.partition(&source).map(|p| p.next), Some(100));
    let skipping = commit(Epoch::first_of(1), 5100, 5200);
    assert!(progress.advance(&skipping).is_err(), "5,000 records lost");
    progress
        .advance(&commit(Epoch::first_of(1), 100, 5200))
        .expect("from where it began");
}

#[test]
fn an_offset_that_was_set_is_gone_on_from_and_the_account_still_adds_up() {
    let mut progress = claimed();
    let source = TopicPartition::new("t", 0);
    let first = Epoch::first_of(1);
    progress.advance(&commit(first, 100, 200)).expect("first");
    let mut epoch = first;
    let mut then = |progress: &mut Progress, to: i64| {
        progress.reset(&source, to, "2026-11-21T20:00:00Z", "pid 7 on h");
        let at = progress.partition(&source).expect("known").clone();
        assert!(at.is_accounted(), "{at:?}");
        assert_eq!((at.next, at.leader_epoch), (to, None));
        epoch = epoch.next();
        progress
            .advance(&commit(epoch, to, to + 10))
            .expect("from there");
        let at = progress.partition(&source).expect("known").clone();
        assert!(at.is_accounted(), "{at:?}");
        at
    };
    let ahead = then(&mut progress, 250);
    assert_eq!((ahead.start, ahead.read_up_to()), (100, 260));
    let back = then(&mut progress, 40);
    assert_eq!((back.start, back.next, back.read_up_to()), (40, 50, 260));
    assert_eq!(back.reset.as_ref().map(|r| (r.from, r.to)), Some((260, 40)));
    let again = then(&mut progress, 1000);
    assert_eq!((again.start, again.read_up_to()), (40, 1010));
    assert_eq!(again.account.consumed, 130);
    let json = progress.to_json().expect("json");
    assert_eq!(Progress::parse(&json).expect("parse"), progress);
    let mut broken = again;
    broken.next += 1;
    assert!(!broken.is_accounted());
}

#[test]
fn a_partition_that_is_set_back_is_judged_anew_and_one_that_is_set_ahead_goes_on() {
    let source = TopicPartition::new("t", 0);
    for (to, kept) in [(5, false), (10, true), (15, true)] {
        let mut progress = claimed();
        progress
            .advance(&commit(Epoch::first_of(1), 0, 10))
            .expect("first");
        progress.reset(&source, to, "now", "me");
        let at = progress.partition(&source).expect("known");
        assert_eq!(at.max_event_time.is_some(), kept, "to {to}");
    }
}

#[test]
fn the_leader_epoch_is_that_of_the_last_record_also_when_gaps_follow() {
    let mut progress = claimed();
    let first = Epoch::first_of(1);
    let gap = |start, next| PartitionDelta {
        leader_epoch: None,
        ..delta(start, next)
    };
    let source = TopicPartition::new("t", 0);
    let last = |progress: &Progress| {
        let known = progress.partition(&source).and_then(|p| p.leader_epoch);
        known.map(|of| of.offset)
    };
    let mut commit = commit(first, 0, 10);
    let range = commit.partitions.get_mut(&source).expect("delta");
    range.extend(gap(10, 12)).expect("adjacent");
    progress.advance(&commit).expect("first");
    assert_eq!(last(&progress), Some(9));
    commit.epoch = first.next();
    commit.partitions.insert(source.clone(), gap(12, 15));
    progress.advance(&commit).expect("second");
    assert_eq!(last(&progress), Some(9));
    let json = progress.to_json().expect("json");
    assert_eq!(Progress::parse(&json).expect("parse"), progress);
}

#[test]
fn an_epoch_of_an_older_generation_is_refused() {
    let mut progress = claimed();
    progress.claim();
    assert!(
        progress
            .advance(&commit(Epoch::first_of(1), 0, 10))
            .is_err()
    );
}

#[test]
fn state_is_trusted_only_up_to_what_its_generation_committed() {
    let mut progress = claimed();
    let first = Epoch::first_of(1);
    progress.advance(&commit(first, 0, 10)).expect("first");
    progress.claim();
    assert!(progress.vouches_for(1, first));
    assert!(
        !progress.vouches_for(1, first.next()),
        "that epoch was aborted"
    );
    assert!(!progress.vouches_for(3, first));
}

#[test]
fn a_return_to_an_earlier_document_uses_no_generation_twice_and_vouches_for_nothing_later() {
    let mut progress = claimed();
    let first = Epoch::first_of(1);
    progress.advance(&commit(first, 0, 10)).expect("first");
    let mut earlier = progress.clone();
    progress
        .advance(&commit(first.next(), 10, 20))
        .expect("second");
    progress.claim();
    assert_eq!(earlier.claim_after(progress.generation()), 3);
    assert!(earlier.vouches_for(1, first));
    assert!(!earlier.vouches_for(1, first.next()));
    assert!(!earlier.vouches_for(2, Epoch::first_of(2)));
    earlier
        .advance(&commit(Epoch::first_of(3), 10, 30))
        .expect("goes on from there");
}

#[test]
fn the_document_reads_back_and_a_newer_version_is_refused() {
    let mut progress = claimed();
    progress
        .advance(&commit(Epoch::first_of(1), 0, 10))
        .expect("first");
    let json = progress.to_json().expect("json");
    assert_eq!(Progress::parse(&json).expect("parse"), progress);
    let newer = json.replacen("\"version\":1", "\"version\":2", 1);
    assert!(Progress::parse(&newer).is_err());
}
