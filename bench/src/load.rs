//! The load: keeps connections busy with one request each, and is the API behind a proxy, too.
//!
//! One thread does both, so that on two CPUs the server under measurement has one for itself.

use std::{
    io::{self, Read as _, Write as _},
    net::SocketAddr,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};

/// Connections that are kept busy at a time.
pub const CONNECTIONS: usize = 32;
/// What the API behind a proxy answers: 1 KiB of JSON.
const BODY_BYTES: usize = 1024;
/// How long the load waits for anything to happen.
const STALL: Duration = Duration::from_secs(10);

/// Where the listener's token is; connections have their index.
const LISTENER: Token = Token(usize::MAX);

/// Connections to a server, and the listener of the API behind it.
pub struct Load {
    poll: Poll,
    events: Events,
    upstream: Option<(TcpListener, Vec<u8>)>,
    connections: Vec<Option<Connection>>,
    clients: usize,
}

/// One connection.
struct Connection {
    stream: TcpStream,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    sent: usize,
    role: Role,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Sends requests.
    Client,
    /// Answers them.
    Upstream,
}

/// The requests of each connection.
pub type Queues = Vec<Vec<Vec<u8>>>;

/// Sees each answer, head and body.
pub type Answered<'a> = dyn FnMut(&[u8]) -> Result<()> + 'a;

/// What a round of requests must bring.
#[derive(Clone, Copy)]
pub struct Expected {
    /// The status of each answer.
    pub status: u16,
}

impl Load {
    /// A load without connections.
    pub fn new() -> Result<Self> {
        Ok(Self {
            poll: Poll::new().context("making a poll")?,
            events: Events::with_capacity(256),
            upstream: None,
            connections: Vec::new(),
            clients: 0,
        })
    }

    /// Listens as the API behind a proxy; tells where.
    pub fn listen(&mut self) -> Result<SocketAddr> {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut listener = TcpListener::bind(any).context("listening")?;
        let address = listener.local_addr().context("listening")?;
        self.poll
            .registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;
        let body = format!("{:1$}", r#"{"degrees":22.5}"#, BODY_BYTES);
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.upstream = Some((listener, answer.into_bytes()));
        Ok(address)
    }

    /// Opens [`CONNECTIONS`] to a server.
    pub fn connect(&mut self, address: SocketAddr) -> Result<()> {
        self.connect_many(address, CONNECTIONS)
    }

    /// Opens so many connections to a server.
    pub fn connect_many(&mut self, address: SocketAddr, count: usize) -> Result<()> {
        for _ in 0..count {
            let stream = TcpStream::connect(address).context("connecting")?;
            self.add(stream, Role::Client)?;
            self.clients += 1;
        }
        Ok(())
    }

    /// Sends so many requests, each connection taking the next as soon as its last was answered.
    pub fn run(
        &mut self,
        requests: &[Vec<u8>],
        expected: Expected,
        answered: &mut Answered<'_>,
    ) -> Result<()> {
        let mut next = requests.iter();
        self.drive(&mut |_| next.next(), expected, answered)
    }

    /// Sends so many requests, each connection those of its own queue: the next as soon as the last
    /// was answered.
    pub fn run_each(
        &mut self,
        queues: &Queues,
        expected: Expected,
        answered: &mut Answered<'_>,
    ) -> Result<()> {
        let mut next = vec![0_usize; queues.len()];
        let mut request = |index: usize| {
            let place = next.get_mut(index)?;
            *place += 1;
            queues.get(index)?.get(*place - 1)
        };
        self.drive(&mut request, expected, answered)
    }

    fn drive<'r>(
        &mut self,
        next: &mut dyn FnMut(usize) -> Option<&'r Vec<u8>>,
        expected: Expected,
        answered: &mut Answered<'_>,
    ) -> Result<()> {
        let mut waiting = 0_usize;
        for index in 0..self.connections.len() {
            let client = self.is_client(index);
            if let Some(request) = client.then(|| next(index)).flatten() {
                waiting += 1;
                self.send(index, request)?;
            }
        }
        while waiting > 0 {
            let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
            self.poll
                .poll(&mut events, Some(STALL))
                .context("waiting for the server")?;
            ensure!(!events.is_empty(), "the server did not answer in time");
            for event in &events {
                if event.token() == LISTENER {
                    self.accept()?;
                    continue;
                }
                let index = event.token().0;
                self.flush(index)?;
                if !self.read(index, expected, answered)? {
                    continue;
                }
                match next(index) {
                    Some(request) => self.send(index, request)?,
                    None => waiting -= 1,
                }
            }
            self.events = events;
        }
        Ok(())
    }

    fn is_client(&self, index: usize) -> bool {
        let connection = self.connections.get(index).and_then(Option::as_ref);
        connection.is_some_and(|connection| connection.role == Role::Client)
    }

    fn add(&mut self, mut stream: TcpStream, role: Role) -> Result<()> {
        // Fails while the connection is being made; then it is of no use yet.
        let _ = stream.set_nodelay(true);
        let token = Token(self.connections.len());
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut stream, token, interest)?;
        self.connections.push(Some(Connection {
            stream,
            inbox: Vec::with_capacity(16 << 10),
            outbox: Vec::new(),
            sent: 0,
            role,
        }));
        Ok(())
    }

    fn accept(&mut self) -> Result<()> {
        loop {
            let Some((listener, _)) = &self.upstream else {
                return Ok(());
            };
            match listener.accept() {
                Ok((stream, _)) => self.add(stream, Role::Upstream)?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("accepting"),
            }
        }
    }

    fn send(&mut self, index: usize, bytes: &[u8]) -> Result<()> {
        if let Some(connection) = self.connections.get_mut(index).and_then(Option::as_mut) {
            connection.outbox.clear();
            connection.outbox.extend_from_slice(bytes);
            connection.sent = 0;
        }
        self.flush(index)
    }

    fn flush(&mut self, index: usize) -> Result<()> {
        let Some(connection) = self.connections.get_mut(index).and_then(Option::as_mut) else {
            return Ok(());
        };
        while connection.sent < connection.outbox.len() {
            match connection
                .stream
                .write(&connection.outbox[connection.sent..])
            {
                Ok(count) => connection.sent += count,
                Err(error) if is_later(&error) => return Ok(()),
                Err(error) => return Err(error).context("sending a request"),
            }
        }
        Ok(())
    }

    /// Reads what there is. True when a client's answer is complete.
    fn read(
        &mut self,
        index: usize,
        expected: Expected,
        answered: &mut Answered<'_>,
    ) -> Result<bool> {
        let Some(connection) = self.connections.get_mut(index).and_then(Option::as_mut) else {
            return Ok(false);
        };
        let mut chunk = [0; 16 << 10];
        loop {
            match connection.stream.read(&mut chunk) {
                Ok(0) if connection.role == Role::Upstream => {
                    self.connections[index] = None;
                    return Ok(false);
                }
                Ok(0) => bail!("the server closed a connection"),
                Ok(count) => {
                    connection.inbox.extend_from_slice(&chunk[..count]);
                    if count < chunk.len() {
                        break;
                    }
                }
                Err(error) if is_later(&error) => break,
                Err(error) if connection.role == Role::Upstream => {
                    let _ = error;
                    self.connections[index] = None;
                    return Ok(false);
                }
                Err(error) => return Err(error).context("reading an answer"),
            }
        }
        match connection.role {
            Role::Client => {
                let Some(answer) = Answer::parse(&connection.inbox)? else {
                    return Ok(false);
                };
                ensure!(
                    answer.status == expected.status,
                    "the server answered {} and not {}: {}",
                    answer.status,
                    expected.status,
                    String::from_utf8_lossy(&connection.inbox)
                );
                answered(&connection.inbox)?;
                connection.inbox.clear();
                Ok(true)
            }
            Role::Upstream => {
                if connection.inbox.ends_with(b"\r\n\r\n") {
                    connection.inbox.clear();
                    let answer = self.upstream.as_ref().map(|(_, answer)| answer.clone());
                    self.send(index, &answer.unwrap_or_default())?;
                }
                Ok(false)
            }
        }
    }
}

fn is_later(error: &io::Error) -> bool {
    // A socket that is still connecting says that it is not connected.
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected
    )
}

/// An answer that is all there.
pub struct Answer<'a> {
    /// Its status.
    pub status: u16,
    head: &'a str,
}

impl<'a> Answer<'a> {
    /// Reads an answer with a `Content-Length`; `None` while some of it is missing.
    pub fn parse(bytes: &'a [u8]) -> Result<Option<Self>> {
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            return Ok(None);
        };
        let head = std::str::from_utf8(&bytes[..end]).context("a head that is no text")?;
        let status = head.get(9..12).and_then(|digits| digits.parse().ok());
        let answer = Self {
            status: status.with_context(|| format!("no status in {head:?}"))?,
            head,
        };
        // Of an answer without content none is told.
        let length = match answer.status {
            204 => Some("0"),
            _ => answer.field("content-length"),
        };
        let length: usize = length
            .and_then(|length| length.parse().ok())
            .with_context(|| format!("no length in {head:?}"))?;
        Ok((bytes.len() >= end + 4 + length).then_some(answer))
    }

    /// The first field of a name.
    pub fn field(&self, name: &str) -> Option<&'a str> {
        self.head.lines().skip(1).find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// A `GET` request as a common client sends it, with these fields besides.
pub fn get(target: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut text = format!(
        "GET {target} HTTP/1.1\r\nhost: 127.0.0.1\r\nuser-agent: stiver-bench/1\r\n\
         accept: application/json\r\naccept-encoding: gzip, br\r\n"
    );
    for (name, value) in fields {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.into_bytes()
}

/// Sends one request over a connection of its own, and reads the answer.
pub fn ask(address: SocketAddr, request: &[u8]) -> Result<Vec<u8>> {
    let mut stream = std::net::TcpStream::connect(address).context("connecting")?;
    stream.set_read_timeout(Some(STALL))?;
    stream.write_all(request)?;
    let mut inbox = Vec::new();
    let mut chunk = [0; 16 << 10];
    loop {
        let count = stream.read(&mut chunk).context("reading an answer")?;
        ensure!(count > 0, "the server closed the connection");
        inbox.extend_from_slice(&chunk[..count]);
        if Answer::parse(&inbox)?.is_some() {
            return Ok(inbox);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_complete_when_their_length_is_there() {
        let text = b"HTTP/1.1 402 Payment Required\r\nContent-Length: 3\r\nX-A: b\r\n\r\nabc";
        for end in 0..text.len() {
            assert!(Answer::parse(&text[..end]).unwrap().is_none());
        }
        let answer = Answer::parse(text).unwrap().unwrap();
        assert_eq!((answer.status, answer.field("x-a")), (402, Some("b")));
        assert!(Answer::parse(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        let empty = Answer::parse(b"HTTP/1.1 204 No Content\r\n\r\n");
        assert_eq!(empty.unwrap().unwrap().status, 204);
    }

    #[test]
    fn load_is_answered_by_its_own_upstream_as_often_as_it_asks() {
        let mut load = Load::new().unwrap();
        let address = load.listen().unwrap();
        load.connect(address).unwrap();
        let requests = vec![get("/", &[]); 100];
        load.run(&requests, Expected { status: 200 }, &mut |_| Ok(()))
            .unwrap();
        let wrong = load.run(&requests, Expected { status: 402 }, &mut |_| Ok(()));
        assert!(wrong.unwrap_err().to_string().contains("200 and not 402"));
    }
}
