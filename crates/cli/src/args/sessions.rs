//! `stiver sessions`, as it is typed.

use clap::{Args, Subcommand};

use super::{EXIT_CODES, WalletChoice};

/// `stiver sessions ...`
///
/// A session is a deposit that a payee takes its due from, by signed vouchers: `stiver get
/// --session` opens one and uses it again. What was not used comes back when it is closed.
#[derive(Debug, Subcommand)]
pub(crate) enum Sessions {
    /// List the wallet's sessions that are not over.
    #[command(after_help = EXIT_CODES)]
    List(List),
    /// Ask the payees to close sessions: they take what was used, and the rest comes back.
    #[command(after_help = EXIT_CODES)]
    Close(Close),
    /// Go on with what was left half done: ask the ledger about openings, top-ups and forced
    /// closes, and take back what can be taken back. Finds the sessions of this key that the
    /// wallet does not know, after its folder was lost. Signs no voucher.
    #[command(after_help = EXIT_CODES)]
    Recover(Recover),
}

/// `stiver sessions list`
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Those that are over, too.
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) wallet: WalletChoice,
}

/// `stiver sessions close`
#[derive(Debug, Args)]
pub(crate) struct Close {
    /// Which, as `stiver sessions list` prints them; every open one when none is named.
    #[arg(value_name = "SESSION")]
    pub(crate) sessions: Vec<String>,
    /// Only those that nothing has used for so long: 90s, 10m, 2h, 1d.
    #[arg(long, value_name = "TIME", conflicts_with = "sessions")]
    pub(crate) idle: Option<String>,
    #[command(flatten)]
    pub(crate) wallet: WalletChoice,
}

/// `stiver sessions recover`
#[derive(Debug, Args)]
pub(crate) struct Recover {
    /// Close this one without its payee, at the ledger: for a payee that does not answer. A period
    /// of grace begins, in which the payee may still take what is signed; recover once more after
    /// it, and the rest comes back.
    #[arg(long, value_name = "SESSION")]
    pub(crate) force: Vec<String>,
    #[command(flatten)]
    pub(crate) wallet: WalletChoice,
}
