//! The way to a socket: the price by plain HTTP, the handshake, and the first frame.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header};
use stiver_core::{
    Challenge, base64url,
    socket::{ErrorFrame, Frame, Framing},
};
use stiver_env::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        handshake::{client::generate_key, derive_accept_key},
        protocol::{Role, WebSocketConfig},
    },
};

use super::MESSAGE_BYTES_MAX;
use crate::{
    Delivery, Exchange, HttpExchange, SessionStream, Side, SideAnswer, error::BoxError, limits,
};

const PAYMENT_AUTHORIZATION: HeaderName = HeaderName::from_static("payment-authorization");
const RECEIPT: HeaderName = HeaderName::from_static("payment-receipt");
/// A session's intent.
const SESSION: &str = "session";

/// A credential for an open socket, and who waits for what comes of it.
pub(super) struct Ask {
    pub(super) credential: String,
    pub(super) reply: oneshot::Sender<Reply>,
}

/// What a frame was answered with, as HTTP would have it.
pub(super) type Reply = (StatusCode, HeaderMap, Vec<u8>);

/// Where credentials go while a socket is open.
type Line = Arc<Mutex<Option<mpsc::Sender<Ask>>>>;

/// A way to sockets, over [`HttpExchange`]. One for each socket.
pub struct SocketExchange {
    http: HttpExchange,
    line: Line,
}

/// A socket whose first credential was good.
pub(super) struct Opened {
    pub(super) socket: WebSocketStream<reqwest::Upgraded>,
    pub(super) asks: mpsc::Receiver<Ask>,
    pub(super) stream: Option<SessionStream>,
    line: Line,
}

impl Opened {
    /// From now on credentials go by requests of their own.
    pub(super) fn cut(&self) {
        *self.line.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// What a [`SocketExchange`] was answered with.
pub struct SocketResponse {
    status: StatusCode,
    headers: HeaderMap,
    kind: Kind,
}

enum Kind {
    Http(Box<reqwest::Response>),
    Body(Vec<u8>),
    Socket(Box<Opened>),
}

impl SocketResponse {
    fn of(response: reqwest::Response) -> Self {
        Self {
            status: response.status(),
            headers: response.headers().clone(),
            kind: Kind::Http(Box::new(response)),
        }
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn into_socket(self) -> Result<Box<Opened>, Box<Self>> {
        match self.kind {
            Kind::Socket(opened) => Ok(opened),
            kind => Err(Box::new(Self { kind, ..self })),
        }
    }

    pub(super) async fn into_body(self) -> Vec<u8> {
        match self.kind {
            Kind::Http(response) => HttpExchange::read(*response, limits::PROBLEM_BYTES_MAX).await,
            Kind::Body(body) => body,
            Kind::Socket(_) => Vec::new(),
        }
    }
}

impl SocketExchange {
    /// A way over these connections.
    pub fn new(http: HttpExchange) -> Self {
        Self {
            http,
            line: Line::default(),
        }
    }

    /// Shakes hands, and shows the credential in the first frame.
    async fn open(
        &self,
        mut request: Request<Bytes>,
        credential: String,
    ) -> Result<SocketResponse, BoxError> {
        let key = generate_key();
        let headers = request.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(
            header::SEC_WEBSOCKET_VERSION,
            HeaderValue::from_static("13"),
        );
        headers.insert(header::SEC_WEBSOCKET_KEY, HeaderValue::from_str(&key)?);
        let response = self.http.upgrade(request).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(SocketResponse::of(response));
        }
        let accept = response.headers().get(header::SEC_WEBSOCKET_ACCEPT);
        let expected = derive_accept_key(key.as_bytes());
        if accept.is_none_or(|it| it.as_bytes() != expected.as_bytes()) {
            return Err("the server switched to something else than WebSocket".into());
        }
        let upgraded = response
            .upgrade()
            .await
            .map_err(reqwest::Error::without_url)?;
        let config = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let mut socket =
            WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(config)).await;
        let first = Frame::Authorization(credential.into()).to_text(Framing::Mpp);
        socket
            .send(Message::text(first.unwrap_or_default()))
            .await?;
        loop {
            let text = match socket.next().await {
                Some(Ok(Message::Text(text))) => text,
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                Some(Ok(Message::Binary(_) | Message::Close(_) | Message::Frame(_))) | None => {
                    return Err("the socket ended before it told of the payment".into());
                }
                Some(Err(error)) => return Err(error.into()),
            };
            return match Frame::parse(&text, Framing::Mpp)? {
                Frame::Receipt(json) => Ok(self.opened(json, socket)),
                Frame::Error(error) => {
                    let (status, headers, body) = refusal(&error);
                    let kind = Kind::Body(body);
                    Ok(SocketResponse {
                        status,
                        headers,
                        kind,
                    })
                }
                _ => Err("the payee delivered before it told of the payment".into()),
            };
        }
    }

    fn opened(&self, receipt: &str, socket: WebSocketStream<reqwest::Upgraded>) -> SocketResponse {
        let (line, asks) = mpsc::channel(1);
        *self.line.lock().unwrap_or_else(PoisonError::into_inner) = Some(line);
        let mut headers = receipt_fields(receipt);
        // It is paid for as an event stream is.
        let events = HeaderValue::from_static("text/event-stream");
        headers.insert(header::CONTENT_TYPE, events);
        SocketResponse {
            status: StatusCode::OK,
            headers,
            kind: Kind::Socket(Box::new(Opened {
                socket,
                asks,
                stream: None,
                line: Arc::clone(&self.line),
            })),
        }
    }
}

/// A receipt as HTTP has it.
pub(super) fn receipt_fields(json: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(&base64url::encode(json.as_bytes())) {
        headers.insert(RECEIPT, value);
    }
    headers
}

/// A refusal as HTTP has it.
pub(super) fn refusal(error: &ErrorFrame<'_>) -> Reply {
    let status = error.status.and_then(|it| StatusCode::from_u16(it).ok());
    let status = status.filter(|it| it.is_client_error() || it.is_server_error());
    let mut headers = HeaderMap::new();
    for line in &error.challenges {
        if let Ok(line) = HeaderValue::from_str(line) {
            headers.append(header::WWW_AUTHENTICATE, line);
        }
    }
    let body = error.problem.unwrap_or(&error.message).as_bytes().to_vec();
    (status.unwrap_or(StatusCode::BAD_GATEWAY), headers, body)
}

/// Takes the credential out of a request.
fn take_credential(request: &mut Request<Bytes>) -> Option<String> {
    for name in [PAYMENT_AUTHORIZATION, header::AUTHORIZATION] {
        let Some(value) = request.headers().get(&name) else {
            continue;
        };
        let text = value.to_str().ok().filter(|it| it.starts_with("Payment "));
        if let Some(text) = text {
            let text = text.to_owned();
            request.headers_mut().remove(&name);
            return Some(text);
        }
    }
    None
}

/// Leaves only what a socket can be paid by.
fn only_sessions(headers: &mut HeaderMap) {
    let lines: Vec<HeaderValue> = headers
        .get_all(header::WWW_AUTHENTICATE)
        .iter()
        .filter(|line| {
            let challenges = Challenge::parse_all([line.as_bytes()]);
            let mut known = challenges.iter().flatten();
            known.any(|it| it.params.intent.as_str() == SESSION)
        })
        .cloned()
        .collect();
    headers.remove(header::WWW_AUTHENTICATE);
    for line in lines {
        headers.append(header::WWW_AUTHENTICATE, line);
    }
}

impl Exchange for SocketExchange {
    type Response = SocketResponse;

    fn send(
        &mut self,
        mut request: Request<Bytes>,
    ) -> BoxFuture<'_, Result<SocketResponse, BoxError>> {
        Box::pin(async move {
            match take_credential(&mut request) {
                Some(credential) => self.open(request, credential).await,
                None => {
                    let response = Exchange::send(&mut self.http, request).await?;
                    let mut response = SocketResponse::of(response);
                    only_sessions(&mut response.headers);
                    Ok(response)
                }
            }
        })
    }

    fn head(response: &SocketResponse) -> (StatusCode, &HeaderMap) {
        (response.status, &response.headers)
    }

    fn read(response: SocketResponse, limit: usize) -> BoxFuture<'static, Vec<u8>> {
        Box::pin(async move {
            match response.kind {
                Kind::Http(response) => HttpExchange::read(*response, limit).await,
                Kind::Body(body) => body,
                Kind::Socket(_) => Vec::new(),
            }
        })
    }

    fn peek(
        response: SocketResponse,
        limit: usize,
    ) -> BoxFuture<'static, (Vec<u8>, SocketResponse)> {
        Box::pin(async move {
            let SocketResponse {
                status,
                headers,
                kind,
            } = response;
            let (read, kind) = match kind {
                Kind::Http(response) => {
                    let (read, response) = HttpExchange::peek(*response, limit).await;
                    (read, Kind::Http(Box::new(response)))
                }
                Kind::Body(body) => (body.clone(), Kind::Body(body)),
                Kind::Socket(opened) => (Vec::new(), Kind::Socket(opened)),
            };
            let response = SocketResponse {
                status,
                headers,
                kind,
            };
            (read, response)
        })
    }

    fn watch(response: SocketResponse, _: Delivery) -> BoxFuture<'static, SocketResponse> {
        Box::pin(std::future::ready(response))
    }

    fn stream(mut response: SocketResponse, stream: SessionStream) -> SocketResponse {
        if let Kind::Socket(opened) = &mut response.kind {
            opened.stream = Some(stream);
        }
        response
    }

    fn side(&self) -> Arc<dyn Side> {
        Arc::new(SocketSide {
            http: self.http.clone(),
            line: Arc::clone(&self.line),
        })
    }
}

/// Credentials beside a socket: within it while it is open.
struct SocketSide {
    http: HttpExchange,
    line: Line,
}

impl Side for SocketSide {
    fn ask(&self, mut request: Request<Bytes>) -> BoxFuture<'static, SideAnswer> {
        let line = self
            .line
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let http = self.http.clone();
        Box::pin(async move {
            let bare = request.headers().clone();
            if let (Some(line), Some(credential)) = (line, take_credential(&mut request)) {
                let (reply, replied) = oneshot::channel();
                let ask = Ask { credential, reply };
                if line.send(ask).await.is_ok() {
                    let gone = |_| BoxError::from("the socket ended");
                    return replied.await.map_err(gone);
                }
            }
            *request.headers_mut() = bare;
            http.ask(request).await
        })
    }
}
