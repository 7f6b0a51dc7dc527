//! The payee's side.

use std::sync::Arc;

use stiver_core::{
    Amount, Currency, Receipt, base64url, did::DidKey, json::Object, name::MethodName,
};
use stiver_ledger::{
    id::{AccountId, Nonce, TransferId},
    order::{Action, Order, SignedOrder},
    text::{CurrencyCode, Label},
};
use stiver_method::{
    BoxFuture,
    artefact::{Artefact, ExecuteError, Lookup, RailUnavailable, Refusal, RefusalKind, Settled},
    payee::{PayeeCharge, Plan, Presented, Quote, QuoteError, RefundError, RefundRequest, Terms},
    signer::{SignError, Signer},
};
use zeroize::Zeroizing;

use crate::{
    METHOD, ORDER_EXPIRY_TOLERANCE_MS, REFUND_LIFETIME_MS,
    api::LedgerApi,
    receipt,
    refusal::invalid,
    sign,
    terms::{Asked, BadRequest},
    wire,
};

/// What a payee needs.
pub struct LedgerPayeeConfig {
    /// The ledger.
    pub ledger: Arc<dyn LedgerApi>,
    /// The account that is paid. It must be open on the ledger.
    pub account: AccountId,
    /// A key of that account that may settle: it signs refunds.
    pub signer: Arc<dyn Signer>,
    /// The currencies accepted, as the ledger has them.
    pub currencies: Vec<Currency>,
}

/// The `ledger` method with the `charge` intent, for a payee.
pub struct LedgerPayee {
    name: MethodName,
    config: LedgerPayeeConfig,
    texts: Texts,
}

/// What every challenge says of the ledger and the payee, as it is written there: base58 is slow.
struct Texts {
    recipient: String,
    ledger: String,
    receipt_key: String,
}

impl LedgerPayee {
    /// Over a ledger, paid into an account.
    pub fn new(config: LedgerPayeeConfig) -> Self {
        let name = MethodName::new(METHOD)
            .expect("the method's name is valid, because it is lower-case letters");
        let texts = Texts {
            recipient: config.account.to_string(),
            ledger: config.ledger.id().to_string(),
            receipt_key: config.ledger.receipt_key().to_string(),
        };
        Self {
            name,
            config,
            texts,
        }
    }

    /// The account that is paid.
    pub fn account(&self) -> AccountId {
        self.config.account
    }

    /// Whether it can ask this price.
    fn takes(&self, price: &Amount) -> Result<(), QuoteError> {
        let known = self.config.currencies.contains(price.currency());
        if !known {
            return Err(QuoteError::Currency {
                method: self.name.clone(),
                currency: price.currency().code().to_owned(),
            });
        }
        if price.is_zero() || i128::try_from(price.units()).is_err() {
            return Err(QuoteError::Amount);
        }
        Ok(())
    }

    fn ask(&self, price: &Amount) -> Result<wire::Request, QuoteError> {
        self.takes(price)?;
        Ok(wire::Request {
            amount: price.to_wire(),
            currency: price.currency().code().to_owned(),
            recipient: self.texts.recipient.clone(),
            description: None,
            external_id: None,
            method_details: wire::MethodDetails {
                ledger: self.texts.ledger.clone(),
                decimals: price.currency().decimals(),
                receipt_key: Some(self.texts.receipt_key.clone()),
            },
        })
    }

    fn read(&self, request: &Object) -> Result<Asked, Refusal> {
        Asked::read(request, &self.config.currencies)
            .map_err(|error: BadRequest| invalid(error.to_string()))
    }

    /// Format, then every field against the challenge, then expiry, then the signature.
    fn check(&self, presented: &Presented<'_>) -> Result<Plan, Refusal> {
        let asked = self.read(presented.challenge.params.request.object())?;
        let signed = read_payload(presented.payload)?;
        check_order(signed.order(), presented, &asked)?;
        check_expiry(signed.order(), presented)?;
        let verified = signed
            .verify()
            .map_err(|error| invalid(error.to_string()))?;
        let hash = verified.hash();
        Ok(Plan {
            replay_keys: vec![hash.as_bytes().to_vec()],
            replayable_until: verified.order().expires,
            payer: Some(verified.key().to_string()),
            artefact: artefact(verified.signed()),
        })
    }

    async fn refund(&self, refund: &RefundRequest<'_>) -> Result<Artefact, RefundError> {
        let refused = |detail: &str| RefundError::Refused(invalid(detail));
        let transfer: TransferId = refund
            .settled
            .reference
            .parse()
            .map_err(|_| refused("the payment's reference is no transfer of a ledger"))?;
        let left = refund.settled.amount.checked_sub(refund.amount);
        if left.is_err() || refund.amount.is_zero() {
            return Err(refused("the amount is not a part of what was paid"));
        }
        let order = Order {
            ledger: self.config.ledger.id(),
            account: self.config.account,
            nonce: Nonce::from_bytes(refund.key),
            expires: refund.now.plus_millis(REFUND_LIFETIME_MS),
            action: Action::Refund {
                transfer,
                amount: refund.amount.units(),
                reason: Label::lossy(refund.reason),
            },
        };
        let signed = sign::order(&order, self.config.signer.as_ref())
            .await
            .map_err(RefundError::Sign)?;
        Ok(artefact(signed.signed()))
    }

    async fn seal(&self, receipt: &mut Receipt) -> Result<(), SignError> {
        let body = receipt::body_of(receipt)
            .map_err(|error| SignError::Refused(format!("not a receipt to sign: {error}")))?;
        let signature = self.config.ledger.sign_receipt(&body).await?;
        receipt::put_signature(receipt, &self.config.ledger.receipt_key(), &signature);
        Ok(())
    }
}

impl PayeeCharge for LedgerPayee {
    fn name(&self) -> &MethodName {
        &self.name
    }

    fn quote<'a>(&'a self, quote: Quote<'a>) -> BoxFuture<'a, Result<Object, QuoteError>> {
        let object = self.ask(quote.price).and_then(|mut request| {
            request.description = quote.description.map(str::to_owned);
            request.external_id = quote.external_id.map(str::to_owned);
            Object::serialize(&request).map_err(|_| QuoteError::Amount)
        });
        Box::pin(std::future::ready(object))
    }

    fn quotes_the_same(&self) -> bool {
        true
    }

    fn expected_terms(&self, price: &Amount) -> Result<Terms, QuoteError> {
        self.takes(price)?;
        Ok(Terms {
            amount: price.clone(),
            payee: self.texts.recipient.clone(),
            rest: rest(self.config.ledger.id()),
        })
    }

    fn terms(&self, request: &Object) -> Result<Terms, Refusal> {
        let asked = self.read(request)?;
        Ok(Terms {
            amount: asked.amount,
            payee: asked.recipient.to_string(),
            rest: rest(asked.ledger),
        })
    }

    fn precheck(&self, presented: Presented<'_>) -> Result<Plan, Refusal> {
        self.check(&presented)
    }

    fn execute<'a>(
        &'a self,
        artefact: &'a Artefact,
    ) -> BoxFuture<'a, Result<Settled, ExecuteError>> {
        Box::pin(async move {
            let verified = SignedOrder::from_bytes(&artefact.bytes)
                .map_err(|error| error.to_string())
                .and_then(|signed| signed.verify().map_err(|error| error.to_string()))
                .map_err(|detail| ExecuteError::Refused(invalid(detail)))?;
            self.config.ledger.execute(verified).await
        })
    }

    fn lookup<'a>(
        &'a self,
        artefact: &'a Artefact,
    ) -> BoxFuture<'a, Result<Lookup, RailUnavailable>> {
        Box::pin(async move {
            match SignedOrder::from_bytes(&artefact.bytes) {
                Ok(signed) => self.config.ledger.lookup(&signed).await,
                Err(error) => Ok(Lookup::Never(invalid(error.to_string()))),
            }
        })
    }

    fn prepare_refund<'a>(
        &'a self,
        refund: RefundRequest<'a>,
    ) -> BoxFuture<'a, Result<Artefact, RefundError>> {
        Box::pin(async move { self.refund(&refund).await })
    }

    fn seal_receipt<'a>(
        &'a self,
        receipt: &'a mut Receipt,
    ) -> BoxFuture<'a, Result<(), SignError>> {
        Box::pin(self.seal(receipt))
    }
}

/// What must agree besides amount and payee. Decimals are part of the amount's currency.
fn rest(ledger: stiver_ledger::id::LedgerId) -> String {
    format!("ledger={ledger}")
}

/// A signed order, to be executed.
pub(crate) fn artefact(signed: &SignedOrder) -> Artefact {
    let order = signed.order();
    let mut rail_key = order.account.as_bytes().to_vec();
    rail_key.extend_from_slice(order.nonce.as_bytes());
    Artefact {
        rail_key,
        bytes: Zeroizing::new(signed.to_bytes()),
    }
}

/// Reads what a credential carries: a signed order, not yet verified.
pub(crate) fn read_payload(payload: &Object) -> Result<SignedOrder, Refusal> {
    let wire: wire::Payload = payload
        .deserialize()
        .map_err(|_| invalid("the payload must have order, key and signature"))?;
    let order = base64url::decode(wire.order.as_bytes())
        .map_err(|_| invalid("payload.order is not base64url"))?;
    let key: DidKey = wire
        .key
        .parse()
        .map_err(|_| invalid("payload.key is not a did:key of Ed25519"))?;
    let signature: [u8; 64] = base64url::decode(wire.signature.as_bytes())
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| invalid("payload.signature is not 64 bytes in base64url"))?;
    SignedOrder::new(&order, key, signature)
        .map_err(|error| invalid(format!("payload.order: {error}")))
}

fn check_order(order: &Order, presented: &Presented<'_>, asked: &Asked) -> Result<(), Refusal> {
    let Action::Transfer {
        payee,
        amount,
        currency,
        charge,
    } = &order.action
    else {
        return Err(invalid("the order is not a transfer"));
    };
    let Some(charge) = charge else {
        return Err(invalid("the order names no challenge"));
    };
    let params = &presented.challenge.params;
    let agrees = |agree: bool, detail: &str| if agree { Ok(()) } else { Err(invalid(detail)) };
    agrees(
        order.ledger == asked.ledger,
        "the order is for another ledger",
    )?;
    agrees(
        charge.challenge == presented.challenge.id.as_str(),
        "the order is for another challenge",
    )?;
    agrees(
        charge.realm == params.realm.as_str(),
        "the order is for another realm",
    )?;
    agrees(*payee == asked.recipient, "the order pays another account")?;
    agrees(
        currency.as_str() == asked.amount.currency().code(),
        "the order pays another currency",
    )?;
    if *amount < asked.amount.units() {
        return Err(Refusal {
            kind: RefusalKind::Insufficient,
            detail: "the order pays less than was asked".to_owned(),
        });
    }
    agrees(
        *amount == asked.amount.units(),
        "the order pays more than was asked",
    )?;
    agrees(
        order.account != asked.recipient,
        "the order pays its own account",
    )
}

pub(crate) fn check_expiry(order: &Order, presented: &Presented<'_>) -> Result<(), Refusal> {
    if presented.now >= order.expires {
        return Err(Refusal {
            kind: RefusalKind::Expired,
            detail: format!("the order expired at {}", order.expires.to_rfc3339()),
        });
    }
    let latest = match &presented.challenge.params.expires {
        Some(expires) => expires.instant(),
        None => presented.now.plus_millis(crate::ORDER_LIFETIME_MS_MAX),
    };
    if order.expires > latest.plus_millis(ORDER_EXPIRY_TOLERANCE_MS) {
        return Err(invalid(format!(
            "the order may expire at {} at the latest",
            latest.to_rfc3339()
        )));
    }
    Ok(())
}

/// The code of a currency as orders have it.
pub(crate) fn code(currency: &Currency) -> Option<CurrencyCode> {
    CurrencyCode::new(currency.code()).ok()
}
