//! One request within a session: finds a channel or opens one, signs, sends, and puts right what a
//! payee refuses, as far as this side's own record allows.

mod end;
mod idle;
mod lost;
mod own;
mod stream;
mod vouchers;
mod work;

use std::sync::Arc;

use http::{HeaderValue, StatusCode, header};
use stiver_core::{
    Receipt,
    amount::parse_base_units,
    challenge::{Challenge, ChallengeError},
    digest::BodyDigest,
    json::Value,
    problem::{ProblemKind, ReceivedProblem},
};
use stiver_method::session::Snapshot;

pub use lost::LostChannel;
pub use stream::{SessionStream, StreamEnd, Streamed};
pub(crate) use work::Work;

use super::{Answer, Exchange, Outgoing, Payment, PaymentClient, words};
use crate::{
    CallError, CallId, MoneyMoved, SessionFailure,
    call::{Call, Head, Meaning, Replay, meaning},
    error::{LastSeen, Refused, Unusable},
    limits,
    origin::RealmClaim,
    outbox::Terms,
    session::{
        OverLimit, OwnMeter, SessionParts, SessionState, SessionStep, SessionTerms, Told,
        lease::{Scope, SessionOffer, Sessions},
        policy::request_cost,
    },
};

/// The intent.
const SESSION: &str = "session";
/// The member of a receipt that says that nothing was delivered with it.
const DELIVERED: &str = "delivered";
/// The media type of server-sent events.
const EVENT_STREAM: &str = "text/event-stream";

/// What became of a request that was tried within a session.
pub(super) enum Within<R> {
    /// It was answered.
    Answer(Box<Answer<R>>),
    /// The challenge it was made for is no longer good: it is asked for again.
    Stale,
}

/// What became of the session challenges of a 402.
pub(super) enum Tried<R> {
    /// One was paid.
    Answer(Box<Answer<R>>),
    /// The one that was tried is no longer good: the request is made again.
    Stale,
    /// None can be paid by a session: the other challenges, and why not.
    No {
        challenges: Vec<Result<Challenge, ChallengeError>>,
        reasons: Vec<Unusable>,
        response: R,
    },
}

/// What a payee's refusal leads to.
enum Next {
    /// A voucher of at least so much, and the request once more.
    Raise(u128),
    /// Another channel, and the request once more.
    Reopen,
    /// A fresh challenge.
    Stale,
    /// Nothing.
    Fail(CallError),
}

impl PaymentClient {
    /// Pays by sessions where a server offers them, within limits. Call it before the client is
    /// cloned.
    #[must_use]
    pub fn with_sessions(mut self, parts: SessionParts) -> Self {
        self.sessions = Some(Arc::new(Sessions::new(parts)));
        self
    }

    /// Believes an instrument of the payer's own of what it measures, whatever the payee counts.
    /// Call it after [`PaymentClient::with_sessions`], before the client is cloned; without
    /// sessions it changes nothing.
    #[must_use]
    pub fn with_own_meter(mut self, meter: Arc<dyn OwnMeter>) -> Self {
        if let Some(sessions) = self.sessions.as_mut().and_then(Arc::get_mut) {
            sessions.own_meter = Some(meter);
        }
        self
    }

    /// The session challenges among these that can be paid, preferred first; the other challenges;
    /// and why some of the first kind cannot.
    pub(super) fn session_offers(
        &self,
        sessions: &Sessions,
        outgoing: &Outgoing,
        challenges: Vec<Result<Challenge, ChallengeError>>,
    ) -> (
        Vec<SessionOffer>,
        Vec<Result<Challenge, ChallengeError>>,
        Vec<Unusable>,
    ) {
        let mut offers = Vec::new();
        let mut others = Vec::new();
        let mut reasons = Vec::new();
        for challenge in challenges {
            match challenge {
                Ok(challenge) if challenge.params.intent.as_str() == SESSION => {
                    match self.session_offer(sessions, outgoing, challenge) {
                        Ok(offer) => offers.push(offer),
                        Err(reason) => reasons.push(reason),
                    }
                }
                other => others.push(other),
            }
        }
        let place = |offer: &SessionOffer| {
            let mut payers = sessions.parts.payers.iter();
            payers.position(|payer| payer.name() == offer.payer.name())
        };
        offers.sort_by_key(place);
        (offers, others, reasons)
    }

    fn session_offer(
        &self,
        sessions: &Sessions,
        outgoing: &Outgoing,
        challenge: Challenge,
    ) -> Result<SessionOffer, Unusable> {
        let params = &challenge.params;
        let method = params.method.to_string();
        if outgoing.origin.claim(&params.realm) == RealmClaim::OtherHost {
            return Err(Unusable::OtherHost {
                realm: params.realm.to_string(),
                origin: outgoing.origin.to_string(),
            });
        }
        let mut payers = sessions.parts.payers.iter();
        let payer = payers.find(|payer| *payer.name() == params.method);
        let payer = payer.ok_or_else(|| Unusable::Method(method.clone()))?;
        if let Some(digest) = &params.digest {
            match BodyDigest::parse(digest.as_str()) {
                Ok(digest) if digest == BodyDigest::of(&outgoing.body) => {}
                Ok(_) => return Err(Unusable::OtherBody),
                Err(_) => return Err(Unusable::UnknownDigest(digest.as_str().to_owned())),
            }
        }
        let unpayable = |why| Unusable::Unpayable {
            method: method.clone(),
            why,
        };
        let view = payer.view(&challenge).map_err(unpayable)?;
        let Some(price) = view.prices.first() else {
            let why = stiver_method::payer::Unpayable::Malformed("it has no price".into());
            return Err(unpayable(why));
        };
        let terms = SessionTerms {
            origin: outgoing.origin.to_string(),
            realm: params.realm.to_string(),
            method: method.clone(),
            network: view.network.clone(),
            payee: view.payee.clone(),
            currency: price.amount.currency().clone(),
        };
        Ok(SessionOffer {
            payer: payer.clone(),
            view,
            terms,
            challenge,
        })
    }

    /// Tries the session challenges of a 402 before the others.
    pub(super) async fn try_sessions<E: Exchange>(
        &self,
        asking: (CallId, &Outgoing),
        challenges: Vec<Result<Challenge, ChallengeError>>,
        response: E::Response,
        exchange: &mut E,
    ) -> Result<Tried<E::Response>, CallError> {
        let Some(sessions) = &self.sessions else {
            return Ok(Tried::No {
                challenges,
                reasons: Vec::new(),
                response,
            });
        };
        let (offers, challenges, reasons) = self.session_offers(sessions, asking.1, challenges);
        let Some(offer) = offers.into_iter().next() else {
            return Ok(Tried::No {
                challenges,
                reasons,
                response,
            });
        };
        // Read to its end, so that its connection can carry the next request.
        let rest = E::read(response, limits::PROBLEM_BYTES_MAX);
        let _ = self.within(limits::DRAIN_TIMEOUT, rest).await;
        let tried = self.in_session(sessions, asking, offer, exchange);
        Ok(match tried.await? {
            Within::Answer(answer) => Tried::Answer(answer),
            Within::Stale => Tried::Stale,
        })
    }

    /// Tries a request within a session.
    pub(super) async fn in_session<E: Exchange>(
        &self,
        sessions: &Arc<Sessions>,
        (id, outgoing): (CallId, &Outgoing),
        offer: SessionOffer,
        exchange: &mut E,
    ) -> Result<Within<E::Response>, CallError> {
        let cost = request_cost(&offer.view.prices);
        let mut work = Work::begin(self, sessions, (id, outgoing), offer, exchange.side()).await?;
        work.make_ready(cost).await?;
        let mut agree = cost.unwrap_or(0);
        let mut least = 0;
        let mut refused = None;
        for _ in 0..=limits::SESSION_REFUSALS_MAX {
            let Some(credential) = work.ready(agree, least, refused.take()).await? else {
                least = 0;
                continue;
            };
            // Agreed to once, however often it is sent.
            agree = 0;
            let sent = self.send_in_session(&work, &credential, exchange).await;
            let (head, response, sent_again) = match sent {
                Ok(answer) => answer,
                Err(last) => return Err(work.unanswered(last).await),
            };
            let status = head.status();
            if judge(&head) == Meaning::Paid {
                if let Some(told) = work.told_without_goods(&head) {
                    match work.without_goods(told, sent_again).await {
                        Next::Raise(required) => least = required,
                        Next::Fail(error) => return Err(error),
                        Next::Reopen | Next::Stale => {}
                    }
                    continue;
                }
                let answer = self.paid_in_session::<E>(work, &head, response).await?;
                return Ok(Within::Answer(Box::new(answer)));
            }
            if let Some(snapshot) = work.contradicted(&head) {
                return Err(work.behind(&snapshot).await);
            }
            let (body, response) = E::peek(response, limits::PROBLEM_BYTES_MAX).await;
            let (refusal, problem) = words(status, &body);
            if problem.as_ref().and_then(|it| it.kind) == Some(ProblemKind::AnswerNotKept) {
                return Err(work.charged_before().await);
            }
            let kind = problem.as_ref().and_then(|problem| problem.kind);
            if judge(&head) == Meaning::Answered && !is_gone(kind) {
                let payment = work.answered_otherwise(status).await?;
                return Ok(Within::Answer(Box::new(Answer {
                    response,
                    payment: Some(payment),
                })));
            }
            refused = Some(refusal.clone());
            match work.refused(kind, problem.as_ref(), refusal).await {
                Next::Raise(required) => least = required,
                Next::Reopen => (agree, least) = (cost.unwrap_or(0), 0),
                Next::Stale => {
                    sessions.forget(&scope(outgoing));
                    return Ok(Within::Stale);
                }
                Next::Fail(error) => return Err(error),
            }
        }
        Err(work.given_up().await)
    }

    /// Sends a request with its credential, and again, unchanged, while no answer settles it.
    async fn send_in_session<E: Exchange>(
        &self,
        work: &Work,
        credential: &HeaderValue,
        exchange: &mut E,
    ) -> Result<(Head, E::Response, bool), LastSeen> {
        let mut call = Call::with_sends(self.parts().options.sends_max);
        let mut sends = 0_u32;
        loop {
            call.sent();
            sends = sends.saturating_add(1);
            let again = sends > 1;
            let sending = exchange.send(work.request(credential));
            let limit = self.parts().options.reply_timeout;
            let (head, last) = match self.within(limit, sending).await {
                None => (None, LastSeen::TimedOut),
                Some(Err(source)) => (None, LastSeen::NoResponse(source)),
                Some(Ok(response)) => {
                    let (status, headers) = E::head(&response);
                    let head = Head::new(status, headers, self.now());
                    match judge(&head) {
                        Meaning::Again => {
                            let refusal = self.refusal::<E>(response, status).await.0;
                            (Some(head), LastSeen::Answer(refusal))
                        }
                        Meaning::Answered => match self.not_yet::<E>(&head, response).await {
                            Ok(last) => (Some(head), last),
                            Err(response) => return Ok((head, response, again)),
                        },
                        _ => return Ok((head, response, again)),
                    }
                }
            };
            match call.replay(head.as_ref()) {
                Replay::After(wait) => self.wait(wait).await,
                Replay::Exhausted => return Err(last),
                Replay::TooLong(wait) => {
                    return Err(match last {
                        LastSeen::Answer(refusal) => LastSeen::AskedToWait {
                            seconds: wait.as_secs(),
                            refusal,
                        },
                        other => other,
                    });
                }
            }
        }
    }

    /// A success: what the payee says of the channel is compared and journaled.
    async fn paid_in_session<E: Exchange>(
        &self,
        mut work: Work,
        head: &Head,
        response: E::Response,
    ) -> Result<Answer<E::Response>, CallError> {
        let (_, headers) = E::head(&response);
        let content = headers.get(header::CONTENT_TYPE);
        let content = content.and_then(|value| value.to_str().ok()).unwrap_or("");
        let is_stream = content.to_ascii_lowercase().starts_with(EVENT_STREAM);
        let metered = request_cost(&work.offer.view.prices).is_none();
        let (receipt, told, fault) = work.read_receipt(head);
        work.sessions
            .remember(scope(&work.outgoing), work.offer.clone());
        let mut payment = work.payment(MoneyMoved::Yes)?;
        work.confirm_opening(fault.is_none()).await?;
        work.watch_idle();
        payment.receipt = receipt;
        payment.receipt_fault.clone_from(&fault);
        if is_stream && metered {
            payment.streamed = Some(work.streamed.clone());
            let stream = SessionStream::events(work);
            return Ok(Answer {
                response: E::stream(response, stream),
                payment: Some(payment),
            });
        }
        if work.lease.session.is_none() {
            // Served, though the rail says that there is no such channel: nothing can be taken.
            payment.moved = MoneyMoved::No;
            return Ok(Answer {
                response,
                payment: Some(payment),
            });
        }
        if metered && SessionStream::takes_plain(&work) {
            payment.streamed = Some(work.streamed.clone());
            let stream = SessionStream::plain(work, told, fault);
            return Ok(Answer {
                response: E::stream(response, stream),
                payment: Some(payment),
            });
        }
        // A price that is no whole number of base units is agreed to rounded up: what it came to,
        // the receipt says.
        let fraction = work.offer.view.prices.iter().any(|price| price.per > 1);
        let recorded = work.answered(told, metered || fraction, fault).await;
        payment.session = work.lease.session.clone().map(Box::new);
        match recorded {
            Ok(Some(charged)) => {
                payment.terms.amount = payment.terms.amount.currency().units(charged);
            }
            Ok(None) => {}
            // What was paid for is handed over; what is in flight stays counted.
            Err(_) => payment.receipt_fault = Some("the journal of sessions failed".into()),
        }
        Ok(Answer {
            response,
            payment: Some(payment),
        })
    }
}

/// Where a challenge holds.
fn scope(outgoing: &Outgoing) -> Scope {
    Scope {
        method: outgoing.method.to_string(),
        origin: outgoing.origin.clone(),
        path: outgoing.uri.path().to_owned(),
    }
}

impl PaymentClient {
    /// The challenge that such a request met before, when it can be used at once.
    pub(super) fn remembered_offer(&self, outgoing: &Outgoing) -> Option<SessionOffer> {
        let sessions = self.sessions.as_ref()?;
        let offer = sessions.remembered(&scope(outgoing))?;
        // A challenge for a body holds for that body.
        let bound = offer.challenge.params.digest.is_some();
        (outgoing.may_be_paid() && !bound).then_some(offer)
    }
}

/// The meaning of an answer before its body is read.
fn judge(head: &Head) -> Meaning {
    match meaning(head.status(), None) {
        Meaning::Answered if !head.receipts().is_empty() => Meaning::Paid,
        other => other,
    }
}

/// True when the limit of a session is in the way.
fn is_limit(error: &CallError) -> bool {
    let CallError::Session { failure, .. } = error else {
        return false;
    };
    matches!(
        **failure,
        SessionFailure::OverLimit(OverLimit::Session { .. })
    )
}

fn is_gone(kind: Option<ProblemKind>) -> bool {
    matches!(
        kind,
        Some(ProblemKind::SessionChannelNotFound | ProblemKind::SessionChannelFinalized)
    )
}

/// A figure of a receipt.
fn figure(receipt: &Receipt, name: &str) -> Option<u128> {
    let text = receipt.extra.get(name).and_then(Value::as_str)?;
    parse_base_units(text, 128).ok()
}

/// What a receipt tells of a channel.
fn told(receipt: &Receipt) -> Option<Told> {
    Some(Told {
        accepted: figure(receipt, "acceptedCumulative")?,
        spent: figure(receipt, "spent")?,
    })
}

impl Work {
    /// The credential for the request; `None` when the channel had come to its end, and another is
    /// to be opened.
    async fn ready(
        &mut self,
        agree: u128,
        least: u128,
        refused: Option<Refused>,
    ) -> Result<Option<HeaderValue>, CallError> {
        let error = match self.authorise(agree, least).await {
            Ok(credential) => return Ok(Some(credential)),
            Err(error) => error,
        };
        match refused {
            // The payee did not serve it: what was agreed for it is free.
            Some(refusal) => {
                let _ = self.release(refusal).await;
            }
            None if is_limit(&error) && self.is_worn() && self.retire().await => return Ok(None),
            None => {}
        }
        Err(error)
    }

    /// What the payee tells of the channel in an answer that has nothing else: its receipt says
    /// that nothing was delivered.
    fn told_without_goods(&self, head: &Head) -> Option<Told> {
        let [line] = head.receipts() else { return None };
        let receipt = Receipt::parse(line).ok()?;
        let nothing = receipt.extra.get(DELIVERED) == Some(&Value::Bool(false));
        nothing.then(|| told(&receipt).unwrap_or_default())
    }

    /// The payee took the voucher, or had it before, and delivered nothing. When the request was
    /// sent before, and what it has charged has grown since it told last, it has charged for it
    /// then. Else the voucher may not have been enough.
    async fn without_goods(&mut self, told: Told, sent_again: bool) -> Next {
        if let Err(error) = self.confirm_opening(true).await {
            return Next::Fail(error);
        }
        let Ok(session) = self.session() else {
            return Next::Fail(self.failed(SessionFailure::NotOpen));
        };
        let known = told.accepted <= session.signed && told.spent <= session.signed;
        let charged = known && sent_again && told.spent > session.spent;
        let price = request_cost(&self.offer.view.prices).unwrap_or(0).max(1);
        let required = told.spent.saturating_add(price);
        if known && !charged && required > session.signed {
            return match self.settle(told).await {
                Ok(()) => Next::Raise(required),
                Err(error) => Next::Fail(error),
            };
        }
        let step = match charged {
            true => self.charged_in_vain(Some(told)),
            false => SessionStep::Released {
                request: self.id,
                note: "the payee delivered nothing and charged nothing".to_owned(),
            },
        };
        Next::Fail(self.not_delivered(step, charged).await)
    }

    /// What the payee tells of the channel settles the requests whose outcome is not known: this
    /// one alone is under way. Figures that cannot be are not taken.
    async fn settle(&mut self, told: Told) -> Result<(), CallError> {
        let signed = self.session()?.signed;
        if told.accepted > signed || told.spent > signed {
            return Ok(());
        }
        let request = self.id;
        self.record(SessionStep::Settled { request, told }).await
    }

    /// A payee's snapshot of this channel that says more than was signed here. It is a hint and
    /// raises nothing; but the journal may be older than the channel.
    fn contradicted(&self, head: &Head) -> Option<Snapshot> {
        let session = self.lease.session.as_ref()?;
        let challenges = head.challenges().into_iter().flatten();
        let views = challenges.filter_map(|challenge| self.offer.payer.view(&challenge).ok());
        let mut snapshots = views.filter_map(|view| view.snapshot);
        snapshots.find(|snapshot| {
            let channel = self.offer.payer.channel_text(&snapshot.channel);
            session.channel.as_ref() == Some(&channel)
                && snapshot.accepted.max(snapshot.spent) > session.signed
        })
    }

    /// Nothing more is signed on a channel whose payee says that it has more than this side signed.
    async fn behind(&mut self, snapshot: &Snapshot) -> CallError {
        let claimed = snapshot.accepted.max(snapshot.spent);
        let signed = self.lease.session.as_ref().map_or(0, |it| it.signed);
        let currency = &self.offer.terms.currency;
        let failure = SessionFailure::Behind {
            claimed: currency.units(claimed),
            signed: currency.units(signed),
        };
        let note = super::note_text(&failure.to_string());
        let request = self.id;
        let error = self.failed(failure);
        match self.record(SessionStep::Released { request, note }).await {
            Ok(()) => error,
            Err(error) => error,
        }
    }

    /// The payee says that it charged the request at an earlier sending, and does not deliver it
    /// again.
    async fn charged_before(&mut self) -> CallError {
        if let Err(error) = self.confirm_opening(false).await {
            return error;
        }
        self.not_delivered(self.charged_in_vain(None), true).await
    }

    fn charged_in_vain(&self, told: Option<Told>) -> SessionStep {
        SessionStep::Answered {
            request: self.id,
            told,
            charged: None,
            note: Some("charged, and not delivered again".to_owned()),
        }
    }

    async fn not_delivered(&mut self, step: SessionStep, charged: bool) -> CallError {
        if self.lease.session.is_some()
            && let Err(error) = self.record(step).await
        {
            return error;
        }
        CallError::Session {
            session: self.lease.session.as_ref().map(|session| session.id),
            moved: match charged {
                true => MoneyMoved::Yes,
                false => MoneyMoved::No,
            },
            failure: Box::new(SessionFailure::NotDelivered { charged }),
        }
    }

    /// A payee's refusal: what it leads to.
    async fn refused(
        &mut self,
        kind: Option<ProblemKind>,
        problem: Option<&ReceivedProblem>,
        refusal: Refused,
    ) -> Next {
        use ProblemKind as P;
        let raise = problem.and_then(|problem| problem.required_top_up);
        match (kind, raise) {
            (Some(P::SessionInsufficientBalance | P::PaymentInsufficient), Some(more)) => {
                let figures = problem.and_then(|it| Some((it.accepted_cumulative?, it.spent?)));
                if let Some((accepted, spent)) = figures
                    && self.state() == Some(SessionState::Open)
                    && let Err(error) = self.settle(Told { accepted, spent }).await
                {
                    return Next::Fail(error);
                }
                let signed = self.lease.session.as_ref().map_or(0, |s| s.signed);
                match signed.checked_add(more) {
                    Some(required) if more > 0 => Next::Raise(required),
                    _ => Next::Fail(self.release(refusal).await),
                }
            }
            (Some(P::SessionChannelNotFound | P::SessionChannelFinalized), _) => {
                match self.gone(&refusal).await {
                    Ok(()) => Next::Reopen,
                    Err(error) => Next::Fail(error),
                }
            }
            (Some(P::SessionChallengeNotFound | P::InvalidChallenge), _) => {
                let _ = self.release(refusal.clone()).await;
                match self.lease.session.as_ref().map(|session| session.state) {
                    // The opening was signed for that challenge: only the rail can say more.
                    Some(SessionState::Opening) => match self.settle_opening().await {
                        Ok(_) => Next::Stale,
                        Err(error) => Next::Fail(error),
                    },
                    _ => Next::Stale,
                }
            }
            _ => Next::Fail(self.release(refusal).await),
        }
    }

    /// Refused too often.
    async fn given_up(mut self) -> CallError {
        let refusal = Refused::new(StatusCode::PAYMENT_REQUIRED.as_u16(), None);
        self.release(refusal).await
    }

    /// The payee answered, and not with success: what was agreed stays counted, for it may have
    /// been charged.
    async fn answered_otherwise(&mut self, status: StatusCode) -> Result<Payment, CallError> {
        let payment = self.payment(MoneyMoved::Maybe)?;
        self.confirm_opening(false).await?;
        if self.lease.session.is_none() {
            return Ok(payment);
        }
        let step = SessionStep::Answered {
            request: self.id,
            told: None,
            charged: None,
            note: Some(format!("answered with status {}", status.as_u16())),
        };
        self.record(step).await?;
        Ok(payment)
    }

    /// No answer, or none that tells: what was agreed stays counted.
    async fn unanswered(&mut self, last: LastSeen) -> CallError {
        let note = super::note_text(&last.to_string());
        let _ = self.record(SessionStep::Noted { note }).await;
        if self.state() == Some(SessionState::Opening) {
            // Whether there is a channel at all, the rail may know.
            let _ = self.settle_opening().await;
        }
        self.failed(SessionFailure::Unknown(last))
    }

    /// What a caller is told of the payment.
    fn payment(&self, moved: MoneyMoved) -> Result<Payment, CallError> {
        let session = self.session()?;
        let agreed = session.in_flight.get(&self.id).copied().unwrap_or(0);
        let terms = Terms {
            amount: session.amount(agreed),
            payee: session.terms.payee.clone(),
            network: session.terms.network.clone(),
            realm: session.terms.realm.clone(),
            method: session.terms.method.clone(),
            intent: SESSION.into(),
            challenge_id: self.offer.challenge.id.to_string(),
            expires: self.offer.view.expires,
        };
        Ok(Payment {
            call: self.id,
            terms,
            moved,
            receipt: None,
            receipt_fault: None,
            signatures: self.signatures,
            unrecorded: None,
            session: Some(Box::new(session.clone())),
            streamed: None,
        })
    }

    /// The receipt of an answer, what it tells, and what is odd about it.
    fn read_receipt(&self, head: &Head) -> (Option<Receipt>, Option<Told>, Option<String>) {
        let line = match head.receipts() {
            [line] => line,
            [] => return (None, None, Some("the payee sent no receipt".into())),
            _ => return (None, None, Some("the payee sent several receipts".into())),
        };
        match Receipt::parse(line) {
            Ok(receipt) => {
                let (told, fault) = self.judge_receipt(&receipt, false);
                (Some(receipt), told, fault)
            }
            Err(error) => (
                None,
                None,
                Some(format!("the receipt is malformed: {error}")),
            ),
        }
    }

    /// What a receipt tells, and what is odd about it: figures that cannot be are not taken. A
    /// payee signs those that end something, not that of each request: `ends` says which it is.
    pub(super) fn judge_receipt(
        &self,
        receipt: &Receipt,
        ends: bool,
    ) -> (Option<Told>, Option<String>) {
        let Some(session) = &self.lease.session else {
            return (None, None);
        };
        if receipt.method.as_str() != session.terms.method {
            return (
                None,
                Some("the receipt is for another payment method".into()),
            );
        }
        if Some(&receipt.reference) != session.channel.as_ref() {
            return (None, Some("the receipt is for another channel".into()));
        }
        let told = told(receipt);
        let beyond =
            told.is_some_and(|told| told.accepted > session.signed || told.spent > session.signed);
        if beyond {
            let fault = "the receipt claims more than was signed";
            return (None, Some(fault.into()));
        }
        let checked = match ends {
            true => self.offer.payer.check_receipt(receipt),
            false => Ok(()),
        };
        let complaint = checked.err();
        (told, complaint.map(|why| super::note_text(&why)))
    }
}
