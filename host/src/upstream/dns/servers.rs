//! Name servers, and which of them is asked next.
//!
//! Owns their order, which is that of Envoy's resolver: who does not answer, or refuses, or fails, has the next one
//! asked at once, and goes behind the others until it answers again, which is looked at beside other questions. The
//! library's own order asks nobody else where a server says that it refuses or fails, and has one time for all of them,
//! so each has a resolver of its own here. Called by [`super::stub`]. Does not own: what is asked.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hickory_resolver::Resolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RecordType};

use super::sockets::Sockets;
use crate::clock;

/// How long a server that failed is not asked while others answer, as in Envoy.
const REST: Duration = Duration::from_secs(5);

/// Those of a resolver.
pub(super) struct Servers {
    all: Vec<Rc<Server>>,
    tries: usize,
    rotates: bool,
    turn: Cell<usize>,
}

impl Servers {
    /// Asks the servers of `config`, each so often as `options` say.
    pub(super) fn new(
        config: ResolverConfig,
        mut options: ResolverOpts,
        rotates: bool,
    ) -> Result<Self, NetError> {
        let (domain, search, servers) = config.into_parts();
        let tries = options.attempts.max(1);
        options.attempts = 0;
        let server = |server: NameServerConfig| {
            let config = ResolverConfig::from_parts(domain.clone(), search.clone(), vec![server]);
            let mut builder = Resolver::builder_with_config(config, Sockets::default());
            *builder.options_mut() = options.clone();
            Ok(Rc::new(Server {
                resolver: builder.build()?,
                failures: Cell::new(0),
                failed: Cell::new(None),
            }))
        };
        Ok(Self {
            all: servers
                .into_iter()
                .map(server)
                .collect::<Result<_, NetError>>()?,
            tries,
            rotates,
            turn: Cell::new(0),
        })
    }

    /// What the first of them that has an answer says. Must run inside a `LocalSet` or a `LocalRuntime`.
    pub(super) async fn lookup(&self, name: &Name, wanted: RecordType) -> Result<Lookup, NetError> {
        let order = self.order();
        let mut last = NetError::NoConnections;
        for server in order.iter().cycle().take(order.len() * self.tries) {
            let asked = server.lookup(name.clone(), wanted).await;
            match asked {
                Err(error) if is_failure(&error) => last = error,
                settled => {
                    self.look_again(name, wanted);
                    return settled;
                }
            }
        }
        Err(last)
    }

    /// Those that have failed least come first.
    fn order(&self) -> Vec<Rc<Server>> {
        let mut order = self.all.clone();
        if self.rotates && !order.is_empty() {
            let turn = self.turn.get();
            self.turn.set(turn.wrapping_add(1));
            let first = turn % order.len();
            order.rotate_left(first);
        }
        order.sort_by_key(|server| server.failures.get());
        order
    }

    /// Asks those that have rested as well, whose answers count for nothing but that they are there.
    fn look_again(&self, name: &Name, wanted: RecordType) {
        let now = clock::now();
        for server in &self.all {
            if server.failed.get().is_some_and(|at| now >= at + REST) {
                server.failed.set(Some(now));
                let (server, name) = (Rc::clone(server), name.clone());
                tokio::task::spawn_local(async move { server.lookup(name, wanted).await });
            }
        }
    }
}

/// One of them.
struct Server {
    resolver: Resolver<Sockets>,
    /// How often in a row.
    failures: Cell<u32>,
    /// When it was asked last, where it has failed since it answered.
    failed: Cell<Option<Instant>>,
}

impl Server {
    async fn lookup(&self, name: Name, wanted: RecordType) -> Result<Lookup, NetError> {
        let asked = self.resolver.lookup(name, wanted).await;
        if asked.as_ref().is_err_and(is_failure) {
            self.failures.set(self.failures.get().saturating_add(1));
            self.failed.set(Some(clock::now()));
        } else {
            self.failures.set(0);
            self.failed.set(None);
        }
        asked
    }
}

/// Whether another server may say something else: an answer that there is nothing is one, and so is that the question
/// is not understood.
const fn is_failure(error: &NetError) -> bool {
    match error {
        NetError::Dns(DnsError::ResponseCode(code)) => matches!(
            code,
            ResponseCode::ServFail | ResponseCode::NotImp | ResponseCode::Refused
        ),
        NetError::Dns(_) => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests;
