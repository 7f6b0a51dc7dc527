//! What does not travel from one side of the gateway to the other, and what is put in.

use std::{collections::HashSet, fmt};

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Headers of one connection only (RFC 9110, section 7.6.1), and those by which an upstream may be
/// told another method or path than the one that was matched and paid for.
const NOT_FORWARDED: [HeaderName; 17] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-method-override"),
    HeaderName::from_static("x-original-url"),
    HeaderName::from_static("x-original-uri"),
    HeaderName::from_static("x-rewrite-url"),
    HeaderName::from_static("x-forwarded-uri"),
    HeaderName::from_static("x-forwarded-method"),
    HeaderName::from_static("payment-authorization"),
];

/// What a proxy in front says of the client. From a client itself it is hearsay.
const FORWARDED: [HeaderName; 7] = [
    HeaderName::from_static("forwarded"),
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-prefix"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-real-ip"),
];

/// What a client may not say in the trailers of a request (RFC 9110, section 6.5.1): some upstreams
/// take trailers for headers.
const NOT_IN_TRAILERS: [HeaderName; 8] = [
    header::AUTHORIZATION,
    header::COOKIE,
    header::HOST,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_RANGE,
    HeaderName::from_static("idempotency-key"),
];

/// What an upstream is told and not told besides what the client says.
#[derive(Default)]
pub(crate) struct HeaderRules {
    set: Vec<(HeaderName, HeaderValue)>,
    remove_from_requests: Vec<HeaderName>,
    remove_from_responses: Vec<HeaderName>,
}

impl HeaderRules {
    /// Rules. Values that are set count as secrets.
    pub(crate) fn new(
        set: Vec<(HeaderName, HeaderValue)>,
        remove_from_requests: Vec<HeaderName>,
        remove_from_responses: Vec<HeaderName>,
    ) -> Self {
        let sensitive = |(name, mut value): (HeaderName, HeaderValue)| {
            value.set_sensitive(true);
            (name, value)
        };
        Self {
            set: set.into_iter().map(sensitive).collect(),
            remove_from_requests,
            remove_from_responses,
        }
    }

    /// Makes a client's headers those for the upstream, but for what is of payments.
    pub(crate) fn request(&self, headers: &mut HeaderMap) {
        let trailers = takes_trailers(headers);
        strip_hop_headers(headers);
        if trailers {
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
        }
        for name in &self.remove_from_requests {
            headers.remove(name);
        }
        self.strip_spellings(headers);
        for (name, value) in &self.set {
            headers.insert(name, value.clone());
        }
    }

    /// Makes the trailers of a client those for the upstream: none that would count as a header
    /// that is set, removed or read for routing.
    pub(crate) fn request_trailers(&self, trailers: &mut HeaderMap) {
        remove_any(trailers, &NOT_IN_TRAILERS);
        strip_forwarded(trailers);
        strip_hop_headers(trailers);
        for name in &self.remove_from_requests {
            trailers.remove(name);
        }
        self.strip_spellings(trailers);
        for (name, _) in &self.set {
            trailers.remove(name);
        }
    }

    /// Makes an upstream's headers those for the client.
    pub(crate) fn response(&self, headers: &mut HeaderMap) {
        strip_hop_headers(headers);
        for name in &self.remove_from_responses {
            headers.remove(name);
        }
    }

    /// Removes headers that are one with a header of these rules to an upstream that knows no
    /// difference between `-` and `_` (CGI and its heirs).
    fn strip_spellings(&self, headers: &mut HeaderMap) {
        let is_spelt = |name: &&HeaderName| name.as_str().contains('_');
        if !headers.keys().any(|name| is_spelt(&name)) {
            return;
        }
        let spelt: HashSet<HeaderName> = headers.keys().filter(is_spelt).cloned().collect();
        for name in spelt {
            let plain = name.as_str().replace('_', "-");
            if self.is_ruled(&plain) {
                headers.remove(name);
            }
        }
    }

    fn is_ruled(&self, plain: &str) -> bool {
        let is = |name: &HeaderName| name.as_str().replace('_', "-") == plain;
        NOT_FORWARDED.iter().chain(&FORWARDED).any(is)
            || NOT_IN_TRAILERS.iter().any(is)
            || self.remove_from_requests.iter().any(is)
            || self.set.iter().any(|(name, _)| is(name))
    }
}

/// Names only: what is set may be a secret.
impl fmt::Debug for HeaderRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set: Vec<_> = self.set.iter().map(|(name, _)| name).collect();
        f.debug_struct("HeaderRules")
            .field("set", &set)
            .field("remove_from_requests", &self.remove_from_requests)
            .field("remove_from_responses", &self.remove_from_responses)
            .finish()
    }
}

/// Removes what only a proxy in front of us may say.
pub(crate) fn strip_forwarded(headers: &mut HeaderMap) {
    remove_any(headers, &FORWARDED);
}

/// Removes the fields of these names. A look at the few names that are there, which as a rule are
/// none of these, costs less than a look-up of each.
pub(crate) fn remove_any(headers: &mut HeaderMap, names: &[HeaderName]) {
    if headers.keys().any(|name| names.contains(name)) {
        for name in names {
            headers.remove(name);
        }
    }
}

/// Removes the fields that `Connection` names and this hop has no use for: no upstream will see
/// them.
pub(crate) fn strip_named(headers: &mut HeaderMap) {
    const OF_THIS_HOP: [HeaderName; 5] = [
        header::AUTHORIZATION,
        header::CONNECTION,
        header::TE,
        header::UPGRADE,
        HeaderName::from_static("payment-authorization"),
    ];
    strip_named_but(headers, &OF_THIS_HOP);
}

fn strip_named_but(headers: &mut HeaderMap, kept: &[HeaderName]) {
    if !headers.contains_key(header::CONNECTION) {
        return;
    }
    let lines = headers.get_all(header::CONNECTION).iter();
    let names = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let named: Vec<HeaderName> = names
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .filter(|name| !kept.contains(name))
        .collect();
    for name in named {
        headers.remove(name);
    }
}

/// Removes what must not travel beyond this hop, in either direction.
fn strip_hop_headers(headers: &mut HeaderMap) {
    strip_named_but(headers, &[]);
    remove_any(headers, &NOT_FORWARDED);
}

/// True when a client reads trailers: the one thing of `TE` that goes on (gRPC asks for it).
fn takes_trailers(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::TE).iter();
    lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
}

/// One line of cookies, as HTTP/1.1 has them: HTTP/2 allows several (RFC 9113, section 8.2.3).
pub(crate) fn join_cookies(headers: &mut HeaderMap) {
    let mut lines = headers.get_all(header::COOKIE).iter();
    if lines.next().is_none() || lines.next().is_none() {
        return;
    }
    let lines: Vec<&[u8]> = headers
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    // Values that were good apart are good together.
    if let Ok(joined) = HeaderValue::from_bytes(&lines.join(&b"; "[..])) {
        headers.insert(header::COOKIE, joined);
    }
}

#[cfg(test)]
mod tests;
