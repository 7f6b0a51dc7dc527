//! What goes over the wire, seen on its way: for `--verbose`, and for the offers of a 402.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use reqwest::Response;
use stiver_client::{
    Delivery, Exchange, HttpExchange, NotSent, Origin, SessionStream, Side, call::Head,
    error::BoxError,
};
use stiver_core::{challenge::Challenge, untrusted::Untrusted};
use stiver_env::{BoxFuture, Env};

/// Words in names whose values are not shown.
const SECRET_WORDS: [&str; 12] = [
    "auth",
    "cookie",
    "credential",
    "jwt",
    "key",
    "pass",
    "pwd",
    "receipt",
    "secret",
    "session",
    "sig",
    "token",
];
/// Fields that hold URLs, whose queries may hold secrets.
const URL_NAMES: [&str; 3] = ["link", "location", "referer"];
/// Names with such a word that are no secrets.
const OPEN_NAMES: [&str; 4] = [
    "accept-payment",
    "idempotency-key",
    "proxy-authenticate",
    "www-authenticate",
];

/// An exchange that is looked at.
pub(super) struct Watch {
    inner: HttpExchange,
    env: Env,
    verbose: bool,
    here_only: bool,
    offers: Vec<Challenge>,
}

impl Watch {
    /// `here_only` refuses TLS to other machines, because no certificate is checked.
    pub(super) fn new(inner: HttpExchange, env: &Env, verbose: bool, here_only: bool) -> Self {
        Self {
            inner,
            env: env.clone(),
            verbose,
            here_only,
            offers: Vec::new(),
        }
    }

    /// The way to servers, not looked at.
    pub(super) fn exchange(&self) -> &HttpExchange {
        &self.inner
    }

    /// The readable challenges of the last 402.
    pub(super) fn offers(&self) -> &[Challenge] {
        &self.offers
    }

    fn note(&mut self, response: &Response) {
        if response.status() == StatusCode::PAYMENT_REQUIRED {
            let now = self.env.clock.now();
            let head = Head::new(response.status(), response.headers(), now);
            self.offers = head.challenges().into_iter().flatten().collect();
        }
    }
}

impl Exchange for Watch {
    type Response = Response;

    fn send(&mut self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response, BoxError>> {
        Box::pin(async move {
            let here = Origin::of(request.uri()).is_ok_and(|origin| origin.is_loopback());
            if self.here_only && !here {
                let why = "--insecure holds for this machine only".to_owned();
                return Err(NotSent(why).into());
            }
            if self.verbose {
                show_request(&request);
            }
            let result = self.inner.send(request).await;
            match &result {
                Ok(response) => {
                    if self.verbose {
                        show_response(response);
                    }
                    self.note(response);
                }
                Err(error) if self.verbose => {
                    show(&format!("* {}", Untrusted(&error.to_string())));
                }
                Err(_) => {}
            }
            result
        })
    }

    fn head(response: &Response) -> (StatusCode, &HeaderMap) {
        HttpExchange::head(response)
    }

    fn read(response: Response, limit: usize) -> BoxFuture<'static, Vec<u8>> {
        HttpExchange::read(response, limit)
    }

    fn peek(response: Response, limit: usize) -> BoxFuture<'static, (Vec<u8>, Response)> {
        HttpExchange::peek(response, limit)
    }

    fn watch(response: Response, delivery: Delivery) -> BoxFuture<'static, Response> {
        HttpExchange::watch(response, delivery)
    }

    fn stream(response: Response, stream: SessionStream) -> Response {
        HttpExchange::stream(response, stream)
    }

    fn side(&self) -> Arc<dyn Side> {
        self.inner.side()
    }
}

/// True when what a name stands for is not shown.
pub(super) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    !OPEN_NAMES.contains(&name.as_str()) && SECRET_WORDS.iter().any(|word| name.contains(word))
}

fn show_request(request: &Request<Bytes>) {
    let uri = request.uri();
    let query = uri.query().map(shown_query).unwrap_or_default();
    let host = uri.authority().map_or("", http::uri::Authority::as_str);
    show(&format!("> {} {}{query}", request.method(), uri.path()));
    show(&format!("> host: {host}"));
    show_fields(">", request.headers());
    if !request.body().is_empty() {
        show(&format!("> ({} bytes of body)", request.body().len()));
    }
    show(">");
}

fn show_response(response: &Response) {
    show(&format!("< {:?} {}", response.version(), response.status()));
    show_fields("<", response.headers());
    show("<");
}

fn show_fields(mark: &str, fields: &HeaderMap) {
    for (name, value) in fields {
        show(&format!("{mark} {name}: {}", shown_value(name, value)));
    }
}

fn shown_value(name: &HeaderName, value: &HeaderValue) -> String {
    if value.is_sensitive() || is_secret(name.as_str()) {
        return "[left out]".to_owned();
    }
    let text = String::from_utf8_lossy(value.as_bytes());
    let text = match URL_NAMES.contains(&name.as_str()) {
        true => shown_urls(&text),
        false => text.into_owned(),
    };
    Untrusted(&text).to_string()
}

/// Text with URLs in it, without the secret values of their queries and fragments.
fn shown_urls(text: &str) -> String {
    let ends = |c: char| matches!(c, '?' | '&' | '#' | '>' | ';' | ',' | '"') || c.is_whitespace();
    let pieces = text.split_inclusive(ends).map(|piece| {
        let end = piece.chars().next_back().filter(|last| ends(*last));
        match piece.split_once('=') {
            Some((name, _)) if is_secret(name) => {
                let end = end.map(String::from).unwrap_or_default();
                format!("{name}=[left out]{end}")
            }
            _ => piece.to_owned(),
        }
    });
    pieces.collect()
}

fn shown_query(query: &str) -> String {
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) if is_secret(name) => format!("{name}=[left out]"),
        _ => pair.to_owned(),
    });
    format!("?{}", pairs.collect::<Vec<_>>().join("&"))
}

fn show(line: &str) {
    use std::io::Write as _;
    // Nobody reads along when this fails.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_authorises_is_not_shown() {
        for name in [
            "Authorization",
            "payment-authorization",
            "proxy-authorization",
            "cookie",
            "set-cookie",
            "payment-receipt",
            "x-api-key",
            "x-auth-token",
            "signature",
            "x-session-id",
            "x-jwt",
        ] {
            let name: HeaderName = name.parse().unwrap();
            let value = HeaderValue::from_static("abc");
            assert_eq!(shown_value(&name, &value), "[left out]", "{name}");
        }
        let name = HeaderName::from_static("x-plain");
        let mut value = HeaderValue::from_bytes(b"a\xffb").unwrap();
        assert_eq!(shown_value(&name, &value), "a\u{fffd}b");
        value.set_sensitive(true);
        assert_eq!(shown_value(&name, &value), "[left out]");
        let challenge = HeaderName::from_static("www-authenticate");
        assert_eq!(shown_value(&challenge, &HeaderValue::from_static("x")), "x");
        assert_eq!(
            shown_query("a=1&api_key=abc&access_token=x&b"),
            "?a=1&api_key=[left out]&access_token=[left out]&b"
        );
        assert_eq!(
            shown_query("sig=1&pass=2&pwd=3&session=4&jwt=5&X-Amz-Signature=6&n=7"),
            "?sig=[left out]&pass=[left out]&pwd=[left out]&session=[left out]&jwt=[left out]\
             &X-Amz-Signature=[left out]&n=7"
        );
        for (name, text, shown) in [
            (
                "location",
                "https://a.example/x?n=1&sig=abc#access_token=def",
                "https://a.example/x?n=1&sig=[left out]#access_token=[left out]",
            ),
            ("referer", "/x?token=abc", "/x?token=[left out]"),
            (
                "link",
                "</x?sig=abc>; rel=\"next\", </y?n=2&jwt=d>; rel=prev",
                "</x?sig=[left out]>; rel=\"next\", </y?n=2&jwt=[left out]>; rel=prev",
            ),
        ] {
            let name = HeaderName::from_static(name);
            assert_eq!(shown_value(&name, &HeaderValue::from_static(text)), shown);
        }
    }
}
