//! The requests to object stores that have been without an answer for long: for the log, and for whoever watches.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::fault::Named;

/// When a request is overdue. With the age of what a job's supervisor knows this is named within 10 s.
pub(super) const OVERDUE_AFTER: Duration = Duration::from_secs(5);

/// Those of this process, in the order in which they became overdue. As many as threads that wait, at most.
static OVERDUE: Mutex<BTreeMap<u64, Request>> = Mutex::new(BTreeMap::new());

struct Request {
    store: String,
    since: Instant,
}

/// Says that a request is overdue as long as it lives.
pub(super) struct Overdue(u64);

impl Overdue {
    /// A request that was made so long ago.
    pub(super) fn new(named: &Named, age: Duration) -> Overdue {
        tracing::warn!(
            bucket = named.bucket,
            at = named.at,
            "the object store gives no answer, trying on"
        );
        let mut overdue = requests();
        let number = overdue.last_key_value().map_or(0, |(last, _)| last + 1);
        let request = Request {
            store: format!(
                "the object store of bucket `{}`, {}",
                named.bucket, named.at
            ),
            since: Instant::now().checked_sub(age).unwrap_or_else(Instant::now),
        };
        overdue.insert(number, request);
        Overdue(number)
    }
}

impl Drop for Overdue {
    fn drop(&mut self) {
        requests().remove(&self.0);
    }
}

/// Which object store this process waits for, and for how long, if it does for more than 5 s.
pub fn store_trouble() -> Option<String> {
    let overdue = requests();
    let (_, oldest) = overdue.first_key_value()?;
    Some(format!(
        "{}, has given no answer for {} s",
        oldest.store,
        oldest.since.elapsed().as_secs()
    ))
}

fn requests() -> MutexGuard<'static, BTreeMap<u64, Request>> {
    OVERDUE.lock().unwrap_or_else(PoisonError::into_inner)
}
