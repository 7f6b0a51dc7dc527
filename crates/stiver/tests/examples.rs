//! Runs the examples against each other, over real sockets, and holds the guide to its example.
#![cfg(all(feature = "client", feature = "server"))]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]
#![expect(
    clippy::duplicate_mod,
    reason = "each example is a program with its own parts"
)]

#[expect(dead_code, reason = "its main is for `cargo run`")]
#[path = "../examples/axum.rs"]
mod axum_example;
#[expect(dead_code, reason = "its main is for `cargo run`")]
#[path = "../examples/hyper.rs"]
mod hyper_example;
#[expect(dead_code, reason = "its main is for `cargo run`")]
#[path = "../examples/reqwest.rs"]
mod reqwest_example;
#[expect(dead_code, reason = "its main is for `cargo run`")]
#[path = "../examples/tower.rs"]
mod tower_example;

use tokio::net::TcpListener;

async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn axum_charges_and_both_clients_pay_it() {
    let env = stiver::env::native::env();
    let folder = tempfile::tempdir().unwrap();
    let bar = axum_example::shared::bar().unwrap();
    let gate = axum_example::shared::gate(folder.path(), bar.clone(), &env);
    let gate = gate.await.unwrap();
    let (listener, url) = listener().await;
    env.spawner.spawn(Box::pin(async move {
        axum_example::serve(listener, gate).await.unwrap();
    }));
    let (body, paid) = reqwest_example::buy(&format!("{url}/about"), &env)
        .await
        .unwrap();
    assert_eq!((body.as_str(), paid), ("A reading costs 0.01 USD.", None));
    let reading = format!("{url}/reading");
    for lines in 1..=2 {
        let bought = if lines == 1 {
            reqwest_example::buy(&reading, &env).await
        } else {
            tower_example::buy(&reading, &env).await
        };
        let (body, paid) = bought.unwrap();
        assert_eq!(body, "21.5 degrees, for 0.01 USD from anna");
        assert_eq!(paid.as_deref(), Some("0.01 USD"));
        let tab = bar.tab.lock().unwrap();
        assert_eq!(tab.len(), lines);
        assert!(tab.values().all(|line| line.amount.to_wire() == "10000"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_hyper_charges_for_every_request() {
    let env = stiver::env::native::env();
    let folder = tempfile::tempdir().unwrap();
    let bar = hyper_example::shared::bar().unwrap();
    let gate = hyper_example::shared::gate(folder.path(), bar.clone(), &env);
    let gate = gate.await.unwrap();
    let (listener, url) = listener().await;
    env.spawner.spawn(Box::pin(async move {
        hyper_example::serve(listener, gate).await.unwrap();
    }));
    let (body, paid) = reqwest_example::buy(&url, &env).await.unwrap();
    assert_eq!(body, "21.5 degrees, for 0.01 USD");
    assert_eq!(paid.as_deref(), Some("0.01 USD"));
    assert_eq!(bar.tab.lock().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stranger_to_the_bar_gets_nothing_and_owes_nothing() {
    let env = stiver::env::native::env();
    let folder = tempfile::tempdir().unwrap();
    let mut bar = axum_example::shared::bar().unwrap();
    std::sync::Arc::get_mut(&mut bar).unwrap().guests.clear();
    let gate = axum_example::shared::gate(folder.path(), bar.clone(), &env);
    let gate = gate.await.unwrap();
    let (listener, url) = listener().await;
    env.spawner.spawn(Box::pin(async move {
        axum_example::serve(listener, gate).await.unwrap();
    }));
    let bought = reqwest_example::buy(&format!("{url}/reading"), &env).await;
    assert!(bought.is_err(), "{bought:?}");
    assert!(bar.tab.lock().unwrap().is_empty());
}

const METHOD: &str = include_str!("../examples/shared/tab.rs");
const GUIDE: &str = include_str!("../../../docs/guide/write-a-method.md");

/// The guide shows the example in parts: all of it, in order, and nothing else.
#[test]
fn guide_shows_the_code_that_these_tests_run() {
    let shown: String = GUIDE
        .split("```rust\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    let bare = |text: &str| {
        let lines = text.lines().map(str::trim_end);
        let lines: Vec<String> = lines
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect();
        lines.join("\n")
    };
    assert!(
        bare(&shown) == bare(METHOD),
        "docs/guide/write-a-method.md does not show examples/shared/tab.rs as it is"
    );
}

#[test]
fn payee_of_a_method_fits_into_a_hundred_lines() {
    let from = METHOD.find("impl PayeeCharge for Bar").unwrap();
    let block = &METHOD[from..];
    let lines = block[..block.find("\n}\n").unwrap()].lines().count() + 1;
    assert!(lines <= 100, "{lines} lines");
}
