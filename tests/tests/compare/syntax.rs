//! Header syntax, the Host header, and request lines.

#![expect(clippy::too_many_lines, reason = "tables of cases")]

use nuncio_tests::compare::case::{Case, Group};

use crate::BASIC;

fn get(name: &str, headers: &str) -> Case {
    Case::get(name, "/up", headers)
}

fn line(name: &str, request_line: &str) -> Case {
    Case::http1(name, format!("{request_line}\r\nHost: a.example\r\n\r\n"))
}

/// Header lines and their limits.
pub(crate) fn headers() -> Group {
    let mut cases = vec![
        get(
            "plain headers",
            "User-Agent: test/1\r\nAccept: */*\r\nX-MiXed: Value\r\n",
        ),
        get(
            "duplicate headers",
            "X-A: 1\r\nX-B: b\r\nx-a: 2\r\nCookie: a=1\r\nCookie: b=2\r\n",
        ),
        get("NUL in a value", "X-A: a\0b\r\n"),
        get("bare CR in a value", "X-A: a\rb\r\n"),
        get("bare LF in a value", "X-A: a\nX-B: b\r\n"),
        get("a control character in a value", "X-A: a\u{1}b\r\n"),
        get("DEL in a value", "X-A: a\u{7f}b\r\n"),
        get("a tab in a value", "X-A: a\tb\r\n"),
        get("obs-fold with spaces", "X-A: a\r\n  b\r\n"),
        get("obs-fold with a tab", "X-A: a\r\n\tb\r\n"),
        Case::http1(
            "obs-fold on the first line",
            "GET /up HTTP/1.1\r\n X-A: b\r\nHost: a\r\n\r\n",
        ),
        Case::http1(
            "obs-text in a value",
            b"GET /up HTTP/1.1\r\nHost: a\r\nX-A: \xff\xc3\xa9\r\n\r\n",
        ),
        get("space around a value", "X-A: \t a \t b \t\r\n"),
        get("no space before a value", "X-A:a\r\n"),
        get("empty values", "X-A:\r\nX-B:  \r\n"),
        get("space before the colon", "X-A : a\r\n"),
        get("a tab before the colon", "X-A\t: a\r\n"),
        get("space inside a name", "X A: a\r\n"),
        get("a line without colon", "XA\r\n"),
        get("an empty name", ": a\r\n"),
        get("an underscore in a name", "x_a: a\r\n"),
        get(
            "all token characters in a name",
            "x!#$%&'*+-.^_`|~0aA: a\r\n",
        ),
        get("a parenthesis in a name", "x(a: a\r\n"),
        Case::http1(
            "obs-text in a name",
            b"GET /up HTTP/1.1\r\nHost: a\r\nX-\xc3\xa9: a\r\n\r\n",
        ),
        get("a pseudo header", ":path: /other\r\n"),
        get("100 headers", &many(99)),
        get("101 headers", &many(100)),
        get(
            "60 KiB of headers",
            &format!("X-A: {}\r\n", "a".repeat(61_000)),
        ),
        get(
            "more than 60 KiB of headers",
            &format!("X-A: {}\r\n", "a".repeat(61_500)),
        ),
        Case::http1("bare LF line ends", "GET /up HTTP/1.1\nHost: a\nX-A: b\n\n"),
        Case::http1(
            "an empty line before the request",
            "\r\nGET /up HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        Case::http1(
            "two empty lines before",
            "\r\n\r\nGET /up HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
    ];
    cases.extend(hosts());
    Group::new("headers", BASIC, cases)
}

fn many(count: usize) -> String {
    (0..count)
        .map(|number| format!("X-{number}: a\r\n"))
        .collect()
}

fn hosts() -> Vec<Case> {
    let host =
        |name: &str, lines: &str| Case::http1(name, format!("GET /up HTTP/1.1\r\n{lines}\r\n"));
    vec![
        host("no Host", ""),
        host("an empty Host", "Host:\r\n"),
        host("two Hosts", "Host: a\r\nHost: b\r\n"),
        host("two equal Hosts", "Host: a\r\nHost: a\r\n"),
        host("Host with space", "Host: a b\r\n"),
        host("Host with a port", "Host: A.Example:80\r\n"),
        host("Host with an empty port", "Host: a.example:\r\n"),
        host("Host with a bad port", "Host: a.example:port\r\n"),
        host("Host with a slash", "Host: a/b\r\n"),
        host("Host with userinfo", "Host: u@a\r\n"),
        host("Host with an underscore", "Host: a_b.example\r\n"),
        host("Host with a percent", "Host: a%41\r\n"),
        host("Host with a comma", "Host: a,b\r\n"),
        host("Host with a quote", "Host: a\"b\r\n"),
        host("Host as an IPv6 literal", "Host: [::1]:80\r\n"),
        host("Host as a broken IPv6 literal", "Host: [::1\r\n"),
        host(
            "Host after other headers",
            "Accept: a\r\nHost: a\r\nUser-Agent: u\r\n",
        ),
    ]
}

/// Methods, targets and versions.
pub(crate) fn request_lines() -> Group {
    let mut cases: Vec<Case> = [
        "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PURGE", "MKCOL", "PROPFIND", "REPORT",
        "LINK", "QUERY", "PRI", "FOO", "get", "GETX", "G", "M-SEARCH",
    ]
    .iter()
    .map(|method| {
        line(
            &format!("method {method}"),
            &format!("{method} /up HTTP/1.1"),
        )
    })
    .collect();
    cases.extend([
        line("CONNECT", "CONNECT a.example:443 HTTP/1.1"),
        line("asterisk with OPTIONS", "OPTIONS * HTTP/1.1"),
        line("asterisk with GET", "GET * HTTP/1.1"),
        line("absolute form", "GET http://abs.example/up?x=1 HTTP/1.1"),
        line(
            "absolute form with https",
            "GET https://abs.example:8443/up HTTP/1.1",
        ),
        line(
            "absolute form without path",
            "GET http://abs.example HTTP/1.1",
        ),
        line(
            "absolute form with query only",
            "GET http://abs.example?x=1 HTTP/1.1",
        ),
        line(
            "absolute form with ftp",
            "GET ftp://abs.example/up HTTP/1.1",
        ),
        line(
            "absolute form with userinfo",
            "GET http://u:p@abs.example/up HTTP/1.1",
        ),
        line(
            "absolute form with upper-case scheme",
            "GET HTTP://abs.example/up HTTP/1.1",
        ),
        line("absolute form without host", "GET http:///up HTTP/1.1"),
        Case::http1(
            "absolute form and no Host",
            "GET http://abs.example/up HTTP/1.1\r\n\r\n",
        ),
        line("a relative target", "GET up HTTP/1.1"),
        line("an empty target", "GET  HTTP/1.1"),
        line("a fragment", "GET /up#fragment HTTP/1.1"),
        line("space in the target", "GET /up/a b HTTP/1.1"),
        line("two spaces before the version", "GET /up  HTTP/1.1"),
        line("space after the version", "GET /up HTTP/1.1 "),
        line("space before the method", " GET /up HTTP/1.1"),
        line("a tab after the method", "GET\t/up HTTP/1.1"),
        Case::http1(
            "obs-text in the target",
            b"GET /up/\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        line(
            "a control character in the target",
            "GET /up/\u{1} HTTP/1.1",
        ),
        line(
            "percent-encoding in the target",
            "GET /up/%41%zz%00 HTTP/1.1",
        ),
        line(
            "brackets and quotes in the target",
            "GET /up/[\"<>\\^`{|}] HTTP/1.1",
        ),
        line("a query alone", "GET /up?a=b&c=%20?d HTTP/1.1"),
        line("double slashes", "GET /up//a/./../b HTTP/1.1"),
        line("a target of two slashes", "GET //up HTTP/1.1"),
        line(
            "a long target",
            &format!("GET /up?{} HTTP/1.1", "a".repeat(50_000)),
        ),
        line(
            "a too long target",
            &format!("GET /up?{} HTTP/1.1", "a".repeat(62_000)),
        ),
        line("HTTP/1.0", "GET /up HTTP/1.0"),
        Case::http1("HTTP/0.9", "GET /up\r\n\r\n"),
        line("HTTP/1.2", "GET /up HTTP/1.2"),
        line("HTTP/2.0", "GET /up HTTP/2.0"),
        line("HTTP/1.10", "GET /up HTTP/1.10"),
        line("lower-case http/1.1", "GET /up http/1.1"),
        line("no version number", "GET /up HTTP/"),
        Case::http1("junk", "JUNK\r\n\r\n"),
        Case::http1(
            "a TLS hello",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        ),
        Case::http1(
            "HTTP/1.0 with keep-alive",
            "GET /up HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
        ),
    ]);
    Group::new("request line", BASIC, cases)
}
