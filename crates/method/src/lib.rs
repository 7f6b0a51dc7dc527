//! The seams a payment method implements. No runtime, no HTTP.
//!
//! Whatever moves money is three calls: `prepare` makes an [`Artefact`](artefact::Artefact)
//! (nothing moves), `execute` sends it (repeatable), `lookup` tells what became of it. The pure
//! half is synchronous.
#![forbid(unsafe_code)]

pub mod artefact;
pub mod key;
pub mod payee;
pub mod payer;
pub mod session;
pub mod signer;

use std::{future::Future, pin::Pin};

/// A boxed future that no runtime is needed to name.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
