//! Pings that show whether the other end of an HTTP/2 connection is still there.
//!
//! Owns `connection_keepalive` of both sides: when a ping is sent and how long its answer may take.
//! Called by `http` and `upstream`, which end the connection. Does not own the connection.

use std::time::Duration;

use h2::{Ping, PingPong};
use tokio::sync::Notify;

use crate::clock;
use crate::timer::{Timer, after};

/// When pings are sent (`KeepaliveSettings`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// `interval`, if any are sent by themselves.
    pub interval: Option<Duration>,
    /// `interval_jitter`: up to so much is added to each interval.
    pub jitter: Duration,
    /// `timeout`: how long an answer may take.
    pub timeout: Duration,
    /// `connection_idle_interval`: a new stream on a connection that has been silent for so long has one sent
    /// ahead. Of upstreams alone.
    pub idle: Option<Duration>,
}

/// Sends pings, at their time and when `asked` for one, for as long as they are answered in time; for ever
/// pending without settings. `fraction` gives random numbers from 0 to 1.
pub(crate) async fn until_silent(
    settings: Option<Keepalive>,
    pings: Option<PingPong>,
    asked: &Notify,
    fraction: impl Fn() -> f64,
) {
    let (Some(settings), Some(mut pings)) = (settings, pings) else {
        return std::future::pending().await;
    };
    let mut timer = Timer::default();
    loop {
        let jitter = settings.jitter.mul_f64(fraction());
        let interval = settings.interval.map(|interval| interval + jitter);
        tokio::select! {
            () = timer.wait(after(clock::now(), interval)) => {}
            () = asked.notified() => {}
        }
        let deadline = after(clock::now(), Some(settings.timeout));
        match timer.limit(deadline, pings.ping(Ping::opaque())).await {
            Some(Ok(_)) => {}
            // The connection's own end is seen where it is driven.
            Some(Err(_)) => return std::future::pending().await,
            None => return,
        }
    }
}
