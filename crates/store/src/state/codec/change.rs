//! Changes of a claim.

use super::{Read, Reader, Writer, Written, claim, shared, tag, unknown};
use crate::event::Change;

const SETTLED: u8 = 1;
const FAILED: u8 = 2;
const DELIVER: u8 = 3;
const DELIVERED: u8 = 4;
const DELIVERY_FAILED: u8 = 5;
const REFUND: u8 = 6;
const REFUNDED: u8 = 7;
const RELEASED: u8 = 8;
const RENEWED: u8 = 9;
const TAKEN_OVER: u8 = 10;
const DISPUTED: u8 = 11;
const REVERSED: u8 = 12;
const CAPTURE: u8 = 13;
const CAPTURED: u8 = 14;

pub(super) fn write(w: &mut Writer<'_>, change: &Change) -> Written {
    match change {
        Change::Settled {
            settlement,
            deliver,
        } => w
            .array(3)?
            .u8(SETTLED)?
            .bytes(settlement)?
            .bool(*deliver)?
            .ok(),
        Change::Failed { refusal } => w.array(2)?.u8(FAILED)?.bytes(refusal)?.ok(),
        Change::Deliver => w.array(1)?.u8(DELIVER)?.ok(),
        Change::Delivered { receipt, response } => {
            w.array(3)?.u8(DELIVERED)?.str(receipt)?;
            claim::write_response(w, response.as_deref())
        }
        Change::Capture { response } => {
            w.array(2)?.u8(CAPTURE)?;
            claim::write_response(w, response.as_deref())
        }
        Change::Captured {
            settlement,
            receipt,
            response,
        } => {
            w.array(4)?.u8(CAPTURED)?.bytes(settlement)?.str(receipt)?;
            claim::write_response(w, response.as_deref())
        }
        Change::DeliveryFailed => w.array(1)?.u8(DELIVERY_FAILED)?.ok(),
        Change::Refund { artefact } => w.array(2)?.u8(REFUND)?.bytes(artefact)?.ok(),
        Change::Refunded { refund } => w.array(2)?.u8(REFUNDED)?.bytes(refund)?.ok(),
        Change::Released => w.array(1)?.u8(RELEASED)?.ok(),
        Change::Renewed { lease_ms } => w.array(2)?.u8(RENEWED)?.u64(*lease_ms)?.ok(),
        Change::TakenOver { owner, lease_ms } => w
            .array(3)?
            .u8(TAKEN_OVER)?
            .u64(*owner)?
            .u64(*lease_ms)?
            .ok(),
        Change::Disputed => w.array(1)?.u8(DISPUTED)?.ok(),
        Change::Reversed => w.array(1)?.u8(REVERSED)?.ok(),
    }
}

pub(super) fn read(r: &mut Reader<'_>) -> Read<Change> {
    Ok(match tag(r)? {
        (SETTLED, 2) => Change::Settled {
            settlement: shared(r)?,
            deliver: r.bool()?,
        },
        (FAILED, 1) => Change::Failed {
            refusal: shared(r)?,
        },
        (DELIVER, 0) => Change::Deliver,
        (DELIVERED, 2) => Change::Delivered {
            receipt: r.str()?.into(),
            response: claim::read_response(r)?,
        },
        (CAPTURE, 1) => Change::Capture {
            response: claim::read_response(r)?,
        },
        (CAPTURED, 3) => Change::Captured {
            settlement: shared(r)?,
            receipt: r.str()?.into(),
            response: claim::read_response(r)?,
        },
        (DELIVERY_FAILED, 0) => Change::DeliveryFailed,
        (REFUND, 1) => Change::Refund {
            artefact: r.bytes()?.into(),
        },
        (REFUNDED, 1) => Change::Refunded { refund: shared(r)? },
        (RELEASED, 0) => Change::Released,
        (RENEWED, 1) => Change::Renewed { lease_ms: r.u64()? },
        (TAKEN_OVER, 2) => Change::TakenOver {
            owner: r.u64()?,
            lease_ms: r.u64()?,
        },
        (DISPUTED, 0) => Change::Disputed,
        (REVERSED, 0) => Change::Reversed,
        (other, _) => return Err(unknown("a change", other)),
    })
}
