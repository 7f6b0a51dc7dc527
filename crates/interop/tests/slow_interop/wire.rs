//! HTTP/1.1 by hand: requests as the test wants them, and servers that say what it wants.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Reply {
    /// The first field of a name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.fields(name).into_iter().next()
    }

    /// All fields of a name.
    pub(crate) fn fields(&self, name: &str) -> Vec<&str> {
        let same = |(known, _): &&(String, String)| known.eq_ignore_ascii_case(name);
        let fields = self.headers.iter().filter(same);
        fields.map(|(_, value)| value.as_str()).collect()
    }

    /// The status and the last segment of the problem's type, or `no problem`.
    pub(crate) fn problem(&self) -> String {
        let problem: Option<serde_json::Value> = serde_json::from_str(&self.body).ok();
        let kind = problem
            .as_ref()
            .and_then(|problem| problem["type"].as_str());
        let name = kind.map_or("no problem", |kind| {
            kind.rsplit(['/', '#']).next().unwrap_or(kind)
        });
        format!("{} {name}", self.status)
    }
}

/// Sends one request. `url` has a host, a port and a path.
pub(crate) fn ask(method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let rest = url.strip_prefix("http://").unwrap();
    let (address, path) = rest.split_once('/').unwrap();
    let mut request = format!("{method} /{path} HTTP/1.1\r\nhost: {address}\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() || method == "POST" {
        request.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    request.push_str(&format!("connection: close\r\n\r\n{body}"));
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    parse(&String::from_utf8(answer).unwrap())
}

/// As [`ask`], without a body.
pub(crate) fn get(url: &str, headers: &[(&str, &str)]) -> Reply {
    ask("GET", url, headers, "")
}

fn parse(answer: &str) -> Reply {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap();
    let mut reply = Reply {
        status: status.parse().unwrap(),
        headers: Vec::new(),
        body: body.to_owned(),
    };
    for line in lines {
        let (name, value) = line.split_once(':').unwrap();
        let row = (name.to_ascii_lowercase(), value.trim().to_owned());
        reply.headers.push(row);
    }
    if reply.header("transfer-encoding") == Some("chunked") {
        reply.body = unchunked(body);
    }
    reply
}

fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            break;
        }
        whole.push_str(&rest[..size]);
        body = &rest[size + 2..];
    }
    whole
}

/// A server that answers as the test says, and keeps the heads of the requests it got.
pub(crate) struct Scripted {
    pub(crate) url: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    /// Answers each request's head with these bytes.
    #[expect(clippy::disallowed_methods, reason = "a test starts its own threads")]
    pub(crate) fn start(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (kept, answer) = (Arc::clone(&heads), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (kept, answer) = (Arc::clone(&kept), Arc::clone(&answer));
                std::thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    if let Some(head) = request(&mut stream) {
                        let bytes = answer(&head);
                        kept.lock().unwrap().push(head);
                        // Whoever asked may have gone.
                        let _ = stream.write_all(bytes.as_bytes());
                    }
                });
            }
        });
        Self { url, heads }
    }

    /// The heads of the requests so far.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    /// How many requests carried a credential.
    pub(crate) fn credentials(&self) -> usize {
        let heads = self.heads();
        let paid = heads.iter().filter(|head| has_credential(head));
        paid.count()
    }
}

/// True when a head carries a Payment credential.
pub(crate) fn has_credential(head: &str) -> bool {
    head.to_ascii_lowercase()
        .contains("authorization: payment ")
}

/// A field of a request's head.
pub(crate) fn field(head: &str, name: &str) -> Option<String> {
    head.split("\r\n").find_map(|line| {
        let (known, value) = line.split_once(':')?;
        known
            .eq_ignore_ascii_case(name)
            .then(|| value.trim().to_owned())
    })
}

/// Reads a request to its end and gives its head.
fn request(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if !stream.read(&mut byte).is_ok_and(|read| read == 1) {
            return None;
        }
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let length = field(&head, "content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(head)
}

/// An answer with a body.
pub(crate) fn answer(status: &str, headers: &[String], body: &str) -> String {
    let mut text = format!("HTTP/1.1 {status}\r\n");
    for header in headers {
        text.push_str(header);
        text.push_str("\r\n");
    }
    let length = body.len();
    format!("{text}content-length: {length}\r\nconnection: close\r\n\r\n{body}")
}
