//! The reqwest surface over real sockets on this machine.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails"
)]

mod support;

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use stiver_client::{
    CallError, MoneyMoved, Options, Parts, PayingClient, PaymentClient, Retry,
    outbox::{MemoryOutbox, State},
    pins::MemoryPins,
    policy,
};
use stiver_core::problem::ProblemKind;
use stiver_method::payer::Payer;
use stiver_testkit::{fixtures, rail::HostileRail};
use support::{Act, Price, Server};
use tokio::net::TcpListener;
use tower_service::Service;

struct Shop {
    server: Server,
    rail: HostileRail,
    outbox: Arc<MemoryOutbox>,
    client: PayingClient,
    address: SocketAddr,
}

/// A server on a free port of this machine, and a client.
async fn shop() -> Shop {
    let env = stiver_env::native::env();
    let rail = HostileRail::new("merchant", fixtures::usd());
    let outbox = Arc::new(MemoryOutbox::new(env.clock.clone()));
    let payers: Vec<Arc<dyn Payer>> = vec![Arc::new(rail.payer("alice"))];
    let payments = PaymentClient::new(Parts {
        env: env.clone(),
        payers,
        policy: Arc::new(policy::dangerous_allow_any_amount()),
        outbox: outbox.clone(),
        pins: Arc::new(MemoryPins::new()),
        options: Options::default(),
    });
    let server = Server::new(env, rail.clone(), outbox.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, server.clone()));
    Shop {
        server,
        rail,
        outbox,
        client: PayingClient::new(payments).unwrap(),
        address,
    }
}

async fn serve(listener: TcpListener, server: Server) {
    while let Ok((stream, _)) = listener.accept().await {
        let server = server.clone();
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let mut server = server.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let answer = server.call(Request::from_parts(head, Full::new(body)));
                answer.await.map(|mut response| {
                    response.body_mut().flushes = true;
                    response
                })
            }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            let _ = connection.await;
        });
    }
}

impl Shop {
    fn url(&self) -> String {
        format!("http://{}/data?x=1", self.address)
    }

    fn charge(&self) -> Act {
        let price = Price {
            realm: self.address.to_string(),
            ..Price::default()
        };
        Act::Charge(vec![price], None)
    }
}

#[tokio::test]
async fn a_call_over_a_socket_is_paid_and_its_body_streams() {
    let shop = shop().await;
    shop.server.script([shop.charge(), Act::Serve]);
    let request = Request::post(shop.url()).header("x-tenant", "7");
    let request = request.body(Bytes::from_static(b"order")).unwrap();
    let answer = shop.client.call(request).await.unwrap();
    assert_eq!(answer.payment.unwrap().moved, MoneyMoved::Yes);
    assert_eq!(answer.response.bytes().await.unwrap(), "goods");
    let paid = &shop.server.paid()[0];
    assert_eq!(paid.path, "/data?x=1");
    assert_eq!(paid.body, "order");
    assert_eq!(paid.headers["x-tenant"], "7");
    assert_eq!(shop.rail.movements().len(), 1);
    assert_eq!(shop.outbox.history()[0].state, State::Paid);
}

#[tokio::test]
async fn an_applications_own_conflict_comes_whole_over_a_socket() {
    let shop = shop().await;
    let problem = Some(ProblemKind::IdempotencyConflict);
    shop.server
        .script([shop.charge(), Act::ServeAndSay(409, problem)]);
    let request = Request::get(shop.url()).body(Bytes::new()).unwrap();
    let answer = shop.client.call(request).await.unwrap();
    assert_eq!(answer.response.status(), 409);
    assert_eq!(answer.response.url().as_str(), shop.url());
    assert_eq!(answer.payment.unwrap().moved, MoneyMoved::Yes);
    let body = answer.response.text().await.unwrap();
    assert!(body.contains("idempotency-conflict"), "{body}");
    assert_eq!(shop.server.paid().len(), 1);
}

#[tokio::test]
async fn a_body_cut_on_the_socket_is_fetched_again_with_the_same_credential() {
    let shop = shop().await;
    shop.server
        .script([shop.charge(), Act::ServeAndBreak, Act::Serve]);
    let request = Request::get(shop.url()).body(Bytes::new()).unwrap();
    let answer = shop.client.call(request).await.unwrap();
    let call = answer.payment.unwrap().call;
    let under_way = shop.client.payments().recover().await.unwrap();
    assert!(
        under_way.is_empty(),
        "a body that is being read is nobody else's"
    );
    answer.response.bytes().await.unwrap_err();
    assert_eq!(shop.outbox.state(call), Some(State::Unread));

    let mut again = shop.client.resume(call).await.unwrap().response;
    let mut read = Vec::new();
    while let Some(chunk) = again.chunk().await.unwrap() {
        assert_eq!(shop.outbox.state(call), Some(State::Unread));
        read.extend_from_slice(&chunk);
    }
    assert_eq!(read, b"goods");
    assert_eq!(shop.outbox.state(call), Some(State::Paid));
    assert_eq!(shop.server.credentials(), 1);
    assert_eq!(shop.rail.movements().len(), 1);
}

#[tokio::test]
async fn redirects_are_not_followed_by_the_http_client_itself() {
    let shop = shop().await;
    let place = vec![("location", "http://localhost:1/".to_owned())];
    shop.server.script([Act::Say(302, place, None)]);
    let request = Request::get(shop.url()).body(Bytes::new()).unwrap();
    let error = shop.client.call(request).await.err().unwrap();
    assert!(
        matches!(error, CallError::RedirectElsewhere { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn what_is_for_this_machine_goes_through_no_proxy() {
    let shop = shop().await;
    let payments = shop.client.payments().clone();
    // A proxy that would take everything, and is not there.
    let proxied = || {
        let proxy = reqwest::Proxy::all("http://127.0.0.1:1").unwrap();
        reqwest::Client::builder().proxy(proxy)
    };
    let client = PayingClient::from_builder(payments, proxied).unwrap();
    shop.server.script([shop.charge(), Act::Serve]);
    let request = Request::get(shop.url()).body(Bytes::new()).unwrap();
    let answer = client.call(request).await.unwrap();
    assert_eq!(answer.payment.unwrap().moved, MoneyMoved::Yes);
}

#[tokio::test]
async fn a_server_that_is_not_there_cost_nothing() {
    let shop = shop().await;
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let request = Request::get(format!("http://{address}/secret-in-url"));
    let request = request.body(Bytes::new()).unwrap();
    let error = shop.client.call(request).await.err().unwrap();
    assert_eq!(error.money_moved(), MoneyMoved::No);
    assert_eq!(error.retry(), Retry::NewCall);
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(!cause.contains("secret-in-url"), "{cause}");
}
