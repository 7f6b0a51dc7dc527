//! Every way in which a fetch fails: its exit code, whether money moved, whether trying again is
//! safe, and what to do next.

use anyhow::anyhow;
use stiver_client::{
    CallError, CallId, MoneyMoved, Retry,
    error::{NotResumable, Unusable},
};
use stiver_core::challenge::Challenge;

use super::{consent::Verdict, offers};
use crate::failure::{Advice, Again, Failure, FailureKind};

/// What is known when a fetch fails.
pub(super) struct Scene<'a> {
    /// The command to run again, without the words to add; `None` when it holds secrets.
    pub(super) command: Option<Typed>,
    /// The verdicts on the offers.
    pub(super) verdicts: Vec<Verdict>,
    /// The challenges that came.
    pub(super) challenges: &'a [Challenge],
    /// The wallet's name.
    pub(super) wallet: &'a str,
    /// Whether it is there and has an account.
    pub(super) purse: PurseState,
    /// The origin that was asked, if any.
    pub(super) origin: Option<String>,
}

/// The command as it was typed, with `{}` where an option belongs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Typed {
    /// All of it.
    pub(super) whole: String,
    /// Without its `--max-amount`, for a hint that gives another.
    pub(super) unlimited: String,
}

/// How far a wallet is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PurseState {
    /// There is none.
    Missing,
    /// It has joined no ledger.
    Unbound,
    /// It can pay.
    Ready,
}

/// The failure that a call's error is.
pub(super) fn failure(error: CallError, scene: &Scene<'_>) -> Failure {
    let moved = error.money_moved();
    let again = match error.retry() {
        Retry::NewCall => Again::Safe,
        Retry::Resume(call) => Again::Resume(call.to_string()),
        Retry::No => Again::No,
    };
    let (kind, next) = told(&error, scene);
    let kind = match moved {
        MoneyMoved::No => kind,
        MoneyMoved::Maybe | MoneyMoved::Yes if kind == FailureKind::Usage => kind,
        MoneyMoved::Maybe | MoneyMoved::Yes => FailureKind::Unknown,
    };
    let said = match &error {
        CallError::Declined { .. } => anyhow!("not paid: {}", reasons(&scene.verdicts)),
        CallError::NotPayable { .. } => {
            let offers = offers::in_words(scene.challenges);
            anyhow::Error::new(error).context(format!("it asks for {offers}"))
        }
        _ => anyhow::Error::new(error),
    };
    let advice = Advice { moved, again, next };
    Failure::new(kind, said).with(advice)
}

/// The kind, when no money moved, and what to do next.
fn told(error: &CallError, scene: &Scene<'_>) -> (FailureKind, String) {
    use FailureKind as Kind;
    let once_more = || "run the same command again".to_owned();
    match error {
        CallError::Origin(_) => (Kind::Usage, "correct the URL".to_owned()),
        CallError::PlainHttp(_) => (Kind::Usage, "ask for the https URL".to_owned()),
        CallError::CredentialPresent => {
            let next = "leave the Payment credential out: it is made here";
            (Kind::Usage, next.to_owned())
        }
        CallError::RequestBody(_) => (Kind::Usage, "send a shorter body".to_owned()),
        CallError::Transport { .. } => {
            let next = "check the address and the network, and run the same command again";
            (Kind::Network, next.to_owned())
        }
        CallError::RedirectElsewhere { .. } => {
            let next = "fetch that URL yourself if you trust it";
            (Kind::Refused, next.to_owned())
        }
        CallError::TooManyRedirects { .. } => {
            let next = "allow more with --max-redirs, if it is no circle";
            (Kind::Refused, next.to_owned())
        }
        CallError::PaymentElsewhere { url, .. } => {
            let next = format!(
                "if you trust it, fetch {} yourself, or add --location-trusted",
                crate::words::quoted(url)
            );
            (Kind::TooExpensive, next)
        }
        CallError::NotPayable { reasons, .. } => (Kind::Payment, not_payable(reasons, scene)),
        CallError::Declined { .. } => declined(scene),
        CallError::ExpiredMeanwhile { .. } => (Kind::Payment, once_more()),
        CallError::Pins { .. } => {
            let next = "see to the wallet's folder, and run the same command again";
            (Kind::Other, next.to_owned())
        }
        CallError::Journal { call, moved, .. } | CallError::Unknown { call, moved, .. } => {
            (Kind::Payment, resume(*call, *moved))
        }
        CallError::Pay { call, moved, .. } => match moved {
            MoneyMoved::No => (Kind::Payment, "see to the reason that it gives".to_owned()),
            MoneyMoved::Yes => (Kind::Payment, claim(*call)),
            MoneyMoved::Maybe => (Kind::Payment, resume(*call, *moved)),
        },
        CallError::Refused { call, moved, .. } => match (moved, error.retry()) {
            (MoneyMoved::No, Retry::NewCall) => (Kind::Payment, once_more()),
            (MoneyMoved::No, _) => {
                let next = "the server's words say what it lacks";
                (Kind::Payment, next.to_owned())
            }
            (MoneyMoved::Yes, _) => (Kind::Payment, claim(*call)),
            (MoneyMoved::Maybe, _) => (Kind::Payment, resume(*call, *moved)),
        },
        CallError::Session { failure, .. } => crate::commands::sessions::advice(failure),
        CallError::TooManyChallenges { .. } => (
            Kind::Refused,
            "the server's challenges do not last: tell its operator".to_owned(),
        ),
        CallError::NotResumable { call, why } => (Kind::Usage, not_resumable(*call, why)),
        _ => (Kind::Other, "see `stiver wallet history`".to_owned()),
    }
}

fn resume(call: CallId, moved: MoneyMoved) -> String {
    match moved {
        MoneyMoved::No => "run the same command again".to_owned(),
        MoneyMoved::Maybe | MoneyMoved::Yes => {
            format!("run `stiver get --resume {call}`: it sends the same payment, never another")
        }
    }
}

fn claim(call: CallId) -> String {
    format!("take call {call} of `stiver wallet history` to the payee: paying again pays twice")
}

fn not_resumable(call: CallId, why: &NotResumable) -> String {
    match why {
        NotResumable::NothingSigned => "make a new call".to_owned(),
        NotResumable::UnderWay => "wait for the other to end".to_owned(),
        _ => format!("look for call {call} in `stiver wallet history`"),
    }
}

/// What the verdicts come to.
fn declined(scene: &Scene<'_>) -> (FailureKind, String) {
    let verdicts = &scene.verdicts;
    let with = |words: &str, command: Option<&String>| match command {
        Some(command) => format!("allow it with: {}", command.replacen("{}", words, 1)),
        None => format!("allow it with {words}"),
    };
    let typed = scene.command.as_ref();
    for verdict in verdicts {
        match verdict {
            Verdict::Unasked { price } | Verdict::Over { price, .. } => {
                let words = format!("--max-amount \"{price}\"");
                let next = with(&words, typed.map(|typed| &typed.unlimited));
                return (FailureKind::TooExpensive, next);
            }
            Verdict::Changed { .. } => {
                // The limit stays: whoever is paid now may ask for more.
                let next = with("--accept-change", typed.map(|typed| &typed.whole));
                let next = format!("find out why before you pay; {next}");
                return (FailureKind::TooExpensive, next);
            }
            Verdict::SaidNo | Verdict::Pay | Verdict::Short { .. } => {}
        }
    }
    if verdicts.iter().any(|v| matches!(v, Verdict::Short { .. })) {
        let next = format!(
            "have the key of the wallet {0} funded (`stiver wallet list` shows it; on your own \
             gateway: `stiver ledger issue KEY AMOUNT`), and run the same command again",
            scene.wallet
        );
        return (FailureKind::Payment, next);
    }
    let next = "say yes, or give --max-amount, to pay it";
    (FailureKind::TooExpensive, next.to_owned())
}

fn reasons(verdicts: &[Verdict]) -> String {
    let reasons: Vec<String> = verdicts.iter().filter_map(Verdict::why_not).collect();
    reasons.join("; ")
}

/// What to do about offers that cannot be paid.
fn not_payable(reasons: &[Unusable], scene: &Scene<'_>) -> String {
    let origin = scene.origin.as_deref().unwrap_or("URL");
    let takes_ledger = scene.challenges.iter().any(offers::is_ledger);
    let joins = |wallet: &str| match wallet {
        "default" => format!("`stiver wallet join {origin}`"),
        wallet => format!("`stiver wallet join {origin} --wallet {wallet}`"),
    };
    let funds = "have its key funded, and run the same command again";
    match scene.purse {
        _ if !takes_ledger => "the payment methods that it takes are not supported here".to_owned(),
        PurseState::Missing => {
            let new = match scene.wallet {
                "default" => "`stiver wallet new`".to_owned(),
                wallet => format!("`stiver wallet new {wallet}`"),
            };
            format!("run {new}, then {}, {funds}", joins(scene.wallet))
        }
        PurseState::Unbound => format!("run {}, {funds}", joins(scene.wallet)),
        PurseState::Ready => {
            let no_account = reasons.iter().any(|reason| {
                matches!(
                    reason,
                    Unusable::Unpayable {
                        why: stiver_method::payer::Unpayable::NoAccount(_),
                        ..
                    }
                )
            });
            if no_account {
                format!(
                    "a wallet pays on one ledger: run `stiver wallet new OTHER`, then {}, {funds} \
                     with --wallet OTHER",
                    joins("OTHER")
                )
            } else {
                "the reasons above are the server's to mend".to_owned()
            }
        }
    }
}
