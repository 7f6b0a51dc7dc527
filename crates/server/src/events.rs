//! What the gate tells of itself while it works.
//!
//! Give [`GateBuilder::events`](crate::gate::GateBuilder::events) an [`Observer`]; [`queue`] makes
//! the usual one. The gate never waits for it: a queue that is full drops the event and counts it,
//! on its own end ([`Events::lost`]) and at the gate ([`Gate::events_lost`]).
//!
//! No event holds a credential, a receipt, an artefact, a secret, or anything that a client wrote.
//! A challenge id is none of these: it names a payment and proves nothing.
//!
//! An event that tells of money is sent once the journal holds it durably. Events of one payment
//! come in order; a process that dies may have told fewer than the journal holds, never more.
//!
//! ```
//! # use std::sync::Arc;
//! # use stiver_testkit::{fixtures, rail::HostileRail, simulation::Simulation, store_memory};
//! use stiver_server::{Gate, events::{Event, queue}};
//!
//! # let simulation = Simulation::new(1);
//! # let env = simulation.env();
//! # let limits = stiver_store::Limits::default();
//! # let store = Arc::new(store_memory::MemoryStore::new(env.clock.clone(), limits, 1));
//! # let method = Arc::new(HostileRail::new("merchant", fixtures::usd()));
//! # let (realm, keys) = (fixtures::realm(), fixtures::key_ring());
//! let (told, mut events) = queue(1024);
//! let gate = Gate::builder(realm, keys, store, env)
//!     .method(method)
//!     .events(told)
//!     .build()?;
//!
//! // On a task of its own:
//! let books = async move {
//!     while let Some(observed) = events.next().await {
//!         if let Event::Settled { payment, .. } = observed.event {
//!             println!("{}: {}", observed.at.to_rfc3339(), payment.amount);
//!         }
//!     }
//! };
//! # drop((gate, books));
//! # Ok::<_, stiver_server::gate::BuildError>(())
//! ```
//!
//! [`Gate::events_lost`]: crate::Gate::events_lost

use std::{sync::Arc, time::Duration};

use stiver_core::{Amount, problem::ProblemKind};

pub use stiver_env::observe::{Events, Observed, Observer, Queue, queue};

use crate::grant::PayeeFailure;

/// Something that happened at the gate.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Fresh challenges went out, on a first request or with a refusal that paying remedies.
    Challenged {
        /// How many, one for each offer.
        challenges: usize,
    },
    /// A request was answered with a problem. An unpaid request is one, with
    /// [`ProblemKind::PaymentRequired`].
    Refused {
        /// Which problem.
        problem: ProblemKind,
    },
    /// A credential was claimed for a payment, and is about to be settled. Nothing moved yet.
    Claimed(Payment),
    /// Money moved, or was taken from the deposit of a session for what was served.
    Settled {
        /// Which payment, and how much was settled.
        payment: Payment,
        /// Who found out.
        by: By,
        /// How long the rail took to say so.
        latency: Duration,
    },
    /// The rail refused a claimed payment: nothing moved and never will.
    Failed {
        /// Which payment.
        payment: Payment,
        /// Who found out.
        by: By,
    },
    /// Nobody can tell yet whether money moved. A later [`Event::Settled`] or [`Event::Failed`] of
    /// the same challenge tells.
    Unknown(Payment),
    /// What was paid for is about to be sent; the journal says so.
    Delivered {
        /// Which payment.
        payment: Payment,
        /// The HTTP status of the response.
        status: u16,
        /// How long the handler took.
        latency: Duration,
    },
    /// A stored response is sent again. Nothing is charged for it.
    Replayed {
        /// Which payment it was stored for.
        challenge_id: Arc<str>,
    },
    /// The handler failed, or answered 400 to 499, before the payment was settled: nothing moved
    /// and never will.
    Voided(Payment),
    /// The handler or upstream failed. A retry, [`Event::Refunded`], [`Event::Kept`] or, before
    /// settlement, [`Event::Voided`] follows.
    DeliveryFailed {
        /// Which payment.
        payment: Payment,
        /// How.
        failure: PayeeFailure,
    },
    /// A payment was given back.
    Refunded(Payment),
    /// A payment is kept although nothing was delivered: the route says so, or the method cannot
    /// refund.
    Kept(Payment),
    /// Shadow mode: what would have become of a request that was let through.
    WouldCharge {
        /// The price, when there was one.
        amount: Option<Amount>,
        /// The problem it would have been refused with; `None` when it would have been served.
        problem: Option<ProblemKind>,
    },
}

/// The payment that an event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// The challenge that was answered. Not a secret.
    pub challenge_id: Arc<str>,
    /// The payment method.
    pub method: Arc<str>,
    /// How much.
    pub amount: Amount,
}

/// Who found out what became of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum By {
    /// The request that brought the credential.
    Request,
    /// A later request with the same credential, after the outcome was unknown.
    Resume,
    /// A recovery pass.
    Recovery,
}
