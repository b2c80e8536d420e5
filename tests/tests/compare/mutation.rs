//! Headers added, replaced and removed by configuration and by the header_mutation filter.

use nuncio_tests::compare::case::{Case, Group};
use nuncio_tests::h2_client::H2Send;

const MUTATION: &str = include_str!("../../cases/mutation.yaml");

const ALL: &str = "X-Default: own\r\nX-Append-Or-Add: own\r\nX-If-Absent: own\r\n\
    X-Overwrite-Or-Add: own\r\nX-Overwrite: own\r\n";

const REMOVED: &str = "X-Remove-Config: 1\r\nX-Remove-Host: 1\r\nX-Remove-Route: 1\r\n\
    X-Remove-Cluster: 1\r\nX-Remove: kept\r\n";

fn up(name: &str, path: &str, request: &str, response: &str) -> Case {
    let reply = format!("HTTP/1.1 200 OK\r\n{response}Content-Length: 2\r\n\r\nok");
    Case::get(name, path, request).reply_bytes(reply)
}

pub(crate) fn group() -> Group {
    let cases = vec![
        up("every level", "/levels", REMOVED, REMOVED),
        up(
            "every level with values there",
            "/levels",
            "X-Level: own\r\nX-Append: own\r\n",
            "X-Level: own\r\nX-Append: own\r\n",
        ),
        up("every action without a value", "/actions", "", ""),
        up("every action with a value", "/actions", ALL, ALL),
        up(
            "every action with two values",
            "/actions",
            &ALL.repeat(2),
            &ALL.repeat(2),
        ),
        up(
            "operators",
            "/operators",
            "X-In: input\r\n",
            "X-Up: output\r\n",
        ),
        up("operators without values", "/operators", "", ""),
        Case::http2(
            "operators over HTTP/2",
            H2Send::new("GET", "/operators").header("x-in", "input"),
        ),
        up(
            "operators with a header given twice",
            "/operators",
            "X-In: a\r\nX-In: b\r\n",
            "X-Up: c\r\nX-Up: d\r\n",
        ),
        Case::get("a direct response", "/direct", ""),
        Case::get("a redirect", "/redirect", ""),
        Case::get("a failed upstream", "/refused", ""),
        Case::get("no route", "/nothing", ""),
        up(
            "removal",
            "/remove",
            "X-A: 1\r\nX-B: 1\r\nX-A: 2\r\nUser-Agent: u\r\n",
            "X-A: 1\r\nX-B: 1\r\nServer: s\r\nContent-Type: t\r\n",
        ),
        up(
            "removal and addition",
            "/replace",
            "X-A: 1\r\nX-C: 1\r\n",
            "",
        ),
        up(
            "the filter with values there",
            "/plain",
            "X-Filter: own\r\nX-Filter-Overwrite: own\r\nX-Filter-If-Absent: own\r\nX-Filter-Only-Existing: own\r\nX-Filter-Remove: own\r\n",
            "X-Filter: own\r\nX-Filter-Overwrite: own\r\nX-Filter-Remove: own\r\n",
        ),
        Case::request(
            "the filter on POST",
            "POST",
            "/plain",
            "Content-Length: 1\r\n",
            "a",
        ),
    ];
    Group::new("header mutation", MUTATION, cases)
}

/// The same levels, the most specific last.
pub(crate) fn most_specific() -> Group {
    let name = "            name: routes\n";
    assert!(MUTATION.contains(name), "the route configuration begins so");
    let wins = format!("{name}            most_specific_header_mutations_wins: true\n");
    let template = MUTATION.replacen(name, &wins, 1);
    let cases = vec![
        up("every level", "/levels", REMOVED, REMOVED),
        up(
            "every level with values there",
            "/levels",
            "X-Level: own\r\nX-Append: own\r\n",
            "X-Level: own\r\nX-Append: own\r\n",
        ),
        up("every action with a value", "/actions", ALL, ALL),
        Case::get("a failed upstream", "/refused", ""),
        Case::http2(
            "every level over HTTP/2",
            H2Send::new("GET", "/levels").base("http://a.example"),
        ),
    ];
    Group::new("header mutation, the most specific wins", &template, cases)
}
