//! How a host comes by more connections.
//!
//! Owns the task that stands in the queues of the limits for a host, and the one that opens a
//! connection. Called by `host`, which decides how many are wanted.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::rc::Rc;

use super::account::{Account, Carries, Permit};
use super::host::{Growing, Host, Opened};
use super::http1::Http1Connection;
use super::http2;
use crate::tls::Inside;
use crate::upstream::breaker::HostPermit;
use crate::upstream::connect::Link;
use crate::upstream::spec::{Priority, Protocol};

/// Stands in the queues for as long as `host` wants connections of `priority`: in the endpoint's, then
/// in the cluster's.
pub(super) async fn grow_in_turn(host: Rc<Host>, priority: Priority) {
    let queue = host.queue(priority);
    let breaker = host.common().cluster.breaker(priority);
    while host.wants_connection(priority) {
        let Some(of_host) = host_turn(&host, priority).await else {
            continue;
        };
        queue.growing.set(Growing::AtCluster);
        let waiting = breaker.announce();
        host.common().shared.nudge();
        let turn = unless_shrunk(&host, priority, breaker.connection()).await;
        drop(waiting);
        if let Some(of_cluster) = turn
            && host.wants_connection(priority)
        {
            let permit = Permit {
                _cluster: of_cluster,
                _host: of_host,
                _pool: host.place(priority).ok().flatten(),
            };
            host.start(priority, permit);
        }
    }
    queue.growing.set(Growing::No);
}

/// Waits for one of the endpoint's connections, where these are limited; none where it is not wanted
/// any more.
async fn host_turn(host: &Rc<Host>, priority: Priority) -> Option<Option<HostPermit>> {
    if let Ok(permit) = host.host_permit(priority) {
        return Some(permit);
    }
    let breaker = host.common().cluster.breaker(priority);
    let limit = breaker.thresholds().max_connections_of_host;
    let (Some(gates), Some(limit)) = (&host.endpoint().gates, limit) else {
        return Some(None);
    };
    host.queue(priority).growing.set(Growing::AtHost);
    let _waiting = gates.announce(priority);
    host.common().shared.nudge();
    let turn = unless_shrunk(host, priority, gates.wait(priority, limit)).await;
    turn.map(Some)
}

/// Waits for a turn for as long as the host wants connections.
async fn unless_shrunk<T>(
    host: &Rc<Host>,
    priority: Priority,
    turn: impl Future<Output = T>,
) -> Option<T> {
    let queue = host.queue(priority);
    let mut turn = pin!(turn);
    loop {
        tokio::select! {
            biased;
            turn = &mut turn => return Some(turn),
            () = queue.shrunk.notified() => if !host.wants_connection(priority) {
                return None;
            },
        }
    }
}

/// Why a connection did not come up.
pub(super) enum OpenError {
    TimedOut,
    Failed(io::Error),
}

/// A connection that is ready for requests.
enum Transport {
    Http1(Link),
    Http2(http2::Handshaken),
}

/// Opens a connection and gives it to the host.
pub(super) async fn open(host: Rc<Host>, priority: Priority, permit: Permit) {
    let mut account = Account::open(Rc::clone(&host), Carries::Requests, permit);
    let spec = host.common().cluster.spec();
    let (settings, epoch) = (spec.http2_settings(), host.epoch());
    let inside = match (&spec.protocol, host.speaks_http2()) {
        (Protocol::Negotiated(_), _) => Inside::EitherHttp,
        (_, Some(true)) => Inside::Http2,
        _ => Inside::Http1,
    };
    if inside != Inside::EitherHttp {
        account.speaks(inside == Inside::Http2);
    }
    let connecting = host.common().connector.connect(host.order(inside));
    let transport = async {
        let link = connecting.await?;
        if inside == Inside::EitherHttp {
            account.speaks(link.speaks_http2());
            host.has_chosen(link.speaks_http2());
        }
        match settings.filter(|_| inside == Inside::Http2 || link.speaks_http2()) {
            Some(settings) => http2::handshake(&host, link, settings)
                .await
                .map(Transport::Http2),
            None => Ok(Transport::Http1(link)),
        }
    };
    let result = match tokio::time::timeout(spec.connect_timeout, transport).await {
        Ok(result) => result.map_err(OpenError::Failed),
        Err(_) => Err(OpenError::TimedOut),
    };
    let connecting = &host.queue(priority).connecting;
    connecting.set(connecting.get() - 1);
    match result {
        Ok(Transport::Http1(link)) => {
            account.connected();
            let connection = Box::new(Http1Connection::new(link, account, epoch));
            host.opened(priority, Opened::Http1(connection));
        }
        Ok(Transport::Http2(handshaken)) => {
            account.connected();
            let connection = http2::start(priority, handshaken, account);
            host.opened(priority, Opened::Http2(connection));
        }
        Err(failure) => {
            account.failed(match &failure {
                OpenError::TimedOut => None,
                OpenError::Failed(cause) => Some(cause),
            });
            drop(account);
            host.open_failed(priority, &failure);
        }
    }
}
