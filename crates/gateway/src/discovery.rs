//! `/openapi.json` and `/llms.txt`: what the gateway charges for, told before anybody asks.
//!
//! Both are made from the configuration, once. They bind nobody: the 402 decides. A route whose
//! pattern is exactly one of the two paths takes precedence, so that an upstream can tell its own.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use stiver_core::{digest::BodyDigest, name::MethodName};
use stiver_discovery::{Offer, Operation, Price, Service};

use crate::{
    config::{Access, Config, Priced, Route, pricing},
    connections::ResponseBody,
};

/// Where the OpenAPI document is.
pub const OPENAPI_PATH: &str = "/openapi.json";
/// Where the text for readers is.
pub const LLMS_PATH: &str = "/llms.txt";

/// The methods that a route for all methods is told for.
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// The two documents. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Discovery {
    openapi: Option<Arc<Document>>,
    llms: Option<Arc<Document>>,
}

/// A document and the fields it is sent with.
struct Document {
    body: Bytes,
    content_type: HeaderValue,
    tag: HeaderValue,
}

impl Discovery {
    /// The documents of a gateway, whose routes are paid by these methods.
    pub(crate) fn new(config: &Config, methods: &[&MethodName]) -> Self {
        if !config.discovery.enabled {
            let (openapi, llms) = (None, None);
            return Self { openapi, llms };
        }
        let (service, routes) = (service(config), config.routes.as_slice());
        let operations = operations(routes, methods);
        let own = |path: &str| routes.iter().any(|route| route.pattern.as_str() == path);
        let openapi = || {
            let text = service.openapi(&operations).to_string();
            Arc::new(Document::new(text, "application/json"))
        };
        let llms = || {
            let text = service.llms_txt(&operations);
            Arc::new(Document::new(text, "text/plain; charset=utf-8"))
        };
        Self {
            openapi: (!own(OPENAPI_PATH)).then(openapi),
            llms: (!own(LLMS_PATH)).then(llms),
        }
    }

    /// The answer to a request for a document; `None` when the request is for the routes.
    pub(crate) fn answer<B>(&self, request: &Request<B>) -> Option<Response<ResponseBody>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return None;
        }
        let document = match request.uri().path() {
            OPENAPI_PATH => self.openapi.as_ref()?,
            LLMS_PATH => self.llms.as_ref()?,
            _ => return None,
        };
        Some(document.response(request.headers()))
    }
}

impl Document {
    fn new(text: String, content_type: &'static str) -> Self {
        let digest = BodyDigest::of(text.as_bytes()).to_header();
        // What stands between the colons is base64, which a quoted tag may hold.
        let tag = digest.split(':').nth(1).unwrap_or_default();
        Self {
            body: Bytes::from(text),
            content_type: HeaderValue::from_static(content_type),
            tag: HeaderValue::from_str(&format!("\"{tag}\""))
                .expect("base64 in quotes is a field value because it is visible ASCII"),
        }
    }

    /// # Spec
    /// draft-payment-discovery-00: DISC-2, DISC-13, DISC-14.
    fn response(&self, asked: &HeaderMap) -> Response<ResponseBody> {
        let known = asked.get(header::IF_NONE_MATCH) == Some(&self.tag);
        let body = if known {
            Bytes::new()
        } else {
            self.body.clone()
        };
        let body = Full::new(body).map_err(|never| match never {});
        let mut response = Response::new(UnsyncBoxBody::new(body));
        if known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, self.content_type.clone());
        headers.insert(header::ETAG, self.tag.clone());
        let age = HeaderValue::from_static("public, max-age=300");
        headers.insert(header::CACHE_CONTROL, age);
        let any = HeaderValue::from_static("*");
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, any);
        response
    }
}

fn service(config: &Config) -> Service {
    let told = &config.discovery;
    Service {
        title: told.title.clone(),
        version: told.version.clone(),
        description: told.description.clone(),
        public_url: config.public_url.as_ref().map(ToString::to_string),
        categories: told.categories.clone(),
    }
}

/// Every priced operation, in the order of the file. One that an earlier route with the same
/// pattern takes is left out.
fn operations(routes: &[Route], methods: &[&MethodName]) -> Vec<Operation> {
    let mut taken = Vec::new();
    let mut operations = Vec::new();
    for route in routes {
        let named: Vec<&str> = match route.methods.as_slice() {
            [] => METHODS.to_vec(),
            named => named.iter().map(String::as_str).collect(),
        };
        for name in named {
            let place = (route.pattern.as_str(), name);
            if taken.contains(&place) {
                continue;
            }
            taken.push(place);
            // What is in shadow mode costs nobody anything.
            if let Access::Priced(priced) = &route.access
                && !priced.shadow
            {
                operations.push(operation(route, name, priced, methods));
            }
        }
    }
    operations
}

/// A price of single payments as documents tell it.
fn told(price: &pricing::Price) -> Option<Price> {
    match price {
        pricing::Price::Fixed(amount) => Some(Price::Fixed(amount.clone())),
        pricing::Price::Computed(pricing) => Some(Price::Dynamic {
            currency: pricing.cap.currency().code().to_owned(),
            cap: Some(pricing.cap.clone()),
        }),
        pricing::Price::Session => None,
    }
}

fn operation(route: &Route, name: &str, priced: &Priced, methods: &[&MethodName]) -> Operation {
    let charges = methods.iter().filter_map(|method| {
        Some(Offer {
            intent: "charge".to_owned(),
            method: method.to_string(),
            price: told(&priced.price)?,
            description: None,
        })
    });
    let sessions = methods.iter().filter_map(|method| {
        let session = priced.session.as_ref()?;
        Some(Offer {
            intent: "session".to_owned(),
            method: method.to_string(),
            price: match session.per_request() {
                Some(price) => Price::Fixed(price.clone()),
                None => Price::Dynamic {
                    currency: session.min_voucher.currency().code().to_owned(),
                    cap: None,
                },
            },
            description: Some(format!("{}; {}", session.text(), session.at_stake())),
        })
    });
    let offers = charges.chain(sessions);
    Operation {
        method: name.to_owned(),
        // OpenAPI has no word for "the rest"; a parameter with a name that says so comes closest.
        path: route.pattern.as_str().replace("**", "{rest}"),
        description: priced.description.clone(),
        offers: offers.collect(),
    }
}
