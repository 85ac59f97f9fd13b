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
    ///
    /// # Errors
    /// No thread can be started.
    pub fn end_while_starting(&self) -> Result<()> {
        let interrupt = self.clone();
        std::thread::Builder::new()
            .name("interrupt".to_owned())
            .spawn(move || {
                while !interrupt.can_drain.load(Ordering::Relaxed) {
                    if interrupt.is_raised() {
                        std::thread::sleep(START_PATIENCE);
                        if !interrupt.can_drain.load(Ordering::Relaxed) {
                            tracing::info!("asked to end before it had started");
                            exit_now(interrupt.exit_code().unwrap_or(0));
                        }
                        return;
                    }
                    std::thread::sleep(LOOK_INTERVAL);
                }
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
