//! Requests that are sent again: which outcomes are, how often, with what, and what the client and the
//! log get to see; and the times that a request and each of its tries have.

#![expect(clippy::too_many_lines, reason = "tables of cases")]

use h2::Reason;
use nuncio_tests::compare::case::{Case, Group, Step, request};
use nuncio_tests::h2_client::H2Send;
use nuncio_tests::h2_origin::H2Reply;
use nuncio_tests::origin::{Act, Reply};

const RETRIES: &str = include_str!("../../cases/retries.yaml");
/// A client that may steer the proxy.
const INTERNAL: &str = "X-Forwarded-For: 10.0.0.1\r\n";

fn status(status: u16) -> Reply {
    with(status, "")
}

fn with(status: u16, headers: &str) -> Reply {
    let text = format!("HTTP/1.1 {status} Status\r\n{headers}Content-Length: 0\r\n\r\n");
    Reply::bytes(text)
}

fn cut() -> Reply {
    Reply::nothing().then(Act::Close)
}

fn hung() -> Reply {
    Reply::nothing().then(Act::Hang)
}

/// A GET whose tries get these replies.
fn get(name: &str, path: &str, replies: impl IntoIterator<Item = Reply>) -> Case {
    asking(name, path, "", replies)
}

fn asking(name: &str, path: &str, headers: &str, replies: impl IntoIterator<Item = Reply>) -> Case {
    let case = Case::get(name, path, headers);
    replies.into_iter().fold(case, Case::reply)
}

/// A GET of an internal client.
fn internal(
    name: &str,
    path: &str,
    headers: &str,
    replies: impl IntoIterator<Item = Reply>,
) -> Case {
    asking(name, path, &format!("{INTERNAL}{headers}"), replies)
}

fn post(name: &str, path: &str, body: &str, replies: impl IntoIterator<Item = Reply>) -> Case {
    let length = format!("Content-Length: {}\r\n", body.len());
    let case = Case::request(name, "POST", path, &length, body);
    replies.into_iter().fold(case, Case::reply)
}

/// A POST over HTTP/2 of so many bytes, the first try of which fails.
fn posted_over_http2(name: &str, path: &str, length: usize) -> Case {
    let send = H2Send::new("POST", path).body("x".repeat(length));
    Case::http2(name, send).reply(status(503))
}

fn counted(case: Case) -> Case {
    case.replaced("Host: a.example", "Host: count.example")
}

pub(crate) fn group() -> Group {
    let mut cases = statuses();
    cases.extend(failures());
    cases.extend(bodies());
    cases.extend(of_requests());
    cases.extend(grpc());
    cases.extend(over_http2());
    cases.extend(counts());
    cases.extend(times());
    cases.extend(statistics());
    Group::new("retries", RETRIES, cases)
}

fn statuses() -> Vec<Case> {
    let mut cases = vec![
        get("no policy", "/none", [status(503)]),
        get("5xx, then good", "/5xx", [status(500)]),
        get("5xx twice, then good", "/5xx", [status(503), status(502)]),
        get(
            "5xx to the end",
            "/5xx",
            [status(500), status(501), status(599)],
        ),
        get("num_retries is 1", "/once", [status(503), status(503)]),
        get("num_retries: 0", "/never", [status(503)]),
        get("5xx, then 404", "/5xx", [status(500), status(404)]),
        get("4xx is not 5xx", "/5xx", [status(404)]),
        get("gateway-error, 500", "/gateway", [status(500)]),
        get("gateway-error, 502", "/gateway", [status(502)]),
        get("gateway-error, 503", "/gateway", [status(503)]),
        get("gateway-error, 504", "/gateway", [status(504)]),
        get("gateway-error, 505", "/gateway", [status(505)]),
        get("retriable-4xx, 409", "/4xx", [status(409)]),
        get("retriable-4xx, 408", "/4xx", [status(408)]),
        get("retriable-4xx, 429", "/4xx", [status(429)]),
        get("retriable-status-codes, 404", "/codes", [status(404)]),
        get("retriable-status-codes, 418", "/codes", [status(418)]),
        get("retriable-status-codes, 500", "/codes", [status(500)]),
        get(
            "retriable-headers, the value",
            "/headers",
            [with(200, "X-Again: yes\r\n")],
        ),
        get(
            "retriable-headers, another value",
            "/headers",
            [with(200, "X-Again: no\r\n")],
        ),
        get("retriable-headers, none", "/headers", [status(503)]),
        get(
            "retriable_request_headers match",
            "/get-only",
            [status(503)],
        ),
        post(
            "retriable_request_headers do not match",
            "/get-only",
            "",
            [status(503)],
        ),
        get(
            "envoy-ratelimited",
            "/limited",
            [with(429, "X-Envoy-Ratelimited: true\r\n")],
        ),
        get("429 without x-envoy-ratelimited", "/limited", [status(429)]),
        get(
            "5xx with x-envoy-ratelimited",
            "/5xx",
            [with(503, "X-Envoy-Ratelimited: true\r\n")],
        ),
        get(
            "5xx with x-envoy-overloaded",
            "/5xx",
            [with(503, "X-Envoy-Overloaded: true\r\n")],
        ),
        get("told to wait", "/told", [with(503, "Retry-After: 1\r\n")]),
        get(
            "told to wait too long",
            "/told",
            [with(503, "Retry-After: 60\r\n")],
        ),
        get(
            "told to wait until long ago",
            "/told",
            [with(503, "X-Reset: 1\r\n")],
        ),
        get(
            "told nonsense",
            "/told",
            [with(503, "Retry-After: soon\r\n")],
        ),
        get("an unknown word beside 5xx", "/unknown-word", [status(503)]),
        get("no budget", "/no-budget", [status(503)]),
        Case::request("HEAD", "HEAD", "/5xx", "", "").reply(status(503)),
        get(
            "a body that is not passed on",
            "/5xx",
            [Reply::bytes(
                "HTTP/1.1 503 No\r\nContent-Length: 5\r\nX-A: 1\r\n\r\nhello",
            )],
        ),
        get(
            "the last body is passed on",
            "/once",
            [
                status(503),
                Reply::bytes("HTTP/1.1 503 No\r\nContent-Length: 5\r\nX-A: 1\r\n\r\nhello"),
            ],
        ),
        get(
            "a response that breaks off is not sent again",
            "/5xx",
            [Reply::bytes("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello").close()],
        ),
        get(
            "100 before",
            "/5xx",
            [Reply::bytes(
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n",
            )],
        ),
    ];
    cases.push(get(
        "the connection is closed behind a retried 503",
        "/5xx",
        [
            Reply::bytes("HTTP/1.1 503 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
                .close(),
        ],
    ));
    cases
}

fn failures() -> Vec<Case> {
    vec![
        get("closed under 5xx", "/5xx", [cut()]),
        get("closed under gateway-error", "/gateway", [cut()]),
        get("closed under reset", "/reset", [cut()]),
        get("closed under reset to the end", "/reset", [cut(), cut()]),
        get(
            "reset under reset",
            "/reset",
            [Reply::nothing().then(Act::Reset)],
        ),
        get("closed under 5xx to the end", "/once", [cut(), cut()]),
        get(
            "no HTTP under 5xx",
            "/5xx",
            [Reply::bytes("nonsense\r\n\r\n").close()],
        ),
        get(
            "no HTTP under 5xx to the end",
            "/once",
            [
                Reply::bytes("nonsense\r\n\r\n").close(),
                Reply::bytes("nonsense\r\n\r\n").close(),
            ],
        ),
        get(
            "half a head under reset",
            "/reset",
            [Reply::bytes("HTTP/1.1 200 OK\r\nX-A").close()],
        ),
        get(
            "closed under reset-before-request",
            "/reset-before",
            [cut()],
        ),
        get(
            "refused under reset-before-request",
            "/reset-before/refused",
            [],
        ),
        get("refused under connect-failure", "/connect", []),
        get("refused under other words", "/unconnected", []),
        post("refused with a body", "/connect", "abc", []),
        // Which of the two is first is a matter of chance.
        get("refused at one of two", "/other-host", []).without_log(),
        get("and once more", "/other-host", []).without_log(),
    ]
}

fn bodies() -> Vec<Case> {
    let long = "0123456789".repeat(500);
    let chunked = |name: &str, path: &str, body: &str| {
        Case::request(name, "POST", path, "Transfer-Encoding: chunked\r\n", body)
    };
    vec![
        post("a body is sent again", "/5xx", "hello", [status(503)]),
        post(
            "a body is sent three times",
            "/5xx",
            "hello",
            [status(503), cut()],
        ),
        post("an empty body", "/5xx", "", [status(503)]),
        chunked("chunks", "/5xx", "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n").reply(status(503)),
        chunked("no chunk", "/5xx", "0\r\n\r\n").reply(status(503)),
        post(
            "above the listener's buffer limit",
            "/5xx",
            &long,
            [status(503)],
        ),
        post("below it", "/5xx", &"x".repeat(4000), [status(503)]),
        posted_over_http2("above it, within the window of a stream", "/5xx", 20_000),
        posted_over_http2("above both", "/5xx", 70_000),
        posted_over_http2("within a window that is less", "/5xx", 60_000).at("narrow"),
        posted_over_http2("above a window that is less", "/5xx", 70_000).at("narrow"),
        post(
            "above it, where no window counts",
            "/5xx",
            &"x".repeat(70_000),
            [status(503)],
        )
        .at("narrow"),
        post(
            "above per_request_buffer_limit_bytes",
            "/5xx",
            "0123456789a",
            [status(503)],
        )
        .replaced("a.example", "small.example"),
        post(
            "at per_request_buffer_limit_bytes",
            "/5xx",
            "0123456789",
            [status(503)],
        )
        .replaced("a.example", "small.example"),
        post(
            "above request_body_buffer_limit",
            "/5xx",
            "0123",
            [status(503)],
        )
        .replaced("a.example", "smaller.example"),
        post("at request_body_buffer_limit", "/5xx", "012", [status(503)])
            .replaced("a.example", "smaller.example"),
        post("without a policy", "/none", "hello", [status(503)]),
        Case::steps(
            "a reply before the end of the body",
            vec![
                Step::Send(request("POST", "/5xx", "Content-Length: 10\r\n", "hello")),
                Step::WaitForUpstream,
                Step::Send(b"world".into()),
                Step::Receive { to_head: false },
            ],
        )
        .reply(status(503)),
        Case::http2(
            "HTTP/2, a body and trailers",
            H2Send::new("POST", "/5xx")
                .body("hello")
                .trailer("x-t", "1"),
        )
        .reply(status(503)),
    ]
}

fn of_requests() -> Vec<Case> {
    vec![
        asking(
            "an external x-envoy-retry-on",
            "/none",
            "X-Envoy-Retry-On: 5xx\r\n",
            [status(503)],
        ),
        internal(
            "x-envoy-retry-on",
            "/none",
            "X-Envoy-Retry-On: 5xx\r\n",
            [status(503)],
        ),
        internal(
            "x-envoy-retry-on with a gRPC word",
            "/none",
            "X-Envoy-Retry-On: unavailable\r\n",
            [with(200, "grpc-status: 14\r\n")],
        ),
        internal(
            "x-envoy-retry-grpc-on",
            "/none",
            "X-Envoy-Retry-Grpc-On: unavailable\r\n",
            [with(200, "grpc-status: 14\r\n")],
        ),
        internal(
            "x-envoy-max-retries",
            "/5xx",
            "X-Envoy-Max-Retries: 1\r\n",
            [status(503), status(503), status(503)],
        ),
        internal(
            "x-envoy-max-retries: 0",
            "/5xx",
            "X-Envoy-Max-Retries: 0\r\n",
            [status(503)],
        ),
        internal(
            "x-envoy-max-retries: x",
            "/once",
            "X-Envoy-Max-Retries: x\r\n",
            [status(503)],
        ),
        internal(
            "x-envoy-max-retries alone",
            "/none",
            "X-Envoy-Max-Retries: 3\r\n",
            [status(503)],
        ),
        internal(
            "x-envoy-retriable-status-codes",
            "/none",
            "X-Envoy-Retry-On: retriable-status-codes\r\nX-Envoy-Retriable-Status-Codes: 404, 410\r\n",
            [status(410)],
        ),
        internal(
            "x-envoy-retriable-header-names",
            "/none",
            "X-Envoy-Retry-On: retriable-headers\r\nX-Envoy-Retriable-Header-Names: X-One, X-Two\r\n",
            [with(200, "X-Two: 1\r\n")],
        ),
        internal(
            "more words than the route's",
            "/gateway",
            "X-Envoy-Retry-On: retriable-4xx\r\n",
            [status(409)],
        ),
        internal(
            "every header about attempts",
            "/none",
            "X-Envoy-Retry-On: 5xx\r\nX-Envoy-Retry-Grpc-On: internal\r\nX-Envoy-Max-Retries: 1\r\n\
             X-Envoy-Hedge-On-Per-Try-Timeout: false\r\nX-Envoy-Retriable-Header-Names: a\r\n\
             X-Envoy-Retriable-Status-Codes: 404\r\nX-Envoy-Upstream-Rq-Timeout-Ms: 5000\r\n\
             X-Envoy-Upstream-Rq-Per-Try-Timeout-Ms: 4000\r\n\
             X-Envoy-Upstream-Rq-Timeout-Alt-Response: 1\r\n",
            [],
        ),
    ]
}

fn grpc() -> Vec<Case> {
    let mut cases = Vec::new();
    for code in [0, 1, 2, 4, 5, 8, 13, 14] {
        let head = format!("Content-Type: application/grpc\r\ngrpc-status: {code}\r\n");
        let name = format!("grpc-status {code} in the head");
        let headers = "Content-Type: application/grpc\r\nTE: trailers\r\n";
        cases.push(asking(&name, "/grpc", headers, [with(200, &head)]));
    }
    cases.push(
        Case::http2(
            "gRPC over HTTP/2, unavailable",
            H2Send::grpc("/h2/s/m").body("a"),
        )
        .h2_reply(
            H2Reply::status(200)
                .header("content-type", "application/grpc")
                .header("grpc-status", "14"),
        ),
    );
    cases.push(
        Case::http2(
            "gRPC over HTTP/2, status in trailers",
            H2Send::grpc("/h2/s/m").body("a"),
        )
        .h2_reply(
            H2Reply::status(200)
                .header("content-type", "application/grpc")
                .body("x")
                .trailer("grpc-status", "14"),
        ),
    );
    cases.push(asking(
        "a gRPC client and nobody there",
        "/connect",
        "Content-Type: application/grpc\r\n",
        [],
    ));
    cases
}

fn over_http2() -> Vec<Case> {
    let get = |name: &str, path: &str| Case::http2(name, H2Send::new("GET", path));
    vec![
        get("h2: 503, then good", "/h2/a").h2_reply(H2Reply::status(503)),
        get("h2: 503 with a body, then good", "/h2/a").h2_reply(H2Reply::status(503).body("no")),
        get("h2: to the end", "/h2/a")
            .h2_reply(H2Reply::status(503))
            .h2_reply(H2Reply::status(503))
            .h2_reply(H2Reply::status(503)),
        get("h2: refused under refused-stream", "/h2/refused")
            .h2_reply(H2Reply::status(200).reset(Reason::REFUSED_STREAM)),
        get("h2: cancelled under refused-stream", "/h2/refused")
            .h2_reply(H2Reply::status(200).reset(Reason::CANCEL)),
        get("h2: cancelled under reset", "/h2/reset")
            .h2_reply(H2Reply::status(200).reset(Reason::CANCEL)),
        get("h2: internal error under reset to the end", "/h2/reset")
            .h2_reply(H2Reply::status(200).reset(Reason::INTERNAL_ERROR))
            .h2_reply(H2Reply::status(200).reset(Reason::INTERNAL_ERROR)),
        get("h2: refused without a policy", "/h2/none")
            .h2_reply(H2Reply::status(200).reset(Reason::REFUSED_STREAM)),
        get("h2: cancelled without a policy", "/h2/none")
            .h2_reply(H2Reply::status(200).reset(Reason::CANCEL)),
        Case::http2(
            "h2: a body is sent again",
            H2Send::new("POST", "/h2/a").body("hello"),
        )
        .h2_reply(H2Reply::status(503)),
        Case::request(
            "h1 to h2: a body is sent again",
            "POST",
            "/h2/a",
            "Content-Length: 5\r\n",
            "hello",
        )
        .h2_reply(H2Reply::status(503)),
    ]
}

fn counts() -> Vec<Case> {
    vec![
        counted(get("count, no retry", "/none", [])),
        counted(get(
            "count, one retry by the virtual host's policy",
            "/none",
            [status(503)],
        )),
        counted(get("count, the route's policy wins", "/4xx", [status(503)])),
        counted(get(
            "count, to the end",
            "/5xx",
            [status(500), status(500), status(500)],
        )),
        counted(get("count, a reply in its place", "/connect", [])),
        counted(get("count, cut to the end", "/reset", [cut(), cut()])),
        counted(get("count, a timeout is the reason", "/none", [hung()])),
        counted(asking(
            "count, the client's own",
            "/none",
            "X-Envoy-Attempt-Count: 7\r\n",
            [],
        )),
        counted(get(
            "count, the upstream's own",
            "/none",
            [with(200, "X-Envoy-Attempt-Count: 7\r\n")],
        )),
    ]
}

fn times() -> Vec<Case> {
    let late = "X-Envoy-Upstream-Rq-Timeout-Ms: 200\r\n";
    let grpc = |timeout: &str| {
        format!("Content-Type: application/grpc\r\nTE: trailers\r\ngrpc-timeout: {timeout}\r\n")
    };
    vec![
        get("timeout", "/short", [hung()]),
        get("per_try_timeout, then good", "/per-try", [hung()]),
        get("per_try_timeout to the end", "/per-try", [hung(), hung()]),
        get("per_try_timeout without retry_on", "/try-alone", [hung()]),
        get("per_try_idle_timeout, then good", "/try-idle", [hung()]),
        get(
            "per_try_idle_timeout to the end",
            "/try-idle",
            [hung(), hung()],
        ),
        get(
            "per_try_idle_timeout in the body",
            "/try-idle",
            [Reply::bytes("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello").then(Act::Hang)],
        ),
        get(
            "per_try_timeout does not end a response",
            "/per-try",
            [Reply::bytes(
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            )],
        ),
        get("idle_timeout", "/idle", [hung()]),
        get(
            "idle_timeout in the body",
            "/idle",
            [Reply::bytes("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello").then(Act::Hang)],
        ),
        get("max_stream_duration", "/lasting", [hung()]),
        Case::http2(
            "max_stream_duration, HTTP/2",
            H2Send::new("GET", "/lasting"),
        )
        .reply(hung()),
        get(
            "max_stream_duration in the body",
            "/lasting",
            [Reply::bytes("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello").then(Act::Hang)],
        ),
        get("max_stream_duration of the manager", "/none", [hung()]).at("lasting"),
        get(
            "empty max_stream_duration takes the manager's",
            "/lasting/none",
            [hung()],
        )
        .at("lasting"),
        get("max_stream_duration, good", "/lasting", []),
        Case::steps(
            "max_stream_duration while the client sends",
            vec![
                Step::Send(request(
                    "POST",
                    "/lasting",
                    "Content-Length: 10\r\n",
                    "hello",
                )),
                Step::Receive { to_head: false },
            ],
        ),
        asking(
            "grpc-timeout is looked at",
            "/lasting/grpc",
            &grpc("200m"),
            [hung()],
        ),
        asking("grpc-timeout, good", "/lasting/grpc", &grpc("2S"), []),
        asking(
            "grpc-timeout is capped",
            "/lasting/capped",
            &grpc("9S"),
            [hung()],
        ),
        asking(
            "grpc-timeout without grpc_timeout_header_max",
            "/lasting",
            &grpc("9S"),
            [],
        ),
        asking(
            "grpc-timeout below max_stream_duration",
            "/lasting",
            &grpc("100m"),
            [],
        ),
        asking(
            "grpc-timeout and no limit",
            "/lasting/none",
            &grpc("9S"),
            [],
        ),
        asking(
            "grpc-timeout and the manager's limit",
            "/none",
            &grpc("9S"),
            [],
        )
        .at("lasting"),
        asking(
            "no grpc-timeout and a cap",
            "/lasting/capped",
            "Content-Type: application/grpc\r\n",
            [],
        ),
        asking("max_grpc_timeout caps", "/max-grpc", &grpc("9S"), [hung()]),
        asking(
            "max_grpc_timeout and offset",
            "/max-grpc",
            &grpc("250m"),
            [],
        ),
        asking(
            "max_grpc_timeout without grpc-timeout",
            "/max-grpc",
            "Content-Type: application/grpc\r\n",
            [],
        ),
        asking("max_grpc_timeout 0", "/any-grpc", &grpc("5S"), []),
        asking(
            "max_grpc_timeout 0 and too large a number",
            "/any-grpc",
            &grpc("999999999S"),
            [],
        ),
        asking(
            "grpc-timeout, too large a number",
            "/lasting/grpc",
            &grpc("10000000000m"),
            [],
        ),
        asking(
            "max_grpc_timeout and no gRPC",
            "/any-grpc",
            "grpc-timeout: 5S\r\n",
            [],
        ),
        asking("an external timeout header", "/none", late, []),
        internal("x-envoy-upstream-rq-timeout-ms", "/none", late, [hung()]),
        internal(
            "x-envoy-upstream-rq-timeout-ms: 0",
            "/short",
            "X-Envoy-Upstream-Rq-Timeout-Ms: 0\r\n",
            [],
        ),
        internal(
            "x-envoy-upstream-rq-timeout-ms, no number",
            "/none",
            "X-Envoy-Upstream-Rq-Timeout-Ms: 1s\r\n",
            [],
        ),
        internal(
            "x-envoy-upstream-rq-timeout-alt-response",
            "/short",
            "X-Envoy-Upstream-Rq-Timeout-Alt-Response: 1\r\n",
            [hung()],
        ),
        internal(
            "x-envoy-upstream-rq-per-try-timeout-ms",
            "/5xx",
            "X-Envoy-Upstream-Rq-Per-Try-Timeout-Ms: 200\r\n",
            [hung()],
        ),
        internal(
            "a try's timeout above that of all",
            "/short",
            "X-Envoy-Upstream-Rq-Per-Try-Timeout-Ms: 500\r\n",
            [],
        ),
        internal(
            "a try's timeout and alt response",
            "/try-alone",
            "X-Envoy-Upstream-Rq-Timeout-Alt-Response: 1\r\n",
            [hung()],
        ),
    ]
}

fn statistics() -> Vec<Case> {
    vec![
        Case::admin(
            "GET /stats?filter=^cluster.(origin|refused|no_budget).*retry",
            &[
                "cluster.origin.retry.upstream_rq_4",
                "cluster.origin.retry.upstream_rq_5",
                "cluster.origin.retry.upstream_rq_completed",
                "cluster.origin.retry_or_shadow_abandoned",
                "cluster.origin.upstream_rq_retry",
                "cluster.refused.upstream_rq_retry",
                "cluster.no_budget.upstream_rq_retry",
            ],
        ),
        Case::admin(
            "GET /stats?filter=^cluster.(origin|refused).upstream_rq",
            &[
                "cluster.origin.upstream_rq_timeout",
                "cluster.origin.upstream_rq_per_try",
                "cluster.origin.upstream_rq_5",
                "cluster.origin.upstream_rq_2",
                "cluster.refused.upstream_rq_completed",
                "cluster.refused.upstream_rq_5",
            ],
        ),
        Case::admin(
            "GET /stats?filter=max_duration_reached",
            &["http.main", "http.lasting"],
        ),
    ]
}
