//! An axum application whose `/reading` costs 0.01 USD. Pay it with the example `reqwest`:
//!
//! ```sh
//! cargo run -p stiver --all-features --example axum -- 127.0.0.1:4020
//! ```
#![expect(clippy::print_stdout, reason = "an example says where it listens")]

#[path = "shared/mod.rs"]
pub(crate) mod shared;

use axum::{Router, routing::get};
use shared::BoxError;
use stiver::server::{Gate, Paid, axum::charge};
use tokio::net::TcpListener;

/// Serves until the listener fails.
pub(crate) async fn serve(listener: TcpListener, gate: Gate) -> Result<(), BoxError> {
    let app = Router::new()
        .route("/reading", get(reading))
        .route_layer(charge(&gate, "0.01 USD")?)
        .route("/about", get("A reading costs 0.01 USD."));
    Ok(axum::serve(listener, app).await?)
}

async fn reading(paid: Paid) -> String {
    let payer = paid.payer.as_deref().unwrap_or("somebody");
    format!("21.5 degrees, for {} from {payer}", paid.amount)
}

#[tokio::main(flavor = "multi_thread")]
async fn main() -> Result<(), BoxError> {
    let address = std::env::args().nth(1);
    let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:0")).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let env = stiver::env::native::env();
    let folder = std::env::temp_dir().join("stiver-example-axum");
    let gate = shared::gate(&folder, shared::bar()?, &env).await?;
    serve(listener, gate).await
}
