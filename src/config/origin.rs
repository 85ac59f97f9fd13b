//! Where a setting came from, so that every error and every listing can say so.

use std::fmt;
use std::sync::Arc;

/// Where a setting came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Where it is said.
    pub place: Place,
    /// The variable its text was taken from, as in `env:NAME` or `file:PATH`.
    pub variable: Option<Arc<str>>,
}

/// Where a setting is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Strandline's own default.
    Default,
    /// The job's code.
    Job,
    /// The configuration file. Line and column count from 1.
    File {
        /// The file, as it was named.
        file: Arc<str>,
        /// The line.
        line: usize,
        /// The column, in characters.
        column: usize,
    },
    /// The command line, `--set KEY=...`. Holds the key only, since the value may be a secret.
    Set(Arc<str>),
}

impl Origin {
    /// Strandline's own default.
    pub const DEFAULT: Origin = Origin {
        place: Place::Default,
        variable: None,
    };
    /// The job's code.
    pub const JOB: Origin = Origin {
        place: Place::Job,
        variable: None,
    };

    /// Whether a person said it, in the file or on the command line.
    pub fn is_said(&self) -> bool {
        matches!(self.place, Place::File { .. } | Place::Set(_))
    }

    /// Line and column in the file; what is not in it comes last.
    pub(crate) fn position(&self) -> (usize, usize) {
        match &self.place {
            Place::File { line, column, .. } => (*line, *column),
            _ => (usize::MAX, 0),
        }
    }

    /// Where exactly, for an error message: with the column, or with the key of the `--set`.
    pub fn exact(&self) -> String {
        let place = match &self.place {
            Place::File { file, line, column } => format!("{file}:{line}:{column}"),
            Place::Set(key) => format!("--set {key}"),
            Place::Default | Place::Job => self.to_string(),
        };
        match &self.variable {
            Some(variable) => format!("{place}, ${{{variable}}}"),
            None => place,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Default => f.write_str("default")?,
            Place::Job => f.write_str("job")?,
            Place::File { file, line, .. } => write!(f, "{file}:{line}")?,
            Place::Set(_) => f.write_str("--set")?,
        }
        match &self.variable {
            Some(variable) => write!(f, ", {variable}"),
            None => Ok(()),
        }
    }
}

/// A value and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Where it came from.
    pub origin: Origin,
}
