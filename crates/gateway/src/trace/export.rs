//! Sends spans to a collector: OTLP as protobuf over HTTP, by the injected network.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use opentelemetry::{KeyValue, trace::TracerProvider as _};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, SpanExporter, WithExportConfig, WithHttpConfig,
};
use opentelemetry_sdk::{
    Resource,
    trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, Tracer},
};
use stiver_env::Env;
use tokio::sync::{mpsc, oneshot};
use tracing::{Level, Subscriber};
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::{
    Layer,
    filter::{Filtered, Targets},
    registry::LookupSpan,
};

use super::SPANS;
use crate::{
    config,
    upstream::{HeaderRules, Settings, UpstreamClient, UpstreamSetupError},
};

/// Most spans that wait to be sent. One more is dropped.
pub const EXPORT_QUEUE_MAX: usize = 4096;
/// Most spans in one message.
pub const EXPORT_BATCH_MAX: usize = 512;
/// How long spans wait for others before they are sent.
pub const EXPORT_DELAY: Duration = Duration::from_secs(2);
/// How long a collector may take to answer.
pub const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
/// Messages on their way to the task that sends them.
const MESSAGES_MAX: usize = 4;
/// Longest answer of a collector, bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Where collectors take traces.
const TRACES: &str = "/v1/traces";

/// Exports spans until it is stopped.
pub struct Exporter {
    provider: SdkTracerProvider,
    tracer: Tracer,
    env: Env,
}

impl Exporter {
    /// Exports to the collector of a configuration. Needs a runtime around it.
    ///
    /// Which traces are kept is decided here, by their id, whatever the client's `traceparent` says
    /// of it: else any client could have all its requests exported.
    ///
    /// # Errors
    ///
    /// [`ExporterError`]
    pub fn start(tracing: &config::Tracing, env: &Env) -> Result<Self, ExporterError> {
        let url = &tracing.otlp_endpoint;
        let scheme = if url.tls { "https" } else { "http" };
        let endpoint = format!("{scheme}://{}{}{TRACES}", url.authority, url.path);
        let client = Client::start(tracing, env).map_err(ExporterError::Client)?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(endpoint)
            .with_timeout(EXPORT_TIMEOUT)
            .build()
            .map_err(ExporterError::Build)?;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(EXPORT_QUEUE_MAX)
            .with_max_export_batch_size(EXPORT_BATCH_MAX)
            .with_scheduled_delay(EXPORT_DELAY)
            .build();
        let processor = BatchSpanProcessor::builder(exporter)
            .with_batch_config(batches)
            .build();
        let resource = Resource::builder_empty()
            .with_service_name(tracing.service_name.clone())
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor)
            .with_resource(resource)
            .with_sampler(sampler(tracing.sample_ratio_percent))
            .build();
        Ok(Self {
            tracer: provider.tracer("stiver"),
            provider,
            env: env.clone(),
        })
    }

    /// What a `tracing` subscriber needs to export spans: those of [`SPANS`], and nothing else.
    pub fn layer<S>(&self) -> Filtered<OpenTelemetryLayer<S, Tracer>, Targets, S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.tracer.clone())
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_target(false)
            .with_filter(Targets::new().with_target(SPANS, Level::TRACE))
    }

    /// Sends what waits, at most for [`EXPORT_TIMEOUT`], and ends.
    pub async fn stop(self) {
        let (done, ended) = oneshot::channel();
        let provider = self.provider;
        let task = async move {
            // A collector that does not answer loses the last spans: that is all.
            let _ = provider.shutdown_with_timeout(EXPORT_TIMEOUT);
            let _ = done.send(());
        };
        // It blocks until the thread that exports has ended.
        self.env
            .spawner
            .spawn_blocking_task("otlp-shutdown", Box::pin(task));
        let _ = ended.await;
    }
}

#[expect(
    clippy::float_arithmetic,
    reason = "the share of traces is a fraction, and no money"
)]
fn sampler(percent: u8) -> Sampler {
    match percent {
        100.. => Sampler::AlwaysOn,
        percent => Sampler::TraceIdRatioBased(f64::from(percent) / 100.0),
    }
}

/// A message, and where its answer goes.
type Message = (Request<Bytes>, oneshot::Sender<Option<Response<Bytes>>>);

/// Hands messages to a task inside the runtime: the thread that exports is outside of it.
#[derive(Debug)]
struct Client(mpsc::Sender<Message>);

impl Client {
    fn start(tracing: &config::Tracing, env: &Env) -> Result<Self, UpstreamSetupError> {
        let (sender, mut messages) = mpsc::channel::<Message>(MESSAGES_MAX);
        let collector = UpstreamClient::new(settings(tracing), env)?;
        let clock = Arc::clone(&env.clock);
        env.spawner.spawn(Box::pin(async move {
            while let Some((request, answer)) = messages.recv().await {
                let sent = tokio::select! {
                    biased;
                    sent = send(&collector, request) => sent,
                    () = clock.sleep(EXPORT_TIMEOUT) => None,
                };
                // Nobody waits when the exporter has given up on it.
                let _ = answer.send(sent);
            }
        }));
        Ok(Self(sender))
    }
}

async fn send(collector: &UpstreamClient, request: Request<Bytes>) -> Option<Response<Bytes>> {
    let request = request.map(|body| {
        let body = Full::new(body).map_err(|never| match never {});
        http_body_util::combinators::UnsyncBoxBody::new(body)
    });
    let answer = collector.send(request).await.ok()?;
    let (parts, body) = answer.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.ok()?;
    Some(Response::from_parts(parts, body.to_bytes()))
}

fn settings(tracing: &config::Tracing) -> Settings {
    Settings {
        tls: tracing.otlp_endpoint.tls,
        authority: tracing.otlp_endpoint.authority.clone(),
        base_path: String::new(),
        connect_timeout: EXPORT_TIMEOUT,
        idle_timeout: Duration::from_secs(60),
        idle_connections_max: 1,
        http2: false,
        ca_file: None,
        rules: HeaderRules::default(),
    }
}

/// The collector gave no answer.
#[derive(Debug, thiserror::Error)]
#[error("the collector gave no answer")]
struct NoAnswer;

impl HttpClient for Client {
    fn send_bytes<'life, 'send>(
        &'life self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'send>>
    where
        'life: 'send,
        Self: 'send,
    {
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            self.0.send((request, answer)).await.map_err(|_| NoAnswer)?;
            let answer = answered.await.map_err(|_| NoAnswer)?;
            answer.ok_or_else(|| NoAnswer.into())
        })
    }
}

/// Why no spans are exported.
#[derive(Debug, thiserror::Error)]
pub enum ExporterError {
    /// The client of the collector.
    #[error("the collector cannot be spoken to")]
    Client(#[source] UpstreamSetupError),
    /// The exporter.
    #[error("the exporter of spans could not be built")]
    Build(#[source] ExporterBuildError),
}
