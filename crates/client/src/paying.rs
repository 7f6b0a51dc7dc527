//! The reqwest surface, with rustls on ring.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use reqwest::ResponseBuilderExt as _;
use stiver_env::BoxFuture;

use crate::{
    Answer, CallError, CallId, Delivery, Exchange, NotSent, Origin, PaymentClient, SessionStream,
    Side, SideAnswer, WatchedBody, error::BoxError, limits,
};

/// A reqwest client that pays. Cheap to clone.
///
/// Redirects, waiting and retries are the [`PaymentClient`]'s business: the inner client follows
/// none and retries nothing. Plain HTTP to this machine goes through no proxy, unless
/// [`Options::loopback_proxy`](crate::Options) is set: it is allowed because nobody is on the way.
/// Needs a tokio runtime around its calls.
///
/// ```no_run
/// # async fn example(payments: stiver_client::PaymentClient)
/// # -> Result<(), Box<dyn std::error::Error>> {
/// let client = stiver_client::PayingClient::new(payments)?;
/// let request = http::Request::get("https://api.example/data").body(bytes::Bytes::new())?;
/// let answer = client.call(request).await?;
/// if let Some(payment) = &answer.payment {
///     eprintln!("paid {} in call {}", payment.terms.amount, payment.call);
/// }
/// let body = answer.response.bytes().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PayingClient {
    http: reqwest::Client,
    local: reqwest::Client,
    /// Only HTTP/1.1 can leave HTTP.
    #[cfg(feature = "websocket")]
    sockets: reqwest::Client,
    payments: PaymentClient,
    no_tls: Option<Arc<str>>,
}

/// Why no HTTP client could be made.
#[derive(Debug, thiserror::Error)]
#[error("no HTTP client could be made")]
pub struct BuildError(#[source] reqwest::Error);

impl PayingClient {
    /// A client with the system's certificate authorities. Where the system has none, it still
    /// calls this machine over plain HTTP, and says so when https is asked for.
    ///
    /// # Errors
    ///
    /// [`BuildError`] when reqwest cannot be set up.
    pub fn new(payments: PaymentClient) -> Result<Self, BuildError> {
        Self::from_builder(payments, reqwest::Client::builder)
    }

    /// A client with settings of your own: proxies, certificates, a user agent. Whatever it says of
    /// redirects and retries is replaced. The function is called several times.
    ///
    /// # Errors
    ///
    /// [`BuildError`] when reqwest cannot be set up with these settings.
    pub fn from_builder(
        payments: PaymentClient,
        builder: impl Fn() -> reqwest::ClientBuilder,
    ) -> Result<Self, BuildError> {
        use rustls::crypto::{CryptoProvider, ring};
        if CryptoProvider::get_default().is_none() {
            // Somebody may install one meanwhile: then theirs is used.
            let _ = ring::default_provider().install_default();
        }
        let settled = || {
            builder()
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .connect_timeout(payments.options().connect_timeout)
        };
        // It calls over plain HTTP only, so it needs no certificate authorities.
        let local = settled().tls_certs_only([]);
        let local = if payments.options().loopback_proxy {
            local
        } else {
            local.no_proxy()
        };
        let local = local.build().map_err(BuildError)?;
        let (http, no_tls) = match settled().build() {
            Ok(http) => (http, None),
            Err(error) => (local.clone(), Some(Arc::from(words(&error)))),
        };
        #[cfg(feature = "websocket")]
        let sockets = match &no_tls {
            None => settled().http1_only().build().map_err(BuildError)?,
            Some(_) => local.clone(),
        };
        Ok(Self {
            http,
            local,
            #[cfg(feature = "websocket")]
            sockets,
            payments,
            no_tls,
        })
    }

    /// Makes one logical call; see [`PaymentClient::call`].
    ///
    /// # Errors
    ///
    /// Those of [`PaymentClient::call`].
    pub async fn call(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<Answer<reqwest::Response>, CallError> {
        self.payments.call(request, &mut self.exchange()).await
    }

    /// Goes on with an open call; see [`PaymentClient::resume`].
    ///
    /// # Errors
    ///
    /// Those of [`PaymentClient::resume`].
    pub async fn resume(&self, call: CallId) -> Result<Answer<reqwest::Response>, CallError> {
        self.payments.resume(call, &mut self.exchange()).await
    }

    /// The paying half: recovery and look-ups.
    pub fn payments(&self) -> &PaymentClient {
        &self.payments
    }

    /// The way to servers by itself: for a program that puts something of its own around it, and
    /// calls [`PaymentClient::call`] with that.
    pub fn exchange(&self) -> HttpExchange {
        HttpExchange {
            http: self.http.clone(),
            local: self.local.clone(),
            #[cfg(feature = "websocket")]
            sockets: self.sockets.clone(),
            no_tls: self.no_tls.clone(),
        }
    }
}

/// True when the server's certificate is no good: nothing was sent to it.
fn is_distrusted(error: &reqwest::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(rustls::Error::InvalidCertificate(_)) = error.downcast_ref() {
            return true;
        }
        // An I/O error tells the cause of what it wraps, and not what it wraps.
        let wrapped = error.downcast_ref::<std::io::Error>();
        cause = match wrapped.and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    false
}

/// A reqwest client as an [`Exchange`]. See [`PayingClient::exchange`].
#[derive(Clone)]
pub struct HttpExchange {
    http: reqwest::Client,
    local: reqwest::Client,
    #[cfg(feature = "websocket")]
    sockets: reqwest::Client,
    no_tls: Option<Arc<str>>,
}

#[cfg(feature = "websocket")]
impl HttpExchange {
    /// Sends a request that asks to leave HTTP.
    pub(crate) async fn upgrade(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<reqwest::Response, BoxError> {
        let mut exchange = self.clone();
        exchange.http = self.sockets.clone();
        Exchange::send(&mut exchange, request).await
    }
}

impl Exchange for HttpExchange {
    type Response = reqwest::Response;

    fn send(
        &mut self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<reqwest::Response, BoxError>> {
        Box::pin(async move {
            let secure = request.uri().scheme_str() == Some("https");
            if let (Some(why), true) = (&self.no_tls, secure) {
                let why = format!("https cannot be used on this machine: {why}");
                return Err(NotSent(why).into());
            }
            let here = Origin::of(request.uri()).is_ok_and(|origin| origin.is_loopback());
            let http = if here && !secure {
                &self.local
            } else {
                &self.http
            };
            let request = reqwest::Request::try_from(request);
            let request = request.map_err(|error| NotSent(words(&error.without_url())))?;
            let sent = http.execute(request).await;
            sent.map_err(|error| {
                let for_good = error.is_builder() || is_distrusted(&error);
                // The URL may hold secrets, and whoever asked knows it.
                let why = words(&error.without_url());
                match for_good {
                    true => NotSent(why).into(),
                    false => why.into(),
                }
            })
        })
    }

    fn head(response: &reqwest::Response) -> (StatusCode, &HeaderMap) {
        (response.status(), response.headers())
    }

    fn read(mut response: reqwest::Response, limit: usize) -> BoxFuture<'static, Vec<u8>> {
        Box::pin(async move {
            let mut read = BytesMut::new();
            while read.len() < limit {
                match response.chunk().await {
                    Ok(Some(chunk)) => read.extend_from_slice(&chunk),
                    Ok(None) | Err(_) => break,
                }
            }
            read.truncate(limit);
            read.to_vec()
        })
    }

    fn peek(
        response: reqwest::Response,
        limit: usize,
    ) -> BoxFuture<'static, (Vec<u8>, reqwest::Response)> {
        Box::pin(async move {
            let url = response.url().clone();
            let (head, body) = http::Response::from(response).into_parts();
            let mut body = WatchedBody::new(body);
            let read = body.peek(limit).await;
            (read, whole(url, http::Response::from_parts(head, body)))
        })
    }

    fn watch(
        response: reqwest::Response,
        delivery: Delivery,
    ) -> BoxFuture<'static, reqwest::Response> {
        Box::pin(async move {
            let url = response.url().clone();
            let (head, body) = http::Response::from(response).into_parts();
            let body = WatchedBody::new(body).tell_at_end(delivery).await;
            whole(url, http::Response::from_parts(head, body))
        })
    }

    fn stream(response: reqwest::Response, stream: SessionStream) -> reqwest::Response {
        let url = response.url().clone();
        let response = http::Response::from(response);
        whole(
            url,
            response.map(|body| WatchedBody::new(body).paid_as_it_comes(stream)),
        )
    }

    fn side(&self) -> Arc<dyn Side> {
        Arc::new(self.clone())
    }
}

impl Side for HttpExchange {
    fn ask(&self, request: http::Request<Bytes>) -> BoxFuture<'static, SideAnswer> {
        let mut exchange = self.clone();
        Box::pin(async move {
            let response = Exchange::send(&mut exchange, request).await?;
            let (status, headers) = (response.status(), response.headers().clone());
            let body = Self::read(response, limits::PROBLEM_BYTES_MAX).await;
            Ok((status, headers, body))
        })
    }
}

/// Puts a response together again.
fn whole(url: url::Url, response: http::Response<WatchedBody<reqwest::Body>>) -> reqwest::Response {
    let mut response = response.map(reqwest::Body::wrap);
    if let Ok(carrier) = http::Response::builder().url(url).body(()) {
        let carried = carrier.into_parts().0.extensions;
        response.extensions_mut().extend(carried);
    }
    response.into()
}

/// An error and its causes on one line: reqwest's own `Display` says little.
fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
