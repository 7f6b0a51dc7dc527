//! CPU time, as the operating system tells it.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// CPU time that this process has used so far.
pub(super) fn here() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// CPU time that another process has used so far. `None` where the system does not tell.
pub(super) fn of_process(process: u32) -> Option<Duration> {
    let told = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The program's name, in brackets, may hold anything; what follows is plain.
    let (_, rest) = told.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let kernel: u64 = fields.next()?.parse().ok()?;
    let a_second = rustix::param::clock_ticks_per_second().max(1);
    let micros = user.saturating_add(kernel).saturating_mul(1_000_000);
    Some(Duration::from_micros(micros / a_second))
}
