//! Servers between the command and the gateway, on threads of their own.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Fetches a page without paying.
pub(crate) fn fetch(url: &str, path: &str) -> String {
    let address = url.strip_prefix("http://").unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let answer = exchange(address, request.as_bytes());
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    body.to_owned()
}

pub(crate) fn exchange(address: &str, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

/// A way to the gateway that can lose what comes back.
pub(crate) struct Tap {
    pub(crate) url: String,
    loses: Arc<AtomicBool>,
}

impl Tap {
    /// Hands requests without a body on to an address. While it loses, requests with a credential
    /// do not reach the gateway, and get no answer.
    pub(crate) fn start(to: &str) -> Self {
        let loses = Arc::new(AtomicBool::new(true));
        let (flag, to) = (Arc::clone(&loses), to.to_owned());
        let url = serve(move |head| {
            let is_paid = head.to_ascii_lowercase().contains("authorization: payment");
            if is_paid && flag.load(Ordering::SeqCst) {
                return None;
            }
            let request = head.replacen("\r\n", "\r\nconnection: close\r\n", 1);
            Some(exchange(&to, request.as_bytes()))
        });
        Self { url, loses }
    }

    /// Hands everything on from now on.
    pub(crate) fn heal(&self) {
        self.loses.store(false, Ordering::SeqCst);
    }
}

/// Serves one answer per connection to whoever asks, until the tests end. `None` hangs up.
#[expect(clippy::disallowed_methods, reason = "a test starts its own threads")]
pub(crate) fn serve(answer: impl Fn(&str) -> Option<String> + Send + 'static) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let head = head(&mut stream);
            if let Some(answer) = answer(&head) {
                // Whoever asked may have gone.
                let _ = stream.write_all(answer.as_bytes());
            }
        }
    });
    url
}

fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
        head.extend(byte);
    }
    String::from_utf8(head).unwrap()
}

/// An address that refuses connections for as long as the value lives.
pub(crate) struct Closed(tokio::net::TcpSocket);

impl Closed {
    pub(crate) fn new() -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        Self(socket)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.0.local_addr().unwrap())
    }
}
