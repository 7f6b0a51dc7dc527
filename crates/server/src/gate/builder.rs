//! Building a gate, and routes from human prices.

use std::sync::{Arc, RwLock, atomic::AtomicU64};

use stiver_core::{Currency, amount::AmountError, binding::KeyRing, name::Realm};
use stiver_env::{
    Env,
    observe::{Observer, Observers},
};
use stiver_method::{
    payee::{PayeeCharge, QuoteError},
    session::PayeeSession,
};
use stiver_store::{ChannelStore, Store};

use super::{
    Count, Gate, Inner,
    lease::Leases,
    nonce::Nonces,
    session::{busy::BusyChannels, schedule::Watched},
};
use crate::{
    events::Event,
    route::{Offer, Route, RouteError},
    session::{SessionLimits, Sessions},
};

/// Builds a [`Gate`].
pub struct GateBuilder {
    realm: Realm,
    keys: KeyRing,
    store: Arc<dyn Store>,
    env: Env,
    methods: Vec<Arc<dyn PayeeCharge>>,
    currencies: Vec<Currency>,
    events: Observers<Event>,
    channels: Option<Arc<dyn ChannelStore>>,
    session_methods: Vec<Arc<dyn PayeeSession>>,
    session_limits: SessionLimits,
}

impl GateBuilder {
    pub(super) fn new(realm: Realm, keys: KeyRing, store: Arc<dyn Store>, env: Env) -> Self {
        Self {
            realm,
            keys,
            store,
            env,
            methods: Vec::new(),
            currencies: Vec::new(),
            events: Observers::default(),
            channels: None,
            session_methods: Vec::new(),
            session_limits: SessionLimits::default(),
        }
    }

    /// Registers a payment method: for offers made by [`Gate::charge`], and for every journal
    /// record that it wrote, also once no route offers it any more.
    #[must_use]
    pub fn method(mut self, method: Arc<dyn PayeeCharge>) -> Self {
        self.methods.push(method);
        self
    }

    /// Keeps the channels of sessions here. Without it the gate offers none.
    #[must_use]
    pub fn channels(mut self, store: Arc<dyn ChannelStore>) -> Self {
        self.channels = Some(store);
        self
    }

    /// Registers a method of sessions: for credentials, and for every channel that it opened, also
    /// once no route offers it any more.
    #[must_use]
    pub fn session_method(mut self, method: Arc<dyn PayeeSession>) -> Self {
        self.session_methods.push(method);
        self
    }

    /// Limits of sessions.
    #[must_use]
    pub fn session_limits(mut self, limits: SessionLimits) -> Self {
        self.session_limits = limits;
        self
    }

    /// Registers a currency that [`Gate::charge`] reads prices in. Its decimals come from the
    /// method that takes it; nothing guesses them.
    #[must_use]
    pub fn currency(mut self, currency: Currency) -> Self {
        self.currencies.push(currency);
        self
    }

    /// Tells somebody what happens: see [`crate::events`]. May be called for several.
    #[must_use]
    pub fn events(mut self, observer: impl Observer<Event> + 'static) -> Self {
        self.events.add(Arc::new(observer));
        self
    }

    /// The gate.
    ///
    /// # Errors
    /// [`BuildError`] when two methods share a name.
    pub fn build(self) -> Result<Gate, BuildError> {
        for (index, method) in self.methods.iter().enumerate() {
            if self
                .methods
                .iter()
                .take(index)
                .any(|other| other.name() == method.name())
            {
                return Err(BuildError::MethodTwice(method.name().to_string()));
            }
        }
        for (index, method) in self.session_methods.iter().enumerate() {
            let mut before = self.session_methods.iter().take(index);
            if before.any(|other| other.name() == method.name()) {
                return Err(BuildError::MethodTwice(method.name().to_string()));
            }
        }
        if self.channels.is_none() && !self.session_methods.is_empty() {
            return Err(BuildError::NoChannels);
        }
        let sessions = self.channels.map(|store| Sessions {
            store,
            methods: self.session_methods,
            watched: Watched::default(),
            busy: BusyChannels::new(self.session_limits.busy_channels_max),
            limits: self.session_limits,
        });
        let mut owner = [0; 8];
        self.env.entropy.fill(&mut owner);
        let nonces = Nonces::new(&*self.env.entropy);
        let inner = Inner {
            realm: self.realm,
            keys: RwLock::new(Arc::new(self.keys)),
            leases: Leases::default(),
            store: self.store,
            env: self.env,
            methods: self.methods,
            currencies: self.currencies,
            owner: AtomicU64::new(u64::from_be_bytes(owner)),
            nonces,
            settling: Count::default(),
            unsettled: Count::default(),
            waiting: Count::default(),
            working: Count::default(),
            events: self.events,
            sessions,
        };
        Ok(Gate {
            inner: Arc::new(inner),
        })
    }
}

impl Gate {
    /// A route with a fixed price in human form, for example `0.01 USD`, offered by every
    /// registered method that takes its currency.
    ///
    /// # Errors
    /// [`PriceError`] when the text is no price, the currency is not registered, or no method
    /// takes it.
    pub fn charge(&self, price: &str) -> Result<Route, PriceError> {
        let malformed = || PriceError::Malformed {
            text: price.to_owned(),
        };
        let (number, code) = price.trim().split_once(' ').ok_or_else(malformed)?;
        let code = code.trim_start();
        let same = |currency: &&Currency| currency.code().eq_ignore_ascii_case(code);
        let mut known = self.inner.currencies.iter().filter(same).peekable();
        if known.peek().is_none() {
            return Err(PriceError::UnknownCurrency {
                code: code.to_owned(),
            });
        }
        let mut offers = Vec::new();
        let mut refusal = None;
        for currency in known {
            let amount = currency.parse_decimal(number).map_err(PriceError::Amount)?;
            for method in &self.inner.methods {
                match Offer::new(Arc::clone(method), amount.clone()) {
                    Ok(offer) => offers.push(offer),
                    Err(error) => refusal = Some(error),
                }
            }
        }
        if offers.is_empty() {
            return Err(PriceError::NoMethod {
                code: code.to_owned(),
                source: refusal,
            });
        }
        Route::new(offers).map_err(PriceError::Route)
    }
}

/// Why there is no gate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Two methods share a name.
    #[error("the method {0} is registered twice")]
    MethodTwice(String),
    /// There are methods of sessions, and no store for their channels.
    #[error("sessions need a store for their channels")]
    NoChannels,
}

/// Why a human price was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PriceError {
    /// Not a number, a space, and a currency.
    #[error("{text:?} is no price: write a number, a space and a currency, such as 0.01 USD")]
    Malformed {
        /// What was given.
        text: String,
    },
    /// No such currency was registered.
    #[error("the currency {code:?} is not registered with this gate")]
    UnknownCurrency {
        /// What was given.
        code: String,
    },
    /// The number does not fit the currency.
    #[error("the amount is not one of its currency")]
    Amount(#[source] AmountError),
    /// No registered method takes it.
    #[error("no registered method takes {code:?} in this amount")]
    NoMethod {
        /// What was given.
        code: String,
        /// What the last method said.
        source: Option<QuoteError>,
    },
    /// The offers make no route.
    #[error("the offers make no route")]
    Route(#[source] RouteError),
}
