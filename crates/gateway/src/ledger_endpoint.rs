//! The ledger's public endpoint: what it is, and signed questions about one's own money.
//!
//! `GET` tells the ledger's id, its receipt key and its currencies. `POST` takes a signed query and
//! answers it, or, where the configuration allows it, an order that a payee elsewhere got from its
//! payer, and executes it: see `docs/spec/ledger-charge.md`. Money moves only as a payer signed.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt, Full, Limited, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use serde_json::json;
use stiver_core::{Problem, problem::ProblemKind};
use stiver_env::{Clock, Env};
use stiver_method_ledger::{
    EmbeddedLedger,
    query::{self, QueryRefusal},
    submit::{self, SubmitRefusal},
};

use crate::{config::Config, connections::ResponseBody, proxy::problem_response};

/// Where it is.
pub const LEDGER_PATH: &str = "/.well-known/stiver/ledger";

/// How long a query's body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(15);

/// Answers questions about the ledger. Cheap to clone.
#[derive(Clone)]
pub(crate) struct LedgerEndpoint {
    ledger: EmbeddedLedger,
    clock: Arc<dyn Clock>,
    about: Bytes,
    accept_orders: bool,
}

impl LedgerEndpoint {
    /// Over a ledger. What it says of itself is made once: asking for it costs the ledger nothing.
    pub(crate) fn new(ledger: &EmbeddedLedger, config: &Config, env: &Env) -> Self {
        let currencies: Vec<_> = config
            .currencies
            .iter()
            .map(|row| json!({"code": row.code(), "decimals": row.decimals()}))
            .collect();
        let about = json!({
            "ledger": ledger.ledger().id().to_string(),
            "receiptKey": ledger.ledger().receipt_key().to_string(),
            "currencies": currencies,
            "acceptsOrders": config.accept_orders,
        });
        Self {
            ledger: ledger.clone(),
            clock: Arc::clone(&env.clock),
            about: Bytes::from(about.to_string()),
            accept_orders: config.accept_orders,
        }
    }

    /// True for requests to this endpoint.
    pub(crate) fn takes<B>(&self, request: &Request<B>) -> bool {
        request.uri().path() == LEDGER_PATH
    }

    /// Answers.
    pub(crate) async fn handle(self, request: Request<Incoming>) -> Response<ResponseBody> {
        match *request.method() {
            Method::GET | Method::HEAD => json_response(self.about),
            Method::POST => self.answer(request.into_body()).await,
            _ => {
                let detail = "ask with GET, or POST a signed query or order";
                problem_response(&Problem::new(ProblemKind::NotFound, detail))
            }
        }
    }

    async fn answer(&self, body: Incoming) -> Response<ResponseBody> {
        let limited = Limited::new(body, query::QUERY_BYTES_MAX);
        let collected = tokio::select! {
            biased;
            collected = limited.collect() => collected,
            () = self.clock.sleep(BODY_TIMEOUT) => {
                let detail = "the query took too long to arrive";
                return problem_response(&Problem::new(ProblemKind::BadRequest, detail));
            }
        };
        let Ok(body) = collected else {
            let detail = format!("a query has at most {} bytes", query::QUERY_BYTES_MAX);
            return problem_response(&Problem::new(ProblemKind::BodyTooLarge, detail));
        };
        let body = body.to_bytes();
        if submit::is_submission(&body) {
            return self.execute(&body).await;
        }
        match query::serve(&body, self.ledger.ledger(), self.clock.now()).await {
            Ok(answer) => json_response(answer),
            Err(refusal) => refused(&refusal),
        }
    }

    async fn execute(&self, body: &[u8]) -> Response<ResponseBody> {
        if !self.accept_orders && !submit::leaves_a_channel(body) {
            let detail = "this gateway takes no orders for payees elsewhere: its configuration \
                          has no accept_orders = true in [ledger]";
            return problem_response(&Problem::new(ProblemKind::Forbidden, detail));
        }
        match submit::serve(body, &self.ledger, self.clock.now()).await {
            Ok(answer) => json_response(answer),
            Err(refusal) => {
                problem_response(&Problem::new(submit_kind(&refusal), refusal.to_string()))
            }
        }
    }
}

fn submit_kind(refusal: &SubmitRefusal) -> ProblemKind {
    match refusal {
        SubmitRefusal::Malformed(_) => ProblemKind::BadRequest,
        SubmitRefusal::OtherLedger => ProblemKind::NotFound,
        SubmitRefusal::Kind | SubmitRefusal::Channel | SubmitRefusal::Denied => {
            ProblemKind::Forbidden
        }
        _ => ProblemKind::Unavailable,
    }
}

/// A problem with the refusal's code as an extension member.
fn refused(refusal: &QueryRefusal) -> Response<ResponseBody> {
    let problem = Problem::new(kind(refusal), refusal.to_string());
    let mut response = problem_response(&problem);
    if let Ok(mut members) = serde_json::from_str::<serde_json::Value>(&problem.to_json()) {
        members["code"] = json!(refusal.code());
        let body = Full::new(Bytes::from(members.to_string()));
        *response.body_mut() = UnsyncBoxBody::new(body.map_err(|never| match never {}));
    }
    response
}

fn kind(refusal: &QueryRefusal) -> ProblemKind {
    match refusal {
        QueryRefusal::Malformed => ProblemKind::BadRequest,
        QueryRefusal::OtherLedger | QueryRefusal::NoAccount => ProblemKind::NotFound,
        QueryRefusal::Skewed | QueryRefusal::Denied => ProblemKind::Forbidden,
        _ => ProblemKind::Unavailable,
    }
}

fn json_response(text: impl Into<Bytes>) -> Response<ResponseBody> {
    let body = Full::new(text.into()).map_err(|never| match never {});
    let mut response = Response::new(UnsyncBoxBody::new(body));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
