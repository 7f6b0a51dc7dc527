//! HTTP/2 in front: what only its framing can say must not become another HTTP/1.1 request behind.

use crate::front::{Front, Program};

/// A connection's beginning: the preface and empty settings.
fn beginning() -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend_from_slice(&frame(4, 0, 0, b""));
    bytes
}

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags, 0, 0, 0, stream]);
    bytes.extend_from_slice(payload);
    bytes
}

/// Fields as literals, never indexed and not Huffman-coded (RFC 7541, section 6.2.2): any bytes.
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            let length = u8::try_from(text.len()).unwrap();
            assert!(length < 127, "longer lengths take more bytes");
            bytes.push(length);
            bytes.extend_from_slice(text.as_bytes());
        }
    }
    bytes
}

/// One request with a body, whatever its fields say.
fn request(fields: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    const END_HEADERS: u8 = 4;
    const END_STREAM: u8 = 1;
    let mut bytes = beginning();
    bytes.extend_from_slice(&frame(1, END_HEADERS, 1, &block(fields)));
    bytes.extend_from_slice(&frame(0, END_STREAM, 1, body));
    bytes
}

/// The fields of an honest request.
const USUAL: [(&str, &str); 4] = [
    (":method", "POST"),
    (":scheme", "http"),
    (":authority", "gateway-test"),
    (":path", "/free/a"),
];

/// An honest request's fields with these in their place, or besides.
fn with<'f>(fields: &[(&'f str, &'f str)]) -> Vec<(&'f str, &'f str)> {
    let mut all: Vec<(&str, &str)> = USUAL.to_vec();
    for (name, value) in fields {
        match all.iter_mut().find(|(known, _)| known == name) {
            Some(known) if name.starts_with(':') => known.1 = value,
            _ => all.push((name, value)),
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_http2_field_becomes_a_request_of_its_own() {
    const HIDDEN: &str = "GET /v1/reading HTTP/1.1\r\nhost: x\r\n\r\n";
    let zero = format!("0\r\n\r\n{HIDDEN}");
    let in_value = format!("y\r\n\r\n{HIDDEN}");
    let in_path = format!("/free/a HTTP/1.1\r\nhost: x\r\n\r\n{HIDDEN}");
    let in_method = "GET /v1/reading HTTP/1.1\r\nx: ";
    let attacks = [
        (with(&[("transfer-encoding", "chunked")]), &*zero),
        (with(&[("content-length", "0")]), HIDDEN),
        (with(&[("content-length", "3")]), HIDDEN),
        (with(&[("content-length", "1000")]), HIDDEN),
        (
            with(&[("content-length", "0"), ("content-length", "53")]),
            HIDDEN,
        ),
        (with(&[("connection", "keep-alive")]), HIDDEN),
        (with(&[("upgrade", "h2c")]), HIDDEN),
        (with(&[("x", &in_value)]), ""),
        (with(&[("x: y\r\ntransfer-encoding", "chunked")]), &*zero),
        (with(&[("X-Http-Method-Override", "GET")]), ""),
        (with(&[(":path", &in_path)]), ""),
        (with(&[(":path", "/free/../v1/reading")]), ""),
        (with(&[(":path", "/free/%2e%2e/v1/reading")]), ""),
        (with(&[(":path", "/free/..%2fv1/reading")]), ""),
        (with(&[(":path", "//v1/reading")]), ""),
        (with(&[(":path", "http://gateway-test/v1/reading")]), ""),
        (with(&[(":path", "/v1/reading /free/a")]), ""),
        (with(&[(":path", "*")]), ""),
        (with(&[(":path", "")]), ""),
        (with(&[(":method", in_method)]), ""),
        (with(&[(":method", "GET /v1/reading")]), ""),
        (with(&[(":authority", "x/v1/reading?")]), ""),
        (with(&[(":authority", "x\r\nx: y")]), ""),
        (with(&[(":scheme", "http://x/v1/reading?")]), ""),
        (
            with(&[("host", "other.example"), (":path", "/v1/reading")]),
            "",
        ),
        (with(&[(":path", "/v1/reading"), (":method", "GET")]), ""),
    ];
    for program in Program::ALL {
        let front = Front::start(program).await;
        for (fields, body) in &attacks {
            let told = format!("{fields:?} {body:?}");
            front.raw("h2", &request(fields, body.as_bytes())).await;
            front.assert_nothing_delivered(&told);
        }
        assert_eq!(front.payments().await, 0);
    }
}
