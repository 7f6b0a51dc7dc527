//! One simulated machine: clock, randomness, disk and tasks from one seed, as an [`Env`].

use std::{
    future::Future,
    io,
    net::SocketAddr,
    path::Path,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use stiver_core::Timestamp;
use stiver_env::{
    BoxFuture, Env,
    net::{Listener, Net, Stream},
};

use crate::{
    disk::SimulatedDisk,
    entropy::{Random, SeededEntropy},
    spawn::Executor,
    time::SimulatedClock,
};

/// When simulated time begins: 2025-01-01T00:00:00Z, in milliseconds.
const BEGIN_MS: u64 = 1_735_689_600_000;

/// A simulated machine. Everything it does is decided by its seed.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use stiver_testkit::simulation::Simulation;
///
/// let simulation = Simulation::new(42);
/// let clock = simulation.env().clock;
/// let slept = simulation.block_on(async move {
///     clock.sleep(Duration::from_secs(3600)).await;
///     clock.monotonic()
/// });
/// assert_eq!(slept, Duration::from_secs(3600));
/// ```
pub struct Simulation {
    seed: u64,
    /// The clock. It moves only by [`Simulation::block_on`] and by hand.
    pub clock: SimulatedClock,
    /// The disk.
    pub disk: SimulatedDisk,
    /// The tasks.
    pub executor: Executor,
    entropy: Arc<SeededEntropy>,
}

impl Simulation {
    /// A new machine with an empty disk.
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        Self {
            seed,
            clock: SimulatedClock::new(Timestamp::from_millis(BEGIN_MS)),
            disk: SimulatedDisk::new(random.draw()),
            executor: Executor::new(random.draw()),
            entropy: Arc::new(SeededEntropy::new(random.draw())),
        }
    }

    /// The machine as seams. It has no network: every connection is refused.
    pub fn env(&self) -> Env {
        Env {
            clock: Arc::new(self.clock.clone()),
            entropy: self.entropy.clone(),
            disk: Arc::new(self.disk.clone()),
            net: Arc::new(NoNet),
            spawner: Arc::new(self.executor.clone()),
        }
    }

    /// Runs tasks until the future is done. Time goes on to the next timer whenever nobody can run.
    ///
    /// # Panics
    ///
    /// When the future can never be done: no task is ready and no timer runs.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = Box::pin(future);
        // The future is simply polled after every step, so it needs no waker of its own.
        let mut context = Context::from_waker(Waker::noop());
        loop {
            if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
                return value;
            }
            let moved = self.executor.step() || self.clock.advance_to_next_timer();
            assert!(moved, "deadlock in the simulation of seed {}", self.seed);
        }
    }

    /// Runs tasks until none is ready. Time stands still.
    pub fn run_until_idle(&self) {
        self.executor.run_until_idle();
    }

    /// Lets time pass, timer by timer, running tasks in between.
    pub fn run_for(&self, duration: Duration) {
        let end = stiver_env::Clock::monotonic(&self.clock).saturating_add(duration);
        self.run_until_idle();
        while self.clock.advance_to_next_timer_before(end) {
            self.run_until_idle();
        }
        self.clock.advance_to(end);
        self.run_until_idle();
    }

    /// Kills the process: tasks end where they stand; the disk keeps what was written.
    pub fn kill(&self) {
        self.executor.kill();
        self.disk.kill();
    }

    /// Cuts the power: as [`Simulation::kill`], and the disk loses some of what was not synced.
    pub fn crash(&self) {
        self.executor.kill();
        self.disk.crash();
    }
}

/// No network.
struct NoNet;

fn refused<T: Send + 'static>() -> BoxFuture<'static, io::Result<T>> {
    Box::pin(std::future::ready(Err(
        io::ErrorKind::ConnectionRefused.into()
    )))
}

impl Net for NoNet {
    fn listen(&self, _: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Listener>>> {
        refused()
    }
    fn listen_local(&self, _: &Path) -> BoxFuture<'static, io::Result<Box<dyn Listener>>> {
        refused()
    }
    fn connect(&self, _: &str, _: u16) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        refused()
    }
    fn connect_local(&self, _: &Path) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        refused()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use stiver_env::Clock;

    use super::*;

    #[test]
    fn run_for_fires_timers_in_order_and_stops_at_its_end() {
        let simulation = Simulation::new(1);
        let seen = Arc::new(Mutex::new(Vec::new()));
        for seconds in [3, 1, 9, 2] {
            let (env, seen) = (simulation.env(), seen.clone());
            env.spawner.clone().spawn(Box::pin(async move {
                env.clock.sleep(Duration::from_secs(seconds)).await;
                seen.lock().unwrap().push((seconds, env.clock.monotonic()));
            }));
        }
        simulation.run_for(Duration::from_secs(5));
        let at = |seconds| (seconds, Duration::from_secs(seconds));
        assert_eq!(*seen.lock().unwrap(), [at(1), at(2), at(3)]);
        assert_eq!(simulation.clock.monotonic(), Duration::from_secs(5));
    }

    #[test]
    #[should_panic(expected = "deadlock in the simulation of seed 5")]
    fn future_that_can_never_be_done_is_a_deadlock() {
        Simulation::new(5).block_on(std::future::pending::<()>());
    }
}
