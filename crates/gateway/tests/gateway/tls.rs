//! Listeners that speak TLS, and certificates that change while connections are open.

use std::{fs, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{Request, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName},
};
use stiver_testkit::certificates::{Authority, Issued};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::common::{World, get, logs, paid, upstream::Upstream};

/// A gateway with a plain listener and then these that speak TLS.
struct Secure {
    world: World,
    authority: Authority,
    folder: tempfile::TempDir,
}

impl Secure {
    async fn new(protocols: &[&str]) -> Self {
        let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
        let place = folder.path().display();
        let mut tables = String::from(crate::common::ROUTES);
        for protocols in protocols {
            tables.push_str(&format!(
                "\n[[listener]]\naddress = \"127.0.0.1:0\"\nprotocols = {protocols}\n\
                 tls = {{ certificate = \"{place}/cert.pem\", key = \"{place}/key.pem\" }}\n"
            ));
        }
        put(&folder, &authority.issue(&["localhost"]));
        let world = World::configured(Upstream::start().await, "", &tables).await;
        Self {
            world,
            authority,
            folder,
        }
    }

    async fn connect(&self, listener: usize, alpn: &[&str]) -> std::io::Result<Client> {
        connect(self.world.addresses()[listener], &self.authority, alpn).await
    }
}

fn put(folder: &tempfile::TempDir, issued: &Issued) {
    fs::write(folder.path().join("cert.pem"), &issued.certificate).unwrap();
    fs::write(folder.path().join("key.pem"), &issued.key).unwrap();
}

type Client = TlsStream<TcpStream>;

async fn connect(
    address: SocketAddr,
    authority: &Authority,
    alpn: &[&str],
) -> std::io::Result<Client> {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from(authority.root_der());
    roots.add(root).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

fn certificate(client: &Client) -> Vec<u8> {
    client.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

type Sender = hyper::client::conn::http1::SendRequest<Full<Bytes>>;

#[expect(clippy::disallowed_methods, reason = "a test starts its own tasks")]
async fn http1(client: Client) -> Sender {
    let io = TokioIo::new(client);
    let (sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn status(sender: &mut Sender, request: Request<Bytes>) -> StatusCode {
    let mut request = request.map(Full::new);
    let host = "localhost".parse().unwrap();
    request.headers_mut().insert("host", host);
    sender.ready().await.unwrap();
    let response: http::Response<Incoming> = sender.send_request(request).await.unwrap();
    let status = response.status();
    response.into_body().collect().await.unwrap();
    status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "a test starts its own tasks")]
async fn tls_listener_speaks_what_was_agreed_on() {
    let secure = Secure::new(&[r#"["http/1.1", "h2"]"#]).await;
    let credential = secure.world.pay(get("/v1/reading")).await;
    let mut sender = http1(secure.connect(1, &["http/1.1"]).await.unwrap()).await;
    let unpaid = status(&mut sender, get("/v1/reading")).await;
    assert_eq!(unpaid, StatusCode::PAYMENT_REQUIRED);
    let request = paid(get("/v1/reading"), &credential);
    assert_eq!(status(&mut sender, request).await, StatusCode::OK);

    let client = secure.connect(1, &["h2"]).await.unwrap();
    assert_eq!(client.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (executor, io) = (TokioExecutor::new(), TokioIo::new(client));
    let handshake = hyper::client::conn::http2::handshake(executor, io);
    let (mut sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("https://localhost/free/a");
    let request = request.body(Full::new(Bytes::new())).unwrap();
    let response: http::Response<Incoming> = sender.send_request(request).await.unwrap();
    assert_eq!(response.version(), Version::HTTP_2);
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listener_speaks_no_version_that_it_does_not_name() {
    let secure = Secure::new(&[r#"["http/1.1"]"#, r#"["h2"]"#]).await;
    assert_eq!(secure.world.addresses().len(), 3);
    assert!(secure.connect(1, &["h2"]).await.is_err());
    assert!(secure.connect(2, &["http/1.1"]).await.is_err());
    assert!(secure.connect(1, &["h2", "http/1.1"]).await.is_ok());
    assert!(secure.connect(2, &["h2", "http/1.1"]).await.is_ok());
    // Plain HTTP to a TLS port is no request.
    let address = secure.world.addresses()[1];
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = b"GET /free/a HTTP/1.1\r\nhost: localhost\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut stream, request)
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer).await;
    assert!(!answer.starts_with(b"HTTP"));
    assert!(secure.world.upstream.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewed_certificate_serves_new_connections_and_drops_no_old_one() {
    let secure = Secure::new(&[r#"["http/1.1"]"#]).await;
    let client = secure.connect(1, &[]).await.unwrap();
    let first = certificate(&client);
    let mut old = http1(client).await;
    assert_eq!(status(&mut old, get("/free/a")).await, StatusCode::OK);

    let renewed = secure.authority.issue(&["localhost"]);
    put(&secure.folder, &renewed);
    secure.world.running().look_at_certificates();
    let client = secure.connect(1, &[]).await.unwrap();
    assert_ne!(certificate(&client), first);
    assert_eq!(certificate(&client), renewed.certificate_der);
    assert_eq!(status(&mut old, get("/free/a")).await, StatusCode::OK);

    let mut broken = secure.authority.issue(&["localhost"]);
    broken.key = "nonsense".into();
    put(&secure.folder, &broken);
    secure.world.running().look_at_certificates();
    let client = secure.connect(1, &[]).await.unwrap();
    assert_eq!(certificate(&client), renewed.certificate_der);
    let told = logs::text();
    assert!(
        told.contains("the old certificate stays in force"),
        "{told}"
    );
    assert!(told.contains("key.pem holds no private key"), "{told}");
}
