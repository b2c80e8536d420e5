//! Headers added, replaced and removed by configuration and by the header_mutation filter.

use nuncio_tests::compare::case::{Case, Group};
use nuncio_tests::config::{Config, HTTP2, cluster, endpoint};
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

/// What routes say of a connection, which is not theirs.
pub(crate) fn of_connections() -> Group {
    const FIELDS: [(&str, &str); 7] = [
        ("connection", "close"),
        ("connection", "x-foo"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "close"),
        ("upgrade", "foo"),
        ("te", "gzip"),
        ("te", "trailers"),
    ];
    let mut config = Config::new().cluster(cluster("origin", &[endpoint("origin", "")], ""));
    config = config.cluster(cluster("h2", &[endpoint("h2origin", "")], HTTP2));
    let mut cases = Vec::new();
    for (index, (name, value)) in FIELDS.iter().enumerate() {
        for side in ["request", "response"] {
            let places = [
                ("http1", "route: { cluster: origin }"),
                ("http2", "route: { cluster: h2 }"),
                (
                    "direct",
                    "direct_response: { status: 200, body: { inline_string: direct } }",
                ),
            ];
            for (place, action) in places {
                // Envoy sends them to HTTP/2 upstreams, which refuse the request; one of them shows it.
                if place == "http2" && side == "request" && !matches!(index, 0 | 6) {
                    continue;
                }
                let path = format!("/{place}/{side}/{index}");
                config = config.route(format!(
                    "{{ match: {{ path: {path} }}, {action}, {side}_headers_to_add: [ {{ header: {{ key: {name}, value: {value} }}, append_action: OVERWRITE_IF_EXISTS_OR_ADD }} ] }}"
                ));
                let title = format!("{side}, {name}: {value}, {place}");
                cases.push(Case::get(&title, &path, ""));
                if index == 0 && side == "request" && place == "http2" {
                    continue;
                }
                cases.push(Case::request(
                    &format!("{title}, a body"),
                    "POST",
                    &path,
                    "Content-Length: 3\r\n",
                    "abc",
                ));
                // Nor do clients of HTTP/2 take a `te` from Envoy, but for that of trailers.
                if index != 5 || side == "request" || place == "direct" {
                    let title = format!("{title}, HTTP/2");
                    cases.push(Case::http2(&title, H2Send::new("GET", &path)));
                }
            }
        }
    }
    let template = config.log("@LOG_FORMAT@").text();
    Group::new("fields of connections", &template, cases)
}
