//! Interim responses (1xx): which are passed on, with what, and who answers `expect: 100-continue`.

use std::time::Duration;

use nuncio_tests::compare::case::{Case, Group, Step, request};
use nuncio_tests::h2_client::H2Send;
use nuncio_tests::h2_origin::H2Reply;
use nuncio_tests::origin::{Act, Reply};

const INTERIM: &str = include_str!("../../cases/interim.yaml");
const FINAL: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const EXPECTS: &str = "Expect: 100-continue\r\nContent-Length: 5\r\n";
/// Both listeners: the one that passes interim responses on, and the one that does not.
const LISTENERS: [&str; 2] = ["listener", "own"];

/// An interim response over HTTP/1 with a field of its own.
fn interim(status: u16) -> String {
    format!("HTTP/1.1 {status} Interim\r\nX-Interim: {status}\r\nLink: </a.css>\r\n\r\n")
}

fn h2_reply(status: u16) -> H2Reply {
    let fields = [("x-interim", "1"), ("link", "</a.css>")];
    let reply = H2Reply::status(200)
        .header("content-length", "2")
        .body("ok");
    reply.after_interim(status, &fields)
}

/// A body that is sent once the client was told to go on.
fn expecting(name: &str, path: &str, headers: &str, told: bool) -> Case {
    let mut steps = vec![Step::Send(request("POST", path, headers, ""))];
    if told {
        steps.push(Step::ReceiveInterim);
    }
    steps.push(Step::Send(b"hello".into()));
    steps.push(Step::Receive { to_head: false });
    Case::steps(name, steps)
}

pub(crate) fn group() -> Group {
    let mut cases = statuses();
    cases.extend(expectations());
    cases.extend(refused());
    cases.extend(others());
    Group::new("interim", INTERIM, cases)
}

fn statuses() -> Vec<Case> {
    let mut cases = Vec::new();
    for listener in LISTENERS {
        for status in [100, 102, 103, 104, 105, 199] {
            let name = |from: &str, to: &str| format!("{status}, {from} to {to}, {listener}");
            let bytes = interim(status) + FINAL;
            let get = |path| H2Send::new("GET", path);
            let of_case = [
                Case::get(&name("h1", "h1"), "/a", "").reply_bytes(&bytes),
                Case::get(&name("h1", "h2"), "/h2", "").h2_reply(h2_reply(status)),
                Case::http2(&name("h2", "h1"), get("/a")).reply_bytes(&bytes),
                Case::http2(&name("h2", "h2"), get("/h2")).h2_reply(h2_reply(status)),
            ];
            cases.extend(of_case.map(|case| case.at(listener)));
        }
    }
    cases
}

fn expectations() -> Vec<Case> {
    let mut cases = Vec::new();
    let body = |path| {
        let send = H2Send::new("POST", path).header("expect", "100-continue");
        send.body("hello")
    };
    for listener in LISTENERS {
        let name = |what: &str| format!("{what}, {listener}");
        let told = || Reply::bytes("HTTP/1.1 100 Continue\r\n\r\n").at_head();
        let answered = told().then(Act::Read(5)).then(Act::Send(FINAL.into()));
        let of_listener = [
            expecting(&name("expect and 100"), "/a", EXPECTS, true).reply(answered),
            expecting(&name("expect and no 100"), "/a", EXPECTS, listener == "own"),
            expecting(
                &name("expect in capitals"),
                "/a",
                "EXPECT: 100-CONTINUE\r\nContent-Length: 5\r\n",
                listener == "own",
            ),
            expecting(
                &name("expect something else"),
                "/a",
                "Expect: more\r\nContent-Length: 5\r\n",
                false,
            ),
            expecting(
                &name("expect on two lines"),
                "/a",
                "Expect: 100-continue\r\nX: y\r\nExpect: 100-continue\r\nContent-Length: 5\r\n",
                false,
            ),
            expecting(
                &name("expect on two lines, one of them empty"),
                "/a",
                "Expect:\r\nExpect: 100-continue\r\nContent-Length: 5\r\n",
                listener == "own",
            ),
            expecting(
                &name("expect that connection names"),
                "/a",
                "Connection: expect\r\nExpect: 100-continue\r\nContent-Length: 5\r\n",
                false,
            ),
            Case::get(
                &name("expect without a body"),
                "/a",
                "Expect: 100-continue\r\n",
            ),
            Case::request(
                &name("expect and the body at once"),
                "POST",
                "/a",
                EXPECTS,
                "hello",
            ),
            Case::request(
                &name("expect and a final answer"),
                "POST",
                "/a",
                EXPECTS,
                "hello",
            )
            .reply(Reply::bytes("HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n")),
            Case::request(&name("expect and h2"), "POST", "/h2", EXPECTS, "hello")
                .h2_reply(H2Reply::status(200).body("ok").after_interim(100, &[])),
            Case::request(
                &name("expect and a direct response"),
                "POST",
                "/direct",
                EXPECTS,
                "hello",
            ),
            Case::http2(&name("h2: expect"), body("/a")),
            Case::http2(&name("h2: expect and 100"), body("/a")).reply_bytes(interim(100) + FINAL),
            Case::http2(&name("h2: expect, h2 and 100"), body("/h2")).h2_reply(h2_reply(100)),
        ];
        cases.extend(of_listener.map(|case| case.at(listener)));
    }
    cases
}

/// A client that expects to be told to go on, with a head that is refused.
fn refused() -> Vec<Case> {
    let heads = [
        (
            "an address that connection names",
            "Connection: x-forwarded-for\r\n",
            false,
        ),
        ("a host that connection names", "Connection: host\r\n", true),
        (
            "too many members of connection",
            "Connection: a,b,c,d,e,f,g,h,i,j\r\n",
            false,
        ),
        (
            "udp to nobody",
            "Connection: upgrade\r\nUpgrade: connect-udp\r\n",
            true,
        ),
    ];
    let mut cases = Vec::new();
    for listener in LISTENERS {
        for (what, head, told) in heads {
            let head = format!("{head}{EXPECTS}");
            let mut steps = vec![Step::Send(request("POST", "/a", &head, ""))];
            if told && listener == "own" {
                steps.push(Step::ReceiveInterim);
            }
            // An interim response in front of it would be told.
            steps.extend([Step::ReceiveInterim, Step::ExpectClose]);
            let name = format!("expect beside {what}, {listener}");
            cases.push(Case::steps(&name, steps).at(listener));
        }
    }
    cases
}

fn others() -> Vec<Case> {
    let again = interim(103) + "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n";
    let mut cases = Vec::new();
    for listener in LISTENERS {
        let name = |what: &str| format!("{what}, {listener}");
        let of_listener = [
            Case::get(&name("before a retriable answer"), "/retried", "").reply_bytes(&again),
            Case::get(&name("and then more than a try may take"), "/quick", "").reply(
                Reply::bytes(interim(103))
                    .then(Act::Pause(Duration::from_millis(400)))
                    .then(Act::Send(FINAL.into())),
            ),
            Case::request(&name("to HEAD"), "HEAD", "/a", "", "")
                .reply_bytes(interim(103) + "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"),
            Case::get(&name("and then the end"), "/a", "").reply(Reply::bytes(interim(103)).close()),
            Case::get(&name("with a body's length"), "/a", "")
                .reply_bytes("HTTP/1.1 103 Hints\r\nContent-Length: 5\r\n\r\n".to_owned() + FINAL),
            Case::get(&name("with a connection's fields"), "/a", "")
                .reply_bytes("HTTP/1.1 103 Hints\r\nConnection: x-a\r\nX-A: 1\r\nKeep-Alive: 1\r\nServer: s\r\nDate: d\r\n\r\n".to_owned() + FINAL),
            Case::http1(&name("to HTTP/1.1 and close"), "GET /a HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
                .reply_bytes(interim(103) + FINAL),
        ];
        cases.extend(of_listener.map(|case| case.at(listener)));
    }
    cases.extend(
        [
            Case::get("with the request's identifier", "/a", "").reply_bytes(interim(103) + FINAL),
            Case::http2(
                "with the request's identifier, h2",
                H2Send::new("GET", "/h2"),
            )
            .h2_reply(h2_reply(103)),
            Case::get(
                "the identifier in a reply of the proxy's own",
                "/direct",
                "",
            ),
        ]
        .map(|case| case.at("told")),
    );
    cases.push(Case::admin(
        "GET /stats?filter=(rq_1|completed|_started)",
        &[
            "http.main.downstream_rq",
            "http.main.rq_reset",
            "http.own.downstream_rq",
            "http.own.rq_reset",
            "cluster.origin.upstream_rq",
        ],
    ));
    // Behind the statistics, which these change for one of the two.
    for listener in LISTENERS {
        cases.extend(several().map(|case| {
            let name = format!("{}, {listener}", case.name);
            Case { name, ..case }.at(listener)
        }));
    }
    cases
}

/// More than one, of which Envoy passes the first on.
fn several() -> [Case; 3] {
    let twice = interim(103) + &interim(103) + FINAL;
    let mixed = interim(100) + &interim(103) + &interim(102) + FINAL;
    let over_h2 = h2_reply(103).after_interim(103, &[("x-second", "1")]);
    [
        Case::get("two", "/a", "").reply_bytes(&twice),
        Case::get("three kinds", "/a", "").reply_bytes(&mixed),
        Case::http2("h2: two", H2Send::new("GET", "/h2")).h2_reply(over_h2),
    ]
}
