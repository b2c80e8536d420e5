//! Local replies to requests that no filter has seen: filters that change responses change them too.

use nuncio_tests::compare::case::{Case, Group};
use nuncio_tests::h2_client::H2Send;

pub(crate) fn group() -> Group {
    let large = format!("X-A: {}\r\n", "a".repeat(70_000));
    let request = |name: &str, line: &str, fields: &str| {
        Case::http1(name, format!("{line}\r\nHost: a.example\r\n{fields}\r\n"))
    };
    let mut cases = vec![
        Case::get("a direct response", "/", ""),
        Case::get("a direct response with its own filter", "/own", ""),
        Case::get("a direct response without the filter", "/without", ""),
        Case::http1("no host", "GET / HTTP/1.1\r\n\r\n"),
        request("no method", "G@T / HTTP/1.1", ""),
        request("no field", "GET / HTTP/1.1", "X A: b\r\n"),
        request(
            "an unknown coding",
            "POST / HTTP/1.1",
            "Transfer-Encoding: x\r\n",
        ),
        request("an old version", "GET / HTTP/1.0", ""),
        request("an old version and HEAD", "HEAD / HTTP/1.0", ""),
        request("a head that is too large", "GET / HTTP/1.1", &large),
        request("a target that is none", "GET a HTTP/1.1", ""),
        request("a fragment", "GET /#a HTTP/1.1", ""),
        request("an underscore", "GET / HTTP/1.1", "x_a: b\r\n"),
        request("escaped slashes", "GET /a%2Fb HTTP/1.1", ""),
        request("a path that leads out", "GET /../../a HTTP/1.1", ""),
        request(
            "a connection that names a field that stays",
            "GET / HTTP/1.1",
            "Connection: host\r\n",
        ),
        request("a method without what it needs", "QUERY / HTTP/1.1", ""),
        Case::http1("a head that does not end", "GET / HTTP/1.1\r\nHost: a"),
    ];
    for path in ["/", "/own", "/without"] {
        cases.push(request(
            &format!("an upgrade that is refused at {path}"),
            &format!("GET {path} HTTP/1.1"),
            "Connection: upgrade\r\nUpgrade: x\r\n",
        ));
        cases.push(request(
            &format!("a CONNECT that is refused, {path}"),
            &format!("CONNECT a.example:{} HTTP/1.1", path.len()),
            "",
        ));
        cases.push(Case::http2(
            &format!("HTTP/2, escaped slashes behind {path}"),
            H2Send::new("GET", &format!("{path}%2Fb")),
        ));
    }
    Group::new(
        "filtered replies",
        include_str!("../../cases/filtered_replies.yaml"),
        cases,
    )
}
