//! `stiver serve`: the gateway.

use serde_json::json;
use stiver_env::Env;
use stiver_gateway::{Gateway, StartError};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::{
    args::Serve,
    config::read_config,
    failure::{Failure, FailureKind},
    output::{Output, STRONG},
};

/// Runs until SIGINT or SIGTERM, then finishes the requests in flight.
pub(crate) async fn run(args: &Serve, env: &Env, output: Output) -> Result<(), Failure> {
    start_log()?;
    let config = read_config(&args.config, env)?;
    let mut signals = StopSignals::new()?;
    let gateway = Gateway::start(&config, env)
        .await
        .map_err(|error| failure(&error))?;
    let url = format!("http://{}", gateway.address());
    output.line(&format!("listening on {}", output.paint(STRONG, &url)))?;
    output.object(&json!({"listening": url}))?;
    signals.wait().await;
    tracing::info!("stopping: requests in flight are finished first");
    gateway.stop().await?;
    tracing::info!("stopped");
    Ok(())
}

fn failure(error: &StartError) -> Failure {
    let message = error.chain();
    if error.is_running_already() {
        let hint = "is a gateway running already on this data folder?";
        return Failure::new(FailureKind::Usage, anyhow::anyhow!("{message}; {hint}"));
    }
    match error {
        StartError::Key(_) | StartError::Routes(_) | StartError::Listen { .. } => {
            Failure::usage(message)
        }
        _ => Failure::new(FailureKind::Other, anyhow::anyhow!("{message}")),
    }
}

/// Logs go to standard error. `STIVER_LOG` sets what is logged, as `info` or `stiver_server=debug`.
fn start_log() -> Result<(), Failure> {
    let filter = match std::env::var("STIVER_LOG") {
        Ok(text) => EnvFilter::try_new(&text)
            .map_err(|error| Failure::usage(format!("STIVER_LOG {text:?}: {error}")))?,
        Err(_) => EnvFilter::new("info"),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .try_init()
        .map_err(|error| anyhow::anyhow!("starting the log: {error}").into())
}

/// What ends the gateway. Listened for before it says that it is ready: a signal that comes right
/// after is not lost.
struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    fn new() -> Result<Self, Failure> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
