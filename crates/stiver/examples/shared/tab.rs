//! The payment method `tab`: a bar writes down what its regulars owe. Guest and bar share a secret;
//! a guest signs each challenge with it, and the bar writes the amount on the guest's tab.

use std::{collections::BTreeMap, sync::Mutex};

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::Sha256;
use stiver::{
    core::{
        Amount, Challenge, Currency, Timestamp, base64url,
        json::Object,
        name::{IntentName, MethodName},
    },
    method::{
        BoxFuture,
        artefact::{
            Artefact, ExecuteError, Lookup, RailUnavailable, Refusal, RefusalKind, Settled,
        },
        payee::{
            PayeeCharge, Plan, Presented, Quote, QuoteError, RefundError, RefundRequest, Terms,
        },
        payer::{CallKey, PayError, Payer, PolicyView, Proof, Unpayable},
    },
};

/// What a challenge asks for, what a credential proves, what the bar writes down.
#[derive(Serialize, Deserialize)]
struct Asked {
    amount: String,
    bar: String,
}
#[derive(Serialize, Deserialize)]
struct Signed {
    guest: String,
    call: String,
    tag: String,
}
#[derive(Serialize, Deserialize)]
struct Line {
    guest: String,
    call: String,
    amount: String,
    bar: String,
    at: String,
}

/// The bar: the payee's side, and the rail itself.
pub(crate) struct Bar {
    pub(crate) name: MethodName,
    pub(crate) bar: String,
    pub(crate) currency: Currency,
    pub(crate) guests: BTreeMap<String, Vec<u8>>,
    pub(crate) tab: Mutex<BTreeMap<Vec<u8>, Settled>>,
}

impl Bar {
    fn amount(&self, units: &str) -> Result<Amount, Refusal> {
        let units = units.parse().map_err(|_| no("not an amount"))?;
        Ok(self.currency.units(units))
    }
}

impl PayeeCharge for Bar {
    fn name(&self) -> &MethodName {
        &self.name
    }
    fn quote<'a>(&'a self, quote: Quote<'a>) -> BoxFuture<'a, Result<Object, QuoteError>> {
        let asked = Asked {
            amount: quote.price.to_wire(),
            bar: self.bar.clone(),
        };
        Box::pin(async move { Ok(object(&asked)) })
    }
    fn expected_terms(&self, price: &Amount) -> Result<Terms, QuoteError> {
        if *price.currency() != self.currency {
            let currency = price.currency().code().to_owned();
            return Err(QuoteError::Currency {
                method: self.name.clone(),
                currency,
            });
        }
        Ok(Terms {
            amount: price.clone(),
            payee: self.bar.clone(),
            rest: String::new(),
        })
    }
    fn terms(&self, request: &Object) -> Result<Terms, Refusal> {
        let asked: Asked = read(request)?;
        let amount = self.amount(&asked.amount)?;
        Ok(Terms {
            amount,
            payee: asked.bar,
            rest: String::new(),
        })
    }
    fn precheck(&self, presented: Presented<'_>) -> Result<Plan, Refusal> {
        let asked: Asked = read(presented.challenge.params.request.object())?;
        let Signed { guest, call, tag } = read(presented.payload)?;
        let secret = self.guests.get(&guest).ok_or_else(|| no("no such guest"))?;
        let tag = base64url::decode(tag.as_bytes()).map_err(|_| no("no tag"))?;
        let proof = mac(secret, presented.challenge, &call);
        proof
            .verify_slice(&tag)
            .map_err(|_| no("signed by somebody else"))?;
        let expires = presented.challenge.params.expires.as_ref();
        let at = presented.now.to_rfc3339();
        let line = Line {
            guest: guest.clone(),
            call,
            amount: asked.amount,
            bar: asked.bar,
            at,
        };
        let artefact = artefact(&line.guest, &line.call, &line);
        Ok(Plan {
            replay_keys: vec![artefact.rail_key.clone()],
            replayable_until: expires.map_or(Timestamp::MAX, |expires| expires.instant()),
            payer: Some(guest),
            artefact,
        })
    }
    fn execute<'a>(&'a self, it: &'a Artefact) -> BoxFuture<'a, Result<Settled, ExecuteError>> {
        Box::pin(async move {
            let line = Object::parse(&it.bytes).map_err(|_| no("not a line"));
            let line: Line = line
                .and_then(|line| read(&line))
                .map_err(ExecuteError::Refused)?;
            let settled = Settled {
                reference: format!("{}/{}", line.guest, line.call),
                at: Timestamp::parse_rfc3339(&line.at).unwrap_or(Timestamp::MAX),
                amount: self.amount(&line.amount).map_err(ExecuteError::Refused)?,
                payer: Some(line.guest),
                payee: line.bar,
                receipt: Vec::new(),
            };
            let mut tab = self
                .tab
                .lock()
                .map_err(|_| ExecuteError::Unknown("the tab".into()))?;
            // However often it is executed, it is written down once.
            Ok(tab.entry(it.rail_key.clone()).or_insert(settled).clone())
        })
    }
    fn lookup<'a>(&'a self, it: &'a Artefact) -> BoxFuture<'a, Result<Lookup, RailUnavailable>> {
        Box::pin(async move {
            let tab = self
                .tab
                .lock()
                .map_err(|_| RailUnavailable("the tab".into()))?;
            let found = tab.get(&it.rail_key).cloned();
            Ok(found.map_or(Lookup::Pending, |settled| Lookup::Done(Box::new(settled))))
        })
    }
    fn prepare_refund<'a>(
        &'a self,
        _: RefundRequest<'a>,
    ) -> BoxFuture<'a, Result<Artefact, RefundError>> {
        Box::pin(async { Err(RefundError::Unsupported) })
    }
}

/// A guest: the payer's side.
pub(crate) struct Guest {
    pub(crate) name: MethodName,
    pub(crate) intents: Vec<IntentName>,
    pub(crate) guest: String,
    pub(crate) secret: Vec<u8>,
    pub(crate) currency: Currency,
}

impl Payer for Guest {
    fn name(&self) -> &MethodName {
        &self.name
    }
    fn intents(&self) -> &[IntentName] {
        &self.intents
    }
    fn policy_view(&self, challenge: &Challenge) -> Result<PolicyView, Unpayable> {
        let asked: Result<Asked, Refusal> = read(challenge.params.request.object());
        let asked = asked.map_err(|refusal| Unpayable::Malformed(refusal.detail))?;
        let units = asked
            .amount
            .parse()
            .map_err(|_| Unpayable::Malformed(asked.amount))?;
        let amount = self.currency.units(units);
        let network = "the tab of a bar".to_owned();
        Ok(PolicyView {
            amount,
            payee: asked.bar,
            network,
            expires: None,
        })
    }
    fn prepare<'a>(
        &'a self,
        challenge: &'a Challenge,
        _: Timestamp,
        call: CallKey,
    ) -> BoxFuture<'a, Result<Artefact, PayError>> {
        let call = base64url::encode(call.as_bytes());
        let tag = mac(&self.secret, challenge, &call).finalize().into_bytes();
        let tag = base64url::encode(&tag);
        let signed = Signed {
            guest: self.guest.clone(),
            call,
            tag,
        };
        Box::pin(async move { Ok(artefact(&signed.guest, &signed.call, &signed)) })
    }
    fn shares_call_key(&self) -> bool {
        true // The bar writes one line for each call, whichever of its credentials comes first.
    }
    fn execute<'a>(&'a self, it: &'a Artefact) -> BoxFuture<'a, Result<Proof, PayError>> {
        let payload = Object::parse(&it.bytes).map_err(|_| PayError::Refused(no("not ours")));
        Box::pin(async move {
            Ok(Proof {
                payload: payload?,
                source: None,
            })
        })
    }
    fn lookup<'a>(&'a self, _: &'a Artefact) -> BoxFuture<'a, Result<Lookup, RailUnavailable>> {
        Box::pin(async { Ok(Lookup::Pending) }) // Only the bar can see its tab.
    }
}

fn mac(secret: &[u8], challenge: &Challenge, call: &str) -> Hmac<Sha256> {
    let mac = Hmac::<Sha256>::new_from_slice(secret);
    let mac = mac.expect("HMAC takes keys of every length, because it hashes long ones");
    mac.chain_update(challenge.id.as_str())
        .chain_update("/")
        .chain_update(call)
}
fn artefact(guest: &str, call: &str, what: &impl Serialize) -> Artefact {
    let bytes = object(what).as_str().as_bytes().to_vec();
    Artefact {
        rail_key: format!("{guest}/{call}").into_bytes(),
        bytes: bytes.into(),
    }
}
fn object(what: &impl Serialize) -> Object {
    Object::serialize(what).expect("structs of strings are JSON objects")
}
fn read<T: DeserializeOwned>(object: &Object) -> Result<T, Refusal> {
    object
        .deserialize()
        .map_err(|_| no("a member is missing or of another type"))
}
fn no(detail: &str) -> Refusal {
    Refusal {
        kind: RefusalKind::Invalid,
        detail: detail.to_owned(),
    }
}
