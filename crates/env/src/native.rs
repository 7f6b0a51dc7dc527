//! The real world: the system clock, the operating system's randomness, files, sockets, tokio
//! tasks.

mod disk;
mod net;
#[cfg(test)]
mod tests;

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use stiver_core::Timestamp;

use crate::{BoxFuture, Clock, Entropy, Env, Spawner};

/// The real world.
///
/// Sockets, timers and [`Spawner::spawn`] need a tokio runtime around their use, not around this
/// call. Disk and [`Spawner::spawn_blocking_task`] need none.
///
/// # Examples
///
/// ```
/// let env = stiver_env::native::env();
/// let folder = std::env::temp_dir();
/// assert!(env.disk.list(&folder).is_ok());
/// assert_ne!(env.random::<16>(), env.random::<16>());
/// ```
pub fn env() -> Env {
    Env {
        clock: Arc::new(SystemClock::new()),
        entropy: Arc::new(SystemEntropy),
        disk: Arc::new(disk::SystemDisk),
        net: Arc::new(net::SystemNet),
        spawner: Arc::new(TokioSpawner),
    }
}

/// The system's clocks.
struct SystemClock {
    /// Where monotonic readings begin.
    started: Instant,
}

impl SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the clock"
    )]
    fn new() -> Self {
        Self {
            started: Instant::now(),
        }
    }
}

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the clock"
    )]
    fn now(&self) -> Timestamp {
        // A clock before 1970 is a clock that was never set: it reads as 1970.
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let millis = since.map_or(0, |since| since.as_millis());
        Timestamp::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the clock"
    )]
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        // In a block, so that the timer is made where it is awaited: inside the runtime.
        Box::pin(async move { tokio::time::sleep(duration).await })
    }
}

/// The operating system's randomness.
struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        getrandom::fill(buffer)
            .expect("the system has randomness, because without it nothing may be signed");
    }
}

/// Tasks on the current tokio runtime, and threads for tasks that block.
struct TokioSpawner;

impl Spawner for TokioSpawner {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        // Outside a runtime nothing can run it: it is dropped, which those who wait for it notice.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            drop(runtime.spawn(task));
        }
    }

    fn spawn_blocking_task(&self, name: &str, task: BoxFuture<'static, ()>) {
        let runtime = tokio::runtime::Handle::try_current().ok();
        let started = thread::Builder::new().name(name.to_owned()).spawn(move || {
            // Timers and sockets work on this thread too, when there is a runtime.
            let _entered = runtime.as_ref().map(tokio::runtime::Handle::enter);
            pollster::block_on(task);
        });
        // No thread to be had: the task is dropped, which those who wait for it notice.
        drop(started);
    }
}
