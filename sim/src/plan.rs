//! What is to happen in a run: what is bought, and what goes wrong when. Drawn from a seed; a plan
//! that finds a fault can be made smaller.

use std::{fmt, time::Duration};

use stiver_testkit::{disk::Operation, entropy::Random};

use crate::net::Weather;

/// How long things go wrong, at most: after that all is well until the end.
pub const FAULTS_LAST: Duration = Duration::from_secs(120);

/// A run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Decides everything that the plan does not name.
    pub seed: u64,
    /// What is bought, in this order.
    pub purchases: Vec<Purchase>,
    /// How many at a time.
    pub at_once: usize,
    /// What goes wrong, in the order of time.
    pub faults: Vec<Fault>,
}

/// One thing to buy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purchase {
    /// `GET`, by a charge.
    Reading,
    /// `POST`, by a charge: the API must not be asked twice.
    Order,
    /// `GET`, by a session, for a price of its own.
    Tick,
    /// An event stream, by a session, by the event.
    Stream {
        /// How many events.
        events: u32,
    },
}

/// Something that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// When, after the first purchase.
    pub at: Duration,
    /// What.
    pub what: Wrong,
}

/// A machine that things happen to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whose {
    /// The gateway, with its ledger.
    Shop,
    /// The payer.
    Buyer,
    /// The API behind the gateway. It has no disk.
    Api,
}

/// What can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// A process is killed, and started again.
    Kill(Whose),
    /// A machine loses its power, and comes back.
    Crash(Whose),
    /// The power fails in the middle of the write after so many others.
    PowerCut(Whose, u64),
    /// An operation of a disk fails: the one after so many others.
    Disk(Whose, Operation, u64),
    /// A disk has no room for more than so many further bytes. It has again at the end.
    DiskFull(Whose, u64),
    /// The network changes.
    Weather(Weather),
    /// A stranger says again what was recorded.
    Repeats,
    /// The API answers the next so many requests with 500.
    ApiFails(u32),
    /// One connection to the gateway meets its fate.
    Cut(Cut),
}

/// What becomes of one connection to the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Which: the first is 0.
    pub connection: usize,
    /// After so many bytes.
    pub after: u64,
    /// Bytes of the answers are counted; else those of the requests.
    pub of_answers: bool,
    /// It falls silent; else it breaks off.
    pub silent: bool,
}

impl Plan {
    /// Draws a plan.
    pub fn draw(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let count = 1 + random.index(14);
        let purchases = (0..count).map(|_| purchase(&mut random)).collect();
        let mut faults: Vec<Fault> = (0..random.index(14)).map(|_| fault(&mut random)).collect();
        faults.sort_by_key(|fault| fault.at);
        Self {
            seed,
            purchases,
            at_once: 1 + random.index(3),
            faults,
        }
    }

    /// A plan in which one thing is bought and nothing goes wrong.
    pub fn of(purchase: Purchase) -> Self {
        Self {
            seed: 1,
            purchases: vec![purchase],
            at_once: 1,
            faults: Vec::new(),
        }
    }

    /// This plan once for every place at which one of its connections can break off or fall silent:
    /// after each `step`th byte, either way. `lengths` are those that a run of it has told.
    pub fn cut_everywhere(&self, lengths: &[[u64; 2]], step: usize) -> Vec<Self> {
        let mut plans = Vec::new();
        for (connection, lengths) in lengths.iter().enumerate() {
            for (of_answers, length) in [(false, lengths[0]), (true, lengths[1])] {
                for after in (0..=length).step_by(step.max(1)) {
                    for silent in [false, true] {
                        let what = Wrong::Cut(Cut {
                            connection,
                            after,
                            of_answers,
                            silent,
                        });
                        let at = Duration::ZERO;
                        let mut plan = self.clone();
                        plan.faults.insert(0, Fault { at, what });
                        plans.push(plan);
                    }
                }
            }
        }
        plans
    }

    /// Plans that lack one thing of this one.
    pub fn smaller(&self) -> Vec<Self> {
        let fewer_faults = (0..self.faults.len()).map(|index| {
            let mut plan = self.clone();
            plan.faults.remove(index);
            plan
        });
        let fewer_purchases = (0..self.purchases.len()).map(|index| {
            let mut plan = self.clone();
            plan.purchases.remove(index);
            plan
        });
        let one_at_once = (self.at_once > 1).then(|| Self {
            at_once: 1,
            ..self.clone()
        });
        let all = fewer_faults.chain(fewer_purchases).chain(one_at_once);
        all.filter(|plan| !plan.purchases.is_empty()).collect()
    }

    /// The smallest plan on the way down that still `fails`.
    pub fn minimise(self, fails: &mut dyn FnMut(&Self) -> bool) -> Self {
        let mut plan = self;
        while let Some(smaller) = plan.smaller().into_iter().find(|it| fails(it)) {
            plan = smaller;
        }
        plan
    }
}

fn purchase(random: &mut Random) -> Purchase {
    match random.below(8) {
        0..=2 => Purchase::Reading,
        3 => Purchase::Order,
        4..=5 => Purchase::Tick,
        _ => Purchase::Stream {
            events: u32::try_from(1 + random.below(30)).unwrap_or(1),
        },
    }
}

fn fault(random: &mut Random) -> Fault {
    let most = u64::try_from(FAULTS_LAST.as_millis()).unwrap_or(u64::MAX);
    // Most of what is bought is bought at the beginning.
    let most = match random.below(4) {
        0 => most,
        1 => most / 4,
        2 => most / 16,
        _ => most / 64,
    };
    Fault {
        at: Duration::from_millis(random.below(most)),
        what: wrong(random),
    }
}

fn wrong(random: &mut Random) -> Wrong {
    let disks = [Whose::Shop, Whose::Buyer];
    let whose = disks[random.index(disks.len())];
    match random.below(16) {
        0..=1 => Wrong::Kill(whose),
        2 => Wrong::Kill(Whose::Api),
        3..=4 => Wrong::Crash(whose),
        5..=6 => Wrong::PowerCut(whose, random.below(40)),
        7..=8 => {
            let operations = [Operation::Write, Operation::Sync, Operation::Rename];
            let operation = operations[random.index(operations.len())];
            Wrong::Disk(whose, operation, random.below(10))
        }
        9 => Wrong::DiskFull(whose, random.below(4_096)),
        10..=12 => Wrong::Weather(weather(random)),
        13..=14 => Wrong::Repeats,
        _ => Wrong::ApiFails(u32::try_from(1 + random.below(3)).unwrap_or(1)),
    }
}

fn weather(random: &mut Random) -> Weather {
    let mut one_in = || match random.below(3) {
        0 => 0,
        _ => 2 + random.below(8),
    };
    let (cut_one_in, silent_one_in) = (one_in(), one_in());
    let (refused_one_in, repeated_one_in) = (one_in(), one_in());
    Weather {
        delay_ms_max: random.below(400),
        cut_one_in,
        silent_one_in,
        refused_one_in,
        repeated_one_in,
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: {} at once", self.seed, self.at_once)?;
        for (number, purchase) in self.purchases.iter().enumerate() {
            writeln!(f, "  buy {number}: {purchase:?}")?;
        }
        for fault in &self.faults {
            writeln!(f, "  at {:?}: {:?}", fault.at, fault.what)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
