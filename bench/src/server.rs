//! The servers that are measured: each a process of its own, on a CPU of its own.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use anyhow::{Context as _, Result, bail};
use axum::{Router, routing::get};
use clap::ValueEnum;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use stiver_core::{
    Amount, Currency,
    binding::{KeyRing, Secret},
    json::Object,
    name::{MethodName, Realm},
};
use stiver_env::Env;
use stiver_ledger::{
    Ledger, LedgerConfig,
    id::{AccountId, Nonce},
    order::{Action, Order},
    text::CurrencyCode,
};
use stiver_method::{
    BoxFuture,
    artefact::{Artefact, ExecuteError, Lookup, RailUnavailable, Refusal, RefusalKind, Settled},
    key::Ed25519Key,
    payee::{PayeeCharge, Plan, Presented, Quote, QuoteError, RefundError, RefundRequest, Terms},
};
use stiver_method_ledger::{EmbeddedLedger, LedgerPayee, LedgerPayeeConfig, sign};
use stiver_server::{
    Gate,
    route::{Offer, Route},
    tower::PaymentLayer,
};
use stiver_store::{EmbeddedStore, Limits};
use tempfile::TempDir;

use crate::{measure, sessions};

/// The CPU that servers are kept on.
const SERVER_CPU: usize = 0;
/// The CPU that the load is kept on.
const LOAD_CPU: usize = 1;
/// What every handler answers.
pub const ANSWER: &str = r#"{"degrees":22.5}"#;
/// The key of the payer that the gate's ledger gives money to.
pub const PAYER_SEED: [u8; 32] = [3; 32];

/// What this program can be besides the measurement.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Kind {
    /// axum alone.
    Plain,
    /// axum behind the gate.
    Gate,
    /// axum behind a gate that takes sessions.
    Sessions,
    /// A store with many channels, asked over its input.
    Channels,
    /// No server: what `callgrind` counts, once.
    Once,
}

/// A server that runs. Killed when dropped.
pub struct Server {
    child: Child,
    /// Its process, or that of its one worker.
    worker: u32,
    address: SocketAddr,
    folder: Option<TempDir>,
}

impl Server {
    /// Starts this program as a server.
    pub fn start(kind: Kind) -> Result<Self> {
        let folder = tempfile::tempdir().context("making a folder")?;
        let name = kind
            .to_possible_value()
            .context("a server without a name")?;
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["--serve", name.get_name(), "--folder"])
            .arg(folder.path());
        Self::spawn(command, Some(folder))
    }

    /// Starts a server that says on its first line where it listens: `... http://ADDRESS`.
    pub fn spawn(mut command: Command, folder: Option<TempDir>) -> Result<Self> {
        let shown = format!("{:?}", command.get_program());
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command
            .spawn()
            .with_context(|| format!("starting {shown}"))?;
        let out = child.stdout.take().context("a server without output")?;
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        let address = line.trim().rsplit("http://").next().unwrap_or_default();
        let Ok(address) = address.parse() else {
            // It may have ended by itself: that is what the line says.
            let _ = child.kill();
            let _ = child.wait();
            bail!("{shown} does not say where it listens: {line:?}");
        };
        let worker = child.id();
        Self::pinned(child, worker, address, folder)
    }

    /// Takes over a server that runs, of which one process does the work.
    pub fn pinned(
        child: Child,
        worker: u32,
        address: SocketAddr,
        folder: Option<TempDir>,
    ) -> Result<Self> {
        let server = Self {
            child,
            worker,
            address,
            folder,
        };
        measure::pin(worker, SERVER_CPU)?;
        for thread in std::fs::read_dir(format!("/proc/{worker}/task"))? {
            let thread = thread?.file_name();
            let id = thread.to_str().and_then(|id| id.parse().ok());
            measure::pin(id.context("a thread without a number")?, SERVER_CPU)?;
        }
        measure::pin(std::process::id(), LOAD_CPU)?;
        Ok(server)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The folder it was given, which goes with it.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_ref().map(TempDir::path)
    }

    /// Kills it with `SIGKILL`; gives the folder that it leaves.
    pub fn kill(mut self) -> Option<TempDir> {
        self.folder.take()
    }

    /// The CPU time that it has taken so far, nanoseconds.
    pub fn cpu(&self) -> Result<f64> {
        measure::cpu_of_process(self.worker)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Each may have ended by itself, and says so: that is no matter here. The worker goes
        // first: when its parent is killed it would stay, and keep our output open.
        if self.worker != self.child.id()
            && let Ok(worker) = self.worker.try_into()
        {
            let _ = kill(Pid::from_raw(worker), Signal::SIGKILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Is a server, until killed.
pub fn serve(kind: Kind, folder: &Path) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let app = match kind {
            Kind::Plain => Router::new()
                .route("/paid", get(async || ANSWER))
                .route("/refused", get(async || ANSWER)),
            Kind::Gate => gated(folder).await?,
            Kind::Sessions => sessions::serve::app(folder).await?,
            Kind::Channels | Kind::Once => bail!("it serves no HTTP"),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        println!("listening on http://{}", listener.local_addr()?);
        axum::serve(listener, app).await.context("serving")
    })
}

/// The same routes, each for a cent: one by the ledger, one by a method that refuses all.
async fn gated(folder: &Path) -> Result<Router> {
    let env = stiver_env::native::env();
    let operator = Ed25519Key::from_seed(&[1; 32]);
    let payee = Arc::new(Ed25519Key::from_seed(&[2; 32]));
    let payer = Ed25519Key::from_seed(&PAYER_SEED);
    let config = LedgerConfig::new(folder.join("ledger"), operator.did(), operator.did());
    let currencies: Vec<Currency> = config
        .currencies
        .iter()
        .map(|it| it.currency.clone())
        .collect();
    let ledger = EmbeddedLedger::open(config, &env).await?;
    fund(ledger.ledger(), &operator, &payee, 1, &env).await?;
    fund(ledger.ledger(), &operator, &payer, 1_000_000_000_000, &env).await?;
    let method = || {
        LedgerPayee::new(LedgerPayeeConfig {
            ledger: Arc::new(ledger.clone()),
            account: AccountId::of_first_key(&payee.did()),
            signer: Arc::<Ed25519Key>::clone(&payee),
            currencies: currencies.clone(),
        })
    };
    let store = EmbeddedStore::config(folder.join("store"));
    let store = EmbeddedStore::open(store, &env, Limits::default()).await?;
    let keys = KeyRing::new(Secret::configured(&[7; 32])?);
    let paid: Arc<dyn PayeeCharge> = Arc::new(method());
    let refused: Arc<dyn PayeeCharge> = Arc::new(Refusing::new(method())?);
    let gate = Gate::builder(Realm::new("api.example.com")?, keys, Arc::new(store), env)
        .method(Arc::clone(&paid))
        .method(Arc::clone(&refused))
        .build()?;
    let price = currencies.first().context("no currency")?.units(10_000);
    let charge = |method: &Arc<dyn PayeeCharge>| -> Result<PaymentLayer> {
        let route = Route::new(vec![Offer::new(Arc::clone(method), price.clone())?])?;
        Ok(PaymentLayer::fixed(gate.clone(), route))
    };
    let answer = get(async || ANSWER);
    Ok(Router::new()
        .route("/paid", answer.clone().layer(charge(&paid)?))
        .route("/refused", answer.layer(charge(&refused)?)))
}

/// Opens an account with money in it.
pub async fn fund(
    ledger: &Ledger,
    operator: &Ed25519Key,
    key: &Ed25519Key,
    amount: u128,
    env: &Env,
) -> Result<()> {
    let now = ledger.time().await?;
    let order = Order {
        ledger: ledger.id(),
        account: AccountId::of_first_key(&operator.did()),
        nonce: Nonce::from_bytes(env.random()),
        expires: now.plus_millis(60_000),
        action: Action::Mint {
            to: AccountId::of_first_key(&key.did()),
            amount,
            currency: CurrencyCode::new("usd")?,
            first_key: Some(key.did()),
            owner: None,
        },
    };
    let signed = sign::order(&order, operator).await?;
    ledger.execute(signed).await?;
    Ok(())
}

/// The `ledger` method, but for its checks: it refuses every proof before it looks at it, and
/// asks for no other. What a credential costs up to here is the gate's own work.
struct Refusing {
    name: MethodName,
    ledger: LedgerPayee,
}

impl Refusing {
    fn new(ledger: LedgerPayee) -> Result<Self> {
        let name = MethodName::new("refusing")?;
        Ok(Self { name, ledger })
    }
}

impl PayeeCharge for Refusing {
    fn name(&self) -> &MethodName {
        &self.name
    }

    fn quote<'a>(&'a self, quote: Quote<'a>) -> BoxFuture<'a, Result<Object, QuoteError>> {
        self.ledger.quote(quote)
    }

    fn quotes_the_same(&self) -> bool {
        self.ledger.quotes_the_same()
    }

    fn expected_terms(&self, price: &Amount) -> Result<Terms, QuoteError> {
        self.ledger.expected_terms(price)
    }

    fn terms(&self, request: &Object) -> Result<Terms, Refusal> {
        self.ledger.terms(request)
    }

    fn precheck(&self, _: Presented<'_>) -> Result<Plan, Refusal> {
        Err(Refusal {
            kind: RefusalKind::Denied,
            detail: "every proof is refused here".to_owned(),
        })
    }

    fn execute<'a>(
        &'a self,
        artefact: &'a Artefact,
    ) -> BoxFuture<'a, Result<Settled, ExecuteError>> {
        self.ledger.execute(artefact)
    }

    fn lookup<'a>(
        &'a self,
        artefact: &'a Artefact,
    ) -> BoxFuture<'a, Result<Lookup, RailUnavailable>> {
        self.ledger.lookup(artefact)
    }

    fn prepare_refund<'a>(
        &'a self,
        refund: RefundRequest<'a>,
    ) -> BoxFuture<'a, Result<Artefact, RefundError>> {
        self.ledger.prepare_refund(refund)
    }
}
