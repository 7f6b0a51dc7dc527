//! `stiver payments`, as it is typed.

use clap::{Args, Subcommand};

use super::ConfigChoice;

/// `stiver payments ...`
///
/// Of the running gateway: its journal knows a payment from its credential on until nobody can
/// bring that credential again.
#[derive(Debug, Subcommand)]
pub(crate) enum Payments {
    /// List payments: those with work left first, then the others, latest first.
    List {
        /// At most so many.
        #[arg(short = 'n', long, default_value_t = 100)]
        limit: usize,
        #[command(flatten)]
        config: ConfigChoice,
    },
    /// Show one payment.
    Show {
        #[command(flatten)]
        payment: PaymentChoice,
        #[command(flatten)]
        config: ConfigChoice,
    },
    /// Give a payment back, whole or in part.
    ///
    /// The whole of a payment goes back once, however often it is asked for. So does a part with
    /// the same --key, or with the same amount and reason when no key is given.
    Refund(Refund),
}

/// Which payment.
#[derive(Debug, Args)]
pub(crate) struct PaymentChoice {
    /// The id of the challenge that it answers: it is in the receipt and in the logs.
    #[arg(value_name = "CHALLENGE", allow_hyphen_values = true)]
    pub(crate) challenge: String,
}

/// `stiver payments refund`
#[derive(Debug, Args)]
pub(crate) struct Refund {
    #[command(flatten)]
    pub(crate) payment: PaymentChoice,
    /// A part of it, such as "0.01 USD"; the whole when not given.
    #[arg(long, value_name = "AMOUNT")]
    pub(crate) amount: Option<String>,
    /// Why, for the payer's statement: 1 to 64 bytes.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    /// A name for a refund of a part, such as the number of a complaint: 1 to 64 visible
    /// characters.
    #[arg(long, value_name = "KEY", requires = "amount")]
    pub(crate) key: Option<String>,
    #[command(flatten)]
    pub(crate) config: ConfigChoice,
}
