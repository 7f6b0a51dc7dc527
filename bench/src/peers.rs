//! The session servers of the reference SDKs, verifying vouchers in processes of their own, beside
//! the same work of ours in this one.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::Command,
    thread,
};

use anyhow::{Context as _, Result, ensure};
use stiver_channel::{
    Authority, Caps, Channel, ChannelId, Op, Rules, VerifyVoucher as _,
    voucher::eip712::{Eip712, SigningKey},
};
use stiver_core::{Challenge, Currency, Timestamp, json::Object};
use stiver_method::{
    payee::Presented,
    session::{PayeeSession as _, SessionAction},
};

use crate::{
    child::Program,
    measure::{Side, cpu_of_thread, interleave},
    report::Finding,
    rows::Setting,
    sessions::signed::{self, SignedPayee},
};

/// Its rows.
pub const ROWS: [&str; 4] = [
    "session-peer/mpp",
    "session-peer/mpp-unasked",
    "session-peer/mpp-threads",
    "session-peer/mppx",
];

/// Vouchers of one round.
const OURS: u128 = 1000;
const MPP: u32 = 1000;
const MPPX: u32 = 24;

/// Measures all of them.
pub fn run(setting: &Setting, found: &mut dyn FnMut(Finding)) -> Result<()> {
    let ours = Ours::new()?;
    if ROWS[..3].iter().any(|row| setting.wants(row)) {
        mpp(setting, &ours, found)?;
    }
    if setting.wants(ROWS[3]) {
        let modules = setting.mppx.as_deref().context("no mppx was named")?;
        let mut node = Command::new("node");
        node.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/mppx.mjs"));
        node.arg(modules);
        let (mut mppx, _) = Program::start(node)?;
        let mut sides: [Side<'_>; 2] = [
            Box::new(|| ours.round()),
            Box::new(|| per_second(&mut mppx, &format!("1 {MPPX}"), MPPX)),
        ];
        let medians = interleave(setting.rounds, &mut sides)?;
        drop(sides);
        found(rate(ROWS[3], PER_CPU_SECOND, &medians));
    }
    Ok(())
}

const PER_CPU_SECOND: &str = "vouchers verified per second of CPU";

/// The mpp crate: with a chain that it asks over HTTP, which answers from this process; and with
/// one inside of its own, which costs it nearly nothing.
fn mpp(setting: &Setting, ours: &Ours, found: &mut dyn FnMut(Finding)) -> Result<()> {
    let program = setting
        .mpp
        .as_deref()
        .context("no program over mpp was named")?;
    let answer = Command::new(program).arg("answer").output()?.stdout;
    let chain = chain(String::from_utf8(answer)?.trim().to_owned())?;
    let mut asking = Command::new(program);
    let (mut asking, _) = Program::start({
        asking.arg(format!("http://{chain}"));
        asking
    })?;
    let (unasked, _) = Program::start(Command::new(program))?;
    let unasked = std::cell::RefCell::new(unasked);
    let wall = |tasks: u32| -> Result<f64> {
        let nanos = unasked.borrow_mut().number(&format!("{tasks} {MPP}"))?;
        Ok(f64::from(tasks * MPP) / nanos * 1e9)
    };
    let mut sides: [Side<'_>; 5] = [
        Box::new(|| ours.round()),
        Box::new(|| per_second(&mut asking, &format!("1 {MPP}"), MPP)),
        Box::new(|| per_second(&mut unasked.borrow_mut(), &format!("1 {MPP}"), MPP)),
        Box::new(|| wall(2)),
        Box::new(|| wall(1)),
    ];
    let medians = interleave(setting.rounds, &mut sides)?;
    drop(sides);
    let [ours, asking, unasked, two, one] = medians[..] else {
        anyhow::bail!("a side is missing");
    };
    found(rate(ROWS[0], PER_CPU_SECOND, &[ours, asking]));
    found(rate(ROWS[1], PER_CPU_SECOND, &[ours, unasked]));
    found(rate(
        ROWS[2],
        "vouchers/s of the mpp crate by two tasks, by one",
        &[two, one],
    ));
    Ok(())
}

/// A chain that answers every question the same, over HTTP, from threads of this process.
fn chain(result: String) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("listening")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let result = result.clone();
            // Ends with the connection; a question that makes no sense ends it, too.
            thread::spawn(move || answer_all(stream, &result));
        }
    });
    Ok(address)
}

fn answer_all(stream: TcpStream, result: &str) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            ensure!(reader.read_line(&mut line)? > 0, "no question");
            let Some((name, value)) = line.split_once(':') else {
                if line.trim().is_empty() {
                    break;
                }
                continue;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse()?;
            }
        }
        let mut question = vec![0; length];
        reader.read_exact(&mut question)?;
        let question: serde_json::Value = serde_json::from_slice(&question)?;
        let id = question.get("id").context("a question without an id")?;
        let answer = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#);
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length";
        let answer = format!("{head}: {}\r\n\r\n{answer}", answer.len());
        writer.write_all(answer.as_bytes())?;
    }
}

fn rate(name: &str, unit: &'static str, values: &[f64]) -> Finding {
    Finding {
        name: name.to_owned(),
        unit,
        value: values.first().copied().unwrap_or(f64::NAN),
        baseline: values.get(1).copied(),
    }
}

/// Vouchers in a second of the program's CPU.
fn per_second(program: &mut Program, line: &str, count: u32) -> Result<f64> {
    let before = program.cpu()?;
    program.number(line)?;
    Ok(f64::from(count) / (program.cpu()? - before) * 1e9)
}

/// One channel, and the payloads of its vouchers.
struct Ours {
    payee: SignedPayee,
    verifier: Eip712,
    challenge: Challenge,
    payloads: Vec<Object>,
}

impl Ours {
    fn new() -> Result<Self> {
        let key = SigningKey::from_bytes(&[9; 32])?;
        let channel = ChannelId([7; 32]);
        let payloads = (1..=OURS)
            .map(|cumulative| signed::payload(&signed::voucher(&key, channel, cumulative)?, None));
        let challenge = Challenge::parse_all([CHALLENGE.as_bytes()])
            .into_iter()
            .next();
        Ok(Self {
            payee: SignedPayee::new(Currency::new("usd", 6)?)?,
            verifier: Eip712::new(signed::domain(), channel, key.address()),
            challenge: challenge.context("no challenge")??,
            payloads: payloads.collect::<Result<_>>()?,
        })
    }

    /// The same work: from a payload that was parsed before to a voucher that is accepted, in
    /// memory. Vouchers in a second of CPU.
    fn round(&self) -> Result<f64> {
        let now = Timestamp::from_millis(1_767_225_600_000);
        let rules = Rules {
            caps: Caps::TEMPO_V2,
            voucher_delta_min: 0,
        };
        let mut channel = Channel::opening(now);
        let open = Op::ConfirmOpen {
            deposit: OURS,
            settled: 0,
            voucher: Some(0),
        };
        step(&mut channel, &rules, &open, now)?;
        let start = cpu_of_thread()?;
        for payload in &self.payloads {
            let action = self.payee.decode(Presented {
                challenge: &self.challenge,
                payload,
                source: None,
                now,
            })?;
            let SessionAction::Spend(voucher) = action else {
                anyhow::bail!("a voucher was read as something else");
            };
            self.verifier.verify(None, &voucher)?;
            let cumulative = voucher.cumulative;
            step(&mut channel, &rules, &Op::Accept { cumulative }, now)?;
            let spend = Op::Spend {
                amount: 1,
                from_reserved: 0,
                authority: Authority::Voucher { cumulative },
            };
            step(&mut channel, &rules, &spend, now)?;
        }
        let took = cpu_of_thread()? - start;
        ensure!(channel.figures().spent == OURS, "not all was spent");
        Ok(OURS as f64 / took * 1e9)
    }
}

/// Any challenge: decoding a voucher reads nothing of it.
const CHALLENGE: &str =
    r#"Payment id="bench", realm="api.example.com", method="evm", intent="session", request="e30""#;

fn step(channel: &mut Channel, rules: &Rules, op: &Op, now: Timestamp) -> Result<()> {
    let event = channel.decide(rules, op, now)?;
    channel.apply(&event.context("the operation changed nothing")?)?;
    Ok(())
}
