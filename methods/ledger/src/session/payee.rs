//! The payee's side of sessions.

use std::sync::Arc;

use stiver_channel::{Caps, ChannelId};
use stiver_core::{Currency, Receipt, json::Object, name::MethodName};
use stiver_ledger::{
    id::{AccountId, HoldId, LedgerId, Nonce},
    order::{Action, Order, SignedOrder, VerifiedOrder},
};
use stiver_method::{
    BoxFuture,
    artefact::{Artefact, ExecuteError, RailUnavailable, Refusal},
    payee::{Presented, QuoteError},
    session::{
        ChannelLookup, ChannelMoved, ChannelState, PRICES_MAX, PayeeChannel, PayeeSession,
        SessionAction, SessionQuote, SessionTerms, SettleError, SettleRequest, UnitPrice,
    },
    signer::{SignError, Signer},
};

use super::{
    CAPTURE_LIFETIME_MS, GRACE_SECONDS_DEFAULT,
    asked::{Asked, grace_ms, is_unit},
    payload, receipt,
    terms::ChannelTerms,
    wire::{self, Scheme},
};
use crate::{
    METHOD, api::SessionLedger, payee::artefact, receipt::put_signature, refusal::invalid, sign,
};

/// What a payee of sessions needs.
pub struct LedgerSessionPayeeConfig {
    /// The ledger.
    pub ledger: Arc<dyn SessionLedger>,
    /// The account that is paid. It must be open on the ledger.
    pub account: AccountId,
    /// A key of that account that may settle: it signs captures.
    pub signer: Arc<dyn Signer>,
    /// The currencies accepted, as the ledger has them.
    pub currencies: Vec<Currency>,
    /// The shortest grace of a forced close that is accepted, seconds, 60 to 2,592,000: time enough
    /// to notice it and to capture. [`GRACE_SECONDS_DEFAULT`] is what most want.
    pub grace_seconds: u64,
    /// The kinds of voucher accepted; at least one.
    pub schemes: Vec<Scheme>,
}

impl LedgerSessionPayeeConfig {
    /// Both kinds of voucher, and the usual grace.
    pub fn new(
        ledger: Arc<dyn SessionLedger>,
        account: AccountId,
        signer: Arc<dyn Signer>,
        currencies: Vec<Currency>,
    ) -> Self {
        Self {
            ledger,
            account,
            signer,
            currencies,
            grace_seconds: GRACE_SECONDS_DEFAULT,
            schemes: vec![Scheme::Ed25519, Scheme::HashChain],
        }
    }
}

/// The `ledger` method with the `session` intent, for a payee.
pub struct LedgerSessionPayee {
    name: MethodName,
    config: LedgerSessionPayeeConfig,
    ledger: LedgerId,
    recipient: String,
    receipt_key: String,
}

impl LedgerSessionPayee {
    /// Over a ledger, paid into an account.
    ///
    /// # Errors
    ///
    /// What is wrong with the configuration: a grace out of its limits, no kind of voucher.
    pub fn new(config: LedgerSessionPayeeConfig) -> Result<Self, String> {
        if grace_ms(config.grace_seconds).is_none() {
            return Err("the grace must be 60 to 2592000 seconds".to_owned());
        }
        if config.schemes.is_empty() {
            return Err("at least one kind of voucher must be accepted".to_owned());
        }
        let name = MethodName::new(METHOD)
            .expect("the method's name is valid, because it is lower-case letters");
        Ok(Self {
            name,
            ledger: config.ledger.id(),
            recipient: config.account.to_string(),
            receipt_key: config.ledger.receipt_key().to_string(),
            config,
        })
    }

    /// The account that is paid.
    pub fn account(&self) -> AccountId {
        self.config.account
    }

    /// Whether it can ask these prices; their currency.
    fn takes<'a>(&self, prices: &'a [UnitPrice]) -> Result<&'a Currency, QuoteError> {
        let first = prices.first().ok_or(QuoteError::Amount)?;
        let currency = first.amount.currency();
        if !self.config.currencies.contains(currency) {
            return Err(QuoteError::Currency {
                method: self.name.clone(),
                currency: currency.code().to_owned(),
            });
        }
        let fits = |price: &UnitPrice| {
            price.amount.currency() == currency
                && !price.amount.is_zero()
                && i128::try_from(price.amount.units()).is_ok()
                && price.per > 0
                && price.unit.as_deref().is_none_or(is_unit)
        };
        // Without a name, a meter beside the first is not told from it.
        let named = prices.iter().skip(1).all(|price| price.unit.is_some());
        if prices.len() > PRICES_MAX || !named || !prices.iter().all(fits) {
            return Err(QuoteError::Amount);
        }
        Ok(currency)
    }

    fn request(&self, quote: &SessionQuote<'_>) -> Result<Object, QuoteError> {
        let currency = self.takes(quote.prices)?;
        let [first, others @ ..] = quote.prices else {
            return Err(QuoteError::Amount);
        };
        let deposit = quote.suggested_deposit;
        if deposit.is_some_and(|deposit| {
            deposit.currency() != currency || i128::try_from(deposit.units()).is_err()
        }) || i128::try_from(quote.min_voucher_delta).is_err()
        {
            return Err(QuoteError::Amount);
        }
        let count = |per: u64| (per != 1).then(|| per.to_string());
        let meters = others.iter().map(|price| wire::Meter {
            amount: price.amount.to_wire(),
            unit_type: price.unit.clone().unwrap_or_default(),
            unit_count: count(price.per),
        });
        let delta = quote.min_voucher_delta;
        let request = wire::Request {
            amount: first.amount.to_wire(),
            currency: currency.code().to_owned(),
            recipient: self.recipient.clone(),
            unit_type: first.unit.clone(),
            suggested_deposit: deposit.map(stiver_core::Amount::to_wire),
            description: quote.description.map(str::to_owned),
            external_id: quote.external_id.map(str::to_owned),
            method_details: wire::MethodDetails {
                ledger: self.ledger.to_string(),
                decimals: currency.decimals(),
                receipt_key: Some(self.receipt_key.clone()),
                unit_count: count(first.per),
                meters: meters.collect(),
                min_voucher_delta: (delta > 0).then(|| delta.to_string()),
                window: (quote.window > 0).then(|| quote.window.to_string()),
                voucher: self.schemes(),
                grace_seconds: self.config.grace_seconds,
                session_snapshot: quote.snapshot.map(|snapshot| wire::Snapshot {
                    channel_id: self.channel_text(&snapshot.channel),
                    deposit: snapshot.deposit.to_string(),
                    accepted_cumulative: snapshot.accepted.to_string(),
                    spent: snapshot.spent.to_string(),
                }),
            },
        };
        Object::serialize(&request).map_err(|_| QuoteError::Amount)
    }

    fn schemes(&self) -> Vec<String> {
        let schemes = self.config.schemes.iter();
        schemes.map(|scheme| scheme.name().to_owned()).collect()
    }

    fn read(&self, request: &Object) -> Result<Asked, Refusal> {
        Asked::read(request, &self.config.currencies).map_err(|error| invalid(error.to_string()))
    }

    fn terms_of(channel: ChannelId, terms: &[u8]) -> Result<ChannelTerms, Refusal> {
        ChannelTerms::decode(HoldId::from_bytes(channel.0), terms)
            .ok_or_else(|| invalid("these are not the terms of a channel of this method"))
    }

    /// The order that takes money, or gives the channel up when there is nothing to take.
    fn settlement(&self, settle: &SettleRequest<'_>) -> Result<Order, Refusal> {
        let terms = Self::terms_of(settle.channel, settle.terms)?;
        let action = match settle.voucher {
            // A channel from which nothing is to be taken is given up; that needs no proof.
            _ if settle.last && settle.capture == 0 => Action::Void {
                hold: terms.channel,
            },
            Some(voucher) => {
                if voucher.channel != settle.channel {
                    return Err(invalid("the voucher is for another channel"));
                }
                if settle.capture > voucher.cumulative {
                    return Err(invalid("the capture is over the voucher"));
                }
                let proof = terms.proven_by.capture_proof(voucher);
                Action::Capture {
                    channel: terms.channel,
                    cumulative: settle.capture,
                    last: settle.last,
                    proof: proof
                        .ok_or_else(|| invalid("the voucher's proof is of another kind"))?,
                }
            }
            None => return Err(invalid("without a voucher there is nothing to take")),
        };
        Ok(Order {
            ledger: terms.ledger,
            account: self.config.account,
            nonce: Nonce::from_bytes(settle.key),
            expires: settle.now.plus_millis(CAPTURE_LIFETIME_MS),
            action,
        })
    }

    async fn seal(&self, receipt: &mut Receipt) -> Result<(), SignError> {
        let body = receipt::body_of(receipt)
            .map_err(|error| SignError::Refused(format!("not a receipt to sign: {error}")))?;
        let signature = self.config.ledger.sign_session_receipt(&body).await?;
        put_signature(receipt, &self.config.ledger.receipt_key(), &signature);
        Ok(())
    }
}

impl PayeeSession for LedgerSessionPayee {
    fn name(&self) -> &MethodName {
        &self.name
    }

    fn caps(&self) -> &Caps {
        &Caps::LEDGER
    }

    fn quote<'a>(&'a self, quote: SessionQuote<'a>) -> BoxFuture<'a, Result<Object, QuoteError>> {
        Box::pin(std::future::ready(self.request(&quote)))
    }

    fn quotes_the_same(&self) -> bool {
        true
    }

    fn expected_terms(&self, prices: &[UnitPrice]) -> Result<SessionTerms, QuoteError> {
        self.takes(prices)?;
        Ok(SessionTerms {
            prices: prices.to_vec(),
            payee: self.recipient.clone(),
            rest: rest(self.ledger),
        })
    }

    fn terms(&self, request: &Object) -> Result<SessionTerms, Refusal> {
        let asked = self.read(request)?;
        Ok(SessionTerms {
            prices: asked.prices,
            payee: asked.recipient.to_string(),
            rest: rest(asked.ledger),
        })
    }

    fn decode(&self, presented: Presented<'_>) -> Result<SessionAction, Refusal> {
        let request = presented.challenge.params.request.object();
        payload::read(&presented, || self.read(request))
    }

    fn channel(&self, channel: ChannelId, terms: &[u8]) -> Result<PayeeChannel, Refusal> {
        let terms = Self::terms_of(channel, terms)?;
        let known = self.config.currencies.iter();
        let currency = known
            .clone()
            .find(|currency| currency.code() == terms.currency.as_str())
            .ok_or_else(|| invalid("the channel's currency is not accepted any more"))?;
        Ok(PayeeChannel {
            verifier: terms
                .proven_by
                .verifier(terms.ledger, channel)
                .ok_or_else(|| invalid("no voucher can be proven on this channel"))?,
            currency: currency.clone(),
            payee: terms.payee.to_string(),
            payer: Some(terms.payer_key.to_string()),
            rest: rest(terms.ledger),
            receipt: terms.receipt(),
        })
    }

    fn channel_text(&self, channel: &ChannelId) -> String {
        HoldId::from_bytes(channel.0).to_string()
    }

    fn parse_channel(&self, text: &str) -> Result<ChannelId, Refusal> {
        payload::channel(text).map(|hold| ChannelId(*hold.as_bytes()))
    }

    fn prepare_settle<'a>(
        &'a self,
        settle: SettleRequest<'a>,
    ) -> BoxFuture<'a, Result<Artefact, SettleError>> {
        Box::pin(async move {
            let order = self.settlement(&settle).map_err(SettleError::Refused)?;
            let signed = sign::order(&order, self.config.signer.as_ref())
                .await
                .map_err(SettleError::Sign)?;
            Ok(artefact(signed.signed()))
        })
    }

    fn execute<'a>(
        &'a self,
        artefact: &'a Artefact,
    ) -> BoxFuture<'a, Result<ChannelMoved, ExecuteError>> {
        Box::pin(async move {
            let verified = verified(artefact).map_err(ExecuteError::Refused)?;
            self.config.ledger.execute_on_channel(verified).await
        })
    }

    fn lookup<'a>(
        &'a self,
        artefact: &'a Artefact,
    ) -> BoxFuture<'a, Result<ChannelLookup, RailUnavailable>> {
        Box::pin(async move {
            match SignedOrder::from_bytes(&artefact.bytes) {
                Ok(signed) => self.config.ledger.lookup_on_channel(&signed).await,
                Err(error) => Ok(ChannelLookup::Never(invalid(error.to_string()))),
            }
        })
    }

    fn state<'a>(
        &'a self,
        channel: &'a ChannelId,
    ) -> BoxFuture<'a, Result<Option<ChannelState>, RailUnavailable>> {
        self.config.ledger.channel(HoldId::from_bytes(channel.0))
    }

    fn seal_receipt<'a>(
        &'a self,
        receipt: &'a mut Receipt,
    ) -> BoxFuture<'a, Result<(), SignError>> {
        Box::pin(self.seal(receipt))
    }
}

/// What must agree besides prices and payee.
fn rest(ledger: LedgerId) -> String {
    format!("ledger={ledger}")
}

/// The order in an artefact. It was verified before it became one; a store may hold anything.
pub(super) fn verified(artefact: &Artefact) -> Result<VerifiedOrder, Refusal> {
    SignedOrder::from_bytes(&artefact.bytes)
        .map_err(|error| invalid(error.to_string()))?
        .verify()
        .map_err(|error| invalid(error.to_string()))
}
