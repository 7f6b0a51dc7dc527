//! What a payer allows a session: how much is set aside, how much one request may cost, and how
//! far ahead of what was delivered is signed. Pure.

use std::time::Duration;

use stiver_core::Amount;
use stiver_method::session::{SessionView, UnitPrice, VoucherScheme};

use super::Bounds;
use crate::limits;

/// The unit of a price for a whole request.
const REQUEST: &str = "request";

/// What a payer allows its sessions, in one currency.
///
/// A deposit is money out of reach until the channel ends: the [`Policy`](crate::policy::Policy) of
/// the client is asked about each opening and each top-up, with the amount that is set aside. What
/// is signed within a deposit is bounded here, and it is not asked again.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionLimits {
    /// The most that is set aside at once for one payee, in all its channels.
    pub max_session: Amount,
    /// How much is set aside when a channel is opened, and added by a top-up. `None`: what the
    /// payee suggests; [`limits::DEPOSIT_REQUESTS`] requests when it suggests nothing. Never more
    /// than `max_session`.
    pub deposit: Option<Amount>,
    /// The most that one request may cost, a stream to its end. `None`: the session's limit.
    pub max_request: Option<Amount>,
    /// How far what is signed may be ahead of what was delivered, and so the most that a payee can
    /// take for nothing. `None`: a [`limits::AHEAD_PART`]th of the deposit.
    pub sign_ahead: Option<Amount>,
    /// The most that a unit may cost, for the units that are named here. A request at a higher
    /// price is not paid for, in an open channel neither: prices change from request to request.
    pub max_prices: Vec<UnitPrice>,
    /// How the vouchers of a channel that is opened are made. `None`: the method chooses.
    pub voucher: Option<VoucherKind>,
    /// Most channels to one payee at once: requests that go on at the same time need one each.
    /// [`limits::CHANNELS_PER_PAYEE`] by default.
    pub channels_per_payee: usize,
    /// Closes a channel that nothing has used for so long, while the program runs. `None`: it stays
    /// open for the next time.
    pub idle_close: Option<Duration>,
    /// Leaves `payment-need-voucher` and `payment-receipt` in the events that a program reads. They
    /// are taken out by default.
    pub keep_events: bool,
}

impl SessionLimits {
    /// At most this is set aside for one payee; everything else as by default.
    pub fn new(max_session: Amount) -> Self {
        Self {
            max_session,
            deposit: None,
            max_request: None,
            sign_ahead: None,
            max_prices: Vec::new(),
            voucher: None,
            channels_per_payee: limits::CHANNELS_PER_PAYEE,
            idle_close: None,
            keep_events: false,
        }
    }

    /// Closes channels that nothing has used for so long.
    #[must_use]
    pub fn with_idle_close(mut self, idle: Duration) -> Self {
        self.idle_close = Some(idle);
        self
    }

    /// Sets aside this much at an opening, and by a top-up.
    #[must_use]
    pub fn with_deposit(mut self, deposit: Amount) -> Self {
        self.deposit = Some(deposit);
        self
    }

    /// Pays at most this for one request.
    #[must_use]
    pub fn with_max_request(mut self, max_request: Amount) -> Self {
        self.max_request = Some(max_request);
        self
    }

    /// Pays at most this for a unit.
    #[must_use]
    pub fn with_max_price(mut self, price: UnitPrice) -> Self {
        self.max_prices.push(price);
        self
    }

    /// Signs at most this far ahead.
    #[must_use]
    pub fn with_sign_ahead(mut self, sign_ahead: Amount) -> Self {
        self.sign_ahead = Some(sign_ahead);
        self
    }

    /// Makes the vouchers of new channels so.
    #[must_use]
    pub fn with_voucher(mut self, voucher: VoucherKind) -> Self {
        self.voucher = Some(voucher);
        self
    }

    /// Plans a channel for these prices, while so much is set aside for the payee already.
    ///
    /// # Errors
    ///
    /// [`OverLimit`] when the limits allow no useful channel.
    pub fn plan(&self, view: &SessionView, set_aside: u128) -> Result<ChannelPlan, OverLimit> {
        let currency = price_of(view)?.amount.currency().clone();
        let in_currency = |amount: &Amount| -> Result<u128, OverLimit> {
            if amount.currency() == &currency {
                Ok(amount.units())
            } else {
                Err(OverLimit::Currency(currency.code().to_owned()))
            }
        };
        let max_session = in_currency(&self.max_session)?;
        let free = max_session.saturating_sub(set_aside);
        let cost = request_cost(&view.prices);
        // One unit of each meter, where a request's price is not known before.
        let least = cost.unwrap_or_else(|| units_cost(&view.prices, 1)).max(1);
        let suggested = view.suggested_deposit.as_ref();
        let suggested = suggested.filter(|amount| amount.currency() == &currency);
        let wished = match &self.deposit {
            Some(deposit) => in_currency(deposit)?,
            None => suggested.map_or_else(
                || least.saturating_mul(limits::DEPOSIT_REQUESTS),
                Amount::units,
            ),
        };
        let deposit = wished.max(least).min(free);
        if deposit < least {
            return Err(OverLimit::Session {
                asked: currency.units(least.saturating_add(set_aside)),
                limit: self.max_session.clone(),
            });
        }
        let window = match &self.sign_ahead {
            Some(ahead) => in_currency(ahead)?,
            None => (deposit / limits::AHEAD_PART).max(least),
        };
        let bounds = Bounds {
            cap: free,
            window,
            grain: 1,
        };
        let scheme = match self.voucher {
            None => None,
            Some(VoucherKind::Signed) => Some(VoucherScheme::Signed),
            Some(VoucherKind::HashChain) => {
                let price =
                    cost.unwrap_or_else(|| price_of(view).map_or(1, |it| it.amount.units()));
                let most = deposit.saturating_mul(limits::CHAIN_ROOM).min(free);
                let step = chain_step(price.max(1), most);
                if step > window.max(least) {
                    return Err(OverLimit::Coarse {
                        step: currency.units(step),
                        ahead: currency.units(window),
                    });
                }
                Some(VoucherScheme::HashChain { step })
            }
        };
        Ok(ChannelPlan {
            deposit,
            bounds,
            scheme,
        })
    }

    /// Whether requests may be paid for at these prices.
    ///
    /// # Errors
    ///
    /// [`OverLimit::Price`], or [`OverLimit::Currency`] where the limit is in another currency.
    pub fn allows_prices(&self, prices: &[UnitPrice]) -> Result<(), OverLimit> {
        for price in prices {
            let limits = self.max_prices.iter();
            for limit in limits.filter(|limit| limit.unit == price.unit) {
                if limit.amount.currency() != price.amount.currency() {
                    let code = price.amount.currency().code().to_owned();
                    return Err(OverLimit::Currency(code));
                }
                let units = |one: &UnitPrice, other: &UnitPrice| {
                    one.amount.units().checked_mul(other.per.into())
                };
                // A price that is beyond 128 bits is beyond any limit.
                let within = units(price, limit)
                    .is_some_and(|asked| units(limit, price).is_none_or(|most| asked <= most));
                if !within {
                    return Err(OverLimit::Price {
                        asked: price_text(price),
                        limit: price_text(limit),
                    });
                }
            }
        }
        Ok(())
    }

    /// Whether one request may cost so much in all.
    ///
    /// # Errors
    ///
    /// [`OverLimit::Request`].
    pub fn allows_request(&self, cost: &Amount) -> Result<(), OverLimit> {
        let Some(limit) = &self.max_request else {
            return Ok(());
        };
        match cost.compare(limit) {
            Ok(std::cmp::Ordering::Greater) => Err(OverLimit::Request {
                asked: cost.clone(),
                limit: limit.clone(),
            }),
            Ok(_) => Ok(()),
            Err(_) => Err(OverLimit::Currency(cost.currency().code().to_owned())),
        }
    }

    /// How much to add to a channel, so that a voucher of `needed` fits. `None` when the channel's
    /// cap does not allow it.
    pub fn top_up(&self, bounds: &Bounds, deposit: u128, needed: u128) -> Option<u128> {
        if needed > bounds.cap || needed <= deposit {
            return None;
        }
        let wished = self.deposit.as_ref().map_or(deposit, Amount::units);
        let least = needed.saturating_sub(deposit);
        Some(wished.max(least).min(bounds.cap.saturating_sub(deposit)))
    }
}

/// How a channel is to be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelPlan {
    /// How much is set aside, base units.
    pub deposit: u128,
    /// What this side holds itself to.
    pub bounds: Bounds,
    /// How its vouchers are made; `None` where the method chooses.
    pub scheme: Option<VoucherScheme>,
}

/// How vouchers are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VoucherKind {
    /// Each is signed: for any amount.
    Signed,
    /// Each is a word of a hash chain, one hash to make and to verify: for multiples of a step.
    HashChain,
}

/// What a word is worth: the price, or as many times the price as a chain for `most` needs.
fn chain_step(price: u128, most: u128) -> u128 {
    let times = most.div_ceil(price.saturating_mul(limits::CHAIN_WORDS_MAX));
    price.saturating_mul(times.max(1))
}

/// A limit of the payer's own is in the way: nothing was signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OverLimit {
    /// The session's limit.
    #[error("{asked} would have to be set aside, and the limit for a session is {limit}")]
    Session {
        /// What would be set aside.
        asked: Amount,
        /// The limit.
        limit: Amount,
    },
    /// The limit of one request.
    #[error("the request costs {asked}, and the limit for a request is {limit}")]
    Request {
        /// What it costs.
        asked: Amount,
        /// The limit.
        limit: Amount,
    },
    /// The limit of a price.
    #[error("the price is {asked}, and the limit is {limit}")]
    Price {
        /// What is asked.
        asked: String,
        /// The limit.
        limit: String,
    },
    /// The words of a hash chain would be too large.
    #[error(
        "a word of the hash chain would be worth {step}, and at most {ahead} is signed ahead: set \
         less aside, or let vouchers be signed"
    )]
    Coarse {
        /// What a word would be worth.
        step: Amount,
        /// How far ahead may be signed.
        ahead: Amount,
    },
    /// No limit is set for the currency.
    #[error("no limit for sessions is set in the currency {0}")]
    Currency(String),
    /// The challenge has no price.
    #[error("the challenge has no price")]
    NoPrice,
}

/// A price in words.
fn price_text(price: &UnitPrice) -> String {
    let unit = price.unit.as_deref().unwrap_or(REQUEST);
    match price.per {
        1 => format!("{} per {unit}", price.amount),
        per => format!("{} per {per} {unit}", price.amount),
    }
}

/// The first price.
pub(crate) fn price_of(view: &SessionView) -> Result<&UnitPrice, OverLimit> {
    view.prices.first().ok_or(OverLimit::NoPrice)
}

/// What one request costs, where that is known before it is made: every price is for a request.
pub(crate) fn request_cost(prices: &[UnitPrice]) -> Option<u128> {
    let by_request = |price: &UnitPrice| price.unit.as_deref().is_none_or(|unit| unit == REQUEST);
    prices.iter().all(by_request).then(|| units_cost(prices, 1))
}

/// What so many units of each price cost together, rounded up.
fn units_cost(prices: &[UnitPrice], quantity: u128) -> u128 {
    prices.iter().fold(0_u128, |sum, price| {
        sum.saturating_add(cost_of(price, quantity))
    })
}

/// What so many units cost, rounded up.
pub(crate) fn cost_of(price: &UnitPrice, quantity: u128) -> u128 {
    let per = u128::from(price.per.max(1));
    price.amount.units().saturating_mul(quantity).div_ceil(per)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use stiver_core::Currency;

    fn usd() -> Currency {
        Currency::new("usd", 6).unwrap()
    }

    fn view(units: u128, unit: Option<&str>, suggested: Option<u128>) -> SessionView {
        SessionView {
            prices: vec![UnitPrice {
                amount: usd().units(units),
                per: 1,
                unit: unit.map(str::to_owned),
            }],
            payee: "merchant".into(),
            network: "a ledger".into(),
            suggested_deposit: suggested.map(|units| usd().units(units)),
            min_voucher_delta: 0,
            grace_ms: None,
            snapshot: None,
            expires: None,
        }
    }

    #[test]
    fn the_deposit_is_the_payers_word_then_the_payees_then_a_hundred_requests() {
        let limits = SessionLimits::new(usd().units(5_000));
        let plan = |limits: &SessionLimits, suggested| {
            limits.plan(&view(10, None, suggested), 0).unwrap().deposit
        };
        assert_eq!(plan(&limits, None), 1_000);
        assert_eq!(plan(&limits, Some(700)), 700);
        assert_eq!(plan(&limits, Some(9_000)), 5_000, "never over the limit");
        let own = limits.clone().with_deposit(usd().units(300));
        assert_eq!(plan(&own, Some(700)), 300);
        // A deposit that buys nothing is of no use.
        assert_eq!(plan(&limits, Some(3)), 10);
    }

    #[test]
    fn a_price_above_its_limit_is_refused_whatever_it_is_counted_by() {
        let price = |units, per, unit: &str| UnitPrice {
            amount: usd().units(units),
            per,
            unit: Some(unit.to_owned()),
        };
        let limits = SessionLimits::new(usd().units(1)).with_max_price(price(500, 1_000, "Wh"));
        let allows = |asked| {
            limits
                .allows_prices(&[price(9, 1, "second"), asked])
                .is_ok()
        };
        assert!(allows(price(500, 1_000, "Wh")));
        assert!(allows(price(1, 2, "Wh")), "the same");
        assert!(!allows(price(501, 1_000, "Wh")));
        assert!(!allows(price(1, 1, "Wh")));
        assert!(!allows(price(u128::MAX, 1, "Wh")), "beyond 128 bits");
        assert!(
            allows(price(u128::MAX, 1, "token")),
            "no limit is set for it"
        );
        let refused = limits.allows_prices(&[price(1, 1, "Wh")]).unwrap_err();
        let text = "the price is 0.000001 USD per Wh, and the limit is 0.0005 USD per 1000 Wh";
        assert_eq!(refused.to_string(), text);
    }

    #[test]
    fn what_is_set_aside_already_counts() {
        let limits = SessionLimits::new(usd().units(1_000));
        let plan = limits.plan(&view(10, None, None), 900).unwrap();
        assert_eq!((plan.deposit, plan.bounds.cap), (100, 100));
        let refused = limits.plan(&view(10, None, None), 991).unwrap_err();
        assert!(matches!(refused, OverLimit::Session { .. }), "{refused}");
    }

    #[test]
    fn another_currency_has_no_limit_and_so_no_session() {
        let limits = SessionLimits::new(Currency::new("eur", 2).unwrap().units(1_000));
        let refused = limits.plan(&view(10, None, None), 0).unwrap_err();
        assert_eq!(refused, OverLimit::Currency("usd".into()));
    }

    #[test]
    fn a_price_below_one_base_unit_rounds_up() {
        let mut view = view(2, Some("token"), None);
        view.prices[0].per = 1_000;
        assert_eq!(cost_of(&view.prices[0], 1), 1);
        assert_eq!(cost_of(&view.prices[0], 1_001), 3);
        assert_eq!(
            request_cost(&view.prices),
            None,
            "its cost is not known before"
        );
        view.prices[0].unit = Some("request".into());
        assert_eq!(request_cost(&view.prices), Some(1));
    }

    #[test]
    fn a_word_is_worth_the_price_or_as_much_as_the_length_of_a_chain_asks_for() {
        let chains =
            |max| SessionLimits::new(usd().units(max)).with_voucher(VoucherKind::HashChain);
        let step = |limits: SessionLimits, price, suggested| {
            let plan = limits.plan(&view(price, Some("byte"), Some(suggested)), 0);
            match plan.map(|plan| plan.scheme) {
                Ok(Some(VoucherScheme::HashChain { step })) => Ok(step),
                Ok(other) => panic!("{other:?}"),
                Err(error) => Err(error),
            }
        };
        assert_eq!(step(chains(1_000_000), 20, 100_000), Ok(20));
        // Four deposits of a million units in 65,536 words.
        assert_eq!(step(chains(u128::MAX), 1, 1_000_000), Ok(62));
        assert_eq!(step(chains(u128::MAX), 20, 1_000_000), Ok(80));
        assert_eq!(step(chains(1_000_000), 20, 1_000_000), Ok(20));
        let ahead = chains(u128::MAX).with_sign_ahead(usd().units(50));
        let refused = step(ahead, 1, 1_000_000);
        assert!(
            matches!(refused, Err(OverLimit::Coarse { .. })),
            "{refused:?}"
        );
    }

    proptest! {
        #[test]
        fn a_plan_and_its_top_ups_never_pass_the_session_limit(
            limit in 0_u128..10_000,
            price in 0_u128..200,
            deposit in proptest::option::of(0_u128..20_000),
            suggested in proptest::option::of(any::<u128>()),
            set_aside in 0_u128..12_000,
            needed in any::<u128>(),
        ) {
            let mut limits = SessionLimits::new(usd().units(limit));
            limits.deposit = deposit.map(|units| usd().units(units));
            let Ok(plan) = limits.plan(&view(price, Some("byte"), suggested), set_aside) else {
                return Ok(());
            };
            prop_assert!(plan.deposit + set_aside <= limit);
            prop_assert!(plan.bounds.cap + set_aside <= limit);
            if let Some(add) = limits.top_up(&plan.bounds, plan.deposit, needed) {
                prop_assert!(plan.deposit + add <= plan.bounds.cap);
                prop_assert!(plan.deposit + add >= needed);
            }
        }
    }
}
