//! From hop to hop: forwarding headers inside a network and at its edge, and HTTP/1.1 and HTTP/2 on
//! either side, gRPC included.

#![expect(clippy::too_many_lines, reason = "tables of cases")]

use h2::Reason;
use nuncio_tests::compare::case::{Case, Group, Step, request};
use nuncio_tests::h2_client::H2Send;
use nuncio_tests::h2_origin::H2Reply;
use nuncio_tests::origin::Reply;

const HOPS: &str = include_str!("../../cases/hops.yaml");

const ENVOY_HEADERS: &str = "X-Envoy-Retry-On: 5xx\r\nX-Envoy-Retry-Grpc-On: cancelled\r\n\
    X-Envoy-Max-Retries: 2\r\nX-Envoy-Retriable-Status-Codes: 500\r\n\
    X-Envoy-Retriable-Header-Names: x\r\nX-Envoy-Hedge-On-Per-Try-Timeout: true\r\n\
    X-Envoy-Is-Timeout-Retry: true\r\nX-Envoy-Upstream-Alt-Stat-Name: x\r\n\
    X-Envoy-Upstream-Rq-Timeout-Ms: 5000\r\nX-Envoy-Upstream-Rq-Per-Try-Timeout-Ms: 4000\r\n\
    X-Envoy-Upstream-Rq-Timeout-Alt-Response: 1\r\nX-Envoy-Upstream-Stream-Duration-Ms: 3000\r\n\
    X-Envoy-Expected-Rq-Timeout-Ms: 1\r\nX-Envoy-Force-Trace: true\r\nX-Envoy-Ip-Tags: t\r\n\
    X-Envoy-Original-Path: /o\r\nX-Envoy-Original-Url: /u\r\nX-Envoy-Internal: true\r\n\
    X-Envoy-Decorator-Operation: op\r\nX-Envoy-External-Address: 9.9.9.9\r\n\
    X-Envoy-Downstream-Service-Cluster: c\r\nX-Envoy-Downstream-Service-Node: n\r\n\
    X-Envoy-Attempt-Count: 5\r\nX-Envoy-Original-Dst-Host: 1.2.3.4:5\r\nX-Envoy-Unknown: 1\r\n\
    X-Envoy-Original-Host: h\r\n";

/// Forwarding headers, on both listeners.
pub(crate) fn forwarding() -> Group {
    let table = [
        ("nothing", ""),
        ("one address", "X-Forwarded-For: 1.2.3.4\r\n"),
        ("two addresses", "X-Forwarded-For: 1.2.3.4, 10.0.0.1\r\n"),
        (
            "two lines",
            "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: 5.6.7.8\r\n",
        ),
        ("a private address", "X-Forwarded-For: 10.0.0.1\r\n"),
        ("an IPv6 address", "X-Forwarded-For: 2001:db8::1\r\n"),
        ("an empty list", "X-Forwarded-For:\r\n"),
        ("what is no address", "X-Forwarded-For: somebody\r\n"),
        ("proto https", "X-Forwarded-Proto: https\r\n"),
        ("an unknown proto", "X-Forwarded-Proto: bogus\r\n"),
        ("an empty proto", "X-Forwarded-Proto:\r\n"),
        (
            "host and port",
            "X-Forwarded-Host: h\r\nX-Forwarded-Port: 1\r\nForwarded: for=1.2.3.4\r\nVia: 1.1 v\r\n",
        ),
        (
            "a request id",
            "X-Request-Id: 11111111-1111-4111-8111-111111111111\r\n",
        ),
        ("a request id that is no UUID", "X-Request-Id: my-id\r\n"),
        ("an empty request id", "X-Request-Id:\r\n"),
        ("every x-envoy header", ENVOY_HEADERS),
        ("a client trace id", "X-Client-Trace-Id: t\r\n"),
        (
            "a user agent",
            "User-Agent: u\r\nX-Forwarded-Client-Cert: Hash=1\r\n",
        ),
    ];
    let mut cases = Vec::new();
    for (name, headers) in table {
        cases.push(Case::get(&format!("inside, {name}"), "/up", headers));
        cases.push(Case::get(&format!("edge, {name}"), "/up", headers).at("edge"));
    }
    cases.extend([
        Case::http2("inside, HTTP/2", H2Send::new("GET", "/up")),
        Case::http2(
            "edge, HTTP/2",
            H2Send::new("GET", "/up").header("x-forwarded-for", "1.2.3.4"),
        )
        .at("edge"),
        Case::http2(
            "edge, HTTP/2 with scheme https",
            H2Send::new("GET", "/up").base("https://a.example"),
        )
        .at("edge"),
        Case::get("edge, no route to the upstream", "/h2/refused", "").at("edge"),
        Case::http1(
            "edge, absolute form with https",
            "GET https://a.example/up HTTP/1.1\r\nHost: a.example\r\n\r\n",
        )
        .at("edge"),
        Case::http1(
            "edge, absolute form with https in upper case",
            "POST HTTPS://a.example HTTP/1.1\r\nContent-Length: 1\r\n\r\na",
        )
        .at("edge"),
        Case::http1(
            "edge, absolute form with http",
            "GET http://a.example/up HTTP/1.1\r\n\r\n",
        )
        .at("edge"),
        Case::get(
            "inside, an empty proto, answered here",
            "/direct",
            "X-Forwarded-Proto:\r\n",
        ),
        Case::get(
            "inside, an empty proto, a WebSocket",
            "/up",
            "X-Forwarded-Proto:\r\nConnection: upgrade\r\nUpgrade: websocket\r\n",
        ),
        Case::http2(
            "inside, HTTP/2, an empty proto",
            H2Send::new("GET", "/up").header("x-forwarded-proto", ""),
        ),
    ]);
    cases.extend(schemes());
    Group::new("forwarding", HOPS, cases)
}

/// What `:scheme` is, by the request and by what is said of it.
fn schemes() -> Vec<Case> {
    let mut cases = Vec::new();
    for listener in ["listener", "edge"] {
        for said in ["", "http", "https", "HTTPS", "bogus"] {
            let field = match said {
                "" => String::new(),
                said => format!("X-Forwarded-Proto: {said}\r\n"),
            };
            for path in ["/scheme", "/away", "/direct", "/h2"] {
                for target in [path.to_owned(), format!("http://a.example{path}")] {
                    let request =
                        format!("GET {target} HTTP/1.1\r\nHost: a.example\r\n{field}\r\n");
                    let name = format!("{listener}, {target} of {said}");
                    cases.push(Case::http1(&name, &request).at(listener));
                }
                for base in ["http://a.example", "https://a.example"] {
                    let mut send = H2Send::new("GET", path).base(base);
                    if !said.is_empty() {
                        send = send.header("x-forwarded-proto", said);
                    }
                    let name = format!("{listener}, HTTP/2, {base}{path} of {said}");
                    cases.push(Case::http2(&name, send).at(listener));
                }
            }
        }
    }
    for path in ["/scheme", "/away", "/h2"] {
        let request =
            format!("GET https://a.example{path} HTTP/1.1\r\nX-Forwarded-Proto: http\r\n\r\n");
        cases.push(Case::http1(&format!("inside, https {path}"), &request));
    }
    cases
}

/// HTTP/2 from the client, HTTP/1.1 to the upstream.
pub(crate) fn h2_to_h1() -> Group {
    let h2 = |name: &str, send: H2Send| Case::http2(name, send);
    let get = || H2Send::new("GET", "/up");
    let post = || H2Send::new("POST", "/up");
    let answer = |name: &str, reply: &str| h2(name, get()).reply_bytes(reply);
    let cases = vec![
        h2("GET", get()),
        h2("GET with an empty DATA frame", get().body("")),
        h2("HEAD", H2Send::new("HEAD", "/up")),
        h2(
            "POST with a length",
            post().header("content-length", "3").body("abc"),
        ),
        h2("POST without a length", post().body("abc")),
        h2("POST without a body", post()),
        h2(
            "POST with trailers",
            post().body("abc").trailer("x-trailer", "1"),
        ),
        h2("a larger body", post().body("0123456789".repeat(5_000))),
        h2(
            "cookies",
            get().header("cookie", "a=1").header("cookie", "b=2"),
        ),
        h2(
            "duplicate headers",
            get()
                .header("x-a", "1")
                .header("x-a", "2")
                .header("x-b", "3"),
        ),
        h2("a host header", get().header("host", "other.example")),
        h2("another scheme", get().base("https://b.example:8443")),
        h2("te trailers", get().header("te", "trailers")),
        h2(
            "expect",
            post().header("expect", "100-continue").body("abc"),
        ),
        h2("an unknown method", H2Send::new("FOO", "/up")),
        h2("asterisk", H2Send::new("OPTIONS", "*")),
        h2("an underscore", get().header("x_a", "1")),
        h2("many headers", many(get(), 95)),
        h2("too many headers", many(get(), 101)),
        h2("a large header", get().header("x-a", &"a".repeat(30_000))),
        answer(
            "a length",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Up: 1\r\n\r\nhello",
        ),
        answer(
            "chunks and a trailer",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n",
        ),
        answer("no body", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        answer("204", "HTTP/1.1 204 No Content\r\n\r\n"),
        answer("304", "HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n"),
        answer(
            "103",
            "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        ),
        answer(
            "hop-by-hop headers",
            "HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
             Proxy-Connection: a\r\nContent-Length: 2\r\n\r\nok",
        ),
        h2("cut short", get())
            .reply(Reply::bytes("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc").close()),
        h2("until close", get()).reply(Reply::bytes("HTTP/1.1 200 OK\r\n\r\nabc").close()),
        h2("closed without a byte", get()).reply(Reply::nothing().close()),
        h2("garbage", get()).reply_bytes("garbage\r\n\r\n"),
        h2("gRPC to an HTTP/1.1 upstream", H2Send::grpc("/up")),
        h2("HTTP/2 where only HTTP/1.1 is spoken", get()).at("http1_only"),
        h2("HTTP/2 where only HTTP/2 is spoken", get()).at("http2_only"),
        Case::steps(
            "HTTP/1.1 where only HTTP/2 is spoken",
            vec![Step::Send(request("GET", "/up", "", "")), Step::ExpectClose],
        )
        .at("http2_only")
        .without_log(),
    ];
    Group::new("http2 to http1", HOPS, cases)
}

fn many(send: H2Send, count: usize) -> H2Send {
    (0..count).fold(send, |send, number| {
        send.header(&format!("x-{number}"), "a")
    })
}

/// HTTP/1.1 from the client, HTTP/2 to the upstream.
pub(crate) fn h1_to_h2() -> Group {
    let get = |name: &str, headers: &str| Case::get(name, "/h2", headers);
    let post =
        |name: &str, headers: &str, body: &str| Case::request(name, "POST", "/h2", headers, body);
    let answer = |name: &str, reply: H2Reply| get(name, "").h2_reply(reply);
    let ok = || H2Reply::status(200);
    let cases = vec![
        get("GET", "X-A: 1\r\nUser-Agent: u\r\n"),
        Case::request("HEAD", "HEAD", "/h2", "", "").h2_reply(ok().header("content-length", "10")),
        post("POST with a length", "Content-Length: 3\r\n", "abc"),
        post(
            "POST in chunks",
            "Transfer-Encoding: chunked\r\n",
            "3\r\nabc\r\n0\r\n\r\n",
        ),
        post("POST without a body", "", ""),
        post(
            "POST with trailers",
            "Transfer-Encoding: chunked\r\n",
            "3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n",
        ),
        get(
            "hop-by-hop headers",
            "Connection: keep-alive, x-a\r\nX-A: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\n",
        ),
        get("cookies", "Cookie: a=1\r\nCookie: b=2; c=3\r\n"),
        // Were it passed on, it would be the answer to the next request.
        answer(
            "content behind a 304",
            H2Reply::status(304).body("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"),
        ),
        get("duplicate headers", "X-A: 1\r\nX-A: 2\r\n"),
        get("a query", "").replaced("/h2 ", "/h2?a=b&c "),
        get("braces and others in a target", "").replaced("/h2 ", "/h2{a}|\\^?{b}|` "),
        get("quotes in a query", "").replaced("/h2 ", "/h2?a=\"b\" "),
        get("angles in a path", "").replaced("/h2 ", "/h2<a> "),
        get("no host", "").replaced("Host: a.example", "Host:"),
        get("a host that is no name", "").replaced("a.example", "a:b%41:c"),
        get(
            "an upgrade",
            "Connection: Upgrade\r\nUpgrade: websocket\r\n",
        ),
        post(
            "expect",
            "Expect: 100-continue\r\nContent-Length: 3\r\n",
            "abc",
        ),
        answer(
            "a body without length",
            ok().header("x-up", "1").body("hello"),
        ),
        answer(
            "a body with length",
            ok().header("content-length", "5").body("hello"),
        ),
        answer("no body", ok()),
        answer("an empty body", ok().body("")),
        answer("trailers", ok().body("hello").trailer("x-trailer", "1")),
        answer("trailers without body", ok().trailer("x-trailer", "1")),
        answer("204", H2Reply::status(204)),
        answer("304", H2Reply::status(304).header("etag", "x")),
        answer("404", H2Reply::status(404).body("gone")),
        answer(
            "duplicates",
            ok().header("set-cookie", "a=1")
                .header("set-cookie", "b=2")
                .body(""),
        ),
        answer(
            "server and date of its own",
            ok().header("server", "own")
                .header("date", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ),
        answer("a reset before headers", ok().reset(Reason::INTERNAL_ERROR)),
        answer("a refused stream", ok().reset(Reason::REFUSED_STREAM)),
        answer(
            "a reset after headers",
            ok().body("abc").reset(Reason::INTERNAL_ERROR),
        ),
        Case::get("an upstream that refuses", "/h2/refused", ""),
        Case::request(
            "gRPC",
            "POST",
            "/h2",
            "Content-Type: application/grpc\r\nTE: trailers\r\nContent-Length: 5\r\n",
            "\0\0\0\0\0",
        )
        .h2_reply(
            ok().header("content-type", "application/grpc")
                .body([0; 5])
                .trailer("grpc-status", "0"),
        ),
    ];
    Group::new("http1 to http2", HOPS, cases)
}

/// HTTP/2 on both sides.
pub(crate) fn h2_to_h2() -> Group {
    let h2 = |name: &str, send: H2Send| Case::http2(name, send);
    let get = || H2Send::new("GET", "/h2");
    let grpc = || H2Send::grpc("/h2/package.Service/Method");
    let ok = || H2Reply::status(200);
    let grpc_ok = || ok().header("content-type", "application/grpc");
    let cases = vec![
        h2("GET", get()),
        h2(
            "GET with a host header",
            get().header("host", "other.example"),
        ),
        h2("HEAD", H2Send::new("HEAD", "/h2")).h2_reply(ok().header("content-length", "10")),
        h2("POST", H2Send::new("POST", "/h2").body("abc")),
        h2(
            "POST with trailers",
            H2Send::new("POST", "/h2").body("abc").trailer("x-t", "1"),
        ),
        h2(
            "trailers without body",
            H2Send::new("POST", "/h2").trailer("x-t", "1"),
        ),
        h2(
            "a larger body",
            H2Send::new("POST", "/h2").body("0123456789".repeat(20_000)),
        ),
        h2(
            "cookies",
            get().header("cookie", "a=1").header("cookie", "b=2"),
        ),
        h2("another scheme", get().base("https://b.example")),
        h2("a larger answer", get()).h2_reply(ok().body("0123456789".repeat(20_000))),
        h2("trailers in the answer", get()).h2_reply(ok().body("a").trailer("x-t", "1")),
        h2("gRPC", grpc()).h2_reply(
            grpc_ok()
                .body([0; 5])
                .trailer("grpc-status", "0")
                .trailer("grpc-message", "fine"),
        ),
        h2("gRPC with an error", grpc()).h2_reply(
            grpc_ok()
                .body("")
                .trailer("grpc-status", "5")
                .trailer("grpc-message", "not found"),
        ),
        h2("gRPC with trailers only", grpc()).h2_reply(
            grpc_ok()
                .header("grpc-status", "7")
                .header("grpc-message", "denied"),
        ),
        h2("gRPC without trailers", grpc()).h2_reply(grpc_ok().body([0; 5])),
        h2("gRPC and a status that is not 200", grpc()).h2_reply(H2Reply::status(503).body("no")),
        h2(
            "gRPC with a timeout header",
            grpc().header("grpc-timeout", "1S"),
        )
        .h2_reply(grpc_ok().body("").trailer("grpc-status", "0")),
        h2("a reset before headers", get()).h2_reply(ok().reset(Reason::INTERNAL_ERROR)),
        h2("a reset after headers", get()).h2_reply(ok().body("abc").reset(Reason::INTERNAL_ERROR)),
        h2("gRPC, a reset before headers", grpc()).h2_reply(ok().reset(Reason::INTERNAL_ERROR)),
        h2("gRPC, a reset after headers", grpc())
            .h2_reply(grpc_ok().body([0; 5]).reset(Reason::CANCEL)),
        h2(
            "an upstream that refuses",
            H2Send::new("GET", "/h2/refused"),
        ),
        h2(
            "gRPC, an upstream that refuses",
            H2Send::grpc("/h2/refused"),
        ),
        h2("204", get()).h2_reply(H2Reply::status(204)),
        h2("many headers back", get()).h2_reply((0..99).fold(ok(), |reply, number| {
            reply.header(&format!("x-{number}"), "a")
        })),
        h2("too many headers back", get()).h2_reply((0..101).fold(ok(), |reply, number| {
            reply.header(&format!("x-{number}"), "a")
        })),
        h2("an HTTP/1.1 upstream beside it", H2Send::new("GET", "/up"))
            .reply_bytes("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    ];
    Group::new("http2 to http2", HOPS, cases)
}

/// Names of fields that the two may know, and some that they do not.
const NAMES: &str = "\
    accept accept-encoding accept-language accept-ranges access-control-allow-credentials \
    access-control-allow-headers access-control-allow-methods access-control-allow-origin access-control-allow-private-network \
    access-control-expose-headers access-control-max-age access-control-request-headers \
    access-control-request-method access-control-request-private-network age allow alt-svc \
    authentication authorization baggage cache-control cdn-loop connect-accept-encoding \
    content-disposition content-encoding content-language content-location content-range \
    content-security-policy content-type date dnt etag expect expires forwarded \
    grpc-accept-encoding grpc-encoding grpc-message grpc-status grpc-timeout if-match \
    if-modified-since if-none-match if-range if-unmodified-since keep-alive last-modified link \
    location origin pragma proxy-authenticate proxy-authorization proxy-connection proxy-status \
    range referer retry-after server set-cookie strict-transport-security te traceparent \
    tracestate trailer upgrade-insecure-requests user-agent vary via warning www-authenticate \
    x-b3-traceid x-client-trace-id x-envoy-attempt-count x-envoy-decorator-operation \
    x-envoy-degraded x-envoy-downstream-service-cluster x-envoy-downstream-service-node \
    x-envoy-external-address x-envoy-force-trace x-envoy-hedge-on-per-try-timeout \
    x-envoy-immediate-health-check-fail x-envoy-internal x-envoy-ip-tags x-envoy-max-retries \
    x-envoy-original-path x-envoy-overloaded x-envoy-ratelimited x-envoy-retriable-status-codes \
    x-envoy-retry-on x-envoy-upstream-alt-stat-name x-envoy-upstream-canary \
    x-envoy-upstream-healthchecked-cluster x-envoy-upstream-rq-timeout-ms \
    x-envoy-upstream-service-time x-foo x-forwarded-client-cert x-forwarded-for x-forwarded-host \
    x-forwarded-port x-forwarded-proto x-forwarded-scheme x-frame-options x-ot-span-context \
    x-powered-by x-request-id";

/// Two lines of one name, in requests and responses, from and to either protocol.
pub(crate) fn lines() -> Group {
    let mut cases = Vec::new();
    for name in NAMES.split_whitespace() {
        let twice = format!("{name}: a\r\n{name}: b\r\n");
        let of_h1 = format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{twice}\r\n");
        let of_h2 = H2Reply::status(200).header(name, "a").header(name, "b");
        let of_client = H2Send::new("GET", "/h2")
            .header(name, "a")
            .header(name, "b");
        cases.push(Case::get(&format!("{name}, HTTP/1.1"), "/up", &twice).reply_bytes(of_h1));
        if !["te", "keep-alive", "proxy-connection"].contains(&name) {
            let case = Case::http2(&format!("{name}, HTTP/2"), of_client);
            cases.push(case.h2_reply(of_h2));
        }
    }
    Group::new("lines", HOPS, cases)
}
