//! A single-threaded executor whose order comes from a seed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker},
};

use stiver_env::{BoxFuture, Spawner};

use crate::entropy::Random;

/// Runs tasks one at a time, on the caller's thread, in an order that a seed decides. Tasks that
/// may block run among the others. Cheap to clone; clones are the same executor.
#[derive(Clone)]
pub struct Executor {
    state: Arc<Mutex<State>>,
    ready: Ready,
}

/// The tasks that can run: sorted, so that it does not matter who was woken first. Some of tokio's
/// channels wake in an order of their own.
type Ready = Arc<Mutex<BTreeSet<u64>>>;

struct State {
    random: Random,
    tasks: BTreeMap<u64, BoxFuture<'static, ()>>,
    next_task: u64,
}

impl Executor {
    /// An executor without tasks.
    pub fn new(seed: u64) -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                random: Random::new(seed),
                tasks: BTreeMap::new(),
                next_task: 0,
            })),
            ready: Ready::default(),
        }
    }

    /// Polls one task that is ready. False when none is.
    pub fn step(&self) -> bool {
        let (number, task) = {
            let mut state = lock(&self.state);
            let mut ready = lock(&self.ready);
            let chosen = state.random.index(ready.len());
            let Some(number) = ready.iter().nth(chosen).copied() else {
                return false;
            };
            ready.remove(&number);
            (number, state.tasks.remove(&number))
        };
        // Woken once more after it had ended.
        let Some(mut task) = task else { return true };
        let waker = self.waker(number);
        if task.as_mut().poll(&mut Context::from_waker(&waker)) == Poll::Pending {
            lock(&self.state).tasks.insert(number, task);
        }
        true
    }

    /// True when a task can run.
    pub fn is_ready(&self) -> bool {
        !lock(&self.ready).is_empty()
    }

    /// Polls until no task is ready. A task that wakes itself for ever runs for ever.
    pub fn run_until_idle(&self) {
        while self.step() {}
    }

    /// Drops every task where it stands, as when the process is killed.
    pub fn kill(&self) {
        let tasks = std::mem::take(&mut lock(&self.state).tasks);
        lock(&self.ready).clear();
        // Outside the lock: what a task owns may spawn or wake while it is dropped.
        drop(tasks);
    }

    /// Tasks that have not ended.
    pub fn tasks(&self) -> usize {
        lock(&self.state).tasks.len()
    }

    /// A waker that makes a task ready.
    fn waker(&self, number: u64) -> Waker {
        Waker::from(Arc::new(TaskWaker {
            number,
            ready: self.ready.clone(),
        }))
    }
}

impl Spawner for Executor {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        let mut state = lock(&self.state);
        let number = state.next_task;
        state.next_task += 1;
        state.tasks.insert(number, task);
        lock(&self.ready).insert(number);
    }

    fn spawn_blocking_task(&self, _name: &str, task: BoxFuture<'static, ()>) {
        self.spawn(task);
    }
}

struct TaskWaker {
    number: u64,
    ready: Ready,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        lock(&self.ready).insert(self.number);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(seed: u64) -> Vec<u32> {
        let executor = Executor::new(seed);
        let seen = Arc::new(Mutex::new(Vec::new()));
        for number in 0..8 {
            let seen = seen.clone();
            executor.spawn(Box::pin(async move { lock(&seen).push(number) }));
        }
        executor.run_until_idle();
        assert_eq!(executor.tasks(), 0);
        std::mem::take(&mut lock(&seen))
    }

    #[test]
    fn seed_decides_the_order() {
        assert_eq!(order(3), order(3));
        assert_ne!(order(3), order(4));
    }

    #[test]
    fn killed_tasks_are_dropped_where_they_stand() {
        let executor = Executor::new(0);
        let held = Arc::new(());
        let owned = held.clone();
        executor.spawn(Box::pin(async move {
            std::future::pending::<()>().await;
            drop(owned);
        }));
        executor.run_until_idle();
        assert_eq!(executor.tasks(), 1);
        executor.kill();
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
