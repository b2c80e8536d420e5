//! What connections live through: keep-alive, pipelining, Expect, upgrades, hop-by-hop headers,
//! and clients that stop half-way.

#![expect(clippy::too_many_lines, reason = "tables of cases")]

use nuncio_tests::compare::case::{Case, Group, Step, request};
use nuncio_tests::origin::{Act, Reply};

use crate::BASIC;

fn get(name: &str, headers: &str) -> Case {
    Case::get(name, "/up", headers)
}

fn pipeline(name: &str, paths: &[&str]) -> Case {
    let bytes: Vec<u8> = paths
        .iter()
        .flat_map(|path| request("GET", path, "", ""))
        .collect();
    Case::http1(name, bytes).and_responses(paths.len() - 1)
}

pub(crate) fn group() -> Group {
    let mut cases = closing();
    cases.extend(hop_by_hop());
    cases.extend(pipelining());
    cases.extend(expectations());
    cases.extend(upgrades());
    cases.extend(early_ends());
    Group::new("connection", BASIC, cases)
}

fn closing() -> Vec<Case> {
    vec![
        get("close", "Connection: close\r\n"),
        get("close in another case", "Connection: Close\r\n"),
        get("close in a list", "Connection: keep-alive, close\r\n"),
        get("keep-alive", "Connection: keep-alive\r\n"),
        get("close by Proxy-Connection", "Proxy-Connection: close\r\n"),
        Case::get(
            "close on a local reply",
            "/nothing",
            "Connection: close\r\n",
        ),
        Case::get(
            "close on a direct response",
            "/direct",
            "Connection: close\r\n",
        ),
        Case::get(
            "close on a failed upstream",
            "/refused",
            "Connection: close\r\n",
        ),
        Case::request("close on HEAD", "HEAD", "/up", "Connection: close\r\n", ""),
    ]
}

fn hop_by_hop() -> Vec<Case> {
    vec![
        get(
            "hop-by-hop headers",
            "Connection: keep-alive, X-Hop, TE\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\n\
             TE: trailers, deflate\r\nTrailer: X-T\r\nProxy-Authorization: p\r\n",
        ),
        get(
            "two Connection lines",
            "Connection: x-a\r\nX-A: 1\r\nConnection: x-b\r\nX-B: 1\r\n",
        ),
        get("Connection names Host", "Connection: host\r\n"),
        get(
            "Connection names Content-Length",
            "Connection: content-length\r\nContent-Length: 0\r\n",
        ),
        get(
            "Connection names X-Forwarded-For",
            "Connection: x-forwarded-for\r\nX-Forwarded-For: 1.2.3.4\r\n",
        ),
        get(
            "Connection names Cookie",
            "Connection: cookie\r\nCookie: a=b\r\n",
        ),
        get(
            "Connection with an empty element",
            "Connection: , x-a,,\r\nX-A: 1\r\n",
        ),
        get("TE trailers", "TE: trailers\r\nConnection: TE\r\n"),
        get("TE gzip", "TE: gzip\r\n"),
        get("TE with weights", "TE: gzip;q=1, trailers;q=0.5\r\n"),
        get("TE trailers in upper case", "TE: Trailers\r\n"),
    ]
}

fn pipelining() -> Vec<Case> {
    vec![
        pipeline("three requests in one go", &["/up/1", "/up/2", "/up/3"]),
        pipeline("a local reply second", &["/up/1", "/nothing"]),
        pipeline("a local reply first", &["/nothing", "/up/2"]),
        pipeline("two direct responses", &["/direct", "/direct"]),
        Case::http1(
            "a request after one that closes",
            [
                request("GET", "/up/1", "Connection: close\r\n", ""),
                request("GET", "/up/2", "", ""),
            ]
            .concat(),
        ),
        Case::http1(
            "junk after a request",
            [&request("GET", "/up/1", "", "")[..], b"JUNK\r\n\r\n"].concat(),
        )
        .and_responses(1),
        Case::http1(
            "a body between requests",
            [
                request("POST", "/up/1", "Content-Length: 3\r\n", "abc"),
                request("GET", "/up/2", "", ""),
            ]
            .concat(),
        )
        .and_responses(1),
        Case::http1(
            "chunks between requests",
            [
                request(
                    "POST",
                    "/up/1",
                    "Transfer-Encoding: chunked\r\n",
                    "3\r\nabc\r\n0\r\n\r\n",
                ),
                request("GET", "/up/2", "", ""),
            ]
            .concat(),
        )
        .and_responses(1),
        Case::steps(
            "requests one after the other",
            vec![
                Step::Send(request("GET", "/up/1", "", "")),
                Step::Receive { to_head: false },
                Step::Send(request("POST", "/up/2", "Content-Length: 1\r\n", "a")),
                Step::Receive { to_head: false },
                Step::Send(request("HEAD", "/up/3", "", "")),
                Step::Receive { to_head: true },
            ],
        ),
    ]
}

fn expectations() -> Vec<Case> {
    const EXPECT: &str = "Expect: 100-continue\r\nContent-Length: 3\r\n";
    let waiting = |name: &str, path: &str| {
        Case::steps(
            name,
            vec![
                Step::Send(request("POST", path, EXPECT, "")),
                Step::ReceiveInterim,
                Step::Send(b"abc".to_vec()),
                Step::Receive { to_head: false },
            ],
        )
    };
    vec![
        waiting("100-continue", "/up"),
        Case::request("100-continue without waiting", "POST", "/up", EXPECT, "abc"),
        get("100-continue without body", "Expect: 100-continue\r\n"),
        Case::request(
            "100-continue in another case",
            "POST",
            "/up",
            "expect: 100-Continue\r\nContent-Length: 1\r\n",
            "a",
        ),
        get("another expectation", "Expect: something\r\n"),
        Case::request(
            "100-continue on a local reply",
            "POST",
            "/nothing",
            EXPECT,
            "abc",
        ),
        Case::request(
            "100-continue on a direct response",
            "POST",
            "/direct",
            EXPECT,
            "abc",
        ),
        Case::request(
            "100-continue on a failed upstream",
            "POST",
            "/refused",
            EXPECT,
            "abc",
        ),
        waiting("100 from the upstream as well", "/up").reply_bytes(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        ),
    ]
}

fn upgrades() -> Vec<Case> {
    vec![
        get(
            "upgrade to websocket",
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n",
        ),
        get(
            "upgrade to something",
            "Connection: Upgrade\r\nUpgrade: something\r\n",
        ),
        get(
            "upgrade to h2c",
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n",
        ),
        get(
            "upgrade that Connection does not name",
            "Upgrade: websocket\r\n",
        ),
        Case::get(
            "upgrade without route",
            "/nothing",
            "Connection: Upgrade\r\nUpgrade: websocket\r\n",
        ),
    ]
}

fn early_ends() -> Vec<Case> {
    let slow = || Reply::nothing().then(Act::Hang);
    vec![
        Case::steps(
            "half-close after a request",
            vec![
                Step::Send(request("GET", "/up", "", "")),
                Step::WaitForUpstream,
                Step::HalfClose,
                Step::ExpectClose,
            ],
        )
        .reply(slow()),
        Case::steps(
            "half-close inside a body",
            vec![
                Step::Send(request("POST", "/up", "Content-Length: 10\r\n", "abc")),
                Step::WaitForUpstream,
                Step::HalfClose,
                Step::ExpectClose,
            ],
        ),
        Case::steps(
            "half-close inside the head",
            vec![
                Step::Send(b"GET /up HTTP/1.1\r\nHo".to_vec()),
                Step::HalfClose,
                Step::ExpectClose,
            ],
        ),
        Case::steps(
            "half-close without a byte",
            vec![Step::HalfClose, Step::ExpectClose],
        ),
        Case::steps(
            "hang-up while the upstream works",
            vec![
                Step::Send(request("GET", "/up", "", "")),
                Step::WaitForUpstream,
                Step::HangUp,
            ],
        )
        .reply(slow()),
        Case::steps(
            "the answer comes before the body's end",
            vec![
                Step::Send(request("POST", "/up", "Content-Length: 10\r\n", "abc")),
                Step::Receive { to_head: false },
                Step::ExpectClose,
            ],
        )
        .reply(Reply::bytes("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").at_head()),
        Case::steps(
            "a body in two parts",
            vec![
                Step::Send(request("POST", "/up", "Content-Length: 6\r\n", "abc")),
                Step::WaitForUpstream,
                Step::Send(b"def".to_vec()),
                Step::Receive { to_head: false },
            ],
        ),
        Case::steps(
            "a head in two parts",
            vec![
                Step::Send(b"GET /up HTTP/1.1\r\nHost: a.exa".to_vec()),
                Step::Send(b"mple\r\nX-A: 1\r\n\r".to_vec()),
                Step::Send(b"\n".to_vec()),
                Step::Receive { to_head: false },
            ],
        ),
        Case::steps(
            "a response in two parts",
            vec![
                Step::Send(request("GET", "/up", "", "")),
                Step::WaitForUpstream,
                Step::OpenGate,
                Step::Receive { to_head: false },
            ],
        )
        .gated(|gate| {
            Reply::bytes("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
                .then(Act::Wait(gate))
                .then(Act::Send(b"cd".to_vec()))
        }),
    ]
}
