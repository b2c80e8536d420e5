//! Every kind of route match, alone and in its order with others.

use nuncio_tests::compare::case::{Case, Group};
use nuncio_tests::h2_client::H2Send;

const MATCHING: &str = include_str!("../../cases/matching.yaml");

fn path(path: &&str) -> Case {
    Case::get(&format!("match path {path}"), path, "")
}

pub(crate) fn group() -> Group {
    let mut cases: Vec<Case> = TEMPLATES.iter().map(path).collect();
    cases.extend(ORDER.iter().map(path));
    cases.extend(cookies());
    cases.extend(facts());
    cases.extend(headers());
    cases.extend(QUERIES.iter().map(path));
    cases.extend(over_h2());
    cases.extend(
        PARAMETERS
            .iter()
            .map(path)
            .map(|case| case.at("parameters")),
    );
    Group::new("matching", MATCHING, cases)
}

const TEMPLATES: &[&str] = &[
    "/t/one/a",
    "/t/one/a?query/b",
    "/t/one/",
    "/t/one/a/",
    "/t/one/a/b",
    "/t/one/a=b",
    "/t/one/a*b",
    "/t/one/a^b",
    "/t/one/a%20b",
    "/t/one/a|b",
    "/t/one/a~!$&'()+,;:@b",
    "/t/two/a/end",
    "/t/two//end",
    "/t/two/a/b/end",
    "/t/two/a/END",
    "/t/three/a/x/b",
    "/t/three/b/x/b",
    "/t/rest/",
    "/t/rest",
    "/t/rest/a/b//c/",
    "/t/rest/a^b",
    "/t/named/",
    "/t/named/a/b",
    "/t/suffix/a.mp3",
    "/t/suffix/.mp3",
    "/t/suffix/a.mp3.mp3",
    "/t/suffix/a.mp4",
    "/t/suffix/a/b.mp3",
    "/t/restsuffix/a/b.mp3",
    "/t/restsuffix/.mp3",
    "/t/star/a/x",
    "/t/star//x",
    "/t/dot.x/a",
    "/t/dotxx/a",
    "/t/a=b/a",
    "/t/a+b/a",
    "/t/slash/",
    "/t/slash",
    "/t/before/end",
    "/t/before//end",
    "/t/before/a/b/end",
    "/t/before/a/end/",
    "/t/case/a",
    "/t/CASE/a",
    "/rw/swap/a/b",
    "/rw/swap/a/b?q=1",
    "/rw/swap/a/b/c",
    "/rw/rest/a/b/",
    "/rw/rest/?q",
    "/rw/part/a.json?q#f",
    "/rw/part/a.b.json",
    "/rw/twice/ab",
    "/rw/none/a?b",
];

const ORDER: &[&str] = &[
    "/separated/fold",
    "/SEPARATED/FOLD/x",
    "/Separated/Foldx",
    "/whole/fold",
    "/WHOLE/fold?a",
    "/whole/fold/",
    "/order/abc",
    "/order/abcd",
    "/order/ab",
    "/order/a",
    "/order/axy/z",
    "/order",
    "/Order/ab",
    "/a/b.jpg",
    "/order/abc.jpg",
    "/re/x/one",
    "/re/x/two",
    "/RE/x/y/three",
    "/re/x/y/one",
];

/// Where what follows a `;` does not count.
const PARAMETERS: &[&str] = &[
    "/whole;a=1",
    "/whole;/more",
    "/whole?a;b",
    "/whole;a?b",
    "/regex/12;v=1",
    "/prefix;a/more",
    "/prefix/more;a=1/b?c",
    "/;",
];

const QUERIES: &[&str] = &[
    "/query/suffix?a=x1",
    "/query/suffix?a=1x",
    "/query/suffix?a",
    "/query/containsfold?a=xbCx",
    "/query/containsfold?a=xbxc",
    "/query/absent",
    "/query/absent?a",
    "/query/absent?b=1",
    "/query/exactfold?a=ABC",
    "/query/exactfold?a=abcd",
    "/query/bare?a",
    "/query/bare?b",
];

fn cookies() -> Vec<Case> {
    let with = |kind: &str, lines: &[&str]| {
        let text: String = lines
            .iter()
            .map(|line| format!("Cookie: {line}\r\n"))
            .collect();
        let name = format!("match cookie {kind} with {lines:?}");
        Case::get(&name, &format!("/cookie/{kind}"), &text)
    };
    let mut cases = Vec::new();
    for kind in ["exact", "empty", "inverted", "regex"] {
        for lines in [
            &[][..],
            &["a=1"],
            &["a=2; a=1"],
            &["b=2;a=1"],
            &["a="],
            &["a"],
            &["a=\"1\""],
        ] {
            cases.push(with(kind, lines));
        }
    }
    for lines in [
        &["b", "a=1"][..],
        &["a=1; a=2"],
        &["A=1"],
        &["a =1"],
        &["b=0;  a=1"],
        &["b=0;\ta=1"],
        &["a=\"1"],
        &["a=\"\"1\"\""],
    ] {
        cases.push(with("exact", lines));
    }
    cases.extend([
        with("both", &["a=xa; b=by"]),
        with("both", &["a=xa"]),
        with("both", &["a=xa", "b=Y"]),
    ]);
    cases
}

/// What is not in the request's head.
fn facts() -> Vec<Case> {
    let mut cases: Vec<Case> = [
        "/tls/presented",
        "/tls/absent",
        "/tls/validated",
        "/tls/unvalidated",
        "/tls/either",
        "/metadata/string",
        "/metadata/inverted",
        "/metadata/present",
        "/metadata/notpresent",
        "/metadata/presentinverted",
        "/metadata/bool",
        "/metadata/number",
        "/metadata/or",
        "/fraction/none",
        "/fraction/all",
        "/fraction/more",
        "/fraction/allof10000",
        "/fraction/noneof1000000",
    ]
    .iter()
    .map(path)
    .collect();
    for kind in [
        "application/grpc",
        "application/grpc+proto",
        "application/grpc+",
        "application/grpc-web",
        "application/grpc;x",
        "Application/grpc",
        "application/json",
    ] {
        let line = format!("Content-Type: {kind}\r\n");
        cases.push(Case::get(
            &format!("match grpc by {kind}"),
            "/grpc/x",
            &line,
        ));
    }
    cases.push(Case::get("match grpc without a type", "/grpc/x", ""));
    cases
}

fn headers() -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in [
        "oldexact",
        "oldprefix",
        "oldsuffix",
        "oldcontains",
        "oldregex",
        "notpresent",
        "presentasempty",
        "suffixfold",
        "containsfold",
        "emptyexact",
        "emptyexactmissing",
        "bare",
        "three",
    ] {
        for line in ["X-A: one\r\n", "X-A: ONE\r\n", "X-A:\r\n", ""] {
            let name = format!("match header {kind} with {line:?}");
            cases.push(Case::get(&name, &format!("/header/{kind}"), line));
        }
    }
    for kind in ["notinrange", "rangeasempty"] {
        for value in ["-5", "4", "5", "x", ""] {
            let name = format!("match header {kind} with {value:?}");
            let line = format!("X-A: {value}\r\n");
            cases.push(Case::get(&name, &format!("/header/{kind}"), &line));
        }
        cases.push(Case::get(
            &format!("match header {kind} without it"),
            &format!("/header/{kind}"),
            "",
        ));
    }
    for lines in [
        "X-A: a\r\nX-B: b\r\n",
        "X-A: a\r\nX-B: c\r\n",
        "X-A: a\r\nX-B: c\r\nX-C: c\r\n",
    ] {
        let name = format!("match header three with {lines:?}");
        cases.push(Case::get(&name, "/header/three", lines));
    }
    cases.extend([
        Case::get("match header path", "/header/path?q", ""),
        Case::get("match header path that is another", "/header/path?r", ""),
        Case::get(
            "match header cookie of two lines",
            "/header/cookie",
            "Cookie: a=1\r\nCookie: b=2\r\n",
        ),
    ]);
    cases
}

fn over_h2() -> Vec<Case> {
    let get = |name: &str, path: &str| {
        Case::http2(name, H2Send::new("GET", path).base("http://a.example"))
    };
    vec![
        get("match template over HTTP/2", "/t/one/a?b"),
        get("match rewrite over HTTP/2", "/rw/swap/a/b?c"),
        get("match order over HTTP/2", "/order/abcd"),
        Case::http2(
            "match cookies of two fields over HTTP/2",
            H2Send::new("GET", "/cookie/exact")
                .base("http://a.example")
                .header("cookie", "b=2")
                .header("cookie", "a=1"),
        ),
    ]
}
