//! The lock that says that a job runs here, and who holds it.
//!
//! It keeps two runs on one host from sharing a state directory. Between hosts the table decides, by
//! generations.

use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use strandline_operators::progress::Claimant;
use strandline_operators::{Error, Result};

/// How long a lock that is taken is tried again: `list` holds it for a moment, and a process that was
/// killed until the system has taken its memory back.
const PATIENCE: Duration = Duration::from_secs(2);
/// Pause between two tries.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// The lock of the process that runs the job.
pub const RUN: &str = "lock";
/// The lock of the launcher, which is there between two runs too.
pub const LAUNCH: &str = "launch.lock";

/// What stands in a lock file.
#[derive(Debug, Serialize, Deserialize)]
struct Holder {
    command: String,
    #[serde(flatten)]
    who: Claimant,
}

/// This process, from now on.
pub fn this_process() -> Claimant {
    // Linux; a container has its own. Only for people, so it may be unknown.
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    Claimant {
        host: if host.is_empty() {
            "an unknown host"
        } else {
            host
        }
        .to_owned(),
        pid: std::process::id(),
        since: chrono::Utc::now().format("%Y-%m-%dT%H:%M:%SZ").to_string(),
    }
}

/// A lock that is held until the value is dropped, or the process ends however it may.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code)] File);

/// Takes the lock `name` in the job's folder.
///
/// # Errors
/// `Unreachable` when somebody has it, and who; configuration when the folder cannot be used.
pub fn take(dir: &Path, name: &str, command: &str) -> Result<Lock> {
    let path = dir.join(name);
    let cannot = |e: std::io::Error| cannot_use(dir, &e);
    std::fs::create_dir_all(dir).map_err(cannot)?;
    let mut file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
        .map_err(cannot)?;
    let deadline = Instant::now() + PATIENCE;
    let mut locked = file.try_lock();
    while matches!(locked, Err(TryLockError::WouldBlock)) && Instant::now() < deadline {
        std::thread::sleep(RETRY_PAUSE);
        locked = file.try_lock();
    }
    match locked {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(refusal(&path, &mut file)),
        Err(TryLockError::Error(e)) => return Err(cannot(e)),
    }
    let holder = Holder {
        command: command.to_owned(),
        who: this_process(),
    };
    let text = serde_json::to_string(&holder)
        .map_err(|e| Error::internal(format!("cannot write who holds a lock: {e}")))?;
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| file.write_all(text.as_bytes()))
        .map_err(cannot)?;
    Ok(Lock(file))
}

/// Refuses when somebody has the lock `name` in the job's folder; leaves it alone otherwise.
///
/// # Errors
/// As [`take`].
pub fn refuse_if_taken(dir: &Path, name: &str) -> Result<()> {
    let path = dir.join(name);
    // No file or no folder: nobody has ever run here.
    let Ok(mut file) = File::open(&path) else {
        return Ok(());
    };
    let deadline = Instant::now() + PATIENCE;
    while matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)) {
        if Instant::now() >= deadline {
            return Err(refusal(&path, &mut file));
        }
        std::thread::sleep(RETRY_PAUSE);
    }
    Ok(())
}

/// Whether somebody has the lock `name` in the job's folder. Asks for a shared lock, so that two who ask at the
/// same time do not take each other for the job.
pub fn is_taken(dir: &Path, name: &str) -> bool {
    match File::open(dir.join(name)) {
        Ok(file) => matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)),
        Err(_) => false,
    }
}

/// The error for a state directory that cannot be used. Space can be freed, and is worth a retry.
pub fn cannot_use(dir: &Path, e: &std::io::Error) -> Error {
    let text = format!("cannot use the state directory `{}`: {e}", dir.display());
    match e.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            Error::unreachable(text).hint("free some space, or move `state_dir`")
        }
        _ => {
            Error::configuration(text).hint("set `state_dir` to a folder that this user may write")
        }
    }
}

fn refusal(path: &Path, file: &mut File) -> Error {
    let mut text = String::new();
    let holder = match file.read_to_string(&mut text) {
        Ok(_) => serde_json::from_str::<Holder>(&text).ok(),
        Err(_) => None,
    };
    let by = holder.map_or_else(
        || "somebody who has not said who".to_owned(),
        |holder| {
            format!(
                "`{}`, {}, since {}",
                holder.command, holder.who, holder.who.since
            )
        },
    );
    Error::unreachable(format!(
        "the job runs already on this host: `{}` is held by {by}",
        path.display()
    ))
    .hint("end that process first; `strandline list` shows what runs here")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_names_its_holder_and_goes_with_it() {
        let dir = tempfile::tempdir().expect("temporary folder");
        refuse_if_taken(dir.path(), RUN).expect("nobody has ever run here");
        let lock = take(dir.path(), RUN, "run clicks").expect("free");
        for error in [
            take(dir.path(), RUN, "run clicks").expect_err("taken"),
            refuse_if_taken(dir.path(), RUN).expect_err("taken"),
        ] {
            let who = format!("`run clicks`, pid {} on ", std::process::id());
            assert!(error.message().contains(&who), "{error}");
            assert_eq!(error.kind().exit_code(), 3);
        }
        take(dir.path(), LAUNCH, "launch clicks").expect("another one");
        drop(lock);
        refuse_if_taken(dir.path(), RUN).expect("free again");
        take(dir.path(), RUN, "run").expect("free again");
    }
}
