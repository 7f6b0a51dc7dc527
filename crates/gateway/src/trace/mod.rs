//! Spans for OpenTelemetry: `request`, `price`, `admit`, `settle` and `upstream`.
//!
//! They are `tracing` spans of the target [`SPANS`], at the level `TRACE`: a log at `info` never
//! makes them. [`Exporter`], with the feature `otel`, sends them to a collector. A client's
//! `traceparent` is the parent of its request's span, and the upstream gets that of the span
//! `upstream`. Without the exporter, a client's `traceparent` goes on to the upstream as it came.
//!
//! No span holds more than route, method, status, outcome, problem, payment method, amount and
//! challenge id.

#[cfg(feature = "otel")]
mod export;
#[cfg(feature = "otel")]
mod propagate;

use http::HeaderMap;
use tracing::Span;

#[cfg(feature = "otel")]
pub use export::{
    EXPORT_BATCH_MAX, EXPORT_DELAY, EXPORT_QUEUE_MAX, EXPORT_TIMEOUT, Exporter, ExporterError,
};
pub use stiver_server::SPANS;

/// The span of one request, under the trace that its client names.
pub(crate) fn request(method: &'static str, headers: &HeaderMap) -> Span {
    let span = tracing::trace_span!(
        target: SPANS,
        "request",
        otel.kind = "server",
        http.request.method = method,
        http.route = tracing::field::Empty,
        http.response.status_code = tracing::field::Empty,
        stiver.outcome = tracing::field::Empty,
        stiver.problem = tracing::field::Empty,
        stiver.payment.method = tracing::field::Empty,
        stiver.payment.amount = tracing::field::Empty,
        stiver.challenge.id = tracing::field::Empty,
    );
    #[cfg(feature = "otel")]
    if !span.is_disabled() {
        propagate::take(&span, headers);
    }
    #[cfg(not(feature = "otel"))]
    let _ = headers;
    span
}

/// The span of one request to an upstream. Call [`name_parent`] in it.
pub(crate) fn upstream(name: &str) -> Span {
    tracing::trace_span!(
        target: SPANS,
        "upstream",
        otel.kind = "client",
        stiver.upstream = name,
        http.response.status_code = tracing::field::Empty,
    )
}

/// Tells the upstream which span its work belongs to.
pub(crate) fn name_parent(span: &Span, headers: &mut HeaderMap) {
    #[cfg(feature = "otel")]
    if !span.is_disabled() {
        propagate::give(span, headers);
    }
    #[cfg(not(feature = "otel"))]
    let _ = (span, headers);
}
