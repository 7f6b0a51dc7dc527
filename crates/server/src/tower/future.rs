//! One HTTP request through the gate.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, atomic::AtomicBool},
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{
        ACCEPT_LANGUAGE, AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER,
        TE, TRAILER, TRANSFER_ENCODING, WWW_AUTHENTICATE,
    },
    request::Parts,
};
use http_body::Body;
use http_body_util::{Either, Full};
use stiver_core::credential::{Presented, presented};
use stiver_env::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tower_service::Service;
use tracing::Instrument as _;

use super::{
    BoxError,
    body::{
        Buffered, Prefixed, ReadBody, RequestBody, ResponseBody, Sink, Spooled, buffer,
        buffer_until, spool,
    },
    cache::make_private,
    layer::{Credential, Shared},
    metered::{Kind, pump},
    note::{Answered, Notes},
    shadow,
    used::Used,
};
use crate::{
    BodyState, GateError, Grant, Outcome, Refused, Replay, Request,
    gate::session::metered::{Counts, Metering, Refill},
    grant::{PayeeFailure, ResponseHead},
    limits::{
        SESSION_ANSWER_BYTES_MAX, SESSION_ANSWER_STREAM_WAIT_MS, SESSION_ANSWER_WAIT_MS,
        STORED_BODY_BYTES_MAX,
    },
    session::{Acknowledged, SessionGrant},
};

const ACCEPT_PAYMENT: HeaderName = HeaderName::from_static("accept-payment");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const PAYMENT_AUTHORIZATION: HeaderName = HeaderName::from_static("payment-authorization");
pub(super) const PAYMENT_RECEIPT: HeaderName = HeaderName::from_static("payment-receipt");

/// Client errors that blame no request: the service could not serve it just now.
const SERVED_LATER: [StatusCode; 3] = [
    StatusCode::REQUEST_TIMEOUT,
    StatusCode::TOO_EARLY,
    StatusCode::TOO_MANY_REQUESTS,
];

/// Media types of responses that are events, one after another.
const ENDLESS: [&str; 3] = [
    "text/event-stream",
    "multipart/x-mixed-replace",
    "application/grpc",
];

type Answer<R> = http::Response<ResponseBody<R>>;

/// A request that is ready for the gate, and all that is needed to answer it.
struct Work<S, B: Body> {
    layer: Arc<Shared>,
    inner: S,
    parts: Parts,
    spooled: Spooled<B>,
    notes: Notes,
}

/// Charges for a request and calls the inner service when it is free or paid for.
///
/// A request with a credential runs as a task of its own, from before its claim until its delivery
/// is recorded: a client that goes away neither stops the handler nor undoes what it has paid for.
pub(super) async fn charge<S, B, R>(
    layer: Arc<Shared>,
    inner: S,
    request: http::Request<B>,
) -> Result<Answer<R>, S::Error>
where
    S: Service<http::Request<RequestBody<B>>, Response = http::Response<R>> + Send + 'static,
    S::Error: Into<BoxError> + Send,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Send,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError> + Send,
{
    let (mut parts, body) = request.into_parts();
    let notes = Notes::of(&parts);
    if let Some(how) = layer.price.shadow(&parts) {
        notes.write(|| Answered::Free);
        return Box::pin(shadow::pass(layer, inner, parts, body, how)).await;
    }
    let never_free = layer.price.is_never_free(&parts);
    let pays = presents_credential(&parts.headers);
    let mut credential = Credential::None;
    if !body.is_end_stream() && (never_free || pays) {
        match unfit(&layer, &parts) {
            Some(error) if never_free => {
                let refused = Box::pin(turn_away(&layer, &parts, body, &error)).await;
                notes.refused(&refused);
                return Ok(refusal(&refused));
            }
            Some(_) => {}
            None => credential = Credential::Bound,
        }
    }
    let spooled = match spool_by(&layer, &parts, body, layer.held(credential)).await {
        Ok(spooled) => spooled,
        Err(refused) => {
            layer.gate.tell_refused(&refused);
            notes.refused(&refused);
            return Ok(refusal(&refused));
        }
    };
    if matches!(spooled.body, Either::Left(_)) {
        // It was read to its end: how it was framed is history.
        parts.headers.remove(TRANSFER_ENCODING);
        parts.headers.remove(TRAILER);
    }
    let gate = layer.gate.clone();
    let work = Work {
        layer,
        inner,
        parts,
        spooled,
        notes: notes.clone(),
    };
    // The one large future: written to memory once, whoever runs it.
    let run = Box::pin(work.run());
    if !pays {
        return run.await;
    }
    let place = gate.start_work();
    let (answer, answered) = oneshot::channel();
    let task = async move {
        let result = run.await;
        drop(place);
        // Nobody takes it when the client has gone: the journal has what it needs.
        drop(answer.send(result));
    };
    let mut task = Box::pin(task.in_current_span());
    // Most refusals need nobody else's answer: they are here at once, and cost no task.
    if begin(task.as_mut()).await {
        gate.env().spawner.spawn(task);
    }
    match answered.await {
        Ok(answer) => answer,
        // The task was dropped, or the handler panicked: the journal knows how far it came.
        Err(_) => {
            let refused = GateError::OutcomeUnknown.refused();
            gate.tell_refused(&refused);
            notes.refused(&refused);
            Ok(refusal(&refused))
        }
    }
}

/// Polls a task once. True when it goes on: it must be spawned, before anything else is awaited. A
/// task that panics is over, as it would be when it was spawned.
async fn begin(mut task: Pin<&mut (impl Future<Output = ()> + Send)>) -> bool {
    let polled = std::future::poll_fn(|context| {
        let poll = || task.as_mut().poll(context).is_pending();
        Poll::Ready(catch_unwind(AssertUnwindSafe(poll)))
    });
    polled.await.unwrap_or(false)
}

impl<S, B: Body> Work<S, B> {
    async fn run<R>(self) -> Result<Answer<R>, S::Error>
    where
        S: Service<http::Request<RequestBody<B>>, Response = http::Response<R>>,
        S::Error: Into<BoxError>,
        B: Body<Data = Bytes>,
        R: Body<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError> + Send,
    {
        let Self {
            layer,
            mut inner,
            mut parts,
            spooled: Spooled { read, body, share },
            notes,
        } = self;
        let outcome = {
            let target = (layer.target)(&parts);
            let fields = Fields::of(&parts.headers);
            let request = fields.request(&parts, &target, read.state());
            let price = || layer.price.price(&parts, &read);
            let honour = || layer.price.honour(&parts, &read);
            layer.gate.admit_with(&request, price, honour).await
        };
        let answer = match outcome {
            Outcome::Free => {
                remove_credentials(&mut parts.headers);
                notes.write(|| Answered::Free);
                let response = inner.call(http::Request::from_parts(parts, body)).await?;
                Ok(response.map(|body| Either::Right(Either::Left(body))))
            }
            Outcome::Refuse(refused) => {
                notes.refused(&refused);
                Ok(refusal(&refused))
            }
            Outcome::Replay(replay) => {
                notes.write(|| Answered::Replayed);
                Ok(repeat(&replay))
            }
            Outcome::Acknowledge(done) => {
                notes.write(|| Answered::Acknowledged);
                Ok(acknowledgement(&done))
            }
            Outcome::Session(grant) => {
                let request = http::Request::from_parts(parts, body);
                Ok(serve_session(inner, request, *grant, &notes).await)
            }
            Outcome::Serve(grant) => {
                remove_credentials(&mut parts.headers);
                // A refusal that follows the handler needs the request once more.
                let asked = grant.settles_after().then(|| parts.clone());
                parts.extensions.insert(grant.paid().clone());
                let payment = notes.wanted().then(|| grant.payment());
                match inner.call(http::Request::from_parts(parts, body)).await {
                    Ok(response) => {
                        let finished = Box::pin(finish(*grant, response)).await;
                        let finished = match (finished, asked) {
                            (Err(refused), Some(parts)) => {
                                Err(Box::pin(renew(&layer, &parts, &read, refused)).await)
                            }
                            (finished, _) => finished,
                        };
                        notes.finished(payment, finished.as_ref().err());
                        Ok(finished.unwrap_or_else(|refused| refusal(&refused)))
                    }
                    Err(error) => {
                        let error: BoxError = error.into();
                        tracing::warn!(%error, "the paid service failed");
                        let refused = Box::pin(grant.fail(PayeeFailure::MayHaveRun)).await;
                        notes.finished(payment, Some(&refused));
                        Ok(refusal(&refused))
                    }
                }
            }
        };
        drop(share);
        answer
    }
}

async fn spool_by<B: Body<Data = Bytes>>(
    layer: &Shared,
    parts: &Parts,
    body: B,
    sink: Sink<'_>,
) -> Result<Spooled<B>, Refused> {
    let rule = layer.price.body_rule(parts);
    spool(body, rule, &*layer.gate.env().clock, sink).await
}

/// What the fields of a request tell against it, before its body is read.
fn unfit(layer: &Shared, parts: &Parts) -> Option<GateError> {
    let target = (layer.target)(parts);
    let fields = Fields::of(&parts.headers);
    let request = fields.request(parts, &target, BodyState::None);
    layer.gate.check_fields(&request).err()
}

/// Refuses a request by its fields. Its body is read only when the refusal carries challenges,
/// which are bound to its digest; it is never held.
async fn turn_away<B>(layer: &Shared, parts: &Parts, body: B, error: &GateError) -> Refused
where
    B: Body<Data = Bytes>,
{
    let sink = if layer.price.reads_body(parts) {
        layer.held(Credential::None)
    } else {
        Sink::Hashed
    };
    // The share of the total is given back once the price is known.
    let (read, share) = if error.meaning().challenge {
        match spool_by(layer, parts, body, sink).await {
            Ok(spooled) => (spooled.read, Some(spooled.share)),
            Err(refused) => {
                layer.gate.tell_refused(&refused);
                return refused;
            }
        }
    } else {
        (ReadBody::none(), None)
    };
    let target = (layer.target)(parts);
    let fields = Fields::of(&parts.headers);
    let request = fields.request(parts, &target, read.state());
    let price = || layer.price.price(parts, &read);
    let refused = layer.gate.refuse(error, &request, price).await;
    drop(share);
    refused
}

/// The field lines that the gate reads.
pub(crate) struct Fields<'h> {
    authorization: Vec<&'h [u8]>,
    accept_payment: Vec<&'h [u8]>,
    accept_language: Vec<&'h [u8]>,
    idempotency_key: Vec<&'h [u8]>,
}

impl<'h> Fields<'h> {
    pub(crate) fn of(headers: &'h HeaderMap) -> Self {
        let lines = |name: HeaderName| headers.get_all(name).into_iter().map(HeaderValue::as_bytes);
        Self {
            authorization: credential_lines(headers)
                .map(HeaderValue::as_bytes)
                .collect(),
            accept_payment: lines(ACCEPT_PAYMENT).collect(),
            accept_language: lines(ACCEPT_LANGUAGE).collect(),
            idempotency_key: lines(IDEMPOTENCY_KEY).collect(),
        }
    }

    pub(crate) fn request<'a>(
        &'a self,
        parts: &'a Parts,
        target: &'a str,
        body: BodyState,
    ) -> Request<'a> {
        Request {
            method: parts.method.as_str(),
            target,
            authorization: &self.authorization,
            accept_payment: &self.accept_payment,
            accept_language: &self.accept_language,
            idempotency_key: &self.idempotency_key,
            body,
        }
    }
}

/// True when a request holds a Payment credential, or several.
pub fn presents_credential(headers: &HeaderMap) -> bool {
    let lines = credential_lines(headers).map(HeaderValue::as_bytes);
    !matches!(presented(lines), Presented::None)
}

/// The field lines that may hold a credential.
pub(crate) fn credential_lines(headers: &HeaderMap) -> impl Iterator<Item = &HeaderValue> {
    let ours = headers.get_all(PAYMENT_AUTHORIZATION);
    headers.get_all(AUTHORIZATION).into_iter().chain(ours)
}

/// True when the credential of a request may have been paid for: its challenge is of this gate, or
/// it has a claim. What else is wrong with it, [`Gate::admit`](crate::Gate::admit) says.
///
/// For limits in front of the gate: a request that may have been paid for should not be refused
/// because of others that were not. Costs what the gate's own first checks cost.
pub fn may_be_paid(gate: &crate::Gate, parts: &Parts) -> bool {
    let fields = Fields::of(&parts.headers);
    let target = super::layer::path_and_query(parts);
    let request = fields.request(parts, &target, BodyState::None);
    gate.check_fields(&request).is_ok()
}

/// Takes Payment credentials out of a request: the `Payment-Authorization` field, and the lines of
/// `Authorization` that hold one. Lines of other schemes stay, in order.
///
/// [`PaymentLayer`](super::PaymentLayer) does so for what it passes on. Do the same wherever a
/// request goes past the layer: no upstream and no log needs a credential.
pub fn remove_credentials(headers: &mut HeaderMap) {
    headers.remove(PAYMENT_AUTHORIZATION);
    let is_payment = |line: &HeaderValue| !matches!(presented([line.as_bytes()]), Presented::None);
    let lines = headers.get_all(AUTHORIZATION);
    if !lines.iter().any(is_payment) {
        return;
    }
    let others = lines.iter().filter(|line| !is_payment(line));
    let others: Vec<HeaderValue> = others.cloned().collect();
    headers.remove(AUTHORIZATION);
    for line in others {
        headers.append(AUTHORIZATION, line);
    }
}

/// Puts fresh challenges into a 402 that came after the handler.
async fn renew(layer: &Shared, parts: &Parts, read: &ReadBody, refused: Refused) -> Refused {
    let target = (layer.target)(parts);
    let fields = Fields::of(&parts.headers);
    let request = fields.request(parts, &target, read.state());
    let price = || layer.price.price(parts, read);
    layer.gate.renew(refused, &request, price).await
}

/// Ends a grant by the response of the inner service. The error is the answer in its place.
async fn finish<R>(grant: Grant, response: http::Response<R>) -> Result<Answer<R>, Refused>
where
    R: Body<Data = Bytes>,
    R::Error: Into<BoxError>,
{
    let (mut parts, body) = response.into_parts();
    if parts.status.is_server_error() || SERVED_LATER.contains(&parts.status) {
        let failure = parts
            .extensions
            .get()
            .copied()
            .unwrap_or(PayeeFailure::MayHaveRun);
        return Err(grant.fail(failure).await);
    }
    make_private(&mut parts.headers);
    let (whole, body) = if grant.wants_body() && !is_endless(&parts) {
        match buffer(body, STORED_BODY_BYTES_MAX).await {
            Buffered::Whole(bytes) => (Some(bytes.clone()), Either::Left(Full::new(bytes))),
            Buffered::Over(body) => (None, Either::Right(Either::Right(body))),
            Buffered::Broken(error) => {
                tracing::warn!(%error, "the paid response broke off");
                return Err(grant.fail(PayeeFailure::MayHaveRun).await);
            }
        }
    } else {
        (None, Either::Right(Either::Left(body)))
    };
    let completed = {
        let headers = fields_of(&parts.headers);
        let head = ResponseHead {
            status: parts.status.as_u16(),
            headers: &headers,
        };
        grant.complete(head, whole.as_deref()).await
    };
    let delivered = completed?;
    paid_headers(&mut parts.headers, delivered.receipt.as_deref());
    Ok(http::Response::from_parts(parts, body))
}

/// Calls the inner service for what a session pays.
async fn serve_session<S, B, R>(
    mut inner: S,
    mut request: http::Request<RequestBody<B>>,
    grant: SessionGrant,
    notes: &Notes,
) -> Answer<R>
where
    S: Service<http::Request<RequestBody<B>>, Response = http::Response<R>>,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes>,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError> + Send,
{
    remove_credentials(request.headers_mut());
    request.extensions_mut().insert(grant.paid().clone());
    if let Some(reporter) = grant.reporter() {
        request.extensions_mut().insert(reporter);
    }
    let payment = notes.wanted().then(|| grant.payment());
    let trailers = takes_trailers(request.headers());
    let finished = match inner.call(request).await {
        Ok(response) if grant.is_metered() && response.status().is_success() => {
            meter(grant, response, trailers).await
        }
        Ok(response) => finish_session(grant, response).await,
        Err(error) => {
            let error: BoxError = error.into();
            tracing::warn!(%error, "the paid service failed");
            Err(grant.fail(PayeeFailure::MayHaveRun).await)
        }
    };
    notes.finished(payment, finished.as_ref().err());
    finished.unwrap_or_else(|refused| refusal(&refused))
}

/// Ends a session's grant by the response of the inner service. The error is the answer in its
/// place.
async fn finish_session<R>(
    grant: SessionGrant,
    response: http::Response<R>,
) -> Result<Answer<R>, Refused>
where
    R: Body<Data = Bytes>,
    R::Error: Into<BoxError>,
{
    let (mut parts, body) = response.into_parts();
    if parts.status.is_server_error() || SERVED_LATER.contains(&parts.status) {
        let failure = parts.extensions.get().copied();
        return Err(grant
            .fail(failure.unwrap_or(PayeeFailure::MayHaveRun))
            .await);
    }
    make_private(&mut parts.headers);
    let (whole, body) = match wait_for_answer(&grant, &parts, &body) {
        None => (None, Either::Right(Either::Left(body))),
        Some(late) => match buffer_until(body, SESSION_ANSWER_BYTES_MAX, late).await {
            Buffered::Whole(bytes) => (Some(bytes.clone()), Either::Left(Full::new(bytes))),
            Buffered::Over(body) => (None, Either::Right(Either::Right(body))),
            Buffered::Broken(error) => {
                tracing::warn!(%error, "the paid response broke off");
                return Err(grant.fail(PayeeFailure::MayHaveRun).await);
            }
        },
    };
    let delivered = {
        let headers = fields_of(&parts.headers);
        let head = ResponseHead {
            status: parts.status.as_u16(),
            headers: &headers,
        };
        grant.deliver(head, whole.as_deref()).await?
    };
    paid_headers(&mut parts.headers, delivered.receipt.as_deref());
    Ok(http::Response::from_parts(parts, body))
}

/// How long an answer is waited for, so that it can be kept: `None` when it is not to be.
fn wait_for_answer<R: Body>(
    grant: &SessionGrant,
    parts: &http::response::Parts,
    body: &R,
) -> Option<BoxFuture<'static, ()>> {
    let most = u64::try_from(SESSION_ANSWER_BYTES_MAX).unwrap_or(u64::MAX);
    let hint = body.size_hint();
    if !grant.wants_body() || is_endless(parts) || hint.lower() > most {
        return None;
    }
    let millis = match hint.exact() {
        Some(_) => SESSION_ANSWER_WAIT_MS,
        None => SESSION_ANSWER_STREAM_WAIT_MS,
    };
    Some(grant.clock().sleep(Duration::from_millis(millis)))
}

/// Header fields as the journal takes them.
fn fields_of(headers: &HeaderMap) -> Vec<(&str, &[u8])> {
    let fields = headers.iter();
    fields
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .collect()
}

/// True when the client reads trailers.
fn takes_trailers(headers: &HeaderMap) -> bool {
    let lines = headers
        .get_all(TE)
        .into_iter()
        .filter_map(|it| it.to_str().ok());
    let mut codings = lines.flat_map(|line| line.split(','));
    codings.any(|it| it.trim().eq_ignore_ascii_case("trailers"))
}

/// Lets a response leave through its meters. The error is the answer in its place.
async fn meter<R>(
    grant: SessionGrant,
    response: http::Response<R>,
    trailers: bool,
) -> Result<Answer<R>, Refused>
where
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError> + Send,
{
    let (mut parts, body) = response.into_parts();
    let media_type = parts
        .headers
        .get(CONTENT_TYPE)
        .and_then(|it| it.to_str().ok());
    let media_type = media_type.unwrap_or_default().to_ascii_lowercase();
    let Some(mut account) = grant.into_metering() else {
        return Err(GateError::JournalOutOfStep.refused());
    };
    let mut used = Used::at_head(&account, &parts.headers);
    if account.reads_body() && is_json(&media_type) {
        let whole = match buffer(body, STORED_BODY_BYTES_MAX).await {
            Buffered::Whole(bytes) => bytes,
            Buffered::Over(_) | Buffered::Broken(_) => {
                tracing::warn!("a metered answer broke off, or is too long to read its usage");
                return Err(GateError::DeliveryVoided.refused());
            }
        };
        used.look_in_whole(&account, &whole);
        let receipt = pay_whole(&mut account, &used, &whole).await?;
        paid_headers(&mut parts.headers, Some(&receipt));
        return Ok(http::Response::from_parts(parts, ours(whole)));
    }
    reserve_reported(&mut account, &used).await?;
    let kind = if media_type.starts_with("text/event-stream") {
        Kind::Events
    } else {
        Kind::Bytes { trailers }
    };
    let (receipt, _) = account.receipt(false).await;
    paid_headers(&mut parts.headers, Some(&receipt));
    if kind == Kind::Events || trailers {
        parts.headers.remove(CONTENT_LENGTH);
    }
    if kind == (Kind::Bytes { trailers: true }) {
        let name = HeaderValue::from_static("payment-receipt");
        parts.headers.insert(TRAILER, name);
    }
    let (to, pieces) = mpsc::channel(1);
    let whole = Arc::new(AtomicBool::new(false));
    let spawner = Arc::clone(&account.gate().env().spawner);
    let out = (to, Arc::clone(&whole));
    spawner.spawn(Box::pin(pump(body, out, (account, used), kind)));
    let body = Either::Right(Either::Right(Prefixed::paid(pieces, whole)));
    Ok(http::Response::from_parts(parts, body))
}

/// True for a media type of JSON documents.
fn is_json(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// Reserves what is reported before the body leaves: by the response's head, or by its handler.
/// When that is not covered, nothing leaves. The error is the answer in its place.
async fn reserve_reported(account: &mut Metering, used: &Used) -> Result<(), Refused> {
    let counts = Counts {
        reported: used.open(account),
        ..Counts::default()
    };
    if counts == Counts::default() {
        return Ok(());
    }
    let reserved = async {
        let cost = account.cost(counts)?;
        if !account.covers(&cost)
            && let Refill::Need(need) = account.refill(&cost).await?
        {
            return Err(account.short_of(need));
        }
        Ok(())
    };
    reserved.await.map_err(|error: GateError| {
        let refused = error.refused();
        account.gate().tell_refused(&refused);
        refused
    })
}

/// Pays for an answer that is read in full before it leaves.
async fn pay_whole(
    account: &mut Metering,
    used: &Used,
    whole: &Bytes,
) -> Result<Arc<str>, Refused> {
    let counts = Counts {
        requests: 1,
        bytes: u64::try_from(whole.len()).unwrap_or(u64::MAX),
        events: 1,
        reported: used.open(account),
    };
    let paid = async {
        let cost = account.cost(counts)?;
        if !account.covers(&cost)
            && let Refill::Need(need) = account.refill(&cost).await?
        {
            return Err(account.short_of(need));
        }
        account.charge(&cost);
        account.end().await.ok_or(GateError::JournalOutOfStep)
    };
    match paid.await {
        Ok((receipt, _)) => Ok(receipt),
        Err(error) => {
            let refused = error.refused();
            account.gate().tell_refused(&refused);
            Err(refused)
        }
    }
}

/// A session's answer without a resource.
fn acknowledgement<R: Body>(done: &Acknowledged) -> Answer<R> {
    let mut response = http::Response::new(ours(Bytes::new()));
    *response.status_mut() = StatusCode::from_u16(done.status).unwrap_or(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    paid_headers(headers, Some(&done.receipt));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// True for a response that is read while it is written: it passes at once and is never stored.
fn is_endless(parts: &http::response::Parts) -> bool {
    let media_type = parts.headers.get(CONTENT_TYPE);
    let media_type = media_type.and_then(|value| value.to_str().ok());
    let media_type = media_type.unwrap_or_default().to_ascii_lowercase();
    parts.status == StatusCode::SWITCHING_PROTOCOLS
        || ENDLESS.iter().any(|name| media_type.starts_with(name))
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
pub(crate) fn refusal<R: Body>(refused: &Refused) -> Answer<R> {
    let mut response = http::Response::new(ours(refused.body().into()));
    *response.status_mut() =
        StatusCode::from_u16(refused.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    let problem = HeaderValue::from_static("application/problem+json");
    headers.insert(CONTENT_TYPE, problem);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for challenge in &refused.challenges {
        match HeaderValue::try_from(challenge.to_header()) {
            Ok(value) => {
                headers.append(WWW_AUTHENTICATE, value);
            }
            Err(_) => tracing::error!("a challenge was left out: it is not printable"),
        }
    }
    if let Some(seconds) = refused.retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// A stored response as an HTTP response.
fn repeat<R: Body>(replay: &Replay) -> Answer<R> {
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

fn ours<R: Body>(bytes: Bytes) -> ResponseBody<R> {
    Either::Left(Full::new(bytes))
}
