//! W3C `traceparent`: taken from the client, given to the upstream.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{
    Context,
    propagation::{Extractor, Injector, TextMapPropagator},
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Puts a span under the trace that the headers name, if they name one.
pub(super) fn take(span: &Span, headers: &HeaderMap) {
    let none = Context::new();
    let parent = TraceContextPropagator::new().extract_with_context(&none, &Fields(headers));
    // A span that nobody exports takes no parent.
    let _ = span.set_parent(parent);
}

/// Names a span as the parent, in place of whatever the headers name.
pub(super) fn give(span: &Span, headers: &mut HeaderMap) {
    let mut fields = FieldsMut(headers);
    TraceContextPropagator::new().inject_context(&span.context(), &mut fields);
}

struct Fields<'h>(&'h HeaderMap);

impl Extractor for Fields<'_> {
    /// Of several lines none is believed.
    fn get(&self, key: &str) -> Option<&str> {
        let mut lines = self.0.get_all(key).iter();
        let line = lines.next()?.to_str().ok()?;
        lines.next().is_none().then_some(line)
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct FieldsMut<'h>(&'h mut HeaderMap);

impl Injector for FieldsMut<'_> {
    fn set(&mut self, key: &str, value: String) {
        let name = HeaderName::from_bytes(key.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}
