//! One run: three machines, a network between them, and a plan of what goes wrong.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use stiver_core::Timestamp;
use stiver_env::Clock as _;
use stiver_testkit::{entropy::Random, time::SimulatedClock};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    api::{self, SharedDeeds},
    audit::{self, Evidence, Report},
    buyer::{self, Buyer, SharedBasket},
    machine::Machine,
    net::{Network, Weather},
    plan::{FAULTS_LAST, Plan, Whose, Wrong},
    shop::{self, About, Running},
};

/// When simulated time begins: 2025-01-01T00:00:00Z, in milliseconds.
const BEGIN_MS: u64 = 1_735_689_600_000;
/// How often it is looked whether a process has to be started again.
const WATCH: Duration = Duration::from_secs(1);
/// How long it takes until somebody sees to a machine whose disk fails.
const SERVICE: Duration = Duration::from_secs(8);
/// How long a setting-up may take, in simulated time.
const SET_UP: Duration = Duration::from_secs(60);
/// How often the end is tried.
const ENDINGS_MAX: usize = 24;
/// From which of these on channels are closed by force.
const BY_FORCE_FROM: usize = 8;
/// The time between two of them.
const ENDING_PAUSE: Duration = Duration::from_secs(30);

const SHOP: usize = 0;
const BUYER: usize = 1;
const API: usize = 2;
const STRANGER: usize = 3;

/// Everything that there is.
struct World {
    plan: Plan,
    random: Random,
    clock: SimulatedClock,
    network: Network,
    machines: [Machine; 4],
    running: Running,
    basket: SharedBasket,
    deeds: SharedDeeds,
    about: Option<About>,
    /// Machines whose disk has failed, and when somebody sees to them.
    sick: Vec<(Duration, Whose)>,
    steps: u64,
}

/// Runs a plan.
///
/// # Errors
///
/// What should always hold and does not.
pub fn run(plan: &Plan) -> Result<Report> {
    let mut world = World::new(plan.clone());
    world.set_up()?;
    world.go()?;
    world.end()
}

impl World {
    fn new(plan: Plan) -> Self {
        let mut random = Random::new(plan.seed ^ 0x5117_3e57);
        let clock = SimulatedClock::new(Timestamp::from_millis(BEGIN_MS));
        let network = Network::new(random.draw(), shop::PORT, &clock);
        let mut machine = |number| Machine::new(number, &mut random, &clock, &network);
        let machines = [
            machine(SHOP),
            machine(BUYER),
            machine(API),
            machine(STRANGER),
        ];
        let basket = SharedBasket::default();
        let numbered = plan.purchases.iter().copied().enumerate();
        buyer::open(&basket).left = numbered.rev().collect();
        Self {
            plan,
            random,
            clock,
            network,
            machines,
            running: Running::default(),
            basket,
            deeds: SharedDeeds::default(),
            about: None,
            sick: Vec::new(),
            steps: 0,
        }
    }

    /// Starts a future on a machine; its result is put down.
    fn start<T: Send + 'static>(
        &self,
        machine: usize,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Arc<Mutex<Option<T>>> {
        let slot = Arc::new(Mutex::new(None));
        let put = Arc::clone(&slot);
        let spawner = &self.machines[machine].env().spawner;
        spawner.spawn(Box::pin(async move {
            let done = work.await;
            *put.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
        }));
        slot
    }

    /// Runs a future on a machine to its end.
    fn block_on<T: Send + 'static>(
        &mut self,
        machine: usize,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T> {
        let slot = self.start(machine, work);
        let take = || slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        let until = self.clock.monotonic() + SET_UP;
        loop {
            if let Some(done) = take() {
                return Ok(done);
            }
            let moved = self.step() || self.clock.advance_to_next_timer_before(until);
            ensure!(moved, "machine {machine} does not come to an end");
        }
    }

    /// Polls one task of one machine, as the seed decides. False when none can run.
    fn step(&mut self) -> bool {
        let ready = |it: &&Machine| it.executor.is_ready();
        let count = self.machines.iter().filter(ready).count();
        let chosen = self.random.index(count);
        let Some(machine) = self.machines.iter().filter(ready).nth(chosen) else {
            return false;
        };
        self.steps += 1;
        machine.executor.step()
    }

    /// Lets time pass until then.
    fn pass_until(&mut self, until: Duration) {
        loop {
            while self.step() {}
            if !self.clock.advance_to_next_timer_before(until) {
                break;
            }
        }
        self.clock.advance_to(until);
        while self.step() {}
    }

    fn set_up(&mut self) -> Result<()> {
        let env = self.machines[SHOP].env().clone();
        let about =
            self.block_on(SHOP, async move { shop::set_up(&env, &buyer::key()).await })??;
        self.about = Some(about);
        self.start_api();
        self.start_shop();
        while self.step() {}
        if let Some(failure) = self.running.take_failure() {
            bail!("the gateway does not start: {failure}");
        }
        Ok(())
    }

    fn start_api(&self) {
        let env = self.machines[API].env().clone();
        drop(self.start(API, api::serve(env, Arc::clone(&self.deeds))));
    }

    fn start_shop(&self) {
        let env = self.machines[SHOP].env().clone();
        drop(self.start(SHOP, shop::start(env, self.running.clone())));
    }

    fn start_buyer(&self) -> Result<()> {
        let env = self.machines[BUYER].env().clone();
        let about = self.about.clone().context("the shop is set up first")?;
        let (basket, at_once) = (Arc::clone(&self.basket), self.plan.at_once);
        buyer::open(&basket).rests = false;
        let work = async move {
            match Buyer::start(&env, &about, Arc::clone(&basket)).await {
                Ok(buyer) => buyer.shop(at_once).await,
                Err(error) => buyer::open(&basket).failed = Some(format!("{error:#}")),
            }
        };
        drop(self.start(BUYER, work));
        Ok(())
    }

    /// The time in which things go wrong.
    fn go(&mut self) -> Result<()> {
        let begin = self.clock.monotonic();
        let end = begin + FAULTS_LAST;
        let mut faults = self.plan.faults.clone().into_iter().peekable();
        // What is to happen at once happens before anything else.
        while let Some(fault) = faults.next_if(|it| it.at.is_zero()) {
            self.happen(fault.what)?;
        }
        self.start_buyer()?;
        while self.clock.monotonic() < end {
            let now = self.clock.monotonic();
            let next = faults.peek().map_or(end, |fault| begin + fault.at);
            self.pass_until(next.clamp(now, now + WATCH));
            while let Some(fault) = faults.next_if(|it| begin + it.at <= self.clock.monotonic()) {
                self.happen(fault.what)?;
            }
            self.service()?;
            self.watch()?;
            let rests = buyer::open(&self.basket).rests;
            if rests && faults.peek().is_none() && self.sick.is_empty() {
                break;
            }
        }
        Ok(())
    }

    fn machine(&self, whose: Whose) -> &Machine {
        &self.machines[match whose {
            Whose::Shop => SHOP,
            Whose::Buyer => BUYER,
            Whose::Api => API,
        }]
    }

    fn happen(&mut self, what: Wrong) -> Result<()> {
        match what {
            Wrong::Kill(whose) => {
                self.machine(whose).kill();
                self.restart(whose)?;
            }
            Wrong::Crash(whose) => {
                self.machine(whose).crash();
                self.restart(whose)?;
            }
            Wrong::PowerCut(whose, skip) => {
                self.machine(whose).disk.cut_power_after(skip);
                self.falls_sick(whose);
            }
            Wrong::Disk(whose, operation, skip) => {
                let kind = std::io::ErrorKind::Other;
                self.machine(whose).disk.fail(operation, skip, kind);
                self.falls_sick(whose);
            }
            Wrong::DiskFull(whose, more) => {
                let disk = &self.machine(whose).disk;
                let files = disk.files();
                let used = files.iter().filter_map(|file| disk.bytes(file));
                let used: usize = used.map(|bytes| bytes.len()).sum();
                disk.set_capacity(u64::try_from(used).unwrap_or(u64::MAX) + more);
                self.falls_sick(whose);
            }
            Wrong::Weather(weather) => self.network.set_weather(weather),
            Wrong::Repeats => self.repeat(),
            Wrong::Cut(cut) => self.network.cut(cut),
            Wrong::ApiFails(count) => {
                self.deeds
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .fails = count;
            }
        }
        Ok(())
    }

    fn falls_sick(&mut self, whose: Whose) {
        self.sick.push((self.clock.monotonic() + SERVICE, whose));
    }

    /// A stranger says again what was recorded of others.
    fn repeat(&self) {
        for (port, said) in self.network.take_recorded() {
            let net = Arc::clone(&self.machines[STRANGER].env().net);
            let work = async move {
                let Ok(mut stream) = net.connect("127.0.0.1", port).await else {
                    return;
                };
                if stream.write_all(&said).await.is_ok() {
                    let mut heard = Vec::new();
                    let _ = stream.read_to_end(&mut heard).await;
                }
            };
            drop(self.start(STRANGER, work));
        }
    }

    fn restart(&mut self, whose: Whose) -> Result<()> {
        match whose {
            Whose::Shop => {
                drop(self.running.take());
                self.start_shop();
            }
            Whose::Buyer => self.start_buyer()?,
            Whose::Api => self.start_api(),
        }
        Ok(())
    }

    /// Who looks after machines starts those anew whose disks have failed.
    fn service(&mut self) -> Result<()> {
        let now = self.clock.monotonic();
        let (due, later) = self.sick.iter().partition(|(at, _)| *at <= now);
        self.sick = later;
        for (_, whose) in due {
            self.happen(Wrong::Crash(whose))?;
        }
        Ok(())
    }

    /// What a supervisor does: starts what did not start.
    fn watch(&mut self) -> Result<()> {
        if self.running.take_failure().is_some() {
            self.machine(Whose::Shop).crash();
            self.restart(Whose::Shop)?;
        }
        if buyer::open(&self.basket).failed.take().is_some() {
            self.machine(Whose::Buyer).crash();
            self.restart(Whose::Buyer)?;
        }
        Ok(())
    }

    /// All is well again: everything is brought to its end, and the books are audited.
    fn end(mut self) -> Result<Report> {
        self.network.set_weather(Weather::FAIR);
        self.deeds
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .fails = 0;
        for whose in [Whose::Shop, Whose::Buyer] {
            let machine = self.machine(whose);
            machine.crash();
            machine.disk.heal();
            machine.disk.set_capacity(u64::MAX);
        }
        drop(self.running.take());
        self.start_shop();
        while self.step() {}
        if let Some(failure) = self.running.take_failure() {
            bail!("the gateway does not start again: {failure}");
        }
        let env = self.machines[BUYER].env().clone();
        let about = self.about.clone().context("the shop is set up first")?;
        let (told, basket) = (about.clone(), Arc::clone(&self.basket));
        let start = async move { Buyer::start(&env, &told, basket).await };
        let buyer = self.block_on(BUYER, start)?;
        let buyer = buyer.context("the buyer does not start again")?;
        let mut ended = false;
        for round in 0..ENDINGS_MAX {
            let at_it = buyer.clone();
            let work = async move { at_it.finish(round >= BY_FORCE_FROM).await };
            let slot = self.start(BUYER, work);
            let until = self.clock.monotonic() + ENDING_PAUSE;
            self.pass_until(until);
            if slot.lock().unwrap_or_else(PoisonError::into_inner).take() == Some(true) {
                ended = true;
                break;
            }
        }
        drop(buyer);
        let gateway = self.running.take().context("the gateway runs")?;
        let stopped = self.block_on(SHOP, async move { gateway.stop().await });
        stopped.context("stopping the gateway")??;
        self.machine(Whose::Buyer).kill();
        self.machine(Whose::Shop).kill();
        self.audit(&about, ended)
    }

    fn audit(mut self, about: &About, ended: bool) -> Result<Report> {
        let deeds = std::mem::take(&mut *self.deeds.lock().unwrap_or_else(PoisonError::into_inner));
        let told = std::mem::take(&mut buyer::open(&self.basket).told);
        let (shop, buyer) = (
            self.machines[SHOP].env().clone(),
            self.machines[BUYER].env().clone(),
        );
        let about = about.clone();
        let evidence = Evidence {
            ended,
            told,
            deeds,
            lengths: self.network.lengths(),
            steps: self.steps,
            lasted: self.clock.monotonic(),
        };
        let audited = async move { audit::audit(&shop, &buyer, &about, evidence).await };
        self.block_on(SHOP, audited)?
    }
}
