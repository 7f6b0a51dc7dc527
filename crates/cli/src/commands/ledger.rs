//! `stiver ledger`: issue money, look at the books.

use serde_json::json;
use stiver_core::{Amount, Timestamp, base64url, did::DidKey};
use stiver_env::Env;
use stiver_gateway::{admin::wire, config::Config};
use stiver_ledger::{
    id::{AccountId, LedgerId, Nonce},
    order::{Action, Order},
    text::CurrencyCode,
};

use crate::{
    args::Ledger,
    books::Books,
    config::read_config,
    failure::{Failure, UsageContext},
    output::{DIM, GOOD, Output, STRONG},
};

/// How long an order to issue is valid, milliseconds: one minute.
const ORDER_LIFETIME_MS: u64 = 60_000;
/// Accounts or movements asked for at once.
const PAGE: usize = 500;

/// Runs one of the ledger's commands.
pub(crate) async fn run(command: Ledger, env: &Env, output: Output) -> Result<(), Failure> {
    let (Ledger::Issue { config, .. }
    | Ledger::Accounts { config }
    | Ledger::Statement { config, .. }
    | Ledger::Check { config }) = &command;
    let config = read_config(&config.config, env)?;
    let asked = Asked::read(&command, &config)?;
    let books = Books::find(&config, env).await?;
    let result = match asked {
        Asked::Issue(new) => issue(&books, &config, new, env, output).await,
        Asked::Accounts => accounts(&books, output).await,
        Asked::Statement(account, limit) => statement(&books, account, limit, output).await,
        Asked::Check => check(&books, output).await,
    };
    books.close().await?;
    result
}

/// What is asked, checked before the ledger is opened: a mistake on the command line opens nothing.
enum Asked {
    Issue(NewMoney),
    Accounts,
    Statement(AccountId, usize),
    Check,
}

/// Money to issue.
struct NewMoney {
    account: AccountId,
    first_key: Option<DidKey>,
    amount: Amount,
}

impl Asked {
    fn read(command: &Ledger, config: &Config) -> Result<Self, Failure> {
        Ok(match command {
            Ledger::Issue { to, amount, .. } => {
                let (account, first_key) = target(to)?;
                let amount = issuable(amount, config)?;
                Self::Issue(NewMoney {
                    account,
                    first_key,
                    amount,
                })
            }
            Ledger::Accounts { .. } => Self::Accounts,
            Ledger::Statement { account, limit, .. } => {
                let id = account.parse().usage(format!("{account:?}"))?;
                Self::Statement(id, *limit)
            }
            Ledger::Check { .. } => Self::Check,
        })
    }
}

/// Who gets what is issued: an account, or the account that a key opens.
fn target(to: &str) -> Result<(AccountId, Option<DidKey>), Failure> {
    if to.starts_with("did:") {
        let key: DidKey = to.parse().usage(format!("{to:?}"))?;
        return Ok((AccountId::of_first_key(&key), Some(key)));
    }
    let account = to
        .parse()
        .usage(format!("{to:?}: give a did:key:... or an acct_..."))?;
    Ok((account, None))
}

/// An amount of the ledger's that is more than nothing.
pub(crate) fn issuable(text: &str, config: &Config) -> Result<Amount, Failure> {
    let find = |code: &str| {
        config
            .currencies
            .iter()
            .find(|known| known.code().eq_ignore_ascii_case(code))
            .cloned()
    };
    let amount = Amount::parse_human(text, find).usage(format!("the amount {text:?}"))?;
    if amount.is_zero() {
        return Err(Failure::usage(
            "the amount is zero: there is nothing to issue",
        ));
    }
    Ok(amount)
}

async fn issue(
    books: &Books,
    config: &Config,
    new: NewMoney,
    env: &Env,
    output: Output,
) -> Result<(), Failure> {
    let NewMoney {
        account,
        first_key,
        amount,
    } = new;
    let key = Books::issuer(config, env)?;
    let about: wire::Books = books.get("/v1/books").await?;
    let ledger: LedgerId = about.ledger.parse()?;
    let now = Timestamp::parse_rfc3339(&about.at)?;
    let order = Order {
        ledger,
        account: AccountId::of_first_key(&key.did()),
        nonce: Nonce::from_bytes(env.random()),
        expires: now.plus_millis(ORDER_LIFETIME_MS),
        action: Action::Mint {
            to: account,
            amount: amount.units(),
            currency: CurrencyCode::new(amount.currency().code())?,
            first_key,
            owner: None,
        },
    };
    let signed = stiver_method_ledger::sign::order(&order, key.as_ref()).await?;
    let new = wire::NewOrder {
        order: base64url::encode(&signed.signed().to_bytes()),
    };
    let done: wire::Executed = books.post("/v1/orders", &new).await?;
    let issued = output.paint(GOOD, &amount.to_string());
    output.line(&format!("issued {issued} to {account}"))?;
    output.line(&format!("{} {}", output.paint(DIM, "transfer"), done.id))?;
    output.line(&format!("{} {ledger}", output.paint(DIM, "ledger  ")))?;
    output.object(&json!({
        "ok": true,
        "account": account.to_string(),
        "amount": done.amount,
        "transfer": done.id,
        "ledger": about.ledger,
    }))?;
    Ok(())
}

async fn accounts(books: &Books, output: Output) -> Result<(), Failure> {
    let mut all: Vec<wire::Account> = Vec::new();
    loop {
        let after = all
            .last()
            .map(|last| format!("&after={}", last.id))
            .unwrap_or_default();
        let page: wire::Accounts = books
            .get(&format!("/v1/accounts?limit={PAGE}{after}"))
            .await?;
        let is_last = page.accounts.len() < PAGE;
        all.extend(page.accounts);
        if is_last {
            break;
        }
    }
    for account in &all {
        let frozen = if account.frozen { "  frozen" } else { "" };
        output.line(&format!("{}{frozen}", output.paint(STRONG, &account.id)))?;
        for balance in &account.balances {
            let held = match balance.held.units.as_str() {
                "0" => String::new(),
                _ => format!("  ({} held)", balance.held.display),
            };
            output.line(&format!("  {:>20}{held}", balance.posted.display))?;
        }
        for key in &account.keys {
            output.line(&format!("  {}", output.paint(DIM, key)))?;
        }
    }
    output.object(&json!({"accounts": all}))?;
    Ok(())
}

async fn statement(
    books: &Books,
    account: AccountId,
    limit: usize,
    output: Output,
) -> Result<(), Failure> {
    let mut all: Vec<wire::Movement> = Vec::new();
    let mut before = String::new();
    while all.len() < limit {
        let page_size = PAGE.min(limit - all.len());
        let target = format!("/v1/statement?account={account}&limit={page_size}{before}");
        let page: wire::Statement = books.get(&target).await?;
        all.extend(page.movements);
        match page.next {
            Some(next) => before = format!("&before={next}"),
            None => break,
        }
    }
    for row in &all {
        output.line(&format!(
            "{}  {:>18}  {:<8}  {}",
            row.at, row.amount.display, row.kind, row.other
        ))?;
    }
    if all.is_empty() {
        output.line("no movements")?;
    }
    output.object(&json!({"account": account.to_string(), "movements": all}))?;
    Ok(())
}

async fn check(books: &Books, output: Output) -> Result<(), Failure> {
    let report: wire::Check = books.post("/v1/check", &json!({})).await?;
    output.line(&format!(
        "{} {} events, {} signatures, {} accounts",
        output.paint(GOOD, "the books balance:"),
        report.events,
        report.signatures,
        report.books.accounts
    ))?;
    for row in &report.books.currencies {
        output.line(&format!(
            "  {} issued, {} held",
            row.issued.display, row.held.display
        ))?;
    }
    output.line(&format!("{} {}", output.paint(DIM, "chain"), report.chain))?;
    output.object(&serde_json::to_value(&report)?)?;
    Ok(())
}
