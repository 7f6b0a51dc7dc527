//! The layer and its settings.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use http::request::Parts;
use tower_layer::Layer;

use super::{
    Payment,
    body::Sink,
    price::{FixedPrice, Price},
};
use crate::{
    Gate, Route,
    limits::{SPOOLED_RESERVED_DIVISOR, SPOOLED_TOTAL_BYTES_MAX},
};

/// Puts the gate in front of a service. Cheap to clone.
#[derive(Clone)]
pub struct PaymentLayer {
    shared: Arc<Shared>,
}

/// Finds the normalised path and query of a request.
pub(super) type Target = fn(&Parts) -> String;

#[derive(Clone)]
pub(super) struct Shared {
    pub(super) gate: Gate,
    pub(super) price: Arc<dyn Price>,
    pub(super) target: Target,
    pub(super) spooled: Arc<AtomicUsize>,
    pub(super) spooled_max: usize,
}

/// What a request brings besides its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Credential {
    /// A credential whose challenge this gate issued.
    Bound,
    /// None, or one that is no good in itself.
    None,
}

impl Shared {
    /// Where bodies are held, within the layer's total. The last of it is for requests whose
    /// credential is bound to a challenge of the gate: strangers cannot take it.
    pub(super) fn held(&self, credential: Credential) -> Sink<'_> {
        Sink::Held {
            total: &self.spooled,
            max: match credential {
                Credential::Bound => self.spooled_max,
                Credential::None => self.strangers_max(),
            },
        }
    }

    /// How much of the total requests without a bound credential may take.
    pub(super) fn strangers_max(&self) -> usize {
        self.spooled_max - self.spooled_max / SPOOLED_RESERVED_DIVISOR
    }
}

impl PaymentLayer {
    /// Charges what `price` says: a closure `Fn(&Parts, &ReadBody) -> Pricing`, an [`AsyncPrice`],
    /// or a type of your own.
    ///
    /// [`AsyncPrice`]: super::AsyncPrice
    pub fn new(gate: Gate, price: impl Price) -> Self {
        let shared = Shared {
            gate,
            price: Arc::new(price),
            target: path_and_query,
            spooled: Arc::default(),
            spooled_max: SPOOLED_TOTAL_BYTES_MAX,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Charges one route's price for every request.
    pub fn fixed(gate: Gate, route: impl Into<Arc<Route>>) -> Self {
        Self::new(gate, FixedPrice::new(route))
    }

    /// How many bytes of request bodies may be held at once, over all requests through this layer.
    /// Default: [`SPOOLED_TOTAL_BYTES_MAX`]. The last quarter of them is kept for requests that
    /// bring a credential for a challenge of this gate.
    #[must_use]
    pub fn spooled_total_bytes_max(self, bytes: usize) -> Self {
        self.with(|shared| shared.spooled_max = bytes)
    }

    /// How to find the target (path and query) that a payment is bound to. It must be the whole
    /// one: a router that cuts prefixes off would make two resources one. Default: that of the
    /// request's URI.
    #[must_use]
    pub fn target(self, target: fn(&Parts) -> String) -> Self {
        self.with(|shared| shared.target = target)
    }

    /// How many bytes of request bodies are held now: of this layer and of all its clones.
    pub fn spooled_bytes(&self) -> usize {
        self.shared.spooled.load(Ordering::Relaxed)
    }

    fn with(self, change: impl FnOnce(&mut Shared)) -> Self {
        let mut shared = (*self.shared).clone();
        change(&mut shared);
        Self {
            shared: Arc::new(shared),
        }
    }
}

impl<S> Layer<S> for PaymentLayer {
    type Service = Payment<S>;

    fn layer(&self, inner: S) -> Payment<S> {
        Payment {
            inner,
            layer: Arc::clone(&self.shared),
        }
    }
}

pub(crate) fn path_and_query(parts: &Parts) -> String {
    parts
        .uri
        .path_and_query()
        .map_or_else(|| "/".to_owned(), ToString::to_string)
}
