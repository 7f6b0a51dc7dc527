//! A gateway in front of a test's own API, and a funded payer.

pub(crate) mod logs;
pub(crate) mod session;
pub(crate) mod upstream;

use std::{path::PathBuf, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use stiver_core::{
    Challenge, Credential, Receipt,
    problem::{ProblemKind, ReceivedProblem},
};
use stiver_env::Env;
use stiver_gateway::{
    Gateway, StartError, books,
    config::Config,
    init::{NewGateway, init},
    keys,
};
use stiver_ledger::{
    id::{AccountId, LedgerId, Nonce},
    order::{Action, Order},
    text::CurrencyCode,
};
use stiver_method::{
    key::Ed25519Key,
    payer::{CallKey, Payer},
};
use stiver_method_ledger::{LedgerPayer, LedgerPayerConfig, sign};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
};

use self::upstream::Upstream;

/// What the payer has at the beginning, base units of a dollar with 6 decimals: 10 USD.
pub(crate) const FUNDS: i128 = 10_000_000;
/// What a reading costs.
pub(crate) const READING: i128 = 1000;
/// What an order costs.
pub(crate) const ORDER: i128 = 50_000;
/// The longest request body that the gateway takes, bytes.
pub(crate) const BODY_LIMIT: usize = 4096;

/// The routes of every test that names no others.
pub(crate) const ROUTES: &str = r#"
[[route]]
path = "/v1/reading"
methods = ["GET"]
price = "0.001 USD"
description = "One reading"
descriptions = { en = "One reading", de = "Ein Messwert" }

[[route]]
path = "/v1/other"
price = "0.001 USD"

[[route]]
path = "/v1/order"
methods = ["POST", "PUT"]
price = "0.05 USD"

[[route]]
path = "/v1/refund"
price = "0.001 USD"
on_failure = "refund"

[[route]]
path = "/v1/keep"
price = "0.001 USD"
on_failure = "keep"

[[route]]
path = "/free/**"
access = "free"

[[route]]
path = "/denied/**"
access = "denied"
"#;

/// A gateway, the API behind it, and a payer.
pub(crate) struct World {
    pub(crate) env: Env,
    pub(crate) upstream: Upstream,
    pub(crate) config: Config,
    pub(crate) payer: LedgerPayer,
    pub(crate) ledger: LedgerId,
    pub(crate) key: Arc<Ed25519Key>,
    gateway: Option<Gateway>,
    _folder: tempfile::TempDir,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl World {
    /// A running gateway in front of a running API.
    pub(crate) async fn new() -> Self {
        Self::with(Upstream::start().await).await
    }

    /// A running gateway in front of this API.
    pub(crate) async fn with(upstream: Upstream) -> Self {
        Self::configured(upstream, "", ROUTES).await
    }

    /// A running gateway in front of this API, with more lines in `[gateway]` and these tables.
    pub(crate) async fn configured(upstream: Upstream, gateway: &str, tables: &str) -> Self {
        let env = stiver_env::native::env();
        Self::on(env, upstream, gateway, tables).await
    }

    /// The same, on a machine that is there already.
    pub(crate) async fn on(env: Env, upstream: Upstream, gateway: &str, tables: &str) -> Self {
        logs::install();
        let folder = tempfile::tempdir().unwrap();
        let new = NewGateway {
            upstream: format!("http://{}", upstream.address),
            listen: "127.0.0.1:0".to_owned(),
            realm: "gateway-test".to_owned(),
            price: "0.001 USD".to_owned(),
        };
        let written = init(folder.path(), &new, &env).unwrap();
        let text = std::fs::read_to_string(&written.config_file).unwrap();
        let head = text.split("[[route]]").next().unwrap();
        let text = format!("{head}body_limit_bytes = {BODY_LIMIT}\n{gateway}\n{tables}");
        let config = Config::parse(&text, &written.config_file, folder.path()).unwrap();
        let key = Arc::new(Ed25519Key::from_seed(&env.random()));
        let ledger = fund(&config, &key, &env).await;
        let payer = LedgerPayer::new(LedgerPayerConfig {
            signer: Arc::<Ed25519Key>::clone(&key),
            account: None,
            ledgers: vec![ledger],
            currencies: config.currencies.clone(),
            query: None,
        });
        let gateway = Some(Gateway::start(&config, &env).await.unwrap());
        Self {
            env,
            upstream,
            config,
            payer,
            ledger,
            key,
            gateway,
            _folder: folder,
        }
    }

    /// Starts another gateway on the same files.
    pub(crate) async fn second(&self) -> Result<Gateway, StartError> {
        Gateway::start(&self.config, &self.env).await
    }

    /// Starts the gateway again after [`World::stop`].
    pub(crate) async fn start(&mut self) {
        self.gateway = Some(self.second().await.unwrap());
    }

    /// Stops the gateway.
    pub(crate) async fn stop(&mut self) {
        self.take().stop().await.unwrap();
    }

    /// Takes the gateway out, to stop it by hand.
    pub(crate) fn take(&mut self) -> Gateway {
        self.gateway.take().expect("it runs")
    }

    /// The gateway that runs.
    pub(crate) fn gateway(&self) -> &Gateway {
        self.gateway.as_ref().expect("it runs")
    }

    /// Where the gateway tells its metrics.
    pub(crate) fn metrics_address(&self) -> std::net::SocketAddr {
        let gateway = self.gateway.as_ref().expect("it runs");
        gateway.metrics_address().expect("it is configured")
    }

    /// Asks the metrics listener.
    pub(crate) async fn observe(&self, target: &str) -> (StatusCode, String) {
        let reply = ask_at(self.metrics_address(), get(target)).await;
        let text = String::from_utf8(reply.body.to_vec()).unwrap();
        (reply.status, text)
    }

    /// Where the gateway listens.
    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.gateway.as_ref().expect("it runs").address()
    }

    /// Where the gateway listens, listener by listener.
    pub(crate) fn addresses(&self) -> Vec<std::net::SocketAddr> {
        self.running().addresses().to_vec()
    }

    /// The gateway.
    pub(crate) fn running(&self) -> &Gateway {
        self.gateway.as_ref().expect("it runs")
    }

    pub(crate) fn secret_file(&self) -> PathBuf {
        self.config.secret_file.clone()
    }

    /// Sends a request and reads the answer.
    pub(crate) async fn ask(&self, request: Request<Bytes>) -> Reply {
        ask_at(self.address(), request).await
    }

    /// Sends a request and returns when the head of the answer is there.
    pub(crate) async fn begin<B>(&self, request: Request<B>) -> Response<Incoming>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let stream = TcpStream::connect(self.address()).await.unwrap();
        begin(stream, request).await
    }

    /// Sends bytes as they are and reads what comes until the connection ends.
    pub(crate) async fn raw(&self, text: &str) -> String {
        let mut stream = TcpStream::connect(self.address()).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    }

    /// The challenge of an unpaid request.
    pub(crate) async fn challenge(&self, request: Request<Bytes>) -> Challenge {
        let reply = self.ask(request).await;
        assert_eq!(reply.status, StatusCode::PAYMENT_REQUIRED, "{reply:?}");
        reply.challenge()
    }

    /// A credential for a challenge, as an `Authorization` value.
    pub(crate) async fn credential(&self, challenge: Challenge) -> String {
        let call = CallKey::from_bytes(self.env.random());
        let now = self.env.clock.now();
        let artefact = self.payer.prepare(&challenge, now, call).await.unwrap();
        let proof = self.payer.execute(&artefact).await.unwrap();
        let credential = Credential {
            challenge,
            payload: proof.payload,
            source: proof.source,
        };
        credential.to_header()
    }

    /// A credential for a request.
    pub(crate) async fn pay(&self, request: Request<Bytes>) -> String {
        self.credential(self.challenge(request).await).await
    }

    /// Asks the admin socket.
    pub(crate) async fn admin(&self, target: &str) -> Value {
        let request = Request::get(target).body(Bytes::new()).unwrap();
        let reply = self.ask_admin(request).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        serde_json::from_slice(&reply.body).unwrap()
    }

    /// Sends a request to the admin socket.
    pub(crate) async fn ask_admin(&self, request: Request<Bytes>) -> Reply {
        let stream = UnixStream::connect(self.config.admin_socket()).await;
        exchange(stream.unwrap(), request).await
    }

    /// How many orders the ledger has executed.
    pub(crate) async fn executed(&self) -> u64 {
        let books = self.admin("/v1/books").await;
        books["executed"].as_u64().unwrap()
    }

    /// What has left the payer's account, base units.
    pub(crate) async fn spent(&self) -> i128 {
        let accounts = self.admin("/v1/accounts").await;
        let id = self.payer.account().to_string();
        let rows = accounts["accounts"].as_array().unwrap();
        let mine = rows.iter().find(|row| row["id"] == id.as_str()).unwrap();
        let left = &mine["balances"][0]["available"]["units"];
        FUNDS - left.as_str().unwrap().parse::<i128>().unwrap()
    }

    /// The kinds of the payer's movements, newest first.
    pub(crate) async fn movements(&self) -> Vec<String> {
        let target = format!("/v1/statement?account={}", self.payer.account());
        let statement = self.admin(&target).await;
        let rows = statement["movements"].as_array().unwrap();
        rows.iter()
            .map(|row| row["kind"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// Issues money to a key, on the ledger of a gateway that does not run yet.
async fn fund(config: &Config, key: &Ed25519Key, env: &Env) -> LedgerId {
    let issuer = keys::read_key(&config.issuer_key_file(), env).unwrap();
    let embedded = books::open(config, issuer.did(), env).await.unwrap();
    let ledger = embedded.ledger();
    let now = ledger.time().await.unwrap();
    let order = Order {
        ledger: ledger.id(),
        account: AccountId::of_first_key(&issuer.did()),
        nonce: Nonce::from_bytes(env.random()),
        expires: now.plus_millis(60_000),
        action: Action::Mint {
            to: AccountId::of_first_key(&key.did()),
            amount: FUNDS.unsigned_abs(),
            currency: CurrencyCode::new("usd").unwrap(),
            first_key: Some(key.did()),
            owner: None,
        },
    };
    let signed = sign::order(&order, issuer.as_ref()).await.unwrap();
    ledger.execute(signed).await.unwrap();
    ledger.close().await.unwrap();
    ledger.id()
}

/// Sends one request over a connection of its own.
pub(crate) async fn ask_at(address: std::net::SocketAddr, request: Request<Bytes>) -> Reply {
    let stream = TcpStream::connect(address).await.unwrap();
    exchange(stream, request).await
}

async fn exchange<S>(stream: S, request: Request<Bytes>) -> Reply
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let response = begin(stream, request.map(Full::new)).await;
    let (parts, body) = response.into_parts();
    Reply {
        status: parts.status,
        headers: parts.headers,
        body: body.collect().await.unwrap().to_bytes(),
    }
}

/// Sends one request over HTTP/2, which is told by the first bytes.
#[expect(clippy::disallowed_methods, reason = "a test starts its own tasks")]
pub(crate) async fn ask_h2_at(address: std::net::SocketAddr, request: Request<Bytes>) -> Reply {
    let stream = TcpStream::connect(address).await.unwrap();
    let (executor, io) = (TokioExecutor::new(), TokioIo::new(stream));
    let handshake = hyper::client::conn::http2::handshake(executor, io);
    let (mut sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let (mut parts, body) = request.into_parts();
    let target = format!("http://{address}{}", parts.uri);
    parts.uri = target.parse().unwrap();
    let request = Request::from_parts(parts, Full::new(body));
    let (parts, body) = sender.send_request(request).await.unwrap().into_parts();
    Reply {
        status: parts.status,
        headers: parts.headers,
        body: body.collect().await.unwrap().to_bytes(),
    }
}

/// Sends one request over HTTP/1.1 and returns when the head of the answer is there.
#[expect(clippy::disallowed_methods, reason = "a test starts its own tasks")]
pub(crate) async fn begin<S, B>(stream: S, request: Request<B>) -> Response<Incoming>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let io = TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    let (mut parts, body) = request.into_parts();
    if !parts.headers.contains_key(header::HOST) {
        let host = header::HeaderValue::from_static("gateway-test");
        parts.headers.insert(header::HOST, host);
    }
    let request = Request::from_parts(parts, body);
    sender.send_request(request).await.unwrap()
}

impl Reply {
    /// The only value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let first = values.next()?;
        assert!(values.next().is_none(), "several {name}: {self:?}");
        Some(first.to_str().unwrap())
    }

    /// Its one challenge.
    pub(crate) fn challenge(&self) -> Challenge {
        let lines = self.headers.get_all(header::WWW_AUTHENTICATE).iter();
        let mut all = Challenge::parse_all(lines.map(header::HeaderValue::as_bytes));
        assert_eq!(all.len(), 1, "{self:?}");
        all.remove(0).unwrap()
    }

    /// Its receipt.
    pub(crate) fn receipt(&self) -> Option<Receipt> {
        let value = self.header("payment-receipt")?;
        Some(Receipt::parse(value.as_bytes()).unwrap())
    }

    /// A problem that no cache keeps: its kind and its detail.
    pub(crate) fn problem(&self) -> (ProblemKind, String) {
        let media_type = self.header("content-type");
        assert_eq!(media_type, Some("application/problem+json"), "{self:?}");
        assert_eq!(self.header("cache-control"), Some("no-store"), "{self:?}");
        assert_eq!(self.header("payment-receipt"), None, "{self:?}");
        let problem = ReceivedProblem::parse(&self.body).unwrap();
        let kind = problem.kind.expect("a problem of ours");
        assert_eq!(kind.status(), self.status.as_u16());
        (kind, problem.detail.unwrap_or_default())
    }

    /// Asserts that it was paid for: a success with a receipt, for nobody else's eyes.
    #[track_caller]
    pub(crate) fn assert_paid(&self) {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        let cached = self.header("cache-control").unwrap();
        assert!(cached.starts_with("private"), "{cached}");
        assert!(self.receipt().is_some(), "{self:?}");
    }
}

pub(crate) fn get(target: &str) -> Request<Bytes> {
    Request::get(target).body(Bytes::new()).unwrap()
}

pub(crate) fn post(target: &str, body: &str) -> Request<Bytes> {
    let body = Bytes::from(body.to_owned());
    Request::post(target).body(body).unwrap()
}

/// Adds a header.
pub(crate) fn with(mut request: Request<Bytes>, name: &str, value: &str) -> Request<Bytes> {
    let name: header::HeaderName = name.parse().unwrap();
    request.headers_mut().append(name, value.parse().unwrap());
    request
}

/// Adds a credential.
pub(crate) fn paid(request: Request<Bytes>, credential: &str) -> Request<Bytes> {
    with(request, "authorization", credential)
}
