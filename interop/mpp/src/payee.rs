//! The server: the crate's own axum extractors over a challenger of ours, since its own ones are
//! for the methods it ships.

use std::{
    collections::HashSet,
    pin::Pin,
    sync::{Arc, Mutex},
};

use axum::{Router, routing};
use mpp::{
    Base64UrlJson, ChargeMethod, ChargeRequest, ErrorCode, MppError, PaymentChallenge,
    PaymentCredential, Receipt, VerificationError, parse_authorization,
    server::{
        Mpp,
        axum::{
            ChallengeOptions, ChargeChallenger, ChargeConfig, MppCharge, MppChargeWithBody,
            WithReceipt,
        },
    },
};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    Setting,
    ledger::{Payload, mismatch},
};

/// The `ledger` method.
#[derive(Clone)]
struct Ledger {
    endpoint: String,
    served: Arc<Mutex<HashSet<Vec<u8>>>>,
    http: reqwest::Client,
}

impl ChargeMethod for Ledger {
    fn method(&self) -> &str {
        "ledger"
    }

    async fn verify(
        &self,
        credential: &PaymentCredential,
        _request: &ChargeRequest,
    ) -> Result<Receipt, VerificationError> {
        let payload: Payload = credential.payload_as().map_err(|error| {
            VerificationError::with_code(error.to_string(), ErrorCode::InvalidPayload)
        })?;
        if let Some(wrong) = mismatch(&payload, &credential.challenge) {
            return Err(VerificationError::new(wrong));
        }
        // The ledger executes an order once, and answers again: that it is served once is the
        // payee's.
        let order = payload.order_bytes();
        if !self
            .served
            .lock()
            .expect("it does not panic")
            .insert(order.clone())
        {
            let used = VerificationError::with_code("already used", ErrorCode::CredentialReplayed);
            return Err(used);
        }
        self.settle(&payload).await.map_err(|error| {
            self.served
                .lock()
                .expect("it does not panic")
                .remove(&order);
            VerificationError::new(error)
        })
    }
}

impl Ledger {
    async fn settle(&self, payload: &Payload) -> Result<Receipt, String> {
        let answer = self.http.post(&self.endpoint).json(payload).send().await;
        let answer = answer.map_err(|error| error.to_string())?;
        let body: Value = answer.json().await.map_err(|error| error.to_string())?;
        if body["answer"]["status"] != "executed" {
            return Err(body["answer"]["detail"]
                .as_str()
                .unwrap_or("no answer")
                .to_owned());
        }
        serde_json::from_value(body["receipt"].clone()).map_err(|error| error.to_string())
    }
}

/// What is odd about a route's challenges.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Plain,
    Described,
    Expired,
    Fixed,
    Several,
}

#[derive(Clone)]
struct Challenger {
    setting: Setting,
    started: OffsetDateTime,
    kind: Kind,
    mpp: Mpp<Ledger>,
}

impl Challenger {
    fn make(
        &self,
        method: &str,
        options: &ChallengeOptions,
        body: Option<&[u8]>,
    ) -> Result<PaymentChallenge, String> {
        let setting = &self.setting;
        let request = ChargeRequest {
            amount: setting.amount.clone(),
            currency: "usd".to_owned(),
            recipient: Some(setting.recipient.clone()),
            method_details: Some(json!({
                "ledger": setting.ledger,
                "decimals": 6,
                "receiptKey": setting.receipt_key,
            })),
            mppx_scope: options.mppx_scope.clone(),
            ..ChargeRequest::default()
        };
        let life = if self.kind == Kind::Expired { -1 } else { 5 };
        let fixed = self.kind == Kind::Fixed;
        let from = if fixed {
            self.started
        } else {
            OffsetDateTime::now_utc()
        };
        let expires = from + Duration::minutes(life);
        let expires = expires
            .format(&Rfc3339)
            .map_err(|error| error.to_string())?;
        let description = (self.kind == Kind::Described).then_some(r#"a "quoted" \ reading"#);
        Ok(PaymentChallenge::with_secret_key_full(
            &setting.secret,
            &setting.realm,
            method,
            "charge",
            Base64UrlJson::from_typed(&request).map_err(|error| error.to_string())?,
            Some(&expires),
            body.map(mpp::body_digest::compute).as_deref(),
            description,
            None,
            None,
        ))
    }

    async fn check(
        self,
        credential: String,
        options: ChallengeOptions,
        body: Option<Vec<u8>>,
    ) -> Result<Receipt, MppError> {
        let credential = parse_authorization(&credential)?;
        let expected = self.make("ledger", &options, body.as_deref());
        let expected = expected
            .map_err(MppError::verification_failed)?
            .request
            .decode()?;
        let mpp = &self.mpp;
        let checked = match body {
            Some(body) => {
                mpp.verify_credential_with_expected_request_and_body(&credential, &expected, &body)
                    .await
            }
            None => {
                mpp.verify_credential_with_expected_request(&credential, &expected)
                    .await
            }
        };
        Ok(checked?)
    }
}

type Checked<E> = Pin<Box<dyn Future<Output = Result<Receipt, E>> + Send>>;

impl ChargeChallenger for Challenger {
    fn challenge(&self, _: &str, options: ChallengeOptions) -> Result<PaymentChallenge, String> {
        self.make("ledger", &options, None)
    }

    fn challenge_with_body(
        &self,
        _: &str,
        options: ChallengeOptions,
        body: &[u8],
    ) -> Result<PaymentChallenge, String> {
        self.make("ledger", &options, Some(body))
    }

    fn challenges(
        &self,
        amount: &str,
        options: ChallengeOptions,
    ) -> Result<Vec<PaymentChallenge>, String> {
        let mut all = Vec::new();
        if self.kind == Kind::Several {
            all.push(self.make("other", &options, None)?);
        }
        all.push(self.challenge(amount, options)?);
        Ok(all)
    }

    fn verify_payment(&self, credential: &str) -> Checked<String> {
        let checked = self
            .clone()
            .check(credential.to_owned(), ChallengeOptions::default(), None);
        Box::pin(async move { checked.await.map_err(|error| error.to_string()) })
    }

    fn verify_payment_for_route(
        &self,
        credential: &str,
        _: &str,
        mppx_scope: Option<Value>,
        body: Option<&[u8]>,
    ) -> Checked<MppError> {
        let options = ChallengeOptions {
            mppx_scope,
            ..ChallengeOptions::default()
        };
        let body = body.map(<[u8]>::to_vec);
        Box::pin(self.clone().check(credential.to_owned(), options, body))
    }
}

struct Price;

impl ChargeConfig for Price {
    fn amount() -> &'static str {
        "0.001"
    }
}

async fn paid(charge: MppCharge<Price>) -> WithReceipt<&'static str> {
    WithReceipt {
        receipt: charge.receipt,
        body: "paid\n",
    }
}

async fn bound(charge: MppChargeWithBody<Price>) -> WithReceipt<&'static str> {
    WithReceipt {
        receipt: charge.receipt,
        body: "paid\n",
    }
}

pub fn router(setting: &Setting) -> Router {
    let method = Ledger {
        endpoint: setting.endpoint.clone(),
        served: Arc::default(),
        http: reqwest::Client::new(),
    };
    let mpp = Mpp::new(method, &setting.realm, &setting.secret);
    let started = OffsetDateTime::now_utc();
    let challenger = |kind| {
        let setting = setting.clone();
        Arc::new(Challenger {
            setting,
            started,
            kind,
            mpp: mpp.clone(),
        }) as Arc<dyn ChargeChallenger>
    };
    let route = |path: &str, kind| {
        Router::new()
            .route(path, routing::any(paid))
            .with_state(challenger(kind))
    };
    Router::new()
        .route("/free", routing::get(|| async { "free\n" }))
        .merge(route("/paid", Kind::Plain))
        .merge(route("/described", Kind::Described))
        .merge(route("/expired", Kind::Expired))
        .merge(route("/fixed", Kind::Fixed))
        .merge(route("/several", Kind::Several))
        .merge(
            Router::new()
                .route("/bound", routing::post(bound))
                .with_state(challenger(Kind::Plain)),
        )
}
