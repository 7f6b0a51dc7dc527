//! A gateway that runs: opened, serving, shut down.

use std::{collections::BTreeMap, io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use http::Request;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use stiver_env::{Env, net::Listener};
use stiver_ledger::id::AccountId;
use stiver_method::{key::Ed25519Key, signer::Signer};
use stiver_method_ledger::{
    EmbeddedLedger, LedgerPayee, LedgerPayeeConfig,
    session::{LedgerSessionPayee, LedgerSessionPayeeConfig, Scheme},
};
use stiver_server::{
    Gate,
    gate::BuildError,
    session::{SessionLimits, SettleSchedule},
};
use stiver_store::{EmbeddedStore, Limits as StoreLimits, Store};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use crate::{
    RoutesError, admin,
    books::{self, BooksError},
    config::{self, Config, Upstream, secret::SecretError},
    connections::{Connections, Handler, ResponseBody},
    keys::{self, KeyError},
    live::{Live, ReloadError, Reloaded},
    observe::{self, Watched, Watching},
    proxy::{Limits, Proxy},
    routes::Methods,
    tls::{self, Certificate, Protocols, TlsError},
    upstream::{HeaderRules, Settings, UpstreamClient, UpstreamSetupError},
};

/// How often payments that a crash or a lost answer left behind are looked for.
const RECOVERY_PAUSE: Duration = Duration::from_secs(5);
/// The shortest and the longest pause between two looks at what channels have earned.
const SETTLE_PAUSE_MIN: Duration = Duration::from_secs(5);
const SETTLE_PAUSE_MAX: Duration = Duration::from_secs(60);
/// How often a shutdown looks whether paid work has ended.
const WORK_PAUSE: Duration = Duration::from_millis(20);
/// Connections to the admin socket at once.
const ADMIN_CONNECTIONS_MAX: usize = 16;
/// Connections to the metrics listener at once.
const METRICS_CONNECTIONS_MAX: usize = 64;
/// How long a shutdown waits at most for requests of the operator.
const OPERATOR_GRACE: Duration = Duration::from_secs(1);

/// A running gateway.
pub struct Gateway {
    addresses: Vec<SocketAddr>,
    metrics_address: Option<SocketAddr>,
    certificates: Vec<Arc<Certificate>>,
    slots: Arc<Semaphore>,
    connections_max: usize,
    stop: watch::Sender<bool>,
    ended: Vec<oneshot::Receiver<()>>,
    /// Ends what the operator looks at: last.
    hide: watch::Sender<bool>,
    hidden: Vec<oneshot::Receiver<()>>,
    gate: Gate,
    live: Arc<Live>,
    store: EmbeddedStore,
    ledger: EmbeddedLedger,
    admin_socket: PathBuf,
    grace: Duration,
    env: Env,
}

impl Gateway {
    /// Opens the logs, finishes what an earlier run left behind, and serves.
    ///
    /// # Errors
    ///
    /// [`StartError`]; nothing is served then.
    pub async fn start(config: &Config, env: &Env) -> Result<Self, StartError> {
        let secrets = keys::read_secrets(&config.secret_file, env).map_err(StartError::Key)?;
        let payee_key = keys::read_key(&config.payee_key_file(), env).map_err(StartError::Key)?;
        let issuer = keys::read_key(&config.issuer_key_file(), env)
            .map_err(StartError::Key)?
            .did();
        let ledger = books::open(config, issuer, env)
            .await
            .map_err(StartError::Books)?;
        let account = books::open_payee(&ledger, &payee_key, env)
            .await
            .map_err(StartError::Books)?;
        let store_config = EmbeddedStore::config(config.store_dir());
        let store = EmbeddedStore::open(store_config, env, StoreLimits::default())
            .await
            .map_err(StartError::Store)?;
        let methods = methods(config, &ledger, account, payee_key)?;
        let shared: Arc<dyn Store> = Arc::new(store.clone());
        let watching = Watching::new(config, env);
        let gate = Gate::builder(config.realm.clone(), secrets, shared, env.clone())
            .method(Arc::clone(&methods.charge))
            .channels(Arc::new(store.clone()))
            .session_method(Arc::clone(&methods.session))
            .session_limits(SessionLimits {
                channels_max: config.sessions.channels_max,
                vouchers_per_second: config.sessions.vouchers_per_second,
                ..SessionLimits::default()
            });
        let gate = watching.count(gate).build().map_err(StartError::Gate)?;
        let limits = Limits {
            spool_total_bytes: config.spool_total_bytes,
            behind_proxy: config.behind_tls_proxy,
            cors: config.cors.clone(),
        };
        let proxy = |routes| Proxy::new(gate.clone(), routes, limits, &watching);
        let parts = (gate.clone(), ledger.clone(), watching.clone());
        let live = Arc::new(Live::new(config, parts, methods, proxy)?);
        let (stop, stopped) = watch::channel(false);
        let mut gateway = Self {
            addresses: Vec::new(),
            metrics_address: None,
            certificates: Vec::new(),
            slots: Arc::new(Semaphore::new(config.connections_max)),
            connections_max: config.connections_max,
            stop,
            ended: Vec::new(),
            hide: watch::channel(false).0,
            hidden: Vec::new(),
            gate: gate.clone(),
            live,
            store,
            ledger,
            admin_socket: config.admin_socket(),
            grace: config.shutdown_grace,
            env: env.clone(),
        };
        gateway.recover(&gate, stopped.clone());
        gateway.settle(&gate, config, stopped.clone());
        gateway.listen(config, watching, stopped).await?;
        Ok(gateway)
    }

    /// Where clients connect: the address of the first listener, with the port that was taken.
    pub fn address(&self) -> SocketAddr {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        self.addresses.first().copied().unwrap_or(nowhere)
    }

    /// The addresses of all listeners, in the order of the configuration.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where metrics, health and readiness are told, when the configuration asks for it.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_address
    }

    /// Looks at the files of the listeners' certificates now, and not only in a while. A
    /// certificate that is no good leaves the old one in force, and the log says why.
    pub fn look_at_certificates(&self) {
        tls::look_at_all(&self.certificates);
    }

    /// Reads the configuration file again and puts it into force with its secrets: routes, prices,
    /// upstreams, limits. No challenge that is out is refused for it.
    ///
    /// # Errors
    ///
    /// [`ReloadError`]; everything is as it was then.
    pub async fn reload(&self) -> Result<Reloaded, ReloadError> {
        let reloaded = self.live.reload_file().await;
        self.look_at_certificates();
        reloaded
    }

    /// Accepts nothing new, finishes what is in flight within the configured grace, and closes the
    /// logs.
    ///
    /// # Errors
    ///
    /// [`StopError`] when a log failed; what was answered before is durable all the same.
    pub async fn stop(mut self) -> Result<(), StopError> {
        let until = self.env.clock.monotonic() + self.grace;
        // Nobody listening any more means that everything has ended already.
        let _ = self.stop.send(true);
        for ended in std::mem::take(&mut self.ended) {
            let _ = ended.await;
        }
        self.finish_work(until).await;
        let _ = self.hide.send(true);
        for hidden in std::mem::take(&mut self.hidden) {
            let _ = hidden.await;
        }
        // The socket file is of no use any more; a later start replaces it when it stays.
        let _ = self.env.disk.remove(&self.admin_socket);
        self.store.close().await.map_err(StopError::Store)?;
        self.ledger
            .ledger()
            .close()
            .await
            .map_err(StopError::Ledger)
    }

    /// Waits, within the grace, for paid work whose client has gone, and for connections that have
    /// left HTTP: both go on by themselves.
    async fn finish_work(&self, until: Duration) {
        let clock = &self.env.clock;
        let busy =
            || self.gate.at_work() > 0 || self.slots.available_permits() < self.connections_max;
        while busy() && clock.monotonic() < until {
            clock.sleep(WORK_PAUSE).await;
        }
    }

    fn recover(&mut self, gate: &Gate, mut stopped: watch::Receiver<bool>) {
        let gate = gate.clone();
        let ended = self.task(async move {
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stop| *stop) => {}
                () = gate.keep_recovering(RECOVERY_PAUSE) => {}
            }
        });
        self.ended.push(ended);
    }

    /// Takes what channels have earned, closes those that nobody uses, and looks for payers that
    /// close theirs by force.
    fn settle(&mut self, gate: &Gate, config: &Config, mut stopped: watch::Receiver<bool>) {
        let sessions = config.sessions;
        let schedule = SettleSchedule {
            unsettled_max: sessions.settle_after_units.map(u128::from),
            count_max: sessions.settle_after_requests,
            quiet: sessions.settle_quiet,
            idle: sessions.idle_close,
            // Often enough to see a forced close in the first half of its grace.
            watch: Some(sessions.grace / 4),
        };
        // Each pass asks for a part of the channels.
        let pause = (sessions.grace / 32).clamp(SETTLE_PAUSE_MIN, SETTLE_PAUSE_MAX);
        let (gate, clock) = (gate.clone(), Arc::clone(&self.env.clock));
        let ended = self.task(async move {
            let passes = async {
                loop {
                    gate.recover_channels().await;
                    gate.settle_due(&schedule).await;
                    clock.sleep(pause).await;
                }
            };
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stop| *stop) => {}
                () = passes => {}
            }
        });
        self.ended.push(ended);
    }

    async fn listen(
        &mut self,
        config: &Config,
        watching: Watching,
        stopped: watch::Receiver<bool>,
    ) -> Result<(), StartError> {
        let live = Arc::clone(&self.live);
        let handler: Handler = Arc::new(move |request: Request<Incoming>, peer| {
            Box::pin(Arc::clone(&live).handle(request, peer))
        });
        for row in &config.listeners {
            let tls = self.secure(row)?;
            let listener = self.env.net.listen(row.address).await;
            let listener = listener.map_err(|source| listening(row.address, source))?;
            let address = listener.local_address().unwrap_or(row.address);
            self.addresses.push(address);
            let connections = Connections {
                handler: Arc::clone(&handler),
                tls,
                protocols: row.protocols,
                slots: Arc::clone(&self.slots),
                grace: self.grace,
                env: self.env.clone(),
            };
            let ended = self.task(connections.serve(listener, stopped.clone()));
            self.ended.push(ended);
        }
        tls::keep_fresh(self.certificates.clone(), &self.env, stopped.clone());
        self.show(config, watching, stopped).await
    }

    /// Listens for the operator: on the admin socket, and for metrics.
    async fn show(
        &mut self,
        config: &Config,
        watching: Watching,
        stopping: watch::Receiver<bool>,
    ) -> Result<(), StartError> {
        let metrics = Arc::clone(&watching.metrics);
        let watched = Arc::new(Watched {
            env: self.env.clone(),
            started: self.env.clock.monotonic(),
            gate: self.gate.clone(),
            store: self.store.clone(),
            store_limits: StoreLimits::default().bounded(),
            ledger: self.ledger.ledger().clone(),
            watching,
            places: (Arc::clone(&self.slots), self.connections_max),
            spooled_bytes_max: config.spool_total_bytes,
            channels_max: config.sessions.channels_max,
            currencies: config.currencies.clone(),
            stopping,
        });
        let socket = config.admin_socket();
        let listener = self.env.net.listen_local(&socket).await;
        let listener = listener.map_err(|source| listening(socket.display(), source))?;
        let router = admin::router(self.ledger.ledger().clone());
        let router = router.merge(admin::control::router(Arc::clone(&self.live)));
        let payments = admin::payments::router(self.gate.clone(), &config.currencies);
        let router = router.merge(payments);
        let router = router.merge(observe::admin(Arc::clone(&watched), Arc::clone(&metrics)));
        self.serve(router, ADMIN_CONNECTIONS_MAX, listener);
        if let Some(told) = &config.metrics {
            let listener = self.env.net.listen(told.listen).await;
            let listener = listener.map_err(|source| listening(told.listen, source))?;
            self.metrics_address = listener.local_address();
            let router = observe::public(watched, metrics);
            self.serve(router, METRICS_CONNECTIONS_MAX, listener);
        }
        Ok(())
    }

    /// The TLS of a listener, whose certificate is looked after from now on.
    fn secure(&mut self, row: &config::Listener) -> Result<Option<TlsAcceptor>, StartError> {
        let Some(tls) = &row.tls else {
            return Ok(None);
        };
        let disk = Arc::clone(&self.env.disk);
        let certificate = Certificate::load(tls.clone(), disk).map_err(StartError::Tls)?;
        let certificate = Arc::new(certificate);
        let acceptor = certificate
            .acceptor(row.protocols)
            .map_err(StartError::Tls)?;
        self.certificates.push(certificate);
        Ok(Some(acceptor))
    }

    /// Serves what the operator looks at, until everything else has ended.
    fn serve(&mut self, router: Router, connections_max: usize, listener: Box<dyn Listener>) {
        let connections = Connections {
            handler: routed(router),
            tls: None,
            protocols: Protocols::Both,
            slots: Arc::new(Semaphore::new(connections_max)),
            grace: OPERATOR_GRACE.min(self.grace),
            env: self.env.clone(),
        };
        let hidden = self.task(connections.serve(listener, self.hide.subscribe()));
        self.hidden.push(hidden);
    }

    /// Starts a task, and tells when it has ended.
    fn task(&self, task: impl Future<Output = ()> + Send + 'static) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        self.env.spawner.spawn(Box::pin(async move {
            task.await;
            // Nobody waits when the gateway was dropped and not stopped.
            let _ = sender.send(());
        }));
        receiver
    }
}

/// How the gateway is paid: through its own ledger.
fn methods(
    config: &Config,
    ledger: &EmbeddedLedger,
    account: AccountId,
    key: Arc<Ed25519Key>,
) -> Result<Methods, StartError> {
    let signer: Arc<dyn Signer> = key;
    let charge = LedgerPayee::new(LedgerPayeeConfig {
        ledger: Arc::new(ledger.clone()),
        account,
        signer: Arc::clone(&signer),
        currencies: config.currencies.clone(),
    });
    let mut sessions = LedgerSessionPayeeConfig::new(
        Arc::new(ledger.clone()),
        account,
        signer,
        config.currencies.clone(),
    );
    sessions.grace_seconds = config.sessions.grace.as_secs();
    if !config.sessions.hash_chain {
        sessions.schemes = vec![Scheme::Ed25519];
    }
    let session = LedgerSessionPayee::new(sessions).map_err(StartError::Sessions)?;
    Ok(Methods {
        charge: Arc::new(charge),
        session: Arc::new(session),
    })
}

/// Answers by a router.
fn routed(router: Router) -> Handler {
    Arc::new(move |request: Request<Incoming>, _| {
        let router = router.clone();
        Box::pin(async move {
            match router.oneshot(request.map(Body::new)).await {
                Ok(response) => response.map(boxed),
                Err(never) => match never {},
            }
        })
    })
}

/// Clients of upstreams, by the upstreams' names.
pub(crate) type UpstreamClients = BTreeMap<String, UpstreamClient>;

/// A client for each upstream. Those of `earlier` go on with their connections.
pub(crate) fn upstream_clients(
    config: &Config,
    earlier: &UpstreamClients,
    env: &Env,
) -> Result<UpstreamClients, StartError> {
    let mut clients = BTreeMap::new();
    for (name, upstream) in &config.upstreams {
        let settings = upstream_settings(upstream, env).map_err(StartError::Secret)?;
        let client = UpstreamClient::after(earlier.get(name), settings, env);
        let client = client.map_err(StartError::Upstream)?;
        clients.insert(name.clone(), client);
    }
    Ok(clients)
}

fn upstream_settings(upstream: &Upstream, env: &Env) -> Result<Settings, SecretError> {
    let mut set = Vec::with_capacity(upstream.set_headers.len());
    for header in &upstream.set_headers {
        set.push((header.name.clone(), header.value.read(env)?));
    }
    Ok(Settings {
        tls: upstream.url.tls,
        authority: upstream.url.authority.clone(),
        base_path: upstream.url.path.clone(),
        connect_timeout: upstream.connect_timeout,
        idle_timeout: upstream.idle_timeout,
        idle_connections_max: upstream.idle_connections_max,
        http2: upstream.http2,
        ca_file: upstream.ca_file.clone(),
        rules: HeaderRules::new(
            set,
            upstream.remove_request_headers.clone(),
            upstream.remove_response_headers.clone(),
        ),
    })
}

fn listening(at: impl ToString, source: io::Error) -> StartError {
    let at = at.to_string();
    StartError::Listen { at, source }
}

fn boxed(body: Body) -> ResponseBody {
    body.map_err(Into::into).boxed_unsync()
}

/// An error and its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A key or secrets file.
    #[error("a key is missing or damaged")]
    Key(#[source] KeyError),
    /// The ledger.
    #[error("the books are not open")]
    Books(#[source] BooksError),
    /// The store.
    #[error("the store could not be opened")]
    Store(#[source] stiver_store::EmbeddedOpenError),
    /// The gate.
    #[error("the gate could not be built")]
    Gate(#[source] BuildError),
    /// What sessions need.
    #[error("the ledger's sessions are not ready: {0}")]
    Sessions(String),
    /// The routes.
    #[error("the routes are not ready")]
    Routes(#[source] RoutesError),
    /// A secret that the configuration names.
    #[error("a secret of an upstream is missing")]
    Secret(#[source] SecretError),
    /// The client of the upstream.
    #[error("the upstream cannot be spoken to")]
    Upstream(#[source] UpstreamSetupError),
    /// The certificate of a listener.
    #[error("a listener cannot speak TLS")]
    Tls(#[source] TlsError),
    /// An address or a socket.
    #[error("listening on {at}")]
    Listen {
        /// Where.
        at: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl StartError {
    /// True when another gateway is running on the same data folder.
    pub fn is_running_already(&self) -> bool {
        matches!(self, Self::Books(error) if error.is_locked())
    }

    /// This error and its causes, in one line.
    pub fn chain(&self) -> String {
        chain(self)
    }
}

/// Why a gateway did not stop cleanly.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// The store's log failed.
    #[error("the store's log did not close")]
    Store(#[source] stiver_wal::EngineError),
    /// The ledger's log failed.
    #[error("the ledger's log did not close")]
    Ledger(#[source] stiver_ledger::LedgerError),
}
