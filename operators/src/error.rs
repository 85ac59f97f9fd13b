//! One error type for the whole engine: what could not be done, what was found, the next step.

use std::fmt;

/// `Result` with Strandline's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What an error means for whoever started the process; decides the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// A defect of ours, or a state that should not exist.
    Internal,
    /// The command line or the configuration is wrong.
    Configuration,
    /// Something outside (broker, catalog, warehouse, peer) cannot be reached; worth a retry.
    Unreachable,
    /// Refused in order to protect data: fenced, history without progress, offsets no longer held.
    Refused,
}

impl ErrorKind {
    /// The exit status that the command interface promises for this kind of error.
    pub fn exit_code(self) -> u8 {
        match self {
            ErrorKind::Internal => 1,
            ErrorKind::Configuration => 2,
            ErrorKind::Unreachable => 3,
            ErrorKind::Refused => 4,
        }
    }
}

/// An error a person can act on.
///
/// ```
/// use strandline_operators::Error;
/// let error = Error::unreachable("cannot reach Kafka at `localhost:9092`: connection refused")
///     .hint("start the broker, or set `kafka.bootstrap_servers`")
///     .context("job roman-numerals");
/// assert_eq!(error.kind().exit_code(), 3);
/// assert_eq!(
///     error.to_string(),
///     "cannot reach Kafka at `localhost:9092`: connection refused\n  \
///      hint: start the broker, or set `kafka.bootstrap_servers`\n  (job roman-numerals)"
/// );
/// ```
#[derive(Clone, Debug)]
pub struct Error(Box<Details>);

#[derive(Clone, Debug)]
struct Details {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    context: Vec<String>,
}

impl Error {
    /// An error of the given kind; `message` says what could not be done and what was found.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error(Box::new(Details {
            kind,
            message: message.into(),
            hint: None,
            context: Vec::new(),
        }))
    }

    /// A defect of ours. Exit status 1.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// A wrong command line or configuration. Exit status 2.
    pub fn configuration(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Configuration, message)
    }

    /// Something outside cannot be reached. Exit status 3.
    pub fn unreachable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unreachable, message)
    }

    /// Refused in order to protect data. Exit status 4.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Refused, message)
    }

    /// Adds the next step for the reader. The last hint wins.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds where it happened (job, partition, table), innermost first.
    #[must_use]
    pub fn context(mut self, context: impl Into<String>) -> Self {
        self.0.context.push(context.into());
        self
    }

    /// What kind of error this is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The first line: what could not be done and what was found.
    pub fn message(&self) -> &str {
        &self.0.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        if let Some(hint) = &self.0.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        if !self.0.context.is_empty() {
            write!(f, "\n  ({})", self.0.context.join(", "))?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}
