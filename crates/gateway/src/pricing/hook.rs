//! Asking an HTTP service what a request costs.
//!
//! One POST of JSON for each request that needs a challenge; never for a credential whose challenge
//! this gateway issued. What the service is told is bound to the challenge: method, path and query
//! by its scope, the body by its digest, and the configured header fields by a digest of their own.
//! So no answer can be had for one request and used for another.

use std::{fmt, marker::PhantomData, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header, request::Parts};
use http_body_util::{BodyExt, Full, Limited, combinators::UnsyncBoxBody};
use serde::{
    Deserialize, Serialize,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use stiver_core::{Amount, Currency, Problem, amount, problem::ProblemKind};
use stiver_env::{Clock, Env};
use stiver_server::{BodyState, tower::ReadBody};
use tokio::sync::Semaphore;

use super::{Unpriced, places::only_spelling};
use crate::{
    config::pricing::{Hook, HookFailure, Place, Pricing},
    upstream::{HeaderRules, Settings, UpstreamClient, UpstreamSetupError},
};

/// Longest answer of a pricing hook, bytes.
pub const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// Most requests to one pricing hook at once. One more counts as a failure of the hook.
pub const CONCURRENT_MAX: usize = 64;
/// How many of them are kept for requests whose credential is bound to a challenge of the gateway.
pub const RESERVED: usize = 16;
/// Longest text that a hook may give for a refusal, characters.
pub const DETAIL_CHARS_MAX: usize = 512;
/// Widest amount, bits.
const AMOUNT_BITS: u8 = 128;
/// How long an idle connection to a hook is kept.
const IDLE: Duration = Duration::from_secs(60);

/// What a hook is asked.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Question<'a> {
    method: &'a str,
    path: &'a str,
    query: Option<&'a str>,
    /// The configured fields, in the order of the request.
    headers: Vec<(&'a str, String)>,
    /// `null` when the body streams past.
    body_size: Option<u64>,
    /// As `Content-Digest` spells it.
    digest: Option<String>,
}

/// What a hook may answer: exactly one of the three.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Wire {
    amount: Option<String>,
    currency: Option<String>,
    free: Option<bool>,
    deny: Option<Member<WireDeny>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireDeny {
    status: u16,
    detail: Option<String>,
}

/// A JSON object: never the array that serde takes for one too.
#[derive(Debug)]
struct Member<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Member<T> {
    fn deserialize<D: serde::Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Object<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(members))
            }
        }

        reader.deserialize_map(Object(PhantomData)).map(Member)
    }
}

/// What a hook has answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A price above zero, in the currency of the cap.
    Amount(Amount),
    /// Nothing is to be paid.
    Free,
    /// The request is refused.
    Deny(Problem),
}

/// Why an answer is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// No JSON object of known members.
    #[error("it is no JSON object of amount and currency, free, or deny")]
    Form,
    /// None or several of the three.
    #[error("it says none or several of amount, free and deny")]
    Choice,
    /// The amount is no number of base units above zero.
    #[error("its amount is no number of base units above zero, written in plain digits")]
    Amount,
    /// The currency is not the cap's.
    #[error("its currency is not that of the cap")]
    Currency,
    /// A status that a refusal may not have.
    #[error("its deny has a status other than 400, 403, 404, 413, 429 and 503")]
    Status,
}

/// Reads what a hook has answered. `currency` is the one that its amount must be in.
///
/// # Errors
///
/// [`AnswerError`] for everything that is not exactly one of the three answers.
pub fn parse_answer(body: &[u8], currency: &Currency) -> Result<Answer, AnswerError> {
    let Ok(Member(wire)) = serde_json::from_slice(body) else {
        return Err(AnswerError::Form);
    };
    match wire {
        Wire {
            amount: Some(units),
            currency: Some(code),
            free: None,
            deny: None,
        } => {
            if !code.eq_ignore_ascii_case(currency.code()) {
                return Err(AnswerError::Currency);
            }
            let units =
                amount::parse_base_units(&units, AMOUNT_BITS).map_err(|_| AnswerError::Amount)?;
            if units == 0 {
                return Err(AnswerError::Amount);
            }
            Ok(Answer::Amount(currency.units(units)))
        }
        Wire {
            amount: None,
            currency: None,
            free: Some(true),
            deny: None,
        } => Ok(Answer::Free),
        Wire {
            amount: None,
            currency: None,
            free: None,
            deny: Some(Member(deny)),
        } => denied(deny),
        _ => Err(AnswerError::Choice),
    }
}

fn denied(deny: WireDeny) -> Result<Answer, AnswerError> {
    let kind = match deny.status {
        400 => ProblemKind::BadRequest,
        403 => ProblemKind::Forbidden,
        404 => ProblemKind::NotFound,
        413 => ProblemKind::BodyTooLarge,
        429 => ProblemKind::TooManyRequests,
        503 => ProblemKind::Unavailable,
        _ => return Err(AnswerError::Status),
    };
    let detail = deny.detail.unwrap_or_default();
    let plain = detail.chars().filter(|it| !it.is_control());
    let mut detail: String = plain.take(DETAIL_CHARS_MAX).collect();
    if detail.is_empty() {
        detail.push_str("this request is not served");
    }
    Ok(Answer::Deny(Problem::new(kind, detail)))
}

/// A client of one pricing hook.
pub(crate) struct HookClient {
    client: UpstreamClient,
    target: Uri,
    clock: Arc<dyn Clock>,
    timeout: Duration,
    places: Semaphore,
    /// Those of the places that requests without a bound credential may take.
    strangers: Semaphore,
    headers: Vec<HeaderName>,
    on_failure: HookFailure,
    cap: Amount,
}

impl HookClient {
    /// A client over the environment's network.
    pub(crate) fn new(
        hook: &Hook,
        pricing: &Pricing,
        env: &Env,
    ) -> Result<Self, UpstreamSetupError> {
        let settings = Settings {
            tls: hook.url.tls,
            authority: hook.url.authority.clone(),
            base_path: String::new(),
            connect_timeout: hook.timeout,
            idle_timeout: IDLE,
            idle_connections_max: CONCURRENT_MAX,
            http2: false,
            ca_file: None,
            rules: HeaderRules::default(),
        };
        let path = if hook.url.path.is_empty() {
            "/"
        } else {
            &hook.url.path
        };
        let target = path.parse().map_err(|_| UpstreamSetupError::Address {
            authority: hook.url.to_string(),
        })?;
        Ok(Self {
            client: UpstreamClient::new(settings, env)?,
            target,
            clock: Arc::clone(&env.clock),
            timeout: hook.timeout,
            places: Semaphore::new(CONCURRENT_MAX),
            strangers: Semaphore::new(CONCURRENT_MAX - RESERVED),
            headers: hook.headers.clone(),
            on_failure: hook.on_failure,
            cap: pricing.cap.clone(),
        })
    }

    /// What a request costs, at most the cap. Whatever goes wrong is the configured failure.
    /// `bound` says that it brings a credential whose challenge this gateway issued, and needs a
    /// new one all the same.
    pub(crate) async fn ask(&self, parts: &Parts, body: &ReadBody, bound: bool) -> Answer {
        if let Err(unpriced) = self.readable(parts) {
            return Answer::Deny(unpriced.problem());
        }
        let asked = async {
            let _stranger = match bound {
                true => None,
                false => Some(self.strangers.try_acquire().map_err(|_| HookError::Busy)?),
            };
            let _place = self.places.try_acquire().map_err(|_| HookError::Busy)?;
            tokio::select! {
                biased;
                answer = self.call(parts, body) => answer,
                () = self.clock.sleep(self.timeout) => Err(HookError::Late),
            }
        };
        match asked.await {
            Ok(Answer::Amount(amount)) if amount.units() > self.cap.units() => {
                tracing::warn!(%amount, cap = %self.cap, "the pricing hook asks more than the cap");
                Answer::Amount(self.cap.clone())
            }
            Ok(answer) => answer,
            Err(error) => {
                tracing::warn!(error = %error, "the pricing hook gave no price");
                match self.on_failure {
                    HookFailure::Cap => Answer::Amount(self.cap.clone()),
                    HookFailure::Deny => Answer::Deny(Problem::new(
                        ProblemKind::Unavailable,
                        "the price cannot be worked out just now; nothing was taken",
                    )),
                }
            }
        }
    }

    /// Refuses a header field that an upstream may take for one which the hook is told.
    pub(crate) fn readable(&self, parts: &Parts) -> Result<(), Unpriced> {
        for name in &self.headers {
            only_spelling(name.as_str(), &parts.headers).map_err(|problem| Unpriced::At {
                place: Place::Header(name.clone()),
                problem,
            })?;
        }
        Ok(())
    }

    /// The digest that binds the fields which the hook is told.
    pub(crate) fn priced_headers(&self, parts: &Parts) -> Option<[u8; 32]> {
        let names: Vec<&str> = self.headers.iter().map(HeaderName::as_str).collect();
        super::digest(&names, &parts.headers)
    }

    async fn call(&self, parts: &Parts, body: &ReadBody) -> Result<Answer, HookError> {
        let question = self.question(parts, body);
        let question = serde_json::to_vec(&question).map_err(|_| HookError::Question)?;
        let question = Full::new(Bytes::from(question)).map_err(|never| match never {});
        let mut request = Request::new(UnsyncBoxBody::new(question));
        *request.method_mut() = Method::POST;
        let uri = self.client.uri(self.target.clone());
        *request.uri_mut() = uri.map_err(|_| HookError::Question)?;
        let json = HeaderValue::from_static("application/json");
        request
            .headers_mut()
            .insert(header::CONTENT_TYPE, json.clone());
        request.headers_mut().insert(header::ACCEPT, json);
        let response = self.client.send(request).await;
        let response = response.map_err(|_| HookError::NoAnswer)?;
        if response.status() != StatusCode::OK {
            return Err(HookError::Status(response.status().as_u16()));
        }
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
        let body = body.collect().await.map_err(|_| HookError::Body)?;
        parse_answer(&body.to_bytes(), self.cap.currency()).map_err(HookError::Answer)
    }

    fn question<'a>(&'a self, parts: &'a Parts, body: &ReadBody) -> Question<'a> {
        let fields = self.headers.iter().flat_map(|name| {
            let values = parts.headers.get_all(name).iter();
            values.map(|value| {
                let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
                (name.as_str(), text)
            })
        });
        Question {
            method: match parts.method.as_str() {
                "HEAD" => "GET",
                method => method,
            },
            path: parts.uri.path(),
            query: parts.uri.query(),
            headers: fields.collect(),
            body_size: body.length(),
            digest: match body.state() {
                BodyState::Digest(digest) => Some(digest.to_header()),
                BodyState::None | BodyState::Frames | BodyState::Unbound => None,
            },
        }
    }
}

/// Why a hook gave no price.
#[derive(Debug, thiserror::Error)]
enum HookError {
    #[error("the question could not be written")]
    Question,
    #[error("too many questions are under way")]
    Busy,
    #[error("it gave no answer")]
    NoAnswer,
    #[error("it did not answer in time")]
    Late,
    #[error("it answered with status {0}")]
    Status(u16),
    #[error("its answer broke off, or is longer than {ANSWER_BYTES_MAX} bytes")]
    Body,
    #[error("its answer is of no use: {0}")]
    Answer(AnswerError),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn usd() -> Currency {
        Currency::new("usd", 6).unwrap()
    }

    fn parse(text: &str) -> Result<Answer, AnswerError> {
        parse_answer(text.as_bytes(), &usd())
    }

    #[test]
    fn exactly_the_three_answers_are_read() {
        let amount = Answer::Amount(usd().units(12_000));
        assert_eq!(
            parse(r#"{"amount":"12000","currency":"usd"}"#),
            Ok(amount.clone())
        );
        assert_eq!(parse(r#"{"currency":"USD","amount":"12000"}"#), Ok(amount));
        assert_eq!(parse(r#"{"free":true}"#), Ok(Answer::Free));
        let denied = Problem::new(ProblemKind::Forbidden, "not for you");
        assert_eq!(
            parse("{\"deny\":{\"status\":403,\"detail\":\"not\\u0007 for you\"}}"),
            Ok(Answer::Deny(denied))
        );
        let silent = Problem::new(ProblemKind::NotFound, "this request is not served");
        assert_eq!(
            parse(r#"{"deny":{"status":404}}"#),
            Ok(Answer::Deny(silent))
        );
    }

    #[test]
    fn everything_else_is_refused_by_name() {
        use AnswerError::{Amount, Choice, Currency, Form, Status};
        for (text, expected) in [
            ("", Form),
            ("null", Form),
            ("[]", Form),
            (r#"{"amount":12000,"currency":"usd"}"#, Form),
            (r#"{"amount":"12000","currency":"usd","tip":"1"}"#, Form),
            (r#"{"amount":"1","amount":"2","currency":"usd"}"#, Form),
            (r#"{"deny":{"status":403,"title":"no"}}"#, Form),
            (r#"{"deny":[403,"no"]}"#, Form),
            (r#"["12000","usd",null,null]"#, Form),
            (r#"{"amount":"12000","currency":"usd"} x"#, Form),
            ("{}", Choice),
            (r#"{"amount":"12000"}"#, Choice),
            (r#"{"currency":"usd"}"#, Choice),
            (r#"{"free":false}"#, Choice),
            (r#"{"free":true,"amount":"1","currency":"usd"}"#, Choice),
            (r#"{"free":true,"deny":{"status":403}}"#, Choice),
            (r#"{"amount":"0","currency":"usd"}"#, Amount),
            (r#"{"amount":"-1","currency":"usd"}"#, Amount),
            (r#"{"amount":"1.5","currency":"usd"}"#, Amount),
            (r#"{"amount":"01","currency":"usd"}"#, Amount),
            (r#"{"amount":"1","currency":"eur"}"#, Currency),
            (r#"{"deny":{"status":200}}"#, Status),
            (r#"{"deny":{"status":402}}"#, Status),
        ] {
            assert_eq!(parse(text), Err(expected), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_gives_a_free_price_unless_it_says_so(
            body in "[{}\":,a-z0-9]{0,60}",
            units in any::<u128>(),
        ) {
            if let Ok(Answer::Free) = parse(&body) {
                prop_assert!(body.contains("free"));
            }
            let text = format!("{{\"amount\":\"{units}\",\"currency\":\"usd\"}}");
            let expected = (units > 0).then(|| Answer::Amount(usd().units(units)));
            prop_assert_eq!(parse(&text).ok(), expected);
        }
    }
}
