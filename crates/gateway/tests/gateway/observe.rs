//! What an operator sees: metrics, readiness, one line and one id for each request.

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use http::StatusCode;
use serde_json::Value;
use stiver_env::{
    Env,
    disk::{Disk, File, Lock},
};

use crate::common::{ROUTES, World, get, logs, paid, post, upstream::Upstream, with};

const METRICS: &str = "[metrics]\nlisten = \"127.0.0.1:0\"\n";

async fn observed() -> World {
    World::configured(Upstream::start().await, METRICS, ROUTES).await
}

/// The sample of a metric, as it is written.
#[track_caller]
fn sample<'t>(text: &'t str, name: &str) -> &'t str {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    assert!(line.is_some(), "{name} is missing:\n{text}");
    line.unwrap_or_default().trim_start_matches(' ')
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_tell_what_was_asked_paid_delivered_and_refused() {
    let world = observed().await;
    let keyed = |request| with(request, "idempotency-key", "one");
    let credential = world.pay(keyed(get("/v1/reading"))).await;
    for _ in 0..2 {
        let reply = world
            .ask(keyed(paid(get("/v1/reading"), &credential)))
            .await;
        reply.assert_paid();
    }
    world.upstream.set_broken(true);
    let order = world.pay(post("/v1/order", "x")).await;
    world.ask(paid(post("/v1/order", "x"), &order)).await;
    world.upstream.set_broken(false);
    world.ask(get("/free/a")).await;
    world.ask(get("/nowhere")).await;
    let (status, text) = world.observe("/metrics").await;
    assert_eq!(status, StatusCode::OK);
    assert!(text.ends_with("# EOF\n"));
    let ledger = |state: &str| format!("{{method=\"ledger\",currency=\"usd\",state=\"{state}\"}}");
    for (name, value) in [
        ("stiver_challenges_total".to_owned(), "2"),
        (format!("stiver_payments_total{}", ledger("settled")), "2"),
        (format!("stiver_payments_total{}", ledger("delivered")), "1"),
        (
            format!("stiver_payment_units_total{}", ledger("settled")),
            "51000.0",
        ),
        (
            format!("stiver_payment_units_total{}", ledger("delivered")),
            "1000.0",
        ),
        ("stiver_replays_total".to_owned(), "1"),
        (
            "stiver_refusals_total{problem=\"payment-required\"}".to_owned(),
            "2",
        ),
        (
            "stiver_refusals_total{problem=\"upstream-failed\"}".to_owned(),
            "1",
        ),
        (
            "stiver_refusals_total{problem=\"not-found\"}".to_owned(),
            "1",
        ),
        (
            "stiver_request_duration_seconds_count{route=\"/v1/reading\",outcome=\"delivered\"}"
                .to_owned(),
            "1",
        ),
        (
            "stiver_request_duration_seconds_count{route=\"/free/**\",outcome=\"free\"}".to_owned(),
            "1",
        ),
        (
            "stiver_request_duration_seconds_count{route=\"-\",outcome=\"unrouted\"}".to_owned(),
            "1",
        ),
        (
            "stiver_upstream_duration_seconds_count{upstream=\"default\"}".to_owned(),
            "3",
        ),
        ("stiver_ready".to_owned(), "1.0"),
        ("stiver_requests_in_flight".to_owned(), "0"),
        ("stiver_claims{state=\"delivered\"}".to_owned(), "1.0"),
        ("stiver_store_log_failed".to_owned(), "0.0"),
        ("stiver_events_lost_total".to_owned(), "0"),
        ("stiver_spooled_bytes".to_owned(), "0.0"),
    ] {
        assert_eq!(sample(&text, &name), value, "{name}:\n{text}");
    }
    assert!(sample(&text, "stiver_ledger_log_write_duration_seconds_count") > "0");
    assert!(!text.contains("/nowhere"), "no path of a client is a label");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_paid_for_and_not_delivered_is_exposed_until_it_is() {
    let world = observed().await;
    world.upstream.set_broken(true);
    let credential = world.pay(get("/v1/reading")).await;
    world.ask(paid(get("/v1/reading"), &credential)).await;
    let units = "stiver_undelivered_units{method=\"ledger\",currency=\"usd\"}";
    let (_, text) = world.observe("/metrics").await;
    assert_eq!(sample(&text, units), "1000.0");
    let status = world.admin("/v1/status").await;
    assert_eq!(status["undelivered"][0]["amount"]["units"], "1000");
    assert_eq!(status["undelivered"][0]["payments"], 1);
    world.upstream.set_broken(false);
    let reply = world.ask(paid(get("/v1/reading"), &credential)).await;
    reply.assert_paid();
    let (_, text) = world.observe("/metrics").await;
    assert!(!text.contains(units), "{text}");
    let status = world.admin("/v1/status").await;
    assert_eq!(status["undelivered"], Value::Array(Vec::new()));
    assert_eq!(status["ready"]["ready"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shadow_mode_counts_what_it_would_have_charged() {
    let told = format!("shadow = true\n{METRICS}");
    let world = World::configured(Upstream::start().await, &told, ROUTES).await;
    for _ in 0..3 {
        assert_eq!(world.ask(get("/v1/reading")).await.status, 200);
    }
    let (_, text) = world.observe("/metrics").await;
    let free = "stiver_request_duration_seconds_count{route=\"/v1/reading\",outcome=\"free\"}";
    for (name, value) in [
        (free, "3"),
        (
            "stiver_shadow_requests_total{verdict=\"payment-required\"}",
            "3",
        ),
        ("stiver_shadow_units_total{currency=\"usd\"}", "3000.0"),
    ] {
        assert_eq!(sample(&text, name), value, "{name}:\n{text}");
    }
    assert!(
        !text.contains("stiver_payments_total{"),
        "nothing is charged"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_is_down_is_counted_as_not_reached() {
    let world = World::configured(Upstream::down(), METRICS, ROUTES).await;
    assert_eq!(world.ask(get("/free/a")).await.status, 502);
    let (_, text) = world.observe("/metrics").await;
    let errors = "stiver_upstream_errors_total{upstream=\"default\",reached=\"no\"}";
    assert_eq!(sample(&text, errors), "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "a test starts its own tasks")]
async fn readiness_turns_false_as_soon_as_the_gateway_stops() {
    let mut world = observed().await;
    assert_eq!(
        world.observe("/healthz").await,
        (StatusCode::OK, "ok\n".to_owned())
    );
    assert_eq!(world.observe("/readyz").await.0, StatusCode::OK);
    world.upstream.set_slow();
    let credential = world.pay(get("/v1/reading")).await;
    let (address, upstream) = (world.address(), world.upstream.clone());
    let metrics = world.metrics_address();
    let request = paid(get("/v1/reading"), &credential);
    let asking = tokio::spawn(crate::common::ask_at(address, request));
    upstream.arrived().await;
    let stopping = tokio::spawn(world.take().stop());
    let refused = loop {
        let reply = crate::common::ask_at(metrics, get("/readyz")).await;
        if reply.status != StatusCode::OK {
            break reply;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    let ready: Value = serde_json::from_slice(&refused.body).unwrap();
    assert_eq!(ready["ready"], false);
    assert!(!stopping.is_finished());
    upstream.release();
    asking.await.unwrap().assert_paid();
    stopping.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_turns_false_when_a_log_has_failed() {
    let broken = Arc::new(AtomicBool::new(false));
    let native = stiver_env::native::env();
    let disk = Breaking {
        disk: native.disk.clone(),
        broken: Arc::clone(&broken),
    };
    let env = Env {
        disk: Arc::new(disk),
        ..native
    };
    let world = World::on(env, Upstream::start().await, METRICS, ROUTES).await;
    let credential = world.pay(get("/v1/reading")).await;
    broken.store(true, Ordering::SeqCst);
    let reply = world.ask(paid(get("/v1/reading"), &credential)).await;
    assert_eq!(reply.status, 503, "{reply:?}");
    let (status, text) = world.observe("/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let ready: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(ready["checks"][0]["name"], "store");
    assert_eq!(ready["checks"][0]["ok"], false);
    assert!(
        ready["checks"][0]["why"]
            .as_str()
            .unwrap()
            .contains("the disk is gone")
    );
    // It is alive, and it still tells.
    assert_eq!(world.observe("/healthz").await.0, StatusCode::OK);
    let (_, text) = world.observe("/metrics").await;
    assert_eq!(sample(&text, "stiver_store_log_failed"), "1.0");
    assert_eq!(sample(&text, "stiver_up{check=\"store\"}"), "0.0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_has_an_id_and_one_line_in_the_log() {
    let world = observed().await;
    let named = with(
        get("/v1/reading?secret=query"),
        "x-request-id",
        "abc-123.d_e",
    );
    let reply = world.ask(named).await;
    assert_eq!(reply.header("x-request-id"), Some("abc-123.d_e"));
    world
        .ask(with(get("/free/a"), "x-request-id", "not fit!"))
        .await;
    let seen = world.upstream.seen();
    let fresh = seen[0].headers["x-request-id"].to_str().unwrap().to_owned();
    assert!(fresh.len() > 16 && fresh != "not fit!", "{fresh}");
    let credential = world.pay(get("/v1/reading")).await;
    world.ask(paid(get("/v1/reading"), &credential)).await;
    world.ask(get("/free/b")).await;
    let text = logs::text();
    let line = |needle: &str| {
        let lines: Vec<_> = text
            .lines()
            .filter(|line| line.contains("stiver_gateway::access") && line.contains(needle))
            .collect();
        assert_eq!(lines.len(), 1, "{needle}: {lines:?}");
        lines[0].to_owned()
    };
    let unpaid = line("request_id=\"abc-123.d_e\"");
    for part in [
        "method=\"GET\"",
        "route=\"/v1/reading\"",
        "status=402",
        "outcome=\"challenged\"",
        "problem=\"payment-required\"",
        "duration_us=",
    ] {
        assert!(unpaid.contains(part), "{part}: {unpaid}");
    }
    assert!(!unpaid.contains("secret=query"), "{unpaid}");
    assert!(line(&fresh).contains("outcome=\"free\""));
    let seen = world.upstream.seen();
    let paid = line(seen[1].headers["x-request-id"].to_str().unwrap());
    assert!(
        paid.contains("outcome=\"delivered\"") && paid.contains("amount=0.001"),
        "{paid}"
    );
}

/// A disk whose files stop taking anything.
struct Breaking {
    disk: Arc<dyn Disk>,
    broken: Arc<AtomicBool>,
}

impl Breaking {
    fn check(broken: &AtomicBool) -> io::Result<()> {
        match broken.load(Ordering::SeqCst) {
            true => Err(io::Error::other("the disk is gone")),
            false => Ok(()),
        }
    }
}

impl Disk for Breaking {
    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn File>> {
        let file = self.disk.open(path, create)?;
        let broken = Arc::clone(&self.broken);
        Ok(Box::new(BreakingFile { file, broken }))
    }
    fn is_private(&self, path: &Path) -> io::Result<bool> {
        self.disk.is_private(path)
    }
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        self.disk.read(path, limit)
    }
    fn write_atomic(&self, path: &Path, bytes: &[u8], private: bool) -> io::Result<()> {
        self.disk.write_atomic(path, bytes, private)
    }
    fn list(&self, folder: &Path) -> io::Result<Vec<std::path::PathBuf>> {
        self.disk.list(folder)
    }
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        self.disk.create_folder(folder)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }
    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.disk.sync_folder(folder)
    }
    fn lock(&self, folder: &Path) -> io::Result<Box<dyn Lock>> {
        self.disk.lock(folder)
    }
}

struct BreakingFile {
    file: Box<dyn File>,
    broken: Arc<AtomicBool>,
}

impl File for BreakingFile {
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }
    fn sync(&mut self) -> io::Result<()> {
        Breaking::check(&self.broken)?;
        self.file.sync()
    }
    fn allocate(&mut self, length: u64) -> io::Result<()> {
        self.file.allocate(length)
    }
    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.file.truncate(length)
    }
}
