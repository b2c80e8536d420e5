//! Bytes on the wire of requests over HTTP/1 and of connections: heads, chunks and all, and those of fields alone.

use nuncio_tests::compare::case::{Case, Group, Step, request};
use nuncio_tests::origin::{Act, Reply};

pub(crate) fn group() -> Group {
    let mut cases = requests();
    cases.extend(responses());
    cases.extend(tunnels());
    Group::about_logs("wire bytes", include_str!("../../cases/wire.yaml"), cases)
}

fn requests() -> Vec<Case> {
    let post = |name: &str, path: &str, headers: &str, body: &str| {
        Case::request(name, "POST", path, headers, body)
    };
    let chunks = "Transfer-Encoding: chunked\r\n";
    vec![
        Case::get("a request", "/up", ""),
        Case::steps(
            "two on one connection",
            vec![
                Step::Send(request("GET", "/up", "", "")),
                Step::Receive { to_head: false },
                Step::Send(request("GET", "/up?longer", "", "")),
                Step::Receive { to_head: false },
            ],
        ),
        Case::http1(
            "empty lines in front",
            "\r\n\r\nGET /up HTTP/1.1\r\nHost: a.example\r\n\r\n",
        ),
        post("a length", "/up", "Content-Length: 5\r\n", "hello"),
        post(
            "chunks with all that they may have",
            "/up",
            chunks,
            "5;ext=1\r\nhello\r\n0\r\nt: 1\r\n\r\n",
        ),
        post(
            "an expectation",
            "/up",
            "Content-Length: 5\r\nExpect: 100-continue\r\n",
            "hello",
        )
        .and_responses(1),
        Case::request("a head alone", "HEAD", "/up", "", ""),
        Case::get("an answer of the proxy", "/direct", ""),
        Case::steps(
            "a body that is not waited for",
            vec![
                Step::Send(request(
                    "POST",
                    "/direct",
                    "Content-Length: 500\r\n",
                    "some",
                )),
                Step::Receive { to_head: false },
                Step::ExpectClose,
            ],
        ),
        Case::http1(
            "no request",
            "GET / HTTP/1.1\r\nHost: a\r\nbad header: 1\r\n\r\n",
        )
        .closes(),
        Case::get("nobody to connect to", "/refused", ""),
    ]
}

fn responses() -> Vec<Case> {
    vec![
        Case::get("chunks", "/up", "").reply_bytes(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ),
        Case::get("an answer that is none", "/up", "").reply_bytes("nonsense\r\n\r\n"),
        Case::get("half of a head", "/up", "")
            .reply(Reply::bytes("HTTP/1.1 200 OK\r\nX-A: ").close()),
        Case::get("hints", "/up", "").reply_bytes(
            "HTTP/1.1 103 Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        ),
        Case::get("one that is cut", "/up", "")
            .reply(Reply::bytes("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut").close())
            .closes(),
        Case::get("one that is asked for again", "/again", "")
            .reply_bytes("HTTP/1.1 503 No\r\nContent-Length: 3\r\n\r\nbad"),
    ]
}

fn tunnels() -> Vec<Case> {
    let opened =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhi";
    let upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\n";
    vec![
        Case::steps(
            "a tunnel",
            vec![
                Step::Send(request("GET", "/up", upgrade, "12345")),
                Step::Receive { to_head: false },
                Step::ReceiveToEnd,
            ],
        )
        .reply(Reply::bytes(opened).at_head().then(Act::Read(5)).close()),
        Case::get("bytes that are not looked at", "/up", "").at("tcp"),
    ]
}
