//! Fields that Envoy takes and that say less than they seem to, or that few files have.

use nuncio_tests::compare::case::{Case, Group, Step, request};
use nuncio_tests::origin::Reply;

const BOTH: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\nx-a: 1\r\n\r\n2\r\nok\r\n0\r\n\r\n";
const BUSY: &str = "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n";

pub(crate) fn group() -> Group {
    let cases = vec![
        Case::get("an action of filters, of which none acts", "/filter", ""),
        Case::get("a length beside chunks that is allowed", "/lenient", "").reply_bytes(BOTH),
        Case::get("a length beside chunks", "/", "").reply_bytes(BOTH),
        Case::get("a policy in an extension's place", "/typed", "").reply_bytes(BUSY),
        Case::http1(
            "the same of a virtual host",
            "GET / HTTP/1.1\r\nHost: typed\r\n\r\n",
        )
        .reply_bytes(BUSY),
        Case::get("weights whose sum is another than told", "/weighted", ""),
        Case::get(
            "no request asks for nothing",
            "/",
            "Connection: upgrade\r\nUpgrade:\r\n",
        ),
        Case::request(
            "entries of two attempts",
            "POST",
            "/again",
            "Content-Length: 5\r\n",
            "hello",
        )
        .reply_bytes("HTTP/1.1 503 No\r\nContent-Length: 4\r\nX-A: 1\r\n\r\nbusy")
        .reply_bytes("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: 2\r\n\r\nok"),
        Case::get("entries where one is reset", "/again", "").reply(Reply::nothing().close()),
        Case::get("an answer that breaks off", "/", "")
            .reply(Reply::bytes("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut").close()),
        Case::get("no attempt at all", "/nobody", ""),
        Case::steps("no network filter", vec![Step::ReceiveToEnd])
            .at("nothing")
            .without_log(),
        Case::steps(
            "no network filter, and a client that speaks",
            vec![Step::Send(request("GET", "/", "", "")), Step::ExpectClose],
        )
        .at("nothing")
        .without_log(),
        Case::admin(
            "GET /stats?filter=^listener.nothing.(network_|no_|downstream_cx_(total|destroy)$)",
            &[],
        )
        // Envoy counts behind the end that a client sees.
        .once("listener.nothing.downstream_cx_destroy: 2"),
    ];
    Group::new("fields", include_str!("../../cases/fields.yaml"), cases)
}
