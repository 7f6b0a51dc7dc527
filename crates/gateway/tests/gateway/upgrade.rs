//! Connections that leave HTTP.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
};

use crate::common::{READING, Reply, World, get, paid, upstream::Upstream, with};

const ROUTES: &str = r#"
[[route]]
path = "/talk"
price = "0.001 USD"
upgrade = true
keep_responses = "always"
upstream = "talker"

[[route]]
path = "/plain"
access = "free"
upstream = "talker"

[[route]]
path = "/free-talk"
access = "free"
upgrade = true
upstream = "talker"
"#;

/// An API that answers what it hears in capitals, in the protocol that is asked for. Tells the
/// `Upgrade` of each request, and when a talk has ended.
#[expect(clippy::disallowed_methods, reason = "a test starts its own tasks")]
async fn talker() -> (std::net::SocketAddr, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tell = tell.clone();
            let service = service_fn(move |request| answer(request, tell.clone()));
            let http = hyper::server::conn::http1::Builder::new();
            let connection = http.serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection.with_upgrades());
        }
    });
    (address, told)
}

#[expect(clippy::disallowed_methods, reason = "a test starts its own tasks")]
async fn answer(
    mut request: Request<Incoming>,
    tell: mpsc::UnboundedSender<String>,
) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
    let asked = request.headers().get("upgrade").cloned();
    let Some(asked) = asked else {
        tell.send("none".into()).unwrap();
        return Ok(Response::new(Full::new(Bytes::from_static(b"plain"))));
    };
    tell.send(asked.to_str().unwrap().to_owned()).unwrap();
    let other = request.headers().contains_key("x-switch-to-another");
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(stream) = upgrade.await else { return };
        let mut stream = TokioIo::new(stream);
        let mut bytes = [0; 64];
        while let Ok(length @ 1..) = stream.read(&mut bytes).await {
            let heard = bytes[..length].to_ascii_uppercase();
            stream.write_all(&heard).await.unwrap();
        }
        tell.send("ended".into()).unwrap();
    });
    let agreed = if other {
        "another".parse().unwrap()
    } else {
        asked
    };
    let response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header("connection", "upgrade")
        .header("upgrade", agreed);
    Ok(response.body(Full::default()).unwrap())
}

async fn world(gateway: &str) -> (World, mpsc::UnboundedReceiver<String>) {
    let (address, told) = talker().await;
    let tables = format!("{ROUTES}\n[upstreams.talker]\nurl = \"http://{address}\"\n");
    let world = World::configured(Upstream::down(), gateway, &tables).await;
    (world, told)
}

fn handshake(path: &str, protocol: &str) -> Request<Bytes> {
    with(
        with(get(path), "connection", "Upgrade"),
        "upgrade",
        protocol,
    )
}

async fn talk(world: &World, request: Request<Bytes>) -> (Reply, TokioIo<Upgraded>) {
    let mut response = world.begin(request.map(Full::new)).await;
    let reply = Reply {
        status: response.status(),
        headers: response.headers().clone(),
        body: Bytes::new(),
    };
    assert_eq!(reply.status, StatusCode::SWITCHING_PROTOCOLS, "{reply:?}");
    let stream = hyper::upgrade::on(&mut response).await.unwrap();
    (reply, TokioIo::new(stream))
}

async fn exchange(stream: &mut TokioIo<Upgraded>, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut heard = vec![0; text.len()];
    stream.read_exact(&mut heard).await.unwrap();
    assert_eq!(heard, text.to_ascii_uppercase().as_bytes());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshake_is_charged_for_and_then_bytes_go_both_ways() {
    let (world, mut told) = world("").await;
    let refused = world.ask(handshake("/talk", "websocket")).await;
    assert_eq!(refused.status, StatusCode::PAYMENT_REQUIRED);
    let credential = world.credential(refused.challenge()).await;
    let request = paid(handshake("/talk", "websocket"), &credential);
    // Also with a key that asks for a stored answer: there is none to store.
    let request = with(request, "idempotency-key", "a");
    let (reply, mut stream) = talk(&world, request).await;
    assert_eq!(reply.header("upgrade"), Some("websocket"));
    assert!(reply.receipt().is_some(), "{reply:?}");
    for text in ["hello", "and", "again"] {
        exchange(&mut stream, text).await;
    }
    assert_eq!(world.spent().await, READING);
    assert_eq!(told.recv().await.as_deref(), Some("websocket"));
    drop(stream);
    assert_eq!(told.recv().await.as_deref(), Some("ended"));
    let again = world
        .ask(paid(handshake("/talk", "websocket"), &credential))
        .await;
    assert!(again.status.is_client_error(), "{again:?}");
    assert_eq!(world.spent().await, READING);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connection_leaves_http_only_where_the_route_says_so_and_never_for_http_again() {
    let (world, mut told) = world("").await;
    for (path, protocol) in [
        ("/plain", "websocket"),
        ("/free-talk", "h2c"),
        ("/free-talk", "HTTP/2.0"),
        ("/free-talk", "TLS/1.2"),
        ("/free-talk", "websocket, h2c"),
    ] {
        let reply = world.ask(handshake(path, protocol)).await;
        assert_eq!(reply.status, StatusCode::OK, "{path} {protocol}: {reply:?}");
        assert_eq!(
            told.recv().await.as_deref(),
            Some("none"),
            "{path} {protocol}"
        );
    }
    // The connection itself was not asked to change.
    let reply = world
        .ask(with(get("/free-talk"), "upgrade", "websocket"))
        .await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(told.recv().await.as_deref(), Some("none"));
    // An API that switches to what nobody asked for is no answer.
    let request = with(handshake("/free-talk", "echo"), "x-switch-to-another", "1");
    assert_eq!(world.ask(request).await.status, StatusCode::BAD_GATEWAY);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_gives_a_talk_its_grace_and_then_cuts_it() {
    let (mut world, mut told) = world("shutdown_grace_s = 1").await;
    let (_, mut stream) = talk(&world, handshake("/free-talk", "echo")).await;
    assert_eq!(told.recv().await.as_deref(), Some("echo"));
    let stopping = world.take();
    let (stopped, ()) = tokio::join!(stopping.stop(), exchange(&mut stream, "still here"));
    stopped.unwrap();
    assert_eq!(told.recv().await.as_deref(), Some("ended"));
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(rest.is_empty());
}
