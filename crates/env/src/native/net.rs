//! TCP and Unix sockets through tokio.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixSocket, UnixStream};

use crate::{
    BoxFuture,
    net::{Accepted, Listener, Net, Stream},
};

/// Connections that the kernel holds for a Unix socket before they are accepted.
const LOCAL_BACKLOG: u32 = 1024;
/// Only the owner may connect.
const MODE_SOCKET: u32 = 0o600;

/// The operating system's sockets.
pub(super) struct SystemNet;

impl Net for SystemNet {
    fn listen(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let listener = TcpListener::bind(address).await?;
            let listener: Box<dyn Listener> = Box::new(TcpAcceptor { listener });
            Ok(listener)
        })
    }

    fn listen_local(&self, path: &Path) -> BoxFuture<'static, io::Result<Box<dyn Listener>>> {
        let path = path.to_owned();
        Box::pin(async move {
            let listener = bind_local(path).await?;
            let listener: Box<dyn Listener> = Box::new(UnixAcceptor { listener });
            Ok(listener)
        })
    }

    fn connect(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        // IPv6 literals stand in brackets in URLs, and bare elsewhere.
        let bare = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let host = bare.unwrap_or(host).to_owned();
        Box::pin(async move {
            let stream = TcpStream::connect((host.as_str(), port)).await?;
            // Requests are small and whole: waiting to fill a packet only adds latency.
            stream.set_nodelay(true)?;
            let stream: Box<dyn Stream> = Box::new(stream);
            Ok(stream)
        })
    }

    fn connect_local(&self, path: &Path) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        let path = path.to_owned();
        Box::pin(async move {
            let stream = UnixStream::connect(path).await?;
            let stream: Box<dyn Stream> = Box::new(stream);
            Ok(stream)
        })
    }
}

/// Binds a Unix socket. One that nobody listens on any more is replaced; anything else is left.
async fn bind_local(path: PathBuf) -> io::Result<UnixListener> {
    let socket = match bind(&path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            remove_dead(&path).await?;
            bind(&path)?
        }
        bound => bound?,
    };
    // Before `listen` nobody can connect, so the wider mode of the moment between harms nobody.
    fs::set_permissions(&path, fs::Permissions::from_mode(MODE_SOCKET))?;
    socket.listen(LOCAL_BACKLOG)
}

fn bind(path: &Path) -> io::Result<UnixSocket> {
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    Ok(socket)
}

/// Removes a socket whose listener is gone, or says why it may not be removed.
async fn remove_dead(path: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "something that is not a socket has this name",
        ));
    }
    match UnixStream::connect(path).await {
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another process listens on this socket",
        )),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
    }
}

/// A listening TCP socket.
struct TcpAcceptor {
    listener: TcpListener,
}

impl Listener for TcpAcceptor {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Accepted>> {
        Box::pin(async move {
            let (stream, peer) = self.listener.accept().await?;
            stream.set_nodelay(true)?;
            let stream: Box<dyn Stream> = Box::new(stream);
            Ok((stream, Some(peer)))
        })
    }

    fn local_address(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }
}

/// A listening Unix socket.
struct UnixAcceptor {
    listener: UnixListener,
}

impl Listener for UnixAcceptor {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Accepted>> {
        Box::pin(async move {
            let (stream, _) = self.listener.accept().await?;
            let stream: Box<dyn Stream> = Box::new(stream);
            Ok((stream, None))
        })
    }

    fn local_address(&self) -> Option<SocketAddr> {
        None
    }
}
