//! The session journal on disk, as JSON. Mirrors [`super::machine`] field by field; the version is
//! the machine's.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use stiver_core::{Currency, Timestamp, amount::parse_base_units, base64url};
use stiver_wal::Inconsistent;

use super::{
    machine::{LiveSession, SessionChange, SessionEvent},
    record::{Bounds, Session, SessionId, SessionState, SessionTerms, Told},
};
use crate::{CallId, outbox::Sealed};

/// Base units, as a decimal string.
#[derive(Clone, Copy)]
struct Units(u128);

impl Serialize for Units {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Units {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let units = parse_base_units(&text, 128);
        units.map(Self).map_err(serde::de::Error::custom)
    }
}

#[derive(Serialize, Deserialize)]
struct EventWire {
    id: String,
    #[serde(flatten)]
    change: ChangeWire,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
enum ChangeWire {
    Intended {
        terms: TermsWire,
        url: String,
        challenge: String,
        bounds: BoundsWire,
    },
    Opening {
        channel: String,
        deposit: Units,
        grain: Units,
        record: String,
        movement: String,
    },
    Opened,
    Signing {
        request: String,
        cost: Units,
        cumulative: Units,
    },
    Answered {
        request: String,
        accepted: Option<Units>,
        spent: Option<Units>,
        note: Option<String>,
    },
    Released {
        request: String,
        note: String,
    },
    ToppingUp {
        add: Units,
        movement: String,
    },
    ToppedUp,
    TopUpVoid {
        note: String,
    },
    Closing,
    Forcing {
        movement: String,
    },
    Forced {
        withdrawable_at_ms: Option<u64>,
    },
    Withdrawing {
        movement: String,
    },
    Closed {
        captured: Option<Units>,
        note: Option<String>,
    },
    Withdrawn {
        captured: Option<Units>,
    },
    Void {
        note: String,
    },
    Abandoned {
        note: String,
    },
    Noted {
        note: String,
    },
}

#[derive(Serialize, Deserialize)]
struct TermsWire {
    origin: String,
    realm: String,
    method: String,
    network: String,
    payee: String,
    currency: String,
    decimals: u8,
}

#[derive(Serialize, Deserialize)]
struct BoundsWire {
    cap: Units,
    window: Units,
    grain: Units,
}

#[derive(Serialize, Deserialize)]
struct SessionWire {
    id: String,
    state: String,
    begun_at_ms: u64,
    changed_at_ms: u64,
    terms: TermsWire,
    url: String,
    challenge: String,
    bounds: BoundsWire,
    channel: Option<String>,
    deposit: Units,
    asked: Units,
    signed: Units,
    agreed: Units,
    in_flight: BTreeMap<String, Units>,
    accepted: Units,
    spent: Units,
    captured: Option<Units>,
    withdrawable_at_ms: Option<u64>,
    requests: u64,
    vouchers: u64,
    note: Option<String>,
    record: Option<String>,
    movement: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct StateWire {
    ended: Vec<SessionWire>,
    live: Vec<SessionWire>,
}

/// Writes an event.
pub(super) fn encode_event(event: &SessionEvent, into: &mut Vec<u8>) {
    let wire = EventWire {
        id: event.id.to_string(),
        change: ChangeWire::from(&event.change),
    };
    encode(&wire, into);
}

/// Reads an event.
pub(super) fn decode_event(bytes: &[u8]) -> Result<SessionEvent, Inconsistent> {
    let wire: EventWire = decode(bytes, "a session event")?;
    Ok(SessionEvent {
        id: session_id(&wire.id)?,
        change: SessionChange::try_from(wire.change)?,
    })
}

/// Writes a state.
pub(super) fn encode_state<'a>(
    ended: &[Session],
    live: impl Iterator<Item = &'a LiveSession>,
) -> Vec<u8> {
    let ended = ended.iter().map(|session| wire(session, None, None));
    let live = live.map(|live| {
        let text = |sealed: &Sealed| base64url::encode(sealed.as_bytes());
        let record = live.record.as_ref().map(text);
        wire(&live.session, record, live.movement.as_ref().map(text))
    });
    let state = StateWire {
        ended: ended.collect(),
        live: live.collect(),
    };
    let mut bytes = Vec::new();
    encode(&state, &mut bytes);
    bytes
}

/// Reads a state: the final channels, and the others.
pub(super) fn decode_state(bytes: &[u8]) -> Result<(Vec<Session>, Vec<LiveSession>), Inconsistent> {
    let state: StateWire = decode(bytes, "a session snapshot")?;
    let ended = state.ended.into_iter().map(Session::try_from);
    let live = state.live.into_iter().map(|wire| {
        let record = wire.record.as_deref().map(sealed).transpose()?;
        let movement = wire.movement.as_deref().map(sealed).transpose()?;
        Ok(LiveSession {
            session: wire.try_into()?,
            record,
            movement,
        })
    });
    Ok((
        ended.collect::<Result<_, _>>()?,
        live.collect::<Result<_, Inconsistent>>()?,
    ))
}

fn encode<T: Serialize>(value: &T, into: &mut Vec<u8>) {
    let json = serde_json::to_vec(value)
        .expect("strings, integers and lists of them serialise because every map key is a string");
    into.extend_from_slice(&json);
}

fn decode<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, Inconsistent> {
    serde_json::from_slice(bytes)
        .map_err(|error| Inconsistent(format!("{what} cannot be read: {error}")))
}

fn sealed(text: &str) -> Result<Sealed, Inconsistent> {
    let bytes = base64url::decode(text.as_bytes());
    let bytes = bytes.map_err(|error| Inconsistent(error.to_string()))?;
    Ok(Sealed::from_bytes(bytes))
}

fn session_id(text: &str) -> Result<SessionId, Inconsistent> {
    let id = text.parse();
    id.map_err(|error: super::record::SessionIdError| Inconsistent(error.to_string()))
}

fn call_id(text: &str) -> Result<CallId, Inconsistent> {
    let id = text.parse();
    id.map_err(|error: crate::outbox::CallIdError| Inconsistent(error.to_string()))
}

fn units(units: Option<Units>) -> Option<u128> {
    units.map(|units| units.0)
}

impl From<&SessionChange> for ChangeWire {
    fn from(change: &SessionChange) -> Self {
        use SessionChange as C;
        let text = |sealed: &Sealed| base64url::encode(sealed.as_bytes());
        match change {
            C::Intended {
                terms,
                url,
                challenge,
                bounds,
            } => Self::Intended {
                terms: terms.into(),
                url: url.clone(),
                challenge: challenge.clone(),
                bounds: bounds.into(),
            },
            C::Opening {
                channel,
                deposit,
                grain,
                record,
                movement,
            } => Self::Opening {
                channel: channel.clone(),
                deposit: Units(*deposit),
                grain: Units(*grain),
                record: text(record),
                movement: text(movement),
            },
            C::Opened => Self::Opened,
            C::Signing {
                request,
                cost,
                cumulative,
            } => Self::Signing {
                request: request.to_string(),
                cost: Units(*cost),
                cumulative: Units(*cumulative),
            },
            C::Answered {
                request,
                told,
                note,
            } => Self::Answered {
                request: request.to_string(),
                accepted: told.map(|told| Units(told.accepted)),
                spent: told.map(|told| Units(told.spent)),
                note: note.clone(),
            },
            C::Released { request, note } => Self::Released {
                request: request.to_string(),
                note: note.clone(),
            },
            C::ToppingUp { add, movement } => Self::ToppingUp {
                add: Units(*add),
                movement: text(movement),
            },
            C::ToppedUp => Self::ToppedUp,
            C::TopUpVoid { note } => Self::TopUpVoid { note: note.clone() },
            C::Closing => Self::Closing,
            C::Forcing { movement } => Self::Forcing {
                movement: text(movement),
            },
            C::Forced { withdrawable_at } => Self::Forced {
                withdrawable_at_ms: withdrawable_at.map(Timestamp::as_millis),
            },
            C::Withdrawing { movement } => Self::Withdrawing {
                movement: text(movement),
            },
            C::Closed { captured, note } => Self::Closed {
                captured: captured.map(Units),
                note: note.clone(),
            },
            C::Withdrawn { captured } => Self::Withdrawn {
                captured: captured.map(Units),
            },
            C::Void { note } => Self::Void { note: note.clone() },
            C::Abandoned { note } => Self::Abandoned { note: note.clone() },
            C::Noted { note } => Self::Noted { note: note.clone() },
        }
    }
}

impl TryFrom<ChangeWire> for SessionChange {
    type Error = Inconsistent;

    fn try_from(wire: ChangeWire) -> Result<Self, Inconsistent> {
        use ChangeWire as W;
        Ok(match wire {
            W::Intended {
                terms,
                url,
                challenge,
                bounds,
            } => Self::Intended {
                terms: terms.try_into()?,
                url,
                challenge,
                bounds: bounds.into(),
            },
            W::Opening {
                channel,
                deposit,
                grain,
                record,
                movement,
            } => Self::Opening {
                channel,
                deposit: deposit.0,
                grain: grain.0,
                record: sealed(&record)?,
                movement: sealed(&movement)?,
            },
            W::Opened => Self::Opened,
            W::Signing {
                request,
                cost,
                cumulative,
            } => Self::Signing {
                request: call_id(&request)?,
                cost: cost.0,
                cumulative: cumulative.0,
            },
            W::Answered {
                request,
                accepted,
                spent,
                note,
            } => Self::Answered {
                request: call_id(&request)?,
                told: match (accepted, spent) {
                    (Some(Units(accepted)), Some(Units(spent))) => Some(Told { accepted, spent }),
                    _ => None,
                },
                note,
            },
            W::Released { request, note } => Self::Released {
                request: call_id(&request)?,
                note,
            },
            W::ToppingUp { add, movement } => Self::ToppingUp {
                add: add.0,
                movement: sealed(&movement)?,
            },
            W::ToppedUp => Self::ToppedUp,
            W::TopUpVoid { note } => Self::TopUpVoid { note },
            W::Closing => Self::Closing,
            W::Forcing { movement } => Self::Forcing {
                movement: sealed(&movement)?,
            },
            W::Forced { withdrawable_at_ms } => Self::Forced {
                withdrawable_at: withdrawable_at_ms.map(Timestamp::from_millis),
            },
            W::Withdrawing { movement } => Self::Withdrawing {
                movement: sealed(&movement)?,
            },
            W::Closed { captured, note } => Self::Closed {
                captured: units(captured),
                note,
            },
            W::Withdrawn { captured } => Self::Withdrawn {
                captured: units(captured),
            },
            W::Void { note } => Self::Void { note },
            W::Abandoned { note } => Self::Abandoned { note },
            W::Noted { note } => Self::Noted { note },
        })
    }
}

impl From<&SessionTerms> for TermsWire {
    fn from(terms: &SessionTerms) -> Self {
        Self {
            origin: terms.origin.clone(),
            realm: terms.realm.clone(),
            method: terms.method.clone(),
            network: terms.network.clone(),
            payee: terms.payee.clone(),
            currency: terms.currency.code().to_owned(),
            decimals: terms.currency.decimals(),
        }
    }
}

impl TryFrom<TermsWire> for SessionTerms {
    type Error = Inconsistent;

    fn try_from(wire: TermsWire) -> Result<Self, Inconsistent> {
        let currency = Currency::new(&wire.currency, wire.decimals)
            .map_err(|error| Inconsistent(format!("a currency in the journal: {error}")))?;
        Ok(Self {
            origin: wire.origin,
            realm: wire.realm,
            method: wire.method,
            network: wire.network,
            payee: wire.payee,
            currency,
        })
    }
}

impl From<&Bounds> for BoundsWire {
    fn from(bounds: &Bounds) -> Self {
        Self {
            cap: Units(bounds.cap),
            window: Units(bounds.window),
            grain: Units(bounds.grain),
        }
    }
}

impl From<BoundsWire> for Bounds {
    fn from(wire: BoundsWire) -> Self {
        Self {
            cap: wire.cap.0,
            window: wire.window.0,
            grain: wire.grain.0,
        }
    }
}

fn wire(session: &Session, record: Option<String>, movement: Option<String>) -> SessionWire {
    let in_flight = session.in_flight.iter();
    SessionWire {
        id: session.id.to_string(),
        state: session.state.as_str().to_owned(),
        begun_at_ms: session.begun_at.as_millis(),
        changed_at_ms: session.changed_at.as_millis(),
        terms: (&session.terms).into(),
        url: session.url.clone(),
        challenge: session.challenge.clone(),
        bounds: (&session.bounds).into(),
        channel: session.channel.clone(),
        deposit: Units(session.deposit),
        asked: Units(session.asked),
        signed: Units(session.signed),
        agreed: Units(session.agreed),
        in_flight: in_flight
            .map(|(call, cost)| (call.to_string(), Units(*cost)))
            .collect(),
        accepted: Units(session.accepted),
        spent: Units(session.spent),
        captured: session.captured.map(Units),
        withdrawable_at_ms: session.withdrawable_at.map(Timestamp::as_millis),
        requests: session.requests,
        vouchers: session.vouchers,
        note: session.note.clone(),
        record,
        movement,
    }
}

impl TryFrom<SessionWire> for Session {
    type Error = Inconsistent;

    fn try_from(wire: SessionWire) -> Result<Self, Inconsistent> {
        let state = SessionState::parse(&wire.state);
        let state = state.ok_or_else(|| {
            Inconsistent(format!(
                "a session in the journal cannot be {:?}",
                wire.state
            ))
        })?;
        let in_flight = wire.in_flight.iter();
        let in_flight = in_flight.map(|(call, cost)| Ok((call_id(call)?, cost.0)));
        Ok(Self {
            id: session_id(&wire.id)?,
            state,
            begun_at: Timestamp::from_millis(wire.begun_at_ms),
            changed_at: Timestamp::from_millis(wire.changed_at_ms),
            terms: wire.terms.try_into()?,
            url: wire.url,
            challenge: wire.challenge,
            bounds: wire.bounds.into(),
            channel: wire.channel,
            deposit: wire.deposit.0,
            asked: wire.asked.0,
            signed: wire.signed.0,
            agreed: wire.agreed.0,
            in_flight: in_flight.collect::<Result<_, Inconsistent>>()?,
            accepted: wire.accepted.0,
            spent: wire.spent.0,
            captured: units(wire.captured),
            withdrawable_at: wire.withdrawable_at_ms.map(Timestamp::from_millis),
            requests: wire.requests,
            vouchers: wire.vouchers,
            note: wire.note,
        })
    }
}
