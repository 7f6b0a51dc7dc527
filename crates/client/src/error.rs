//! What can go wrong with a call. Every error tells whether money moved and what to do next.

use std::fmt;

use stiver_core::{
    Amount, Timestamp,
    challenge::ChallengeError,
    problem::{ProblemKind, ReceivedProblem},
    untrusted::Untrusted,
};
use stiver_method::{
    artefact::RailUnavailable,
    payer::{PayError, Unpayable},
};

use crate::{
    CallId, OriginError,
    outbox::OutboxError,
    pins::PinsError,
    policy::Change,
    session::{OverLimit, SessionId, SessionJournalError},
};

/// Any error of a transport.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Whether money moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MoneyMoved {
    /// No, and nothing that was signed can land later.
    No,
    /// Nobody knows yet. Count it as spent.
    Maybe,
    /// Yes.
    Yes,
}

impl MoneyMoved {
    /// `no`, `maybe` or `yes`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Maybe => "maybe",
            Self::Yes => "yes",
        }
    }
}

impl fmt::Display for MoneyMoved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::No => "no money moved",
            Self::Maybe => "money may have moved",
            Self::Yes => "money moved",
        })
    }
}

/// Whether and how to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// A new call is safe, and may well succeed.
    NewCall,
    /// A new call could pay twice. Resume this one: the same credential is sent again.
    Resume(CallId),
    /// Trying again changes nothing until something else is changed.
    No,
}

/// Why a call has no response.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The URL.
    #[error("the request cannot be made")]
    Origin(#[source] OriginError),
    /// Plain HTTP to another machine.
    #[error(
        "{0} is plain HTTP: credentials and challenges could be read and changed on the way; \
         use https"
    )]
    PlainHttp(crate::Origin),
    /// The request holds a Payment credential already.
    #[error("the request has a Payment credential already: leave it to the client")]
    CredentialPresent,
    /// The request body could not be read, or is longer than the client holds.
    #[error("the request body cannot be sent: {0}")]
    RequestBody(String),
    /// No connection, no answer, or a broken one, before anything was signed.
    #[error("no response from {origin}")]
    Transport {
        /// From where.
        origin: crate::Origin,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// A redirect to another origin.
    #[error(
        "{from} redirects to {}: redirects to another origin are not followed; \
         call it directly if you trust it",
        Untrusted(to)
    )]
    RedirectElsewhere {
        /// From where.
        from: crate::Origin,
        /// To where, as the server wrote it.
        to: String,
    },
    /// Too many redirects.
    #[error("more than {limit} redirects")]
    TooManyRedirects {
        /// How many are followed.
        limit: u32,
    },
    /// Every challenge of a session was said to be too old as soon as it was answered.
    #[error("{limit} challenges in a row were refused as too old or unknown")]
    TooManyChallenges {
        /// How many are tried.
        limit: u32,
    },
    /// A redirect led to another origin, and that one asks for payment.
    #[error(
        "{from} redirected to {to}, which asks for payment: payments do not follow redirects to \
         another origin; call it directly if you trust it"
    )]
    PaymentElsewhere {
        /// From where.
        from: crate::Origin,
        /// To where.
        to: crate::Origin,
        /// The URL that asks for payment.
        url: String,
    },
    /// Payment is required and no offer can be paid.
    #[error("payment is required, and no offer can be paid: {}", Reasons(reasons))]
    NotPayable {
        /// Why, offer by offer.
        reasons: Vec<Unusable>,
        /// What the server said.
        refusal: Refused,
    },
    /// The policy said no to every offer.
    #[error("not paid: {}", reasons.join("; "))]
    Declined {
        /// Why, offer by offer.
        reasons: Vec<String>,
    },
    /// The challenge expired while the policy thought about it.
    #[error("the offer expired at {} before the payment was allowed", at.to_rfc3339())]
    ExpiredMeanwhile {
        /// When.
        at: Timestamp,
    },
    /// What is remembered of origins could not be read or written.
    #[error("what is known of {origin} could not be read or written")]
    Pins {
        /// Of which.
        origin: crate::Origin,
        /// Why.
        #[source]
        source: PinsError,
    },
    /// The journal failed.
    #[error("call {call}: the journal failed; {moved}")]
    Journal {
        /// Which call.
        call: CallId,
        /// Whether money moved.
        moved: MoneyMoved,
        /// Why.
        #[source]
        source: OutboxError,
    },
    /// The payment could not be prepared or made.
    #[error("call {call}: not paid; {moved}")]
    Pay {
        /// Which call.
        call: CallId,
        /// Whether money moved.
        moved: MoneyMoved,
        /// Why.
        #[source]
        source: PayError,
    },
    /// The server refused the payment.
    #[error("call {call}: the server refused the payment; {moved}: {refusal}")]
    Refused {
        /// Which call.
        call: CallId,
        /// Whether money moved, as the rail tells.
        moved: MoneyMoved,
        /// What the server said.
        refusal: Refused,
    },
    /// The credential was sent, and no answer tells what became of it.
    #[error("call {call}: {last}; {moved}")]
    Unknown {
        /// Which call.
        call: CallId,
        /// Whether money moved, as the rail tells.
        moved: MoneyMoved,
        /// The last thing seen.
        last: LastSeen,
    },
    /// A request within a session.
    #[error("{}{failure}", InSession(*session))]
    Session {
        /// Which session, once there is one.
        session: Option<SessionId>,
        /// Whether money moved: a voucher that left counts as money.
        moved: MoneyMoved,
        /// Why.
        #[source]
        failure: Box<SessionFailure>,
    },
    /// A call to resume is not there, is final, or is under way.
    #[error("call {call} cannot be resumed: {why}")]
    NotResumable {
        /// Which call.
        call: CallId,
        /// Why.
        why: NotResumable,
    },
}

impl CallError {
    /// A stable name for what happened, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Origin(_) => "bad-url",
            Self::PlainHttp(_) => "plain-http",
            Self::CredentialPresent => "credential-present",
            Self::RequestBody(_) => "request-body",
            Self::Transport { .. } => "unreachable",
            Self::RedirectElsewhere { .. } => "redirect-elsewhere",
            Self::TooManyRedirects { .. } => "too-many-redirects",
            Self::TooManyChallenges { .. } => "too-many-challenges",
            Self::PaymentElsewhere { .. } => "payment-elsewhere",
            Self::NotPayable { .. } => "not-payable",
            Self::Declined { .. } => "declined",
            Self::ExpiredMeanwhile { .. } => "expired",
            Self::Pins { .. } => "pins-failed",
            Self::Journal { .. } => "journal-failed",
            Self::Pay { .. } => "not-signed",
            Self::Refused { .. } => "payment-refused",
            Self::Unknown { .. } => "outcome-unknown",
            Self::Session { failure, .. } => failure.code(),
            Self::NotResumable { .. } => "not-resumable",
        }
    }

    /// Whether money moved.
    pub fn money_moved(&self) -> MoneyMoved {
        match self {
            Self::Journal { moved, .. }
            | Self::Pay { moved, .. }
            | Self::Refused { moved, .. }
            | Self::Unknown { moved, .. }
            | Self::Session { moved, .. } => *moved,
            Self::NotResumable { why, .. } => why.money_moved(),
            Self::Origin(_)
            | Self::PlainHttp(_)
            | Self::CredentialPresent
            | Self::RequestBody(_)
            | Self::Transport { .. }
            | Self::RedirectElsewhere { .. }
            | Self::TooManyRedirects { .. }
            | Self::TooManyChallenges { .. }
            | Self::PaymentElsewhere { .. }
            | Self::NotPayable { .. }
            | Self::Declined { .. }
            | Self::ExpiredMeanwhile { .. }
            | Self::Pins { .. } => MoneyMoved::No,
        }
    }

    /// Whether and how to try again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Transport { .. } | Self::ExpiredMeanwhile { .. } => Retry::NewCall,
            Self::Journal { call, moved, .. } | Self::Unknown { call, moved, .. } => match moved {
                MoneyMoved::No => Retry::NewCall,
                MoneyMoved::Maybe | MoneyMoved::Yes => Retry::Resume(*call),
            },
            Self::Refused {
                moved: MoneyMoved::No,
                refusal,
                ..
            } if refusal.is_stale() => Retry::NewCall,
            Self::Pay { call, moved, .. } | Self::Refused { call, moved, .. } => match moved {
                MoneyMoved::Maybe => Retry::Resume(*call),
                MoneyMoved::No | MoneyMoved::Yes => Retry::No,
            },
            Self::Session { moved, failure, .. } => match (moved, failure.as_ref()) {
                (MoneyMoved::No, SessionFailure::Unknown(_) | SessionFailure::Rail(_)) => {
                    Retry::NewCall
                }
                _ => Retry::No,
            },
            Self::NotResumable { .. }
            | Self::Origin(_)
            | Self::PlainHttp(_)
            | Self::CredentialPresent
            | Self::RequestBody(_)
            | Self::RedirectElsewhere { .. }
            | Self::TooManyRedirects { .. }
            | Self::TooManyChallenges { .. }
            | Self::PaymentElsewhere { .. }
            | Self::NotPayable { .. }
            | Self::Declined { .. }
            | Self::Pins { .. } => Retry::No,
        }
    }

    /// The call it is about, once there is one in the journal.
    pub fn call(&self) -> Option<CallId> {
        match self {
            Self::Journal { call, .. }
            | Self::Pay { call, .. }
            | Self::Refused { call, .. }
            | Self::Unknown { call, .. }
            | Self::NotResumable { call, .. } => Some(*call),
            _ => None,
        }
    }
}

struct InSession(Option<SessionId>);

impl fmt::Display for InSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(id) => write!(f, "session {id}: "),
            None => f.write_str("session: "),
        }
    }
}

/// Why a request within a session has no response, or a session cannot be opened or closed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionFailure {
    /// A limit of the payer's own.
    #[error("not paid: {0}")]
    OverLimit(OverLimit),
    /// The policy said no to the deposit, or the payee is another than before.
    #[error("nothing was set aside: {0}")]
    Declined(String),
    /// The payee wants more than this side's own record and limits allow.
    #[error(
        "the payee asks for a voucher of {asked}; by this wallet's own record and limits it is at \
         most {allowed}"
    )]
    Claims {
        /// What it asks for.
        asked: Amount,
        /// What is allowed.
        allowed: Amount,
    },
    /// The journal failed.
    #[error("the journal of sessions failed")]
    Journal(#[source] SessionJournalError),
    /// Nothing was signed.
    #[error("not signed")]
    Pay(#[source] PayError),
    /// The rail could not tell what is so.
    #[error("the rail could not be asked")]
    Rail(#[source] RailUnavailable),
    /// The rail said no.
    #[error("the rail refused: {0}")]
    RailRefused(String),
    /// The payee said no.
    #[error("the payee refused: {0}")]
    Refused(Refused),
    /// No answer tells what became of the request. What was agreed for it counts as spent.
    #[error("{0}")]
    Unknown(LastSeen),
    /// The payee says that it has a voucher beyond what this side's journal has signed.
    #[error(
        "the payee says that it has {claimed} of this session; by this wallet's journal {signed} \
         was signed. The journal is older than the session, or the payee is wrong"
    )]
    Behind {
        /// What it says.
        claimed: Amount,
        /// What was signed.
        signed: Amount,
    },
    /// The payee answered without what was asked for.
    #[error("{}", match charged {
        true => "the payee has charged for the request, and does not deliver it again",
        false => "the payee delivered nothing, and charged nothing for it",
    })]
    NotDelivered {
        /// Whether it has charged for it.
        charged: bool,
    },
    /// There is no such channel, or another process uses it.
    #[error("no such session is open here: it has ended, or another process uses it")]
    NotOpen,
    /// The method of the channel has no account here.
    #[error("no account for the method {0}")]
    NoPayer(String),
    /// It is too early to take back what remains.
    #[error("what remains can be taken back from {} on", at.to_rfc3339())]
    TooEarly {
        /// When.
        at: Timestamp,
    },
}

impl SessionFailure {
    /// A stable name, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::OverLimit(_) => "session-limit",
            Self::Declined(_) => "declined",
            Self::Claims { .. } => "session-claims",
            Self::Journal(_) => "journal-failed",
            Self::Pay(_) => "not-signed",
            Self::Rail(_) => "rail-unavailable",
            Self::RailRefused(_) => "rail-refused",
            Self::Refused(_) => "payment-refused",
            Self::Unknown(_) => "outcome-unknown",
            Self::Behind { .. } => "journal-behind",
            Self::NotDelivered { .. } => "not-delivered",
            Self::NotOpen => "session-not-open",
            Self::NoPayer(_) => "no-account",
            Self::TooEarly { .. } => "too-early",
        }
    }
}

/// Why one offer cannot be paid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unusable {
    /// It cannot be read.
    #[error("a challenge is malformed ({0})")]
    Malformed(ChallengeError),
    /// It has expired by our clock.
    #[error(
        "a challenge expired at {} by this machine's clock, which says {}",
        at.to_rfc3339(), now.to_rfc3339()
    )]
    Expired {
        /// When.
        at: Timestamp,
        /// Now.
        now: Timestamp,
    },
    /// Its realm names another host.
    #[error("the realm {realm} is another host than {origin}: the challenge may be relayed")]
    OtherHost {
        /// The realm.
        realm: String,
        /// The origin.
        origin: String,
    },
    /// Its digest is that of another body than ours.
    #[error("the challenge is for another request body than the one sent")]
    OtherBody,
    /// Its digest is of a kind we cannot compute.
    #[error("the challenge has a digest of an unknown kind: {}", Untrusted(.0))]
    UnknownDigest(String),
    /// No payer for the method.
    #[error("no account for the method {0}")]
    Method(String),
    /// The payer of the method does not know the intent.
    #[error("{method} payments of the intent {intent} are not supported")]
    Intent {
        /// The method.
        method: String,
        /// The intent.
        intent: String,
    },
    /// The payer cannot pay it.
    #[error("{method}: {}", Untrusted(&why.to_string()))]
    Unpayable {
        /// The method.
        method: String,
        /// Why.
        why: Unpayable,
    },
    /// Its realm or payee is not the one remembered.
    #[error("{}; allow the change only if you know the reason", Changes(.0))]
    Changed(Vec<Change>),
}

struct Reasons<'a>(&'a [Unusable]);

impl fmt::Display for Reasons<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, reason) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{reason}")?;
        }
        Ok(())
    }
}

struct Changes<'a>(&'a [Change]);

impl fmt::Display for Changes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, change) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{change}")?;
        }
        Ok(())
    }
}

/// A server's no, in its own words. `Display` is safe to print.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refused {
    /// The status.
    pub status: u16,
    /// The problem type, when a problem document came along.
    pub type_uri: Option<String>,
    /// Its `title`.
    pub title: Option<String>,
    /// Its `detail`.
    pub detail: Option<String>,
}

impl Refused {
    /// From a status and what could be read of the body.
    pub fn new(status: u16, problem: Option<&ReceivedProblem>) -> Self {
        Self {
            status,
            type_uri: problem.map(|problem| problem.type_uri.clone()),
            title: problem.and_then(|problem| problem.title.clone()),
            detail: problem.and_then(|problem| problem.detail.clone()),
        }
    }

    /// The kind of its problem, when it is one we know.
    pub fn kind(&self) -> Option<ProblemKind> {
        ProblemKind::from_type_uri(self.type_uri.as_deref()?)
    }

    /// True when only the challenge or the authorisation was too old: with fresh ones it may do.
    fn is_stale(&self) -> bool {
        matches!(
            self.kind(),
            Some(ProblemKind::InvalidChallenge | ProblemKind::PaymentExpired)
        )
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {}", self.status)?;
        for text in [&self.title, &self.detail].into_iter().flatten() {
            write!(f, ", {}", Untrusted(text))?;
        }
        Ok(())
    }
}

/// The last thing seen of a call whose outcome is not known.
#[derive(Debug)]
#[non_exhaustive]
pub enum LastSeen {
    /// The connection failed or broke.
    NoResponse(BoxError),
    /// No answer in time.
    TimedOut,
    /// An answer that settles nothing.
    Answer(Refused),
    /// The server asks to wait longer than the client waits.
    AskedToWait {
        /// How long, in seconds.
        seconds: u64,
        /// With which answer.
        refusal: Refused,
    },
}

impl fmt::Display for LastSeen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoResponse(source) => {
                let source = source.to_string();
                write!(
                    f,
                    "paid and sent, then no response ({})",
                    Untrusted(&source)
                )
            }
            Self::TimedOut => f.write_str("paid and sent, then no response in time"),
            Self::Answer(refusal) => write!(f, "paid and sent, answered with {refusal}"),
            Self::AskedToWait { seconds, refusal } => {
                write!(f, "paid and sent, asked to wait {seconds} s with {refusal}")
            }
        }
    }
}

/// Why a call cannot be resumed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotResumable {
    /// It is not open here: it is final, in use by another process, or was never begun.
    #[error("it is final, held by another process, or was never begun here")]
    NotOpen,
    /// This process is at it.
    #[error("it is under way in this process")]
    UnderWay,
    /// Nothing was signed, so there is nothing to resume.
    #[error("nothing was signed: make a new call")]
    NothingSigned,
    /// Signed and not sent, and its challenge has expired since.
    #[error("it was never sent, and its challenge has expired: make a new call")]
    Expired,
    /// The body was too long to be kept.
    #[error(
        "its body was longer than {} bytes and was not kept",
        crate::limits::STORED_BODY_BYTES_MAX
    )]
    BodyNotKept,
    /// What was kept cannot be made into a request, or its method has no payer here.
    #[error("{0}")]
    Unusable(String),
}

impl NotResumable {
    fn money_moved(&self) -> MoneyMoved {
        match self {
            Self::NothingSigned => MoneyMoved::No,
            Self::NotOpen
            | Self::UnderWay
            | Self::Expired
            | Self::BodyNotKept
            | Self::Unusable(_) => MoneyMoved::Maybe,
        }
    }
}
