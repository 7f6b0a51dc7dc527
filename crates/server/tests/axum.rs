//! The router layer and the extractor, on a simulated machine.
#![cfg(feature = "axum")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

use std::sync::Arc;

use axum::{Router, body::Body, routing::get};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use stiver_core::{Challenge, Credential};
use stiver_method::payer::{CallKey, Payer as _};
use stiver_server::{Gate, Paid, axum::charge};
use stiver_testkit::{
    fixtures, rail::HostileRail, simulation::Simulation, store_memory::MemoryStore,
};
use tower::ServiceExt as _;

struct Machine {
    sim: Simulation,
    rail: HostileRail,
    gate: Gate,
}

impl Machine {
    fn new() -> Self {
        let sim = Simulation::new(1);
        let rail = HostileRail::new("merchant", fixtures::usd());
        let clock = Arc::new(sim.clock.clone());
        let store = MemoryStore::new(clock, stiver_store::Limits::default(), 1);
        let gate = Gate::builder(
            fixtures::realm(),
            fixtures::key_ring(),
            Arc::new(store),
            sim.env(),
        )
        .method(Arc::new(rail.clone()))
        .currency(fixtures::usd())
        .build()
        .unwrap();
        Self { sim, rail, gate }
    }

    fn run<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        let slot = Arc::new(std::sync::Mutex::new(None));
        let to = Arc::clone(&slot);
        self.sim.env().spawner.spawn(Box::pin(async move {
            let value = future.await;
            *to.lock().unwrap() = Some(value);
        }));
        self.sim.block_on(std::future::poll_fn(move |_| {
            match slot.lock().unwrap().take() {
                Some(value) => std::task::Poll::Ready(value),
                None => std::task::Poll::Pending,
            }
        }))
    }

    /// Status, body and the first challenge of an answer.
    fn send(&self, app: &Router, path: &str, credential: Option<String>) -> Got {
        let mut request = Request::get(path);
        if let Some(credential) = credential {
            request = request.header("authorization", credential);
        }
        let request = request.body(Body::empty()).unwrap();
        let app = app.clone();
        self.run(async move {
            let (parts, body) = app.oneshot(request).await.unwrap().into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let lines = parts.headers.get_all("www-authenticate").iter();
            let challenge = Challenge::parse_all(lines.map(|line| line.as_bytes())).pop();
            Got {
                status: parts.status,
                receipt: parts.headers.contains_key("payment-receipt"),
                body: String::from_utf8(body.to_vec()).unwrap(),
                challenge: challenge.and_then(Result::ok),
            }
        })
    }

    fn pay(&self, challenge: Challenge) -> String {
        let payer = self.rail.payer("alice").without_nonces();
        let now = self.sim.env().clock.now();
        self.run(async move {
            let call = CallKey::from_bytes([1; 16]);
            let artefact = payer.prepare(&challenge, now, call).await.unwrap();
            let payload = payer.execute(&artefact).await.unwrap().payload;
            Credential {
                challenge,
                payload,
                source: None,
            }
            .to_header()
        })
    }
}

struct Got {
    status: StatusCode,
    receipt: bool,
    body: String,
    challenge: Option<Challenge>,
}

fn app(gate: &Gate) -> Router {
    let handler = get(async |paid: Paid| format!("{} from {}", paid.amount, paid.payer.unwrap()));
    let room =
        |price| Router::new().route("/room", handler.clone().layer(charge(gate, price).unwrap()));
    Router::new()
        .nest("/cheap", room("0.01 USD"))
        .nest("/same", room("0.01 USD"))
        .nest("/dear", room("2 USD"))
        .route(
            "/free",
            get(async |paid: Option<Paid>| format!("{}", paid.is_none())),
        )
        .route("/forgotten", get(async |_: Paid| "never"))
}

#[test]
fn handler_learns_who_paid_what() {
    let machine = Machine::new();
    let app = app(&machine.gate);
    let unpaid = machine.send(&app, "/cheap/room", None);
    assert_eq!(
        (unpaid.status, unpaid.receipt),
        (StatusCode::PAYMENT_REQUIRED, false)
    );
    let credential = machine.pay(unpaid.challenge.unwrap());
    let paid = machine.send(&app, "/cheap/room", Some(credential));
    assert_eq!((paid.status, paid.receipt), (StatusCode::OK, true));
    assert_eq!(paid.body, "0.01 USD from alice");
}

#[test]
fn nested_routes_are_told_apart_by_their_whole_path() {
    let machine = Machine::new();
    let app = app(&machine.gate);
    let unpaid = machine.send(&app, "/cheap/room", None);
    let credential = machine.pay(unpaid.challenge.unwrap());
    for path in ["/same/room", "/dear/room"] {
        let got = machine.send(&app, path, Some(credential.clone()));
        assert_eq!(got.status, StatusCode::PAYMENT_REQUIRED, "{path}");
        assert!(
            got.body.contains("another method, path or query"),
            "{}",
            got.body
        );
    }
    assert_eq!(machine.rail.movements().len(), 0);
}

#[test]
fn free_handlers_may_ask_and_forgotten_layers_are_found() {
    let machine = Machine::new();
    let app = app(&machine.gate);
    assert_eq!(machine.send(&app, "/free", None).body, "true");
    let forgotten = machine.send(&app, "/forgotten", None);
    assert_eq!(forgotten.status, StatusCode::INTERNAL_SERVER_ERROR);
}
