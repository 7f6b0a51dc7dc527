//! What a priced API tells about itself before anybody asks: an OpenAPI document whose priced
//! operations carry `x-payment-info`, and `llms.txt`, the same for readers of text.
//!
//! Neither is binding. The 402 of the moment decides what is asked (DISC-1, DISC-15).
//!
//! ```
//! use stiver_core::Currency;
//! use stiver_discovery::{Offer, Operation, Price, Service};
//!
//! let usd = Currency::new("usd", 6)?;
//! let service = Service::new("Weather");
//! let operation = Operation::new("GET", "/temperature/{city}").offer(Offer {
//!     intent: "charge".into(),
//!     method: "ledger".into(),
//!     price: Price::Fixed(usd.parse_decimal("0.01")?),
//!     description: None,
//! });
//! let document = service.openapi(&[operation.clone()]);
//! let info = &document["paths"]["/temperature/{city}"]["get"]["x-payment-info"];
//! assert_eq!(info["offers"][0]["amount"], "10000");
//! assert!(service.llms_txt(&[operation]).contains("0.01 USD"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Spec
//! draft-payment-discovery-00: DISC-2 to DISC-10.
#![forbid(unsafe_code)]

mod llms;
mod openapi;

use stiver_core::Amount;

/// What a service says of itself as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The title of the documents.
    pub title: String,
    /// The version of the API, in the words of its owner.
    pub version: String,
    /// What it is for.
    pub description: Option<String>,
    /// Where it is reached, without a slash at the end: `https://api.example.com`.
    pub public_url: Option<String>,
    /// Free-form, lower case, with hyphens: `weather`, `machine-data`.
    pub categories: Vec<String>,
}

impl Service {
    /// A service with a title and nothing else told.
    pub fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            version: "1".to_owned(),
            description: None,
            public_url: None,
            categories: Vec::new(),
        }
    }

    /// The OpenAPI 3.1 document, for `GET /openapi.json`.
    ///
    /// Operations are told in the order given; of two with one method and path the first counts,
    /// as it does in a table of routes.
    pub fn openapi(&self, operations: &[Operation]) -> serde_json::Value {
        openapi::document(self, operations)
    }

    /// The text for `GET /llms.txt`.
    pub fn llms_txt(&self, operations: &[Operation]) -> String {
        llms::text(self, operations)
    }
}

/// One priced operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// The HTTP method, in capitals.
    pub method: String,
    /// The path, with `{name}` for what varies.
    pub path: String,
    /// What it does.
    pub description: Option<String>,
    /// The ways to pay for it, best first in the payee's eyes.
    pub offers: Vec<Offer>,
}

impl Operation {
    /// An operation without offers.
    pub fn new(method: impl Into<String>, path: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            path: path.into(),
            description: None,
            offers: Vec::new(),
        }
    }

    /// Adds a way to pay.
    #[must_use]
    pub fn offer(mut self, offer: Offer) -> Self {
        self.offers.push(offer);
        self
    }
}

/// One way to pay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// `charge` or `session`.
    pub intent: String,
    /// The payment method.
    pub method: String,
    /// The price.
    pub price: Price,
    /// Shown to the payer.
    pub description: Option<String>,
}

/// What an operation costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Price {
    /// Always the same.
    Fixed(Amount),
    /// Worked out for each request.
    Dynamic {
        /// The code of its currency.
        currency: String,
        /// The most it can be.
        cap: Option<Amount>,
    },
}
