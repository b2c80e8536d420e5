//! Access log formats. The lines of all cases are compared together at the end.

use nuncio_tests::compare::case::{Case, Group};
use nuncio_tests::h2_client::H2Send;

const LOGS: &str = include_str!("../../cases/logs.yaml");

pub(crate) fn group() -> Group {
    let mut cases = Vec::new();
    for (listener, name) in [("listener", "default"), ("text", "text"), ("json", "json")] {
        let headers =
            "User-Agent: test/1\r\nX-Forwarded-For: 1.2.3.4\r\nX-Two: a \"b\" \\c\r\nX-Two: d\r\n";
        cases.extend([
            Case::get(&format!("{name}, proxied"), "/up?a=b&c", headers)
                .reply_bytes("HTTP/1.1 200 OK\r\nX-Up: 1\r\nContent-Type: t\r\nContent-Length: 2\r\n\r\nok"),
            Case::get(&format!("{name}, plain"), "/up", ""),
            Case::request(&format!("{name}, a body"), "POST", "/up", "Content-Length: 3\r\n", "abc"),
            Case::get(&format!("{name}, no route"), "/nothing?a=%20", ""),
            Case::get(&format!("{name}, direct response"), "/direct", ""),
            Case::get(&format!("{name}, refused"), "/refused", ""),
            Case::get(&format!("{name}, rewritten"), "/rewrite/a?b", ""),
            Case::http1(&format!("{name}, junk"), "JUNK\r\n\r\n"),
            Case::http1(&format!("{name}, HTTP/1.0"), "GET /up HTTP/1.0\r\n\r\n"),
            Case::http1(
                &format!("{name}, odd bytes"),
                b"GET /up/%22 HTTP/1.1\r\nHost: a\r\nUser-Agent: \"\xc3\xa9\\\t\xff\r\nX-Two: \xc3\xa9\\\t\xff\r\n\r\n",
            ),
            Case::http2(&format!("{name}, HTTP/2"), H2Send::new("GET", "/up?a=b")),
            Case::http2(&format!("{name}, gRPC"), H2Send::grpc("/nothing")),
        ]
        .map(|case| case.at(listener)));
    }
    // Refused before it is known which scheme they have.
    cases.extend(
        [
            Case::request("text, a query of no type", "QUERY", "/up", "", ""),
            Case::get("text, redirected", "/up%2fa", ""),
            Case::get("text, a fragment", "/up#a", ""),
        ]
        .map(|case| case.at("text")),
    );
    Group::about_logs("logs", LOGS, cases)
}
