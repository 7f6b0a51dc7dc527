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
//! ```
//! # use std::sync::Arc;
//! # use stiver_testkit::{fixtures, rail::HostileRail, simulation::Simulation, store_memory};
//! use stiver_server::{
//!     BodyState, Gate, Outcome, Request,
//!     grant::{PayeeFailure, ResponseHead},
//! };
//!
//! # let simulation = Simulation::new(1);
//! # let env = simulation.env();
//! # let limits = stiver_store::Limits::default();
//! # let store = Arc::new(store_memory::MemoryStore::new(env.clock.clone(), limits, 1));
//! # let method = Arc::new(HostileRail::new("merchant", fixtures::usd()));
//! # let (realm, keys, usd) = (fixtures::realm(), fixtures::key_ring(), fixtures::usd());
//! # let answer = simulation.block_on(async move {
//! let gate = Gate::builder(realm, keys, store, env)
//!     .method(method)
//!     .currency(usd)
//!     .build()?;
//! let route = Arc::new(gate.charge("0.01 USD")?);
//!
//! let request = Request {
//!     method: "GET",
//!     target: "/temperature",
//!     authorization: &[],
//!     accept_payment: &[],
//!     accept_language: &[],
//!     idempotency_key: &[],
//!     body: BodyState::None,
//! };
//! let answer = match gate.admit_at(&request, &route).await {
//!     Outcome::Free => "pass it on".to_owned(),
//!     Outcome::Replay(stored) => format!("repeat {}", stored.response.status),
//!     // Of routes that offer sessions only.
//!     Outcome::Session(_) | Outcome::Acknowledge(_) => unreachable!("none is offered"),
//!     Outcome::Refuse(refused) => {
//!         assert_eq!(refused.status(), 402);
//!         refused.body()
//!     }
//!     Outcome::Serve(grant) => {
//!         let worked = true; // Run the handler; `grant.paid()` says who paid what.
//!         if worked {
//!             // Before the first byte leaves:
//!             let head = ResponseHead { status: 200, headers: &[] };
//!             match grant.complete(head, None).await {
//!                 Ok(delivered) => format!("send it, with {:?}", delivered.receipt),
//!                 Err(refused) => refused.body(),
//!             }
//!         } else {
//!             grant.fail(PayeeFailure::MayHaveRun).await.body()
//!         }
//!     }
//! };
//! # Ok::<_, Box<dyn std::error::Error>>(answer)
//! # }).expect("the example runs");
//! assert!(answer.contains("https://paymentauth.org/problems/payment-required"));
//! ```
//!
//! At the start, and then from time to time, [`Gate::recover`] finishes what a crash left behind;
//! [`Gate::keep_recovering`] is the task to spawn for it. Routes may offer [sessions](session) too.
//!
//! # Invariants
//!
//! - A request that is not paid for changes no state: the store sees no write.
//! - One credential settles at most once and is delivered at most once, across instances.
//! - A delivery is durable before its first byte leaves.
//! - A challenge goes only with answers after which paying again is right: this credential took
//!   nothing, or what it took is over (served with nothing stored to repeat, refunded, refused by
//!   the rail). While a payment may be under way, and after a failed delivery, there is none, so
//!   that no auto-payer pays twice for one answer.
//! - No credential, receipt or key is logged, nor told in a problem.
//!
//! # Features
//!
//! - `axum`: the `axum` module. Off by default.
//! - `websocket`: the `socket` module. Off by default.
#![forbid(unsafe_code)]

#[cfg(feature = "axum")]
pub mod axum;
pub mod error;
pub mod events;
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
pub mod session;
#[cfg(feature = "websocket")]
pub mod socket;
pub mod tower;

/// The target of this crate's `tracing` spans: `admit`, `price` and `settle`, at the level `TRACE`.
/// They hold a payment method's name at most.
pub const SPANS: &str = "stiver_spans";

pub use error::GateError;
pub use gate::Gate;
pub use grant::Grant;
pub use outcome::{Outcome, Paid, Refused, Replay};
pub use request::{BodyState, Request};
pub use route::{Offer, Pricing, Route};
