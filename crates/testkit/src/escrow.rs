//! A session method over an escrow that loses answers by script, and counts what really moved.
//!
//! [`Escrow`] is the rail and the payee's side of the method `escrow`; an [`EscrowPayer`] opens one
//! channel and signs its vouchers with a real Ed25519 key. Clones are the same rail, so it outlives
//! a server that a test stops and starts again.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use stiver_channel::{
    Caps, ChannelId, Voucher, VoucherError,
    voucher::ed25519::{Ed25519, Key, Signed},
};
use stiver_core::{
    Amount, Challenge, Credential, Currency, Timestamp, amount::parse_base_units, base64url,
    digest::BodyDigest, json::Object, name::MethodName,
};
use stiver_method::{
    BoxFuture,
    artefact::{Artefact, ExecuteError, RailUnavailable, Refusal, RefusalKind},
    key::Ed25519Key,
    payee::{Presented, QuoteError},
    session::{
        ChannelLookup, ChannelMoved, ChannelState, Ended, Opening, PayeeChannel, PayeeSession,
        SessionAction, SessionQuote, SessionTerms, SettleError, SettleRequest, TopUp, UnitPrice,
    },
    signer::Signer as _,
};
use zeroize::Zeroizing;

use crate::rail::REPLAYABLE_MS;

/// What the escrow does with one execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Does {
    /// As asked, and it says so.
    Works,
    /// As asked, and the answer is lost.
    LosesAnswer,
    /// Nothing: the question is lost.
    LosesQuestion,
    /// Refuses, for good.
    Refuses,
}

/// The rail. See the [module](self).
#[derive(Clone)]
pub struct Escrow {
    name: MethodName,
    payee: Arc<str>,
    currency: Currency,
    caps: Caps,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    channels: BTreeMap<ChannelId, ChannelState>,
    done: BTreeMap<Vec<u8>, ChannelMoved>,
    refused: BTreeMap<Vec<u8>, Refusal>,
    script: VecDeque<Does>,
    leaving: BTreeMap<ChannelId, ChannelState>,
    executions: usize,
}

/// `request`
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    currency: String,
    prices: Vec<(String, u64, String)>,
    recipient: String,
}

/// `payload`
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Payload {
    action: String,
    amount: Option<String>,
    channel_id: String,
    cumulative_amount: Option<String>,
    key: Option<String>,
    nonce: Option<String>,
    signature: Option<String>,
}

/// What an artefact's bytes say.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Move {
    action: String,
    amount: String,
    channel: String,
    key: String,
}

/// A channel's terms, as the server keeps them.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Terms {
    currency: String,
    decimals: u8,
    key: String,
    payee: String,
}

/// The form of a voucher: a tag, the channel, and the amount.
struct Form;

impl Signed for Form {
    fn signed(&self, voucher: &Voucher) -> Result<(Vec<u8>, [u8; 64]), VoucherError> {
        let signature = voucher.proof.as_ref().try_into();
        let signature = signature.map_err(|_| VoucherError::MalformedProof)?;
        Ok((message(voucher.channel, voucher.cumulative), signature))
    }
}

fn message(channel: ChannelId, cumulative: u128) -> Vec<u8> {
    [b"escrow voucher", &channel.0[..], &cumulative.to_be_bytes()].concat()
}

fn invalid(what: &str) -> Refusal {
    Refusal {
        kind: RefusalKind::Invalid,
        detail: format!("{what} is wrong"),
    }
}

fn units(text: &str) -> Result<u128, Refusal> {
    parse_base_units(text, 128).map_err(|_| invalid("an amount"))
}

fn bytes32(text: &str) -> Result<[u8; 32], Refusal> {
    let bytes = base64url::decode(text.as_bytes()).map_err(|_| invalid("the base64url"))?;
    bytes.try_into().map_err(|_| invalid("the length"))
}

fn channel_of(key: &str, nonce: &str) -> ChannelId {
    ChannelId(*BodyDigest::of(format!("{key} {nonce}").as_bytes()).as_bytes())
}

fn object<T: Serialize>(value: &T) -> Object {
    Object::serialize(value).expect("a struct of strings is a JSON object")
}

impl Escrow {
    /// A rail that pays `payee`.
    pub fn new(payee: &str, currency: Currency) -> Self {
        Self {
            name: MethodName::new("escrow").expect("the name is lower case"),
            payee: payee.into(),
            currency,
            caps: Caps::LEDGER,
            inner: Arc::default(),
        }
    }

    /// The same rail with channels of another kind.
    #[must_use]
    pub fn with_caps(mut self, caps: Caps) -> Self {
        self.caps = caps;
        self
    }

    /// The same rail with prices in another currency.
    #[must_use]
    pub fn priced_in(mut self, currency: Currency) -> Self {
        self.currency = currency;
        self
    }

    /// A payer has gone to the rail past every server: the channel is so already.
    pub fn is_already(&self, id: ChannelId, state: ChannelState) {
        self.lock().channels.insert(id, state);
    }

    /// Right after the next movement of the channel it is so.
    pub fn leaves_after_next(&self, id: ChannelId, state: ChannelState) {
        self.lock().leaving.insert(id, state);
    }

    /// What befalls the coming executions.
    pub fn script(&self, steps: impl IntoIterator<Item = Does>) {
        self.lock().script.extend(steps);
    }

    /// A channel as it really is.
    pub fn truth(&self, id: &ChannelId) -> Option<ChannelState> {
        self.lock().channels.get(id).cloned()
    }

    /// How many channels there are.
    pub fn channels(&self) -> usize {
        self.lock().channels.len()
    }

    /// How often something was executed.
    pub fn executions(&self) -> usize {
        self.lock().executions
    }

    /// The payer asks for a forced close.
    pub fn force_close(&self, id: &ChannelId, withdrawable_at: Timestamp) {
        if let Some(state) = self.lock().channels.get_mut(id) {
            state.withdrawable_at = Some(withdrawable_at);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn artefact(action: &str, channel: ChannelId, amount: u128, key: String) -> Artefact {
        let it = Move {
            action: action.to_owned(),
            amount: amount.to_string(),
            channel: base64url::encode(&channel.0),
            key: key.clone(),
        };
        Artefact {
            rail_key: key.into_bytes(),
            bytes: Zeroizing::new(object(&it).as_str().as_bytes().to_vec()),
        }
    }

    fn apply(inner: &mut Inner, it: &Move) -> Result<ChannelState, Refusal> {
        let channel = ChannelId(bytes32(&it.channel)?);
        let amount = units(&it.amount)?;
        if it.action == "open" {
            let state = ChannelState {
                deposit: amount,
                settled: 0,
                withdrawable_at: None,
                ended: None,
            };
            let state = inner.channels.entry(channel).or_insert(state);
            return Ok(state.clone());
        }
        let state = inner.channels.get_mut(&channel);
        let state = state.ok_or_else(|| invalid("the channel"))?;
        if state.ended.is_some() {
            return Err(invalid("the channel, which has ended,"));
        }
        match it.action.as_str() {
            "topUp" => {
                let deposit = state.deposit.checked_add(amount);
                state.deposit = deposit.ok_or_else(|| invalid("the sum"))?;
                state.withdrawable_at = None;
            }
            "settle" | "close" if amount <= state.deposit && amount >= state.settled => {
                state.settled = amount;
                if it.action == "close" {
                    state.ended = Some(Ended::Closed);
                }
            }
            _ => return Err(invalid("the capture")),
        }
        Ok(state.clone())
    }

    fn run(&self, artefact: &Artefact) -> Result<ChannelMoved, ExecuteError> {
        let read = Object::parse(&artefact.bytes).map_err(|_| invalid("the artefact"));
        let it: Result<Move, Refusal> =
            read.and_then(|it| it.deserialize().map_err(|_| invalid("the artefact")));
        let it = it.map_err(ExecuteError::Refused)?;
        let mut inner = self.lock();
        inner.executions += 1;
        let does = inner.script.pop_front().unwrap_or(Does::Works);
        let key = &artefact.rail_key;
        if let Some(moved) = inner.done.get(key) {
            return Ok(moved.clone());
        }
        if let Some(refusal) = inner.refused.get(key) {
            return Err(ExecuteError::Refused(refusal.clone()));
        }
        if does == Does::LosesQuestion {
            return Err(ExecuteError::Unknown("the question was lost".to_owned()));
        }
        let applied = match does {
            Does::Refuses => Err(invalid("the scripted movement")),
            _ => Self::apply(&mut inner, &it),
        };
        match applied {
            Ok(state) => {
                let channel = ChannelId(bytes32(&it.channel).map_err(ExecuteError::Refused)?);
                if let Some(left) = inner.leaving.remove(&channel) {
                    inner.channels.insert(channel, left);
                }
                let moved = ChannelMoved {
                    channel,
                    reference: it.key,
                    at: Timestamp::from_millis(1),
                    state: inner.channels.get(&channel).cloned().unwrap_or(state),
                    receipt: Vec::new(),
                };
                inner.done.insert(key.clone(), moved.clone());
                match does {
                    Does::LosesAnswer => {
                        Err(ExecuteError::Unknown("the answer was lost".to_owned()))
                    }
                    _ => Ok(moved),
                }
            }
            Err(refusal) => {
                inner.refused.insert(key.clone(), refusal.clone());
                Err(ExecuteError::Refused(refusal))
            }
        }
    }

    fn voucher(channel: ChannelId, payload: &Payload) -> Result<Voucher, Refusal> {
        let text = |it: &Option<String>| it.clone().ok_or_else(|| invalid("the voucher"));
        let signature = text(&payload.signature)?;
        let proof = base64url::decode(signature.as_bytes());
        Ok(Voucher {
            channel,
            cumulative: units(&text(&payload.cumulative_amount)?)?,
            proof: proof.map_err(|_| invalid("the signature"))?.into(),
        })
    }
}

impl PayeeSession for Escrow {
    fn name(&self) -> &MethodName {
        &self.name
    }

    fn caps(&self) -> &Caps {
        &self.caps
    }

    fn quote<'a>(&'a self, quote: SessionQuote<'a>) -> BoxFuture<'a, Result<Object, QuoteError>> {
        let prices = quote.prices.iter().map(|it| {
            let unit = it.unit.clone().unwrap_or_default();
            (it.amount.to_wire(), it.per, unit)
        });
        let request = Request {
            currency: self.currency.code().to_owned(),
            prices: prices.collect(),
            recipient: self.payee.to_string(),
        };
        Box::pin(std::future::ready(Ok(object(&request))))
    }

    fn quotes_the_same(&self) -> bool {
        true
    }

    fn expected_terms(&self, prices: &[UnitPrice]) -> Result<SessionTerms, QuoteError> {
        if prices
            .iter()
            .any(|it| *it.amount.currency() != self.currency)
        {
            return Err(QuoteError::Amount);
        }
        Ok(SessionTerms {
            prices: prices.to_vec(),
            payee: self.payee.to_string(),
            rest: "escrow".to_owned(),
        })
    }

    fn terms(&self, request: &Object) -> Result<SessionTerms, Refusal> {
        let request: Request = request.deserialize().map_err(|_| invalid("the request"))?;
        let prices = request.prices.into_iter().map(|(amount, per, unit)| {
            Ok(UnitPrice {
                amount: self.currency.units(units(&amount)?),
                per,
                unit: (!unit.is_empty()).then_some(unit),
            })
        });
        Ok(SessionTerms {
            prices: prices.collect::<Result<_, Refusal>>()?,
            payee: request.recipient,
            rest: "escrow".to_owned(),
        })
    }

    fn decode(&self, presented: Presented<'_>) -> Result<SessionAction, Refusal> {
        let payload: Payload = presented
            .payload
            .deserialize()
            .map_err(|_| invalid("the payload"))?;
        let id = self.parse_channel(&payload.channel_id)?;
        let replayable_until = presented.now.plus_millis(REPLAYABLE_MS);
        let text = |it: &Option<String>| it.clone().ok_or_else(|| invalid("the payload"));
        match payload.action.as_str() {
            "open" => {
                let (key, nonce) = (text(&payload.key)?, text(&payload.nonce)?);
                if channel_of(&key, &nonce) != id {
                    return Err(invalid("the channel's id"));
                }
                let deposit = units(&text(&payload.amount)?)?;
                let terms = Terms {
                    currency: self.currency.code().to_owned(),
                    decimals: self.currency.decimals(),
                    key,
                    payee: self.payee.to_string(),
                };
                let terms = object(&terms).as_str().as_bytes().to_vec();
                let voucher = Self::voucher(id, &payload)?;
                let verified = self.channel(id, &terms)?.verifier.verify(None, &voucher);
                verified.map_err(|_| invalid("the first voucher"))?;
                let key = format!("open {}", base64url::encode(&id.0));
                Ok(SessionAction::Open(Box::new(Opening {
                    channel: id,
                    replay_keys: vec![key.clone().into_bytes()],
                    artefact: Self::artefact("open", id, deposit, key),
                    replayable_until,
                    deposit: self.currency.units(deposit),
                    voucher: Some(voucher),
                    payer: payload.key,
                    terms,
                })))
            }
            "topUp" => {
                let added = units(&text(&payload.amount)?)?;
                let nonce = text(&payload.nonce)?;
                let key = format!("topUp {} {nonce}", base64url::encode(&id.0));
                Ok(SessionAction::TopUp(Box::new(TopUp {
                    channel: id,
                    replay_keys: vec![key.clone().into_bytes()],
                    artefact: Self::artefact("topUp", id, added, key),
                    replayable_until,
                    added: self.currency.units(added),
                })))
            }
            "voucher" => Ok(SessionAction::Spend(Self::voucher(id, &payload)?)),
            "close" => Ok(SessionAction::Close {
                channel: id,
                voucher: Some(Self::voucher(id, &payload)?),
            }),
            _ => Err(invalid("the action")),
        }
    }

    fn channel(&self, channel: ChannelId, terms: &[u8]) -> Result<PayeeChannel, Refusal> {
        let terms = Object::parse(terms).map_err(|_| invalid("the terms"))?;
        let terms: Terms = terms.deserialize().map_err(|_| invalid("the terms"))?;
        let key = Key::from_bytes(&bytes32(&terms.key)?).map_err(|_| invalid("the key"))?;
        let currency = Currency::new(&terms.currency, terms.decimals);
        Ok(PayeeChannel {
            verifier: Arc::new(Ed25519::new(channel, key, Form)),
            currency: currency.map_err(|_| invalid("the currency"))?,
            payee: terms.payee,
            payer: Some(terms.key),
            rest: "escrow".to_owned(),
            receipt: Vec::new(),
        })
    }

    fn channel_text(&self, channel: &ChannelId) -> String {
        base64url::encode(&channel.0)
    }

    fn parse_channel(&self, text: &str) -> Result<ChannelId, Refusal> {
        bytes32(text).map(ChannelId)
    }

    fn prepare_settle<'a>(
        &'a self,
        settle: SettleRequest<'a>,
    ) -> BoxFuture<'a, Result<Artefact, SettleError>> {
        let most = settle.voucher.map_or(0, |it| it.cumulative);
        let settled = self
            .lock()
            .channels
            .get(&settle.channel)
            .map_or(0, |it| it.settled);
        // Where a voucher is captured as a whole, it is for that or there is none.
        let whole = match settle.voucher {
            Some(voucher) => voucher.cumulative == settle.capture,
            None => settle.capture == settled,
        };
        let partly = settle.capture <= most;
        if !(if self.caps.partial_capture {
            partly
        } else {
            whole
        }) {
            let refused = SettleError::Refused(invalid("the capture"));
            return Box::pin(std::future::ready(Err(refused)));
        }
        let action = if settle.last { "close" } else { "settle" };
        let key = format!("{action} {}", base64url::encode(&settle.key));
        let artefact = Self::artefact(action, settle.channel, settle.capture, key);
        Box::pin(std::future::ready(Ok(artefact)))
    }

    fn execute<'a>(
        &'a self,
        artefact: &'a Artefact,
    ) -> BoxFuture<'a, Result<ChannelMoved, ExecuteError>> {
        Box::pin(async move { self.run(artefact) })
    }

    fn lookup<'a>(
        &'a self,
        artefact: &'a Artefact,
    ) -> BoxFuture<'a, Result<ChannelLookup, RailUnavailable>> {
        Box::pin(async move {
            let inner = self.lock();
            let key = &artefact.rail_key;
            Ok(match (inner.done.get(key), inner.refused.get(key)) {
                (Some(moved), _) => ChannelLookup::Done(Box::new(moved.clone())),
                (None, Some(refusal)) => ChannelLookup::Never(refusal.clone()),
                (None, None) => ChannelLookup::Pending,
            })
        })
    }

    fn state<'a>(
        &'a self,
        channel: &'a ChannelId,
    ) -> BoxFuture<'a, Result<Option<ChannelState>, RailUnavailable>> {
        Box::pin(async move { Ok(self.truth(channel)) })
    }
}

/// A payer of one channel.
pub struct EscrowPayer {
    key: Ed25519Key,
    public: String,
    nonce: String,
}

impl EscrowPayer {
    /// The payer with this number.
    pub fn new(n: u8) -> Self {
        let key = Ed25519Key::from_seed(&[n; 32]);
        let public = base64url::encode(&key.public_key());
        Self {
            key,
            public,
            nonce: n.to_string(),
        }
    }

    /// The channel.
    pub fn channel(&self) -> ChannelId {
        channel_of(&self.public, &self.nonce)
    }

    /// The channel's terms, as its payee keeps them.
    pub fn terms(&self, payee: &str, currency: &Currency) -> Vec<u8> {
        let terms = Terms {
            currency: currency.code().to_owned(),
            decimals: currency.decimals(),
            key: self.public.clone(),
            payee: payee.to_owned(),
        };
        object(&terms).as_str().as_bytes().to_vec()
    }

    /// The proof of a voucher.
    pub fn sign(&self, cumulative: u128) -> [u8; 64] {
        self.key.sign_message(&message(self.channel(), cumulative))
    }

    /// Opens the channel, and pays with a first voucher.
    pub fn open(&self, challenge: &Challenge, deposit: &Amount, cumulative: u128) -> String {
        let mut payload = self.payload("open", cumulative);
        payload.amount = Some(deposit.to_wire());
        payload.key = Some(self.public.clone());
        payload.nonce = Some(self.nonce.clone());
        credential(challenge, &payload)
    }

    /// Pays.
    pub fn voucher(&self, challenge: &Challenge, cumulative: u128) -> String {
        credential(challenge, &self.payload("voucher", cumulative))
    }

    /// Pays with this in the place of a signature.
    pub fn forged(&self, challenge: &Challenge, cumulative: u128, proof: &[u8]) -> String {
        let mut payload = self.payload("voucher", cumulative);
        payload.signature = Some(base64url::encode(proof));
        credential(challenge, &payload)
    }

    /// Closes with this in the place of a signature.
    pub fn forged_close(&self, challenge: &Challenge, cumulative: u128, proof: &[u8]) -> String {
        let mut payload = self.payload("close", cumulative);
        payload.signature = Some(base64url::encode(proof));
        credential(challenge, &payload)
    }

    /// Raises the deposit. One of each nonce counts.
    pub fn top_up(&self, challenge: &Challenge, add: &Amount, nonce: u32) -> String {
        let payload = Payload {
            action: "topUp".to_owned(),
            amount: Some(add.to_wire()),
            channel_id: base64url::encode(&self.channel().0),
            cumulative_amount: None,
            key: None,
            nonce: Some(nonce.to_string()),
            signature: None,
        };
        credential(challenge, &payload)
    }

    /// Closes.
    pub fn close(&self, challenge: &Challenge, cumulative: u128) -> String {
        credential(challenge, &self.payload("close", cumulative))
    }

    fn payload(&self, action: &str, cumulative: u128) -> Payload {
        Payload {
            action: action.to_owned(),
            amount: None,
            channel_id: base64url::encode(&self.channel().0),
            cumulative_amount: Some(cumulative.to_string()),
            key: None,
            nonce: None,
            signature: Some(base64url::encode(&self.sign(cumulative))),
        }
    }
}

fn credential(challenge: &Challenge, payload: &Payload) -> String {
    let credential = Credential {
        challenge: challenge.clone(),
        payload: object(payload),
        source: None,
    };
    credential.to_header()
}
