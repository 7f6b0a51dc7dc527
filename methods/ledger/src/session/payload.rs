//! What a session's credential carries, read and checked without I/O.

use stiver_channel::{ChannelId, Voucher, voucher::chain::Word};
use stiver_core::{base64url, json::Object};
use stiver_ledger::{
    id::HoldId,
    limits::CHAIN_WORDS_MAX,
    order::{Action, Charge, Condition, Order, SignedOrder},
};
use stiver_method::{
    artefact::{Refusal, RefusalKind},
    payee::Presented,
    session::{Opening, SessionAction, TopUp},
};

use super::{
    asked::{Asked, base_units},
    terms::{ChannelTerms, join, split},
    wire::{Payload, Scheme},
};
use crate::{
    payee::{artefact, check_expiry},
    refusal::invalid,
};

/// The `type` of open and top-up.
pub(super) const TRANSACTION: &str = "transaction";

/// What a credential wants. Format first, then every field against the challenge, then expiry, then
/// signatures.
///
/// What the challenge asked is read only where it matters: for an opening and a top-up. A voucher
/// is good for its channel, whatever the challenge that it answers.
pub(super) fn read(
    presented: &Presented<'_>,
    asked: impl FnOnce() -> Result<Asked, Refusal>,
) -> Result<SessionAction, Refusal> {
    let payload: Payload = presented
        .payload
        .deserialize()
        .map_err(|_| invalid("the payload must have action and channelId"))?;
    let channel = channel(&payload.channel_id)?;
    match payload.action.as_str() {
        "open" => {
            let voucher = match has_voucher(&payload) {
                true => Some(voucher(channel, &payload)?),
                false => None,
            };
            only(&payload, false)?;
            let signed = transaction(&payload)?;
            open(presented, &asked()?, channel, voucher, signed)
        }
        "topUp" => {
            if has_voucher(&payload) {
                return Err(invalid("a top-up carries no voucher"));
            }
            only(&payload, true)?;
            let signed = transaction(&payload)?;
            top_up(presented, &asked()?, channel, &payload, signed)
        }
        "voucher" => {
            spends(&payload)?;
            Ok(SessionAction::Spend(voucher(channel, &payload)?))
        }
        "close" => {
            spends(&payload)?;
            let voucher = voucher(channel, &payload)?;
            Ok(SessionAction::Close {
                channel: voucher.channel,
                voucher: Some(voucher),
            })
        }
        _ => Err(invalid(
            "payload.action must be open, topUp, voucher or close",
        )),
    }
}

/// Reads a channel's id.
pub(super) fn channel(text: &str) -> Result<HoldId, Refusal> {
    text.parse()
        .map_err(|error| invalid(format!("channelId: {error}")))
}

/// The payload of a voucher or a close. `None` when this method cannot have made the voucher.
pub(super) fn of_voucher(action: &str, voucher: &Voucher) -> Option<Payload> {
    let mut payload = Payload {
        action: action.to_owned(),
        channel_id: HoldId::from_bytes(voucher.channel.0).to_string(),
        ..Payload::default()
    };
    put_voucher(&mut payload, voucher)?;
    Some(payload)
}

/// Writes a voucher into a payload.
pub(super) fn put_voucher(payload: &mut Payload, voucher: &Voucher) -> Option<()> {
    payload.cumulative_amount = Some(voucher.cumulative.to_string());
    if let Ok(Word { index, word }) = Word::from_proof(&voucher.proof) {
        payload.index = Some(index);
        payload.word = Some(base64url::encode(&word));
        return Some(());
    }
    let (signature, ack) = split(&voucher.proof)?;
    payload.signature = Some(base64url::encode(&signature));
    payload.ack = ack.map(|ack| base64url::encode(&ack));
    Some(())
}

/// A payload as a credential carries it.
pub(super) fn to_object(payload: &Payload) -> Result<Object, Refusal> {
    Object::serialize(payload).map_err(|error| invalid(error.to_string()))
}

fn has_voucher(payload: &Payload) -> bool {
    payload.cumulative_amount.is_some()
        || payload.signature.is_some()
        || payload.ack.is_some()
        || payload.index.is_some()
        || payload.word.is_some()
}

/// An open or a top-up: members of the other are a mistake, not noise.
fn only(payload: &Payload, top_up: bool) -> Result<(), Refusal> {
    if payload.kind.as_deref() != Some(TRANSACTION) {
        return Err(invalid("payload.type must be transaction"));
    }
    if payload.additional_deposit.is_some() != top_up {
        return Err(invalid(
            "payload.additionalDeposit belongs to a top-up, and a top-up needs it",
        ));
    }
    Ok(())
}

fn spends(payload: &Payload) -> Result<(), Refusal> {
    if payload.transaction.is_some() || payload.additional_deposit.is_some() {
        return Err(invalid("voucher and close carry no transaction"));
    }
    Ok(())
}

fn transaction(payload: &Payload) -> Result<SignedOrder, Refusal> {
    let text = payload
        .transaction
        .as_deref()
        .ok_or_else(|| invalid("payload.transaction is missing"))?;
    let bytes = base64url::decode(text.as_bytes())
        .map_err(|_| invalid("payload.transaction is not base64url"))?;
    SignedOrder::from_bytes(&bytes)
        .map_err(|error| invalid(format!("payload.transaction: {error}")))
}

/// The voucher in a payload, in its form. Its proof is not verified.
fn voucher(channel: HoldId, payload: &Payload) -> Result<Voucher, Refusal> {
    let cumulative = payload.cumulative_amount.as_deref().map(base_units);
    let cumulative = match cumulative {
        Some(Ok(units)) => units,
        _ => {
            return Err(invalid(
                "payload.cumulativeAmount must be base units in at most 127 bits",
            ));
        }
    };
    let bytes = |name: &str, text: &str| {
        base64url::decode(text.as_bytes())
            .map_err(|_| invalid(format!("payload.{name} is not base64url")))
    };
    let bytes32 = |name: &str, text: &str| -> Result<[u8; 32], Refusal> {
        bytes(name, text)?
            .try_into()
            .map_err(|_| invalid(format!("payload.{name} is not 32 bytes")))
    };
    let proof: Box<[u8]> = match (&payload.signature, payload.index, &payload.word) {
        (Some(signature), None, None) => {
            let signature: [u8; 64] = bytes("signature", signature)?
                .try_into()
                .map_err(|_| invalid("payload.signature is not 64 bytes"))?;
            let ack = payload.ack.as_deref().map(|ack| bytes32("ack", ack));
            join(&signature, ack.transpose()?.as_ref())
        }
        (None, Some(index), Some(word)) if payload.ack.is_none() => {
            if index > CHAIN_WORDS_MAX {
                return Err(invalid(format!(
                    "payload.index must be at most {CHAIN_WORDS_MAX}"
                )));
            }
            let word = bytes32("word", word)?;
            Word { index, word }.to_proof().into()
        }
        _ => {
            return Err(invalid(
                "a voucher has either signature, perhaps with ack, or index and word",
            ));
        }
    };
    Ok(Voucher {
        channel: ChannelId(*channel.as_bytes()),
        cumulative,
        proof,
    })
}

fn agrees(agree: bool, detail: &str) -> Result<(), Refusal> {
    if agree { Ok(()) } else { Err(invalid(detail)) }
}

fn insufficient(detail: impl Into<String>) -> Refusal {
    Refusal {
        kind: RefusalKind::Insufficient,
        detail: detail.into(),
    }
}

/// That an order is for this ledger and this very challenge.
fn check_charge(
    order: &Order,
    charge: Option<&Charge>,
    presented: &Presented<'_>,
    asked: &Asked,
) -> Result<(), Refusal> {
    let charge = charge.ok_or_else(|| invalid("the order names no challenge"))?;
    agrees(
        order.ledger == asked.ledger,
        "the order is for another ledger",
    )?;
    agrees(
        charge.challenge == presented.challenge.id.as_str(),
        "the order is for another challenge",
    )?;
    agrees(
        charge.realm == presented.challenge.params.realm.as_str(),
        "the order is for another realm",
    )
}

fn open(
    presented: &Presented<'_>,
    asked: &Asked,
    channel: HoldId,
    voucher: Option<Voucher>,
    signed: SignedOrder,
) -> Result<SessionAction, Refusal> {
    let order = signed.order();
    let Action::Hold {
        capturer,
        amount,
        currency,
        condition,
        charge,
        ..
    } = &order.action
    else {
        return Err(invalid("the transaction opens no channel"));
    };
    let terms =
        ChannelTerms::of(&signed).ok_or_else(|| invalid("the transaction opens no channel"))?;
    check_charge(order, charge.as_ref(), presented, asked)?;
    agrees(
        *capturer == asked.recipient,
        "the channel pays another account",
    )?;
    agrees(
        currency.as_str() == asked.currency.code(),
        "the channel is of another currency",
    )?;
    agrees(
        order.account != asked.recipient,
        "the channel pays its own account",
    )?;
    check_condition(condition, asked)?;
    agrees(
        channel == terms.channel,
        "payload.channelId is not the hash of the order",
    )?;
    check_deposit(*amount, asked)?;
    if voucher.as_ref().is_some_and(|it| it.cumulative > *amount) {
        return Err(insufficient("the voucher is over the deposit"));
    }
    check_expiry(order, presented)?;
    let id = ChannelId(*channel.as_bytes());
    let verifier = terms
        .proven_by
        .verifier(order.ledger, id)
        .ok_or_else(|| invalid("no voucher could be proven on this channel"))?;
    let deposit = asked.currency.units(*amount);
    let replayable_until = order.expires;
    let verified = signed
        .verify()
        .map_err(|error| invalid(error.to_string()))?;
    if let Some(voucher) = &voucher {
        verifier
            .verify(None, voucher)
            .map_err(|error| invalid(error.to_string()))?;
    }
    Ok(SessionAction::Open(Box::new(Opening {
        channel: id,
        replay_keys: vec![verified.hash().as_bytes().to_vec()],
        replayable_until,
        deposit,
        voucher,
        payer: Some(verified.key().to_string()),
        terms: terms.encode(),
        artefact: artefact(verified.signed()),
    })))
}

/// Vouchers of a kind that was offered, and time enough to capture.
fn check_condition(condition: &Condition, asked: &Asked) -> Result<(), Refusal> {
    let (scheme, grace_ms) = match condition {
        Condition::Vouchers { grace_ms, .. } => (Scheme::Ed25519, *grace_ms),
        Condition::Words { grace_ms, .. } => (Scheme::HashChain, *grace_ms),
        _ => return Err(invalid("the transaction opens no channel")),
    };
    agrees(
        asked.schemes.contains(&scheme),
        "the channel's kind of voucher was not offered",
    )?;
    agrees(
        grace_ms >= asked.grace_ms,
        "the channel's grace is shorter than methodDetails.graceSeconds",
    )
}

/// Enough for one `amount` of the first price.
fn check_deposit(deposit: u128, asked: &Asked) -> Result<(), Refusal> {
    let least = asked.prices.first().map_or(0, |price| price.amount.units());
    if deposit < least {
        return Err(insufficient(format!(
            "the deposit is below the price of {least} base units"
        )));
    }
    Ok(())
}

fn top_up(
    presented: &Presented<'_>,
    asked: &Asked,
    channel: HoldId,
    payload: &Payload,
    signed: SignedOrder,
) -> Result<SessionAction, Refusal> {
    let order = signed.order();
    let Action::TopUp {
        channel: topped_up,
        amount,
        charge,
    } = &order.action
    else {
        return Err(invalid("the transaction tops no channel up"));
    };
    check_charge(order, charge.as_ref(), presented, asked)?;
    agrees(
        *topped_up == channel,
        "the order tops another channel up than payload.channelId",
    )?;
    let said = payload.additional_deposit.as_deref().map(base_units);
    agrees(
        matches!(said, Some(Ok(units)) if units == *amount),
        "payload.additionalDeposit is not what the order adds",
    )?;
    agrees(*amount > 0, "the order adds nothing")?;
    check_expiry(order, presented)?;
    let added = asked.currency.units(*amount);
    let replayable_until = order.expires;
    let verified = signed
        .verify()
        .map_err(|error| invalid(error.to_string()))?;
    Ok(SessionAction::TopUp(Box::new(TopUp {
        channel: ChannelId(*channel.as_bytes()),
        replay_keys: vec![verified.hash().as_bytes().to_vec()],
        replayable_until,
        added,
        artefact: artefact(verified.signed()),
    })))
}
