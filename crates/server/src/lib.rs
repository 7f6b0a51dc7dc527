//! The gate that charges for requests: decides, settles, remembers.
//!
//! Three ways in, each a thin coat over the one before:
//!
//! - [`Gate`] knows no HTTP types. Give [`Gate::admit`] a [`Request`] (method, target, field lines,
//!   what is known of the body) and a price; it answers with an [`Outcome`].
//! - [`tower::PaymentLayer`] puts the gate in front of any tower service.
//! - The `axum` module (feature `axum`) has a router layer and an extractor.
//!
//! # Driving the gate by hand
//!
//! ```text
//! match gate.admit(&request, || price_of(&request)).await {
//!     Outcome::Free          => pass the request on,
//!     Outcome::Refuse(no)    => send no.status(), no.headers(), no.body(),
//!     Outcome::Replay(stored)=> send stored.response, with stored.receipt,
//!     Outcome::Serve(grant)  => {
//!         run the handler; grant.paid() says who paid what, and
//!         grant.paid().upstream_key is the Idempotency-Key for an upstream;
//!         // before the first byte leaves:
//!         worked: grant.complete(head, body).await  → Ok(Delivered { receipt }), or send the Err
//!         failed: send grant.fail(PayeeFailure::..).await
//!     }
//! }
//! ```
//!
//! At the start, and then from time to time, [`Gate::recover`] finishes what a crash left behind;
//! [`Gate::keep_recovering`] is the task to spawn for it.
//!
//! # Invariants
//!
//! - A request that is not paid for changes no state: the store sees no write.
//! - One credential settles at most once and is delivered at most once, across instances.
//! - A delivery is durable before its first byte leaves.
//! - No answer that may follow a payment carries a challenge, so that no auto-payer pays twice.
//! - No credential, receipt or key is logged, nor told in a problem.
//!
//! # Features
//!
//! - `axum`: the `axum` module. Off by default.
#![forbid(unsafe_code)]

#[cfg(feature = "axum")]
pub mod axum;
pub mod error;
pub mod gate;
pub mod grant;
mod hash;
pub mod idempotency;
pub mod limits;
pub mod outcome;
mod receipt;
pub mod record;
pub mod request;
pub mod route;
pub mod tower;

pub use error::GateError;
pub use gate::Gate;
pub use grant::Grant;
pub use outcome::{Outcome, Paid, Refused, Replay};
pub use request::{BodyState, Request};
pub use route::{Offer, Pricing, Route};
