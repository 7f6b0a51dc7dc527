//! Whether to pay: the limit, the funds, and, on a terminal, whoever sits there.

use std::{
    io::{self, BufRead, IsTerminal, Write},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};
use stiver_client::{
    CallId,
    policy::{Decision, MaxAmount, PaymentView, Policy, Trust},
};
use stiver_core::{Amount, Timestamp};
use stiver_env::BoxFuture;
use stiver_method_ledger::query::RemoteLedger;

use crate::payer::funds;

/// Longest wait for the balance. A ledger that does not answer in time stops no payment.
const FUNDS_TIMEOUT: Duration = Duration::from_secs(5);

/// The intent of deposits.
pub(super) const SESSION: &str = "session";

/// Who says yes when there is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unlimited {
    /// `--yes`
    Pay,
    /// Somebody at a terminal.
    Ask,
    /// Nobody.
    Refuse,
}

impl Unlimited {
    /// From `--yes` and what the streams are.
    pub(super) fn new(yes: bool, json: bool) -> Self {
        if yes {
            Self::Pay
        } else if !json && io::stdin().is_terminal() && io::stderr().is_terminal() {
            Self::Ask
        } else {
            Self::Refuse
        }
    }
}

/// What becomes of one offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is paid, or would be.
    Pay,
    /// It is over the limit, or the limit is in another currency.
    Over { price: Amount, why: String },
    /// Nobody allowed it.
    Unasked { price: Amount },
    /// Somebody said no.
    SaidNo,
    /// There is less in the wallet.
    Short { price: Amount, has: Amount },
    /// The realm or payee has changed.
    Changed { price: Amount, why: String },
}

impl Verdict {
    /// Why it is not paid.
    pub(super) fn why_not(&self) -> Option<String> {
        match self {
            Self::Pay => None,
            Self::Over { why, .. } => Some(why.clone()),
            Self::Unasked { price } => Some(format!("it costs {price}, and nothing allows that")),
            Self::SaidNo => Some("you said no".to_owned()),
            Self::Short { price, has } => {
                Some(format!("the wallet has {has}, and it costs {price}"))
            }
            Self::Changed { why, .. } => Some(why.clone()),
        }
    }
}

impl Verdict {
    /// Why it would not be paid, were it asked for: that nobody was asked hinders nothing.
    pub(super) fn hinders(&self) -> Option<String> {
        match self {
            Self::Unasked { .. } => None,
            verdict => verdict.why_not(),
        }
    }
}

/// An offer as the policy saw it.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) view: Value,
    pub(super) verdict: Verdict,
}

/// The policy of `stiver get`.
pub(super) struct Consent {
    pub(super) limit: Option<Amount>,
    /// The limit for deposits of sessions.
    pub(super) session_limit: Option<Amount>,
    pub(super) unlimited: Unlimited,
    pub(super) dry_run: bool,
    pub(super) accept_change: bool,
    pub(super) ledger: Option<RemoteLedger>,
    pub(super) state: Mutex<State>,
}

/// What was seen and allowed.
#[derive(Default)]
pub(super) struct State {
    seen: Vec<Seen>,
    allowed: Option<(CallId, Amount)>,
}

impl Consent {
    /// The offers, as they were judged.
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.with(|state| state.seen.clone())
    }

    /// The call that was allowed to be paid.
    pub(super) fn allowed(&self) -> Option<CallId> {
        self.with(|state| state.allowed.as_ref().map(|(call, _)| *call))
    }

    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The limit that holds for a payment: a deposit has one of its own.
    fn limit_for(&self, payment: &PaymentView<'_>) -> Option<&Amount> {
        match payment.intent.as_str() {
            SESSION => self.session_limit.as_ref(),
            _ => self.limit.as_ref(),
        }
    }

    async fn judge(&self, payment: &PaymentView<'_>) -> Verdict {
        let limit = self.limit_for(payment);
        let price = payment.amount.clone();
        let may_ask = self.unlimited == Unlimited::Ask && !self.dry_run;
        if let Trust::Changed(changes) = payment.trust
            && !self.accept_change
            && (!may_ask || limit.is_some())
        {
            let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
            let why = changes.join(", ");
            return Verdict::Changed { price, why };
        }
        if let Some(limit) = limit
            && let Decision::Refuse(why) = MaxAmount::new(limit.clone()).judge(payment.amount)
        {
            return Verdict::Over { price, why };
        }
        // The balance last: to ask for it, the key has to be opened.
        let allowed = limit.is_some() || self.was_allowed(payment);
        let verdict = match self.unlimited {
            _ if allowed => Verdict::Pay,
            Unlimited::Pay => Verdict::Pay,
            Unlimited::Ask if may_ask => ask(payment).await,
            Unlimited::Ask | Unlimited::Refuse => Verdict::Unasked {
                price: price.clone(),
            },
        };
        let looks = match &verdict {
            Verdict::Pay => true,
            // A dry run tells what would hinder it.
            Verdict::Unasked { .. } => self.dry_run,
            _ => false,
        };
        if looks
            && let Some(has) = self.funds(payment).await
            && has.compare(payment.amount) == Ok(std::cmp::Ordering::Less)
        {
            return Verdict::Short { price, has };
        }
        verdict
    }

    /// The same call at no higher price was said yes to already.
    fn was_allowed(&self, payment: &PaymentView<'_>) -> bool {
        let allowed = self.with(|state| state.allowed.clone());
        allowed.is_some_and(|(call, amount)| {
            let higher = payment.amount.compare(&amount);
            call == payment.call
                && matches!(payment.trust, Trust::Known)
                && higher.is_ok_and(std::cmp::Ordering::is_le)
        })
    }

    /// What is there to pay with; `None` when the ledger does not say.
    async fn funds(&self, payment: &PaymentView<'_>) -> Option<Amount> {
        let ledger = self.ledger.as_ref()?;
        if payment.method.as_str() != stiver_method_ledger::METHOD {
            return None;
        }
        let asking = tokio::time::timeout(FUNDS_TIMEOUT, funds(ledger));
        let balances = asking.await.ok()?.ok()?;
        let currency = payment.amount.currency();
        let mut rows = balances.balances.into_iter();
        let found = rows.find(|(available, _)| available.currency() == currency);
        Some(found.map_or_else(|| currency.zero(), |(available, _)| available))
    }
}

impl Policy for Consent {
    fn decide<'a>(&'a self, payment: &'a PaymentView<'a>) -> BoxFuture<'a, Decision> {
        Box::pin(async move {
            let verdict = self.judge(payment).await;
            let seen = Seen {
                view: view(payment),
                verdict: verdict.clone(),
            };
            self.with(|state| state.seen.push(seen));
            match verdict.why_not() {
                None if self.dry_run => Decision::Refuse("this is a dry run".to_owned()),
                None => {
                    let allowed = Some((payment.call, payment.amount.clone()));
                    self.with(|state| state.allowed = allowed);
                    match payment.trust {
                        Trust::Changed(_) => Decision::AllowChange,
                        _ => Decision::Allow,
                    }
                }
                Some(why) => Decision::Refuse(why),
            }
        })
    }
}

/// An offer in JSON.
fn view(payment: &PaymentView<'_>) -> Value {
    json!({
        "amount": payment.amount.to_wire(),
        "currency": payment.amount.currency().code(),
        "display": payment.amount.to_string(),
        "payee": payment.payee.to_string(),
        "network": payment.network.to_string(),
        "method": payment.method.as_str(),
        "intent": payment.intent.as_str(),
        "realm": payment.realm.as_str(),
        "url": payment.url,
        "expires": payment.expires.map(Timestamp::to_rfc3339),
        "description": payment.description.map(|text| text.to_string()),
        "firstUse": matches!(payment.trust, Trust::FirstUse),
    })
}

/// Asks whoever sits at the terminal.
async fn ask(payment: &PaymentView<'_>) -> Verdict {
    let mut text = format!(
        "{} asks for {}\n  payee   {}\n  by      {} on {}\n  for     {} {}\n",
        payment.origin,
        payment.amount,
        payment.payee,
        payment.method,
        payment.network,
        payment.http_method,
        payment.url,
    );
    if let Some(description) = payment.description {
        text.push_str(&format!("  it says \"{description}\"\n"));
    }
    match payment.trust {
        Trust::Changed(changes) => {
            for change in changes {
                text.push_str(&format!("  CHANGED: {change}\n"));
            }
        }
        Trust::FirstUse => text.push_str("  it was never paid before\n"),
        _ => {}
    }
    let verb = match payment.intent.as_str() {
        SESSION => "Set aside, for a session,",
        _ => "Pay",
    };
    text.push_str(&format!("{verb} {}? [y/N] ", payment.amount));
    let asking = tokio::task::spawn_blocking(move || -> io::Result<String> {
        let mut err = io::stderr().lock();
        err.write_all(text.as_bytes())?;
        err.flush()?;
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line)?;
        Ok(line)
    });
    let line = match asking.await {
        Ok(Ok(line)) => line.trim().to_ascii_lowercase(),
        _ => String::new(),
    };
    if matches!(line.as_str(), "y" | "yes") {
        Verdict::Pay
    } else {
        Verdict::SaidNo
    }
}
