//! The hostile rail's objects on the wire, and its artefact.

use serde::{Deserialize, Serialize};
use stiver_core::{Amount, Currency, amount::parse_base_units, json::Object, name::ChallengeId};
use stiver_method::artefact::{Artefact, Refusal, RefusalKind};
use zeroize::Zeroizing;

/// `request`
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    pub(super) amount: String,
    pub(super) currency: String,
    /// Another one in each challenge: terms do not include it.
    pub(super) invoice: String,
    pub(super) recipient: String,
}

/// `payload`: a promise of `payer`, bound to one challenge.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Payload {
    pub(super) amount: String,
    pub(super) challenge: String,
    pub(super) key: String,
    pub(super) payer: String,
}

/// What an artefact's bytes say.
#[derive(Serialize, Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub(super) struct Transfer {
    pub(super) amount: String,
    pub(super) challenge: String,
    pub(super) from: String,
    pub(super) key: String,
    pub(super) refund: bool,
    pub(super) to: String,
}

impl Request {
    pub(super) fn read(object: &Object, currency: &Currency) -> Result<(Self, Amount), Refusal> {
        let request: Self = object.deserialize().map_err(|_| invalid("the request"))?;
        if request.currency != currency.code() {
            return Err(invalid("the currency"));
        }
        let units = parse_base_units(&request.amount, 128).map_err(|_| invalid("the amount"))?;
        Ok((request, currency.units(units)))
    }
}

impl Payload {
    pub(super) fn read(object: &Object) -> Result<Self, Refusal> {
        object.deserialize().map_err(|_| invalid("the payload"))
    }

    pub(super) fn is_for(&self, id: &ChallengeId, amount: &Amount) -> bool {
        self.challenge == id.as_str() && self.amount == amount.to_wire()
    }
}

impl Transfer {
    pub(super) fn into_artefact(self) -> Artefact {
        let object = Object::serialize(&self).expect("a struct of strings is a JSON object");
        Artefact {
            rail_key: self.key.into_bytes(),
            bytes: Zeroizing::new(object.as_str().as_bytes().to_vec()),
        }
    }

    pub(super) fn read(artefact: &Artefact) -> Result<Self, Refusal> {
        let object = Object::parse(&artefact.bytes).map_err(|_| invalid("the artefact"))?;
        let transfer: Self = object.deserialize().map_err(|_| invalid("the artefact"))?;
        if transfer.key.as_bytes() != artefact.rail_key {
            return Err(invalid("the artefact's key"));
        }
        Ok(transfer)
    }

    pub(super) fn units(&self) -> Result<u128, Refusal> {
        parse_base_units(&self.amount, 128).map_err(|_| invalid("the artefact's amount"))
    }
}

pub(super) fn invalid(what: &str) -> Refusal {
    Refusal {
        kind: RefusalKind::Invalid,
        detail: format!("the hostile rail cannot accept {what}"),
    }
}
