//! The gate: decides what becomes of a request, and moves a payment through the journal.
//!
//! ```text
//!           ┌ lookup: never ──────────────► Failed                (402 with the rail's reason)
//! claim ► Settling ── execute ► Settled ─► Delivering ─► Delivered (stored response, or 402)
//!           │                     ▲            │ │
//!           └ unknown: 503        └─ failed ◄──┘ └─► Refunding ─► Refunded
//! ```
//!
//! With [`Settle::After`](crate::route::Settle::After) the handler runs between claim and
//! settlement, and nothing is executed before it has answered:
//!
//! ```text
//! claim ► Serving ── answered ► Capturing ── execute ► Delivered
//!          │   ▲                    ├ lookup: never ─► Failed       (the response is withheld)
//!   failed ▼   │ again              ├ unknown: 503, and the response is kept if it fits
//!       Authorised ─► Failed        └ settled, but no response ─► Delivering, as above
//! ```
//!
//! Checks run in this order, cheapest first. Nothing before the claim changes any state.
//!
//! 1. limits on target and credential, one credential only, HEAD
//! 2. the credential parses
//! 3. the HMAC binding under the current or a previous secret, and the realm
//! 4. known already? The same credential for the same request, priced inputs included, resumes by
//!    its journal state and skips all that follows; so it does even when its secret is no longer on
//!    the ring
//! 5. price of the request, then expiry
//! 6. method, intent, scope, price revision, terms
//! 7. body digest
//! 8. the method's `precheck`
//! 9. the durable claim, 10. settlement, 11. the handler
//!
//! The tower layer makes checks 1 to 3 once more before it holds a body, so that one without a good
//! credential costs no memory.
//!
//! Cost of one paid request: four SHA-256 (credential, request, other credentials, replay key), one
//! HMAC (two with a body), the method's own signature check, and three journal writes (claim,
//! settled, delivered).

mod admit;
mod assess;
mod builder;
pub(crate) mod capture;
mod challenge;
mod check;
mod exposure;
mod give_back;
pub(crate) mod journal;
mod lease;
mod nonce;
mod payments;
mod recover;
mod refund;
mod resume;
pub(crate) mod session;
mod settle;

use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use stiver_core::{Amount, Currency, Timestamp, binding::KeyRing, name::Realm};
use stiver_env::{Env, observe::Observers};
use stiver_method::payee::PayeeCharge;
use stiver_store::{Claim, Store};

use crate::{
    events::{Event, Payment},
    record::{Details, RecordError},
    session::Sessions,
};

pub(crate) use admit::log;
pub use assess::Assessed;
pub use builder::{BuildError, GateBuilder, PriceError};
pub use exposure::{Exposed, Exposure};
pub use give_back::{RefundFailure, RefundOutcome};
pub use payments::{Moved, PaymentRecord, PaymentsPage};
pub use recover::Recovered;

/// The gate. Cheap to clone; all clones are one gate.
#[derive(Clone)]
pub struct Gate {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) realm: Realm,
    keys: RwLock<Arc<KeyRing>>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) env: Env,
    methods: Vec<Arc<dyn PayeeCharge>>,
    currencies: Vec<Currency>,
    /// Drawn at the start, and raised with each piece of work: no two of them share a number, so
    /// that a lost answer can be told from somebody else's work.
    owner: AtomicU64,
    nonces: nonce::Nonces,
    settling: Count,
    /// Handlers at work for payments that are not settled.
    unsettled: Count,
    waiting: Count,
    /// Requests with a credential that run apart from their connection.
    working: Count,
    pub(crate) leases: lease::Leases,
    events: Observers<Event>,
    sessions: Option<Sessions>,
}

impl Gate {
    /// Starts building a gate.
    pub fn builder(realm: Realm, keys: KeyRing, store: Arc<dyn Store>, env: Env) -> GateBuilder {
        GateBuilder::new(realm, keys, store, env)
    }

    /// Replaces the key ring. Requests that are being checked finish under the old one.
    ///
    /// A secret that goes should stay on the ring as a previous one until its last challenge has
    /// expired. Payments that were claimed under it resume even afterwards.
    pub fn set_key_ring(&self, keys: KeyRing) {
        let keys = Arc::new(keys);
        *self
            .inner
            .keys
            .write()
            .unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// The realm of its challenges.
    pub fn realm(&self) -> &Realm {
        &self.inner.realm
    }

    /// The methods it can settle with.
    pub fn methods(&self) -> &[Arc<dyn PayeeCharge>] {
        &self.inner.methods
    }

    /// The environment it was built with.
    pub fn env(&self) -> &Env {
        &self.inner.env
    }

    /// How many payments are being settled or delivered just now, whether or not a client still
    /// waits for them: 0 when it is safe to stop without leaving work for [`Gate::recover`].
    pub fn at_work(&self) -> usize {
        self.inner.leases.held().max(self.inner.working.taken())
    }

    /// How many events its observers have dropped since the start, because they were too slow.
    pub fn events_lost(&self) -> u64 {
        self.inner.events.lost()
    }

    /// Tells the observers. The event is made only when there are any.
    pub(crate) fn tell(&self, make: impl FnOnce() -> Event) {
        self.inner.events.tell(|| self.now(), make);
    }

    /// Counts a piece of work in [`Gate::at_work`] until the place is dropped: also before its
    /// claim, and between two holds of it.
    pub(crate) fn start_work(&self) -> Option<Place> {
        self.inner.working.take(usize::MAX)
    }

    pub(crate) fn keys(&self) -> Arc<KeyRing> {
        Arc::clone(
            &self
                .inner
                .keys
                .read()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// A number for one piece of work.
    pub(crate) fn next_owner(&self) -> u64 {
        self.inner.owner.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.inner.env.clock.now()
    }

    /// The method of a journal record.
    pub(crate) fn method(&self, name: &str) -> Result<Arc<dyn PayeeCharge>, RecordError> {
        let mut methods = self.inner.methods.iter();
        let found = methods.find(|method| method.name().as_str() == name);
        found
            .cloned()
            .ok_or_else(|| RecordError::UnknownMethod(name.to_owned()))
    }
}

/// The payment of a claim, as events name it. `amount` is what was asked, or settled.
fn payment(claim: &Claim, details: &Details, amount: &Amount) -> Payment {
    Payment {
        challenge_id: claim.challenge_id.as_str().into(),
        method: details.method.as_str().into(),
        amount: amount.clone(),
    }
}

/// A bounded count of what is at work.
#[derive(Default)]
pub(crate) struct Count(Arc<AtomicUsize>);

/// One place of a [`Count`], given back on drop.
pub(crate) struct Place(Arc<AtomicUsize>);

impl Count {
    /// How many places are taken.
    fn taken(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }

    /// Takes a place, when fewer than `max` are taken.
    pub(crate) fn take(&self, max: usize) -> Option<Place> {
        let next = |taken: usize| (taken < max).then(|| taken + 1);
        let taken = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
        taken.is_ok().then(|| Place(Arc::clone(&self.0)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
