//! How long somebody who ought to say something has said nothing.

use std::time::{Duration, Instant};

/// The most that one look adds to a silence. Who looks was perhaps stopped too, with the whole machine:
/// what was said meanwhile still waits to be read, and only time in which we ourselves ran counts.
const LOOK_MAX: Duration = Duration::from_secs(1);

/// Counts silence, in time in which the one who listens has run.
#[derive(Clone, Debug)]
pub(crate) struct Silence {
    limit: Duration,
    looked: Instant,
    silent: Duration,
}

impl Silence {
    /// Nothing heard from now on, which is bearable for `limit`.
    pub(crate) fn new(now: Instant, limit: Duration) -> Silence {
        Silence {
            limit,
            looked: now,
            silent: Duration::ZERO,
        }
    }

    /// To be called a few times a second, with whether anything was heard since; whether the silence is
    /// over its limit.
    pub(crate) fn is_too_long(&mut self, now: Instant, heard: bool) -> bool {
        let passed = now.saturating_duration_since(self.looked).min(LOOK_MAX);
        self.looked = now;
        self.silent = match heard {
            true => Duration::ZERO,
            false => self.silent + passed,
        };
        self.silent >= self.limit
    }

    /// How long it has lasted.
    pub(crate) fn lasted(&self) -> Duration {
        self.silent
    }

    /// Allows another limit from now on.
    pub(crate) fn set_limit(&mut self, limit: Duration) {
        self.limit = limit;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(8);

    /// Looks four times a second for so long; whether it was too long at any look.
    fn looks(silence: &mut Silence, from: Instant, seconds: u64, heard: bool) -> bool {
        (1..=seconds * 4)
            .any(|i| silence.is_too_long(from + Duration::from_millis(250) * i as u32, heard))
    }

    #[test]
    fn silence_up_to_the_limit_is_borne() {
        let start = Instant::now();
        let mut silence = Silence::new(start, LIMIT);
        assert!(!looks(&mut silence, start, 7, false));
        assert!(looks(
            &mut silence,
            start + Duration::from_secs(7),
            1,
            false
        ));
        assert_eq!(silence.lasted(), LIMIT);
    }

    #[test]
    fn a_word_ends_the_silence() {
        let start = Instant::now();
        let mut silence = Silence::new(start, LIMIT);
        assert!(!looks(&mut silence, start, 7, false));
        let later = start + Duration::from_millis(7_250);
        assert!(!silence.is_too_long(later, true));
        assert!(!looks(&mut silence, later, 7, false));
    }

    #[test]
    fn who_was_stopped_himself_does_not_blame_the_others() {
        let start = Instant::now();
        let mut silence = Silence::new(start, LIMIT);
        let woken = start + Duration::from_secs(3600);
        assert!(!silence.is_too_long(woken, false));
        assert!(!looks(&mut silence, woken, 6, false));
        assert!(looks(
            &mut silence,
            woken + Duration::from_secs(6),
            1,
            false
        ));
    }
}
