//! `stiver serve`: the gateway.

use serde_json::json;
use stiver_env::Env;
#[cfg(feature = "otel")]
use stiver_gateway::trace::Exporter;
use stiver_gateway::{
    Gateway, StartError,
    config::{Config, LogFormat},
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::{
    EnvFilter, Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use crate::{
    args::Serve,
    commands::look,
    config::read_config,
    failure::{Failure, FailureKind},
    log::{Ending, Lines},
    output::{Output, STRONG},
};

/// Runs until SIGINT or SIGTERM, then finishes the requests in flight. SIGHUP reloads.
pub(crate) async fn run(args: &Serve, env: &Env, output: Output) -> Result<(), Failure> {
    if args.check {
        return look::check(args, env, output);
    }
    if args.print_config {
        return look::print(args, env, output);
    }
    let filter = filter()?;
    let config = read_config(&args.config, env)?;
    let log = Log::start(filter, &config, env)?;
    let mut signals = Signals::new()?;
    let gateway = Gateway::start(&config, env)
        .await
        .map_err(|error| failure(&error))?;
    let url = format!("http://{}", gateway.address());
    output.line(&format!("listening on {}", output.paint(STRONG, &url)))?;
    output.object(&json!({"listening": url}))?;
    while signals.wait().await == Told::Reload {
        match gateway.reload().await {
            Ok(reloaded) => {
                tracing::info!(routes = reloaded.routes, "the configuration is reloaded");
            }
            Err(error) => {
                let error = anyhow::Error::new(error);
                tracing::error!("not reloaded, all is as it was: {error:#}");
            }
        }
    }
    tracing::info!("stopping: requests in flight are finished first");
    let stopped = gateway.stop().await;
    tracing::info!("stopped");
    log.end().await;
    Ok(stopped?)
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

/// `STIVER_LOG` sets what is logged, as `info` or `stiver_server=debug`.
fn filter() -> Result<EnvFilter, Failure> {
    match std::env::var("STIVER_LOG") {
        Ok(text) => EnvFilter::try_new(&text)
            .map_err(|error| Failure::usage(format!("STIVER_LOG {text:?}: {error}"))),
        Err(_) => Ok(EnvFilter::new("info")),
    }
}

/// What is logged, and what is traced.
struct Log {
    lines: Ending,
    #[cfg(feature = "otel")]
    exporter: Option<Exporter>,
}

impl Log {
    /// Logs go to standard error.
    #[cfg_attr(
        not(feature = "otel"),
        expect(unused_variables, reason = "only the exporter of spans needs it")
    )]
    fn start(filter: EnvFilter, config: &Config, env: &Env) -> Result<Self, Failure> {
        let (to, lines) = Lines::to(std::io::stderr());
        let lines_of = tracing_subscriber::fmt::layer()
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .with_writer(to);
        let layer = match config.log_format {
            LogFormat::Text => lines_of.with_filter(filter).boxed(),
            LogFormat::Json => lines_of.json().with_filter(filter).boxed(),
        };
        let subscriber = tracing_subscriber::registry().with(layer);
        #[cfg(feature = "otel")]
        let exporter = exporter(config, env)?;
        #[cfg(feature = "otel")]
        let subscriber = subscriber.with(exporter.as_ref().map(Exporter::layer));
        #[cfg(not(feature = "otel"))]
        no_exporter(config)?;
        subscriber
            .try_init()
            .map_err(|error| anyhow::anyhow!("starting the log: {error}"))?;
        Ok(Self {
            lines,
            #[cfg(feature = "otel")]
            exporter,
        })
    }

    /// Writes and sends what waits.
    async fn end(self) {
        #[cfg(feature = "otel")]
        if let Some(exporter) = self.exporter {
            exporter.stop().await;
        }
        self.lines.flush();
    }
}

#[cfg(feature = "otel")]
fn exporter(config: &Config, env: &Env) -> Result<Option<Exporter>, Failure> {
    let exporter = config.tracing.as_ref();
    let exporter = exporter.map(|tracing| Exporter::start(tracing, env));
    Ok(exporter.transpose()?)
}

#[cfg(not(feature = "otel"))]
fn no_exporter(config: &Config) -> Result<(), Failure> {
    match config.tracing {
        None => Ok(()),
        Some(_) => Err(Failure::usage(
            "[tracing] is configured, and this program was built without the feature otel",
        )),
    }
}

/// What a signal tells.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    /// SIGHUP.
    Reload,
    /// SIGINT, SIGTERM.
    Stop,
}

/// What the gateway is told by signals. Listened for before it says that it is ready: a signal that
/// comes right after is not lost.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn wait(&mut self) -> Told {
        tokio::select! {
            _ = self.interrupt.recv() => Told::Stop,
            _ = self.terminate.recv() => Told::Stop,
            _ = self.hangup.recv() => Told::Reload,
        }
    }
}
