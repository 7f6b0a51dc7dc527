//! The API behind the gateway. It knows nothing of payments, and remembers what reached it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::Response,
    serve::ListenerExt as _,
};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::Semaphore,
};

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// The API.
#[derive(Clone)]
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
    broken: AtomicBool,
    slow: AtomicBool,
    arrived: Semaphore,
    released: Semaphore,
    /// A port that is taken but does not accept, while the API is down.
    down: Mutex<Option<TcpSocket>>,
}

impl Upstream {
    /// An API that is up.
    pub(crate) async fn start() -> Self {
        let upstream = Self::down();
        upstream.up();
        upstream
    }

    /// An API whose port refuses connections until it is [`Upstream::up`].
    pub(crate) fn down() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = socket.local_addr().unwrap();
        let shared = Shared {
            seen: Mutex::default(),
            connections: AtomicUsize::new(0),
            broken: AtomicBool::new(false),
            slow: AtomicBool::new(false),
            arrived: Semaphore::new(0),
            released: Semaphore::new(0),
            down: Mutex::new(Some(socket)),
        };
        Self {
            address,
            shared: Arc::new(shared),
        }
    }

    /// An API of a test's own.
    pub(crate) fn serving(router: Router) -> Self {
        let upstream = Self::down();
        upstream.serve(router);
        upstream
    }

    /// Accepts connections from now on.
    pub(crate) fn up(&self) {
        self.serve(Router::new().fallback(answer).with_state(self.clone()));
    }

    #[expect(clippy::disallowed_methods, reason = "a test starts its own tasks")]
    fn serve(&self, router: Router) {
        let socket = self.shared.down.lock().unwrap().take();
        let listener: TcpListener = socket.expect("it is down").listen(64).unwrap();
        let shared = Arc::clone(&self.shared);
        let listener = listener.tap_io(move |_| {
            shared.connections.fetch_add(1, Ordering::SeqCst);
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
    }

    /// Answers 500 from now on, or no more.
    pub(crate) fn set_broken(&self, broken: bool) {
        self.shared.broken.store(broken, Ordering::SeqCst);
    }

    /// Holds requests back until [`Upstream::release`].
    pub(crate) fn set_slow(&self) {
        self.shared.slow.store(true, Ordering::SeqCst);
    }

    /// Waits until a request is held back.
    pub(crate) async fn arrived(&self) {
        self.shared.arrived.acquire().await.unwrap().forget();
    }

    /// Lets one request that is held back go on.
    pub(crate) fn release(&self) {
        self.shared.released.add_permits(1);
    }

    /// How many connections it has taken.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// What has arrived.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }
}

async fn answer(State(upstream): State<Upstream>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let seen = Seen {
        method: parts.method.to_string(),
        target: parts.uri.to_string(),
        headers: parts.headers,
        body: body.collect().await.unwrap().to_bytes(),
    };
    let shared = &upstream.shared;
    let number = {
        let mut all = shared.seen.lock().unwrap();
        all.push(seen);
        all.len()
    };
    if shared.slow.load(Ordering::SeqCst) {
        shared.arrived.add_permits(1);
        shared.released.acquire().await.unwrap().forget();
    }
    let status = match shared.broken.load(Ordering::SeqCst) {
        true => StatusCode::INTERNAL_SERVER_ERROR,
        false => StatusCode::OK,
    };
    Response::builder()
        .status(status)
        .header("cache-control", "public, max-age=60")
        .header("connection", "x-of-the-hop")
        .header("x-of-the-hop", "1")
        .header("x-of-the-api", "kept")
        .header("payment-receipt", "forged")
        .header("idempotency-replayed", "true")
        .header("proxy-authenticate", "Basic")
        .body(Body::from(format!("{{\"answer\":{number}}}")))
        .unwrap()
}
