//! What became of a request, for whoever put it through the layer.

use std::sync::{Arc, OnceLock};

use stiver_core::problem::ProblemKind;

use crate::{Refused, events::Payment};

/// A note for what becomes of a request: for access logs, metrics and the like.
///
/// Put one into the extensions of a request before it goes through a
/// [`PaymentLayer`](super::PaymentLayer), and read your clone when the response has come. A request
/// without one costs nothing.
#[derive(Debug, Clone, Default)]
pub struct Note(Arc<OnceLock<Answered>>);

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answered {
    /// It was passed on without a payment: it is free, or the route is in shadow mode.
    Free,
    /// It was answered with a problem, and nothing was delivered.
    Refused {
        /// Which problem.
        problem: ProblemKind,
        /// How many fresh challenges went with it.
        challenges: usize,
    },
    /// It was paid for and delivered.
    Delivered(Payment),
    /// It was paid for, and its delivery failed.
    Failed {
        /// The payment.
        payment: Payment,
        /// The problem it was answered with.
        problem: ProblemKind,
    },
    /// A session's voucher, top-up or close was taken, and nothing else was asked for.
    Acknowledged,
    /// A stored response was repeated.
    Replayed,
}

impl Note {
    /// Nothing is known yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// What became of the request; `None` before it is answered.
    pub fn read(&self) -> Option<&Answered> {
        self.0.get()
    }
}

/// Where the layer writes: nowhere, when nobody wants to know.
#[derive(Clone)]
pub(super) struct Notes(Option<Note>);

impl Notes {
    pub(super) fn of(parts: &http::request::Parts) -> Self {
        Self(parts.extensions.get::<Note>().cloned())
    }

    pub(super) fn wanted(&self) -> bool {
        self.0.is_some()
    }

    /// The first answer counts: there is one.
    pub(super) fn write(&self, make: impl FnOnce() -> Answered) {
        if let Some(Note(note)) = &self.0 {
            let _ = note.set(make());
        }
    }

    /// What a grant came to.
    pub(super) fn finished(&self, payment: Option<Payment>, refused: Option<&Refused>) {
        let Some(payment) = payment else { return };
        self.write(|| match refused {
            None => Answered::Delivered(payment),
            Some(refused) => Answered::Failed {
                payment,
                problem: refused.problem.kind,
            },
        });
    }

    pub(super) fn refused(&self, refused: &Refused) {
        self.write(|| Answered::Refused {
            problem: refused.problem.kind,
            challenges: refused.challenges.len(),
        });
    }
}
