//! `stiver get` as it is typed. Options that curl has too mean the same here.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{EXIT_CODES, WalletChoice, data::Data};

const EXAMPLES: &str = "\
Examples:
  stiver get --dry-run https://api.example/v1/reading         # what does it cost?
  stiver get --max-amount \"0.05 USD\" https://api.example/v1/reading
  stiver get --max-amount \"0.05 USD\" --data-json @question.json https://api.example/v1/ask
  stiver get --max-amount \"1 USD\" -F file=@photo.png -F size=200 https://api.example/v1/resize
  stiver get --max-amount \"1 USD\" -H 'Accept: text/event-stream' https://api.example/v1/feed
  stiver get --json --max-amount \"0.05 USD\" https://api.example/v1/reading | jq .payment
  stiver get --session --max-session \"1 USD\" https://api.example/v1/feed
  stiver get --session --max-session \"1 USD\" wss://api.example/v1/ticks
  stiver get --resume CALL                                     # what is paid for, once more

The body goes to standard output and everything else to standard error: as text on a terminal, as
one JSON object on each line in a pipe. Whatever ends without an answer says whether money moved,
whether trying again is safe, and what to do next.
";

fn after_help() -> String {
    format!("{EXAMPLES}\n{EXIT_CODES}")
}

/// `stiver get`
#[derive(Debug, Args)]
#[command(after_long_help = after_help())]
pub(crate) struct Get {
    /// The URL: https, or http for this machine. With --session also wss and ws: what --data gives
    /// is sent as one message, or else the lines of standard input, and what comes is printed.
    #[arg(required_unless_present_any = ["resume"])]
    pub(crate) url: Option<String>,
    #[command(flatten)]
    pub(crate) payment: Payment,
    #[command(flatten)]
    pub(crate) request: Request,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(flatten)]
    pub(crate) wallet: WalletChoice,
}

/// What may be paid.
#[derive(Debug, Args)]
#[command(next_help_heading = "Payment")]
pub(crate) struct Payment {
    /// The most to pay for this request, such as "0.05 USD". Paid without asking.
    #[arg(long, value_name = "AMOUNT", env = "STIVER_MAX_AMOUNT")]
    pub(crate) max_amount: Option<String>,
    /// Pay what is asked, within --max-amount if that is given. Without either, a terminal is
    /// asked, and nothing is paid anywhere else.
    #[arg(long)]
    pub(crate) yes: bool,
    /// Show what would be paid, pay nothing, exit with 10.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Pay by this method only, such as `ledger`.
    #[arg(long, value_name = "METHOD")]
    pub(crate) method: Option<String>,
    /// Pay although the realm or payee of this origin is another than at the last payment.
    #[arg(long)]
    pub(crate) accept_change: bool,
    /// Pay from a session where the server offers one: a deposit is set aside once, and requests
    /// and streams are paid from it. An open session of the wallet is used again.
    #[arg(long, conflicts_with = "resume")]
    pub(crate) session: bool,
    /// How much to set aside when a session is opened, and by a top-up. What the server suggests
    /// when it is not given.
    #[arg(long, value_name = "AMOUNT", requires = "session")]
    pub(crate) deposit: Option<String>,
    /// The most to set aside for one payee: what is set aside is out of reach until the session is
    /// closed. As much as --deposit when only that is given.
    #[arg(long, value_name = "AMOUNT", env = "STIVER_MAX_SESSION")]
    pub(crate) max_session: Option<String>,
    /// How far a session may sign ahead of what was delivered, and so the most that a payee can
    /// take for nothing. A tenth of the deposit when it is not given.
    #[arg(long, value_name = "AMOUNT", requires = "session")]
    pub(crate) sign_ahead: Option<String>,
    /// How the vouchers of a session that is opened are made: each signed, or as words of a hash
    /// chain, which cost next to nothing to make and to check and are worth a fixed step each.
    /// What the server prefers when it is not given.
    #[arg(long, value_name = "KIND", env = "STIVER_VOUCHER")]
    pub(crate) voucher: Option<Voucher>,
    /// Close the session when the answer has been read: what was not used comes back.
    #[arg(long, requires = "session")]
    pub(crate) close: bool,
    /// Finish an earlier payment whose outcome is unknown: its id in `stiver wallet history`.
    #[arg(long, value_name = "CALL", conflicts_with_all = ["url", "dry_run"])]
    pub(crate) resume: Option<String>,
}

/// How vouchers are made.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Voucher {
    /// Each is signed.
    Ed25519,
    /// Each is a word of a hash chain.
    HashChain,
}

/// What is sent.
#[derive(Debug, Args)]
#[command(next_help_heading = "Request")]
pub(crate) struct Request {
    /// The HTTP method: GET, or POST with a body.
    #[arg(short = 'X', long, value_name = "METHOD")]
    pub(crate) request: Option<String>,
    /// A header, as `Name: value`; may be given several times. `@FILE` reads a line for each.
    #[arg(short = 'H', long, value_name = "HEADER")]
    pub(crate) header: Vec<String>,
    #[command(flatten)]
    pub(crate) data: Data,
    /// A JSON body, which is checked to be one; `@FILE` and `@-` read it. Sets Content-Type and
    /// Accept.
    #[arg(long, value_name = "JSON", conflicts_with_all = ["data", "data_raw", "data_binary",
        "data_urlencode", "form"])]
    pub(crate) data_json: Option<String>,
    /// A part of a multipart body: `name=value`, `name=@FILE`, `name=<FILE`, with `;type=TYPE`
    /// and `;filename=NAME`; may be given several times.
    #[arg(short = 'F', long, value_name = "NAME=CONTENT", conflicts_with_all = ["data",
        "data_raw", "data_binary", "data_urlencode", "get"])]
    pub(crate) form: Vec<String>,
    /// Send what --data gives in the URL's query instead of a body.
    #[arg(short = 'G', long, conflicts_with = "data_json")]
    pub(crate) get: bool,
    /// Ask for the head only (HEAD). A HEAD request is never paid for: it tells the price at most.
    #[arg(short = 'I', long, conflicts_with_all = ["request", "form", "data_json"])]
    pub(crate) head: bool,
    /// The User-Agent.
    #[arg(short = 'A', long, value_name = "NAME")]
    pub(crate) user_agent: Option<String>,
    /// The Referer.
    #[arg(short = 'e', long, value_name = "URL")]
    pub(crate) referer: Option<String>,
    /// Basic authentication for the application. Payment goes beside it.
    #[arg(short, long, value_name = "USER:PASSWORD")]
    pub(crate) user: Option<String>,
    /// A bearer token for the application. Payment goes beside it.
    #[arg(long, value_name = "TOKEN", conflicts_with = "user")]
    pub(crate) bearer: Option<String>,
    /// Ask for a compressed body (gzip, deflate, br) and decompress it.
    #[arg(long)]
    pub(crate) compressed: bool,
}

/// Where it goes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct Output {
    /// Write the body to a file instead of standard output.
    #[arg(short, long, value_name = "FILE", conflicts_with = "remote_name")]
    pub(crate) output: Option<PathBuf>,
    /// Write the body to a file named as the last part of the URL's path.
    #[arg(short = 'O', long, requires = "url")]
    pub(crate) remote_name: bool,
    /// The folder for -o and -O; it must be there.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) output_dir: Option<PathBuf>,
    /// Print the status line and the headers before the body.
    #[arg(short, long)]
    pub(crate) include: bool,
    /// Print no body when the answer is an error. The exit code is 6 with or without it.
    #[arg(short, long)]
    pub(crate) fail: bool,
    /// Print no payment line and no notes. Errors are printed.
    #[arg(short, long)]
    pub(crate) silent: bool,
    /// As curl has it: errors are always shown here.
    #[arg(short = 'S', long, hide = true)]
    pub(crate) show_error: bool,
    /// As curl has it: nothing is held back here, each piece of the body is passed on as it comes.
    #[arg(short = 'N', long, hide = true)]
    pub(crate) no_buffer: bool,
    /// Print the heads of all requests and answers to standard error. Credentials are left out.
    #[arg(short, long, conflicts_with = "silent")]
    pub(crate) verbose: bool,
}

/// How to get there.
#[derive(Debug, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// Follow redirects before payment. To another origin go neither credentials nor payments.
    #[arg(short = 'L', long)]
    pub(crate) location: bool,
    /// As --location, and credentials and payments follow to other origins.
    #[arg(long)]
    pub(crate) location_trusted: bool,
    /// Most redirects to follow.
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) max_redirs: u32,
    /// Wait at most so many seconds for everything, the body included.
    #[arg(short = 'm', long, value_name = "SECONDS",
        value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_time: Option<u64>,
    /// Wait at most so many seconds for a connection.
    #[arg(long, value_name = "SECONDS", default_value_t = 20,
        value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) connect_timeout: u64,
    /// Try again so often when no answer comes, or 408, 425, 429, 500, 502, 503 or 504, with
    /// growing waits and Retry-After. What is paid for is never paid again: the same credential is
    /// sent, 4 times more when this is not given.
    #[arg(long, value_name = "N", visible_alias = "retry",
        value_parser = clap::value_parser!(u32).range(..=100))]
    pub(crate) retries: Option<u32>,
    /// The proxy: http://HOST:PORT. Otherwise HTTPS_PROXY and ALL_PROXY are followed. Plain HTTP
    /// to this machine goes through none but one of this machine that is given here.
    #[arg(short = 'x', long, value_name = "URL")]
    pub(crate) proxy: Option<String>,
    /// Hosts to reach without a proxy, separated by commas; `*` for all. Otherwise NO_PROXY.
    #[arg(long, value_name = "HOSTS", visible_alias = "noproxy")]
    pub(crate) no_proxy: Option<String>,
    /// Trust these certificate authorities (PEM) and no others.
    #[arg(long, value_name = "FILE")]
    pub(crate) cacert: Option<PathBuf>,
    /// Do not check the certificate of a server on this machine.
    #[arg(short = 'k', long)]
    pub(crate) insecure: bool,
    /// Do not check any certificate: whoever is on the way can take credentials and payments.
    #[arg(long)]
    pub(crate) dangerous_insecure: bool,
    /// Speak HTTP/1.1 only.
    #[arg(long = "http1.1", conflicts_with = "http2")]
    pub(crate) http1: bool,
    /// Speak HTTP/2 only; over plain HTTP, without asking first.
    #[arg(long)]
    pub(crate) http2: bool,
}
