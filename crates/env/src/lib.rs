//! The outside world behind seams: time, randomness, disk, network, task spawning.
//!
//! Everything above `stiver-core` takes an [`Env`] and asks nothing else. The `native` feature
//! holds the real world; `stiver-testkit` holds a simulated one.
#![forbid(unsafe_code)]

pub mod disk;
#[cfg(feature = "native")]
pub mod native;
pub mod net;
pub mod observe;

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use stiver_core::Timestamp;

/// A boxed future that no runtime is needed to name.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The seams, together. Cheap to clone.
#[derive(Clone)]
pub struct Env {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Disk.
    pub disk: Arc<dyn disk::Disk>,
    /// Network.
    pub net: Arc<dyn net::Net>,
    /// Tasks.
    pub spawner: Arc<dyn Spawner>,
}

impl Env {
    /// `N` fresh random bytes.
    pub fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.entropy.fill(&mut bytes);
        bytes
    }
}

/// Wall-clock time and timers.
pub trait Clock: Send + Sync {
    /// Now, by the wall clock. May step; users of it state what a step does to them.
    fn now(&self) -> Timestamp;
    /// A monotonic reading, for measuring spans only.
    fn monotonic(&self) -> Duration;
    /// Waits.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// A cryptographically secure source of random bytes.
pub trait Entropy: Send + Sync {
    /// Fills the buffer. A source that cannot is a broken machine: it panics, and nothing is
    /// signed.
    fn fill(&self, buffer: &mut [u8]);
}

/// Starts tasks.
pub trait Spawner: Send + Sync {
    /// Runs a task that never blocks.
    fn spawn(&self, task: BoxFuture<'static, ()>);
    /// Runs a task that may block inside `poll` (disk): natively, on a thread of its own.
    fn spawn_blocking_task(&self, name: &str, task: BoxFuture<'static, ()>);
}
