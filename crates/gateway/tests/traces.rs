//! Spans as a collector gets them: real requests through a real gateway, real protobuf.
//!
//! Alone in its process: a subscriber is for the whole of it.
#![cfg(feature = "otel")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]
#![allow(dead_code, reason = "the world is shared with the other tests")]

#[path = "gateway/common/mod.rs"]
mod common;

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    sync::{Arc, Mutex},
};

use axum::{Router, extract::State, routing::post};
use bytes::Bytes;
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::any_value::Value,
    trace::v1::{Span, span::SpanKind},
};
use prost::Message;
use stiver_gateway::{config::Config, trace::Exporter};
use tokio::net::TcpListener;
use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};

use crate::common::{ROUTES, World, get, paid, upstream::Upstream, with};

type Got = Arc<Mutex<Vec<Bytes>>>;

/// A collector that keeps what it gets.
#[expect(clippy::disallowed_methods, reason = "a test starts its own tasks")]
async fn collector() -> (String, Got) {
    let got = Got::default();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new()
        .route(
            "/v1/traces",
            post(|State(got): State<Got>, body: Bytes| async move {
                got.lock().unwrap().push(body);
            }),
        )
        .with_state(Arc::clone(&got));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, got)
}

/// A span's attributes, as text.
fn attributes(span: &Span) -> BTreeMap<&str, String> {
    let texts = span.attributes.iter().map(|attribute| {
        let value = attribute.value.as_ref().unwrap().value.as_ref().unwrap();
        let text = match value {
            Value::StringValue(text) => text.clone(),
            Value::IntValue(number) => number.to_string(),
            other => format!("{other:?}"),
        };
        (attribute.key.as_str(), text)
    });
    texts.collect()
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paid_request_is_one_trace_from_its_client_to_its_upstream() {
    let (url, got) = collector().await;
    let tables = format!("[tracing]\notlp_endpoint = \"{url}\"\nservice_name = \"shop\"\n");
    let text = format!(
        "[gateway]\nlisten = \"127.0.0.1:0\"\nrealm = \"t\"\nupstream = \"http://127.0.0.1:9\"\n\
         {tables}[[route]]\npath = \"/**\"\naccess = \"free\"\n"
    );
    let file = std::path::Path::new("stiver.toml");
    let config = Config::parse(&text, file, file).unwrap();
    let env = stiver_env::native::env();
    let exporter = Exporter::start(config.tracing.as_ref().unwrap(), &env).unwrap();
    tracing_subscriber::registry().with(exporter.layer()).init();

    let mut world = World::configured(Upstream::start().await, &tables, ROUTES).await;
    let credential = world.pay(get("/v1/reading?q=in-the-query")).await;
    let parent = format!("00-{TRACE}-{PARENT}-01");
    let request = with(get("/v1/reading?q=in-the-query"), "traceparent", &parent);
    world.ask(paid(request, &credential)).await.assert_paid();
    let reached = world.upstream.seen().remove(0).headers["traceparent"].clone();
    world.stop().await;
    exporter.stop().await;

    let mut spans = Vec::new();
    let got = got.lock().unwrap().clone();
    for message in &got {
        let request = ExportTraceServiceRequest::decode(message.clone()).unwrap();
        for resource in request.resource_spans {
            let named = &resource.resource.as_ref().unwrap().attributes;
            assert!(named.iter().any(|it| it.key == "service.name"));
            spans.extend(
                resource
                    .scope_spans
                    .into_iter()
                    .flat_map(|scope| scope.spans),
            );
        }
    }
    let trace = hex(TRACE);
    let of_trace: Vec<&Span> = spans.iter().filter(|span| span.trace_id == trace).collect();
    let find = |name: &str| {
        let found: Vec<_> = of_trace.iter().filter(|span| span.name == name).collect();
        assert_eq!(found.len(), 1, "{name}: {:?}", names(&of_trace));
        *found[0]
    };
    let whole = find("request");
    assert_eq!(whole.parent_span_id, hex(PARENT), "under the client's span");
    assert_eq!(whole.kind, i32::from(SpanKind::Server));
    let said = attributes(whole);
    assert_eq!(said["http.request.method"], "GET");
    assert_eq!(said["http.route"], "/v1/reading");
    assert_eq!(said["http.response.status_code"], "200");
    assert_eq!(said["stiver.outcome"], "delivered");
    assert_eq!(said["stiver.payment.method"], "ledger");
    assert!(
        said["stiver.payment.amount"].starts_with("0.001"),
        "{said:?}"
    );
    let admit = find("admit");
    assert_eq!(admit.parent_span_id, whole.span_id);
    assert_eq!(find("settle").parent_span_id, admit.span_id);
    let upstream = find("upstream");
    assert_eq!(upstream.parent_span_id, whole.span_id);
    assert_eq!(upstream.kind, i32::from(SpanKind::Client));
    let named = reached.to_str().unwrap().split('-').collect::<Vec<_>>();
    assert_eq!(named[1], TRACE, "the upstream is in the same trace");
    assert_eq!(hex(named[2]), upstream.span_id, "under the span `upstream`");

    // The unpaid request before it had no parent: a trace of its own, in which it was priced.
    let price = spans.iter().find(|span| span.name == "price").unwrap();
    assert_ne!(price.trace_id, trace);
    // Nothing that pays, and nothing of the query, in any byte.
    let all = got.concat();
    for secret in [&credential["Payment ".len()..], "in-the-query"] {
        for part in secret.as_bytes().windows(12).step_by(12) {
            assert!(!all.windows(part.len()).any(|window| window == part));
        }
    }
}

fn names<'s>(spans: &[&'s Span]) -> Vec<&'s str> {
    spans.iter().map(|span| span.name.as_str()).collect()
}

fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}
