//! Event streams of the demo's own API: they know nothing of payments.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::header;
use http_body::Frame;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// An event at every tick, until there is none.
struct Feed<F> {
    pace: Interval,
    next: F,
}

/// Answers with events, one at a time.
pub(super) fn events<F>(pace: Duration, next: F) -> Response
where
    F: FnMut() -> Option<String> + Send + Unpin + 'static,
{
    let mut pace = interval(pace);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let body = Body::new(Feed { pace, next });
    ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
}

impl<F> http_body::Body for Feed<F>
where
    F: FnMut() -> Option<String> + Unpin,
{
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        ready!(self.pace.poll_tick(cx));
        let event = (self.next)().map(|data| format!("data: {data}\n\n"));
        Poll::Ready(event.map(|event| Ok(Frame::data(event.into()))))
    }
}
