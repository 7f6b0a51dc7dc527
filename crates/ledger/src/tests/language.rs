//! A small language for scenarios: one step a line.
//!
//! ```text
//! open alice                      alice's own key opens her account
//! mint alice 100                  the issuer mints; `alice` is opened when she is not there
//! pay alice bob 30 -> ok          without an arrow, `ok` is expected
//! pay alice bob 99 -> Insufficient
//! refund bob @p1 10               `as=p1` on an earlier line names its order
//! hold alice bob 50 until=1000    `until` counts milliseconds from now
//! post bob @h1 20 last            also `preimage=x`, `agreement=x`
//! void bob @h1 | burn alice 5 | freeze bob | thaw bob | limit bob 5 | limit bob
//! addkey alice new roles=3 | revoke alice new
//! channel alice bob 50 key=alice  also `chain=SEED step=2 words=100`, `grace=60000`
//! capture bob @c1 20 last key=alice voucher=25    also `ack=x`; `chain=SEED words=100 word=10`
//! topup alice @c1 10 | forceclose alice @c1 | withdraw alice @c1
//! again @p1                       the same order once more, perhaps `by` another key
//! tick 1000                       time passes
//! balance alice 70 0              posted and held of usd
//! status @p1 -> executed | pending | Expired ...
//! ```
//!
//! Options of every order: `by=NAME` another signing key, `nonce=N`, `ttl=MS`, `ledger=other`,
//! `cur=CODE`, `as=NAME`.

use std::collections::BTreeMap;

use ed25519_dalek::Signer as _;
use sha2::{Digest as _, Sha256};
use stiver_core::Timestamp;
use stiver_wal::Machine as _;

use super::keys::{BEGIN_MS, account, did, key, nonce, sign};
use crate::{
    event::Event,
    id::{AccountId, HoldId, LedgerId, TransferId},
    key::Roles,
    limits,
    machine::{Command, Genesis, LedgerMachine, MachineCommand, NewCurrency, Reply},
    order::{Action, Condition, Met, Order, VerifiedOrder},
    refusal::Refusal,
    state::Room,
    text::CurrencyCode,
    view::{OrderStatus, Outcome, Remembered},
    voucher::{CaptureProof, VoucherBody, word_back},
};

/// A ledger without a log, and what happened to it.
pub(super) struct World {
    pub(super) machine: LedgerMachine,
    pub(super) now: Timestamp,
    pub(super) ledger: LedgerId,
    events: Vec<(Timestamp, Event)>,
    orders: BTreeMap<String, VerifiedOrder>,
    count: u64,
}

impl World {
    /// A ledger with usd and kwh, operated by `op`, issued by `issuer`.
    pub(super) fn new(permissioned: bool) -> Self {
        let mut world = Self {
            machine: LedgerMachine::default(),
            now: Timestamp::from_millis(BEGIN_MS),
            ledger: LedgerId::from_bytes([7; 16]),
            events: Vec::new(),
            orders: BTreeMap::new(),
            count: 0,
        };
        world.ask(Command::Begin(Genesis {
            ledger: world.ledger,
            operator: did("op"),
            permissioned,
            memory_ms: limits::MEMORY_MS_DEFAULT,
            receipt_key: did("receipts"),
        }));
        for (code, decimals) in [("usd", 6), ("kwh", 3)] {
            world.ask(Command::Register(NewCurrency {
                code: CurrencyCode::new(code).unwrap(),
                decimals,
                issuer_key: did("issuer"),
            }));
        }
        world
    }

    /// Decides, follows the event as it comes back from the log, and checks every invariant.
    pub(super) fn ask(&mut self, command: Command) -> Reply {
        let (reply, event) = self.machine.decide(self.now, MachineCommand(command));
        if let Some(event) = event {
            let mut bytes = Vec::new();
            LedgerMachine::encode_event(&event, &mut bytes);
            let read = LedgerMachine::decode_event(&bytes).unwrap();
            assert_eq!(read, event);
            self.machine.evolve(self.now, &read).unwrap();
            self.machine.check().unwrap();
            self.events.push((self.now, read));
        }
        reply.0
    }

    pub(super) fn execute(&mut self, order: VerifiedOrder) -> Result<Outcome, Refusal> {
        let hash = order.hash();
        let Reply::Executed(result) = self.ask(Command::Execute(Box::new(order))) else {
            panic!("another reply");
        };
        if let Ok(outcome) = &result {
            assert_eq!(self.machine.0.outcome(hash).as_ref(), Some(outcome));
        }
        result
    }

    /// The log followed from the start gives the same state, and a snapshot gives it back.
    pub(super) fn assert_replays(&self) {
        let mut again = LedgerMachine::default();
        for (at, event) in &self.events {
            again.evolve(*at, event).unwrap();
        }
        assert_eq!(again.0, self.machine.0);
        let restored = LedgerMachine::restore(&self.machine.snapshot()).unwrap();
        assert_eq!(restored.0, self.machine.0);
    }

    /// Runs a scenario; a line that ends otherwise than it says fails with the line.
    pub(super) fn run(&mut self, scenario: &str) {
        for line in scenario.lines() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (step, expected) = line.split_once("->").unwrap_or((line, "ok"));
            assert_eq!(self.step_line(step), expected.trim(), "{line}");
        }
        self.assert_replays();
    }

    /// Takes one step and tells how it ended.
    pub(super) fn step_line(&mut self, step: &str) -> String {
        self.step(&Step::parse(step))
    }

    /// How an order would end if the ledger remembered no more orders than this.
    pub(super) fn ruled_within(&mut self, step: &str, room: Room) -> String {
        let order = match Step::parse(step) {
            step if step.words[0] == "again" => self.named(step.words[1]),
            step => self.order(&step),
        };
        let ruling = self.machine.0.rule_within(self.now, order.signed(), room);
        ruling.map_or_else(|refusal| variant(&refusal), |_| "ok".to_owned())
    }

    fn step(&mut self, step: &Step<'_>) -> String {
        match step.words.first().copied() {
            Some("tick") => {
                self.now = self.now.plus_millis(step.number(1).try_into().unwrap());
                "ok".to_owned()
            }
            Some("balance") => self.balance(step),
            Some("status") => self.status(step),
            Some("again") => {
                let order = self.named(step.words[1]);
                let order = match step.options.get("by") {
                    Some(by) => sign(order.order(), by),
                    None => order,
                };
                told(&self.execute(order))
            }
            _ => {
                let order = self.order(step);
                if let Some(name) = step.options.get("as") {
                    self.orders.insert(format!("@{name}"), order.clone());
                }
                told(&self.execute(order))
            }
        }
    }

    fn balance(&self, step: &Step<'_>) -> String {
        let view = self.machine.0.account(&account(step.words[1])).unwrap();
        let (posted, held) = view
            .balance(step.options.get("cur").copied().unwrap_or("usd"))
            .map_or((0, 0), |balance| (balance.posted, balance.held));
        assert_eq!(
            format!("{posted} {held}"),
            format!("{} {}", step.words[2], step.words[3]),
            "balance of {}",
            step.words[1]
        );
        "ok".to_owned()
    }

    fn status(&self, step: &Step<'_>) -> String {
        let order = self.named(step.words[1]);
        match self.machine.0.status(self.now, order.signed()) {
            Remembered::Forgotten(_) => "forgotten".to_owned(),
            Remembered::Status(OrderStatus::Executed(_)) => "executed".to_owned(),
            Remembered::Status(OrderStatus::Pending) => "pending".to_owned(),
            Remembered::Status(OrderStatus::Never(refusal)) => variant(&refusal),
        }
    }

    pub(super) fn named(&self, name: &str) -> VerifiedOrder {
        self.orders[name].clone()
    }

    fn order(&mut self, step: &Step<'_>) -> VerifiedOrder {
        let signer = step.signer();
        self.count += 1;
        let ttl = step
            .options
            .get("ttl")
            .map_or(60_000, |ttl| ttl.parse().unwrap());
        let order = Order {
            ledger: match step.options.get("ledger") {
                Some(_) => LedgerId::from_bytes([8; 16]),
                None => self.ledger,
            },
            account: account(signer),
            nonce: nonce(
                step.options
                    .get("nonce")
                    .map_or(1_000_000 + self.count, |nonce| nonce.parse().unwrap()),
            ),
            expires: self.now.plus_millis(ttl),
            action: self.action(step),
        };
        sign(&order, step.options.get("by").unwrap_or(&signer))
    }

    fn action(&self, step: &Step<'_>) -> Action {
        let currency = || step.currency();
        let name = |at: usize| account(step.words[at]);
        let hash = |at: usize| self.named(step.words[at]).hash();
        match step.words[0] {
            "open" => Action::Open {
                first_key: did(step.words[1]),
                owner: None,
            },
            "mint" => Action::Mint {
                to: name(1),
                amount: step.number(2),
                currency: currency(),
                first_key: match step.options.get("first") {
                    Some(&"none") => None,
                    first => Some(did(first.unwrap_or(&step.words[1]))),
                },
                owner: None,
            },
            "pay" => Action::Transfer {
                payee: name(2),
                amount: step.number(3),
                currency: currency(),
                charge: None,
            },
            "burn" => Action::Burn {
                amount: step.number(2),
                currency: currency(),
            },
            "refund" => Action::Refund {
                transfer: TransferId::from(hash(2)),
                amount: step.number(3),
                reason: None,
            },
            "addkey" => Action::AddKey {
                key: did(step.words[2]),
                roles: Roles::from_bits(step.options["roles"].parse().unwrap()).unwrap(),
            },
            "revoke" => Action::RevokeKey {
                key: did(step.words[2]),
            },
            "hold" => self.hold(step, name(2), currency()),
            "post" => post(step, HoldId::from(hash(2))),
            "void" => Action::Void {
                hold: HoldId::from(hash(2)),
            },
            "freeze" | "thaw" => Action::Freeze {
                account: name(1),
                frozen: step.words[0] == "freeze",
            },
            "limit" => Action::Limit {
                account: name(1),
                amount: step.words.get(2).map(|limit| limit.parse().unwrap()),
            },
            _ => self.channel_action(step),
        }
    }

    fn channel_action(&self, step: &Step<'_>) -> Action {
        let channel = || HoldId::from(self.named(step.words[2]).hash());
        match step.words[0] {
            "channel" => Action::Hold {
                capturer: account(step.words[2]),
                amount: step.number(3),
                currency: step.currency(),
                until: None,
                condition: channel_condition(step),
                charge: None,
            },
            "capture" => self.capture(step, channel()),
            "topup" => Action::TopUp {
                channel: channel(),
                amount: step.number(3),
                charge: None,
            },
            "forceclose" => Action::ForceClose { channel: channel() },
            "withdraw" => Action::Withdraw { channel: channel() },
            other => panic!("no verb {other}"),
        }
    }

    fn hold(&self, step: &Step<'_>, capturer: AccountId, currency: CurrencyCode) -> Action {
        Action::Hold {
            capturer,
            amount: step.number(3),
            currency,
            until: step
                .options
                .get("until")
                .map(|ms| self.now.plus_millis(ms.parse().unwrap())),
            condition: match (step.options.get("preimage"), step.options.get("agreement")) {
                (Some(word), _) => Condition::Preimage(Sha256::digest(bytes(word)).into()),
                (_, Some(word)) => Condition::Agreement(bytes(word)),
                _ => Condition::None,
            },
            charge: None,
        }
    }

    fn capture(&self, step: &Step<'_>, channel: HoldId) -> Action {
        Action::Capture {
            channel,
            cumulative: step.number(3),
            last: step.words.get(4) == Some(&"last"),
            proof: match step.options.get("chain") {
                Some(seed) => {
                    let words = step.options["words"].parse().unwrap();
                    let index = step.options["word"].parse().unwrap();
                    CaptureProof::Word {
                        root: chain_word(seed, words, 0),
                        index,
                        word: chain_word(seed, words, index),
                    }
                }
                None => voucher(
                    &VoucherBody {
                        ledger: self.ledger,
                        channel,
                        cumulative: step.options["voucher"].parse().unwrap(),
                        ack: step.options.get("ack").map(|ack| bytes(ack)),
                    },
                    step.options["key"],
                ),
            },
        }
    }
}

/// A voucher that a name's key signs.
pub(super) fn voucher(body: &VoucherBody, by: &str) -> CaptureProof {
    CaptureProof::Voucher {
        key: did(by),
        cumulative: body.cumulative,
        ack: body.ack,
        signature: key(by).sign(&body.encode()).to_bytes(),
    }
}

fn channel_condition(step: &Step<'_>) -> Condition {
    let number = |name: &str| step.options.get(name).map(|text| text.parse().unwrap());
    let grace_ms = number("grace").unwrap_or(limits::GRACE_MS_MIN);
    match step.options.get("chain") {
        Some(seed) => Condition::Words {
            root: chain_word(seed, step.options["words"].parse().unwrap(), 0),
            step: number("step").map_or(1, u128::from),
            words: step.options["words"].parse().unwrap(),
            grace_ms,
        },
        None => Condition::Vouchers {
            key: did(step.options["key"]),
            grace_ms,
        },
    }
}

/// Word `index` of the chain of so many words that ends in a seed.
pub(super) fn chain_word(seed: &str, words: u32, index: u32) -> [u8; 32] {
    let ledger = LedgerId::from_bytes([7; 16]);
    word_back(ledger, &bytes(seed), words - index).unwrap()
}

fn post(step: &Step<'_>, hold: HoldId) -> Action {
    Action::Post {
        hold,
        amount: step.number(3),
        last: step.words.get(4) == Some(&"last"),
        met: match (step.options.get("preimage"), step.options.get("agreement")) {
            (Some(word), _) => Met::Preimage(bytes(word)),
            (_, Some(word)) => Met::Agreement(bytes(word)),
            _ => Met::None,
        },
    }
}

/// 32 bytes of a word.
fn bytes(word: &str) -> [u8; 32] {
    Sha256::digest(word).into()
}

fn told(result: &Result<Outcome, Refusal>) -> String {
    match result {
        Ok(_) => "ok".to_owned(),
        Err(refusal) => variant(refusal),
    }
}

/// The name of a refusal.
pub(super) fn variant(refusal: &Refusal) -> String {
    let text = format!("{refusal:?}");
    text.split([' ', '{']).next().unwrap_or_default().to_owned()
}

struct Step<'a> {
    words: Vec<&'a str>,
    options: BTreeMap<&'a str, &'a str>,
}

impl<'a> Step<'a> {
    fn parse(text: &'a str) -> Self {
        let (options, words): (Vec<&str>, Vec<&str>) =
            text.split_whitespace().partition(|word| word.contains('='));
        Self {
            words,
            options: options
                .into_iter()
                .filter_map(|option| option.split_once('='))
                .collect(),
        }
    }

    fn number(&self, at: usize) -> u128 {
        match self.words[at] {
            "huge" => u128::try_from(i128::MAX).unwrap() + 1,
            "most" => u128::try_from(i128::MAX).unwrap(),
            digits => digits.parse().unwrap(),
        }
    }

    fn currency(&self) -> CurrencyCode {
        CurrencyCode::new(self.options.get("cur").copied().unwrap_or("usd")).unwrap()
    }

    /// Whose account orders.
    fn signer(&self) -> &'a str {
        match self.words[0] {
            "mint" => self.options.get("from").copied().unwrap_or("issuer"),
            "freeze" | "thaw" | "limit" => self.options.get("from").copied().unwrap_or("op"),
            "open" => self.options.get("from").copied().unwrap_or(self.words[1]),
            _ => self.words[1],
        }
    }
}
