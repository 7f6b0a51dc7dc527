//! A configuration and secrets that change while requests come and challenges are out.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use http::StatusCode;
use stiver_core::{Challenge, problem::ProblemKind};
use stiver_gateway::ReloadError;

use crate::common::{READING, World, get, paid, post, upstream::Upstream};

/// Writes the configuration in force with a change.
fn rewrite(world: &World, from: &str, to: &str) {
    let text = world.config.to_toml();
    assert!(text.contains(from), "{from}\n{text}");
    std::fs::write(&world.config.file, text.replacen(from, to, 1)).unwrap();
}

fn amount(challenge: &Challenge) -> String {
    let amount = challenge.params.request.object().get("amount").cloned();
    amount.unwrap().as_str().unwrap().to_owned()
}

/// Puts a route in front of all others.
fn add_route(world: &World, route: &str) {
    rewrite(
        world,
        "[[route]]",
        &format!("[[route]]\n{route}\n[[route]]"),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn challenges_at_the_old_price_are_honoured_after_a_reload() {
    let world = World::new().await;
    let early = world.pay(get("/v1/reading")).await;
    let other = world.pay(get("/v1/other")).await;
    add_route(&world, "path = \"/v1/**\"\nprice = \"0.003 USD\"");
    let reloaded = world.gateway().reload().await.unwrap();
    assert!(reloaded.changed);
    assert_eq!(reloaded.routes, world.config.routes.len() + 1);
    let late = world.challenge(get("/v1/reading")).await;
    assert_eq!(amount(&late), "3000");
    for (target, credential) in [("/v1/reading", early), ("/v1/other", other)] {
        let reply = world.ask(paid(get(target), &credential)).await;
        reply.assert_paid();
    }
    assert_eq!(world.spent().await, 2 * READING);
    let credential = world.credential(late).await;
    let reply = world.ask(paid(get("/v1/reading"), &credential)).await;
    reply.assert_paid();
    assert_eq!(world.spent().await, 5 * READING);
    // Each reload keeps what those before it were asked to keep.
    let between = world.pay(get("/v1/reading")).await;
    add_route(&world, "path = \"/v1/**\"\nprice = \"0.004 USD\"");
    world.gateway().reload().await.unwrap();
    add_route(&world, "path = \"/v1/**\"\nprice = \"0.005 USD\"");
    world.gateway().reload().await.unwrap();
    let reply = world.ask(paid(get("/v1/reading"), &between)).await;
    reply.assert_paid();
    assert_eq!(world.spent().await, 8 * READING);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_price_is_of_its_own_route_only() {
    let world = World::new().await;
    let cheap = world.pay(get("/v1/reading")).await;
    add_route(&world, "path = \"/v1/reading\"\naccess = \"denied\"");
    world.gateway().reload().await.unwrap();
    let reply = world.ask(paid(get("/v1/reading"), &cheap)).await;
    assert_eq!(
        reply.problem().0,
        ProblemKind::NotFound,
        "denied means denied"
    );
    let reply = world.ask(paid(post("/v1/order", "one"), &cheap)).await;
    assert_eq!(reply.problem().0, ProblemKind::InvalidChallenge);
    assert_eq!(world.spent().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_that_cannot_be_leaves_everything_as_it_was() {
    let world = World::new().await;
    let credential = world.pay(get("/v1/reading")).await;
    let table = [
        ("realm = \"gateway-test\"", "realm = \"other\"", "realm"),
        (
            "connections_max = 10000",
            "connections_max = 5",
            "connections_max",
        ),
        (
            "address = \"127.0.0.1:0\"",
            "address = \"127.0.0.1:1\"",
            "[[listener]]",
        ),
        (
            "shutdown_grace_s = 30",
            "shutdown_grace_s = 3",
            "shutdown_grace_s",
        ),
    ];
    for (from, to, key) in table {
        rewrite(&world, from, to);
        let error = world.gateway().reload().await.unwrap_err();
        assert!(matches!(&error, ReloadError::NeedsRestart { keys } if keys.len() == 1));
        let told = error.to_string();
        assert!(told.contains(key) && told.contains("restart"), "{told}");
    }
    rewrite(&world, "price = ", "prise = ");
    let error = world.gateway().reload().await.unwrap_err();
    assert!(matches!(error, ReloadError::Read(_)), "{error}");
    let secrets = std::fs::read(world.secret_file()).unwrap();
    std::fs::write(world.secret_file(), "hunter2").unwrap();
    rewrite(&world, "0.001 USD", "0.002 USD");
    let error = world.gateway().reload().await.unwrap_err();
    assert!(matches!(error, ReloadError::Key(_)), "{error}");
    std::fs::write(world.secret_file(), secrets).unwrap();
    let reply = world.ask(paid(get("/v1/reading"), &credential)).await;
    reply.assert_paid();
    let challenge = world.challenge(get("/v1/reading")).await;
    assert_eq!(amount(&challenge), "1000");
}

/// Payers ask, pay and are served without a pause, while secrets rotate, prices change and the
/// configuration is read again.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[expect(clippy::disallowed_methods, reason = "a test starts its own tasks")]
async fn rotations_and_reloads_under_load_refuse_nobody() {
    const PAYERS: usize = 6;
    const ROUNDS: usize = 12;
    let world = Arc::new(World::new().await);
    let (over, served) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let payers: Vec<_> = (0..PAYERS)
        .map(|_| {
            let (world, over, served) = (world.clone(), over.clone(), served.clone());
            tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    let credential = world.pay(get("/v1/reading")).await;
                    let reply = world.ask(paid(get("/v1/reading"), &credential)).await;
                    reply.assert_paid();
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    // Each of these is answered only after the changes.
    let mut held = Vec::new();
    for round in 0..ROUNDS {
        held.push(world.pay(get("/v1/reading")).await);
        let before = served.load(Ordering::Relaxed);
        let reply = ask_admin(&world, "/v1/secrets/rotate").await;
        assert_eq!(reply.0, StatusCode::OK, "{}", reply.1);
        let price = format!(
            "path = \"/v1/reading\"\nprice = \"0.00{} USD\"",
            round % 9 + 1
        );
        add_route(&world, &price);
        let reply = ask_admin(&world, "/v1/reload").await;
        assert_eq!(reply.0, StatusCode::OK, "{}", reply.1);
        while served.load(Ordering::Relaxed) < before + PAYERS {
            tokio::task::yield_now().await;
        }
    }
    over.store(true, Ordering::Relaxed);
    for payer in payers {
        payer.await.unwrap();
    }
    for credential in held {
        let reply = world.ask(paid(get("/v1/reading"), &credential)).await;
        reply.assert_paid();
    }
    assert!(served.load(Ordering::Relaxed) >= PAYERS * ROUNDS);
}

/// Posts to the admin socket.
async fn ask_admin(world: &World, target: &str) -> (StatusCode, String) {
    let reply = world.ask_admin(post(target, "")).await;
    (
        reply.status,
        String::from_utf8_lossy(&reply.body).into_owned(),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_outlives_a_restart() {
    let mut world = World::new().await;
    let credential = world.pay(get("/v1/reading")).await;
    let before = std::fs::read_to_string(world.secret_file()).unwrap();
    let (status, told) = ask_admin(&world, "/v1/secrets/rotate").await;
    assert_eq!(status, StatusCode::OK);
    assert!(told.contains("previousUntil"), "{told}");
    let after = std::fs::read_to_string(world.secret_file()).unwrap();
    let old = before.strip_prefix("current ").unwrap().trim();
    assert!(
        after.contains(&format!("previous {old} until ")),
        "kept as a previous one"
    );
    assert!(!told.contains(old), "the secret is told to nobody");
    world.stop().await;
    world.start().await;
    let reply = world.ask(paid(get("/v1/reading"), &credential)).await;
    reply.assert_paid();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_change_with_a_reload() {
    let world = World::new().await;
    world.challenge(get("/v1/reading")).await;
    let limited = "[limits.total]\nper_second = 1\nburst = 1\n\n[limits]";
    rewrite(&world, "[limits]", limited);
    world.gateway().reload().await.unwrap();
    world.challenge(get("/v1/reading")).await;
    let mut refused = false;
    for _ in 0..100 {
        let reply = world.ask(get("/v1/reading")).await;
        refused |= reply.status == StatusCode::TOO_MANY_REQUESTS;
    }
    assert!(refused, "the new limit holds");
    std::fs::write(&world.config.file, world.config.to_toml()).unwrap();
    world.gateway().reload().await.unwrap();
    world.challenge(get("/v1/reading")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn free_requests_and_connections_go_on_where_their_configuration_is_as_it_was() {
    let upstream = Upstream::start().await;
    let routes = "\n[[route]]\npath = \"/v1/some\"\nprice = \"0.001 USD\"\n\
        free_quota = { requests = 2, per = \"day\" }\n";
    let world = World::configured(upstream, "", routes).await;
    std::fs::write(&world.config.file, world.config.to_toml()).unwrap();
    let free = async || world.ask(get("/v1/some")).await.status == StatusCode::OK;
    assert!(free().await);
    world.gateway().reload().await.unwrap();
    assert!(free().await);
    assert_eq!(world.upstream.connections(), 1, "the connection goes on");
    // The price changes, and the quota does not; and a route comes before it.
    rewrite(&world, "\"0.001 USD\"", "\"0.002 USD\"");
    world.gateway().reload().await.unwrap();
    assert!(!free().await, "what was used stays used");
    let text = std::fs::read_to_string(&world.config.file).unwrap();
    assert!(text.contains("requests = 2"), "{text}");
    let more = text.replace("requests = 2", "requests = 1");
    std::fs::write(&world.config.file, more).unwrap();
    world.gateway().reload().await.unwrap();
    assert!(free().await, "another quota begins anew");
    assert_eq!(world.upstream.connections(), 1);
    let text = std::fs::read_to_string(&world.config.file).unwrap();
    let text = text.replace("requests = 1", "requests = 3");
    let timeout = "connect_timeout_s = ";
    let (head, rest) = text.split_once(timeout).unwrap();
    let (_, rest) = rest.split_once('\n').unwrap();
    std::fs::write(&world.config.file, format!("{head}{timeout}7\n{rest}")).unwrap();
    world.gateway().reload().await.unwrap();
    assert!(free().await);
    assert_eq!(world.upstream.connections(), 2, "and so do its connections");
}
