//! The OpenAPI document.

use serde_json::{Map, Value, json};

use crate::{Offer, Operation, Price, Service};

/// The version of OpenAPI that is written.
const OPENAPI: &str = "3.1.0";
/// The methods that OpenAPI knows as operations, and that anybody pays for.
const METHODS: [&str; 5] = ["GET", "PUT", "POST", "DELETE", "PATCH"];

pub(crate) fn document(service: &Service, operations: &[Operation]) -> Value {
    let mut paths = Map::new();
    for operation in operations {
        if !METHODS.contains(&operation.method.as_str()) {
            continue;
        }
        let path = paths.entry(operation.path.as_str()).or_insert(json!({}));
        if let Some(methods) = path.as_object_mut() {
            methods
                .entry(operation.method.to_ascii_lowercase())
                .or_insert_with(|| described(operation));
        }
    }
    let mut document = json!({
        "openapi": OPENAPI,
        "info": {"title": service.title, "version": service.version},
        "paths": paths,
    });
    if let Some(description) = &service.description {
        document["info"]["description"] = description.as_str().into();
    }
    if let Some(url) = &service.public_url {
        document["servers"] = json!([{"url": url}]);
    }
    let info = service_info(service);
    if !info.is_empty() {
        document["x-service-info"] = info.into();
    }
    document
}

fn service_info(service: &Service) -> Map<String, Value> {
    let mut info = Map::new();
    if !service.categories.is_empty() {
        info.insert("categories".into(), json!(service.categories));
    }
    if let Some(url) = &service.public_url {
        let docs = json!({"homepage": url, "llms": format!("{url}/llms.txt")});
        info.insert("docs".into(), docs);
    }
    info
}

fn described(operation: &Operation) -> Value {
    let offers: Vec<Value> = operation.offers.iter().map(offer).collect();
    let mut value = json!({
        "responses": {
            "200": {"description": "Served; the Payment-Receipt field says what was paid"},
            "402": {"description": "Payment Required"},
        },
        "x-payment-info": {"offers": offers},
    });
    if let Some(description) = &operation.description {
        value["summary"] = description.as_str().into();
    }
    let parameters: Vec<Value> = names(&operation.path).map(parameter).collect();
    if !parameters.is_empty() {
        value["parameters"] = parameters.into();
    }
    if matches!(operation.method.as_str(), "PUT" | "POST" | "PATCH") {
        value["requestBody"] = json!({"content": {"*/*": {"schema": {}}}});
    }
    value
}

/// The names in braces of a path.
fn names(path: &str) -> impl Iterator<Item = &str> {
    path.split('/')
        .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
}

fn parameter(name: &str) -> Value {
    json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}})
}

fn offer(offer: &Offer) -> Value {
    let (amount, currency) = match &offer.price {
        Price::Fixed(amount) => (
            Value::String(amount.units().to_string()),
            amount.currency().code(),
        ),
        Price::Dynamic { currency, .. } => (Value::Null, currency.as_str()),
    };
    let mut value = json!({
        "intent": offer.intent,
        "method": offer.method,
        "amount": amount,
        "currency": currency,
    });
    if let Some(description) = &offer.description {
        value["description"] = description.as_str().into();
    }
    value
}

#[cfg(test)]
mod tests;
