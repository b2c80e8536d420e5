//! Filters configured at route configurations, virtual hosts, routes and weighted clusters: what
//! counts where, and what is left out.

use nuncio_tests::compare::case::{Case, Group};
use nuncio_tests::h2_client::H2Send;

const PER_ROUTE: &str = include_str!("../../cases/per_route.yaml");

pub(crate) fn group() -> Group {
    let mut cases = Vec::new();
    for (name, path) in [
        ("config, host and route", "/levels/route"),
        ("all levels", "/levels/cluster"),
        ("config and host", "/levels/host"),
        ("most specific wins", "/wins"),
        ("left out at the route", "/off"),
        ("left out at the weighted cluster", "/off-cluster"),
        ("in a wrapper", "/wrapped"),
        ("left out and configured", "/both"),
        ("dormant", "/dormant"),
        ("dormant, enabled", "/dormant/on"),
        ("dormant, configured", "/dormant/configured"),
        ("dormant, an optional type", "/dormant/optional"),
        ("of another kind", "/other"),
        ("of no filter", "/nobody"),
        ("direct response", "/direct"),
        ("redirect", "/redirect"),
        ("refused", "/refused"),
        ("two filters of a name", "/twice"),
        ("nothing", "/nothing"),
    ] {
        cases.push(Case::get(name, path, ""));
        cases.push(Case::get(
            &format!("{name}, with values there"),
            path,
            "X-All: own\r\nX-Last: own\r\n",
        ));
    }
    for (name, path) in [("route", "/route"), ("host alone", "/x")] {
        cases.push(
            Case::get(&format!("second host, {name}"), path, "")
                .replaced("a.example", "second.test"),
        );
    }
    for (name, path) in [("left out", "/x"), ("on again at the route", "/on")] {
        cases.push(
            Case::get(&format!("host without, {name}"), path, "").replaced("a.example", "off.test"),
        );
    }
    cases.push(Case::http2(
        "over HTTP/2",
        H2Send::new("GET", "/levels/cluster"),
    ));
    cases.push(Case::get("no virtual host", "/", "").replaced("a.example", "none.test"));
    cases.extend(limits());
    Group::new("per route", PER_ROUTE, cases)
}

/// Buckets: whose they are shows in who is refused when.
fn limits() -> Vec<Case> {
    let hosts =
        |name: &str, path: &str| Case::get(name, path, "").replaced("a.example", "limited.test");
    vec![
        Case::get("bucket of a route", "/limit/own", ""),
        Case::get("bucket of a route, empty", "/limit/own", ""),
        Case::get("bucket of a like route", "/limit/other", ""),
        Case::get("bucket of a like route, empty", "/limit/other", ""),
        Case::get("bucket of the chain", "/limit", ""),
        Case::get("bucket of the chain, once more", "/limit", ""),
        Case::get("bucket of the chain, empty", "/limit", ""),
        Case::get("limit left out", "/limit/none", ""),
        hosts("bucket of a host", "/a"),
        hosts("bucket of a host, empty", "/a"),
        hosts("bucket of a host, by another route", "/b"),
        Case::admin(
            "GET /stats?filter=http_local_rate_limit",
            &["own.", "chain.", "host."],
        ),
    ]
}
