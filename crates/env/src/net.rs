//! Network: byte streams by address.

use std::{io, net::SocketAddr, path::Path};

use tokio::io::{AsyncRead, AsyncWrite};

use crate::BoxFuture;

/// A connected byte stream.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection that was accepted, and who it is from (`None` for a Unix socket).
pub type Accepted = (Box<dyn Stream>, Option<SocketAddr>);

/// A network.
pub trait Net: Send + Sync {
    /// Listens on a TCP address.
    fn listen(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Listener>>>;
    /// Listens on a Unix socket that only this user can open (mode 0600), replacing a dead one.
    fn listen_local(&self, path: &Path) -> BoxFuture<'static, io::Result<Box<dyn Listener>>>;
    /// Connects to a host name or IP literal.
    fn connect(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Box<dyn Stream>>>;
    /// Connects to a Unix socket.
    fn connect_local(&self, path: &Path) -> BoxFuture<'static, io::Result<Box<dyn Stream>>>;
}

/// A listening socket.
pub trait Listener: Send {
    /// The next connection.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Accepted>>;
    /// The address it listens on (`None` for a Unix socket).
    fn local_address(&self) -> Option<SocketAddr>;
}
