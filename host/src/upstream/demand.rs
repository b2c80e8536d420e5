//! What a request asks of its connection beyond the endpoint.
//!
//! Owns [`Demand`]: requests that ask for different things share no connections. The default asks for
//! nothing. The data path fills it in where [`super::ClusterSpec::wants_demands`] says so. Does not own
//! what a connection makes of it (`connect`, `pool`).

use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use crate::exchange::Connection;

/// What a request asks of its connection. See the module's page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Demand {
    /// The client that it comes from, where no others may share its connections.
    pub client: Option<Client>,
    /// The name that the server is asked for (`auto_sni`).
    pub server_name: Option<Arc<str>>,
    /// The name that has to be in the server's certificate (`auto_san_validation`).
    pub verified_name: Option<Arc<str>>,
    /// Whether HTTP/2 is to be spoken, as the client does (`use_downstream_protocol_config`).
    pub http2: Option<bool>,
}

impl Demand {
    /// Whether the client that it is for has gone, so that nobody asks for this again.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.client
            .as_ref()
            .is_some_and(|client| client.connection.strong_count() == 0)
    }
}

/// A client's connection.
#[derive(Clone, Debug)]
pub struct Client {
    id: u64,
    /// Where the client is, and where it connected to; none for a Unix socket.
    pub ends: Option<(SocketAddr, SocketAddr)>,
    connection: Weak<Connection>,
}

impl Client {
    /// The client of that connection.
    #[must_use]
    pub fn new(connection: &Arc<Connection>) -> Self {
        Self {
            id: connection.id,
            ends: connection.remote.ip().zip(connection.local.ip()),
            connection: Arc::downgrade(connection),
        }
    }

    /// The same, without where it is.
    #[must_use]
    pub fn hidden(self) -> Self {
        Self { ends: None, ..self }
    }
}

impl PartialEq for Client {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Client {}

impl std::hash::Hash for Client {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}
