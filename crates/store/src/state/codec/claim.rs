//! Whole claims, in snapshots, and stored responses.

use std::sync::Arc;

use super::{
    Read, Reader, Writer, Written, array, fixed, instant, length, list, maybe, maybe_bytes, shared,
    tag, unknown,
};
use crate::claim::{Claim, ClaimState, Delivery, StoredResponse};

const SETTLING: u8 = 1;
const SETTLED: u8 = 2;
const DELIVERING: u8 = 3;
const DELIVERED: u8 = 4;
const FAILED: u8 = 5;
const REFUNDING: u8 = 6;
const REFUNDED: u8 = 7;
const DISPUTED: u8 = 8;
const REVERSED: u8 = 9;
const AUTHORISED: u8 = 10;
const SERVING: u8 = 11;
const CAPTURING: u8 = 12;

pub(super) fn write(w: &mut Writer<'_>, claim: &Claim) -> Written {
    w.array(13)?.str(&claim.challenge_id)?;
    w.bytes(&claim.credential_hash)?
        .bytes(&claim.request_hash)?;
    maybe_bytes(w, claim.idempotency_key_hash.as_ref().map(|it| &it[..]))?;
    w.bytes(&claim.details)?;
    write_state(w, &claim.state)?;
    w.u64(claim.owner)?
        .u64(claim.lease_until.as_millis())?
        .u64(claim.epoch)?;
    w.bytes(&claim.attempt)?.u64(claim.created_at.as_millis())?;
    w.u64(claim.retain_until.as_millis())?
        .u32(claim.deliveries_started)?
        .ok()
}

pub(super) fn read(r: &mut Reader<'_>) -> Read<Claim> {
    array(r, 13)?;
    Ok(Claim {
        challenge_id: r.str()?.to_owned(),
        credential_hash: fixed(r)?,
        request_hash: fixed(r)?,
        idempotency_key_hash: maybe(r, fixed)?,
        details: shared(r)?,
        state: read_state(r)?,
        owner: r.u64()?,
        lease_until: instant(r)?,
        epoch: r.u64()?,
        attempt: fixed(r)?,
        created_at: instant(r)?,
        retain_until: instant(r)?,
        deliveries_started: r.u32()?,
    })
}

fn write_state(w: &mut Writer<'_>, state: &ClaimState) -> Written {
    match state {
        ClaimState::Settling { artefact } => w.array(2)?.u8(SETTLING)?.bytes(artefact)?.ok(),
        ClaimState::Settled { settlement } => w.array(2)?.u8(SETTLED)?.bytes(settlement)?.ok(),
        ClaimState::Delivering { settlement } => {
            w.array(2)?.u8(DELIVERING)?.bytes(settlement)?.ok()
        }
        ClaimState::Delivered(delivery) => write_delivery(w, DELIVERED, delivery),
        ClaimState::Failed { refusal } => w.array(2)?.u8(FAILED)?.bytes(refusal)?.ok(),
        ClaimState::Refunding {
            settlement,
            artefact,
        } => w
            .array(3)?
            .u8(REFUNDING)?
            .bytes(settlement)?
            .bytes(artefact)?
            .ok(),
        ClaimState::Refunded { settlement, refund } => w
            .array(3)?
            .u8(REFUNDED)?
            .bytes(settlement)?
            .bytes(refund)?
            .ok(),
        ClaimState::Disputed(delivery) => write_delivery(w, DISPUTED, delivery),
        ClaimState::Reversed(delivery) => write_delivery(w, REVERSED, delivery),
        ClaimState::Authorised { artefact } => w.array(2)?.u8(AUTHORISED)?.bytes(artefact)?.ok(),
        ClaimState::Serving { artefact } => w.array(2)?.u8(SERVING)?.bytes(artefact)?.ok(),
        ClaimState::Capturing { artefact, response } => {
            w.array(3)?.u8(CAPTURING)?.bytes(artefact)?;
            write_response(w, response.as_deref())
        }
    }
}

fn read_state(r: &mut Reader<'_>) -> Read<ClaimState> {
    Ok(match tag(r)? {
        (SETTLING, 1) => ClaimState::Settling {
            artefact: r.bytes()?.into(),
        },
        (SETTLED, 1) => ClaimState::Settled {
            settlement: shared(r)?,
        },
        (DELIVERING, 1) => ClaimState::Delivering {
            settlement: shared(r)?,
        },
        (DELIVERED, 3) => ClaimState::Delivered(read_delivery(r)?),
        (FAILED, 1) => ClaimState::Failed {
            refusal: shared(r)?,
        },
        (REFUNDING, 2) => ClaimState::Refunding {
            settlement: shared(r)?,
            artefact: r.bytes()?.into(),
        },
        (REFUNDED, 2) => ClaimState::Refunded {
            settlement: shared(r)?,
            refund: shared(r)?,
        },
        (DISPUTED, 3) => ClaimState::Disputed(read_delivery(r)?),
        (REVERSED, 3) => ClaimState::Reversed(read_delivery(r)?),
        (AUTHORISED, 1) => ClaimState::Authorised {
            artefact: r.bytes()?.into(),
        },
        (SERVING, 1) => ClaimState::Serving {
            artefact: r.bytes()?.into(),
        },
        (CAPTURING, 2) => ClaimState::Capturing {
            artefact: r.bytes()?.into(),
            response: read_response(r)?,
        },
        (other, _) => return Err(unknown("a claim's state", other)),
    })
}

fn write_delivery(w: &mut Writer<'_>, tag: u8, delivery: &Delivery) -> Written {
    w.array(4)?
        .u8(tag)?
        .bytes(&delivery.settlement)?
        .str(&delivery.receipt)?;
    write_response(w, delivery.response.as_deref())
}

fn read_delivery(r: &mut Reader<'_>) -> Read<Delivery> {
    Ok(Delivery {
        settlement: shared(r)?,
        receipt: r.str()?.into(),
        response: read_response(r)?,
    })
}

/// A response or `null`.
pub(super) fn write_response(w: &mut Writer<'_>, response: Option<&StoredResponse>) -> Written {
    let Some(response) = response else {
        return w.null()?.ok();
    };
    w.array(4)?
        .u16(response.status)?
        .array(length(response.headers.len()))?;
    for (name, value) in &response.headers {
        w.array(2)?.str(name)?.bytes(value)?;
    }
    w.bytes(&response.body)?
        .u64(response.expires_at.as_millis())?
        .ok()
}

pub(super) fn read_response(r: &mut Reader<'_>) -> Read<Option<Arc<StoredResponse>>> {
    let response = maybe(r, |r| {
        array(r, 4)?;
        Ok(StoredResponse {
            status: r.u16()?,
            headers: list(r, |r| {
                array(r, 2)?;
                Ok((r.str()?.to_owned(), r.bytes()?.to_vec()))
            })?,
            body: r.bytes()?.to_vec(),
            expires_at: instant(r)?,
        })
    })?;
    Ok(response.map(Arc::new))
}
