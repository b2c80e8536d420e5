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
    Group::new("fields", include_str!("../../cases/fields.yaml"), cases)
}
