//! The CBOR map of an order.

use minicbor::{Decode, Encode, bytes::ByteArray};
use stiver_core::{Timestamp, did::DidKey};

use super::{
    Action, CHARGE_TEXT_BYTES_MAX, Charge, Condition, Met, ORDER_DOMAIN, Order, OrderError,
};
use crate::{
    id::{AccountId, HoldId, LedgerId, Nonce, TransferId},
    key::Roles,
    limits,
    text::{CurrencyCode, Label},
    voucher::CaptureProof,
};

/// An order as it is written, member by member.
#[derive(Debug, Default, PartialEq, Encode, Decode)]
#[cbor(map)]
pub(super) struct OrderMap<'b> {
    #[b(0)]
    domain: &'b str,
    #[n(1)]
    kind: u8,
    #[n(2)]
    ledger: Option<LedgerId>,
    #[n(3)]
    account: Option<AccountId>,
    #[n(4)]
    nonce: Option<Nonce>,
    #[n(5)]
    expires: u64,
    #[b(6)]
    challenge: Option<&'b str>,
    #[b(7)]
    realm: Option<&'b str>,
    #[n(8)]
    to: Option<AccountId>,
    #[n(9)]
    amount: Option<u128>,
    #[n(10)]
    currency: Option<CurrencyCode>,
    #[n(11)]
    key: Option<ByteArray<32>>,
    #[n(12)]
    roles: Option<u8>,
    #[n(13)]
    transfer: Option<TransferId>,
    #[n(14)]
    hold: Option<HoldId>,
    #[n(15)]
    until: Option<u64>,
    #[n(16)]
    hashlock: Option<ByteArray<32>>,
    #[n(17)]
    agreement: Option<ByteArray<32>>,
    #[n(18)]
    preimage: Option<ByteArray<32>>,
    #[n(19)]
    flag: Option<bool>,
    #[n(20)]
    label: Option<Label>,
    #[n(21)]
    voucher_key: Option<ByteArray<32>>,
    #[n(22)]
    root: Option<ByteArray<32>>,
    #[n(23)]
    step: Option<u128>,
    #[n(24)]
    words: Option<u32>,
    #[n(25)]
    grace: Option<u64>,
    #[n(26)]
    cumulative: Option<u128>,
    #[n(27)]
    voucher_signature: Option<ByteArray<64>>,
    #[n(28)]
    ack: Option<ByteArray<32>>,
    #[n(29)]
    word: Option<ByteArray<32>>,
}

impl<'a> From<&'a Order> for OrderMap<'a> {
    fn from(order: &'a Order) -> Self {
        let mut map = Self {
            domain: ORDER_DOMAIN,
            ledger: Some(order.ledger),
            account: Some(order.account),
            nonce: Some(order.nonce),
            expires: order.expires.as_millis(),
            ..Self::default()
        };
        map.put_action(&order.action);
        map
    }
}

impl<'a> OrderMap<'a> {
    fn put_action(&mut self, action: &'a Action) {
        match action {
            Action::Transfer {
                payee,
                amount,
                currency,
                charge,
            } => {
                self.kind = 1;
                self.put_charge(charge.as_ref());
                self.to = Some(*payee);
                self.put_money(*amount, Some(currency));
            }
            Action::Mint {
                to,
                amount,
                currency,
                first_key,
                owner,
            } => {
                self.kind = 2;
                self.to = Some(*to);
                self.put_money(*amount, Some(currency));
                self.key = first_key.as_ref().map(key_bytes);
                self.label.clone_from(owner);
            }
            Action::Burn { amount, currency } => {
                self.kind = 3;
                self.put_money(*amount, Some(currency));
            }
            Action::Refund {
                transfer,
                amount,
                reason,
            } => {
                self.kind = 4;
                self.put_money(*amount, None);
                self.transfer = Some(*transfer);
                self.label.clone_from(reason);
            }
            Action::Open { first_key, owner } => {
                self.kind = 5;
                self.key = Some(key_bytes(first_key));
                self.label.clone_from(owner);
            }
            Action::AddKey { key, roles } => {
                self.kind = 6;
                self.key = Some(key_bytes(key));
                self.roles = Some(roles.bits());
            }
            Action::RevokeKey { key } => {
                self.kind = 7;
                self.key = Some(key_bytes(key));
            }
            action => self.put_rare_action(action),
        }
    }

    fn put_rare_action(&mut self, action: &'a Action) {
        match action {
            Action::Hold {
                capturer,
                amount,
                currency,
                until,
                condition,
                charge,
            } => {
                self.kind = 8;
                self.put_charge(charge.as_ref());
                self.to = Some(*capturer);
                self.put_money(*amount, Some(currency));
                self.until = until.map(Timestamp::as_millis);
                self.put_condition(condition);
            }
            Action::Post {
                hold,
                amount,
                last,
                met,
            } => {
                self.kind = 9;
                self.put_money(*amount, None);
                self.hold = Some(*hold);
                self.flag = Some(*last);
                match met {
                    Met::None => {}
                    Met::Preimage(preimage) => self.preimage = Some((*preimage).into()),
                    Met::Agreement(digest) => self.agreement = Some((*digest).into()),
                }
            }
            Action::Void { hold } => {
                self.kind = 10;
                self.hold = Some(*hold);
            }
            Action::Freeze { account, frozen } => {
                self.kind = 11;
                self.to = Some(*account);
                self.flag = Some(*frozen);
            }
            Action::Limit { account, amount } => {
                self.kind = 12;
                self.to = Some(*account);
                self.amount = *amount;
            }
            action => self.put_channel_action(action),
        }
    }

    fn put_channel_action(&mut self, action: &'a Action) {
        match action {
            Action::Capture {
                channel,
                cumulative,
                last,
                proof,
            } => {
                self.kind = 13;
                self.put_money(*cumulative, None);
                self.hold = Some(*channel);
                self.flag = Some(*last);
                self.put_proof(proof);
            }
            Action::TopUp {
                channel,
                amount,
                charge,
            } => {
                self.kind = 14;
                self.put_charge(charge.as_ref());
                self.put_money(*amount, None);
                self.hold = Some(*channel);
            }
            Action::ForceClose { channel } => {
                self.kind = 15;
                self.hold = Some(*channel);
            }
            Action::Withdraw { channel } => {
                self.kind = 16;
                self.hold = Some(*channel);
            }
            // The others are the callers'.
            _ => {}
        }
    }

    fn put_condition(&mut self, condition: &Condition) {
        match condition {
            Condition::None => {}
            Condition::Preimage(hash) => self.hashlock = Some((*hash).into()),
            Condition::Agreement(digest) => self.agreement = Some((*digest).into()),
            Condition::Vouchers { key, grace_ms } => {
                self.voucher_key = Some(key_bytes(key));
                self.grace = Some(*grace_ms);
            }
            Condition::Words {
                root,
                step,
                words,
                grace_ms,
            } => {
                self.root = Some((*root).into());
                self.step = Some(*step);
                self.words = Some(*words);
                self.grace = Some(*grace_ms);
            }
        }
    }

    fn put_proof(&mut self, proof: &CaptureProof) {
        match proof {
            CaptureProof::Voucher {
                key,
                cumulative,
                ack,
                signature,
            } => {
                self.voucher_key = Some(key_bytes(key));
                self.cumulative = Some(*cumulative);
                self.voucher_signature = Some((*signature).into());
                self.ack = ack.map(Into::into);
            }
            CaptureProof::Word { root, index, word } => {
                self.root = Some((*root).into());
                self.words = Some(*index);
                self.word = Some((*word).into());
            }
        }
    }

    fn put_charge(&mut self, charge: Option<&'a Charge>) {
        self.challenge = charge.map(|charge| charge.challenge.as_str());
        self.realm = charge.map(|charge| charge.realm.as_str());
    }

    fn put_money(&mut self, amount: u128, currency: Option<&CurrencyCode>) {
        self.amount = Some(amount);
        self.currency = currency.cloned();
    }

    fn take_charge(&mut self) -> Result<Option<Charge>, OrderError> {
        match (self.challenge.take(), self.realm.take()) {
            (None, None) => Ok(None),
            (Some(_), None) => Err(OrderError::Missing(7)),
            (None, Some(_)) => Err(OrderError::Missing(6)),
            (Some(challenge), Some(realm)) => {
                for (text, member) in [(challenge, 6), (realm, 7)] {
                    if text.is_empty() || text.len() > CHARGE_TEXT_BYTES_MAX {
                        return Err(OrderError::Value(member));
                    }
                }
                Ok(Some(Charge {
                    challenge: challenge.to_owned(),
                    realm: realm.to_owned(),
                }))
            }
        }
    }

    fn take_key(&mut self) -> Result<DidKey, OrderError> {
        need(self.key.take(), 11).map(|key| DidKey::from_public_key(key.into()))
    }

    fn take_action(&mut self) -> Result<Action, OrderError> {
        Ok(match self.kind {
            1 => Action::Transfer {
                charge: self.take_charge()?,
                payee: need(self.to.take(), 8)?,
                amount: need(self.amount.take(), 9)?,
                currency: need(self.currency.take(), 10)?,
            },
            2 => Action::Mint {
                to: need(self.to.take(), 8)?,
                amount: need(self.amount.take(), 9)?,
                currency: need(self.currency.take(), 10)?,
                first_key: self
                    .key
                    .take()
                    .map(|key| DidKey::from_public_key(key.into())),
                owner: self.label.take(),
            },
            3 => Action::Burn {
                amount: need(self.amount.take(), 9)?,
                currency: need(self.currency.take(), 10)?,
            },
            4 => Action::Refund {
                amount: need(self.amount.take(), 9)?,
                transfer: need(self.transfer.take(), 13)?,
                reason: self.label.take(),
            },
            5 => Action::Open {
                first_key: self.take_key()?,
                owner: self.label.take(),
            },
            6 => Action::AddKey {
                key: self.take_key()?,
                roles: Roles::from_bits(need(self.roles.take(), 12)?)
                    .ok_or(OrderError::Value(12))?,
            },
            7 => Action::RevokeKey {
                key: self.take_key()?,
            },
            8 => self.take_hold()?,
            9 => self.take_post()?,
            10 => Action::Void {
                hold: need(self.hold.take(), 14)?,
            },
            11 => Action::Freeze {
                account: need(self.to.take(), 8)?,
                frozen: need(self.flag.take(), 19)?,
            },
            12 => Action::Limit {
                account: need(self.to.take(), 8)?,
                amount: self.amount.take(),
            },
            kind => self.take_channel_action(kind)?,
        })
    }

    fn take_channel_action(&mut self, kind: u8) -> Result<Action, OrderError> {
        Ok(match kind {
            13 => Action::Capture {
                channel: need(self.hold.take(), 14)?,
                cumulative: need(self.amount.take(), 9)?,
                last: need(self.flag.take(), 19)?,
                proof: self.take_proof()?,
            },
            14 => Action::TopUp {
                charge: self.take_charge()?,
                channel: need(self.hold.take(), 14)?,
                amount: need(self.amount.take(), 9)?,
            },
            15 => Action::ForceClose {
                channel: need(self.hold.take(), 14)?,
            },
            16 => Action::Withdraw {
                channel: need(self.hold.take(), 14)?,
            },
            kind => return Err(OrderError::Kind(kind)),
        })
    }

    fn take_hold(&mut self) -> Result<Action, OrderError> {
        if self.grace.is_some() && self.until.is_some() {
            // A channel never ends by itself.
            return Err(OrderError::Unexpected(15));
        }
        Ok(Action::Hold {
            charge: self.take_charge()?,
            capturer: need(self.to.take(), 8)?,
            amount: need(self.amount.take(), 9)?,
            currency: need(self.currency.take(), 10)?,
            until: self.until.take().map(|at| instant(at, 15)).transpose()?,
            condition: self.take_condition()?,
        })
    }

    /// At most one of them: what belongs to another is left over.
    fn take_condition(&mut self) -> Result<Condition, OrderError> {
        if let Some(hash) = self.hashlock.take() {
            return Ok(Condition::Preimage(hash.into()));
        }
        if let Some(digest) = self.agreement.take() {
            return Ok(Condition::Agreement(digest.into()));
        }
        if self.voucher_key.is_some() {
            return Ok(Condition::Vouchers {
                key: self.take_voucher_key()?,
                grace_ms: self.take_grace()?,
            });
        }
        if let Some(root) = self.root.take() {
            return Ok(Condition::Words {
                root: root.into(),
                step: need(self.step.take(), 23)
                    .and_then(|step| within(step, 1..=u128::MAX, 23))?,
                words: self.take_words()?,
                grace_ms: self.take_grace()?,
            });
        }
        Ok(Condition::None)
    }

    fn take_voucher_key(&mut self) -> Result<DidKey, OrderError> {
        need(self.voucher_key.take(), 21).map(|key| DidKey::from_public_key(key.into()))
    }

    fn take_words(&mut self) -> Result<u32, OrderError> {
        within(
            need(self.words.take(), 24)?,
            1..=limits::CHAIN_WORDS_MAX,
            24,
        )
    }

    fn take_grace(&mut self) -> Result<u64, OrderError> {
        let allowed = limits::GRACE_MS_MIN..=limits::GRACE_MS_MAX;
        within(need(self.grace.take(), 25)?, allowed, 25)
    }

    fn take_proof(&mut self) -> Result<CaptureProof, OrderError> {
        if let Some(root) = self.root.take() {
            return Ok(CaptureProof::Word {
                root: root.into(),
                index: self.take_words()?,
                word: need(self.word.take(), 29)?.into(),
            });
        }
        Ok(CaptureProof::Voucher {
            key: self.take_voucher_key()?,
            cumulative: need(self.cumulative.take(), 26)?,
            ack: self.ack.take().map(Into::into),
            signature: need(self.voucher_signature.take(), 27)?.into(),
        })
    }

    fn take_post(&mut self) -> Result<Action, OrderError> {
        Ok(Action::Post {
            amount: need(self.amount.take(), 9)?,
            hold: need(self.hold.take(), 14)?,
            last: need(self.flag.take(), 19)?,
            met: match (self.preimage.take(), self.agreement.take()) {
                (None, None) => Met::None,
                (Some(preimage), None) => Met::Preimage(preimage.into()),
                (None, Some(digest)) => Met::Agreement(digest.into()),
                (Some(_), Some(_)) => return Err(OrderError::Unexpected(18)),
            },
        })
    }

    /// The first member that no reader took.
    fn left_over(&self) -> Option<u8> {
        [
            (6, self.challenge.is_some()),
            (7, self.realm.is_some()),
            (8, self.to.is_some()),
            (9, self.amount.is_some()),
            (10, self.currency.is_some()),
            (11, self.key.is_some()),
            (12, self.roles.is_some()),
            (13, self.transfer.is_some()),
            (14, self.hold.is_some()),
            (15, self.until.is_some()),
            (16, self.hashlock.is_some()),
            (17, self.agreement.is_some()),
            (18, self.preimage.is_some()),
            (19, self.flag.is_some()),
            (20, self.label.is_some()),
            (21, self.voucher_key.is_some()),
            (22, self.root.is_some()),
            (23, self.step.is_some()),
            (24, self.words.is_some()),
            (25, self.grace.is_some()),
            (26, self.cumulative.is_some()),
            (27, self.voucher_signature.is_some()),
            (28, self.ack.is_some()),
            (29, self.word.is_some()),
        ]
        .into_iter()
        .find_map(|(member, left)| left.then_some(member))
    }
}

impl TryFrom<OrderMap<'_>> for Order {
    type Error = OrderError;

    fn try_from(mut map: OrderMap<'_>) -> Result<Self, OrderError> {
        if map.domain != ORDER_DOMAIN {
            return Err(OrderError::Domain);
        }
        let order = Self {
            ledger: need(map.ledger.take(), 2)?,
            account: need(map.account.take(), 3)?,
            nonce: need(map.nonce.take(), 4)?,
            expires: instant(map.expires, 5)?,
            action: map.take_action()?,
        };
        match map.left_over() {
            Some(member) => Err(OrderError::Unexpected(member)),
            None => Ok(order),
        }
    }
}

fn need<T>(member: Option<T>, number: u8) -> Result<T, OrderError> {
    member.ok_or(OrderError::Missing(number))
}

fn within<T: PartialOrd>(
    value: T,
    allowed: std::ops::RangeInclusive<T>,
    number: u8,
) -> Result<T, OrderError> {
    if allowed.contains(&value) {
        Ok(value)
    } else {
        Err(OrderError::Value(number))
    }
}

fn instant(millis: u64, number: u8) -> Result<Timestamp, OrderError> {
    if millis > Timestamp::MAX.as_millis() {
        return Err(OrderError::Value(number));
    }
    Ok(Timestamp::from_millis(millis))
}

fn key_bytes(key: &DidKey) -> ByteArray<32> {
    (*key.public_key()).into()
}
