//! One connection: two pipes of bytes, and what becomes of them.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use stiver_env::{BoxFuture, Clock as _};
use stiver_testkit::{entropy::Random, time::SimulatedClock};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Network, lock};

/// Bytes on their way in one direction, at most.
const BUFFER_BYTES: usize = 64 * 1024;

/// What becomes of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fate {
    /// After so many bytes.
    pub(super) after: u64,
    /// Nothing comes through any more, and nobody is told; else it breaks off.
    pub(super) silent: bool,
    /// Bytes of the server's answers are counted; else those of the client.
    pub(super) of_answers: bool,
}

/// A connection.
pub(super) struct Link {
    state: Mutex<State>,
    /// Whom to tell how many bytes have passed, and as which connection.
    counted: Option<(Network, usize)>,
    clock: SimulatedClock,
}

struct State {
    /// From the client, and from the server.
    pipes: [Pipe; 2],
    fate: Option<Fate>,
    /// Nothing comes through any more.
    silent: bool,
    broken: bool,
    /// Ends that were dropped.
    gone: [bool; 2],
    random: Random,
    delay_ms_max: u64,
    recorded: Option<Vec<u8>>,
}

#[derive(Default)]
struct Pipe {
    pieces: VecDeque<(Duration, Vec<u8>)>,
    bytes: usize,
    passed: u64,
    closed: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Link {
    pub(super) fn new(
        (fate, recorded): (Option<Fate>, bool),
        (random, delay_ms_max): (Random, u64),
        counted: Option<(Network, usize)>,
        clock: &SimulatedClock,
    ) -> Self {
        Self {
            state: Mutex::new(State {
                pipes: [Pipe::default(), Pipe::default()],
                fate,
                silent: false,
                broken: false,
                gone: [false; 2],
                random,
                delay_ms_max,
                recorded: recorded.then(Vec::new),
            }),
            counted,
            clock: clock.clone(),
        }
    }

    pub(super) fn fall_silent(&self) {
        lock(&self.state).silent = true;
    }
}

impl State {
    fn wake(&mut self) {
        for pipe in &mut self.pipes {
            let wakers = [pipe.reader.take(), pipe.writer.take()];
            wakers.into_iter().flatten().for_each(Waker::wake);
        }
    }

    /// Takes bytes into a pipe, as far as the connection's fate lets it.
    fn write(&mut self, from: usize, bytes: &[u8], now: Duration) -> usize {
        let room = BUFFER_BYTES - self.pipes[from].bytes;
        let mut count = bytes.len().min(room);
        let fate = self.fate.filter(|it| usize::from(it.of_answers) == from);
        if let Some(fate) = fate {
            let left = fate.after.saturating_sub(self.pipes[from].passed);
            count = count.min(usize::try_from(left).unwrap_or(usize::MAX));
        }
        let ready = now + Duration::from_millis(self.random.below(self.delay_ms_max + 1));
        let pipe = &mut self.pipes[from];
        let taken = bytes.get(..count).unwrap_or_default();
        // Later bytes never overtake earlier ones.
        let ready = pipe
            .pieces
            .back()
            .map_or(ready, |(last, _)| ready.max(*last));
        if !taken.is_empty() {
            pipe.pieces.push_back((ready, taken.to_vec()));
        }
        pipe.bytes += count;
        pipe.passed += u64::try_from(count).unwrap_or(u64::MAX);
        if from == 0
            && let Some(recorded) = &mut self.recorded
        {
            recorded.extend_from_slice(taken);
        }
        if let Some(fate) = fate
            && self.pipes[from].passed >= fate.after
        {
            self.silent = fate.silent;
            self.broken = !fate.silent;
        }
        self.wake();
        count
    }
}

/// One end of a connection.
pub(super) struct End {
    link: Arc<Link>,
    /// The pipe that it writes to: 0 for the client.
    side: usize,
    late: Option<BoxFuture<'static, ()>>,
    /// Whom to tell what was said.
    told: Option<(Network, u16)>,
}

impl End {
    pub(super) fn client(link: &Arc<Link>, told: Option<(Network, u16)>) -> Self {
        Self {
            link: Arc::clone(link),
            side: 0,
            late: None,
            told,
        }
    }

    pub(super) fn server(link: &Arc<Link>) -> Self {
        Self {
            link: Arc::clone(link),
            side: 1,
            late: None,
            told: None,
        }
    }
}

impl AsyncRead for End {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let link = Arc::clone(&self.link);
        loop {
            let now = link.clock.monotonic();
            let wait = {
                let mut state = lock(&link.state);
                let (silent, broken) = (state.silent, state.broken);
                let pipe = &mut state.pipes[1 - self.side];
                if broken {
                    return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                }
                pipe.reader = Some(context.waker().clone());
                if silent {
                    return Poll::Pending;
                }
                match pipe.pieces.front_mut() {
                    None if pipe.closed => return Poll::Ready(Ok(())),
                    None => return Poll::Pending,
                    Some((ready, piece)) if *ready <= now => {
                        let count = piece.len().min(buffer.remaining());
                        buffer.put_slice(&piece[..count]);
                        piece.drain(..count);
                        if piece.is_empty() {
                            pipe.pieces.pop_front();
                        }
                        pipe.bytes -= count;
                        if let Some(writer) = pipe.writer.take() {
                            writer.wake();
                        }
                        return Poll::Ready(Ok(()));
                    }
                    Some((ready, _)) => *ready - now,
                }
            };
            let late = self.late.get_or_insert_with(|| link.clock.sleep(wait));
            match late.as_mut().poll(context) {
                Poll::Ready(()) => self.late = None,
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl AsyncWrite for End {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = lock(&self.link.state);
        if state.silent {
            return Poll::Ready(Ok(bytes.len()));
        }
        if state.broken || state.gone[1 - self.side] || state.pipes[self.side].closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if state.pipes[self.side].bytes >= BUFFER_BYTES {
            state.pipes[self.side].writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        let now = self.link.clock.monotonic();
        let count = state.write(self.side, bytes, now);
        if count == 0 && !bytes.is_empty() {
            // Its fate has met it before the first byte.
            return match state.silent {
                true => Poll::Ready(Ok(bytes.len())),
                false => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            };
        }
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = lock(&self.link.state);
        state.pipes[self.side].closed = true;
        state.wake();
        Poll::Ready(Ok(()))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let mut state = lock(&self.link.state);
        let told = self.told.take();
        let said = told.as_ref().and_then(|_| state.recorded.take());
        state.pipes[self.side].closed = true;
        state.gone[self.side] = true;
        // Closed with something unread, as TCP resets it.
        if !state.silent && state.pipes[1 - self.side].bytes > 0 {
            state.broken = true;
        }
        state.wake();
        let passed = [state.pipes[0].passed, state.pipes[1].passed];
        drop(state);
        if let Some((network, number)) = &self.link.counted {
            network.count(*number, passed);
        }
        if let (Some((network, port)), Some(said)) = (told, said) {
            network.record(port, said);
        }
    }
}
