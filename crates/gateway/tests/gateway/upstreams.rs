//! Upstreams: TLS and HTTP/2 to them, pools, time-outs, and what they are told.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{Router, body::Body, response::Response as Answer};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use stiver_core::problem::ProblemKind;
use stiver_testkit::certificates::Authority;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::{
    common::{World, get, logs, paid, upstream::Upstream, with},
    streams::{Fed, send},
};

/// An API over TLS, or plain HTTP/1.1 and HTTP/2, that remembers what reached it.
struct Api {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<(Version, HeaderMap)>>>,
    connections: Arc<AtomicUsize>,
}

impl Api {
    #[expect(clippy::disallowed_methods, reason = "a test starts its own tasks")]
    async fn start(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = Self {
            address: listener.local_addr().unwrap(),
            seen: Arc::default(),
            connections: Arc::default(),
        };
        let (seen, connections) = (Arc::clone(&api.seen), Arc::clone(&api.connections));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let (seen, tls) = (Arc::clone(&seen), tls.clone());
                tokio::spawn(async move {
                    let service = service_fn(move |request| remember(request, Arc::clone(&seen)));
                    let http = auto::Builder::new(TokioExecutor::new());
                    match tls {
                        None => {
                            let io = TokioIo::new(stream);
                            let _ = http.serve_connection(io, service).await;
                        }
                        Some(tls) => {
                            let Ok(stream) = tls.accept(stream).await else {
                                return;
                            };
                            let io = TokioIo::new(stream);
                            let _ = http.serve_connection(io, service).await;
                        }
                    }
                });
            }
        });
        api
    }

    fn seen(&self) -> Vec<(Version, HeaderMap)> {
        self.seen.lock().unwrap().clone()
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn remember(
    request: Request<Incoming>,
    seen: Arc<Mutex<Vec<(Version, HeaderMap)>>>,
) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
    let (parts, body) = request.into_parts();
    let _ = body.collect().await;
    seen.lock().unwrap().push((parts.version, parts.headers));
    let response = Response::builder()
        .header("server", "secretd/1.0")
        .header("x-internal-node", "7");
    Ok(response.body(Full::new(Bytes::from_static(b"ok"))).unwrap())
}

fn acceptor(authority: &Authority, names: &[&str]) -> TlsAcceptor {
    let issued = authority.issue(names);
    let chain = vec![CertificateDer::from(issued.certificate_der)];
    let key = PrivateKeyDer::try_from(issued.key_der).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

const ROUTES: &str = r#"
[[route]]
path = "/v1/reading"
price = "0.001 USD"
upstream = "api"

[[route]]
path = "/**"
access = "free"
upstream = "api"
"#;

/// A gateway in front of an upstream with these settings.
async fn world(url: &str, settings: &str) -> World {
    let tables = format!("{ROUTES}\n[upstreams.api]\nurl = \"{url}\"\n{settings}\n");
    World::configured(Upstream::down(), "", &tables).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn api_over_tls_is_trusted_by_its_authority_and_name_alone() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, authority.root()).unwrap();
    let ca_file = format!("ca_file = {ca_file:?}");
    let api = Api::start(Some(acceptor(&authority, &["localhost", "127.0.0.1"]))).await;
    let port = api.address.port();
    let (by_name, by_address) = (
        format!("https://localhost:{port}"),
        format!("https://127.0.0.1:{port}"),
    );
    for url in [&by_name, &by_address] {
        let reply = world(url, &ca_file).await.ask(get("/a")).await;
        assert_eq!(reply.status, StatusCode::OK, "{url}: {reply:?}");
        assert_eq!(api.seen().pop().unwrap().0, Version::HTTP_11);
    }
    let before = api.seen().len();
    let other = Api::start(Some(acceptor(&authority, &["localhost"]))).await;
    let other_name = format!("https://127.0.0.1:{}", other.address.port());
    for (url, settings) in [(&by_name, ""), (&other_name, &*ca_file)] {
        let reply = world(url, settings).await.ask(get("/a")).await;
        assert_eq!(reply.problem().0, ProblemKind::UpstreamFailed, "{url}");
    }
    assert_eq!((api.seen().len(), other.seen().len()), (before, 0));
    assert!(other.connections() > 0, "it was asked, and not trusted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_requests_share_one_http2_connection() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, authority.root()).unwrap();
    let secure = Api::start(Some(acceptor(&authority, &["localhost", "127.0.0.1"]))).await;
    let plain = Api::start(None).await;
    for (api, url, settings) in [
        (
            &secure,
            format!("https://localhost:{}", secure.address.port()),
            format!("http2 = true\nca_file = {ca_file:?}"),
        ),
        (
            &plain,
            format!("http://{}", plain.address),
            "http2 = true".to_owned(),
        ),
    ] {
        let world = world(&url, &settings).await;
        world.ask(get("/first")).await;
        let asking = (0..20).map(|_| world.ask(get("/more")));
        for reply in futures(asking).await {
            assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        }
        let credential = world.pay(get("/v1/reading")).await;
        world
            .ask(paid(get("/v1/reading"), &credential))
            .await
            .assert_paid();
        let seen = api.seen();
        assert_eq!(seen.len(), 22);
        assert!(seen.iter().all(|(version, _)| *version == Version::HTTP_2));
        assert_eq!(api.connections(), 1, "{url}");
    }
}

/// Runs futures together.
async fn futures<F: Future>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut all: Vec<_> = all.map(Box::pin).collect();
    let mut done = Vec::new();
    std::future::poll_fn(|context| {
        all.retain_mut(|one| match one.as_mut().poll(context) {
            std::task::Poll::Ready(output) => {
                done.push(output);
                false
            }
            std::task::Poll::Pending => true,
        });
        match all.is_empty() {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    done
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_kept_for_the_next_request() {
    let api = Api::start(None).await;
    let world = world(&format!("http://{}", api.address), "").await;
    for _ in 0..10 {
        assert_eq!(world.ask(get("/a")).await.status, StatusCode::OK);
    }
    assert_eq!(api.connections(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_that_are_set_replace_the_clients_and_are_told_to_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let key_file = folder.path().join("key.txt");
    std::fs::write(&key_file, "the-key-of-the-upstream\n").unwrap();
    let settings = format!(
        "set_headers = {{ Authorization = {{ file = {key_file:?}, prefix = \"Bearer \" }}, \
         X-Tenant = {{ value = \"a\" }} }}\n\
         remove_request_headers = [\"cookie\"]\n\
         remove_response_headers = [\"server\", \"x-internal-node\"]"
    );
    let api = Api::start(None).await;
    let world = world(&format!("http://{}", api.address), &settings).await;
    let credential = world.pay(get("/v1/reading")).await;
    let ours = |request| {
        let request = with(request, "authorization", "Bearer of-the-client");
        let request = with(request, "x-tenant", "b");
        let request = with(request, "x_tenant", "c");
        let request = with(request, "connection", "authorization, x-tenant");
        with(request, "cookie", "session=1")
    };
    for request in [ours(get("/a")), paid(ours(get("/v1/reading")), &credential)] {
        let reply = world.ask(request).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        for name in ["server", "x-internal-node", "authorization", "x-tenant"] {
            assert_eq!(reply.header(name), None, "{reply:?}");
        }
        let (_, seen) = api.seen().pop().unwrap();
        let lines = |name: &str| {
            let lines = seen.get_all(name).iter();
            lines
                .map(|line| line.to_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(lines("authorization"), ["Bearer the-key-of-the-upstream"]);
        assert_eq!(lines("x-tenant"), ["a"]);
        assert!(
            lines("x_tenant").is_empty() && lines("cookie").is_empty(),
            "{seen:?}"
        );
    }
    assert!(!format!("{:?}", world.config).contains("the-key-of-the-upstream"));
    assert!(!logs::text().contains("the-key-of-the-upstream"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn api_that_does_not_answer_or_stops_in_the_middle_ends_the_wait() {
    let (feed, body) = Fed::new();
    let body = Arc::new(Mutex::new(Some(body)));
    let answer = move || {
        let body = body.lock().unwrap().take();
        async move {
            match body {
                Some(body) => Answer::new(Body::new(body)),
                None => std::future::pending().await,
            }
        }
    };
    let upstream = Upstream::serving(Router::new().fallback(answer));
    let routes = "[[route]]\npath = \"/**\"\naccess = \"free\"\ntimeout_s = 1\n";
    let world = World::configured(upstream, "", routes).await;
    let response = world.begin(get("/a").map(Full::new)).await;
    let mut body = response.into_body();
    send(&feed, "a beginning").await;
    assert_eq!(crate::streams::next(&mut body, 11).await, "a beginning");
    // Nothing more comes: the answer breaks off, and is not taken for a whole one.
    assert!(body.frame().await.unwrap().is_err());
    drop(feed);
    let reply = world.ask(get("/b")).await;
    assert_eq!(reply.problem().0, ProblemKind::UpstreamFailed);
}
