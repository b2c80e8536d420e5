//! Trees of matchers (`VirtualHost.matcher`).

use nuncio_tests::compare::case::{Case, Group};
use nuncio_tests::h2_client::H2Send;

pub(crate) fn group() -> Group {
    let table: [(&str, &[(&str, &str)]); 3] = [
        (
            "list.example",
            &[
                ("/", ""),
                ("/none", ""),
                ("/none", "x-a: 3\r\n"),
                ("/other", "x-a: 3\r\n"),
                ("/nested", ""),
                ("/nested", "x-a: 3\r\n"),
                ("/both", "x-a: 1\r\nx-b: ONE\r\n"),
                ("/both", "x-a: 1\r\nx-b: two\r\n"),
                ("/both", "x-a: 1\r\n"),
                ("/elsewhere", "x-a: 1\r\nx-b: one\r\n"),
                ("/first", "x-a: 12\r\n"),
                ("/first?x=y", "x-b: wx\r\n"),
                ("/second", "x-b: rrr\r\nx-c: 1\r\n"),
                ("/second", "x-b: rrr\r\n"),
                ("/third", "x-b: rrr\r\n"),
                ("/?q", ""),
            ],
        ),
        (
            "exact.example",
            &[
                ("/", "x-a: one\r\n"),
                ("/", "x-a: one\r\nx-a: two\r\n"),
                ("/", "x-a: one,two\r\n"),
                ("/", "x-a: one, two\r\n"),
                ("/", "x-a: ONE\r\n"),
                ("/", "x-a:\r\n"),
                ("/other", ""),
                ("/", ""),
            ],
        ),
        (
            "prefix.example",
            &[
                ("/", ""),
                ("/x?y", ""),
                ("/api/exact", ""),
                ("/api/exact?q", ""),
                ("/api/other", ""),
                ("/api/deep/x", "x-a: one\r\n"),
                ("/api/deep/x", "x-a: two\r\n"),
            ],
        ),
    ];
    let mut cases = Vec::new();
    for (host, requests) in table {
        for (path, head) in requests {
            let shown = head.replace("\r\n", ", ");
            let case = Case::get(&format!("{host} {path} {shown}"), path, head);
            cases.push(case.replaced("a.example", host));
        }
    }
    cases.push(Case::http2(
        "HTTP/2",
        H2Send::new("GET", "/nested").base("http://list.example"),
    ));
    Group::new("matchers", include_str!("../../cases/matchers.yaml"), cases)
}
