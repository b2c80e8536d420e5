//! Clients and upstreams that mean harm: the proxy stays up, serves others meanwhile, holds no more
//! memory than a stated amount, and ends who abuses it.
//!
//! Every attack is bounded, comes over loopback and goes against one worker, which it shares with
//! those who mean well. The memory is the peak of what is resident, as the kernel counts it.

#![expect(clippy::unwrap_used, reason = "helpers of a test suite")]

#[path = "attacks/connections.rs"]
mod connections;
#[path = "attacks/http1.rs"]
mod http1;
#[path = "attacks/http2.rs"]
mod http2;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nuncio_tests::client::Connection;
use nuncio_tests::config::Config;
use nuncio_tests::scene::{Scene, get};
use nuncio_tests::tls::{Client, of_folder};
use nuncio_tests::{admin, eventually};

/// What a few dozen connections and their buffers may add to the memory at rest, in MiB.
const SMALL: u64 = 24;

/// Says that an attack is over, also when it failed.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A proxy that is attacked.
struct Target {
    scene: Scene,
    /// What those who mean well offer over TLS; none in clear text.
    client: Option<Client>,
}

impl Target {
    /// Starts one with more fields of the connection manager. `/direct` is answered by the proxy, all
    /// else by the upstream.
    fn start(fields: &[&str]) -> Self {
        let mut config = Self::config();
        for field in fields {
            config = config.manager(field);
        }
        Self {
            scene: Scene::start(&config),
            client: None,
        }
    }

    /// The same for clients that speak TLS.
    fn start_over_tls() -> Self {
        let config = Self::config().tls(&of_folder("server"), "");
        Self {
            scene: Scene::start(&config),
            client: Some(Client::asks("a.test")),
        }
    }

    fn config() -> Config {
        let direct = "{ match: { path: /direct }, \
                      direct_response: { status: 200, body: { inline_string: direct } } }";
        let all = "{ match: { prefix: / }, route: { cluster: origin, timeout: 0s } }";
        Config::new().route(direct).route(all)
    }

    /// A connection of somebody who means well.
    fn connect(&self) -> Connection {
        match &self.client {
            None => self.scene.connect(),
            Some(client) => Connection::open_tls(self.scene.listener, client).unwrap(),
        }
    }

    /// Runs an attack, and asks for pages all the while on another connection. Then all that the
    /// attack occupied must be free again, and no more than `limit` MiB have been added to the memory.
    fn withstands<T>(&self, limit: u64, attack: impl FnOnce() -> T) -> T {
        let scene = &self.scene;
        let mut other = self.connect();
        let mut served = move || {
            let answer = other.exchange(get("/direct", "").as_bytes());
            assert_eq!((answer.status(), answer.text().as_str()), (200, "direct"));
        };
        served();
        scene.proxy.forget_peak();
        let before = scene.proxy.peak_memory();
        let over = AtomicBool::new(false);
        let result = thread::scope(|scope| {
            let others = scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    served();
                }
                served();
            });
            let result = {
                let _ends_the_others = Over(&over);
                attack()
            };
            others.join().unwrap();
            result
        });
        let grown = scene.proxy.peak_memory().saturating_sub(before) / 1024;
        assert!(grown <= limit, "the memory grew by {grown} MiB");
        drop(served);
        self.expect_idle();
        result
    }

    /// Waits until no connection and no request is left.
    fn expect_idle(&self) {
        let proxy = &self.scene.proxy;
        for gauge in [
            "http.ingress.downstream_cx_active",
            "http.ingress.downstream_rq_active",
            "cluster.origin.upstream_rq_active",
        ] {
            eventually(&format!("{gauge} is 0"), || admin::stat(proxy, gauge) == 0);
        }
        let output = proxy.output();
        assert!(!output.contains("panicked"), "{output}");
        let answer = self.connect().exchange(get("/direct", "").as_bytes());
        assert_eq!(answer.status(), 200);
    }

    /// A counter of the connection manager.
    fn counter(&self, name: &str) -> u64 {
        admin::stat(&self.scene.proxy, &format!("http.ingress.{name}"))
    }
}
