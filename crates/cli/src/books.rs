//! The admin interface of a gateway's ledger: in this process when nobody holds the log, else
//! through the socket of the gateway that does.

use anyhow::{Context, anyhow};
use axum::{Router, body::Body};
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use stiver_env::Env;
use stiver_gateway::{admin, books, config::Config, keys};
use stiver_ledger::Ledger;
use stiver_method::key::Ed25519Key;
use tower::ServiceExt;

use crate::failure::{Failure, FailureKind};

/// Longest answer, bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Tells the running gateway of a configuration something; `None` when none runs.
pub(crate) async fn tell<A: DeserializeOwned>(
    config: &Config,
    target: &str,
    env: &Env,
) -> Result<Option<A>, Failure> {
    let socket = config.admin_socket();
    // A socket that nobody listens at was left behind by a gateway that was killed.
    if env.net.connect_local(&socket).await.is_err() {
        return Ok(None);
    }
    let books = Books::There(socket, env.clone());
    books.post(target, &serde_json::json!({})).await.map(Some)
}

/// Where the ledger is.
pub(crate) enum Books {
    /// Opened here.
    Here(Ledger, Router),
    /// Held by a running gateway.
    There(std::path::PathBuf, Env),
}

impl Books {
    /// Finds the ledger of a configuration.
    pub(crate) async fn find(config: &Config, env: &Env) -> Result<Self, Failure> {
        let issuer = keys::read_key(&config.issuer_key_file(), env)
            .map_err(|error| Failure::new(FailureKind::Usage, error))?;
        match books::open(config, issuer.did(), env).await {
            Ok(embedded) => {
                let ledger = embedded.ledger().clone();
                let router = admin::router(ledger.clone());
                Ok(Self::Here(ledger, router))
            }
            Err(error) if error.is_locked() => Ok(Self::There(config.admin_socket(), env.clone())),
            Err(error) => Err(error.into()),
        }
    }

    /// The key that may issue.
    pub(crate) fn issuer(
        config: &Config,
        env: &Env,
    ) -> Result<std::sync::Arc<Ed25519Key>, Failure> {
        keys::read_key(&config.issuer_key_file(), env)
            .map_err(|error| Failure::new(FailureKind::Usage, error))
    }

    /// Asks for something.
    pub(crate) async fn get<A: DeserializeOwned>(&self, target: &str) -> Result<A, Failure> {
        self.call(Method::GET, target, Vec::new()).await
    }

    /// Sends something.
    pub(crate) async fn post<A: DeserializeOwned>(
        &self,
        target: &str,
        body: &impl Serialize,
    ) -> Result<A, Failure> {
        self.call(Method::POST, target, serde_json::to_vec(body)?)
            .await
    }

    /// Closes a ledger that was opened here.
    pub(crate) async fn close(self) -> Result<(), Failure> {
        match self {
            Self::Here(ledger, _) => Ok(ledger.close().await?),
            Self::There(..) => Ok(()),
        }
    }

    async fn call<A: DeserializeOwned>(
        &self,
        method: Method,
        target: &str,
        body: Vec<u8>,
    ) -> Result<A, Failure> {
        let request = Request::builder()
            .method(method)
            .uri(target)
            .header(header::HOST, "stiver")
            .header(header::CONTENT_TYPE, "application/json")
            .body(body)?;
        let (status, answer) = match self {
            Self::Here(_, router) => {
                let answer = router.clone().oneshot(request.map(Body::from)).await;
                let response = match answer {
                    Ok(response) => response,
                    Err(never) => match never {},
                };
                (response.status(), read(response.into_body()).await?)
            }
            Self::There(socket, env) => through(socket, env, request).await?,
        };
        if status.is_success() {
            return Ok(serde_json::from_slice(&answer)?);
        }
        let failed: Result<admin::wire::Failed, _> = serde_json::from_slice(&answer);
        let message = failed.map_or_else(|_| format!("{status}"), |failed| failed.error);
        let kind = match status {
            StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND => FailureKind::Usage,
            StatusCode::CONFLICT => FailureKind::Refused,
            _ => FailureKind::Other,
        };
        Err(Failure::new(kind, anyhow!("{message}")))
    }
}

pub(crate) async fn through(
    socket: &std::path::Path,
    env: &Env,
    request: Request<Vec<u8>>,
) -> Result<(StatusCode, Vec<u8>), Failure> {
    let stream = env.net.connect_local(socket).await.with_context(|| {
        format!(
            "the ledger is in use, and nobody answers at {}: is another command running?",
            socket.display()
        )
    })?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    env.spawner.spawn(Box::pin(async move {
        // What goes wrong on the connection is told by the answer that does not come.
        let _ = connection.await;
    }));
    let response = sender
        .send_request(request.map(|body| Full::new(bytes::Bytes::from(body))))
        .await?;
    Ok((response.status(), read(response.into_body()).await?))
}

async fn read<B>(body: B) -> Result<Vec<u8>, Failure>
where
    B: http_body::Body<Data = bytes::Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let collected = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
    let collected = collected.map_err(|error| anyhow!("reading the answer: {error}"))?;
    Ok(collected.to_bytes().to_vec())
}
