//! Credentials of the intent `session`.
//!
//! The order of checks is the gate's own. What differs: a voucher is good for as long as its
//! channel, so its challenge may have expired and may be answered again and again; an open or a
//! top-up is claimed as a payment is, and its claim ends once the channel is funded.

pub(crate) mod busy;
pub(crate) mod close;
mod fund;
pub(crate) mod grant;
mod keyed;
pub(crate) mod metered;
mod receipt;
mod refusal;
pub(crate) mod schedule;
#[cfg(feature = "websocket")]
pub(crate) mod socket;

use std::{future::Future, sync::Arc};

use stiver_channel::{ChannelId, Refusal, Rules, Voucher};
use stiver_core::{
    Credential, Timestamp, base64url, credential::token_hash, json::Value, name::MethodName,
    opaque::Opaque,
};
use stiver_method::{
    payee::Presented,
    session::{PayeeSession, SessionAction},
};
use stiver_store::{ChannelReply, ChannelSeen, SpendKey, Take, Taken};

use self::{
    busy::{Busy, NotPresented},
    grant::Bought,
    keyed::{Key, Running},
};
use super::{
    Gate,
    admit::{Asked, Fields},
    check::{echoed_inputs, same_inputs},
};
use crate::{
    error::GateError,
    hash,
    outcome::{Outcome, Paid},
    record::{ChannelDetails, RecordError},
    request::{BodyState, Request},
    route::Route,
    session::{Acknowledged, Charging, SessionFailure, SessionGrant, SessionOffer, Sessions},
};

pub use refusal::SessionRefused;

impl Gate {
    /// What is needed for sessions.
    pub(super) fn sessions(&self) -> Result<&Sessions, GateError> {
        self.inner
            .sessions
            .as_ref()
            .ok_or(GateError::IntentNotOffered)
    }

    /// The session method of this name.
    pub(super) fn session_method(&self, name: &str) -> Result<Arc<dyn PayeeSession>, GateError> {
        let mut methods = self.sessions()?.methods.iter();
        let found = methods.find(|method| method.name().as_str() == name);
        found
            .cloned()
            .ok_or_else(|| GateError::Record(RecordError::UnknownMethod(name.to_owned())))
    }

    /// The session method of a challenge.
    fn offered(&self, name: &MethodName) -> Result<Arc<dyn PayeeSession>, GateError> {
        let mut methods = self.sessions()?.methods.iter();
        let method = methods.find(|it| it.name() == name);
        Ok(Arc::clone(method.ok_or(GateError::MethodNotOffered)?))
    }

    /// Decides what becomes of a credential whose challenge asks for a session and is bound.
    pub(super) async fn consider_session(
        &self,
        request: &Request<'_>,
        fields: Fields<'_>,
        now: Timestamp,
        route: impl Future<Output = Result<Arc<Route>, Outcome>>,
    ) -> Result<Outcome, GateError> {
        let credential = &fields.credential;
        let params = &credential.challenge.params;
        let method = self.offered(&params.method)?;
        let opaque = params.opaque.as_ref().ok_or(GateError::Foreign)?;
        let opaque = Opaque::decode(opaque).map_err(|_| GateError::Foreign)?;
        let action = method.decode(Presented {
            challenge: &credential.challenge,
            payload: &credential.payload,
            source: credential.source.as_deref(),
            now,
        });
        let action = action.map_err(GateError::Refused)?;
        let only_updates = only_updates(request, &opaque);
        match action {
            SessionAction::Close { channel, voucher } => {
                return self.close_asked(credential, channel, voucher).await;
            }
            SessionAction::TopUp(top_up) => {
                let asked = self.asked(request, &fields);
                let channel = top_up.channel;
                self.top_up(&asked, credential, &method, *top_up, now)
                    .await?;
                let busy = self.busy(&channel)?;
                busy.changed.notify_waiters();
                return self.acknowledge(&busy, credential, 204, true).await;
            }
            SessionAction::Spend(voucher) if only_updates => {
                let busy = self.busy(&voucher.channel)?;
                return self.update(&busy, credential, voucher).await;
            }
            SessionAction::Spend(_) | SessionAction::Open(_) => {}
        }
        let route = match route.await {
            Ok(route) => route,
            Err(outcome) => return Ok(outcome),
        };
        let offer = offer(&route, credential, &opaque)?;
        // The voucher of an opening is accepted with it, and new all the same.
        let (voucher, channel, opened) = match action {
            SessionAction::Open(opening) => {
                let asked = self.asked(request, &fields);
                let (channel, voucher) = (opening.channel, opening.voucher.clone());
                let opened = self.open(&asked, credential, offer, *opening, now).await?;
                (voucher, channel, opened)
            }
            SessionAction::Spend(voucher) => {
                let channel = voucher.channel;
                (Some(voucher), channel, false)
            }
            SessionAction::TopUp(_) | SessionAction::Close { .. } => {
                return Err(GateError::JournalOutOfStep);
            }
        };
        let busy = self.busy(&channel)?;
        if !fits(&busy, offer) {
            return Err(GateError::OtherTerms);
        }
        match voucher {
            #[cfg(feature = "websocket")]
            Some(voucher) if request.body == BodyState::Frames => {
                self.attach(&busy, credential, offer, voucher).await
            }
            Some(voucher) if !only_updates => {
                let key = Key::of(request, &fields, &busy, &route);
                let voucher = (voucher, opened);
                self.serve(&busy, credential, offer, voucher, key).await
            }
            _ => self.acknowledge(&busy, credential, 204, true).await,
        }
    }

    fn asked(&self, request: &Request<'_>, fields: &Fields<'_>) -> Asked {
        let inputs = echoed_inputs(&fields.credential);
        Asked {
            credential_hash: token_hash(fields.token),
            request_hash: request.hash(inputs.as_deref()),
            others_hash: request.others_hash(),
            key: None,
        }
    }

    /// A channel, with its keys set up.
    pub(super) fn busy(&self, id: &ChannelId) -> Result<Arc<Busy>, GateError> {
        let sessions = self.sessions()?;
        if let Some(busy) = sessions.busy.get(id) {
            return Ok(busy);
        }
        let seen = sessions.store.channels().read(id);
        let seen = seen.ok_or_else(|| SessionRefused::not_found(None))?;
        self.set_up(id, &seen)
    }

    /// Sets up the keys of a channel.
    pub(super) fn set_up(
        &self,
        id: &ChannelId,
        seen: &ChannelSeen,
    ) -> Result<Arc<Busy>, GateError> {
        let details = ChannelDetails::decode(&seen.details).map_err(GateError::Record)?;
        let method = self.session_method(&details.method)?;
        let channel = method.channel(*id, &details.terms);
        let channel = channel.map_err(|refusal| {
            tracing::error!(%refusal, "the terms of a channel do not decode");
            GateError::Record(RecordError::Malformed("channel terms"))
        })?;
        let rules = Rules {
            caps: *method.caps(),
            voucher_delta_min: details.voucher_delta_min,
        };
        let busy = Busy::new(*id, method, channel, rules);
        Ok(self.sessions()?.busy.keep(Arc::new(busy)))
    }

    /// Verifies a voucher and submits it, within the channel's rate.
    async fn present(
        &self,
        busy: &Arc<Busy>,
        voucher: Voucher,
        take: Take,
        key: Option<Key>,
    ) -> Result<ChannelReply, GateError> {
        let sessions = self.sessions()?;
        let presented = busy
            .present(self, &sessions.store, (voucher, take, key))
            .await;
        let reply = presented.map_err(|error| match error {
            NotPresented::Proof(error) => SessionRefused::voucher(busy, error),
            NotPresented::Rate => GateError::VoucherRate,
        })?;
        // Not asked again: what it takes may be taken.
        match reply.map_err(GateError::JournalLost)? {
            ChannelReply::Refused { refusal, channel } => {
                Err(SessionRefused::known(busy, &refusal, &channel))
            }
            ChannelReply::TooLarge { part, limit } => Err(GateError::TooLarge { part, limit }),
            ChannelReply::Absent => {
                sessions.busy.forget(&busy.id);
                Err(SessionRefused::not_found(Some(&busy.text)))
            }
            reply => Ok(reply),
        }
    }

    /// A voucher that comes without a request.
    async fn update(
        &self,
        busy: &Arc<Busy>,
        credential: &Credential,
        voucher: Voucher,
    ) -> Result<Outcome, GateError> {
        match self.present(busy, voucher, Take::Nothing, None).await? {
            ChannelReply::Presented(it) => {
                let status = if it.raised { 204 } else { 200 };
                self.acknowledged(busy, credential, &it.channel, status, false)
                    .await
            }
            _ => Err(GateError::JournalOutOfStep),
        }
    }

    /// Takes what a request costs, and lets it be served.
    async fn serve(
        &self,
        busy: &Arc<Busy>,
        credential: &Credential,
        offer: &SessionOffer,
        (voucher, opened): (Voucher, bool),
        key: Option<Key>,
    ) -> Result<Outcome, GateError> {
        let cumulative = voucher.cumulative;
        let (cost, take, metered) = taking(offer)?;
        // What is delivered by the meter is not delivered again.
        let key = key.map(|key| match metered {
            true => Key { reruns: 0, ..key },
            false => key,
        });
        let running = match key.map(|key| Running::begin(busy, key)).transpose() {
            Ok(running) => running,
            // Its voucher stands, when it is a new one.
            Err(error) => {
                return match self.present(busy, voucher, Take::Nothing, None).await {
                    Err(refused) if !refused.is_overtaken() => Err(refused),
                    _ => Err(error),
                };
            }
        };
        let ChannelReply::Presented(it) = self.present(busy, voucher, take, key).await? else {
            return Err(GateError::JournalOutOfStep);
        };
        let held = match (&it.taken, take) {
            (Taken::Done, Take::Reserve(amount)) => Some(amount),
            _ => None,
        };
        match it.taken {
            Taken::Done | Taken::Again => {
                let spend = key.map(|it| it.spend);
                let paid = paid(busy, credential, (cost, cumulative, spend));
                let again = it.taken == Taken::Again;
                let bought = Bought {
                    held,
                    running,
                    again,
                    channel: it.channel,
                };
                let grant = SessionGrant::new(self.clone(), Arc::clone(busy), paid, bought);
                let grant = match &offer.charging {
                    Charging::Metered(metered) => grant.by_meters(metered.clone()),
                    Charging::PerRequest(price) if price.per() > 1 => {
                        let keeps = offer.on_failure == SessionFailure::Keep;
                        grant.by_fraction(*price, keeps)
                    }
                    Charging::PerRequest(_) => grant,
                };
                Ok(Outcome::Session(Box::new(grant)))
            }
            Taken::Nothing => Err(GateError::JournalOutOfStep),
            Taken::Kept(kept) => self.answered_before(busy, &kept).await,
            Taken::Before => Err(SessionRefused::charged(busy, &it.channel, metered)),
            // The state, and nothing else: it buys nothing.
            Taken::Refused(Refusal::Insufficient { .. } | Refusal::Published { .. })
                if !it.raised && !opened =>
            {
                self.acknowledged(busy, credential, &it.channel, 200, false)
                    .await
            }
            Taken::Refused(refusal) => Err(SessionRefused::known(busy, &refusal, &it.channel)),
            Taken::InProgress => Err(GateError::InProgress),
            Taken::OtherRequest => Err(GateError::IdempotencyConflict),
            Taken::TooManyKeys { wait_ms } => Err(GateError::TooManyKeys { wait_ms }),
        }
    }

    /// The channel as it stands, in place of a resource.
    async fn acknowledge(
        &self,
        busy: &Busy,
        credential: &Credential,
        status: u16,
        sealed: bool,
    ) -> Result<Outcome, GateError> {
        let channel = self.sessions()?.store.channels().channel(&busy.id);
        let channel = channel.ok_or_else(|| SessionRefused::not_found(Some(&busy.text)))?;
        self.acknowledged(busy, credential, &channel, status, sealed)
            .await
    }

    async fn acknowledged(
        &self,
        busy: &Busy,
        credential: &Credential,
        channel: &stiver_channel::Channel,
        status: u16,
        sealed: bool,
    ) -> Result<Outcome, GateError> {
        let id = credential.challenge.id.as_str();
        let receipt = receipt::Session {
            busy,
            challenge_id: id,
            figures: channel.figures(),
            units: Some(receipt::count(0)),
            carried: &self.sessions()?.store.channels().carried(&busy.id),
            at: self.now(),
            more: &[(receipt::DELIVERED.to_owned(), Value::Bool(false))],
        };
        let receipt = receipt.print(sealed).await;
        Ok(Outcome::Acknowledge(Acknowledged { status, receipt }))
    }
}

/// What a request of an offer takes before it is served, and whether more is counted then.
fn taking(offer: &SessionOffer) -> Result<(u128, Take, bool), GateError> {
    let price = match &offer.charging {
        Charging::Metered(it) => return Ok((it.window, Take::Reserve(it.window), true)),
        Charging::PerRequest(price) => price,
    };
    // The most that one can cost, whatever is carried.
    let cost = price.most(1).map_err(|_| GateError::Misconfigured)?;
    let take = match offer.on_failure == SessionFailure::Keep && price.per() == 1 {
        true => Take::Spend(cost),
        false => Take::Reserve(cost),
    };
    Ok((cost, take, false))
}

/// True for a request that brings a voucher and asks for nothing: `HEAD`, or a `POST` without a
/// body to answer a challenge of another HTTP method.
fn only_updates(request: &Request<'_>, opaque: &Opaque) -> bool {
    let empty_post = request.method == "POST" && request.body == BodyState::None;
    request.method == "HEAD" || (empty_post && !opaque.scope.starts_with("POST "))
}

/// The offer of a route that a challenge was made for: its prices and parties are those of now.
fn offer<'r>(
    route: &'r Route,
    credential: &Credential,
    opaque: &Opaque,
) -> Result<&'r SessionOffer, GateError> {
    let params = &credential.challenge.params;
    let inputs = opaque.extra.get(super::challenge::PRICED_INPUTS);
    same_inputs(route, inputs.map(String::as_str))?;
    let offers = || route.sessions().filter(|it| *it.method() == params.method);
    let as_quoted = |it: &&SessionOffer| {
        let quoted = it.quoted.get();
        quoted.is_some_and(|quoted| quoted.wire() == params.request.wire())
    };
    if let Some(offer) = offers().find(as_quoted) {
        return Ok(offer);
    }
    let first = offers().next().ok_or(GateError::MethodNotOffered)?;
    let terms = first.method.terms(params.request.object());
    let terms = terms.map_err(GateError::Refused)?;
    let mut same = offers().filter(|it| *it.terms == terms);
    same.next().ok_or(GateError::OtherTerms)
}

/// Whether what a channel holds can pay by an offer: its figures are of one currency only.
fn fits(busy: &Busy, offer: &SessionOffer) -> bool {
    let currency = &busy.channel.currency;
    let mut prices = offer.prices.iter();
    busy.method.name() == offer.method()
        && busy.channel.payee == offer.terms.payee
        && busy.channel.rest == offer.terms.rest
        && prices.all(|price| price.amount.currency() == currency)
}

/// What a handler may know of a request's payment.
fn paid(
    busy: &Busy,
    credential: &Credential,
    (cost, cumulative, key): (u128, u128, Option<SpendKey>),
) -> Paid {
    let id = credential.challenge.id.as_str();
    // One that comes again under its key is the same to the upstream.
    let request = key.map_or([0; 32], |it| it.key);
    let cumulative = match key {
        Some(_) => 0,
        None => cumulative,
    };
    let parts: [&[u8]; 3] = [&busy.id.0, &cumulative.to_be_bytes(), &request];
    let key = hash::of("stiver upstream key", &parts);
    let (key, _) = key.split_at(16);
    Paid {
        challenge_id: id.into(),
        method: busy.method.name().clone(),
        reference: Some(busy.text.clone()),
        amount: busy.channel.currency.units(cost),
        payer: busy.channel.payer.clone(),
        source: credential.source.clone(),
        payee: busy.channel.payee.clone(),
        upstream_key: base64url::encode(key),
    }
}
