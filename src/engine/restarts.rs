//! Whether a cluster that failed is started again, and when: a decision without a clock of its own.

use std::time::Duration;

use strandline_operators::ErrorKind;

/// A run of at least this long is healthy and resets the count of attempts.
pub const HEALTHY_RUN: Duration = Duration::from_secs(60 * 60);

/// When a failed cluster is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartPolicy {
    /// Restarts in a row before giving up.
    pub attempts: u32,
    /// Pause before each.
    pub delay: Duration,
    /// A run of at least this long resets the count.
    pub healthy: Duration,
}

/// What follows a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Another start would fail the same way, or do harm: the configuration is wrong, or the table refuses.
    Final,
    /// So many restarts in a row did not help.
    GiveUp {
        /// How many.
        restarts: u32,
    },
    /// Start again after a pause.
    Again {
        /// Which restart in a row this is, from 1.
        restart: u32,
        /// How many there are.
        of: u32,
        /// The pause.
        delay: Duration,
    },
}

/// The restarts so far.
#[derive(Clone, Copy, Debug)]
pub struct Restarts {
    policy: RestartPolicy,
    in_a_row: u32,
}

impl Restarts {
    /// None so far.
    pub fn new(policy: RestartPolicy) -> Restarts {
        Restarts {
            policy,
            in_a_row: 0,
        }
    }

    /// The cluster failed, after it had run for so long.
    pub fn after(&mut self, failure: ErrorKind, ran: Duration) -> Next {
        if matches!(failure, ErrorKind::Configuration | ErrorKind::Refused) {
            return Next::Final;
        }
        if ran >= self.policy.healthy {
            self.in_a_row = 0;
        }
        if self.in_a_row >= self.policy.attempts {
            return Next::GiveUp {
                restarts: self.in_a_row,
            };
        }
        self.in_a_row += 1;
        Next::Again {
            restart: self.in_a_row,
            of: self.policy.attempts,
            delay: self.policy.delay,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_secs(5);
    const DELAY: Duration = Duration::from_secs(30);

    fn restarts(attempts: u32) -> Restarts {
        Restarts::new(RestartPolicy {
            attempts,
            delay: DELAY,
            healthy: HEALTHY_RUN,
        })
    }

    fn again(restart: u32) -> Next {
        Next::Again {
            restart,
            of: 3,
            delay: DELAY,
        }
    }

    #[test]
    fn three_restarts_in_a_row_and_no_more() {
        let mut restarts = restarts(3);
        for restart in 1..=3 {
            assert_eq!(
                restarts.after(ErrorKind::Unreachable, SHORT),
                again(restart)
            );
        }
        let last = restarts.after(ErrorKind::Internal, SHORT);
        assert_eq!(last, Next::GiveUp { restarts: 3 });
    }

    #[test]
    fn a_healthy_hour_resets_the_count() {
        let mut restarts = restarts(3);
        for restart in 1..=3 {
            assert_eq!(restarts.after(ErrorKind::Internal, SHORT), again(restart));
        }
        let almost = HEALTHY_RUN - Duration::from_millis(1);
        let mut other = restarts;
        assert_eq!(
            other.after(ErrorKind::Internal, almost),
            Next::GiveUp { restarts: 3 }
        );
        assert_eq!(restarts.after(ErrorKind::Internal, HEALTHY_RUN), again(1));
        assert_eq!(restarts.after(ErrorKind::Internal, SHORT), again(2));
    }

    #[test]
    fn what_another_attempt_cannot_help_is_not_tried_again() {
        for kind in [ErrorKind::Configuration, ErrorKind::Refused] {
            let mut restarts = restarts(3);
            assert_eq!(restarts.after(kind, SHORT), Next::Final);
            assert_eq!(restarts.after(kind, HEALTHY_RUN), Next::Final);
        }
    }

    #[test]
    fn no_attempts_means_none() {
        let next = restarts(0).after(ErrorKind::Unreachable, HEALTHY_RUN);
        assert_eq!(next, Next::GiveUp { restarts: 0 });
    }
}
