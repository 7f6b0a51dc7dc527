//! The offers of a 402, in words and in JSON, also those that this wallet cannot pay.

use serde_json::{Value, json};
use stiver_core::{Currency, amount::parse_base_units, challenge::Challenge, untrusted::Untrusted};
use stiver_method_ledger::{METHOD, wire::Request};

use super::consent::Seen;
use crate::commands::inspect::challenge_of;

/// Amounts on the wire are at most this wide.
const AMOUNT_BITS: u8 = 128;

/// True for a charge by the ledger method.
pub(super) fn is_ledger(challenge: &Challenge) -> bool {
    challenge.params.method.as_str() == METHOD
}

/// What all offers ask, in one line.
pub(super) fn in_words(challenges: &[Challenge]) -> String {
    let offers: Vec<String> = challenges.iter().map(one_in_words).collect();
    match offers.as_slice() {
        [] => "payment".to_owned(),
        offers => offers.join(", or "),
    }
}

fn one_in_words(challenge: &Challenge) -> String {
    let method = challenge.params.method.as_str();
    match price(challenge) {
        Some(price) => format!("{price} by {method}"),
        None => format!("payment by {method}"),
    }
}

/// The price, where the offer itself tells the decimals, or the bare base units.
fn price(challenge: &Challenge) -> Option<String> {
    let request = challenge.params.request.object();
    if is_ledger(challenge) {
        let asked: Request = request.deserialize().ok()?;
        let currency = Currency::new(&asked.currency, asked.method_details.decimals).ok()?;
        let units = parse_base_units(&asked.amount, AMOUNT_BITS).ok()?;
        return Some(currency.units(units).to_string());
    }
    let asked: Value = serde_json::from_str(request.as_str()).ok()?;
    let text = |key: &str| asked.get(key).and_then(Value::as_str);
    let (amount, currency) = (text("amount")?, text("currency")?);
    Some(format!(
        "{} base units of {}",
        Untrusted(amount),
        Untrusted(currency)
    ))
}

/// The offers that this wallet could pay, and then the others.
pub(super) fn in_json(seen: &[Seen], challenges: &[Challenge], reason: &str) -> Vec<Value> {
    let mut offers: Vec<Value> = seen.iter().map(payable).collect();
    let methods: Vec<_> = seen
        .iter()
        .filter_map(|seen| seen.view.get("method"))
        .collect();
    for challenge in challenges {
        if !methods
            .iter()
            .any(|method| *method == challenge.params.method.as_str())
        {
            offers.push(unpayable(challenge, reason));
        }
    }
    offers
}

fn payable(seen: &Seen) -> Value {
    let mut offer = seen.view.clone();
    let reason = seen.verdict.why_not();
    offer["payable"] = json!(true);
    offer["allowed"] = json!(reason.is_none());
    offer["reason"] = json!(reason);
    offer
}

fn unpayable(challenge: &Challenge, reason: &str) -> Value {
    let params = &challenge.params;
    json!({
        "payable": false,
        "allowed": false,
        "reason": reason,
        "display": price(challenge),
        "method": params.method.as_str(),
        "intent": params.intent.as_str(),
        "realm": params.realm.as_str(),
        "expires": params.expires.as_ref().map(|expires| expires.as_str()),
        "description": params.description.as_deref().map(|text| Untrusted(text).to_string()),
        "challenge": challenge_of(challenge),
    })
}
