//! How the gateway is doing: what readiness, metrics and `stiver status` tell.

use std::{cell::Cell, sync::Arc, time::Duration};

use stiver_channel::Figures;
use stiver_core::Currency;
use stiver_env::Env;
use stiver_ledger::Ledger;
use stiver_server::{Gate, gate::Exposure};
use stiver_store::{
    ChannelReader, ChannelStore, Command, EmbeddedStore, Glance, Limits as StoreLimits, Reply,
    Store, Usage,
};
use stiver_wal::Health;
use tokio::sync::{Semaphore, watch};

use super::{Watching, wire};

/// What is watched.
#[derive(Clone)]
pub(crate) struct Watched {
    pub(crate) env: Env,
    /// When the gateway started, by the monotonic clock.
    pub(crate) started: Duration,
    pub(crate) gate: Gate,
    pub(crate) store: EmbeddedStore,
    pub(crate) store_limits: StoreLimits,
    pub(crate) ledger: Ledger,
    pub(crate) watching: Watching,
    /// Free places for public connections, and how many there are in all.
    pub(crate) places: (Arc<Semaphore>, usize),
    /// Most bytes of request bodies.
    pub(crate) spooled_bytes_max: usize,
    /// Most channels that have not ended.
    pub(crate) channels_max: u64,
    /// Every currency of the ledger.
    pub(crate) currencies: Vec<Currency>,
    /// Turns true when the gateway stops.
    pub(crate) stopping: watch::Receiver<bool>,
}

/// The health of both logs.
pub(super) struct Logs {
    pub(super) store: Health,
    pub(super) ledger: Health,
}

impl Watched {
    pub(super) fn logs(&self) -> Logs {
        Logs {
            store: self.store.health(),
            ledger: self.ledger.health(),
        }
    }

    /// Whether requests should come here. Asks nobody, so it answers when nothing else does.
    pub(crate) fn ready(&self) -> wire::Ready {
        let Logs { store, ledger } = self.logs();
        let stopping = *self.stopping.borrow();
        let failed = |health: &Health| health.failure.as_deref().map(ToOwned::to_owned);
        let checks = vec![
            wire::Check::new("store", failed(&store)),
            wire::Check::new("rail ledger", failed(&ledger)),
            wire::Check::new(
                "running",
                stopping.then(|| "the gateway is shutting down".to_owned()),
            ),
        ];
        wire::Ready {
            ready: checks.iter().all(|check| check.ok),
            checks,
        }
    }

    /// Everything there is to tell. What cannot be asked is left out.
    pub(crate) async fn status(&self) -> wire::Status {
        let Logs { store, ledger } = self.logs();
        let exposure = match store.failure {
            None => self.gate.exposure().await.ok(),
            Some(_) => None,
        };
        let (places, places_max) = &self.places;
        let uptime = self.env.clock.monotonic().saturating_sub(self.started);
        wire::Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_s: uptime.as_secs(),
            ready: self.ready(),
            at_work: self.gate.at_work(),
            connections: places_max.saturating_sub(places.available_permits()),
            connections_max: *places_max,
            spooled_bytes: self.watching.spooled_bytes(),
            spooled_bytes_max: self.spooled_bytes_max,
            undelivered: exposure.as_ref().map(undelivered),
            undelivered_complete: exposure.is_none_or(|exposure| exposure.complete),
            sessions: self.sessions(),
            store: self.store_status(&store).await,
            logs: vec![
                wire::Log::new("store", &store),
                wire::Log::new("ledger", &ledger),
            ],
            ledger: self.books().await,
            limited_sources: self.watching.limits.remembered(),
            events_lost: self.gate.events_lost(),
        }
    }

    fn sessions(&self) -> wire::Sessions {
        let channels = self.store.channels();
        let usage = channels.usage();
        let held = match &self.currencies[..] {
            [currency] => Some(held(&sums(channels), currency)),
            _ => None,
        };
        wire::Sessions {
            open: usage.open,
            open_max: self.channels_max,
            ended: usage.ended,
            held,
        }
    }

    async fn store_status(&self, health: &Health) -> wire::StoreStatus {
        let usage: Usage = self.store.usage();
        let counts = match health.failure {
            None => self.store.submit(Command::Count).await.ok(),
            Some(_) => None,
        };
        let by_state = match counts {
            Some(Reply::Counts(counts)) => counts
                .into_iter()
                .map(|(state, claims)| wire::StateCount {
                    state: state.to_owned(),
                    claims,
                })
                .collect(),
            _ => Vec::new(),
        };
        wire::StoreStatus {
            claims: usage.claims,
            claims_max: u64::try_from(self.store_limits.claims_max).unwrap_or(u64::MAX),
            claims_bytes: usage.claims_bytes,
            claims_bytes_max: self.store_limits.claims_bytes_max,
            responses_bytes: usage.responses_bytes,
            responses_bytes_max: self.store_limits.responses_bytes_max,
            by_state,
        }
    }

    async fn books(&self) -> Option<crate::admin::wire::Books> {
        let books = self.ledger.books().await.ok()?;
        Some(crate::admin::wire::Books::from(&books))
    }
}

/// The figures of all open channels together.
fn sums(channels: &ChannelReader) -> Figures {
    let sums = Cell::new(Figures::default());
    let add = |it: &Glance| {
        let channel = &it.channel;
        if !channel.phase().name().is_final() {
            let (mut sum, one) = (sums.get(), channel.figures());
            sum.deposit = sum.deposit.saturating_add(one.deposit);
            sum.accepted = sum.accepted.saturating_add(one.accepted);
            sum.spent = sum.spent.saturating_add(one.spent);
            sum.reserved = sum.reserved.saturating_add(one.reserved);
            sum.settled = sum.settled.saturating_add(one.settled);
            sums.set(sum);
        }
        false
    };
    channels.select(&add, &mut |_| {});
    sums.get()
}

fn held(figures: &Figures, currency: &Currency) -> wire::Held {
    let money = |units: u128| crate::admin::wire::Money::from(&currency.units(units));
    wire::Held {
        deposit: money(figures.deposit),
        accepted: money(figures.accepted),
        spent: money(figures.spent),
        reserved: money(figures.reserved),
        unsettled: money(figures.unsettled()),
    }
}

fn undelivered(exposure: &Exposure) -> Vec<wire::Undelivered> {
    let rows = exposure.rows.iter().map(|row| wire::Undelivered {
        method: row.method.clone(),
        payments: row.payments,
        amount: crate::admin::wire::Money::from(&row.amount),
    });
    rows.collect()
}
