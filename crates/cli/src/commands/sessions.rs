//! `stiver sessions`: the deposits that a wallet has with payees.

use std::{sync::Arc, time::Duration};

use anyhow::anyhow;
use serde_json::{Value, json};
use stiver_client::{
    CallError, LostChannel, MoneyMoved, Parts, PayingClient, PaymentClient, SessionFailure,
    policy::{self, Decision},
    session::{
        ChannelRecord, Session, SessionId, SessionLimits, SessionParts, SessionState, SessionTerms,
    },
};
use stiver_core::{Currency, Timestamp, amount::parse_base_units, untrusted::Untrusted};
use stiver_env::Env;
use stiver_method::session::PayerSession as _;
use stiver_method_ledger::{
    LedgerSessionPayer,
    query::{Answer, AskError, ChannelAnswer, Question, RemoteLedger},
};

use crate::{
    args::{Sessions, WalletChoice},
    commands::get::Connect,
    failure::{Advice, Again, Failure, FailureKind, UsageContext},
    output::{DIM, Output},
    payer::{bound_account, ledger_session_payer, open_wallet, remote_ledger},
};

/// Channels that the ledger is asked for at once.
const CHANNELS_AT_ONCE: u32 = 50;

/// Runs one of the commands.
pub(crate) async fn run(command: Sessions, env: &Env, output: Output) -> Result<(), Failure> {
    match command {
        Sessions::List(args) => {
            let (_, wallet) = open_wallet(&args.wallet, env)?;
            let mut sessions = wallet.session_history()?;
            sessions.retain(|session| args.all || !session.state.is_final());
            show(&sessions, output)
        }
        Sessions::Close(args) => {
            let ids = ids(&args.sessions)?;
            let idle = args.idle.as_deref().map(span).transpose()?;
            close(&args.wallet, (ids, idle), env, output).await
        }
        Sessions::Recover(args) => {
            let force = ids(&args.force)?;
            recover(&args.wallet, force, env, output).await
        }
    }
}

fn ids(texts: &[String]) -> Result<Vec<SessionId>, Failure> {
    let ids = texts.iter().map(|text| text.parse().usage(text.clone()));
    ids.collect()
}

/// A time span as it is typed: `90s`, `10m`, `2h`, `1d`.
fn span(text: &str) -> Result<Duration, Failure> {
    let wrong = || Failure::usage(format!("--idle {text:?}: such as 90s, 10m, 2h or 1d"));
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let number = text.strip_suffix(unit).ok_or_else(wrong)?;
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let seconds = match unit {
        's' => Some(number),
        'm' => number.checked_mul(60),
        'h' => number.checked_mul(3_600),
        'd' => number.checked_mul(86_400),
        _ => None,
    };
    seconds.map(Duration::from_secs).ok_or_else(wrong)
}

/// Asks the ledger which channels this wallet's account has open, and takes those into the journal
/// that it does not know.
async fn find_lost(
    payments: &PaymentClient,
    payer: &LedgerSessionPayer,
    ledger: &RemoteLedger,
) -> Result<(), Failure> {
    let network = |error: AskError| Failure::new(FailureKind::Network, error);
    let mut after = None;
    loop {
        let question = Question::Channels {
            after,
            limit: CHANNELS_AT_ONCE,
        };
        let answer = match ledger.ask(question).await {
            Err(error) if error.is_no_account() => return Ok(()),
            answer => answer.map_err(network)?,
        };
        let Answer::Channels { channels, next } = answer else {
            return Err(anyhow!("the ledger answered something else than it was asked").into());
        };
        for told in &channels {
            let lost = lost_channel(payer, ledger, told)?;
            payments.adopt_lost(lost).await.map_err(failure)?;
        }
        after = match next {
            Some(next) => Some(next.parse()?),
            None => return Ok(()),
        };
    }
}

fn lost_channel(
    payer: &LedgerSessionPayer,
    ledger: &RemoteLedger,
    told: &ChannelAnswer,
) -> Result<LostChannel, Failure> {
    let record = payer.stranded(ledger.ledger, told)?;
    let at = told.withdrawable_at.as_deref();
    let at = at.map(Timestamp::parse_rfc3339).transpose()?;
    Ok(LostChannel {
        terms: SessionTerms {
            origin: String::new(),
            realm: String::new(),
            method: payer.name().to_string(),
            network: format!("ledger {}", ledger.ledger),
            payee: told.payee.clone(),
            currency: Currency::new(&told.currency, told.decimals)?,
        },
        channel: told.channel_id.clone(),
        deposit: parse_base_units(&told.deposit, 128)?,
        withdrawable_at: at,
        record: ChannelRecord(record),
    })
}

/// What closes and recovers.
struct Purse {
    client: PayingClient,
    payer: Arc<LedgerSessionPayer>,
    ledger: Option<RemoteLedger>,
}

/// A client that closes and recovers, and opens nothing.
async fn client(choice: &WalletChoice, env: &Env) -> Result<Purse, Failure> {
    let (home, wallet) = open_wallet(choice, env)?;
    let account = bound_account(&wallet)?;
    let currency = account.currencies.first();
    let currency = currency.ok_or_else(|| Failure::usage("its ledger has no currencies"))?;
    let limits = SessionLimits::new(currency.zero());
    let connect = Connect::default();
    let payer = Arc::new(ledger_session_payer(&wallet, &account, &connect, env)?);
    let ledger = match &account.query_url {
        Some(_) => Some(remote_ledger(&wallet, &account, &connect, env)?),
        None => None,
    };
    let parts = SessionParts {
        payers: vec![payer.clone()],
        journal: Arc::new(wallet.sessions().await?),
        limits,
    };
    let nothing = policy::from_fn(|_| Decision::Refuse("nothing is paid here".to_owned()));
    let payments = PaymentClient::new(Parts {
        env: env.clone(),
        payers: Vec::new(),
        policy: Arc::new(nothing),
        outbox: Arc::new(wallet.outbox().await?),
        pins: Arc::new(home.pins()?),
        options: stiver_client::Options::default(),
    });
    let client = PayingClient::new(payments.with_sessions(parts))?;
    Ok(Purse {
        client,
        payer,
        ledger,
    })
}

async fn close(
    choice: &WalletChoice,
    (named, idle): (Vec<SessionId>, Option<Duration>),
    env: &Env,
    output: Output,
) -> Result<(), Failure> {
    let client = client(choice, env).await?.client;
    let payments = client.payments();
    let ids = match named.is_empty() {
        false => named,
        true => {
            let mut open = payments.sessions().await.map_err(failure)?;
            let since = |session: &Session| {
                let now = env.clock.now().as_millis();
                Duration::from_millis(now.saturating_sub(session.changed_at.as_millis()))
            };
            open.retain(|session| !session.state.is_final());
            open.retain(|session| idle.is_none_or(|idle| since(session) >= idle));
            open.iter().map(|session| session.id).collect()
        }
    };
    let exchange = client.exchange();
    let mut closed = Vec::new();
    let mut left = Vec::new();
    for id in ids {
        match payments.close_session(id, &exchange).await {
            Ok(session) => closed.push(session),
            Err(error) => left.push((id, error)),
        }
    }
    // Wipes what it no longer needs; when it fails, the next run does it.
    let _ = payments.close().await;
    report(&closed, left, output)
}

async fn recover(
    choice: &WalletChoice,
    force: Vec<SessionId>,
    env: &Env,
    output: Output,
) -> Result<(), Failure> {
    let Purse {
        client,
        payer,
        ledger,
    } = client(choice, env).await?;
    let payments = client.payments();
    let mut told = Vec::new();
    let mut left = Vec::new();
    if let Some(ledger) = &ledger
        && let Err(failure) = find_lost(payments, &payer, ledger).await
    {
        let note = format!(
            "the ledger could not be asked for sessions that this wallet does not know: {:#}",
            failure.error
        );
        output.tell(&note, &json!({"note": note}))?;
    }
    for id in force {
        match payments.force_close(id).await {
            Ok(session) => told.push(session),
            Err(error) => left.push((id, error)),
        }
    }
    for (session, error) in payments.recover_sessions().await.map_err(failure)? {
        if let Some(error) = error {
            left.push((session.id, error));
        }
        told.retain(|known| known.id != session.id);
        told.push(session);
    }
    let _ = payments.close().await;
    report(&told, left, output)
}

/// Shows what became of each, and fails with the first that failed.
fn report(
    done: &[Session],
    left: Vec<(SessionId, CallError)>,
    output: Output,
) -> Result<(), Failure> {
    show(done, output)?;
    let mut left = left.into_iter();
    let Some((_, first)) = left.next() else {
        return Ok(());
    };
    for (_, error) in left {
        output.note(&error.to_string())?;
    }
    Err(failure(first))
}

/// The failure that an error about a session is.
pub(crate) fn failure(error: CallError) -> Failure {
    let moved = error.money_moved();
    let (kind, next) = match &error {
        CallError::Session { failure, .. } => advice(failure),
        _ => (FailureKind::Other, String::new()),
    };
    let kind = match moved {
        MoneyMoved::No => kind,
        MoneyMoved::Maybe | MoneyMoved::Yes => FailureKind::Unknown,
    };
    Failure::new(kind, anyhow!(error)).with(Advice {
        moved,
        again: Again::No,
        next,
    })
}

/// The kind of a failure when no money moved, and what to do next.
pub(crate) fn advice(failure: &SessionFailure) -> (FailureKind, String) {
    use FailureKind as Kind;
    let (kind, next) = match failure {
        SessionFailure::OverLimit(over) => (
            Kind::TooExpensive,
            match over {
                stiver_client::session::OverLimit::Request { .. } => {
                    "allow it with a higher --max-amount"
                }
                stiver_client::session::OverLimit::Price { .. } => {
                    "pay elsewhere, or allow a higher price"
                }
                _ => {
                    "allow it with a higher --max-session, or close the session first: `stiver \
                     sessions close`"
                }
            },
        ),
        SessionFailure::Declined(_) => (
            Kind::TooExpensive,
            "allow the deposit with --max-session AMOUNT, or say yes on a terminal",
        ),
        SessionFailure::Claims { .. } => (
            Kind::Payment,
            "nothing more is signed: close it with `stiver sessions close`, or allow a wider \
             --sign-ahead if you trust the payee",
        ),
        SessionFailure::Unknown(_) => (
            Kind::Network,
            "what was agreed for it stays counted, and is used by the next request when the \
             payee did not charge it: see `stiver sessions list`",
        ),
        SessionFailure::Rail(_) => (
            Kind::Network,
            "run `stiver sessions recover` when the ledger can be reached",
        ),
        SessionFailure::Refused(_) => (
            Kind::Refused,
            "the payee's words say why; `stiver sessions recover --force SESSION` closes a \
             session without it",
        ),
        SessionFailure::Behind { .. } => (
            Kind::Payment,
            "nothing is signed for it any more: close it with `stiver sessions close`. Was the \
             wallet's folder copied, or restored from a backup?",
        ),
        SessionFailure::NotDelivered { charged: true } => (
            Kind::Refused,
            "the answer is lost: the same command asks for it anew, and pays again",
        ),
        SessionFailure::NotDelivered { charged: false } => (
            Kind::Refused,
            "give no Idempotency-Key of an earlier request, or ask again later",
        ),
        SessionFailure::NotOpen => (Kind::Usage, "see `stiver sessions list --all`"),
        SessionFailure::NoPayer(_) => (Kind::Usage, "join its ledger with this wallet"),
        SessionFailure::TooEarly { .. } => (Kind::Payment, "recover once more after that"),
        SessionFailure::RailRefused(_) | SessionFailure::Pay(_) => {
            (Kind::Payment, "see to the reason that it gives")
        }
        _ => (Kind::Other, "see `stiver sessions list --all`"),
    };
    (kind, next.to_owned())
}

fn show(sessions: &[Session], output: Output) -> Result<(), Failure> {
    let rows: Vec<Value> = sessions.iter().map(row).collect();
    output.object(&json!({"ok": true, "sessions": rows}))?;
    for session in sessions {
        let figures = match session.state {
            SessionState::Closed | SessionState::Withdrawn => format!(
                "{} taken of {}",
                session.amount(session.captured.unwrap_or(session.signed)),
                session.amount(session.deposit)
            ),
            _ => format!(
                "{} signed of {}",
                session.amount(session.signed),
                session.amount(session.deposit.saturating_add(session.asked))
            ),
        };
        output.line(&format!(
            "{}  {:<11}  {figures}  {} requests  {} to {}{}",
            output.paint(DIM, &session.id.to_string()),
            session.state.as_str(),
            session.requests,
            session.terms.origin,
            Untrusted(&session.terms.payee),
            waiting(session),
        ))?;
        if let Some(note) = &session.note {
            output.line(&format!("  {}", Untrusted(note)))?;
        }
    }
    if sessions.is_empty() {
        output.line("no sessions")?;
    }
    Ok(())
}

fn waiting(session: &Session) -> String {
    match (session.state, session.withdrawable_at) {
        (SessionState::Forced, Some(at)) => {
            format!(", the rest can be taken back from {} on", at.to_rfc3339())
        }
        _ => String::new(),
    }
}

/// One session in JSON.
pub(crate) fn row(session: &Session) -> Value {
    json!({
        "session": session.id.to_string(),
        "state": session.state.as_str(),
        "begunAt": session.begun_at.to_rfc3339(),
        "changedAt": session.changed_at.to_rfc3339(),
        "origin": session.terms.origin,
        "realm": session.terms.realm,
        "url": session.url,
        "method": session.terms.method,
        "network": session.terms.network,
        "payee": session.terms.payee,
        "channel": session.channel,
        "currency": session.terms.currency.code(),
        "decimals": session.terms.currency.decimals(),
        "deposit": session.deposit.to_string(),
        "pending": session.asked.to_string(),
        "signed": session.signed.to_string(),
        "agreed": session.agreed.to_string(),
        "accepted": session.accepted.to_string(),
        "spent": session.spent.to_string(),
        "exposure": session.exposure().to_string(),
        "captured": session.captured.map(|units| units.to_string()),
        "display": session.amount(session.signed).to_string(),
        "inFlight": session.in_flight.len(),
        "step": session.bounds.grain.to_string(),
        "requests": session.requests,
        "vouchers": session.vouchers,
        "withdrawableAt": session.withdrawable_at.map(Timestamp::to_rfc3339),
        "note": session.note,
    })
}
