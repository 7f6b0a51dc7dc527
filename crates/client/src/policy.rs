//! The hook that says yes or no before anything is signed.

use stiver_core::{
    Amount, Timestamp,
    name::{IntentName, MethodName, Realm},
    untrusted::Untrusted,
};
use stiver_env::BoxFuture;

use crate::{CallId, Origin};

/// Decides whether a payment may be made. Asked after the challenge was checked and before anything
/// is signed, once for every signature.
pub trait Policy: Send + Sync {
    /// Decides. May take its time (a human, a budget on disk): expiry is checked again afterwards.
    fn decide<'a>(&'a self, payment: &'a PaymentView<'a>) -> BoxFuture<'a, Decision>;
}

/// A payment in plain terms. Text from the peer is [`Untrusted`]: its `Display` is safe to print,
/// and nothing in it is an instruction.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct PaymentView<'a> {
    /// Which call it is for.
    pub call: CallId,
    /// The most it can cost.
    pub amount: &'a Amount,
    /// Who gets it, in the method's form.
    pub payee: Untrusted<'a>,
    /// The network, ledger or processor.
    pub network: Untrusted<'a>,
    /// The payment method.
    pub method: &'a MethodName,
    /// The intent.
    pub intent: &'a IntentName,
    /// The realm. It was checked against the origin.
    pub realm: &'a Realm,
    /// Where the request goes.
    pub origin: &'a Origin,
    /// The HTTP method.
    pub http_method: &'a str,
    /// The whole URL.
    pub url: &'a str,
    /// When the challenge, or the payment if that is earlier, expires.
    pub expires: Option<Timestamp>,
    /// The server's words. Never rely on them.
    pub description: Option<Untrusted<'a>>,
    /// What is known of this origin's realm and payee.
    pub trust: &'a Trust,
    /// 1 for the first signature of the call, 2 when it is signed again after a refusal.
    pub signature: u32,
    /// Now.
    pub now: Timestamp,
}

/// What is remembered of an origin, against what it says now.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trust {
    /// The same realm and payee as before.
    Known,
    /// The first payment to this origin by this method and network. When the policy allows it, the
    /// realm and payee are remembered before anything is signed, and stay so if the payment fails.
    FirstUse,
    /// Another realm or payee than those remembered. Needs [`Decision::AllowChange`].
    Changed(Vec<Change>),
}

/// Something that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Change {
    /// The realm.
    #[error("the realm is {now:?}, it was {}", list(before))]
    Realm {
        /// What it says now.
        now: String,
        /// Those remembered.
        before: Vec<String>,
    },
    /// The payee.
    #[error("the payee is {}, it was {}", Untrusted(now), list(before))]
    Payee {
        /// What it says now.
        now: String,
        /// Those remembered, for this method and network.
        before: Vec<String>,
    },
}

fn list(texts: &[String]) -> String {
    let texts: Vec<String> = texts.iter().map(|t| Untrusted(t).to_string()).collect();
    texts.join(" or ")
}

/// A policy's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Pay, unless the realm or payee of the origin has changed.
    Allow,
    /// Pay although the realm or payee has changed, and remember the new one too.
    AllowChange,
    /// Do not pay, for this reason. Another offer of the same response may still be asked about.
    Refuse(String),
}

/// Pays up to a limit for each call, in the currencies it names and no others.
///
/// ```
/// use stiver_client::policy::{Decision, MaxAmount};
/// use stiver_core::Currency;
/// let usd = Currency::new("usd", 6).unwrap();
/// let policy = MaxAmount::new(usd.parse_decimal("0.05").unwrap());
/// assert_eq!(policy.judge(&usd.parse_decimal("0.05").unwrap()), Decision::Allow);
/// assert_ne!(policy.judge(&usd.parse_decimal("0.06").unwrap()), Decision::Allow);
/// ```
#[derive(Debug, Clone)]
pub struct MaxAmount {
    limits: Vec<Amount>,
}

impl MaxAmount {
    /// At most this for each call.
    pub fn new(limit: Amount) -> Self {
        Self {
            limits: vec![limit],
        }
    }

    /// And at most this in another currency.
    #[must_use]
    pub fn or(mut self, limit: Amount) -> Self {
        self.limits.push(limit);
        self
    }

    /// Decides by amount alone.
    pub fn judge(&self, amount: &Amount) -> Decision {
        let limit = self
            .limits
            .iter()
            .find(|limit| limit.currency() == amount.currency());
        match limit.map(|limit| (amount.compare(limit), limit)) {
            None => {
                let code = amount.currency().code();
                Decision::Refuse(format!("no limit is set for the currency {code}"))
            }
            Some((Ok(std::cmp::Ordering::Greater), limit)) => {
                Decision::Refuse(format!("{amount} is more than the limit of {limit}"))
            }
            Some((Ok(_), _)) => Decision::Allow,
            Some((Err(error), _)) => Decision::Refuse(error.to_string()),
        }
    }
}

impl Policy for MaxAmount {
    fn decide<'a>(&'a self, payment: &'a PaymentView<'a>) -> BoxFuture<'a, Decision> {
        Box::pin(std::future::ready(self.judge(payment.amount)))
    }
}

/// A policy from a function.
pub fn from_fn<F>(decide: F) -> FromFn<F>
where
    F: Fn(&PaymentView<'_>) -> Decision + Send + Sync,
{
    FromFn(decide)
}

/// See [`from_fn`].
#[derive(Debug, Clone, Copy)]
pub struct FromFn<F>(F);

impl<F> Policy for FromFn<F>
where
    F: Fn(&PaymentView<'_>) -> Decision + Send + Sync,
{
    fn decide<'a>(&'a self, payment: &'a PaymentView<'a>) -> BoxFuture<'a, Decision> {
        Box::pin(std::future::ready((self.0)(payment)))
    }
}

/// Pays whatever is asked. For tests.
pub fn dangerous_allow_any_amount() -> impl Policy {
    from_fn(|_| Decision::Allow)
}

#[cfg(test)]
mod tests {
    use super::*;
    use stiver_core::Currency;

    #[test]
    fn a_limit_holds_for_its_currency_and_decimals_only() {
        let usd = Currency::new("usd", 6).unwrap();
        let policy = MaxAmount::new(usd.units(50)).or(Currency::new("eur", 2).unwrap().units(1));
        assert_eq!(policy.judge(&usd.units(50)), Decision::Allow);
        for amount in [
            usd.units(51),
            Currency::new("usd", 2).unwrap().units(1),
            Currency::new("gbp", 2).unwrap().units(0),
            Currency::new("eur", 2).unwrap().units(2),
        ] {
            assert!(
                matches!(policy.judge(&amount), Decision::Refuse(_)),
                "{amount}"
            );
        }
    }
}
