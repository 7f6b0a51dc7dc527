//! `stiver payments`: what a gateway's journal knows, and giving money back.

use anyhow::anyhow;
use http::{Request, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::json;
use stiver_client::MoneyMoved;
use stiver_core::untrusted::Untrusted;
use stiver_env::Env;
use stiver_gateway::{admin::wire, config::Config};

use crate::{
    args::{Payments, Refund},
    books::through,
    config::read_config,
    failure::{Advice, Again, Failure, FailureKind},
    output::{DIM, GOOD, Output, STRONG},
};

/// Payments asked for at once.
const PAGE: usize = 500;

/// Runs one of the commands.
pub(crate) async fn run(command: Payments, env: &Env, output: Output) -> Result<(), Failure> {
    match command {
        Payments::List { limit, config } => {
            let gateway = Admin::of(read_config(&config.config, env)?, env).await?;
            list(&gateway, limit, output).await
        }
        Payments::Show { payment, config } => {
            let gateway = Admin::of(read_config(&config.config, env)?, env).await?;
            show(&gateway, &payment.challenge, output).await
        }
        Payments::Refund(refund) => {
            let gateway = Admin::of(read_config(&refund.config.config, env)?, env).await?;
            give_back(&gateway, refund, output).await
        }
    }
}

/// The admin socket of a gateway that runs.
struct Admin<'a> {
    config: Config,
    env: &'a Env,
}

impl<'a> Admin<'a> {
    async fn of(config: Config, env: &'a Env) -> Result<Self, Failure> {
        let socket = config.admin_socket();
        // A socket that nobody listens at was left behind by a gateway that was killed.
        if env.net.connect_local(&socket).await.is_err() {
            return Err(Failure::usage(format!(
                "no gateway answers at {}: start it with `stiver serve`, its journal has the \
                 payments",
                socket.display()
            )));
        }
        Ok(Self { config, env })
    }

    async fn ask<A: DeserializeOwned>(
        &self,
        request: http::request::Builder,
        body: Vec<u8>,
    ) -> Result<(StatusCode, A), Failure> {
        let request = request
            .header(header::HOST, "stiver")
            .header(header::CONTENT_TYPE, "application/json")
            .body(body)?;
        let socket = self.config.admin_socket();
        let (status, answer) = through(&socket, self.env, request).await?;
        if status.is_success() {
            return Ok((status, serde_json::from_slice(&answer)?));
        }
        let failed: Result<wire::Failed, _> = serde_json::from_slice(&answer);
        let said = failed.map_or_else(|_| status.to_string(), |failed| failed.error);
        Err(refused(status, &said))
    }

    async fn get<A: DeserializeOwned>(&self, target: &str) -> Result<A, Failure> {
        let (_, answer) = self.ask(Request::get(target), Vec::new()).await?;
        Ok(answer)
    }
}

/// What the gateway refused, and how the command ends for it.
fn refused(status: StatusCode, said: &str) -> Failure {
    let error = anyhow!("{}", Untrusted(said));
    let advice = |moved, again, next: &str| Advice {
        moved,
        again,
        next: next.to_owned(),
    };
    match status {
        StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND => Failure::new(FailureKind::Usage, error),
        StatusCode::CONFLICT => {
            Failure::new(FailureKind::Refused, error).with(advice(MoneyMoved::No, Again::No, ""))
        }
        StatusCode::SERVICE_UNAVAILABLE => {
            Failure::new(FailureKind::Other, error).with(advice(MoneyMoved::No, Again::Safe, ""))
        }
        _ => Failure::new(FailureKind::Unknown, error).with(advice(
            MoneyMoved::Maybe,
            Again::Safe,
            ASK_AGAIN,
        )),
    }
}

/// What to do when nobody knows what became of a refund.
const ASK_AGAIN: &str = "ask again in the same words: it is made once";

async fn list(gateway: &Admin<'_>, limit: usize, output: Output) -> Result<(), Failure> {
    let mut all: Vec<wire::Payment> = Vec::new();
    let mut after = String::new();
    while all.len() < limit {
        let size = PAGE.min(limit - all.len());
        let target = format!("/v1/payments?limit={size}{after}");
        let page: wire::Payments = gateway.get(&target).await?;
        all.extend(page.payments);
        match page.next {
            Some(next) => after = format!("&after={}", in_query(&next)),
            None => break,
        }
    }
    for row in &all {
        let state = if row.kept { "kept" } else { &row.state };
        let amount = row.settled.as_ref().map_or(&row.amount, |it| &it.amount);
        output.line(&format!(
            "{}  {:>16}  {state:<10}  {}  {}",
            row.claimed_at,
            amount.display,
            output.paint(STRONG, &visible(&row.challenge)),
            visible(&row.resource),
        ))?;
    }
    if all.is_empty() {
        output.line("no payments")?;
    }
    output.object(&json!({"payments": all}))?;
    Ok(())
}

async fn show(gateway: &Admin<'_>, challenge: &str, output: Output) -> Result<(), Failure> {
    let target = format!("/v1/payment?challenge={}", in_query(challenge));
    let row: wire::Payment = gateway.get(&target).await?;
    let kept = if row.kept {
        ", nothing was delivered and the money kept"
    } else {
        ""
    };
    let mut lines = vec![
        ("challenge", visible(&row.challenge)),
        ("state", format!("{}{kept}", row.state)),
        ("asked", row.amount.display.clone()),
        ("for", visible(&row.resource)),
        ("at", row.claimed_at.clone()),
        ("method", row.method.clone()),
        ("payee", visible(&row.payee)),
        (
            "payer",
            visible(row.payer.as_deref().unwrap_or("not proven")),
        ),
        ("deliveries", row.deliveries_started.to_string()),
    ];
    let moved = |it: &wire::Moved| {
        format!(
            "{}, {}, {}",
            it.amount.display,
            it.at,
            visible(&it.reference)
        )
    };
    lines.extend(row.settled.as_ref().map(|it| ("settled", moved(it))));
    lines.extend(row.refunded.as_ref().map(|it| ("refunded", moved(it))));
    lines.extend(row.refusal.as_ref().map(|it| ("refused", visible(it))));
    lines.extend(row.kept_until.clone().map(|it| ("known until", it)));
    for (name, value) in lines {
        output.line(&format!(
            "{}{value}",
            output.paint(DIM, &format!("{name:<12}"))
        ))?;
    }
    output.object(&json!({"payment": row}))?;
    Ok(())
}

async fn give_back(gateway: &Admin<'_>, refund: Refund, output: Output) -> Result<(), Failure> {
    let challenge = refund.payment.challenge;
    let new = wire::NewRefund {
        challenge: challenge.clone(),
        amount: refund.amount,
        reason: refund.reason,
        key: refund.key,
    };
    let body = serde_json::to_vec(&new)?;
    let (_, made): (_, wire::RefundMade) = gateway.ask(Request::post("/v1/refunds"), body).await?;
    let (Some(amount), Some(reference)) = (made.amount, made.reference) else {
        let error = anyhow!("the refund is under way, and nobody knows yet what became of it");
        return Err(Failure::new(FailureKind::Unknown, error).with(Advice {
            moved: MoneyMoved::Maybe,
            again: Again::Safe,
            next: ASK_AGAIN.to_owned(),
        }));
    };
    let back = output.paint(GOOD, &amount.display);
    output.line(&format!("gave {back} back"))?;
    output.line(&format!(
        "{} {}",
        output.paint(DIM, "reference"),
        visible(&reference)
    ))?;
    output.object(&json!({
        "ok": true,
        "challenge": challenge,
        "amount": amount,
        "reference": reference,
    }))?;
    Ok(())
}

/// Somebody else's text, without what a terminal would obey.
fn visible(text: &str) -> String {
    Untrusted(text).to_string()
}

/// A value in a query: everything but letters, digits, `-`, `_` and `.` as percent signs.
fn in_query(text: &str) -> String {
    let mut query = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                query.push(char::from(byte));
            }
            _ => query.push_str(&format!("%{byte:02X}")),
        }
    }
    query
}

#[cfg(test)]
mod tests {
    #[test]
    fn values_in_a_query_keep_their_bytes() {
        assert_eq!(super::in_query("aZ0-_."), "aZ0-_.");
        assert_eq!(super::in_query("a&b=c d\u{e9}"), "a%26b%3Dc%20d%C3%A9");
    }
}
