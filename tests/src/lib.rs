//! The harness of nuncio's end-to-end suites.
//!
//! It starts real processes and talks to them over real sockets on the loopback interface:
//! [`origin`] and [`h2_origin`] are scripted upstream servers, [`process`] runs nuncio or Envoy on a
//! configuration whose ports are filled in by [`ports`], [`client`], [`h2_client`] and [`frames`] are
//! the downstream side, [`message`] reads HTTP/1.1 without forgiving anything, and [`compare`] runs the
//! same case through two proxies and compares all that can be seen from outside, as [`differential`] does
//! for what [`chance`] makes up; [`varying`] is what two runs never have in common. [`dns`] is a scripted
//! name server, [`config`] writes configurations, [`tls`] has certificates and
//! handshakes, [`tls_origin`] speaks TLS in front of the upstreams, [`guests`] has components to put into them, [`scene`] starts
//! all that, and [`admin`] reads statistics.
//!
//! Nothing here knows nuncio's insides: the suites find the binary by `$NUNCIO_BIN` or build it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::missing_panics_doc,
    reason = "a test harness: whatever is not as expected ends the test at that line"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "the processes under test run in real time, so the bounds on waiting for them do too"
)]

pub mod admin;
pub mod chance;
pub mod client;
pub mod compare;
mod complaints;
pub mod config;
mod der;
pub mod differential;
pub mod dns;
pub mod frames;
pub mod frames_origin;
pub mod guests;
pub mod h2_client;
pub mod h2_origin;
pub mod message;
pub mod origin;
pub mod ports;
pub mod process;
pub mod scene;
pub mod tls;
pub mod tls_origin;
pub mod varying;

use std::thread;
use std::time::{Duration, Instant};

/// Looks again and again until `condition` holds, for what the system gives no event for: a port
/// that begins to listen, a process's state behind its admin interface.
///
/// Ends the test when it does not hold in 20 s.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    const PATIENCE: Duration = Duration::from_secs(20);
    const PAUSE: Duration = Duration::from_millis(2);
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not so in {PATIENCE:?}");
        pause(PAUSE);
    }
}

/// Lets time pass, where how late something comes, or how slowly, is what a test is about. It is never shorter.
pub fn pause(time: Duration) {
    thread::sleep(time);
}
