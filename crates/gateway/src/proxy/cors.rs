//! Browsers: who may ask for what is priced, and which headers they may read.
//!
//! A preflight asks whether a page may send a request. It buys nothing and needs no payment, so the
//! gateway answers it for priced routes and the upstream does not see it.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header, request::Parts};
use http_body_util::{BodyExt, Empty, combinators::UnsyncBoxBody};
use stiver_core::{Problem, problem::ProblemKind};

use super::problem_response;
use crate::{config::cors::Cors, connections::ResponseBody};

/// Longest list of headers that a preflight may ask for, bytes.
pub(crate) const PREFLIGHT_HEADERS_BYTES_MAX: usize = 4096;

/// What a page needs to see to pay and to know that it has paid.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "WWW-Authenticate, Payment-Receipt, Retry-After, Idempotency-Replayed",
);
/// What the answer to a preflight depends on.
const VARY: HeaderValue = HeaderValue::from_static(
    "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
);

/// The method that a preflight is about.
pub(super) fn asked(parts: &Parts) -> Option<&str> {
    if parts.method != Method::OPTIONS || !parts.headers.contains_key(header::ORIGIN) {
        return None;
    }
    let method = parts.headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
    method.to_str().ok()
}

/// The answer to a preflight for a priced route.
pub(super) fn preflight(cors: &Cors, headers: &HeaderMap) -> Response<ResponseBody> {
    let Some(allowed) = allowed(cors, headers) else {
        let detail = "pages of this origin may not use this gateway";
        return problem_response(&Problem::new(ProblemKind::NotFound, detail));
    };
    let empty = Empty::<Bytes>::new().map_err(|never| match never {});
    let mut response = Response::new(UnsyncBoxBody::new(empty));
    *response.status_mut() = StatusCode::NO_CONTENT;
    let answer = response.headers_mut();
    answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    if let Some(method) = headers.get(header::ACCESS_CONTROL_REQUEST_METHOD) {
        answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, method.clone());
    }
    if let Some(names) = asked_headers(headers) {
        answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    let max_age = HeaderValue::from(cors.max_age.as_secs());
    answer.insert(header::ACCESS_CONTROL_MAX_AGE, max_age);
    answer.insert(header::VARY, VARY);
    answer.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The value that lets the page of this request read the answer. `None` when it is not from a
/// page, or from one that may not.
pub(super) fn allowed(cors: &Cors, headers: &HeaderMap) -> Option<HeaderValue> {
    let origin = headers.get(header::ORIGIN)?;
    if cors.any {
        return Some(HeaderValue::from_static("*"));
    }
    cors.origins.iter().find(|known| *known == origin).cloned()
}

/// Lets a page read an answer of a priced route. What the upstream says of origins counts; the
/// payment headers are told in any case.
pub(super) fn expose(allowed: HeaderValue, headers: &mut HeaderMap) {
    if !headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
        if allowed != "*" {
            headers.append(header::VARY, HeaderValue::from_static("Origin"));
        }
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    }
    headers.append(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
}

/// The headers that a page wants to send, when they are names and not too many.
fn asked_headers(headers: &HeaderMap) -> Option<&HeaderValue> {
    let asked = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS)?;
    let text = asked.to_str().ok()?;
    let is_name = |name: &str| name.trim().parse::<http::HeaderName>().is_ok();
    let good = text.len() <= PREFLIGHT_HEADERS_BYTES_MAX && text.split(',').all(is_name);
    good.then_some(asked)
}
