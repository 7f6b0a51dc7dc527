//! How the command ends when it fails: one exit code and one message that says what to do next.

use std::fmt;

use serde_json::{Value, json};
use stiver_client::{CallError, MoneyMoved};
use stiver_wallet::WalletError;

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

    /// What programs read: `stiver schema error` describes it.
    pub(crate) fn object(&self) -> Value {
        let advice = self.advice.as_ref();
        let again = advice.map(|advice| &advice.again);
        let (retry, call) = match (again, self.kind) {
            (Some(Again::Safe), _) | (None, FailureKind::Network) => (Some("safe"), None),
            (Some(Again::Resume(call)), _) => (Some("resume"), Some(call)),
            (Some(Again::No), _) | (None, FailureKind::Usage) => (Some("no"), None),
            (None, _) => (None, None),
        };
        let moved = match (advice, self.kind) {
            (Some(advice), _) => Some(advice.moved),
            (None, FailureKind::Usage | FailureKind::Network) => Some(MoneyMoved::No),
            (None, _) => None,
        };
        let hint = advice.map(|advice| advice.next.as_str());
        json!({"error": {
            "code": self.code(),
            "kind": self.kind.name(),
            "message": self.message(),
            "exitCode": self.kind.exit_code(),
            "moneyMoved": moved.map(MoneyMoved::as_str),
            "retry": retry,
            "call": call,
            "hint": hint.filter(|hint| !hint.is_empty()),
        }})
    }

    /// What happened, more precisely than the kind where the error says so.
    fn code(&self) -> &'static str {
        let wallet = self.error.downcast_ref::<WalletError>();
        let call = self.error.downcast_ref::<CallError>();
        match (wallet, call) {
            (Some(error), _) => error.code(),
            (None, Some(error)) => error.code(),
            (None, None) => self.kind.name(),
        }
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
