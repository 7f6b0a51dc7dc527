//! One HTTP request through the gate.

use std::sync::Arc;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{AUTHORIZATION, CONTENT_LENGTH, TRAILER, TRANSFER_ENCODING},
    request::Parts,
};
use http_body::Body;
use http_body_util::{Either, Full};
use stiver_core::credential::{Presented, presented};
use tower_service::Service;

use super::{
    BoxError,
    body::{Buffered, RequestBody, ResponseBody, Spooled, buffer, spool},
    cache::make_private,
    layer::Shared,
};
use crate::{
    Grant, Outcome, Refused, Replay, Request,
    grant::{PayeeFailure, ResponseHead},
    limits::STORED_BODY_BYTES_MAX,
};

const ACCEPT_PAYMENT: HeaderName = HeaderName::from_static("accept-payment");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const PAYMENT_AUTHORIZATION: HeaderName = HeaderName::from_static("payment-authorization");
const PAYMENT_RECEIPT: HeaderName = HeaderName::from_static("payment-receipt");

type Answer<R> = http::Response<ResponseBody<R>>;

/// Charges for a request and calls the inner service when it is free or paid for.
pub(super) async fn charge<S, B, R>(
    layer: Arc<Shared>,
    mut inner: S,
    request: http::Request<B>,
) -> Result<Answer<R>, S::Error>
where
    S: Service<http::Request<RequestBody<B>>, Response = http::Response<R>>,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes>,
    R: Body<Data = Bytes>,
    R::Error: Into<BoxError>,
{
    let (mut parts, body) = request.into_parts();
    let rule = layer.price.body_rule(&parts);
    let clock = &*layer.gate.env().clock;
    let spooled = spool(body, rule, clock, &layer.spooled, layer.spooled_max).await;
    let Spooled { state, body, share } = match spooled {
        Ok(spooled) => spooled,
        Err(refused) => return Ok(refusal(&refused)),
    };
    if matches!(body, Either::Left(_)) {
        // It was read to its end: how it was framed is history.
        parts.headers.remove(TRANSFER_ENCODING);
        parts.headers.remove(TRAILER);
    }
    let outcome = {
        let target = (layer.target)(&parts);
        let fields = Fields::of(&parts.headers);
        let request = Request {
            method: parts.method.as_str(),
            target: &target,
            authorization: &fields.authorization,
            accept_payment: &fields.accept_payment,
            idempotency_key: &fields.idempotency_key,
            body: state,
        };
        layer
            .gate
            .admit(&request, || layer.price.price(&parts, state))
            .await
    };
    let answer = match outcome {
        Outcome::Free => {
            remove_credentials(&mut parts);
            let response = inner.call(http::Request::from_parts(parts, body)).await?;
            Ok(response.map(|body| Either::Right(Either::Left(body))))
        }
        Outcome::Refuse(refused) => Ok(refusal(&refused)),
        Outcome::Replay(replay) => Ok(repeat(&replay)),
        Outcome::Serve(grant) => {
            remove_credentials(&mut parts);
            parts.extensions.insert(grant.paid().clone());
            match inner.call(http::Request::from_parts(parts, body)).await {
                Ok(response) => Ok(finish(*grant, response).await),
                Err(error) => {
                    let error: BoxError = error.into();
                    tracing::warn!(%error, "the paid service failed");
                    Ok(refusal(&grant.fail(PayeeFailure::MayHaveRun).await))
                }
            }
        }
    };
    drop(share);
    answer
}

/// The field lines that the gate reads.
struct Fields<'h> {
    authorization: Vec<&'h [u8]>,
    accept_payment: Vec<&'h [u8]>,
    idempotency_key: Vec<&'h [u8]>,
}

impl<'h> Fields<'h> {
    fn of(headers: &'h HeaderMap) -> Self {
        let lines = |name: HeaderName| headers.get_all(name).into_iter().map(HeaderValue::as_bytes);
        Self {
            authorization: lines(AUTHORIZATION)
                .chain(lines(PAYMENT_AUTHORIZATION))
                .collect(),
            accept_payment: lines(ACCEPT_PAYMENT).collect(),
            idempotency_key: lines(IDEMPOTENCY_KEY).collect(),
        }
    }
}

/// Takes Payment credentials out of a request; other schemes stay.
fn remove_credentials(parts: &mut Parts) {
    parts.headers.remove(PAYMENT_AUTHORIZATION);
    let is_payment = |line: &HeaderValue| !matches!(presented([line.as_bytes()]), Presented::None);
    if parts.headers.get_all(AUTHORIZATION).iter().any(is_payment) {
        let others = parts
            .headers
            .get_all(AUTHORIZATION)
            .iter()
            .filter(|line| !is_payment(line));
        let others: Vec<HeaderValue> = others.cloned().collect();
        parts.headers.remove(AUTHORIZATION);
        for line in others {
            parts.headers.append(AUTHORIZATION, line);
        }
    }
}

/// Ends a grant by the response of the inner service.
async fn finish<R>(grant: Grant, response: http::Response<R>) -> Answer<R>
where
    R: Body<Data = Bytes>,
    R::Error: Into<BoxError>,
{
    let (mut parts, body) = response.into_parts();
    if parts.status.is_server_error() {
        let failure = parts
            .extensions
            .get()
            .copied()
            .unwrap_or(PayeeFailure::MayHaveRun);
        return refusal(&grant.fail(failure).await);
    }
    let (whole, body) = if grant.wants_body() {
        match buffer(body, STORED_BODY_BYTES_MAX).await {
            Buffered::Whole(bytes) => (Some(bytes.clone()), Either::Left(Full::new(bytes))),
            Buffered::Over(body) => (None, Either::Right(Either::Right(body))),
            Buffered::Broken(error) => {
                tracing::warn!(%error, "the paid response broke off");
                return refusal(&grant.fail(PayeeFailure::MayHaveRun).await);
            }
        }
    } else {
        (None, Either::Right(Either::Left(body)))
    };
    let completed = {
        let fields = parts.headers.iter();
        let headers: Vec<(&str, &[u8])> = fields
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        let head = ResponseHead {
            status: parts.status.as_u16(),
            headers: &headers,
        };
        grant.complete(head, whole.as_deref()).await
    };
    match completed {
        Ok(delivered) => {
            paid_headers(&mut parts.headers, delivered.receipt.as_deref());
            http::Response::from_parts(parts, body)
        }
        Err(refused) => refusal(&refused),
    }
}

fn paid_headers(headers: &mut HeaderMap, receipt: Option<&str>) {
    make_private(headers);
    headers.remove(PAYMENT_RECEIPT);
    if let Some(Ok(mut receipt)) = receipt.map(HeaderValue::from_str) {
        receipt.set_sensitive(true);
        headers.insert(PAYMENT_RECEIPT, receipt);
    }
}

/// A refusal as an HTTP response.
fn refusal<R>(refused: &Refused) -> Answer<R> {
    let mut response = http::Response::new(ours(refused.body().into()));
    *response.status_mut() =
        StatusCode::from_u16(refused.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in refused.headers() {
        match HeaderValue::try_from(value) {
            Ok(value) => {
                response
                    .headers_mut()
                    .append(HeaderName::from_static(name), value);
            }
            Err(_) => tracing::error!(name, "a header field was left out: it is not printable"),
        }
    }
    response
}

/// A stored response as an HTTP response.
fn repeat<R>(replay: &Replay) -> Answer<R> {
    let stored = &replay.response;
    let mut response = http::Response::new(ours(stored.body.clone().into()));
    *response.status_mut() =
        StatusCode::from_u16(stored.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    for (name, value) in &stored.headers {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    headers.insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    headers.remove(CONTENT_LENGTH);
    paid_headers(headers, replay.receipt.as_deref());
    response
}

fn ours<R>(bytes: Bytes) -> ResponseBody<R> {
    Either::Left(Full::new(bytes))
}
