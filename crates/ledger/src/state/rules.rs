//! What an order must fulfil. The order of the checks is the order of [`Refusal`]'s variants.

use sha2::{Digest as _, Sha256};
use stiver_core::{Timestamp, did::DidKey};

use super::State;
use crate::{
    id::{AccountId, HoldId, OrderHash, TransferId},
    key::Roles,
    limits,
    order::{Action, Met, Order, SignedOrder},
    refusal::Refusal,
    rows::{
        AccountRow, ConditionRow, CurrencyNumber, Done, HoldRow, HoldRowState, Origin, Posting,
    },
    view::TransferKind,
};

/// What the rules say of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ruling {
    /// It was executed before: here is its outcome again.
    Repeated,
    /// Execute it with these postings: debit, then credit, or none.
    Execute(Vec<Posting>),
}

/// How many orders may be remembered before one more of each sort is refused.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// Before any order is.
    pub(crate) any: usize,
    /// Before refunds, posts, voids, captures and a channel's end are: they settle what was ordered
    /// earlier.
    pub(crate) settling: usize,
    /// Before the operator's are.
    pub(crate) operator: usize,
}

impl Room {
    /// As [`limits`] has it.
    const LIMITS: Self = Self {
        any: limits::REMEMBERED_ORDERS_MAX
            - limits::REMEMBERED_FOR_SETTLING
            - limits::REMEMBERED_FOR_OPERATOR,
        settling: limits::REMEMBERED_ORDERS_MAX - limits::REMEMBERED_FOR_OPERATOR,
        operator: limits::REMEMBERED_ORDERS_MAX,
    };
}

/// A movement that is to be made.
pub(super) struct Movement {
    pub(super) debit: AccountId,
    pub(super) credit: AccountId,
    pub(super) currency: CurrencyNumber,
    pub(super) units: u128,
}

impl Movement {
    /// Its two postings, for the accounts it is between, unless a balance overflows.
    fn postings(&self, [debit, credit]: [Option<&AccountRow>; 2]) -> Result<Vec<Posting>, Refusal> {
        let delta = i128::try_from(self.units).map_err(|_| Refusal::Overflow)?;
        let posting = |account: AccountId, row: Option<&AccountRow>, delta: i128| {
            let posted = row.map_or(0, |row| row.balance(self.currency).0);
            posted.checked_add(delta).ok_or(Refusal::Overflow)?;
            Ok(Posting {
                account,
                currency: self.currency,
                delta,
            })
        };
        Ok(vec![
            posting(self.debit, debit, -delta)?,
            posting(self.credit, credit, delta)?,
        ])
    }
}

/// Whether what is available, which an issuer's debt makes negative, is as much as is needed.
fn enough(needed: u128, available: i128) -> Result<(), Refusal> {
    let available = u128::try_from(available).unwrap_or(0);
    if needed > available {
        return Err(Refusal::Insufficient { needed, available });
    }
    Ok(())
}

impl State {
    /// Rules on an order. Changes nothing.
    pub(crate) fn rule(&self, now: Timestamp, signed: &SignedOrder) -> Result<Ruling, Refusal> {
        self.rule_within(now, signed, Room::LIMITS)
    }

    /// Rules on an order, with so much room for it.
    pub(crate) fn rule_within(
        &self,
        now: Timestamp,
        signed: &SignedOrder,
        room: Room,
    ) -> Result<Ruling, Refusal> {
        let order = signed.order();
        let Some(origin) = &self.stored.origin else {
            return Err(Refusal::WrongLedger);
        };
        if order.ledger != origin.ledger {
            return Err(Refusal::WrongLedger);
        }
        let known = self.stored.executed.get(&signed.hash());
        if known.is_some_and(|row| row.key == signed.key()) {
            return Ok(Ruling::Repeated);
        }
        if now >= order.expires {
            return Err(Refusal::Expired { at: order.expires });
        }
        let latest = now.plus_millis(limits::ORDER_LIFETIME_MS_MAX);
        if order.expires > latest {
            return Err(Refusal::ExpiryTooFar { latest });
        }
        let signer = self.authorise(signed)?;
        if known.is_some() {
            return Ok(Ruling::Repeated);
        }
        let executed = &self.stored.executed;
        if let Some(by) = executed.by_nonce(&order.account, &order.nonce) {
            return Err(Refusal::NonceUsed { by: *by });
        }
        let postings = self.rule_action(now, origin, order, signer)?;
        self.rule_room(now, origin, order, room)?;
        Ok(Ruling::Execute(postings))
    }

    /// Whether one more order can be remembered, once those are forgotten whose time is over.
    fn rule_room(
        &self,
        now: Timestamp,
        origin: &Origin,
        order: &Order,
        room: Room,
    ) -> Result<(), Refusal> {
        let max = match order.action {
            _ if order.account == origin.operator => room.operator,
            Action::Refund { .. }
            | Action::Post { .. }
            | Action::Void { .. }
            | Action::Capture { .. }
            | Action::ForceClose { .. }
            | Action::Withdraw { .. } => room.settling,
            _ => room.any,
        };
        let Some(over) = self.stored.executed.len().checked_sub(max) else {
            return Ok(());
        };
        let due = self.stored.executed.all_due(now);
        let forgotten = due.filter(|hash| !self.holds_money(**hash, now));
        if forgotten.take(over + 1).count() > over {
            return Ok(());
        }
        Err(Refusal::TooManyOrders)
    }

    /// Whether the key may act for the account, and the account. One that its own first key opens
    /// is not there yet.
    fn authorise(&self, signed: &SignedOrder) -> Result<Option<&AccountRow>, Refusal> {
        let order = signed.order();
        let Some(account) = self.stored.accounts.get(&order.account) else {
            return match order.action {
                Action::Open { first_key, .. }
                    if first_key == signed.key()
                        && order.account == AccountId::of_first_key(&first_key) =>
                {
                    Ok(None)
                }
                _ => Err(Refusal::UnknownAccount),
            };
        };
        let key = account
            .keys
            .iter()
            .find(|row| row.key == signed.key())
            .ok_or(Refusal::KeyNotOfAccount)?;
        let needed = match order.action {
            Action::Transfer { .. }
            | Action::Mint { .. }
            | Action::Burn { .. }
            | Action::Hold { .. }
            | Action::TopUp { .. }
            | Action::ForceClose { .. }
            | Action::Withdraw { .. } => Roles::SPEND,
            Action::Refund { .. }
            | Action::Post { .. }
            | Action::Void { .. }
            | Action::Capture { .. } => Roles::SETTLE,
            Action::Open { .. }
            | Action::AddKey { .. }
            | Action::RevokeKey { .. }
            | Action::Freeze { .. }
            | Action::Limit { .. } => Roles::ADMIN,
        };
        if key.roles.include(needed) {
            Ok(Some(account))
        } else {
            Err(Refusal::KeyLacksRole { needed })
        }
    }

    fn rule_action(
        &self,
        now: Timestamp,
        origin: &Origin,
        order: &Order,
        signer: Option<&AccountRow>,
    ) -> Result<Vec<Posting>, Refusal> {
        match &order.action {
            Action::Transfer {
                payee,
                amount,
                currency,
                ..
            } => {
                let payer = signer.ok_or(Refusal::UnknownAccount)?;
                self.rule_transfer(now, order, payer, *payee, *amount, currency.as_str())
            }
            Action::Mint {
                to,
                amount,
                currency,
                first_key,
                ..
            } => self.rule_mint(now, order, *to, *amount, currency.as_str(), *first_key),
            Action::Burn { amount, currency } => {
                self.rule_burn(now, order, *amount, currency.as_str())
            }
            Action::Refund {
                transfer, amount, ..
            } => self.rule_refund(now, origin, order, *transfer, *amount),
            Action::Open { first_key, .. } => self.rule_open(origin, order, first_key),
            Action::AddKey { key, roles } => self.rule_add_key(order, key, *roles),
            Action::RevokeKey { key } => self.rule_revoke_key(order, key),
            Action::Hold { .. } => self.rule_hold(now, order),
            Action::Post {
                hold, amount, met, ..
            } => self.rule_post(now, order, *hold, *amount, *met),
            Action::Void { hold } => self.rule_void(now, order, *hold),
            Action::Capture {
                channel,
                cumulative,
                last,
                proof,
            } => self.rule_capture(order, *channel, *cumulative, *last, proof),
            Action::TopUp {
                channel, amount, ..
            } => self.rule_top_up(now, order, *channel, *amount),
            Action::ForceClose { channel } => self.rule_force_close(order, *channel),
            Action::Withdraw { channel } => self.rule_withdraw(now, order, *channel),
            Action::Freeze { account, .. } | Action::Limit { account, .. } => {
                if order.account != origin.operator {
                    return Err(Refusal::NotOperator);
                }
                if !self.stored.accounts.contains_key(account) {
                    return Err(Refusal::UnknownPayee);
                }
                Ok(Vec::new())
            }
        }
    }

    /// The signing account, which [`State::authorise`] found, unless it is frozen.
    pub(super) fn thawed(&self, id: &AccountId) -> Result<&AccountRow, Refusal> {
        let account = self
            .stored
            .accounts
            .get(id)
            .ok_or(Refusal::UnknownAccount)?;
        if account.frozen {
            return Err(Refusal::AccountFrozen);
        }
        Ok(account)
    }

    /// Currency, amount and limit, in this order.
    fn rule_money(
        &self,
        account: &AccountRow,
        amount: u128,
        currency: &str,
    ) -> Result<CurrencyNumber, Refusal> {
        let number = self
            .currency_number(currency)
            .ok_or(Refusal::UnknownCurrency)?;
        if amount == 0 {
            return Err(Refusal::ZeroAmount);
        }
        match account.limit {
            Some(limit) if amount > limit => Err(Refusal::OverLimit { limit }),
            _ => Ok(number),
        }
    }

    /// Whoever is paid: known, another account, not frozen.
    pub(super) fn rule_payee(
        &self,
        payer: &AccountId,
        payee: &AccountId,
    ) -> Result<&AccountRow, Refusal> {
        let account = self
            .stored
            .accounts
            .get(payee)
            .ok_or(Refusal::UnknownPayee)?;
        if payer == payee {
            return Err(Refusal::SelfPayment);
        }
        if account.frozen {
            return Err(Refusal::PayeeFrozen);
        }
        Ok(account)
    }

    /// Funds and overflow, then the two postings.
    fn rule_movement(&self, now: Timestamp, movement: &Movement) -> Result<Vec<Posting>, Refusal> {
        if !self.is_issuer(&movement.debit, movement.currency) {
            self.rule_funds(now, &movement.debit, movement.currency, movement.units)?;
        }
        self.postings(movement)
    }

    pub(super) fn rule_funds(
        &self,
        now: Timestamp,
        payer: &AccountId,
        currency: CurrencyNumber,
        needed: u128,
    ) -> Result<(), Refusal> {
        enough(needed, self.available(payer, currency, now))
    }

    pub(super) fn postings(&self, movement: &Movement) -> Result<Vec<Posting>, Refusal> {
        let accounts = &self.stored.accounts;
        movement.postings([
            accounts.get(&movement.debit),
            accounts.get(&movement.credit),
        ])
    }

    fn rule_transfer(
        &self,
        now: Timestamp,
        order: &Order,
        payer: &AccountRow,
        payee: AccountId,
        units: u128,
        currency: &str,
    ) -> Result<Vec<Posting>, Refusal> {
        if payer.frozen {
            return Err(Refusal::AccountFrozen);
        }
        let currency = self.rule_money(payer, units, currency)?;
        let paid = self.rule_payee(&order.account, &payee)?;
        let movement = Movement {
            debit: order.account,
            credit: payee,
            currency,
            units,
        };
        if !self.is_issuer(&order.account, currency) {
            let available = self.available_of(&order.account, payer, currency, now);
            enough(units, available)?;
        }
        movement.postings([Some(payer), Some(paid)])
    }

    fn rule_mint(
        &self,
        now: Timestamp,
        order: &Order,
        to: AccountId,
        units: u128,
        currency: &str,
        first_key: Option<DidKey>,
    ) -> Result<Vec<Posting>, Refusal> {
        if let Some(number) = self.currency_number(currency)
            && !self.is_issuer(&order.account, number)
        {
            return Err(Refusal::NotIssuer);
        }
        let issuer = self.thawed(&order.account)?;
        let currency = self.rule_money(issuer, units, currency)?;
        let opens = first_key.is_some() && !self.stored.accounts.contains_key(&to);
        if !opens {
            self.rule_payee(&order.account, &to)?;
        }
        if first_key.is_some_and(|key| AccountId::of_first_key(&key) != to) {
            return Err(Refusal::WrongFirstKey);
        }
        if opens && self.stored.accounts.len() >= limits::ACCOUNTS_MAX {
            return Err(Refusal::TooManyAccounts);
        }
        self.rule_movement(
            now,
            &Movement {
                debit: order.account,
                credit: to,
                currency,
                units,
            },
        )
    }

    fn rule_burn(
        &self,
        now: Timestamp,
        order: &Order,
        units: u128,
        currency: &str,
    ) -> Result<Vec<Posting>, Refusal> {
        let holder = self.thawed(&order.account)?;
        let currency = self.rule_money(holder, units, currency)?;
        let issuer = self.stored.currencies[usize::from(currency)].issuer;
        if issuer == order.account {
            return Err(Refusal::SelfPayment);
        }
        self.rule_movement(
            now,
            &Movement {
                debit: order.account,
                credit: issuer,
                currency,
                units,
            },
        )
    }

    fn rule_refund(
        &self,
        now: Timestamp,
        origin: &Origin,
        order: &Order,
        transfer: TransferId,
        units: u128,
    ) -> Result<Vec<Posting>, Refusal> {
        self.thawed(&order.account)?;
        if units == 0 {
            return Err(Refusal::ZeroAmount);
        }
        let row = self
            .stored
            .executed
            .get(&OrderHash::from(transfer))
            .filter(|row| now < row.keep_until)
            .ok_or(Refusal::UnknownTransfer)?;
        let Done::Moved(row) = &row.done else {
            return Err(Refusal::NotRefundable);
        };
        if !matches!(row.kind, TransferKind::Transfer | TransferKind::Post) {
            return Err(Refusal::NotRefundable);
        }
        if order.account != row.credit && order.account != origin.operator {
            return Err(Refusal::NotPayee);
        }
        let remainder = row.units.saturating_sub(row.refunded);
        if units > remainder {
            return Err(Refusal::RefundTooLarge { remainder });
        }
        self.rule_movement(
            now,
            &Movement {
                debit: row.credit,
                credit: row.debit,
                currency: row.currency,
                units,
            },
        )
    }

    fn rule_open(
        &self,
        origin: &Origin,
        order: &Order,
        first_key: &DidKey,
    ) -> Result<Vec<Posting>, Refusal> {
        let id = AccountId::of_first_key(first_key);
        if order.account != origin.operator {
            if order.account != id {
                return Err(Refusal::NotOperator);
            }
            if origin.permissioned {
                return Err(Refusal::NotPermitted);
            }
        }
        if self.stored.accounts.contains_key(&id) {
            return Err(Refusal::AccountExists);
        }
        if self.stored.accounts.len() >= limits::ACCOUNTS_MAX {
            return Err(Refusal::TooManyAccounts);
        }
        Ok(Vec::new())
    }

    fn rule_add_key(
        &self,
        order: &Order,
        key: &DidKey,
        roles: Roles,
    ) -> Result<Vec<Posting>, Refusal> {
        let account = self
            .stored
            .accounts
            .get(&order.account)
            .ok_or(Refusal::UnknownAccount)?;
        let known = account.keys.iter().any(|row| row.key == *key);
        if !known && account.keys.len() >= limits::KEYS_PER_ACCOUNT_MAX {
            return Err(Refusal::TooManyKeys);
        }
        if !roles.include(Roles::ADMIN) && !has_other_admin(account, key) {
            return Err(Refusal::LastAdminKey);
        }
        Ok(Vec::new())
    }

    fn rule_revoke_key(&self, order: &Order, key: &DidKey) -> Result<Vec<Posting>, Refusal> {
        let account = self
            .stored
            .accounts
            .get(&order.account)
            .ok_or(Refusal::UnknownAccount)?;
        if !account.keys.iter().any(|row| row.key == *key) {
            return Err(Refusal::UnknownKey);
        }
        if !has_other_admin(account, key) {
            return Err(Refusal::LastAdminKey);
        }
        Ok(Vec::new())
    }

    fn rule_hold(&self, now: Timestamp, order: &Order) -> Result<Vec<Posting>, Refusal> {
        let Action::Hold {
            capturer,
            amount,
            currency,
            until,
            ..
        } = &order.action
        else {
            return Ok(Vec::new());
        };
        let payer = self.thawed(&order.account)?;
        let currency = self.rule_money(payer, *amount, currency.as_str())?;
        self.rule_payee(&order.account, capturer)?;
        if until.is_some_and(|until| now >= until) {
            return Err(Refusal::HoldEndPassed);
        }
        if payer.open_holds >= limits::OPEN_HOLDS_PER_ACCOUNT_MAX {
            return Err(Refusal::TooManyHolds);
        }
        if self.is_issuer(&order.account, currency) {
            // An issuer mints what it owes; setting aside money that does not exist means nothing.
            return Err(Refusal::Insufficient {
                needed: *amount,
                available: 0,
            });
        }
        self.rule_funds(now, &order.account, currency, *amount)?;
        Ok(Vec::new())
    }

    /// An open hold that this account may take.
    fn rule_capturer(
        &self,
        now: Timestamp,
        order: &Order,
        hold: HoldId,
    ) -> Result<&HoldRow, Refusal> {
        let row = self.stored.holds.get(&hold).ok_or(Refusal::UnknownHold)?;
        if row.capturer != order.account {
            return Err(Refusal::NotCapturer);
        }
        match row.state {
            HoldRowState::Posted | HoldRowState::Voided | HoldRowState::Withdrawn => {
                Err(Refusal::HoldClosed)
            }
            HoldRowState::Open if !row.has_ended(now) => Ok(row),
            HoldRowState::Open | HoldRowState::Lapsed => {
                let at = row.until().unwrap_or(now);
                Err(Refusal::HoldEnded { at })
            }
        }
    }

    fn rule_post(
        &self,
        now: Timestamp,
        order: &Order,
        hold: HoldId,
        units: u128,
        met: Met,
    ) -> Result<Vec<Posting>, Refusal> {
        self.thawed(&order.account)?;
        if units == 0 {
            return Err(Refusal::ZeroAmount);
        }
        let row = self.rule_capturer(now, order, hold)?;
        if !is_met(row.condition, met) {
            return Err(Refusal::ConditionNotMet);
        }
        let remainder = row.remainder();
        if units > remainder {
            return Err(Refusal::PostTooLarge { remainder });
        }
        // The money was set aside: no other check of funds.
        self.postings(&Movement {
            debit: row.payer,
            credit: row.capturer,
            currency: row.currency,
            units,
        })
    }

    fn rule_void(
        &self,
        now: Timestamp,
        order: &Order,
        hold: HoldId,
    ) -> Result<Vec<Posting>, Refusal> {
        self.rule_capturer(now, order, hold)?;
        Ok(Vec::new())
    }
}

/// True when another key than this one has the role admin.
fn has_other_admin(account: &AccountRow, key: &DidKey) -> bool {
    account
        .keys
        .iter()
        .any(|row| row.key != *key && row.roles.include(Roles::ADMIN))
}

/// A hash is no secret once posted, so plain equality is right here.
fn is_met(condition: ConditionRow, met: Met) -> bool {
    match (condition, met) {
        (ConditionRow::None, Met::None) => true,
        (ConditionRow::Preimage(hash), Met::Preimage(preimage)) => {
            let digest: [u8; 32] = Sha256::digest(preimage).into();
            digest == hash
        }
        (ConditionRow::Agreement(digest), Met::Agreement(repeated)) => digest == repeated,
        _ => false,
    }
}
