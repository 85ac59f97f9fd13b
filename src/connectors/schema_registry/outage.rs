//! Says that the registry cannot be reached, now and then, and that it can again.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often the same outage is said.
const SAID_EVERY: Duration = Duration::from_secs(10);

/// What the log has been told.
pub(super) struct Outage {
    shown: String,
    since: Mutex<Option<Since>>,
}

struct Since {
    begin: Instant,
    said: Instant,
    why: String,
}

impl Outage {
    pub fn new(shown: &str) -> Outage {
        Outage {
            shown: shown.to_owned(),
            since: Mutex::new(None),
        }
    }

    fn since(&self) -> MutexGuard<'_, Option<Since>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request has failed. Whether that was said.
    pub fn failed(&self, why: &str) -> bool {
        let now = Instant::now();
        let mut since = self.since();
        let due = since
            .as_ref()
            .is_none_or(|since| now.duration_since(since.said) >= SAID_EVERY);
        let (begin, said) = since
            .as_ref()
            .map_or((now, now), |since| (since.begin, since.said));
        *since = Some(Since {
            begin,
            said: if due { now } else { said },
            why: why.to_owned(),
        });
        if due {
            tracing::warn!(
                for_s = now.duration_since(begin).as_secs(),
                "cannot reach the schema registry at `{}`: {why}; records of schemas that are not known yet are held back, none is a dead letter for it; it is asked again until it answers. Start it, or set `schema_registry.url`",
                self.shown
            );
        }
        due
    }

    /// Why the registry cannot be reached, as long as it cannot.
    pub fn last(&self) -> Option<String> {
        let why = self.since().as_ref().map(|since| since.why.clone());
        why.map(|why| {
            format!(
                "cannot reach the schema registry at `{}`: {why}",
                self.shown
            )
        })
    }

    /// The registry has answered.
    pub fn answered(&self) {
        if let Some(since) = self.since().take() {
            tracing::info!(
                "the schema registry at `{}` answers again, after {} s",
                self.shown,
                since.begin.elapsed().as_secs()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_said_once_in_a_while_and_anew_after_an_answer() {
        let outage = Outage::new("http://r");
        assert_eq!(outage.last(), None);
        assert!(outage.failed("timed out"));
        assert!(!outage.failed("refused"), "said already");
        assert_eq!(
            outage.last().as_deref(),
            Some("cannot reach the schema registry at `http://r`: refused")
        );
        outage.answered();
        assert_eq!(outage.last(), None);
        assert!(outage.failed("refused"));
    }
}
