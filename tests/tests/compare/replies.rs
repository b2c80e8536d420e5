//! What routes change in the replies that the proxy makes itself, whoever is the reason of them.

use nuncio_tests::compare::case::{Case, Group, Step, request};
use nuncio_tests::h2_client::H2Send;
use nuncio_tests::origin::{Act, Reply};

const REPLIES: &str = include_str!("../../cases/replies.yaml");
const GRPC: &str = "Content-Type: application/grpc\r\n";

fn hung() -> Reply {
    Reply::nothing().then(Act::Hang)
}

/// A request whose body does not come.
fn unfinished(name: &str, path: &str) -> Case {
    let bytes = request("POST", path, "Content-Length: 10\r\n", "abc");
    let steps = vec![Step::Send(bytes), Step::Receive { to_head: false }];
    Case::steps(name, steps).closes()
}

pub(crate) fn group() -> Group {
    let mut cases = upstreams();
    cases.extend(limits());
    cases.extend(of_filters());
    cases.extend(counted());
    Group::new("replies", REPLIES, cases)
}

fn upstreams() -> Vec<Case> {
    let upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\n";
    vec![
        Case::get("a response", "/plain", ""),
        Case::get("the upstream refuses", "/refused", ""),
        Case::get("no endpoint", "/empty", ""),
        Case::get("no endpoint, gRPC", "/empty", GRPC),
        Case::get("no cluster", "/unknown", "X-Unknown: none\r\n"),
        Case::get("overflow", "/overflow", ""),
        Case::get("overflow without Envoy's fields", "/overflow", "").at("quiet"),
        Case::get("too late", "/late", "").reply(hung()),
        Case::get("a direct response", "/direct", ""),
        Case::get("a redirect", "/redirect", ""),
        Case::get("to https", "/plain", "").replaced("a.example", "secure.example"),
        Case::get("an upgrade that is not allowed", "/plain", upgrade),
        Case::get("an upgrade of a direct response", "/direct", upgrade),
        Case::get("a WebSocket that is none", "/switched", upgrade).reply_bytes(
            "HTTP/1.1 200 OK\r\nX-Host: u\r\nX-Limited: u\r\nContent-Length: 2\r\n\r\nok",
        ),
        // Only then is there a connection in each proxy, and no later case gets its request.
        Case::steps(
            "a broken chunk",
            vec![
                Step::Send(request(
                    "POST",
                    "/plain",
                    "Transfer-Encoding: chunked\r\n",
                    "",
                )),
                Step::WaitForUpstream,
                Step::Send(b"zz\r\n".to_vec()),
                Step::Receive { to_head: false },
                Step::ExpectClose,
            ],
        ),
    ]
}

fn limits() -> Vec<Case> {
    let hang = |case: Case| case.reply(hung());
    vec![
        hang(Case::get("idle", "/idle", "")),
        hang(Case::get("idle, gRPC", "/idle", GRPC)),
        hang(Case::http2("idle, HTTP/2", H2Send::new("GET", "/idle"))),
        hang(Case::request("idle, HEAD", "HEAD", "/idle", "", "")),
        hang(Case::get("too long", "/duration", "")),
        unfinished("idle client", "/idle").at("buffered"),
        unfinished("overdue", "/plain").at("buffered"),
        Case::request(
            "too large",
            "POST",
            "/small",
            "Content-Length: 10\r\n",
            "0123456789",
        )
        .at("buffered"),
    ]
}

fn of_filters() -> Vec<Case> {
    let limited = |name: &str, headers| Case::get(name, "/limited", headers);
    vec![
        limited("the first", ""),
        limited("limited", ""),
        limited("limited, gRPC", GRPC),
        Case::request("limited, HEAD", "HEAD", "/limited", "", ""),
        Case::http2("limited, HTTP/2", H2Send::new("GET", "/limited")),
        Case::get("a direct response, limited", "/direct", ""),
        Case::get("a redirect, limited", "/redirect", ""),
        Case::get("a fault", "/fault", ""),
        Case::get("healthy", "/healthy", ""),
        Case::request(
            "forged",
            "POST",
            "/forged",
            "Origin: http://b.example\r\n",
            "",
        ),
        Case::request(
            "a preflight",
            "OPTIONS",
            "/cors",
            "Origin: http://o.example\r\nAccess-Control-Request-Method: GET\r\n",
            "",
        ),
        Case::request(
            "no base64",
            "POST",
            "/plain",
            "Content-Type: application/grpc-web-text\r\nContent-Length: 3\r\n",
            "***",
        ),
    ]
}

fn counted() -> Vec<Case> {
    let failed = "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n";
    vec![
        Case::get("the first attempt", "/counted", ""),
        Case::get("two attempts", "/counted", "").reply_bytes(failed),
        Case::get("in no group", "/other", ""),
        Case::request("of a group but for the method", "DELETE", "/plain", "", ""),
        Case::admin(
            "GET /stats?filter=^http.main.rq_(re|di)",
            &["http.main.rq_redirect", "http.main.rq_direct"],
        ),
    ]
}
