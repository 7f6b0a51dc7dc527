//! The API behind the gateway: pooled connections over the injected network.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, Response, Uri, header};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{
        Client,
        connect::{Connected, Connection},
    },
    rt::TokioIo,
};
use stiver_env::{
    Spawner,
    net::{Net, Stream},
};

use crate::{config::Upstream, connections::Spawn};

/// A request body on its way to the upstream.
pub(crate) type RequestBody = UnsyncBoxBody<Bytes, BoxError>;
/// Any error of a body.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Headers of one connection only (RFC 9110, section 7.6.1), and those by which an upstream may be
/// told another method or path than the one that was matched and paid for.
const NOT_FORWARDED: [&str; 18] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-original-uri",
    "x-rewrite-url",
    "x-forwarded-uri",
    "x-forwarded-method",
    "payment-authorization",
];

/// What a proxy in front says of the client. From a client itself it is hearsay.
const FORWARDED: [&str; 7] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-real-ip",
];

/// A client of one upstream.
#[derive(Clone)]
pub(crate) struct UpstreamClient {
    client: Client<hyper_rustls::HttpsConnector<Connector>, RequestBody>,
    upstream: Arc<Upstream>,
}

impl UpstreamClient {
    /// A client for an upstream over a network.
    pub(crate) fn new(
        upstream: Upstream,
        net: Arc<dyn Net>,
        spawner: Arc<dyn Spawner>,
    ) -> io::Result<Self> {
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_provider_and_platform_verifier(rustls::crypto::ring::default_provider())
            .map_err(io::Error::other)?
            .https_or_http()
            .enable_http1()
            .wrap_connector(Connector { net });
        let client = Client::builder(Spawn(spawner)).build(connector);
        Ok(Self {
            client,
            upstream: Arc::new(upstream),
        })
    }

    /// The upstream's URI of a normal path and its query.
    pub(crate) fn uri(&self, target: &str) -> Result<Uri, http::Error> {
        let scheme = if self.upstream.tls { "https" } else { "http" };
        Uri::builder()
            .scheme(scheme)
            .authority(self.upstream.authority.as_str())
            .path_and_query(format!("{}{target}", self.upstream.base_path))
            .build()
    }

    /// Sends a request and waits for the head of the answer.
    pub(crate) async fn send(
        &self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, UpstreamError> {
        self.client
            .request(request)
            .await
            .map_err(|error| UpstreamError {
                reached: !error.is_connect(),
                source: Box::new(error),
            })
    }
}

/// The upstream gave no answer.
#[derive(Debug, thiserror::Error)]
#[error("the upstream gave no answer")]
pub(crate) struct UpstreamError {
    /// The request may have reached it: false only when no connection was made.
    pub(crate) reached: bool,
    #[source]
    source: BoxError,
}

/// Removes what only a proxy in front of us may say.
pub(crate) fn strip_forwarded(headers: &mut HeaderMap) {
    for name in FORWARDED {
        headers.remove(name);
    }
}

/// Removes what must not travel beyond this hop, in either direction.
pub(crate) fn strip_hop_headers(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in NOT_FORWARDED {
        headers.remove(name);
    }
}

/// Makes connections for the client.
#[derive(Clone)]
pub(crate) struct Connector {
    net: Arc<dyn Net>,
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<UpstreamStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let default_port = if uri.scheme_str() == Some("https") {
            443
        } else {
            80
        };
        let port = uri.port_u16().unwrap_or(default_port);
        let host = uri.host().unwrap_or_default();
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        let connecting = self.net.connect(host, port);
        Box::pin(async move { Ok(TokioIo::new(UpstreamStream(connecting.await?))) })
    }
}

/// A connection to the upstream.
pub(crate) struct UpstreamStream(Box<dyn Stream>);

impl Connection for UpstreamStream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl tokio::io::AsyncRead for UpstreamStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl tokio::io::AsyncWrite for UpstreamStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
