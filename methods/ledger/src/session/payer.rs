//! The payer's side of sessions.

use std::{collections::BTreeMap, sync::Arc};

use stiver_channel::{Caps, ChannelId, Voucher, voucher::chain::Words};
use stiver_core::{
    Amount, Currency, Receipt, Timestamp, base64url,
    challenge::{Challenge, Expires},
    did::DidKey,
    name::{IntentName, MethodName},
};
use stiver_ledger::{
    id::{AccountId, HoldId, LedgerId, Nonce},
    limits::CHAIN_WORDS_MAX,
    order::{Action, Charge, Condition, Order, SignedOrder},
    text::CurrencyCode,
    voucher::chain_salt,
};
use stiver_method::{
    BoxFuture,
    artefact::{Artefact, ExecuteError, RailUnavailable, Refusal},
    payer::{CallKey, PayError, Proof, Unpayable},
    session::{
        ChannelLookup, ChannelMoved, ChannelState, OpenRequest, PayerSession, PreparedOpen,
        SessionView, TopUpRequest, VoucherScheme, VoucherSigner,
    },
    signer::Signer,
};
use zeroize::Zeroizing;

use super::{
    GRACE_SECONDS_ACCEPTED_DEFAULT,
    asked::Asked,
    payee::verified,
    payload::{self, TRANSACTION},
    receipt,
    record::{ChainRecord, Record},
    signers,
    wire::{Payload, Scheme},
};
use crate::{
    METHOD, ORDER_LIFETIME_MS_MAX,
    api::ChannelLedger,
    payee::{artefact, code},
    payer::order_expiry,
    query::ChannelAnswer,
    refusal::invalid,
    sign,
};

/// A hash chain is made so many times as long as the deposit needs, so that the deposit can grow.
const TOP_UP_ROOM: u128 = 4;

/// What a payer of sessions needs.
pub struct LedgerSessionPayerConfig {
    /// A key of the account that may spend: it signs openings, top-ups, forced closes and
    /// withdrawals. Vouchers are signed by a key of each channel's own.
    pub signer: Arc<dyn Signer>,
    /// The account that pays; `None` is the one that the signer's key opened.
    pub account: Option<AccountId>,
    /// The ledgers it has money on: no order is signed for another.
    pub ledgers: Vec<LedgerId>,
    /// The currencies it pays in, with their decimals.
    pub currencies: Vec<Currency>,
    /// How to reach the ledger: to ask, and to leave a channel without its payee. Without it,
    /// nothing is ever known to have failed.
    pub ledger: Option<Arc<dyn ChannelLedger>>,
    /// The longest grace that is agreed to, seconds. A payer who forces a close waits for it.
    pub grace_seconds_max: u64,
}

impl LedgerSessionPayerConfig {
    /// One ledger, the signer's own account, and the usual grace.
    pub fn new(
        signer: Arc<dyn Signer>,
        ledger: LedgerId,
        currencies: Vec<Currency>,
        reached_by: Option<Arc<dyn ChannelLedger>>,
    ) -> Self {
        Self {
            signer,
            account: None,
            ledgers: vec![ledger],
            currencies,
            ledger: reached_by,
            grace_seconds_max: GRACE_SECONDS_ACCEPTED_DEFAULT,
        }
    }
}

/// The `ledger` method with the `session` intent, for a payer.
pub struct LedgerSessionPayer {
    name: MethodName,
    account: AccountId,
    receipt_keys: BTreeMap<LedgerId, DidKey>,
    /// The kind of voucher where an opening names none.
    scheme: Option<VoucherScheme>,
    config: LedgerSessionPayerConfig,
}

impl LedgerSessionPayer {
    /// Pays from an account.
    pub fn new(config: LedgerSessionPayerConfig) -> Self {
        let name = MethodName::new(METHOD)
            .expect("the method's name is valid, because it is lower-case letters");
        let key = DidKey::from_public_key(config.signer.public_key());
        Self {
            name,
            account: config
                .account
                .unwrap_or_else(|| AccountId::of_first_key(&key)),
            receipt_keys: BTreeMap::new(),
            scheme: None,
            config,
        }
    }

    /// Makes vouchers of this kind, where an opening does not name one: a payee that does not take
    /// it is not paid.
    #[must_use]
    pub fn with_scheme(mut self, scheme: VoucherScheme) -> Self {
        self.scheme = Some(scheme);
        self
    }

    /// Knows the key that signs a ledger's receipts: a challenge that names another is refused, and
    /// receipts are checked with it.
    #[must_use]
    pub fn with_receipt_key(mut self, ledger: LedgerId, key: DidKey) -> Self {
        self.receipt_keys.insert(ledger, key);
        self
    }

    /// The account that pays.
    pub fn account(&self) -> AccountId {
        self.account
    }

    /// A record by which a channel can be left whose own record is lost: it is asked about, its
    /// close forced, and withdrawn from. `told` is the ledger's answer to
    /// [`Question::Channels`](crate::query::Question::Channels). Nothing is signed by it but orders
    /// of this payer's account, so a wrong answer does no harm.
    ///
    /// # Errors
    ///
    /// [`Unpayable`] when the channel is not paid by this account on this ledger.
    pub fn stranded(
        &self,
        ledger: LedgerId,
        told: &ChannelAnswer,
    ) -> Result<Zeroizing<Vec<u8>>, Unpayable> {
        let malformed = || Unpayable::Malformed("the ledger's answer makes no sense".to_owned());
        if told.payer != self.account.to_string() || !self.config.ledgers.contains(&ledger) {
            return Err(Unpayable::NoAccount(
                "the channel is of another account or ledger".to_owned(),
            ));
        }
        let record = Record {
            channel: told.channel_id.parse().map_err(|_| malformed())?,
            ledger,
            account: self.account,
            payee: told.payee.parse().map_err(|_| malformed())?,
            currency: CurrencyCode::new(&told.currency).map_err(|_| malformed())?,
            seed: None,
            chain: None,
        };
        Ok(record.encode())
    }

    /// Reads a challenge, and refuses what could not be paid.
    fn read(&self, challenge: &Challenge) -> Result<Asked, Unpayable> {
        let malformed = |detail: String| Err(Unpayable::Malformed(detail));
        let params = &challenge.params;
        if params.method != self.name || params.intent != IntentName::session() {
            return malformed("not a ledger session".to_owned());
        }
        let asked = Asked::read(params.request.object(), &self.config.currencies)
            .map_err(|error| Unpayable::Malformed(error.to_string()))?;
        if !self.config.ledgers.contains(&asked.ledger) {
            return Err(Unpayable::NoAccount(format!(
                "this wallet has no account on ledger {}",
                asked.ledger
            )));
        }
        let known = self.receipt_keys.get(&asked.ledger);
        if let (Some(known), Some(named)) = (known, asked.receipt_key)
            && *known != named
        {
            return malformed(format!(
                "the ledger's receipts are signed by {known}, not by {named}"
            ));
        }
        if asked.recipient == self.account {
            return malformed("the challenge asks the account to pay itself".to_owned());
        }
        let most = self.config.grace_seconds_max;
        if asked.grace_ms > most.saturating_mul(1000) {
            return malformed(format!(
                "the payee wants a grace of {} seconds, and at most {most} are agreed to",
                asked.grace_ms / 1000
            ));
        }
        Ok(asked)
    }

    /// How the vouchers are to be made, of what is offered.
    fn choose(asked: &Asked, wanted: Option<VoucherScheme>) -> Result<Option<u128>, Unpayable> {
        let offered = |scheme| asked.schemes.contains(&scheme);
        let first = asked.prices.first().map_or(1, |price| price.amount.units());
        match wanted {
            None if offered(Scheme::Ed25519) => Ok(None),
            None if offered(Scheme::HashChain) => Ok(Some(first)),
            Some(VoucherScheme::Signed) if offered(Scheme::Ed25519) => Ok(None),
            Some(VoucherScheme::HashChain { step }) if offered(Scheme::HashChain) && step > 0 => {
                Ok(Some(step))
            }
            _ => Err(Unpayable::Malformed(
                "the payee does not take this kind of voucher".to_owned(),
            )),
        }
    }

    fn condition(
        asked: &Asked,
        open: &OpenRequest<'_>,
        chain: Option<&ChainRecord>,
    ) -> Result<Condition, Unpayable> {
        let grace_ms = asked.grace_ms;
        let Some(chain) = chain else {
            return Ok(Condition::Vouchers {
                key: Record::voucher_key(&open.entropy),
                grace_ms,
            });
        };
        let words = Words::new(&open.entropy, &chain_salt(asked.ledger), chain.words)
            .map_err(|error| Unpayable::Malformed(error.to_string()))?;
        Ok(Condition::Words {
            root: words.root(),
            step: chain.step,
            words: chain.words,
            grace_ms,
        })
    }

    /// A chain for a deposit, in words of one step.
    fn chain(open: &OpenRequest<'_>, step: u128) -> Result<ChainRecord, Unpayable> {
        let needed = open.deposit.units().div_ceil(step);
        let too_long = || {
            Unpayable::Malformed(format!(
                "the deposit takes {needed} words of {step} base units, and a chain has at most \
                 {CHAIN_WORDS_MAX}: deposit less, or pay in larger steps"
            ))
        };
        let most = u128::from(CHAIN_WORDS_MAX);
        if needed > most {
            return Err(too_long());
        }
        let room = needed.saturating_mul(TOP_UP_ROOM).clamp(1, most);
        let words = u32::try_from(room).map_err(|_| too_long())?;
        if step.checked_mul(u128::from(words)).is_none() {
            return Err(too_long());
        }
        Ok(ChainRecord { words, step })
    }

    fn opening(&self, open: &OpenRequest<'_>) -> Result<(Order, Option<ChainRecord>), Unpayable> {
        let asked = self.read(open.challenge)?;
        if open.deposit.currency() != &asked.currency || open.deposit.is_zero() {
            return Err(Unpayable::Malformed(format!(
                "the deposit must be an amount of {}",
                asked.currency.code()
            )));
        }
        let step = Self::choose(&asked, open.scheme.or(self.scheme))?;
        let chain = step.map(|step| Self::chain(open, step)).transpose()?;
        let currency = code(&asked.currency)
            .ok_or_else(|| Unpayable::Malformed("the currency has no valid code".to_owned()))?;
        let order = Order {
            ledger: asked.ledger,
            account: self.account,
            nonce: Nonce::from_bytes(*open.call.as_bytes()),
            expires: order_expiry(open.challenge, open.now)?,
            action: Action::Hold {
                capturer: asked.recipient,
                amount: open.deposit.units(),
                currency,
                until: None,
                condition: Self::condition(&asked, open, chain.as_ref())?,
                charge: Some(charge(open.challenge)),
            },
        };
        Ok((order, chain))
    }

    async fn open(&self, open: OpenRequest<'_>) -> Result<PreparedOpen, PayError> {
        let (order, chain) = self.opening(&open).map_err(PayError::Unpayable)?;
        let signed = sign::order(&order, self.config.signer.as_ref())
            .await
            .map_err(PayError::Sign)?;
        let channel = HoldId::from(signed.hash());
        let Action::Hold {
            capturer, currency, ..
        } = order.action
        else {
            return Err(PayError::Refused(invalid("an opening is a hold")));
        };
        let record = Record {
            channel,
            ledger: order.ledger,
            account: order.account,
            payee: capturer,
            currency,
            seed: Some(open.entropy),
            chain,
        };
        Ok(PreparedOpen {
            channel: ChannelId(*channel.as_bytes()),
            artefact: artefact(signed.signed()),
            record: record.encode(),
        })
    }

    fn record(&self, bytes: &[u8]) -> Result<Record, Unpayable> {
        let record = Record::decode(bytes).ok_or_else(|| {
            Unpayable::Malformed("not the record of a channel on a ledger".to_owned())
        })?;
        if record.account != self.account || !self.config.ledgers.contains(&record.ledger) {
            return Err(Unpayable::NoAccount(
                "the channel is of another account or ledger".to_owned(),
            ));
        }
        Ok(record)
    }

    fn topping_up(&self, top_up: &TopUpRequest<'_>) -> Result<Order, Unpayable> {
        let malformed = |detail: &str| Err(Unpayable::Malformed(detail.to_owned()));
        let asked = self.read(top_up.challenge)?;
        let record = self.record(top_up.record)?;
        if record.ledger != asked.ledger
            || record.payee != asked.recipient
            || record.currency.as_str() != asked.currency.code()
        {
            return malformed("the challenge is not for this channel's payee, ledger and currency");
        }
        let add: &Amount = top_up.add;
        if add.currency() != &asked.currency || add.is_zero() {
            return malformed("what is added must be an amount of the channel's currency");
        }
        Ok(Order {
            ledger: record.ledger,
            account: record.account,
            nonce: Nonce::from_bytes(*top_up.call.as_bytes()),
            expires: order_expiry(top_up.challenge, top_up.now)?,
            action: Action::TopUp {
                channel: record.channel,
                amount: add.units(),
                charge: Some(charge(top_up.challenge)),
            },
        })
    }

    async fn signed(&self, order: Result<Order, Unpayable>) -> Result<Artefact, PayError> {
        let order = order.map_err(PayError::Unpayable)?;
        let signed = sign::order(&order, self.config.signer.as_ref()).await;
        Ok(artefact(signed.map_err(PayError::Sign)?.signed()))
    }

    /// An order about a channel that answers no challenge.
    fn leaving(
        &self,
        record: &[u8],
        call: CallKey,
        now: Timestamp,
        action: impl FnOnce(HoldId) -> Action,
    ) -> Result<Order, Unpayable> {
        let record = self.record(record)?;
        Ok(Order {
            ledger: record.ledger,
            account: record.account,
            nonce: Nonce::from_bytes(*call.as_bytes()),
            expires: now.plus_millis(ORDER_LIFETIME_MS_MAX),
            action: action(record.channel),
        })
    }

    fn funding(artefact: &Artefact, voucher: Option<&Voucher>) -> Result<Proof, Refusal> {
        let signed =
            SignedOrder::from_bytes(&artefact.bytes).map_err(|error| invalid(error.to_string()))?;
        let mut payload = Payload {
            kind: Some(TRANSACTION.to_owned()),
            transaction: Some(base64url::encode(&artefact.bytes)),
            ..Payload::default()
        };
        let channel = match &signed.order().action {
            Action::Hold { .. } => {
                payload.action = "open".to_owned();
                HoldId::from(signed.hash())
            }
            Action::TopUp {
                channel, amount, ..
            } => {
                payload.action = "topUp".to_owned();
                payload.additional_deposit = Some(amount.to_string());
                *channel
            }
            _ => return Err(invalid("the order neither opens a channel nor tops one up")),
        };
        payload.channel_id = channel.to_string();
        if let Some(voucher) = voucher {
            let fits = voucher.channel.0 == *channel.as_bytes()
                && payload::put_voucher(&mut payload, voucher).is_some();
            if !fits {
                return Err(invalid("the voucher is not of this channel"));
            }
        }
        Ok(Proof {
            payload: payload::to_object(&payload)?,
            source: Some(signed.key().to_string()),
        })
    }

    fn by_voucher(action: &str, voucher: &Voucher) -> Result<Proof, Refusal> {
        let payload = payload::of_voucher(action, voucher)
            .ok_or_else(|| invalid("the voucher is not of this method"))?;
        Ok(Proof {
            payload: payload::to_object(&payload)?,
            source: None,
        })
    }

    fn unreachable() -> String {
        "no way to reach the ledger is configured".to_owned()
    }
}

impl PayerSession for LedgerSessionPayer {
    fn name(&self) -> &MethodName {
        &self.name
    }

    fn caps(&self) -> &Caps {
        &Caps::LEDGER
    }

    fn view(&self, challenge: &Challenge) -> Result<SessionView, Unpayable> {
        let asked = self.read(challenge)?;
        Ok(SessionView {
            payee: asked.recipient.to_string(),
            network: format!("ledger {}", asked.ledger),
            suggested_deposit: asked.suggested_deposit,
            min_voucher_delta: asked.min_voucher_delta,
            grace_ms: Some(asked.grace_ms),
            snapshot: asked.snapshot,
            expires: challenge.params.expires.as_ref().map(Expires::instant),
            prices: asked.prices,
        })
    }

    fn channel_text(&self, channel: &ChannelId) -> String {
        HoldId::from_bytes(channel.0).to_string()
    }

    fn parse_channel(&self, text: &str) -> Result<ChannelId, Refusal> {
        payload::channel(text).map(|hold| ChannelId(*hold.as_bytes()))
    }

    fn prepare_open<'a>(
        &'a self,
        open: OpenRequest<'a>,
    ) -> BoxFuture<'a, Result<PreparedOpen, PayError>> {
        Box::pin(self.open(open))
    }

    fn prepare_top_up<'a>(
        &'a self,
        top_up: TopUpRequest<'a>,
    ) -> BoxFuture<'a, Result<Artefact, PayError>> {
        Box::pin(async move { self.signed(self.topping_up(&top_up)).await })
    }

    fn signer(&self, record: &[u8]) -> Result<Box<dyn VoucherSigner>, Unpayable> {
        let record = self.record(record)?;
        let seed = record.seed.as_ref().ok_or_else(|| {
            Unpayable::Malformed(
                "the secret of the channel's vouchers is lost: force its close, then withdraw"
                    .to_owned(),
            )
        })?;
        signers::of(&record, seed).map_err(|error| Unpayable::Malformed(error.to_string()))
    }

    fn fund<'a>(
        &'a self,
        artefact: &'a Artefact,
        voucher: Option<&'a Voucher>,
    ) -> BoxFuture<'a, Result<Proof, PayError>> {
        let proof = Self::funding(artefact, voucher).map_err(PayError::Refused);
        Box::pin(std::future::ready(proof))
    }

    fn spend(&self, voucher: &Voucher) -> Result<Proof, Refusal> {
        Self::by_voucher("voucher", voucher)
    }

    fn close(&self, voucher: &Voucher) -> Result<Proof, Refusal> {
        Self::by_voucher("close", voucher)
    }

    fn prepare_forced_close<'a>(
        &'a self,
        record: &'a [u8],
        call: CallKey,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Artefact, PayError>> {
        let order = self.leaving(record, call, now, |channel| Action::ForceClose { channel });
        Box::pin(self.signed(order))
    }

    fn prepare_withdraw<'a>(
        &'a self,
        record: &'a [u8],
        call: CallKey,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Artefact, PayError>> {
        let order = self.leaving(record, call, now, |channel| Action::Withdraw { channel });
        Box::pin(self.signed(order))
    }

    fn execute<'a>(
        &'a self,
        artefact: &'a Artefact,
    ) -> BoxFuture<'a, Result<ChannelMoved, ExecuteError>> {
        Box::pin(async move {
            let verified = verified(artefact).map_err(ExecuteError::Refused)?;
            match &self.config.ledger {
                Some(ledger) => ledger.execute_on_channel(verified).await,
                None => Err(ExecuteError::Unknown(Self::unreachable())),
            }
        })
    }

    fn lookup<'a>(
        &'a self,
        artefact: &'a Artefact,
    ) -> BoxFuture<'a, Result<ChannelLookup, RailUnavailable>> {
        Box::pin(async move {
            match (
                SignedOrder::from_bytes(&artefact.bytes),
                &self.config.ledger,
            ) {
                (Ok(signed), Some(ledger)) => ledger.lookup_on_channel(&signed).await,
                // A clock is no evidence: only the ledger knows.
                (Ok(_), None) => Ok(ChannelLookup::Pending),
                (Err(error), _) => Ok(ChannelLookup::Never(invalid(error.to_string()))),
            }
        })
    }

    fn state<'a>(
        &'a self,
        record: &'a [u8],
    ) -> BoxFuture<'a, Result<Option<ChannelState>, RailUnavailable>> {
        Box::pin(async move {
            let record = self
                .record(record)
                .map_err(|error| RailUnavailable(error.to_string()))?;
            match &self.config.ledger {
                Some(ledger) => ledger.channel(record.channel).await,
                None => Err(RailUnavailable(Self::unreachable())),
            }
        })
    }

    /// The ledger's signature, when its key is known, and that it was this account that pays.
    fn check_receipt(&self, receipt: &Receipt) -> Result<(), String> {
        if self.receipt_keys.is_empty() {
            return Ok(());
        }
        let body = receipt::body_of(receipt).map_err(|error| error.to_string())?;
        if body.payer != self.account {
            return Err("the receipt is for another payer's account".to_owned());
        }
        match self.receipt_keys.get(&body.ledger) {
            Some(key) => match receipt::verify_session_receipt(receipt, key) {
                Ok(_) => Ok(()),
                Err(error) => Err(error.to_string()),
            },
            None if self.config.ledgers.contains(&body.ledger) => Ok(()),
            None => Err("the receipt is of another ledger".to_owned()),
        }
    }
}

fn charge(challenge: &Challenge) -> Charge {
    Charge {
        challenge: challenge.id.as_str().to_owned(),
        realm: challenge.params.realm.as_str().to_owned(),
    }
}
