//! The tower layer.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, request::Parts};
use http_body::{Body, Frame};
use http_body_util::{BodyExt as _, Full, StreamBody};
use stiver_core::{Challenge, Problem, problem::ProblemKind};
use stiver_server::{
    BodyState, Paid, Pricing, Route,
    grant::PayeeFailure,
    limits::{SPOOL_MS_MAX, SPOOLED_BODY_BYTES_MAX, STORED_BODY_BYTES_MAX},
    route::StoreResponses,
    tower::{
        Answered, AsyncPrice, BodyRule, FixedPrice, Note, PaymentLayer, ReadBody, RequestBody,
    },
};
use tower::{Layer as _, Service as _, ServiceExt as _};

use crate::common::World;

mod pricing;

/// A body or a connection that broke off.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("cut")]
struct Cut;

type RequestBytes = http_body_util::combinators::UnsyncBoxBody<Bytes, Cut>;
type Inner = RequestBody<RequestBytes>;

/// What the inner service saw.
#[derive(Default)]
struct Seen {
    headers: Vec<HeaderMap>,
    bodies: Vec<Bytes>,
    paid: Vec<Option<Paid>>,
}

/// An answer of the inner service.
type Reply = Response<ResponseBytes>;
type ResponseBytes = http_body_util::combinators::UnsyncBoxBody<Bytes, Cut>;

fn full(text: impl Into<Bytes>) -> ResponseBytes {
    Full::new(text.into())
        .map_err(|never: Infallible| match never {})
        .boxed_unsync()
}

fn reply(status: u16, text: &'static str) -> Reply {
    let mut reply = Response::new(full(text));
    *reply.status_mut() = StatusCode::from_u16(status).unwrap();
    reply
}

/// Sends one request through a layer over a service that gives these replies in turn.
struct Site {
    world: World,
    layer: PaymentLayer,
    seen: Arc<Mutex<Seen>>,
    replies: Arc<Mutex<Vec<Result<Reply, Cut>>>>,
}

/// An answer, read in full.
struct Got {
    status: u16,
    headers: HeaderMap,
    body: Result<Bytes, Cut>,
}

impl Got {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    fn text(&self) -> String {
        String::from_utf8(self.body.as_ref().unwrap().to_vec()).unwrap()
    }

    fn is_problem(&self, kind: ProblemKind) {
        assert_eq!(self.status, kind.status(), "{}", self.text());
        assert!(self.text().contains(kind.type_uri()), "{}", self.text());
        assert_eq!(self.header("cache-control"), Some("no-store"));
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        assert!(self.header("payment-receipt").is_none());
        assert_eq!(
            self.headers.contains_key("www-authenticate"),
            self.status == 402
        );
    }
}

impl Site {
    fn new() -> Self {
        let world = World::new(1);
        let layer = PaymentLayer::fixed(world.gate.clone(), world.route());
        Self::with(world, layer)
    }

    fn with(world: World, layer: PaymentLayer) -> Self {
        Self {
            world,
            layer,
            seen: Arc::default(),
            replies: Arc::default(),
        }
    }

    fn replies(&self, replies: impl IntoIterator<Item = Result<Reply, Cut>>) {
        self.replies.lock().unwrap().extend(replies);
    }

    fn send(&self, request: Request<RequestBytes>) -> Got {
        let (seen, replies) = (Arc::clone(&self.seen), Arc::clone(&self.replies));
        let inner = tower::service_fn(move |request: Request<Inner>| {
            let (seen, replies) = (Arc::clone(&seen), Arc::clone(&replies));
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
                let mut seen = seen.lock().unwrap();
                seen.paid.push(parts.extensions.get().cloned());
                seen.headers.push(parts.headers);
                seen.bodies.push(body);
                let mut replies = replies.lock().unwrap();
                if replies.is_empty() {
                    Ok(reply(200, "22.5 C"))
                } else {
                    replies.remove(0)
                }
            }
        });
        let service = self.layer.layer(inner);
        self.world.run(async move {
            let response = service
                .oneshot(request)
                .await
                .expect("the layer turns errors to 502");
            let (parts, body) = response.into_parts();
            let body = body
                .collect()
                .await
                .map(http_body_util::Collected::to_bytes)
                .map_err(|_| Cut);
            Got {
                status: parts.status.as_u16(),
                headers: parts.headers,
                body,
            }
        })
    }

    /// A credential for a request like this one.
    fn pay(&self, request: Request<RequestBytes>) -> String {
        let got = self.send(request);
        got.is_problem(ProblemKind::PaymentRequired);
        let lines = got
            .headers
            .get_all("www-authenticate")
            .iter()
            .map(|line| line.as_bytes());
        let challenge = Challenge::parse_all(lines).remove(0).unwrap();
        self.world.pay(&challenge)
    }

    fn runs(&self) -> usize {
        self.seen.lock().unwrap().headers.len()
    }
}

fn request(method: &str, target: &str, body: RequestBytes) -> Request<RequestBytes> {
    Request::builder()
        .method(method)
        .uri(target)
        .body(body)
        .unwrap()
}

fn empty() -> RequestBytes {
    full("")
}

fn get() -> Request<RequestBytes> {
    request("GET", "/reading?room=3", empty())
}

fn paid(mut request: Request<RequestBytes>, credential: &str) -> Request<RequestBytes> {
    request
        .headers_mut()
        .append("authorization", credential.parse().unwrap());
    request
}

fn keyed(mut request: Request<RequestBytes>) -> Request<RequestBytes> {
    request
        .headers_mut()
        .insert("idempotency-key", "k-1".parse().unwrap());
    request
}

#[test]
fn unpaid_request_never_reaches_the_service() {
    let site = Site::new();
    for method in ["GET", "HEAD", "POST"] {
        let got = site.send(request(method, "/reading", empty()));
        got.is_problem(ProblemKind::PaymentRequired);
    }
    assert_eq!(site.runs(), 0);
    assert!(site.world.front.commands().is_empty());
}

#[test]
fn paid_request_reaches_the_service_and_its_answer_carries_the_receipt() {
    let site = Site::new();
    let credential = site.pay(get());
    let mut answer = reply(200, "22.5 C");
    answer
        .headers_mut()
        .insert("cache-control", "public, max-age=60".parse().unwrap());
    answer
        .headers_mut()
        .insert("payment-receipt", "forged".parse().unwrap());
    site.replies([Ok(answer)]);
    let mut ask = paid(get(), "Basic dXNlcjpwYXNz");
    ask = paid(ask, &credential);
    let got = site.send(ask);
    assert_eq!((got.status, got.text().as_str()), (200, "22.5 C"));
    assert_eq!(got.header("cache-control"), Some("private, max-age=60"));
    let receipts: Vec<_> = got.headers.get_all("payment-receipt").iter().collect();
    assert_eq!(receipts.len(), 1);
    let receipt = stiver_core::Receipt::parse(receipts[0].as_bytes()).unwrap();
    assert_eq!(
        receipt.extra["resource"].as_str(),
        Some("GET /reading?room=3")
    );
    assert!(receipts[0].is_sensitive());
    let seen = site.seen.lock().unwrap();
    let lines: Vec<_> = seen.headers[0].get_all("authorization").iter().collect();
    assert_eq!(
        lines,
        ["Basic dXNlcjpwYXNz"],
        "the credential stays with the gate"
    );
    let paid = seen.paid[0].as_ref().unwrap();
    assert_eq!(paid.payer.as_deref(), Some("alice"));
    assert_eq!(paid.reference, Some(receipt.reference));
}

#[test]
fn credential_in_the_other_field_pays_too_and_both_are_refused() {
    let site = Site::new();
    let credential = site.pay(get());
    let both = || {
        let mut ask = get();
        ask.headers_mut()
            .insert("payment-authorization", credential.parse().unwrap());
        ask
    };
    let got = site.send(paid(both(), &credential));
    got.is_problem(ProblemKind::MultipleCredentials);
    assert_eq!(site.send(both()).status, 200);
    let seen = site.seen.lock().unwrap();
    assert!(!seen.headers[0].contains_key("payment-authorization"));
}

#[test]
fn body_is_bound_and_reaches_the_service_whole() {
    let site = Site::new();
    let order = |text: &'static str| request("POST", "/order", full(text));
    let credential = site.pay(order("one kilo"));
    site.send(paid(order("two kilos"), &credential))
        .is_problem(ProblemKind::InvalidChallenge);
    assert_eq!(site.runs(), 0);
    assert_eq!(site.send(paid(order("one kilo"), &credential)).status, 200);
    assert_eq!(site.seen.lock().unwrap().bodies, [Bytes::from("one kilo")]);
}

/// A body in pieces that declares no length.
fn pieces(pieces: Vec<Result<Bytes, Cut>>) -> RequestBytes {
    let frames = pieces.into_iter().map(|piece| piece.map(Frame::data));
    StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync()
}

#[test]
fn hostile_bodies_are_refused_before_anything_is_claimed() {
    let site = Site::new();
    let over = vec![b'x'; SPOOLED_BODY_BYTES_MAX + 1];
    let halves = || Bytes::from(vec![b'x'; SPOOLED_BODY_BYTES_MAX / 2 + 1]);

    let never = StreamBody::new(futures_util::stream::pending::<Result<Frame<Bytes>, Cut>>());
    for (body, kind) in [
        (full(over), ProblemKind::BodyTooLarge),
        (
            pieces(vec![Ok(halves()), Ok(halves())]),
            ProblemKind::BodyTooLarge,
        ),
        (
            pieces(vec![Ok(halves()), Err(Cut)]),
            ProblemKind::BadRequest,
        ),
        (never.boxed_unsync(), ProblemKind::BadRequest),
    ] {
        let before = site.world.sim.env().clock.monotonic();
        site.send(request("POST", "/order", body)).is_problem(kind);
        let waited = site.world.sim.env().clock.monotonic() - before;
        assert!(waited <= Duration::from_millis(SPOOL_MS_MAX));
    }
    let longest = vec![b'x'; SPOOLED_BODY_BYTES_MAX];
    let got = site.send(request("POST", "/order", full(longest)));
    got.is_problem(ProblemKind::PaymentRequired);
    let nothing = pieces(vec![Ok(Bytes::new())]);
    site.send(request("POST", "/order", nothing))
        .is_problem(ProblemKind::PaymentRequired);
    assert!(site.world.front.commands().is_empty());
    assert_eq!(site.runs(), 0);
}

#[test]
fn bodies_are_bounded_in_total_and_given_back() {
    let world = World::new(2);
    let layer = PaymentLayer::fixed(world.gate.clone(), world.route()).spooled_total_bytes_max(10);
    let site = Site::with(world, layer);
    let order = |text: &'static str| request("POST", "/order", full(text));
    let long = site.pay(order("eleven byte"));
    site.send(paid(order("eleven byte"), &long))
        .is_problem(ProblemKind::Unavailable);
    for _ in 0..20 {
        let credential = site.pay(order("ten bytes!"));
        let got = site.send(paid(order("ten bytes!"), &credential));
        assert_eq!(got.status, 200);
    }
}

#[test]
fn body_without_a_good_credential_is_not_held() {
    let world = World::new(20);
    let layer = PaymentLayer::fixed(world.gate.clone(), world.route()).spooled_total_bytes_max(0);
    let site = Site::with(world, layer);
    let order = || request("POST", "/order", full("one kilo"));
    let credential = site.pay(order());
    site.send(paid(order(), "Payment e30"))
        .is_problem(ProblemKind::MalformedCredential);
    // The challenge is bound to the body all the same, and a good credential makes it held.
    site.send(paid(order(), &credential))
        .is_problem(ProblemKind::Unavailable);
    assert!(site.world.front.commands().is_empty());
}

#[test]
fn body_is_not_read_when_the_fields_are_refused() {
    let site = Site::new();
    let order = || request("POST", "/order", Untouched.boxed_unsync());
    let twice = paid(paid(order(), "Payment e30"), "Payment e30");
    site.send(twice)
        .is_problem(ProblemKind::MultipleCredentials);
    let mut bad_key = paid(order(), "Payment e30");
    let key = "a b".parse().unwrap();
    bad_key.headers_mut().insert("idempotency-key", key);
    site.send(bad_key).is_problem(ProblemKind::BadRequest);
    assert_eq!(site.runs(), 0);
}

#[test]
fn streamed_bodies_pass_unbound_and_are_not_repeated() {
    let world = World::new(3);
    let price = FixedPrice::new(world.route()).body(BodyRule::Stream);
    let layer = PaymentLayer::new(world.gate.clone(), price);
    let site = Site::with(world, layer);
    let upload = || {
        pieces(vec![Ok(Bytes::from(vec![
            b'x';
            2 * SPOOLED_BODY_BYTES_MAX
        ]))])
    };
    let put = || request("PUT", "/upload", upload());
    let credential = site.pay(put());
    site.replies([Ok(reply(500, "out of space"))]);
    let got = site.send(paid(put(), &credential));
    got.is_problem(ProblemKind::UpstreamFailed);
    assert!(got.text().contains("refunded"));
    assert_eq!(
        site.seen.lock().unwrap().bodies[0].len(),
        2 * SPOOLED_BODY_BYTES_MAX
    );
}

#[test]
fn challenge_for_no_body_does_not_pay_for_one_that_streams_nor_the_other_way_round() {
    let world = World::new(4);
    let price = FixedPrice::new(world.route()).body(BodyRule::Stream);
    let layer = PaymentLayer::new(world.gate.clone(), price);
    let site = Site::with(world, layer);
    let streamed = || {
        let pieces = pieces(vec![Ok("very ".into()), Ok("long".into())]);
        request("POST", "/upload", pieces)
    };
    let bare = || request("POST", "/upload", empty());
    let credential = site.pay(bare());
    site.send(paid(streamed(), &credential))
        .is_problem(ProblemKind::InvalidChallenge);
    let credential = site.pay(streamed());
    site.send(paid(bare(), &credential))
        .is_problem(ProblemKind::InvalidChallenge);
    assert_eq!((site.runs(), site.world.payments()), (0, 0));
    assert_eq!(site.send(paid(streamed(), &credential)).status, 200);
}

#[test]
fn failures_of_the_service_are_502_without_a_challenge_and_run_again() {
    let site = Site::new();
    let credential = site.pay(get());
    let mut down = reply(503, "no upstream");
    down.extensions_mut().insert(PayeeFailure::NotReached);
    site.replies([Ok(down), Err(Cut)]);
    for _ in 0..2 {
        let got = site.send(paid(get(), &credential));
        got.is_problem(ProblemKind::UpstreamFailed);
        assert!(got.header("retry-after").is_some());
    }
    let got = site.send(paid(get(), &credential));
    assert_eq!((got.status, site.runs()), (200, 3));
    assert_eq!(site.world.payments(), 1);
}

#[test]
fn client_errors_of_the_service_are_delivered_without_a_receipt() {
    let site = Site::new();
    let credential = site.pay(get());
    site.replies([Ok(reply(404, "no such room"))]);
    let got = site.send(paid(get(), &credential));
    assert_eq!((got.status, got.text().as_str()), (404, "no such room"));
    assert!(got.header("payment-receipt").is_none());
    assert_eq!(got.header("cache-control"), Some("private"));
}

#[test]
fn service_that_says_later_has_not_delivered() {
    for status in [408, 425, 429] {
        let site = Site::new();
        let credential = site.pay(get());
        site.replies([Ok(reply(status, "later"))]);
        let got = site.send(paid(get(), &credential));
        got.is_problem(ProblemKind::UpstreamFailed);
        assert!(got.header("retry-after").is_some());
        assert_eq!(site.send(paid(get(), &credential)).status, 200);
        assert_eq!((site.runs(), site.world.payments()), (2, 1));
        // What may not be repeated is given back, unless the service says that it never began.
        let order = || request("POST", "/order", full("one"));
        for (begun, status) in [(true, 402), (false, 200)] {
            let credential = site.pay(order());
            let mut later = reply(429, "later");
            if !begun {
                later.extensions_mut().insert(PayeeFailure::NotReached);
            }
            site.replies([Ok(later)]);
            site.send(paid(order(), &credential))
                .is_problem(ProblemKind::UpstreamFailed);
            assert_eq!(site.send(paid(order(), &credential)).status, status);
        }
    }
}

#[test]
fn what_steers_shared_caches_is_neither_sent_nor_stored() {
    let site = Site::new();
    let credential = site.pay(get());
    let mut answer = reply(200, "22.5 C");
    let fields = ["x-accel-expires", "surrogate-key", "acme-cdn-cache-control"];
    for field in fields {
        answer.headers_mut().insert(field, "600".parse().unwrap());
    }
    site.replies([Ok(answer)]);
    for _ in 0..2 {
        let got = site.send(keyed(paid(get(), &credential)));
        assert!(fields.iter().all(|field| got.header(field).is_none()));
    }
    assert_eq!(site.runs(), 1);
    let kept = site.world.stored_headers(&credential);
    assert!(kept.contains(&"cache-control".to_owned()), "{kept:?}");
    assert!(fields.iter().all(|it| !kept.iter().any(|name| name == it)));
}

#[test]
fn stored_answer_is_repeated_with_its_mark() {
    let site = Site::new();
    let credential = site.pay(get());
    let mut answer = reply(201, "made");
    answer
        .headers_mut()
        .insert("location", "/orders/1".parse().unwrap());
    answer
        .headers_mut()
        .insert("cache-control", "public".parse().unwrap());
    site.replies([Ok(answer)]);
    let first = site.send(keyed(paid(get(), &credential)));
    let again = site.send(keyed(paid(get(), &credential)));
    assert_eq!((first.status, again.status), (201, 201));
    assert_eq!(first.text(), again.text());
    assert_eq!(
        first.header("payment-receipt"),
        again.header("payment-receipt")
    );
    assert_eq!(again.header("location"), Some("/orders/1"));
    assert_eq!(again.header("cache-control"), Some("private"));
    assert_eq!(first.header("idempotency-replayed"), None);
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!((site.runs(), site.world.payments()), (1, 1));
}

#[test]
fn answers_too_long_to_store_are_streamed_whole() {
    let world = World::new(4);
    let route = world.route().store_responses(StoreResponses::Always);
    let layer = PaymentLayer::fixed(world.gate.clone(), route);
    let site = Site::with(world, layer);
    for (bytes, stored) in [
        (STORED_BODY_BYTES_MAX, true),
        (STORED_BODY_BYTES_MAX + 1, false),
    ] {
        let credential = site.pay(get());
        let half = Bytes::from(vec![b'x'; bytes / 2]);
        let rest = Bytes::from(vec![b'y'; bytes - bytes / 2]);
        site.replies([Ok(Response::new(pieces(vec![Ok(half), Ok(rest)])))]);
        let got = site.send(paid(get(), &credential));
        assert_eq!((got.status, got.body.as_ref().unwrap().len()), (200, bytes));
        assert!(got.header("payment-receipt").is_some());
        let again = site.send(paid(get(), &credential));
        assert_eq!(again.status, if stored { 200 } else { 402 });
    }
}

#[test]
fn answer_that_breaks_off_before_it_left_is_a_failure() {
    let world = World::new(5);
    let route = world.route().store_responses(StoreResponses::Always);
    let layer = PaymentLayer::fixed(world.gate.clone(), route);
    let site = Site::with(world, layer);
    let credential = site.pay(get());
    let broken = pieces(vec![Ok(Bytes::from("22")), Err(Cut)]);
    site.replies([Ok(Response::new(broken))]);
    site.send(paid(get(), &credential))
        .is_problem(ProblemKind::UpstreamFailed);
    assert_eq!(site.send(paid(get(), &credential)).text(), "22.5 C");
    assert_eq!((site.runs(), site.world.payments()), (2, 1));
}

#[test]
fn answer_that_breaks_off_after_it_left_counts_as_delivered() {
    let site = Site::new();
    let credential = site.pay(get());
    let broken = pieces(vec![Ok(Bytes::from("22")), Err(Cut)]);
    site.replies([Ok(Response::new(broken))]);
    let got = site.send(paid(get(), &credential));
    assert!(got.status == 200 && got.body.is_err());
    assert_eq!(site.world.state(), "delivered");
    site.send(paid(get(), &credential))
        .is_problem(ProblemKind::InvalidChallenge);
    assert_eq!(site.runs(), 1);
}

#[test]
fn no_byte_leaves_before_the_delivery_is_durable() {
    let site = Site::new();
    let credential = site.pay(get());
    // The journal goes silent once the handler runs.
    let front = Arc::clone(&site.world.front);
    let slow = StreamBody::new(futures_util::stream::once(async {
        Ok::<_, Cut>(Frame::data(Bytes::from("22.5 C")))
    }));
    site.replies([Ok(Response::new(slow.boxed_unsync()))]);
    front.fail_from(3);
    let got = site.send(paid(get(), &credential));
    got.is_problem(ProblemKind::OutcomeUnknown);
    assert_eq!(site.runs(), 1);
    front.fail_from(usize::MAX);
    site.world.pass(60_000);
    assert_eq!(site.send(paid(get(), &credential)).text(), "22.5 C");
    assert_eq!(site.world.payments(), 1);
}

#[test]
fn prices_are_asked_per_request() {
    let world = World::new(6);
    let (cheap, dear) = (
        world.route(),
        Route::new(vec![world.offer(500_000)]).unwrap(),
    );
    let (cheap, dear) = (Arc::new(cheap), Arc::new(dear));
    let layer = PaymentLayer::new(
        world.gate.clone(),
        move |parts: &Parts, body: &ReadBody| match (parts.uri.path(), body.state()) {
            ("/free", _) => Pricing::Free,
            ("/gone", _) => Pricing::Denied(Problem::new(ProblemKind::NotFound, "no such sensor")),
            (_, BodyState::None) => Pricing::Priced(Arc::clone(&cheap)),
            _ => Pricing::Priced(Arc::clone(&dear)),
        },
    );
    let site = Site::with(world, layer);
    let credential = site.pay(request("POST", "/x", empty()));
    let free = site.send(paid(request("POST", "/free", full("text")), &credential));
    assert_eq!((free.status, free.header("payment-receipt")), (200, None));
    assert_eq!(free.header("cache-control"), None);
    {
        let seen = site.seen.lock().unwrap();
        assert!(seen.paid[0].is_none() && seen.bodies[0] == "text");
        assert!(!seen.headers[0].contains_key("authorization"));
    }
    site.send(request("GET", "/gone", empty()))
        .is_problem(ProblemKind::NotFound);
    let dear = site.pay(request("POST", "/x", full("text")));
    assert_eq!(
        site.send(paid(request("POST", "/x", full("text")), &dear))
            .status,
        200
    );
    let paid_amount = site.seen.lock().unwrap().paid[1]
        .as_ref()
        .unwrap()
        .amount
        .units();
    assert_eq!(paid_amount, 500_000);
}

#[test]
fn prices_may_be_asked_asynchronously() {
    let world = World::new(7);
    let route = Arc::new(world.route());
    let clock = world.sim.env().clock.clone();
    let price = AsyncPrice::new(move |_: &Parts, _: &ReadBody| {
        let (route, pause) = (Arc::clone(&route), clock.sleep(Duration::from_millis(5)));
        Box::pin(async move {
            pause.await;
            Pricing::Priced(route)
        })
    });
    let layer = PaymentLayer::new(world.gate.clone(), price);
    let site = Site::with(world, layer);
    let credential = site.pay(get());
    assert_eq!(site.send(paid(get(), &credential)).status, 200);
}

/// A service that may be called only once it was made ready, and whose clones start unready.
struct Strict {
    ready: bool,
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        Self { ready: false }
    }
}

impl tower::Service<Request<Inner>> for Strict {
    type Response = Reply;
    type Error = Cut;
    type Future = Ready<Result<Reply, Cut>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Cut>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Inner>) -> Self::Future {
        assert!(
            std::mem::take(&mut self.ready),
            "called without being ready"
        );
        ready(Ok(reply(200, "ready")))
    }
}

#[test]
fn service_that_was_made_ready_is_the_one_that_is_called() {
    let site = Site::new();
    let credentials = [site.pay(get()), site.pay(get())];
    let mut service = site.layer.layer(Strict { ready: false });
    for credential in credentials {
        let mut this = service.clone();
        std::mem::swap(&mut this, &mut service);
        let ask = paid(get(), &credential);
        let status = site.world.run(async move {
            this.ready().await.unwrap();
            this.call(ask).await.unwrap().status()
        });
        assert_eq!(status, 200);
    }
}

/// A body that must not be touched.
struct Untouched;

impl Body for Untouched {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        panic!("read")
    }
}

#[test]
fn streamed_body_of_an_unpaid_request_is_not_read() {
    let world = World::new(8);
    let price = FixedPrice::new(world.route()).body(BodyRule::Stream);
    let layer = PaymentLayer::new(world.gate.clone(), price);
    let site = Site::with(world, layer);
    let got = site.send(request("POST", "/upload", Untouched.boxed_unsync()));
    got.is_problem(ProblemKind::PaymentRequired);
}

#[test]
fn a_note_says_what_became_of_each_request() {
    let site = Site::new();
    let send = |request: Request<RequestBytes>| {
        let note = Note::new();
        let mut request = request;
        request.extensions_mut().insert(note.clone());
        site.send(request);
        note.read().cloned().unwrap()
    };
    let refused = |problem, challenges| Answered::Refused {
        problem,
        challenges,
    };
    assert_eq!(send(get()), refused(ProblemKind::PaymentRequired, 1));
    let twice = paid(paid(get(), "Payment YQ"), "Payment Yg");
    assert_eq!(send(twice), refused(ProblemKind::MultipleCredentials, 0));
    let credential = site.pay(get());
    site.replies([Ok(reply(500, "broken"))]);
    let answered = send(keyed(paid(get(), &credential)));
    let Answered::Failed { payment, problem } = answered else {
        panic!("{answered:?}")
    };
    assert_eq!(problem, ProblemKind::UpstreamFailed);
    let again = send(keyed(paid(get(), &credential)));
    assert_eq!(again, Answered::Delivered(payment));
    let third = send(keyed(paid(get(), &credential)));
    assert_eq!(third, Answered::Replayed);
}
