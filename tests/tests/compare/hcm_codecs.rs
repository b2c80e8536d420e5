//! The options of the codecs: HTTP/1.0, methods, lengths beside chunks, and what ends a connection.

use std::time::Duration;

use nuncio_tests::compare::case::{Case, Group, Step};
use nuncio_tests::frames::{self, flag, kind};
use nuncio_tests::h2_client::H2Send;
use nuncio_tests::h2_origin::H2Reply;
use nuncio_tests::origin::{Act, Reply};

use crate::hcm::{group, with};

fn old(name: &str, request: &str, headers: &str) -> Case {
    Case::http1(name, format!("{request} HTTP/1.0\r\n{headers}\r\n"))
}

/// HTTP/1.0 clients.
pub(crate) fn http10() -> Group {
    let listeners = [
        with(
            "listener",
            "http_protocol_options: { accept_http_10: true }",
        ),
        with(
            "default_host",
            "http_protocol_options: { accept_http_10: true, default_host_for_http_10: stripped.example }",
        ),
        with("off", ""),
    ];
    let host = "Host: a.example\r\n";
    let keep = "Host: a.example\r\nConnection: keep-alive\r\n";
    let no_length = || Reply::bytes("HTTP/1.1 200 OK\r\n\r\nuntil the end").close();
    let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let cases = vec![
        old("with a host", "GET /up", host),
        old("without a host", "GET /up", ""),
        old("a default host", "GET /up", "").at("default_host"),
        old("a host beside the default one", "GET /up", host).at("default_host"),
        old("an absolute target", "GET http://b.example/up", ""),
        old("kept alive", "GET /up", keep),
        old(
            "not kept alive",
            "GET /up",
            "Host: a\r\nConnection: close\r\n",
        ),
        old("HEAD", "HEAD /up", host),
        old("HEAD, kept alive", "HEAD /up", keep),
        old("a response with chunks", "GET /up", host).reply_bytes(chunks),
        old("a response with chunks, kept alive", "GET /up", keep).reply_bytes(chunks),
        old("a response without a length", "GET /up", keep).reply(no_length()),
        old("HEAD of a response with chunks", "HEAD /up", keep)
            .reply_bytes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        old("no content", "GET /up", keep).reply_bytes("HTTP/1.1 204 No Content\r\n\r\n"),
        old("not modified", "GET /up", keep).reply_bytes("HTTP/1.1 304 Not Modified\r\n\r\n"),
        old("a direct response", "GET /direct", keep),
        old("an empty direct response", "GET /empty", keep),
        old("no upstream", "GET /refused", keep),
        Case::http1(
            "a body",
            "POST /up HTTP/1.0\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        ),
        Case::http1(
            "two requests",
            format!("GET /up HTTP/1.0\r\n{keep}\r\nGET /up HTTP/1.0\r\n{host}\r\n"),
        )
        .and_responses(1),
        old("off", "GET /up", host).at("off"),
        Case::get("HTTP/1.1", "/up", ""),
    ];
    group("http10", &listeners, cases)
}

/// Methods, lengths, targets, and errors of a stream.
pub(crate) fn strictness() -> Group {
    let listeners = [
        with(
            "listener",
            "http_protocol_options: { allow_custom_methods: true }",
        ),
        with(
            "chunked_length",
            "http_protocol_options: { allow_chunked_length: true }",
        ),
        with(
            "no_absolute",
            "http_protocol_options: { allow_absolute_url: false }",
        ),
        with(
            "stream_errors",
            "stream_error_on_invalid_http_message: true",
        ),
        with(
            "overridden",
            "stream_error_on_invalid_http_message: true\nhttp_protocol_options: { override_stream_error_on_invalid_http_message: false }",
        ),
        with("small_heads", "max_request_headers_kb: 2"),
        with(
            "few_requests",
            "common_http_protocol_options: { max_requests_per_connection: 2 }",
        ),
    ];
    let long = |bytes: usize| format!("X-Long: {}\r\n", "a".repeat(bytes));
    let long_h2 = |bytes: usize| H2Send::new("GET", "/up").header("x-long", &"a".repeat(bytes));
    let both = "POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let cases = vec![
        Case::get("a head that is long enough", "/up", &long(1500)).at("small_heads"),
        Case::get("a head that is too long", "/up", &long(3000)).at("small_heads"),
        Case::http2("HTTP/2, a head that is long enough", long_h2(1500)).at("small_heads"),
        Case::http2("HTTP/2, a head that is too long", long_h2(3000)).at("small_heads"),
        Case::request("a method of its own", "FOO", "/up", "", ""),
        Case::request("a method in lower case", "get", "/up", "", ""),
        Case::request("a method with odd bytes", "a!#~", "/up", "", ""),
        Case::request("a method that is none", "a(b", "/up", "", ""),
        Case::http1("length and chunks", both).at("chunked_length"),
        Case::http1(
            "length and another coding",
            both.replace("chunked", "gzip, chunked"),
        )
        .at("chunked_length"),
        Case::http1(
            "two lengths and chunks",
            both.replace("9\r\n", "9\r\nContent-Length: 9\r\n"),
        )
        .at("chunked_length"),
        Case::http1("length and chunks, by default", both).at("overridden"),
        Case::http1(
            "an absolute target",
            "GET http://b.example/up HTTP/1.1\r\nHost: a\r\n\r\n",
        )
        .at("no_absolute"),
        Case::get("a 400 of a route, kept", "/direct/400", "").at("stream_errors"),
        Case::get("a 400 of a route, closed", "/direct/400", "").at("overridden"),
        Case::http1(
            "a malformed request",
            "GET /up HTTP/1.1\r\nbad header\r\n\r\n",
        )
        .at("stream_errors"),
        Case::http1(
            "more requests than a connection may have",
            "GET /up HTTP/1.1\r\nHost: a.example\r\n\r\n".repeat(3),
        )
        .and_responses(1)
        .closes()
        .at("few_requests"),
    ];
    group("strictness", &listeners, cases)
}

/// What ends a request that does not end.
pub(crate) fn timeouts() -> Group {
    let listeners = [
        with("listener", "request_timeout: 0.3s"),
        with("headers", "request_headers_timeout: 0.3s"),
        with("both", "request_headers_timeout: 0.2s\nrequest_timeout: 5s"),
        with(
            "old",
            "common_http_protocol_options: { max_connection_duration: 0.3s }\ndrain_timeout: 0.3s",
        ),
        with(
            "idle",
            "common_http_protocol_options: { idle_timeout: 0.3s }",
        ),
        with("streams", "stream_idle_timeout: 0.3s"),
        with(
            "safe",
            "common_http_protocol_options: { max_connection_duration: 0.3s }\ndrain_timeout: 0.3s\nhttp1_safe_max_connection_duration: true",
        ),
    ];
    let mut cases = slow();
    cases.extend(slow_over_http2());
    cases.extend(old_connections());
    group("timeouts", &listeners, cases)
}

const WHOLE: &str = "GET /up HTTP/1.1\r\nHost: a.example\r\n\r\n";
const BEGUN: &str = "GET /up HTTP/1.1\r\nHost: a.exam";

fn hang() -> Reply {
    Reply::nothing().then(Act::Hang)
}

/// Messages of which something does not come.
fn slow() -> Vec<Case> {
    let head = "POST /up HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\n";
    vec![
        Case::http1("the body does not come", format!("{head}ab")).reply(hang()),
        Case::http1(
            "the body does not come, no route to it",
            head.replace("/up", "/direct"),
        ),
        Case::http1("the head does not come, request", BEGUN),
        Case::http1("the head does not come, headers", BEGUN).at("headers"),
        Case::http1("the head does not come, both", BEGUN).at("both"),
        Case::frames(
            "the head does not come, HTTP/2",
            frames::frame(
                kind::HEADERS,
                flag::END_STREAM,
                1,
                &frames::block(&frames::request("GET", "/up")),
            ),
            Some(1),
        )
        .at("headers"),
        Case::http1("only the body is late", format!("{head}ab"))
            .reply_bytes("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .at("headers")
            .without_log(),
        Case::steps(
            "an empty line is no part of the next head",
            vec![
                Step::Send(WHOLE.into()),
                Step::Receive { to_head: false },
                Step::Send(b"\r\n".into()),
                Step::Pause(Duration::from_secs(1)),
                Step::Send(BEGUN.into()),
                Step::Send(b"ple\r\n\r\n".into()),
                Step::Receive { to_head: false },
            ],
        )
        .at("headers"),
        Case::steps("an idle connection", vec![Step::ExpectClose]).at("idle"),
        Case::http1("the body stops", format!("{head}ab"))
            .reply(hang())
            .at("streams"),
    ]
}

fn slow_over_http2() -> Vec<Case> {
    vec![
        Case::h2_tunnel(
            "the body does not come, HTTP/2",
            H2Send::new("POST", "/up"),
            vec![],
        )
        .reply(hang()),
        Case::http2("nobody answers, HTTP/2", H2Send::new("GET", "/up"))
            .reply(hang())
            .at("streams"),
        Case::http2("the answer stops, HTTP/2", H2Send::new("GET", "/up"))
            .reply(Reply::bytes("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok").then(Act::Hang))
            .at("streams"),
    ]
}

/// Connections that have lasted as long as they may.
fn old_connections() -> Vec<Case> {
    vec![
        Case::steps(
            "an old connection that says nothing",
            vec![Step::ExpectClose],
        )
        .at("old"),
        Case::steps(
            "an old connection that speaks again",
            vec![
                Step::Send(WHOLE.into()),
                Step::Receive { to_head: false },
                Step::ExpectClose,
            ],
        )
        .at("old"),
        Case::steps(
            "an old connection that is told behind its next response",
            vec![
                Step::Send(WHOLE.into()),
                Step::Receive { to_head: false },
                Step::Pause(Duration::from_millis(900)),
                Step::Send(WHOLE.into()),
                Step::Receive { to_head: false },
                Step::ExpectClose,
            ],
        )
        .at("safe"),
    ]
}

/// How names are spelled, and the form of targets.
pub(crate) fn spelling() -> Group {
    let listeners = [
        with("listener", ""),
        with(
            "proper",
            "http_protocol_options: { header_key_format: { proper_case_words: {} }, enable_trailers: true }",
        ),
        with(
            "kept",
            "http_protocol_options:\n  header_key_format:\n    stateful_formatter:\n      name: preserve_case\n      typed_config: { \"@type\": type.googleapis.com/envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig }",
        ),
        with(
            "kept_proper",
            "use_remote_address: true\nhttp_protocol_options:\n  header_key_format:\n    stateful_formatter:\n      name: preserve_case\n      typed_config: { \"@type\": type.googleapis.com/envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig, formatter_type_on_envoy_headers: PROPER_CASE }",
        ),
    ];
    let answer =
        "HTTP/1.1 200 OK\r\nContent-LENGTH: 2\r\nX-aBc: 1\r\nSERVER: me\r\nx_y-z: 2\r\n\r\nok";
    let chunks =
        "HTTP/1.1 200 OK\r\nTRANSFER-encoding: chunked\r\nX-aBc: 1\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let mut cases = Vec::new();
    for listener in &listeners {
        for path in ["/up", "/proper", "/kept", "/proxy?a=b"] {
            let name = format!("{} {path}", listener.name);
            let head = "x-ONE: 1\r\nX-One: 2\r\nuser-AGENT: me\r\nx_y-z: 3\r\nACCEPT: */*\r\n";
            cases.push(
                Case::get(&name, path, head)
                    .at(listener.name)
                    .reply_bytes(answer),
            );
            cases.push(
                Case::request(
                    &format!("{name}, chunks"),
                    "POST",
                    path,
                    "Transfer-ENCODING: chunked\r\nX-FORWARDED-FOR: 1.2.3.4\r\n",
                    "2\r\nab\r\n0\r\n\r\n",
                )
                .at(listener.name)
                .reply_bytes(chunks),
            );
        }
        cases.extend([
            Case::get(
                &format!("{}, no upstream", listener.name),
                "/refused",
                "X-A: 1\r\n",
            )
            .at(listener.name),
            Case::http1(&format!("{}, junk", listener.name), "JUNK\r\n\r\n").at(listener.name),
            Case::request(
                &format!("{}, no content", listener.name),
                "POST",
                "/kept",
                "",
                "",
            )
            .at(listener.name)
            .reply_bytes("HTTP/1.1 204 No Content\r\nX-ABC: 1\r\n\r\n"),
        ]);
    }
    group("spelling", &listeners, cases)
}

/// How large the heads of responses may be.
pub(crate) fn response_heads() -> Group {
    let fields = |count: usize| -> String {
        let lines: String = (0..count).map(|n| format!("x-{n}: 1\r\n")).collect();
        format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{lines}\r\nok")
    };
    let long = |bytes: usize| {
        let value = "a".repeat(bytes);
        format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: {value}\r\n\r\nok")
    };
    let h2 = |count: usize| {
        (0..count).fold(H2Reply::status(200), |reply, n| {
            reply.header(&format!("x-{n}"), "1")
        })
    };
    let listeners = [
        with("listener", ""),
        with("named", "server_name: mine"),
        with(
            "if_absent",
            "server_name: mine\nserver_header_transformation: APPEND_IF_ABSENT",
        ),
        with(
            "passed",
            "server_name: mine\nserver_header_transformation: PASS_THROUGH",
        ),
    ];
    let mut cases = vec![
        Case::get("as many fields as may be", "/brief", "").reply_bytes(fields(4)),
        Case::get("one field more", "/brief", "").reply_bytes(fields(5)),
        Case::get("a long field", "/brief", "").reply_bytes(long(900)),
        Case::get("a field that is too long", "/brief", "").reply_bytes(long(1100)),
        Case::get("by default", "/up", "").reply_bytes(fields(20)),
        Case::get("HTTP/2, as many fields as may be", "/h2brief", "").h2_reply(h2(4)),
        Case::get("HTTP/2, too many fields", "/h2brief", "").h2_reply(h2(8)),
        Case::get("HTTP/2, by default", "/h2", "").h2_reply(h2(20)),
    ];
    for at in ["listener", "named", "if_absent", "passed"] {
        let theirs = "HTTP/1.1 200 OK\r\nServer: theirs\r\nContent-Length: 2\r\n\r\nok";
        let name = |what: &str| format!("server, {at}, {what}");
        cases.extend([
            Case::get(&name("of the upstream"), "/up", "")
                .reply_bytes(theirs)
                .at(at),
            Case::get(&name("none of the upstream"), "/up", "").at(at),
            Case::get(&name("a reply"), "/direct", "").at(at),
        ]);
    }
    group("response heads", &listeners, cases)
}
