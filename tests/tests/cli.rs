//! The command line: what is printed, where errors point, and exit codes.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use nuncio_tests::admin;
use nuncio_tests::config::{Config, cluster};
use nuncio_tests::process::{Binary, Directory, Proxy, Ran, Setup};

const ENVOY: &str = include_str!("../fixtures/mission/envoy.yaml");

fn nuncio<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Ran {
    Ran::nuncio(arguments)
}

/// `--mode validate` of a text in a file of that name.
fn validate(name: &str, text: &str) -> Ran {
    let directory = Directory::create();
    let path = directory.write(name, text);
    nuncio([
        OsStr::new("--mode"),
        OsStr::new("validate"),
        OsStr::new("-c"),
        path.as_os_str(),
    ])
}

/// The document's configuration with one change.
fn changed(from: &str, to: &str) -> String {
    assert!(ENVOY.contains(from), "{from:?} is in the fixture");
    ENVOY.replacen(from, to, 1)
}

#[test]
fn version_and_help_go_to_stdout() {
    let version = nuncio(["--version"]);
    assert_eq!(version.code, Some(0));
    assert!(version.stdout.starts_with("nuncio "), "{}", version.stdout);
    let help = nuncio(["--help"]);
    assert_eq!(help.code, Some(0));
    for flag in [
        "--config-path",
        "--config-yaml",
        "--mode",
        "--concurrency",
        "--log-level",
        "--component-log-level",
        "--log-format",
        "--drain-time-s",
        "--service-node",
        "--service-cluster",
        "--version",
    ] {
        assert!(help.stdout.contains(flag), "{flag} is not in the help");
    }
}

#[test]
fn a_good_file_is_reported_with_its_path() {
    let directory = Directory::create();
    let path = directory.write("envoy.yaml", ENVOY);
    let path = path.to_str().unwrap();
    for flag in ["-c", "--config-path"] {
        let ran = nuncio(["--mode", "validate", flag, path]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        assert_eq!(ran.stdout, format!("configuration '{path}' OK\n"));
    }
}

#[test]
fn a_typo_is_shown_where_it_stands() {
    let ran = validate("typo.yaml", &changed("connect_timeout", "conect_timeout"));
    assert_eq!(ran.code, Some(1));
    assert!(ran.stdout.is_empty(), "{}", ran.stdout);
    ran.says("typo.yaml:31:5");
    ran.says("static_resources.clusters[0]");
    ran.says("conect_timeout: 0.25s");
    ran.says("connect_timeout");
    ran.says("^");
}

#[test]
fn all_errors_are_reported_at_once() {
    let text = changed("connect_timeout: 0.25s", "connect_timeout: 250ms")
        .replace("lb_policy: ROUND_ROBIN", "lb_policy: ROUND_ROBBIN")
        .replace("cluster: backend_service", "cluster: backend_servce");
    let ran = validate("three.yaml", &text);
    assert_eq!(ran.code, Some(1));
    for place in ["three.yaml:23:", "three.yaml:31:", "three.yaml:32:"] {
        ran.says(place);
    }
}

#[test]
fn what_would_be_ignored_is_an_error() {
    let duplicate = changed(
        "    lb_policy: ROUND_ROBIN",
        "    type: STATIC\n    lb_policy: ROUND_ROBIN",
    );
    assert_eq!(validate("duplicate.yaml", &duplicate).code, Some(1));
    let second = format!("{ENVOY}---\nstatic_resources: {{}}\n");
    assert_eq!(validate("second.yaml", &second).code, Some(1));
    let later = changed(
        "    lb_policy: ROUND_ROBIN",
        "    lb_policy: ROUND_ROBIN\n    lrs_server: { self: {} }",
    );
    let ran = validate("later.yaml", &later);
    assert_eq!(ran.code, Some(1));
    ran.says("not supported by nuncio");
    ran.says("later.yaml:33:5");
}

/// What control planes write, as static resources: Envoy 1.40 takes these files too.
#[test]
fn files_of_control_planes_are_taken() {
    for (name, text) in [
        ("istio.yaml", include_str!("../fixtures/planes/istio.yaml")),
        (
            "contour.yaml",
            include_str!("../fixtures/planes/contour.yaml"),
        ),
        (
            "emissary.yaml",
            include_str!("../fixtures/planes/emissary.yaml"),
        ),
        ("gloo.yaml", include_str!("../fixtures/planes/gloo.yaml")),
        (
            "consul.yaml",
            include_str!("../fixtures/planes/consul.yaml"),
        ),
        (
            "appmesh.yaml",
            include_str!("../fixtures/planes/appmesh.yaml"),
        ),
    ] {
        let ran = validate(name, text);
        assert_eq!(ran.code, Some(0), "{name}: {}", ran.stderr);
    }
}

/// A file, whether it is refused, and what is said about it.
type Said = (String, i32, &'static str);

/// Fields of the process.
fn of_the_process() -> Vec<Said> {
    let top = |fields: &str| format!("{fields}\n{ENVOY}");
    vec![
        (
            top("header_prefix: x-foo"),
            1,
            "begin with anything but 'x-envoy'",
        ),
        (top("header_prefix: x-envoy"), 0, ""),
        (
            top("stats_flush_interval: 5s\nstats_flush_on_admin: true"),
            1,
            "'stats_flush_interval' and 'stats_flush_on_admin' exclude each other",
        ),
        (
            top("watchdogs: { worker_watchdog: { kill_timeout: 1s } }"),
            0,
            "does not kill itself",
        ),
        (top("watchdog: { miss_timeout: 1s }"), 0, ""),
        (top("admin: { access_log_path: /dev/null }"), 0, ""),
        (
            top("admin: { access_log_path: /tmp/admin.log }"),
            0,
            "no access log of the admin pages",
        ),
        (
            top("stats_config: { stats_tags: [ { tag_name: a, fixed_value: b } ] }"),
            0,
            "",
        ),
        (
            top("stats_config: { stats_tags: [ { tag_name: a } ] }"),
            1,
            "'a' needs a 'regex': it is none of Envoy's own tags",
        ),
        (
            top("stats_config: { stats_tags: [ { tag_name: a, regex: '(?=a)' } ] }"),
            1,
            "compile the expression",
        ),
        (
            top(
                "stats_config: { use_all_default_tags: false, stats_tags: [ { tag_name: envoy.route } ] }",
            ),
            0,
            "",
        ),
    ]
}

/// Fields of the router, of routes and of clusters.
fn of_its_parts() -> Vec<Said> {
    let router = "\"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
    let route = "                route:\n                  cluster: backend_service";
    let policy = "    lb_policy: ROUND_ROBIN";
    let typed = "    typed_extension_protocol_options: { envoy.extensions.upstreams.http.v3.HttpProtocolOptions: { \
                 \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, \
                 common_http_protocol_options: { max_requests_per_connection: 1 }, \
                 explicit_http_config: { http_protocol_options: {} } } }\n";
    let in_router = |field: &str| changed(router, &format!("{router}\n              {field}"));
    let in_route = |field: &str| changed(route, &format!("{route}\n                  {field}"));
    let in_cluster = |fields: &str| changed(policy, &format!("{fields}{policy}"));
    vec![
        (
            in_router("strict_check_headers: [ x-nobody ]"),
            1,
            "'x-nobody' cannot be checked",
        ),
        (
            in_router("dynamic_stats: false"),
            0,
            "counted by their status in any case",
        ),
        (
            in_route("hedge_policy: { initial_requests: 2 }"),
            0,
            "initial_requests",
        ),
        (in_route("hedge_policy: { initial_requests: 1 }"), 0, ""),
        (
            changed(
                "- name: envoy.filters.http.router",
                "- { name: a, is_optional: true, typed_config: { \"@type\": \
                 type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua } }\n          \
                 - { name: b, is_optional: true }\n          - name: envoy.filters.http.router",
            ),
            0,
            "'envoy.extensions.filters.http.lua.v3.Lua' is not supported, and passed over",
        ),
        (
            changed(
                "stat_prefix: ingress_http",
                "stat_prefix: a\n          tracing: {}",
            ),
            0,
            "",
        ),
        (
            changed(
                "stat_prefix: ingress_http",
                "stat_prefix: a\n          tracing: { provider: { name: envoy.tracers.zipkin } }",
            ),
            1,
            "leave it out to run without traces",
        ),
        (
            in_route("rate_limits: [ { actions: [ { remote_address: {} } ] } ]"),
            1,
            "descriptors of rate limits",
        ),
        (in_route("rate_limits: []"), 0, ""),
        (
            in_cluster("    http_protocol_options: {}\n    http2_protocol_options: {}\n"),
            1,
            "exclude each other without 'USE_DOWNSTREAM_PROTOCOL'",
        ),
        (
            in_cluster(&format!("{typed}    max_requests_per_connection: 2\n")),
            1,
            "not in both",
        ),
        (
            in_cluster(&format!("{typed}    common_http_protocol_options: {{}}\n")),
            0,
            "'typed_extension_protocol_options' counts alone",
        ),
    ]
}

#[test]
fn what_has_no_effect_is_said_and_what_would_have_one_is_an_error() {
    for (text, code, says) in of_the_process().into_iter().chain(of_its_parts()) {
        let ran = validate("file.yaml", &text);
        assert_eq!(ran.code, Some(code), "{says}: {}", ran.stderr);
        if says.is_empty() {
            assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
        } else {
            ran.says(says);
        }
    }
}

#[test]
fn layers_of_runtime_values_are_checked() {
    let layers = "layered_runtime:\n  layers:\n  \
                  - { name: one, static_layer: { a: [1], b: { c: null } } }\n  \
                  - { name: one, admin_layer: {} }\n  \
                  - { name: two, admin_layer: {} }\n";
    let ran = validate("layers.yaml", &format!("{layers}{ENVOY}"));
    assert_eq!(ran.code, Some(1));
    for line in 3..=5 {
        ran.says(&format!("layers.yaml:{line}:"));
    }
    ran.says("runtime key \"a\" has neither a scalar nor a fraction");
    ran.says("runtime key \"b.c\" has neither a scalar nor a fraction");
    ran.says("another layer has the name \"one\"");
    ran.says("there may be one admin layer, and this is another");
}

#[test]
fn runtime_values_that_nobody_reads_are_told() {
    let values = "upstream.use_retry: 50, envoy.reloadable_features.x: false, split: { a: 1 }";
    let layers = format!(
        "layered_runtime: {{ layers: [ {{ name: one, static_layer: {{ {values} }} }} ] }}\n"
    );
    let ran = validate("unread.yaml", &format!("{layers}{ENVOY}"));
    assert_eq!(ran.code, Some(0));
    ran.says("no effect: nothing here reads the runtime value of \"envoy.reloadable_features.x\", \"split.a\"\n");
}

/// Fields of clusters with something wrong about how requests name their endpoints, where that is, and what is
/// said of it.
fn wrong_destinations(
    provided: &str,
    own: &str,
    random: &str,
) -> Vec<(String, &'static str, &'static str)> {
    vec![
        (
            "type: ORIGINAL_DST".to_owned(),
            "lb_policy",
            "needs 'lb_policy: CLUSTER_PROVIDED'",
        ),
        (
            format!("type: ORIGINAL_DST, {own}"),
            "lb_policy",
            "needs 'lb_policy: CLUSTER_PROVIDED'",
        ),
        (
            format!("{provided}, load_assignment: {{ cluster_name: c }}"),
            "load_assignment",
            "has no endpoints of its own",
        ),
        (
            format!("{provided}, original_dst_lb_config: {{ http_header_name: a }}"),
            "original_dst_lb_config.http_header_name",
            "without 'use_http_header'",
        ),
        (
            format!(
                "{provided}, original_dst_lb_config: \
                 {{ use_http_header: true, http_header_name: 'a b' }}"
            ),
            "original_dst_lb_config.http_header_name",
            "is not the name of a field",
        ),
        (
            format!(
                "{provided}, original_dst_lb_config: \
                 {{ metadata_key: {{ key: a, path: [ {{ key: b }}, {{ key: c }} ] }} }}"
            ),
            "original_dst_lb_config.metadata_key.path",
            "a path of several keys",
        ),
        (
            format!("{provided}, lb_subset_config: {{ subset_selectors: [ {{ keys: [a] }} ] }}"),
            "lb_subset_config",
            "there are no subsets",
        ),
        (
            format!("{provided}, {random}"),
            "load_balancing_policy",
            "has no policy but its own",
        ),
        (
            "lb_policy: CLUSTER_PROVIDED".to_owned(),
            "lb_policy",
            "only the type ORIGINAL_DST",
        ),
        (own.to_owned(), "typed_config", "only the type ORIGINAL_DST"),
    ]
}

#[test]
fn endpoints_choose_a_protocol_only_in_a_handshake() {
    let tls = "{ name: t, typed_config: { '@type': \
        type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext } }";
    let clear = "{ name: r, typed_config: { '@type': \
        type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer } }";
    let matches = |socket: &str| {
        format!(
            "transport_socket_matches: [ {{ name: m, match: {{ a: b }}, \
             transport_socket: {socket} }} ]"
        )
    };
    let cluster = |fields: &str| {
        let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
        let text = format!(
            "static_resources:\n  clusters:\n  - name: c\n    typed_extension_protocol_options:\n      \
             {options}: {{ '@type': type.googleapis.com/{options}, auto_config: {{}} }}\n{fields}\n"
        );
        validate("cluster.yaml", &text)
    };
    let socket = format!("    transport_socket: {tls}");
    for fields in [&socket, &format!("{socket}\n    {}", matches(tls))] {
        let ran = cluster(fields);
        assert_eq!(ran.code, Some(0), "{fields}: {}", ran.stderr);
    }
    for fields in [
        String::new(),
        format!("    {}", matches(tls)),
        format!("{socket}\n    {}", matches(clear)),
    ] {
        let ran = cluster(&fields);
        assert_eq!(ran.code, Some(1), "{fields}: {}", ran.stderr);
        ran.says("cluster.yaml:5:");
        ran.says("auto_config");
        ran.says("not all of these are reached over TLS");
        ran.says("hint: give the cluster");
    }
}

#[test]
fn clusters_whose_endpoints_requests_name_are_checked() {
    let cluster = |fields: &str| {
        let text = format!("static_resources: {{ clusters: [ {{ name: c, {fields} }} ] }}\n");
        validate("cluster.yaml", &text)
    };
    let provided = "type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED";
    let policy = |name: &str, message: &str| {
        let url = format!(
            "type.googleapis.com/envoy.extensions.load_balancing_policies.{name}.v3.{message}"
        );
        format!(
            "load_balancing_policy: {{ policies: [ {{ typed_extension_config: {{ name: p, \
             typed_config: {{ '@type': {url} }} }} }} ] }}"
        )
    };
    let own = policy("cluster_provided", "ClusterProvided");
    assert_eq!(cluster(provided).code, Some(0));
    assert_eq!(cluster(&format!("{provided}, {own}")).code, Some(0));
    for (fields, place, says) in wrong_destinations(provided, &own, &policy("random", "Random")) {
        let ran = cluster(&fields);
        assert_eq!(ran.code, Some(1), "{fields}: {}", ran.stderr);
        ran.says(place);
        ran.says(says);
    }
    for (fields, says) in [
        (
            "cleanup_interval: 1s",
            "only endpoints of an ORIGINAL_DST cluster",
        ),
        (
            "original_dst_lb_config: {}",
            "those of the type ORIGINAL_DST",
        ),
    ] {
        let ran = cluster(fields);
        assert_eq!(ran.code, Some(0), "{fields}: {}", ran.stderr);
        ran.says(says);
    }
}

#[test]
fn policies_within_policies_are_checked() {
    let policies =
        |inner: &str| format!("{{ policies: [ {{ typed_extension_config: {inner} }} ] }}");
    let policy = |name: &str, message: &str, fields: &str| {
        let url = format!(
            "type.googleapis.com/envoy.extensions.load_balancing_policies.{name}.v3.{message}"
        );
        format!("{{ name: p, typed_config: {{ '@type': {url}, {fields} }} }}")
    };
    let turns = policies(&policy("round_robin", "RoundRobin", ""));
    let subset = |inner: &str| {
        let fields = "subset_selectors: [ { keys: [a] } ]";
        policies(&policy(
            "subset",
            "Subset",
            &format!("{fields}, subset_lb_policy: {inner}"),
        ))
    };
    let named = |sources: &str, inner: &str| {
        let fields = format!("override_host_sources: [ {sources} ], fallback_policy: {inner}");
        policies(&policy("override_host", "OverrideHost", &fields))
    };
    let cluster = |policy: &str| {
        let text = format!(
            "static_resources: {{ clusters: [ {{ name: c, load_balancing_policy: {policy} }} ] }}\n"
        );
        validate("cluster.yaml", &text)
    };
    let good = cluster(&named("{ header: a }", &subset(&turns)));
    assert_eq!(good.code, Some(0), "{}", good.stderr);
    for (policy, says) in [
        (subset(&subset(&turns)), "subsets within subsets"),
        (
            subset(&named("{ header: a }", &turns)),
            "'override_host' within subsets",
        ),
        (
            policies(&policy(
                "subset",
                "Subset",
                "subset_selectors: [ { keys: [a] } ]",
            )),
            "a policy within the subsets is needed",
        ),
        (
            named("{}", &turns),
            "one of 'header' and 'metadata' must be set",
        ),
        (
            named(
                "{ header: a, metadata: { key: a, path: [ { key: b } ] } }",
                &turns,
            ),
            "one of 'header' and 'metadata' must be set",
        ),
        (
            named("{ header: 'a b' }", &turns),
            "is not the name of a field",
        ),
        (
            named("{ header: a }", "{ policies: [] }"),
            "there is no policy in this list",
        ),
    ] {
        let ran = cluster(&policy);
        assert_eq!(ran.code, Some(1), "{policy}: {}", ran.stderr);
        ran.says(says);
    }
    let twice = cluster(&named("{ header: a }", &named("{ header: b }", &turns)));
    assert_eq!(twice.code, Some(0), "{}", twice.stderr);
    twice.says("the policy around this one");
}

#[test]
fn drops_for_overload_are_checked() {
    let cluster = |drops: &str| {
        let text = format!(
            "static_resources: {{ clusters: [ {{ name: c, load_assignment: {{ cluster_name: c, \
             policy: {{ drop_overloads: [ {drops} ] }} }} }} ] }}\n"
        );
        validate("cluster.yaml", &text)
    };
    let one = "{ category: a, drop_percentage: { numerator: 100 } }";
    assert_eq!(cluster(one).code, Some(0));
    for (drops, says) in [
        (format!("{one}, {one}"), "there is one entry at most"),
        (
            "{ category: a, drop_percentage: { numerator: 101 } }".to_owned(),
            "more than all of them, which are 100",
        ),
    ] {
        let ran = cluster(&drops);
        assert_eq!(ran.code, Some(1), "{}", ran.stderr);
        ran.says(says);
    }
}

#[test]
fn both_spellings_of_field_names_are_accepted() {
    let text = ENVOY
        .replace("static_resources", "staticResources")
        .replace("filter_chains", "filterChains")
        .replace("route_config", "routeConfig")
        .replace("load_assignment", "loadAssignment")
        .replace("connect_timeout", "connectTimeout");
    let ran = validate("camel.yaml", &text);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let ran = nuncio(["-c", "/nowhere/at-all.yaml"]);
    assert_eq!(ran.code, Some(1));
    ran.says("/nowhere/at-all.yaml");
}

#[test]
fn yaml_that_is_broken_is_shown_where_it_breaks() {
    let ran = validate("broken.yaml", "static_resources:\n  listeners: [\n  - }\n");
    assert_eq!(ran.code, Some(1));
    ran.says("broken.yaml:3:");
}

#[test]
fn what_is_broken_is_shown_where_the_mistake_is() {
    for (name, text, message) in [
        (
            "tab.yaml",
            "static_resources:\n  clusters:\n  - name: c\n\n\tconnect_timeout: 1s\n",
            "tab.yaml:5:1: error: YAML does not allow a tab in the indentation",
        ),
        (
            "comma.json",
            "{\n  \"static_resources\": {\n    \"clusters\": []\n    \"listeners\": []\n  }\n}\n",
            "comma.json:4:5: error: not valid JSON: expected `,` or `}`\n",
        ),
    ] {
        let ran = validate(name, text);
        assert_eq!(ran.code, Some(1));
        ran.says(message);
    }
}

#[test]
fn the_flags_are_shown_while_it_runs() {
    let text = Config::new().text();
    let setup = Setup::for_template(&text).arguments(&["-l", "error", "--service-node", "n1"]);
    let proxy = Proxy::start_with(&Binary::nuncio(), &text, setup);
    let page = admin::page(&proxy, "/server_info");
    for part in [
        "proxy.yaml\"",
        "\"log_level\": \"error\"",
        "\"service_node\": \"n1\"",
        "\"mode\": \"Serve\"",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    assert!(page.ends_with("}\n"));
}

#[test]
fn a_mistake_is_told_once() {
    let ran = nuncio(["-c", "/nowhere/at-all.yaml"]);
    assert_eq!(
        ran.stderr.matches("at-all.yaml").count(),
        1,
        "{}",
        ran.stderr
    );
    let context = "transport_socket: { name: envoy.transport_sockets.tls, typed_config: { \"@type\": \
                   type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext, \
                   common_tls_context: { tls_certificates: [ { certificate_chain: { filename: /nowhere/a.pem }, \
                   private_key: { filename: /nowhere/a.key } } ] } } }";
    let text = Config::new().chain(context).text();
    let text = ["admin", "listener", "origin"]
        .iter()
        .fold(text, |text, port| {
            text.replace(&format!("@PORT:{port}@"), "1")
        });
    let ran = validate("missing.yaml", &text);
    let said = "read \"/nowhere/a.pem\": No such file or directory (os error 2)\n";
    assert_eq!(ran.stderr.matches(said).count(), 1, "{}", ran.stderr);
}

#[test]
fn a_name_that_cannot_be_resolved_is_a_warning() {
    for (address, is_name) in [
        ("http://backend", false),
        ("backend:80", false),
        ("::1", true),
        ("backend", true),
    ] {
        let endpoint = format!(
            "{{ endpoint: {{ address: {{ socket_address: {{ address: {address:?}, port_value: 80 }} }} }} }}"
        );
        let text = Config::new().cluster(cluster("c", &[endpoint], ", type: STRICT_DNS"));
        let text = ["admin", "listener"]
            .iter()
            .fold(text.text(), |text, port| {
                text.replace(&format!("@PORT:{port}@"), "1")
            });
        let text = text.replace("cluster: origin", "cluster: c");
        let ran = validate("name.yaml", &text);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let warning = format!("\"{address}\" is no name that can be resolved");
        assert_eq!(!ran.stderr.contains(&warning), is_name, "{}", ran.stderr);
    }
}

/// Each operator that no stream has a value for is told once at each of its places, wherever a format stands.
#[test]
fn operators_without_a_value_are_told_wherever_they_stand() {
    const TEXT: &str = r#"
static_resources:
  listeners:
  - name: main
    address: { socket_address: { address: 127.0.0.1, port_value: 1 } }
    filter_chains:
    - filters:
      - name: manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: main
          local_reply_config:
            body_format: { text_format: "%TRACE_ID%" }
            mappers:
            - filter: { status_code_filter: { comparison: { op: EQ, value: { default_value: 404, runtime_key: k } } } }
              headers_to_add: [ { header: { key: x-a, value: "%SPAN_ID%" } } ]
              body_format_override: { json_format: { a: "%TLS_JA3_FINGERPRINT%" } }
          early_header_mutation_extensions:
          - name: early
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation
              mutations: [ { append: { header: { key: x-a, value: "%UPSTREAM_LOCAL_CLOSE_REASON%" } } } ]
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              request_headers_to_add: [ { header: { key: x-a, value: "a%ROUNDTRIP_DURATION%b%PROTOCOL%" } } ]
              routes:
              - match: { prefix: / }
                direct_response: { status: 200 }
                response_headers_to_add: [ { header: { key: x-a, value: "%TLS_JA4_FINGERPRINT%" } } ]
                typed_per_filter_config:
                  changes:
                    "@type": type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute
                    mutations: { request_mutations: [ { append: { header: { key: x-a, value: "%DOWNSTREAM_HANDSHAKE_DURATION%" } } } ] }
          http_filters:
          - name: changes
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation
              mutations: { response_mutations: [ { append: { header: { key: x-a, value: "%DOWNSTREAM_TLS_SESSION_ID%" } } } ] }
          - name: router
            typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
"#;
    let ran = validate("without-value.yaml", TEXT);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    for name in [
        "TRACE_ID",
        "SPAN_ID",
        "TLS_JA3_FINGERPRINT",
        "UPSTREAM_LOCAL_CLOSE_REASON",
        "ROUNDTRIP_DURATION",
        "TLS_JA4_FINGERPRINT",
        "DOWNSTREAM_HANDSHAKE_DURATION",
        "DOWNSTREAM_TLS_SESSION_ID",
    ] {
        let says = format!("'%{name}%' has no value here");
        let told = ran.stderr.matches(&says).count();
        assert_eq!(told, 1, "{name}: {}", ran.stderr);
    }
    assert!(!ran.stderr.contains("'%PROTOCOL%'"), "{}", ran.stderr);
}

#[test]
fn a_configuration_can_be_given_inline() {
    let ran = nuncio(["--mode", "validate", "--config-yaml", ENVOY]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}

#[test]
fn mistakes_on_the_command_line_are_usage_errors() {
    for arguments in [
        &["--no-such-flag"][..],
        &["--mode", "dance", "-c", "x.yaml"],
        &["--concurrency", "many", "-c", "x.yaml"],
        &["--log-level", "loud", "-c", "x.yaml"],
        &["--component-log-level", "nobody:debug", "-c", "x.yaml"],
        &["--log-format", "%Q", "-c", "x.yaml"],
        &["--base-id", "1", "-c", "x.yaml"],
        &[],
    ] {
        let ran = nuncio(arguments);
        assert_eq!(ran.code, Some(2), "{arguments:?}: {}", ran.stderr);
        assert!(!ran.stderr.is_empty(), "{arguments:?} got no message");
        assert!(
            !ran.stderr.contains("panicked"),
            "{arguments:?}: {}",
            ran.stderr
        );
    }
}

#[test]
fn the_limit_on_open_files_is_raised() {
    let nuncio = Binary::nuncio().command(["--config-yaml", "{}"]);
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "ulimit -Sn 200 && exec \"$0\" \"$@\""])
        .arg(nuncio.get_program())
        .args(nuncio.get_args())
        .stderr(Stdio::piped());
    let mut child = shell.spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let wanted = "raised the limit on open files from 200 to ";
    let said = lines.map(Result::unwrap).any(|line| line.contains(wanted));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(said, "{wanted}");
}

#[test]
fn what_unix_sockets_cannot_be_told() {
    let long = format!("address: {{ pipe: {{ path: /{} }} }}", "x".repeat(107));
    for (fields, code, says) in [
        (&*long, 1, "error: longer than 107 bytes"),
        (
            "address: { pipe: { path: \"@a\", mode: 384 } }",
            1,
            "error: a name in the abstract namespace has no file",
        ),
        (
            "address: { pipe: { path: /a } }, enable_mptcp: true",
            1,
            "error: a Unix socket does not speak MPTCP",
        ),
        (
            "address: { pipe: { path: /a } }, freebind: true",
            0,
            "warning: 'freebind' has no effect on a Unix socket",
        ),
    ] {
        let echo = "\"@type\": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo";
        let chain = format!("{{ filters: [{{ name: echo, typed_config: {{ {echo} }} }}] }}");
        let listener = format!("{{ name: a, {fields}, filter_chains: [{chain}] }}");
        let text = format!("static_resources: {{ listeners: [{listener}] }}\n");
        let ran = validate("unix.yaml", &text);
        assert_eq!(ran.code, Some(code), "{}", ran.stderr);
        ran.says(says);
    }
}
