//! Endpoints that break while they are used: clients see no more of it than the policy lets through,
//! and what is whole again is used again.
//!
//! Nothing here waits for time: a fault lasts until the proxy's own statistics say that it was seen, and
//! load goes on until enough of it has passed.

#![expect(clippy::unwrap_used, reason = "helpers of a test suite")]
#![expect(
    clippy::disallowed_methods,
    reason = "servers that are slow on purpose, and clients that leave others some time"
)]

#[path = "chaos/backend.rs"]
mod backend;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nuncio_tests::admin::stat;
use nuncio_tests::client::{Connection, Received};
use nuncio_tests::config::Config;
use nuncio_tests::dns::{NameServer, Reply};
use nuncio_tests::eventually;
use nuncio_tests::message::Kind;
use nuncio_tests::process::{Binary, Proxy, Setup};
use nuncio_tests::{scene, tls};

use backend::{BODY, Backend, Fault};

/// Clients that each send a request after the other.
const CLIENTS: usize = 4;
const LOOPBACK: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

/// What became of requests that did not go well, by a word or two.
type Failures = BTreeMap<String, usize>;

/// Clients at work.
struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    good: AtomicUsize,
    failures: Mutex<Failures>,
}

impl Load {
    fn start(proxy: &Proxy) -> Self {
        let shared = Arc::new(Shared::default());
        let address = proxy.address("listener");
        let clients = (0..CLIENTS).map(|_| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.client(address))
        });
        let clients = clients.collect();
        Self { shared, clients }
    }

    /// Waits until that many more requests went well.
    fn go_on(&self, requests: usize) {
        let until = self.shared.good.load(Ordering::Relaxed) + requests;
        eventually("requests are answered", || {
            self.shared.good.load(Ordering::Relaxed) >= until
        });
    }

    fn failures(&self) -> Failures {
        self.shared.failures.lock().unwrap().clone()
    }

    /// All that went wrong in the end.
    fn stop(self) -> Failures {
        self.shared.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().unwrap();
        }
        let failures = self.shared.failures.lock().unwrap();
        failures.clone()
    }
}

impl Shared {
    fn client(&self, address: SocketAddr) {
        let mut connection = Connection::open(address);
        while !self.stop.load(Ordering::Relaxed) {
            connection.send(scene::get("/", "").as_bytes());
            let failure = match connection.receive(Kind::Response) {
                Received::Message(answer) if answer.status() == 200 => {
                    (answer.body.len() != BODY).then(|| "a short body".to_owned())
                }
                Received::Message(answer) => Some(format!("{} {}", answer.status(), answer.text())),
                other => Some(format!("{other:?}")),
            };
            match failure {
                None => {
                    self.good.fetch_add(1, Ordering::Relaxed);
                }
                Some(failure) => {
                    let mut failures = self.failures.lock().unwrap();
                    *failures.entry(failure).or_default() += 1;
                    connection = Connection::open(address);
                }
            }
            // The load has a bound: nothing is waited for here.
            thread::sleep(PACE);
        }
    }
}

/// What each client rests between two requests.
const PACE: Duration = Duration::from_millis(1);
const RETRIES: &str = ", timeout: 5s, retry_policy: { retry_on: \"5xx,reset,connect-failure,refused-stream\", num_retries: 5, \
    per_try_timeout: 0.3s, host_selection_retry_max_attempts: 5, retry_back_off: { base_interval: 0.001s }, \
    retry_host_predicate: [ { name: envoy.retry_host_predicates.previous_hosts, typed_config: { \"@type\": \
    type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate } } ] }";
const CHECKS: &str = ", health_checks: [ { timeout: 0.2s, interval: 0.1s, no_traffic_interval: 0.1s, \
    unhealthy_threshold: 2, healthy_threshold: 1, http_health_check: { path: /health } } ]";
/// As many retries at once as there are clients.
const BREAKERS: &str = ", circuit_breakers: { thresholds: [ { max_retries: 100 } ] }";

/// A proxy in front of these endpoints. `route` and `cluster` are more fields of each, with a comma in
/// front.
fn proxy(endpoints: &[SocketAddr], route: &str, cluster: &str) -> Proxy {
    let mut listed = String::new();
    for endpoint in endpoints {
        let (ip, port) = (endpoint.ip(), endpoint.port());
        let _infallible = write!(
            listed,
            "{{ endpoint: {{ address: {{ socket_address: {{ address: {ip}, port_value: {port} }} }} }} }}, "
        );
    }
    let text = Config::new()
        .route(format!(
            "{{ match: {{ prefix: / }}, route: {{ cluster: origin{route} }} }}"
        ))
        .cluster(format!(
            "{{ name: origin, connect_timeout: 0.2s, common_lb_config: {{ update_merge_window: 0s }}{cluster}, \
             load_assignment: {{ cluster_name: origin, endpoints: [ {{ lb_endpoints: [ {listed} ] }} ] }} }}"
        ))
        .text();
    start(&text)
}

fn start(text: &str) -> Proxy {
    let setup = Setup::for_template(text).concurrency(2);
    Proxy::start_with(&Binary::nuncio(), text, setup)
}

/// Waits until a statistic of the cluster has that value.
fn becomes(proxy: &Proxy, statistic: &str, value: u64) {
    let name = format!("cluster.origin.{statistic}");
    eventually(&format!("{name} is {value}"), || {
        stat(proxy, &name) == value
    });
}

/// Waits until it is used again.
fn is_used_again(backend: &Backend) {
    let before = backend.served();
    // More than what was under way when it was broken.
    eventually("the endpoint is used again", || {
        backend.served() > before + CLIENTS
    });
}

#[test]
fn with_retries_nobody_sees_an_endpoint_break() {
    let backends = [(); 3].map(|()| Backend::start(LOOPBACK));
    let addresses: Vec<_> = backends.iter().map(Backend::address).collect();
    let proxy = proxy(&addresses, RETRIES, &format!("{CHECKS}{BREAKERS}"));
    let load = Load::start(&proxy);
    for (fault, broken) in [
        (Fault::Down, 0),
        (Fault::Hang, 1),
        (Fault::HalfOpen, 2),
        (Fault::Reset, 0),
        (Fault::Garbage, 1),
    ] {
        load.go_on(50);
        backends[broken].set(fault);
        becomes(&proxy, "membership_healthy", 2);
        load.go_on(50);
        backends[broken].set(Fault::None);
        becomes(&proxy, "membership_healthy", 3);
        is_used_again(&backends[broken]);
        assert_eq!(load.failures(), Failures::new(), "{fault:?}");
    }
    assert_eq!(load.stop(), Failures::new());
    assert!(stat(&proxy, "cluster.origin.upstream_rq_retry_success") > 0);
    assert_eq!(stat(&proxy, "cluster.origin.upstream_rq_retry_overflow"), 0);
}

#[test]
fn a_certificate_that_nobody_trusts_is_an_endpoint_that_is_down() {
    let backends = [(); 2].map(|()| Backend::start_tls(LOOPBACK));
    let addresses: Vec<_> = backends.iter().map(Backend::address).collect();
    let transport = tls::with_certificates(
        ", transport_socket: { name: envoy.transport_sockets.tls, typed_config: { \"@type\": \
         type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext, sni: a.test, \
         common_tls_context: { validation_context: { trusted_ca: { filename: \"@CERTS@/ca.pem\" }, \
         match_typed_subject_alt_names: [ { san_type: DNS, matcher: { exact: a.test } } ] } } } }",
    );
    let proxy = proxy(
        &addresses,
        RETRIES,
        &format!("{CHECKS}{BREAKERS}{transport}"),
    );
    let load = Load::start(&proxy);
    load.go_on(50);
    backends[0].set(Fault::WrongCertificate);
    becomes(&proxy, "membership_healthy", 1);
    load.go_on(50);
    assert!(stat(&proxy, "cluster.origin.ssl.fail_verify_error") > 0);
    backends[0].set(Fault::None);
    becomes(&proxy, "membership_healthy", 2);
    is_used_again(&backends[0]);
    assert_eq!(load.stop(), Failures::new());
}

/// Failures in a row that make an endpoint an outlier.
const CONSECUTIVE: usize = 3;
/// Requests that may fail before nobody is sent there any more: those, and what is under way while word
/// of it goes around.
const ALLOWED: usize = CONSECUTIVE + 30;

#[test]
fn without_retries_failures_end_with_the_ejection() {
    // A connection that ends before an answer is tried again once where the request allows it, so that
    // not every failure is seen.
    for (fault, route, failure, least) in [
        (Fault::Down, "", "503", 0),
        (Fault::Hang, ", timeout: 0.3s", "504", CONSECUTIVE),
        (Fault::Reset, "", "503", 0),
        (Fault::ResetMiddle, "", "short", CONSECUTIVE),
        (Fault::Garbage, "", "502", CONSECUTIVE),
    ] {
        let backends = [(); 3].map(|()| Backend::start(LOOPBACK));
        let addresses: Vec<_> = backends.iter().map(Backend::address).collect();
        // What was ejected stays so.
        let outliers = format!(
            ", outlier_detection: {{ consecutive_5xx: {CONSECUTIVE}, interval: 0.05s, base_ejection_time: 3600s, \
             max_ejection_time: 3600s }}"
        );
        let proxy = proxy(&addresses, route, &outliers);
        let load = Load::start(&proxy);
        load.go_on(20);
        backends[1].set(fault);
        becomes(&proxy, "outlier_detection.ejections_enforced_total", 1);
        becomes(&proxy, "membership_healthy", 2);
        // Word of it goes around, and what is under way ends.
        load.go_on(50);
        let failures = load.stop();
        let count: usize = failures.values().sum();
        assert!(
            (least..=ALLOWED).contains(&count),
            "{fault:?}: {failures:?}"
        );
        let as_expected = |what: &String| what.contains(failure);
        assert!(failures.keys().all(as_expected), "{fault:?}: {failures:?}");
        // It is still broken, and nobody sees it.
        let load = Load::start(&proxy);
        load.go_on(100);
        assert_eq!(load.stop(), Failures::new(), "{fault:?}");
    }
}

#[test]
fn answers_of_dns_that_say_nothing_change_nothing() {
    let first = Backend::start((Ipv4Addr::new(127, 0, 0, 2), 0));
    let port = first.address().port();
    let second = Backend::start((Ipv4Addr::new(127, 0, 0, 3), port));
    let server = NameServer::start();
    server.set("origin.test", Reply::addresses(&["127.0.0.2"]));
    let text = Config::new()
        .cluster(format!(
            "{{ name: origin, connect_timeout: 0.2s, type: STRICT_DNS, dns_refresh_rate: 0.02s, \
             typed_dns_resolver_config: {{ name: envoy.network.dns_resolver.cares, typed_config: {{ \"@type\": \
             type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig, \
             resolvers: [ {{ socket_address: {{ address: 127.0.0.1, port_value: {} }} }} ], \
             query_timeout_seconds: 1, query_tries: 1 }} }}, load_assignment: {{ cluster_name: origin, \
             endpoints: [ {{ lb_endpoints: [ {{ endpoint: {{ address: {{ socket_address: \
             {{ address: origin.test, port_value: {port} }} }} }} }} ] }} ] }} }}",
            server.port()
        ))
        .text();
    let proxy = start(&text);
    let load = Load::start(&proxy);
    for (reply, other) in [
        (Reply::Records(60, Vec::new()), &second),
        (Reply::Code(2), &first),
        (Reply::Code(3), &second),
        (Reply::Silence, &first),
    ] {
        load.go_on(20);
        server.set("origin.test", reply);
        becomes(&proxy, "dns_stale", 1);
        load.go_on(50);
        let there = match other.address().ip() {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => ip.to_string(),
        };
        server.set("origin.test", Reply::addresses(&[&there]));
        becomes(&proxy, "dns_stale", 0);
        is_used_again(other);
    }
    assert_eq!(load.stop(), Failures::new());
}
