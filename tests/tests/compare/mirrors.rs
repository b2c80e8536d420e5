//! Copies of requests, as the other cluster and the client see them.

#![expect(clippy::too_many_lines, reason = "a table of cases")]

use nuncio_tests::compare::case::{Case, Group, Step, request};
use nuncio_tests::origin::{Act, Reply};

const MIRRORS: &str = include_str!("../../cases/mirrors.yaml");

/// A request that is copied.
fn copied(name: &str, path: &str, headers: &str) -> Case {
    of_request(name, request("GET", path, headers, ""))
}

fn of_request(name: &str, bytes: Vec<u8>) -> Case {
    Case::steps(
        name,
        vec![
            Step::Send(bytes),
            Step::Receive { to_head: false },
            Step::WaitForSecond,
        ],
    )
}

fn post(name: &str, path: &str, headers: &str, body: &str) -> Case {
    of_request(name, request("POST", path, headers, body))
}

pub(crate) fn group() -> Group {
    let cases = vec![
        Case::get("no policy", "/none", ""),
        copied("a copy", "/copy", ""),
        copied(
            "a copy with a query",
            "/copy?a=1",
            "X-A: 1\r\nCookie: c=1\r\n",
        ),
        copied(
            "forwarded for another",
            "/copy",
            "X-Forwarded-For: 1.2.3.4\r\n",
        ),
        copied("a host with a port", "/copy", "").replaced("a.example", "a.example:8080"),
        copied("told the time of all tries", "/tries", ""),
        copied("without such a time", "/endless", ""),
        copied(
            "with a time from before",
            "/endless",
            "X-Envoy-Expected-Rq-Timeout-Ms: 7\r\n",
        ),
        copied("the host as it is", "/same-host", ""),
        copied("a host of its own", "/own-host", ""),
        copied("a host of its own without a suffix", "/own-bare-host", ""),
        copied("rewritten first", "/rewritten/p", ""),
        copied(
            "with changes of its own",
            "/changed?q",
            "X-A: 1\r\nX-Twice: 2\r\nX-Gone: 3\r\nX-All-B: 4\r\nX-All-C: 5\r\n",
        ),
        copied("with a change of what is not there", "/changed", ""),
        copied("with changes and a host", "/changed-host", ""),
        copied("named by a header", "/named", "X-Copy-To: second\r\n"),
        Case::get(
            "named by a header, unknown",
            "/named",
            "X-Copy-To: nope\r\n",
        ),
        Case::get("named by a header that is not there", "/named", ""),
        Case::get("0 %", "/never", ""),
        copied("100 %", "/always", ""),
        Case::get("refused", "/refused", ""),
        copied("by the virtual host", "/up", "").replaced("a.example", "host.example"),
        copied("from an HTTP/2 cluster", "/h2", ""),
        copied("once for two tries", "/retried", "")
            .reply_bytes("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"),
        copied("whatever the answer is", "/copy", "")
            .reply_bytes("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"),
        copied("although there is no answer", "/quick", "").reply(Reply::nothing().then(Act::Hang)),
        post("a body", "/copy", "Content-Length: 5\r\n", "hello"),
        post(
            "chunks",
            "/copy",
            "Transfer-Encoding: chunked\r\n",
            "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
        ),
        post(
            "a body although the upstream refuses",
            "/refused-first",
            "Content-Length: 5\r\n",
            "hello",
        ),
        post(
            "chunks although the upstream refuses",
            "/refused-first",
            "Transfer-Encoding: chunked\r\n",
            "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
        ),
        post(
            "a body although all tries are refused",
            "/refused-twice",
            "Content-Length: 5\r\n",
            "hello",
        ),
        post("an empty body", "/copy", "Content-Length: 0\r\n", ""),
        post(
            "a body for two tries",
            "/retried",
            "Content-Length: 5\r\n",
            "hello",
        )
        .reply_bytes("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"),
        Case::admin(
            "GET /stats?filter=^cluster.second.*upstream_rq",
            &[
                "cluster.second.internal.upstream_rq_2",
                "cluster.second.external.upstream_rq_2",
                "cluster.second.upstream_rq_2",
                "cluster.second.upstream_rq_total",
            ],
        ),
    ];
    Group::new("mirrors", MIRRORS, cases)
}
