//! The stage: real processes on loopback, in a folder of their own, gone when the scene ends.

use std::{
    ffi::OsStr,
    io,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, anyhow};
use serde_json::Value;
use stiver_env::Env;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

use crate::{failure::Failure, passphrase::SECRET_VARIABLES};

/// How long a process may take to say that it listens.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a command may take.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);
/// Variables that choose a wallet, and what opens it or limits it.
const WALLET_VARIABLES: [&str; 4] = [
    "STIVER_WALLET",
    "STIVER_PASSPHRASE_FILE",
    "STIVER_PASSPHRASE_COMMAND",
    "STIVER_MAX_AMOUNT",
];
/// What a process prints when it is ready.
const LISTENING: &str = "listening on ";

/// Sets stages: knows this program and where to put folders.
pub(crate) struct StageDirector {
    program: PathBuf,
    root: tempfile::TempDir,
    env: Env,
}

impl StageDirector {
    /// Finds this program, and makes a temporary folder.
    pub(crate) fn new(env: &Env) -> Result<Self, Failure> {
        let program = std::env::current_exe().context("finding this program")?;
        let root = tempfile::Builder::new().prefix("stiver-demo-").tempdir()?;
        Ok(Self {
            program,
            root,
            env: env.clone(),
        })
    }

    /// Time and the rest of the world.
    pub(crate) fn env(&self) -> &Env {
        &self.env
    }

    /// This program.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// A sensor, a configured gateway in front of it (not started), and a wallet.
    pub(crate) async fn set(&self, name: &str, routes: &str) -> Result<Stage, Failure> {
        let folder = self.root.path().join(name);
        let sensor = Process::start(&self.program, ["demo-sensor"], &folder, "sensor.log").await?;
        let listen = free_address()?;
        let stage = Stage {
            program: self.program.clone(),
            folder,
            sensor,
            gateway: None,
            gateway_url: format!("http://{listen}"),
        };
        let init = ["--listen", &listen, "--realm", "sensor-demo", "--upstream"];
        let upstream = stage.sensor.url.clone();
        let folder = stage.folder.clone();
        let args = [OsStr::new("init"), folder.as_os_str()];
        let args = args.into_iter().chain(init.iter().map(OsStr::new));
        stage.stiver(args.chain([OsStr::new(&upstream)])).await?;
        stage.replace_routes(routes)?;
        stage.stiver(["wallet", "new", "default"]).await?;
        Ok(stage)
    }
}

/// A port that was free a moment ago.
fn free_address() -> io::Result<String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.to_string())
}

/// Processes and files of one scene.
pub(crate) struct Stage {
    program: PathBuf,
    folder: PathBuf,
    sensor: Process,
    gateway: Option<Process>,
    gateway_url: String,
}

impl Stage {
    /// Where the gateway listens: `http://127.0.0.1:PORT`.
    pub(crate) fn gateway_url(&self) -> &str {
        &self.gateway_url
    }

    /// Where the sensor listens, past the gateway.
    pub(crate) fn sensor_url(&self) -> &str {
        &self.sensor.url
    }

    /// The gateway's process, while it runs.
    pub(crate) fn gateway_process(&self) -> Option<u32> {
        self.gateway.as_ref().and_then(|gateway| gateway.child.id())
    }

    /// A folder for what a scene keeps itself.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The gateway's configuration file.
    pub(crate) fn config_file(&self) -> PathBuf {
        self.folder.join("stiver.toml")
    }

    /// The folder of wallets.
    pub(crate) fn wallet_home(&self) -> PathBuf {
        self.folder.join("home")
    }

    /// Keeps what the user would edit by hand: everything but the routes.
    fn replace_routes(&self, routes: &str) -> Result<(), Failure> {
        let text = std::fs::read_to_string(self.config_file())?;
        let head = text.split("[[route]]").next().unwrap_or_default();
        std::fs::write(self.config_file(), format!("{head}{routes}"))?;
        Ok(())
    }

    /// Gives the running gateway other routes.
    pub(crate) async fn reprice(&self, routes: &str) -> Result<(), Failure> {
        self.replace_routes(routes)?;
        let config = self.config_file();
        let args = [OsStr::new("reload"), OsStr::new("--config")];
        self.stiver(args.into_iter().chain([config.as_os_str()]))
            .await?;
        Ok(())
    }

    /// Starts the gateway and waits until it listens.
    pub(crate) async fn start_gateway(&mut self) -> Result<(), Failure> {
        let config = self.config_file();
        let args = [
            OsStr::new("serve"),
            OsStr::new("--config"),
            config.as_os_str(),
        ];
        let process = Process::start(&self.program, args, &self.folder, "gateway.log").await?;
        self.gateway = Some(process);
        Ok(())
    }

    /// Kills the gateway as `kill -9` does.
    pub(crate) async fn kill_gateway(&mut self) -> Result<(), Failure> {
        if let Some(mut gateway) = self.gateway.take() {
            gateway.child.kill().await?;
        }
        Ok(())
    }

    /// This program, as the stage's processes are started.
    pub(crate) fn command(&self) -> Command {
        program(&self.program)
    }

    /// Runs `stiver --json ARGS` and reads the object that it prints. A failure is an error.
    pub(crate) async fn stiver<I, A>(&self, args: I) -> Result<Value, Failure>
    where
        I: IntoIterator<Item = A>,
        A: AsRef<OsStr>,
    {
        let mut command = program(&self.program);
        command
            .arg("--json")
            .args(args)
            .env("STIVER_HOME", self.wallet_home())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = timeout(COMMAND_TIMEOUT, command.output())
            .await
            .context("too slow")??;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr);
            return Err(anyhow!("{}: {} {}", output.status, error.trim(), text.trim()).into());
        }
        let value = serde_json::from_str(text.trim());
        Ok(value.with_context(|| format!("no JSON object: {text}"))?)
    }

    /// Runs `stiver ledger ...` on this stage's gateway.
    pub(crate) async fn ledger(&self, args: &[&str]) -> Result<Value, Failure> {
        let config = self.config_file();
        let head = [OsStr::new("ledger")]
            .into_iter()
            .chain(args.iter().map(OsStr::new));
        self.stiver(head.chain([OsStr::new("--config"), config.as_os_str()]))
            .await
    }
}

/// A command that sees no wallet, key or passphrase of whoever watches: a stage has its own.
fn program(path: &Path) -> Command {
    let mut command = Command::new(path);
    for name in SECRET_VARIABLES.iter().chain(&WALLET_VARIABLES) {
        command.env_remove(name);
    }
    command
}

/// A child process that says where it listens.
struct Process {
    child: Child,
    url: String,
}

impl Process {
    /// Starts this program and waits until it listens. Its log goes to a file.
    async fn start<I, A>(program: &Path, args: I, folder: &Path, log: &str) -> Result<Self, Failure>
    where
        I: IntoIterator<Item = A>,
        A: AsRef<OsStr>,
    {
        std::fs::create_dir_all(folder)?;
        let log_file = folder.join(log);
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log_file)?;
        let mut child = self::program(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child
            .stdout
            .take()
            .ok_or_else(|| anyhow!("no standard output"))?;
        let mut lines = BufReader::new(stdout).lines();
        let url = timeout(START_TIMEOUT, async {
            while let Some(line) = lines.next_line().await? {
                if let Some(url) = line.strip_prefix(LISTENING) {
                    return Ok(url.to_owned());
                }
            }
            let said = std::fs::read_to_string(&log_file).unwrap_or_default();
            Err(anyhow!("it ended before it listened: {}", said.trim()))
        });
        let url = url.await.context("a process took too long to start")??;
        Ok(Self { child, url })
    }
}
