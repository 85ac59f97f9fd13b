//! What systemd wants to hear (`sd_notify`): that the job reads, that it drains, that somebody is alive.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::status::job::JobState;

/// The variable that names the socket, when systemd has started us with `Type=notify`.
const SOCKET: &str = "NOTIFY_SOCKET";

/// While the job starts, systemd is asked to wait for so much longer, in microseconds: state is read back, and with
/// `format: auto` the first records are waited for, whatever `TimeoutStartSec` says. Whoever hangs is ended by the job's own
/// watch.
const START_EXTENSION_US: u64 = 60_000_000;

/// The line to systemd; says nothing when there is none.
#[derive(Debug, Default)]
pub(crate) struct Notify {
    line: Option<(UnixDatagram, SocketAddr)>,
    said: Option<JobState>,
}

impl Notify {
    /// To whoever has started this process.
    pub(crate) fn from_environment() -> Notify {
        let name = std::env::var(SOCKET).ok();
        Notify {
            line: name.and_then(|name| open(&name)),
            said: None,
        }
    }

    /// To be called at every look at the job, several times in `WatchdogSec`.
    pub(crate) fn look(&mut self, state: JobState) {
        let Some((line, to)) = &self.line else {
            return;
        };
        let mut text = "WATCHDOG=1\n".to_owned();
        if self.said != Some(state) {
            text.push_str(&format!("STATUS={}\n", state.name()));
            text.push_str(match state {
                JobState::Running => "READY=1\n",
                JobState::Draining | JobState::Ended => "STOPPING=1\n",
                JobState::Starting | JobState::Restarting => "",
            });
        }
        if matches!(state, JobState::Starting | JobState::Restarting) {
            text.push_str(&format!("EXTEND_TIMEOUT_USEC={START_EXTENSION_US}\n"));
        }
        // What did not get through is said again at the next look. systemd is gone only when all is over.
        if line.send_to_addr(text.as_bytes(), to).is_ok() {
            self.said = Some(state);
        }
    }
}

fn open(name: &str) -> Option<(UnixDatagram, SocketAddr)> {
    let to = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(name),
    };
    let line = UnixDatagram::unbound().ok()?;
    // Nobody here waits for a systemd that does not listen.
    line.set_nonblocking(true).ok()?;
    Some((line, to.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_hears_of_each_state_once_and_of_every_look() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("notify");
        let systemd = UnixDatagram::bind(&path).expect("bind");
        let mut notify = Notify {
            line: open(&path.to_string_lossy()),
            said: None,
        };
        let mut heard = |state| {
            notify.look(state);
            let mut buffer = [0; 200];
            let length = systemd.recv(&mut buffer).expect("a message");
            String::from_utf8_lossy(&buffer[..length]).into_owned()
        };
        assert_eq!(
            heard(JobState::Starting),
            "WATCHDOG=1\nSTATUS=starting\nEXTEND_TIMEOUT_USEC=60000000\n"
        );
        assert_eq!(
            heard(JobState::Starting),
            "WATCHDOG=1\nEXTEND_TIMEOUT_USEC=60000000\n"
        );
        assert_eq!(
            heard(JobState::Running),
            "WATCHDOG=1\nSTATUS=running\nREADY=1\n"
        );
        assert_eq!(heard(JobState::Running), "WATCHDOG=1\n");
        assert_eq!(
            heard(JobState::Draining),
            "WATCHDOG=1\nSTATUS=draining\nSTOPPING=1\n"
        );
    }
}
