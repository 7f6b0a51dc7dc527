//! How the command ends when it fails: one exit code and one message that says what to do next.

use std::fmt;

use serde_json::{Value, json};
use stiver_client::MoneyMoved;

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
    pub(crate) advice: Option<Advice>,
}

/// What a payer needs to know of a failure.
#[derive(Debug)]
pub(crate) struct Advice {
    /// Whether money moved.
    pub(crate) moved: MoneyMoved,
    /// Whether trying again is safe.
    pub(crate) again: Again,
    /// What to do next; empty when the message says it.
    pub(crate) next: String,
}

/// Whether trying again is safe.
#[derive(Debug)]
pub(crate) enum Again {
    /// Yes.
    Safe,
    /// Only by resuming this call: another could pay twice.
    Resume(String),
    /// It changes nothing until something else is changed.
    No,
}

impl Advice {
    /// Puts it into the object of an error.
    pub(crate) fn add_to(&self, error: &mut Value) {
        let (again, call) = match &self.again {
            Again::Safe => ("safe", None),
            Again::Resume(call) => ("resume", Some(call)),
            Again::No => ("no", None),
        };
        error["moneyMoved"] = json!(self.moved.to_string());
        error["retry"] = json!(again);
        error["call"] = json!(call);
        error["next"] = json!(self.next);
    }
}

impl Failure {
    /// A failure of a kind.
    pub(crate) fn new(kind: FailureKind, error: impl Into<anyhow::Error>) -> Self {
        Self {
            kind,
            error: error.into(),
            advice: None,
        }
    }

    /// The same, with advice.
    pub(crate) fn with(self, advice: Advice) -> Self {
        Self {
            advice: Some(advice),
            ..self
        }
    }

    /// Wrong usage, in one sentence.
    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self::new(FailureKind::Usage, anyhow::anyhow!("{message}"))
    }

    /// The whole chain in one line, with the advice that is not in it.
    pub(crate) fn message(&self) -> String {
        let mut message = format!("{:#}", self.error);
        if let Some(advice) = &self.advice {
            for more in [advice.moved.to_string(), advice.next.clone()] {
                if !message.contains(&more) {
                    message.push_str("; ");
                    message.push_str(&more);
                }
            }
        }
        message
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
