//! `ORIGINAL_DST` clusters: where requests and connections say that they go.

use nuncio_tests::compare::case::{Case, Group, Step, request};
use nuncio_tests::tls::with_certificates;

pub(crate) fn group() -> Group {
    let mut cases = by_field();
    cases.extend(by_others());
    cases.extend(over_tls());
    cases.extend(restored());
    cases.extend(statistics());
    Group::new(
        "destinations",
        &with_certificates(include_str!("../../cases/destinations.yaml")),
        cases,
    )
    .with_bytes()
}

fn to(name: &str, path: &str, field: &str, address: &str) -> Case {
    Case::get(name, path, &format!("{field}: {address}\r\n"))
}

fn by_field() -> Vec<Case> {
    const FIELD: &str = "x-envoy-original-dst-host";
    let field = |name: &str, address: &str| to(name, "/field", FIELD, address);
    vec![
        field("by the field", "127.0.0.1:@PORT:origin@"),
        field("by the field, elsewhere", "127.0.0.1:@PORT:origin2@"),
        field("by the field, once more", "127.0.0.1:@PORT:origin@"),
        Case::get(
            "the first of two",
            "/field",
            "x-envoy-original-dst-host: 127.0.0.1:@PORT:origin2@\r\n\
             x-envoy-original-dst-host: 127.0.0.1:@PORT:origin@\r\n",
        ),
        field(
            "two in one",
            "127.0.0.1:@PORT:origin2@,127.0.0.1:@PORT:origin@",
        ),
        field("nobody there", "127.0.0.1:@PORT:nobody@"),
        field("no port", "127.0.0.1"),
        field("a great port", "127.0.0.1:70000"),
        field("a name", "localhost:@PORT:origin@"),
        field("nothing", ""),
        field("of IPv6", "[::1]:@PORT:nobody@"),
        field("of IPv6 without brackets", "::1:80"),
        Case::get("without the field", "/field", ""),
        to(
            "by another field",
            "/named",
            "x-to",
            "127.0.0.1:@PORT:origin@",
        ),
        to(
            "by a field that the type of the cluster names",
            "/typed",
            "x-to",
            "127.0.0.1:@PORT:origin2@",
        ),
        to(
            "not by the field that the type of the cluster does not name",
            "/typed",
            FIELD,
            "127.0.0.1:@PORT:origin@",
        ),
        to(
            "not by another field",
            "/named",
            FIELD,
            "127.0.0.1:@PORT:origin@",
        ),
        to(
            "not by any field",
            "/plain",
            FIELD,
            "127.0.0.1:@PORT:origin@",
        ),
        to("with another port", "/port", FIELD, "127.0.0.1:1"),
        Case::get("by the route", "/added", ""),
        to(
            "by the route, after all",
            "/added",
            FIELD,
            "127.0.0.1:@PORT:origin@",
        ),
        to(
            "not with the route",
            "/removed",
            FIELD,
            "127.0.0.1:@PORT:origin@",
        ),
        to(
            "a host of its own",
            "/hosted",
            FIELD,
            "127.0.0.1:@PORT:origin@",
        ),
        to("tried again", "/again", FIELD, "127.0.0.1:@PORT:nobody@"),
    ]
}

/// Whoever says where a request goes does not say whom it may go to.
fn over_tls() -> Vec<Case> {
    const FIELD: &str = "x-envoy-original-dst-host";
    let secure = |name: &str, path: &str, port: &str| {
        to(name, path, FIELD, &format!("127.0.0.1:@PORT:{port}@"))
    };
    vec![
        secure("over TLS", "/secure", "tls_server"),
        secure("over TLS, elsewhere", "/secure", "tls_server_rsa"),
        // Why a handshake fails is told by each library in its own way.
        secure("over TLS to a stranger", "/secure", "tls_stranger").without_log(),
        secure(
            "over TLS to one of another name",
            "/secure/second",
            "tls_server",
        )
        .without_log(),
        secure("over TLS to who does not speak it", "/secure", "origin"),
        secure("over TLS to nobody", "/secure", "nobody"),
    ]
}

fn by_others() -> Vec<Case> {
    let both = |name: &str, kept: &str, field: &str| {
        let fields = format!("x-kept: {kept}\r\nx-envoy-original-dst-host: {field}\r\n");
        Case::get(name, "/kept", &fields)
    };
    let (one, two) = ("127.0.0.1:@PORT:origin@", "127.0.0.1:@PORT:origin2@");
    vec![
        to("by metadata", "/kept", "x-kept", one),
        both("by metadata rather than by the field", two, one),
        both("by the field where metadata are wrong", "somewhere", one),
        to("by neither", "/kept", "x-kept", "somewhere"),
    ]
}

fn restored() -> Vec<Case> {
    let header =
        |port: &str| format!("PROXY TCP4 127.0.0.1 127.0.0.1 5000 @PORT:{port}@\r\n").into_bytes();
    let asked = |name: &str, port: &str, path: &str, fields: &str| {
        let get = request("GET", path, fields, "");
        Case::http1(name, [header(port), get].concat()).at("proxied")
    };
    let bytes = |name: &str, port: &str| {
        let steps = vec![
            Step::Send([header(port), request("GET", "/bytes", "", "")].concat()),
            Step::Receive { to_head: false },
        ];
        Case::steps(name, steps).at("bytes")
    };
    let field = "x-envoy-original-dst-host: 127.0.0.1:@PORT:origin@\r\n";
    vec![
        asked("where it was sent to", "origin2", "/plain", ""),
        asked("the field rather", "origin2", "/field", field),
        asked(
            "where it was sent to, without the field",
            "origin2",
            "/field",
            "",
        ),
        asked(
            "where it was sent to, at another port",
            "origin2",
            "/port",
            "",
        ),
        bytes("bytes", "origin"),
        bytes("bytes, elsewhere", "origin2"),
        Case::steps(
            "bytes to nobody",
            vec![
                Step::Send(b"PROXY UNKNOWN\r\n".to_vec()),
                Step::ReceiveToEnd,
            ],
        )
        .at("bytes"),
    ]
}

fn statistics() -> Vec<Case> {
    vec![
        Case::admin(
            "GET /stats?filter=(original_dst_host_invalid|none_healthy)",
            &["cluster."],
        ),
        Case::admin(
            "GET /stats?filter=cluster.field.membership_(total|healthy)",
            &["cluster."],
        )
        .once("cluster.field.membership_total: 4"),
        // In Envoy clusters come in any order.
        Case::admin("GET /clusters", &["field::"]).once("cluster.named.membership_total: 1"),
        Case::admin("GET /clusters?format=text", &["named::"]),
    ]
}
