//! What a resource costs, and what becomes of the payment when it cannot be delivered.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use stiver_core::{
    Amount, Problem,
    json::EncodedObject,
    language::{LanguageTag, preferred},
    name::MethodName,
};
use stiver_method::payee::{PayeeCharge, QuoteError, Terms};

use crate::{limits, session::SessionOffer};

/// The answer to "what does this request cost?".
#[derive(Clone)]
pub enum Pricing {
    /// Nothing: the request passes, whatever credential it carries.
    Free,
    /// What the route says.
    Priced(Arc<Route>),
    /// The request is refused with this problem, paid or not. No challenge goes with it.
    Denied(Problem),
}

/// One way to pay: a method, and the price in a currency that it takes.
///
/// The terms are worked out once, here, so that comparing them costs nothing per request.
#[derive(Clone)]
pub struct Offer {
    pub(crate) method: Arc<dyn PayeeCharge>,
    pub(crate) price: Amount,
    pub(crate) terms: Arc<Terms>,
    /// The request of its challenges, where the method always asks the same.
    pub(crate) quoted: Arc<OnceLock<EncodedObject>>,
}

impl Offer {
    /// Checks that the method can ask this price.
    ///
    /// # Errors
    /// [`QuoteError`] when the method does not take the currency or the amount.
    pub fn new(method: Arc<dyn PayeeCharge>, price: Amount) -> Result<Self, QuoteError> {
        let terms = Arc::new(method.expected_terms(&price)?);
        Ok(Self {
            method,
            price,
            terms,
            quoted: Arc::default(),
        })
    }

    /// The method.
    pub fn method(&self) -> &MethodName {
        self.method.name()
    }

    /// The price.
    pub fn price(&self) -> &Amount {
        &self.price
    }
}

/// How a credential's price is compared with the route's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PriceBasis {
    /// The price is the route's. A credential for another price is refused, so a change of price
    /// takes effect at once.
    Fixed,
    /// The price was computed for one request. It stays good as long as its challenge, unless the
    /// revision has changed: it is not computed again against the payer.
    Computed {
        /// Names the price list or the pricing code, for example `2025-06`.
        revision: String,
    },
}

/// What becomes of a payment when the handler or upstream fails after it.
///
/// | the handler | `Retry` | `Refund` | `Keep` |
/// |---|---|---|---|
/// | was never started | first run | first run | first run |
/// | never reached its upstream | runs again | refund, else keep | keep |
/// | may have run, is repeatable | runs again | refund, else keep | keep |
/// | may have run, is not repeatable | refund, else keep | refund, else keep | keep |
///
/// "Never started" holds when the journal says so: recovery found the settlement, and no request
/// has come since. The first run needs the same credential within the resume window; after that,
/// `Retry` and `Refund` refund where the method can, and `Keep` keeps. In the usual course the
/// settlement and the start are one write, so a process that stops right after it counts as one
/// whose handler may have run, also when it did not.
///
/// "Runs again" needs the same credential, within the route's attempts and resume window; after
/// those, the payment is refunded where the method can, else kept. "Repeatable" means an idempotent
/// HTTP method, or an upstream that honours [`Paid::upstream_key`](crate::Paid::upstream_key).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// The same credential may run the handler again.
    Retry,
    /// The payment is given back, where the method can.
    Refund,
    /// The payment is kept.
    Keep,
}

/// When the payment is settled.
///
/// | | `Before` | `After` |
/// |---|---|---|
/// | order | claim, settlement, handler | claim, handler, settlement |
/// | a handler that fails | see [`OnFailure`] | nothing is taken |
/// | an answer of 400 to 499 | paid for | passed on, and nothing is taken |
/// | a payment that is refused | the handler never runs | the handler has run for nothing |
/// | the response | streams | waits for the settlement |
///
/// With `After`, the payer may spend the money elsewhere while the handler works: the answer is
/// withheld then, and the payee has worked for nothing. It is for handlers that are cheap, or that
/// fail often.
///
/// What becomes of a payment that is settled after its handler:
///
/// | the handler | `Retry` | `Refund`, `Keep` |
/// |---|---|---|
/// | never reached its upstream | the same credential runs it again | over, nothing taken |
/// | may have run, is repeatable | the same credential runs it again | over, nothing taken |
/// | may have run, is not repeatable | over, nothing taken | over, nothing taken |
/// | answered, settlement refused | over, nothing taken | over, nothing taken |
/// | answered, unknown, response kept | delivered once settled | delivered once settled |
/// | answered, settled, response lost | as [`OnFailure`] has it | as [`OnFailure`] has it |
///
/// A response is kept while its outcome is unknown when it is within
/// [`limits::STORED_BODY_BYTES_MAX`] and the store has room, whatever [`StoreResponses`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settle {
    /// Before the handler runs.
    Before,
    /// Once the handler has answered; its response leaves when the settlement is durable.
    After,
}

/// Which successful responses are kept, to be repeated for the same credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreResponses {
    /// None.
    Never,
    /// Those of requests with an `Idempotency-Key`.
    WithIdempotencyKey,
    /// All that fit.
    Always,
}

/// Whether an upstream may be sent one request twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamRepeats {
    /// Only when the HTTP method is idempotent.
    ByMethod,
    /// Always: it honours the stable key of [`Paid::upstream_key`](crate::Paid::upstream_key), sent
    /// as its `Idempotency-Key`.
    HonoursKey,
}

/// A priced resource. Build it once and share it.
#[derive(Clone)]
pub struct Route {
    pub(crate) offers: Vec<Offer>,
    pub(crate) sessions: Vec<SessionOffer>,
    pub(crate) basis: PriceBasis,
    pub(crate) description: Option<String>,
    pub(crate) descriptions: Vec<(LanguageTag, String)>,
    pub(crate) external_id: Option<String>,
    pub(crate) challenge_lifetime_ms: u64,
    pub(crate) on_failure: OnFailure,
    pub(crate) resume_window_ms: u64,
    pub(crate) attempts_max: u32,
    pub(crate) store_responses: StoreResponses,
    pub(crate) response_lifetime_ms: u64,
    pub(crate) upstream_repeats: UpstreamRepeats,
    pub(crate) settle: Settle,
    pub(crate) inputs: Option<[u8; 32]>,
    earlier: Vec<Arc<Route>>,
}

impl Route {
    /// A route with these offers, best first in the payee's eyes.
    ///
    /// # Errors
    /// [`RouteError`] when there is no offer, or more than [`limits::OFFERS_MAX`].
    pub fn new(offers: Vec<Offer>) -> Result<Self, RouteError> {
        if offers.is_empty() {
            return Err(RouteError::NoOffer);
        }
        Self::of(offers, Vec::new())
    }

    /// A route that only sessions pay for.
    ///
    /// # Errors
    /// As [`Route::new`].
    pub fn for_sessions(sessions: Vec<SessionOffer>) -> Result<Self, RouteError> {
        if sessions.is_empty() {
            return Err(RouteError::NoOffer);
        }
        Self::of(Vec::new(), sessions)
    }

    fn of(offers: Vec<Offer>, sessions: Vec<SessionOffer>) -> Result<Self, RouteError> {
        let count = offers.len() + sessions.len();
        if count > limits::OFFERS_MAX {
            return Err(RouteError::TooManyOffers { offers: count });
        }
        Ok(Self {
            offers,
            sessions,
            basis: PriceBasis::Fixed,
            description: None,
            descriptions: Vec::new(),
            external_id: None,
            challenge_lifetime_ms: limits::CHALLENGE_LIFETIME_MS,
            on_failure: OnFailure::Retry,
            resume_window_ms: limits::RESUME_WINDOW_MS,
            attempts_max: limits::ATTEMPTS_MAX,
            store_responses: StoreResponses::WithIdempotencyKey,
            response_lifetime_ms: limits::RESPONSE_LIFETIME_MS,
            upstream_repeats: UpstreamRepeats::ByMethod,
            settle: Settle::Before,
            inputs: None,
            earlier: Vec::new(),
        })
    }

    /// Offers sessions too, behind the offers of single payments.
    ///
    /// # Errors
    /// [`RouteError::TooManyOffers`].
    pub fn with_sessions(self, sessions: Vec<SessionOffer>) -> Result<Self, RouteError> {
        let Self {
            offers, sessions, ..
        } = Self::of(self.offers, sessions)?;
        Ok(Self {
            offers,
            sessions,
            ..self
        })
    }

    /// The offers of sessions, of this form and of those that it honours.
    pub(crate) fn sessions(&self) -> impl Iterator<Item = &SessionOffer> {
        self.forms().flat_map(|form| &form.sessions)
    }

    /// Accepts the price of an earlier form of this route, besides this one's: a price that has
    /// changed stays good for the challenges that are out. They must be bound, of this scope and
    /// body, and not expired, as ever. New challenges are made for this route only, and all but the
    /// price is as this route has it.
    #[must_use]
    pub fn honouring(mut self, earlier: Arc<Self>) -> Self {
        self.earlier.push(earlier);
        self
    }

    /// This route, and then the earlier forms whose prices it honours.
    pub(crate) fn forms(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(self.earlier.iter().map(Arc::as_ref))
    }

    /// The price was computed for this request under a named revision. See [`PriceBasis`].
    #[must_use]
    pub fn computed(mut self, revision: &str) -> Self {
        self.basis = PriceBasis::Computed {
            revision: revision.to_owned(),
        };
        self
    }

    /// A text for the payer's eyes. Nothing relies on it.
    #[must_use]
    pub fn description(mut self, text: &str) -> Self {
        self.description = Some(text.to_owned());
        self.forget_quotes();
        self
    }

    /// The same text in a language, for payers whose `Accept-Language` asks for it. Everybody else
    /// gets [`Route::description`]: give its language here too, or who prefers that one to another
    /// that is here is not known to. The last text of a language counts.
    #[must_use]
    pub fn description_in(mut self, language: LanguageTag, text: &str) -> Self {
        self.descriptions.retain(|(known, _)| *known != language);
        self.descriptions.push((language, text.to_owned()));
        self
    }

    /// The description for who sent these `Accept-Language` field lines.
    pub(crate) fn description_for(&self, accept_language: &[&[u8]]) -> Option<&str> {
        let languages = self.descriptions.iter().map(|(language, _)| language);
        let chosen = preferred(accept_language.iter().copied(), languages);
        let chosen = chosen.and_then(|index| self.descriptions.get(index));
        let chosen = chosen.map(|(_, text)| text.as_str());
        chosen.or(self.description.as_deref())
    }

    /// The merchant's own reference, for methods that carry one.
    #[must_use]
    pub fn external_id(mut self, id: &str) -> Self {
        self.external_id = Some(id.to_owned());
        self.forget_quotes();
        self
    }

    /// How long a challenge may be answered, at most [`limits::CHALLENGE_LIFETIME_MS_MAX`].
    #[must_use]
    pub fn challenge_lifetime(mut self, lifetime: Duration) -> Self {
        self.challenge_lifetime_ms = millis(lifetime).min(limits::CHALLENGE_LIFETIME_MS_MAX);
        self
    }

    /// What becomes of the payment when the handler fails. Default: [`OnFailure::Retry`].
    #[must_use]
    pub fn on_failure(mut self, choice: OnFailure) -> Self {
        self.on_failure = choice;
        self
    }

    /// How long after its claim a credential may start the handler, at most
    /// [`limits::RESUME_WINDOW_MS_MAX`].
    #[must_use]
    pub fn resume_window(mut self, window: Duration) -> Self {
        self.resume_window_ms = millis(window).min(limits::RESUME_WINDOW_MS_MAX);
        self
    }

    /// How often the handler is started for one payment, at least once.
    #[must_use]
    pub fn attempts_max(mut self, attempts: u32) -> Self {
        self.attempts_max = attempts.max(1);
        self
    }

    /// Which responses are kept. Default: [`StoreResponses::WithIdempotencyKey`].
    #[must_use]
    pub fn store_responses(mut self, choice: StoreResponses) -> Self {
        self.store_responses = choice;
        self
    }

    /// How long a stored response is repeated.
    #[must_use]
    pub fn response_lifetime(mut self, lifetime: Duration) -> Self {
        self.response_lifetime_ms = millis(lifetime).min(limits::RESUME_WINDOW_MS_MAX);
        self
    }

    /// Whether the upstream may be sent one request twice. Default: by its HTTP method.
    #[must_use]
    pub fn upstream_repeats(mut self, choice: UpstreamRepeats) -> Self {
        self.upstream_repeats = choice;
        self
    }

    /// When the payment is settled. Default: [`Settle::Before`].
    #[must_use]
    pub fn settle(mut self, choice: Settle) -> Self {
        self.settle = choice;
        self
    }

    /// Binds the challenge to a digest of what the price depends on besides method, target and
    /// body: header fields, for example. A credential is refused when the digest that its own
    /// request gives is another one.
    #[must_use]
    pub fn priced_inputs(mut self, digest: [u8; 32]) -> Self {
        self.inputs = Some(digest);
        self
    }

    /// What was quoted before had not what is quoted now.
    fn forget_quotes(&mut self) {
        for offer in &mut self.offers {
            offer.quoted = Arc::default();
        }
        for offer in &mut self.sessions {
            offer.quoted = Arc::default();
        }
    }

    /// The same route with other offers: the price of a single request, for example.
    ///
    /// # Errors
    /// As [`Route::new`].
    pub fn offering(self, offers: Vec<Offer>) -> Result<Self, RouteError> {
        let offers = Self::new(offers)?.offers;
        Ok(Self { offers, ..self })
    }

    /// The offers.
    pub fn offers(&self) -> &[Offer] {
        &self.offers
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Why a route was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// No offer: the resource could never be paid for.
    #[error("a priced route needs at least one offer")]
    NoOffer,
    /// Over [`limits::OFFERS_MAX`].
    #[error(
        "{offers} offers are too many for one route; at most {} fit",
        limits::OFFERS_MAX
    )]
    TooManyOffers {
        /// How many.
        offers: usize,
    },
}
