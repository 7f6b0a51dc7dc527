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
