use strandline_operators::account::Account;
use strandline_operators::job::Job;

use super::super::facts::PartitionFacts;
use super::*;

fn board() -> Arc<Board> {
    let about = About {
        settings: Job::BRONZE.settings(),
        in_force: Vec::new(),
        bootstrap_servers: "localhost:9092".to_owned(),
        folder: PathBuf::new(),
    };
    Board::new(about, &Interrupt::default())
}

/// Of a job that has consumed `before` in earlier lives and `run` in this one.
fn claimed(generation: u32, before: u64, run: u64) -> ProcessFacts {
    let account = |consumed| Account {
        consumed,
        landed: consumed,
        ..Account::default()
    };
    ProcessFacts {
        stage: Stage::Running,
        generation: Some(generation),
        account_before: account(before),
        account: account(run),
        watermark: Some(7),
        partitions: vec![PartitionFacts {
            topic: "t".to_owned(),
            committed: Some(i64::try_from(before + run).expect("small")),
            end: Some(100),
            worker: Some(1),
            ..PartitionFacts::default()
        }],
        commits: vec![CommitFacts {
            epoch: u64::from(generation),
            ..CommitFacts::default()
        }],
        committed: 1,
        ..ProcessFacts::default()
    }
}

fn status(board: &Board) -> JobStatus {
    board.look(Instant::now());
    board.published().status.clone()
}

#[test]
fn what_is_shown_does_not_go_back_when_the_job_is_started_again() {
    let board = board();
    board.tell(claimed(1, 10, 30));
    let running = status(&board);
    assert_eq!((running.account.consumed, running.lag), (40, 60));
    board.restarting("killed", Duration::from_secs(5));
    let between = status(&board);
    assert_eq!(between.state, JobState::Restarting);
    assert_eq!((between.account, between.lag), (running.account, 60));
    assert_eq!(between.watermark.time, running.watermark.time);
    assert_eq!(between.run, Account::default(), "of this life");
    let [partition] = between.partitions.as_slice() else {
        panic!("{:?}", between.partitions)
    };
    assert_eq!((partition.committed, partition.worker), (Some(40), None));
    // Its process is there again and has claimed nothing yet.
    board.tell(ProcessFacts::default());
    assert_eq!(status(&board).account, running.account);
    board.tell(claimed(2, 40, 5));
    let again = status(&board);
    assert_eq!((again.account.consumed, again.lag), (45, 55));
    let epochs: Vec<u64> = again
        .commits
        .last
        .iter()
        .map(|commit| commit.epoch)
        .collect();
    assert_eq!(
        epochs,
        [2, 1],
        "the newest first, those of former lives too"
    );
}
