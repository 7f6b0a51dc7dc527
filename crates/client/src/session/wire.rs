//! The session journal on disk, as JSON. The version is the machine's.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use stiver_core::base64url;
use stiver_wal::Inconsistent;

use super::{
    machine::{LiveSession, SessionEvent},
    record::{Session, SessionStep},
};
use crate::outbox::Sealed;

#[derive(Serialize, Deserialize)]
struct EventWire {
    id: String,
    #[serde(flatten)]
    step: SessionStep,
    #[serde(flatten)]
    sealed: SealedWire,
}

#[derive(Serialize, Deserialize)]
struct LiveWire {
    #[serde(flatten)]
    session: Session,
    #[serde(flatten)]
    sealed: SealedWire,
}

#[derive(Serialize, Deserialize)]
struct SealedWire {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    record: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    movement: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct StateWire {
    ended: Vec<Session>,
    live: Vec<LiveWire>,
}

impl SealedWire {
    fn of(record: Option<&Sealed>, movement: Option<&Sealed>) -> Self {
        let text = |sealed: &Sealed| base64url::encode(sealed.as_bytes());
        Self {
            record: record.map(text),
            movement: movement.map(text),
        }
    }

    fn read(self) -> Result<(Option<Sealed>, Option<Sealed>), Inconsistent> {
        let sealed = |text: String| {
            let bytes = base64url::decode(text.as_bytes());
            let bytes = bytes.map_err(|error| Inconsistent(error.to_string()))?;
            Ok(Sealed::from_bytes(bytes))
        };
        let record = self.record.map(sealed).transpose()?;
        Ok((record, self.movement.map(sealed).transpose()?))
    }
}

/// Writes an event.
pub(super) fn encode_event(event: &SessionEvent, into: &mut Vec<u8>) {
    let wire = EventWire {
        id: event.id.to_string(),
        step: event.step.clone(),
        sealed: SealedWire::of(event.record.as_ref(), event.movement.as_ref()),
    };
    encode(&wire, into);
}

/// Reads an event.
pub(super) fn decode_event(bytes: &[u8]) -> Result<SessionEvent, Inconsistent> {
    let wire: EventWire = decode(bytes, "a session event")?;
    let (record, movement) = wire.sealed.read()?;
    let id = wire.id.parse();
    Ok(SessionEvent {
        id: id.map_err(|error: super::SessionIdError| Inconsistent(error.to_string()))?,
        step: wire.step,
        record,
        movement,
    })
}

/// Writes a state.
pub(super) fn encode_state<'a>(
    ended: &[Session],
    live: impl Iterator<Item = &'a LiveSession>,
) -> Vec<u8> {
    let live = live.map(|live| LiveWire {
        session: live.session.clone(),
        sealed: SealedWire::of(live.record.as_ref(), live.movement.as_ref()),
    });
    let state = StateWire {
        ended: ended.to_vec(),
        live: live.collect(),
    };
    let mut bytes = Vec::new();
    encode(&state, &mut bytes);
    bytes
}

/// Reads a state: the final channels, and the others.
pub(super) fn decode_state(bytes: &[u8]) -> Result<(Vec<Session>, Vec<LiveSession>), Inconsistent> {
    let state: StateWire = decode(bytes, "a session snapshot")?;
    let live = state.live.into_iter().map(|wire| {
        let (record, movement) = wire.sealed.read()?;
        Ok(LiveSession {
            session: wire.session,
            record,
            movement,
        })
    });
    Ok((state.ended, live.collect::<Result<_, Inconsistent>>()?))
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

/// Base units as a decimal string.
pub(super) mod units {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use stiver_core::amount::parse_base_units;

    pub(in crate::session) fn serialize<S: Serializer>(
        units: &u128,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(units)
    }

    pub(in crate::session) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<u128, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_base_units(&text, 128).map_err(Error::custom)
    }
}

/// Base units that may be unknown.
pub(super) mod some_units {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use stiver_core::amount::parse_base_units;

    #[expect(clippy::ref_option, reason = "serde passes the field by reference")]
    pub(in crate::session) fn serialize<S: Serializer>(
        units: &Option<u128>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match units {
            Some(units) => serializer.collect_str(units),
            None => serializer.serialize_none(),
        }
    }

    pub(in crate::session) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<u128>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        let units = text.map(|text| parse_base_units(&text, 128));
        units.transpose().map_err(Error::custom)
    }
}

/// What prints and parses: ids and states.
pub(super) mod text {
    use std::{fmt::Display, str::FromStr};

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(in crate::session) fn serialize<T: Display, S: Serializer>(
        value: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(in crate::session) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(Error::custom)
    }
}

/// Instants as milliseconds.
pub(super) mod millis {
    use serde::{Deserialize, Deserializer, Serializer};
    use stiver_core::Timestamp;

    pub(in crate::session) fn serialize<S: Serializer>(
        at: &Timestamp,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(at.as_millis())
    }

    pub(in crate::session) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Timestamp, D::Error> {
        u64::deserialize(deserializer).map(Timestamp::from_millis)
    }
}

/// Instants that may be unknown.
pub(super) mod some_millis {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use stiver_core::Timestamp;

    #[expect(clippy::ref_option, reason = "serde passes the field by reference")]
    pub(in crate::session) fn serialize<S: Serializer>(
        at: &Option<Timestamp>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        at.map(Timestamp::as_millis).serialize(serializer)
    }

    pub(in crate::session) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        let at = Option::<u64>::deserialize(deserializer)?;
        Ok(at.map(Timestamp::from_millis))
    }
}

/// A currency by its code and decimals.
pub(super) mod currency {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
    use stiver_core::Currency;

    #[derive(Serialize, Deserialize)]
    struct Wire {
        code: String,
        decimals: u8,
    }

    pub(in crate::session) fn serialize<S: Serializer>(
        currency: &Currency,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let code = currency.code().to_owned();
        let decimals = currency.decimals();
        Wire { code, decimals }.serialize(serializer)
    }

    pub(in crate::session) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Currency, D::Error> {
        let wire = Wire::deserialize(deserializer)?;
        Currency::new(&wire.code, wire.decimals).map_err(Error::custom)
    }
}

/// Requests and what was agreed for each.
pub(super) mod requests {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use stiver_core::amount::parse_base_units;

    use crate::CallId;

    pub(in crate::session) fn serialize<S: Serializer>(
        requests: &BTreeMap<CallId, u128>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let requests = requests.iter();
        serializer.collect_map(requests.map(|(call, units)| (call.to_string(), units.to_string())))
    }

    pub(in crate::session) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<CallId, u128>, D::Error> {
        let requests = BTreeMap::<String, String>::deserialize(deserializer)?;
        let requests = requests.iter().map(|(call, units)| {
            let call: CallId = call.parse().map_err(Error::custom)?;
            let units = parse_base_units(units, 128).map_err(Error::custom)?;
            Ok((call, units))
        });
        requests.collect()
    }
}
