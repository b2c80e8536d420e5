//! TCP connections that travel in HTTP streams: which request opens one, which answer does, and the bytes.
//! At the other end is a scripted server, or a listener of the same proxy that takes CONNECT.

use nuncio_tests::compare::case::{Case, Group, Step, request};
use nuncio_tests::h2_origin::H2Reply;
use nuncio_tests::origin::{Act, Reply};

const OPENS: &str = "HTTP/1.1 200 OK\r\nX-A: 1\r\n\r\n";

pub(crate) fn group() -> Group {
    let mut cases = over_http1();
    cases.extend(waits());
    cases.extend(refusals());
    cases.extend(over_http2());
    cases.extend(posted());
    cases.extend(whole_ways());
    cases.extend(
        [
            "GET /stats?filter=^tcp.h1.(downstream_cx|up|idle|early|max|route)",
            "GET /stats?filter=^tcp.attempts.(downstream_cx|up|idle|early|max|route)",
            "GET /stats?filter=^tcp.h2.(downstream_cx|up|idle|early|max|route)",
            "GET /stats?filter=^tcp.post.(downstream_cx|up|idle|early|max|route)",
            "GET /stats?filter=^tcp.refused.(downstream_cx|up|idle|early|max|route)",
            "GET /stats?filter=^tcp.nowhere.(downstream_cx|up|idle|early|max|route)",
            "GET /stats?filter=^tcp.idle.(downstream_cx|up|idle|early|max|route)",
            "GET /stats?filter=^tcp.late.(downstream_cx|up|idle|early|max|route)",
            "GET /stats?filter=^tcp.longest.(downstream_cx|up|idle|early|max|route)",
            "GET /stats?filter=^tcp.silent.(downstream_cx|up|idle|early|max|route)",
            "GET /stats?filter=^tcp.blackhole.(downstream_cx|up|idle|early|max|route)",
            "GET /stats?filter=^cluster.origin.upstream_(cx_(total|active|connect_fail|http[12])|rq_(total|active|pending|[1-9]))",
            "GET /stats?filter=^cluster.h2origin.upstream_(cx_(total|active|connect_fail|http[12])|rq_(total|active|pending|[1-9]))",
            "GET /stats?filter=^cluster.refused.upstream_(cx_(total|active|connect_fail|http[12])|rq_(total|active|pending|[1-9]))",
        ]
        .map(|request| Case::admin(request, &[])),
    );
    Group::new("tunnels", include_str!("../../cases/tunnels.yaml"), cases).with_bytes()
}

fn text(text: &str) -> Step {
    Step::Send(text.as_bytes().to_vec())
}

/// A server that opens the stream and then sends back what comes.
fn echo(head: &str) -> Reply {
    Reply::bytes(head).at_head().then(Act::Echo)
}

fn over_http1() -> Vec<Case> {
    let steps = |name: &str, steps: Vec<Step>| Case::steps(name, steps).at("to_h1");
    let talk = || {
        vec![
            text("abc"),
            Step::ReceiveBytes(3),
            text("d"),
            Step::ReceiveBytes(1),
        ]
    };
    let then = |step: Step| [talk(), vec![step]].concat();
    vec![
        steps("the client closes", then(Step::HangUp)).reply(echo(OPENS)),
        steps(
            "the client ends",
            [talk(), vec![Step::HalfClose, Step::ReceiveToEnd]].concat(),
        )
        .reply(echo(OPENS)),
        steps("the upstream ends", vec![Step::ReceiveToEnd])
            .reply(Reply::bytes(format!("{OPENS}bye")).at_head().close()),
        steps(
            "the upstream speaks first",
            vec![Step::ReceiveBytes(5), Step::HangUp],
        )
        .reply(echo(&format!("{OPENS}hello"))),
        steps("a 204", then(Step::HangUp)).reply(echo("HTTP/1.1 204 No Content\r\n\r\n")),
        steps("a 299", then(Step::HangUp)).reply(echo("HTTP/1.1 299 Odd\r\n\r\n")),
        steps("interim answers", then(Step::HangUp)).reply(echo(&format!(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\n\r\n{OPENS}"
        ))),
        steps(
            "many bytes",
            vec![
                Step::Send(vec![b'x'; 1024 * 1024]),
                Step::ReceiveBytes(1024 * 1024),
                Step::HangUp,
            ],
        )
        .reply(echo(OPENS)),
        steps("the first bytes are waited for", then(Step::HangUp))
            .reply(Reply::bytes("").then(Act::Echo))
            .at("to_late"),
        steps("a client that says nothing", vec![Step::HangUp]).at("to_late"),
        steps(
            "the upstream resets",
            vec![text("abc"), Step::ReceiveBytes(2), Step::ReceiveToEnd],
        )
        .reply(
            Reply::bytes(format!("{OPENS}hi"))
                .at_head()
                .then(Act::Read(3))
                .then(Act::Reset),
        ),
        steps(
            "silence",
            vec![text("abc"), Step::ReceiveBytes(3), Step::ReceiveToEnd],
        )
        .reply(echo(OPENS))
        .at("to_idle"),
    ]
}

/// What is waited for, and how long.
fn waits() -> Vec<Case> {
    let steps = |name: &str, steps: Vec<Step>| Case::steps(name, steps);
    vec![
        steps(
            "a client that ends without a word",
            vec![Step::HalfClose, Step::ReceiveToEnd],
        )
        .at("to_late"),
        steps(
            "a client that waits for the first word",
            vec![Step::ReceiveToEnd],
        )
        .at("to_silent"),
        steps(
            "a client that nobody is there for",
            vec![Step::ReceiveToEnd],
        )
        .at("to_blackhole"),
        steps("an opening that does not come", vec![Step::ReceiveToEnd])
            .reply(Reply::nothing().at_head().then(Act::Hang))
            .at("to_once"),
        steps("nobody to connect to", vec![Step::ReceiveToEnd]).at("to_empty"),
        steps("no place for a connection", vec![Step::ReceiveToEnd]).at("to_full"),
        steps("no time to connect", vec![Step::ReceiveToEnd]).at("to_longest"),
        steps(
            "bytes over the wire",
            vec![text("abc"), Step::ReceiveBytes(3), Step::HangUp],
        )
        .reply(echo(OPENS))
        .at("to_once"),
    ]
}

fn refusals() -> Vec<Case> {
    let refused = |name: &str, at: &'static str| Case::steps(name, vec![Step::ReceiveToEnd]).at(at);
    let no = |status: u16| format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n");
    vec![
        refused("a 403", "to_h1").reply_bytes(no(403)),
        refused("a 302 with a body", "to_h1")
            .reply_bytes("HTTP/1.1 302 No\r\nContent-Length: 2\r\n\r\nno"),
        refused("a 101", "to_once").reply_bytes("HTTP/1.1 101 Switching\r\n\r\n"),
        refused("nonsense", "to_once").reply_bytes("nonsense\r\n\r\n"),
        refused("an end in place of an answer", "to_once").reply(Reply::nothing().close()),
        refused("again", "to_attempts")
            .reply_bytes(no(503))
            .reply_bytes(no(403))
            .reply(Reply::bytes(OPENS).at_head().close()),
        refused("again, until there is no more", "to_attempts")
            .reply_bytes(no(503))
            .reply(Reply::nothing().close())
            .reply_bytes(no(403)),
        refused("no connection", "to_refused"),
        refused("no cluster", "to_nowhere"),
        refused("a 403 to a POST", "to_post").reply(Reply::bytes(no(403)).at_head()),
        refused("a 204 to a POST", "to_post")
            .reply(Reply::bytes("HTTP/1.1 204 No\r\n\r\n").at_head()),
        refused("a 407 over HTTP/2", "to_h2").h2_reply(H2Reply::status(407).at_head().body("no")),
        refused("a 201 over HTTP/2", "to_h2").h2_reply(H2Reply::status(201).at_head().body("no")),
    ]
}

fn over_http2() -> Vec<Case> {
    let talk = || vec![text("abc"), Step::ReceiveBytes(3)];
    vec![
        Case::steps(
            "h2, the client closes",
            [talk(), vec![Step::HangUp]].concat(),
        )
        .h2_reply(H2Reply::echo())
        .at("to_h2"),
        Case::steps(
            "h2, the client ends",
            [talk(), vec![Step::HalfClose, Step::ReceiveToEnd]].concat(),
        )
        .h2_reply(H2Reply::echo())
        .at("to_h2"),
        Case::steps(
            "h2, posted",
            [talk(), vec![Step::HalfClose, Step::ReceiveToEnd]].concat(),
        )
        .h2_reply(H2Reply::echo().trailer("x-t", "1"))
        .at("to_post_h2"),
    ]
}

fn posted() -> Vec<Case> {
    let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
    vec![
        Case::steps(
            "posted",
            vec![text("abc"), Step::ReceiveBytes(3), Step::HangUp],
        )
        .reply(Reply::bytes(chunks).at_head().then(Act::Hang))
        .at("to_post"),
        Case::steps(
            "posted, the client ends",
            vec![
                text("abc"),
                Step::ReceiveBytes(3),
                Step::HalfClose,
                Step::ReceiveToEnd,
            ],
        )
        .reply(Reply::bytes(chunks).at_head().then(Act::Hang))
        .at("to_post"),
    ]
}

fn whole_ways() -> Vec<Case> {
    let through = |name: &str, at: &'static str| {
        Case::steps(
            name,
            vec![
                Step::Send(request("GET", "/inner", "", "")),
                Step::Receive { to_head: false },
                Step::Send(request("GET", "/again", "", "")),
                Step::Receive { to_head: false },
                Step::HangUp,
            ],
        )
        .at(at)
        .without_log()
    };
    vec![
        through("through a tunnel over HTTP/1", "through_h1"),
        through("through a tunnel over HTTP/2", "through_h2"),
    ]
}
