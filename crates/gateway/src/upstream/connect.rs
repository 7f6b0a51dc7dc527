//! Connections to one upstream, with TLS where it is spoken.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use rustls::{ClientConfig, pki_types::CertificateDer, pki_types::ServerName};
use rustls_platform_verifier::Verifier;
use stiver_env::{
    Clock, Env,
    net::{Net, Stream},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsConnector;

use crate::tls::TlsError;

/// Makes connections to one upstream.
#[derive(Clone)]
pub(super) struct Connector {
    dial: Arc<Dial>,
}

struct Dial {
    host: String,
    port: u16,
    timeout: Duration,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    net: Arc<dyn Net>,
    clock: Arc<dyn Clock>,
}

/// Whom to connect to.
pub(super) struct Target<'a> {
    /// A name, or an IP address.
    pub(super) host: &'a str,
    /// The port.
    pub(super) port: u16,
    /// How long a connection may take, with the TLS handshake.
    pub(super) timeout: Duration,
    /// TLS to it.
    pub(super) tls: Option<ClientConfig>,
}

impl Connector {
    /// Connections to this upstream.
    ///
    /// # Errors
    ///
    /// When the host is no name that a certificate could be for.
    pub(super) fn new(target: Target<'_>, env: &Env) -> io::Result<Self> {
        let bare = target.host.trim_matches(['[', ']']).to_owned();
        let tls = match target.tls {
            None => None,
            Some(config) => {
                let name = ServerName::try_from(bare.clone()).map_err(io::Error::other)?;
                Some((TlsConnector::from(Arc::new(config)), name))
            }
        };
        let dial = Dial {
            host: bare,
            port: target.port,
            timeout: target.timeout,
            tls,
            net: Arc::clone(&env.net),
            clock: Arc::clone(&env.clock),
        };
        Ok(Self {
            dial: Arc::new(dial),
        })
    }

    /// A new connection.
    pub(super) async fn connect(&self) -> io::Result<UpstreamStream> {
        self.dial.connect().await
    }
}

impl Dial {
    async fn connect(&self) -> io::Result<UpstreamStream> {
        let connecting = async {
            let stream = self.net.connect(&self.host, self.port).await?;
            let Some((tls, name)) = &self.tls else {
                let h2 = false;
                return Ok(UpstreamStream { stream, h2 });
            };
            let stream = tls.connect(name.clone(), stream).await?;
            let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            let stream = Box::new(stream);
            Ok(UpstreamStream { stream, h2 })
        };
        tokio::select! {
            biased;
            connected = connecting => connected,
            () = self.clock.sleep(self.timeout) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<UpstreamStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// The URI is not read: there is one upstream.
    fn call(&mut self, _: Uri) -> Self::Future {
        let dial = Arc::clone(&self.dial);
        Box::pin(async move { Ok(TokioIo::new(dial.connect().await?)) })
    }
}

/// TLS to an upstream: the platform's roots and these.
///
/// # Errors
///
/// [`TlsError::Protocol`].
pub(super) fn tls_config(
    roots: Vec<CertificateDer<'static>>,
    http2: bool,
) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = if roots.is_empty() {
        Verifier::new(Arc::clone(&provider))
    } else {
        Verifier::new_with_extra_roots(roots, Arc::clone(&provider))
    };
    let verifier = verifier.map_err(TlsError::Protocol)?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Protocol)?
        // Named so because it could weaken TLS: this one is the platform's own.
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = match http2 {
        true => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        false => vec![b"http/1.1".to_vec()],
    };
    Ok(config)
}

/// A connection to the upstream.
pub(super) struct UpstreamStream {
    stream: Box<dyn Stream>,
    /// HTTP/2 was agreed on in the TLS handshake.
    h2: bool,
}

impl Connection for UpstreamStream {
    fn connected(&self) -> Connected {
        let connected = Connected::new();
        match self.h2 {
            true => connected.negotiated_h2(),
            false => connected,
        }
    }
}

impl AsyncRead for UpstreamStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for UpstreamStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
