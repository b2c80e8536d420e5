//! Sockets that listen, and what they accept: TCP and Unix sockets.
//!
//! Owns the difference between the two, up to the connection's [`Socket`]. Does not own making them
//! (`super::bind`).

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixListener;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, Interest, Ready};
use tokio::net;

use crate::address::Address;
use crate::socket::Socket;

/// A socket that listens.
#[derive(Debug)]
pub(crate) enum Listening {
    /// For TCP.
    Tcp(TcpListener),
    /// A Unix socket, with its path.
    Unix(UnixListener, Arc<str>),
}

impl Listening {
    /// Where it really listens.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) fn address(&self) -> io::Result<Address> {
        match self {
            Self::Tcp(socket) => socket.local_addr().map(Address::Ip),
            Self::Unix(_, path) => Ok(Address::Unix(Arc::clone(path))),
        }
    }

    /// Registers it with the runtime.
    pub(super) fn watch(self) -> io::Result<Acceptor> {
        Ok(match self {
            Self::Tcp(socket) => Acceptor::Tcp(net::TcpListener::from_std(socket)?),
            Self::Unix(socket, path) => Acceptor::Unix(net::UnixListener::from_std(socket)?, path),
        })
    }

    /// Accepts a connection that waits in the queue, asking the system and not the runtime.
    pub(super) fn accept(&self) -> io::Result<(Incoming, Ends)> {
        match self {
            Self::Tcp(socket) => {
                let (stream, peer) = socket.accept()?;
                stream.set_nonblocking(true)?;
                of_tcp(net::TcpStream::from_std(stream)?, peer)
            }
            Self::Unix(socket, path) => {
                let (stream, _unnamed) = socket.accept()?;
                stream.set_nonblocking(true)?;
                Ok(of_unix(net::UnixStream::from_std(stream)?, path))
            }
        }
    }
}

/// One that the runtime watches.
#[derive(Debug)]
pub(super) enum Acceptor {
    Tcp(net::TcpListener),
    Unix(net::UnixListener, Arc<str>),
}

/// Where a connection came to, and where it comes from.
pub(super) type Ends = (Address, Address);

impl Acceptor {
    pub(super) async fn accept(&self) -> io::Result<(Incoming, Ends)> {
        match self {
            Self::Tcp(socket) => {
                let (stream, peer) = socket.accept().await?;
                of_tcp(stream, peer)
            }
            Self::Unix(socket, path) => {
                let (stream, _unnamed) = socket.accept().await?;
                Ok(of_unix(stream, path))
            }
        }
    }

    /// Takes it out of the runtime.
    pub(super) fn unwatch(self) -> io::Result<Listening> {
        Ok(match self {
            Self::Tcp(socket) => Listening::Tcp(socket.into_std()?),
            Self::Unix(socket, path) => Listening::Unix(socket.into_std()?, path),
        })
    }
}

fn of_tcp(stream: net::TcpStream, peer: SocketAddr) -> io::Result<(Incoming, Ends)> {
    // Small responses must not wait for the acknowledgement of the last ones.
    let _best_effort = stream.set_nodelay(true);
    let local = stream.local_addr()?;
    let plain = |address: SocketAddr| {
        // An address of IPv4 as one, also where it came through a socket of IPv6; one of IPv6 keeps the
        // zone that it counts in.
        Address::Ip(match address.ip().to_canonical() {
            ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
            IpAddr::V6(_) => address,
        })
    };
    Ok((Incoming::Tcp(stream), (plain(local), plain(peer))))
}

/// A client of a Unix socket has no name: Envoy shows it under that of the socket.
fn of_unix(stream: net::UnixStream, path: &Arc<str>) -> (Incoming, Ends) {
    let address = Address::Unix(Arc::clone(path));
    (Incoming::Unix(stream), (address.clone(), address))
}

/// A connection that was just accepted.
#[derive(Debug)]
pub(super) enum Incoming {
    Tcp(net::TcpStream),
    Unix(net::UnixStream),
}

impl Incoming {
    /// Waits until more can be read, or the peer has ended.
    pub(super) async fn readable(&self) -> io::Result<Ready> {
        match self {
            Self::Tcp(stream) => stream.ready(Interest::READABLE).await,
            Self::Unix(stream) => stream.ready(Interest::READABLE).await,
        }
    }

    /// Does something that would block where nothing is there to be read.
    pub(super) fn try_io<R>(&self, io: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        match self {
            Self::Tcp(stream) => stream.try_io(Interest::READABLE, io),
            Self::Unix(stream) => stream.try_io(Interest::READABLE, io),
        }
    }

    /// Looks at bytes that are there, without taking them.
    pub(super) async fn peek(&self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.peek(into).await,
            Self::Unix(stream) => {
                // The standard library looks ahead on sockets of TCP alone, for the system all are one.
                let same = std::net::TcpStream::from(stream.as_fd().try_clone_to_owned()?);
                same.peek(into)
            }
        }
    }

    /// Takes bytes.
    pub(super) async fn read_exact(&mut self, into: &mut [u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.read_exact(into).await?,
            Self::Unix(stream) => stream.read_exact(into).await?,
        };
        Ok(())
    }
}

impl AsFd for Incoming {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

impl From<Incoming> for Socket {
    fn from(incoming: Incoming) -> Self {
        match incoming {
            Incoming::Tcp(stream) => stream.into(),
            Incoming::Unix(stream) => stream.into(),
        }
    }
}
