//! Fields that few files have, each of which keeps a file out that has it.

use nuncio_tests::compare::case::{Case, Group};

const BUSY: &str = "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n";

pub(crate) fn group() -> Group {
    let proxied = "PROXY TCP4 192.0.2.1 192.0.2.2 1000 80\r\nGET /up HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut cases = vec![
        Case::get("a route that leads nowhere", "/nowhere", ""),
        Case::get("one whose filter lets it through", "/filtered", ""),
        Case::get("one whose filter answers", "/filtered", ""),
        Case::get(
            "several requests at once of a virtual host",
            "/up?a=1",
            "X: 12345?67\r\n",
        ),
        Case::get("several requests at once", "/hedged?", "Y: 1?2\r\n"),
        Case::http1("the PROXY protocol by its older field", proxied).at("older"),
        Case::http1("nothing of it", "GET /up HTTP/1.1\r\nHost: a\r\n\r\n")
            .closes()
            .at("older"),
        Case::get("a counted one", "/counted/a", ""),
        Case::get("in a group as well", "/counted/deep", ""),
        Case::get("in the group, again", "/counted/deep", "").reply_bytes(BUSY),
        Case::get("in no group, again", "/counted/a", "").reply_bytes(BUSY),
    ];
    cases.extend(changed());
    cases.extend(
        [
            "GET /stats?filter=^vhost.everything.route.counted.upstream_rq_(200|503|completed|total|retry)",
            "GET /stats?filter=^vhost.everything.vcluster.deep.upstream_rq_(200|503|completed|total|retry)",
            "GET /stats?filter=^vhost.everything.vcluster.other.upstream_rq_(200|503|completed|total|retry)",
            "GET /ready",
            "GET /ready?x=1",
            "GET /stats",
            "GET /",
        ]
        .map(|request| Case::admin(request, &[])),
    );
    Group::new("files", include_str!("../../cases/files.yaml"), cases)
}

/// Requests and responses that are changed in ways of their own.
fn changed() -> Vec<Case> {
    let chunks = "3\r\nabc\r\n0\r\nX-Gone: 1\r\nX-Stays: 2\r\n\r\n";
    let answer =
        format!("HTTP/1.1 200 OK\r\nX-A: up\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
    let mut cases: Vec<Case> = [
        "/x",
        "/x?",
        "/x?a=1&gone=2&d=4&d=5",
        "/x?z=1&b=2&c=3&c=4&e",
        "/x?=5&&k&",
        "/rewritten?q",
    ]
    .map(|target| {
        let name = format!("the query of {target}");
        Case::get(&name, target, "X: v w\r\nX-Forwarded-Proto: https\r\n").at("changed")
    })
    .into();
    cases.extend([
        Case::request(
            "trailers of both",
            "POST",
            "/trailers",
            "Transfer-Encoding: chunked\r\n",
            chunks,
        )
        .reply_bytes(answer)
        .at("changed"),
        Case::get("a value that is encoded", "/x", "X-Encoded: aGVsbG8=\r\n").at("changed"),
        Case::get("without padding", "/x", "X-Encoded: aGVsbG8\r\n").at("changed"),
        Case::get("a value that is none", "/x", "X-Encoded: a*b\r\n").at("changed"),
    ]);
    cases
}
