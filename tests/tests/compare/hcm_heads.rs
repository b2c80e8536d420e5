//! What the connection manager makes of request heads: paths, hosts, addresses of clients, certificates,
//! identifiers.

#![expect(clippy::too_many_lines, reason = "tables of cases")]

use nuncio_tests::compare::case::{Case, Group};
use nuncio_tests::h2_client::H2Send;

use crate::hcm::{group, with};

/// `normalize_path` and its kin.
pub(crate) fn paths() -> Group {
    let listeners = [
        with("listener", "normalize_path: true"),
        with(
            "hardened",
            "normalize_path: true\nmerge_slashes: true\npath_with_escaped_slashes_action: UNESCAPE_AND_REDIRECT",
        ),
        with(
            "forwarding",
            "normalize_path: true\nmerge_slashes: true\npath_with_escaped_slashes_action: UNESCAPE_AND_FORWARD",
        ),
        with(
            "rejecting",
            "path_with_escaped_slashes_action: REJECT_REQUEST",
        ),
        with("merging", "merge_slashes: true"),
        with(
            "unescaping",
            "path_with_escaped_slashes_action: UNESCAPE_AND_FORWARD",
        ),
        with("untouched", ""),
    ];
    let paths = [
        "/a/../b",
        "/a/./b?c=/../d",
        "/a/b/..",
        "/..",
        "/../../a",
        "/a//b",
        "/a//../b",
        "//",
        "///a//",
        "/.a/..b/...",
        "/a/%2e%2E/b",
        "/a/.%2e/b",
        "/a%2e",
        "/a\\b",
        "/a\\..\\b",
        "/a;b/../c",
        "/a%2Fb",
        "/a%2f..%2fb?d=%2F",
        "/a%5Cb",
        "/%zz",
        "/%",
        "/%00",
        "/%%34%31",
        "/%%341",
        "/%4%31",
        "/x/../normal",
        "/normal%2F",
    ];
    let mut cases = Vec::new();
    for listener in &listeners {
        for path in paths {
            cases.push(Case::get(&format!("{} {path}", listener.name), path, "").at(listener.name));
        }
    }
    // Each byte that may stand in a target, and each as an escape sequence.
    for start in [0x20, 0x40, 0x60] {
        let bytes: String = (start..start + 0x20)
            .map(|byte| char::from(byte as u8))
            .filter(|byte| !matches!(byte, ' ' | '?' | '#' | '%' | '.' | '/' | '\\' | '\x7f'))
            .collect();
        cases.push(Case::get(
            &format!("bytes from {start:#x}"),
            &format!("/{bytes}"),
            "",
        ));
    }
    for start in (0x10..0x100).step_by(0x10) {
        let escaped: String = (start..start + 0x10)
            .map(|byte| format!("%{byte:02X}"))
            .collect();
        cases.push(Case::get(
            &format!("escaped bytes from {start:#x}"),
            &format!("/{escaped}"),
            "",
        ));
    }
    cases.extend([
        Case::request("OPTIONS *", "OPTIONS", "*", "", ""),
        Case::request(
            "a redirect of a request with a body",
            "POST",
            "/a%2Fb",
            "Content-Length: 3\r\n",
            "abc",
        )
        .at("hardened"),
        Case::request(
            "no redirect for gRPC",
            "POST",
            "/a%2Fb",
            "Content-Type: application/grpc\r\n",
            "",
        )
        .at("hardened"),
        Case::http2("HTTP/2, changed", H2Send::new("GET", "/a/../b?c")),
        Case::http2("HTTP/2, redirected", H2Send::new("GET", "/a%2Fb?c")).at("hardened"),
        Case::http2("HTTP/2, refused", H2Send::new("GET", "/a%2Fb")).at("rejecting"),
        Case::http2("HTTP/2, to HTTP/2", H2Send::new("GET", "/x/../h2/%41")),
    ]);
    group("paths", &listeners, cases)
}

/// `strip_*`.
pub(crate) fn hosts() -> Group {
    let listeners = [
        with("listener", "strip_matching_host_port: true"),
        with("any", "strip_any_host_port: true"),
        with("dot", "strip_trailing_host_dot: true"),
        with(
            "both",
            "strip_any_host_port: true\nstrip_trailing_host_dot: true",
        ),
        with("untouched", ""),
    ];
    let hosts = [
        "stripped.example",
        "stripped.example:80",
        "stripped.example.",
        "stripped.example.:80",
        "stripped.example:",
        "stripped.example..",
        "[::1]:80",
        "[::1]",
        "stripped.example:080",
        "stripped.example:99999999999",
    ];
    let mut cases = Vec::new();
    for listener in &listeners {
        for host in hosts {
            let case = Case::get(&format!("{} {host}", listener.name), "/up", "")
                .replaced("a.example", host)
                .at(listener.name);
            cases.push(case);
        }
        let own = format!("@PORT:{}@", listener.name);
        for (what, host) in [
            ("its own port", format!("stripped.example:{own}")),
            ("a dot and its own port", format!("stripped.example.:{own}")),
        ] {
            let case = Case::get(&format!("{} {what}", listener.name), "/up", "")
                .replaced("a.example", &host)
                .at(listener.name);
            cases.push(case);
        }
        cases.push(
            Case::http1(
                &format!("{} absolute form", listener.name),
                "GET http://stripped.example:80/up HTTP/1.1\r\nHost: other\r\n\r\n",
            )
            .at(listener.name),
        );
    }
    cases.push(
        Case::http2(
            "any, HTTP/2",
            H2Send::new("GET", "/up").base("http://stripped.example:8080"),
        )
        .at("any"),
    );
    group("hosts", &listeners, cases)
}

/// Who the client is, and what upstreams are told of it.
pub(crate) fn clients() -> Group {
    let listeners = [
        with(
            "listener",
            "internal_address_config: { cidr_ranges: [{ address_prefix: 10.0.0.0, prefix_len: 8 }] }",
        ),
        with(
            "edge",
            "use_remote_address: true\ninternal_address_config: { cidr_ranges: [{ address_prefix: 127.0.0.0, prefix_len: 8 }] }",
        ),
        with(
            "hop",
            "use_remote_address: true\nxff_num_trusted_hops: 1\nappend_x_forwarded_port: true",
        ),
        with(
            "hops",
            "xff_num_trusted_hops: 1\nappend_x_forwarded_port: true\ninternal_address_config: { cidr_ranges: [{ address_prefix: 10.0.0.0, prefix_len: 8 }] }",
        ),
        with(
            "port",
            "use_remote_address: true\nappend_x_forwarded_port: true\nskip_xff_append: true",
        ),
        with(
            "mapped",
            "use_remote_address: true\nrepresent_ipv4_remote_address_as_ipv4_mapped_ipv6: true",
        ),
        with(
            "xff",
            "original_ip_detection_extensions:\n- name: envoy.http.original_ip_detection.xff\n  typed_config:\n    \"@type\": type.googleapis.com/envoy.extensions.http.original_ip_detection.xff.v3.XffConfig\n    xff_num_trusted_hops: 1\n    skip_xff_append: false",
        ),
        with(
            "proxies",
            "original_ip_detection_extensions:\n- name: envoy.http.original_ip_detection.xff\n  typed_config:\n    \"@type\": type.googleapis.com/envoy.extensions.http.original_ip_detection.xff.v3.XffConfig\n    xff_trusted_cidrs: { cidrs: [{ address_prefix: 127.0.0.0, prefix_len: 8 }, { address_prefix: 10.0.0.0, prefix_len: 8 }] }\ninternal_address_config: { cidr_ranges: [{ address_prefix: 10.0.0.0, prefix_len: 8 }] }",
        ),
        with(
            "header",
            "original_ip_detection_extensions:\n- name: envoy.extensions.http.original_ip_detection.custom_header\n  typed_config:\n    \"@type\": type.googleapis.com/envoy.extensions.http.original_ip_detection.custom_header.v3.CustomHeaderConfig\n    header_name: x-client\n    allow_extension_to_set_address_as_trusted: true\n    reject_with_status: { code: Unauthorized }\ninternal_address_config: { cidr_ranges: [{ address_prefix: 10.0.0.0, prefix_len: 8 }] }",
        ),
        with(
            "optional_header",
            "original_ip_detection_extensions:\n- name: envoy.extensions.http.original_ip_detection.custom_header\n  typed_config:\n    \"@type\": type.googleapis.com/envoy.extensions.http.original_ip_detection.custom_header.v3.CustomHeaderConfig\n    header_name: x-client\n- name: envoy.http.original_ip_detection.xff\n  typed_config:\n    \"@type\": type.googleapis.com/envoy.extensions.http.original_ip_detection.xff.v3.XffConfig",
        ),
    ];
    let heads = [
        ("nothing", ""),
        ("one address", "X-Forwarded-For: 1.2.3.4\r\n"),
        ("a private address", "X-Forwarded-For: 10.0.0.1\r\n"),
        (
            "a private address within another",
            "X-Forwarded-For: ::ffff:10.0.0.1\r\n",
        ),
        ("two addresses", "X-Forwarded-For: 1.2.3.4, 10.0.0.1\r\n"),
        (
            "private addresses",
            "X-Forwarded-For: 10.0.0.2,10.0.0.1\r\n",
        ),
        ("what is no address", "X-Forwarded-For: 1.2.3.4, who\r\n"),
        ("an empty end", "X-Forwarded-For: 1.2.3.4,\r\n"),
        ("an address with a port", "X-Forwarded-For: 1.2.3.4:80\r\n"),
        (
            "two lines",
            "X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-For: 10.0.0.2\r\n",
        ),
        (
            "a port and a protocol",
            "X-Forwarded-Port: 1\r\nX-Forwarded-Proto: https\r\nX-Envoy-Force-Trace: 1\r\n",
        ),
        ("a field of its own", "X-Client: 10.0.0.9\r\n"),
        ("a bad field of its own", "X-Client: me\r\n"),
    ];
    let mut cases = Vec::new();
    for listener in &listeners {
        for (name, head) in heads {
            let name = format!("{}, {name}", listener.name);
            cases.push(Case::get(&name, "/up", head).at(listener.name));
        }
    }
    group("clients", &listeners, cases)
}

/// Who is internal where nobody says which addresses are.
pub(crate) fn insiders() -> Group {
    let listeners = [
        with("listener", "internal_address_config: {}"),
        with("sockets", "internal_address_config: { unix_sockets: true }"),
        with("nobody", ""),
    ];
    let addresses = [
        "9.255.255.255",
        "10.0.0.0",
        "10.255.255.255",
        "11.0.0.0",
        "100.64.0.1",
        "127.0.0.1",
        "127.0.0.2",
        "169.254.0.1",
        "172.15.255.255",
        "172.16.0.0",
        "172.31.255.255",
        "172.32.0.0",
        "192.167.255.255",
        "192.168.0.0",
        "192.168.255.255",
        "192.169.0.0",
        "::1",
        "::2",
        "fc00::1",
        "fd00::",
        "fdff:ffff::1",
        "fe80::1",
        "::ffff:10.0.0.1",
        "::ffff:127.0.0.1",
    ];
    let mut cases = Vec::new();
    for listener in &listeners {
        for address in addresses {
            let head = format!("X-Forwarded-For: {address}\r\nX-Envoy-Max-Retries: 1\r\n");
            let name = format!("{}, {address}", listener.name);
            cases.push(Case::get(&name, "/up", &head).at(listener.name));
        }
    }
    group("insiders", &listeners, cases)
}

/// Certificates, identifiers, the agent, schemes, underscores.
pub(crate) fn fields() -> Group {
    let listeners = [
        with("listener", "forward_client_cert_details: SANITIZE"),
        with("forward_only", "forward_client_cert_details: FORWARD_ONLY"),
        with(
            "append_forward",
            "forward_client_cert_details: APPEND_FORWARD\nset_current_client_cert_details: { subject: true, cert: true, chain: true, dns: true, uri: true }",
        ),
        with("sanitize_set", "forward_client_cert_details: SANITIZE_SET"),
        with(
            "always_forward",
            "forward_client_cert_details: ALWAYS_FORWARD_ONLY",
        ),
        with(
            "agent",
            "use_remote_address: true\nadd_user_agent: true\nvia: mesh",
        ),
        with(
            "external_id",
            "use_remote_address: true\npreserve_external_request_id: true\nalways_set_request_id_in_response: true",
        ),
        with(
            "plain_id",
            "use_remote_address: true\npreserve_external_request_id: true\nrequest_id_extension:\n  typed_config:\n    \"@type\": type.googleapis.com/envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig\n    pack_trace_reason: false",
        ),
        with("no_id", "generate_request_id: false"),
        with(
            "https",
            "scheme_header_transformation: { scheme_to_overwrite: https }",
        ),
        with(
            "reject_underscores",
            "common_http_protocol_options: { headers_with_underscores_action: REJECT_REQUEST }",
        ),
        with(
            "drop_underscores",
            "common_http_protocol_options: { headers_with_underscores_action: DROP_HEADER }",
        ),
    ];
    let heads = [
        ("a certificate", "X-Forwarded-Client-Cert: Hash=1\r\n"),
        (
            "two certificates",
            "X-Forwarded-Client-Cert: Hash=1\r\nX-Forwarded-Client-Cert: Hash=2\r\n",
        ),
        ("an agent", "User-Agent: me\r\n"),
        (
            "an empty agent",
            "User-Agent:\r\nX-Envoy-Downstream-Service-Node: n\r\n",
        ),
        (
            "a traced identifier",
            "X-Request-Id: 11111111-1111-9111-8111-111111111111\r\n",
        ),
        (
            "an identifier",
            "X-Request-Id: 11111111-1111-4111-8111-111111111111\r\n",
        ),
        ("an identifier of its own", "X-Request-Id: mine\r\n"),
        ("underscores", "X_A: 1\r\nX-B: 2\r\n"),
        ("a referer", "Referer: http://a.example/b?c\r\n"),
        ("a referer that is none", "Referer: not a url\r\n"),
        ("a relative referer", "Referer: /a\r\n"),
        (
            "two referers",
            "Referer: http://a.example/\r\nReferer: http://b.example/\r\n",
        ),
    ];
    let mut cases = Vec::new();
    for listener in &listeners {
        for (name, head) in heads {
            let name = format!("{}, {name}", listener.name);
            cases.push(Case::get(&name, "/up", head).at(listener.name));
        }
    }
    cases.extend([
        Case::get("https, to HTTP/2", "/h2", "").at("https"),
        Case::get("https, a redirect", "/away", "").at("https"),
        Case::http2("https, HTTP/2", H2Send::new("GET", "/h2")).at("https"),
        Case::http2(
            "reject_underscores, HTTP/2",
            H2Send::new("GET", "/up").header("x_a", "1"),
        )
        .at("reject_underscores"),
        Case::http2(
            "drop_underscores, HTTP/2",
            H2Send::new("GET", "/up")
                .header("x_a", "1")
                .header("x-b", "2"),
        )
        .at("drop_underscores"),
    ]);
    group("fields", &listeners, cases)
}

/// Paths where the connection manager leaves to runtime values what becomes of them.
pub(crate) fn runtime_paths() -> Group {
    const PATHS: &[&str] = &["/a/../b", "/a%2Fb", "/a%5cb", "/%2e/b", "/a//b"];
    let at = |name: &str, listener| {
        let case = |path: &&str| Case::get(&format!("{name} {path}"), path, "").at(listener);
        PATHS.iter().map(case).collect::<Vec<_>>()
    };
    let mut cases = at("left open", "listener");
    cases.extend(at("written", "own"));
    Group::new(
        "runtime paths",
        include_str!("../../cases/runtime_paths.yaml"),
        cases,
    )
}
