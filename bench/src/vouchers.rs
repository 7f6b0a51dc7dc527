//! Vouchers in process: what a scheme costs beside one bare signature of libsecp256k1, and whether
//! two threads verify twice as many as one.

use std::{sync::Barrier, thread};

use anyhow::{Context as _, Result, ensure};
use ed25519_dalek::{Signer as _, SigningKey};
use secp256k1::{
    Message,
    ecdsa::{RecoverableSignature, RecoveryId},
};
use stiver_channel::{
    Authority, Caps, Channel, ChannelId, Op, Rules, VerifyVoucher, Voucher, VoucherError,
    voucher::{
        chain::{Chain, TICK_BYTES, Terms, Tick, Words},
        ed25519::{Ed25519, Key, Signed},
        eip712::{self, Address, Domain, Eip712, Variant},
    },
};
use stiver_core::Timestamp;

use crate::{
    measure::{Side, cpu_of_thread, interleave, operation, wall},
    report::Finding,
    rows::Setting,
};

/// Its rows.
pub const ROWS: [&str; 5] = [
    "voucher-secp256k1",
    "voucher-ed25519",
    "voucher-ed25519-batch",
    "voucher-word",
    "voucher-threads",
];

const CHANNEL: ChannelId = ChannelId([7; 32]);
/// Vouchers that queue up together.
const BATCH: u64 = 64;
/// Ticks of one round.
const TICKS: u32 = 100_000;
/// Vouchers that each thread verifies in one round.
const EACH: u64 = 2000;

/// Signed bytes of the size that the ledger's vouchers have.
struct Plain;

impl Signed for Plain {
    fn signed(&self, voucher: &Voucher) -> Result<(Vec<u8>, [u8; 64]), VoucherError> {
        let signature = voucher.proof[..].try_into();
        let signature = signature.map_err(|_| VoucherError::MalformedProof)?;
        Ok((message(voucher), signature))
    }
}

fn message(voucher: &Voucher) -> Vec<u8> {
    let mut message = b"stiver-ledger/voucher/1 and the ledger".to_vec();
    message.extend(voucher.channel.0);
    message.extend(voucher.cumulative.to_be_bytes());
    message
}

/// A channel signed by secp256k1, and some of its vouchers.
pub struct Recovered {
    scheme: Eip712,
    domain: Domain,
    vouchers: Vec<Voucher>,
}

impl Recovered {
    /// Makes them.
    pub fn new() -> Result<Self> {
        let key = eip712::SigningKey::from_bytes(&[9; 32])?;
        let domain = Domain::new(Variant::TEMPO_V2, 4217, Address([2; 20]));
        let vouchers = (1..=BATCH).map(|n| key.voucher(&domain, CHANNEL, n.into()));
        Ok(Self {
            scheme: Eip712::new(domain, CHANNEL, key.address()),
            domain,
            vouchers: vouchers.collect::<Result<_, _>>()?,
        })
    }

    /// The bare operation: one signature, parsed before, over one digest, hashed before.
    pub fn bare(&self) -> Result<impl Fn() -> bool + use<>> {
        let voucher = self.vouchers.first().context("there are vouchers")?;
        let digest = self.domain.digest(&CHANNEL, voucher.cumulative);
        let id = RecoveryId::from_u8_masked(voucher.proof[64] - 27);
        let signature = RecoverableSignature::from_compact(&voucher.proof[..64], id)
            .ok()
            .context("the signature is ours")?;
        let message = Message::from_digest(digest);
        Ok(move || signature.recover_ecdsa(message).is_ok())
    }
}

/// Measures all of them.
pub fn run(setting: &Setting, found: &mut dyn FnMut(Finding)) -> Result<()> {
    let recovered = Recovered::new()?;
    let signer = SigningKey::from_bytes(&[3; 32]);
    let key = Key::from_bytes(&signer.verifying_key().to_bytes())?;
    let signed = Ed25519::new(CHANNEL, key, Plain);
    let vouchers: Vec<Voucher> = (1..=BATCH)
        .map(|n| {
            let mut voucher = Voucher {
                channel: CHANNEL,
                cumulative: n.into(),
                proof: Box::default(),
            };
            voucher.proof = signer.sign(&message(&voucher)).to_bytes().into();
            voucher
        })
        .collect();
    ensure!(
        vouchers.iter().all(|one| signed.verify(None, one).is_ok()),
        "a genuine voucher was refused"
    );
    let mut sides: [Side<'_>; 5] = [
        operation(recovered.bare()?),
        operation(|| recovered.scheme.verify(None, &recovered.vouchers[0])),
        operation(|| signed.verify(None, &vouchers[0])),
        operation(|| signed.verify_batch(None, &vouchers)),
        Box::new(ticks),
    ];
    let medians = interleave(setting.rounds, &mut sides)?;
    drop(sides);
    let micros: Vec<f64> = medians.iter().map(|nanos| nanos / 1e3).collect();
    let [bare, secp256k1, ed25519, batch, word] = micros[..] else {
        anyhow::bail!("a side is missing");
    };
    let values = [
        (secp256k1, Some(bare)),
        (ed25519, Some(bare)),
        (batch / BATCH as f64, Some(bare)),
        (word, None),
    ];
    for (name, (value, baseline)) in ROWS.into_iter().zip(values) {
        found(Finding {
            name: name.to_owned(),
            unit: "us CPU per voucher",
            value,
            baseline,
        });
    }
    threads(setting, &recovered, found)
}

/// Everything between the bytes of a tick and the channel that has been charged by it, nanoseconds
/// for each.
fn ticks() -> Result<f64> {
    let mut words = Words::new(&[5; 32], &CHANNEL.0, TICKS)?;
    let terms = Terms {
        salt: CHANNEL.0,
        root: words.root(),
        words: TICKS,
        step: 2,
    };
    let chain = Chain::new(CHANNEL, terms)?;
    let sent: Vec<[u8; TICK_BYTES]> = (1..=TICKS)
        .map(|index| Ok(Tick::new(&CHANNEL, words.show(index)?).to_bytes()))
        .collect::<Result<_>>()?;
    let now = Timestamp::from_millis(1_767_225_600_000);
    let rules = Rules {
        caps: Caps::LEDGER,
        voucher_delta_min: 1,
    };
    let mut channel = Channel::opening(now);
    let open = Op::ConfirmOpen {
        deposit: u128::from(TICKS) * 2,
        settled: 0,
        voucher: None,
    };
    run_op(&mut channel, &rules, open, now)?;
    let start = cpu_of_thread()?;
    take_ticks(&chain, &sent, (&mut channel, &rules), now)?;
    let took = cpu_of_thread()? - start;
    ensure!(
        channel.figures().spent == u128::from(TICKS) * 2,
        "not all ticks were charged for"
    );
    Ok(took / f64::from(TICKS))
}

/// Charges for ticks. Not inlined: `callgrind` counts from its name.
#[inline(never)]
fn take_ticks(
    chain: &Chain,
    sent: &[[u8; TICK_BYTES]],
    (channel, rules): (&mut Channel, &Rules),
    now: Timestamp,
) -> Result<()> {
    let mut last: Option<Voucher> = None;
    for bytes in sent {
        let voucher = chain.voucher_of_tick(&Tick::parse(bytes)?)?;
        chain.verify(last.as_ref(), &voucher)?;
        let cumulative = voucher.cumulative;
        run_op(channel, rules, Op::Accept { cumulative }, now)?;
        let spend = Op::Spend {
            amount: 2,
            from_reserved: 0,
            authority: Authority::Voucher { cumulative },
        };
        run_op(channel, rules, spend, now)?;
        last = Some(voucher);
    }
    Ok(())
}

/// Verifies vouchers. Not inlined: `callgrind` counts from its name.
#[inline(never)]
fn take_vouchers(scheme: &Eip712, vouchers: &[Voucher]) -> Result<()> {
    for voucher in vouchers {
        scheme.verify(None, voucher)?;
    }
    Ok(())
}

/// Does once what `callgrind` counts.
pub fn once() -> Result<()> {
    ticks()?;
    let recovered = Recovered::new()?;
    take_vouchers(&recovered.scheme, &recovered.vouchers)
}

/// How often [`once`] does each of them.
pub const ONCE: [(&str, u64); 2] = [("take_ticks", TICKS as u64), ("take_vouchers", BATCH)];

fn run_op(channel: &mut Channel, rules: &Rules, op: Op, now: Timestamp) -> Result<()> {
    let event = channel.decide(rules, &op, now)?;
    channel.apply(&event.context("the operation changed nothing")?)?;
    Ok(())
}

/// `voucher-threads`: vouchers verified in a second by two threads that share one verifier, over
/// those of one thread.
fn threads(setting: &Setting, recovered: &Recovered, found: &mut dyn FnMut(Finding)) -> Result<()> {
    let mut sides: [Side<'_>; 2] = [
        Box::new(|| per_second(recovered, 1)),
        Box::new(|| per_second(recovered, 2)),
    ];
    let medians = interleave(setting.rounds, &mut sides)?;
    drop(sides);
    found(Finding {
        name: ROWS[4].to_owned(),
        unit: "vouchers/s",
        value: medians[1],
        baseline: Some(medians[0]),
    });
    Ok(())
}

fn per_second(recovered: &Recovered, count: u32) -> Result<f64> {
    let together = Barrier::new(count as usize);
    let work = || {
        together.wait();
        let start = wall()?;
        let vouchers = recovered.vouchers.iter().cycle().take(EACH as usize);
        for voucher in vouchers {
            recovered.scheme.verify(None, voucher)?;
        }
        Ok((start, wall()?))
    };
    let times = thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|_| scope.spawn(work)).collect();
        let joined = threads.into_iter().map(|thread| {
            thread
                .join()
                .map_err(|_| anyhow::anyhow!("a thread panicked"))?
        });
        joined.collect::<Result<Vec<(f64, f64)>>>()
    })?;
    let start = times
        .iter()
        .map(|time| time.0)
        .fold(f64::INFINITY, f64::min);
    let end = times.iter().map(|time| time.1).fold(0.0, f64::max);
    Ok(f64::from(count) * EACH as f64 / (end - start) * 1e9)
}
