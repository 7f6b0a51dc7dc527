//! Prices that depend on the request, and settlement that follows the handler, over HTTP.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::StreamExt as _;
use stiver_env::BoxFuture;
use stiver_method::artefact::RefusalKind;
use stiver_server::{
    Offer,
    route::Settle,
    tower::{Price, Shadow},
};
use stiver_testkit::{fixtures, rail::Step};

use super::*;

/// A price for each byte `x` of the body, found by a closure.
fn by_the_x(world: &World) -> PaymentLayer {
    let rail = world.rail.clone();
    PaymentLayer::new(world.gate.clone(), move |_: &Parts, body: &ReadBody| {
        let bytes = body.bytes().expect("a closure sees the body");
        let count = bytes.iter().filter(|byte| **byte == b'x').count();
        let price = fixtures::micro_usd(u128::try_from(count).unwrap());
        let offer = Offer::new(Arc::new(rail.clone()), price).unwrap();
        Pricing::Priced(Arc::new(Route::new(vec![offer]).unwrap().computed("1")))
    })
}

#[test]
fn closure_prices_a_request_by_its_body_and_the_service_gets_the_same_bytes() {
    let world = World::new(1);
    let layer = by_the_x(&world);
    let site = Site::with(world, layer);
    let order = || {
        request(
            "POST",
            "/order",
            pieces(vec![Ok("xx".into()), Ok("yx".into())]),
        )
    };
    let credential = site.pay(order());
    assert_eq!(site.send(paid(order(), &credential)).status, 200);
    let seen = site.seen.lock().unwrap();
    assert_eq!(seen.bodies[0], "xxyx");
    assert_eq!(seen.paid[0].as_ref().unwrap().amount.units(), 3);
}

#[test]
fn challenge_for_a_cheap_body_does_not_pay_for_a_dear_one() {
    let world = World::new(2);
    let layer = by_the_x(&world);
    let site = Site::with(world, layer);
    let credential = site.pay(request("POST", "/order", full("x")));
    let dear = request("POST", "/order", full("xxxxxxxx"));
    site.send(paid(dear, &credential))
        .is_problem(ProblemKind::InvalidChallenge);
    assert_eq!((site.runs(), site.world.payments()), (0, 0));
}

/// A price by a header field, which counts how often it is asked.
struct ByHeader {
    world_rail: stiver_testkit::rail::HostileRail,
    asked: Arc<AtomicUsize>,
}

impl ByHeader {
    fn route(&self, parts: &Parts, units: u128) -> Pricing {
        let value = parts.headers.get("x-units");
        let value = value.map_or(&b""[..], |value| value.as_bytes());
        let mut digest = [0; 32];
        digest[..value.len()].copy_from_slice(value);
        let price = fixtures::micro_usd(units);
        let offer = Offer::new(Arc::new(self.world_rail.clone()), price).unwrap();
        let route = Route::new(vec![offer]).unwrap().computed("1");
        Pricing::Priced(Arc::new(route.priced_inputs(digest)))
    }
}

impl Price for ByHeader {
    fn price<'a>(&'a self, parts: &'a Parts, _: &'a ReadBody) -> BoxFuture<'a, Pricing> {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst);
        // Each time dearer: what a challenge says holds all the same.
        let units = u128::try_from(asked).unwrap() + 7;
        Box::pin(ready(self.route(parts, units)))
    }

    fn honour<'a>(&'a self, parts: &'a Parts, _: &'a ReadBody) -> BoxFuture<'a, Pricing> {
        Box::pin(ready(self.route(parts, 1)))
    }
}

#[test]
fn priced_header_is_bound_and_the_price_is_asked_once_for_each_unpaid_request() {
    let world = World::new(3);
    let asked = Arc::new(AtomicUsize::new(0));
    let price = ByHeader {
        world_rail: world.rail.clone(),
        asked: Arc::clone(&asked),
    };
    let layer = PaymentLayer::new(world.gate.clone(), price);
    let site = Site::with(world, layer);
    let with = |units: &str| {
        let mut request = get();
        let value = http::HeaderValue::from_str(units).unwrap();
        request.headers_mut().insert("x-units", value);
        request
    };
    let credential = site.pay(with("1"));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    for other in [with("1000"), get()] {
        site.send(paid(other, &credential))
            .is_problem(ProblemKind::InvalidChallenge);
    }
    assert_eq!(
        (asked.load(Ordering::SeqCst), site.runs()),
        (3, 0),
        "a fresh challenge for each refusal, and nothing was taken"
    );
    let keyed_and_paid = || keyed(paid(with("1"), &credential));
    assert_eq!(site.send(keyed_and_paid()).status, 200);
    assert_eq!(site.send(keyed_and_paid()).status, 200);
    assert_eq!(
        (asked.load(Ordering::SeqCst), site.runs()),
        (3, 1),
        "neither for a good credential nor for one that comes again"
    );
    let amount = site.seen.lock().unwrap().paid[0]
        .as_ref()
        .unwrap()
        .amount
        .units();
    assert_eq!(amount, 7, "what the challenge said");
}

#[test]
fn credential_of_cheap_inputs_goes_on_for_no_dear_ones() {
    for keyed_too in [false, true] {
        let world = World::new(8);
        let price = ByHeader {
            world_rail: world.rail.clone(),
            asked: Arc::default(),
        };
        let layer = PaymentLayer::new(world.gate.clone(), price);
        let site = Site::with(world, layer);
        let with = |units: &str| {
            let mut request = get();
            let value = http::HeaderValue::from_str(units).unwrap();
            request.headers_mut().insert("x-units", value);
            request
        };
        let credential = site.pay(with("1"));
        let send = |units: &str| {
            let request = paid(with(units), &credential);
            site.send(if keyed_too { keyed(request) } else { request })
        };
        site.replies([Ok(reply(429, "later"))]);
        send("1").is_problem(ProblemKind::UpstreamFailed);
        assert_eq!((site.runs(), site.world.payments()), (1, 1));
        let dear = send("1000000");
        dear.is_problem(ProblemKind::InvalidChallenge);
        assert_eq!(site.runs(), 1, "what was paid for buys nothing else");
        assert_eq!(send("1").status, 200, "and what was bought is still there");
        assert_eq!((site.runs(), site.world.payments()), (2, 1));
    }
}

#[test]
fn idempotency_key_of_cheap_inputs_is_a_conflict_for_dear_ones() {
    let world = World::new(9);
    let price = ByHeader {
        world_rail: world.rail.clone(),
        asked: Arc::default(),
    };
    let layer = PaymentLayer::new(world.gate.clone(), price);
    let site = Site::with(world, layer);
    let with = |units: &str| {
        let mut request = get();
        let value = http::HeaderValue::from_str(units).unwrap();
        request.headers_mut().insert("x-units", value);
        request
    };
    let (cheap, dear) = (site.pay(with("1")), site.pay(with("1000000")));
    site.replies([Ok(reply(429, "later"))]);
    site.send(keyed(paid(with("1"), &cheap)))
        .is_problem(ProblemKind::UpstreamFailed);
    let got = site.send(keyed(paid(with("1000000"), &dear)));
    got.is_problem(ProblemKind::IdempotencyConflict);
    assert_eq!((site.runs(), site.world.payments()), (1, 1));
}

#[test]
fn bodies_of_unpaid_requests_are_held_only_for_a_price_that_reads_them() {
    let fixed = {
        let world = World::new(4);
        let layer = PaymentLayer::fixed(world.gate.clone(), world.route());
        Site::with(world, layer.spooled_total_bytes_max(1))
    };
    let reading = {
        let world = World::new(4);
        let layer = by_the_x(&world).spooled_total_bytes_max(1);
        Site::with(world, layer)
    };
    let order = || request("POST", "/order", full("xxxx"));
    fixed.send(order()).is_problem(ProblemKind::PaymentRequired);
    reading.send(order()).is_problem(ProblemKind::Unavailable);
}

fn after() -> Site {
    let world = World::new(5);
    let route = world.route().settle(Settle::After);
    let layer = PaymentLayer::fixed(world.gate.clone(), route);
    Site::with(world, layer)
}

#[test]
fn response_waits_for_its_settlement_and_carries_the_receipt() {
    let site = after();
    let credential = site.pay(get());
    site.replies([Ok(reply(200, "22.5 C"))]);
    let got = site.send(paid(get(), &credential));
    assert_eq!((got.status, got.text().as_str()), (200, "22.5 C"));
    assert!(got.header("payment-receipt").is_some());
    assert_eq!(got.header("cache-control"), Some("private"));
    assert_eq!(site.world.payments(), 1);
}

#[test]
fn refusal_after_the_handler_withholds_the_response_and_carries_a_challenge() {
    let site = after();
    let credential = site.pay(get());
    let refused = Step::refused(RefusalKind::Insufficient);
    site.world.rail.script([refused]);
    site.replies([Ok(reply(200, "22.5 C"))]);
    let got = site.send(paid(get(), &credential));
    got.is_problem(ProblemKind::PaymentInsufficient);
    assert!(!got.text().contains("22.5"));
    assert_eq!((site.runs(), site.world.payments()), (1, 0));
}

#[test]
fn upstream_errors_after_which_nothing_is_taken_reach_the_client_as_they_are() {
    let site = after();
    let credential = site.pay(get());
    site.replies([Ok(reply(404, "no such sensor"))]);
    let got = site.send(paid(get(), &credential));
    assert_eq!((got.status, got.text().as_str()), (404, "no such sensor"));
    assert!(got.header("payment-receipt").is_none());
    let credential = site.pay(get());
    site.replies([Ok(reply(500, "broken"))]);
    let got = site.send(paid(get(), &credential));
    got.is_problem(ProblemKind::UpstreamFailed);
    assert!(got.text().contains("nothing was taken"));
    assert_eq!(site.world.payments(), 0);
}

#[test]
fn long_response_streams_once_its_payment_is_settled() {
    let site = after();
    let credential = site.pay(get());
    let long = Bytes::from(vec![b'z'; STORED_BODY_BYTES_MAX + 1]);
    site.replies([Ok(Response::new(full(long.clone())))]);
    let got = site.send(paid(get(), &credential));
    assert_eq!(got.status, 200);
    assert_eq!(got.body.as_ref().unwrap(), &long);
    assert_eq!(site.world.payments(), 1);
}

/// A fixed price that is only told.
struct Shadowed(Arc<Route>);

impl Price for Shadowed {
    fn shadow(&self, _: &Parts) -> Option<Shadow> {
        Some(Shadow::Told)
    }

    fn price<'a>(&'a self, _: &'a Parts, _: &'a ReadBody) -> BoxFuture<'a, Pricing> {
        Box::pin(ready(Pricing::Priced(Arc::clone(&self.0))))
    }
}

#[test]
fn shadow_mode_checks_credentials_and_writes_nothing() {
    let world = World::new(6);
    let charging = PaymentLayer::fixed(world.gate.clone(), world.route());
    let route = Arc::new(world.route());
    let shadowed = PaymentLayer::new(world.gate.clone(), Shadowed(route));
    let mut site = Site::with(world, charging);
    let credential = site.pay(get());
    site.layer = shadowed;
    let before = site.world.front.writes();
    let got = site.send(paid(get(), &credential));
    assert_eq!(got.status, 200);
    assert!(
        got.header("stiver-shadow")
            .unwrap()
            .starts_with("would-charge=")
    );
    assert!(got.header("payment-receipt").is_none());
    assert_eq!(site.world.front.writes(), before, "nothing is claimed");
    {
        let seen = site.seen.lock().unwrap();
        assert!(seen.paid[0].is_none());
        assert!(!seen.headers[0].contains_key("authorization"));
    }
    let (target, gate) = (get().uri().to_string(), site.world.gate.clone());
    let route = Arc::new(site.world.route());
    let assess = move |authorization: Vec<String>| {
        let (target, gate, route) = (target.clone(), gate.clone(), Arc::clone(&route));
        async move {
            let lines: Vec<&[u8]> = authorization.iter().map(|line| line.as_bytes()).collect();
            let request = stiver_server::Request {
                method: "GET",
                target: &target,
                authorization: &lines,
                accept_payment: &[],
                accept_language: &[],
                idempotency_key: &[],
                body: BodyState::None,
            };
            gate.assess(&request, || ready(Pricing::Priced(route)))
                .await
        }
    };
    let problem = |authorization: &[&str]| {
        let lines = authorization.iter().map(|it| (*it).to_owned()).collect();
        site.world.run(assess(lines)).problem
    };
    assert_eq!(problem(&[]), Some(ProblemKind::PaymentRequired));
    assert_eq!(problem(&[&credential]), None, "it would be served");
    let twice = [credential.as_str(), credential.as_str()];
    assert_eq!(problem(&twice), Some(ProblemKind::MultipleCredentials));
    assert_eq!(
        problem(&["Payment e30"]),
        Some(ProblemKind::MalformedCredential)
    );
    assert_eq!(site.world.front.writes(), before);
}

#[test]
fn body_that_is_too_long_or_too_much_for_shadow_mode_goes_on_whole() {
    let world = World::new(7);
    let layer = PaymentLayer::new(world.gate.clone(), Shadowed(Arc::new(world.route())));
    let site = Site::with(world, layer.spooled_total_bytes_max(10));
    let long = Bytes::from(vec![b'x'; SPOOLED_BODY_BYTES_MAX + 1]);
    for pieces_of in [vec!["abcdefgh".into(), "ijklmnop".into()], vec![long]] {
        let whole: Vec<u8> = pieces_of
            .iter()
            .flat_map(|piece: &Bytes| piece.to_vec())
            .collect();
        let body = pieces(pieces_of.into_iter().map(Ok).collect());
        assert_eq!(site.send(request("POST", "/order", body)).status, 200);
        assert_eq!(site.seen.lock().unwrap().bodies.pop().unwrap(), whole);
    }
    let cut = pieces(vec![Ok("abc".into()), Err(Cut)]);
    site.send(request("POST", "/order", cut))
        .is_problem(ProblemKind::BadRequest);
    assert!(site.seen.lock().unwrap().bodies.is_empty());
}

#[test]
fn strangers_leave_room_for_the_bodies_of_who_pays() {
    let world = World::new(8);
    let layer = by_the_x(&world).spooled_total_bytes_max(16);
    let site = Site::with(world, layer.clone());
    let order = || request("POST", "/order", full("xxxx"));
    let credential = site.pay(order());
    let first = futures_util::stream::iter([Ok(Frame::data(Bytes::from_static(b"xxxxxxxxxxxx")))]);
    let stuck = first.chain(futures_util::stream::pending::<Result<Frame<Bytes>, Cut>>());
    let stuck = request("POST", "/order", StreamBody::new(stuck).boxed_unsync());
    let inner = tower::service_fn(|_: Request<Inner>| async { Ok::<_, Cut>(reply(200, "")) });
    let service = layer.clone().layer(inner);
    site.world
        .start(async move { drop(service.oneshot(stuck).await) });
    site.world.pass(1);
    assert_eq!(layer.spooled_bytes(), 12, "all that strangers may take");
    site.send(order()).is_problem(ProblemKind::Unavailable);
    site.send(paid(order(), "Payment e30"))
        .is_problem(ProblemKind::Unavailable);
    let got = site.send(paid(order(), &credential));
    assert_eq!(got.status, 200);
}
