//! A free route through the gateway, against nginx in front of the same API.
//!
//! Each has one worker on the same CPU, keeps its connections to the API, and logs no request.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    load::{self, Expected, Load},
    measure::{Side, interleave},
    report::Finding,
    rows::Setting,
    server::Server,
};

/// Its rows.
pub const ROWS: [&str; 1] = ["proxy-free"];

/// Requests of one side of one round.
const REQUESTS: usize = 8_000;
/// How often, and after what pause, a server that is starting is looked for.
const STARTING: (usize, Duration) = (500, Duration::from_millis(10));

/// Measures the row.
pub fn run(setting: &Setting, found: &mut dyn FnMut(Finding)) -> Result<()> {
    let mut ours = Load::new()?;
    let stiver = gateway(setting, ours.listen()?, FREE)?;
    ours.connect(stiver.address())?;
    let mut theirs = Load::new()?;
    let nginx = nginx(theirs.listen()?)?;
    theirs.connect(nginx.address())?;
    let requests = vec![load::get("/free/reading?room=3", &[]); REQUESTS];
    let mut sides = [
        side(&stiver, &mut ours, &requests),
        side(&nginx, &mut theirs, &requests),
    ];
    let medians = interleave(setting.rounds, &mut sides)?;
    found(Finding {
        name: ROWS[0].to_owned(),
        unit: "us CPU per request",
        value: medians[0],
        baseline: Some(medians[1]),
    });
    Ok(())
}

fn side<'a>(server: &'a Server, load: &'a mut Load, requests: &'a [Vec<u8>]) -> Side<'a> {
    Box::new(move || {
        let before = server.cpu()?;
        load.run(requests, Expected { status: 200 }, &mut |_| Ok(()))?;
        Ok((server.cpu()? - before) / requests.len() as f64 / 1e3)
    })
}

/// The routes of a gateway that proxies without charging.
pub const FREE: &str = "[[route]]\npath = \"/free/**\"\naccess = \"free\"\n";

/// A gateway in front of an API: the real command, with one worker.
pub fn gateway(setting: &Setting, upstream: SocketAddr, routes: &str) -> Result<Server> {
    let stiver = setting.stiver.as_deref();
    let stiver = stiver.context("no `stiver` was named: use `cargo xtask bench`, or --stiver")?;
    let folder = tempfile::tempdir().context("making a folder")?;
    let init = Command::new(stiver)
        .arg("init")
        .arg(folder.path())
        .args(["--listen", "127.0.0.1:0", "--upstream"])
        .arg(format!("http://{upstream}"))
        .stdout(Stdio::null())
        .status()
        .context("starting `stiver init`")?;
    ensure!(init.success(), "`stiver init` ended with {init}");
    let file = folder.path().join("stiver.toml");
    let text = fs::read_to_string(&file).context("reading the configuration")?;
    let (head, _) = text
        .split_once("[[route]]")
        .context("a configuration without routes")?;
    fs::write(&file, format!("{head}{routes}")).context("writing the configuration")?;
    let mut command = Command::new(stiver);
    command.arg("serve").arg("--config").arg(&file);
    command
        .env("TOKIO_WORKER_THREADS", "1")
        .env("STIVER_LOG", "error");
    Server::spawn(command, Some(folder))
}

fn nginx(upstream: SocketAddr) -> Result<Server> {
    let Some(program) = find("nginx", &["/usr/sbin"]) else {
        bail!("nginx is not installed: `apt-get install nginx-light` (Debian) brings it");
    };
    let folder = tempfile::tempdir().context("making a folder")?;
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let path = folder.path().display();
    let text = format!(
        "daemon off; worker_processes 1; error_log stderr crit; pid {path}/pid;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n\
         access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;\n\
         client_body_temp_path {path}/body; proxy_temp_path {path}/proxy;\n\
         fastcgi_temp_path {path}/a; uwsgi_temp_path {path}/b; scgi_temp_path {path}/c;\n\
         upstream api {{ server {upstream}; keepalive 64; keepalive_requests 1000000000; }}\n\
         server {{ listen {address}; location / {{\n\
         proxy_pass http://api; proxy_http_version 1.1; proxy_set_header Connection \"\";\n\
         }} }} }}\n"
    );
    let file = folder.path().join("nginx.conf");
    fs::write(&file, text).context("writing nginx.conf")?;
    // Its worker may run as another user.
    open_to_others(folder.path())?;
    let child = Command::new(program)
        .arg("-p")
        .arg(folder.path())
        .arg("-c")
        .arg(&file)
        .stdin(Stdio::null())
        .spawn()
        .context("starting nginx")?;
    let id = child.id();
    let worker = wait(|| {
        TcpStream::connect(address).ok()?;
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).ok()?;
        children.split_whitespace().next()?.parse().ok()
    });
    let worker = worker.context("nginx does not listen")?;
    Server::pinned(child, worker, address, Some(folder))
}

/// Finds a program in the usual places and these.
pub fn find(name: &str, folders: &[&str]) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = folders.iter().map(|folder| Path::new(folder).to_owned());
    let mut places = std::env::split_paths(&path).chain(folders);
    places.find_map(|folder| Some(folder.join(name)).filter(|file| file.is_file()))
}

/// Lets other users pass through a folder.
pub fn open_to_others(folder: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(folder, mode).context("opening a folder")
}

/// Asks again until there is an answer, for some seconds.
#[expect(
    clippy::disallowed_methods,
    reason = "a program of its own, which waits for another one to start"
)]
pub fn wait<T>(mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let (times, pause) = STARTING;
    (0..times).find_map(|_| {
        let answer = ask();
        if answer.is_none() {
            std::thread::sleep(pause);
        }
        answer
    })
}
