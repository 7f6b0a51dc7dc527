//! The gate for axum: a router layer and an extractor.
//!
//! ```
//! # use std::sync::Arc;
//! # use stiver_testkit::{fixtures, rail::HostileRail, simulation::Simulation, store_memory};
//! use axum::{Router, routing::get};
//! use stiver_server::{Gate, Paid, axum::charge};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let simulation = Simulation::new(1);
//! # let env = simulation.env();
//! # let limits = stiver_store::Limits::default();
//! # let store = Arc::new(store_memory::MemoryStore::new(env.clock.clone(), limits, 1));
//! # let method = Arc::new(HostileRail::new("merchant", fixtures::usd()));
//! # let (realm, keys, usd) = (fixtures::realm(), fixtures::key_ring(), fixtures::usd());
//! let gate = Gate::builder(realm, keys, store, env)
//!     .method(method)
//!     .currency(usd)
//!     .build()?;
//!
//! let app: Router = Router::new()
//!     .route("/temperature", get(async |paid: Paid| format!("22.5 C for {}", paid.amount)))
//!     .route_layer(charge(&gate, "0.01 USD")?)
//!     .route("/about", get("this one is free"));
//! # drop(app);
//! # Ok(())
//! # }
//! ```

use axum::{
    extract::{FromRequestParts, OptionalFromRequestParts, OriginalUri},
    response::{IntoResponse, Response},
};
use http::{StatusCode, request::Parts};

use crate::{Gate, Paid, gate::PriceError, tower::PaymentLayer};

/// A layer that charges a fixed price, for example `0.01 USD`, for every route it is put on.
///
/// Payments are bound to the whole path, also inside nested routers.
///
/// # Errors
/// [`PriceError`]: see [`Gate::charge`].
pub fn charge(gate: &Gate, price: &str) -> Result<PaymentLayer, PriceError> {
    Ok(PaymentLayer::fixed(gate.clone(), gate.charge(price)?).target(original_target))
}

/// The whole path and query of a request, before any nested router cut its prefix off: for
/// [`PaymentLayer::target`].
pub fn original_target(parts: &Parts) -> String {
    let original = parts
        .extensions
        .get::<OriginalUri>()
        .map(|OriginalUri(uri)| uri);
    let uri = original.unwrap_or(&parts.uri);
    uri.path_and_query()
        .map_or_else(|| "/".to_owned(), ToString::to_string)
}

/// The request reached a handler that wants a payment, but no payment layer is in front of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no payment layer is in front of this handler")]
pub struct NotCharged;

impl IntoResponse for NotCharged {
    fn into_response(self) -> Response {
        (StatusCode::INTERNAL_SERVER_ERROR, self.to_string()).into_response()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Paid {
    type Rejection = NotCharged;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, NotCharged> {
        parts.extensions.get().cloned().ok_or(NotCharged)
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for Paid {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        _: &S,
    ) -> Result<Option<Self>, std::convert::Infallible> {
        Ok(parts.extensions.get().cloned())
    }
}
