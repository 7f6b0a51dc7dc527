//! The upstream, and a wire to the gateway that counts what leaves it.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Sender, channel},
    },
    thread,
    time::Duration,
};

/// What every event holds, and nothing else on the wire does.
pub(crate) const MARK: &str = "reading-";
/// How long the upstream takes for an event.
const PACE: Duration = Duration::from_millis(1);

/// Serves event streams of so many events; gives its URL.
#[expect(clippy::disallowed_methods, reason = "a test starts its own threads")]
pub(crate) fn upstream(events: u64) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            // Whoever asks may go away at any time.
            thread::spawn(move || stream_events(stream, events));
        }
    });
    url
}

fn stream_events(mut stream: TcpStream, events: u64) -> Option<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.extend(byte);
    }
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).ok()?;
    let (_silent, pace) = channel::<()>();
    for n in 0..events {
        let _ = pace.recv_timeout(PACE);
        let event = format!("data: {MARK}{n}\n\n");
        stream.write_all(event.as_bytes()).ok()?;
    }
    Some(())
}

/// Hands connections on to the gateway, and counts the events that leave it.
pub(crate) struct Relay {
    pub(crate) url: String,
    passed: Arc<AtomicU64>,
}

impl Relay {
    /// Hands on to an address; tells of each event.
    #[expect(clippy::disallowed_methods, reason = "a test starts its own threads")]
    pub(crate) fn start(to: &str, tell: Sender<()>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let passed = Arc::new(AtomicU64::new(0));
        let (counter, to) = (Arc::clone(&passed), to.to_owned());
        thread::spawn(move || {
            for near in listener.incoming() {
                let near = near.unwrap();
                // Nobody listens there while the gateway is down: the connection ends.
                let Ok(far) = TcpStream::connect(&to) else {
                    continue;
                };
                let (near_end, far_end) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                thread::spawn(move || ask(near, far));
                let (counter, tell) = (Arc::clone(&counter), tell.clone());
                thread::spawn(move || answer(far_end, near_end, &counter, &tell));
            }
        });
        Self { url, passed }
    }

    /// How many events have left the gateway.
    pub(crate) fn passed(&self) -> u64 {
        self.passed.load(Ordering::SeqCst)
    }
}

/// Hands what is asked on; when who asks is gone, the gateway is told.
fn ask(mut near: TcpStream, mut far: TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = near.read(&mut buffer) {
        if far.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = far.shutdown(Shutdown::Write);
}

/// Hands what is answered on. It reads on when nobody reads it any more: what left the gateway
/// counts.
fn answer(mut far: TcpStream, mut near: TcpStream, passed: &AtomicU64, tell: &Sender<()>) {
    let mut buffer = [0; 4096];
    let mut held = String::new();
    while let Ok(count @ 1..) = far.read(&mut buffer) {
        held.push_str(&String::from_utf8_lossy(&buffer[..count]));
        for _ in 0..held.matches(MARK).count() {
            passed.fetch_add(1, Ordering::SeqCst);
            let _ = tell.send(());
        }
        // A mark may come in two pieces, and none is counted twice.
        let end = held.rfind(MARK).map_or(0, |at| at + MARK.len());
        let keep = held.len().saturating_sub(MARK.len() - 1).max(end);
        let keep = (keep..=held.len()).find(|at| held.is_char_boundary(*at));
        held.drain(..keep.unwrap_or(0));
        let _ = near.write_all(&buffer[..count]);
    }
    let _ = near.shutdown(Shutdown::Both);
}
