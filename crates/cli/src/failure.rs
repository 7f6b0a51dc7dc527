//! How the command ends when it fails: one exit code and one message that says what to do next.

use std::fmt;

/// Why the command failed: decides the exit code. The codes are stable and listed in `--help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// Something else.
    Other,
    /// The command line or a file is wrong.
    Usage,
    /// The server could not be reached; nothing was paid.
    Network,
    /// The payment failed.
    Payment,
    /// Too expensive, or refused by the user's own rules.
    TooExpensive,
    /// The server refused.
    Refused,
    /// Unknown whether money moved.
    Unknown,
    /// Not done, and the command has said why already.
    Reported,
    /// A dry run is complete.
    DryRun,
}

impl FailureKind {
    /// True when nothing is left to say.
    pub(crate) fn is_said(self) -> bool {
        matches!(self, Self::Reported | Self::DryRun)
    }

    /// The exit code.
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Other | Self::Reported => 1,
            Self::Usage => 2,
            Self::Network => 3,
            Self::Payment => 4,
            Self::TooExpensive => 5,
            Self::Refused => 6,
            Self::Unknown => 7,
            Self::DryRun => 10,
        }
    }

    /// The name in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Other | Self::Reported => "other",
            Self::Usage => "usage",
            Self::Network => "network",
            Self::Payment => "payment",
            Self::TooExpensive => "too-expensive",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
            Self::DryRun => "dry-run",
        }
    }
}

/// A failure: its kind and what to tell the user. Everything a command returns as an error is or
/// becomes one.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    pub(crate) error: anyhow::Error,
}

impl Failure {
    /// A failure of a kind.
    pub(crate) fn new(kind: FailureKind, error: impl Into<anyhow::Error>) -> Self {
        Self {
            kind,
            error: error.into(),
        }
    }

    /// Wrong usage, in one sentence.
    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self::new(FailureKind::Usage, anyhow::anyhow!("{message}"))
    }

    /// The whole chain in one line.
    pub(crate) fn message(&self) -> String {
        format!("{:#}", self.error)
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(FailureKind::Other, error)
    }
}

/// Marks an error as wrong usage.
pub(crate) trait UsageContext<T> {
    /// The error, as wrong usage, with what was being done.
    fn usage(self, doing: impl fmt::Display + Send + Sync + 'static) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> UsageContext<T> for Result<T, E> {
    fn usage(self, doing: impl fmt::Display + Send + Sync + 'static) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(FailureKind::Usage, error.into().context(doing)))
    }
}
