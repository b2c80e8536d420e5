//! The filters buffer, fault and header_to_metadata.

use nuncio_tests::compare::case::{Case, Group};
use nuncio_tests::h2_client::H2Send;
use nuncio_tests::h2_origin::H2Reply;
use nuncio_tests::origin::Reply;

const FILTERS: &str = include_str!("../../cases/filters.yaml");

const GRPC: &str = "Content-Type: application/grpc\r\nTE: trailers\r\n";

pub(crate) fn group() -> Group {
    let mut cases = buffer();
    cases.extend(fault());
    cases.extend(metadata());
    cases.extend(grpc_stats());
    Group::new("filters", FILTERS, cases)
}

fn buffer() -> Vec<Case> {
    let sized = |name: &str, path: &str, body: &str| {
        let length = format!("Content-Length: {}\r\n", body.len());
        Case::request(name, "POST", path, &length, body)
    };
    let chunked = |name: &str, path: &str, body: &str| {
        Case::request(name, "POST", path, "Transfer-Encoding: chunked\r\n", body)
    };
    vec![
        Case::get("held, no body", "/buffer", ""),
        sized("held, a length", "/buffer", "abc"),
        sized("held, the largest", "/buffer", "0123456789abcdef"),
        sized("held, too large", "/buffer", "0123456789abcdefg"),
        sized("held, a length of zero", "/buffer", ""),
        chunked("held, chunks", "/buffer", "2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"),
        chunked("held, no chunk", "/buffer", "0\r\n\r\n"),
        chunked(
            "held, chunks too large",
            "/buffer",
            "11\r\n0123456789abcdefg\r\n0\r\n\r\n",
        ),
        sized("held, small at the route", "/buffer/small", "abcd"),
        sized("held, too large at the route", "/buffer/small", "abcde"),
        sized("not held", "/buffer/none", "0123456789abcdefg"),
        chunked("not held, chunks", "/buffer/none", "2\r\nab\r\n0\r\n\r\n"),
        sized("held, direct response", "/buffer/direct", "abc"),
        Case::http2(
            "held over HTTP/2",
            H2Send::new("POST", "/buffer").body("abc"),
        ),
        Case::http2(
            "held over HTTP/2, too large",
            H2Send::new("POST", "/buffer/small").body("abcde"),
        ),
        Case::http2(
            "held over HTTP/2, a trailer",
            H2Send::new("POST", "/buffer")
                .body("abc")
                .trailer("x-t", "1"),
        ),
        chunked(
            "held, a trailer",
            "/buffer",
            "2\r\nab\r\n0\r\nx-t: 1\r\n\r\n",
        ),
    ]
}

fn fault() -> Vec<Case> {
    let mut cases = Vec::new();
    for path in ["http", "grpc", "never", "cluster", "other", "direct"] {
        let path = format!("/fault/{path}");
        cases.push(Case::get(&path, &path, ""));
        cases.push(Case::request(
            &format!("{path}, gRPC"),
            "POST",
            &path,
            GRPC,
            "",
        ));
    }
    for headers in [
        "",
        "X-Fault: yes\r\n",
        "X-Fault: no\r\n",
        "X-Fault: yes\r\nX-Fault: yes\r\n",
        "X-Fault: yes\r\nX-No-Fault: 1\r\n",
    ] {
        cases.push(Case::get(
            &format!("matched {headers:?}"),
            "/fault/matched",
            headers,
        ));
    }
    for headers in [
        "",
        "x-envoy-fault-abort-request: 404\r\n",
        "x-envoy-fault-abort-request: 199\r\n",
        "x-envoy-fault-abort-request: 600\r\n",
        "x-envoy-fault-abort-request: nonsense\r\n",
        "x-envoy-fault-abort-grpc-request: 16\r\n",
        "x-envoy-fault-abort-grpc-request: 99\r\n",
        "x-envoy-fault-abort-request: 404\r\nx-envoy-fault-abort-grpc-request: 16\r\n",
        "x-envoy-fault-abort-request: 404\r\nx-envoy-fault-abort-request-percentage: 0\r\n",
        "x-envoy-fault-abort-request: 404\r\nx-envoy-fault-abort-request-percentage: 101\r\n",
    ] {
        cases.push(Case::get(
            &format!("said {headers:?}"),
            "/fault/header",
            headers,
        ));
    }
    cases.extend(delays());
    cases.extend(slow());
    cases
}

fn slow() -> Vec<Case> {
    let content = "0123456789abcdef".repeat(40);
    let sized = || {
        let length = content.len();
        Reply::bytes(format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{content}"
        ))
    };
    let chunked = || {
        let length = content.len();
        Reply::bytes(format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{length:x}\r\n{content}\r\n0\r\n\r\n"
        ))
    };
    let asked = |name: &str, path: &str, headers: &str| {
        Case::get(name, &format!("/fault/slow/{path}"), headers)
    };
    let mut cases = vec![
        asked("slow, a length", "fixed", "").reply(sized()),
        asked("slow, chunks", "fixed", "").reply(chunked()),
        asked("slow, no content", "fixed", "").reply_bytes("HTTP/1.1 204 No Content\r\n\r\n"),
        asked("slow, no chunk", "fixed", "")
            .reply_bytes("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        Case::request("slow, HEAD", "HEAD", "/fault/slow/fixed", "", ""),
        asked("slow and aborted", "abort", ""),
        asked("slow and held up", "delay", "").reply(chunked()),
        asked("slow, none of them", "never", "").reply(sized()),
        asked("slow, direct response", "direct", ""),
        asked("slow, none may have a fault", "none", "").reply(sized()),
        asked("slower than its timeouts", "timeout", "").reply(sized()),
        Case::http2("slow over HTTP/2", H2Send::new("GET", "/fault/slow/fixed")).reply(chunked()),
        Case::http2(
            "slow over HTTP/2 from HTTP/2, trailers",
            H2Send::new("GET", "/fault/slow/h2"),
        )
        .h2_reply(H2Reply::status(200).body(&content).trailer("x-last", "yes")),
    ];
    let limit = "x-envoy-fault-throughput-response";
    for headers in [
        String::new(),
        format!("{limit}: 2\r\n"),
        format!("{limit}: 0\r\n"),
        format!("{limit}: -1\r\n"),
        format!("{limit}: nonsense\r\n"),
        format!("{limit}: 18446744073709551615\r\n"),
        format!("{limit}: 18446744073709551616\r\n"),
        format!("{limit}: 2\r\n{limit}: 0\r\n"),
        format!("{limit}: 2\r\n{limit}-percentage: 0\r\n"),
        format!("{limit}: 2\r\n{limit}-percentage: 101\r\n"),
    ] {
        let name = format!("said how slow, {headers:?}");
        cases.push(asked(&name, "header", &headers).reply(sized()));
    }
    cases.push(Case::admin(
        "GET /stats?filter=fault.response_rl_injected",
        &[],
    ));
    cases.push(Case::admin("GET /stats?filter=fault.active_faults", &[]));
    cases
}

fn delays() -> Vec<Case> {
    let mut cases = Vec::new();
    for path in ["fixed", "never", "abort", "uncounted", "nodes", "timeout"] {
        let path = format!("/fault/delay/{path}");
        cases.push(Case::get(&path, &path, ""));
    }
    for headers in [
        "x-envoy-downstream-service-node: b\r\n",
        "x-envoy-downstream-service-node: c\r\n",
        "x-envoy-downstream-service-node: b\r\nx-envoy-downstream-service-cluster: shop\r\n",
    ] {
        let name = format!("delayed, {headers:?}");
        cases.push(Case::get(&name, "/fault/delay/nodes", headers));
    }
    for headers in [
        "",
        "x-envoy-fault-delay-request: 20\r\n",
        "x-envoy-fault-delay-request: 0\r\n",
        "x-envoy-fault-delay-request: nonsense\r\n",
        "x-envoy-fault-delay-request: -1\r\n",
        "x-envoy-fault-delay-request: 20\r\nx-envoy-fault-delay-request-percentage: 0\r\n",
        "x-envoy-fault-delay-request: 20\r\nx-envoy-fault-delay-request-percentage: 101\r\n",
    ] {
        let name = format!("said how long, {headers:?}");
        cases.push(Case::get(&name, "/fault/delay/header", headers));
    }
    let shop = "x-envoy-downstream-service-cluster: shop\r\n";
    cases.push(Case::get(
        "delayed, of a service",
        "/fault/delay/fixed",
        shop,
    ));
    cases.push(Case::get(
        "aborted, of a service",
        "/fault/delay/abort",
        shop,
    ));
    let uncounted = "/fault/delay/uncounted";
    cases.push(Case::get(
        "delayed, of a service that is not counted",
        uncounted,
        shop,
    ));
    let body = "Content-Length: 3\r\n";
    let path = "/fault/delay/fixed";
    cases.push(Case::request("delayed, a body", "POST", path, body, "abc"));
    cases.push(Case::http2(
        "delayed over HTTP/2, a body",
        H2Send::new("POST", path).body("abc"),
    ));
    cases.push(Case::admin(
        "GET /stats?filter=fault",
        &[
            "http.ingress.fault.aborts_injected",
            "http.ingress.fault.delays_injected",
            "http.ingress.fault.shop.aborts_injected",
            "http.ingress.fault.shop.delays_injected",
        ],
    ));
    cases
}

fn metadata() -> Vec<Case> {
    let answer = "HTTP/1.1 200 OK\r\nX-Up: yes\r\nContent-Length: 2\r\n\r\nok";
    let mut cases = Vec::new();
    for headers in [
        "",
        "X-Version: 1\r\n",
        "X-Version: 1\r\nX-Version: 2\r\n",
        "X-Version:\r\n",
        "X-Kind: k\r\n",
        "Cookie: id=7\r\n",
        "Cookie: a=b; id=\"8\"; c\r\n",
        "Cookie: a=b\r\nCookie: id=9\r\n",
        "Cookie: id=\r\n",
        "X-Path: /users/7\r\n",
        "X-Path: /users/\r\n",
        "X-Number: 12\r\n",
        "X-Number: 1.50\r\n",
        "X-Number: -0.25\r\n",
        "X-Number: 1e3\r\n",
        "X-Number: 7 apples\r\n",
    ] {
        let name = format!("metadata of {headers:?}");
        cases.push(Case::get(&name, "/metadata", headers).reply_bytes(answer));
    }
    cases.push(Case::get(
        "metadata at a route",
        "/metadata/route",
        "X-Version: 1\r\n",
    ));
    cases
}

/// Calls of gRPC with two messages up and one down, then what was counted.
fn grpc_stats() -> Vec<Case> {
    let call = |method: &str, status: &str| {
        let request = H2Send::new("POST", &format!("/pkg.Service/{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(b"\0\0\0\0\x01a\0\0\0\0\0");
        let head = H2Reply::status(200).header("content-type", "application/grpc");
        let reply = head.body(b"\0\0\0\0\x02ab").trailer("grpc-status", status);
        Case::http2(&format!("{method} with status {status}"), request).h2_reply(reply)
    };
    vec![
        call("Listed", "0"),
        call("Listed", "5"),
        call("Unlisted", "0"),
        call("Listed?query", "0"),
        Case::admin("GET /stats?filter=h2.grpc", &["cluster.h2.grpc"]),
    ]
}
