//! What answers on the public addresses: built from a configuration, and replaced as a whole when
//! the configuration is read again.
//!
//! A request is answered by what was in force when it came. Challenges that are out stay good: the
//! routes in force honour the prices of those they took the place of, until the last challenge of
//! those has expired.

use std::sync::{Arc, PoisonError, RwLock};

use http::{Request, Response};
use hyper::body::Incoming;
use stiver_core::Timestamp;
use stiver_env::Env;
use stiver_method_ledger::EmbeddedLedger;
use stiver_server::{Gate, tower::Answered};
use tracing::Instrument as _;

use crate::{
    config::{Config, ReadError},
    connections::{Peer, ResponseBody},
    discovery::Discovery,
    keys::{self, KeyError},
    ledger_endpoint::LedgerEndpoint,
    limits::Rules,
    observe::{About, Watching},
    proxy::Proxy,
    routes::{Earlier, Methods, Routes},
    run::{StartError, UpstreamClients, upstream_clients},
    secrets::{self, RotateError, Rotated},
};

/// Most sets of routes whose prices are honoured at once. Only those with challenges that may still
/// be out count.
pub const EARLIER_MAX: usize = 32;

/// What answers, and what it is made of. All handles are one.
pub(crate) struct Live {
    gate: Gate,
    ledger: EmbeddedLedger,
    methods: Methods,
    env: Env,
    current: RwLock<Arc<Current>>,
    /// Held while a file is read and put into force: two at once would lose one.
    changing: tokio::sync::Mutex<()>,
}

/// A configuration in force.
struct Current {
    config: Config,
    public: Public,
    routes: Arc<Routes>,
    upstreams: UpstreamClients,
}

/// What answers on the public addresses.
struct Public {
    proxy: Proxy,
    endpoint: LedgerEndpoint,
    discovery: Discovery,
    watching: Watching,
}

impl Public {
    async fn handle(&self, mut request: Request<Incoming>, peer: Peer) -> Response<ResponseBody> {
        let watching = &self.watching;
        let method = request.method().clone();
        let seen = watching.requests.begin(&method, request.headers_mut());
        let mut about = About {
            wants_note: watching.requests.notes() || !seen.span.is_disabled(),
            ..About::default()
        };
        let answering = self.answer(request, peer, &mut about);
        let mut response = answering.instrument(seen.span.clone()).await;
        if let (
            Some(source),
            Some(Answered::Refused {
                challenges: 1.., ..
            }),
        ) = (about.bears_credential_of, about.note.read())
        {
            watching.limits.challenged(watching.requests.now(), source);
        }
        seen.end(&about, &mut response);
        response
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        peer: Peer,
        about: &mut About,
    ) -> Response<ResponseBody> {
        if self.endpoint.takes(&request) {
            return match self.proxy.refuse_own(request.headers(), peer, about) {
                Some(answer) => answer,
                None => Box::pin(self.endpoint.clone().handle(request)).await,
            };
        }
        match self.discovery.answer(&request) {
            Some(answer) => {
                let refused = self.proxy.refuse_own(request.headers(), peer, about);
                refused.unwrap_or(answer)
            }
            None => self.proxy.handle(request, peer, about).await,
        }
    }
}

/// What a reload put into force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloaded {
    /// How many routes there are now.
    pub routes: usize,
    /// How many upstreams there are now.
    pub upstreams: usize,
    /// Whether anything but the secrets has changed.
    pub changed: bool,
}

impl Live {
    /// What answers by a configuration.
    pub(crate) fn new(
        config: &Config,
        (gate, ledger, watching): (Gate, EmbeddedLedger, Watching),
        methods: Methods,
        proxy: impl FnOnce(Arc<Routes>) -> Proxy,
    ) -> Result<Self, StartError> {
        let env = gate.env().clone();
        let upstreams = upstream_clients(config, &UpstreamClients::new(), &env)?;
        let routes = Routes::new(config, &upstreams, &methods, None, &env);
        let routes = Arc::new(routes.map_err(StartError::Routes)?);
        let public = Public {
            proxy: proxy(Arc::clone(&routes)),
            endpoint: LedgerEndpoint::new(&ledger, config, &env),
            discovery: Discovery::new(config, &[methods.charge.name()]),
            watching,
        };
        let current = Current {
            config: config.clone(),
            public,
            routes,
            upstreams,
        };
        Ok(Self {
            gate,
            ledger,
            methods,
            env,
            current: RwLock::new(Arc::new(current)),
            changing: tokio::sync::Mutex::default(),
        })
    }

    /// Answers one request.
    pub(crate) async fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: Peer,
    ) -> Response<ResponseBody> {
        self.current().public.handle(request, peer).await
    }

    /// Reads the file of the configuration in force again, and puts it into force with its secrets.
    ///
    /// # Errors
    ///
    /// [`ReloadError`]; everything is as it was then.
    pub(crate) async fn reload_file(&self) -> Result<Reloaded, ReloadError> {
        // Read under the lock: of two reloads, the later one puts the later file into force.
        let _changing = self.changing.lock().await;
        let file = self.current().config.file.clone();
        let config = Config::read(&file, &self.env).map_err(ReloadError::Read)?;
        self.put(&config)
    }

    /// Puts another configuration into force, and what its secrets file holds now. What free
    /// requests were used, and the connections to upstreams, go on where their configuration is as
    /// it was.
    fn put(&self, config: &Config) -> Result<Reloaded, ReloadError> {
        let old = self.current();
        let fixed = needs_restart(&old.config, config);
        if !fixed.is_empty() {
            return Err(ReloadError::NeedsRestart { keys: fixed });
        }
        let keys = keys::read_secrets(&config.secret_file, &self.env).map_err(ReloadError::Key)?;
        let earlier = self.earlier(&old, config)?;
        let failed = |error| ReloadError::Build(Box::new(error));
        let upstreams = upstream_clients(config, &old.upstreams, &self.env).map_err(failed)?;
        let before = Some(&*old.routes);
        let routes = Routes::new(config, &upstreams, &self.methods, before, &self.env);
        let routes = routes.map_err(|error| failed(StartError::Routes(error)))?;
        let routes = Arc::new(routes.honouring(earlier));
        let public = Public {
            proxy: old.public.proxy.with_routes(Arc::clone(&routes), config),
            endpoint: LedgerEndpoint::new(&self.ledger, config, &self.env),
            discovery: Discovery::new(config, &[self.methods.charge.name()]),
            watching: old.public.watching.clone(),
        };
        public.watching.limits.change(Rules::of(config));
        let current = Current {
            config: config.clone(),
            public,
            routes,
            upstreams,
        };
        self.gate.set_key_ring(keys);
        let mut slot = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *slot = Arc::new(current);
        Ok(Reloaded {
            routes: config.routes.len(),
            upstreams: config.upstreams.len(),
            changed: old.config != *config,
        })
    }

    /// Puts a new challenge secret into the secrets file, and into force.
    ///
    /// # Errors
    ///
    /// [`RotateError`]; file and secrets in force are as they were then.
    pub(crate) async fn rotate(&self) -> Result<Timestamp, RotateError> {
        let _changing = self.changing.lock().await;
        let file = self.current().config.secret_file.clone();
        let Rotated {
            ring,
            previous_until,
        } = secrets::rotate(&file, &self.env)?;
        self.gate.set_key_ring(ring);
        Ok(previous_until)
    }

    fn current(&self) -> Arc<Current> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&current)
    }

    /// The routes whose challenges may still be out once `config` is in force.
    fn earlier(&self, old: &Current, config: &Config) -> Result<Vec<Earlier>, ReloadError> {
        let now = self.env.clock.now();
        let earlier = old.routes.earlier().iter();
        let mut earlier: Vec<Earlier> = earlier.filter(|row| row.until > now).cloned().collect();
        if old.config.routes != config.routes {
            let life = u64::try_from(old.config.challenge_lifetime.as_millis());
            earlier.insert(
                0,
                Earlier {
                    routes: old.routes.without_earlier(),
                    until: now.plus_millis(life.unwrap_or(u64::MAX)),
                },
            );
        }
        if earlier.len() > EARLIER_MAX {
            let until = earlier.last().map_or(now, |row| row.until);
            return Err(ReloadError::TooOften { until });
        }
        Ok(earlier)
    }
}

/// The keys that differ and that a gateway cannot change while it runs.
fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let fixed = [
        ("listen and [[listener]]", old.listeners == new.listeners),
        ("realm", old.realm == new.realm),
        ("data_dir", old.data_dir == new.data_dir),
        (
            "connections_max",
            old.connections_max == new.connections_max,
        ),
        (
            "spool_total_bytes",
            old.spool_total_bytes == new.spool_total_bytes,
        ),
        ("shutdown_grace_s", old.shutdown_grace == new.shutdown_grace),
        ("log_format", old.log_format == new.log_format),
        (
            "sources_max",
            old.limits.sources_max == new.limits.sources_max,
        ),
        ("[metrics]", old.metrics == new.metrics),
        ("[tracing]", old.tracing == new.tracing),
        ("currencies of [ledger]", old.currencies == new.currencies),
        ("[sessions]", old.sessions == new.sessions),
    ];
    let changed = fixed.into_iter().filter(|(_, same)| !same);
    changed.map(|(key, _)| key).collect()
}

/// Why a configuration was not put into force. The old one is.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The file.
    #[error("the configuration cannot be read")]
    Read(#[source] ReadError),
    /// Keys that a running gateway cannot change.
    #[error("{} cannot change while the gateway runs: restart it, or take the change back",
        keys.join(", "))]
    NeedsRestart {
        /// Which.
        keys: Vec<&'static str>,
    },
    /// The secrets file.
    #[error("the secrets are missing or damaged")]
    Key(#[source] KeyError),
    /// The routes or upstreams.
    #[error("the configuration cannot be put into force")]
    Build(#[source] Box<StartError>),
    /// Too many sets of routes have challenges out.
    #[error(
        "the routes have changed {EARLIER_MAX} times within the lifetime of a challenge: \
        reload again after {until}"
    )]
    TooOften {
        /// When the oldest is forgotten.
        until: Timestamp,
    },
}
