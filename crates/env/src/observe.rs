//! Telling others what happens, without ever waiting for them.
//!
//! Whoever has something to tell holds [`Observers`]; whoever wants to know gives an [`Observer`].
//! [`queue`] makes the usual one: a bounded queue whose other end is read anywhere else. When its
//! reader is too slow, events are dropped and counted; nothing is ever held up.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use stiver_core::Timestamp;
use tokio::sync::mpsc;

/// Is told of events where they happen, in the middle of a request.
///
/// It must return at once: count, or hand the event on by [`queue`]. It may not wait, lock for
/// long, write or send.
pub trait Observer<E>: Send + Sync {
    /// Takes note of an event.
    fn observe(&self, at: Timestamp, event: &E);
    /// How many events it dropped since the start.
    fn lost(&self) -> u64 {
        0
    }
}

impl<E, T: Observer<E> + ?Sized> Observer<E> for Arc<T> {
    fn observe(&self, at: Timestamp, event: &E) {
        (**self).observe(at, event);
    }
    fn lost(&self) -> u64 {
        (**self).lost()
    }
}

/// All that are told of one kind of events. Telling nobody costs one comparison.
pub struct Observers<E>(Vec<Arc<dyn Observer<E>>>);

impl<E> Default for Observers<E> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<E> Clone for Observers<E> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<E> Observers<E> {
    /// One more.
    pub fn add(&mut self, observer: Arc<dyn Observer<E>>) {
        self.0.push(observer);
    }

    /// True when nobody wants to know.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Tells everybody. The event is made only when there is anybody.
    pub fn tell(&self, now: impl FnOnce() -> Timestamp, make: impl FnOnce() -> E) {
        if self.is_empty() {
            return;
        }
        let (at, event) = (now(), make());
        for observer in &self.0 {
            observer.observe(at, &event);
        }
    }

    /// How many events were dropped since the start, by all of them together.
    pub fn lost(&self) -> u64 {
        let lost = self.0.iter().map(|observer| observer.lost());
        lost.fold(0, u64::saturating_add)
    }
}

/// An event, and when it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed<E> {
    /// When, by the clock of whoever told.
    pub at: Timestamp,
    /// What.
    pub event: E,
}

/// A queue of at most `capacity` events (at least one), and the end where they are read.
///
/// # Examples
///
/// ```
/// use stiver_core::Timestamp;
/// use stiver_env::observe::{Observer, queue};
///
/// let (told, mut events) = queue(2);
/// for number in 1..=3 {
///     told.observe(Timestamp::from_millis(number), &number);
/// }
/// # pollster::block_on(async {
/// assert_eq!(events.next().await.unwrap().event, 1);
/// assert_eq!(events.next().await.unwrap().event, 2);
/// // The third found the queue full.
/// assert_eq!(events.lost(), 1);
/// drop(told);
/// assert!(events.next().await.is_none());
/// # });
/// ```
pub fn queue<E>(capacity: usize) -> (Queue<E>, Events<E>) {
    let (sender, receiver) = mpsc::channel(capacity.max(1));
    let lost = Arc::new(AtomicU64::new(0));
    let queue = Queue {
        sender,
        lost: Arc::clone(&lost),
    };
    (queue, Events { receiver, lost })
}

/// The end of a queue that is told. Made by [`queue`].
pub struct Queue<E> {
    sender: mpsc::Sender<Observed<E>>,
    lost: Arc<AtomicU64>,
}

impl<E: Clone + Send> Observer<E> for Queue<E> {
    fn observe(&self, at: Timestamp, event: &E) {
        let event = event.clone();
        match self.sender.try_send(Observed { at, event }) {
            // A reader that is gone has lost nothing: it does not want to know any more.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// The end of a queue that is read. Made by [`queue`].
pub struct Events<E> {
    receiver: mpsc::Receiver<Observed<E>>,
    lost: Arc<AtomicU64>,
}

impl<E> Events<E> {
    /// The next event; `None` once nobody is left who could tell one.
    pub async fn next(&mut self) -> Option<Observed<E>> {
        self.receiver.recv().await
    }

    /// The next event, when there is one just now.
    pub fn try_next(&mut self) -> Option<Observed<E>> {
        self.receiver.try_recv().ok()
    }

    /// How many events found the queue full and were dropped, since the start.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_nobody_wants_is_never_made() {
        let nobody: Observers<u8> = Observers::default();
        nobody.tell(
            || unreachable!("nobody asks when"),
            || unreachable!("nobody asks what"),
        );
        assert_eq!(nobody.lost(), 0);
    }

    #[test]
    fn each_observer_has_its_own_queue_and_its_own_losses() {
        let (small, mut of_small) = queue(1);
        let (large, mut of_large) = queue(8);
        let mut all = Observers::default();
        all.add(Arc::new(small));
        all.add(Arc::new(large));
        for number in 0..3_u8 {
            all.tell(|| Timestamp::from_millis(7), || number);
        }
        assert_eq!((all.lost(), of_small.lost(), of_large.lost()), (2, 2, 0));
        assert_eq!(of_small.try_next().unwrap().event, 0);
        assert_eq!(of_small.try_next(), None);
        let large: Vec<u8> = std::iter::from_fn(|| of_large.try_next())
            .map(|observed| observed.event)
            .collect();
        assert_eq!(large, [0, 1, 2]);
    }

    #[test]
    fn a_reader_that_went_away_loses_nothing_and_holds_nobody_up() {
        let (told, events) = queue(1);
        drop(events);
        for number in 0..3_u8 {
            told.observe(Timestamp::from_millis(0), &number);
        }
        assert_eq!(told.lost(), 0);
    }
}
