//! The gate as a tower layer for HTTP services.
//!
//! [`PaymentLayer`] reads the request body up to a limit, asks a [`Price`], drives the
//! [`Gate`](crate::Gate) and ends its [`Grant`](crate::Grant): the inner service only sees
//! requests that are free or paid for. It finds a [`Paid`](crate::Paid) among the request
//! extensions; Payment credentials are taken out of the headers, so that no handler logs one.
//!
//! A request with a credential runs as a task of its own, so that a client that goes away does not
//! stop it: the handler runs to its end, the delivery is recorded, and a stored response waits for
//! the same credential. [`Gate::at_work`](crate::Gate::at_work) counts such tasks.
//!
//! What the inner service answers decides what becomes of the payment:
//!
//! | answer | then |
//! |---|---|
//! | status below 400 | delivered, with `Payment-Receipt` and `Cache-Control: private` |
//! | other status 400 to 499 | delivered, without a receipt: the request was wrong, not the payee |
//! | status 408, 425 or 429 | failed: the payee says "later", and has been paid |
//! | status 500 or more, or an error | failed |
//!
//! What a failure does with the payment, [`OnFailure`](crate::route::OnFailure) says. A failed
//! answer is replaced by a 502 problem without a challenge.
//!
//! A response to be stored is read in full before its first byte leaves. Event streams
//! (`text/event-stream`, `multipart/x-mixed-replace`, `application/grpc`) and answers that leave
//! HTTP (101) are never stored: they pass as they come.
//!
//! A service that knows that it never reached its upstream puts
//! [`PayeeFailure::NotReached`](crate::grant::PayeeFailure) into the extensions of its failed
//! answer.

mod body;
mod cache;
mod future;
mod layer;
mod metered;
mod note;
mod price;
mod shadow;
mod used;

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::Body;
use tower_service::Service;

#[cfg(feature = "websocket")]
pub(crate) use self::{
    future::{Fields, credential_lines, refusal},
    layer::path_and_query,
    used::tokens_of,
};
pub use body::{BrokenOff, Prefixed, ReadBody, RequestBody, ResponseBody};
pub use future::{may_be_paid, presents_credential, remove_credentials};
pub use layer::PaymentLayer;
pub use note::{Answered, Note};
pub use price::{AsyncPrice, BodyRule, FixedPrice, Price, Shadow};

/// Any error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A service that charges before it calls the inner one. Made by [`PaymentLayer`].
#[derive(Clone)]
pub struct Payment<S> {
    inner: S,
    layer: Arc<layer::Shared>,
}

impl<S, B, R> Service<http::Request<B>> for Payment<S>
where
    S: Service<http::Request<RequestBody<B>>, Response = http::Response<R>>,
    S: Clone + Send + 'static,
    S::Error: Into<BoxError> + Send,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError> + Send,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError> + Send,
{
    type Response = http::Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        // The one that was made ready is the one to call; its clone gets ready for the next.
        let clone = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, clone);
        Box::pin(future::charge(Arc::clone(&self.layer), ready, request))
    }
}
