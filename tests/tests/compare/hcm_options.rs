//! Options of the connection manager that most do without.

use nuncio_tests::compare::case::{Case, Group, Step, request};
use nuncio_tests::h2_client::H2Send;
use nuncio_tests::origin::{Act, Reply};

use crate::hcm::{With, group, with};

const GRPC: &str = "Content-Type: application/grpc\r\n";
const SWITCHES: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                        Upgrade: websocket\r\n\r\n";

/// `proxy_status_config`.
pub(crate) fn proxy_status() -> Group {
    let listeners = [
        with("listener", "proxy_status_config: {}"),
        with(
            "named",
            "internal_address_config: { cidr_ranges: [{ address_prefix: 127.0.0.1, prefix_len: 32 }] }
server_name: the-server\nproxy_status_config: { literal_proxy_name: edge, set_recommended_response_code: true }",
        ),
        with(
            "node",
            "proxy_status_config: { use_node_id: true, remove_details: true }",
        ),
        with(
            "server",
            "server_name: the-server\nproxy_status_config: { use_node_id: false, remove_response_flags: true, remove_connection_termination_details: true }",
        ),
        with(
            "local",
            "request_timeout: 0.1s
proxy_status_config: { set_recommended_response_code: true }
local_reply_config:
  mappers:
  - filter: { status_code_filter: { comparison: { op: GE, value: { default_value: 400, runtime_key: a } } } }
    headers_to_add: [{ header: { key: x-status, value: '%RESPONSE_CODE%' } }]",
        ),
    ];
    let mut cases = Vec::new();
    for listener in listeners.iter().map(|listener| listener.name) {
        let case = |what: &str, case: Case| {
            let mut case = case.at(listener);
            case.name = format!("{listener}, {what}");
            case
        };
        cases.extend([
            case("served", Case::get("", "/up", "")),
            case(
                "another proxy's word",
                Case::get("", "/up", "").reply_bytes("HTTP/1.1 502 Bad Gateway\r\nProxy-Status: other; error=dns_error\r\nContent-Length: 0\r\n\r\n"),
            ),
            case("refused", Case::get("", "/refused", "")),
            case("direct", Case::get("", "/direct", "")),
            case("gRPC", Case::request("", "POST", "/refused", GRPC, "")),
            case("HTTP/2", Case::http2("", H2Send::new("GET", "/refused"))),
            case(
                "no answer",
                Case::request("", "POST", "/up", "Content-Length: 1\r\n", "a")
                    .reply(Reply::nothing().then(Act::Close)),
            ),
            case(
                "a broken answer",
                Case::get("", "/up", "").reply_bytes("HTTP/1.1 999999 OK\r\n: \r\n\r\n"),
            ),
            case(
                "no host",
                Case::http1("", "GET / HTTP/1.1\r\n\r\n"),
            ),
            case("no request", Case::http1("", "JUNK\r\n\r\n")),
        ]);
    }
    cases.push(
        Case::steps(
            "a request that takes too long",
            vec![
                Step::Send(request("POST", "/up", "Content-Length: 5\r\n", "a")),
                Step::Receive { to_head: false },
            ],
        )
        .at("local"),
    );
    cases.push(
        Case::get(
            "another status than that of a head without content",
            "/up",
            "x-envoy-upstream-rq-timeout-alt-response: 1\r\nx-envoy-upstream-rq-timeout-ms: 50\r\n",
        )
        .reply(Reply::nothing().then(Act::Hang))
        .at("named"),
    );
    group("proxy status", &listeners, cases)
}

/// `early_header_mutation_extensions` and `ignore_http_11_upgrade`.
pub(crate) fn early() -> Group {
    let listeners = [
        with(
            "listener",
            "use_remote_address: true
early_header_mutation_extensions:
- name: first
  typed_config:
    '@type': type.googleapis.com/envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation
    mutations:
    - remove: x-gone
    - append: { header: { key: x-early, value: 'a %REQ(x-in)%' } }
    - append: { header: { key: x-seen, value: '%REQ(x-early)%' } }
    - append: { header: { key: x-once, value: new }, append_action: ADD_IF_ABSENT }
    - append: { header: { key: x-over, value: new }, append_action: OVERWRITE_IF_EXISTS_OR_ADD }
    - append: { header: { key: x-forwarded-for, value: 1.1.1.1 } }
    - append: { header: { key: x-request-id, value: mine }, append_action: OVERWRITE_IF_EXISTS_OR_ADD }
    - remove_on_match: { key_matcher: { prefix: x-internal- } }
- name: second
  typed_config:
    '@type': type.googleapis.com/envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation
    mutations:
    - append: { header: { key: x-early, value: second } }",
        ),
        with(
            "ignores",
            "upgrade_configs: [{ upgrade_type: websocket }, { upgrade_type: other }]
http_protocol_options: { ignore_http_11_upgrade: [{ prefix: TLS }, { exact: other }] }",
        ),
    ];
    let head = "x-gone: 1\r\nx-in: 2\r\nx-once: old\r\nx-over: old\r\nX-Over: older\r\nx-internal-a: 1\r\nx-internal: 2\r\n";
    let upgrade = |protocol: &str| {
        format!("Connection: Upgrade, x-hop\r\nx-hop: 1\r\nUpgrade: {protocol}\r\n")
    };
    let mut cases = vec![
        Case::get("changes", "/up", head),
        Case::get("no fields", "/up", ""),
        Case::http2("HTTP/2", H2Send::new("GET", "/up").header("x-in", "3")),
        Case::get("a forwarded address", "/up", "X-Forwarded-For: 9.9.9.9\r\n"),
    ];
    for protocol in [
        "TLS/1.0",
        "tls/1.0",
        "other",
        "h2c",
        "TLS/1.0, other",
        "unknown",
    ] {
        cases.push(
            Case::get(&format!("upgrade to {protocol}"), "/up", &upgrade(protocol)).at("ignores"),
        );
    }
    cases.push(
        Case::steps(
            "another upgrade",
            vec![
                Step::Send(request("GET", "/up", &upgrade("websocket"), "")),
                Step::ReceiveInterim,
                Step::HalfClose,
                Step::ReceiveToEnd,
            ],
        )
        .reply(Reply::bytes(SWITCHES).at_head().then(Act::Echo))
        .at("ignores"),
    );
    group("early", &listeners, cases)
}

/// `access_log_options`, by the types of the entries.
pub(crate) fn log_entries() -> Group {
    let start = "access_log_options: { flush_access_log_on_new_request: true }";
    let tunnel = "upgrade_configs: [{ upgrade_type: websocket }]
access_log_options: { flush_log_on_tunnel_successfully_established: true }";
    let interval = "access_log_options: { access_log_flush_interval: 0.1s }";
    let listeners = [
        with("listener", start),
        with("older", "flush_access_log_on_new_request: true"),
        with("tunnels", tunnel),
        with("interval", interval),
        With {
            log_filter: "filter: { log_type_filter: { types: [DownstreamStart] } }",
            ..with("filtered", start)
        },
    ];
    let cases = vec![
        Case::get("a request", "/up", ""),
        Case::get("one that is answered here", "/direct", ""),
        Case::get("one without an upstream", "/refused", ""),
        Case::http1("one that is none", "JUNK\r\n\r\n"),
        Case::http1("one without a host", "GET / HTTP/1.1\r\n\r\n"),
        Case::get("the older field", "/up", "").at("older"),
        Case::get("of the start alone", "/up", "").at("filtered"),
        Case::get("no tunnel", "/up", "").at("tunnels"),
        Case::steps(
            "a tunnel",
            vec![
                Step::Send(request(
                    "GET",
                    "/up",
                    "Connection: Upgrade\r\nUpgrade: websocket\r\n",
                    "",
                )),
                Step::ReceiveInterim,
                Step::HalfClose,
                Step::ReceiveToEnd,
            ],
        )
        .reply(Reply::bytes(SWITCHES).at_head().then(Act::Echo))
        .at("tunnels"),
        Case::steps(
            "a request that lasts",
            vec![
                Step::Send(request("GET", "/up", "", "")),
                Step::WaitForUpstream,
                Step::WaitForLog("attempts 1"),
                Step::OpenGate,
                Step::Receive { to_head: false },
            ],
        )
        .gated(|gate| {
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec();
            Reply::nothing()
                .then(Act::Wait(gate))
                .then(Act::Send(answer))
        })
        .at("interval"),
    ];
    let mut group = group("log entries", &listeners, cases);
    group.template = group.template.replace(
        "%DOWNSTREAM_DIRECT_REMOTE_PORT% ",
        "%DOWNSTREAM_DIRECT_REMOTE_PORT% %ACCESS_LOG_TYPE% ",
    );
    group
}

/// `forward_reason_phrase`, of upstreams that speak HTTP/1.
pub(crate) fn reasons() -> Group {
    let listeners = [
        with("listener", ""),
        with(
            "kept",
            "http_protocol_options: { header_key_format: { stateful_formatter: { name: x, typed_config: { '@type': type.googleapis.com/envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig } } } }",
        ),
    ];
    let mut cases = Vec::new();
    for listener in ["listener", "kept"] {
        for path in ["/reasons", "/kept", "/up"] {
            for line in [
                "200 Fine By Me",
                "200 ",
                "200",
                "404 Nothing  here!",
                "599 Odd",
                "200 \u{e9}t\u{e9}",
            ] {
                let reply = format!("HTTP/1.1 {line}\r\nX-A: 1\r\nContent-Length: 2\r\n\r\nok");
                cases.push(
                    Case::get(&format!("{listener} {path} {line}"), path, "X-B: 1\r\n")
                        .at(listener)
                        .reply_bytes(reply),
                );
            }
        }
    }
    let mut group = group("reasons", &listeners, cases);
    group.template = group.template.replace(
        "              - match: { prefix: / }\n                name: up\n",
        "              - match: { prefix: /reasons }\n                route: { cluster: reasons }\n              - match: { prefix: / }\n                name: up\n",
    );
    group.template.push_str(
        "  - name: reasons
    type: STATIC
    connect_timeout: 1s
    load_assignment: *origin
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config:
          http_protocol_options:
            header_key_format:
              stateful_formatter:
                name: preserve_case
                typed_config: { \"@type\": type.googleapis.com/envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig, forward_reason_phrase: true }
",
    );
    group
}
