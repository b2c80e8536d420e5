//! What the tests of this part share.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::runtime::{Builder, LocalOptions, LocalRuntime};

use crate::clock;
use crate::exchange::{Connection, Exchange, Protocol, Timing};

/// A runtime as a worker has one; its time passes by itself, or only while nobody has anything to do.
pub(super) fn runtime(is_paused: bool) -> LocalRuntime {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().start_paused(is_paused);
    builder.build_local(LocalOptions::default()).unwrap()
}

/// A request without fields that came to `local`.
pub(super) fn exchange(local: SocketAddr, local_is_restored: bool) -> Exchange {
    let client = SocketAddr::from(([10, 0, 0, 8], 5000));
    let connection = Connection {
        local_is_restored,
        listener: "l".into(),
        ..Connection::between(client, local)
    };
    let timing = Timing::starting(clock::now(), clock::wall());
    Exchange::new(Arc::new(connection), Protocol::Http11, timing, 1)
}
