//! Clocks and statistics. Floating point is right here: nothing of this is money.

use anyhow::{Context as _, Result};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    time::{ClockId, clock_getcpuclockid, clock_gettime},
    unistd::Pid,
};

/// Rounds that are measured, after one that is not: enough for medians that stay within 2 %.
pub const ROUNDS: usize = 15;
/// How long one side of one round should run, CPU nanoseconds.
const SIDE_NANOS: f64 = 15e6;

/// The CPU time, user and system, that a process has taken so far, nanoseconds. Threads that have
/// ended are counted too.
pub fn cpu_of_process(id: u32) -> Result<f64> {
    let id = Pid::from_raw(id.try_into().context("a process id out of range")?);
    let clock = clock_getcpuclockid(id).context("asking for the CPU clock of a process")?;
    nanos(clock)
}

/// The CPU time that this thread has taken so far, nanoseconds.
pub fn cpu_of_thread() -> Result<f64> {
    nanos(ClockId::CLOCK_THREAD_CPUTIME_ID)
}

/// Wall time from some fixed instant, nanoseconds.
pub fn wall() -> Result<f64> {
    nanos(ClockId::CLOCK_MONOTONIC)
}

fn nanos(clock: ClockId) -> Result<f64> {
    let time = clock_gettime(clock).context("reading a clock")?;
    Ok(time.tv_sec() as f64 * 1e9 + time.tv_nsec() as f64)
}

/// Keeps a process on one CPU, so that a server and its load do not push each other about. With
/// one CPU only, everything stays where it is.
pub fn pin(id: u32, cpu: usize) -> Result<()> {
    if std::thread::available_parallelism().map_or(1, usize::from) <= cpu {
        return Ok(());
    }
    let mut set = CpuSet::new();
    set.set(cpu).context("choosing a CPU")?;
    let id = Pid::from_raw(id.try_into().context("a process id out of range")?);
    sched_setaffinity(id, &set).context("keeping a process on one CPU")
}

/// One of the things that are compared: does its work once and says what it cost.
pub type Side<'a> = Box<dyn FnMut() -> Result<f64> + 'a>;

/// Runs the sides in turn, A, B, A, B, and returns the median cost of each.
pub fn interleave(rounds: usize, sides: &mut [Side<'_>]) -> Result<Vec<f64>> {
    let mut costs = vec![Vec::with_capacity(rounds); sides.len()];
    for round in 0..=rounds {
        for (side, costs) in sides.iter_mut().zip(&mut costs) {
            let cost = side()?;
            // The first round fills caches, connections and tables.
            if round > 0 {
                costs.push(cost);
            }
        }
    }
    Ok(costs.into_iter().map(median).collect())
}

/// A side that repeats a pure operation and tells its CPU time, nanoseconds for each.
pub fn operation<'a, T>(mut run: impl FnMut() -> T + 'a) -> Side<'a> {
    let mut repeats = 0_u64;
    Box::new(move || {
        if repeats == 0 {
            repeats = calibrate(&mut run)?;
        }
        time(repeats, &mut run)
    })
}

/// How often an operation is repeated to take [`SIDE_NANOS`].
fn calibrate<T>(run: &mut impl FnMut() -> T) -> Result<u64> {
    let mut repeats = 16_u64;
    loop {
        let each = time(repeats, run)?;
        if each * repeats as f64 > SIDE_NANOS / 10.0 {
            return Ok((SIDE_NANOS / each).max(1.0) as u64);
        }
        repeats *= 4;
    }
}

fn time<T>(repeats: u64, run: &mut impl FnMut() -> T) -> Result<f64> {
    let start = cpu_of_thread()?;
    for _ in 0..repeats {
        std::hint::black_box(run());
    }
    Ok((cpu_of_thread()? - start) / repeats as f64)
}

/// The median; of an even number of values, the mean of the middle two.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_in_the_middle_whatever_the_order() {
        assert_eq!(median(vec![9.0, 1.0, 5.0]), 5.0);
        assert_eq!(median(vec![9.0, 1.0, 5.0, 3.0]), 4.0);
        assert!(median(Vec::new()).is_nan());
    }

    #[test]
    fn sides_take_turns_and_the_first_round_does_not_count() {
        let order = std::cell::RefCell::new(Vec::new());
        let side = |name: char, cost: f64| -> Side<'_> {
            let order = &order;
            Box::new(move || {
                order.borrow_mut().push(name);
                Ok(cost)
            })
        };
        let medians = interleave(2, &mut [side('a', 1.0), side('b', 2.0)]).unwrap();
        assert_eq!(medians, [1.0, 2.0]);
        assert_eq!(order.borrow().iter().collect::<String>(), "ababab");
    }

    #[test]
    fn cpu_time_of_a_process_grows_with_its_work() {
        let id = std::process::id();
        let before = cpu_of_process(id).unwrap();
        let sum = (0..1_000_000_u64).fold(0, |sum, x| std::hint::black_box(sum ^ x));
        std::hint::black_box(sum);
        assert!(cpu_of_process(id).unwrap() > before);
    }
}
