//! `stiver status`: how a running gateway is doing.

use anyhow::{Context, anyhow};
use http::{Request, StatusCode, header};
use stiver_env::Env;
use stiver_gateway::observe::wire;

use crate::{
    args::ConfigChoice,
    books::through,
    config::read_config,
    failure::{Failure, FailureKind},
    output::{BAD, DIM, GOOD, HEADING, Output, STRONG},
};

/// Asks the admin socket of the gateway, and prints a table.
pub(crate) async fn run(args: &ConfigChoice, env: &Env, output: Output) -> Result<(), Failure> {
    let config = read_config(&args.config, env)?;
    let socket = config.admin_socket();
    if env
        .disk
        .open(&socket, false)
        .is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
    {
        let message = format!(
            "no gateway is running: {} is not there; `stiver serve` starts one",
            socket.display()
        );
        return Err(Failure::new(FailureKind::Network, anyhow!("{message}")));
    }
    let request = Request::get("/v1/status")
        .header(header::HOST, "stiver")
        .body(Vec::new())?;
    let (status, answer) = through(&socket, env, request)
        .await
        .map_err(|failure| Failure::new(FailureKind::Network, failure.error))?;
    if status != StatusCode::OK {
        return Err(anyhow!("the gateway answered {status}: is it of this version?").into());
    }
    let status: wire::Status =
        serde_json::from_slice(&answer).context("reading the gateway's answer")?;
    if output.is_json() {
        output.object(&serde_json::to_value(&status)?)?;
    } else {
        table(&status, output)?;
    }
    match status.ready.ready {
        true => Ok(()),
        false => Err(Failure::new(FailureKind::Reported, anyhow!("not ready"))),
    }
}

fn sessions(sessions: &wire::Sessions, output: Output) -> Result<(), Failure> {
    heading(output, "Sessions")?;
    let open = format!("{} of {}", sessions.open, sessions.open_max);
    row(output, "channels", &open)?;
    let Some(held) = &sessions.held else {
        return Ok(());
    };
    row(output, "deposits", &held.deposit.display)?;
    row(output, "authorised", &held.accepted.display)?;
    row(output, "served", &held.spent.display)?;
    row(output, "being served", &held.reserved.display)?;
    row(output, "not taken yet", &held.unsettled.display)
}

fn table(status: &wire::Status, output: Output) -> Result<(), Failure> {
    let head = match status.ready.ready {
        true => output.paint(GOOD, "ready"),
        false => output.paint(BAD, "not ready"),
    };
    let about = format!(
        "version {}, up {}",
        status.version,
        duration(status.uptime_s)
    );
    output.line(&format!("{head}  {}", output.paint(DIM, &about)))?;
    for check in &status.ready.checks {
        let word = match &check.why {
            None => output.paint(GOOD, "ok"),
            Some(why) => output.paint(BAD, why),
        };
        row(output, &check.name, &word)?;
    }
    heading(output, "Payments")?;
    row(output, "at work", &status.at_work.to_string())?;
    match status.undelivered.as_deref() {
        None => row(output, "undelivered", "the store cannot tell")?,
        Some([]) => row(output, "undelivered", "none")?,
        Some(rows) => {
            for held in rows {
                let amount = output.paint(STRONG, &held.amount.display);
                let text = format!("{} by {}, {amount}", held.payments, held.method);
                row(output, "undelivered", &text)?;
            }
        }
    }
    sessions(&status.sessions, output)?;
    heading(output, "Held")?;
    let of = |held: &dyn ToString, max: &dyn ToString| {
        format!("{} of {}", held.to_string(), max.to_string())
    };
    let store = &status.store;
    row(
        output,
        "connections",
        &of(&status.connections, &status.connections_max),
    )?;
    let spooled = of(&status.spooled_bytes, &status.spooled_bytes_max);
    row(output, "body bytes", &spooled)?;
    row(output, "claims", &of(&store.claims, &store.claims_max))?;
    let bytes = of(&store.claims_bytes, &store.claims_bytes_max);
    row(output, "claim bytes", &bytes)?;
    let bytes = of(&store.responses_bytes, &store.responses_bytes_max);
    row(output, "response bytes", &bytes)?;
    heading(output, "Logs")?;
    for log in &status.logs {
        let text = match &log.failure {
            Some(why) => output.paint(BAD, why),
            None => format!(
                "{} events; {} batches since the start, {} us each",
                log.events, log.batches, log.write_us_average
            ),
        };
        row(output, &log.name, &text)?;
    }
    if let Some(books) = &status.ledger {
        heading(output, "Ledger")?;
        row(output, "accounts", &books.accounts.to_string())?;
        row(output, "orders", &books.executed.to_string())?;
        for currency in &books.currencies {
            row(output, "issued", &currency.issued.display)?;
        }
    }
    Ok(())
}

fn heading(output: Output, text: &str) -> Result<(), Failure> {
    Ok(output.line(&format!("\n{}", output.paint(HEADING, text)))?)
}

fn row(output: Output, name: &str, value: &str) -> Result<(), Failure> {
    Ok(output.line(&format!("  {name:<16}{value}"))?)
}

/// `3d 4h`, `4h 5m`, `5m 6s` or `6s`.
fn duration(seconds: u64) -> String {
    let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
    let (minutes, rest) = (seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest}s"),
        (0, 0, _) => format!("{minutes}m {rest}s"),
        (0, _, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn durations_are_told_in_their_two_largest_units() {
        let table = [
            (6, "6s"),
            (306, "5m 6s"),
            (14_700, "4h 5m"),
            (273_600, "3d 4h"),
        ];
        for (seconds, text) in table {
            assert_eq!(super::duration(seconds), text);
        }
    }
}
