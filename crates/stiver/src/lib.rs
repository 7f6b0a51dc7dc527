//! Charge and pay over HTTP: machine payments with `402 Payment Required`.
//!
//! A thin facade: it re-exports what a first program needs, under two features. Payment methods are
//! crates of their own, such as `stiver-method-ledger`, and touch nothing here.
//!
//! | feature | what it brings |
//! |---|---|
//! | – | [`core`]: the codecs and rules; [`channel`]: channels and vouchers; without I/O |
//! | `server` | `server`: the gate that charges for requests; `store`: what it remembers |
//! | `client` | `client`: the client that pays |
//! | either | `method`: the seams of payment methods; `env`: the outside world, injected |
//!
//! # Charging
//!
//! A gate is made of a realm, the secrets that bind its challenges, a store and a payment method.
//! It becomes a layer of an axum router:
//!
#![cfg_attr(feature = "server", doc = "```")]
#![cfg_attr(not(feature = "server"), doc = "```text")]
//! use std::{error::Error, sync::Arc};
//! use axum::{Router, routing::get};
//! use stiver::{
//!     core::{Currency, binding::{KeyRing, Secret}, name::Realm},
//!     env::Env,
//!     method::payee::PayeeCharge,
//!     server::{Gate, Paid, axum::charge},
//!     store::Store,
//! };
//!
//! fn app(
//!     secret: &[u8],
//!     store: Arc<dyn Store>,
//!     method: Arc<dyn PayeeCharge>,
//!     env: Env,
//! ) -> Result<Router, Box<dyn Error>> {
//!     let realm = Realm::new("api.example.com")?;
//!     let keys = KeyRing::new(Secret::configured(secret)?);
//!     let gate = Gate::builder(realm, keys, store, env)
//!         .method(method)
//!         .currency(Currency::new("usd", 6)?)
//!         .build()?;
//!     Ok(Router::new()
//!         .route("/reading", get(|_: Paid| async { "21.5 degrees" }))
//!         .layer(charge(&gate, "0.01 USD")?))
//! }
//! ```
//!
//! # Paying
//!
//! A client is made of payment methods, a policy that is asked before anything is signed, a
//! journal, and a memory of whom was paid before:
//!
#![cfg_attr(feature = "client", doc = "```")]
#![cfg_attr(not(feature = "client"), doc = "```text")]
//! use std::{error::Error, sync::Arc};
//! use stiver::{
//!     client::{
//!         Options, Parts, PayingClient, PaymentClient, outbox::Outbox, pins::Pins,
//!         policy::MaxAmount,
//!     },
//!     core::Currency,
//!     env::Env,
//!     method::payer::Payer,
//! };
//!
//! fn client(
//!     payer: Arc<dyn Payer>,
//!     outbox: Arc<dyn Outbox>,
//!     pins: Arc<dyn Pins>,
//!     env: Env,
//! ) -> Result<PayingClient, Box<dyn Error>> {
//!     let most = Currency::new("usd", 6)?.parse_decimal("0.05")?;
//!     let policy = Arc::new(MaxAmount::new(most));
//!     let options = Options::default();
//!     let parts = Parts { env, payers: vec![payer], policy, outbox, pins, options };
//!     Ok(PayingClient::new(PaymentClient::new(parts))?)
//! }
//! ```
#![forbid(unsafe_code)]

pub use stiver_channel as channel;
#[cfg(feature = "client")]
pub use stiver_client as client;
pub use stiver_core as core;
#[cfg(any(feature = "client", feature = "server"))]
pub use stiver_env as env;
#[cfg(any(feature = "client", feature = "server"))]
pub use stiver_method as method;
#[cfg(feature = "server")]
pub use stiver_server as server;
#[cfg(feature = "server")]
pub use stiver_store as store;
