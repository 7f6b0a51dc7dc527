//! A client that takes nothing of what is sent to it does not hold a connection for ever.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use stiver_env::{BoxFuture, Clock, net::Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How long a client may take none of the bytes that wait for it.
pub(crate) const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// A stream whose writes fail when nothing is taken for too long. It costs nothing while bytes are
/// taken at once.
pub(super) struct Unstalled {
    stream: Box<dyn Stream>,
    clock: Arc<dyn Clock>,
    timer: Option<BoxFuture<'static, ()>>,
}

impl Unstalled {
    /// Watches a stream.
    pub(super) fn new(stream: Box<dyn Stream>, clock: &Arc<dyn Clock>) -> Self {
        Self {
            stream,
            clock: Arc::clone(clock),
            timer: None,
        }
    }

    fn watch<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.timer = None;
            return written;
        }
        let clock = &self.clock;
        let timer = self.timer.get_or_insert_with(|| clock.sleep(STALL_TIMEOUT));
        timer
            .as_mut()
            .poll(context)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Unstalled {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Unstalled {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.watch(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use stiver_testkit::simulation::Simulation;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[test]
    fn client_that_takes_nothing_is_given_up_and_a_slow_one_is_not() {
        let simulation = Simulation::new(1);
        let env = simulation.env();
        let (ours, mut theirs) = duplex(4);
        let mut ours = Unstalled::new(Box::new(ours), &env.clock);
        let clock = Arc::clone(&env.clock);
        let outcome = simulation.block_on(async move {
            let slow = async {
                let mut taken = [0; 4];
                for _ in 0..3 {
                    clock.sleep(STALL_TIMEOUT - Duration::from_secs(1)).await;
                    theirs.read_exact(&mut taken).await.unwrap();
                }
                // And now nothing more, for ever.
                std::future::pending::<()>().await;
            };
            let begun = clock.monotonic();
            let writing = async {
                ours.write_all(&[7; 16]).await.unwrap();
                let whole = clock.monotonic() - begun;
                let error = ours.write_all(&[7; 16]).await.unwrap_err();
                (whole, error.kind())
            };
            tokio::select! {
                () = slow => None,
                outcome = writing => Some((outcome, clock.monotonic() - begun)),
            }
        });
        let ((whole, kind), end) = outcome.unwrap();
        assert!(whole > STALL_TIMEOUT * 2, "slow in all: {whole:?}");
        assert_eq!(kind, io::ErrorKind::TimedOut);
        assert!(end > whole, "{end:?}");
    }
}
