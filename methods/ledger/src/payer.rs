//! The payer's side.

use std::{collections::BTreeMap, sync::Arc};

use stiver_core::{
    Currency, Receipt, Timestamp, base64url,
    challenge::Challenge,
    did::DidKey,
    json::Object,
    name::{IntentName, MethodName},
};
use stiver_ledger::{
    id::{AccountId, LedgerId, Nonce},
    order::{Action, Charge, Order, SignedOrder},
};
use stiver_method::{
    BoxFuture,
    artefact::{Artefact, Lookup, RailUnavailable},
    payer::{CallKey, PayError, Payer, PolicyView, Proof, Unpayable},
    signer::Signer,
};

use crate::{
    METHOD, ORDER_LIFETIME_MS_DEFAULT, ORDER_LIFETIME_MS_MAX,
    api::OrderQuery,
    payee::{artefact, code},
    receipt,
    refusal::invalid,
    sign,
    terms::Asked,
    wire,
};

/// What a payer needs.
pub struct LedgerPayerConfig {
    /// A key of the account that may spend.
    pub signer: Arc<dyn Signer>,
    /// The account that pays; `None` is the one that the signer's key opened.
    pub account: Option<AccountId>,
    /// The ledgers it has money on: no order is signed for another.
    pub ledgers: Vec<LedgerId>,
    /// The currencies it pays in, with their decimals.
    pub currencies: Vec<Currency>,
    /// Asks the ledger what became of an order. Without one, nothing is ever known to have failed.
    pub query: Option<Arc<dyn OrderQuery>>,
}

/// The `ledger` method with the `charge` intent, for a payer.
pub struct LedgerPayer {
    name: MethodName,
    intents: [IntentName; 1],
    account: AccountId,
    receipt_keys: BTreeMap<LedgerId, DidKey>,
    config: LedgerPayerConfig,
}

impl LedgerPayer {
    /// Pays from an account.
    pub fn new(config: LedgerPayerConfig) -> Self {
        let name = MethodName::new(METHOD)
            .expect("the method's name is valid, because it is lower-case letters");
        let key = DidKey::from_public_key(config.signer.public_key());
        Self {
            name,
            intents: [IntentName::charge()],
            account: config
                .account
                .unwrap_or_else(|| AccountId::of_first_key(&key)),
            receipt_keys: BTreeMap::new(),
            config,
        }
    }

    /// Knows the key that signs a ledger's receipts: a challenge that names another is refused, and
    /// receipts are checked with it. Without one, receipts of that ledger are not checked.
    #[must_use]
    pub fn with_receipt_key(mut self, ledger: LedgerId, key: DidKey) -> Self {
        self.receipt_keys.insert(ledger, key);
        self
    }

    /// The account that pays.
    pub fn account(&self) -> AccountId {
        self.account
    }

    /// Reads a challenge, and refuses what could not be paid.
    fn read(&self, challenge: &Challenge) -> Result<Asked, Unpayable> {
        let params = &challenge.params;
        if params.method != self.name || !self.intents.contains(&params.intent) {
            return Err(Unpayable::Malformed("not a ledger charge".to_owned()));
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
            return Err(Unpayable::Malformed(format!(
                "the ledger's receipts are signed by {known}, not by {named}"
            )));
        }
        if asked.recipient == self.account {
            return Err(Unpayable::Malformed(
                "the challenge asks the account to pay itself".to_owned(),
            ));
        }
        Ok(asked)
    }

    fn order(
        &self,
        challenge: &Challenge,
        now: Timestamp,
        call: CallKey,
    ) -> Result<Order, Unpayable> {
        let asked = self.read(challenge)?;
        let expires = order_expiry(challenge, now)?;
        let currency = code(asked.amount.currency())
            .ok_or_else(|| Unpayable::Malformed("the currency has no valid code".to_owned()))?;
        Ok(Order {
            ledger: asked.ledger,
            account: self.account,
            nonce: Nonce::from_bytes(*call.as_bytes()),
            expires,
            action: Action::Transfer {
                payee: asked.recipient,
                amount: asked.amount.units(),
                currency,
                charge: Some(Charge {
                    challenge: challenge.id.as_str().to_owned(),
                    realm: challenge.params.realm.as_str().to_owned(),
                }),
            },
        })
    }

    fn proof(artefact: &Artefact) -> Result<Proof, PayError> {
        let signed = SignedOrder::from_bytes(&artefact.bytes)
            .map_err(|error| PayError::Refused(invalid(error.to_string())))?;
        let payload = wire::Payload {
            order: base64url::encode(signed.order_bytes()),
            key: signed.key().to_string(),
            signature: base64url::encode(signed.signature()),
        };
        Ok(Proof {
            payload: Object::serialize(&payload)
                .map_err(|error| PayError::Refused(invalid(error.to_string())))?,
            source: Some(signed.key().to_string()),
        })
    }
}

impl Payer for LedgerPayer {
    fn name(&self) -> &MethodName {
        &self.name
    }

    fn intents(&self) -> &[IntentName] {
        &self.intents
    }

    fn policy_view(&self, challenge: &Challenge) -> Result<PolicyView, Unpayable> {
        let asked = self.read(challenge)?;
        let expires = challenge.params.expires.as_ref();
        Ok(PolicyView {
            amount: asked.amount,
            payee: asked.recipient.to_string(),
            network: format!("ledger {}", asked.ledger),
            expires: expires.map(stiver_core::challenge::Expires::instant),
        })
    }

    fn prepare<'a>(
        &'a self,
        challenge: &'a Challenge,
        now: Timestamp,
        call: CallKey,
    ) -> BoxFuture<'a, Result<Artefact, PayError>> {
        Box::pin(async move {
            let order = self
                .order(challenge, now, call)
                .map_err(PayError::Unpayable)?;
            let signed = sign::order(&order, self.config.signer.as_ref())
                .await
                .map_err(PayError::Sign)?;
            Ok(artefact(signed.signed()))
        })
    }

    /// One account on one ledger: the ledger executes at most one order of a nonce. With several
    /// ledgers, each would execute one.
    fn shares_call_key(&self) -> bool {
        self.config.ledgers.len() == 1
    }

    fn execute<'a>(&'a self, artefact: &'a Artefact) -> BoxFuture<'a, Result<Proof, PayError>> {
        Box::pin(std::future::ready(Self::proof(artefact)))
    }

    fn lookup<'a>(
        &'a self,
        artefact: &'a Artefact,
    ) -> BoxFuture<'a, Result<Lookup, RailUnavailable>> {
        Box::pin(async move {
            match (SignedOrder::from_bytes(&artefact.bytes), &self.config.query) {
                (Ok(signed), Some(query)) => query.lookup(&signed).await,
                // A clock is no evidence: only the ledger knows.
                (Ok(_), None) => Ok(Lookup::Pending),
                (Err(error), _) => Ok(Lookup::Never(invalid(error.to_string()))),
            }
        })
    }

    /// The ledger's signature, when its key is known, and that it was this account that paid.
    fn check_receipt(&self, receipt: &Receipt) -> Result<(), String> {
        if self.receipt_keys.is_empty() {
            return Ok(());
        }
        let body = receipt::body_of(receipt).map_err(|error| error.to_string())?;
        if body.payer != self.account {
            return Err("the receipt is for another payer's account".to_owned());
        }
        match self.receipt_keys.get(&body.ledger) {
            Some(key) => match receipt::verify_receipt(receipt, key) {
                Ok(_) => Ok(()),
                Err(error) => Err(error.to_string()),
            },
            None if self.config.ledgers.contains(&body.ledger) => Ok(()),
            None => Err("the receipt is of another ledger".to_owned()),
        }
    }
}

/// When an order that answers a challenge expires.
pub(crate) fn order_expiry(challenge: &Challenge, now: Timestamp) -> Result<Timestamp, Unpayable> {
    match &challenge.params.expires {
        Some(expires) if expires.has_passed(now) => {
            Err(Unpayable::Malformed("the challenge has expired".to_owned()))
        }
        Some(expires) => Ok(expires
            .instant()
            .min(now.plus_millis(ORDER_LIFETIME_MS_MAX))),
        None => Ok(now.plus_millis(ORDER_LIFETIME_MS_DEFAULT)),
    }
}
