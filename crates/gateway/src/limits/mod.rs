//! Rate limits: who may ask how often. Pure: time is an argument.
//!
//! Five kinds of token buckets, each with its own rate. A request takes one token from each that
//! its file configures, cheapest to spoil last:
//!
//! | bucket | of | who takes from it |
//! |---|---|---|
//! | source | one source | every request |
//! | route | one source on one route | every request to that route |
//! | challenges | one source | a request to a priced route that is answered with challenges |
//! | total | everybody | what the buckets above have let through |
//! | paid | one source | a request that those refuse, and that bears a credential of ours |
//!
//! Limits come before the claim, so a request that is refused here has moved nothing. One that may
//! have been paid for is not refused because of a flood of unpaid ones from the same address: it
//! has the last bucket to itself.
//!
//! [`Sources`] holds at most `sources_max` buckets. A bucket is forgotten only once it is full
//! again, for then forgetting changes nothing; when none is, newcomers share one bucket. So nobody
//! gets a fresh allowance by filling the table.

mod bucket;
mod source;
mod table;

#[cfg(test)]
mod tests;

use std::{
    net::IpAddr,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use http::HeaderMap;

use crate::config::{Config, address::IpBlock};

pub use bucket::Rate;
pub use source::{FORWARDED_HOPS_MAX, Source};
pub use table::{SHARDS, Sources};

use bucket::Bucket;

/// The rate of the bucket of paid requests where the file limits sources by none.
const PAID: Rate = Rate::of(50, 100);

/// What a file says of limits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// Requests of one source.
    pub per_source: Option<Rate>,
    /// Requests of all sources together.
    pub total: Option<Rate>,
    /// Answers with challenges to one source.
    pub challenges_per_source: Option<Rate>,
    /// Most buckets remembered.
    pub sources_max: usize,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpBlock>,
}

impl Rules {
    /// Those of a configuration.
    pub fn of(config: &Config) -> Self {
        let limits = &config.limits;
        Self {
            per_source: limits.per_source.map(Rate::from),
            total: limits.total.map(Rate::from),
            challenges_per_source: limits.challenges_per_source.map(Rate::from),
            sources_max: limits.sources_max,
            trusted_proxies: config.trusted_proxies.clone(),
        }
    }
}

/// A request, as far as limits care.
#[derive(Debug, Clone, Copy)]
pub struct Asking {
    /// Who asks.
    pub source: Source,
    /// The route's number and its own limit, when it has one.
    pub route: Option<(u32, Rate)>,
    /// What it will come to.
    pub wants: Wants,
}

/// What a request will come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    /// Something without a price.
    Free,
    /// A priced route, without a credential: it will be answered with challenges.
    Challenges,
    /// A priced route, with a credential: it is answered with challenges if that is no good.
    Delivery,
}

/// A request that came too soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany {
    /// Which bucket was empty.
    pub limit: Limit,
    /// When it will hold a token again.
    pub wait: Duration,
}

impl TooMany {
    /// `Retry-After`, seconds: at least one.
    pub fn retry_after_seconds(&self) -> u32 {
        let whole = self.wait.as_secs();
        let seconds = whole + u64::from(self.wait.subsec_nanos() > 0);
        u32::try_from(seconds.max(1)).unwrap_or(u32::MAX)
    }
}

/// The kinds of limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Of one source.
    Source,
    /// Of one source on one route.
    Route,
    /// Of challenges to one source.
    Challenges,
    /// Of everybody.
    Total,
    /// Of paid requests of one source.
    Paid,
}

impl Limit {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::Source,
        Self::Route,
        Self::Challenges,
        Self::Total,
        Self::Paid,
    ];

    /// Its name in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Route => "route",
            Self::Challenges => "challenges",
            Self::Total => "total",
            Self::Paid => "paid",
        }
    }
}

/// Decides who may ask. Shared by all requests.
pub struct Limits {
    rules: RwLock<Arc<Rules>>,
    sources: Sources,
    total: std::sync::Mutex<Bucket>,
}

impl Limits {
    /// Under these rules, with every bucket full.
    pub fn new(rules: Rules) -> Self {
        let sources = Sources::new(rules.sources_max);
        Self {
            rules: RwLock::new(Arc::new(rules)),
            sources,
            total: std::sync::Mutex::default(),
        }
    }

    /// Puts other rules into force. Buckets stay as full as they are, and as many as they may be.
    pub fn change(&self, rules: Rules) {
        let mut slot = self.rules.write().unwrap_or_else(PoisonError::into_inner);
        *slot = Arc::new(rules);
    }

    fn rules(&self) -> Arc<Rules> {
        let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&rules)
    }

    /// True when some request could be refused by the rules alone; a route may still have a limit
    /// of its own.
    pub fn any(&self) -> bool {
        let rules = self.rules();
        rules.per_source.is_some() || rules.total.is_some() || rules.challenges_per_source.is_some()
    }

    /// True when it matters whether a request was answered with challenges.
    pub fn counts_challenges(&self) -> bool {
        self.rules().challenges_per_source.is_some()
    }

    /// Who asks: the peer, or whom a trusted proxy says it asks for.
    pub fn source(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> Source {
        source::of(peer, headers, &self.rules().trusted_proxies)
    }

    /// How many buckets are remembered now.
    pub fn remembered(&self) -> usize {
        self.sources.len()
    }

    /// Takes a token from each bucket, or tells which one is empty. Of a request with a credential
    /// the bucket of challenges is only looked at: see [`Limits::challenged`].
    ///
    /// # Errors
    ///
    /// [`TooMany`]; tokens taken from earlier buckets are not given back.
    pub fn admit(&self, now: Duration, asking: &Asking) -> Result<(), TooMany> {
        let rules = self.rules();
        if let Some(rate) = rules.per_source {
            self.take(now, asking.source, Limit::Source, 0, rate)?;
        }
        if let Some((number, rate)) = asking.route {
            self.take(now, asking.source, Limit::Route, number, rate)?;
        }
        if let Some(rate) = rules.challenges_per_source {
            match asking.wants {
                Wants::Free => {}
                Wants::Challenges => {
                    self.take(now, asking.source, Limit::Challenges, 0, rate)?;
                }
                Wants::Delivery => {
                    let key = table::Key::new(asking.source, Limit::Challenges, 0);
                    too_many(Limit::Challenges, self.sources.look(now, key, rate))?;
                }
            }
        }
        if let Some(rate) = rules.total {
            let mut total = self.total.lock().unwrap_or_else(PoisonError::into_inner);
            too_many(Limit::Total, total.take(now, rate))?;
        }
        Ok(())
    }

    /// Lets a request through that [`Limits::admit`] has refused, and whose credential is one of
    /// ours: it may have been paid for.
    ///
    /// # Errors
    ///
    /// [`TooMany`] of [`Limit::Paid`].
    pub fn admit_paid(&self, now: Duration, source: Source) -> Result<(), TooMany> {
        let rate = self.rules().per_source.unwrap_or(PAID);
        self.take(now, source, Limit::Paid, 0, rate)
    }

    /// Takes note that a request with a credential was answered with challenges all the same.
    pub fn challenged(&self, now: Duration, source: Source) {
        if let Some(rate) = self.rules().challenges_per_source {
            // An empty bucket stays empty: the next request will be told.
            let _ = self.take(now, source, Limit::Challenges, 0, rate);
        }
    }

    fn take(
        &self,
        now: Duration,
        source: Source,
        limit: Limit,
        number: u32,
        rate: Rate,
    ) -> Result<(), TooMany> {
        let key = table::Key::new(source, limit, number);
        too_many(limit, self.sources.take(now, key, rate))
    }
}

fn too_many(limit: Limit, taken: Result<(), Duration>) -> Result<(), TooMany> {
    taken.map_err(|wait| TooMany { limit, wait })
}
