//! Events and records of channels as bytes.
//!
//! Amounts are unsigned integers of at most 64 bits, or 16 bytes big-endian.

use std::sync::Arc;

use minicbor::data::Type;
use stiver_channel::{Change, Channel, ChannelId, Figures, Phase, meter::Carry};

use super::{
    Read, Reader, Writer, Written, array, claim, decode, fixed, instant, length, list, maybe,
    maybe_bytes, tag, unknown,
};
use crate::channel::{
    Carried, ChannelEvent, ChannelWork, Channels, KeptAnswer, Keyed, Left, Record, Settling,
    SpendAnswer, SpendKey,
};

const OPENED: u8 = 5;
const PRESENTED: u8 = 6;
const CONCLUDED: u8 = 7;
const APPLIED: u8 = 8;
/// As [`CONCLUDED`], and an answer is kept.
const CONCLUDED_WITH_ANSWER: u8 = 20;
const KEPT: u8 = 21;

pub(super) fn write_event(w: &mut Writer<'_>, event: &ChannelEvent) -> Written {
    match event {
        ChannelEvent::Opened {
            id,
            change,
            proof,
            details,
        } => {
            w.array(5)?.u8(OPENED)?.bytes(&id.0)?;
            write_change(w, change)?;
            maybe_bytes(w, proof.as_deref())?;
            w.bytes(details)?.ok()
        }
        ChannelEvent::Presented {
            id,
            accepted,
            taken,
            key,
        } => {
            w.array(5)?.u8(PRESENTED)?.bytes(&id.0)?;
            match accepted {
                None => w.null()?.ok()?,
                Some((units, proof)) => {
                    w.array(2)?;
                    write_units(w, *units)?;
                    w.bytes(proof)?.ok()?;
                }
            }
            maybe_change(w, taken.as_ref())?;
            match key {
                None => w.null()?.ok(),
                Some(it) => w.array(2)?.bytes(&it.key)?.bytes(&it.request)?.ok(),
            }
        }
        ChannelEvent::Concluded {
            id,
            change,
            key,
            answer,
            carried,
        } => {
            // One item less where nothing is carried: so it was before fractions were.
            let items = 4 + u64::from(answer.is_some()) + u64::from(carried.is_some());
            w.array(items)?.u8(match answer {
                None => CONCLUDED,
                Some(_) => CONCLUDED_WITH_ANSWER,
            })?;
            w.bytes(&id.0)?;
            maybe_change(w, change.as_ref())?;
            maybe_bytes(w, key.as_ref().map(|it| &it[..]))?;
            write_kept(w, answer.as_deref(), carried.as_ref())
        }
        ChannelEvent::Kept { id, key, answer } => {
            w.array(4)?.u8(KEPT)?.bytes(&id.0)?.bytes(key)?;
            write_answer(w, answer)
        }
        ChannelEvent::Applied {
            id,
            change,
            proof,
            work,
        } => {
            w.array(5)?.u8(APPLIED)?.bytes(&id.0)?;
            maybe_change(w, change.as_ref())?;
            maybe_bytes(w, proof.as_deref())?;
            write_work(w, work)
        }
    }
}

/// Reads an event whose tag was read; `None` when the tag is of no event of a channel.
pub(super) fn read_event(r: &mut Reader<'_>, tag: (u8, u64)) -> Read<Option<ChannelEvent>> {
    Ok(Some(match tag {
        (OPENED, 4) => ChannelEvent::Opened {
            id: id(r)?,
            change: read_change(r)?,
            proof: maybe(r, boxed)?,
            details: boxed(r)?,
        },
        (PRESENTED, 4) => ChannelEvent::Presented {
            id: id(r)?,
            accepted: maybe(r, |r| {
                array(r, 2)?;
                Ok((units(r)?, boxed(r)?))
            })?,
            taken: maybe(r, read_change)?,
            key: maybe(r, |r| {
                array(r, 2)?;
                Ok(SpendKey {
                    key: fixed(r)?,
                    request: fixed(r)?,
                })
            })?,
        },
        (CONCLUDED, items @ (3 | 4)) => ChannelEvent::Concluded {
            id: id(r)?,
            change: maybe(r, read_change)?,
            key: maybe(r, fixed)?,
            answer: None,
            carried: match items {
                3 => None,
                _ => Some(read_carried(r)?),
            },
        },
        (CONCLUDED_WITH_ANSWER, items @ (4 | 5)) => ChannelEvent::Concluded {
            id: id(r)?,
            change: maybe(r, read_change)?,
            key: maybe(r, fixed)?,
            answer: Some(Arc::new(read_answer(r)?)),
            carried: match items {
                4 => None,
                _ => Some(read_carried(r)?),
            },
        },
        (KEPT, 3) => ChannelEvent::Kept {
            id: id(r)?,
            key: fixed(r)?,
            answer: Arc::new(read_answer(r)?),
        },
        (APPLIED, 4) => ChannelEvent::Applied {
            id: id(r)?,
            change: maybe(r, read_change)?,
            proof: maybe(r, boxed)?,
            work: read_work(r)?,
        },
        _ => return Ok(None),
    }))
}

/// Two items: the channels by id, and the keys, oldest of each channel first.
pub(super) fn write_all(w: &mut Writer<'_>, channels: &Channels) -> Written {
    w.array(channels.len())?;
    let mut written = Ok(());
    channels.each(&mut |id, record| {
        if written.is_ok() {
            written = write_record(w, id, record);
        }
    });
    written?;
    let keys: Vec<_> = channels.keys.iter().collect();
    w.array(length(keys.len()))?;
    for (key, keyed) in keys {
        w.array(7)?.bytes(key)?.bytes(&keyed.channel.0)?;
        w.bytes(&keyed.request)?.u64(keyed.until.as_millis())?;
        w.bool(keyed.pending)?.u32(keyed.runs)?;
        match &keyed.kept {
            None => w.null()?.ok()?,
            Some(kept) => {
                w.array(3 + u64::from(!kept.carried.is_empty()))?;
                write_units(w, kept.accepted)?;
                write_units(w, kept.spent)?;
                write_answer(w, &kept.answer)?;
                if !kept.carried.is_empty() {
                    write_carried(w, &kept.carried)?;
                }
            }
        }
    }
    Ok(())
}

type All = (Vec<(ChannelId, Record)>, Vec<([u8; 32], Keyed)>);

pub(super) fn read_all(r: &mut Reader<'_>) -> Read<All> {
    let records = list(r, read_record)?;
    let keys = list(r, read_key)?;
    Ok((records, keys))
}

fn read_key(r: &mut Reader<'_>) -> Read<([u8; 32], Keyed)> {
    // Five items before answers were kept.
    let items = match r.array()? {
        Some(items @ (5 | 7)) => items,
        _ => return Err(decode::Error::message("a key of another length")),
    };
    let key = fixed(r)?;
    let mut keyed = Keyed {
        channel: id(r)?,
        request: fixed(r)?,
        until: instant(r)?,
        pending: r.bool()?,
        runs: 0,
        kept: None,
    };
    if items == 7 {
        keyed.runs = r.u32()?;
        keyed.kept = maybe(r, |r| {
            // Three items where nothing is carried.
            let items = r.array()?;
            if !matches!(items, Some(3 | 4)) {
                return Err(decode::Error::message("not an array of 3 or 4"));
            }
            Ok(Box::new(KeptAnswer {
                accepted: units(r)?,
                spent: units(r)?,
                answer: Arc::new(read_answer(r)?),
                carried: match items {
                    Some(4) => read_carried(r)?,
                    _ => Carried::default(),
                },
            }))
        })?;
    }
    Ok((key, keyed))
}

fn write_kept(
    w: &mut Writer<'_>,
    answer: Option<&SpendAnswer>,
    carried: Option<&Carried>,
) -> Written {
    if let Some(answer) = answer {
        write_answer(w, answer)?;
    }
    carried.map_or(Ok(()), |carried| write_carried(w, carried))
}

/// Two items: what prints the receipt, and the response.
fn write_answer(w: &mut Writer<'_>, answer: &SpendAnswer) -> Written {
    w.array(2)?.bytes(&answer.receipt)?;
    claim::write_response(w, Some(&answer.response))
}

fn read_answer(r: &mut Reader<'_>) -> Read<SpendAnswer> {
    array(r, 2)?;
    let receipt = boxed(r)?;
    let response = claim::read_response(r)?;
    let response =
        response.ok_or_else(|| decode::Error::message("an answer without a response"))?;
    Ok(SpendAnswer { receipt, response })
}

fn write_record(w: &mut Writer<'_>, id: &ChannelId, record: &Record) -> Written {
    let channel = record.channel();
    let carried = record.carried();
    // Thirteen items where nothing is carried, and nothing counted: so it was before.
    let items = match (record.spends(), carried.is_empty()) {
        (0, true) => 13,
        (0, false) => 14,
        _ => 15,
    };
    w.array(items)?.bytes(&id.0)?;
    write_phase(w, channel.phase())?;
    let it = channel.figures();
    for figure in [
        it.deposit,
        it.accepted,
        it.spent,
        it.reserved,
        it.settled,
        it.published,
    ] {
        write_units(w, figure)?;
    }
    w.u64(channel.active_at().as_millis())?;
    maybe_bytes(w, record.proof())?;
    w.bytes(record.details())?;
    match record.settling() {
        None => w.null()?.ok()?,
        Some(settling) => write_settling(w, settling)?,
    }
    maybe_bytes(w, record.outcome())?;
    match (items, carried.is_empty()) {
        (13, _) => {}
        (_, true) => w.null()?.ok()?,
        (_, false) => write_carried(w, &carried)?,
    }
    if items == 15 {
        w.u32(record.spends())?;
    }
    Ok(())
}

fn read_record(r: &mut Reader<'_>) -> Read<(ChannelId, Record)> {
    let items = match r.array()? {
        Some(items @ 13..=15) => items,
        _ => return Err(decode::Error::message("a channel of another length")),
    };
    let id = id(r)?;
    let phase = read_phase(r)?;
    let figures = Figures {
        deposit: units(r)?,
        accepted: units(r)?,
        spent: units(r)?,
        reserved: units(r)?,
        settled: units(r)?,
        published: units(r)?,
    };
    let channel = Channel::restore(phase, figures, instant(r)?).map_err(decode::Error::message)?;
    let proof: Option<Box<[u8]>> = maybe(r, boxed)?;
    let details = boxed(r)?;
    let mut record = Record::new(channel, proof.as_deref(), &details);
    if let Some(settling) = maybe(r, read_settling)? {
        record.begin(settling);
    }
    if let Some(outcome) = maybe(r, boxed)? {
        record.set_outcome(outcome);
    }
    if items >= 14
        && let Some(carried) = maybe(r, read_carried)?
    {
        record.set_carried(carried);
    }
    if items == 15 {
        record.set_spends(r.u32()?);
    }
    Ok((id, record))
}

fn write_carried(w: &mut Writer<'_>, carried: &Carried) -> Written {
    w.array(2)?.u64(carried.owed)?;
    w.array(length(carried.meters.len()))?;
    for it in &carried.meters {
        w.array(3)?.str(&it.meter)?;
        w.u64(it.carry.parts())?.u64(it.carry.of())?;
    }
    Ok(())
}

fn read_carried(r: &mut Reader<'_>) -> Read<Carried> {
    array(r, 2)?;
    let owed = r.u64()?;
    let meters = list(r, |r| {
        array(r, 3)?;
        let meter = r.str()?.into();
        let carry = Carry::restore(r.u64()?, r.u64()?).map_err(decode::Error::message)?;
        Ok(Left { meter, carry })
    })?;
    Ok(Carried { owed, meters })
}

fn write_phase(w: &mut Writer<'_>, phase: Phase) -> Written {
    match phase {
        Phase::Opening => w.array(1)?.u8(0)?.ok(),
        Phase::Active => w.array(1)?.u8(1)?.ok(),
        Phase::Paused { required } => {
            w.array(2)?.u8(2)?;
            write_units(w, required)
        }
        Phase::Suspended { withdrawable_at } => {
            w.array(2)?.u8(3)?.u64(withdrawable_at.as_millis())?.ok()
        }
        Phase::Closing { capture: None } => w.array(1)?.u8(4)?.ok(),
        Phase::Closing {
            capture: Some(capture),
        } => {
            w.array(2)?.u8(4)?;
            write_units(w, capture)
        }
        Phase::Closed => w.array(1)?.u8(5)?.ok(),
        Phase::Withdrawn => w.array(1)?.u8(6)?.ok(),
        Phase::Rejected => w.array(1)?.u8(7)?.ok(),
    }
}

fn read_phase(r: &mut Reader<'_>) -> Read<Phase> {
    Ok(match tag(r)? {
        (0, 0) => Phase::Opening,
        (1, 0) => Phase::Active,
        (2, 1) => Phase::Paused {
            required: units(r)?,
        },
        (3, 1) => Phase::Suspended {
            withdrawable_at: instant(r)?,
        },
        (4, 0) => Phase::Closing { capture: None },
        (4, 1) => Phase::Closing {
            capture: Some(units(r)?),
        },
        (5, 0) => Phase::Closed,
        (6, 0) => Phase::Withdrawn,
        (7, 0) => Phase::Rejected,
        (other, _) => return Err(unknown("a phase", other)),
    })
}

fn maybe_change(w: &mut Writer<'_>, change: Option<&Change>) -> Written {
    match change {
        None => w.null()?.ok(),
        Some(change) => write_change(w, change),
    }
}

fn write_change(w: &mut Writer<'_>, change: &Change) -> Written {
    let (tag, items, amounts): (u8, usize, [u128; 3]) = match *change {
        Change::Opened {
            deposit,
            accepted,
            settled,
        } => (1, 3, [deposit, accepted, settled]),
        Change::Rejected => (2, 0, [0, 0, 0]),
        Change::ToppedUp {
            deposit,
            accepted,
            resumes: false,
        } => (3, 2, [deposit, accepted, 0]),
        Change::ToppedUp {
            deposit,
            accepted,
            resumes: true,
        } => (4, 2, [deposit, accepted, 0]),
        Change::Accepted { accepted } => (5, 1, [accepted, 0, 0]),
        Change::Reserved { amount } => (6, 1, [amount, 0, 0]),
        Change::Spent {
            amount,
            from_reserved,
        } => (7, 2, [amount, from_reserved, 0]),
        Change::Released { amount } => (8, 1, [amount, 0, 0]),
        Change::Paused { required } => (9, 1, [required, 0, 0]),
        Change::Resumed => (10, 0, [0, 0, 0]),
        Change::Published { published } => (11, 1, [published, 0, 0]),
        Change::Settled { settled, published } => (12, 2, [settled, published, 0]),
        Change::Suspended { withdrawable_at } => {
            (13, 1, [u128::from(withdrawable_at.as_millis()), 0, 0])
        }
        Change::SuspensionCancelled => (14, 0, [0, 0, 0]),
        Change::CloseBegun { accepted } => (15, 1, [accepted, 0, 0]),
        Change::CaptureFixed { capture } => (16, 1, [capture, 0, 0]),
        Change::Closed { captured } => (17, 1, [captured, 0, 0]),
        Change::Withdrawn => (18, 0, [0, 0, 0]),
    };
    w.array(length(items + 1))?.u8(tag)?;
    let mut amounts = amounts.iter().take(items);
    amounts.try_for_each(|it| write_units(w, *it))
}

fn read_change(r: &mut Reader<'_>) -> Read<Change> {
    Ok(match tag(r)? {
        (1, 3) => Change::Opened {
            deposit: units(r)?,
            accepted: units(r)?,
            settled: units(r)?,
        },
        (2, 0) => Change::Rejected,
        (tag @ (3 | 4), 2) => Change::ToppedUp {
            deposit: units(r)?,
            accepted: units(r)?,
            resumes: tag == 4,
        },
        (5, 1) => Change::Accepted {
            accepted: units(r)?,
        },
        (6, 1) => Change::Reserved { amount: units(r)? },
        (7, 2) => Change::Spent {
            amount: units(r)?,
            from_reserved: units(r)?,
        },
        (8, 1) => Change::Released { amount: units(r)? },
        (9, 1) => Change::Paused {
            required: units(r)?,
        },
        (10, 0) => Change::Resumed,
        (11, 1) => Change::Published {
            published: units(r)?,
        },
        (12, 2) => Change::Settled {
            settled: units(r)?,
            published: units(r)?,
        },
        (13, 1) => Change::Suspended {
            withdrawable_at: instant(r)?,
        },
        (14, 0) => Change::SuspensionCancelled,
        (15, 1) => Change::CloseBegun {
            accepted: units(r)?,
        },
        (16, 1) => Change::CaptureFixed { capture: units(r)? },
        (17, 1) => Change::Closed {
            captured: units(r)?,
        },
        (18, 0) => Change::Withdrawn,
        (other, _) => return Err(unknown("a change of a channel", other)),
    })
}

fn write_work(w: &mut Writer<'_>, work: &ChannelWork) -> Written {
    match work {
        ChannelWork::Same => w.null()?.ok(),
        ChannelWork::Begin(settling) => {
            w.array(2)?.u8(1)?;
            write_settling(w, settling)
        }
        ChannelWork::End(outcome) => {
            w.array(2)?.u8(2)?;
            maybe_bytes(w, outcome.as_deref())
        }
    }
}

fn read_work(r: &mut Reader<'_>) -> Read<ChannelWork> {
    let work = maybe(r, |r| match tag(r)? {
        (1, 1) => Ok(ChannelWork::Begin(Box::new(read_settling(r)?))),
        (2, 1) => Ok(ChannelWork::End(maybe(r, boxed)?)),
        (other, _) => Err(unknown("a settlement's step", other)),
    })?;
    Ok(work.unwrap_or(ChannelWork::Same))
}

fn write_settling(w: &mut Writer<'_>, settling: &Settling) -> Written {
    w.array(3)?.bytes(&settling.artefact)?;
    write_units(w, settling.capture)?;
    w.bool(settling.last)?.ok()
}

fn read_settling(r: &mut Reader<'_>) -> Read<Settling> {
    array(r, 3)?;
    Ok(Settling {
        artefact: r.bytes()?.into(),
        capture: units(r)?,
        last: r.bool()?,
    })
}

fn write_units(w: &mut Writer<'_>, units: u128) -> Written {
    match u64::try_from(units) {
        Ok(units) => w.u64(units)?.ok(),
        Err(_) => w.bytes(&units.to_be_bytes())?.ok(),
    }
}

fn units(r: &mut Reader<'_>) -> Read<u128> {
    if r.datatype()? == Type::Bytes {
        return Ok(u128::from_be_bytes(fixed(r)?));
    }
    Ok(u128::from(r.u64()?))
}

fn id(r: &mut Reader<'_>) -> Read<ChannelId> {
    Ok(ChannelId(fixed(r)?))
}

fn boxed(r: &mut Reader<'_>) -> Read<Box<[u8]>> {
    Ok(r.bytes()?.into())
}
