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

use nuncio_tests::chance::{self, Chance};
use nuncio_tests::differential::hunt::{self, Bag, Sides};
use nuncio_tests::differential::judge::Fault;
use nuncio_tests::differential::reading::Asked;
use nuncio_tests::differential::{Answer, Case, answers, documented, requests, variants};
use nuncio_tests::process::Binary;

/// What is sent where nobody asks for more: a few seconds.
const REQUESTS: (u64, usize) = (1, 1_200);
const ANSWERS: (u64, usize) = (1, 800);

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
    println!("{count} cases of seed {seed}: {bag}");
    bag
}

#[test]
fn no_request_is_taken_that_envoy_refuses() {
    let Some(sides) = sides() else { return };
    let bag = hunt(&sides, requests::case, REQUESTS);
    assert!(bag.faults.is_empty(), "{bag}");
    // A generator that makes nothing sound, or nothing odd, would find nothing.
    assert!(bag.served > bag.same / 10 && bag.served < bag.same, "{bag}");
}

#[test]
fn no_answer_is_taken_that_envoy_refuses() {
    let Some(sides) = sides() else { return };
    let bag = hunt(&sides, answers::case, ANSWERS);
    assert!(bag.faults.is_empty(), "{bag}");
    assert!(bag.served > bag.same / 10, "{bag}");
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
    let asked = Asked::Other;
    let answer = Answer {
        asked,
        pieces: vec![bytes.into()],
        ends: false,
    };
    Case {
        answer: Some(answer),
        ..request("default", "GET /m HTTP/1.1\r\nHost: m\r\n\r\n")
    }
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
