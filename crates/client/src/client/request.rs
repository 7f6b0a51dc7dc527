//! The request of one logical call, in the form it is sent, journaled and sent again.

use bytes::Bytes;
use http::{
    Extensions, HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header,
};
use stiver_core::{
    credential::{Presented, presented},
    digest::BodyDigest,
};
use zeroize::Zeroizing;

use super::{Parts, Redirects};
use crate::{
    CallError, CallId, Origin, choose, limits,
    outbox::{Resource, StoredRequest},
    session::lease::Sessions,
};

/// The `Idempotency-Key` field.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The `Accept-Payment` field.
const ACCEPT_PAYMENT: HeaderName = HeaderName::from_static("accept-payment");
/// Where the credential goes when `Authorization` is the application's.
const PAYMENT_AUTHORIZATION: HeaderName = HeaderName::from_static("payment-authorization");

/// The fields that say what is wanted, and nothing of who asks: they alone follow a redirect to
/// another origin.
const FOLLOWS_ANYWHERE: [HeaderName; 10] = [
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    ACCEPT_PAYMENT,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_TYPE,
    IDEMPOTENCY_KEY,
    header::RANGE,
    header::USER_AGENT,
];

/// One request, sent any number of times.
#[derive(Clone)]
pub(crate) struct Outgoing {
    pub(crate) origin: Origin,
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    version: Version,
    extensions: Extensions,
    plain_http: bool,
    /// The origin that a redirect led away from, when nothing may be paid where it led.
    strayed_from: Option<Origin>,
}

impl Outgoing {
    /// Checks where it goes, and adds `Idempotency-Key` and `Accept-Payment` unless they are set.
    pub(crate) fn new(
        request: http::Request<Bytes>,
        id: CallId,
        (parts, sessions): (&Parts, Option<&Sessions>),
    ) -> Result<Self, CallError> {
        let plain_http = parts.options.dangerous_plain_http;
        let (head, body) = request.into_parts();
        let origin = admitted(&head.uri, plain_http)?;
        let mut outgoing = Self {
            origin,
            method: head.method,
            uri: head.uri,
            headers: head.headers,
            body,
            version: head.version,
            extensions: head.extensions,
            plain_http,
            strayed_from: None,
        };
        let headers = &outgoing.headers;
        let lines = [header::AUTHORIZATION, PAYMENT_AUTHORIZATION]
            .into_iter()
            .flat_map(|name| headers.get_all(name));
        if presented(lines.map(HeaderValue::as_bytes)) != Presented::None {
            return Err(CallError::CredentialPresent);
        }
        if outgoing.body.len() > limits::REQUEST_BYTES_MAX {
            let limit = limits::REQUEST_BYTES_MAX;
            let why = format!("it is longer than {limit} bytes");
            return Err(CallError::RequestBody(why));
        }
        let key = text_value(&id.to_string());
        outgoing.headers.entry(IDEMPOTENCY_KEY).or_insert(key);
        let accept = choose::accept_payment(sessions, &parts.payers);
        if let (true, Some(accept)) = (outgoing.may_be_paid(), accept) {
            let accept = accept.to_header();
            outgoing
                .headers
                .entry(ACCEPT_PAYMENT)
                .or_insert(text_value(&accept));
        }
        Ok(outgoing)
    }

    /// The request of the journal, to be sent again. Nothing is added to it.
    pub(crate) fn stored(
        resource: &Resource,
        request: &StoredRequest,
        plain_http: bool,
    ) -> Result<Self, String> {
        let uri: Uri = resource.url.parse().map_err(|_| "its URL is damaged")?;
        let method = Method::from_bytes(resource.method.as_bytes())
            .map_err(|_| "its HTTP method is damaged")?;
        let mut headers = HeaderMap::new();
        for (name, value) in request.fields.iter() {
            let name = HeaderName::from_bytes(name.as_bytes());
            let value = HeaderValue::from_bytes(value);
            match (name, value) {
                (Ok(name), Ok(value)) => headers.append(name, value),
                _ => return Err("one of its header fields is damaged".into()),
            };
        }
        let body = request
            .body
            .as_ref()
            .map(|body| Bytes::copy_from_slice(body));
        Ok(Self {
            origin: admitted(&uri, plain_http).map_err(|error| error.to_string())?,
            method,
            uri,
            headers,
            body: body.unwrap_or_default(),
            version: Version::default(),
            extensions: Extensions::new(),
            plain_http,
            strayed_from: None,
        })
    }

    /// The request as it goes out, with the credential if there is one.
    pub(crate) fn request(&self, credential: Option<&HeaderValue>) -> http::Request<Bytes> {
        let mut request = http::Request::new(self.body.clone());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.version_mut() = self.version;
        *request.headers_mut() = self.headers.clone();
        *request.extensions_mut() = self.extensions.clone();
        if let Some(credential) = credential {
            let name = if self.headers.contains_key(header::AUTHORIZATION) {
                PAYMENT_AUTHORIZATION
            } else {
                header::AUTHORIZATION
            };
            request.headers_mut().insert(name, credential.clone());
        }
        request
    }

    /// False for the methods that are never paid for.
    pub(crate) fn may_be_paid(&self) -> bool {
        !matches!(
            self.method,
            Method::HEAD | Method::OPTIONS | Method::TRACE | Method::CONNECT
        )
    }

    /// Refuses to pay where a redirect led to another origin.
    pub(crate) fn payable_here(&self) -> Result<(), CallError> {
        match &self.strayed_from {
            None => Ok(()),
            Some(from) => Err(CallError::PaymentElsewhere {
                from: from.clone(),
                to: self.origin.clone(),
                url: self.uri.to_string(),
            }),
        }
    }

    /// Goes on to where a redirect points, if it may.
    pub(crate) fn follow(
        &mut self,
        to: &str,
        status: StatusCode,
        redirects: Redirects,
    ) -> Result<(), CallError> {
        let elsewhere = || CallError::RedirectElsewhere {
            from: self.origin.clone(),
            to: to.to_owned(),
        };
        let base = url::Url::parse(&self.uri.to_string()).map_err(|_| elsewhere())?;
        let target = base.join(to).map_err(|_| elsewhere())?;
        let target: Uri = target.as_str().parse().map_err(|_| elsewhere())?;
        let origin = admitted(&target, self.plain_http).map_err(|_| elsewhere())?;
        if origin != self.origin {
            // What answers on this machine is not for others to choose.
            let inwards = origin.is_loopback() && !self.origin.is_loopback();
            match redirects {
                Redirects::AnyOrigin if !inwards => self.stray(),
                Redirects::DangerousPaidAnywhere if !inwards => {}
                _ => return Err(elsewhere()),
            }
            self.origin = origin;
        }
        self.uri = target;
        // As browsers do: 303 always, 301 and 302 for POST.
        let to_get = match status.as_u16() {
            303 => true,
            301 | 302 => self.method == Method::POST,
            _ => false,
        };
        if to_get {
            self.method = Method::GET;
            self.body = Bytes::new();
            for name in [
                header::CONTENT_TYPE,
                header::CONTENT_LENGTH,
                header::CONTENT_ENCODING,
            ] {
                self.headers.remove(name);
            }
        }
        Ok(())
    }

    /// Leaves behind what is for the first origin only.
    fn stray(&mut self) {
        self.strayed_from.get_or_insert_with(|| self.origin.clone());
        let kept = self.headers.iter();
        let kept = kept.filter(|(name, _)| FOLLOWS_ANYWHERE.contains(name));
        self.headers = kept.map(|(n, v)| (n.clone(), v.clone())).collect();
    }

    /// What the journal says was called.
    pub(crate) fn resource(&self) -> Resource {
        Resource {
            origin: self.origin.to_string(),
            method: self.method.to_string(),
            url: self.uri.to_string(),
        }
    }

    /// What the journal keeps for sending it again.
    pub(crate) fn to_store(&self) -> StoredRequest {
        let fields = self
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
            .collect();
        let keep = self.body.len() <= limits::STORED_BODY_BYTES_MAX;
        StoredRequest {
            fields: Zeroizing::new(fields),
            body: keep.then(|| Zeroizing::new(self.body.to_vec())),
            body_digest: *BodyDigest::of(&self.body).as_bytes(),
        }
    }
}

fn admitted(uri: &Uri, plain_http: bool) -> Result<Origin, CallError> {
    let origin = Origin::of(uri).map_err(CallError::Origin)?;
    if origin.is_secure() || origin.is_loopback() || plain_http {
        Ok(origin)
    } else {
        Err(CallError::PlainHttp(origin))
    }
}

fn text_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text)
        .expect("names and ids are visible ASCII because their types admit nothing else")
}
