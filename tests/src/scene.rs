//! A running nuncio in front of one scripted upstream: where most tests begin.
//!
//! Owns nothing of its own: it starts an [`Origin`] on `@PORT:origin@` and a [`Proxy`] on a
//! [`Config`]. Called by the suites.

use std::net::SocketAddr;

use crate::client::Connection;
use crate::config::Config;
use crate::message::Message;
use crate::origin::Origin;
use crate::process::{Binary, Ended, Proxy, Setup};

/// The proxy and its upstream. Dropping it kills the process.
#[derive(Debug)]
pub struct Scene {
    /// The proxy.
    pub proxy: Proxy,
    /// The upstream at `@PORT:origin@`.
    pub origin: Origin,
    /// The address of `@PORT:listener@`.
    pub listener: SocketAddr,
}

impl Scene {
    /// Starts with one worker.
    #[must_use]
    pub fn start(config: &Config) -> Self {
        Self::start_with(config, |setup| setup)
    }

    /// Starts with arguments or more workers.
    #[must_use]
    pub fn start_with(config: &Config, change: impl FnOnce(Setup) -> Setup) -> Self {
        Self::start_text_with(&config.text(), change)
    }

    /// Starts with one worker and a configuration as text.
    #[must_use]
    pub fn start_text(text: &str) -> Self {
        Self::start_text_with(text, |setup| setup)
    }

    fn start_text_with(text: &str, change: impl FnOnce(Setup) -> Setup) -> Self {
        let setup = change(Setup::for_template(text));
        let origin = Origin::start_on(setup.port("origin").unwrap_or(0));
        let proxy = Proxy::start_with(&Binary::nuncio(), text, setup);
        let listener = proxy.address("listener");
        Self {
            proxy,
            origin,
            listener,
        }
    }

    /// The port that the configuration calls that.
    #[must_use]
    pub fn port(&self, wanted: &str) -> u16 {
        let mut ports = self.proxy.ports();
        let found = ports.find_map(|(name, port)| (name == wanted).then_some(port));
        found.unwrap_or_else(|| panic!("no port is called {wanted:?}"))
    }

    /// A client connection.
    #[must_use]
    pub fn connect(&self) -> Connection {
        Connection::open(self.listener)
    }

    /// One GET on a connection of its own, with more header lines, each with its line end.
    #[must_use]
    pub fn get(&self, path: &str, lines: &str) -> Message {
        self.connect().exchange(get(path, lines).as_bytes())
    }

    /// One POST on a connection of its own, with more header lines and a body of known length.
    #[must_use]
    pub fn post(&self, path: &str, lines: &str, body: &str) -> Message {
        self.connect().exchange(post(path, lines, body).as_bytes())
    }

    /// Ends the proxy in order. The upstream ends with it.
    #[must_use]
    pub fn stop(self) -> Ended {
        self.proxy.stop()
    }
}

/// The bytes of a GET request.
#[must_use]
pub fn get(path: &str, lines: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n{lines}\r\n")
}

/// The bytes of a POST request.
#[must_use]
pub fn post(path: &str, lines: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: a.example\r\nContent-Length: {length}\r\n{lines}\r\n{body}"
    )
}
