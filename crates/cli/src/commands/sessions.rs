//! `stiver sessions`: the deposits that a wallet has with payees.

use std::sync::Arc;

use anyhow::anyhow;
use serde_json::{Value, json};
use stiver_client::{
    CallError, MoneyMoved, Parts, PayingClient, PaymentClient, SessionFailure,
    policy::{self, Decision},
    session::{Session, SessionId, SessionLimits, SessionState},
};
use stiver_core::{Timestamp, untrusted::Untrusted};
use stiver_env::Env;
use stiver_wallet::Wallet;

use crate::{
    args::{Sessions, WalletChoice},
    commands::get::Connect,
    failure::{Advice, Again, Failure, FailureKind, UsageContext},
    output::{DIM, Output},
    payer::{bound_account, open_wallet, session_parts},
};

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
            close(&args.wallet, ids, env, output).await
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

/// A client that closes and recovers, and opens nothing.
async fn client(choice: &WalletChoice, env: &Env) -> Result<(Wallet, PayingClient), Failure> {
    let (home, wallet) = open_wallet(choice, env)?;
    let account = bound_account(&wallet)?;
    let currency = account.currencies.first();
    let currency = currency.ok_or_else(|| Failure::usage("its ledger has no currencies"))?;
    let limits = SessionLimits::new(currency.zero());
    let connect = Connect::default();
    let parts = session_parts(&wallet, &account, &connect, limits, env).await?;
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
    Ok((wallet, client))
}

async fn close(
    choice: &WalletChoice,
    named: Vec<SessionId>,
    env: &Env,
    output: Output,
) -> Result<(), Failure> {
    let (_, client) = client(choice, env).await?;
    let payments = client.payments();
    let ids = match named.is_empty() {
        false => named,
        true => {
            let mut open = payments.sessions().await.map_err(failure)?;
            open.retain(|session| !session.state.is_final());
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
    let (_, client) = client(choice, env).await?;
    let payments = client.payments();
    let mut told = Vec::new();
    let mut left = Vec::new();
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
