//! Signals: the first SIGTERM or SIGINT drains, the second ends at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use strandline_operators::{Error, Result};

use super::parent::exit_now;

/// How long after a signal a process that has not started yet may take to do so and drain, or to end by
/// itself. Then it ends at once: it has read nothing, and a broker that does not answer keeps it for seconds.
const START_PATIENCE: Duration = Duration::from_secs(1);
/// How often the flag is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Whether a signal has asked for a drain, and which.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    stop: Arc<AtomicBool>,
    signal: Arc<AtomicUsize>,
    can_drain: Arc<AtomicBool>,
    cancelled: Arc<AtomicBool>,
}

impl Interrupt {
    /// Installs the handlers. A second signal ends the process at once: nothing is lost by that either.
    ///
    /// # Errors
    /// The system refuses a handler.
    pub fn install() -> Result<Interrupt> {
        let interrupt = Interrupt::default();
        for (signal, number) in [(SIGTERM, 15usize), (SIGINT, 2usize)] {
            let refused =
                |e: std::io::Error| Error::internal(format!("cannot handle signal {number}: {e}"));
            // Order matters: the shutdown looks at the flag before this signal sets it.
            signal_hook::flag::register_conditional_shutdown(
                signal,
                128 + number as i32,
                Arc::clone(&interrupt.stop),
            )
            .map_err(refused)?;
            signal_hook::flag::register(signal, Arc::clone(&interrupt.stop)).map_err(refused)?;
            signal_hook::flag::register_usize(signal, Arc::clone(&interrupt.signal), number)
                .map_err(refused)?;
        }
        Ok(interrupt)
    }

    /// Ends the process soon after a signal as long as it has nothing to drain: until [`Interrupt::can_drain`].
    /// `last_words` are told the exit status first.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn end_while_starting(&self, last_words: impl FnOnce(u8) + Send + 'static) -> Result<()> {
        let interrupt = self.clone();
        std::thread::Builder::new()
            .name("interrupt".to_owned())
            .spawn(move || {
                while !interrupt.is_raised() {
                    if interrupt.has_begun() {
                        return;
                    }
                    std::thread::sleep(LOOK_INTERVAL);
                }
                std::thread::sleep(START_PATIENCE);
                if interrupt.has_begun() {
                    return;
                }
                tracing::info!("asked to end before it had started");
                let exit_status = interrupt.exit_code().unwrap_or(0);
                last_words(exit_status);
                exit_now(exit_status);
            })
            .map_err(|e| Error::internal(format!("cannot start the thread for signals: {e}")))?;
        Ok(())
    }

    /// Asks for a drain, as a signal does: `stop`.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Asks for an end at once: `cancel`. Nothing is lost by that.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether an end at once is asked for.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Ends this process soon after [`Interrupt::cancel`], with status 0.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn end_when_cancelled(&self) -> Result<()> {
        let interrupt = self.clone();
        std::thread::Builder::new()
            .name("cancel".to_owned())
            .spawn(move || {
                while !interrupt.is_cancelled() {
                    std::thread::sleep(LOOK_INTERVAL);
                }
                tracing::info!("cancelled");
                // Whoever asked hears that it was heard.
                std::thread::sleep(LOOK_INTERVAL);
                exit_now(0);
            })
            .map_err(|e| Error::internal(format!("cannot start the thread for signals: {e}")))?;
        Ok(())
    }

    /// From now on there is something to drain.
    pub fn can_drain(&self) {
        self.can_drain.store(true, Ordering::Relaxed);
    }

    fn has_begun(&self) -> bool {
        self.can_drain.load(Ordering::Relaxed)
    }

    /// The flag that asks for a drain.
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    /// Whether a drain is asked for.
    pub fn is_raised(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// The exit status after the drain: 128 plus the signal's number, or `None` without a signal.
    pub fn exit_code(&self) -> Option<u8> {
        match self.signal.load(Ordering::Relaxed) {
            0 => None,
            number => u8::try_from(128 + number).ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Set in the process that is told to end.
    const ENDS: &str = "STRANDLINE_TEST_ENDS";
    /// Far more than that process is promised.
    const DEADLINE: Duration = Duration::from_secs(60);

    #[test]
    fn a_process_that_a_signal_ends_before_it_reads_has_last_words() {
        if std::env::var_os(ENDS).is_some() {
            let interrupt = Interrupt::install().expect("handlers");
            let last_words = |status: u8| println!("its last words: {status}");
            interrupt.end_while_starting(last_words).expect("a thread");
            signal_hook::low_level::raise(SIGTERM).expect("a signal");
            std::thread::park_timeout(DEADLINE);
            return;
        }
        let output = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "--nocapture"])
            .arg("engine::interrupt::tests::a_process_that_a_signal_ends_before_it_reads_has_last_words")
            .env(ENDS, "1")
            .output()
            .expect("started");
        assert_eq!(output.status.code(), Some(143), "{output:?}");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("its last words: 143"), "{output:?}");
    }
}
