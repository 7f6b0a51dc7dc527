//! The tower surface: a layer over any HTTP client service.

use std::{
    future::poll_fn,
    marker::PhantomData,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Limited};
use stiver_env::BoxFuture;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    Answer, CallError, CallId, Delivery, Exchange, Payment, PaymentClient, SessionStream, Side,
    SideAnswer, WatchedBody, error::BoxError, limits,
};

/// Pays for the requests of an HTTP client service.
///
/// The service takes `http::Request<B>` with absolute URLs, where `B` is made from [`Bytes`]
/// (`Full<Bytes>`, axum's `Body`): bodies are held in memory, up to [`limits::REQUEST_BYTES_MAX`],
/// because they may be sent again. A response that was paid for has an [`Arc`] of its [`Payment`]
/// among its extensions; read its body to the end, see [`WatchedBody`]. Put no layer that follows
/// redirects beneath this one.
#[derive(Clone)]
pub struct PayLayer {
    client: PaymentClient,
}

impl PayLayer {
    /// A layer that pays with this client.
    pub fn new(client: PaymentClient) -> Self {
        Self { client }
    }
}

impl<S> Layer<S> for PayLayer {
    type Service = PayService<S>;

    fn layer(&self, inner: S) -> PayService<S> {
        PayService {
            inner,
            client: self.client.clone(),
        }
    }
}

/// See [`PayLayer`].
#[derive(Clone)]
pub struct PayService<S> {
    inner: S,
    client: PaymentClient,
}

impl<S> PayService<S> {
    /// Goes on with an open call; see [`PaymentClient::resume`].
    pub async fn resume<B, R>(
        &mut self,
        call: CallId,
    ) -> Result<Response<WatchedBody<R>>, CallError>
    where
        S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
        B: From<Bytes> + Send + 'static,
        R: Body + Send + 'static,
        R::Data: Send,
        R::Error: Send,
    {
        let mut exchange = Calls::new(self.inner.clone());
        let answer = self.client.resume(call, &mut exchange).await?;
        Ok(mark(answer))
    }
}

impl<S, B, R> Service<Request<B>> for PayService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Body + From<Bytes> + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
    R: Body + Send + 'static,
    R::Data: Send,
    R::Error: Send,
{
    type Response = Response<WatchedBody<R>>;
    type Error = CallError;
    type Future = BoxFuture<'static, Result<Self::Response, CallError>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        // Each sending waits for the inner service by itself: one call may need several.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut exchange = Calls::new(self.inner.clone());
        let client = self.client.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = Limited::new(body, limits::REQUEST_BYTES_MAX)
                .collect()
                .await
                .map_err(|error| CallError::RequestBody(error.to_string()))?
                .to_bytes();
            let request = Request::from_parts(head, body);
            client.call(request, &mut exchange).await.map(mark)
        })
    }
}

fn mark<R>(answer: Answer<Response<R>>) -> Response<R> {
    let mut response = answer.response;
    if let Some(payment) = answer.payment {
        let payment: Arc<Payment> = Arc::new(payment);
        response.extensions_mut().insert(payment);
    }
    response
}

/// An inner service as an [`Exchange`]. It owns its clone and waits for that very clone to be
/// ready before each sending.
struct Calls<S, B> {
    service: S,
    body: PhantomData<fn(B)>,
}

impl<S, B> Calls<S, B> {
    fn new(service: S) -> Self {
        Self {
            service,
            body: PhantomData,
        }
    }
}

impl<S, B, R> Exchange for Calls<S, B>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: From<Bytes> + Send + 'static,
    R: Body + Send + 'static,
    R::Data: Send,
    R::Error: Send,
{
    type Response = Response<WatchedBody<R>>;

    fn send(&mut self, request: Request<Bytes>) -> BoxFuture<'_, Result<Self::Response, BoxError>> {
        Box::pin(async move {
            poll_fn(|cx| self.service.poll_ready(cx))
                .await
                .map_err(Into::into)?;
            let sending = self.service.call(request.map(B::from));
            let response = sending.await.map_err(Into::into)?;
            Ok(response.map(WatchedBody::new))
        })
    }

    fn head(response: &Self::Response) -> (StatusCode, &HeaderMap) {
        (response.status(), response.headers())
    }

    fn read(response: Self::Response, limit: usize) -> BoxFuture<'static, Vec<u8>> {
        read_some(response.into_body(), limit).boxed()
    }

    fn peek(
        response: Self::Response,
        limit: usize,
    ) -> BoxFuture<'static, (Vec<u8>, Self::Response)> {
        let (head, mut body) = response.into_parts();
        Box::pin(async move {
            let read = body.peek(limit).await;
            (read, Response::from_parts(head, body))
        })
    }

    fn watch(response: Self::Response, delivery: Delivery) -> BoxFuture<'static, Self::Response> {
        let (head, body) = response.into_parts();
        Box::pin(async move {
            // A server that passes the body on may not ask beyond its last frame.
            Response::from_parts(head, body.tell_at_last_frame(delivery).await)
        })
    }

    fn stream(response: Self::Response, stream: SessionStream) -> Self::Response {
        response.map(|body| body.paid_as_it_comes(stream))
    }

    fn side(&self) -> Arc<dyn Side> {
        Arc::new(Beside(Mutex::new(Self::new(self.service.clone()))))
    }
}

/// A clone of the inner service for the client's own requests.
struct Beside<S, B>(Mutex<Calls<S, B>>);

impl<S, B, R> Side for Beside<S, B>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: From<Bytes> + Send + 'static,
    R: Body + Send + 'static,
    R::Data: Send,
    R::Error: Send,
{
    fn ask(&self, request: Request<Bytes>) -> BoxFuture<'static, SideAnswer> {
        let service = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut calls: Calls<S, B> = Calls::new(service.service.clone());
        drop(service);
        Box::pin(async move {
            let response = calls.send(request).await?;
            let (head, body) = response.into_parts();
            let body = read_some(body, limits::PROBLEM_BYTES_MAX).await;
            Ok((head.status, head.headers, body))
        })
    }
}

/// Reads at most `limit` bytes; on an error, what was read until then.
async fn read_some<R: Body>(body: R, limit: usize) -> Vec<u8> {
    use bytes::Buf;
    let mut body = std::pin::pin!(body);
    let mut read = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(mut data) = frame.into_data() else {
            continue;
        };
        while data.has_remaining() && read.len() < limit {
            let chunk = data.chunk();
            let take = chunk.len().min(limit.saturating_sub(read.len()));
            read.extend_from_slice(chunk.get(..take).unwrap_or_default());
            data.advance(take);
        }
        if read.len() >= limit {
            break;
        }
    }
    read
}
