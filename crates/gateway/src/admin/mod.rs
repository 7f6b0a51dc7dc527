//! The admin interface of the ledger: one HTTP router, on a Unix socket or called in process.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/books` | the ledger's id, and every currency's sums |
//! | `GET /v1/accounts?after=ID&limit=N` | a page of accounts |
//! | `GET /v1/statement?account=ID&before=SEQ&limit=N` | a page of movements, newest first |
//! | `POST /v1/check` | checks the books and the whole log |
//! | `POST /v1/orders` | executes a signed order: `{"order":"<base64url>"}` |
//! | `POST /v1/reload` | reads the configuration again: only of a gateway that runs |
//! | `POST /v1/secrets/rotate` | puts a new challenge secret into force: the same |
//! | `GET /v1/payments?after=CHALLENGE&limit=N` | a page of what the journal knows: the same |
//! | `GET /v1/payment?challenge=CHALLENGE` | one payment: the same |
//! | `POST /v1/refunds` | gives a payment back, whole or in part: the same |
//!
//! Orders carry their signature, so that the router needs not be trusted with an issuer's key.
//! Errors are `{"error":"..."}` with a status of 400 or more.

pub(crate) mod control;
pub(crate) mod payments;
pub mod wire;

use std::error::Error;

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Query, State, rejection::JsonRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use stiver_core::{Timestamp, base64url};
use stiver_ledger::{ExecuteFailure, Ledger, order::SignedOrder, view};

/// Longest request body, bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Accounts or movements in one page unless the request says otherwise.
const PAGE_DEFAULT: usize = 100;

/// The router over a ledger.
pub fn router(ledger: Ledger) -> Router {
    Router::new()
        .route("/v1/books", get(books))
        .route("/v1/accounts", get(accounts))
        .route("/v1/statement", get(statement))
        .route("/v1/check", post(check))
        .route("/v1/orders", post(orders))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(ledger)
}

/// An answer that is none: a status and what to tell.
struct Failure(StatusCode, String);

impl Failure {
    fn bad(message: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, message.into())
    }

    /// The whole chain of causes: this is for the operator.
    fn of(status: StatusCode, error: &dyn Error) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            message = format!("{message}: {error}");
            cause = error.source();
        }
        Self(status, message)
    }

    fn ledger(error: &stiver_ledger::LedgerError) -> Self {
        Self::of(StatusCode::INTERNAL_SERVER_ERROR, error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.0, Json(wire::Failed { error: self.1 })).into_response()
    }
}

async fn books(State(ledger): State<Ledger>) -> Result<Json<wire::Books>, Failure> {
    let books = ledger
        .books()
        .await
        .map_err(|error| Failure::ledger(&error))?;
    Ok(Json(wire::Books::from(&books)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountsQuery {
    after: Option<String>,
    limit: Option<usize>,
}

async fn accounts(
    State(ledger): State<Ledger>,
    Query(query): Query<AccountsQuery>,
) -> Result<Json<wire::Accounts>, Failure> {
    let after = query
        .after
        .map(|text| text.parse())
        .transpose()
        .map_err(|error| Failure::bad(format!("after: {error}")))?;
    let limit = query.limit.unwrap_or(PAGE_DEFAULT);
    let page = ledger
        .accounts(after, limit)
        .await
        .map_err(|error| Failure::ledger(&error))?;
    Ok(Json(wire::Accounts {
        accounts: page.iter().map(wire::Account::from).collect(),
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StatementQuery {
    account: String,
    before: Option<u64>,
    limit: Option<usize>,
}

async fn statement(
    State(ledger): State<Ledger>,
    Query(query): Query<StatementQuery>,
) -> Result<Json<wire::Statement>, Failure> {
    let account = query
        .account
        .parse()
        .map_err(|error| Failure::bad(format!("account: {error}")))?;
    let known = ledger
        .account(account)
        .await
        .map_err(|error| Failure::ledger(&error))?;
    if known.is_none() {
        let message = format!("there is no account {account}; `stiver ledger accounts` lists them");
        return Err(Failure(StatusCode::NOT_FOUND, message));
    }
    let request = view::StatementRequest {
        account,
        from: Timestamp::from_millis(0),
        to: Timestamp::MAX,
        before: query.before,
        limit: query.limit.unwrap_or(PAGE_DEFAULT),
    };
    let page = ledger
        .full_statement(request)
        .await
        .map_err(|error| Failure::ledger(&error))?;
    Ok(Json(wire::Statement {
        movements: page
            .transfers
            .iter()
            .map(|row| wire::Movement::of(row, account))
            .collect(),
        next: page.next,
    }))
}

async fn check(State(ledger): State<Ledger>) -> Result<Json<wire::Check>, Failure> {
    let report = ledger
        .check()
        .await
        .map_err(|error| Failure::ledger(&error))?;
    Ok(Json(wire::Check {
        ok: true,
        events: report.events,
        signatures: report.signatures,
        chain: base64url::encode(&report.chain),
        books: wire::Books::from(&report.books),
    }))
}

async fn orders(
    State(ledger): State<Ledger>,
    body: Result<Json<wire::NewOrder>, JsonRejection>,
) -> Result<Json<wire::Executed>, Failure> {
    let Json(new) = body.map_err(|error| Failure::bad(error.body_text()))?;
    let bytes = base64url::decode(new.order.as_bytes())
        .map_err(|error| Failure::bad(format!("order: {error}")))?;
    let signed = SignedOrder::from_bytes(&bytes)
        .map_err(|error| Failure::of(StatusCode::BAD_REQUEST, &error))?;
    let verified = signed
        .verify()
        .map_err(|error| Failure::of(StatusCode::BAD_REQUEST, &error))?;
    match ledger.execute(verified).await {
        Ok(outcome) => Ok(Json(wire::Executed::from(&outcome))),
        Err(ExecuteFailure::Refused(refusal)) => Err(Failure::of(StatusCode::CONFLICT, &refusal)),
        Err(ExecuteFailure::Unknown(error)) => Err(Failure::ledger(&error)),
    }
}
