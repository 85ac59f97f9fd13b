//! The host that the engine runs on; in builds with the feature `failpoints`, one where tests make things
//! go wrong.
//!
//! `STRANDLINE_FAILPOINTS=commit.sent=kill@2,file.write=delay` kills this process, as `kill -9` does, when
//! it comes to `commit.sent` for the second time, and delays every write once. Actions:
//!
//! | | |
//! |---|---|
//! | `kill` | ends the process with SIGKILL |
//! | `error` | the step fails, as something outside would |
//! | `delay` | the step takes a second longer |
//! | `hang` | the step never ends |
//! | `panic` | the step panics, as a defect of ours would |
//!
//! Each happens once, at the first passage or, after `@`, at that one.

use std::sync::Arc;

use strandline_operators::Result;
use strandline_operators::host::{Host, Machine};

/// The variable that says what goes wrong where.
const VARIABLE: &str = "STRANDLINE_FAILPOINTS";

/// The host of this process.
///
/// # Errors
/// The variable is set, and this build knows no failpoints, or not these.
pub(crate) fn host() -> Result<Arc<dyn Host>> {
    match std::env::var(VARIABLE) {
        Ok(text) if !text.is_empty() => failing(&text),
        _ => Ok(Arc::new(Machine)),
    }
}

#[cfg(not(feature = "failpoints"))]
fn failing(_text: &str) -> Result<Arc<dyn Host>> {
    use strandline_operators::Error;
    Err(Error::configuration(format!(
        "`{VARIABLE}` is set, but this build has no failpoints"
    ))
    .hint("unset it; only tests build with the feature `failpoints`"))
}

#[cfg(feature = "failpoints")]
fn failing(text: &str) -> Result<Arc<dyn Host>> {
    use std::sync::OnceLock;
    // One for the process: passages are counted over all threads.
    static HOST: OnceLock<Arc<on::FailingMachine>> = OnceLock::new();
    let parsed = on::FailingMachine::parse(text)?;
    Ok(Arc::clone(HOST.get_or_init(|| Arc::new(parsed))) as Arc<dyn Host>)
}

#[cfg(feature = "failpoints")]
mod on {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::{Duration, Instant};

    use strandline_operators::failpoint::Failpoint;
    use strandline_operators::host::{Host, Machine, Task};
    use strandline_operators::time::EventTime;
    use strandline_operators::{Error, Result};

    use super::VARIABLE;

    /// How long `delay` takes: longer than a commit interval of the tests, shorter than their patience.
    const DELAY: Duration = Duration::from_secs(1);

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Action {
        Kill,
        Error,
        Delay,
        Hang,
        Panic,
    }

    #[derive(Debug)]
    struct Planned {
        point: Failpoint,
        action: Action,
        /// Passages until it happens.
        left: AtomicU64,
    }

    /// The machine, where planned things go wrong.
    #[derive(Debug)]
    pub(super) struct FailingMachine(Vec<Planned>);

    impl FailingMachine {
        pub(super) fn parse(text: &str) -> Result<FailingMachine> {
            text.split(',')
                .map(|plan| {
                    planned(plan.trim()).ok_or_else(|| {
                        let points: Vec<&str> = Failpoint::ALL.iter().map(|p| p.name()).collect();
                        Error::configuration(format!("cannot understand `{plan}` in `{VARIABLE}`"))
                            .hint(format!(
                                "write it like `commit.sent=kill@2`; there are {}",
                                points.join(", ")
                            ))
                    })
                })
                .collect::<Result<_>>()
                .map(FailingMachine)
        }
    }

    fn planned(plan: &str) -> Option<Planned> {
        let (point, action) = plan.split_once('=')?;
        let (action, passage) = action.split_once('@').unwrap_or((action, "1"));
        Some(Planned {
            point: *Failpoint::ALL.iter().find(|p| p.name() == point)?,
            action: match action {
                "kill" => Action::Kill,
                "error" => Action::Error,
                "delay" => Action::Delay,
                "hang" => Action::Hang,
                "panic" => Action::Panic,
                _ => return None,
            },
            left: AtomicU64::new(passage.parse().ok().filter(|n| *n > 0)?),
        })
    }

    impl Host for FailingMachine {
        fn now(&self) -> Instant {
            Machine.now()
        }

        fn wall_clock(&self) -> EventTime {
            Machine.wall_clock()
        }

        fn sleep(&self, duration: Duration) {
            Machine.sleep(duration);
        }

        fn start(&self, name: String, task: Box<dyn Task>) -> Result<()> {
            Machine.start(name, task)
        }

        fn reached(&self, point: Failpoint) -> Result<()> {
            for plan in self.0.iter().filter(|plan| plan.point == point) {
                let count = |left: u64| left.checked_sub(1);
                let before = plan
                    .left
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, count);
                if before != Ok(1) {
                    continue;
                }
                // Straight to stderr: a test waits for this line, and the next one may never come.
                eprintln!("failpoint {} reached: {:?}", point.name(), plan.action);
                match plan.action {
                    Action::Kill => {
                        // Nothing is unwound, nothing is flushed.
                        let _ = signal_hook::low_level::raise(signal_hook::consts::SIGKILL);
                    }
                    Action::Error => {
                        return Err(Error::unreachable(format!("failpoint {}", point.name())));
                    }
                    Action::Delay => std::thread::sleep(DELAY),
                    Action::Hang => loop {
                        std::thread::park();
                    },
                    Action::Panic => panic!("failpoint {}", point.name()),
                }
            }
            Ok(())
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn it_happens_once_at_the_passage_that_was_asked_for() {
            let machine = FailingMachine::parse("file.write=error@3, read=delay").expect("a plan");
            let passages: Vec<bool> = (0..5)
                .map(|_| machine.reached(Failpoint::FileWrite).is_err())
                .collect();
            assert_eq!(passages, [false, false, true, false, false]);
            assert!(machine.reached(Failpoint::FileClose).is_ok());
        }

        #[test]
        fn a_plan_that_cannot_be_understood_names_the_failpoints() {
            for plan in ["read", "read=explode", "nowhere=kill", "read=kill@0"] {
                let error = FailingMachine::parse(plan).expect_err(plan).to_string();
                assert!(error.contains("commit.sent"), "{error}");
            }
        }
    }
}
