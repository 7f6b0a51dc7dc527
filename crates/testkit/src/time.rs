//! A clock that a test moves.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use stiver_core::Timestamp;
use stiver_env::{BoxFuture, Clock};

/// Simulated time. Stands still until it is moved. Cheap to clone; clones are the same clock.
#[derive(Clone)]
pub struct SimulatedClock {
    state: Arc<Mutex<State>>,
}

struct State {
    /// The wall clock when the monotonic one was zero; stepping moves it.
    wall_at_zero: u64,
    monotonic: Duration,
    /// Who waits, by deadline, then in the order of their coming.
    timers: BTreeMap<(Duration, u64), Waker>,
    next_timer: u64,
}

impl SimulatedClock {
    /// A clock that shows `now`.
    pub fn new(now: Timestamp) -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                wall_at_zero: now.as_millis(),
                monotonic: Duration::ZERO,
                timers: BTreeMap::new(),
                next_timer: 0,
            })),
        }
    }

    /// Time passes: both clocks go on, and timers that are due fire.
    pub fn advance(&self, by: Duration) {
        let to = self.lock().monotonic.saturating_add(by);
        self.advance_to(to);
    }

    /// Goes on to the next timer and fires it, with those that are due together with it. False when
    /// nobody waits.
    pub fn advance_to_next_timer(&self) -> bool {
        self.advance_to_next_timer_before(Duration::MAX)
    }

    /// The same, but only when that timer is due before a monotonic reading.
    pub fn advance_to_next_timer_before(&self, end: Duration) -> bool {
        let next = self.lock().timers.keys().next().map(|(at, _)| *at);
        let next = next.filter(|at| *at < end);
        if let Some(at) = next {
            self.advance_to(at);
        }
        next.is_some()
    }

    /// Somebody sets the wall clock; no time passes.
    pub fn set_wall(&self, now: Timestamp) {
        let mut state = self.lock();
        let passed = millis(state.monotonic);
        state.wall_at_zero = now.as_millis().saturating_sub(passed);
    }

    /// Time passes until a monotonic reading; timers that are due fire.
    pub fn advance_to(&self, to: Duration) {
        let due = {
            let mut state = self.lock();
            state.monotonic = state.monotonic.max(to);
            let later = state.timers.split_off(&(to, u64::MAX));
            std::mem::replace(&mut state.timers, later)
        };
        for waker in due.into_values() {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Clock for SimulatedClock {
    fn now(&self) -> Timestamp {
        let state = self.lock();
        Timestamp::from_millis(state.wall_at_zero.saturating_add(millis(state.monotonic)))
    }

    fn monotonic(&self) -> Duration {
        self.lock().monotonic
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let mut state = self.lock();
        let number = state.next_timer;
        state.next_timer += 1;
        let key = (state.monotonic.saturating_add(duration), number);
        Box::pin(Sleep {
            clock: self.clone(),
            key,
        })
    }
}

/// Waits for a deadline.
struct Sleep {
    clock: SimulatedClock,
    key: (Duration, u64),
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.clock.lock();
        if state.monotonic >= self.key.0 {
            return Poll::Ready(());
        }
        state.timers.insert(self.key, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.clock.lock().timers.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stepping_the_wall_clock_leaves_the_monotonic_one_alone() {
        let clock = SimulatedClock::new(Timestamp::from_millis(1_000));
        clock.advance(Duration::from_millis(500));
        assert_eq!(clock.now(), Timestamp::from_millis(1_500));
        clock.set_wall(Timestamp::from_millis(90_000));
        assert_eq!(clock.now(), Timestamp::from_millis(90_000));
        assert_eq!(clock.monotonic(), Duration::from_millis(500));
        clock.advance(Duration::from_millis(1));
        assert_eq!(clock.now(), Timestamp::from_millis(90_001));
    }

    #[test]
    fn dropped_sleep_is_not_waited_for() {
        let clock = SimulatedClock::new(Timestamp::from_millis(0));
        let mut sleep = clock.sleep(Duration::from_secs(1));
        let mut context = Context::from_waker(Waker::noop());
        assert!(sleep.as_mut().poll(&mut context).is_pending());
        drop(sleep);
        assert!(!clock.advance_to_next_timer());
    }
}
