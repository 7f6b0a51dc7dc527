//! A reverse proxy that puts a price on any HTTP API.
//!
//! [`config::Config`] is read from one TOML file, [`Gateway::start`] runs it: the embedded ledger
//! and store are opened, what an earlier run left behind is finished, and requests are charged for
//! and forwarded. [`admin`] is how an operator looks at the books.
#![forbid(unsafe_code)]

pub mod admin;
pub mod books;
mod check;
pub mod config;
mod connections;
mod discovery;
pub mod init;
pub mod keys;
mod ledger_endpoint;
pub mod limits;
mod live;
pub mod observe;
pub mod path;
pub mod pricing;
mod proxy;
mod routes;
mod run;
pub mod secrets;
mod timer;
mod tls;
pub mod trace;
mod upstream;

pub use check::check;
pub use discovery::{LLMS_PATH, OPENAPI_PATH};
pub use ledger_endpoint::LEDGER_PATH;
pub use live::{EARLIER_MAX, ReloadError, Reloaded};
pub use routes::RoutesError;
pub use run::{Gateway, StartError, StopError};
pub use tls::TlsError;
pub use upstream::UpstreamSetupError;
