//! Servers of other people, on threads of their own: they answer what a test wants.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

use stiver_testkit::certificates::Issued;

/// A request as a site saw it.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    /// A field's value.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        let found = fields.find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    fn read(stream: &mut dyn Read) -> Option<Self> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read(&mut byte) {
                Ok(1) => head.extend(byte),
                _ => return None,
            }
        }
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let mut first = lines.next()?.split(' ');
        let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
        let fields = lines.filter_map(|line| line.split_once(':'));
        let fields = fields.map(|(n, v)| (n.to_ascii_lowercase(), v.trim().to_owned()));
        let mut asked = Self {
            method,
            target,
            fields: fields.collect(),
            body: Vec::new(),
        };
        let length = asked.field("content-length").unwrap_or("0");
        asked.body = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut asked.body).ok()?;
        Some(asked)
    }
}

/// A stream that a site answers on.
pub(crate) trait Wire: Read + Write + Send {}

impl<T: Read + Write + Send> Wire for T {}

/// A server that answers each connection once.
pub(crate) struct Site {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Site {
    /// Answers over plain HTTP.
    pub(crate) fn start(answer: impl Fn(&Asked, &mut dyn Wire) + Send + Sync + 'static) -> Self {
        Self::plain(move |asked, mut stream| answer(asked, &mut stream))
    }

    /// Hands the connection over with the request.
    pub(crate) fn plain(answer: impl Fn(&Asked, TcpStream) + Send + Sync + 'static) -> Self {
        Self::run("http", Some, answer)
    }

    /// Answers over TLS.
    pub(crate) fn tls(
        issued: &Issued,
        answer: impl Fn(&Asked, &mut dyn Wire) + Send + Sync + 'static,
    ) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![issued.certificate_der.clone().into()],
                issued.key_der.clone().try_into().unwrap(),
            );
        let config = Arc::new(config.unwrap());
        let wrap = move |stream: TcpStream| {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).ok()?;
            Some(rustls::StreamOwned::new(connection, stream))
        };
        Self::run("https", wrap, move |asked, mut wire| {
            answer(asked, &mut wire);
        })
    }

    #[expect(clippy::disallowed_methods, reason = "a test starts its own threads")]
    fn run<W: Wire>(
        scheme: &str,
        wrap: impl Fn(TcpStream) -> Option<W> + Send + Sync + 'static,
        answer: impl Fn(&Asked, W) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let seen = Arc::clone(&asked);
        let both = Arc::new((wrap, answer));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (both, seen) = (Arc::clone(&both), Arc::clone(&seen));
                let stream = stream.unwrap();
                std::thread::spawn(move || {
                    let Some(mut wire) = both.0(stream) else {
                        return;
                    };
                    if let Some(asked) = Asked::read(&mut wire) {
                        seen.lock().unwrap().push(asked.clone());
                        both.1(&asked, wire);
                    }
                });
            }
        });
        Self { url, asked }
    }

    /// The URL of a path.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// The host and port.
    pub(crate) fn address(&self) -> &str {
        self.url.split_once("://").unwrap().1
    }

    /// All requests so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The last request.
    pub(crate) fn last(&self) -> Asked {
        self.asked().pop().expect("it was asked")
    }
}

/// Writes an answer whose reader may have gone.
pub(crate) fn say(wire: &mut dyn Wire, status: &str, fields: &str, body: &[u8]) {
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n{fields}\r\n",
        body.len()
    );
    let _ = wire.write_all(head.as_bytes());
    let _ = wire.write_all(body);
    let _ = wire.flush();
}

/// A site that answers everything with 200.
pub(crate) fn agreeable() -> Site {
    Site::start(|_, wire| say(wire, "200 OK", "", b"fine"))
}
