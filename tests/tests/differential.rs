//! HTTP/1 that is made up, through Envoy and nuncio: whatever is malformed or may be read in two ways,
//! nuncio is at least as strict.
//!
//! `NUNCIO_DIFFERENTIAL="SEED COUNT"` sends as many others. Without Envoy the comparison says so and passes,
//! except where `CI` is set.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of a test suite"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;

use nuncio_tests::chance::{self, Chance};
use nuncio_tests::differential::hunt::{self, Bag, Sides};
use nuncio_tests::differential::judge::Fault;
use nuncio_tests::differential::reading::Asked;
use nuncio_tests::differential::{Answer, Case, answers, documented, requests, variants};
use nuncio_tests::process::Binary;

/// What is sent where nobody asks for more: a few seconds.
const REQUESTS: (u64, usize) = (1, 1_200);
const ANSWERS: (u64, usize) = (1, 800);
/// How many of a hundred cases have to be the same rather than explained, and how many of these have to go
/// through, and to be refused.
const SAME: usize = 88;
const EITHER_WAY: usize = 15;

/// Both programs, if Envoy is there.
fn sides() -> Option<Sides> {
    let envoy = Binary::envoy();
    if envoy.is_none() {
        assert!(
            std::env::var_os("CI").is_none(),
            "Envoy is needed in CI and not there"
        );
        println!("not run: Envoy is not there; tests/tools/fetch-envoy installs it");
    }
    Some(Sides::alike(envoy?, Binary::nuncio()))
}

fn hunt(sides: &Sides, made_up: fn(&mut Chance) -> Case, usual: (u64, usize)) -> Bag {
    let (seed, count) = chance::wanted(usual);
    let mut chance = Chance::new(seed);
    let bag = hunt::hunt(sides, (0..count).map(|_| made_up(&mut chance)).collect());
    // Told whether the test fails or not, so past what the harness keeps back.
    let told = writeln!(std::io::stderr(), "{count} cases of seed {seed}: {bag}");
    told.unwrap();
    bag
}

/// Nothing is taken that Envoy refuses, and enough was looked at to say so.
fn holds(bag: &Bag) {
    assert!(bag.faults.is_empty(), "{bag}");
    assert!(bag.is_steady(), "{bag}");
    // A generator that makes nothing sound, or nothing odd, would find nothing, and so would one whose
    // cases are all explained.
    assert!(bag.same * 100 >= bag.looked_at() * SAME, "{bag}");
    let refused = bag.same - bag.served;
    for part in [bag.served, refused] {
        assert!(part * 100 >= bag.same * EITHER_WAY, "{bag}");
    }
}

#[test]
fn no_request_is_taken_that_envoy_refuses() {
    let Some(sides) = sides() else { return };
    holds(&hunt(&sides, requests::case, REQUESTS));
}

#[test]
fn no_answer_is_taken_that_envoy_refuses() {
    let Some(sides) = sides() else { return };
    holds(&hunt(&sides, answers::case, ANSWERS));
}

fn request(variant: &str, bytes: &str) -> Case {
    let variant = variants::ALL.iter().position(|of| of.name == variant);
    Case {
        variant: variant.unwrap(),
        client: vec![bytes.into()],
        answer: None,
    }
}

fn answer(bytes: &str) -> Case {
    answered("default", "GET /m HTTP/1.1\r\nHost: m\r\n\r\n", bytes)
}

/// Some strictness is switched off by its fields in what nuncio is configured with alone, and each message
/// that then comes through is found among one that is the same.
#[test]
fn a_strictness_that_is_switched_off_is_found() {
    let Some(mut sides) = sides() else { return };
    let odd = [
        (
            "lengths beside chunks",
            "default",
            "POST /a HTTP/1.1\r\nHost: a\r\nX: y\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        ),
        (
            "default",
            "underscores refused",
            "GET /a HTTP/1.1\r\nHost: a\r\nX: y\r\nx_y: z\r\n\r\n",
        ),
        (
            "default",
            "escaped slashes",
            "GET /a%2fb HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n",
        ),
    ];
    let mut cases = vec![request("default", "GET /a HTTP/1.1\r\nHost: a\r\n\r\n")];
    for (off, variant, bytes) in odd {
        let place = variants::ALL
            .iter()
            .position(|of| of.name == variant)
            .unwrap();
        sides.nuncio.1[place] = variants::named(off);
        cases.push(request(variant, bytes));
    }
    let bag = hunt::hunt(&sides, cases);
    assert_eq!((bag.same, bag.faults.len()), (1, odd.len()), "{bag}");
    for finding in &bag.faults {
        assert_eq!(finding.fault, Fault::Laxer, "{bag}");
        let bytes = finding.case.client.concat();
        // The field that has no part in it is gone.
        assert!(!bytes.windows(4).any(|part| part == b"X: y"), "{bag}");
    }
}

/// The sides change places: what nuncio refuses is then what the measure refuses.
#[test]
fn who_takes_what_nuncio_refuses_is_found() {
    let Some(sides) = sides() else { return };
    let changed = Sides {
        envoy: sides.nuncio,
        nuncio: sides.envoy,
        shown: 0,
    };
    let faults = |cases: Vec<Case>| {
        let bag = hunt::hunt(&changed, cases);
        let mut faults: Vec<_> = bag.faults.iter().map(|finding| finding.fault).collect();
        faults.sort_unstable();
        faults
    };
    let requests = [
        "GET /a HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n",
        "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1 x\r\na\r\n0\r\n\r\n",
    ];
    let requests = requests.map(|bytes| request("default", bytes));
    assert_eq!(faults(requests.into()), [Fault::Laxer; 3]);
    let answers = [
        "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
    ];
    assert_eq!(
        faults(answers.map(answer).into()),
        [Fault::Laxer, Fault::Completed]
    );
}

#[test]
fn each_documented_difference_has_its_rows() {
    let page = include_str!("../../docs/differences.md").replace('\n', " ");
    for difference in documented::all() {
        assert!(!difference.rows.is_empty());
        for row in difference.rows {
            assert!(
                page.contains(row),
                "{}: {row:?} is not in docs/differences.md",
                difference.name
            );
        }
    }
}

fn answered(variant: &str, asks: &str, bytes: &str) -> Case {
    let asked = match asks.split(' ').next() {
        Some("CONNECT") => Asked::Connect,
        _ => Asked::Other,
    };
    let answer = Answer {
        asked,
        pieces: vec![bytes.into()],
        ends: false,
    };
    Case {
        answer: Some(answer),
        ..request(variant, asks)
    }
}

fn get(target: &str, fields: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

fn of(variant: &str, messages: Vec<String>) -> Vec<Case> {
    let cases = messages.iter();
    cases.map(|bytes| request(variant, bytes)).collect()
}

/// What shows a difference, by its name.
fn examples_of_requests() -> Vec<(&'static str, Vec<Case>)> {
    let chunks = "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n";
    vec![
        (
            "no host where errors end requests alone",
            of(
                "errors of streams",
                vec![
                    "GET /a HTTP/1.1\r\n\r\n".into(),
                    format!("GET /a HTTP/1.1\r\nX: y\r\n\r\n{}", get("/b", "")),
                    get("/a#b", ""),
                ],
            ),
        ),
        (
            "a request that two parsers could read differently",
            of(
                "default",
                vec![
                    get("/a", "X: y\n"),
                    get("/a", "X: y\r\n z\r\n"),
                    get("/a", "Host: a\r\n"),
                    get("/a", "X: y\rz\r\n"),
                    get("/a", "Connection: content-length\r\n"),
                    format!("{chunks}\r\n1 x\r\na\r\n0\r\n\r\n"),
                ],
            ),
        ),
        (
            "an old version",
            of("HTTP/1.0", vec!["GET /a HTTP/1.2\r\nHost: a\r\n\r\n".into()]),
        ),
        (
            "a coding in HTTP/1.0",
            of(
                "HTTP/1.0",
                vec!["POST /a HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into()],
            ),
        ),
        (
            "an expectation in HTTP/1.0",
            of(
                "HTTP/1.0",
                vec!["POST /a HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\na".into()],
            ),
        ),
        (
            "an expectation without a host",
            of(
                "default",
                vec!["GET /a HTTP/1.1\r\nExpect: 100-continue\r\n\r\n".into()],
            ),
        ),
    ]
}

/// The same for targets, fields, and what comes behind.
fn more_examples_of_requests() -> Vec<(&'static str, Vec<Case>)> {
    let websocket = "Upgrade: websocket\r\n";
    vec![
        (
            "a target that is neither a path nor a URL",
            of("no absolute URLs", vec![get("*a", "")]),
        ),
        (
            "what came behind a request that is not answered yet",
            of(
                "default",
                vec![[get("/a", ""), get("/direct", ""), get("/b", "")].concat()],
            ),
        ),
        (
            "fields that are written otherwise",
            of(
                "default",
                vec![
                    get("/a", "TE:\r\n"),
                    get("/a", "HTTP2-Settings: a\r\nConnection: http2-settings\r\n"),
                    get("/a", "Content-Length: 000\r\n"),
                ],
            ),
        ),
        (
            "fields of a hop beside an upgrade",
            of(
                "upgrades",
                vec![
                    get(
                        "/a",
                        &format!("X-A: b\r\nConnection: upgrade, x-a\r\n{websocket}"),
                    ),
                    get(
                        "/a",
                        &format!("TE: gzip\r\nConnection: upgrade\r\n{websocket}"),
                    ),
                ],
            ),
        ),
        (
            "`CONNECT` and an upgrade in one",
            of(
                "upgrades",
                vec![format!(
                    "CONNECT a:1 HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n{websocket}\r\n"
                )],
            ),
        ),
        (
            "dots in front of a parameter",
            of("paths", vec![get("/a/%2e%2e;/b", "")]),
        ),
    ]
}

fn examples_of_answers() -> Vec<(&'static str, Vec<Case>)> {
    const GET: &str = "GET /m HTTP/1.1\r\nHost: m\r\n\r\n";
    const CONNECT: &str = "CONNECT m:1 HTTP/1.1\r\nHost: m\r\n\r\n";
    const ASKS: &str =
        "GET /m HTTP/1.1\r\nHost: m\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    const CHUNKS: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n";
    let ok = |fields: &str| format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\nok");
    let switch = |fields: &str| format!("HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n");
    let of = |variant: &str, asks: &str, messages: Vec<String>| -> Vec<Case> {
        let cases = messages.iter();
        cases.map(|bytes| answered(variant, asks, bytes)).collect()
    };
    let mut nothing = of(
        "upgrades",
        ASKS,
        vec![
            switch("Connection: upgrade\r\n"),
            switch("Connection: upgrade\r\nUpgrade: h2c\r\n"),
            switch("Upgrade: websocket\r\n"),
        ],
    );
    let asked_for = switch("Connection: upgrade\r\nUpgrade: websocket\r\n");
    nothing.extend(of("default", GET, vec![asked_for]));
    vec![
        (
            "a response that two parsers could read differently",
            of(
                "default",
                GET,
                vec![
                    ok("").replace("1.1", "2.0"),
                    ok("X: y\rz\r\n"),
                    format!("{CHUNKS}\r\n1\r\nabc\r\n0\r\n\r\n"),
                ],
            ),
        ),
        ("a 101 that changes to nothing", nothing),
        (
            "fields of a hop in trailers",
            of(
                "trailers",
                GET,
                vec![format!("{CHUNKS}\r\n1\r\na\r\n0\r\nHost: b\r\n\r\n")],
            ),
        ),
        (
            "several interim responses",
            of(
                "interim",
                GET,
                vec!["HTTP/1.1 103 Hints\r\nX: y\r\n\r\n".repeat(2) + &ok("")],
            ),
        ),
        (
            "an upgrade and an unknown interim response",
            of(
                "upgrades",
                ASKS,
                vec![format!("HTTP/1.1 150 Odd\r\n\r\n{}", ok(""))],
            ),
        ),
        (
            "the head of a tunnel",
            of(
                "upgrades",
                CONNECT,
                vec![
                    "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".into(),
                    "HTTP/1.1 201 OK\r\n\r\n".into(),
                ],
            ),
        ),
        (
            "fields of a hop in the answer to an upgrade",
            of("upgrades", ASKS, vec![ok("Keep-Alive: a\r\n")]),
        ),
    ]
}

/// Each difference is one still, and is known by its name.
#[test]
fn each_documented_difference_is_there() {
    let Some(sides) = sides() else { return };
    let examples = [
        examples_of_requests(),
        more_examples_of_requests(),
        examples_of_answers(),
    ]
    .concat();
    let shown: BTreeSet<&str> = examples.iter().map(|(name, _)| *name).collect();
    let all: BTreeSet<&str> = documented::all().map(|of| of.name).collect();
    assert_eq!(shown, all);
    for (name, cases) in examples {
        let count = cases.len();
        let bag = hunt::hunt(&sides, cases);
        assert_eq!(bag.documented, BTreeMap::from([(name, count)]), "{bag}");
    }
}
