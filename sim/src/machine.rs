//! A machine: a disk that outlives its processes, and the tasks of the process that runs.

use std::sync::Arc;

use stiver_env::Env;
use stiver_testkit::{
    disk::SimulatedDisk,
    entropy::{Random, SeededEntropy},
    spawn::Executor,
    time::SimulatedClock,
};

use crate::net::Network;

/// A simulated machine among others: it shares their clock and their network.
pub struct Machine {
    number: usize,
    /// Its disk.
    pub disk: SimulatedDisk,
    /// The tasks of its process.
    pub executor: Executor,
    network: Network,
    env: Env,
}

impl Machine {
    /// A new machine with an empty disk.
    pub fn new(
        number: usize,
        random: &mut Random,
        clock: &SimulatedClock,
        network: &Network,
    ) -> Self {
        let disk = SimulatedDisk::new(random.draw());
        let executor = Executor::new(random.draw());
        let env = Env {
            clock: Arc::new(clock.clone()),
            entropy: Arc::new(SeededEntropy::new(random.draw())),
            disk: Arc::new(disk.clone()),
            net: network.of(number),
            spawner: Arc::new(executor.clone()),
        };
        Self {
            number,
            disk,
            executor,
            network: network.clone(),
            env,
        }
    }

    /// The machine as seams.
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// `kill -9`: tasks end where they stand, and connections are closed; the disk keeps what was
    /// written.
    pub fn kill(&self) {
        self.executor.kill();
        self.disk.kill();
    }

    /// The power fails: as [`Machine::kill`], but the disk loses some of what was not synced, and
    /// connections fall silent.
    pub fn crash(&self) {
        self.network.black_out(self.number);
        self.executor.kill();
        self.disk.crash();
    }
}
