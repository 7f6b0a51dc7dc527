//! HTTP/1.1 over the simulated network: one connection for each request.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use stiver_client::{Delivery, Exchange, SessionStream, Side, SideAnswer, error::BoxError};
use stiver_env::{BoxFuture, Env};
use tower_service::Service;

/// Sends requests. Cheap to clone.
#[derive(Clone)]
pub struct Http {
    env: Env,
}

impl Http {
    /// From this machine.
    pub fn new(env: &Env) -> Self {
        Self { env: env.clone() }
    }

    async fn send(self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, BoxError> {
        let (mut head, body) = request.into_parts();
        let port = head.uri.port_u16().ok_or("a URL without a port")?;
        let host = head.uri.authority().ok_or("a URL without a host")?.clone();
        let path = head.uri.path_and_query().ok_or("a URL without a path")?;
        head.uri = path.as_str().parse()?;
        head.headers
            .insert(http::header::HOST, host.as_str().parse()?);
        let stream = self.env.net.connect(host.host(), port).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        self.env.spawner.spawn(Box::pin(async move {
            // What went wrong is told to whoever waits for the answer.
            let _ = connection.await;
        }));
        Ok(sender.send_request(Request::from_parts(head, body)).await?)
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    ///
    /// No answer, or none that came whole.
    pub async fn ask(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, HeaderMap, Bytes), BoxError> {
        let (head, body) = self.clone().send(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok((head.status, head.headers, body))
    }
}

impl Service<Request<Full<Bytes>>> for Http {
    type Response = Response<Incoming>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Incoming>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        Box::pin(self.clone().send(request))
    }
}

/// For what a client sends of its own, such as the close of a channel: whole answers.
impl Exchange for Http {
    type Response = Response<Full<Bytes>>;

    fn send(&mut self, request: Request<Bytes>) -> BoxFuture<'_, Result<Self::Response, BoxError>> {
        Box::pin(async move {
            let (status, headers, body) = self.ask(request.map(Full::new)).await?;
            let mut response = Response::new(Full::new(body));
            *response.status_mut() = status;
            *response.headers_mut() = headers;
            Ok(response)
        })
    }

    fn head(response: &Self::Response) -> (StatusCode, &HeaderMap) {
        (response.status(), response.headers())
    }

    fn read(response: Self::Response, limit: usize) -> BoxFuture<'static, Vec<u8>> {
        Box::pin(async move { whole(response, limit).await })
    }

    fn peek(
        response: Self::Response,
        limit: usize,
    ) -> BoxFuture<'static, (Vec<u8>, Self::Response)> {
        Box::pin(async move { (whole(response.clone(), limit).await, response) })
    }

    fn watch(response: Self::Response, delivery: Delivery) -> BoxFuture<'static, Self::Response> {
        Box::pin(async move {
            delivery.reached().await;
            response
        })
    }

    fn stream(response: Self::Response, _: SessionStream) -> Self::Response {
        response
    }

    fn side(&self) -> Arc<dyn Side> {
        Arc::new(self.clone())
    }
}

async fn whole(response: Response<Full<Bytes>>, limit: usize) -> Vec<u8> {
    let body: Result<_, Infallible> = response.into_body().collect().await;
    let mut body = body.map_or_else(|never| match never {}, |it| it.to_bytes().to_vec());
    body.truncate(limit);
    body
}

impl Side for Http {
    fn ask(&self, request: Request<Bytes>) -> BoxFuture<'static, SideAnswer> {
        let http = self.clone();
        Box::pin(async move {
            let (status, headers, body) = http.ask(request.map(Full::new)).await?;
            Ok((status, headers, body.to_vec()))
        })
    }
}
