//! A WebSocket that a session pays for: what comes is printed message by message, what is typed is
//! sent line by line.

use std::io::{self, BufRead as _, Write};

use anyhow::anyhow;
use bytes::Bytes;
use http::{Method, Request, header};
use serde_json::json;
use stiver_client::{
    CallError, Payment,
    socket::{PaidSocket, SocketAnswer, SocketEnd, SocketExchange, SocketMessage, over_http},
};
use stiver_core::{base64url, untrusted::Untrusted};
use tokio::sync::mpsc;

use super::{Job, outcome, show};
use crate::{
    args::get::Get,
    failure::{Advice, Failure, FailureKind},
    output::Output,
};

/// Lines of standard input that wait to be sent.
const LINES_HELD_MAX: usize = 16;

/// True for a URL of a WebSocket.
pub(super) fn is_socket(url: &str) -> bool {
    let scheme = url.split("://").next().unwrap_or_default();
    ["ws", "wss"]
        .iter()
        .any(|it| scheme.eq_ignore_ascii_case(it))
}

/// What does not go with a WebSocket is found before anything is sent.
pub(super) fn check(args: &Get) -> Result<(), Failure> {
    if !args.url.as_deref().is_some_and(is_socket) {
        return Ok(());
    }
    if !args.payment.session {
        let why = "a WebSocket is paid for by a session: give --session";
        return Err(Failure::usage(why));
    }
    let given = [
        ("--output", args.output.output.is_some()),
        ("--remote-name", args.output.remote_name),
        ("--request", args.request.request.is_some()),
        ("--head", args.request.head),
        ("--form", !args.request.form.is_empty()),
        ("--compressed", args.request.compressed),
    ];
    match given.iter().find(|(_, given)| *given) {
        Some((option, _)) => Err(Failure::usage(format!(
            "{option} does not go with a WebSocket: its messages go to standard output"
        ))),
        None => Ok(()),
    }
}

impl Job<'_> {
    /// Opens a socket, and follows it to its end.
    pub(super) async fn socket(self, request: Request<Bytes>) -> Result<(), Failure> {
        let (mut parts, said) = request.into_parts();
        parts.method = Method::GET;
        parts.headers.remove(header::CONTENT_TYPE);
        let request = over_http(Request::from_parts(parts, Bytes::new()));
        let mut exchange = SocketExchange::new(self.watch.exchange().clone());
        let answer = match self.client.payments().call(request, &mut exchange).await {
            Ok(answer) => answer,
            Err(
                CallError::Declined { .. }
                | CallError::NotPayable { .. }
                | CallError::Session { .. },
            ) if self.consent.dry_run => return self.dry_run(),
            Err(error) => return Err(outcome::failure(error, &self.scene())),
        };
        let (socket, payment) = match self.client.opened(answer).await {
            SocketAnswer::Open(socket, payment) => (socket, payment),
            SocketAnswer::Other(status, body, _) => {
                let body = String::from_utf8_lossy(&body);
                let error = anyhow!("the server opened no socket: {status} {}", Untrusted(&body));
                return Err(Failure::new(FailureKind::Refused, error));
            }
        };
        let output = self.show.output;
        let followed = follow(socket, said, output).await;
        self.show.meter.clear();
        self.show.note_session(&payment);
        let told = followed.and_then(|end| ended(&end, &payment));
        if told.is_ok() {
            output.object(&json!({
                "ok": true,
                "status": 101,
                "headers": null,
                "payment": self.show.payment_json(&payment),
            }))?;
        }
        let session = payment.session.as_ref().map(|session| session.id);
        self.close_after(session).await?;
        told
    }
}

/// Passes messages both ways until the socket has ended.
async fn follow(mut socket: PaidSocket, said: Bytes, output: Output) -> Result<SocketEnd, Failure> {
    let mut lines = match said.is_empty() {
        true => Some(lines()),
        false => {
            let text = String::from_utf8_lossy(&said).into_owned();
            // When it has ended already, it says how.
            let _ = socket.send(text).await;
            None
        }
    };
    let mut closing = false;
    loop {
        let line = async {
            match lines.as_mut() {
                Some(lines) => lines.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            message = socket.recv() => match message {
                Some(message) => print(&message, output)?,
                None => break,
            },
            line = line => match line {
                Some(line) => drop(socket.send(line).await),
                // What is still to come is printed all the same.
                None => lines = None,
            },
            _ = tokio::signal::ctrl_c(), if !closing => {
                closing = true;
                let _ = socket.close().await;
            }
        }
    }
    let broke_off = || SocketEnd::BrokeOff("its task is gone".to_owned());
    Ok(socket.end().unwrap_or_else(broke_off))
}

/// The lines of standard input, read by a thread that nobody waits for.
#[expect(
    clippy::disallowed_methods,
    reason = "a task that waits for a terminal would keep the program from ending"
)]
fn lines() -> mpsc::Receiver<String> {
    let (to, lines) = mpsc::channel(LINES_HELD_MAX);
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            if to.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}

fn print(message: &SocketMessage, output: Output) -> io::Result<()> {
    match (message, output.is_json()) {
        (SocketMessage::Text(text), true) => output.object(&json!({"message": text})),
        (SocketMessage::Text(text), false) => output.line(text),
        (SocketMessage::Binary(data), true) => {
            output.object(&json!({"messageBase64Url": base64url::encode(data)}))
        }
        (SocketMessage::Binary(data), false) => {
            let mut out = io::stdout().lock();
            out.write_all(data)?;
            out.flush()
        }
    }
}

/// What the end of a socket means.
fn ended(end: &SocketEnd, payment: &Payment) -> Result<(), Failure> {
    if let Some(failure) = show::unpaid(payment) {
        return Err(failure);
    }
    let (kind, error) = match end {
        SocketEnd::Complete => return Ok(()),
        SocketEnd::Refused { status, message } => {
            let status = status.map(|it| format!(" ({it})")).unwrap_or_default();
            let message = Untrusted(message);
            let error = anyhow!("the payee ended the socket{status}: {message}");
            (FailureKind::Refused, error)
        }
        SocketEnd::BrokeOff(why) => {
            let error = anyhow!("the socket broke off: {}", Untrusted(why));
            (FailureKind::Network, error)
        }
    };
    let advice: Advice = show::after(Some(payment), false);
    Err(Failure::new(kind, error).with(advice))
}
