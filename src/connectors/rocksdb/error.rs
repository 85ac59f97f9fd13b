//! What RocksDB's errors mean for whoever started the job.

use std::path::Path;

use strandline_operators::Error;

/// What is wrong with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Another process has it open.
    InUse,
    /// The disk is full.
    DiskFull,
    /// The system denies access.
    Denied,
    /// Its files are damaged or missing: it is rebuilt.
    Damaged,
    /// Something else.
    Other,
}

impl Trouble {
    /// RocksDB's C interface hands out text only.
    pub(super) fn of(error: &::rocksdb::Error) -> Trouble {
        use ::rocksdb::ErrorKind;
        let text = error.as_ref();
        let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
        match error.kind() {
            ErrorKind::IOError
                if says(&["lock file", "lock hold", "LOCK:"])
                    && !says(&["Permission denied", "No space left", "Read-only"]) =>
            {
                Trouble::InUse
            }
            _ if says(&["No space left on device", "Disk quota exceeded"]) => Trouble::DiskFull,
            _ if says(&["Permission denied", "Read-only file system"]) => Trouble::Denied,
            ErrorKind::Corruption | ErrorKind::InvalidArgument | ErrorKind::NotFound => {
                Trouble::Damaged
            }
            ErrorKind::IOError
                if says(&[
                    "No such file or directory",
                    "Is a directory",
                    "Not a directory",
                ]) =>
            {
                Trouble::Damaged
            }
            _ => Trouble::Other,
        }
    }
}

/// The error for a person. All of them are worth a retry (exit status 3): the lock of a process that is
/// just ending goes away, space can be freed, and a damaged store is rebuilt at the next start.
pub(super) fn explain(action: &str, dir: &Path, error: &::rocksdb::Error) -> Error {
    let path = dir.display();
    match Trouble::of(error) {
        Trouble::InUse => Error::unreachable(format!("cannot {action} the deduplication state in `{path}`: another process has it open"))
            .hint("end the other run of this job, or give this one a `state_dir` of its own"),
        Trouble::DiskFull => Error::unreachable(format!("cannot {action} the deduplication state in `{path}`: the disk is full"))
            .hint("free some space (about 60 bytes for each id of the last `dedup.ttl`), or move `state_dir`"),
        Trouble::Denied => Error::unreachable(format!("cannot {action} the deduplication state in `{path}`: {error}"))
            .hint("let the user that runs the job write there, or set `state_dir`"),
        Trouble::Damaged => Error::unreachable(format!("cannot {action} the deduplication state in `{path}`: {error}"))
            .hint("start again: the state is then rebuilt from the table; nothing is lost"),
        Trouble::Other => Error::unreachable(format!("cannot {action} the deduplication state in `{path}`: {error}")),
    }
}

/// The same for the files around the store.
pub(super) fn explain_io(action: &str, path: &Path, error: &std::io::Error) -> Error {
    Error::unreachable(format!("cannot {action} `{}`: {error}", path.display()))
        .hint("`state_dir` must be a folder that the job may write to")
}
