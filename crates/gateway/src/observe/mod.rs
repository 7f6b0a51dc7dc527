//! What the gateway lets its operator see: health, metrics, a line for each request.
//!
//! Nothing here holds a credential, a receipt or a secret, nor a path or query of a request: route
//! patterns, amounts, challenge ids.

mod gauges;
mod http;
mod metrics;
mod number;
mod request;
mod status;
pub mod wire;

use std::sync::{Arc, OnceLock};

use stiver_env::Env;
use stiver_server::{gate::GateBuilder, tower::PaymentLayer};

use crate::{
    config::Config,
    limits::{Limits, Rules},
};

pub(crate) use self::{
    http::{admin, public},
    metrics::{Metrics, RouteLabels},
    request::{About, Requests},
    status::Watched,
};
pub use self::{
    metrics::{OTHER_ROUTE, ROUTE_LABELS_MAX},
    request::{ACCESS, REQUEST_ID_BYTES_MAX},
};

/// What watches a gateway, and what limits it.
#[derive(Clone)]
pub(crate) struct Watching {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) requests: Arc<Requests>,
    pub(crate) limits: Arc<Limits>,
    /// Whether events and requests are counted.
    counts: bool,
    spooled: Arc<OnceLock<PaymentLayer>>,
}

impl Watching {
    /// As a configuration says. Without `[metrics]` nothing is counted; what is held can be asked
    /// for all the same.
    pub(crate) fn new(config: &Config, env: &Env) -> Self {
        let metrics = Arc::new(Metrics::new());
        let counts = config.metrics.is_some();
        let counting = counts.then(|| Arc::clone(&metrics));
        Self {
            requests: Arc::new(Requests::new(env, counting)),
            limits: Arc::new(Limits::new(Rules::of(config))),
            metrics,
            counts,
            spooled: Arc::default(),
        }
    }

    /// Counts what a gate does.
    pub(crate) fn count(&self, gate: GateBuilder) -> GateBuilder {
        match self.counts {
            true => gate.events(Arc::clone(&self.metrics)),
            false => gate,
        }
    }

    /// The layer that holds request bodies. The first one counts: there is one.
    pub(crate) fn spooled(&self, layer: PaymentLayer) {
        let _ = self.spooled.set(layer);
    }

    /// Bytes of request bodies held now.
    pub(crate) fn spooled_bytes(&self) -> usize {
        self.spooled.get().map_or(0, PaymentLayer::spooled_bytes)
    }
}
