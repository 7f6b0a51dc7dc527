//! Sessions through the tower layer.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use stiver_core::Receipt;
use stiver_server::{Paid, tower::PaymentLayer};
use tower::{Layer as _, ServiceExt as _, service_fn};

use crate::common::{COST, DEPOSIT, World, member, usd};

/// What came back: status, receipt, body.
type Answer = (StatusCode, Option<Receipt>, Bytes);

fn send(
    world: &World,
    (method, credential): (&'static str, &str),
    runs: &Arc<AtomicUsize>,
) -> Answer {
    let runs = Arc::clone(runs);
    let handler = service_fn(move |request: Request<_>| {
        let runs = Arc::clone(&runs);
        async move {
            let paid: &Paid = request.extensions().get().unwrap();
            assert_eq!(paid.amount, usd(COST));
            assert!(paid.reference.is_some() && paid.payer.is_some());
            assert!(request.headers().get("authorization").is_none());
            let fails = runs.fetch_add(1, Ordering::SeqCst) == 1;
            let status = if fails { 500 } else { 200 };
            let mut response = Response::new(Full::new(Bytes::from_static(b"21 C")));
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            Ok::<_, Infallible>(response)
        }
    });
    let service = PaymentLayer::fixed(world.gate.clone(), world.route()).layer(handler);
    let request = Request::builder()
        .method(method)
        .uri("/reading")
        .header("authorization", credential)
        .body(Full::new(Bytes::new()))
        .unwrap();
    world.run(async move {
        let response = service.oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let receipt = parts.headers.get("payment-receipt");
        let receipt = receipt.map(|it| Receipt::parse(it.as_bytes()).unwrap());
        if receipt.is_some() {
            let cache = parts.headers["cache-control"].to_str().unwrap();
            assert!(
                cache.contains("private") || cache.contains("no-store"),
                "{cache}"
            );
        }
        let body = body.collect().await.unwrap().to_bytes();
        (parts.status, receipt, body)
    })
}

#[test]
fn a_session_pays_over_http_from_open_to_close() {
    let world = World::new(1);
    let runs = Arc::new(AtomicUsize::new(0));
    let challenge = world.challenge();
    let get = |credential: String| send(&world, ("GET", &credential), &runs);
    let (status, receipt, body) = get(world.payer.open(&challenge, &usd(DEPOSIT), COST));
    assert_eq!((status, &body[..]), (StatusCode::OK, &b"21 C"[..]));
    assert_eq!(member(&receipt.unwrap(), "spent"), "10");
    // The second run fails: it costs nothing, and its answer is no receipt.
    let voucher = world.payer.voucher(&challenge, COST * 2);
    let (status, receipt, _) = get(voucher.clone());
    assert_eq!((status, receipt), (StatusCode::BAD_GATEWAY, None));
    let (status, receipt, _) = get(voucher.clone());
    assert_eq!(status, StatusCode::OK);
    assert_eq!(member(&receipt.unwrap(), "spent"), "20");
    let (status, receipt, body) = get(voucher);
    assert_eq!((status, body.len()), (StatusCode::OK, 0));
    assert_eq!(member(&receipt.unwrap(), "spent"), "20");
    let ahead = world.payer.voucher(&challenge, COST * 5);
    let (status, receipt, _) = send(&world, ("HEAD", &ahead), &runs);
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(member(&receipt.unwrap(), "acceptedCumulative"), "50");
    let (status, receipt, _) = get(world.payer.close(&challenge, COST * 5));
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(member(&receipt.unwrap(), "spent"), "20");
    assert_eq!((world.captured(), runs.load(Ordering::SeqCst)), (20, 3));
    let (status, receipt, _) = get(world.payer.voucher(&challenge, COST * 6));
    assert_eq!((status, receipt), (StatusCode::GONE, None));
}

/// What an upstream answers with.
#[derive(Clone, Copy)]
enum Says {
    Whole,
    /// Without a declared length, in pieces that come at once.
    Pieces,
    /// Without a declared length, and its end takes a while.
    Slowly,
    Large,
    Breaks,
}

type Boxed = http_body_util::combinators::UnsyncBoxBody<Bytes, Cut>;

/// The upstream is gone.
#[derive(Debug, thiserror::Error)]
#[error("cut off")]
struct Cut;

fn body(says: Says, clock: Arc<dyn stiver_env::Clock>) -> Boxed {
    let (to, pieces) = tokio::sync::mpsc::channel(4);
    let send = |text: &'static str| {
        let piece = http_body::Frame::data(Bytes::from_static(text.as_bytes()));
        to.try_send(Ok(piece)).unwrap();
    };
    match says {
        Says::Whole | Says::Large => {
            let long = stiver_server::limits::SESSION_ANSWER_BYTES_MAX + 1;
            let text = match says {
                Says::Large => "x".repeat(long),
                _ => "21 C".to_owned(),
            };
            let whole = Full::new(Bytes::from(text));
            return whole.map_err(|never| match never {}).boxed_unsync();
        }
        Says::Pieces => ["21", " C"].into_iter().for_each(send),
        Says::Breaks => {
            send("2");
            to.try_send(Err(Cut)).unwrap();
        }
        Says::Slowly => send("21"),
    }
    let slow = matches!(says, Says::Slowly).then_some(to);
    let wait = clock.sleep(std::time::Duration::from_secs(5));
    let stream = futures_util::stream::unfold(
        (pieces, slow, Some(wait)),
        |(mut pieces, slow, mut wait)| async move {
            if let Ok(piece) = pieces.try_recv() {
                return Some((piece, (pieces, slow, wait)));
            }
            wait.take().filter(|_| slow.is_some())?.await;
            let piece = http_body::Frame::data(Bytes::from_static(b" C"));
            Some((Ok(piece), (pieces, None, None)))
        },
    );
    http_body_util::StreamBody::new(stream).boxed_unsync()
}

async fn read<B>(body: B) -> Bytes
where
    B: http_body::Body<Data = Bytes, Error: std::fmt::Debug> + Send,
{
    body.collect().await.unwrap().to_bytes()
}

/// A request under a key: status, the fields that matter, and the body with the time it took.
fn keyed(
    world: &World,
    (method, credential, says): (&'static str, &str, Says),
    runs: &Arc<AtomicUsize>,
) -> (StatusCode, http::HeaderMap, Bytes) {
    let (runs, clock) = (Arc::clone(runs), Arc::clone(&world.sim.env().clock));
    let answer = move || {
        runs.fetch_add(1, Ordering::SeqCst);
        Response::builder()
            .header("x-unit", "C")
            .header("cache-control", "public, max-age=60")
            .body(body(says, Arc::clone(&clock)))
            .unwrap()
    };
    let handler = service_fn(move |_: Request<_>| {
        std::future::ready(Ok::<Response<Boxed>, Infallible>(answer()))
    });
    let service = PaymentLayer::fixed(world.gate.clone(), world.route()).layer(handler);
    let asks = match method {
        "POST" => Bytes::from_static(b"question"),
        _ => Bytes::new(),
    };
    let request = Request::builder()
        .method(method)
        .uri("/reading")
        .header("authorization", credential)
        .header("idempotency-key", "\"one\"")
        .body(Full::new(asks))
        .unwrap();
    world.sim.block_on(async move {
        let (parts, body) = service.oneshot(request).await.unwrap().into_parts();
        (parts.status, parts.headers, read(body).await)
    })
}

#[test]
fn an_answer_that_was_lost_comes_again_with_its_fields_body_and_receipt() {
    for (n, says) in [(2, Says::Whole), (3, Says::Pieces)] {
        let mut world = World::new(n);
        let runs = Arc::new(AtomicUsize::new(0));
        let challenge = world.open();
        let voucher = world.payer.voucher(&challenge, COST * 2);
        let lost = keyed(&world, ("POST", &voucher, says), &runs);
        assert_eq!((lost.0, &lost.2[..]), (StatusCode::OK, &b"21 C"[..]));
        world.restart();
        let mut again = keyed(&world, ("POST", &voucher, says), &runs);
        let replayed = again.1.remove("idempotency-replayed");
        assert_eq!(replayed.unwrap(), "true");
        assert_eq!(again.1["cache-control"], "private, max-age=60");
        assert_eq!(again, lost);
        let spent = world.figures().spent;
        assert_eq!((runs.load(Ordering::SeqCst), spent), (1, COST * 2));
    }
}

#[test]
fn a_large_or_slow_answer_leaves_as_it_comes_and_is_not_kept() {
    for (n, says) in [(4, Says::Large), (5, Says::Slowly)] {
        let world = World::new(n);
        let runs = Arc::new(AtomicUsize::new(0));
        let challenge = world.open();
        let voucher = world.payer.voucher(&challenge, COST * 2);
        let (status, _, first) = keyed(&world, ("POST", &voucher, says), &runs);
        assert_eq!(status, StatusCode::OK);
        assert!(first.len() >= 4, "all of it comes");
        let (status, fields, problem) = keyed(&world, ("POST", &voucher, says), &runs);
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(!fields.contains_key("payment-receipt"));
        let problem = String::from_utf8(problem.to_vec()).unwrap();
        assert!(problem.contains("answer-not-kept"), "{problem}");
        assert!(problem.contains(r#""spent":"20""#), "{problem}");
        let (voucher, runs) = (world.payer.voucher(&challenge, COST * 3), Arc::default());
        for _ in 0..2 {
            let other = keyed(&world, ("GET", &voucher, says), &runs);
            // The key is bound to the POST.
            assert_eq!(other.0, StatusCode::UNPROCESSABLE_ENTITY);
        }
        assert_eq!(
            (runs.load(Ordering::SeqCst), world.figures().spent),
            (0, COST * 2)
        );
    }
}

#[test]
fn an_answer_that_breaks_off_while_it_is_waited_for_costs_nothing() {
    let world = World::new(6);
    let runs = Arc::new(AtomicUsize::new(0));
    let challenge = world.open();
    let voucher = world.payer.voucher(&challenge, COST * 2);
    let broken = keyed(&world, ("POST", &voucher, Says::Breaks), &runs);
    assert_eq!(broken.0, StatusCode::BAD_GATEWAY);
    assert_eq!((world.figures().spent, world.figures().reserved), (COST, 0));
    let served = keyed(&world, ("POST", &voucher, Says::Whole), &runs);
    assert_eq!(served.0, StatusCode::OK);
    assert_eq!(world.figures().spent, COST * 2);
}

#[test]
fn a_route_that_keeps_no_responses_keeps_none_of_a_session() {
    let world = World::new(7);
    let challenge = world.open();
    let route = stiver_server::Route::for_sessions(vec![world.offer()]).unwrap();
    let route = Arc::new(route.store_responses(stiver_server::route::StoreResponses::Never));
    let voucher = world.payer.voucher(&challenge, COST * 2);
    let mut ask = crate::common::get(voucher).method("POST").key("k");
    ask.body = Some(b"question");
    ask.run = crate::common::Run::Says("21 C");
    world.send_to(ask.clone(), &route).served();
    let kind = world.send_to(ask, &route).kind();
    assert_eq!(kind, stiver_core::problem::ProblemKind::AnswerNotKept);
}
