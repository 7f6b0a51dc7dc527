//! `stiver wallet`: keys and accounts to pay with.

use std::path::PathBuf;

use serde_json::{Value, json};
use stiver_client::outbox::{Entry, HistoryFilter};
use stiver_core::untrusted::Untrusted;
use stiver_env::Env;
use stiver_ledger::id::AccountId;
use stiver_wallet::{Home, WalletName};

use crate::{
    args::{Wallet, WalletChoice},
    commands::get::Connect,
    failure::{Failure, FailureKind, UsageContext},
    output::{DIM, GOOD, Output, STRONG},
    payer::{Funds, bound_account, discover, funds, home_folder, open_wallet, remote_ledger},
};

/// Runs one of the wallet's commands.
pub(crate) async fn run(command: Wallet, env: &Env, output: Output) -> Result<(), Failure> {
    match command {
        Wallet::New { name, home } => new(&name, home.as_ref(), env, output).await,
        Wallet::List { home } => list(home.as_ref(), env, output),
        Wallet::Join { gateway, wallet } => join(&gateway, &wallet, env, output).await,
        Wallet::Balance { wallet } => balance(&wallet, env, output).await,
        Wallet::History { limit, wallet } => history(limit, &wallet, env, output),
    }
}

async fn new(name: &str, home: Option<&PathBuf>, env: &Env, output: Output) -> Result<(), Failure> {
    let home = Home::new(home_folder(home)?, env.clone());
    let name = WalletName::new(name).usage(format!("the name {name:?}"))?;
    let wallet = home
        .create(&name)
        .await
        .map_err(|error| Failure::new(FailureKind::Usage, error))?;
    let key = wallet.did().to_string();
    let account = AccountId::of_first_key(&wallet.did()).to_string();
    output.line(&format!(
        "made the wallet {}",
        output.paint(STRONG, name.as_str())
    ))?;
    output.line(&format!("{} {key}", output.paint(DIM, "key    ")))?;
    output.line(&format!("{} {account}", output.paint(DIM, "account")))?;
    output.line(&format!(
        "its secret is in {}: whoever has it can spend the money",
        home.folder().display()
    ))?;
    output.line("next: `stiver wallet join URL`, and have an issuer fund the key")?;
    output.object(&json!({"ok": true, "name": name.as_str(), "key": key, "account": account}))?;
    Ok(())
}

fn list(home: Option<&PathBuf>, env: &Env, output: Output) -> Result<(), Failure> {
    let home = Home::new(home_folder(home)?, env.clone());
    let mut rows: Vec<Value> = Vec::new();
    for wallet in home.wallets()? {
        let ledger = wallet.account()?.map(|account| account.ledger);
        let (name, key) = (wallet.name().as_str(), wallet.did().to_string());
        let bound = ledger.as_deref().unwrap_or("no ledger");
        output.line(&format!(
            "{} {key}  {bound}",
            output.paint(STRONG, &format!("{name:<16}"))
        ))?;
        rows.push(json!({"name": name, "key": key, "ledger": ledger}));
    }
    if rows.is_empty() {
        output.line("no wallets: `stiver wallet new` makes one")?;
    }
    output.object(&json!({"wallets": rows}))?;
    Ok(())
}

async fn join(
    gateway: &str,
    choice: &WalletChoice,
    env: &Env,
    output: Output,
) -> Result<(), Failure> {
    let (_, wallet) = open_wallet(choice, env)?;
    let account = discover(gateway, &wallet).await?;
    if let Some(bound) = wallet.account()?
        && bound.ledger != account.ledger
    {
        let message = format!(
            "the wallet {} is bound to the ledger {} already: make another with \
             `stiver wallet new NAME`, and join with --wallet NAME",
            wallet.name(),
            bound.ledger
        );
        return Err(Failure::usage(message));
    }
    if let Some(bound) = wallet.account()?
        && bound.receipt_key.is_some()
        && bound.receipt_key != account.receipt_key
    {
        let message = format!(
            "{gateway} says that the ledger {} signs with another key than before: it may be \
             somebody else's gateway",
            account.ledger
        );
        return Err(Failure::usage(message));
    }
    wallet.bind(&account)?;
    output.line(&format!(
        "the wallet {} pays on the ledger {}",
        output.paint(STRONG, wallet.name().as_str()),
        account.ledger
    ))?;
    output.line(&format!(
        "{} {}",
        output.paint(DIM, "account"),
        account.account
    ))?;
    output.object(&json!({
        "ok": true,
        "ledger": account.ledger,
        "account": account.account,
        "key": wallet.did().to_string(),
    }))?;
    Ok(())
}

async fn balance(choice: &WalletChoice, env: &Env, output: Output) -> Result<(), Failure> {
    let (_, wallet) = open_wallet(choice, env)?;
    let account = bound_account(&wallet)?;
    let remote = remote_ledger(&wallet, &account, &Connect::default(), env)?;
    let Funds { balances, frozen } = funds(&remote).await?;
    for (amount, held) in &balances {
        let held = if held.is_zero() {
            String::new()
        } else {
            format!("  ({held} held)")
        };
        output.line(&format!(
            "{}{held}",
            output.paint(GOOD, &amount.to_string())
        ))?;
    }
    if balances.is_empty() {
        output.line("nothing yet: have an issuer fund it")?;
    }
    let rows: Vec<Value> = balances
        .iter()
        .map(|(amount, held)| {
            json!({
                "currency": amount.currency().code(),
                "available": amount.to_wire(),
                "held": held.to_wire(),
                "display": amount.to_string(),
            })
        })
        .collect();
    output.object(&json!({"account": account.account, "frozen": frozen, "balances": rows}))?;
    Ok(())
}

fn history(limit: usize, choice: &WalletChoice, env: &Env, output: Output) -> Result<(), Failure> {
    let (_, wallet) = open_wallet(choice, env)?;
    let filter = HistoryFilter {
        newest: Some(limit),
        ..HistoryFilter::default()
    };
    let mut entries = wallet.history(&filter)?;
    entries.reverse();
    for entry in &entries {
        output.line(&format!(
            "{}  {:>14}  {:<10}  {} {}  {}",
            entry.begun_at.to_rfc3339(),
            entry.terms.amount.to_string(),
            entry.state.as_str(),
            entry.resource.method,
            Untrusted(&entry.resource.url),
            output.paint(DIM, &entry.id.to_string())
        ))?;
    }
    if entries.is_empty() {
        output.line("no payments yet")?;
    }
    let rows: Vec<Value> = entries.iter().map(row).collect();
    output.object(&json!({"payments": rows}))?;
    Ok(())
}

fn row(entry: &Entry) -> Value {
    json!({
        "call": entry.id.to_string(),
        "state": entry.state.as_str(),
        "moneyMoved": entry.money_moved().to_string(),
        "begunAt": entry.begun_at.to_rfc3339(),
        "method": entry.resource.method,
        "url": entry.resource.url,
        "amount": entry.terms.amount.to_wire(),
        "currency": entry.terms.amount.currency().code(),
        "display": entry.terms.amount.to_string(),
        "payee": entry.terms.payee,
        "realm": entry.terms.realm,
        "challengeId": entry.terms.challenge_id,
        "reference": entry.reference,
        "note": entry.note,
    })
}
