//! The command line as it is typed. Nothing is resolved here.

mod about;
pub(crate) mod data;
pub(crate) mod get;
mod payments;
mod sessions;
pub(crate) mod wallet;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use about::{Man, Schema};
pub(crate) use get::Get;
pub(crate) use payments::{Payments, Refund};
pub(crate) use sessions::Sessions;
pub(crate) use wallet::{
    Export, Format, Fund, History, HomeChoice, Import, KeepChoice, MoveKey, Named, Passwd,
    StateChoice, Wallet, WalletChoice,
};

pub(crate) const EXIT_CODES: &str = "\
Exit codes:
   0  done
   1  something else failed
   2  the command line or a file is wrong: nothing was done
   3  network: the server could not be reached; nothing was paid
   4  the payment failed: no money moved
   5  too expensive, or refused by your own rules: nothing was paid, or no more of a stream
   6  the server refused: its answer is no success
   7  money moved, or may have, and no answer came: run `stiver get --resume`, do not pay again
  10  a dry run is complete: nothing was paid";

const COMPLETIONS: &str = "\
To have them in every shell:
  bash        stiver completions bash > ~/.local/share/bash-completion/completions/stiver
  zsh         stiver completions zsh > \"${fpath[1]}/_stiver\"
  fish        stiver completions fish > ~/.config/fish/completions/stiver.fish
  elvish      stiver completions elvish >> ~/.config/elvish/rc.elv
  powershell  stiver completions powershell >> $PROFILE";

const TOUR: &str = "\
To pay for an API:
  stiver wallet new                                   make a key
  stiver wallet join https://api.example              say which ledger it pays on
  stiver get --dry-run https://api.example/v1/data    see what it costs
  stiver get --max-amount \"0.05 USD\" https://api.example/v1/data
  stiver wallet history                               see what was paid

To charge for an API:
  stiver init --upstream http://127.0.0.1:3000        write stiver.toml, keys and a data folder
  stiver serve                                        stand in front of the API
  stiver ledger issue did:key:z6Mk... \"10 USD\"      fund a payer's key

`stiver COMMAND --help` tells more of each, `stiver schema COMMAND` what it prints with --json.
";

fn after_help() -> String {
    format!("{TOUR}\n{EXIT_CODES}")
}

/// Charge and pay over HTTP: machine payments with 402 Payment Required.
///
/// `stiver demo` shows all of it on this machine. `stiver init` and `stiver serve` put a price on
/// an API, `stiver wallet new` and `stiver get` pay for one.
#[derive(Debug, Parser)]
#[command(
    name = "stiver",
    version,
    after_help = EXIT_CODES,
    after_long_help = after_help(),
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) global: Global,
}

/// Flags of every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Print one JSON object instead of text.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// When to colour.
    #[arg(
        long,
        global = true,
        value_enum,
        default_value = "auto",
        value_name = "WHEN"
    )]
    pub(crate) color: ColorChoice,
}

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show charging and paying, end to end, with real processes on this machine.
    Demo(Demo),
    /// Write a gateway's configuration, keys and data folder.
    Init(Init),
    /// Run the gateway: charge for the API behind it.
    Serve(Serve),
    /// Tell how a running gateway is doing: health, payments, memory, logs.
    ///
    /// Exits with 1 when the gateway is not ready.
    Status(ConfigChoice),
    /// Let the running gateway read its configuration again.
    Reload(ConfigChoice),
    /// The secrets that bind challenges.
    #[command(subcommand)]
    Secrets(Secrets),
    /// Look at the gateway's payments, and give money back.
    #[command(subcommand)]
    Payments(Payments),
    /// Fetch a URL, and pay for it when it asks.
    Get(Box<Get>),
    /// Keys and accounts to pay with.
    #[command(subcommand)]
    Wallet(Wallet),
    /// Deposits that are open with payees: list, close, take back.
    #[command(subcommand)]
    Sessions(Sessions),
    /// Issue money, and look at the books, of the gateway's ledger.
    #[command(subcommand)]
    Ledger(Ledger),
    /// Decode a challenge, a credential, a receipt or a problem.
    Inspect(Inspect),
    /// Make a challenge by hand.
    Mint(Mint),
    /// Print the JSON Schema of what a command prints with --json.
    Schema(Schema),
    /// Print the manual page, or write all of them.
    Man(Man),
    /// Print a shell's completion script.
    #[command(after_help = COMPLETIONS)]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// The sensor of the demo: a small HTTP API.
    #[command(hide = true)]
    DemoSensor,
    /// The buyer of the demo: it may be killed.
    #[command(hide = true)]
    DemoBuyer(DemoBuyer),
}

/// `stiver demo-buyer`
#[derive(Debug, Args)]
pub(crate) struct DemoBuyer {
    /// The stream.
    pub(crate) url: String,
    /// The folder of wallets.
    #[arg(long)]
    pub(crate) home: PathBuf,
    /// How many events it wants.
    #[arg(long)]
    pub(crate) readings: u64,
    /// What it sets aside, base units.
    #[arg(long)]
    pub(crate) deposit: u128,
    /// How far it signs ahead, base units.
    #[arg(long)]
    pub(crate) ahead: u128,
    /// What a word of its hash chain is worth, base units.
    #[arg(long)]
    pub(crate) step: u128,
}

/// `stiver demo`
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Run only this scene; may be given several times.
    #[arg(long, value_name = "NAME")]
    pub(crate) scene: Vec<String>,
    /// List the scenes.
    #[arg(long)]
    pub(crate) list: bool,
    /// Leave it running, and print commands to try. Ctrl-C ends it.
    #[arg(long)]
    pub(crate) keep: bool,
}

/// `stiver init`
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The folder to write into.
    #[arg(default_value = ".", value_name = "FOLDER")]
    pub(crate) folder: PathBuf,
    /// The API to charge for.
    #[arg(long, default_value = "http://127.0.0.1:3000", value_name = "URL")]
    pub(crate) upstream: String,
    /// Where the gateway listens.
    #[arg(long, default_value = "127.0.0.1:8402", value_name = "ADDRESS")]
    pub(crate) listen: String,
    /// The protection space named in challenges: your public host name, or any words without a dot.
    #[arg(long, default_value = "stiver", value_name = "NAME")]
    pub(crate) realm: String,
    /// The price of every request, until you edit the file.
    #[arg(long, default_value = "0.01 USD", value_name = "AMOUNT")]
    pub(crate) price: String,
}

/// `stiver serve`
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The configuration file that `stiver init` wrote.
    #[arg(short, long, default_value = "stiver.toml", value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Look at everything the configuration names, say what would be served, and start nothing.
    #[arg(long)]
    pub(crate) check: bool,
    /// Print the configuration with every default written out, and start nothing.
    #[arg(long, conflicts_with = "check")]
    pub(crate) print_config: bool,
}

/// `stiver secrets ...`
#[derive(Debug, Subcommand)]
pub(crate) enum Secrets {
    /// Make a new challenge secret. The one before it stays good for the challenges that are out.
    ///
    /// The running gateway uses it at once; when none runs, the file is changed.
    Rotate {
        #[command(flatten)]
        config: ConfigChoice,
    },
}

/// `stiver ledger ...`
///
/// Through the running gateway when one holds the ledger, and directly on the files when none does.
#[derive(Debug, Subcommand)]
pub(crate) enum Ledger {
    /// Issue money to a wallet's key or an account.
    Issue {
        /// A `did:key:...` (its account is opened when it has none) or an account `acct_...`.
        to: String,
        /// How much, such as "10 USD".
        amount: String,
        #[command(flatten)]
        config: ConfigChoice,
    },
    /// List the accounts and their balances.
    Accounts {
        #[command(flatten)]
        config: ConfigChoice,
    },
    /// List the movements of an account, newest first.
    Statement {
        /// The account.
        account: String,
        /// At most so many.
        #[arg(short = 'n', long, default_value_t = 1000)]
        limit: usize,
        #[command(flatten)]
        config: ConfigChoice,
    },
    /// Check that the books balance and that the log is whole.
    Check {
        #[command(flatten)]
        config: ConfigChoice,
    },
}

/// Which gateway.
#[derive(Debug, Clone, Args)]
pub(crate) struct ConfigChoice {
    /// The gateway's configuration file.
    #[arg(short, long, default_value = "stiver.toml", value_name = "FILE")]
    pub(crate) config: PathBuf,
}

/// `stiver inspect`
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// A `WWW-Authenticate`, `Authorization` or `Payment-Receipt` value, with or without its field
    /// name, or a problem document. Read from standard input when not given.
    pub(crate) text: Option<String>,
}

/// `stiver mint`
#[derive(Debug, Args)]
pub(crate) struct Mint {
    /// The file that holds the secret: its bytes as they are, without one trailing newline; or a
    /// gateway's file of challenge secrets.
    #[arg(long, value_name = "FILE")]
    pub(crate) secret_file: PathBuf,
    /// The realm.
    #[arg(long)]
    pub(crate) realm: String,
    /// The payment method.
    #[arg(long)]
    pub(crate) method: String,
    /// The intent.
    #[arg(long, default_value = "charge")]
    pub(crate) intent: String,
    /// The request, a JSON object.
    #[arg(long, value_name = "JSON")]
    pub(crate) request: String,
    /// When it expires, such as 2026-12-01T00:00:00Z.
    #[arg(long, value_name = "DATE")]
    pub(crate) expires: Option<String>,
    /// A body digest, such as `sha-256=:...:`.
    #[arg(long)]
    pub(crate) digest: Option<String>,
    /// A description for people.
    #[arg(long)]
    pub(crate) description: Option<String>,
    /// Correlation data, a JSON object of strings.
    #[arg(long, value_name = "JSON")]
    pub(crate) opaque: Option<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
