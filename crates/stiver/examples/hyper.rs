//! Plain hyper, without a framework: every request costs 0.01 USD.
//!
//! ```sh
//! cargo run -p stiver --all-features --example hyper -- 127.0.0.1:4020
//! ```
#![expect(clippy::print_stdout, reason = "an example says where it listens")]

#[path = "shared/mod.rs"]
pub(crate) mod shared;

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use shared::BoxError;
use stiver::server::{
    Gate, Paid,
    tower::{PaymentLayer, RequestBody},
};
use tokio::net::TcpListener;
use tower::{Layer, service_fn};

/// Serves until the listener fails.
pub(crate) async fn serve(listener: TcpListener, gate: Gate) -> Result<(), BoxError> {
    let spawner = gate.env().spawner.clone();
    let route = gate.charge("0.01 USD")?;
    let service = PaymentLayer::fixed(gate, route).layer(service_fn(reading));
    loop {
        let (stream, _) = listener.accept().await?;
        let service = TowerToHyperService::new(service.clone());
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        spawner.spawn(Box::pin(async move {
            // A client that goes away is no fault of the server's: its payment is journaled.
            let _ = connection.await;
        }));
    }
}

async fn reading(
    request: Request<RequestBody<Incoming>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let paid = request.extensions().get::<Paid>();
    let text = match paid {
        Some(paid) => format!("21.5 degrees, for {}", paid.amount),
        None => "this one was free".to_owned(),
    };
    Ok(Response::new(Full::from(text)))
}

#[tokio::main(flavor = "multi_thread")]
async fn main() -> Result<(), BoxError> {
    let address = std::env::args().nth(1);
    let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:0")).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let env = stiver::env::native::env();
    let folder = std::env::temp_dir().join("stiver-example-hyper");
    let gate = shared::gate(&folder, shared::bar()?, &env).await?;
    serve(listener, gate).await
}
