//! Regular expressions and bytes that are no text: both sides read them byte by byte.

use nuncio_tests::compare::case::{Case, Group};

/// How many expressions the configuration has.
const EXPRESSIONS: usize = 22;

/// What they are asked about.
const VALUES: [&[u8]; 12] = [
    b"a\xffb",
    b"a\xc3\xa9b",
    b"a\xc3\xa9",
    b"\xc3\xa9",
    b"\xe9",
    b"a\xe9b",
    b"\xc3\x89",
    b"a\xe2\x82\xacb",
    b"a b",
    b"aab",
    b"evil\xff",
    b"ab",
];

pub(crate) fn group() -> Group {
    let mut cases = Vec::new();
    for expression in 0..EXPRESSIONS {
        for value in VALUES {
            let head = format!("GET /{expression} HTTP/1.1\r\nHost: a.example\r\nX-V: ");
            let name = format!("{expression} on {}", value.escape_ascii());
            cases.push(Case::http1(
                &name,
                [head.as_bytes(), value, b"\r\n\r\n"].concat(),
            ));
        }
    }
    for path in [
        "/redirect/ab",
        "/redirect/\u{e9}b",
        "/every/axb",
        "/every/\u{e9}",
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n");
        cases.push(Case::http1(&format!("rewrite of {path}"), request));
    }
    Group::new(
        "expressions",
        include_str!("../../cases/expressions.yaml"),
        cases,
    )
}
