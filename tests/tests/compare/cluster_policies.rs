//! What clusters say about their requests in place of routes: tries, copies, hashes.

use nuncio_tests::compare::case::{Case, Group, Step, request};

const BUSY: &str = "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n";
const CONFLICT: &str = "HTTP/1.1 409 No\r\nContent-Length: 0\r\n\r\n";

pub(crate) fn group() -> Group {
    let mut cases = vec![
        Case::get("what the virtual host would try again", "/up", "").reply_bytes(BUSY),
        Case::get("what the cluster does", "/up", "").reply_bytes(CONFLICT),
        Case::get("as often as the cluster says", "/up", "")
            .reply_bytes(CONFLICT)
            .reply_bytes(CONFLICT)
            .reply_bytes(CONFLICT),
        Case::get("whatever the route says", "/own", "").reply_bytes(CONFLICT),
        Case::steps(
            "a copy",
            vec![
                Step::Send(request("GET", "/copied", "", "")),
                Step::Receive { to_head: false },
                Step::WaitForSecond,
            ],
        ),
    ];
    cases.push(Case::get(
        "a copy for a cluster that is not there",
        "/nowhere",
        "",
    ));
    for (cluster, route) in [("1", "1"), ("1", "2"), ("2", "1"), ("3", "1"), ("4", "1")] {
        let name = format!("a hash of {cluster}, not of {route}");
        let headers = format!("X-Cluster: {cluster}\r\nX-Route: {route}\r\n");
        cases.push(Case::get(&name, "/hashed", &headers));
    }
    cases.extend([
        Case::get("nothing to hash", "/hashed", "X-Cluster: 1\r\n"),
        Case::admin(
            "GET /stats?filter=^cluster.(second|nobody).upstream_rq_total",
            &[],
        ),
    ]);
    let template = include_str!("../../cases/cluster_policies.yaml");
    Group::new("cluster policies", template, cases)
}
