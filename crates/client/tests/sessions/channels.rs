//! A session method without cryptography, its rail, and a payee that does what a script says.

#![allow(dead_code, reason = "each test file uses a part")]

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use stiver_channel::{Caps, ChannelId, Voucher};
use stiver_core::{
    Credential, Receipt, Timestamp,
    amount::parse_base_units,
    challenge::{Challenge, Expires, Params},
    credential::{Presented, presented},
    json::{EncodedObject, Object, Value},
    name::{ChallengeId, IntentName, MethodName, Realm},
    problem::{Problem, ProblemKind},
};
use stiver_env::{BoxFuture, Env};
use stiver_method::{
    artefact::{Artefact, ExecuteError, RailUnavailable, Refusal, RefusalKind},
    payer::{CallKey, PayError, Proof, Unpayable},
    session::{
        ChannelLookup, ChannelMoved, ChannelState, Ended, OpenRequest, PayerSession, PreparedOpen,
        SessionView, Snapshot, TopUpRequest, UnitPrice, VoucherSigner,
    },
};
use stiver_testkit::fixtures;
use tower_service::Service;
use zeroize::Zeroizing;

pub(crate) use super::feed::Feed;

pub(crate) const GRACE_MS: u64 = 60_000;

fn object(members: &[(&str, String)]) -> Object {
    let members = members.iter();
    let members = members.map(|(name, text)| ((*name).to_owned(), Value::String(text.clone())));
    Object::from_members(members.collect::<BTreeMap<_, _>>())
}

fn text(object: &Object, name: &str) -> Option<String> {
    object.get(name).and_then(Value::as_str).map(str::to_owned)
}

fn units(object: &Object, name: &str) -> Option<u128> {
    parse_base_units(&text(object, name)?, 128).ok()
}

/// The rail: channels, and what became of each movement.
#[derive(Clone, Default)]
pub(crate) struct Rail(Arc<Mutex<Book>>);

#[derive(Default)]
struct Book {
    channels: HashMap<ChannelId, ChannelState>,
    done: HashMap<Vec<u8>, ChannelId>,
    now_ms: u64,
    /// How far a voucher may be above the last one.
    leap: Option<u128>,
    /// What has been captured or can be, by the highest voucher seen.
    down: bool,
}

impl Rail {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap()
    }

    pub(crate) fn channels(&self) -> Vec<ChannelState> {
        self.book().channels.values().cloned().collect()
    }

    pub(crate) fn leaps(&self, most: u128) {
        self.book().leap = Some(most);
    }

    pub(crate) fn go_down(&self) {
        self.book().down = true;
    }

    pub(crate) fn at(&self, ms: u64) {
        self.book().now_ms = ms;
    }

    fn open(&self, key: &[u8], channel: ChannelId, deposit: u128) {
        let mut book = self.book();
        book.done.insert(key.to_vec(), channel);
        book.channels.entry(channel).or_insert(ChannelState {
            deposit,
            settled: 0,
            withdrawable_at: None,
            ended: None,
        });
    }

    fn top_up(&self, key: &[u8], channel: ChannelId, add: u128) -> bool {
        let mut book = self.book();
        if book.done.insert(key.to_vec(), channel).is_some() {
            return true;
        }
        let state = book.channels.get_mut(&channel);
        state.is_some_and(|state| {
            state.deposit += add;
            state.ended.is_none()
        })
    }

    fn close(&self, channel: ChannelId, capture: u128) {
        if let Some(state) = self.book().channels.get_mut(&channel) {
            assert!(capture <= state.deposit, "more than the deposit");
            state.settled = capture;
            state.ended = Some(Ended::Closed);
        }
    }

    fn moved(&self, channel: ChannelId) -> ChannelMoved {
        let book = self.book();
        ChannelMoved {
            channel,
            reference: channel.to_hex(),
            at: Timestamp::from_millis(book.now_ms),
            state: book.channels[&channel].clone(),
            receipt: Vec::new(),
        }
    }
}

/// The payer's side of the method `plain`.
pub(crate) struct PlainPayer {
    name: MethodName,
    rail: Rail,
}

impl PlainPayer {
    pub(crate) fn new(rail: &Rail) -> Self {
        Self {
            name: MethodName::new("plain").unwrap(),
            rail: rail.clone(),
        }
    }

    fn artefact(members: &[(&str, String)], key: &CallKey) -> Artefact {
        let object = object(members);
        Artefact {
            rail_key: key.as_bytes().to_vec(),
            bytes: Zeroizing::new(object.as_str().as_bytes().to_vec()),
        }
    }
}

fn channel_of(record: &[u8]) -> ChannelId {
    ChannelId(record.try_into().unwrap())
}

fn parse(text: &str) -> Option<ChannelId> {
    let bytes = (0..64).step_by(2).map(|at| {
        let digits = text.get(at..at + 2)?;
        u8::from_str_radix(digits, 16).ok()
    });
    let bytes: Option<Vec<u8>> = bytes.collect();
    Some(ChannelId(bytes?.try_into().ok()?))
}

fn proof(action: &str, voucher: &Voucher) -> Proof {
    Proof {
        payload: object(&[
            ("action", action.into()),
            ("channelId", voucher.channel.to_hex()),
            ("cumulativeAmount", voucher.cumulative.to_string()),
        ]),
        source: None,
    }
}

struct PlainSigner(ChannelId, u128);

impl VoucherSigner for PlainSigner {
    fn channel(&self) -> ChannelId {
        self.0
    }
    fn granularity(&self) -> u128 {
        1
    }
    fn leap_max(&self) -> u128 {
        self.1
    }
    fn sign<'a>(
        &'a mut self,
        cumulative: u128,
        _: Option<[u8; 32]>,
    ) -> BoxFuture<'a, Result<Voucher, PayError>> {
        let voucher = Voucher {
            channel: self.0,
            cumulative,
            proof: Box::from(*b"signed"),
        };
        Box::pin(std::future::ready(Ok(voucher)))
    }
}

impl PayerSession for PlainPayer {
    fn name(&self) -> &MethodName {
        &self.name
    }

    fn caps(&self) -> &Caps {
        &Caps::LEDGER
    }

    fn view(&self, challenge: &Challenge) -> Result<SessionView, Unpayable> {
        let request = challenge.params.request.object();
        let amount = units(request, "amount").ok_or(Unpayable::Malformed("amount".into()))?;
        Ok(SessionView {
            prices: vec![UnitPrice {
                amount: fixtures::micro_usd(amount),
                per: 1,
                unit: text(request, "unitType"),
            }],
            payee: text(request, "recipient").unwrap_or_default(),
            network: "a plain rail".into(),
            suggested_deposit: units(request, "suggestedDeposit").map(fixtures::micro_usd),
            min_voucher_delta: 0,
            grace_ms: Some(GRACE_MS),
            snapshot: text(request, "snapshotChannel").map(|channel| Snapshot {
                channel: parse(&channel).unwrap(),
                deposit: 0,
                accepted: units(request, "snapshotAccepted").unwrap(),
                spent: 0,
            }),
            expires: challenge.params.expires.as_ref().map(Expires::instant),
        })
    }

    fn channel_text(&self, channel: &ChannelId) -> String {
        channel.to_hex()
    }

    fn parse_channel(&self, text: &str) -> Result<ChannelId, Refusal> {
        parse(text).ok_or(Refusal {
            kind: RefusalKind::Invalid,
            detail: "no channel id".into(),
        })
    }

    fn prepare_open<'a>(
        &'a self,
        open: OpenRequest<'a>,
    ) -> BoxFuture<'a, Result<PreparedOpen, PayError>> {
        let mut id = [0; 32];
        id[..16].copy_from_slice(open.call.as_bytes());
        let channel = ChannelId(id);
        let members = [
            ("action", "open".to_owned()),
            ("channelId", channel.to_hex()),
            ("deposit", open.deposit.to_wire()),
        ];
        Box::pin(std::future::ready(Ok(PreparedOpen {
            channel,
            artefact: Self::artefact(&members, &open.call),
            record: Zeroizing::new(id.to_vec()),
        })))
    }

    fn prepare_top_up<'a>(
        &'a self,
        top_up: TopUpRequest<'a>,
    ) -> BoxFuture<'a, Result<Artefact, PayError>> {
        let members = [
            ("action", "topUp".to_owned()),
            ("channelId", channel_of(top_up.record).to_hex()),
            ("additionalDeposit", top_up.add.to_wire()),
        ];
        let artefact = Self::artefact(&members, &top_up.call);
        Box::pin(std::future::ready(Ok(artefact)))
    }

    fn signer(&self, record: &[u8]) -> Result<Box<dyn VoucherSigner>, Unpayable> {
        let leap = self.rail.book().leap.unwrap_or(u128::MAX);
        Ok(Box::new(PlainSigner(channel_of(record), leap)))
    }

    fn fund<'a>(
        &'a self,
        artefact: &'a Artefact,
        voucher: Option<&'a Voucher>,
    ) -> BoxFuture<'a, Result<Proof, PayError>> {
        let mut payload = match Value::parse(&artefact.bytes).unwrap() {
            Value::Object(members) => members,
            _ => unreachable!(),
        };
        let key = stiver_core::base64url::encode(&artefact.rail_key);
        payload.insert("key".into(), Value::String(key));
        if let Some(voucher) = voucher {
            let cumulative = voucher.cumulative.to_string();
            payload.insert("cumulativeAmount".into(), Value::String(cumulative));
        }
        let payload = Object::from_members(payload);
        let proof = Proof {
            payload,
            source: None,
        };
        Box::pin(std::future::ready(Ok(proof)))
    }

    fn spend(&self, voucher: &Voucher) -> Result<Proof, Refusal> {
        Ok(proof("voucher", voucher))
    }

    fn close(&self, voucher: &Voucher) -> Result<Proof, Refusal> {
        Ok(proof("close", voucher))
    }

    fn prepare_forced_close<'a>(
        &'a self,
        record: &'a [u8],
        call: CallKey,
        _: Timestamp,
    ) -> BoxFuture<'a, Result<Artefact, PayError>> {
        let members = [
            ("action", "force".to_owned()),
            ("channelId", channel_of(record).to_hex()),
        ];
        Box::pin(std::future::ready(Ok(Self::artefact(&members, &call))))
    }

    fn prepare_withdraw<'a>(
        &'a self,
        record: &'a [u8],
        call: CallKey,
        _: Timestamp,
    ) -> BoxFuture<'a, Result<Artefact, PayError>> {
        let members = [
            ("action", "withdraw".to_owned()),
            ("channelId", channel_of(record).to_hex()),
        ];
        Box::pin(std::future::ready(Ok(Self::artefact(&members, &call))))
    }

    fn execute<'a>(
        &'a self,
        artefact: &'a Artefact,
    ) -> BoxFuture<'a, Result<ChannelMoved, ExecuteError>> {
        let members = Object::parse(&artefact.bytes).unwrap();
        let channel = parse(&text(&members, "channelId").unwrap()).unwrap();
        {
            let mut book = self.rail.book();
            let now = book.now_ms;
            let state = book.channels.get_mut(&channel).unwrap();
            match text(&members, "action").unwrap().as_str() {
                "force" => {
                    let at = Timestamp::from_millis(now + GRACE_MS);
                    state.withdrawable_at.get_or_insert(at);
                }
                _ => state.ended = Some(Ended::Withdrawn),
            }
        }
        let moved = self.rail.moved(channel);
        Box::pin(std::future::ready(Ok(moved)))
    }

    fn lookup<'a>(
        &'a self,
        artefact: &'a Artefact,
    ) -> BoxFuture<'a, Result<ChannelLookup, RailUnavailable>> {
        let channel = self.rail.book().done.get(&artefact.rail_key).copied();
        let told = match channel {
            _ if self.rail.book().down => Err(RailUnavailable("down".into())),
            Some(channel) => Ok(ChannelLookup::Done(Box::new(self.rail.moved(channel)))),
            None => Ok(ChannelLookup::Never(Refusal {
                kind: RefusalKind::Expired,
                detail: "it never came".into(),
            })),
        };
        Box::pin(std::future::ready(told))
    }

    fn state<'a>(
        &'a self,
        record: &'a [u8],
    ) -> BoxFuture<'a, Result<Option<ChannelState>, RailUnavailable>> {
        let book = self.rail.book();
        let told = match book.down {
            true => Err(RailUnavailable("down".into())),
            false => Ok(book.channels.get(&channel_of(record)).cloned()),
        };
        Box::pin(std::future::ready(told))
    }
}

/// What the payee does with one request that has a credential.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Act {
    /// What it should.
    Serve,
    /// It takes the voucher, charges, and the connection breaks before the answer.
    ServeAndCut,
    /// The connection breaks before anything happens.
    Cut,
    /// Says that so much more is needed.
    Demand(u128),
    /// This problem.
    Refuse(ProblemKind),
    /// This status, without a receipt.
    Say(u16),
    /// Takes the voucher and answers with the state alone.
    State,
    /// Serves, and claims in the receipt that so much was spent.
    Claim(u128),
}

/// A payee. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Payee(Arc<Mutex<Shop>>, Env, Rail);

pub(crate) struct Shop {
    pub(crate) price: u128,
    pub(crate) unit: Option<&'static str>,
    pub(crate) suggested: Option<u128>,
    /// Each GET is a stream of so many events, charged one by one.
    pub(crate) events: Option<usize>,
    /// It counts every event so many times.
    pub(crate) counts: u128,
    pub(crate) recipient: &'static str,
    pub(crate) accounts: HashMap<ChannelId, Account>,
    /// What every request bought, by its key.
    served: HashMap<String, u128>,
    /// What its challenges say of the channel.
    pub(crate) snapshot: Option<u128>,
    /// A repeated request is answered as before, not with the state alone.
    pub(crate) keeps_answers: bool,
    script: VecDeque<Act>,
    pub(crate) seen: Vec<(Method, Option<Object>)>,
    pub(crate) fields: Vec<http::HeaderMap>,
    challenges: u64,
    pub(crate) wakers: Vec<Waker>,
}

/// What the payee knows of a channel.
#[derive(Debug, Clone, Default)]
pub(crate) struct Account {
    pub(crate) accepted: u128,
    pub(crate) spent: u128,
}

impl Payee {
    pub(crate) fn new(env: Env, rail: &Rail) -> Self {
        let shop = Shop {
            price: 10,
            unit: None,
            suggested: None,
            events: None,
            counts: 1,
            recipient: "merchant",
            accounts: HashMap::new(),
            served: HashMap::new(),
            snapshot: None,
            keeps_answers: true,
            script: VecDeque::new(),
            seen: Vec::new(),
            fields: Vec::new(),
            challenges: 0,
            wakers: Vec::new(),
        };
        Self(Arc::new(Mutex::new(shop)), env, rail.clone())
    }

    pub(crate) fn shop(&self) -> MutexGuard<'_, Shop> {
        self.0.lock().unwrap()
    }

    pub(crate) fn script(&self, acts: impl IntoIterator<Item = Act>) {
        self.shop().script.extend(acts);
    }

    /// The actions it was asked for, in order.
    pub(crate) fn actions(&self) -> Vec<String> {
        let shop = self.shop();
        let seen = shop.seen.iter();
        seen.map(|(method, payload)| {
            let action = payload.as_ref().and_then(|payload| text(payload, "action"));
            format!("{method} {}", action.as_deref().unwrap_or("-"))
        })
        .collect()
    }

    pub(crate) fn accepted(&self) -> u128 {
        self.shop().accounts.values().map(|a| a.accepted).sum()
    }

    pub(crate) fn spent(&self) -> u128 {
        self.shop().accounts.values().map(|a| a.spent).sum()
    }

    fn challenge(&self) -> HeaderValue {
        let mut shop = self.shop();
        shop.challenges += 1;
        let mut members = vec![
            ("amount", shop.price.to_string()),
            ("currency", "usd".to_owned()),
            ("recipient", shop.recipient.to_owned()),
        ];
        members.extend(shop.unit.map(|unit| ("unitType", unit.to_owned())));
        if let Some(accepted) = shop.snapshot {
            let channel = shop.accounts.keys().next().unwrap().to_hex();
            members.push(("snapshotChannel", channel));
            members.push(("snapshotAccepted", accepted.to_string()));
        }
        members.extend(shop.suggested.map(|d| ("suggestedDeposit", d.to_string())));
        let mut params = Params::new(
            Realm::new("api.example").unwrap(),
            MethodName::new("plain").unwrap(),
            IntentName::new("session").unwrap(),
            EncodedObject::encode(&object(&members)),
        );
        let expires = self.1.clock.now().plus_millis(300_000);
        params.expires = Some(Expires::at(expires));
        let mut challenge = fixtures::key_ring().bind(params);
        let id = fixtures::challenge_id(shop.challenges);
        challenge.id = ChallengeId::new(&id).unwrap();
        HeaderValue::from_str(&challenge.to_header()).unwrap()
    }

    fn refuse(&self, kind: ProblemKind, more: Option<u128>) -> Response<Feed> {
        let problem = Problem::new(kind, "because of the test");
        let mut json = problem.to_json();
        if let Some(more) = more {
            json = json.replacen('{', &format!("{{\"requiredTopUp\":\"{more}\","), 1);
        }
        let mut response = Response::new(Feed::whole(json.into_bytes()));
        *response.status_mut() = StatusCode::from_u16(kind.status()).unwrap();
        let headers = response.headers_mut();
        headers.insert(
            "content-type",
            HeaderValue::from_static("application/problem+json"),
        );
        headers.append("www-authenticate", self.challenge());
        response
    }

    pub(crate) fn receipt(
        &self,
        credential: &Credential,
        channel: ChannelId,
        claim: u128,
    ) -> Receipt {
        let spent = self.shop().accounts[&channel].spent + claim;
        let mut receipt = self.receipt_of(channel, spent);
        receipt.challenge_id = Some(credential.challenge.id.clone());
        receipt
    }

    /// A receipt that says that so much was spent.
    pub(crate) fn receipt_of(&self, channel: ChannelId, spent: u128) -> Receipt {
        let account = self.shop().accounts[&channel].clone();
        let mut extra = BTreeMap::new();
        let mut member = |name: &str, units: u128| {
            extra.insert(name.to_owned(), Value::String(units.to_string()));
        };
        member("acceptedCumulative", account.accepted);
        member("spent", spent);
        Receipt {
            method: MethodName::new("plain").unwrap(),
            timestamp: self.1.clock.now(),
            reference: channel.to_hex(),
            challenge_id: None,
            extra,
        }
    }

    /// Takes what a credential brings. `None`: there is no such channel.
    fn take(&self, payload: &Object) -> Option<ChannelId> {
        let channel = parse(&text(payload, "channelId")?)?;
        let key = text(payload, "key").unwrap_or_default();
        match text(payload, "action")?.as_str() {
            "open" => {
                self.2.open(
                    &stiver_core::base64url::decode(key.as_bytes()).unwrap(),
                    channel,
                    units(payload, "deposit")?,
                );
                self.shop().accounts.entry(channel).or_default();
            }
            "topUp" => {
                let key = stiver_core::base64url::decode(key.as_bytes()).unwrap();
                let add = units(payload, "additionalDeposit")?;
                assert!(self.2.top_up(&key, channel, add));
            }
            _ => {}
        }
        let deposit = self.2.book().channels.get(&channel)?.deposit;
        let leap_max = self.2.book().leap.unwrap_or(u128::MAX);
        let mut shop = self.shop();
        let account = shop.accounts.get_mut(&channel)?;
        if let Some(cumulative) = units(payload, "cumulativeAmount") {
            assert!(cumulative <= deposit, "a voucher beyond the deposit");
            let leap = cumulative.saturating_sub(account.accepted);
            assert!(leap <= leap_max, "a voucher too far ahead: {leap}");
            account.accepted = account.accepted.max(cumulative);
        }
        for waker in shop.wakers.drain(..) {
            waker.wake();
        }
        Some(channel)
    }

    fn state_of(&self, credential: &Credential, channel: ChannelId) -> Response<Feed> {
        let mut receipt = self.receipt(credential, channel, 0);
        receipt.extra.insert("delivered".into(), Value::Bool(false));
        let mut response = Response::new(Feed::whole(Vec::new()));
        let receipt = HeaderValue::from_str(&receipt.to_header()).unwrap();
        response.headers_mut().insert("payment-receipt", receipt);
        response
    }

    fn act(&self, act: Act, request: &Request<Bytes>, credential: &Credential) -> Answer {
        let payload = &credential.payload;
        match act {
            Act::Cut => return Err(Broken),
            Act::Refuse(kind) => return Ok(self.refuse(kind, None)),
            Act::Say(status) => {
                let mut response = Response::new(Feed::whole(Vec::new()));
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
                return Ok(response);
            }
            _ => {}
        }
        let Some(channel) = self.take(payload) else {
            return Ok(self.refuse(ProblemKind::SessionChannelNotFound, None));
        };
        if let Act::Demand(more) = act {
            return Ok(self.refuse(ProblemKind::SessionInsufficientBalance, Some(more)));
        }
        let ended = self.2.book().channels[&channel].ended.is_some();
        let action = text(payload, "action").unwrap();
        if ended {
            return Ok(self.refuse(ProblemKind::SessionChannelFinalized, None));
        }
        if action == "close" {
            let spent = self.shop().accounts[&channel].spent;
            self.2.close(channel, spent);
        }
        if act == Act::State {
            return Ok(self.state_of(credential, channel));
        }
        let streams = self.shop().events.is_some() && request.method() != Method::HEAD;
        if request.method() != Method::HEAD && !streams {
            let key = request.headers()["idempotency-key"].to_str().unwrap();
            let mut shop = self.shop();
            let price = shop.price;
            let account = shop.accounts[&channel].clone();
            if shop.served.contains_key(key) {
                drop(shop);
                if !self.shop().keeps_answers {
                    return Ok(self.state_of(credential, channel));
                }
            } else {
                let available = account.accepted - account.spent;
                if available < price {
                    drop(shop);
                    let more = Some(price - available);
                    return Ok(self.refuse(ProblemKind::SessionInsufficientBalance, more));
                }
                shop.accounts.get_mut(&channel).unwrap().spent += price;
                shop.served.insert(key.to_owned(), price);
            }
        }
        if act == Act::ServeAndCut {
            return Err(Broken);
        }
        let claim = if let Act::Claim(more) = act { more } else { 0 };
        let receipt = self.receipt(credential, channel, claim).to_header();
        let body = match self.shop().events {
            Some(events) if streams => Feed::stream(self, channel, credential, events),
            _ => Feed::whole(b"goods".to_vec()),
        };
        let mut response = Response::new(body);
        if streams {
            let kind = HeaderValue::from_static("text/event-stream");
            response.headers_mut().insert("content-type", kind);
        }
        let receipt = HeaderValue::from_str(&receipt).unwrap();
        response.headers_mut().insert("payment-receipt", receipt);
        Ok(response)
    }

    fn answer(&self, request: &Request<Bytes>) -> Answer {
        let lines = request.headers().get_all("authorization");
        let credential = match presented(lines.into_iter().map(HeaderValue::as_bytes)) {
            Presented::One(token) => Some(Credential::parse(token).unwrap()),
            _ => None,
        };
        let payload = credential.as_ref().map(|c| c.payload.clone());
        self.shop().seen.push((request.method().clone(), payload));
        self.shop().fields.push(request.headers().clone());
        match credential {
            None => Ok(self.refuse(ProblemKind::PaymentRequired, None)),
            Some(credential) => {
                let act = self.shop().script.pop_front().unwrap_or(Act::Serve);
                self.act(act, request, &credential)
            }
        }
    }
}

type Answer = Result<Response<Feed>, Broken>;

/// The connection broke.
#[derive(Debug)]
pub(crate) struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the connection broke")
    }
}

impl std::error::Error for Broken {}

impl Service<Request<Full<Bytes>>> for Payee {
    type Response = Response<Feed>;
    type Error = Broken;
    type Future = BoxFuture<'static, Answer>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let payee = self.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = match body.collect().await {
                Ok(body) => body.to_bytes(),
                Err(never) => {
                    let never: Infallible = never;
                    match never {}
                }
            };
            payee.answer(&Request::from_parts(head, body))
        })
    }
}
