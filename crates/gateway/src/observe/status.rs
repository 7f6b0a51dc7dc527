//! How the gateway is doing: what readiness, metrics and `stiver status` tell.

use std::{sync::Arc, time::Duration};

use stiver_env::Env;
use stiver_ledger::Ledger;
use stiver_server::{Gate, gate::Exposure};
use stiver_store::{Command, EmbeddedStore, Limits as StoreLimits, Reply, Store, Usage};
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

fn undelivered(exposure: &Exposure) -> Vec<wire::Undelivered> {
    let rows = exposure.rows.iter().map(|row| wire::Undelivered {
        method: row.method.clone(),
        payments: row.payments,
        amount: crate::admin::wire::Money::from(&row.amount),
    });
    rows.collect()
}
