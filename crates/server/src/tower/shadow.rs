//! Requests that are priced and pass.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, header, request::Parts};
use http_body::Body;
use http_body_util::Either;
use tower_service::Service;

use super::{
    body::{RequestBody, ResponseBody, peek},
    future::{Fields, refusal, remove_credentials},
    layer,
    price::Shadow,
};
use crate::gate::Assessed;

/// What would have been charged.
const STIVER_SHADOW: HeaderName = HeaderName::from_static("stiver-shadow");

/// Prices a request, and lets it pass.
pub(super) async fn pass<S, B, R>(
    layer: Arc<layer::Shared>,
    mut inner: S,
    mut parts: Parts,
    body: B,
    how: Shadow,
) -> Result<http::Response<ResponseBody<R>>, S::Error>
where
    S: Service<http::Request<RequestBody<B>>, Response = http::Response<R>>,
    B: Body<Data = Bytes>,
    R: Body,
{
    let rule = layer.price.body_rule(&parts);
    let total = (&layer.spooled, layer.strangers_max());
    let spooled = match peek(body, rule, &*layer.gate.env().clock, total).await {
        Ok(spooled) => spooled,
        Err(refused) => return Ok(refusal(&refused)),
    };
    let assessed = {
        let target = (layer.target)(&parts);
        let fields = Fields::of(&parts.headers);
        let request = fields.request(&parts, &target, spooled.read.state());
        let price = || layer.price.price(&parts, &spooled.read);
        layer.gate.assess(&request, price).await
    };
    if matches!(spooled.body, Either::Left(_)) {
        // It was read to its end: how it was framed is history.
        parts.headers.remove(header::TRANSFER_ENCODING);
        parts.headers.remove(header::TRAILER);
    }
    remove_credentials(&mut parts.headers);
    let request = http::Request::from_parts(parts, spooled.body);
    let response = inner.call(request).await?;
    drop(spooled.share);
    let mut response = response.map(|body| Either::Right(Either::Left(body)));
    response.headers_mut().remove(STIVER_SHADOW);
    if how == Shadow::Told
        && let Some(Ok(value)) = told(&assessed).map(HeaderValue::try_from)
    {
        response.headers_mut().insert(STIVER_SHADOW, value);
    }
    Ok(response)
}

fn told(assessed: &Assessed) -> Option<String> {
    match (&assessed.amount, assessed.problem) {
        (Some(amount), _) => Some(format!("would-charge=\"{amount}\"")),
        (None, Some(problem)) => {
            let kind = problem.type_uri().rsplit(['/', ':']).next()?;
            Some(format!("would-refuse=\"{kind}\""))
        }
        (None, None) => None,
    }
}
