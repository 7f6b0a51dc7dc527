//! Payments of a running gateway: looked at, and given back.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Query, State, rejection::JsonRejection},
    http::StatusCode,
    routing::{get, post},
};
use serde::Deserialize;
use stiver_core::{Amount, Currency};
use stiver_server::{
    Gate,
    gate::{RefundFailure, RefundOutcome},
};

use super::{Failure, PAGE_DEFAULT, wire};

/// Longest reason of a refund, bytes: what a ledger's statement has room for.
pub(crate) const REASON_BYTES_MAX: usize = 64;
/// Longest key of a refund, bytes.
pub(crate) const REFUND_KEY_BYTES_MAX: usize = 64;

#[derive(Clone)]
struct Shared {
    gate: Gate,
    currencies: Arc<[Currency]>,
}

/// The router over the payments of a gate.
pub(crate) fn router(gate: Gate, currencies: &[Currency]) -> Router {
    Router::new()
        .route("/v1/payments", get(list))
        .route("/v1/payment", get(show))
        .route("/v1/refunds", post(refund))
        .with_state(Shared {
            gate,
            currencies: currencies.into(),
        })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    after: Option<String>,
    limit: Option<usize>,
}

async fn list(
    State(shared): State<Shared>,
    Query(query): Query<ListQuery>,
) -> Result<Json<wire::Payments>, Failure> {
    let limit = query.limit.unwrap_or(PAGE_DEFAULT);
    let page = shared.gate.payments(query.after.as_deref(), limit).await;
    let page = page.map_err(|error| Failure::of(StatusCode::INTERNAL_SERVER_ERROR, &error))?;
    Ok(Json(wire::Payments {
        payments: page.payments.iter().map(wire::Payment::from).collect(),
        next: page.next,
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ShowQuery {
    challenge: String,
}

async fn show(
    State(shared): State<Shared>,
    Query(query): Query<ShowQuery>,
) -> Result<Json<wire::Payment>, Failure> {
    let found = shared.gate.payment(&query.challenge).await;
    let found = found.map_err(|error| Failure::of(StatusCode::INTERNAL_SERVER_ERROR, &error))?;
    match found {
        Some(row) => Ok(Json(wire::Payment::from(&row))),
        None => Err(unknown(&query.challenge)),
    }
}

fn unknown(challenge: &str) -> Failure {
    let message = format!(
        "no payment of the challenge {challenge} is known, or the journal has let it go; \
         `stiver payments list` lists those that are"
    );
    Failure(StatusCode::NOT_FOUND, message)
}

async fn refund(
    State(shared): State<Shared>,
    body: Result<Json<wire::NewRefund>, JsonRejection>,
) -> Result<(StatusCode, Json<wire::RefundMade>), Failure> {
    let Json(new) = body.map_err(|error| Failure::bad(error.body_text()))?;
    let amount = new.amount.as_deref();
    let amount = amount.map(|text| shared.part(text)).transpose()?;
    let length = new.reason.len();
    if length == 0 || length > REASON_BYTES_MAX || new.reason.chars().any(char::is_control) {
        return Err(Failure::bad(format!(
            "reason: 1 to {REASON_BYTES_MAX} bytes without control characters: the payer sees it"
        )));
    }
    if let Some(key) = &new.key {
        let visible = key.bytes().all(|byte| byte.is_ascii_graphic());
        if key.is_empty() || key.len() > REFUND_KEY_BYTES_MAX || !visible {
            return Err(Failure::bad(format!(
                "key: 1 to {REFUND_KEY_BYTES_MAX} visible ASCII characters"
            )));
        }
    }
    let (id, key) = (&new.challenge, new.key.as_deref());
    // When the operator's connection ends: a whole refund is finished by recovery, a part is made
    // once however often it is asked for.
    let refund = shared.gate.refund(id, amount.as_ref(), &new.reason, key);
    match refund.await {
        Ok(RefundOutcome::Refunded { amount, reference }) => {
            let made = wire::RefundMade {
                amount: Some(wire::Money::from(&amount)),
                reference: Some(reference),
            };
            Ok((StatusCode::OK, Json(made)))
        }
        Ok(_) => {
            let pending = wire::RefundMade {
                amount: None,
                reference: None,
            };
            Ok((StatusCode::ACCEPTED, Json(pending)))
        }
        Err(RefundFailure::NoSuchPayment { challenge_id }) => Err(unknown(&challenge_id)),
        Err(error) => Err(Failure::of(status(&error), &error)),
    }
}

impl Shared {
    fn part(&self, text: &str) -> Result<Amount, Failure> {
        let find = |code: &str| {
            let mut known = self.currencies.iter();
            known
                .find(|known| known.code().eq_ignore_ascii_case(code))
                .cloned()
        };
        Amount::parse_human(text, find)
            .map_err(|error| Failure::bad(format!("the amount {text:?}: {error}")))
    }
}

fn status(failure: &RefundFailure) -> StatusCode {
    match failure {
        RefundFailure::NoSuchPayment { .. } => StatusCode::NOT_FOUND,
        RefundFailure::Amount { .. } => StatusCode::BAD_REQUEST,
        RefundFailure::Channel
        | RefundFailure::State { .. }
        | RefundFailure::KeyUsed
        | RefundFailure::Method(_)
        | RefundFailure::Refused(_) => StatusCode::CONFLICT,
        RefundFailure::Busy => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
