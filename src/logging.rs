//! Logs go to stderr, always: for people on a terminal, as JSON otherwise. `RUST_LOG` says which.

use std::io::IsTerminal;

use strandline_operators::{Error, Result};
use tracing_subscriber::EnvFilter;

/// What is logged when `RUST_LOG` does not say. Library crates of a job's author are libraries too.
const DEFAULT_FILTER: &str = "warn,strandline=info";

/// Starts logging; does nothing when it has been started before.
pub(crate) fn start() -> Result<()> {
    let said = std::env::var("RUST_LOG")
        .ok()
        .filter(|said| !said.trim().is_empty());
    let filter = filter(said.as_deref())?;
    let terminal = std::io::stderr().is_terminal();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // A second start is one from a test of the same process.
    let _ = if terminal {
        subscriber.with_target(false).compact().try_init()
    } else {
        subscriber.json().flatten_event(true).try_init()
    };
    Ok(())
}

fn filter(said: Option<&str>) -> Result<EnvFilter> {
    let said = said.unwrap_or(DEFAULT_FILTER);
    EnvFilter::try_new(said).map_err(|error| {
        Error::configuration(format!("`RUST_LOG={said}` is not a filter: {error}"))
            .hint(format!("write it like `{DEFAULT_FILTER}`"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_is_none_is_an_error() {
        assert!(filter(Some("strandline=debug,rdkafka=info")).is_ok());
        assert_eq!(
            filter(Some("strandline=loud"))
                .expect_err("no level")
                .kind()
                .exit_code(),
            2
        );
    }
}
