//! `stiver get`: fetch a URL, and pay for it when it asks.

mod connect;
mod consent;
mod decode;
mod multipart;
mod offers;
mod outcome;
mod request;
mod session;
mod show;
mod socket;
mod source;
mod target;
mod watch;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::anyhow;
use bytes::Bytes;
use http::Request;
use reqwest::Response;
use serde_json::json;
use stiver_client::{
    Answer, CallError, CallId, HttpExchange, MoneyMoved, Origin, Parts, PayingClient,
    PaymentClient,
    outbox::{Entry, HistoryFilter, MemoryOutbox, OutboxError},
    pins::MemoryPins,
    session::{SessionId, SessionLimits, VoucherKind},
};
use stiver_core::{Amount, Currency, name::MethodName};
use stiver_env::Env;
use stiver_method::payer::Payer;
use stiver_wallet::{Account, Home, Wallet, WalletError};

pub(crate) use self::connect::Connect;
use self::{
    consent::{Consent, State, Unlimited},
    outcome::{PurseState, Scene, Typed},
    show::Show,
    target::Target,
    watch::Watch,
};
use crate::{
    args::get::{Get, Voucher},
    failure::{Advice, Again, Failure, FailureKind, UsageContext},
    output::Output,
    payer::{amount_of, ledger_payer, open_wallet, remote_ledger, session_parts},
    words::quoted,
};

/// Decimals that a limit is read with while no ledger tells: the most that are usual.
const DECIMALS_UNKNOWN: u8 = 18;

/// Fetches.
pub(crate) async fn run(args: &Get, env: &Env, output: Output) -> Result<(), Failure> {
    let result = fetch(args, env, output).await;
    result.map_err(|failure| match failure.kind {
        FailureKind::Usage if failure.advice.is_none() => failure.with(Advice {
            moved: MoneyMoved::No,
            again: Again::No,
            next: String::new(),
        }),
        _ => failure,
    })
}

async fn fetch(args: &Get, env: &Env, output: Output) -> Result<(), Failure> {
    // What is wrong with the command line is found before anything is sent or written.
    socket::check(args)?;
    let purse = Purse::open(args, env)?;
    let limit = purse.limit(args)?;
    let connect = Connect::read(args, env)?;
    let asked = Asked::read(args, &purse, env)?;
    let payers = purse.payers(args, &connect, env)?;
    let target = Target::of(args)?;
    let session = purse.session_limits(args, limit.as_ref())?;
    let consent = Arc::new(Consent {
        limit,
        session_limit: session.as_ref().and_then(|(_, limit)| limit.clone()),
        unlimited: Unlimited::new(args.payment.yes, output.is_json()),
        dry_run: args.payment.dry_run,
        accept_change: args.payment.accept_change,
        ledger: purse.ledger(&connect, env)?,
        state: Mutex::new(State::default()),
    });
    let parts = purse.parts(args, payers, &consent, env).await?;
    let meter = Arc::new(session::Meter::new(args, output));
    let mut payments =
        PaymentClient::with_events(parts, vec![Arc::<session::Meter>::clone(&meter)]);
    if let (Some((limits, _)), Purse::Ready(ready)) = (session, &purse) {
        let (_, wallet, account) = ready.as_ref();
        let parts = session_parts(wallet, account, &connect, limits, env).await?;
        payments = payments.with_sessions(parts);
    }
    let client = PayingClient::from_builder(payments, || connect.builder())?;
    let insecure = args.connection.insecure && !args.connection.dangerous_insecure;
    let verbose = args.output.verbose;
    let resumed = asked.resumed();
    let job = Job {
        watch: Watch::new(client.exchange(), env, verbose, insecure),
        show: Show {
            args,
            method: asked.method(),
            target,
            output,
            meter: &meter,
        },
        client: &client,
        consent: &consent,
        purse: &purse,
    };
    let result = match args.connection.max_time {
        None => job.run(asked).await,
        Some(seconds) => {
            let limit = Duration::from_secs(seconds);
            match tokio::time::timeout(limit, job.run(asked)).await {
                Ok(result) => result,
                Err(_) => {
                    // The policy is not asked about a call that is resumed.
                    let call = resumed.or_else(|| consent.allowed());
                    Err(out_of_time(seconds, call, purse.entry(call)))
                }
            }
        }
    };
    // After the body was read, which ends the call. Wipes what it no longer needs; when it fails,
    // the next run does it.
    let _ = client.payments().close().await;
    result
}

/// A fetch with everything it needs.
struct Job<'a> {
    show: Show<'a>,
    watch: Watch,
    client: &'a PayingClient,
    consent: &'a Consent,
    purse: &'a Purse,
}

impl Job<'_> {
    async fn run(mut self, asked: Asked) -> Result<(), Failure> {
        let payments = self.client.payments();
        if let (Asked::Call(_), Some(url)) = (&asked, &self.show.args.url)
            && socket::is_socket(url)
            && let Asked::Call(request) = asked
        {
            return Box::pin(self.socket(*request)).await;
        }
        let result = match asked {
            Asked::Resume(call) => payments.resume(call, &mut self.watch).await,
            Asked::Call(request) => payments.call(*request, &mut self.watch).await,
        };
        match result {
            Ok(answer) => self.shown(answer).await,
            Err(
                CallError::Declined { .. }
                | CallError::NotPayable { .. }
                | CallError::Session { .. },
            ) if self.consent.dry_run => self.dry_run(),
            Err(error) => Err(outcome::failure(error, &self.scene())),
        }
    }

    async fn shown(self, answer: Answer<Response>) -> Result<(), Failure> {
        let session = answer
            .payment
            .as_ref()
            .and_then(|paid| paid.session.as_ref());
        let session = session.map(|session| session.id);
        let (client, exchange) = (self.client, self.watch.exchange().clone());
        let (close, output) = (self.show.args.payment.close, self.show.output);
        let shown = self.show.answer(answer).await;
        if let (Some(id), true) = (session, close) {
            let closed = close_session(client, id, &exchange, output).await;
            shown?;
            return closed;
        }
        shown
    }

    /// Closes the session that was used, where that was asked for.
    async fn close_after(&self, session: Option<SessionId>) -> Result<(), Failure> {
        match session.filter(|_| self.show.args.payment.close) {
            Some(id) => {
                let exchange = self.watch.exchange().clone();
                close_session(self.client, id, &exchange, self.show.output).await
            }
            None => Ok(()),
        }
    }

    fn scene(&self) -> Scene<'_> {
        let args = self.show.args;
        let seen = self.consent.seen();
        Scene {
            command: command(args, std::env::args()),
            verdicts: seen.into_iter().map(|seen| seen.verdict).collect(),
            challenges: self.watch.offers(),
            wallet: &args.wallet.wallet,
            purse: self.purse.state(),
            origin: args.url.as_deref().and_then(origin_of),
        }
    }

    /// Says what would be paid.
    fn dry_run(&self) -> Result<(), Failure> {
        let seen = self.consent.seen();
        let output = self.show.output;
        let reason = match self.purse.state() {
            PurseState::Missing => "there is no wallet",
            PurseState::Unbound => "the wallet has joined no ledger",
            PurseState::Ready => "this wallet has no account for it",
        };
        for seen in &seen {
            let text = |key: &str| seen.view.get(key).and_then(|value| value.as_str());
            let text = |key: &str| text(key).unwrap_or("-").to_owned();
            let why_not = seen.verdict.hinders();
            let verb = match text("intent").as_str() {
                consent::SESSION => "set aside",
                _ => "pay",
            };
            output.line(&format!(
                "would {}{verb} {} to {} on {} for {}{}",
                if why_not.is_some() { "not " } else { "" },
                text("display"),
                text("payee"),
                text("network"),
                text("url"),
                why_not.map(|why| format!(": {why}")).unwrap_or_default()
            ))?;
        }
        let challenges = self.watch.offers();
        if seen.is_empty() {
            let offers = offers::in_words(challenges);
            output.line(&format!("could not pay {offers}: {reason}"))?;
        }
        let would_pay = seen.iter().any(|seen| seen.verdict.hinders().is_none());
        output.object(&json!({
            "ok": true,
            "dryRun": true,
            "wouldPay": would_pay,
            "offers": offers::in_json(&seen, challenges, reason),
        }))?;
        Err(Failure::new(FailureKind::DryRun, anyhow!("dry run")))
    }
}

/// Closes a session, and says what was taken.
async fn close_session(
    client: &PayingClient,
    id: SessionId,
    exchange: &HttpExchange,
    output: Output,
) -> Result<(), Failure> {
    let closed = client.payments().close_session(id, exchange).await;
    let closed = closed.map_err(crate::commands::sessions::failure)?;
    let taken = closed.amount(closed.captured.unwrap_or(closed.signed));
    let text = format!("closed session {id}: {taken} taken");
    if !output.is_json() {
        output.tell(&text, &json!({"note": text}))?;
    }
    Ok(())
}

/// The wallet to pay with, as far as there is one.
enum Purse {
    Missing,
    Unbound(Box<Wallet>),
    Ready(Box<(Home, Wallet, Account)>),
}

impl Purse {
    /// What is free needs no wallet: only one that was named must be there.
    fn open(args: &Get, env: &Env) -> Result<Self, Failure> {
        let needed = args.wallet.wallet != "default" || args.payment.resume.is_some();
        let (home, wallet) = match open_wallet(&args.wallet, env) {
            Ok(opened) => opened,
            Err(failure) if !needed && is_missing(&failure) => return Ok(Self::Missing),
            Err(failure) => return Err(failure),
        };
        Ok(match wallet.account()? {
            Some(account) => Self::Ready(Box::new((home, wallet, account))),
            None if args.payment.resume.is_some() => {
                return Err(Failure::usage(format!(
                    "the wallet {} has joined no ledger: there is nothing to resume",
                    wallet.name()
                )));
            }
            None => Self::Unbound(Box::new(wallet)),
        })
    }

    fn state(&self) -> PurseState {
        match self {
            Self::Missing => PurseState::Missing,
            Self::Unbound(..) => PurseState::Unbound,
            Self::Ready(_) => PurseState::Ready,
        }
    }

    fn limit(&self, args: &Get) -> Result<Option<Amount>, Failure> {
        let Some(text) = args.payment.max_amount.as_deref() else {
            return Ok(None);
        };
        let limit = match self {
            Self::Ready(ready) => amount_of(text, &ready.2),
            Self::Missing | Self::Unbound(..) => {
                let any =
                    |code: &str| Currency::new(&code.to_ascii_lowercase(), DECIMALS_UNKNOWN).ok();
                Amount::parse_human(text, any).usage(format!("the amount {text:?}"))
            }
        };
        limit.map(Some)
    }

    /// What sessions may set aside and sign, and the limit for deposits that is asked for.
    fn session_limits(
        &self,
        args: &Get,
        max_request: Option<&Amount>,
    ) -> Result<Option<(SessionLimits, Option<Amount>)>, Failure> {
        let asked = &args.payment;
        let Self::Ready(ready) = self else {
            return Ok(None);
        };
        if !asked.session {
            return Ok(None);
        }
        let read = |text: &Option<String>| match text {
            Some(text) => amount_of(text, &ready.2).map(Some),
            None => Ok(None),
        };
        let deposit = read(&asked.deposit)?;
        let limit = match read(&asked.max_session)? {
            Some(limit) => Some(limit),
            None => deposit.clone(),
        };
        let currency = match &limit {
            Some(limit) => Some(limit.currency()),
            None => ready.2.currencies.first(),
        };
        let currency = currency.ok_or_else(|| Failure::usage("its ledger has no currencies"))?;
        // Without a limit each deposit is asked about.
        let most = limit.clone().unwrap_or_else(|| currency.units(u128::MAX));
        let mut limits = SessionLimits::new(most);
        limits.deposit = deposit;
        limits.max_request = max_request.cloned();
        limits.sign_ahead = read(&asked.sign_ahead)?;
        limits.voucher = asked.voucher.map(|kind| match kind {
            Voucher::Ed25519 => VoucherKind::Signed,
            Voucher::HashChain => VoucherKind::HashChain,
        });
        Ok(Some((limits, limit)))
    }

    fn payers(
        &self,
        args: &Get,
        connect: &Connect,
        env: &Env,
    ) -> Result<Vec<Arc<dyn Payer>>, Failure> {
        let mut payers: Vec<Arc<dyn Payer>> = Vec::new();
        if let Self::Ready(ready) = self {
            let (_, wallet, account) = ready.as_ref();
            payers.push(Arc::new(ledger_payer(wallet, account, connect, env)?));
        }
        let Some(wanted) = &args.payment.method else {
            return Ok(payers);
        };
        let name = MethodName::new(wanted).usage(format!("--method {wanted:?}"))?;
        if name.as_str() != stiver_method_ledger::METHOD {
            return Err(Failure::usage(format!(
                "--method {wanted}: there is only `{}`",
                stiver_method_ledger::METHOD
            )));
        }
        payers.retain(|payer| *payer.name() == name);
        Ok(payers)
    }

    fn ledger(
        &self,
        connect: &Connect,
        env: &Env,
    ) -> Result<Option<stiver_method_ledger::query::RemoteLedger>, Failure> {
        match self {
            Self::Ready(ready) if ready.2.query_url.is_some() => {
                remote_ledger(&ready.1, &ready.2, connect, env).map(Some)
            }
            _ => Ok(None),
        }
    }

    async fn parts(
        &self,
        args: &Get,
        payers: Vec<Arc<dyn Payer>>,
        consent: &Arc<Consent>,
        env: &Env,
    ) -> Result<Parts, Failure> {
        let policy = Arc::clone(consent);
        let options = connect::options(&args.connection);
        let env = env.clone();
        Ok(match self {
            Self::Ready(ready) => Parts {
                outbox: Arc::new(ready.1.outbox().await?),
                pins: Arc::new(ready.0.pins()?),
                env,
                payers,
                policy,
                options,
            },
            // Nothing can be signed, so nothing is to be remembered.
            Self::Missing | Self::Unbound(..) => Parts {
                outbox: Arc::new(MemoryOutbox::new(env.clock.clone())),
                pins: Arc::new(MemoryPins::new()),
                env,
                payers,
                policy,
                options,
            },
        })
    }

    /// What the journal has of a call.
    fn entry(&self, call: Option<CallId>) -> Result<Option<Entry>, OutboxError> {
        let (Some(call), Some(wallet)) = (call, self.wallet()) else {
            return Ok(None);
        };
        let mut entries = wallet.history(&HistoryFilter::default())?.into_iter();
        Ok(entries.find(|entry| entry.id == call))
    }

    fn wallet(&self) -> Option<&Wallet> {
        match self {
            Self::Missing => None,
            Self::Unbound(wallet) => Some(wallet),
            Self::Ready(ready) => Some(&ready.1),
        }
    }
}

fn is_missing(failure: &Failure) -> bool {
    let error = failure.error.downcast_ref::<WalletError>();
    matches!(error, Some(WalletError::NoSuchWallet { .. }))
}

/// What to do, read from the command line.
enum Asked {
    Resume(CallId),
    Call(Box<Request<Bytes>>),
}

impl Asked {
    fn read(args: &Get, purse: &Purse, env: &Env) -> Result<Self, Failure> {
        let Some(call) = &args.payment.resume else {
            return Ok(Self::Call(Box::new(request::build(args, env)?)));
        };
        let call = call.parse().usage(format!("--resume {call:?}"))?;
        if let Some(wallet) = purse.wallet() {
            check_open(call, wallet)?;
        }
        Ok(Self::Resume(call))
    }

    fn resumed(&self) -> Option<CallId> {
        match self {
            Self::Resume(call) => Some(*call),
            Self::Call(_) => None,
        }
    }

    fn method(&self) -> Option<http::Method> {
        match self {
            Self::Resume(_) => None,
            Self::Call(request) => Some(request.method().clone()),
        }
    }
}

/// Says so when there is nothing to resume: then nothing is unknown either.
fn check_open(call: CallId, wallet: &Wallet) -> Result<(), Failure> {
    let entries = wallet.history(&HistoryFilter::default())?;
    match entries.iter().find(|entry| entry.id == call) {
        None => Err(Failure::usage(format!(
            "the wallet {} has no call {call}: `stiver wallet history` lists them",
            wallet.name()
        ))),
        Some(entry) if entry.state.is_final() => Err(Failure::usage(format!(
            "call {call} is finished ({}): there is nothing to resume; {}",
            entry.state.as_str(),
            entry.money_moved()
        ))),
        Some(_) => Ok(()),
    }
}

/// `--max-time` is over: the journal tells what was under way. When it cannot be read, nobody knows
/// what became of the call.
fn out_of_time(
    seconds: u64,
    call: Option<CallId>,
    entry: Result<Option<Entry>, OutboxError>,
) -> Failure {
    let error = anyhow!("it took longer than {seconds} s");
    let (id, moved, finished) = match (call, entry) {
        (_, Ok(Some(entry))) if entry.signatures > 0 => {
            (entry.id, entry.money_moved(), entry.state.is_final())
        }
        (Some(call), Err(_)) => (call, MoneyMoved::Maybe, false),
        (_, Ok(_)) | (None, Err(_)) => {
            let advice = Advice {
                moved: MoneyMoved::No,
                again: Again::Safe,
                next: "run the same command again, with more time".to_owned(),
            };
            return Failure::new(FailureKind::Network, error).with(advice);
        }
    };
    let (again, next) = if finished {
        let next = format!("call {id} is finished: look for it in `stiver wallet history`");
        (Again::No, next)
    } else {
        let next =
            format!("run `stiver get --resume {id}`: it sends the same payment, never another");
        (Again::Resume(id.to_string()), next)
    };
    Failure::new(FailureKind::Unknown, error).with(Advice { moved, again, next })
}

fn origin_of(url: &str) -> Option<String> {
    let uri = url.parse().ok()?;
    Some(Origin::of(&uri).ok()?.to_string())
}

/// The command as it was typed; `None` when it holds a secret that is better not repeated.
fn command(args: &Get, typed: impl Iterator<Item = String>) -> Option<Typed> {
    let request = &args.request;
    let secret_header = request.header.iter().any(|line| {
        let name = line.split(':').next().unwrap_or_default();
        watch::is_secret(name)
    });
    let proxy_user = args
        .connection
        .proxy
        .as_ref()
        .is_some_and(|url| url.contains('@'));
    if secret_header || proxy_user || request.user.is_some() || request.bearer.is_some() {
        return None;
    }
    let mut whole = vec!["stiver".to_owned()];
    let mut unlimited = whole.clone();
    let mut typed = typed.skip(1);
    let mut after_get = false;
    while let Some(word) = typed.next() {
        let is_get = !after_get && word == "get";
        let is_limit = word == "--max-amount" || word.starts_with("--max-amount=");
        let mut added = vec![quoted(&word)];
        if word == "--max-amount" {
            added.extend(typed.next().map(|amount| quoted(&amount)));
        } else if is_get {
            after_get = true;
            added.push("{}".to_owned());
        }
        if !is_limit {
            unlimited.extend_from_slice(&added);
        }
        whole.append(&mut added);
    }
    after_get.then(|| Typed {
        whole: whole.join(" "),
        unlimited: unlimited.join(" "),
    })
}

#[cfg(test)]
mod tests;
