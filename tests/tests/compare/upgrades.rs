//! Streams that become something else than HTTP: WebSockets and other upgrades, over every pair of
//! protocols.

use nuncio_tests::compare::case::{Case, Group, Step, request};
use nuncio_tests::h2_client::{H2Send, H2Step};
use nuncio_tests::h2_origin::H2Reply;
use nuncio_tests::origin::{Act, Reply};

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n";
const SWITCHES: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                        Upgrade: websocket\r\nSec-WebSocket-Accept: y\r\n\r\n";

pub(crate) fn group() -> Group {
    let mut cases = tunnels();
    cases.extend(ends());
    cases.extend(refusals());
    cases.extend(other_answers());
    cases.extend(forms());
    cases.extend(timeouts());
    cases.extend(h1_to_h2());
    cases.extend(h2_to_h1());
    cases.extend(h2_to_h2());
    cases.push(Case::admin(
        "GET /stats?filter=http.ingress.downstream_(cx_upgrades|rq_ws)",
        &[],
    ));
    Group::new("upgrades", include_str!("../../cases/upgrades.yaml"), cases)
}

fn asks(path: &str) -> Step {
    Step::Send(request("GET", path, UPGRADE, ""))
}

fn get(name: &str, path: &str) -> Case {
    Case::get(name, path, UPGRADE)
}

/// An upstream that changes the protocol and sends back what comes.
fn echo() -> Reply {
    Reply::bytes(SWITCHES).at_head().then(Act::Echo)
}

fn steps(name: &str, path: &str, rest: Vec<Step>) -> Case {
    let mut steps = vec![asks(path), Step::ReceiveInterim];
    steps.extend(rest);
    Case::steps(name, steps)
}

fn tunnels() -> Vec<Case> {
    vec![
        steps(
            "bytes both ways",
            "/ws",
            vec![
                Step::Send(b"one".to_vec()),
                Step::ReceiveBytes(3),
                Step::Send(b"GET / HTTP/1.1\r\n\r\n".to_vec()),
                Step::ReceiveBytes(18),
                Step::HalfClose,
                Step::ReceiveToEnd,
            ],
        )
        .reply(echo()),
        steps(
            "the route's timeout is not the tunnel's",
            "/quick",
            vec![Step::ReceiveToEnd],
        )
        .reply(echo())
        .at("idle"),
    ]
}

fn ends() -> Vec<Case> {
    vec![
        steps(
            "the client ends",
            "/ws",
            vec![Step::HalfClose, Step::ReceiveToEnd],
        )
        .reply(echo()),
        steps("the client hangs up", "/ws", vec![Step::HangUp]).reply(echo()),
        steps("the upstream ends", "/ws", vec![Step::ReceiveToEnd])
            .reply(Reply::bytes(format!("{SWITCHES}bye")).at_head().close()),
        steps("the upstream resets", "/ws", vec![Step::ReceiveToEnd]).reply(
            Reply::bytes(format!("{SWITCHES}bye"))
                .at_head()
                .then(Act::Reset),
        ),
        Case::steps(
            "the client ends before the answer",
            vec![
                asks("/ws"),
                Step::WaitForUpstream,
                Step::HalfClose,
                Step::ReceiveToEnd,
            ],
        )
        .reply(Reply::nothing().at_head().then(Act::Hang)),
        Case::steps(
            "the upstream ends before the answer",
            vec![
                asks("/ws"),
                Step::Receive { to_head: false },
                Step::ExpectClose,
            ],
        )
        .reply(Reply::nothing().at_head().close()),
    ]
}

fn refusals() -> Vec<Case> {
    let of = |name: &str, path: &str, kind: &str| {
        Case::get(
            name,
            path,
            &format!("Connection: Upgrade\r\nUpgrade: {kind}\r\n"),
        )
        .closes()
    };
    vec![
        of("a protocol that is not listed", "/ws", "unlisted"),
        of("a protocol that is off", "/ws", "off"),
        of("off by the route", "/never", "websocket"),
        of("two protocols", "/ws", "unlisted, websocket"),
        of("no upgrades at all", "/ws", "websocket").at("closed"),
        of("on a direct response", "/direct", "websocket"),
        of("on an upstream that refuses", "/refused", "websocket"),
        of("on by the route alone", "/only", "off").reply(echo()),
        of("not listed but on by the route", "/only", "unlisted")
            .reply_bytes("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"),
    ]
}

fn other_answers() -> Vec<Case> {
    let answers = [
        "200 OK\r\nContent-Length: 5\r\nX-A: 1\r\n\r\nhello",
        "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "204 No Content\r\n\r\n",
        "302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n",
        "400 Bad Request\r\nContent-Length: 2\r\n\r\nno",
        "403 Forbidden\r\nContent-Length: 0\r\n\r\n",
        "426 Upgrade Required\r\nContent-Length: 5\r\nUpgrade: x\r\n\r\nhello",
        "503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy",
        "101 Switching Protocols\r\n\r\n",
    ];
    let websocket = answers.map(|answer| {
        let name = format!(
            "answered with {}",
            answer.lines().next().unwrap_or_default()
        );
        let name = if answer.contains("chunked") {
            name + " in chunks"
        } else {
            name
        };
        get(&name, "/ws")
            .closes()
            .reply_bytes(format!("HTTP/1.1 {answer}"))
    });
    let mut cases: Vec<Case> = websocket.into();
    cases.push(get("answered with 101 to HTTP/2", "/ws").reply_bytes(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    ));
    cases.push(
        Case::get(
            "another protocol answered with 200",
            "/ws",
            "Connection: Upgrade\r\nUpgrade: other\r\n",
        )
        .closes()
        .reply_bytes("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
    );
    cases
}

fn forms() -> Vec<Case> {
    let of = |name: &str, headers: &str| {
        Case::steps(
            name,
            vec![
                Step::Send(request("GET", "/ws", headers, "")),
                Step::ReceiveInterim,
                Step::Send(b"abc".to_vec()),
                Step::ReceiveBytes(3),
                Step::HangUp,
            ],
        )
        .reply(echo())
    };
    vec![
        of(
            "another case",
            "connection: UPGRADE\r\nupgrade: WebSocket\r\n",
        ),
        of(
            "beside keep-alive",
            "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n",
        ),
        of(
            "another protocol",
            "Connection: Upgrade\r\nUpgrade: other\r\n",
        ),
        of(
            "filters of its own",
            "Connection: Upgrade\r\nUpgrade: filtered\r\n",
        ),
        of(
            "filters of its own that a route configures",
            "Connection: Upgrade\r\nUpgrade: filtered\r\nX-Routed: yes\r\n",
        ),
        of(
            "filters of the manager that a route configures for both",
            "Connection: Upgrade\r\nUpgrade: websocket\r\nX-Routed: yes\r\n",
        ),
        of(
            "a hop-by-hop field beside it",
            "Connection: Upgrade, X-Hop\r\nX-Hop: 1\r\nUpgrade: websocket\r\n",
        ),
        Case::steps(
            "a POST with a length",
            vec![
                Step::Send(request(
                    "POST",
                    "/ws",
                    &format!("{UPGRADE}Content-Length: 3\r\n"),
                    "abc",
                )),
                Step::ReceiveInterim,
                Step::ReceiveBytes(3),
                Step::HangUp,
            ],
        )
        .reply(echo()),
    ]
}

fn timeouts() -> Vec<Case> {
    vec![
        steps(
            "idle",
            "/ws",
            vec![Step::Send(b"x".to_vec()), Step::ReceiveToEnd],
        )
        .reply(echo())
        .at("idle"),
        steps(
            "longer than the stream may last",
            "/lasting",
            vec![Step::Send(b"x".to_vec()), Step::ReceiveToEnd],
        )
        .reply(echo()),
        get("no answer while the stream may last", "/lasting")
            .closes()
            .reply(Reply::nothing().at_head().then(Act::Hang)),
        get("no answer in time", "/quick")
            .closes()
            .reply(Reply::nothing().at_head().then(Act::Hang)),
    ]
}

fn h1_to_h2() -> Vec<Case> {
    let mut cases = opened_over_h2();
    for status in [201, 204, 302, 304, 404] {
        let reply = H2Reply::status(status).at_head().header("x-a", "1");
        let name = format!("h1 to h2, answered with {status}");
        cases.push(get(&name, "/h2").closes().h2_reply(reply.clone()));
        // Content behind the others is an error of its own.
        if !matches!(status, 204 | 304) {
            let name = format!("{name} and content");
            cases.push(get(&name, "/h2").closes().h2_reply(reply.body("hi")));
        }
    }
    cases
}

fn opened_over_h2() -> Vec<Case> {
    vec![
        steps(
            "h1 to h2",
            "/h2",
            vec![
                Step::Send(b"one".to_vec()),
                Step::ReceiveBytes(3),
                Step::HalfClose,
                Step::ReceiveToEnd,
            ],
        )
        .h2_reply(H2Reply::echo()),
        steps(
            "h1 to h2, the upstream ends",
            "/h2",
            vec![Step::ReceiveToEnd],
        )
        .h2_reply(
            H2Reply::status(200)
                .at_head()
                .header("x-a", "1")
                .body("bye"),
        ),
        steps(
            "h1 to h2, the upstream resets",
            "/h2",
            vec![Step::ReceiveToEnd],
        )
        .h2_reply(
            H2Reply::status(200)
                .at_head()
                .body("bye")
                .reset(h2::Reason::CANCEL),
        ),
        get("h1 to h2, refused", "/h2")
            .closes()
            .h2_reply(H2Reply::status(403).at_head().body("no")),
        get("h1 to h2, reset", "/h2").closes().h2_reply(
            H2Reply::status(200)
                .at_head()
                .reset(h2::Reason::INTERNAL_ERROR),
        ),
    ]
}

fn websocket(path: &str) -> H2Send {
    H2Send::extended("websocket", path).header("sec-websocket-version", "13")
}

fn talk() -> Vec<H2Step> {
    vec![
        H2Step::Send("one"),
        H2Step::Receive(3),
        H2Step::Send("two"),
        H2Step::Receive(3),
    ]
}

fn talk_to_the_end() -> Vec<H2Step> {
    let mut steps = talk();
    steps.extend([H2Step::End, H2Step::ReceiveToEnd]);
    steps
}

fn h2_to_h1() -> Vec<Case> {
    let answered = |name: &str, status: &str| {
        Case::h2_tunnel(name, websocket("/ws"), vec![H2Step::ReceiveToEnd])
            .reply_bytes(format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nno"))
    };
    vec![
        Case::h2_tunnel("h2 to h1", websocket("/ws"), talk()).reply(echo()),
        Case::h2_tunnel(
            "h2 to h1, the upstream ends",
            websocket("/ws"),
            vec![H2Step::ReceiveToEnd],
        )
        .reply(Reply::bytes(format!("{SWITCHES}bye")).at_head().close()),
        answered("h2 to h1, answered with 200", "200 OK"),
        answered("h2 to h1, answered with 403", "403 Forbidden"),
        Case::h2_tunnel(
            "h2, not listed",
            H2Send::extended("unlisted", "/ws"),
            vec![H2Step::ReceiveToEnd],
        ),
        // Of which nothing would be left without the upgrade.
        Case::h2_tunnel(
            "h2, h2c",
            H2Send::extended("h2c", "/ws"),
            vec![H2Step::ReceiveToEnd],
        ),
        Case::h2_tunnel(
            "h2, a protocol with a space",
            H2Send::extended("web socket", "/ws"),
            vec![H2Step::ReceiveToEnd],
        ),
        Case::h2_tunnel(
            "h2, a protocol with a line end",
            H2Send::extended("websocket\r\nx-forged: 1", "/ws"),
            vec![H2Step::ReceiveToEnd],
        ),
        Case::h2_tunnel(
            "h2, off by the route",
            websocket("/never"),
            vec![H2Step::ReceiveToEnd],
        ),
        Case::h2_tunnel(
            "h2, extended CONNECT is not offered",
            websocket("/ws"),
            vec![H2Step::ReceiveToEnd],
        )
        .at("closed"),
    ]
}

fn h2_to_h2() -> Vec<Case> {
    vec![
        Case::h2_tunnel("h2 to h2", websocket("/h2"), talk_to_the_end()).h2_reply(H2Reply::echo()),
        Case::h2_tunnel(
            "h2 to h2, the upstream ends",
            websocket("/h2"),
            vec![H2Step::ReceiveToEnd],
        )
        .h2_reply(H2Reply::status(200).at_head().body("bye")),
        Case::h2_tunnel(
            "h2 to h2, the upstream resets",
            websocket("/h2"),
            vec![H2Step::ReceiveToEnd],
        )
        .h2_reply(
            H2Reply::status(200)
                .at_head()
                .body("bye")
                .reset(h2::Reason::CANCEL),
        ),
        Case::h2_tunnel(
            "h2 to h2, refused",
            websocket("/h2"),
            vec![H2Step::ReceiveToEnd],
        )
        .h2_reply(H2Reply::status(403).at_head().body("no")),
    ]
}
