//! A proxy that runs in front of a gateway. It listens on Unix sockets: no port is guessed.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

use crate::common::{Reply, World, begin, upstream::Upstream};

/// Which program runs, and how it hands paths on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    /// nginx, paths handed on as they came.
    Nginx,
    /// nginx, paths decoded, resolved and encoded again (`proxy_pass` with a URI).
    NginxRewriting,
    /// haproxy, HTTP/1.1 to the gateway.
    Haproxy,
    /// haproxy, HTTP/2 to the gateway.
    HaproxyHttp2,
}

impl Program {
    pub(crate) const ALL: [Self; 4] = [
        Self::Nginx,
        Self::NginxRewriting,
        Self::Haproxy,
        Self::HaproxyHttp2,
    ];

    fn package(self) -> (&'static str, &'static str) {
        match self {
            Self::Nginx | Self::NginxRewriting => ("nginx", "nginx-light"),
            Self::Haproxy | Self::HaproxyHttp2 => ("haproxy", "haproxy"),
        }
    }
}

/// True for an answer from the proxy's cache: nginx says so, haproxy tells its age.
pub(crate) fn is_kept(reply: &Reply) -> bool {
    reply.header("x-cache") == Some("HIT") || reply.header("age").is_some()
}

/// A gateway with a proxy in front.
pub(crate) struct Front {
    pub(crate) program: Program,
    pub(crate) world: World,
    /// Orders that the ledger had executed before the first request.
    before: u64,
    folder: tempfile::TempDir,
    child: Child,
}

impl Drop for Front {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Front {
    /// Starts a gateway and a proxy in front of it.
    pub(crate) async fn start(program: Program) -> Self {
        let upstream = Upstream::start().await;
        let trusting = "behind_tls_proxy = true";
        let world = World::configured(upstream, trusting, crate::common::ROUTES).await;
        let folder = tempfile::tempdir().unwrap();
        let mut command = command(program, folder.path(), world.address());
        let log = fs::File::create(folder.path().join("log")).unwrap();
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap());
        let child = command.stderr(log).spawn().unwrap();
        let before = world.executed().await;
        let mut front = Self {
            program,
            world,
            before,
            folder,
            child,
        };
        while UnixStream::connect(front.socket("h2")).await.is_err() {
            let ended = front.child.try_wait().unwrap();
            assert!(ended.is_none(), "{program:?} ended: {}", front.log());
            tokio::task::yield_now().await;
        }
        front
    }

    /// How many payments were executed.
    pub(crate) async fn payments(&self) -> u64 {
        self.world.executed().await - self.before
    }

    fn socket(&self, protocol: &str) -> PathBuf {
        self.folder.path().join(protocol)
    }

    /// What the proxy has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// Sends a request over HTTP/1.1 and reads the answer.
    pub(crate) async fn ask(&self, request: Request<Bytes>) -> Reply {
        let stream = UnixStream::connect(self.socket("http1")).await.unwrap();
        let response = begin(stream, request.map(Full::new)).await;
        let (parts, body) = response.into_parts();
        Reply {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    /// Sends a request over HTTP/2 and reads the answer.
    #[expect(clippy::disallowed_methods, reason = "a test starts its own tasks")]
    pub(crate) async fn ask_h2(&self, request: Request<Bytes>) -> Reply {
        let stream = UnixStream::connect(self.socket("h2")).await.unwrap();
        let executor = hyper_util::rt::TokioExecutor::new();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(executor, TokioIo::new(stream))
                .await
                .unwrap();
        tokio::spawn(connection);
        let (mut parts, body) = request.into_parts();
        let target = parts.uri.path_and_query().unwrap().clone();
        let uri = http::Uri::builder()
            .scheme("http")
            .authority("gateway-test");
        parts.uri = uri.path_and_query(target).build().unwrap();
        let request = Request::from_parts(parts, Full::new(body));
        let response = sender.send_request(request).await.unwrap();
        let (parts, body) = response.into_parts();
        Reply {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    /// Sends bytes as they are, says that no more follow, and reads what comes until the end.
    pub(crate) async fn raw(&self, protocol: &str, bytes: &[u8]) -> String {
        let mut stream = UnixStream::connect(self.socket(protocol)).await.unwrap();
        // The proxy may close on what it refuses, before or after the last byte: both are answers.
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }
}

fn command(program: Program, folder: &Path, gateway: SocketAddr) -> Command {
    let (name, package) = program.package();
    let found = ["/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin"]
        .iter()
        .map(|place| Path::new(place).join(name))
        .find(|path| path.exists());
    let missing = format!("{name} is missing: install it with `apt-get install {package}`");
    let path = found.expect(&missing);
    let file = folder.join("conf");
    let mut command = Command::new(path);
    match program {
        Program::Nginx | Program::NginxRewriting => {
            let rewriting = program == Program::NginxRewriting;
            fs::write(&file, nginx(folder, gateway, rewriting)).unwrap();
            command.arg("-p").arg(folder).arg("-c").arg(file);
            command.args(["-e", "stderr"]);
        }
        Program::Haproxy | Program::HaproxyHttp2 => {
            let http2 = program == Program::HaproxyHttp2;
            fs::write(&file, haproxy(folder, gateway, http2)).unwrap();
            command.arg("-db").arg("-f").arg(file);
        }
    }
    command
}

/// As eager to cache as nginx can be told to be without overriding what the gateway says.
fn nginx(folder: &Path, gateway: SocketAddr, rewriting: bool) -> String {
    let folder = folder.display();
    let uri = if rewriting { "/" } else { "" };
    format!(
        r#"
daemon off;
master_process off;
pid {folder}/pid;
error_log stderr error;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/temp;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    large_client_header_buffers 8 32k;
    proxy_buffer_size 64k;
    proxy_buffers 8 64k;
    proxy_cache_path {folder}/cache keys_zone=kept:1m;
    upstream gateway {{
        server {gateway};
        keepalive 4;
    }}
    server {{
        listen unix:{folder}/http1;
        listen unix:{folder}/h2 http2;
        location / {{
            proxy_pass http://gateway{uri};
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_cache kept;
            proxy_cache_valid any 10m;
            add_header X-Cache $upstream_cache_status always;
        }}
    }}
}}
"#
    )
}

fn haproxy(folder: &Path, gateway: SocketAddr, http2: bool) -> String {
    let folder = folder.display();
    let protocol = if http2 { " proto h2" } else { "" };
    format!(
        r#"
global
    tune.bufsize 65536
defaults
    mode http
    timeout connect 10s
    timeout client 30s
    timeout server 30s
cache kept
    total-max-size 4
    max-object-size 100000
    max-age 600
frontend clients
    bind unix@{folder}/http1
    bind unix@{folder}/h2 proto h2
    option forwardfor
    http-request set-header X-Forwarded-Proto https
    http-request cache-use kept
    http-response cache-store kept
    default_backend gateways
backend gateways
    server gateway {gateway}{protocol}
"#
    )
}
