//! The mpp crate as a peer: a server that charges, and a client that is told by lines of JSON what
//! to fetch.

mod ledger;
mod payee;
mod payer;

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

/// What this peer is to be, from the environment.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Setting {
    /// Seed of the payer's key, hex.
    seed: String,
    /// Where orders are brought.
    endpoint: String,
    ledger: String,
    receipt_key: String,
    recipient: String,
    realm: String,
    secret: String,
    amount: String,
}

#[tokio::main]
async fn main() {
    let setting = std::env::var("STIVER_PEER").expect("STIVER_PEER says what to be");
    let setting: Setting = serde_json::from_str(&setting).expect("STIVER_PEER is JSON");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    println!(
        "listening on http://{}",
        listener.local_addr().expect("it is bound")
    );
    let router = payee::router(&setting);
    tokio::spawn(async move { axum::serve(listener, router).await });
    let payer = Arc::new(payer::Payer::new(&setting));
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let payer = Arc::clone(&payer);
        tokio::spawn(async move {
            let request: Value = serde_json::from_str(&line).expect("a line of JSON");
            let mut answer = match payer.operate(&request).await {
                Ok(answer) => answer,
                Err(error) => json!({"ok": false, "error": error}),
            };
            answer["call"] = request["call"].clone();
            println!("{answer}");
        });
    }
}
