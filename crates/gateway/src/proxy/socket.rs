//! WebSockets that are paid for by what they deliver: the client's is framed for payments and ends
//! here; the upstream's is a plain one.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderValue, Request, Response, header, request::Parts};
use http_body_util::{BodyExt as _, Empty, combinators::UnsyncBoxBody};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use stiver_core::untrusted::Untrusted;
use stiver_env::BoxFuture;
use stiver_server::{
    limits::SOCKET_MESSAGE_BYTES_MAX,
    socket::{Handshake, Message, Socket, SocketReader, SocketWriter, Sockets},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self,
        handshake::{client::generate_key, derive_accept_key},
        protocol::{Role, WebSocketConfig},
    },
};

use super::{Forward, forward::request_headers, upgrade::is_switch};
use crate::{
    connections::{Place, ResponseBody},
    routes::Serving,
};

type Upstream = WebSocketStream<TokioIo<Upgraded>>;

/// Answers a handshake of a route whose sockets are metered.
pub(super) async fn answer(
    sockets: &Sockets,
    forward: &Forward,
    mut parts: Parts,
    handshake: Handshake,
    serving: Arc<Serving>,
) -> Response<ResponseBody> {
    let protocol = first_protocol(&parts);
    let stop = stop(parts.extensions.remove::<Place>());
    let (forward, asked) = (forward.clone(), Arc::new(parts.clone()));
    let handler = move |socket: Socket| {
        let (forward, asked) = (forward.clone(), Arc::clone(&asked));
        let serving = Arc::clone(&serving);
        async move {
            let paid = socket.paid().clone();
            let mut head = Parts::clone(&asked);
            head.extensions.insert(paid);
            let (reader, writer) = socket.split();
            match connect(&forward, head, &serving).await {
                Ok(upstream) => join(upstream, reader, writer).await,
                Err(why) => {
                    tracing::warn!(why = %Untrusted(&why), "an upstream's socket did not open");
                    writer.fail("the upstream did not open a socket").await;
                }
            }
        }
    };
    let handshake = handshake.protocol(protocol);
    let answer = sockets.answer(parts, handshake, handler, stop).await;
    answer.map(|body| UnsyncBoxBody::new(body.map_err(|never| match never {})))
}

/// The sub-protocol that the client likes best: the upstream has to agree to it too.
fn first_protocol(parts: &Parts) -> Option<HeaderValue> {
    let lines = parts.headers.get(header::SEC_WEBSOCKET_PROTOCOL)?;
    let first = lines.to_str().ok()?.split(',').next()?.trim();
    HeaderValue::from_str(first)
        .ok()
        .filter(|it| !it.is_empty())
}

/// Ready when the gateway stops. Holds the connection's place till then.
fn stop(place: Option<Place>) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        match place {
            // The sender is gone only when the gateway is: that is a stop too.
            Some(mut place) => drop(place.stop.wait_for(|stop| *stop).await),
            None => std::future::pending().await,
        }
    })
}

/// Opens the upstream's socket.
async fn connect(
    forward: &Forward,
    mut parts: Parts,
    serving: &Arc<Serving>,
) -> Result<Upstream, String> {
    let upstream = &serving.upstream;
    let protocol = first_protocol(&parts);
    stiver_server::tower::remove_credentials(&mut parts.headers);
    request_headers(&mut parts, upstream.rules());
    let headers = &mut parts.headers;
    // Compression is between two sides: what comes from the client would be read here.
    headers.remove(header::SEC_WEBSOCKET_EXTENSIONS);
    headers.remove(header::SEC_WEBSOCKET_PROTOCOL);
    let key = generate_key();
    let field = HeaderValue::from_str(&key).map_err(|error| error.to_string())?;
    headers.insert(header::SEC_WEBSOCKET_KEY, field);
    headers.insert(
        header::SEC_WEBSOCKET_VERSION,
        HeaderValue::from_static("13"),
    );
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Some(protocol) = &protocol {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol.clone());
    }
    let empty = Empty::<Bytes>::new().map_err(|never| match never {});
    let mut request = Request::new(UnsyncBoxBody::new(empty));
    *request.uri_mut() = upstream.uri(parts.uri).map_err(|error| error.to_string())?;
    *request.headers_mut() = parts.headers;
    let sending = upstream.send(request);
    let mut response = tokio::select! {
        sent = sending => sent.map_err(|error| error.to_string())?,
        () = forward.clock.sleep(serving.timeout) => return Err("it took too long".to_owned()),
    };
    if !is_switch(&response) {
        return Err(format!("it answered with status {}", response.status()));
    }
    let accept = response.headers().get(header::SEC_WEBSOCKET_ACCEPT);
    if accept.is_none_or(|it| it.as_bytes() != derive_accept_key(key.as_bytes()).as_bytes()) {
        return Err("it switched to something else".to_owned());
    }
    if response.headers().get(header::SEC_WEBSOCKET_PROTOCOL) != protocol.as_ref() {
        return Err("it agreed to another sub-protocol".to_owned());
    }
    let upgraded = hyper::upgrade::on(&mut response);
    let upgraded = upgraded.await.map_err(|error| error.to_string())?;
    let config = WebSocketConfig::default()
        .max_message_size(Some(SOCKET_MESSAGE_BYTES_MAX))
        .max_frame_size(Some(SOCKET_MESSAGE_BYTES_MAX));
    let io = TokioIo::new(upgraded);
    Ok(WebSocketStream::from_raw_socket(io, Role::Client, Some(config)).await)
}

/// Passes messages both ways until one side has ended. What goes to the client is paid for first.
async fn join(upstream: Upstream, mut reader: SocketReader, writer: SocketWriter) {
    let (mut sink, mut stream) = upstream.split();
    let down = async {
        while let Some(message) = stream.next().await {
            let sent = match message {
                Ok(tungstenite::Message::Text(text)) => writer.send(text.as_str()).await,
                Ok(tungstenite::Message::Binary(data)) => writer.send(data).await,
                Ok(tungstenite::Message::Close(_)) => return Ok(()),
                Ok(_) => Ok(()),
                Err(error) => return Err(error),
            };
            if sent.is_err() {
                break;
            }
        }
        Ok(())
    };
    let up = async {
        while let Some(message) = reader.recv().await {
            let message = match message {
                Message::Text(text) => tungstenite::Message::text(text),
                Message::Binary(data) => tungstenite::Message::Binary(data),
            };
            if sink.send(message).await.is_err() {
                // What the upstream still says is delivered.
                std::future::pending::<()>().await;
            }
        }
    };
    let ended = tokio::select! {
        ended = down => ended,
        () = up => Ok(()),
    };
    match ended {
        Ok(()) => {
            // The upstream is told at once, and the client by its last receipt.
            drop(writer);
            let _ = sink.close().await;
        }
        Err(error) => {
            tracing::debug!(%error, "an upstream's socket broke off");
            writer.fail("the upstream's socket broke off").await;
        }
    }
}
