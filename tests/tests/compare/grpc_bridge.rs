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
    cases.extend(upgraded());
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

/// Messages of Protobuf that become calls.
fn upgraded() -> Vec<Case> {
    const PROTOBUF: &str = "application/x-protobuf";
    let ends = |status: &str| reply().body(MESSAGE).trailer("grpc-status", status);
    let at = |case: Case| case.at("upgrades");
    let mut cases = Vec::new();
    for content_type in [
        PROTOBUF,
        "application/x-protobuf; charset=x",
        "Application/X-Protobuf",
        "application/protobuf",
        "application/grpc",
    ] {
        let name = format!("an upgrade, {content_type}");
        let asked = call(&name, "/h2/call/pkg.Service/A", content_type);
        cases.push(at(asked).h2_reply(ends("0")));
    }
    let call = |name: &str| at(call(name, "/h2/call/pkg.Service/A", PROTOBUF));
    let chunked = format!("Content-Type: {PROTOBUF}\r\nTransfer-Encoding: chunked\r\n");
    let empty = format!("Content-Type: {PROTOBUF}\r\nContent-Length: 0\r\n");
    let pieces = "1\r\na\r\n2\r\nbc\r\n0\r\n\r\n";
    cases.extend([
        call("an upgrade, a call that fails").h2_reply(ends("5")),
        call("an upgrade, two messages").h2_reply(
            reply()
                .body(MESSAGE.repeat(2))
                .trailer("grpc-status", "0"),
        ),
        call("an upgrade, no message").h2_reply(reply().trailer("grpc-status", "0")),
        call("an upgrade, the status in the head").h2_reply(reply().header("grpc-status", "7")),
        call("an upgrade, an answer that is no call's").h2_reply(
            H2Reply::status(200)
                .header("content-type", "text/plain")
                .body("0123456789"),
        ),
        at(Case::request(
            "an upgrade, in pieces",
            "POST",
            "/h2/call/pkg.Service/A",
            &chunked,
            pieces,
        ))
        .h2_reply(ends("0")),
        at(Case::request(
            "an upgrade, nothing",
            "POST",
            "/h2/call/pkg.Service/A",
            &empty,
            "",
        ))
        .h2_reply(ends("0")),
        at(Case::request(
            "an upgrade, over HTTP/1.1",
            "POST",
            "/h1",
            &format!("Content-Type: {PROTOBUF}\r\nContent-Length: 3\r\n"),
            "abc",
        ))
        .reply_bytes(
            "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n\
             7\r\n\0\0\0\0\u{2}ab\r\n0\r\ngrpc-status: 5\r\n\r\n",
        ),
        at(Case::http2(
            "an upgrade, a client of HTTP/2",
            H2Send::new("POST", "/h2/call/pkg.Service/A")
                .header("content-type", PROTOBUF)
                .body(b"abc"),
        ))
        .h2_reply(ends("5")),
    ]);
    cases
}
