//! A client on reqwest: fetches a URL, and pays for it when it asks.
//!
//! ```sh
//! cargo run -p stiver --all-features --example reqwest -- http://127.0.0.1:4020/reading
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it bought")]

#[path = "shared/mod.rs"]
pub(crate) mod shared;

use bytes::Bytes;
use http::Request;
use shared::BoxError;
use stiver::{client::PayingClient, env::Env};

/// Fetches a URL, and pays for it when it asks. The body, and what was paid.
pub(crate) async fn buy(url: &str, env: &Env) -> Result<(String, Option<String>), BoxError> {
    let client = PayingClient::new(shared::payments(env)?)?;
    let answer = client.call(Request::get(url).body(Bytes::new())?).await?;
    let paid = answer
        .payment
        .as_ref()
        .map(|it| it.terms.amount.to_string());
    let body = answer.response.bytes().await?;
    Ok((String::from_utf8_lossy(&body).into_owned(), paid))
}

#[tokio::main(flavor = "multi_thread")]
async fn main() -> Result<(), BoxError> {
    let url = std::env::args().nth(1).ok_or("give a URL")?;
    let (body, paid) = buy(&url, &stiver::env::native::env()).await?;
    println!("{body}\npaid: {}", paid.as_deref().unwrap_or("nothing"));
    Ok(())
}
