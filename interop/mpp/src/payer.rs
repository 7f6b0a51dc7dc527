//! The client.

use mpp::{
    MppError, PaymentChallenge, PaymentCredential, Receipt,
    client::{AcceptPaymentPolicy, Fetch as _, PaymentProvider},
    format_authorization, parse_www_authenticate_all,
};
use serde_json::{Value, json};

use crate::{Setting, ledger::Account};

pub struct Payer {
    provider: Provider,
    http: reqwest::Client,
}

#[derive(Clone)]
struct Provider(Account);

impl PaymentProvider for Provider {
    fn supports(&self, method: &str, intent: &str) -> bool {
        (method, intent) == ("ledger", "charge")
    }

    fn accept_payment_header(&self) -> Option<String> {
        Some("ledger/charge".to_owned())
    }

    async fn pay(&self, challenge: &PaymentChallenge) -> Result<PaymentCredential, MppError> {
        let echo = challenge.to_echo();
        let payload = self.0.pay(&echo);
        let payload = payload.ok_or_else(|| MppError::invalid_challenge_reason("unreadable"))?;
        Ok(PaymentCredential::with_source(echo, &self.0.did, payload))
    }
}

impl Payer {
    pub fn new(setting: &Setting) -> Self {
        let mut seed = [0; 32];
        for (at, byte) in seed.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&setting.seed[2 * at..2 * at + 2], 16).expect("hex");
        }
        Self {
            provider: Provider(Account::new(&seed)),
            http: reqwest::Client::new(),
        }
    }

    pub async fn operate(&self, request: &Value) -> Result<Value, String> {
        match request["op"].as_str() {
            Some("fetch") => self.fetch(request).await,
            Some("parse") => {
                let challenges: Result<Vec<_>, _> = challenges(request)
                    .into_iter()
                    .map(|found| shown(&found))
                    .collect();
                Ok(json!({"ok": true, "challenges": challenges?}))
            }
            Some("credential") => {
                let all = challenges(request);
                let ours = |found: &&PaymentChallenge| {
                    self.provider
                        .supports(found.method.as_str(), found.intent.as_str())
                };
                let chosen = all
                    .iter()
                    .find(ours)
                    .ok_or("no challenge of the ledger method")?;
                let paid = self
                    .provider
                    .pay(chosen)
                    .await
                    .map_err(|error| error.to_string())?;
                let header = format_authorization(&paid).map_err(|error| error.to_string())?;
                Ok(json!({"ok": true, "credential": header}))
            }
            _ => Err("no such operation".to_owned()),
        }
    }

    async fn fetch(&self, request: &Value) -> Result<Value, String> {
        let text = |name: &str| request[name].as_str();
        let method = text("method")
            .unwrap_or("GET")
            .parse()
            .map_err(|_| "no HTTP method")?;
        let mut sent = self.http.request(method, text("url").unwrap_or_default());
        for (name, value) in request["headers"].as_object().into_iter().flatten() {
            sent = sent.header(name, value.as_str().unwrap_or_default());
        }
        if let Some(body) = text("body") {
            sent = sent.body(body.to_owned());
        }
        let answer = sent
            .send_with_payment_policy(&self.provider, &AcceptPaymentPolicy::Always)
            .await
            .map_err(|error| error.to_string())?;
        let header = answer
            .headers()
            .get("payment-receipt")
            .and_then(|value| value.to_str().ok());
        let receipt = header.map(Receipt::from_header).transpose();
        let headers: Vec<_> = answer
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes())))
            .collect();
        let mut told = json!({
            "ok": true,
            "status": answer.status().as_u16(),
            "headers": headers,
            "receipt": receipt.map_err(|error| error.to_string())?,
        });
        told["body"] = answer
            .text()
            .await
            .map_err(|error| error.to_string())?
            .into();
        Ok(told)
    }
}

fn challenges(request: &Value) -> Vec<PaymentChallenge> {
    let headers = request["headers"].as_array().into_iter().flatten();
    parse_www_authenticate_all(headers.filter_map(Value::as_str))
        .into_iter()
        .filter_map(Result::ok)
        .collect()
}

fn shown(found: &PaymentChallenge) -> Result<Value, String> {
    Ok(json!({
        "id": found.id,
        "realm": found.realm,
        "method": found.method.as_str(),
        "intent": found.intent.as_str(),
        "request": found.request.decode_value().map_err(|error| error.to_string())?,
        "expires": found.expires,
        "digest": found.digest,
        "description": found.description,
    }))
}
