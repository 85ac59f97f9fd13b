//! How many files this process may have open.
//!
//! A socket is one, and so is a data file, and a file of the state: RocksDB keeps all of its own open. What a shell gives a
//! process at first is often 1,024, for the sake of programs that wait with `select`, which knows no higher ones. We wait
//! with `epoll` and `poll`, and take what the system allows, as servers do.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit to what the system allows. Returns what it is now; `None` when there is none.
pub fn raise() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return limit.current;
    }
    let highest = Rlimit {
        current: limit.maximum,
        ..limit
    };
    match setrlimit(Resource::Nofile, highest) {
        Ok(()) => {
            tracing::debug!(
                before = limit.current,
                now = limit.maximum,
                "the limit on open files is raised"
            );
            limit.maximum
        }
        Err(e) => {
            tracing::debug!(
                now = limit.current,
                "the limit on open files cannot be raised: {e}"
            );
            limit.current
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Set in the process that begins with few files.
    const FEW: &str = "STRANDLINE_TEST_FEW_FILES";

    #[test]
    fn a_process_that_begins_with_few_files_may_have_as_many_as_the_system_allows() {
        if std::env::var_os(FEW).is_some() {
            let given = getrlimit(Resource::Nofile);
            let few = Rlimit {
                current: Some(64),
                ..given
            };
            setrlimit(Resource::Nofile, few).expect("lowered");
            assert_eq!(raise(), given.maximum);
            assert_eq!(getrlimit(Resource::Nofile).current, given.maximum);
            assert_eq!(raise(), given.maximum, "there is nothing left to raise");
            return;
        }
        // In a process of its own: the other tests of this one open files.
        let output = Command::new(std::env::current_exe().expect("this test"))
            .arg("--exact")
            .arg("engine::file_limit::tests::a_process_that_begins_with_few_files_may_have_as_many_as_the_system_allows")
            .env(FEW, "1")
            .output()
            .expect("started");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains("1 passed"),
            "{output:?}"
        );
    }
}
