//! `stiver wallet`: keys and accounts to pay with.

mod fund;
mod history;
mod keys;

#[cfg(test)]
pub(crate) use history::COLUMNS;
use serde_json::{Value, json};
use stiver_env::Env;
use stiver_wallet::Account;

use crate::{
    args::{HomeChoice, Wallet, WalletChoice},
    commands::get::Connect,
    failure::Failure,
    output::{DIM, GOOD, Output, STRONG},
    passphrase::{Asked, KEY_VARIABLE},
    payer::{
        Funds, bound_account, discover, environment_key, funds, open_home, open_wallet,
        remote_ledger, wallet_failure,
    },
};

/// Runs one of the wallet's commands.
pub(crate) async fn run(command: Wallet, env: &Env, output: Output) -> Result<(), Failure> {
    match command {
        Wallet::New { wallet, keep } => keys::new(&wallet, keep, env, output).await,
        Wallet::List { home } => list(&home, env, output),
        Wallet::Join { gateway, wallet } => join(&gateway, &wallet, env, output).await,
        Wallet::Fund(args) => fund::run(args, env, output).await,
        Wallet::Balance { wallet } => balance(&wallet, env, output).await,
        Wallet::History(args) => history::run(&args, env, output),
        Wallet::Import(args) => keys::import(&args, env, output).await,
        Wallet::Export(args) => keys::export(&args, env, output),
        Wallet::Move(args) => keys::move_key(&args, env, output).await,
        Wallet::Passwd(args) => keys::passwd(&args, env, output).await,
    }
}

fn list(choice: &HomeChoice, env: &Env, output: Output) -> Result<(), Failure> {
    let home = open_home(choice, Asked::new(choice), env)?;
    let given = environment_key()?.map(|key| key.did().to_string());
    let mut rows: Vec<Value> = Vec::new();
    for wallet in home.wallets().map_err(wallet_failure)? {
        let ledger = wallet.account()?.map(|account| account.ledger);
        let (name, key) = (wallet.name().as_str(), wallet.did().to_string());
        let bound = ledger.as_deref().unwrap_or("no ledger");
        let kept = wallet.kept().as_str();
        output.line(&format!(
            "{} {key}  {kept:<14}  {bound}",
            output.paint(STRONG, &format!("{name:<16}"))
        ))?;
        rows.push(json!({"name": name, "key": key, "keptIn": kept, "ledger": ledger}));
    }
    if rows.is_empty() {
        output.line("no wallets: `stiver wallet new` makes one")?;
    }
    if let Some(key) = &given {
        output.note(&format!(
            "{KEY_VARIABLE} is set: every command that pays uses its key {key}"
        ))?;
    }
    output.object(&json!({"wallets": rows, "environmentKey": given}))?;
    Ok(())
}

async fn join(
    gateway: &str,
    choice: &WalletChoice,
    env: &Env,
    output: Output,
) -> Result<(), Failure> {
    let (_, wallet) = open_wallet(choice, env)?;
    let account = bind(gateway, &wallet).await?;
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

/// Binds a wallet to the ledger of a gateway, when it is bound to no other.
async fn bind(gateway: &str, wallet: &stiver_wallet::Wallet) -> Result<Account, Failure> {
    let account = discover(gateway, wallet).await?;
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
    Ok(account)
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
