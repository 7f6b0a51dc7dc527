//! The payer's side: answers 402 challenges. Chooses, asks a policy, pays, retries, and never pays
//! twice.
//!
//! [`PaymentClient`] is the whole of it, without HTTP of its own. Two surfaces carry it:
//! [`PayLayer`], a tower layer over any HTTP client service, and, with the feature `reqwest`,
//! `PayingClient`.
//!
//! What always holds:
//!
//! - Nothing is signed before the [`policy`] said yes to amount, payee and realm, and before the
//!   [`outbox`] holds it durably.
//! - One logical call has at most one authorisation that can land. While its fate is unknown the
//!   same credential is sent again; another is signed only after a definite refusal, and only when
//!   the rail says that the first can never land or that the two share a nonce.
//! - No credential leaves over plain HTTP (but to this machine), follows a redirect, or answers a
//!   challenge whose realm names another host.
//! - Every error tells whether money moved ([`CallError::money_moved`]) and what to do next
//!   ([`CallError::retry`]).
//!
//! ```
//! use std::sync::Arc;
//! use stiver_client::{
//!     Options, Parts, PayLayer, PaymentClient, outbox::MemoryOutbox, pins::MemoryPins,
//!     policy::MaxAmount,
//! };
//! use stiver_core::Amount;
//! use stiver_env::Env;
//! use stiver_method::payer::Payer;
//!
//! /// Pays at most `limit` for each call, and forgets everything when the program ends: a real one
//! /// gives the outbox and the pins of a wallet.
//! fn layer(env: Env, payer: Arc<dyn Payer>, limit: Amount) -> PayLayer {
//!     PayLayer::new(PaymentClient::new(Parts {
//!         payers: vec![payer],
//!         policy: Arc::new(MaxAmount::new(limit)),
//!         outbox: Arc::new(MemoryOutbox::new(env.clock.clone())),
//!         pins: Arc::new(MemoryPins::new()),
//!         options: Options::default(),
//!         env,
//!     }))
//! }
//! ```
//!
//! Features: `reqwest`, the wrapper around reqwest with rustls; `websocket`, the `socket` module
//! over it.
#![forbid(unsafe_code)]

mod body;
pub mod call;
mod choose;
mod client;
pub mod error;
pub mod events;
mod lane;
mod layer;
pub mod limits;
mod origin;
pub mod outbox;
#[cfg(feature = "reqwest")]
mod paying;
pub mod pins;
pub mod policy;
pub mod session;
#[cfg(feature = "websocket")]
pub mod socket;

pub use body::WatchedBody;
pub use client::{
    Answer, Delivery, Exchange, LostChannel, NotSent, Options, Parts, Payment, PaymentClient,
    Redirects, SessionStream, Side, SideAnswer, StreamEnd, Streamed,
};
pub use error::{CallError, MoneyMoved, Retry, SessionFailure};
pub use layer::{PayLayer, PayService};
pub use origin::{Origin, OriginError, RealmClaim};
pub use outbox::CallId;
#[cfg(feature = "reqwest")]
pub use paying::{BuildError, HttpExchange, PayingClient};
