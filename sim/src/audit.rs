//! What must hold at the end of every run. The books are opened from the disks as an auditor would:
//! no process of the run is alive any more.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use stiver_client::{
    MoneyMoved,
    outbox::{Entry, HistoryFilter, State, history},
    session::session_history,
};
use stiver_core::Timestamp;
use stiver_env::Env;
use stiver_ledger::{
    Ledger,
    id::AccountId,
    view::{StatementRequest, Transfer, TransferKind},
};
use stiver_store::{ChannelStore as _, EmbeddedStore, Limits};

use crate::{
    api::Deeds,
    buyer::{self, Got, Told},
    plan::Purchase,
    shop::{self, About, EVENT, ORDER, PURSE, READING, TICK, WINDOW},
};

/// What was seen of a run.
pub struct Evidence {
    /// Nothing was open any more at the end.
    pub ended: bool,
    /// What the buyer was told.
    pub told: Vec<Told>,
    /// What the API did.
    pub deeds: Deeds,
    /// Bytes over each connection to the gateway: asked and answered.
    pub lengths: Vec<[u64; 2]>,
    /// Polls of tasks.
    pub steps: u64,
    /// How long it lasted, in simulated time.
    pub lasted: Duration,
}

/// What a run came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Calls that were charged.
    pub paid: u64,
    /// Of these: given back.
    pub refunded: u64,
    /// Taken from channels, base units.
    pub captured: u128,
    /// Channels.
    pub channels: u64,
    /// What attempts to buy came to, and how often: `goods`, `no-goods` for an answer that is no
    /// success or breaks off, or the code of an error.
    pub attempts: BTreeMap<&'static str, u64>,
    /// Bytes over each connection to the gateway: asked and answered.
    pub lengths: Vec<[u64; 2]>,
    /// Polls of tasks.
    pub steps: u64,
    /// How long it lasted, in simulated time.
    pub lasted: Duration,
    /// The hash of the ledger's last log frame: the same for every run of one plan.
    pub chain: [u8; 32],
}

/// Audits a run.
///
/// # Errors
///
/// What does not hold.
pub async fn audit(shop: &Env, buyer: &Env, about: &About, seen: Evidence) -> Result<Report> {
    let entries = history(Path::new(buyer::OUTBOX), buyer, &HistoryFilter::default())
        .context("the buyer's journal")?;
    let sessions =
        session_history(Path::new(buyer::SESSIONS), buyer).context("the journal of channels")?;
    let config = shop::config(shop)?;
    let ledger = Ledger::open_existing(&config.ledger_dir(), shop)
        .await
        .context("the ledger does not open")?;
    let checked = ledger.check().await.context("the ledger is not sound")?;
    ensure!(
        seen.ended,
        "something is still open: {entries:?} {sessions:?}"
    );
    ensure!(
        checked.books.open_holds == 0,
        "{} holds are stuck",
        checked.books.open_holds
    );
    let moved = movements(&ledger, about).await?;
    conserved(&ledger, about).await?;
    let mut report = charges(&entries, &moved, &seen)?;
    report.captured = channels(&moved, &sessions, &seen)?;
    books_agree(shop, &config.store_dir(), report.captured).await?;
    report.channels = u64::try_from(sessions.len()).unwrap_or(u64::MAX);
    report.lengths = seen.lengths;
    report.steps = seen.steps;
    report.lasted = seen.lasted;
    report.chain = checked.chain;
    ledger.close().await?;
    Ok(report)
}

/// Every movement of the shop's account.
async fn movements(ledger: &Ledger, about: &About) -> Result<Vec<Transfer>> {
    let mut all = Vec::new();
    let mut before = None;
    loop {
        let request = StatementRequest {
            account: about.payee,
            from: Timestamp::from_millis(0),
            to: Timestamp::from_millis(u64::MAX >> 16),
            before,
            limit: 100,
        };
        let page = ledger.full_statement(request).await?;
        all.extend(page.transfers);
        match page.next {
            Some(next) => before = Some(next),
            None => return Ok(all),
        }
    }
}

/// What the buyer and the shop have is what the buyer began with.
async fn conserved(ledger: &Ledger, about: &About) -> Result<()> {
    let payer = AccountId::of_first_key(&buyer::key().did());
    let mut sum = 0;
    for account in [payer, about.payee] {
        let account = ledger.account(account).await?.context("an account")?;
        let balance = account.balance(about.currency.code());
        sum += balance.map_or(0, |it| it.available().units());
    }
    ensure!(sum == PURSE, "{sum} base units are left of {PURSE}");
    Ok(())
}

/// The path of a call.
fn path(entry: &Entry) -> &str {
    let url = entry.resource.url.as_str();
    let after = url.split("//").nth(1).unwrap_or(url);
    after.find('/').map_or("", |at| &after[at..])
}

/// Charges: at most one movement for each call, of which the buyer's journal knows; none for what
/// it was told that none would be; the API did an order once at most.
fn charges(entries: &[Entry], moved: &[Transfer], seen: &Evidence) -> Result<Report> {
    let mut report = Report::default();
    let paid: BTreeMap<&str, &Entry> = entries
        .iter()
        .filter(|entry| entry.money_moved() == MoneyMoved::Yes)
        .map(|entry| (path(entry), entry))
        .collect();
    report.paid = u64::try_from(paid.len()).unwrap_or(u64::MAX);
    for entry in entries {
        ensure!(entry.state.is_final(), "{} is {}", path(entry), entry.state);
    }
    let given_back: BTreeSet<_> = moved.iter().filter_map(|it| it.refund_of).collect();
    let refunds = moved.iter().filter(|it| it.kind == TransferKind::Refund);
    report.refunded = u64::try_from(refunds.count()).unwrap_or(u64::MAX);
    ensure!(
        u64::try_from(given_back.len()).unwrap_or(u64::MAX) == report.refunded,
        "one payment was given back twice"
    );
    each_once(&paid, moved)?;
    told(&paid, seen, &mut report)?;
    for (path, runs) in &seen.deeds.runs {
        let once = path.starts_with("/order/");
        ensure!(!once || *runs <= 1, "the API did {path} {runs} times");
    }
    Ok(report)
}

/// What the buyer was told is true.
fn told(paid: &BTreeMap<&str, &Entry>, seen: &Evidence, report: &mut Report) -> Result<()> {
    for told in &seen.told {
        let path = told.path.as_str();
        let charged = matches!(told.purchase, Purchase::Reading | Purchase::Order);
        let word = match &told.got {
            Got::Goods { .. } => "goods",
            Got::Other { .. } => "no-goods",
            Got::Failed { code, .. } => code,
        };
        *report.attempts.entry(word).or_insert(0) += 1;
        match &told.got {
            Got::Goods { .. } if charged => {
                ensure!(paid.contains_key(path), "{path} was delivered for nothing");
                let ran = seen.deeds.runs.get(path);
                ensure!(ran.is_some(), "{path} was delivered from nowhere");
            }
            Got::Failed { moved, why, .. } if charged && *moved == MoneyMoved::No => {
                let is = paid.contains_key(path);
                ensure!(!is, "{path} was paid for, though: {why}");
            }
            _ => {}
        }
    }
    Ok(())
}

/// Each call that the buyer knows it has paid for moved money once, at its price, and no other
/// movement was made; and what was paid for came, or the money went back.
fn each_once(paid: &BTreeMap<&str, &Entry>, moved: &[Transfer]) -> Result<()> {
    let charged = moved.iter().filter(|it| it.kind == TransferKind::Transfer);
    let charged: BTreeMap<Option<&str>, &Transfer> =
        charged.map(|it| (it.challenge.as_deref(), it)).collect();
    let movements = moved.iter().filter(|it| it.kind == TransferKind::Transfer);
    ensure!(
        movements.count() == paid.len(),
        "{} calls are paid for, the ledger has other movements: {moved:?}",
        paid.len()
    );
    for (path, entry) in paid {
        let transfer = charged.get(&Some(entry.terms.challenge_id.as_str()));
        let transfer =
            transfer.with_context(|| format!("{path} is paid for, and nothing moved"))?;
        let price = match path.starts_with("/order/") {
            true => ORDER,
            false => READING,
        };
        ensure!(
            transfer.amount.units() == price,
            "{path} cost {}",
            transfer.amount
        );
        let came = entry.state == State::Paid;
        ensure!(
            came || transfer.refunded.units() == price,
            "{path} was charged, did not come, and was not given back: {entry:?}"
        );
    }
    Ok(())
}

/// Channels: what was taken was signed and served; what was served was taken, but for a window.
/// Gives what was taken in all.
fn channels(
    moved: &[Transfer],
    sessions: &[stiver_client::session::Session],
    seen: &Evidence,
) -> Result<u128> {
    let posts = moved.iter().filter(|it| it.kind == TransferKind::Post);
    let captured: u128 = posts.map(|it| it.amount.units()).sum();
    let known: u128 = sessions.iter().filter_map(|it| it.captured).sum();
    ensure!(
        captured == known,
        "{captured} were taken from channels, {known} are known to the buyer"
    );
    for session in sessions {
        let taken = session.captured.unwrap_or(0);
        ensure!(
            taken <= session.signed,
            "more was taken than signed: {session:?}"
        );
        // What was agreed falls again when the payee charges less than was measured: by a window.
        let bounds = session.bounds;
        ensure!(
            session.signed <= session.agreed + 2 * bounds.window + bounds.grain,
            "more was signed than the buyer's window allows: {session:?}"
        );
    }
    let ran = |prefix: &str| {
        let paths = seen.deeds.runs.keys();
        let count = paths.filter(|path| path.starts_with(prefix)).count();
        u128::try_from(count).unwrap_or(u128::MAX)
    };
    let sent: u64 = seen.deeds.events.values().sum();
    let served_most = TICK * ran("/tick/") + EVENT * u128::from(sent);
    ensure!(
        captured <= served_most,
        "{captured} were taken for at most {served_most} served"
    );
    let mut got = 0;
    let mut streams = 0;
    for told in &seen.told {
        let events = match &told.got {
            Got::Goods { events } | Got::Other { events, .. } => u128::from(*events),
            Got::Failed { .. } => 0,
        };
        match told.purchase {
            Purchase::Tick if matches!(told.got, Got::Goods { .. }) => got += TICK,
            Purchase::Stream { .. } => {
                streams += 1;
                got += EVENT * events;
            }
            _ => {}
        }
    }
    let window = WINDOW * streams;
    ensure!(
        got <= captured + window,
        "{got} came, {captured} were paid, and the windows are {window}"
    );
    Ok(captured)
}

/// The gate's books say of channels what the ledger says.
async fn books_agree(env: &Env, folder: &Path, captured: u128) -> Result<()> {
    let config = EmbeddedStore::config(folder);
    let store = EmbeddedStore::open(config, env, Limits::default());
    let store = store.await.context("the store does not open")?;
    let channels = store.channels();
    let mut ids = Vec::new();
    channels.select(&|_| true, &mut |id| ids.push(id));
    let mut sum = 0;
    for id in ids {
        let channel = channels.channel(&id).context("a channel")?;
        let figures = channel.figures();
        ensure!(
            figures.settled <= figures.spent,
            "channel {id}: {} settled, {} spent",
            figures.settled,
            figures.spent
        );
        sum += figures.settled;
    }
    ensure!(
        sum == captured,
        "the gate knows of {sum} taken from channels, the ledger of {captured}"
    );
    store.close().await?;
    Ok(())
}
