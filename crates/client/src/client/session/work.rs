//! What one request does with a channel: open, top up, sign, and write down what came of it.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, header};
use stiver_channel::{InitialVoucher, Voucher};
use stiver_core::{Timestamp, untrusted::Untrusted};
use stiver_method::{
    payer::{CallKey, PayError, Proof},
    session::{ChannelLookup, Ended, OpenRequest, TopUpRequest},
};
use zeroize::Zeroizing;

use super::{
    super::{Outgoing, PaymentClient, Side, note_text, pay, words},
    Streamed,
};
use crate::{
    CallError, CallId, MoneyMoved, Origin, SessionFailure,
    call::{Call, Head, Meaning, Replay},
    error::{LastSeen, Refused},
    events::Event,
    pins::Claim,
    policy::{Decision, PaymentView, Trust},
    session::{
        ChannelRecord, Session, SessionId, SessionSecrets, SessionState, SessionStep, Told,
        lease::{Lease, SessionOffer, Sessions, Signing},
        policy::request_cost,
    },
};

/// One request's use of a channel.
pub(crate) struct Work {
    pub(super) client: PaymentClient,
    pub(super) sessions: Arc<Sessions>,
    pub(super) offer: SessionOffer,
    pub(super) outgoing: Outgoing,
    pub(super) id: CallId,
    pub(super) lease: Lease,
    pub(super) side: Arc<dyn Side>,
    pub(super) signatures: u32,
    /// Something that lets the payee take money has left.
    pub(super) sent: bool,
    /// The highest voucher that the payee has, as far as is known.
    pub(super) taken: u128,
    /// When the request began.
    pub(super) since: Timestamp,
    /// Tells the caller what became of a body that is paid for as it comes.
    pub(super) streamed: Streamed,
}

/// What a request on the side was answered with.
pub(super) struct AsideAnswer {
    pub(super) head: Head,
    pub(super) body: Vec<u8>,
}

impl Work {
    pub(super) async fn begin(
        client: &PaymentClient,
        sessions: &Arc<Sessions>,
        (id, outgoing): (CallId, &Outgoing),
        offer: SessionOffer,
        side: Arc<dyn Side>,
    ) -> Result<Self, CallError> {
        let lease = sessions.lease(&offer.terms).await;
        let lease = lease.map_err(|source| CallError::Session {
            session: None,
            moved: MoneyMoved::No,
            failure: Box::new(SessionFailure::Journal(source)),
        })?;
        Ok(Self {
            client: client.clone(),
            sessions: sessions.clone(),
            offer,
            outgoing: outgoing.clone(),
            id,
            lease,
            side,
            signatures: 0,
            sent: false,
            taken: 0,
            since: client.now(),
            streamed: Streamed::default(),
        })
    }

    pub(super) fn failed(&self, failure: SessionFailure) -> CallError {
        CallError::Session {
            session: self.lease.session.as_ref().map(|session| session.id),
            moved: match self.sent {
                true => MoneyMoved::Maybe,
                false => MoneyMoved::No,
            },
            failure: Box::new(failure),
        }
    }

    pub(super) fn session(&self) -> Result<&Session, CallError> {
        let session = self.lease.session.as_ref();
        session.ok_or_else(|| self.failed(SessionFailure::NotOpen))
    }

    pub(super) fn state(&self) -> Option<SessionState> {
        self.lease.session.as_ref().map(|session| session.state)
    }

    /// Journals a step of the channel at hand.
    pub(super) async fn record(&mut self, step: SessionStep) -> Result<(), CallError> {
        let id = self.session()?.id;
        self.record_with(id, step, SessionSecrets::default()).await
    }

    async fn record_with(
        &mut self,
        id: SessionId,
        step: SessionStep,
        secrets: SessionSecrets,
    ) -> Result<(), CallError> {
        let recorded = self.sessions.parts.journal.record(id, step, secrets).await;
        match recorded {
            Ok(session) => {
                self.client.tell(|| Event::Session {
                    call: self.id,
                    session: Box::new(session.clone()),
                });
                let ended = session.state.is_final();
                self.lease.session = (!ended).then_some(session);
                if ended {
                    self.lease.signer = None;
                }
                Ok(())
            }
            Err(source) => Err(self.failed(SessionFailure::Journal(source))),
        }
    }

    /// Whether the request may cost so much.
    pub(super) fn allow_request(&self, cost: u128) -> Result<(), CallError> {
        let cost = self.offer.terms.currency.units(cost);
        let allowed = self.sessions.parts.limits.allows_request(&cost);
        allowed.map_err(|over| self.failed(SessionFailure::OverLimit(over)))
    }

    /// Makes the credential for the request: opens a channel when there is none, tops it up when
    /// its deposit is too small, journals, signs. `agree` is what is agreed for the request on top
    /// of what was before; the voucher is of at least `least`.
    pub(super) async fn authorise(
        &mut self,
        agree: u128,
        least: u128,
    ) -> Result<HeaderValue, CallError> {
        if self.lease.session.is_none() {
            self.open().await?;
        }
        if self.state() == Some(SessionState::Opening)
            && self.offer.payer.caps().initial_voucher == InitialVoucher::Refused
        {
            self.open_beforehand().await?;
        }
        let cumulative = self.target(agree, least).await?;
        let voucher = self.sign(agree, cumulative).await?;
        let proof = match self.state() {
            Some(SessionState::Opening) => {
                let movement = self.movement().await?;
                let payer = self.offer.payer.clone();
                let proof = payer.fund(&movement, Some(&voucher)).await;
                proof.map_err(|source| self.failed(SessionFailure::Pay(source)))?
            }
            _ => self.spend(&voucher)?,
        };
        self.sent = true;
        Ok(self.credential(proof))
    }

    /// The caller's request with a credential. Of a body that is metered the receipt is wanted at
    /// its end too.
    pub(super) fn request(&self, credential: &HeaderValue) -> Request<Bytes> {
        let mut request = self.outgoing.request(Some(credential));
        let metered = request_cost(&self.offer.view.prices).is_none();
        let headers = request.headers_mut();
        if metered && !headers.contains_key(header::TE) && !headers.contains_key(header::CONNECTION)
        {
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
            headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
        }
        request
    }

    pub(super) fn credential(&self, proof: Proof) -> HeaderValue {
        pay::credential_of(&self.offer.challenge, proof)
    }

    pub(super) fn spend(&self, voucher: &Voucher) -> Result<Proof, CallError> {
        let proof = self.offer.payer.spend(voucher);
        proof.map_err(|why| self.failed(SessionFailure::RailRefused(why.detail)))
    }

    pub(super) async fn channel_record(&self) -> Result<ChannelRecord, CallError> {
        let secrets = self.secrets().await?;
        let record = secrets.record;
        record.ok_or_else(|| self.failed(SessionFailure::NotOpen))
    }

    async fn secrets(&self) -> Result<SessionSecrets, CallError> {
        let id = self.session()?.id;
        let secrets = self.sessions.parts.journal.secrets(id).await;
        let secrets = secrets.map_err(|source| self.failed(SessionFailure::Journal(source)))?;
        secrets.ok_or_else(|| self.failed(SessionFailure::NotOpen))
    }

    async fn movement(&self) -> Result<stiver_method::artefact::Artefact, CallError> {
        let movement = self.secrets().await?.movement;
        movement.ok_or_else(|| self.failed(SessionFailure::NotOpen))
    }

    /// Opens a channel: plans, asks the policy, journals, signs. Nothing is sent yet.
    async fn open(&mut self) -> Result<(), CallError> {
        let sessions = self.sessions.clone();
        let _one = sessions.opening.lock().await;
        let now = self.client.now();
        if let Some(at) = self.offer.view.expires.filter(|at| now >= *at) {
            return Err(CallError::ExpiredMeanwhile { at });
        }
        let set_aside = sessions.set_aside(&self.offer.terms, None).await;
        let set_aside = set_aside.map_err(|source| self.failed(SessionFailure::Journal(source)))?;
        let plan = sessions.parts.limits.plan(&self.offer.view, set_aside);
        let plan = plan.map_err(|over| self.failed(SessionFailure::OverLimit(over)))?;
        self.permitted(plan.deposit).await?;
        let id = SessionId::from_bytes(self.client.env().random());
        let intended = SessionStep::Intended {
            terms: self.offer.terms.clone(),
            url: self.outgoing.uri.to_string(),
            challenge: self.offer.challenge.to_header(),
            bounds: plan.bounds,
        };
        self.record_with(id, intended, SessionSecrets::default())
            .await?;
        let deposit = self.offer.terms.currency.units(plan.deposit);
        let prepared = self.offer.payer.prepare_open(OpenRequest {
            challenge: &self.offer.challenge,
            deposit: &deposit,
            scheme: plan.scheme,
            call: id.call_key(),
            entropy: Zeroizing::new(self.client.env().random()),
            now,
        });
        let prepared = prepared.await;
        let signer = prepared.and_then(|prepared| {
            let signer = self.offer.payer.signer(&prepared.record);
            let signer = signer.map_err(PayError::Unpayable)?;
            Ok((prepared, signer))
        });
        let (prepared, signer) = match signer {
            Ok(both) => both,
            Err(source) => {
                let note = note_text(&source.to_string());
                let error = self.failed(SessionFailure::Pay(source));
                let _ = self.record(SessionStep::Abandoned { note }).await;
                return Err(error);
            }
        };
        let opening = SessionStep::Opening {
            channel: self.offer.payer.channel_text(&prepared.channel),
            deposit: plan.deposit,
            grain: signer.granularity(),
            most: Some(signer.most()).filter(|most| *most < u128::MAX),
        };
        let secrets = SessionSecrets {
            record: Some(ChannelRecord(prepared.record)),
            movement: Some(prepared.artefact),
        };
        self.record_with(id, opening, secrets).await?;
        self.signatures = self.signatures.saturating_add(1);
        self.lease.signer = Some(Signing::new(signer));
        Ok(())
    }

    /// Opens the channel by a request of its own, where an opening brings no voucher.
    async fn open_beforehand(&mut self) -> Result<(), CallError> {
        let movement = self.movement().await?;
        let proof = self.offer.payer.clone();
        let proof = proof.fund(&movement, None).await;
        let proof = proof.map_err(|source| self.failed(SessionFailure::Pay(source)))?;
        self.sent = true;
        let credential = self.credential(proof);
        let answer = self.ask_aside(&credential).await;
        match answer {
            Ok(told) if told.head.status().is_success() => self.confirm_opening(true).await,
            _ => match self.settle_opening().await? {
                Some(_) => Ok(()),
                None => Err(self.failed(SessionFailure::NotOpen)),
            },
        }
    }

    /// Asks memory and policy about a deposit.
    async fn permitted(&self, units: u128) -> Result<(), CallError> {
        let params = &self.offer.challenge.params;
        let own_host =
            self.outgoing.origin.claim(&params.realm) == crate::origin::RealmClaim::ThisHost;
        let claim = Claim {
            realm: (!own_host).then(|| params.realm.to_string()),
            method: params.method.to_string(),
            network: self.offer.view.network.clone(),
            payee: self.offer.view.payee.clone(),
        };
        let origin: &Origin = &self.outgoing.origin;
        let pins = &self.client.parts().pins;
        let failed = |source| CallError::Pins {
            origin: origin.clone(),
            source,
        };
        let trust = pins.compare(origin, &claim).await.map_err(failed)?;
        let amount = self.offer.terms.currency.units(units);
        let url = self.outgoing.uri.to_string();
        let view = PaymentView {
            call: self.id,
            amount: &amount,
            payee: Untrusted(&self.offer.view.payee),
            network: Untrusted(&self.offer.view.network),
            method: &params.method,
            intent: &params.intent,
            realm: &params.realm,
            origin,
            http_method: self.outgoing.method.as_str(),
            url: &url,
            expires: self.offer.view.expires,
            description: params.description.as_deref().map(Untrusted),
            trust: &trust,
            signature: 1,
            now: self.client.now(),
        };
        let decision = self.client.parts().policy.decide(&view).await;
        let why = match (decision, &trust) {
            (Decision::Refuse(reason), _) => reason,
            (Decision::Allow, Trust::Changed(changes)) => {
                crate::error::Unusable::Changed(changes.clone()).to_string()
            }
            (Decision::Allow | Decision::AllowChange, _) => {
                return pins.learn(origin, &claim).await.map_err(failed);
            }
        };
        Err(self.failed(SessionFailure::Declined(why)))
    }

    /// Adds to the deposit, so that a voucher of `needed` fits.
    pub(super) async fn top_up(&mut self, needed: u128) -> Result<(), CallError> {
        let session = self.session()?;
        let (bounds, deposit) = (session.bounds, session.deposit);
        let limits = &self.sessions.parts.limits;
        let Some(add) = limits.top_up(&bounds, deposit, needed) else {
            let over = crate::session::OverLimit::Session {
                asked: session.amount(needed),
                limit: session.amount(bounds.cap),
            };
            return Err(self.failed(SessionFailure::OverLimit(over)));
        };
        if session.asked > 0 {
            self.settle_top_up().await?;
            return Box::pin(self.top_up_again(needed)).await;
        }
        self.permitted(add).await?;
        let offer = self.fresh_offer().await?;
        let record = self.channel_record().await?;
        let amount = self.offer.terms.currency.units(add);
        let artefact = self.offer.payer.prepare_top_up(TopUpRequest {
            challenge: &offer.challenge,
            record: &record.0,
            add: &amount,
            call: CallKey::from_bytes(self.client.env().random()),
            now: self.client.now(),
        });
        let artefact = artefact.await;
        let artefact = artefact.map_err(|source| self.failed(SessionFailure::Pay(source)))?;
        let id = self.session()?.id;
        let secrets = SessionSecrets::movement(artefact.clone());
        self.record_with(id, SessionStep::ToppingUp { add }, secrets)
            .await?;
        let proof = self.offer.payer.fund(&artefact, None).await;
        let proof = proof.map_err(|source| self.failed(SessionFailure::Pay(source)))?;
        self.sent = true;
        let credential = pay::credential_of(&offer.challenge, proof);
        match self.ask_aside(&credential).await {
            Ok(told) if told.head.status().is_success() => self.record(SessionStep::ToppedUp).await,
            Ok(told) => {
                let refusal = words(told.head.status(), &told.body).0;
                match self.settle_top_up().await? {
                    true => Ok(()),
                    false => Err(self.failed(SessionFailure::Refused(refusal))),
                }
            }
            Err(last) => match self.settle_top_up().await? {
                true => Ok(()),
                false => Err(self.failed(SessionFailure::Unknown(last))),
            },
        }
    }

    async fn top_up_again(&mut self, needed: u128) -> Result<(), CallError> {
        let session = self.session()?;
        if session.asked > 0 {
            let last = LastSeen::TimedOut;
            return Err(self.failed(SessionFailure::Unknown(last)));
        }
        if needed <= session.deposit {
            return Ok(());
        }
        Box::pin(self.top_up(needed)).await
    }

    /// Asks the rail what became of a top-up. True when it was done.
    pub(super) async fn settle_top_up(&mut self) -> Result<bool, CallError> {
        let movement = self.movement().await?;
        let told = self.offer.payer.lookup(&movement).await;
        match told {
            Ok(ChannelLookup::Done(_)) => {
                self.record(SessionStep::ToppedUp).await?;
                Ok(true)
            }
            Ok(ChannelLookup::Never(refusal)) => {
                let note = note_text(&refusal.detail);
                self.record(SessionStep::TopUpVoid { note }).await?;
                Ok(false)
            }
            Ok(ChannelLookup::Pending) | Err(_) => Ok(false),
        }
    }

    /// A challenge for a top-up alone: each pays for one opening or top-up.
    async fn fresh_offer(&self) -> Result<SessionOffer, CallError> {
        let sending = self.side.ask(aside(&self.outgoing, None));
        let limit = self.client.parts().options.reply_timeout;
        let (status, headers) = match self.client.within(limit, sending).await {
            Some(Ok((status, headers, _))) => (status, headers),
            Some(Err(source)) => {
                let last = LastSeen::NoResponse(source);
                return Err(self.failed(SessionFailure::Unknown(last)));
            }
            None => return Err(self.failed(SessionFailure::Unknown(LastSeen::TimedOut))),
        };
        let head = Head::new(status, &headers, self.client.now());
        // It is asked for without a body.
        let mut bare = self.outgoing.clone();
        bare.body = Bytes::new();
        let (offers, _, _) = self
            .client
            .session_offers(&self.sessions, &bare, head.challenges());
        let mut offers = offers.into_iter();
        let same = offers.find(|offer| offer.terms == self.offer.terms);
        same.ok_or_else(|| {
            let refusal = Refused::new(status.as_u16(), None);
            self.failed(SessionFailure::Refused(refusal))
        })
    }

    /// Sends a credential beside the caller's request, and again while nothing settles it.
    pub(super) async fn ask_aside(
        &self,
        credential: &HeaderValue,
    ) -> Result<AsideAnswer, LastSeen> {
        ask_aside(&self.client, &self.outgoing, &self.side, credential).await
    }

    /// Sends a voucher beside the caller's request.
    pub(super) async fn send_aside(&mut self, voucher: &Voucher) -> Result<(), CallError> {
        let proof = self.spend(voucher)?;
        let credential = self.credential(proof);
        match self.ask_aside(&credential).await {
            Ok(answer) if answer.head.status().is_success() => Ok(()),
            Ok(answer) => {
                let refusal = words(answer.head.status(), &answer.body).0;
                Err(self.failed(SessionFailure::Refused(refusal)))
            }
            Err(last) => Err(self.failed(SessionFailure::Unknown(last))),
        }
    }

    /// The payee answered. A receipt for the channel confirms its opening; without one the rail is
    /// asked, and while it cannot tell, the opening stays in doubt.
    pub(super) async fn confirm_opening(&mut self, receipted: bool) -> Result<(), CallError> {
        match (self.state(), receipted) {
            (Some(SessionState::Opening), true) => self.record(SessionStep::Opened).await,
            (Some(SessionState::Opening), false) => match self.settle_opening().await {
                Err(CallError::Session { failure, .. })
                    if matches!(*failure, SessionFailure::Journal(_)) =>
                {
                    Err(self.failed(*failure))
                }
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// Asks the rail what became of an opening. `None` when there is no channel.
    pub(super) async fn settle_opening(&mut self) -> Result<Option<()>, CallError> {
        let movement = self.movement().await?;
        let told = self.offer.payer.lookup(&movement).await;
        match told {
            Ok(ChannelLookup::Done(_)) => {
                self.record(SessionStep::Opened).await?;
                Ok(Some(()))
            }
            Ok(ChannelLookup::Never(refusal)) => {
                let note = note_text(&refusal.detail);
                self.record(SessionStep::Void { note }).await?;
                Ok(None)
            }
            Ok(ChannelLookup::Pending) => Err(self.failed(SessionFailure::Unknown(
                LastSeen::Answer(Refused::new(402, None)),
            ))),
            Err(source) => Err(self.failed(SessionFailure::Rail(source))),
        }
    }

    /// The payee says that it knows no such open channel: the rail is asked, and the channel is
    /// used no more. What remains in it comes back by `stiver sessions recover`.
    pub(super) async fn gone(&mut self, refusal: &Refused) -> Result<(), CallError> {
        let _ = self.release(refusal.clone()).await;
        if self.state() == Some(SessionState::Opening) {
            let error = self.failed(SessionFailure::Refused(refusal.clone()));
            return match self.settle_opening().await? {
                Some(()) => Err(error),
                None => Ok(()),
            };
        }
        let record = self.channel_record().await?;
        let state = self.offer.payer.state(&record.0).await;
        let state = state.map_err(|source| self.failed(SessionFailure::Rail(source)))?;
        let step = ended(state.as_ref(), self.session()?).unwrap_or_else(|| {
            let note = note_text(&format!("the payee does not serve it: {refusal}"));
            SessionStep::Noted { note }
        });
        self.record(step).await?;
        self.lease.session = None;
        self.lease.signer = None;
        Ok(())
    }

    /// The payee charged nothing: what was agreed is given back.
    pub(super) async fn release(&mut self, refusal: Refused) -> CallError {
        let in_flight = |session: &Session| session.in_flight.contains_key(&self.id);
        if self.lease.session.as_ref().is_some_and(in_flight) {
            let step = SessionStep::Released {
                request: self.id,
                note: note_text(&refusal.to_string()),
            };
            if let Err(error) = self.record(step).await {
                return error;
            }
        }
        self.failed(SessionFailure::Refused(refusal))
    }

    /// The request is answered and charged. Gives the price where it was not known before.
    pub(super) async fn answered(
        &mut self,
        told: Option<Told>,
        metered: bool,
        note: Option<String>,
    ) -> Result<Option<u128>, CallError> {
        let session = self.session()?;
        let own = session.in_flight.get(&self.id).copied().unwrap_or(0);
        let others = session.agreed.saturating_sub(own);
        let charged = told.filter(|_| metered);
        let charged = charged.map(|told| told.spent.saturating_sub(others));
        // Where the most that it can cost was known before, it is no more than that.
        let charged = match request_cost(&self.offer.view.prices) {
            Some(_) => charged.map(|charged| charged.min(own)),
            None => charged,
        };
        self.answered_by(told, charged, note).await?;
        Ok(charged)
    }

    /// The request is answered, and has cost so much; what was agreed for it when that is `None`.
    pub(super) async fn answered_by(
        &mut self,
        told: Option<Told>,
        charged: Option<u128>,
        note: Option<String>,
    ) -> Result<(), CallError> {
        let step = SessionStep::Answered {
            request: self.id,
            told,
            charged,
            note,
        };
        self.record(step).await
    }
}

/// A request of ours beside the caller's: HEAD to the same URL, without its body and its
/// `Idempotency-Key`.
fn aside(outgoing: &Outgoing, credential: Option<&HeaderValue>) -> Request<Bytes> {
    let mut request = outgoing.request(credential);
    *request.method_mut() = Method::HEAD;
    *request.body_mut() = Bytes::new();
    for name in [
        header::CONTENT_TYPE,
        header::CONTENT_LENGTH,
        header::CONTENT_ENCODING,
        header::HeaderName::from_static("idempotency-key"),
    ] {
        request.headers_mut().remove(name);
    }
    request
}

/// Sends a credential beside a request, and again while nothing settles it.
pub(super) async fn ask_aside(
    client: &PaymentClient,
    outgoing: &Outgoing,
    side: &Arc<dyn Side>,
    credential: &HeaderValue,
) -> Result<AsideAnswer, LastSeen> {
    let options = &client.parts().options;
    let mut call = Call::with_sends(options.sends_max);
    loop {
        call.sent();
        let sending = side.ask(aside(outgoing, Some(credential)));
        let (head, last) = match client.within(options.reply_timeout, sending).await {
            None => (None, LastSeen::TimedOut),
            Some(Err(source)) => (None, LastSeen::NoResponse(source)),
            Some(Ok((status, headers, body))) => {
                let head = Head::new(status, &headers, client.now());
                let (refusal, problem) = words(status, &body);
                match crate::call::meaning(status, problem.as_ref()) {
                    Meaning::Again => (Some(head), LastSeen::Answer(refusal)),
                    _ => return Ok(AsideAnswer { head, body }),
                }
            }
        };
        match call.replay(head.as_ref()) {
            Replay::After(wait) => client.wait(wait).await,
            Replay::TooLong(_) | Replay::Exhausted => return Err(last),
        }
    }
}

/// How a channel that the rail says has ended is written down.
pub(super) fn ended(
    state: Option<&stiver_method::session::ChannelState>,
    session: &Session,
) -> Option<SessionStep> {
    let state = state?;
    let captured = Some(state.settled);
    match state.ended? {
        Ended::Withdrawn => Some(SessionStep::Withdrawn { captured }),
        Ended::Closed => {
            let beyond = state.settled > session.agreed;
            let note = beyond.then(|| {
                let (took, agreed) = (
                    session.amount(state.settled),
                    session.amount(session.agreed),
                );
                format!("the payee took {took}; by this wallet's record {agreed} was agreed")
            });
            Some(SessionStep::Closed { captured, note })
        }
    }
}
