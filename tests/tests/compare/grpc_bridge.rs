//! The bridge from HTTP/1 to gRPC: the end of a call in the head of its response.

use nuncio_tests::compare::case::{Case, Group};
use nuncio_tests::h2_client::H2Send;
use nuncio_tests::h2_origin::H2Reply;

const GRPC_BRIDGE: &str = include_str!("../../cases/grpc_bridge.yaml");

const MESSAGE: &[u8] = b"\0\0\0\0\x02ab";

fn reply() -> H2Reply {
    H2Reply::status(200).header("content-type", "application/grpc")
}

fn call(name: &str, path: &str, content_type: &str) -> Case {
    let headers = format!("Content-Type: {content_type}\r\nContent-Length: 5\r\n");
    Case::request(name, "POST", path, &headers, "\0\0\0\0\0")
}

pub(crate) fn group() -> Group {
    let mut cases = Vec::new();
    for content_type in [
        "application/grpc",
        "application/grpc+proto",
        "application/grpc;x",
        "application/x-protobuf",
        "text/plain",
    ] {
        let reply = reply().body(MESSAGE).trailer("grpc-status", "0");
        cases.push(call(content_type, "/h2/pkg.Service/A", content_type).h2_reply(reply));
    }
    for (status, message) in [
        ("0", ""),
        ("5", ""),
        ("5", "no such thing"),
        ("0", "fine"),
        ("nonsense", ""),
        ("", ""),
    ] {
        let ends = reply()
            .body(MESSAGE)
            .trailer("grpc-status", status)
            .trailer("grpc-message", message)
            .trailer("x-trailer", "t");
        let name = format!("status {status:?} message {message:?}");
        cases.push(call(&name, "/h2", "application/grpc").h2_reply(ends));
        let trailers_only = reply()
            .header("grpc-status", status)
            .header("grpc-message", message);
        let name = format!("{name}, in the head");
        cases.push(call(&name, "/h2", "application/grpc").h2_reply(trailers_only));
    }
    let ends = || reply().trailer("grpc-status", "0");
    cases.extend([
        call("no message", "/h2", "application/grpc").h2_reply(ends()),
        call("no trailers", "/h2", "application/grpc").h2_reply(reply().body(MESSAGE)),
        call("a query", "/h2/pkg.Service/A?b=c", "application/grpc").h2_reply(ends()),
        call("another status", "/h2", "application/grpc").h2_reply(
            H2Reply::status(404).body("what").trailer("grpc-status", "0"),
        ),
        call("over HTTP/1.1", "/h1", "application/grpc").reply_bytes(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\ngrpc-status: 5\r\n\r\n",
        ),
        call("over HTTP/1.1, no trailers", "/h1", "application/grpc"),
        call("a direct response", "/direct", "application/grpc"),
        call("an upstream that refuses", "/refused", "application/grpc"),
        Case::http2(
            "a client of HTTP/2",
            H2Send::new("POST", "/h2/pkg.Service/A")
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .body(MESSAGE),
        )
        .h2_reply(reply().body(MESSAGE).trailer("grpc-status", "5")),
        Case::admin(
            "GET /stats?filter=grpc",
            &["cluster.h2.grpc.", "cluster.origin.grpc."],
        ),
    ]);
    Group::new("grpc bridge", GRPC_BRIDGE, cases)
}
