//! How clusters come by their endpoints: names, their answers and what happens without one.

#![expect(clippy::unwrap_used, reason = "helpers of a test suite")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, UdpSocket};
use std::thread;

use nuncio_tests::admin::{page, stat};
use nuncio_tests::client::Connection;
use nuncio_tests::config::Config;
use nuncio_tests::dns::{NameServer, Record, Reply};
use nuncio_tests::eventually;
use nuncio_tests::process::{Binary, Proxy, Ran};

/// A cluster of the name `name`, whose resolver is `server`, and an admin interface.
fn template(server: &NameServer, clusters: &[String]) -> String {
    format!(
        "admin: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: @PORT:admin@ }} }} }}\n\
         typed_dns_resolver_config:\n  \
           name: envoy.network.dns_resolver.cares\n  \
           typed_config:\n    \
             \"@type\": type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig\n    \
             resolvers: [ {{ socket_address: {{ address: 127.0.0.1, port_value: {} }} }} ]\n    \
             dns_resolver_options: {{ no_default_search_domain: true }}\n    \
             query_timeout_seconds: 1\n    \
             query_tries: 1\n\
         static_resources:\n  clusters:\n{}",
        server.port(),
        clusters.concat(),
    )
}

/// A cluster that asks about `host` every 20 ms.
fn cluster(name: &str, kind: &str, host: &str, port: u16, more: &str) -> String {
    format!(
        "  - {{ name: {name}, {kind}, dns_refresh_rate: 0.02s, {more} load_assignment: {{ cluster_name: {name}, \
         endpoints: [ {{ lb_endpoints: [ {{ endpoint: {{ address: {{ socket_address: \
         {{ address: {host}, port_value: {port} }} }} }} }} ] }} ] }} }}\n"
    )
}

fn strict(name: &str, more: &str) -> String {
    cluster(name, "type: STRICT_DNS", &format!("{name}.test"), 80, more)
}

/// The endpoints of a cluster with one of their facts, as `/clusters` has them.
fn endpoints(proxy: &Proxy, cluster: &str, fact: &str) -> Vec<String> {
    let text = page(proxy, "/clusters");
    let (start, middle) = (format!("{cluster}::"), format!("::{fact}::"));
    let lines = text.lines().filter_map(|line| line.strip_prefix(&start));
    let facts = lines.filter_map(|line| line.split_once(&middle));
    facts
        .map(|(address, value)| format!("{address} {value}"))
        .collect()
}

fn addresses(proxy: &Proxy, cluster: &str) -> Vec<String> {
    let of = endpoints(proxy, cluster, "weight");
    of.iter()
        .map(|fact| fact.split(' ').next().unwrap().to_owned())
        .collect()
}

fn becomes(proxy: &Proxy, cluster: &str, expected: &[&str]) {
    eventually(&format!("{cluster} is at {expected:?}"), || {
        addresses(proxy, cluster) == expected
    });
}

#[test]
fn every_address_of_the_wanted_family_is_an_endpoint() {
    let server = NameServer::start();
    let families = ["AUTO", "V4_ONLY", "V6_ONLY", "V4_PREFERRED", "ALL"];
    let mut clusters = Vec::new();
    for family in families {
        let more = format!("dns_lookup_family: {family}, ");
        let name = family.to_lowercase();
        server.set(
            &format!("{name}.test"),
            Reply::addresses(&["10.0.0.1", "::7", "10.0.0.2"]),
        );
        clusters.push(strict(&name, &more));
        server.set(&format!("{name}_4.test"), Reply::addresses(&["10.0.0.1"]));
        clusters.push(strict(&format!("{name}_4"), &more));
    }
    let proxy = Proxy::start(&Binary::nuncio(), &template(&server, &clusters));
    let (four, six) = (["10.0.0.1:80", "10.0.0.2:80"], ["[::7]:80"]);
    becomes(&proxy, "auto", &six);
    becomes(&proxy, "v4_only", &four);
    becomes(&proxy, "v6_only", &six);
    becomes(&proxy, "v4_preferred", &four);
    becomes(&proxy, "all", &["10.0.0.1:80", "10.0.0.2:80", "[::7]:80"]);
    for family in ["auto_4", "v4_only_4", "v4_preferred_4", "all_4"] {
        becomes(&proxy, family, &four[..1]);
    }
    becomes(&proxy, "v6_only_4", &[]);
    server.set("auto.test", Reply::addresses(&["10.0.0.9"]));
    becomes(&proxy, "auto", &["10.0.0.9:80"]);
}

#[test]
fn the_last_good_answer_stays_whatever_the_server_says_then() {
    let server = NameServer::start();
    let bad = [
        ("gone", Reply::Code(3)),
        ("failing", Reply::Code(2)),
        ("refusing", Reply::Code(5)),
        ("empty", Reply::Records(60, Vec::new())),
        ("silent", Reply::Silence),
    ];
    for (name, _) in &bad {
        server.set(&format!("{name}.test"), Reply::addresses(&["10.0.0.1"]));
    }
    let clusters = bad.clone().map(|(name, _)| strict(name, ""));
    let proxy = Proxy::start(&Binary::nuncio(), &template(&server, &clusters));
    for (name, reply) in bad.clone() {
        becomes(&proxy, name, &["10.0.0.1:80"]);
        assert_eq!(stat(&proxy, &format!("cluster.{name}.dns_stale")), 0);
        server.set(&format!("{name}.test"), reply);
    }
    for (name, _) in &bad {
        eventually(&format!("{name} does not resolve for a second"), || {
            stat(&proxy, &format!("cluster.{name}.dns_stale")) == 1
                && stat(&proxy, &format!("cluster.{name}.dns_stale_seconds")) >= 1
        });
        assert_eq!(addresses(&proxy, name), ["10.0.0.1:80"]);
        server.set(&format!("{name}.test"), Reply::addresses(&["10.0.0.2"]));
        becomes(&proxy, name, &["10.0.0.2:80"]);
        for gauge in ["dns_stale", "dns_stale_seconds"] {
            assert_eq!(stat(&proxy, &format!("cluster.{name}.{gauge}")), 0);
        }
    }
}

#[test]
fn answers_grow_older_while_nobody_answers() {
    let server = NameServer::start();
    server.set("silent.test", Reply::addresses(&["10.0.0.1"]));
    let rates = "dns_failure_refresh_rate: { base_interval: 3600s, max_interval: 3600s }, ";
    let cluster = strict("silent", &format!("dns_lookup_family: V4_ONLY, {rates}"));
    let mut proxy = Proxy::start(&Binary::nuncio(), &template(&server, &[cluster]));
    becomes(&proxy, "silent", &["10.0.0.1:80"]);
    server.set("silent.test", Reply::Code(2));
    proxy.wait_for_output("Server Failure");
    let failures = || stat(&proxy, "cluster.silent.update_failure");
    eventually("it is told how old the answer is", || {
        stat(&proxy, "cluster.silent.dns_stale_seconds") >= 2
    });
    assert_eq!(failures(), 1, "without another attempt");
}

#[test]
fn another_reason_for_no_answer_is_told() {
    let server = NameServer::start();
    server.set("gone.test", Reply::addresses(&["10.0.0.1"]));
    let proxy = template(&server, &[strict("gone", "dns_lookup_family: V4_ONLY, ")]);
    let mut proxy = Proxy::start(&Binary::nuncio(), &proxy);
    becomes(&proxy, "gone", &["10.0.0.1:80"]);
    server.set("gone.test", Reply::Code(2));
    proxy.wait_for_output("Server Failure");
    server.set("gone.test", Reply::Code(3));
    proxy.wait_for_output("there is no such name, or no address under it");
}

/// Who is waited for is waited for three times 5 s where nothing else is said.
#[test]
fn a_server_that_refuses_has_failed_at_once() {
    let server = NameServer::start();
    server.set("refused.test", Reply::Code(5));
    let more = "dns_failure_refresh_rate: { base_interval: 0.02s, max_interval: 0.02s }, ";
    // The harness keeps its own ports.
    let nobody = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let closed = nobody.local_addr().unwrap().port();
    drop(nobody);
    for port in [server.port(), closed] {
        let refused = [strict("refused", more)];
        let template = template(&server, &refused)
            .replace(&server.port().to_string(), &port.to_string())
            .replace("    query_timeout_seconds: 1\n", "")
            .replace("    query_tries: 1\n", "");
        let proxy = Proxy::start(&Binary::nuncio(), &template);
        eventually("it is asked again and again", || {
            stat(&proxy, "cluster.refused.update_failure") > 3
        });
    }
}

/// A server of one's own that has no answer has the next one asked, but what it knows not to be is not.
#[test]
fn the_next_server_is_asked_where_one_has_no_answer() {
    let fails = [
        Reply::Code(2),
        Reply::Code(4),
        Reply::Code(5),
        Reply::Silence,
    ];
    let answers = [
        Reply::Code(1),
        Reply::Code(3),
        Reply::Records(60, Vec::new()),
    ];
    let cases = fails.map(|reply| (reply, true));
    let cases = cases.into_iter().chain(answers.map(|reply| (reply, false)));
    for (reply, is_next_asked) in cases {
        let (first, next) = (NameServer::start(), NameServer::start());
        first.set("a.test", reply.clone());
        next.set("a.test", Reply::addresses(&["10.0.0.1"]));
        let both = template(&first, &[strict("a", "dns_lookup_family: V4_ONLY, ")]);
        let server = format!("port_value: {} }} }} ]", first.port());
        let both = both.replace(
            &server,
            &format!(
                "port_value: {}, protocol: UDP }} }}, \
                 {{ socket_address: {{ address: 127.0.0.1, port_value: {} }} }} ]",
                first.port(),
                next.port()
            ),
        );
        let proxy = Proxy::start(&Binary::nuncio(), &both);
        if is_next_asked {
            becomes(&proxy, "a", &["10.0.0.1:80"]);
        } else {
            eventually("it is asked again and again", || {
                first.asked("a.test").udp > 3
            });
            assert_eq!(next.asked("a.test").udp, 0, "{reply:?}");
        }
    }
}

#[test]
fn a_name_without_an_answer_does_not_hold_up_the_start_for_long() {
    let server = NameServer::start();
    server.set("silent.test", Reply::Silence);
    let missing = strict("missing", "");
    let silent = strict("silent", "wait_for_warm_on_init: false, ");
    let mut proxy = Proxy::start(&Binary::nuncio(), &template(&server, &[missing, silent]));
    proxy.wait_for_output(
        "cannot resolve \"missing.test\": it has no endpoints until there is an answer",
    );
    for name in ["missing", "silent"] {
        assert!(addresses(&proxy, name).is_empty());
        server.set(&format!("{name}.test"), Reply::addresses(&["10.0.0.1"]));
        becomes(&proxy, name, &["10.0.0.1:80"]);
    }
}

#[test]
fn one_endpoint_follows_the_first_address() {
    let server = NameServer::start();
    server.set("logical.test", Reply::addresses(&["10.0.0.1", "10.0.0.2"]));
    server.set("typed.test", Reply::addresses(&["10.0.0.1", "10.0.0.2"]));
    let typed = "cluster_type: { name: envoy.cluster.dns, typed_config: { \
                 \"@type\": type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster, \
                 dns_refresh_rate: 0.02s, all_addresses_in_single_endpoint: true } }";
    let clusters = [
        cluster("logical", "type: LOGICAL_DNS", "logical.test", 81, ""),
        cluster("typed", typed, "typed.test", 82, "").replacen(
            "}, dns_refresh_rate: 0.02s,",
            "},",
            1,
        ),
    ];
    let proxy = Proxy::start(&Binary::nuncio(), &template(&server, &clusters));
    for (name, port) in [("logical", 81), ("typed", 82)] {
        becomes(&proxy, name, &[&format!("10.0.0.1:{port}")]);
        server.set(
            &format!("{name}.test"),
            Reply::addresses(&["10.0.0.2", "10.0.0.1"]),
        );
        becomes(&proxy, name, &[&format!("10.0.0.2:{port}")]);
        let changes = stat(&proxy, &format!("cluster.{name}.membership_change"));
        assert_eq!(changes, 1, "it is the same endpoint");
    }
}

#[test]
fn services_have_ports_weights_and_priorities_of_their_own() {
    let server = NameServer::start();
    let records = vec![
        Record::Service(10, 3, 8081, "one.test"),
        Record::Service(10, 0, 8082, "two.test"),
        Record::Service(20, 1, 8083, "one.test"),
        Record::Service(20, 1, 8084, "nowhere.test"),
    ];
    server.set("_http._tcp.all.test", Reply::Records(60, records));
    server.set("one.test", Reply::addresses(&["10.0.0.1"]));
    server.set("two.test", Reply::addresses(&["10.0.0.2", "10.0.0.3"]));
    let clusters = [cluster(
        "services",
        "type: STRICT_DNS",
        "_http._tcp.all.test",
        0,
        "",
    )];
    let proxy = Proxy::start(&Binary::nuncio(), &template(&server, &clusters));
    let expected = [
        ("10.0.0.1:8081", "3", "0"),
        ("10.0.0.2:8082", "1", "0"),
        ("10.0.0.3:8082", "1", "0"),
        ("10.0.0.1:8083", "1", "1"),
    ];
    becomes(&proxy, "services", &expected.map(|(address, ..)| address));
    let facts = |at: fn((&str, &'static str, &'static str)) -> &'static str| {
        expected.map(|(address, weight, priority)| {
            format!("{address} {}", at((address, weight, priority)))
        })
    };
    assert_eq!(
        endpoints(&proxy, "services", "weight"),
        facts(|(_, weight, _)| weight)
    );
    assert_eq!(
        endpoints(&proxy, "services", "priority"),
        facts(|(.., priority)| priority)
    );
    // A host that fails to resolve leaves all as it is.
    server.set("two.test", Reply::Code(2));
    eventually("it does not resolve", || {
        stat(&proxy, "cluster.services.dns_stale") == 1
    });
    becomes(&proxy, "services", &expected.map(|(address, ..)| address));
}

#[test]
fn long_answers_come_over_tcp_and_all_where_that_is_said() {
    let server = NameServer::start();
    let many: Vec<String> = (1..=100).map(|last| format!("10.0.0.{last}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    server.set("long.test", Reply::addresses(&many));
    server.set("tcp.test", Reply::addresses(&["10.0.0.1"]));
    let over_tcp = format!(
        "dns_resolution_config: {{ resolvers: [ {{ socket_address: {{ address: 127.0.0.1, port_value: {} }} }} ], \
         dns_resolver_options: {{ use_tcp_for_dns_lookups: true, no_default_search_domain: true }} }}, ",
        server.port()
    );
    let clusters = [
        strict("long", "dns_lookup_family: V4_ONLY, "),
        strict("tcp", &format!("dns_lookup_family: V4_ONLY, {over_tcp}")),
    ];
    let proxy = Proxy::start(&Binary::nuncio(), &template(&server, &clusters));
    eventually("all of a long answer are there", || {
        addresses(&proxy, "long").len() == 100
    });
    becomes(&proxy, "tcp", &["10.0.0.1:80"]);
    assert!(server.asked("long.test").udp > 0 && server.asked("long.test").tcp > 0);
    assert_eq!(server.asked("tcp.test").udp, 0);
}

#[test]
fn an_answer_says_when_to_ask_again_where_that_is_respected() {
    let server = NameServer::start();
    for name in ["rate", "ttl"] {
        server.set(&format!("{name}.test"), Reply::addresses(&["10.0.0.1"]));
    }
    let clusters = [
        strict("rate", "dns_lookup_family: V4_ONLY, "),
        strict("ttl", "dns_lookup_family: V4_ONLY, respect_dns_ttl: true, "),
    ];
    let proxy = Proxy::start(&Binary::nuncio(), &template(&server, &clusters));
    eventually("the other name is asked about often", || {
        stat(&proxy, "cluster.rate.update_success") >= 5
    });
    assert_eq!(stat(&proxy, "cluster.ttl.update_attempt"), 1);
}

#[test]
fn names_are_asked_about_as_often_as_that_is_said() {
    let server = NameServer::start();
    let hour = "{ base_interval: 3600s, max_interval: 3600s }";
    for name in ["often", "jitter", "rate"] {
        server.set(&format!("{name}.test"), Reply::addresses(&["10.0.0.1"]));
    }
    let of_v4 =
        |name: &str, more: &str| strict(name, &format!("dns_lookup_family: V4_ONLY, {more}, "));
    let clusters = [
        of_v4(
            "often",
            "dns_failure_refresh_rate: { base_interval: 3600s, max_interval: 3600s }",
        ),
        of_v4(
            "failing",
            "dns_failure_refresh_rate: { base_interval: 0.01s, max_interval: 0.02s }",
        ),
        of_v4("failed", &format!("dns_failure_refresh_rate: {hour}")),
        of_v4("jitter", "dns_jitter: 360000s"),
        of_v4("rate", "respect_dns_ttl: false").replacen("0.02s", "3600s", 1),
    ];
    let proxy = Proxy::start(&Binary::nuncio(), &template(&server, &clusters));
    let attempts = |name: &str| stat(&proxy, &format!("cluster.{name}.update_attempt"));
    eventually("two names are asked about often", || {
        ["often", "failing"].iter().all(|name| attempts(name) >= 5)
    });
    assert_eq!(["failed", "jitter", "rate"].map(attempts), [1; 3]);
}

#[test]
fn connections_to_who_leaves_are_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .unwrap();
        // Until the proxy ends it.
        stream.read(&mut [0]).unwrap()
    });
    let server = NameServer::start();
    server.set("origin.test", Reply::addresses(&["127.0.0.1"]));
    let resolver = format!(
        "dns_resolution_config: {{ resolvers: [ {{ socket_address: {{ address: 127.0.0.1, port_value: {} }} }} ] }}, ",
        server.port()
    );
    let leaving = cluster("origin", "type: STRICT_DNS", "origin.test", port, &resolver);
    let leaving = leaving.trim().trim_start_matches("- ");
    let proxy = Proxy::start(&Binary::nuncio(), &Config::new().cluster(leaving).text());
    becomes(&proxy, "origin", &[&format!("127.0.0.1:{port}")]);
    let answered = Connection::open(proxy.address("listener"))
        .exchange(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(answered.status(), 200);
    assert_eq!(stat(&proxy, "cluster.origin.upstream_cx_active"), 1);
    server.set("origin.test", Reply::addresses(&["127.0.0.9"]));
    assert_eq!(served.join().unwrap(), 0, "the end of the connection");
    becomes(&proxy, "origin", &[&format!("127.0.0.9:{port}")]);
    eventually("the connection is counted out", || {
        stat(&proxy, "cluster.origin.upstream_cx_active") == 0
    });
}

#[test]
fn what_cannot_be_is_refused() {
    let server = NameServer::start();
    let logical = |host: &str, port| cluster("c", "type: LOGICAL_DNS", host, port, "");
    let system = "typed_dns_resolver_config: { name: a, typed_config: { \"@type\": \
        type.googleapis.com/envoy.extensions.network.dns_resolver.getaddrinfo.v3.GetAddrInfoDnsResolverConfig } }, ";
    for (clusters, message) in [
        (
            logical("_a._tcp.b", 0),
            "SRV records name several endpoints",
        ),
        (
            cluster("c", "type: STRICT_DNS", "_a._tcp.b", 0, system),
            "does not know SRV records",
        ),
        (
            "  - { name: c, type: LOGICAL_DNS }\n".to_owned(),
            "must have a single endpoint",
        ),
        (
            strict("c", "").replace("port_value: 80", "port_value: 0"),
            "at port 0",
        ),
    ] {
        let text = template(&server, &[clusters]).replace("@PORT:admin@", "0");
        let ran = Ran::nuncio(["--mode", "validate", "--config-yaml", &text]);
        ran.says(message);
    }
}
