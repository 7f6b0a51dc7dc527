//! Sessions: a deposit, then a voucher for each use.
//!
//! A route may have [`SessionOffer`]s beside its offers of single payments. A payer opens a channel
//! once, and pays with vouchers from then on: each says how much of the deposit may be taken in
//! all. The gate keeps what was authorised, served and settled in a
//! [`ChannelStore`](stiver_store::ChannelStore), by channel alone.
//!
//! What a request may carry, and what comes of it:
//!
//! | action | at a priced request | as an update |
//! |---|---|---|
//! | `open` | the channel is funded, its first voucher pays | funded, 204 |
//! | `voucher` | accepted, and what it pays for is taken | accepted, 204 |
//! | `topUp` | the deposit is raised, 204 | the same |
//! | `close` | the channel is closed with an exact capture, 204 | the same |
//!
//! An update is a `HEAD`, or a `POST` without a body whose challenge is for another HTTP method: it
//! may go to any URL behind the gate.
//!
//! A voucher outlives its challenge: the binding has to hold and the price must be the one of now.
//! An open or a top-up needs a challenge that has not expired, and uses it up.
//!
//! # What can be lost
//!
//! A request with a price of its own: nothing. What it costs is reserved durably before the handler
//! runs and spent durably before its response leaves; a handler that fails frees it.
//!
//! A metered response: at most its window ([`SessionOffer::metered`]), by either side, and what a
//! meter carries at the end, below one base unit.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use stiver_channel::meter::{Meter, Price, Tab};
use stiver_core::{Amount, json::EncodedObject, name::MethodName};
use stiver_method::{
    payee::QuoteError,
    session::{PRICES_MAX, PayeeSession, SessionTerms, UnitPrice},
};

mod pointer;
pub(crate) mod usage;

pub use usage::{ReportError, UsageReporter, UsageSource};

pub use crate::gate::session::{
    SessionRefused,
    close::Closed,
    grant::SessionGrant,
    schedule::{CloseReport, SettleSchedule},
};

use crate::{
    gate::session::metered::tab,
    limits::{PAUSE_MS_MAX, STALL_MS_MAX},
};

/// How a session pays for a resource.
#[derive(Clone)]
pub struct SessionOffer {
    pub(crate) method: Arc<dyn PayeeSession>,
    pub(crate) prices: Vec<UnitPrice>,
    pub(crate) terms: Arc<SessionTerms>,
    pub(crate) charging: Charging,
    pub(crate) on_failure: SessionFailure,
    pub(crate) suggested_deposit: Option<Amount>,
    pub(crate) min_voucher_delta: u128,
    pub(crate) deposit_min: u128,
    pub(crate) deposit_max: Option<u128>,
    /// The request of its challenges, where the method always asks the same.
    pub(crate) quoted: Arc<OnceLock<EncodedObject>>,
}

/// How what is served is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Charging {
    /// Each request costs this much.
    PerRequest(Price),
    /// What is delivered is counted, and charged against a window that is reserved.
    Metered(Metered),
}

/// How what is delivered is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Metered {
    /// The meters.
    pub(crate) tab: Tab,
    /// Base units.
    pub(crate) window: u128,
    pub(crate) patience: Patience,
    /// Where an upstream reports what is used, meter by meter.
    pub(crate) sources: Arc<[Option<UsageSource>]>,
}

/// How long a metered response waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Patience {
    /// For a voucher.
    pub(crate) pause: Duration,
    /// For a client that does not read.
    pub(crate) stall: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            pause: Duration::from_millis(PAUSE_MS_MAX),
            stall: Duration::from_millis(STALL_MS_MAX),
        }
    }
}

/// What becomes of what a request costs when its handler fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionFailure {
    /// Nothing is taken: it was only reserved. Two durable writes for each request.
    Release,
    /// It is taken before the handler runs, for good. One durable write for each request.
    Keep,
}

impl SessionOffer {
    /// The same price for each request.
    ///
    /// # Errors
    /// [`QuoteError`] when the method cannot ask this price.
    pub fn per_request(method: Arc<dyn PayeeSession>, price: Amount) -> Result<Self, QuoteError> {
        Self::for_requests(method, price, 1)
    }

    /// `amount` for every `per` requests: a request may cost less than one base unit.
    ///
    /// What a request costs beyond whole base units is carried with its channel, durably: any
    /// number of requests costs their price times their number, rounded down once. A request is
    /// served when what is authorised covers the most that it can cost: its price, rounded up.
    ///
    /// # Errors
    /// [`QuoteError`] when the method cannot ask this price.
    pub fn for_requests(
        method: Arc<dyn PayeeSession>,
        amount: Amount,
        per: u64,
    ) -> Result<Self, QuoteError> {
        let each = Price::new(amount.units(), per).map_err(|_| QuoteError::Amount)?;
        let price = UnitPrice {
            amount,
            per,
            unit: Some("request".to_owned()),
        };
        Self::of(method, vec![price], Charging::PerRequest(each))
    }

    /// Prices for what is delivered, each for its own unit, all of one currency.
    ///
    /// | unit | counted |
    /// |---|---|
    /// | `request` | one, when the response begins |
    /// | `byte` | of the body, as they leave |
    /// | `second`, `millisecond` | while the response runs |
    /// | `event` | of an event stream, one by one |
    /// | `token` | as the upstream reports them: see below |
    /// | `kWh`, any other name | by reports: [`UsageReporter`], [`SessionOffer::usage`] |
    ///
    /// Unless [`SessionOffer::usage`] says where else, tokens are those of the `usage` member that
    /// language models send at the end of a stream or in a JSON answer. Until it comes, each event
    /// with content counts as one; the rest is charged with the event that reports it.
    ///
    /// `window`, base units: so much is reserved before it is served, and asked for when it is used
    /// up. It is what either side can lose: the payee by a crash, the payer by a payee that takes
    /// it and stops: one window for all meters together. Bytes leave in pieces that a window pays
    /// for. A single event that costs more than the window reserves its own cost.
    ///
    /// # Errors
    /// [`QuoteError`] when the method cannot ask these prices, or when a unit is not counted here.
    pub fn metered(
        method: Arc<dyn PayeeSession>,
        prices: Vec<UnitPrice>,
        window: &Amount,
    ) -> Result<Self, QuoteError> {
        let tab = tab(&prices).ok_or(QuoteError::Amount)?;
        let same = prices
            .iter()
            .all(|it| it.amount.currency() == window.currency());
        if !same || window.is_zero() || prices.len() > PRICES_MAX {
            return Err(QuoteError::Amount);
        }
        let suggested = window.units().saturating_mul(WINDOWS_SUGGESTED);
        let suggested = window.currency().units(suggested);
        let window = window.units();
        let patience = Patience::default();
        let charging = Charging::Metered(Metered {
            tab,
            window,
            patience,
            sources: vec![None; prices.len()].into(),
        });
        let offer = Self::of(method, prices, charging)?;
        Ok(offer.suggested_deposit(suggested))
    }

    fn of(
        method: Arc<dyn PayeeSession>,
        prices: Vec<UnitPrice>,
        charging: Charging,
    ) -> Result<Self, QuoteError> {
        let terms = Arc::new(method.expected_terms(&prices)?);
        Ok(Self {
            method,
            prices,
            terms,
            charging,
            on_failure: SessionFailure::Release,
            suggested_deposit: None,
            min_voucher_delta: 0,
            deposit_min: 0,
            deposit_max: None,
            quoted: Arc::default(),
        })
    }

    /// What becomes of what a request costs when its handler fails. Default:
    /// [`SessionFailure::Release`].
    #[must_use]
    pub fn on_failure(mut self, choice: SessionFailure) -> Self {
        self.on_failure = choice;
        self
    }

    /// The deposit that challenges suggest. A wish: the payer decides. By default nothing for
    /// requests, and [`WINDOWS_SUGGESTED`] windows for what is metered.
    #[must_use]
    pub fn suggested_deposit(mut self, deposit: Amount) -> Self {
        self.suggested_deposit = Some(deposit);
        self.quoted = Arc::default();
        self
    }

    /// The least that a channel is opened with, base units: below it the opening is refused, before
    /// anything moves. Each channel costs a movement of money and a place in the store. It is
    /// suggested where less would be.
    #[must_use]
    pub fn deposit_min(mut self, units: u128) -> Self {
        self.deposit_min = units;
        let suggested = self.suggested_deposit.as_ref().map_or(0, Amount::units);
        match suggested < units {
            true => self.suggests(units),
            false => self,
        }
    }

    /// The most that a channel is opened with, base units: above it the opening is refused, before
    /// anything moves. It says nothing of what the payer adds later.
    #[must_use]
    pub fn deposit_max(mut self, units: u128) -> Self {
        self.deposit_max = Some(units);
        let suggested = self.suggested_deposit.as_ref().map_or(0, Amount::units);
        match suggested > units {
            true => self.suggests(units),
            false => self,
        }
    }

    fn suggests(self, units: u128) -> Self {
        match self
            .prices
            .first()
            .map(|price| price.amount.currency().units(units))
        {
            Some(deposit) => self.suggested_deposit(deposit),
            None => self,
        }
    }

    /// The least by which a voucher must exceed the one before it, base units. A channel keeps the
    /// one that it was opened with.
    #[must_use]
    pub fn min_voucher_delta(mut self, units: u128) -> Self {
        self.min_voucher_delta = units;
        self.quoted = Arc::default();
        self
    }

    /// Where an upstream reports how many of `unit` were used. Without it a handler reports by
    /// [`UsageReporter`]; tokens are looked for in `usage`.
    ///
    /// # Errors
    /// [`QuoteError::Amount`] when there is no price for the unit, or when it is counted here.
    pub fn usage(mut self, unit: &str, source: UsageSource) -> Result<Self, QuoteError> {
        let Charging::Metered(metered) = &mut self.charging else {
            return Err(QuoteError::Amount);
        };
        let named = |it: &Meter| it.unit().as_str() == unit && usage::is_reported(it.unit());
        let at = metered.tab.meters().position(named);
        let sources = Arc::make_mut(&mut metered.sources);
        let place = at.and_then(|at| sources.get_mut(at));
        *place.ok_or(QuoteError::Amount)? = Some(source);
        Ok(self)
    }

    /// How long a metered response waits for a voucher. Then an event stream ends with its receipt,
    /// and another body breaks off. Default: [`PAUSE_MS_MAX`].
    #[must_use]
    pub fn pause_max(mut self, pause: Duration) -> Self {
        if let Charging::Metered(metered) = &mut self.charging {
            metered.patience.pause = pause;
        }
        self
    }

    /// How long a metered response waits for a client that does not read. Then it breaks off.
    /// Default: [`STALL_MS_MAX`].
    #[must_use]
    pub fn stall_max(mut self, stall: Duration) -> Self {
        if let Charging::Metered(metered) = &mut self.charging {
            metered.patience.stall = stall;
        }
        self
    }

    /// The method.
    pub fn method(&self) -> &MethodName {
        self.method.name()
    }

    /// True when what is delivered is counted.
    pub fn is_metered(&self) -> bool {
        !matches!(self.charging, Charging::PerRequest(_))
    }

    /// What either side can lose, base units; zero where each request is paid before it is served.
    pub fn window(&self) -> u128 {
        match &self.charging {
            Charging::PerRequest(_) => 0,
            Charging::Metered(metered) => metered.window,
        }
    }

    /// The prices, one for each meter.
    pub fn prices(&self) -> &[UnitPrice] {
        &self.prices
    }
}

/// How many windows a metered offer suggests to set aside.
pub const WINDOWS_SUGGESTED: u128 = 20;

/// Limits of a gate's sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLimits {
    /// Most channels that have not ended. One more is not funded. Default:
    /// [`CHANNELS_MAX`](stiver_store::limits::CHANNELS_MAX).
    pub channels_max: u64,
    /// Most vouchers that one channel presents in a second, as a lasting rate and as a burst.
    /// Default: [`VOUCHERS_PER_SECOND`](crate::limits::VOUCHERS_PER_SECOND).
    pub vouchers_per_second: u32,
    /// Most channels whose keys are kept set up. Default:
    /// [`BUSY_CHANNELS_MAX`](crate::limits::BUSY_CHANNELS_MAX).
    pub busy_channels_max: usize,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            channels_max: stiver_store::limits::CHANNELS_MAX,
            vouchers_per_second: crate::limits::VOUCHERS_PER_SECOND,
            busy_channels_max: crate::limits::BUSY_CHANNELS_MAX,
        }
    }
}

/// A session's answer without the resource: its voucher, top-up or close was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    /// 204; 200 when nothing changed, because the voucher was accepted before.
    pub status: u16,
    /// The `Payment-Receipt` value, with the channel as it stands.
    pub receipt: Arc<str>,
}

/// What a gate needs for sessions: the kinds of channels, and where they are kept.
pub(crate) struct Sessions {
    pub(crate) store: Arc<dyn stiver_store::ChannelStore>,
    pub(crate) methods: Vec<Arc<dyn PayeeSession>>,
    pub(crate) busy: crate::gate::session::busy::BusyChannels,
    pub(crate) watched: crate::gate::session::schedule::Watched,
    pub(crate) limits: SessionLimits,
}
