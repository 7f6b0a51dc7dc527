use serde_json::json;
use stiver_core::{Amount, Currency};

use crate::{Offer, Operation, Price, Service};

fn cents(text: &str) -> Amount {
    let usd = Currency::new("usd", 6).unwrap();
    usd.parse_decimal(text).unwrap()
}

fn charge(price: Price) -> Offer {
    Offer {
        intent: "charge".into(),
        method: "ledger".into(),
        price,
        description: None,
    }
}

#[test]
fn priced_operation_names_its_offers_and_its_402() {
    let service = Service::new("Weather");
    let operation =
        Operation::new("POST", "/ask/{city}").offer(charge(Price::Fixed(cents("0.25"))));
    let document = service.openapi(&[operation]);
    let expected = json!({
        "openapi": "3.1.0",
        "info": {"title": "Weather", "version": "1"},
        "paths": {"/ask/{city}": {"post": {
            "parameters": [
                {"name": "city", "in": "path", "required": true, "schema": {"type": "string"}}
            ],
            "requestBody": {"content": {"*/*": {"schema": {}}}},
            "responses": {
                "200": {"description": "Served; the Payment-Receipt field says what was paid"},
                "402": {"description": "Payment Required"},
            },
            "x-payment-info": {"offers": [
                {"intent": "charge", "method": "ledger", "amount": "250000", "currency": "usd"}
            ]},
        }}},
    });
    assert_eq!(document, expected);
}

#[test]
fn dynamic_price_has_no_amount() {
    let price = Price::Dynamic {
        currency: "usd".into(),
        cap: Some(cents("1")),
    };
    let operation = Operation::new("GET", "/a").offer(charge(price));
    let service = Service::new("A");
    let document = service.openapi(std::slice::from_ref(&operation));
    let offer = &document["paths"]["/a"]["get"]["x-payment-info"]["offers"][0];
    assert_eq!(
        (&offer["amount"], &offer["currency"]),
        (&json!(null), &json!("usd"))
    );
    let text = service.llms_txt(&[operation]);
    assert!(
        text.contains("- `GET /a`: by request, at most 1.00 USD (charge by ledger)\n"),
        "{text}"
    );
}

#[test]
fn first_of_two_equal_operations_counts() {
    let price = |text| charge(Price::Fixed(cents(text)));
    let operations = [
        Operation::new("GET", "/a").offer(price("0.01")),
        Operation::new("GET", "/a").offer(price("0.02")),
        Operation::new("HEAD", "/a").offer(price("0.03")),
    ];
    let document = Service::new("A").openapi(&operations);
    let methods = document["paths"]["/a"].as_object().unwrap();
    assert_eq!(methods.len(), 1);
    let offer = &methods["get"]["x-payment-info"]["offers"][0];
    assert_eq!(offer["amount"], "10000");
}

#[test]
fn public_url_is_told_where_tools_look_for_it() {
    let service = Service {
        public_url: Some("https://api.example.com".into()),
        categories: vec!["weather".into()],
        description: Some("Readings\n# of a sensor".into()),
        ..Service::new("Weather")
    };
    let document = service.openapi(&[]);
    assert_eq!(
        document["servers"],
        json!([{"url": "https://api.example.com"}])
    );
    let info = &document["x-service-info"];
    assert_eq!(info["categories"], json!(["weather"]));
    assert_eq!(info["docs"]["llms"], "https://api.example.com/llms.txt");
    let text = service.llms_txt(&[]);
    assert!(
        text.starts_with("# Weather\n\n> Readings # of a sensor\n"),
        "{text}"
    );
    assert!(
        text.contains("https://api.example.com/openapi.json"),
        "{text}"
    );
}
