//! Requests that come from pages of other sites.

use nuncio_tests::compare::case::{Case, Group};

const CSRF: &str = include_str!("../../cases/csrf.yaml");

pub(crate) fn group() -> Group {
    let mut cases = Vec::new();
    for headers in [
        "",
        "Origin: http://a.example\r\n",
        "Origin: https://a.example\r\n",
        "Origin: HTTP://A.example\r\n",
        "Origin: a.example\r\n",
        "Origin: http://a.example:80\r\n",
        "Origin: http://a.example/path\r\n",
        "Origin: http://a.example?query\r\n",
        "Origin: http://user@a.example\r\n",
        "Origin: http://b.test\r\n",
        "Origin: http://x.c.test:8080\r\n",
        "Origin: http://d.test\r\n",
        "Origin: ftp://a.example\r\n",
        "Origin: ws://a.example\r\n",
        "Origin: http://a.example#f\r\n",
        "Origin: null\r\n",
        "Origin: null\r\nReferer: http://a.example/\r\n",
        "Origin:\r\n",
        "Origin:\r\nReferer: http://a.example/page\r\n",
        "Referer: http://a.example/page?x#y\r\n",
        "Referer: http://d.test/a.example\r\n",
        "Origin: http://d.test\r\nReferer: http://a.example/\r\n",
    ] {
        for path in ["/", "/shadow", "/none"] {
            let name = format!("{path} {headers:?}");
            cases.push(Case::request(&name, "POST", path, headers, ""));
        }
    }
    for method in ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "QUERY"] {
        let headers = "Origin: http://d.test\r\nContent-Type: text/plain\r\n";
        cases.push(Case::request(method, method, "/", headers, ""));
    }
    let host = "Origin: http://a.example:8080\r\n";
    cases.push(
        Case::request("a host with a port", "POST", "/", host, "")
            .replaced("Host: a.example", "Host: a.example:8080"),
    );
    cases.push(Case::admin(
        "GET /stats?filter=csrf",
        &["http.ingress.csrf"],
    ));
    Group::new("csrf", CSRF, cases)
}
