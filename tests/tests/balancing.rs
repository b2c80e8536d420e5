//! Load balancing over many requests, beside Envoy where that is there: shares of zones, runtime values that
//! change while the proxy runs, and sessions that both kinds of proxies keep.

use std::io::Read as _;
use std::net::TcpStream;

use nuncio_tests::admin;
use nuncio_tests::client::Connection;
use nuncio_tests::compare::case::request;
use nuncio_tests::eventually;
use nuncio_tests::process::{Binary, Proxy, Setup};

/// Answers with its name, at any address.
fn listener(name: &str) -> String {
    format!(
        r#"
  - name: {name}
    address: {{ socket_address: {{ address: 0.0.0.0, port_value: @PORT:{name}@ }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: {name}
          route_config: {{ virtual_hosts: [ {{ name: all, domains: ["*"], routes: [ {{ match: {{ prefix: / }}, direct_response: {{ status: 200, body: {{ inline_string: {name} }} }} }} ] }} ] }}
          http_filters: [ {{ name: envoy.filters.http.router, typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }} }} ]"#
    )
}

/// A proxy in the zone "here" with these clusters, each at the path of its name.
fn template(clusters: &[(&str, String)]) -> String {
    let routes: String = clusters
        .iter()
        .map(|(name, _)| {
            format!("{{ match: {{ path: /{name} }}, route: {{ cluster: {name} }} }}, ")
        })
        .collect();
    let written: String = clusters
        .iter()
        .map(|(name, rest)| format!("\n  - name: {name}\n{rest}\n"))
        .collect();
    let endpoints = ["a", "b", "c"].map(listener).concat();
    format!(
        r#"
node: {{ id: one, cluster: proxies, locality: {{ zone: here }} }}
cluster_manager: {{ local_cluster_name: home }}
layered_runtime: {{ layers: [ {{ name: admin, admin_layer: {{}} }} ] }}
admin: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: @PORT:admin@ }} }} }}
static_resources:
  listeners:{endpoints}
  - name: main
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: @PORT:listener@ }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: main
          route_config: {{ virtual_hosts: [ {{ name: all, domains: ["*"], routes: [ {routes} ] }} ] }}
          http_filters: [ {{ name: envoy.filters.http.router, typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }} }} ]
  clusters:{written}"#
    )
}

/// A group of so many endpoints at one listener, the last `sick` of which are not well.
fn zone(zone: &str, listener: &str, count: usize, sick: usize) -> String {
    let endpoint = |n: usize| {
        let health = if n >= count - sick {
            "UNHEALTHY"
        } else {
            "HEALTHY"
        };
        let octet = n + 1;
        format!(
            "{{ health_status: {health}, endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.{octet}, port_value: @PORT:{listener}@ }} }} }} }}"
        )
    };
    let endpoints: Vec<String> = (0..count).map(endpoint).collect();
    format!(
        "      - {{ locality: {{ zone: {zone} }}, lb_endpoints: [ {} ] }}\n",
        endpoints.join(", ")
    )
}

fn cluster(name: &str, options: &str, groups: &[String]) -> String {
    let groups = groups.concat();
    format!("    load_assignment:\n      cluster_name: {name}\n      endpoints:\n{groups}{options}")
}

/// Nuncio, and Envoy where it is there.
fn both() -> Vec<Binary> {
    std::iter::once(Binary::nuncio())
        .chain(Binary::envoy())
        .collect()
}

/// How many of so many requests each of the three listeners got.
fn shares(proxy: &Proxy, path: &str, requests: usize) -> [usize; 3] {
    let mut connection = Connection::open(proxy.address("listener"));
    let request = request("GET", path, "", "");
    let bodies: Vec<Vec<u8>> = (0..requests)
        .map(|_| connection.exchange(&request).body)
        .collect();
    let counts = ["a", "b", "c"].map(|name| {
        let of_name = bodies.iter().filter(|body| *body == name.as_bytes());
        of_name.count()
    });
    assert_eq!(counts.iter().sum::<usize>(), requests, "endpoints answer");
    counts
}

const REQUESTS: usize = 1000;

/// Chance is off by less than a hundred in a thousand: six standard deviations at least.
fn assert_near(counts: [usize; 3], expected: [usize; 3], what: &str) {
    let far = counts
        .iter()
        .zip(&expected)
        .any(|(count, expected)| count.abs_diff(*expected) >= 100);
    assert!(!far, "{what}: {counts:?} instead of {expected:?}");
}

#[test]
fn zones_have_the_shares_that_envoy_gives_them() {
    // Half of the proxies are here, so half of the requests are.
    let home = [zone("here", "a", 1, 0), zone("there", "b", 1, 0)];
    let cases: [(&str, Vec<String>, [usize; 3]); 5] = [
        // A quarter of the endpoints is here: half of our requests stay.
        (
            "half",
            vec![zone("here", "a", 2, 0), zone("there", "b", 6, 0)],
            [500, 500, 0],
        ),
        // The rest goes where there is more than is needed there, by how much more.
        (
            "three",
            vec![
                zone("here", "a", 2, 0),
                zone("there", "b", 6, 0),
                zone("elsewhere", "c", 2, 0),
            ],
            [400, 200, 400],
        ),
        (
            "sick",
            vec![zone("here", "a", 4, 3), zone("there", "b", 9, 2)],
            [250, 750, 0],
        ),
        (
            "none_here",
            vec![zone("there", "b", 7, 0), zone("elsewhere", "c", 3, 0)],
            [0, 400, 600],
        ),
        // Nobody here can answer.
        (
            "nobody_here",
            vec![zone("here", "a", 3, 3), zone("there", "b", 9, 0)],
            [0, 1000, 0],
        ),
    ];
    let mut clusters = vec![("home", cluster("home", "", &home))];
    clusters.extend(
        cases
            .iter()
            .map(|(name, groups, _)| (*name, cluster(name, "", groups))),
    );
    for binary in both() {
        let proxy = Proxy::start(&binary, &template(&clusters));
        for (name, _, expected) in &cases {
            let counts = shares(&proxy, &format!("/{name}"), REQUESTS);
            assert_near(counts, *expected, &format!("{name}, {binary:?}"));
        }
    }
}

#[test]
fn runtime_values_count_at_once() {
    let home = [zone("here", "a", 1, 0), zone("there", "b", 1, 0)];
    let sick = [
        zone("here", "a", 1, 0),
        zone("there", "b", 1, 1),
        zone("elsewhere", "c", 1, 1),
    ];
    let stays = [zone("here", "a", 3, 0), zone("there", "b", 3, 0)];
    let forced = [zone("here", "a", 2, 0), zone("there", "b", 8, 0)];
    let force = r#"    load_balancing_policy: { policies: [ { typed_extension_config: { name: p, typed_config: { "@type": type.googleapis.com/envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin, locality_lb_config: { zone_aware_lb_config: { force_local_zone: {} } } } } } ] }"#;
    let clusters = [
        ("home", cluster("home", "", &home)),
        ("sick", cluster("sick", "", &sick)),
        ("stays", cluster("stays", "", &stays)),
        ("forced", cluster("forced", force, &forced)),
    ];
    let proxy = Proxy::start_with(
        &Binary::nuncio(),
        &template(&clusters),
        Setup::for_template(&template(&clusters)).concurrency(1),
    );
    let becomes = |changes: &str, path: &str, expected: [usize; 3]| {
        admin::modify(&proxy, changes);
        eventually(changes, || shares(&proxy, path, 12) == expected);
    };
    assert_eq!(shares(&proxy, "/sick", 12), [4, 4, 4], "a panic");
    becomes("upstream.healthy_panic_threshold=0", "/sick", [12, 0, 0]);
    becomes("upstream.healthy_panic_threshold=", "/sick", [4, 4, 4]);

    assert_eq!(shares(&proxy, "/stays", 12), [12, 0, 0]);
    becomes("upstream.zone_routing.enabled=0", "/stays", [6, 6, 0]);
    becomes("upstream.zone_routing.enabled=", "/stays", [12, 0, 0]);
    becomes(
        "upstream.zone_routing.min_cluster_size=7",
        "/stays",
        [6, 6, 0],
    );
    becomes(
        "upstream.zone_routing.min_cluster_size=",
        "/stays",
        [12, 0, 0],
    );

    let key = "upstream.zone_routing.force_local_zone.min_size";
    assert_eq!(shares(&proxy, "/forced", 12), [12, 0, 0]);
    admin::modify(&proxy, &format!("{key}=3"));
    eventually(key, || shares(&proxy, "/forced", 50)[1] > 0);
    becomes(&format!("{key}="), "/forced", [12, 0, 0]);
}

/// Keeps sessions in a cookie, over the two endpoints at these ports.
fn sessions(ports: [u16; 2]) -> String {
    let endpoints = ports.map(|port| {
        format!(
            "{{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }} }} }}"
        )
    });
    let endpoints = endpoints.join(", ");
    format!(
        r#"
admin: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: @PORT:admin@ }} }} }}
static_resources:
  listeners:
  - name: main
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: @PORT:listener@ }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: main
          route_config: {{ virtual_hosts: [ {{ name: all, domains: ["*"], routes: [ {{ match: {{ prefix: / }}, route: {{ cluster: both }} }} ] }} ] }}
          http_filters:
          - name: envoy.filters.http.stateful_session
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.stateful_session.v3.StatefulSession
              session_state:
                name: envoy.http.stateful_session.cookie
                typed_config:
                  "@type": type.googleapis.com/envoy.extensions.http.stateful_session.cookie.v3.CookieBasedSessionState
                  cookie: {{ name: session, ttl: 600s }}
          - name: envoy.filters.http.router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
  clusters:
  - name: both
    load_assignment: {{ cluster_name: both, endpoints: [ {{ lb_endpoints: [ {endpoints} ] }} ] }}
"#
    )
}

#[test]
fn proxies_of_both_kinds_take_each_others_sessions() {
    let upstream = Proxy::start(
        &Binary::nuncio(),
        &template(&[("home", cluster("home", "", &[zone("here", "a", 1, 0)]))]),
    );
    let template = sessions(["a", "b"].map(|name| upstream.address(name).port()));
    let proxies: Vec<Proxy> = both()
        .iter()
        .map(|binary| Proxy::start(binary, &template))
        .collect();
    let ask = |proxy: &Proxy, field: &str| {
        Connection::open(proxy.address("listener")).exchange(&request("GET", "/", field, ""))
    };
    for from in &proxies {
        // On one connection, and so in one worker, the endpoints take turns.
        let mut connection = Connection::open(from.address("listener"));
        let plain = request("GET", "/", "", "");
        let begun = [connection.exchange(&plain), connection.exchange(&plain)];
        let bodies: Vec<&[u8]> = begun.iter().map(|answer| answer.body.as_slice()).collect();
        assert!(
            bodies == [b"a", b"b"] || bodies == [b"b", b"a"],
            "{bodies:?}"
        );
        for first in &begun {
            let cookie = first.header("set-cookie").unwrap_or_default();
            let (pair, _) = cookie.split_once(';').unwrap_or_default();
            // Fields are shown with their quotes escaped.
            let pair = pair.replace('\\', "");
            for to in &proxies {
                for _ in 0..3 {
                    let again = ask(to, &format!("cookie: {pair}\r\n"));
                    assert_eq!(again.body, first.body, "{cookie}");
                    assert_eq!(again.header("set-cookie"), None);
                }
            }
        }
    }
}

#[test]
fn connections_of_tcp_are_shared_by_weight() {
    let says = |name: &str| {
        format!(
            "\n  - {{ name: {name}, address: {{ socket_address: {{ address: 127.0.0.1, port_value: @PORT:{name}@ }} }}, \
             filter_chains: [ {{ filters: [ {{ name: says, typed_config: {{ \"@type\": \
             type.googleapis.com/envoy.extensions.filters.network.direct_response.v3.Config, \
             response: {{ inline_string: {name} }} }} }} ] }} ] }}"
        )
    };
    let to = |name: &str| {
        format!(
            "\n  - {{ name: {name}, load_assignment: {{ cluster_name: {name}, endpoints: [ {{ lb_endpoints: [ {{ \
             endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: @PORT:{name}@ }} }} }} }} ] }} ] }} }}"
        )
    };
    let (listeners, clusters) = (["a", "b", "c"].map(says), ["a", "b", "c"].map(to));
    let text = format!(
        r#"
admin: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: @PORT:admin@ }} }} }}
static_resources:
  listeners:{}
  - name: main
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: @PORT:listener@ }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.tcp_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: main
          weighted_clusters: {{ clusters: [ {{ name: a, weight: 6 }}, {{ name: b, weight: 3 }}, {{ name: c, weight: 1 }} ] }}
  clusters:{}"#,
        listeners.concat(),
        clusters.concat()
    );
    for binary in both() {
        let proxy = Proxy::start(&binary, &text);
        let mut counts = [0; 3];
        for _ in 0..REQUESTS {
            let mut said = String::new();
            let mut stream = TcpStream::connect(proxy.address("listener")).expect("it listens");
            stream.read_to_string(&mut said).expect("text, and an end");
            let who = ["a", "b", "c"].iter().position(|name| *name == said);
            counts[who.unwrap_or_else(|| panic!("{said:?}"))] += 1;
        }
        assert_near(counts, [600, 300, 100], "connections");
    }
}
