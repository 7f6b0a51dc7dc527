//! A paid socket as a service: handshakes, and what comes to the same path without one.

use std::{
    convert::Infallible,
    future::{Future, pending},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version, header,
    request::Parts,
};
use http_body::Body;
use http_body_util::{Either, Full};
use hyper::upgrade::OnUpgrade;
use stiver_core::problem::ProblemKind;
use stiver_env::BoxFuture;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tower_service::Service;

use super::{
    Handler, Socket,
    asker::{Asker, First, fixed, refused},
    wire,
};
use crate::{
    Gate, Pricing, Route,
    gate::session::metered::Metering,
    limits::{RETRY_AFTER_SECONDS, SOCKETS_UNPAID_MAX},
    route::RouteError,
    session::SessionOffer,
    tower::{
        BoxError, Payment, PaymentLayer, Price, RequestBody, ResponseBody, credential_lines,
        path_and_query, refusal, remove_credentials,
    },
};

/// The one version of the protocol (RFC 6455).
const VERSION: &str = "13";
const RECEIPT: HeaderName = HeaderName::from_static("payment-receipt");

/// A request's wish to go on as a WebSocket.
pub struct Handshake {
    accept: HeaderValue,
    upgrade: OnUpgrade,
    protocol: Option<HeaderValue>,
}

impl Handshake {
    /// Takes the wish out of a request that has a good one.
    pub fn take(parts: &mut Parts) -> Option<Self> {
        let headers = &parts.headers;
        let is_one = parts.method == Method::GET
            && parts.version == Version::HTTP_11
            && names(headers, &header::CONNECTION, "upgrade")
            && names(headers, &header::UPGRADE, "websocket")
            && only(headers, &header::SEC_WEBSOCKET_VERSION)? == VERSION;
        let key = only(headers, &header::SEC_WEBSOCKET_KEY)?;
        if !is_one || key.len() != 24 {
            return None;
        }
        let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes())).ok()?;
        let upgrade = parts.extensions.remove::<OnUpgrade>()?;
        Some(Self {
            accept,
            upgrade,
            protocol: None,
        })
    }

    /// The sub-protocol to agree to: one that the client has offered.
    #[must_use]
    pub fn protocol(mut self, protocol: Option<HeaderValue>) -> Self {
        self.protocol = protocol;
        self
    }

    fn response(&self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, self.accept.clone());
        if let Some(protocol) = &self.protocol {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol.clone());
        }
        response
    }
}

/// True when a field, a list, has this token.
fn names(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let lines = headers.get_all(name).iter();
    let lines = lines.filter_map(|line| line.to_str().ok());
    let mut tokens = lines.flat_map(|line| line.split(','));
    tokens.any(|it| it.trim().eq_ignore_ascii_case(token))
}

fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut lines = headers.get_all(name).iter();
    let only = lines.next()?.to_str().ok()?;
    lines.next().is_none().then_some(only.trim())
}

/// A place among the sockets that have not paid.
pub(super) struct Unpaid(Arc<AtomicUsize>);

impl Unpaid {
    fn take(counted: &Arc<AtomicUsize>) -> Option<Self> {
        let place = Self(Arc::clone(counted));
        let before = counted.fetch_add(1, Ordering::Relaxed);
        (before < SOCKETS_UNPAID_MAX).then_some(place)
    }
}

impl Drop for Unpaid {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Opens paid sockets: what [`PaidSocket`] is made of, for a server with prices and handlers of its
/// own. Cheap to clone.
#[derive(Clone)]
pub struct Sockets {
    gate: Gate,
    price: Arc<dyn Price>,
    unpaid: Arc<AtomicUsize>,
}

impl Sockets {
    /// Sockets behind a gate, at prices that must be of sessions with meters.
    pub fn new(gate: Gate, price: impl Price) -> Self {
        Self {
            gate,
            price: Arc::new(price),
            unpaid: Arc::default(),
        }
    }

    /// Answers a handshake. `handler` runs once the socket is paid for; when `stop` is ready the
    /// socket ends with its receipt.
    pub async fn answer<F>(
        &self,
        parts: Parts,
        handshake: Handshake,
        handler: impl Fn(Socket) -> F + Send + Sync + 'static,
        stop: BoxFuture<'static, ()>,
    ) -> Response<Full<Bytes>>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |socket| Box::pin(handler(socket)));
        self.answer_by(parts, handshake, handler, stop).await
    }

    async fn answer_by(
        &self,
        mut parts: Parts,
        handshake: Handshake,
        handler: Handler,
        stop: BoxFuture<'static, ()>,
    ) -> Response<Full<Bytes>> {
        let lines: Vec<HeaderValue> = credential_lines(&parts.headers).cloned().collect();
        let credential = crate::tower::presents_credential(&parts.headers);
        remove_credentials(&mut parts.headers);
        let target = path_and_query(&parts);
        let asker = Arc::new(Asker {
            gate: self.gate.clone(),
            price: Arc::clone(&self.price),
            parts,
            target,
        });
        let mut response = handshake.response();
        let (account, unpaid) = match credential {
            false => match Unpaid::take(&self.unpaid) {
                Some(place) => (None, Some(place)),
                None => {
                    let why = "too many sockets have not paid yet";
                    let mut busy = refused(ProblemKind::Unavailable, why);
                    busy.retry_after = Some(RETRY_AFTER_SECONDS);
                    return plain(refusal::<Full<Bytes>>(&busy));
                }
            },
            true => match asker.by_handshake(&lines).await {
                Ok((account, receipt)) => {
                    let receipt = receipt.and_then(|it| HeaderValue::from_str(&it).ok());
                    if let Some(mut receipt) = receipt {
                        receipt.set_sensitive(true);
                        response.headers_mut().insert(RECEIPT, receipt);
                    }
                    (Some(*account), None)
                }
                Err(answer) => return plain(answer),
            },
        };
        let run = (asker, handler, stop, account, unpaid);
        self.open(handshake.upgrade, run);
        response
    }

    /// Goes on once the client has its answer.
    fn open(
        &self,
        upgrade: OnUpgrade,
        (asker, handler, stop, account, unpaid): (
            Arc<Asker>,
            Handler,
            BoxFuture<'static, ()>,
            Option<Metering>,
            Option<Unpaid>,
        ),
    ) {
        let clock = Arc::clone(&self.gate.env().clock);
        self.gate.env().spawner.spawn(Box::pin(async move {
            match upgrade.await {
                Ok(upgraded) => {
                    let run = |from, to| super::Run {
                        asker,
                        handler,
                        stop,
                        from,
                        to,
                        account,
                        unpaid,
                    };
                    wire::carry(upgraded, run, clock).await;
                }
                Err(error) => tracing::debug!(%error, "a socket did not come about"),
            }
        }));
    }
}

impl Asker {
    /// What a handshake's credential opens, or the answer in its place.
    async fn by_handshake(
        &self,
        lines: &[HeaderValue],
    ) -> Result<(Box<Metering>, Option<Arc<str>>), Response<ResponseBody<Full<Bytes>>>> {
        let mut lines = lines.iter();
        let is_payment = |line: &&HeaderValue| {
            let presented = stiver_core::credential::presented([line.as_bytes()]);
            !matches!(presented, stiver_core::credential::Presented::None)
        };
        let credential = lines.find(is_payment);
        let several = lines.any(|line| is_payment(&line));
        let Some(credential) = credential.filter(|_| !several) else {
            let error = crate::GateError::SeveralCredentials;
            return Err(refusal(&error.refused()));
        };
        match self.first(credential.as_bytes()).await {
            First::Account(account, _, field) => Ok((account, Some(field))),
            First::Told(field) | First::Closed(field) => Err(told(&field)),
            First::Refused(refused) => Err(refusal(&refused)),
        }
    }
}

/// The state of a channel, where no socket is opened.
fn told(json: &str) -> Response<ResponseBody<Full<Bytes>>> {
    let mut response = Response::new(Either::Left(Full::default()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    let field = stiver_core::base64url::encode(json.as_bytes());
    if let Ok(mut receipt) = HeaderValue::from_str(&field) {
        receipt.set_sensitive(true);
        response.headers_mut().insert(RECEIPT, receipt);
    }
    response
}

/// An answer that this side made: it has no body of a service.
fn plain(response: Response<ResponseBody<Full<Bytes>>>) -> Response<Full<Bytes>> {
    response.map(|body| match body {
        Either::Left(body) => body,
        Either::Right(_) => Full::default(),
    })
}

/// A service whose sockets are paid for. Cheap to clone. See the [module](super).
#[derive(Clone)]
pub struct PaidSocket {
    sockets: Sockets,
    handler: Handler,
    plain: Payment<NoHandshake>,
}

/// Why no paid socket could be made.
#[derive(Debug, thiserror::Error)]
pub enum PaidSocketError {
    /// The route cannot be.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// An offer is for requests: a socket is paid for by what it delivers.
    #[error("a socket needs offers with meters: make them with `SessionOffer::metered`")]
    NotMetered,
}

impl PaidSocket {
    /// Sockets that cost what one of these offers says, and what runs in them. The handler's future
    /// is a task of its own: it ends when [`Socket`] says so.
    ///
    /// # Errors
    /// [`PaidSocketError`]: no offers, or one without meters.
    pub fn new<F>(
        gate: Gate,
        offers: Vec<SessionOffer>,
        handler: impl Fn(Socket) -> F + Send + Sync + 'static,
    ) -> Result<Self, PaidSocketError>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        if !offers.iter().all(SessionOffer::is_metered) {
            return Err(PaidSocketError::NotMetered);
        }
        let route = Arc::new(Route::for_sessions(offers)?);
        let layer = PaymentLayer::fixed(gate.clone(), Arc::clone(&route));
        Ok(Self {
            sockets: Sockets::new(gate, fixed(Pricing::Priced(route))),
            handler: Arc::new(move |socket| Box::pin(handler(socket))),
            plain: tower_layer::Layer::layer(&layer, NoHandshake),
        })
    }
}

impl<B> Service<http::Request<B>> for PaidSocket
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError> + Send,
{
    type Response = Response<ResponseBody<Full<Bytes>>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        let Some(handshake) = Handshake::take(&mut parts) else {
            return self.plain.call(http::Request::from_parts(parts, body));
        };
        let (sockets, handler) = (self.sockets.clone(), Arc::clone(&self.handler));
        Box::pin(async move {
            let stop = Box::pin(pending());
            let answer = sockets.answer_by(parts, handshake, handler, stop).await;
            Ok(answer.map(Either::Left))
        })
    }
}

/// What a paid request without a handshake is told. It costs nothing.
#[derive(Clone)]
struct NoHandshake;

impl<B> Service<http::Request<RequestBody<B>>> for NoHandshake
where
    B: Body,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<RequestBody<B>>) -> Self::Future {
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::UPGRADE_REQUIRED;
        let headers = response.headers_mut();
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        let version = HeaderValue::from_static(VERSION);
        headers.insert(header::SEC_WEBSOCKET_VERSION, version);
        std::future::ready(Ok(response))
    }
}
