//! Laws under random operations.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::language::World;

const NAMES: [&str; 4] = ["alice", "bob", "carol", "dora"];

/// One random step.
#[derive(Debug, Clone)]
enum Op {
    Mint(usize, u128),
    Pay(usize, usize, u128, u64),
    Burn(usize, u128),
    Refund(usize, u128),
    Hold(usize, usize, u128, Option<u64>),
    Post(usize, u128, bool),
    Void(usize),
    Channel(usize, usize, u128),
    Capture(usize, u128, bool),
    TopUp(usize, u128),
    ForceClose(usize),
    Withdraw(usize),
    Again(usize),
    Freeze(usize, bool),
    Tick(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let who = 0..NAMES.len();
    let amount = 0..40_u128;
    prop_oneof![
        2 => (who.clone(), amount.clone()).prop_map(|(a, n)| Op::Mint(a, n)),
        6 => (who.clone(), who.clone(), amount.clone(), 0..12_u64)
            .prop_map(|(a, b, n, nonce)| Op::Pay(a, b, n, nonce)),
        1 => (who.clone(), amount.clone()).prop_map(|(a, n)| Op::Burn(a, n)),
        3 => (0..20_usize, amount.clone()).prop_map(|(at, n)| Op::Refund(at, n)),
        3 => (who.clone(), who.clone(), amount.clone(), proptest::option::of(1..2000_u64))
            .prop_map(|(a, b, n, until)| Op::Hold(a, b, n, until)),
        4 => (0..20_usize, amount.clone(), any::<bool>())
            .prop_map(|(at, n, last)| Op::Post(at, n, last)),
        1 => (0..20_usize).prop_map(Op::Void),
        2 => (who.clone(), who.clone(), amount.clone())
            .prop_map(|(a, b, n)| Op::Channel(a, b, n)),
        4 => (0..20_usize, amount.clone(), any::<bool>())
            .prop_map(|(at, n, last)| Op::Capture(at, n, last)),
        2 => (0..20_usize, amount.clone()).prop_map(|(at, n)| Op::TopUp(at, n)),
        1 => (0..20_usize).prop_map(Op::ForceClose),
        1 => (0..20_usize).prop_map(Op::Withdraw),
        3 => (0..20_usize).prop_map(Op::Again),
        1 => (who, any::<bool>()).prop_map(|(a, frozen)| Op::Freeze(a, frozen)),
        2 => prop_oneof![0..3000_u64, Just(60_000), Just(700_000_000)].prop_map(Op::Tick),
    ]
}

/// What was ordered so far, so that later steps can name it.
#[derive(Default)]
struct Named {
    /// Payments and posts: name and payee.
    paid: Vec<(String, usize)>,
    /// Holds: name and capturer.
    held: Vec<(String, usize)>,
    /// Channels: name, payer and capturer.
    channels: Vec<(String, usize, usize)>,
    count: usize,
}

impl Named {
    fn line(&mut self, op: &Op) -> String {
        self.count += 1;
        let id = self.count;
        match op {
            Op::Mint(a, n) => format!("mint {} {n}", NAMES[*a]),
            Op::Pay(a, b, n, nonce) => {
                self.paid.push((format!("p{id}"), *b));
                format!("pay {} {} {n} nonce={nonce} as=p{id}", NAMES[*a], NAMES[*b])
            }
            Op::Burn(a, n) => format!("burn {} {n}", NAMES[*a]),
            Op::Refund(at, n) => match pick(&self.paid, *at) {
                Some((name, payee)) => format!("refund {} @{name} {n}", NAMES[*payee]),
                None => "tick 0".to_owned(),
            },
            Op::Hold(a, b, n, until) => {
                self.held.push((format!("h{id}"), *b));
                let until = until.map_or(String::new(), |ms| format!(" until={ms}"));
                format!("hold {} {} {n} as=h{id}{until}", NAMES[*a], NAMES[*b])
            }
            Op::Post(at, n, last) => match pick(&self.held, *at).cloned() {
                Some((name, capturer)) => {
                    self.paid.push((format!("p{id}"), capturer));
                    let last = if *last { " last" } else { "" };
                    format!("post {} @{name} {n}{last} as=p{id}", NAMES[capturer])
                }
                None => "tick 0".to_owned(),
            },
            Op::Void(at) => match pick(&self.held, *at) {
                Some((name, capturer)) => format!("void {} @{name}", NAMES[*capturer]),
                None => "tick 0".to_owned(),
            },
            Op::Channel(a, b, n) => {
                self.held.push((format!("c{id}"), *b));
                self.channels.push((format!("c{id}"), *a, *b));
                let (payer, payee) = (NAMES[*a], NAMES[*b]);
                format!("channel {payer} {payee} {n} key={payer} as=c{id}")
            }
            Op::Capture(at, n, last) => match self.channel(*at) {
                Some((name, payer, capturer)) => {
                    self.paid.push((format!("p{id}"), capturer));
                    let (last, payer) = (if *last { " last" } else { "" }, NAMES[payer]);
                    let capturer = NAMES[capturer];
                    format!("capture {capturer} @{name} {n}{last} key={payer} voucher=30 as=p{id}")
                }
                None => "tick 0".to_owned(),
            },
            Op::TopUp(at, n) => match self.channel(*at) {
                Some((name, payer, _)) => format!("topup {} @{name} {n}", NAMES[payer]),
                None => "tick 0".to_owned(),
            },
            Op::ForceClose(at) => match self.channel(*at) {
                Some((name, payer, _)) => format!("forceclose {} @{name}", NAMES[payer]),
                None => "tick 0".to_owned(),
            },
            Op::Withdraw(at) => match self.channel(*at) {
                Some((name, payer, _)) => format!("withdraw {} @{name}", NAMES[payer]),
                None => "tick 0".to_owned(),
            },
            Op::Again(at) => match pick(&self.paid, *at) {
                Some((name, _)) => format!("again @{name}"),
                None => "tick 0".to_owned(),
            },
            Op::Freeze(a, true) => format!("freeze {}", NAMES[*a]),
            Op::Freeze(a, false) => format!("thaw {}", NAMES[*a]),
            Op::Tick(ms) => format!("tick {ms}"),
        }
    }

    fn channel(&self, at: usize) -> Option<(String, usize, usize)> {
        let at = at.checked_rem(self.channels.len())?;
        self.channels.get(at).cloned()
    }
}

fn pick(named: &[(String, usize)], at: usize) -> Option<&(String, usize)> {
    named.get(at.checked_rem(named.len())?)
}

/// Everybody's posted balance, and what is in circulation.
fn books(world: &World) -> (BTreeMap<String, i128>, i128) {
    let mut sum = 0;
    let mut all = BTreeMap::new();
    for account in world.machine.0.accounts(None, 1000) {
        for balance in &account.balances {
            sum += balance.posted;
            all.insert(account.id.to_string(), balance.posted);
        }
    }
    (all, sum)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// After every step every invariant holds (the world checks them), only a mint or a burn
    /// changes what is in circulation, nobody but the issuer is below zero, a step that was refused
    /// changed nothing, and an order that was said never to execute never does.
    #[test]
    fn money_is_conserved_and_never_overspent(ops in proptest::collection::vec(op(), 1..60)) {
        let mut world = World::new(false);
        world.run("open alice\nopen bob\nopen carol\nopen dora");
        let mut named = Named::default();
        let mut never = BTreeMap::new();
        for op in &ops {
            let line = named.line(op);
            let before = world.machine.0.clone();
            let told = world.step_line(&line);
            if told != "ok" {
                prop_assert_eq!(&world.machine.0, &before, "{} changed something", line);
            }
            for (name, _) in named.paid.iter().chain(&named.held) {
                match world.step_line(&format!("status @{name}")).as_str() {
                    "executed" => prop_assert_eq!(never.get(name), None, "{} was never", name),
                    "pending" | "forgotten" => {}
                    why => drop(never.insert(name.clone(), why.to_owned())),
                }
            }
            let (balances, sum) = books(&world);
            prop_assert_eq!(sum, 0, "{}", line);
            let issuer = super::keys::account("issuer").to_string();
            for (account, posted) in &balances {
                prop_assert!(*posted >= 0 || *account == issuer, "{} overdraws {}", line, account);
            }
        }
        world.assert_replays();
    }

    /// Of all orders with one nonce, at most one ever moves money, however they are repeated.
    #[test]
    fn one_nonce_pays_once(
        amounts in proptest::collection::vec(1..50_u128, 1..8),
        order in proptest::collection::vec(0..8_usize, 1..30),
    ) {
        let mut world = World::new(false);
        world.run("mint alice 60\nopen bob");
        for (at, amount) in amounts.iter().enumerate() {
            world.step_line(&format!("pay alice bob {amount} nonce=1 as=p{at}"));
        }
        for at in order {
            if at < amounts.len() {
                world.step_line(&format!("again @p{at}"));
                world.step_line("tick 70000");
            }
        }
        world.step_line(&format!("balance alice {} 0", 60 - amounts[0]));
    }
}
