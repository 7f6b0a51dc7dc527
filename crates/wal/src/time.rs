//! Log time: the wall clock, made monotone and slow to jump.

use std::{sync::Arc, time::Duration};

use stiver_core::Timestamp;
use stiver_env::Clock;

/// Gives each batch its time. See [time](crate#time).
pub(crate) struct LogClock {
    clock: Arc<dyn Clock>,
    /// How much log time may gain on the monotonic clock when the allowance is full.
    jump_max_ms: u64,
    /// How much of it is left.
    allowance_ms: u64,
    last: Timestamp,
    read_at: Duration,
}

impl LogClock {
    /// Starts at the later of `logged` and the wall clock.
    pub(crate) fn start(clock: Arc<dyn Clock>, logged: Timestamp, jump_max_ms: u64) -> Self {
        Self {
            last: logged.max(clock.now()),
            read_at: clock.monotonic(),
            jump_max_ms,
            allowance_ms: jump_max_ms,
            clock,
        }
    }

    /// A monotonic reading, for measuring spans.
    pub(crate) fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    /// The time of the next batch.
    pub(crate) fn now(&mut self) -> Timestamp {
        let monotonic = self.clock.monotonic();
        let elapsed = monotonic.saturating_sub(self.read_at).as_millis();
        let elapsed = u64::try_from(elapsed).unwrap_or(u64::MAX);
        // Whole milliseconds only: what is left over counts next time.
        self.read_at += Duration::from_millis(elapsed);
        let wanted = self.clock.now().millis_since(self.last);
        let step = wanted.min(elapsed.saturating_add(self.allowance_ms));
        let gained = step.saturating_sub(elapsed);
        // Real time refills what jumps have used.
        self.allowance_ms = (self.allowance_ms - gained)
            .saturating_add(elapsed)
            .min(self.jump_max_ms);
        self.last = self.last.plus_millis(step);
        self.last
    }
}
