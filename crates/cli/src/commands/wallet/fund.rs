//! `stiver wallet fund`: from nothing to a wallet with money, where the gateway is one's own.

use stiver_env::Env;
use stiver_gateway::config::Config;
use stiver_wallet::{Keep, Wallet, WalletName};

use crate::{
    args::{Fund, Ledger, WalletChoice},
    commands::ledger,
    config::read_config,
    failure::{Failure, UsageContext},
    output::{Output, STRONG},
    passphrase::Asked,
    payer::{environment_key, open_home, open_wallet, wallet_failure},
};

/// Makes what is missing, joins, issues.
pub(super) async fn run(args: Fund, env: &Env, output: Output) -> Result<(), Failure> {
    let config = read_config(&args.config.config, env)?;
    ledger::issuable(&args.amount, &config)?;
    let gateway = gateway_url(&config)?;
    let wallet = found_or_made(&args.wallet, env, output).await?;
    let account = super::bind(&gateway, &wallet).await?;
    output.line(&format!(
        "the wallet {} pays on the ledger {}",
        output.paint(STRONG, wallet.name().as_str()),
        account.ledger
    ))?;
    let issue = Ledger::Issue {
        to: wallet.did().to_string(),
        amount: args.amount,
        config: args.config,
    };
    ledger::run(issue, env, output).await
}

/// Where the gateway is reached from this machine.
fn gateway_url(config: &Config) -> Result<String, Failure> {
    let plain = config.listeners.iter().find(|one| one.tls.is_none());
    let listener = plain.ok_or_else(|| {
        Failure::usage(
            "every listener of this gateway speaks TLS, and its certificate is for a name that \
             is not known here: run `stiver wallet join https://NAME`, then `stiver ledger issue`",
        )
    })?;
    let mut address = listener.address;
    if address.port() == 0 {
        return Err(Failure::usage(
            "this gateway listens on any free port: run `stiver wallet join URL` with the one it \
             told, then `stiver ledger issue`",
        ));
    }
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            std::net::IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            std::net::IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    Ok(format!("http://{address}"))
}

async fn found_or_made(
    choice: &WalletChoice,
    env: &Env,
    output: Output,
) -> Result<Wallet, Failure> {
    let name = WalletName::new(&choice.wallet).usage(format!("--wallet {:?}", choice.wallet))?;
    let home = open_home(&choice.home, Asked::new(&choice.home), env)?;
    let is_there = home.names().map_err(wallet_failure)?.contains(&name);
    if is_there || environment_key()?.is_some() {
        return Ok(open_wallet(choice, env)?.1);
    }
    let made = home.create(&name, Keep::PlainFile).await;
    let wallet = made.map_err(wallet_failure)?;
    output.line(&format!(
        "made the wallet {}, its key in {}",
        output.paint(STRONG, name.as_str()),
        home.key_path(&name).display()
    ))?;
    Ok(wallet)
}
