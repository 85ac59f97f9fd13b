//! Signals: the first SIGTERM or SIGINT drains, the second ends at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use strandline_operators::{Error, Result};

/// Whether a signal has asked for a drain, and which.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    stop: Arc<AtomicBool>,
    signal: Arc<AtomicUsize>,
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
