//! Waiting for a condition, never for a time.

use std::time::{Duration, Instant};

/// How often a condition is looked at.
pub const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Waits until the condition gives something. Panics at the deadline, and says what it waited for.
#[track_caller]
pub fn wait_until<T>(
    what: &str,
    deadline: Duration,
    mut condition: impl FnMut() -> Option<T>,
) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(begin.elapsed() < deadline, "waited {deadline:?} for {what}");
        std::thread::sleep(POLL_INTERVAL);
    }
}
