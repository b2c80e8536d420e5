//! How a connection to an endpoint is opened.
//!
//! Owns the seam between the pools and the operating system, so that tests can put something else
//! there. Called by the pools, once for each connection.

use std::future::Future;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net as system;
use std::pin::Pin;

use tokio::net::{TcpStream, UnixStream};

use crate::address::Address;
use crate::socket::Socket;

/// A connection that is being opened.
pub type Connecting = Pin<Box<dyn Future<Output = io::Result<Socket>>>>;

/// Opens connections. The caller limits the time.
pub trait Connect {
    /// Starts to connect to `to`. Dropping the future gives up.
    fn connect(&self, to: &Address) -> Connecting;
}

/// Connects over TCP, with `TCP_NODELAY`, or to a Unix socket.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp;

impl Connect for Tcp {
    fn connect(&self, to: &Address) -> Connecting {
        let to = to.clone();
        Box::pin(async move { open(&to).await })
    }
}

/// Connects to `to`.
///
/// # Errors
/// Those of the system.
pub(super) async fn open(to: &Address) -> io::Result<Socket> {
    match to {
        Address::Ip(address) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(stream.into())
        }
        Address::Unix(path) => open_unix(path).await.map(Socket::from),
    }
}

async fn open_unix(path: &str) -> io::Result<UnixStream> {
    let Some(name) = path.strip_prefix('@') else {
        return UnixStream::connect(path).await;
    };
    // Connecting to a Unix socket does not wait for the other side, so it need not be awaited.
    let address = system::SocketAddr::from_abstract_name(name)?;
    let stream = system::UnixStream::connect_addr(&address)?;
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}
