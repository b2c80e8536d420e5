//! The proxy's own answers: on HTTP/1.1, to HEAD, to gRPC requests and on HTTP/2.

#![expect(clippy::too_many_lines, reason = "tables of cases")]

use nuncio_tests::compare::case::{Case, Group};
use nuncio_tests::h2_client::H2Send;
use nuncio_tests::origin::{Act, Reply};

use crate::BASIC;

const GRPC: &str = "Content-Type: application/grpc\r\nTE: trailers\r\n";

/// Path and name of each situation.
const SITUATIONS: &[(&str, &str)] = &[
    ("/nothing", "no route"),
    ("/direct", "direct response"),
    ("/direct/empty", "direct response without body"),
    ("/direct/201", "direct response 201"),
    ("/direct/204", "direct response 204"),
    ("/direct/400", "direct response 400 with odd characters"),
    ("/direct/418", "direct response 418"),
    ("/direct/503", "direct response 503"),
    ("/redirect?a=b", "redirect"),
    ("/refused", "upstream refuses"),
    ("/blackhole", "upstream does not accept"),
    ("/empty", "no endpoint"),
    ("/overflow", "breaker open"),
    ("/quick", "upstream too slow"),
];

pub(crate) fn group() -> Group {
    let mut cases = Vec::new();
    for (path, name) in SITUATIONS {
        let situations = [
            Case::get(&format!("{name}, GET"), path, ""),
            Case::request(&format!("{name}, HEAD"), "HEAD", path, "", ""),
            Case::request(&format!("{name}, gRPC"), "POST", path, GRPC, ""),
            Case::http2(&format!("{name}, HTTP/2"), H2Send::new("GET", path)),
            Case::http2(&format!("{name}, HTTP/2 HEAD"), H2Send::new("HEAD", path)),
            Case::http2(&format!("{name}, HTTP/2 gRPC"), H2Send::grpc(path)),
        ];
        // Nobody but the slow upstream is reached, and it never answers.
        cases.extend(situations.map(|case| case.reply(Reply::nothing().then(Act::Hang))));
    }
    for (path, name) in [
        ("/nothing", "no route"),
        ("/direct", "direct response"),
        ("/empty", "no endpoint"),
    ] {
        cases.extend([
            Case::request(
                &format!("{name}, with a body"),
                "POST",
                path,
                "Content-Length: 3\r\n",
                "abc",
            ),
            Case::request(
                &format!("{name}, with chunks"),
                "POST",
                path,
                "Transfer-Encoding: chunked\r\n",
                "3\r\nabc\r\n0\r\n\r\n",
            ),
            Case::request(
                &format!("{name}, with length zero"),
                "POST",
                path,
                "Content-Length: 0\r\n",
                "",
            ),
            Case::http2(
                &format!("{name}, HTTP/2 with a body"),
                H2Send::new("POST", path).body("abc"),
            ),
        ]);
    }
    cases.extend([
        Case::request(
            "upstream refuses, with a body",
            "POST",
            "/refused",
            "Content-Length: 3\r\n",
            "abc",
        ),
        Case::request(
            "gRPC by another content type",
            "POST",
            "/nothing",
            "Content-Type: application/grpc+proto\r\n",
            "",
        ),
        Case::request(
            "gRPC-Web is not gRPC",
            "POST",
            "/nothing",
            "Content-Type: application/grpc-web\r\n",
            "",
        ),
        Case::request(
            "gRPC and another content type",
            "POST",
            "/nothing",
            "Content-Type: application/grpc\r\nContent-Type: text/plain\r\n",
            "",
        ),
        Case::request(
            "gRPC of a format and another content type",
            "POST",
            "/nothing",
            "Content-Type: application/grpc+proto\r\nContent-Type: text/plain\r\n",
            "",
        ),
        Case::request(
            "gRPC and an empty content type",
            "POST",
            "/refused",
            "Content-Type:\r\nContent-Type: application/grpc\r\n",
            "",
        ),
        Case::request("gRPC with HEAD", "HEAD", "/refused", GRPC, ""),
        Case::request(
            "gRPC with GET",
            "GET",
            "/nothing",
            "Content-Type: application/grpc\r\n",
            "",
        ),
        Case::get("timeout after the head", "/quick", "")
            .reply(Reply::bytes("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab").then(Act::Hang)),
        Case::get("timeout after a chunk", "/quick", "").reply(
            Reply::bytes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n")
                .then(Act::Hang),
        ),
    ]);
    Group::new("local reply", BASIC, cases)
}
