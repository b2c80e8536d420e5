//! What a request tells a table.
//!
//! Owns the list of facts by which a route is chosen. Made by `http` from an exchange, and by the
//! command line from a request that was never sent. Does not own the choice.

use crate::exchange::{Exchange, Metadata, Tls};
use crate::headers::Headers;

/// The facts by which a route is chosen.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The request's head.
    pub request: &'a Headers,
    /// The stream's number, which decides where a route takes only a share of requests.
    pub random: u64,
    /// The TLS session of the downstream connection, where it has one.
    pub tls: Option<&'a Tls>,
    /// What filters left so far.
    pub metadata: &'a Metadata,
}

impl<'a> Facts<'a> {
    /// What `exchange` says, of a stream whose number is `random`.
    #[must_use]
    pub fn of(exchange: &'a Exchange, random: u64) -> Self {
        Self {
            request: &exchange.request,
            random,
            tls: exchange.connection.tls.as_deref(),
            metadata: &exchange.metadata,
        }
    }
}
