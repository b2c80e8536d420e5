//! Tests of whole formats, against what a real Envoy 1.40 printed for the same request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::clock;
use crate::exchange::{Connection, Flags, LogType, Protocol, Timing};
use crate::headers::Headers;

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn headers(fields: &[(&str, &[u8])]) -> Headers {
    let mut headers = Headers::new();
    for (name, value) in fields {
        headers.append_bytes(name.as_bytes(), value);
    }
    headers
}

fn connection() -> Arc<Connection> {
    Arc::new(Connection {
        id: 2,
        listener: "l0".into(),
        filter_chain: "fc0".into(),
        ..Connection::between(address("127.0.0.1:50916"), address("127.0.0.1:21841"))
    })
}

/// A stream that has only started.
fn started() -> Exchange {
    let wall = std::time::SystemTime::UNIX_EPOCH + Duration::new(1_795_491_876, 689_123_456);
    let timing = Timing::starting(clock::now(), wall);
    Exchange::new(connection(), Protocol::Http11, timing, 7)
}

/// The stream that the comparison with Envoy was made with.
fn proxied() -> Exchange {
    let mut exchange = started();
    let at = |ms| Some(exchange.timing.started + Duration::from_micros(ms));
    exchange.timing.request_received = at(300);
    exchange.timing.upstream_sent_first = at(400);
    exchange.timing.upstream_sent = at(900);
    exchange.timing.upstream_received_first = at(3100);
    exchange.timing.upstream_received = at(3200);
    exchange.timing.response_sent_first = at(3300);
    exchange.log_type = LogType::DownstreamEnd;
    exchange.timing.response_sent = at(4321);
    exchange.timing.ended = at(4321);
    exchange.request = headers(&[
        (":authority", b"127.0.0.1:21841"),
        (":path", b"/path/to?a=1&enc=%41%20b+c&b"),
        (":method", b"POST"),
        (":scheme", b"http"),
        ("user-agent", b"curl/7.88.1"),
        ("x-foo", b"foobarbaz"),
        ("x-multi", b"1"),
        ("x-multi", b"2"),
        ("x-empty", b""),
        ("x-raw", b"r\xe9\xc3\xa9\"\\\t</"),
        ("x-forwarded-for", b"1.2.3.4"),
        ("x-request-id", b"55f9489b-7cf8-49fe-8e9c-56cdc6f290a0"),
    ]);
    exchange.response = headers(&[
        (":status", b"200"),
        ("server", b"envoy"),
        ("content-type", b"text/plain"),
        ("x-envoy-upstream-service-time", b"3"),
        ("x-bin", b"a\"b\\c\xe9"),
    ]);
    exchange.remote = address("1.2.3.4:0").into();
    exchange.upstream.cluster = Some("c0".into());
    exchange.upstream.host = Some(address("127.0.0.1:21842").into());
    exchange.upstream.hostname = Some("127.0.0.1".into());
    exchange.upstream.local = Some(address("127.0.0.1:51126"));
    exchange.upstream.protocol = Some(Protocol::Http11);
    exchange.upstream.connection_id = Some(7);
    exchange.upstream.attempts = 1;
    exchange.route_name = Some("main".into());
    exchange.status = 200;
    exchange.details = Some("via_upstream".into());
    exchange.bytes_received = 10;
    exchange.bytes_sent = 300_000;
    exchange
}

fn text(format: &str, exchange: &Exchange) -> String {
    let mut out = Vec::new();
    Format::text(format, false)
        .unwrap()
        .render(exchange, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

fn json_line(format: &Value, omit_empty: bool, exchange: &Exchange) -> String {
    let mut out = Vec::new();
    Format::json(format, omit_empty)
        .unwrap()
        .render(exchange, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn the_default_line_is_that_of_envoy() {
    assert_eq!(
        text(DEFAULT_ACCESS_LOG, &proxied()),
        "[2026-11-24T03:44:36.689Z] \"POST /path/to?a=1&enc=%41%20b+c&b HTTP/1.1\" 200 - 10 300000 4 \
         3 \"1.2.3.4\" \"curl/7.88.1\" \"55f9489b-7cf8-49fe-8e9c-56cdc6f290a0\" \"127.0.0.1:21841\" \
         \"127.0.0.1:21842\"\n"
    );
    let mut early = started();
    early.timing.ended = Some(early.timing.started);
    early.status = 400;
    early.flags = Flags::DOWNSTREAM_PROTOCOL_ERROR;
    early.bytes_sent = 11;
    assert_eq!(
        text(DEFAULT_ACCESS_LOG, &early),
        "[2026-11-24T03:44:36.689Z] \"- - HTTP/1.1\" 400 DPE 0 11 0 - \"-\" \"-\" \"-\" \"-\" \"-\"\n"
    );
}

/// Operator, its text and its JSON value for the proxied request, as Envoy printed them.
const OPERATORS: &[(&str, &str, &str)] = &[
    ("REQ(:METHOD)", "POST", r#""POST""#),
    ("REQ_WITHOUT_QUERY(:path)", "/path/to", r#""/path/to""#),
    ("REQ_WITHOUT_QUERY(none?:PATH):4", "/pat", r#""/pat""#),
    ("REQ_WITHOUT_QUERY(:method)", "POST", r#""POST""#),
    ("REQ_WITHOUT_QUERY(none)", "-", "null"),
    ("REQUESTED_SERVER_NAME(SNI_ONLY)", "-", "null"),
    (
        "REQUESTED_SERVER_NAME(HOST_FIRST)",
        "127.0.0.1:21841",
        r#""127.0.0.1:21841""#,
    ),
    (
        "REQUESTED_SERVER_NAME(SNI_FIRST:HOST)",
        "127.0.0.1:21841",
        r#""127.0.0.1:21841""#,
    ),
    (
        r#"COALESCE({"operators":[{"command":"REQ","param":"none"},"RESPONSE_CODE"]})"#,
        "200",
        "200",
    ),
    (
        r#"COALESCE({"operators":[{"command":"REQ","param":":path","max_length":3},"PROTOCOL"]})"#,
        "/pa",
        r#""/pa""#,
    ),
    (
        r#"COALESCE({"operators":[{"command":"REQ","param":"none"}]})"#,
        "-",
        "null",
    ),
    ("REQ(X-NONE)", "-", "null"),
    (
        "REQ(X-NONE?:PATH)",
        "/path/to?a=1&enc=%41%20b+c&b",
        r#""/path/to?a=1&enc=%41%20b+c&b""#,
    ),
    ("REQ(x-foo?:path):5", "fooba", r#""fooba""#),
    ("REQ(x-foo):0", "", r#""""#),
    ("REQ(x-none):2", "-", "null"),
    ("REQUEST_HEADER(X-Foo)", "foobarbaz", r#""foobarbaz""#),
    ("REQ(x-multi)", "1", r#""1""#),
    ("REQ(x-empty)", "", r#""""#),
    ("REQ(x-empty?:method)", "", r#""""#),
    ("REQ(?x-foo)", "foobarbaz", r#""foobarbaz""#),
    ("REQ(x-foo?)", "foobarbaz", r#""foobarbaz""#),
    ("REQ(:none)", "-", "null"),
    ("REQ(host)", "127.0.0.1:21841", r#""127.0.0.1:21841""#),
    ("RESP(:status)", "200", r#""200""#),
    ("RESP(X-UP?content-type):7", "text/pl", r#""text/pl""#),
    ("TRAILER(x)", "-", "null"),
    ("REQUEST_DURATION", "0", "0"),
    ("REQUEST_TX_DURATION", "0", "0"),
    ("RESPONSE_DURATION", "3", "3"),
    ("RESPONSE_TX_DURATION", "1", "1"),
    ("ROUNDTRIP_DURATION", "-", "null"),
    ("DURATION", "4", "4"),
    ("COMMON_DURATION(DS_RX_BEG:DS_TX_END:us)", "4321", "4321"),
    (
        "COMMON_DURATION(DS_RX_BEG:US_RX_BEG:ns)",
        "3100000",
        "3100000",
    ),
    ("COMMON_DURATION(DS_TX_END:DS_RX_BEG:ms)", "-", "null"),
    ("COMMON_DURATION(a::ms)", "-", "null"),
    ("COMMON_DURATION(DS_RX_BEG:DS_TX_END)", "4", "4"),
    ("BYTES_RECEIVED", "10", "10"),
    ("BYTES_SENT", "300000", "300000"),
    ("PROTOCOL", "HTTP/1.1", r#""HTTP/1.1""#),
    ("PROTOCOL()", "HTTP/1.1", r#""HTTP/1.1""#),
    ("UPSTREAM_PROTOCOL", "HTTP/1.1", r#""HTTP/1.1""#),
    ("RESPONSE_CODE", "200", "200"),
    ("RESPONSE_CODE_DETAILS", "via_upstream", r#""via_upstream""#),
    (
        "RESPONSE_CODE_DETAILS(X)",
        "via_upstream",
        r#""via_upstream""#,
    ),
    ("CONNECTION_TERMINATION_DETAILS", "-", "null"),
    ("RESPONSE_FLAGS", "-", r#""-""#),
    ("RESPONSE_FLAGS_LONG", "-", r#""-""#),
    ("UPSTREAM_REQUEST_ATTEMPT_COUNT", "1", "1"),
    ("UPSTREAM_HOST", "127.0.0.1:21842", r#""127.0.0.1:21842""#),
    (
        "UPSTREAM_HOST_NAME",
        "127.0.0.1:21842",
        r#""127.0.0.1:21842""#,
    ),
    (
        "UPSTREAM_HOST_NAME_WITHOUT_PORT",
        "127.0.0.1",
        r#""127.0.0.1""#,
    ),
    ("UPSTREAM_CONNECTION_IDS_ATTEMPTED", "7", r#""7""#),
    ("UPSTREAM_CLUSTER", "c0", r#""c0""#),
    ("UPSTREAM_LOCAL_PORT", "51126", "51126"),
    (
        "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
        "127.0.0.1",
        r#""127.0.0.1""#,
    ),
    ("DOWNSTREAM_REMOTE_ADDRESS", "1.2.3.4:0", r#""1.2.3.4:0""#),
    (
        "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
        "1.2.3.4",
        r#""1.2.3.4""#,
    ),
    (
        "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(16)",
        "1.2.0.0/16",
        r#""1.2.0.0/16""#,
    ),
    (
        "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(9)",
        "1.0.0.0/9",
        r#""1.0.0.0/9""#,
    ),
    (
        "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(0)",
        "0.0.0.0/0",
        r#""0.0.0.0/0""#,
    ),
    (
        "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(99)",
        "1.2.3.4/32",
        r#""1.2.3.4/32""#,
    ),
    (
        "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(x)",
        "1.2.3.4",
        r#""1.2.3.4""#,
    ),
    ("DOWNSTREAM_REMOTE_PORT", "0", "0"),
    (
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS",
        "127.0.0.1:50916",
        r#""127.0.0.1:50916""#,
    ),
    (
        "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT(8)",
        "127.0.0.0/8",
        r#""127.0.0.0/8""#,
    ),
    ("DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID", "", r#""""#),
    ("CONNECTION_ID", "2", "2"),
    ("UPSTREAM_CONNECTION_ID", "7", "7"),
    ("GRPC_STATUS", "-", "null"),
    ("DYNAMIC_METADATA(a:b)", "-", "null"),
    ("REQUESTED_SERVER_NAME", "-", "null"),
    ("DOWNSTREAM_PEER_CERT_V_START(%Y)", "-", "null"),
    ("LOCAL_REPLY_BODY", "", r#""""#),
    ("LISTENER_NAME", "l0", r#""l0""#),
    ("FILTER_CHAIN_NAME", "fc0", r#""fc0""#),
    ("VIRTUAL_CLUSTER_NAME", "-", "null"),
    ("ROUTE_NAME", "main", r#""main""#),
    ("ACCESS_LOG_TYPE", "DownstreamEnd", r#""DownstreamEnd""#),
    (
        "STREAM_ID",
        "55f9489b-7cf8-49fe-8e9c-56cdc6f290a0",
        r#""55f9489b-7cf8-49fe-8e9c-56cdc6f290a0""#,
    ),
    ("ENVIRONMENT(NO_SUCH_VARIABLE)", "-", r#""-""#),
    ("QUERY_PARAM(a)", "1", r#""1""#),
    ("QUERY_PARAM(zz)", "-", "null"),
    ("QUERY_PARAM(enc)", "A b+c", r#""A b+c""#),
    ("QUERY_PARAM(enc):3", "A b", r#""A b""#),
    ("QUERY_PARAM(b)", "", r#""""#),
    (
        "QUERY_PARAMS",
        "a=1&enc=%41%20b+c&b",
        r#""a=1&enc=%41%20b+c&b""#,
    ),
    (
        "QUERY_PARAMS(DECODED)",
        "a=1&enc=A%20b+c&b",
        r#""a=1&enc=A%20b+c&b""#,
    ),
    ("PATH(NQ)", "/path/to", r#""/path/to""#),
    ("PATH(WQ:ORIG)", "-", "null"),
    ("PATH():5", "/path", r#""/path""#),
    ("CUSTOM_FLAGS", "", r#""""#),
    ("BYTES_RETRANSMITTED", "0", "0"),
    (
        "START_TIME(%s.%3f)",
        "1795491876.689",
        r#""1795491876.689""#,
    ),
];

#[test]
fn operators_are_those_of_envoy() {
    let exchange = proxied();
    for (operator, shown, in_json) in OPERATORS {
        let command = format!("%{operator}%");
        assert_eq!(text(&command, &exchange), *shown, "{operator}");
        let line = json_line(&json!({ "k": command }), false, &exchange);
        let value: Value = serde_json::from_str(&line).unwrap();
        let in_json: Value = serde_json::from_str(in_json).unwrap();
        assert_eq!(value["k"], in_json, "{operator}");
    }
}

#[test]
fn a_failed_connection_has_a_host_but_no_remote_address() {
    let mut exchange = proxied();
    exchange.upstream.connection_id = None;
    exchange.upstream.local = None;
    exchange.upstream.failure = Some("delayed connect error: Connection refused".into());
    exchange.flags = Flags::UPSTREAM_CONNECTION_FAILURE;
    exchange.flags.insert(Flags::UPSTREAM_RETRY_LIMIT_EXCEEDED);
    assert_eq!(
        text(
            "%UPSTREAM_HOST% %UPSTREAM_REMOTE_ADDRESS% %UPSTREAM_HOSTS_ATTEMPTED% \
             %UPSTREAM_CONNECTION_ID% %UPSTREAM_TRANSPORT_FAILURE_REASON% %RESPONSE_FLAGS% \
             %RESPONSE_FLAGS_LONG%",
            &exchange
        ),
        "127.0.0.1:21842 - - 0 delayed_connect_error:_Connection_refused UF,URX \
         UpstreamConnectionFailure,UpstreamRetryLimitExceeded"
    );
}

#[test]
fn grpc_statuses() {
    let mut exchange = proxied();
    exchange.request.set_known(
        crate::headers::Known::ContentType,
        b"application/grpc+proto",
    );
    let format = "%GRPC_STATUS% %GRPC_STATUS(SNAKE_STRING)% %GRPC_STATUS(NUMBER)%";
    for (status, code, shown) in [
        (200, Some("5"), "NotFound NOT_FOUND 5"),
        (200, Some("0"), "OK OK 0"),
        (200, Some("1"), "Canceled CANCELLED 1"),
        (200, Some("77"), "77 77 77"),
        (200, Some("x"), "-1 -1 -1"),
        (200, Some("-1"), "-1 -1 -1"),
        (503, Some(""), "Unavailable UNAVAILABLE 14"),
        (503, None, "Unavailable UNAVAILABLE 14"),
        (200, None, "Unknown UNKNOWN 2"),
        (0, None, "- - -"),
    ] {
        exchange.status = status;
        exchange.response_trailers.clear();
        if let Some(code) = code {
            exchange
                .response_trailers
                .append_bytes(b"grpc-status", code.as_bytes());
        }
        assert_eq!(text(format, &exchange), shown, "{status} {code:?}");
    }
}

#[test]
fn json_has_the_shape_of_envoy() {
    let exchange = proxied();
    let format = json!({
        "b": "lit",
        "a": {
            "z": "%PROTOCOL%",
            "y": ["%RESPONSE_CODE%", "x", {"k": "%REQ(none)%", "j": "%REQ(:method)%"}, [], "%REQ(none)%"],
        },
        "mixed": "x %REQ(none)% y %RESPONSE_CODE%",
        "two": "%RESPONSE_CODE%%BYTES_SENT%",
        "n": 1, "t": true, "nul": null, "empty": "", "pct": "100%%",
        "esc": "a\"b\\c/dé\u{2028}\u{1}\t<>&",
        "B": "upper", "b.x": "dot", "e": {}, "lp": "%RESPONSE_CODE% ", "neg": -3, "h300": 300_000,
        "bin": "%RESP(x-bin)%", "rq": "%REQ(x-raw)%",
    });
    let expected = r#"{"B":"upper","a":{"y":[200,"x",{"j":"POST","k":null},[],null],"z":"HTTP/1.1"},"b":"lit","b.x":"dot","bin":"a\u0022b\u005cc\u00e9","e":{},"empty":"","esc":"a\"b\\c/dé \u0001\t<>&","h300":3e+05,"lp":"200 ","mixed":"x - y 200","n":1,"neg":-3,"nul":null,"pct":"100%","rq":"r\u00e9\u00c3\u00a9\u0022\u005c\u0009</","t":true,"two":"200300000"}"#;
    assert_eq!(
        json_line(&format, false, &exchange),
        format!("{}\n", expected.replace("é ", "é\u{2028}"))
    );
}

#[test]
fn empty_values_are_omitted_as_in_envoy() {
    let exchange = proxied();
    let format = json!({
        "b": "lit",
        "a": {"z": "%REQ(none)%", "y": ["%REQ(none)%", "x", {"k": "%REQ(none)%"}]},
        "mixed": "x %REQ(none)% y", "only": "%REQ(none)%", "nul": null, "empty": "",
        "c": {"d": {"e": "%REQ(none)%"}}, "two": "%REQ(none)%%REQ(none)%",
        "code": "%RESPONSE_CODE%", "el": [], "em": {},
    });
    assert_eq!(
        json_line(&format, true, &exchange),
        "{\"a\":{\"y\":[\"x\"]},\"b\":\"lit\",\"code\":200,\"el\":[],\"empty\":\"\",\"mixed\":\"x  y\",\
         \"two\":\"\"}\n"
    );
    assert_eq!(
        json_line(&json!({ "a": "%REQ(none)%" }), true, &exchange),
        "{}\n"
    );
    let mut out = Vec::new();
    let format = Format::text("[%REQ(none)%]", true).unwrap();
    format.render(&exchange, &mut out);
    assert_eq!(out, b"[]");
}

#[test]
fn headers_have_nothing_for_what_is_missing() {
    let exchange = started();
    for (format, value) in [
        ("%REQ(none)%", ""),
        ("a%REQ(none)%b", "ab"),
        ("%PROTOCOL%", "HTTP/1.1"),
        ("100%%", "100%"),
        ("%ACCESS_LOG_TYPE%", "NotSet"),
    ] {
        let mut out = Vec::new();
        Format::text(format, false)
            .unwrap()
            .render_header(&exchange, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), value, "{format}");
    }
}

#[test]
fn metadata_is_shown_by_key_or_whole() {
    let mut exchange = started();
    exchange.metadata.set("ns", "user", b"a\"b");
    exchange.metadata.set("ns", "n", b"1");
    let format = json!({"v": "%DYNAMIC_METADATA(ns:user)%", "all": "%DYNAMIC_METADATA(ns)%", "deep": "%DYNAMIC_METADATA(ns:user:x)%"});
    assert_eq!(
        json_line(&format, false, &exchange),
        "{\"all\":{\"user\":\"a\\\"b\",\"n\":\"1\"},\"deep\":null,\"v\":\"a\\\"b\"}\n"
    );
    assert_eq!(text("%METADATA(DYNAMIC:ns:user)%", &exchange), "a\"b");
}

/// What a real Envoy printed for the same metadata of a route.
#[test]
fn metadata_of_the_configuration_is_text_or_json() {
    let of = |name: &str| {
        let fields = json!({
            "k": name, "n": 1, "b": true, "z": null, "l": [1, "a", null], "e": "", "big": 300_000,
            "o": {"x": {"y": "deep", "q": "a\"b"}},
        });
        crate::metadata::StaticMetadata::new([("f".to_owned(), fields)])
    };
    let mut exchange = started();
    exchange.route_metadata = of("route");
    exchange.virtual_host_metadata = of("host");
    exchange.upstream.cluster_metadata = of("cluster");
    exchange.upstream.host_metadata = of("endpoint");
    let mut connection = Connection::clone(&exchange.connection);
    connection.listener_metadata = of("listener");
    connection.filter_chain_metadata = of("chain");
    exchange.connection = Arc::new(connection);
    let whole = r#"{"b":true,"big":3e+05,"e":"","k":"route","l":[1,"a",null],"n":1,"o":{"x":{"q":"a\"b","y":"deep"}},"z":null}"#;
    let object = r#"{"x":{"q":"a\"b","y":"deep"}}"#;
    for (operator, as_text, as_json) in [
        ("METADATA(ROUTE:f:k)", "route", r#""route""#),
        ("METADATA(VIRTUAL_HOST:f:k)", "host", r#""host""#),
        ("METADATA(CLUSTER:f:k)", "cluster", r#""cluster""#),
        ("CLUSTER_METADATA(f:k)", "cluster", r#""cluster""#),
        ("METADATA(UPSTREAM_HOST:f:k)", "endpoint", r#""endpoint""#),
        ("UPSTREAM_METADATA(f:k)", "endpoint", r#""endpoint""#),
        (r#"UPSTREAM_METADATA(["f","k"])"#, "-", "null"),
        ("METADATA(LISTENER:f:k)", "listener", r#""listener""#),
        ("METADATA(LISTENER_FILTER_CHAIN:f:k)", "chain", r#""chain""#),
        ("METADATA(ROUTE:f:n)", "1", "1"),
        ("METADATA(ROUTE:f:b)", "true", "true"),
        ("METADATA(ROUTE:f:z)", "-", "null"),
        ("METADATA(ROUTE:f:l)", r#"[1,"a",null]"#, r#"[1,"a",null]"#),
        ("METADATA(ROUTE:f:big)", "3e+05", "3e+05"),
        ("METADATA(ROUTE:f:e)", "", r#""""#),
        ("METADATA(ROUTE:f:o)", object, object),
        ("METADATA(ROUTE:f:o):3", r#"{"x"#, object),
        ("METADATA(ROUTE:f:o:x:q)", "a\"b", r#""a\"b""#),
        ("METADATA(ROUTE:f:k):2", "ro", r#""ro""#),
        ("METADATA(ROUTE:f)", whole, whole),
        ("METADATA(ROUTE:f:k:x)", "-", "null"),
        ("METADATA(ROUTE:nope)", "-", "null"),
        ("METADATA(ROUTE)", "-", "null"),
    ] {
        assert_eq!(
            text(&format!("%{operator}%"), &exchange),
            as_text,
            "{operator}"
        );
        let format = json!({"v": format!("%{operator}%")});
        let line = json_line(&format, false, &exchange);
        assert_eq!(line, format!("{{\"v\":{as_json}}}\n"), "{operator}");
    }
    let mut out = Vec::new();
    let attribute = Attribute::parse("xds.virtual_host_metadata").unwrap();
    assert!(attribute.value(&exchange, &mut out));
    assert!(out.starts_with(br#"{"f":{"b":true"#));
}

#[test]
fn names_of_endpoints() {
    let mut exchange = proxied();
    let format = "%UPSTREAM_HOST_NAME% %UPSTREAM_HOST_NAME_WITHOUT_PORT%";
    exchange.upstream.hostname = Some("backend.local".into());
    assert_eq!(text(format, &exchange), "backend.local backend.local");
    exchange.upstream.hostname = Some("backend:8080".into());
    assert_eq!(text(format, &exchange), "backend:8080 backend");
    exchange.upstream.hostname = None;
    exchange.upstream.host = Some(address("[::1]:80").into());
    assert_eq!(text(format, &exchange), "[::1]:80 ::1");
    exchange.upstream.host = None;
    assert_eq!(text(format, &exchange), "- -");
}

#[test]
fn uuids_are_random_and_well_formed() {
    let exchange = started();
    let (a, b) = (
        text("%UNIQUE_ID%", &exchange),
        text("%UNIQUE_ID%", &exchange),
    );
    assert_ne!(a, b);
    let shape: String = a
        .chars()
        .map(|c| if c.is_ascii_hexdigit() { 'x' } else { c })
        .collect();
    assert_eq!(shape, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx");
    assert_eq!(a.as_bytes()[14], b'4');
    assert!(b"89ab".contains(&a.as_bytes()[19]), "{a}");
}

/// Formats that do not compile and what is said of them.
const REFUSED: &[(&str, &str)] = &[
    (
        "%",
        "compile format: no command starts here (write \"%%\" for a percent sign) at byte 0",
    ),
    (
        "%%%",
        "compile format: no command starts here (write \"%%\" for a percent sign) at byte 2",
    ),
    (
        "100%",
        "compile format: no command starts here (write \"%%\" for a percent sign) at byte 3",
    ),
    (
        "é %REQ(a)x%",
        "compile format: no command starts here (write \"%%\" for a percent sign) at byte 3",
    ),
    (
        "%REQ%",
        "compile format: operator \"REQ\" takes a parameter at byte 0",
    ),
    (
        "%REQ()%",
        "compile format: operator \"REQ\" takes a parameter at byte 0",
    ),
    (
        "%REQ(a b)%",
        "compile format: \"a b\": header name has the byte 0x20, which no header name may have at byte 0",
    ),
    (
        "%REQ(a?b?c)%",
        "compile format: parameter \"a?b?c\" is not a header name and at most one alternative at byte 0",
    ),
    (
        "x%BYTE_SENT%",
        "compile format: unknown operator \"BYTE_SENT\", did you mean \"BYTES_SENT\"? at byte 1",
    ),
    ("%_X%", "compile format: unknown operator \"_X\" at byte 0"),
    (
        "%PROTOCOL(x)%",
        "compile format: operator \"PROTOCOL\" takes no parameters and no length at byte 0",
    ),
    (
        "%PROTOCOL:5%",
        "compile format: operator \"PROTOCOL\" takes no parameters and no length at byte 0",
    ),
    (
        "%START_TIME:4%",
        "compile format: operator \"START_TIME\" takes no length at byte 0",
    ),
    (
        "%START_TIME(%n)%",
        "compile format: parameter \"%n\" is not a time format without a line break at byte 0",
    ),
    (
        "%GRPC_STATUS(X)%",
        "compile format: parameter \"X\" is not one of CAMEL_STRING, SNAKE_STRING, NUMBER at byte 0",
    ),
    (
        "%COMMON_DURATION(a:b:s)%",
        "compile format: parameter \"s\" is not one of ms, us, ns at byte 0",
    ),
    (
        "%COMMON_DURATION(x)%",
        "compile format: parameter \"x\" is not BEGIN:END or BEGIN:END:UNIT at byte 0",
    ),
    (
        "%PATH(XX)%",
        "compile format: parameter \"XX\" is not one of WQ, NQ at byte 0",
    ),
    (
        "%PATH(WQ:XX)%",
        "compile format: parameter \"XX\" is not one of ORIG, PATH, ORIG_OR_PATH at byte 0",
    ),
    (
        "%QUERY_PARAMS(RAW)%",
        "compile format: parameter \"RAW\" is not one of ORIG, DECODED at byte 0",
    ),
    (
        "%FILTER_STATE()%",
        "compile format: parameter \"\" is not a key at byte 0",
    ),
    (
        "%CEL(request.method)%",
        "compile format: not supported by nuncio: operator \"CEL\" at byte 0",
    ),
    (
        "%DOWNSTREAM_TLS_VERSION(x)%",
        "compile format: operator \"DOWNSTREAM_TLS_VERSION\" takes no parameters and no length at byte 0",
    ),
];

#[test]
fn what_envoy_refuses_is_refused_with_the_place() {
    for (format, message) in REFUSED {
        let error = Format::text(format, false).unwrap_err();
        assert_eq!(error.to_string(), *message, "{format}");
    }
    for refused in ["VIRTUAL_HOST_NAME", "TRACE_SAMPLED", "COOKIE(x)"] {
        let error = Format::text(&format!("%{refused}%"), false).unwrap_err();
        assert!(
            matches!(error.problem, Problem::Unknown { .. }),
            "{refused}"
        );
    }
    let nested = json!({"a": [1, {"b": "x %BOGUS%"}]});
    let error = Format::json(&nested, false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "compile format: unknown operator \"BOGUS\" at byte 2 of \"a[1].b\""
    );
    assert_eq!(
        Format::json(&json!([]), false).unwrap_err().problem,
        Problem::NotAnObject
    );
    let deep = (0..200).fold(json!(1), |inner, _| json!({ "a": inner }));
    assert!(matches!(
        Format::json(&deep, false).unwrap_err().problem,
        Problem::TooDeep(_)
    ));
}

/// Every operator's name is accepted in the simplest of its forms, and none is there twice.
#[test]
fn every_operator_compiles() {
    let mut seen = std::collections::BTreeSet::new();
    for name in operator::names() {
        assert!(seen.insert(name), "{name} is there twice");
        let all = r#"({"operators":["PROTOCOL"]})"#;
        let forms = ["", "(a)", "(a:b)", "(DYNAMIC:a)", all];
        let forms = forms.map(|parameters| format!("%{name}{parameters}%"));
        let compiled: Vec<Format> = forms
            .iter()
            .filter_map(|form| Format::text(form, false).ok())
            .collect();
        assert!(!compiled.is_empty(), "{name}");
        for format in compiled {
            format.render(&proxied(), &mut Vec::new());
            format.render(&started(), &mut Vec::new());
        }
    }
    assert!(seen.len() > 140, "{}", seen.len());
}

#[test]
fn constants_are_known() {
    for (format, constant) in [
        ("", true),
        ("a%%b", true),
        ("%HOSTNAME%", true),
        ("%START_TIME(x)%", true),
        ("%START_TIME%", false),
        ("x%PROTOCOL%", false),
    ] {
        assert_eq!(
            Format::text(format, false).unwrap().is_constant(),
            constant,
            "{format}"
        );
    }
    assert!(
        Format::json(&json!({"a": [1, "x"]}), false)
            .unwrap()
            .is_constant()
    );
    assert!(
        !Format::json(&json!({"a": [1, "%PROTOCOL%"]}), false)
            .unwrap()
            .is_constant()
    );
}

#[test]
fn attributes() {
    let mut exchange = proxied();
    exchange.flags = Flags::NO_ROUTE_FOUND;
    exchange.virtual_host = Some("v".into());
    for (name, value) in [
        ("source.address", Some("1.2.3.4:0")),
        ("source.port", Some("0")),
        ("destination.address", Some("127.0.0.1:21841")),
        ("request.path", Some("/path/to?a=1&enc=%41%20b+c&b")),
        ("request.url_path", Some("/path/to")),
        ("request.query", Some("a=1&enc=%41%20b+c&b")),
        ("request.method", Some("POST")),
        ("request.host", Some("127.0.0.1:21841")),
        ("request.time", Some("2026-11-24T03:44:36.689Z")),
        ("request.duration", Some("4")),
        ("response.code", Some("200")),
        ("response.flags", Some("NR")),
        ("response.backend_latency", Some("2")),
        ("upstream.cluster", Some("c0")),
        ("upstream.port", Some("21842")),
        ("xds.virtual_host_name", Some("v")),
        ("route.name", Some("main")),
        ("connection.tls_version", None),
        ("response.grpc_status", None),
    ] {
        let mut out = Vec::new();
        let found = Attribute::parse(name).unwrap().value(&exchange, &mut out);
        assert_eq!(
            found.then(|| String::from_utf8(out).unwrap()).as_deref(),
            value,
            "{name}"
        );
    }
    for name in ["response.code", "response.flags", "upstream.host"] {
        let mut out = Vec::new();
        assert!(
            !Attribute::parse(name).unwrap().value(&started(), &mut out),
            "{name}"
        );
        assert!(out.is_empty(), "{name}");
    }
    assert_eq!(
        Attribute::parse("request.pathh").unwrap_err().to_string(),
        "unknown attribute \"request.pathh\", did you mean \"request.path\"?"
    );
}

fn any_format() -> impl Strategy<Value = String> {
    let names: Vec<&'static str> = operator::names().collect();
    let command = (
        proptest::sample::select(names),
        proptest::option::of("[a-zA-Z:?%()_0-9 ]{0,12}"),
        proptest::option::of(0_usize..200),
    )
        .prop_map(|(name, parameters, length)| {
            let parameters = parameters.map_or_else(String::new, |inner| format!("({inner})"));
            let length = length.map_or_else(String::new, |length| format!(":{length}"));
            format!("%{name}{parameters}{length}%")
        });
    let piece = prop_oneof![command, "\\PC{0,8}", Just("%%".to_owned())];
    proptest::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any_format().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        Just(Value::Null),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("\\PC{0,6}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_text_panics(format in any_format(), other: String) {
        for format in [&format, &other] {
            if let Ok(compiled) = Format::text(format, true) {
                compiled.render(&proxied(), &mut Vec::new());
            }
        }
    }

    #[test]
    fn json_output_parses_whatever_the_headers_are(
        value in any_json(),
        omit_empty: bool,
        bytes in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let mut exchange = proxied();
        exchange.request.append_bytes(b"a", &bytes);
        exchange.metadata.set("a", "b", &bytes);
        let format = json!({
            "inner": value, "raw": "%REQ(a)%", "all": "%DYNAMIC_METADATA(a)%", "cut": "%REQ(a):3%",
        });
        if let Ok(compiled) = Format::json(&format, omit_empty) {
            let mut out = Vec::new();
            compiled.render(&exchange, &mut out);
            let line = String::from_utf8(out).unwrap();
            prop_assert!(serde_json::from_str::<Value>(&line).is_ok(), "{line}");
            prop_assert_eq!(line.matches('\n').count(), 1);
        }
    }
}
