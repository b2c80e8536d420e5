//! Addresses of sockets: of IP, and of Unix sockets.
//!
//! Owns [`Address`], which names where something is and how that is shown. Does not own connecting
//! (`upstream::connect`) nor listening (`listener`).

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// Where a socket is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// An IP address and a port.
    Ip(SocketAddr),
    /// A Unix socket: its path, or behind `@` a name in Linux' abstract namespace.
    Unix(Arc<str>),
}

impl Address {
    /// The address of IP, where it is one.
    #[must_use]
    pub const fn ip(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(path) => f.write_str(path),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

impl PartialEq<SocketAddr> for Address {
    fn eq(&self, other: &SocketAddr) -> bool {
        self.ip() == Some(*other)
    }
}
