//! Says when the clients have lost Kafka, and when records come in again. A job that has caught up has no lag
//! that would show that it waits for a broker and not for records.

use std::time::{Duration, Instant};

/// What is still in the client's queues is read after the loss too. Records that come in after a pause of this
/// length come from a broker.
const QUIET: Duration = Duration::from_secs(1);

/// A loss of all brokers, or none.
#[derive(Debug)]
pub struct Outage {
    losses: u64,
    since: Option<Instant>,
    read: u64,
    read_at: Instant,
}

/// What a person should hear.
#[derive(Debug, PartialEq, Eq)]
pub enum Turn {
    /// No broker can be reached.
    Lost,
    /// Records came in again after so long.
    Back(Duration),
}

impl Outage {
    /// No outage.
    pub fn new(now: Instant) -> Outage {
        Outage {
            losses: 0,
            since: None,
            read: 0,
            read_at: now,
        }
    }

    /// Looks at how often clients have lost all brokers, and how many records were read.
    pub fn look(&mut self, now: Instant, losses: u64, read: u64) -> Option<Turn> {
        let was_quiet = now.duration_since(self.read_at) >= QUIET;
        let came_in = read != self.read;
        if came_in {
            self.read = read;
            self.read_at = now;
        }
        // Several clients lose the same broker, and each says so again with every attempt.
        let lost = std::mem::replace(&mut self.losses, losses) != losses;
        match self.since {
            None if lost => {
                self.since = Some(now);
                Some(Turn::Lost)
            }
            Some(since) if came_in && was_quiet => {
                self.since = None;
                Some(Turn::Back(now.duration_since(since)))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_and_its_end_are_told_once_each() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut outage = Outage::new(start);
        assert_eq!(outage.look(at(0), 0, 10), None);
        assert_eq!(outage.look(at(5000), 1, 20), Some(Turn::Lost));
        assert_eq!(
            outage.look(at(5100), 2, 20),
            None,
            "another worker's client"
        );
        assert_eq!(outage.look(at(5200), 2, 30), None, "out of the queues");
        assert_eq!(outage.look(at(59_999), 3, 30), None, "another attempt");
        let back = Turn::Back(Duration::from_secs(55));
        assert_eq!(outage.look(at(60_000), 3, 31), Some(back));
        assert_eq!(outage.look(at(70_000), 3, 40), None);
        assert_eq!(outage.look(at(80_000), 4, 40), Some(Turn::Lost));
    }
}
