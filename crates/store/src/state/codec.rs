//! Events and states as bytes: CBOR arrays.
//!
//! An event is `[tag, ...]`, a change within it `[tag, ...]`, a state `[version, ...]`. A tag
//! stands for a kind *and* its fields: whoever adds a field gives out the next tag, and goes on
//! reading the old one. Integers are unsigned, hashes byte strings of their length, absent values
//! `null`.

mod change;
mod channel;
mod claim;

use std::{convert::Infallible, sync::Arc};

use minicbor::{Decoder, Encoder, decode, encode};
use stiver_core::Timestamp;
use stiver_wal::Inconsistent;

use super::{Entry, State};
use crate::{
    command::NewClaim,
    event::{Change, Event},
    limits::Limits,
};

type Writer<'a> = Encoder<&'a mut Vec<u8>>;
type Reader<'a> = Decoder<'a>;
type Written = Result<(), encode::Error<Infallible>>;
type Read<T> = Result<T, decode::Error>;

/// Layout of a state.
const STATE_VERSION: u8 = 2;
/// The layout before there were channels.
const STATE_WITHOUT_CHANNELS: u8 = 1;

const CLAIMED: u8 = 1;
const CHANGED: u8 = 2;
const CONFIGURED: u8 = 3;
/// As [`CLAIMED`], and the handler runs before settlement.
const CLAIMED_HANDLER_FIRST: u8 = 4;

pub(super) fn write_event(event: &Event, into: &mut Vec<u8>) {
    let mut w = Encoder::new(into);
    let written = match event {
        Event::Claimed(new) => write_claimed(&mut w, new),
        Event::Changed {
            challenge_id,
            change,
        } => write_changed(&mut w, challenge_id, change),
        Event::Configured(limits) => write_configured(&mut w, limits),
        Event::Channel(event) => channel::write_event(&mut w, event),
    };
    written.expect("writing to memory cannot fail");
}

pub(super) fn read_event(bytes: &[u8]) -> Result<Event, Inconsistent> {
    read_all(bytes, "event", |r| match tag(r)? {
        (CLAIMED, 11) => Ok(Event::Claimed(Box::new(read_claimed(r, false)?))),
        (CLAIMED_HANDLER_FIRST, 11) => Ok(Event::Claimed(Box::new(read_claimed(r, true)?))),
        (CHANGED, 2) => Ok(Event::Changed {
            challenge_id: r.str()?.to_owned(),
            change: change::read(r)?,
        }),
        (CONFIGURED, 4) => Ok(Event::Configured(read_limits(r)?)),
        tag => match channel::read_event(r, tag)? {
            Some(event) => Ok(Event::Channel(event)),
            None => Err(unknown("an event", tag.0)),
        },
    })
}

pub(super) fn write_state(state: &State) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_whole(&mut Encoder::new(&mut bytes), state).expect("writing to memory cannot fail");
    bytes
}

pub(super) fn read_state(bytes: &[u8]) -> Result<State, Inconsistent> {
    let (limits, next, entries, (channels, keys)) = read_all(bytes, "snapshot", |r| {
        let has_channels = match tag(r)? {
            (STATE_VERSION, 8) => true,
            (STATE_WITHOUT_CHANNELS, 6) => false,
            (other, _) => return Err(unknown("a snapshot", other)),
        };
        let limits = read_limits(r)?;
        let next = r.u64()?;
        let entries = list(r, read_entry)?;
        let channels = match has_channels {
            true => channel::read_all(r)?,
            false => Default::default(),
        };
        Ok((limits, next, entries, channels))
    })?;
    let mut state = State::new(limits);
    state.next = next;
    for entry in entries {
        state.insert(entry.claim.challenge_id.as_str().into(), entry)?;
    }
    for (id, record) in channels {
        state.channels.insert(id, record)?;
    }
    for (key, keyed) in keys {
        state.channels.keys.insert(key, keyed);
    }
    Ok(state)
}

fn write_claimed(w: &mut Writer<'_>, new: &NewClaim) -> Written {
    let tag = if new.handler_first {
        CLAIMED_HANDLER_FIRST
    } else {
        CLAIMED
    };
    w.array(12)?.u8(tag)?.str(&new.challenge_id)?;
    w.bytes(&new.credential_hash)?.bytes(&new.request_hash)?;
    maybe_bytes(w, new.idempotency_key_hash.as_ref().map(|it| &it[..]))?;
    write_keys(w, &new.replay_keys)?;
    w.bytes(&new.details)?.bytes(&new.artefact)?;
    w.u64(new.owner)?.u64(new.lease_ms)?.bytes(&new.attempt)?;
    w.u64(new.retain_until.as_millis())?.ok()
}

fn read_claimed(r: &mut Reader<'_>, handler_first: bool) -> Read<NewClaim> {
    Ok(NewClaim {
        challenge_id: r.str()?.to_owned(),
        credential_hash: fixed(r)?,
        request_hash: fixed(r)?,
        idempotency_key_hash: maybe(r, fixed)?,
        replay_keys: list(r, fixed)?,
        details: shared(r)?,
        artefact: r.bytes()?.into(),
        handler_first,
        owner: r.u64()?,
        lease_ms: r.u64()?,
        attempt: fixed(r)?,
        retain_until: instant(r)?,
    })
}

fn write_changed(w: &mut Writer<'_>, id: &str, change: &Change) -> Written {
    w.array(3)?.u8(CHANGED)?.str(id)?;
    change::write(w, change)
}

fn write_configured(w: &mut Writer<'_>, limits: &Limits) -> Written {
    w.array(5)?.u8(CONFIGURED)?;
    write_limits(w, limits)
}

/// Four items.
fn write_limits(w: &mut Writer<'_>, limits: &Limits) -> Written {
    let claims_max = u64::try_from(limits.claims_max).unwrap_or(u64::MAX);
    w.u64(claims_max)?.u64(limits.claims_bytes_max)?;
    w.u64(limits.response_bytes_max)?
        .u64(limits.responses_bytes_max)?
        .ok()
}

fn read_limits(r: &mut Reader<'_>) -> Read<Limits> {
    Ok(Limits {
        claims_max: usize::try_from(r.u64()?).unwrap_or(usize::MAX),
        claims_bytes_max: r.u64()?,
        response_bytes_max: r.u64()?,
        responses_bytes_max: r.u64()?,
    })
}

fn write_whole(w: &mut Writer<'_>, state: &State) -> Written {
    let mut entries: Vec<&Entry> = state.claims.values().collect();
    entries.sort_unstable_by_key(|entry| entry.number);
    w.array(9)?.u8(STATE_VERSION)?;
    write_limits(w, &state.limits)?;
    w.u64(state.next)?.array(length(entries.len()))?;
    for entry in entries {
        w.array(4)?.u64(entry.number)?;
        match entry.response {
            Some(number) => w.u64(number)?,
            None => w.null()?,
        };
        write_keys(w, &entry.replay_keys)?;
        claim::write(w, &entry.claim)?;
    }
    channel::write_all(w, &state.channels)
}

fn read_entry(r: &mut Reader<'_>) -> Read<Entry> {
    array(r, 4)?;
    Ok(Entry {
        number: r.u64()?,
        response: maybe(r, Reader::u64)?,
        replay_keys: list(r, fixed)?,
        claim: claim::read(r)?,
    })
}

fn write_keys(w: &mut Writer<'_>, keys: &[[u8; 32]]) -> Written {
    w.array(length(keys.len()))?;
    for key in keys {
        w.bytes(key)?;
    }
    Ok(())
}

fn maybe_bytes(w: &mut Writer<'_>, bytes: Option<&[u8]>) -> Written {
    match bytes {
        Some(bytes) => w.bytes(bytes)?.ok(),
        None => w.null()?.ok(),
    }
}

fn length(items: usize) -> u64 {
    u64::try_from(items).expect("a length fits 64 bits, because memory is smaller")
}

/// Reads one item that fills all bytes.
fn read_all<T>(
    bytes: &[u8],
    what: &str,
    read: impl FnOnce(&mut Reader<'_>) -> Read<T>,
) -> Result<T, Inconsistent> {
    let mut r = Decoder::new(bytes);
    let value = read(&mut r).map_err(|cause| {
        let at = r.position();
        Inconsistent(format!(
            "the store cannot read an {what}, at byte {at}: {cause}"
        ))
    })?;
    if r.position() == bytes.len() {
        Ok(value)
    } else {
        Err(Inconsistent(format!(
            "the store has read an {what}, and bytes follow it"
        )))
    }
}

/// The head of a tagged array: its tag and how many items follow.
fn tag(r: &mut Reader<'_>) -> Read<(u8, u64)> {
    let items = r.array()?.and_then(|items| items.checked_sub(1));
    let items = items.ok_or_else(|| decode::Error::message("not a tagged array"))?;
    Ok((r.u8()?, items))
}

fn unknown(what: &str, tag: u8) -> decode::Error {
    decode::Error::message(format!(
        "{what} of kind {tag}: was it written by a newer version?"
    ))
}

fn array(r: &mut Reader<'_>, items: u64) -> Read<()> {
    if r.array()? == Some(items) {
        Ok(())
    } else {
        Err(decode::Error::message(format!("not an array of {items}")))
    }
}

fn list<'a, T>(r: &mut Reader<'a>, read: impl Fn(&mut Reader<'a>) -> Read<T>) -> Read<Vec<T>> {
    let items = r
        .array()?
        .ok_or_else(|| decode::Error::message("an array without length"))?;
    (0..items).map(|_| read(r)).collect()
}

fn maybe<'a, T>(
    r: &mut Reader<'a>,
    read: impl FnOnce(&mut Reader<'a>) -> Read<T>,
) -> Read<Option<T>> {
    if r.datatype()? == minicbor::data::Type::Null {
        r.null()?;
        Ok(None)
    } else {
        read(r).map(Some)
    }
}

fn fixed<const N: usize>(r: &mut Reader<'_>) -> Read<[u8; N]> {
    let bytes = r.bytes()?;
    bytes
        .try_into()
        .map_err(|_| decode::Error::message(format!("not {N} bytes")))
}

fn shared(r: &mut Reader<'_>) -> Read<Arc<[u8]>> {
    Ok(r.bytes()?.into())
}

fn instant(r: &mut Reader<'_>) -> Read<Timestamp> {
    Ok(Timestamp::from_millis(r.u64()?))
}
