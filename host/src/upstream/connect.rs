//! How a connection to an endpoint is opened.
//!
//! Owns the seam between the pools and the operating system, so that tests can put something else
//! there. Called by the pools, once for each connection.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

use tokio::net::TcpStream;

use crate::socket::Socket;

/// A connection that is being opened.
pub type Connecting = Pin<Box<dyn Future<Output = io::Result<Socket>>>>;

/// Opens connections. The caller limits the time.
pub trait Connect {
    /// Starts to connect to `to`. Dropping the future gives up.
    fn connect(&self, to: SocketAddr) -> Connecting;
}

/// Connects over TCP, with `TCP_NODELAY`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp;

impl Connect for Tcp {
    fn connect(&self, to: SocketAddr) -> Connecting {
        Box::pin(async move {
            let stream = TcpStream::connect(to).await?;
            stream.set_nodelay(true)?;
            Ok(stream.into())
        })
    }
}
