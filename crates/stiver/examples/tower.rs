//! A client as a tower stack: `PayLayer` over hyper's client, and whatever layers you like above.
//!
//! ```sh
//! cargo run -p stiver --all-features --example tower -- http://127.0.0.1:4020/reading
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it bought")]

#[path = "shared/mod.rs"]
pub(crate) mod shared;

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use shared::BoxError;
use stiver::{
    client::{PayLayer, Payment},
    env::Env,
};
use tower::{Layer, ServiceExt};

/// Fetches a URL, and pays for it when it asks. The body, and what was paid.
pub(crate) async fn buy(url: &str, env: &Env) -> Result<(String, Option<String>), BoxError> {
    let http = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let paying = PayLayer::new(shared::payments(env)?).layer(http);
    let request = Request::get(url).body(Full::<Bytes>::default())?;
    let response = paying.oneshot(request).await?;
    let payment = response.extensions().get::<Arc<Payment>>();
    let paid = payment.map(|payment| payment.terms.amount.to_string());
    // Read to its end: that is when the call is finished.
    let body = response.into_body().collect().await?.to_bytes();
    Ok((String::from_utf8_lossy(&body).into_owned(), paid))
}

#[tokio::main(flavor = "multi_thread")]
async fn main() -> Result<(), BoxError> {
    let url = std::env::args().nth(1).ok_or("give a URL")?;
    let (body, paid) = buy(&url, &stiver::env::native::env()).await?;
    println!("{body}\npaid: {}", paid.as_deref().unwrap_or("nothing"));
    Ok(())
}
