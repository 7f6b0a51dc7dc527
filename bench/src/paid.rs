//! A paid call through the gateway, end to end, for information: 402, payment, 200.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use stiver_method::key::Ed25519Key;

use crate::{
    http::{Pay, challenge_of, credential, payer},
    load::{self, Expected, Load},
    measure::{Side, interleave, wall},
    proxy::{self, gateway},
    report::Finding,
    rows::Setting,
    server::{PAYER_SEED, Server},
};

/// Its rows.
pub const ROWS: [&str; 2] = ["paid-call", "paid-call-alone"];

/// Paid calls of one round.
const CALLS: usize = 200;
/// What they cost.
const PRICED: &str = "[[route]]\npath = \"/paid\"\nprice = \"0.0001 USD\"\n";

/// Measures the rows.
pub fn run(setting: &Setting, found: &mut dyn FnMut(Finding)) -> Result<()> {
    let mut load = Load::new()?;
    let upstream = load.listen()?;
    let server = gateway(setting, upstream, &format!("{}{PRICED}", proxy::FREE))?;
    let key = Ed25519Key::from_seed(&PAYER_SEED);
    fund(setting, &server, &key)?;
    let payer = Pay::By(Box::new(payer(key, &server, "/paid")?));
    load.connect(server.address())?;
    let load = std::cell::RefCell::new(load);
    let free = vec![load::get("/free/reading", &[]); CALLS];
    let mut sides: [Side<'_>; 2] = [
        Box::new(|| calls(&server, &mut load.borrow_mut(), &payer)),
        Box::new(|| {
            let before = server.cpu()?;
            load.borrow_mut()
                .run(&free, Expected { status: 200 }, &mut |_| Ok(()))?;
            Ok((server.cpu()? - before) / CALLS as f64 / 1e3)
        }),
    ];
    let medians = interleave(setting.rounds, &mut sides)?;
    found(Finding {
        name: ROWS[0].to_owned(),
        unit: "us CPU of the gateway per call",
        value: medians[0],
        baseline: Some(medians[1]),
    });
    let mut alone: [Side<'_>; 1] = [Box::new(|| alone(&mut load.borrow_mut(), &payer))];
    let medians = interleave(setting.rounds, &mut alone)?;
    found(Finding {
        name: ROWS[1].to_owned(),
        unit: "ms from the first request to the paid answer",
        value: medians[0],
        baseline: None,
    });
    Ok(())
}

/// So many calls at once: the gateway's CPU time for each, microseconds. Signing is the payer's.
fn calls(server: &Server, load: &mut Load, payer: &Pay) -> Result<f64> {
    let unpaid = vec![load::get("/paid", &[]); CALLS];
    let mut challenges = Vec::with_capacity(CALLS);
    let before = server.cpu()?;
    load.run(&unpaid, Expected { status: 402 }, &mut |answer| {
        challenges.push(challenge_of(answer)?);
        Ok(())
    })?;
    let asked = server.cpu()? - before;
    let mut paid = Vec::with_capacity(CALLS);
    for challenge in challenges {
        let credential = credential(challenge, payer)?;
        paid.push(load::get("/paid", &[("authorization", &credential)]));
    }
    let before = server.cpu()?;
    load.run(&paid, Expected { status: 200 }, &mut |_| Ok(()))?;
    let served = server.cpu()? - before;
    Ok((asked + served) / CALLS as f64 / 1e3)
}

/// One call with nothing else to do: wall time, milliseconds.
fn alone(load: &mut Load, payer: &Pay) -> Result<f64> {
    let start = wall()?;
    let mut found = None;
    load.run(
        &[load::get("/paid", &[])],
        Expected { status: 402 },
        &mut |answer| {
            found = Some(challenge_of(answer)?);
            Ok(())
        },
    )?;
    let credential = credential(found.context("no challenge")?, payer)?;
    let paid = [load::get("/paid", &[("authorization", &credential)])];
    load.run(&paid, Expected { status: 200 }, &mut |_| Ok(()))?;
    Ok((wall()? - start) / 1e6)
}

fn fund(setting: &Setting, server: &Server, key: &Ed25519Key) -> Result<()> {
    let stiver = setting.stiver.as_deref().context("no `stiver` was named")?;
    let file = server
        .folder()
        .context("a gateway without a folder")?
        .join("stiver.toml");
    let issued = Command::new(stiver)
        .args(["ledger", "issue"])
        .arg(key.did().to_string())
        .args(["1000000 USD", "--config"])
        .arg(file)
        .stdout(Stdio::null())
        .status()
        .context("starting `stiver ledger issue`")?;
    ensure!(
        issued.success(),
        "`stiver ledger issue` ended with {issued}"
    );
    Ok(())
}
