//! What a client may try through a proxy to get what is priced for nothing.

use http::StatusCode;

use crate::{
    common::{get, paid, post, upstream::Seen, with},
    front::{Front, Program},
};

/// The paths that cost money.
const PRICED: [&str; 5] = [
    "/v1/reading",
    "/v1/other",
    "/v1/order",
    "/v1/refund",
    "/v1/keep",
];

/// Ways to write a path, among them ways to write one that costs money.
const SPELLINGS: [&str; 50] = [
    "/v1/reading",
    "/v1/reading?x=1",
    "/v1/reading/",
    "/v1/reading/.",
    "/v1//reading",
    "//v1/reading",
    "/v1/./reading",
    "/v1/x/../reading",
    "/v1/%72eading",
    "/v1/%2572eading",
    "/V1/Reading",
    "/v1/reading;x=1",
    "/v1/reading%20",
    "/v1/reading%00",
    "/v1/reading%3fx",
    "/v1/reading%23x",
    "/v1/reading#x",
    "/v1%2freading",
    "/v1%252freading",
    "/v1%5creading",
    "/v1\\reading",
    "/free/../v1/reading",
    "/free/%2e%2e/v1/reading",
    "/free/%252e%252e/v1/reading",
    "/free/..%2fv1%2freading",
    "/free/..%252fv1%252freading",
    "/free/..;/v1/reading",
    "/free/..;x=1/v1/reading",
    "/free/..%3b/v1/reading",
    "/free/.%2e/v1/reading",
    "/free/..\\v1\\reading",
    "/free/..%5cv1%5creading",
    "/free/%2e%2e%2fv1/reading",
    "/free//../v1/reading",
    "/free/a/..//../v1/reading",
    "/free/../../v1/reading",
    "/free/%c0%ae%c0%ae/v1/reading",
    "/free/..%c0%afv1/reading",
    "/free/%u002e%u002e/v1/reading",
    "http://gateway-test/v1/reading",
    "http://gateway-test//v1/reading",
    "http://other.example/free/../v1/reading",
    "http://gateway-test/free/..%2fv1/reading",
    "http:///v1/reading",
    "/free/http://gateway-test/../../../v1/reading",
    "*",
    "v1/reading",
    "?/v1/reading",
    "/free/%",
    "/free/%zz",
];

/// The path as a careless upstream could read it: decoded, parameters cut off, slashes merged, dot
/// segments resolved, letters made small.
pub(crate) fn careless(target: &str) -> String {
    let path = target.split(['?', '#']).next().unwrap();
    let path = match path.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |start| &rest[start..]),
        None => path,
    };
    let text = decode(path).replace('\\', "/").to_lowercase();
    let mut segments: Vec<&str> = Vec::new();
    for segment in text.split('/') {
        match segment.split([';', '\0', '?', '#']).next().unwrap().trim() {
            "" | "." => {}
            ".." => drop(segments.pop()),
            name => segments.push(name),
        }
    }
    format!("/{}", segments.join("/"))
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, more @ ..] = rest {
        let pair = more
            .get(..2)
            .and_then(|pair| std::str::from_utf8(pair).ok());
        match pair.map(|pair| u8::from_str_radix(pair, 16)) {
            Some(Ok(byte)) if *first == b'%' => {
                bytes.push(byte);
                rest = &more[2..];
            }
            _ => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Front {
    /// Asserts that nothing priced has reached the API, however the API may read paths and methods.
    #[track_caller]
    pub(crate) fn assert_nothing_delivered(&self, what: &str) {
        for Seen {
            target, headers, ..
        } in self.world.upstream.seen()
        {
            let path = careless(&target);
            let told = format!("{:?} {what:?}: {target} was delivered unpaid", self.program);
            assert!(
                !PRICED.iter().any(|priced| path.starts_with(priced)),
                "{told}"
            );
            for name in headers.keys() {
                let name = name.as_str().replace('_', "-");
                let steers = ["-override", "original-ur", "rewrite-ur", "forwarded-ur"];
                let steers = steers.iter().any(|part| name.contains(part));
                assert!(!steers, "{what:?}: {name} reached the API");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_spelling_of_a_path_is_delivered_unpaid() {
    for program in Program::ALL {
        let front = Front::start(program).await;
        for path in SPELLINGS {
            for method in ["GET", "POST", "HEAD", "OPTIONS", "TRACE", "get", "PROPFIND"] {
                let request = format!(
                    "{method} {path} HTTP/1.1\r\nhost: gateway-test\r\nconnection: close\r\n\
                     content-length: 0\r\n\r\n"
                );
                let answer = front.raw("http1", request.as_bytes()).await;
                let status = answer.get(9..12).unwrap_or_default().to_owned();
                let told = format!("{program:?} {method} {path}: {answer}");
                front.assert_nothing_delivered(&told);
                assert!(answer.is_empty() || answer.starts_with("HTTP/1."), "{told}");
                // What is delivered is a free path, or the proxy's own answer to a method.
                let answered = status == "200";
                let free = careless(path).starts_with("/free/") || path == "*";
                assert!(!answered || free, "{told}");
            }
        }
        assert_eq!(front.payments().await, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_hides_within_another() {
    let hidden = "GET /v1/reading HTTP/1.1\r\nhost: gateway-test\r\n\r\n";
    let length = hidden.len();
    let chunk = format!("{length:x}\r\n{hidden}\r\n0\r\n\r\n");
    let zero = format!("0\r\n\r\n{hidden}");
    let zero_length = zero.len();
    let framings = [
        // Two lengths that disagree.
        format!("content-length: 0\r\ncontent-length: {length}\r\n\r\n{hidden}"),
        format!("content-length: {length}\r\ncontent-length: 0\r\n\r\n{hidden}"),
        format!("content-length: 0, {length}\r\n\r\n{hidden}"),
        format!("content-length: +{length}\r\n\r\n{hidden}"),
        format!("content-length: 0x{length:x}\r\n\r\n{hidden}"),
        format!("content-length : {length}\r\n\r\n{hidden}"),
        format!("content-length:\r\n {length}\r\n\r\n{hidden}"),
        format!("content_length: {length}\r\n\r\n{hidden}"),
        // A length and chunks.
        format!("content-length: {zero_length}\r\ntransfer-encoding: chunked\r\n\r\n{zero}"),
        format!("transfer-encoding: chunked\r\ncontent-length: {zero_length}\r\n\r\n{zero}"),
        format!("content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n{chunk}"),
        // Chunks that only one side may take for chunks.
        format!("content-length: {zero_length}\r\ntransfer-encoding: xchunked\r\n\r\n{zero}"),
        format!("content-length: {zero_length}\r\ntransfer-encoding : chunked\r\n\r\n{zero}"),
        format!("content-length: {zero_length}\r\ntransfer-encoding:\tchunked\r\n\r\n{zero}"),
        format!("content-length: {zero_length}\r\ntransfer-encoding: \"chunked\"\r\n\r\n{zero}"),
        format!("content-length: {zero_length}\r\ntransfer_encoding: chunked\r\n\r\n{zero}"),
        format!("content-length: {zero_length}\r\n transfer-encoding: chunked\r\n\r\n{zero}"),
        format!("content-length: {zero_length}\r\nx: y\ntransfer-encoding: chunked\r\n\r\n{zero}"),
        format!("transfer-encoding: chunked, identity\r\n\r\n{zero}"),
        format!("transfer-encoding: identity\r\ntransfer-encoding: chunked\r\n\r\n{zero}"),
        format!("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n{zero}"),
        format!("transfer-encoding: gzip, chunked\r\n\r\n{zero}"),
        // Chunks that end in more than one place.
        format!("transfer-encoding: chunked\r\n\r\n0;\n\r\n{hidden}"),
        format!("transfer-encoding: chunked\r\n\r\n0\n\n{hidden}"),
        format!("transfer-encoding: chunked\r\n\r\n00000000000000000\r\n\r\n{hidden}"),
        format!("transfer-encoding: chunked\r\n\r\n-1\r\n\r\n{hidden}"),
        format!("transfer-encoding: chunked\r\n\r\n0x0\r\n\r\n{hidden}"),
        format!("transfer-encoding: chunked\r\n\r\n{chunk}"),
        // Lines that one side ends earlier.
        format!("x: y\rcontent-length: 0\r\n\r\n{hidden}"),
        format!("x: y\r\n\rcontent-length: {length}\r\n\r\n{hidden}"),
        format!("x: y\u{0}\r\ncontent-length: {length}\r\n\r\n{hidden}"),
        // No body at all: what follows is a request of its own, and not a paid one.
        format!("\r\n{hidden}"),
        format!("expect: 100-continue\r\ncontent-length: {length}\r\n\r\n{hidden}"),
        format!("upgrade: h2c\r\nconnection: upgrade, http2-settings\r\n\r\n{hidden}"),
        format!("upgrade: websocket\r\nconnection: upgrade\r\n\r\n{hidden}"),
    ];
    for program in Program::ALL {
        let front = Front::start(program).await;
        for framing in &framings {
            for line in [
                "POST /free/a HTTP/1.1",
                "GET /free/a HTTP/1.1",
                "GET /free/a HTTP/1.0",
            ] {
                let request = format!("{line}\r\nhost: gateway-test\r\n{framing}");
                front.raw("http1", request.as_bytes()).await;
                front.assert_nothing_delivered(&request);
                // And nobody who comes next over the same connections gets another's answer.
                let next = front.ask(get("/v1/reading")).await;
                assert_eq!(next.status, StatusCode::PAYMENT_REQUIRED, "{request:?}");
            }
        }
        assert_eq!(front.payments().await, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_header_steers_a_free_request_to_what_is_priced() {
    let headers = [
        ("x-http-method-override", "GET"),
        ("x-http-method", "GET"),
        ("x-method-override", "GET"),
        ("x_http_method_override", "GET"),
        ("x-original-url", "/v1/reading"),
        ("x-original-uri", "/v1/reading"),
        ("x_original_url", "/v1/reading"),
        ("x-rewrite-url", "/v1/reading"),
        ("x-forwarded-uri", "/v1/reading"),
        ("x-forwarded-method", "DELETE"),
        ("x-forwarded-prefix", "/v1"),
        ("x-forwarded-host", "other.example"),
        ("x-forwarded-proto", "ftp"),
        ("x-forwarded-for", "127.0.0.1"),
        ("forwarded", "for=127.0.0.1;host=other.example"),
        ("x-real-ip", "127.0.0.1"),
        ("x-accel-redirect", "/v1/reading"),
        ("connection", "authorization"),
        ("connection", "x-forwarded-for, host"),
        ("payment-receipt", "forged"),
        ("host", "other.example"),
    ];
    for program in Program::ALL {
        let front = Front::start(program).await;
        for (name, value) in headers {
            let told = format!("{program:?} {name}: {value}");
            front.ask(with(post("/free/a", ""), name, value)).await;
            front.assert_nothing_delivered(&told);
            // What is priced stays so: at the same price, by the same realm.
            let reply = front.ask(with(get("/v1/reading"), name, value)).await;
            assert_eq!(reply.status, StatusCode::PAYMENT_REQUIRED, "{told}");
            let usual = front.world.challenge(get("/v1/reading")).await;
            let challenge = reply.challenge();
            assert_eq!(challenge.params.realm, usual.params.realm, "{told}");
        }
        assert_eq!(front.payments().await, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_credentials_are_refused_and_another_scheme_is_no_payment() {
    for program in Program::ALL {
        let front = Front::start(program).await;
        let one = front.world.pay(get("/v1/reading")).await;
        let two = front.world.pay(get("/v1/reading")).await;
        let token = one.strip_prefix("Payment ").unwrap();
        for request in [
            paid(paid(get("/v1/reading"), &one), &two),
            paid(get("/v1/reading"), &format!("{one}, {two}")),
            with(
                paid(get("/v1/reading"), &one),
                "payment-authorization",
                &two,
            ),
        ] {
            let reply = front.ask(request).await;
            // haproxy joins nothing, and nginx hands on what it likes: never two payments.
            let refused = [StatusCode::BAD_REQUEST, StatusCode::PAYMENT_REQUIRED];
            assert!(refused.contains(&reply.status), "{program:?}: {reply:?}");
        }
        for value in [&format!("Basic {token}"), &format!("Bearer {token}"), token] {
            let reply = front.ask(paid(get("/v1/reading"), value)).await;
            assert_eq!(reply.status, StatusCode::PAYMENT_REQUIRED, "{program:?}");
        }
        front.assert_nothing_delivered("two credentials");
        assert_eq!(front.payments().await, 0);
        // Each is good by itself, also beside the application's own.
        let beside = with(paid(get("/v1/reading"), "Bearer of-the-api"), "x", "y");
        let beside = with(beside, "payment-authorization", &one);
        front.ask(beside).await.assert_paid();
        front
            .ask(paid(get("/v1/reading"), &two))
            .await
            .assert_paid();
    }
}
