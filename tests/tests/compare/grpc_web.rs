//! gRPC-Web: requests that become gRPC, responses that become gRPC-Web, text and bytes.

use h2::Reason;
use nuncio_tests::compare::case::{Case, Group};
use nuncio_tests::h2_client::H2Send;
use nuncio_tests::h2_origin::H2Reply;
use nuncio_tests::origin::Reply;

const GRPC_WEB: &str = include_str!("../../cases/grpc_web.yaml");

const BINARY: &str = "application/grpc-web";
const TEXT: &str = "application/grpc-web-text";

/// A message `ab`, and the same in base64.
const MESSAGE: &[u8] = b"\0\0\0\0\x02ab";
const MESSAGE_TEXT: &str = "AAAAAAJhYg==";

fn grpc() -> H2Reply {
    H2Reply::status(200)
        .header("content-type", "application/grpc")
        .body(MESSAGE)
        .trailer("grpc-status", "0")
        .trailer("x-trailer", "t")
}

fn post(name: &str, path: &str, content_type: &str, more: &str, body: &str) -> Case {
    let headers = format!(
        "Content-Type: {content_type}\r\n{more}Content-Length: {}\r\n",
        body.len()
    );
    Case::request(name, "POST", path, &headers, body)
}

fn binary(name: &str, path: &str) -> Case {
    post(name, path, BINARY, "", "\0\0\0\0\0")
}

pub(crate) fn group() -> Group {
    let mut cases = Vec::new();
    for content_type in [
        BINARY,
        "application/grpc-web+proto",
        TEXT,
        "application/grpc-web-text+proto",
        "application/grpc-web+json",
        "application/grpc-web; charset=utf-8",
        "Application/Grpc-Web",
        "application/grpc",
        "text/plain",
    ] {
        for accept in [
            "",
            "application/grpc-web",
            TEXT,
            "application/grpc-web-text+proto",
        ] {
            let more = match accept {
                "" => String::new(),
                accept => format!("Accept: {accept}\r\n"),
            };
            let name = format!("{content_type} accepting {accept:?}");
            cases.push(post(&name, "/h2", content_type, &more, MESSAGE_TEXT).h2_reply(grpc()));
        }
    }
    cases.extend(requests());
    cases.extend(responses());
    cases.extend(cut());
    cases.extend(not_grpc());
    cases.push(Case::admin("GET /stats?filter=grpc-web", &["cluster."]));
    Group::new("gRPC-Web", GRPC_WEB, cases)
}

fn requests() -> Vec<Case> {
    let chunked = |name: &str, body: &str| {
        let headers = format!("Content-Type: {TEXT}\r\nTransfer-Encoding: chunked\r\n");
        Case::request(name, "POST", "/h2", &headers, body).h2_reply(grpc())
    };
    vec![
        chunked(
            "text in odd chunks",
            "1\r\nA\r\n6\r\nAAAAAJ\r\n5\r\nhYg==\r\n0\r\n\r\n",
        ),
        chunked(
            "text in even chunks",
            "4\r\nAAAA\r\n8\r\nAAJhYg==\r\n0\r\n\r\n",
        ),
        chunked("no text at all", "0\r\n\r\n"),
        post("text of no length", "/h2", TEXT, "", "").h2_reply(grpc()),
        post("text that is cut off", "/h1", TEXT, "", "AAAAAAJhYg=").h2_reply(grpc()),
        post("text that is none", "/h1", TEXT, "", "AAAA?AJhYg==").h2_reply(grpc()),
        post("two texts", "/h1", TEXT, "", "AAAAAAJhYg==AAAAAAJhYg==").h2_reply(grpc()),
        Case::http2(
            "text over HTTP/2",
            H2Send::new("POST", "/h2")
                .header("content-type", TEXT)
                .header("accept", TEXT)
                .body(MESSAGE_TEXT),
        )
        .h2_reply(grpc()),
        Case::http2(
            "bytes over HTTP/2",
            H2Send::new("POST", "/h2")
                .header("content-type", BINARY)
                .body(MESSAGE),
        )
        .h2_reply(grpc()),
        Case::get("a GET", "/h2", "Content-Type: application/grpc-web\r\n").h2_reply(grpc()),
        post(
            "te and encodings of its own",
            "/h2",
            BINARY,
            "TE: x\r\nGrpc-Accept-Encoding: gzip\r\n",
            "a",
        )
        .h2_reply(grpc()),
    ]
}

fn responses() -> Vec<Case> {
    let text = |name: &str, reply: H2Reply| {
        post(
            name,
            "/h2",
            TEXT,
            "Accept: application/grpc-web-text\r\n",
            MESSAGE_TEXT,
        )
        .h2_reply(reply)
    };
    let head = || H2Reply::status(200).header("content-type", "application/grpc");
    vec![
        text(
            "two messages as text",
            head()
                .body(b"\0\0\0\0\x01a\0\0\0\0\x01b")
                .trailer("grpc-status", "0"),
        ),
        text(
            "a message that is cut off",
            head().body(b"\0\0\0\0\x05ab").trailer("grpc-status", "0"),
        ),
        text(
            "no message",
            head()
                .trailer("grpc-status", "5")
                .trailer("grpc-message", "no"),
        ),
        text(
            "a message that is reset",
            head().body(b"\0\0\0\0\x05ab").reset(Reason::CANCEL),
        ),
        text("no trailers", head().body(MESSAGE)),
        text("trailers alone", head().header("grpc-status", "5")),
        binary("no message, bytes", "/h2").h2_reply(head().trailer("grpc-status", "5")),
        binary("no trailers, bytes", "/h2").h2_reply(head().body(MESSAGE)),
        binary("trailers alone, bytes", "/h2").h2_reply(head().header("grpc-status", "5")),
        binary("of gRPC with a subtype", "/h2").h2_reply(
            H2Reply::status(200)
                .header("content-type", "application/grpc+proto")
                .body(MESSAGE)
                .trailer("grpc-status", "0"),
        ),
        binary("of gRPC-Web already", "/h2").h2_reply(
            H2Reply::status(200)
                .header("content-type", "application/grpc-web+proto")
                .body(MESSAGE),
        ),
        binary("with a length", "/h2").h2_reply(
            head()
                .header("content-length", "7")
                .body(MESSAGE)
                .trailer("grpc-status", "0"),
        ),
    ]
}

/// Responses that end within a message, over both versions.
fn cut() -> Vec<Case> {
    let head = || H2Reply::status(200).header("content-type", "application/grpc");
    let (in_head, in_content) = (&b"\0\0\0"[..], &b"\0\0\0\0\x05ab"[..]);
    let in_second = b"\0\0\0\0\x01a\0\0\0\0\x05b";
    let answers = [
        (
            "trailers",
            head().body(in_content).trailer("grpc-status", "0"),
        ),
        (
            "trailers within its head",
            head().body(in_head).trailer("grpc-status", "0"),
        ),
        ("an end", head().body(in_content)),
        (
            "a reset",
            head().body(in_content).reset(Reason::INTERNAL_ERROR),
        ),
        (
            "a refusal",
            head().body(in_content).reset(Reason::REFUSED_STREAM),
        ),
        (
            "a reset behind a whole one",
            head().body(in_second).reset(Reason::CANCEL),
        ),
    ];
    let mut cases = Vec::new();
    for (what, reply) in answers {
        let name = format!("{what} in a message");
        cases.push(binary(&name, "/h2").h2_reply(reply.clone()));
        let request = H2Send::new("POST", "/h2").header("content-type", BINARY);
        let name = format!("{what} in a message, over HTTP/2");
        cases.push(Case::http2(&name, request.body(MESSAGE)).h2_reply(reply));
    }
    let over_http1 =
        |content: &str| format!("HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\n{content}");
    let chunk = "Transfer-Encoding: chunked\r\n\r\n7\r\n\0\0\0\0\x05ab\r\n";
    for (what, content) in [
        ("no end in chunks", chunk.to_owned()),
        (
            "no end of a length",
            "Content-Length: 10\r\n\r\n\0\0\0\0\x05ab".to_owned(),
        ),
        ("the last chunk", format!("{chunk}0\r\n\r\n")),
        (
            "trailers in chunks",
            format!("{chunk}0\r\ngrpc-status: 0\r\n\r\n"),
        ),
    ] {
        let reply = Reply::bytes(over_http1(&content)).close();
        cases.push(binary(&format!("{what} in a message"), "/h1").reply(reply));
    }
    cases
}

fn not_grpc() -> Vec<Case> {
    let plain = |status: u16, body: &str| {
        format!(
            "HTTP/1.1 {status} X\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    vec![
        binary("a page", "/h1").reply_bytes(plain(200, "hello %\n")),
        binary("a page in chunks", "/h1").reply_bytes(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
        ),
        binary("a failure of HTTP", "/h1").reply_bytes(plain(404, "not found")),
        binary("an empty failure of HTTP", "/h1").reply_bytes(plain(403, "")),
        binary("an unavailable upstream of HTTP", "/h1").reply_bytes(plain(503, "later")),
        binary("trailers over HTTP/1.1", "/h1").reply_bytes(
            "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n\
             7\r\n\0\0\0\0\x02ab\r\n0\r\ngrpc-status: 0\r\n\r\n",
        ),
        binary("direct response", "/direct"),
        binary("refused", "/refused"),
        binary("no route", "/nothing"),
    ]
}
