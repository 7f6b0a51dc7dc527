//! What the client tells of itself: a program can watch what it spends.
//!
//! Give [`PaymentClient::with_events`] an [`Observer`]; [`queue`] makes the usual one. The client
//! never waits for it: a queue that is full drops the event and counts it
//! ([`PaymentClient::events_lost`]).
//!
//! No event holds a credential, a receipt or a key. What the journal says holds: events are for
//! watching, the [`outbox`](crate::outbox) is for accounting.
//!
//! ```text
//! Challenged ─► Declined
//!      └──────► Signed ─► Paid | Refused | Unknown      (one of them for each call or resumption)
//!                 └ again, after a refusal that a new price or expiry explains
//! ```
//!
//! [`PaymentClient::with_events`]: crate::PaymentClient::with_events
//! [`PaymentClient::events_lost`]: crate::PaymentClient::events_lost

use stiver_core::{Amount, problem::ProblemKind};

pub use stiver_env::observe::{Events, Observed, Observer, Queue, queue};

use crate::{CallError, CallId, MoneyMoved, Origin, outbox::Terms, session::Session};

/// Something that happened to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A server asked for payment.
    Challenged {
        /// Which call.
        call: CallId,
        /// Which server.
        origin: Origin,
        /// How many of its challenges could be paid.
        payable: usize,
    },
    /// Nothing was signed: no offer could be paid, or the policy said no to each.
    Declined {
        /// Which call.
        call: CallId,
        /// Which server.
        origin: Origin,
    },
    /// A payment was signed, and its credential is about to be sent. Money may move from now on.
    Signed(Spending),
    /// Money moved.
    Paid {
        /// For what.
        spending: Spending,
        /// False when no answer came for it: the call stays open, and can be resumed.
        answered: bool,
    },
    /// Nothing moved, and nothing that was signed can land later.
    Refused {
        /// For what.
        spending: Spending,
        /// What the server said, when it was a problem of the protocol.
        problem: Option<ProblemKind>,
    },
    /// Nobody knows yet whether money moved: count it as spent, and resume the call.
    Unknown(Spending),
    /// A session's journal has a new line: a channel opens, a voucher is signed, a request is
    /// answered.
    Session {
        /// Which call.
        call: CallId,
        /// The session as it is now.
        session: Box<Session>,
    },
}

/// What a call spends, or may spend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spending {
    /// Which call, as the journal names it.
    pub call: CallId,
    /// Which server.
    pub origin: Origin,
    /// The payment method.
    pub method: String,
    /// Who gets it, in the method's form: the server's word.
    pub payee: String,
    /// The most it can cost.
    pub amount: Amount,
}

impl Spending {
    pub(crate) fn new(call: CallId, origin: &Origin, terms: &Terms) -> Self {
        Self {
            call,
            origin: origin.clone(),
            method: terms.method.clone(),
            payee: terms.payee.clone(),
            amount: terms.amount.clone(),
        }
    }
}

/// How a call ended that was answered.
pub(crate) fn answered(spending: Spending, moved: MoneyMoved) -> Event {
    match moved {
        MoneyMoved::Yes => Event::Paid {
            spending,
            answered: true,
        },
        MoneyMoved::Maybe => Event::Unknown(spending),
        MoneyMoved::No => Event::Refused {
            spending,
            problem: None,
        },
    }
}

/// How a call ended that failed.
pub(crate) fn failed(spending: Spending, error: &CallError) -> Event {
    match error.money_moved() {
        MoneyMoved::Yes => Event::Paid {
            spending,
            answered: false,
        },
        MoneyMoved::Maybe => Event::Unknown(spending),
        MoneyMoved::No => Event::Refused {
            spending,
            problem: match error {
                CallError::Refused { refusal, .. } => refusal.kind(),
                _ => None,
            },
        },
    }
}
