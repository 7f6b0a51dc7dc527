//! `stiver wallet` as it is typed.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::ConfigChoice;

/// Which wallet.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Wallet")]
pub(crate) struct WalletChoice {
    /// The wallet to pay with.
    #[arg(
        long,
        default_value = "default",
        env = "STIVER_WALLET",
        value_name = "NAME"
    )]
    pub(crate) wallet: String,
    #[command(flatten)]
    pub(crate) home: HomeChoice,
}

/// Which folder of wallets, and what opens its encrypted keys.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Wallet")]
pub(crate) struct HomeChoice {
    /// The folder of wallets; ~/.stiver when not given.
    #[arg(long, env = "STIVER_HOME", value_name = "FOLDER")]
    pub(crate) home: Option<PathBuf>,
    /// Read the passphrase of an encrypted key from the first line of a file.
    #[arg(
        long,
        env = "STIVER_PASSPHRASE_FILE",
        value_name = "FILE",
        conflicts_with = "passphrase_command"
    )]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Read the passphrase of an encrypted key from what a command prints, such as
    /// "pass show stiver". STIVER_PASSPHRASE holds the passphrase itself.
    #[arg(long, env = "STIVER_PASSPHRASE_COMMAND", value_name = "COMMAND")]
    pub(crate) passphrase_command: Option<String>,
}

/// A wallet named by its place on the command line.
#[derive(Debug, Clone, Args)]
pub(crate) struct Named {
    /// The wallet.
    #[arg(default_value = "default", env = "STIVER_WALLET", hide_env = true)]
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) home: HomeChoice,
}

/// Where a key is to be kept. A plain file when nothing is said.
#[derive(Debug, Clone, Copy, Default, Args)]
#[group(multiple = false)]
pub(crate) struct KeepChoice {
    /// Encrypt the key file under a passphrase.
    #[arg(long)]
    pub(crate) encrypt: bool,
    /// Keep the key in the keyring of the operating system.
    #[arg(long)]
    pub(crate) keyring: bool,
}

const KEYS: &str = "\
Where the key is kept decides who can spend the money:
  (a plain file)  whoever can read the disk as you, or a backup of it
  --encrypt       whoever has the file and the passphrase
  --keyring       every program that you run while your keyring is unlocked
  STIVER_KEY      nothing is kept: whoever starts the command gives the key (`wallet export`)";

/// `stiver wallet ...`
#[derive(Debug, Subcommand)]
pub(crate) enum Wallet {
    /// Make a key, and print what an issuer needs to fund it.
    #[command(after_help = KEYS)]
    New {
        #[command(flatten)]
        wallet: Named,
        #[command(flatten)]
        keep: KeepChoice,
    },
    /// List the wallets, and where their keys are kept. Needs no passphrase.
    List {
        #[command(flatten)]
        home: HomeChoice,
    },
    /// Bind a wallet to the ledger of a gateway, to pay with what it has there.
    Join {
        /// Any URL of the gateway.
        gateway: String,
        #[command(flatten)]
        wallet: WalletChoice,
    },
    /// Put money of your own gateway's ledger into a wallet: to try it out on one machine.
    Fund(Fund),
    /// Ask the ledger for the balance.
    Balance {
        #[command(flatten)]
        wallet: WalletChoice,
    },
    /// List payments, newest first; or export them.
    History(History),
    /// Make a wallet of a key that you have already.
    Import(Import),
    /// Print a wallet's key, for a backup or another machine: encrypted unless you insist.
    Export(Export),
    /// Keep a wallet's key elsewhere: a plain file, an encrypted one, the keyring.
    #[command(name = "move", after_help = KEYS)]
    Move(MoveKey),
    /// Change the passphrase of an encrypted key.
    Passwd(Passwd),
}

/// `stiver wallet fund`
#[derive(Debug, Args)]
#[command(after_help = FUND)]
pub(crate) struct Fund {
    /// How much, such as "1 USD".
    pub(crate) amount: String,
    #[command(flatten)]
    pub(crate) config: ConfigChoice,
    #[command(flatten)]
    pub(crate) wallet: WalletChoice,
}

const FUND: &str = "\
The gateway must be running, and its issuer's key must be on this machine. A wallet that is not
there is made, with its key in a plain file, and one that has not joined the gateway's ledger joins
it. The same in steps: `wallet new`, `wallet join`, `ledger issue`.";

/// `stiver wallet history`
#[derive(Debug, Args)]
#[command(after_help = HISTORY)]
pub(crate) struct History {
    /// At most so many, the newest; all of them with --format csv, json or ndjson.
    #[arg(short = 'n', long)]
    pub(crate) limit: Option<usize>,
    /// Only what began at this time or later: 2026-11-01 (midnight, UTC) or
    /// 2026-11-01T12:00:00Z.
    #[arg(long, value_name = "DATE")]
    pub(crate) since: Option<String>,
    /// Only what began before this time.
    #[arg(long, value_name = "DATE")]
    pub(crate) until: Option<String>,
    /// Only payments to this host, such as api.example or 127.0.0.1:8402.
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Option<String>,
    /// Only payments in this state; may be given several times.
    #[arg(long, value_enum, value_name = "STATE")]
    pub(crate) state: Vec<StateChoice>,
    /// Only payments whose outcome is not final.
    #[arg(long)]
    pub(crate) unresolved: bool,
    /// How to print them.
    #[arg(long, value_enum, default_value = "text", value_name = "FORMAT")]
    pub(crate) format: Format,
    /// Write to a file instead of standard output.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) wallet: WalletChoice,
}

const HISTORY: &str = "\
States: challenged and authorised (nothing was sent), sent, unknown, refused (money may have
moved: `stiver get --resume CALL` finds out), unread (paid, the answer was not read), and the final
ones: paid, settled (money moved, no answer), void and abandoned (no money moved).";

/// How to print the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// A header line, then a line for each payment (RFC 4180).
    Csv,
    /// One JSON object with all payments, as with --json.
    Json,
    /// One JSON object on each line.
    Ndjson,
}

/// A state of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StateChoice {
    Challenged,
    Authorised,
    Sent,
    Refused,
    Unknown,
    Unread,
    Paid,
    Settled,
    Void,
    Abandoned,
}

/// `stiver wallet import`
#[derive(Debug, Args)]
#[command(after_help = KEYS)]
pub(crate) struct Import {
    #[command(flatten)]
    pub(crate) wallet: Named,
    /// The key: a key file of any kind, or a file with the secret alone; `-` reads standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) from: PathBuf,
    #[command(flatten)]
    pub(crate) keep: KeepChoice,
}

/// `stiver wallet export`
#[derive(Debug, Args)]
#[command(after_help = EXPORT)]
pub(crate) struct Export {
    #[command(flatten)]
    pub(crate) wallet: Named,
    /// Print the secret as it is: whoever reads it can spend the money.
    #[arg(long, requires = "yes")]
    pub(crate) plain: bool,
    /// Yes, print the secret.
    #[arg(long)]
    pub(crate) yes: bool,
    /// Write to a new file that only you can read, instead of standard output.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

const EXPORT: &str = "\
Without --plain the key leaves encrypted: an encrypted wallet's file as it is, any other under a new
passphrase that you are asked for. `stiver wallet import --from FILE` reads both.
With --plain --yes it is the secret alone, 43 characters: what STIVER_KEY takes.";

/// `stiver wallet move`
#[derive(Debug, Args)]
pub(crate) struct MoveKey {
    #[command(flatten)]
    pub(crate) wallet: Named,
    #[command(flatten)]
    pub(crate) keep: KeepChoice,
    /// Keep it in a plain file.
    #[arg(long, conflicts_with_all = ["encrypt", "keyring"])]
    pub(crate) plain: bool,
}

/// `stiver wallet passwd`
#[derive(Debug, Args)]
pub(crate) struct Passwd {
    #[command(flatten)]
    pub(crate) wallet: Named,
    /// Read the new passphrase from the first line of a file. STIVER_NEW_PASSPHRASE holds the
    /// passphrase itself; without both, the terminal is asked.
    #[arg(long, value_name = "FILE")]
    pub(crate) new_passphrase_file: Option<PathBuf>,
}
