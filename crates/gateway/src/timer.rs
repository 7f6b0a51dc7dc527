//! hyper's timers by the clock of the environment: what runs a gateway in simulated time sees its
//! time-outs happen too.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use hyper::rt::{Sleep, Timer};
use stiver_env::{BoxFuture, Clock, Env};

/// Timers by a clock. Cheap to clone.
#[derive(Clone)]
pub(crate) struct EnvTimer {
    clock: Arc<dyn Clock>,
    /// What the clock's monotonic reading of zero is called: hyper reckons in instants.
    zero: Instant,
}

impl EnvTimer {
    /// Timers by the clock of this environment.
    #[expect(
        clippy::disallowed_methods,
        reason = "an instant can be made no other way; what is measured from it is the clock's"
    )]
    pub(crate) fn new(env: &Env) -> Self {
        Self {
            clock: Arc::clone(&env.clock),
            zero: Instant::now(),
        }
    }
}

impl Timer for EnvTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(Waiting(Mutex::new(self.clock.sleep(duration))))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.sleep(deadline.saturating_duration_since(self.now()))
    }

    fn now(&self) -> Instant {
        self.zero + self.clock.monotonic()
    }
}

/// A wait. The mutex is never locked: it makes the wait `Sync`, which hyper asks for.
struct Waiting(Mutex<BoxFuture<'static, ()>>);

impl Sleep for Waiting {}

impl Future for Waiting {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let wait = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        wait.as_mut().poll(context)
    }
}
