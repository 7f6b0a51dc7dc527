//! Carries out the decisions of [`crate::call`]: sends, asks the policy, signs, journals, waits.

mod deliver;
mod delivery;
mod pay;
mod request;
mod resume;
mod session;

use std::{
    collections::HashSet,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::{HeaderMap, StatusCode};
use stiver_core::{Receipt, Timestamp, problem::ReceivedProblem};
use stiver_env::{
    BoxFuture, Env,
    observe::{Observer, Observers},
};
use stiver_method::{
    artefact::{Artefact, Lookup},
    payer::Payer,
};

use crate::{
    CallError, CallId, MoneyMoved,
    call::{Call, Head, Replay},
    choose,
    error::{BoxError, Refused, Unusable},
    events::{self, Event, Spending},
    limits,
    outbox::{Outbox, OutboxError, Step, Terms},
    pins::Pins,
    policy::Policy,
    session::lease::Sessions,
};

pub use delivery::Delivery;
pub(crate) use request::Outgoing;
pub use session::{LostChannel, SessionStream, StreamEnd, Streamed};
use session::{Tried, Within};

/// One way to a server: sends a request and gives its response. The seam between the client and
/// whatever carries HTTP. Must not follow redirects by itself.
pub trait Exchange: Send {
    /// What carries the response.
    type Response: Send;
    /// Sends a request once. An error means that no response came: whether the request arrived is
    /// not known, unless it is a [`NotSent`].
    fn send(
        &mut self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<Self::Response, BoxError>>;
    /// Status and header fields of a response.
    fn head(response: &Self::Response) -> (StatusCode, &HeaderMap);
    /// Reads at most `limit` bytes of a response's body; on an error, what was read until then.
    fn read(response: Self::Response, limit: usize) -> BoxFuture<'static, Vec<u8>>;
    /// Reads about `limit` bytes of a response's body, and gives the response back with its body as
    /// it was.
    fn peek(
        response: Self::Response,
        limit: usize,
    ) -> BoxFuture<'static, (Vec<u8>, Self::Response)>;
    /// Sees to it that [`Delivery::reached`] runs when the response's body is read to its end, and
    /// that `delivery` is dropped when it is not. See [`crate::WatchedBody`].
    fn watch(response: Self::Response, delivery: Delivery) -> BoxFuture<'static, Self::Response>;
    /// Puts the payment of a stream between a response's body and its reader. See
    /// [`crate::WatchedBody`].
    fn stream(response: Self::Response, stream: SessionStream) -> Self::Response;
    /// A way to the same servers for requests of the client's own, while a response is read.
    fn side(&self) -> Arc<dyn Side>;
}

/// An error of [`Exchange::send`] that says more: the request did not leave, and none will until
/// something is changed here or there. An unpaid request is not tried again then.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotSent(
    /// Why.
    pub String,
);

/// Sends the client's own requests, beside those of the caller: vouchers while a stream is read,
/// top-ups, closes.
pub trait Side: Send + Sync {
    /// Sends a request once, and reads at most [`limits::PROBLEM_BYTES_MAX`] bytes of the answer's
    /// body.
    fn ask(&self, request: http::Request<Bytes>) -> BoxFuture<'static, SideAnswer>;
}

/// What a request on the side was answered with. An error means that no response came.
pub type SideAnswer = Result<(StatusCode, HeaderMap, Vec<u8>), BoxError>;

/// What a client is made of.
pub struct Parts {
    /// Time and randomness.
    pub env: Env,
    /// What can pay, preferred first. One payer for each method.
    pub payers: Vec<Arc<dyn Payer>>,
    /// Says yes or no before anything is signed.
    pub policy: Arc<dyn Policy>,
    /// The journal.
    pub outbox: Arc<dyn Outbox>,
    /// What is remembered of origins.
    pub pins: Arc<dyn Pins>,
    /// Settings.
    pub options: Options,
}

/// Settings of a client.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// Longest wait for a response head. [`limits::REPLY_TIMEOUT`] by default.
    pub reply_timeout: Duration,
    /// Longest wait for a connection, where the client makes it: `PayingClient`.
    /// [`limits::CONNECT_TIMEOUT`] by default.
    pub connect_timeout: Duration,
    /// What becomes of redirects before payment.
    pub redirects: Redirects,
    /// Most redirects followed before payment. [`limits::REDIRECTS_MAX`] by default.
    pub redirects_max: u32,
    /// How often a request is sent again before anything was signed, when no answer came or one
    /// that says "later": 408, 425, 429, 500, 502, 503, 504. 0 by default: a request without a
    /// credential is the caller's to repeat.
    pub retries: u32,
    /// Most times one credential is sent, at least once. [`limits::SENDS_MAX`] by default.
    pub sends_max: u32,
    /// Plain HTTP to this machine goes through the proxies of the builder too, where the client
    /// makes the connections: `PayingClient`. False by default; only for a proxy of this machine.
    pub loopback_proxy: bool,
    /// Sends requests, and credentials, over plain HTTP to other machines: anybody on the way can
    /// read and change them. False by default; loopback is allowed always.
    pub dangerous_plain_http: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            reply_timeout: limits::REPLY_TIMEOUT,
            connect_timeout: limits::CONNECT_TIMEOUT,
            redirects: Redirects::SameOrigin,
            redirects_max: limits::REDIRECTS_MAX,
            retries: 0,
            sends_max: limits::SENDS_MAX,
            loopback_proxy: false,
            dangerous_plain_http: false,
        }
    }
}

/// What becomes of redirects before payment. After payment none is followed: the redirect is the
/// response that was paid for.
///
/// Whatever is chosen, at most [`Options::redirects_max`] are followed, none leads to plain HTTP,
/// and none leads from another machine to this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redirects {
    /// Followed within the origin; to another it is an error.
    SameOrigin,
    /// Followed to other origins too. Beyond the first origin only the header fields go along that
    /// say what is wanted, never those that say who asks, and nothing is paid: a 402 there is
    /// [`CallError::PaymentElsewhere`].
    AnyOrigin,
    /// Followed to other origins with all header fields, and paid there as the policy says.
    DangerousPaidAnywhere,
    /// Handed to the caller.
    HandOver,
}

/// A response, and what was paid for it.
///
/// Read the body of what was paid for to its end: until then the call stays open, so that it can be
/// fetched again with [`PaymentClient::resume`].
#[derive(Debug)]
pub struct Answer<R> {
    /// The response.
    pub response: R,
    /// The payment, when one was made.
    pub payment: Option<Payment>,
}

/// A payment that was made for a response.
#[derive(Debug)]
#[non_exhaustive]
pub struct Payment {
    /// The call, as the journal names it.
    pub call: CallId,
    /// What it cost, and who got it.
    pub terms: Terms,
    /// Whether money moved: `Yes` for a success; for other answers what the rail says.
    pub moved: MoneyMoved,
    /// The receipt, when a readable one came along.
    pub receipt: Option<Receipt>,
    /// What was odd about the receipt.
    pub receipt_fault: Option<String>,
    /// Signatures made.
    pub signatures: u32,
    /// The journal failed after the answer had come: the payment is made and the history lacks it.
    pub unrecorded: Option<OutboxError>,
    /// The session it was paid from, as it stands; of a stream, as it stood when it began.
    pub session: Option<Box<crate::session::Session>>,
    /// What became of a body that is paid for as it comes.
    pub streamed: Option<Streamed>,
}

/// Pays for what is asked for. Carries no HTTP itself: see [`crate::PayLayer`] and, with the
/// feature `reqwest`, `PayingClient`. Cheap to clone.
#[derive(Clone)]
pub struct PaymentClient {
    inside: Arc<Inside>,
    sessions: Option<Arc<Sessions>>,
}

struct Inside {
    parts: Parts,
    under_way: Mutex<HashSet<CallId>>,
    events: Observers<Event>,
}

/// What the rail says of everything signed for a call.
#[derive(Debug, Clone, PartialEq)]
enum Fate {
    Done { reference: String },
    Never(String),
    Pending,
}

impl PaymentClient {
    /// Puts a client together.
    pub fn new(parts: Parts) -> Self {
        Self::with_events(parts, Vec::new())
    }

    /// Puts a client together that tells what it does: see [`crate::events`].
    pub fn with_events(parts: Parts, observers: Vec<Arc<dyn Observer<Event>>>) -> Self {
        let mut events = Observers::default();
        for observer in observers {
            events.add(observer);
        }
        Self {
            inside: Arc::new(Inside {
                parts,
                under_way: Mutex::new(HashSet::new()),
                events,
            }),
            sessions: None,
        }
    }

    /// How many events its observers have dropped since the start, because they were too slow.
    pub fn events_lost(&self) -> u64 {
        self.inside.events.lost()
    }

    /// Tells the observers. The event is made only when there are any.
    fn tell(&self, make: impl FnOnce() -> Event) {
        self.inside.events.tell(|| self.now(), make);
    }

    /// Tells of an error after something was signed, or was about to be.
    fn tell_failed(&self, outgoing: &Outgoing, id: CallId, terms: &Terms, error: &CallError) {
        self.tell(|| events::failed(Spending::new(id, &outgoing.origin, terms), error));
    }

    /// Makes one logical call: sends the request, and when payment is required, pays at most once.
    ///
    /// A response that asks for no payment is handed over as it is, and so is a 402 without a
    /// Payment challenge, or one to HEAD or OPTIONS, which are never paid.
    ///
    /// # Errors
    ///
    /// [`CallError`]; ask it [`CallError::money_moved`] and [`CallError::retry`].
    pub async fn call<E: Exchange>(
        &self,
        request: http::Request<Bytes>,
        exchange: &mut E,
    ) -> Result<Answer<E::Response>, CallError> {
        let id = CallId::from_bytes(self.env().random());
        let guard = self.guard(id);
        let mut outgoing = Outgoing::new(request, id, (self.parts(), self.sessions.as_deref()))?;
        if let (Some(sessions), Some(offer)) = (&self.sessions, self.remembered_offer(&outgoing)) {
            let tried = self.in_session(sessions, (id, &outgoing), offer, exchange);
            if let Within::Answer(answer) = tried.await? {
                return Ok(*answer);
            }
        }
        let mut redirects = 0;
        let mut stale = 0;
        loop {
            let response = self.send_bare(&outgoing, exchange).await?;
            let (status, headers) = E::head(&response);
            let head = Head::new(status, headers, self.now());
            let options = &self.parts().options;
            if let Some(to) = head.redirect()
                && options.redirects != Redirects::HandOver
            {
                if redirects >= options.redirects_max {
                    let limit = options.redirects_max;
                    return Err(CallError::TooManyRedirects { limit });
                }
                redirects += 1;
                outgoing.follow(to, status, options.redirects)?;
                continue;
            }
            if status != StatusCode::PAYMENT_REQUIRED || !outgoing.may_be_paid() {
                return Ok(unpaid(response));
            }
            let challenges = head.challenges();
            if challenges.is_empty() {
                return Ok(unpaid(response));
            }
            outgoing.payable_here()?;
            let asking = (id, &outgoing);
            let (challenges, mut unusable, response) = match self
                .try_sessions(asking, challenges, response, exchange)
                .await?
            {
                Tried::Answer(answer) => return Ok(*answer),
                Tried::Stale if stale < limits::SESSION_REFUSALS_MAX => {
                    stale += 1;
                    continue;
                }
                Tried::Stale => {
                    let limit = limits::SESSION_REFUSALS_MAX;
                    return Err(CallError::TooManyChallenges { limit });
                }
                Tried::No {
                    challenges,
                    reasons,
                    response,
                } => (challenges, reasons, response),
            };
            let asked = self.asked(&outgoing);
            let (offers, mut reasons) = choose::choose(challenges, &asked);
            reasons.append(&mut unusable);
            let offered = (offers, reasons, response);
            return self
                .call_by_charge((id, outgoing), offered, (guard, exchange))
                .await;
        }
    }

    /// Pays one of the offers of a 402.
    async fn call_by_charge<E: Exchange>(
        &self,
        (id, outgoing): (CallId, Outgoing),
        (offers, reasons, response): (Vec<choose::Offer>, Vec<Unusable>, E::Response),
        (guard, exchange): (Option<Guard>, &mut E),
    ) -> Result<Answer<E::Response>, CallError> {
        self.tell(|| Event::Challenged {
            call: id,
            origin: outgoing.origin.clone(),
            payable: offers.len(),
        });
        let declined = || Event::Declined {
            call: id,
            origin: outgoing.origin.clone(),
        };
        if offers.is_empty() {
            self.tell(declined);
            let status = E::head(&response).0;
            let refusal = self.refusal::<E>(response, status).await.0;
            return Err(CallError::NotPayable { reasons, refusal });
        }
        // Read to its end, so that its connection can carry the next request.
        let rest = E::read(response, limits::PROBLEM_BYTES_MAX);
        let _ = self.within(limits::DRAIN_TIMEOUT, rest).await;
        let mut call = Call::with_sends(self.parts().options.sends_max);
        let chosen = self.select(id, &outgoing, offers, &call).await;
        let chosen = chosen.inspect_err(|_| self.tell(declined))?;
        let underway = self.begin(id, &outgoing, chosen, &mut call).await?;
        self.deliver(&outgoing, underway, call, (guard, exchange))
            .await
    }

    /// Closes the journal. Call it before the program ends: it wipes what final calls no longer
    /// need. Nothing is lost without it.
    ///
    /// # Errors
    ///
    /// Those of [`Outbox::close`].
    pub async fn close(&self) -> Result<(), OutboxError> {
        self.parts().outbox.close().await
    }

    /// Sends the request without a credential, and again as often as the options say.
    async fn send_bare<E: Exchange>(
        &self,
        outgoing: &Outgoing,
        exchange: &mut E,
    ) -> Result<E::Response, CallError> {
        let mut retries = Call::with_sends(self.parts().options.retries.saturating_add(1));
        loop {
            retries.sent();
            let result = self.send_once(outgoing, exchange).await;
            if let Err(CallError::Transport { source, .. }) = &result
                && source.is::<NotSent>()
            {
                return result;
            }
            let head = match &result {
                Ok(response) => {
                    let (status, headers) = E::head(response);
                    Some(Head::new(status, headers, self.now()))
                }
                Err(_) => None,
            };
            if head.as_ref().is_some_and(|head| !head.says_later()) {
                return result;
            }
            match retries.replay(head.as_ref()) {
                Replay::After(wait) => self.wait(wait).await,
                Replay::TooLong(_) | Replay::Exhausted => return result,
            }
        }
    }

    async fn send_once<E: Exchange>(
        &self,
        outgoing: &Outgoing,
        exchange: &mut E,
    ) -> Result<E::Response, CallError> {
        let sending = exchange.send(outgoing.request(None));
        let limit = self.parts().options.reply_timeout;
        let source = match self.within(limit, sending).await {
            Some(Ok(response)) => return Ok(response),
            Some(Err(source)) => source,
            None => format!("no response within {} s", limit.as_secs()).into(),
        };
        Err(CallError::Transport {
            origin: outgoing.origin.clone(),
            source,
        })
    }

    /// Reads a refusal's words.
    async fn refusal<E: Exchange>(
        &self,
        response: E::Response,
        status: StatusCode,
    ) -> (Refused, Option<ReceivedProblem>) {
        let reading = E::read(response, limits::PROBLEM_BYTES_MAX);
        let limit = self.parts().options.reply_timeout;
        let body = self.within(limit, reading).await.unwrap_or_default();
        words(status, &body)
    }

    /// Asks the rail about everything signed for a call.
    async fn fate(&self, payer: &dyn Payer, artefacts: &[Artefact]) -> Fate {
        let mut never = None;
        let mut all_never = true;
        for artefact in artefacts {
            let asking = payer.lookup(artefact);
            match self.within(limits::LOOKUP_TIMEOUT, asking).await {
                Some(Ok(Lookup::Done(settled))) => {
                    let reference = settled.reference;
                    return Fate::Done { reference };
                }
                Some(Ok(Lookup::Never(refusal))) => never = Some(refusal.detail),
                Some(Ok(Lookup::Pending) | Err(_)) | None => all_never = false,
            }
        }
        match never {
            Some(detail) if all_never => Fate::Never(detail),
            _ => Fate::Pending,
        }
    }

    /// Asks the rail, and journals a final answer.
    async fn resolve(&self, id: CallId, payer: &dyn Payer, artefacts: &[Artefact]) -> MoneyMoved {
        let fate = self.fate(payer, artefacts).await;
        self.settle(id, fate).await
    }

    /// Journals a final answer of the rail. That the journal failed changes nothing about the
    /// answer: the call stays open there, and is resolved again later.
    async fn settle(&self, id: CallId, fate: Fate) -> MoneyMoved {
        match fate {
            Fate::Done { reference } => {
                let _ = self.record(id, Step::Settled { reference }).await;
                MoneyMoved::Yes
            }
            Fate::Never(note) => {
                let note = note_text(&note);
                let _ = self.record(id, Step::Void { note }).await;
                MoneyMoved::No
            }
            Fate::Pending => MoneyMoved::Maybe,
        }
    }

    async fn record(&self, id: CallId, step: Step) -> Result<(), OutboxError> {
        self.parts().outbox.record(id, step).await
    }

    /// Waits so long and up to a quarter longer, so that clients do not come back in step.
    async fn wait(&self, wait: Duration) {
        let [random] = self.env().random::<1>();
        let more = (wait / 4).saturating_mul(u32::from(random)) / 256;
        self.env().clock.sleep(wait.saturating_add(more)).await;
    }

    /// Waits for a future, at most so long.
    async fn within<F: Future>(&self, limit: Duration, future: F) -> Option<F::Output> {
        let future = std::pin::pin!(future);
        match select(future, self.env().clock.sleep(limit)).await {
            Either::Left((output, _)) => Some(output),
            Either::Right(_) => None,
        }
    }

    fn asked<'a>(&'a self, outgoing: &'a Outgoing) -> choose::Asked<'a> {
        choose::Asked {
            origin: &outgoing.origin,
            body: &outgoing.body,
            payers: &self.parts().payers,
            now: self.now(),
        }
    }

    /// Its settings.
    pub fn options(&self) -> &Options {
        &self.inside.parts.options
    }

    fn parts(&self) -> &Parts {
        &self.inside.parts
    }

    pub(crate) fn env(&self) -> &Env {
        &self.inside.parts.env
    }

    fn now(&self) -> Timestamp {
        self.env().clock.now()
    }

    /// Marks a call as under way until the guard is dropped.
    fn guard(&self, id: CallId) -> Option<Guard> {
        let mut under_way = self
            .inside
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        under_way.insert(id).then(|| Guard {
            inside: self.inside.clone(),
            id,
        })
    }
}

struct Guard {
    inside: Arc<Inside>,
    id: CallId,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.inside
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.id);
    }
}

fn unpaid<R>(response: R) -> Answer<R> {
    Answer {
        response,
        payment: None,
    }
}

/// A refusal's words from its body.
fn words(status: StatusCode, body: &[u8]) -> (Refused, Option<ReceivedProblem>) {
    let problem = ReceivedProblem::parse(body).ok();
    (Refused::new(status.as_u16(), problem.as_ref()), problem)
}

/// Cuts a peer's words to what the journal keeps.
fn note_text(text: &str) -> String {
    text.chars().take(limits::NOTE_CHARS_MAX).collect()
}
