//! The outbox's log on disk, as JSON. Mirrors [`super::machine`] field by field; the version is the
//! machine's.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use stiver_core::{Amount, Currency, Timestamp, base64url};
use stiver_method::artefact::Artefact;
use stiver_wal::Inconsistent;
use zeroize::Zeroizing;

use super::{
    entry::{CallId, Entry, Resource, State, StoredRequest, Terms},
    machine::{Change, Event, Live},
    seal::Sealed,
};

#[derive(Serialize, Deserialize)]
struct EventWire {
    id: String,
    #[serde(flatten)]
    change: ChangeWire,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
enum ChangeWire {
    Begun {
        resource: ResourceWire,
        terms: TermsWire,
        secret: String,
    },
    Rechallenged {
        terms: TermsWire,
        secret: String,
    },
    Authorised {
        secret: String,
    },
    Sent {
        secret: String,
    },
    Refused {
        note: String,
    },
    Unknown {
        note: String,
    },
    Unread {
        receipt: Option<String>,
        reference: Option<String>,
        note: Option<String>,
    },
    Paid {
        receipt: Option<String>,
        reference: Option<String>,
        note: Option<String>,
    },
    Settled {
        reference: String,
    },
    Void {
        note: String,
    },
    Abandoned {
        note: String,
    },
}

#[derive(Serialize, Deserialize)]
struct ResourceWire {
    origin: String,
    method: String,
    url: String,
}

#[derive(Serialize, Deserialize)]
struct TermsWire {
    units: String,
    currency: String,
    decimals: u8,
    payee: String,
    network: String,
    realm: String,
    method: String,
    intent: String,
    challenge_id: String,
    expires_ms: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct LiveWire {
    id: String,
    state: String,
    begun_at_ms: u64,
    changed_at_ms: u64,
    resource: ResourceWire,
    terms: TermsWire,
    signatures: u32,
    note: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    receipt: Option<String>,
    request: String,
    rechallenge: Option<String>,
    artefacts: Vec<String>,
    credential: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct RequestWire {
    fields: Vec<(String, String)>,
    body: Option<String>,
    body_digest: String,
    challenge: String,
}

#[derive(Serialize, Deserialize)]
struct ArtefactWire {
    rail_key: String,
    bytes: String,
}

/// Writes an event.
pub(super) fn encode_event(event: &Event, into: &mut Vec<u8>) {
    let wire = EventWire {
        id: event.id.to_string(),
        change: ChangeWire::from(&event.change),
    };
    encode(&wire, into);
}

/// Reads an event.
pub(super) fn decode_event(bytes: &[u8]) -> Result<Event, Inconsistent> {
    let wire: EventWire = decode(bytes, "an outbox event")?;
    Ok(Event {
        id: call_id(&wire.id)?,
        change: Change::try_from(wire.change)?,
    })
}

/// Writes a state.
pub(super) fn encode_state<'a>(live: impl Iterator<Item = &'a Live>) -> Vec<u8> {
    let wire: Vec<LiveWire> = live.map(LiveWire::from).collect();
    let mut bytes = Vec::new();
    encode(&wire, &mut bytes);
    bytes
}

/// Reads a state.
pub(super) fn decode_state(bytes: &[u8]) -> Result<Vec<Live>, Inconsistent> {
    let wire: Vec<LiveWire> = decode(bytes, "an outbox snapshot")?;
    wire.into_iter().map(Live::try_from).collect()
}

/// Writes a request and the challenge it met, to be sealed.
pub(super) fn encode_request(request: &StoredRequest, challenge: &str) -> Zeroizing<Vec<u8>> {
    let wire = RequestWire {
        fields: request
            .fields
            .iter()
            .map(|(name, value)| (name.clone(), base64url::encode(value)))
            .collect(),
        body: request.body.as_ref().map(|body| base64url::encode(body)),
        body_digest: base64url::encode(&request.body_digest),
        challenge: challenge.to_owned(),
    };
    let mut bytes = Zeroizing::new(Vec::new());
    encode(&wire, &mut bytes);
    bytes
}

/// Reads a request and its challenge.
pub(super) fn decode_request(bytes: &[u8]) -> Result<(StoredRequest, String), Inconsistent> {
    let wire: RequestWire = decode(bytes, "a stored request")?;
    let fields = wire
        .fields
        .into_iter()
        .map(|(name, value)| Ok((name, binary(&value)?)))
        .collect::<Result<Vec<_>, Inconsistent>>()?;
    let body = wire.body.as_deref().map(binary).transpose()?;
    let body_digest = <[u8; 32]>::try_from(binary(&wire.body_digest)?.as_slice())
        .map_err(|_| Inconsistent("a stored request has no digest of 32 bytes".into()))?;
    let request = StoredRequest {
        fields: Zeroizing::new(fields),
        body: body.map(Zeroizing::new),
        body_digest,
    };
    Ok((request, wire.challenge))
}

/// Writes an artefact, to be sealed.
pub(crate) fn encode_artefact(artefact: &Artefact) -> Zeroizing<Vec<u8>> {
    let wire = ArtefactWire {
        rail_key: base64url::encode(&artefact.rail_key),
        bytes: base64url::encode(&artefact.bytes),
    };
    let mut bytes = Zeroizing::new(Vec::new());
    encode(&wire, &mut bytes);
    bytes
}

/// Reads an artefact.
pub(crate) fn decode_artefact(bytes: &[u8]) -> Result<Artefact, Inconsistent> {
    let wire: ArtefactWire = decode(bytes, "a stored artefact")?;
    Ok(Artefact {
        rail_key: binary(&wire.rail_key)?,
        bytes: Zeroizing::new(binary(&wire.bytes)?),
    })
}

fn encode<T: Serialize>(value: &T, into: &mut Vec<u8>) {
    let json = serde_json::to_vec(value)
        .expect("strings, integers and lists of them serialise because no map key is involved");
    into.extend_from_slice(&json);
}

fn decode<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, Inconsistent> {
    serde_json::from_slice(bytes)
        .map_err(|error| Inconsistent(format!("{what} cannot be read: {error}")))
}

fn binary(text: &str) -> Result<Vec<u8>, Inconsistent> {
    base64url::decode(text.as_bytes()).map_err(|error| Inconsistent(error.to_string()))
}

fn sealed(text: &str) -> Result<Sealed, Inconsistent> {
    Ok(Sealed::from_bytes(binary(text)?))
}

fn call_id(text: &str) -> Result<CallId, Inconsistent> {
    text.parse()
        .map_err(|error: super::entry::CallIdError| Inconsistent(error.to_string()))
}

fn text(sealed: &Sealed) -> String {
    base64url::encode(sealed.as_bytes())
}

impl From<&Change> for ChangeWire {
    fn from(change: &Change) -> Self {
        match change {
            Change::Begun {
                resource,
                terms,
                secret,
            } => Self::Begun {
                resource: resource.into(),
                terms: terms.into(),
                secret: text(secret),
            },
            Change::Rechallenged { terms, secret } => Self::Rechallenged {
                terms: terms.into(),
                secret: text(secret),
            },
            Change::Authorised { secret } => Self::Authorised {
                secret: text(secret),
            },
            Change::Sent { secret } => Self::Sent {
                secret: text(secret),
            },
            Change::Refused { note } => Self::Refused { note: note.clone() },
            Change::Unknown { note } => Self::Unknown { note: note.clone() },
            Change::Unread {
                receipt,
                reference,
                note,
            } => Self::Unread {
                receipt: receipt.clone(),
                reference: reference.clone(),
                note: note.clone(),
            },
            Change::Paid {
                receipt,
                reference,
                note,
            } => Self::Paid {
                receipt: receipt.clone(),
                reference: reference.clone(),
                note: note.clone(),
            },
            Change::Settled { reference } => Self::Settled {
                reference: reference.clone(),
            },
            Change::Void { note } => Self::Void { note: note.clone() },
            Change::Abandoned { note } => Self::Abandoned { note: note.clone() },
        }
    }
}

impl TryFrom<ChangeWire> for Change {
    type Error = Inconsistent;

    fn try_from(wire: ChangeWire) -> Result<Self, Inconsistent> {
        Ok(match wire {
            ChangeWire::Begun {
                resource,
                terms,
                secret,
            } => Self::Begun {
                resource: resource.into(),
                terms: terms.try_into()?,
                secret: sealed(&secret)?,
            },
            ChangeWire::Rechallenged { terms, secret } => Self::Rechallenged {
                terms: terms.try_into()?,
                secret: sealed(&secret)?,
            },
            ChangeWire::Authorised { secret } => Self::Authorised {
                secret: sealed(&secret)?,
            },
            ChangeWire::Sent { secret } => Self::Sent {
                secret: sealed(&secret)?,
            },
            ChangeWire::Refused { note } => Self::Refused { note },
            ChangeWire::Unknown { note } => Self::Unknown { note },
            ChangeWire::Unread {
                receipt,
                reference,
                note,
            } => Self::Unread {
                receipt,
                reference,
                note,
            },
            ChangeWire::Paid {
                receipt,
                reference,
                note,
            } => Self::Paid {
                receipt,
                reference,
                note,
            },
            ChangeWire::Settled { reference } => Self::Settled { reference },
            ChangeWire::Void { note } => Self::Void { note },
            ChangeWire::Abandoned { note } => Self::Abandoned { note },
        })
    }
}

impl From<&Resource> for ResourceWire {
    fn from(resource: &Resource) -> Self {
        Self {
            origin: resource.origin.clone(),
            method: resource.method.clone(),
            url: resource.url.clone(),
        }
    }
}

impl From<ResourceWire> for Resource {
    fn from(wire: ResourceWire) -> Self {
        Self {
            origin: wire.origin,
            method: wire.method,
            url: wire.url,
        }
    }
}

impl From<&Terms> for TermsWire {
    fn from(terms: &Terms) -> Self {
        Self {
            units: terms.amount.to_wire(),
            currency: terms.amount.currency().code().to_owned(),
            decimals: terms.amount.currency().decimals(),
            payee: terms.payee.clone(),
            network: terms.network.clone(),
            realm: terms.realm.clone(),
            method: terms.method.clone(),
            intent: terms.intent.clone(),
            challenge_id: terms.challenge_id.clone(),
            expires_ms: terms.expires.map(Timestamp::as_millis),
        }
    }
}

impl TryFrom<TermsWire> for Terms {
    type Error = Inconsistent;

    fn try_from(wire: TermsWire) -> Result<Self, Inconsistent> {
        let currency = Currency::new(&wire.currency, wire.decimals)
            .map_err(|error| Inconsistent(format!("a currency in the outbox: {error}")))?;
        let units = stiver_core::amount::parse_base_units(&wire.units, 128)
            .map_err(|error| Inconsistent(format!("an amount in the outbox: {error}")))?;
        let amount: Amount = currency.units(units);
        Ok(Self {
            amount,
            payee: wire.payee,
            network: wire.network,
            realm: wire.realm,
            method: wire.method,
            intent: wire.intent,
            challenge_id: wire.challenge_id,
            expires: wire.expires_ms.map(Timestamp::from_millis),
        })
    }
}

impl From<&Live> for LiveWire {
    fn from(live: &Live) -> Self {
        let entry = &live.entry;
        Self {
            id: entry.id.to_string(),
            state: entry.state.as_str().to_owned(),
            begun_at_ms: entry.begun_at.as_millis(),
            changed_at_ms: entry.changed_at.as_millis(),
            resource: (&entry.resource).into(),
            terms: (&entry.terms).into(),
            signatures: entry.signatures,
            note: entry.note.clone(),
            reference: entry.reference.clone(),
            receipt: entry.receipt.clone(),
            request: text(&live.request),
            rechallenge: live.rechallenge.as_ref().map(text),
            artefacts: live.artefacts.iter().map(text).collect(),
            credential: live.credential.as_ref().map(text),
        }
    }
}

impl TryFrom<LiveWire> for Live {
    type Error = Inconsistent;

    fn try_from(wire: LiveWire) -> Result<Self, Inconsistent> {
        let state = match wire.state.as_str() {
            "challenged" => State::Challenged,
            "authorised" => State::Authorised,
            "sent" => State::Sent,
            "refused" => State::Refused,
            "unknown" => State::Unknown,
            "unread" => State::Unread,
            other => {
                let why = format!("an open call cannot be {other:?}");
                return Err(Inconsistent(why));
            }
        };
        Ok(Self {
            entry: Entry {
                id: call_id(&wire.id)?,
                state,
                begun_at: Timestamp::from_millis(wire.begun_at_ms),
                changed_at: Timestamp::from_millis(wire.changed_at_ms),
                resource: wire.resource.into(),
                terms: wire.terms.try_into()?,
                signatures: wire.signatures,
                note: wire.note,
                reference: wire.reference,
                receipt: wire.receipt,
            },
            request: sealed(&wire.request)?,
            rechallenge: wire.rechallenge.as_deref().map(sealed).transpose()?,
            artefacts: wire
                .artefacts
                .iter()
                .map(|text| sealed(text))
                .collect::<Result<_, _>>()?,
            credential: wire.credential.as_deref().map(sealed).transpose()?,
        })
    }
}
