//! Sessions over HTTP: what a voucher adds to a request.
//!
//! Paid and unpaid requests have the same bytes, but for four letters of the path, and are served
//! by the same handler in the same process. What a row tells is the difference, in user CPU of that
//! process, as the operating system counts it; the baseline is one bare recovery of a public key,
//! timed in that process, too.

pub mod serve;
pub mod signed;

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use stiver_channel::{ChannelId, Voucher, voucher::eip712::SigningKey};
use stiver_core::{Challenge, Credential, Currency, json::Object};
use stiver_env::Env;
use stiver_method::{
    key::Ed25519Key,
    payer::CallKey,
    session::{OpenRequest, PayerSession as _, VoucherScheme, VoucherSigner},
};
use stiver_method_ledger::{LedgerSessionPayer, LedgerSessionPayerConfig};

use self::serve::{COST, RECOVERIES};
use crate::{
    http::{challenge, ledger_of},
    load::{self, Expected, Load, Queues},
    measure::median,
    report::Finding,
    rows::Setting,
    server::{Kind, PAYER_SEED, Server},
};

/// Its rows.
pub const ROWS: [&str; 5] = [
    "session-word",
    "session-word/held",
    "session-ed25519",
    "session-ed25519/held",
    "session-secp256k1",
];

/// Requests in flight: each connection has a channel of its own.
pub const IN_FLIGHT: usize = 256;
/// Requests of one connection in one round.
pub const EACH: usize = 80;

/// A kind of session.
pub struct Kinds {
    row: &'static str,
    path: &'static str,
    scheme: Scheme,
}

#[derive(Clone, Copy)]
enum Scheme {
    Word,
    Ed25519,
    Secp256k1,
}

/// Each kind, in the order of the rows.
pub const KINDS: [Kinds; 5] = [
    Kinds {
        row: ROWS[0],
        path: "/kept",
        scheme: Scheme::Word,
    },
    Kinds {
        row: ROWS[1],
        path: "/held",
        scheme: Scheme::Word,
    },
    Kinds {
        row: ROWS[2],
        path: "/kept",
        scheme: Scheme::Ed25519,
    },
    Kinds {
        row: ROWS[3],
        path: "/held",
        scheme: Scheme::Ed25519,
    },
    Kinds {
        row: ROWS[4],
        path: "/evmk",
        scheme: Scheme::Secp256k1,
    },
];

/// User and system CPU time, microseconds.
#[derive(Clone, Copy)]
struct Usage {
    user: f64,
    system: f64,
}

/// Measures each kind.
pub fn run(setting: &Setting, found: &mut dyn FnMut(Finding)) -> Result<()> {
    let server = Server::start(Kind::Sessions)?;
    let mut load = Load::new()?;
    load.connect_many(server.address(), IN_FLIGHT)?;
    for kind in KINDS.iter().filter(|kind| setting.wants(kind.row)) {
        let rounds = setting.rounds;
        let mut payers = Payers::open(&server, kind, rounds)?;
        let (mut deltas, mut recoveries) = (Vec::new(), Vec::new());
        for round in 0..=rounds {
            let paid = payers.requests(kind)?;
            let free = on_path(&paid, "/free");
            let paid = side(&server, &mut load, &paid)?;
            let free = side(&server, &mut load, &free)?;
            let recovery = recovery(&server)?;
            if round > 0 {
                eprintln!(
                    "{}: paid {:.2} + {:.2}, free {:.2} + {:.2}, recovery {recovery:.2}",
                    kind.row, paid.user, paid.system, free.user, free.system
                );
                deltas.push(paid.user - free.user);
                recoveries.push(recovery);
            }
        }
        found(Finding {
            name: kind.row.to_owned(),
            unit: "us user CPU per request more than unpaid",
            value: median(deltas),
            baseline: Some(median(recoveries)),
        });
    }
    Ok(())
}

/// One round of requests, each connection its own queue: CPU time for each request, microseconds.
fn side(server: &Server, load: &mut Load, queues: &Queues) -> Result<Usage> {
    let before = usage(server)?;
    load.run_each(queues, Expected { status: 200 }, &mut |_| Ok(()))?;
    let after = usage(server)?;
    let count = queues.iter().map(Vec::len).sum::<usize>() as f64;
    Ok(Usage {
        user: (after.user - before.user) / count,
        system: (after.system - before.system) / count,
    })
}

fn usage(server: &Server) -> Result<Usage> {
    let answer = load::ask(server.address(), &load::get("/usage", &[]))?;
    let text = String::from_utf8(answer)?;
    let (_, body) = text.split_once("\r\n\r\n").context("no usage")?;
    let (user, system) = body.split_once(' ').context("no usage")?;
    Ok(Usage {
        user: user.parse()?,
        system: system.parse()?,
    })
}

/// One bare recovery, microseconds of user CPU in the server.
fn recovery(server: &Server) -> Result<f64> {
    let before = usage(server)?;
    let answer = load::ask(server.address(), &load::get("/recover", &[]))?;
    ensure!(answer.ends_with(b"true"), "a signature was not recovered");
    Ok((usage(server)?.user - before.user) / f64::from(RECOVERIES))
}

/// The same requests for another path of the same length.
fn on_path(queues: &Queues, path: &str) -> Queues {
    let moved = |request: &Vec<u8>| {
        let mut request = request.clone();
        if let Some(place) = request.get_mut(4..4 + path.len()) {
            place.copy_from_slice(path.as_bytes());
        }
        request
    };
    let queues = queues.iter();
    queues
        .map(|queue| queue.iter().map(moved).collect())
        .collect()
}

/// A payer for each connection, each with an open channel.
pub struct Payers(Vec<Payer>);

struct Payer {
    challenge: Challenge,
    signer: Signer,
    cumulative: u128,
}

enum Signer {
    Ledger(Arc<LedgerSessionPayer>, Box<dyn VoucherSigner>),
    Evm(Box<SigningKey>, ChannelId),
}

impl Payers {
    /// Opens the channels: each first voucher has bought a request.
    pub fn open(server: &Server, kind: &Kinds, rounds: usize) -> Result<Self> {
        let requests = (rounds + 1) * EACH + 1;
        let deposit = COST * u128::try_from(requests)?;
        let env = stiver_env::native::env();
        let payers = (0..IN_FLIGHT).map(|_| {
            // One for each: an opening uses its challenge up.
            let challenge = challenge(server.address(), kind.path)?;
            let (mut payer, opening) = match kind.scheme {
                Scheme::Word => {
                    let scheme = VoucherScheme::HashChain { step: COST };
                    by_ledger(&challenge, scheme, deposit, &env)?
                }
                Scheme::Ed25519 => by_ledger(&challenge, VoucherScheme::Signed, deposit, &env)?,
                Scheme::Secp256k1 => by_evm(&challenge, deposit, &env)?,
            };
            payer.cumulative = COST;
            let opening = request(&challenge, kind.path, opening);
            let answer = load::ask(server.address(), &opening)?;
            ensure!(
                answer.starts_with(b"HTTP/1.1 200"),
                "a channel was not opened: {}",
                String::from_utf8_lossy(&answer)
            );
            Ok(payer)
        });
        Ok(Self(payers.collect::<Result<_>>()?))
    }

    /// The channels, and what each is signed up to.
    pub fn signed(&self) -> impl Iterator<Item = (ChannelId, u128)> {
        let channel = |payer: &Payer| match &payer.signer {
            Signer::Ledger(_, signer) => signer.channel(),
            Signer::Evm(_, channel) => *channel,
        };
        let payers = self.0.iter();
        payers.map(move |payer| (channel(payer), payer.cumulative))
    }

    /// The requests that close the channels.
    pub fn closings(&mut self, kind: &Kinds) -> Result<Vec<Vec<u8>>> {
        let closing = |payer: &mut Payer| {
            let Signer::Ledger(by, signer) = &mut payer.signer else {
                anyhow::bail!("these channels close by themselves");
            };
            let voucher = pollster::block_on(signer.sign(payer.cumulative, None))?;
            let payload = by.close(&voucher)?.payload;
            Ok(request(&payer.challenge, kind.path, payload))
        };
        self.0.iter_mut().map(closing).collect()
    }

    /// The requests of one round.
    pub fn requests(&mut self, kind: &Kinds) -> Result<Queues> {
        let queue = |payer: &mut Payer| {
            let requests = (0..EACH).map(|_| {
                payer.cumulative += COST;
                let payload = payer.signer.spend(payer.cumulative)?;
                Ok(request(&payer.challenge, kind.path, payload))
            });
            requests.collect::<Result<_>>()
        };
        self.0.iter_mut().map(queue).collect()
    }
}

impl Signer {
    fn spend(&mut self, cumulative: u128) -> Result<Object> {
        match self {
            Self::Ledger(payer, signer) => {
                let voucher = pollster::block_on(signer.sign(cumulative, None))?;
                Ok(payer.spend(&voucher)?.payload)
            }
            Self::Evm(key, channel) => {
                signed::payload(&signed::voucher(key, *channel, cumulative)?, None)
            }
        }
    }
}

fn request(challenge: &Challenge, path: &str, payload: Object) -> Vec<u8> {
    let credential = Credential {
        challenge: challenge.clone(),
        payload,
        source: None,
    };
    load::get(path, &[("authorization", &credential.to_header())])
}

/// A channel on the ledger, and the payload that opens it with a voucher for one request.
fn by_ledger(
    challenge: &Challenge,
    scheme: VoucherScheme,
    deposit: u128,
    env: &Env,
) -> Result<(Payer, Object)> {
    let currency = Currency::new("usd", 6)?;
    let deposit = currency.units(deposit);
    let payer = Arc::new(LedgerSessionPayer::new(LedgerSessionPayerConfig::new(
        Arc::new(Ed25519Key::from_seed(&PAYER_SEED)),
        ledger_of(challenge)?,
        vec![currency],
        None,
    )));
    let open = OpenRequest {
        challenge,
        deposit: &deposit,
        scheme: Some(scheme),
        call: CallKey::from_bytes(env.random()),
        entropy: env.random::<32>().into(),
        now: env.clock.now(),
    };
    let prepared = pollster::block_on(payer.prepare_open(open))?;
    let mut signer = payer.signer(&prepared.record)?;
    let voucher: Voucher = pollster::block_on(signer.sign(COST, None))?;
    let proof = pollster::block_on(payer.fund(&prepared.artefact, Some(&voucher)))?;
    let payer = Payer {
        challenge: challenge.clone(),
        signer: Signer::Ledger(payer, signer),
        cumulative: 0,
    };
    Ok((payer, proof.payload))
}

fn by_evm(challenge: &Challenge, deposit: u128, env: &Env) -> Result<(Payer, Object)> {
    let key = SigningKey::from_bytes(&env.random::<32>())?;
    let channel = ChannelId(env.random::<32>());
    let first = signed::voucher(&key, channel, COST)?;
    let opening = signed::payload(&first, Some((deposit, key.address())))?;
    let payer = Payer {
        challenge: challenge.clone(),
        signer: Signer::Evm(Box::new(key), channel),
        cumulative: 0,
    };
    Ok((payer, opening))
}
