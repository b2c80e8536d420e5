//! Every function of the contract, called by a guest that follows a script.

use bytes::Bytes;

use super::super::outcome::FailureKind;
use super::super::slot::{BodyMode, Phases};
use super::super::{Outcome, SlotState, Upstream};
use super::*;
use crate::exchange::RouteKind;
use crate::limits;
use crate::observe::access_log::Target;
use crate::variant::Variant;

/// A script, line by line.
fn script(lines: &[&str]) -> FilterSlot {
    slot("script", &configuration(lines), |spec| {
        spec.grants.log_sinks.push(Target::Stdout)
    })
}

pub(super) fn configuration(lines: &[&str]) -> String {
    format!("\"{}\"", lines.join("\\n"))
}

/// What the operations of a hook answered.
pub(super) fn answers(exchange: &Exchange, hook: &str) -> Vec<String> {
    let answer = |index| exchange.metadata.get("script", &format!("{hook}.{index}"));
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (0..).map_while(answer).map(text).collect()
}

/// Runs all hooks of a stream over a script and answers the stream.
pub(super) fn run(slot: &FilterSlot, mut exchange: Box<Exchange>) -> Box<Exchange> {
    let (worker, mut state) = (worker(), SlotState::default());
    exchange
        .request_trailers
        .append_bytes(b"x-request-trailer", b"1");
    exchange
        .response_trailers
        .append_bytes(b"x-response-trailer", b"2");
    let (x, s) = (&mut exchange, &mut state);
    let chunk = || Bytes::from_static(b"chunk");
    let outcomes = [
        worker.on_request_headers(slot, s, x, false),
        worker.on_request_body(slot, s, x, chunk(), true).1,
        worker.on_request_trailers(slot, s, x).1,
        worker.on_response_headers(slot, s, x, false),
        worker.on_response_body(slot, s, x, chunk(), true).1,
        worker.on_response_trailers(slot, s, x).1,
    ];
    worker.on_log(slot, s, x);
    worker.on_done(slot, s);
    for outcome in outcomes {
        assert!(matches!(outcome, Outcome::Next), "{outcome:?}");
    }
    exchange
}

#[test]
fn what_a_filter_wants_is_read() {
    let interest =
        script(&["wants on-request-headers on-response-body on-log response-body=buffered"])
            .interest(Variant::BASE);
    for (phase, wanted) in [
        (Phases::REQUEST_HEADERS, true),
        (Phases::REQUEST_BODY, false),
        (Phases::REQUEST_TRAILERS, false),
        (Phases::RESPONSE_HEADERS, false),
        (Phases::RESPONSE_BODY, true),
        (Phases::RESPONSE_TRAILERS, false),
        (Phases::LOG, true),
    ] {
        assert_eq!(interest.wants.contains(phase), wanted, "{phase:?}");
    }
    assert_eq!(interest.request_body, BodyMode::Streamed);
    assert_eq!(interest.response_body, BodyMode::Buffered);
}

#[test]
fn fields_are_read() {
    let slot = script(&[
        "wants on-request-headers",
        "on-request-headers get request-headers X-Twice",
        "on-request-headers get-all request-headers x-twice",
        "on-request-headers get request-headers host",
        "on-request-headers get request-headers x-none",
        "on-request-headers entries request-headers",
        "on-request-headers get response-headers :status",
        "on-request-headers entries request-trailers",
        "on-log get request-headers :path",
        "on-log get response-trailers x-response-trailer",
    ]);
    let exchange = run(&slot, stream("/p", &[("x-twice", "1"), ("x-twice", "2")]));
    let entries = ":method=GET,:scheme=http,:authority=a,:path=/p,x-twice=1,x-twice=2";
    assert_eq!(
        answers(&exchange, "on-request-headers"),
        [
            "1",
            "1,2",
            "a",
            "none",
            entries,
            "200",
            "x-request-trailer=1"
        ]
    );
    assert_eq!(answers(&exchange, "on-log"), ["/p", "2"]);
}

#[test]
fn several_fields_are_read_at_once() {
    let most = limits::WASM_NAMES_AT_ONCE;
    let slot = script(&[
        "wants on-request-headers",
        "on-request-headers get-each request-headers x-twice x-none :path x-empty",
        "on-request-headers get-each request-headers",
        &format!("on-request-headers get-each-of request-headers {most}"),
        &format!(
            "on-request-headers get-each-of request-headers {}",
            most + 1
        ),
        "on-request-headers get-each-of request-headers 1000000",
        "on-log get-each response-headers :status",
    ]);
    let fields = [("x-twice", "1"), ("x-twice", "2"), ("x-empty", "")];
    let exchange = run(&slot, stream("/path", &fields));
    let all = r"\x01\x00\x00\x00".repeat(most) + &"1".repeat(most);
    assert_eq!(
        answers(&exchange, "on-request-headers"),
        [
            r"\x01\x00\x00\x00\xff\xff\xff\xff\x05\x00\x00\x00\x00\x00\x00\x001/path",
            "",
            &all,
            "",
            "",
        ]
    );
    assert_eq!(answers(&exchange, "on-log"), [r"\x03\x00\x00\x00200"]);
}

#[test]
fn a_filter_waits_and_is_called_again() {
    let slot = script(&[
        "wants on-request-headers",
        "on-request-headers set-response-flag DI",
        "on-request-headers set-response-flag nonsense",
        "on-request-headers wait 7",
        "on-resume set request-headers x-waited yes",
        "on-resume clear-route-cache",
        "on-resume forward other",
    ]);
    let (worker, mut state) = (worker(), SlotState::default());
    let mut exchange = stream("/", &[]);
    let outcome = worker.on_request_headers(&slot, &mut state, &mut exchange, true);
    assert!(
        matches!(&outcome, Outcome::Wait(time) if time.as_millis() == 7),
        "{outcome:?}"
    );
    let flags: Vec<&str> = exchange.flags.in_order().map(|flag| flag.1).collect();
    assert_eq!(flags, ["DI"]);
    let outcome = worker.on_resume(&slot, &mut state, &mut exchange, true);
    let Outcome::Forward(Upstream { cluster, .. }) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(cluster.as_deref(), Some("other"));
    assert_eq!(answers(&exchange, "on-resume"), ["ok", "ok"]);
    assert_eq!(field(&exchange.request, "x-waited").as_deref(), Some("yes"));
}

#[test]
fn the_lowest_rate_of_a_response_counts_until_its_head_has_gone() {
    let slot = script(&[
        "wants on-request-headers on-response-headers on-response-trailers",
        "on-request-headers limit-response-rate 3000",
        "on-response-headers limit-response-rate 2000",
        "on-response-headers limit-response-rate 4000",
        "on-response-trailers limit-response-rate 1",
    ]);
    let exchange = run(&slot, stream("/", &[]));
    let rate = exchange.response_rate.map(|rate| rate.bytes_per_second);
    assert_eq!(rate, Some(2000));
    let slot = script(&[
        "wants on-request-headers",
        "on-request-headers limit-response-rate 0",
    ]);
    let exchange = run(&slot, stream("/", &[]));
    let rate = exchange.response_rate.map(|rate| rate.bytes_per_second);
    assert_eq!(rate, Some(1), "less than one is one");
    let slot = script(&[
        "wants on-request-headers",
        "on-request-headers set-response-flag DI",
    ]);
    assert_eq!(run(&slot, stream("/", &[])).response_rate, None);
}

#[test]
fn an_answer_that_says_nothing_is_a_failure() {
    for (operation, says) in [
        ("bare-reply", "answered `reply` without one"),
        ("bare-fail", "it does not say why"),
    ] {
        let line = format!("on-request-headers {operation}");
        let slot = script(&["wants on-request-headers", &line]);
        let (mut exchange, mut state) = (stream("/", &[]), SlotState::default());
        let outcome = worker().on_request_headers(&slot, &mut state, &mut exchange, true);
        let Outcome::Failed(failure) = outcome else {
            panic!("{operation}: {outcome:?}");
        };
        assert_eq!(failure.to_string(), says);
    }
}

#[test]
fn fields_are_changed_while_their_block_is_held() {
    let blocks = [
        "request-headers",
        "request-trailers",
        "response-headers",
        "response-trailers",
    ];
    let hooks = [
        "on-request-headers",
        "on-request-body",
        "on-request-trailers",
        "on-response-headers",
        "on-response-body",
        "on-response-trailers",
        "on-log",
    ];
    let mut lines = vec!["wants".to_owned()];
    for hook in hooks {
        lines.extend(blocks.map(|block| format!("{hook} append {block} x-seen {hook}")));
    }
    for (mode, held) in [
        (
            "",
            [
                "request-headers",
                "",
                "request-trailers",
                "response-headers",
                "",
                "response-trailers",
                "",
            ],
        ),
        (
            " request-body=buffered response-body=buffered",
            [
                "request-headers",
                "request-headers",
                "request-trailers",
                "response-headers",
                "response-headers",
                "response-trailers",
                "",
            ],
        ),
    ] {
        lines[0] = format!("wants{mode}");
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let exchange = run(&script(&lines), stream("/", &[]));
        for (hook, held) in hooks.iter().zip(held) {
            let expected = blocks.map(|block| if block == held { "ok" } else { "wrong-phase" });
            assert_eq!(answers(&exchange, hook), expected, "{hook}{mode}");
        }
        assert_eq!(
            field(&exchange.response_trailers, "x-seen").unwrap(),
            "on-response-trailers"
        );
    }
}

#[test]
fn every_kind_of_change() {
    let slot = script(&[
        "wants on-request-headers on-response-headers",
        "on-request-headers set request-headers x-a 1",
        "on-request-headers append request-headers x-a 2",
        "on-request-headers get-all request-headers x-a",
        "on-request-headers set request-headers x-a 3",
        "on-request-headers remove request-headers x-b",
        "on-request-headers set request-headers :path /other",
        "on-request-headers set request-headers :path nowhere",
        "on-request-headers remove request-headers host",
        "on-request-headers set request-headers content-length 3",
        "on-request-headers append request-headers transfer-encoding chunked",
        "on-response-headers set response-headers :status 404",
        "on-response-headers set response-headers :status 99",
        "on-response-headers append response-headers set-cookie a=b",
    ]);
    let exchange = run(&slot, stream("/p", &[("x-b", "1"), ("x-b", "2")]));
    assert_eq!(
        answers(&exchange, "on-request-headers"),
        [
            "ok",
            "ok",
            "1,2",
            "ok",
            "ok",
            "ok",
            "invalid-value",
            "immutable",
            "immutable",
            "immutable"
        ]
    );
    assert_eq!(
        answers(&exchange, "on-response-headers"),
        ["ok", "invalid-value", "ok"]
    );
    let request = &exchange.request;
    assert_eq!(field(request, "x-a").as_deref(), Some("3"));
    assert_eq!(field(request, "x-b"), None);
    assert_eq!(field(request, ":path").as_deref(), Some("/other"));
    assert_eq!(field(&exchange.response, ":status").as_deref(), Some("404"));
    assert_eq!(exchange.status, 404, "the status follows the field");
}

#[test]
fn attributes_and_formats() {
    let slot = script(&[
        "wants on-request-headers",
        "on-request-headers attribute request.path",
        "on-request-headers attribute upstream.cluster",
        "on-request-headers render %REQ(:path)%!",
        "on-request-headers render-json {}",
    ]);
    let exchange = run(&slot, stream("/p", &[]));
    assert_eq!(
        answers(&exchange, "on-request-headers")[..3],
        ["/p", "none", "/p!"]
    );
    for (line, says) in [
        ("attribute nonsense", "nonsense"),
        ("render %NONSENSE(", "%NONSENSE("),
        ("render-json nonsense", "expected"),
        ("get request-headers x(y", "header name has the byte"),
    ] {
        let lines = ["wants", &format!("on-log {line}")];
        let error = refusal_of("script", &configuration(&lines)).to_string();
        assert!(
            error.starts_with("configure filter \"script\": ") && error.contains(says),
            "{error}"
        );
    }
}

#[test]
fn metadata_is_left_for_others_and_bounded() {
    let large = format!(
        "on-request-headers set-metadata b large {}",
        limits::WASM_METADATA_BYTES
    );
    let slot = script(&[
        "wants on-request-headers",
        "on-request-headers metadata a before",
        "on-request-headers set-metadata b key 3",
        "on-request-headers metadata b key",
        &large,
        "on-request-headers metadata b large",
        "on-log set-metadata b key 1",
    ]);
    let mut exchange = stream("/", &[]);
    exchange.metadata.set("a", "before", b"earlier");
    let exchange = run(&slot, exchange);
    let expected = ["earlier", "ok", "mmm", "too-large", "none"];
    assert_eq!(answers(&exchange, "on-request-headers"), expected);
    assert_eq!(exchange.metadata.get("b", "key"), Some(&b"m"[..]));
}

#[test]
fn bodies_are_shown_and_replaced() {
    let too_much = format!(
        "on-response-body replace-body bytes:{}",
        limits::WASM_BODY_BYTES + 1
    );
    let slot = script(&[
        "wants on-request-body on-response-body",
        "on-request-headers replace-body early",
        "on-request-body show-body",
        "on-request-body replace-body other",
        "on-response-body show-body",
        &too_much,
    ]);
    let (worker, mut exchange, mut state) = (worker(), stream("/", &[]), SlotState::default());
    let (x, s) = (&mut exchange, &mut state);
    worker.on_request_headers(&slot, s, x, false);
    let (body, _) = worker.on_request_body(&slot, s, x, Bytes::from_static(b"chunk"), false);
    assert_eq!(body, "other");
    let (body, _) = worker.on_response_body(&slot, s, x, Bytes::from_static(b"last"), true);
    assert_eq!(body, "last");
    assert_eq!(answers(&exchange, "on-request-headers"), ["wrong-phase"]);
    assert_eq!(answers(&exchange, "on-request-body"), ["chunk false", "ok"]);
    assert_eq!(
        answers(&exchange, "on-response-body"),
        ["last true", "too-large"]
    );
}

#[test]
fn an_empty_body_in_place_of_a_chunk_is_one() {
    let slot = script(&["wants on-request-body", "on-request-body replace-body"]);
    let (mut exchange, mut state) = (stream("/", &[]), SlotState::default());
    let chunk = Bytes::from_static(b"chunk");
    let (body, _) = worker().on_request_body(&slot, &mut state, &mut exchange, chunk, true);
    assert_eq!(body, "");
}

#[test]
fn routes() {
    let lines = [
        "wants on-request-headers",
        "on-request-headers route",
        "on-request-headers clear-route-cache",
        "on-response-headers clear-route-cache",
    ];
    let slot = script(&lines);
    for (kind, name) in [
        (None, "none"),
        (Some(RouteKind::Forward), "forward"),
        (Some(RouteKind::Redirect), "redirect"),
        (Some(RouteKind::DirectResponse), "direct-response"),
    ] {
        let mut exchange = stream("/", &[]);
        exchange.route_kind = kind;
        let exchange = run(&slot, exchange);
        assert_eq!(answers(&exchange, "on-request-headers"), [name, "ok"]);
        assert_eq!(answers(&exchange, "on-response-headers"), ["wrong-phase"]);
        assert!(exchange.route_cache_cleared);
    }
}

#[test]
fn replies_and_forwards() {
    let worker = worker();
    let outcome = |line: &str| {
        let slot = script(&[
            "wants on-request-headers",
            &format!("on-request-headers {line}"),
        ]);
        worker.on_request_headers(
            &slot,
            &mut SlotState::default(),
            &mut stream("/", &[]),
            true,
        )
    };
    let Outcome::Reply(reply) = outcome("reply 418 x-tea pot short-and-stout") else {
        panic!("no reply");
    };
    assert_eq!(
        (reply.status, reply.body.as_slice()),
        (418, &b"short-and-stout"[..])
    );
    assert_eq!(
        reply.headers,
        [(Name::parse(b"x-tea").unwrap(), b"pot".to_vec())]
    );
    for (line, cluster, timeout) in [
        ("forward", None, None),
        ("forward other", Some("other"), None),
        (
            "forward other 1500",
            Some("other"),
            Some(Duration::from_millis(1500)),
        ),
    ] {
        let Outcome::Forward(upstream) = outcome(line) else {
            panic!("no forward")
        };
        assert_eq!(
            upstream,
            Upstream {
                cluster: cluster.map(str::to_owned),
                timeout
            }
        );
    }
}

#[test]
fn buckets_are_shared_by_all_instances_of_a_filter() {
    let lines = [
        "wants on-request-headers",
        "on-request-headers take 3 60000 1",
    ];
    let slot = script(&lines);
    let take =
        |slot: &FilterSlot| answers(&run(slot, stream("/", &[])), "on-request-headers").concat();
    let taken: Vec<String> = (0..5).map(|_| take(&slot)).collect();
    assert_eq!(taken, ["true", "true", "true", "false", "false"]);
    assert_eq!(
        take(&script(&lines)),
        "true",
        "another filter has a bucket of its own"
    );
    for (line, says) in [
        ("take 0 60000 1", "at least 1"),
        ("take 1 49 1", "at least 50 ms"),
    ] {
        let lines = ["wants", &format!("on-log {line}")];
        let error = refusal_of("script", &configuration(&lines)).to_string();
        assert!(error.contains(says), "{error}");
    }
    let lines = ["wants", "on-log take 1 60000 1", "on-log take 2 60000 1"];
    let error = refusal_of("script", &configuration(&lines)).to_string();
    assert!(error.contains("open with other settings"), "{error}");
}

#[test]
fn counters_are_in_the_proxys_statistics() {
    let services = services();
    let lines = configuration(&["wants on-log", "on-log add contract.test.counter 3"]);
    let slot = build(&services, "script", &lines, |_| {}).unwrap();
    run(&slot, stream("/", &[]));
    run(&slot, stream("/", &[]));
    assert_eq!(services.registry.counter("contract.test.counter").get(), 6);
    let lines = ["wants", "on-log add  1"];
    let error = refusal_of("script", &configuration(&lines)).to_string();
    assert!(error.contains("counter name"), "{error}");
}

#[test]
fn sinks_are_opened_where_they_are_granted() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("access.log");
    let target = path.display();
    let lines = [
        "wants on-log".to_owned(),
        format!("on-log write {target} line;"),
        format!("on-log write-format {target} path=%REQ(:path)%;"),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let configuration = configuration(&lines);
    let refused = refusal_of("script", &configuration).to_string();
    assert!(
        refused.contains("is not among the log_sinks of its capabilities"),
        "{refused}"
    );
    let services = services();
    let granted = |spec: &mut SlotSpec| spec.grants.log_sinks.push(Target::File(path.clone()));
    let slot = build(&services, "script", &configuration, granted).unwrap();
    run(&slot, stream("/p", &[]));
    services.sinks.flush_all();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "line;path=/p;");
}

#[test]
fn lines_are_logged_at_their_level() {
    let slot = script(&[
        "wants on-log",
        "on-log log trace t",
        "on-log log debug d",
        "on-log log info i",
        "on-log log warn w",
        "on-log log error e",
        "on-log max-level",
    ]);
    let (exchange, lines) = logged(|| run(&slot, stream("/", &[])));
    assert_eq!(lines, ["DEBUG d", "INFO i", "WARN w", "ERROR e"]);
    assert_eq!(answers(&exchange, "on-log").last().unwrap(), "Level::Debug");
}

#[test]
fn what_belongs_into_configure_is_refused_later_and_unknown_ids_do_nothing() {
    let slot = script(&["wants on-log", "on-log intern-late", "on-log unknown-ids"]);
    let exchange = run(&slot, stream("/", &[]));
    assert_eq!(
        answers(&exchange, "on-log"),
        [
            "only while the filter is being configured",
            "none,[],invalid-value,none,[],false,false"
        ]
    );
}

#[test]
fn trailers_are_taken_out_and_body_is_put_in_front_of_them() {
    let slot = script(&[
        "wants on-request-headers on-request-trailers on-response-trailers on-log",
        "on-request-headers clear request-trailers",
        "on-request-headers add-body early",
        "on-request-trailers clear response-trailers",
        "on-request-trailers clear request-headers",
        "on-request-trailers add-body one",
        "on-request-trailers add-body two",
        "on-response-trailers clear response-trailers",
        "on-response-trailers add-body bytes:1048576",
        "on-response-trailers add-body x",
        "on-log add-body late",
    ]);
    let (worker, mut state, mut exchange) = (worker(), SlotState::default(), stream("/", &[]));
    exchange
        .response_trailers
        .append_bytes(b"x-response-trailer", b"2");
    let (x, s) = (&mut exchange, &mut state);
    worker.on_request_headers(&slot, s, x, false);
    let (added, _) = worker.on_request_trailers(&slot, s, x);
    assert_eq!(added, "onetwo");
    let (added, _) = worker.on_response_trailers(&slot, s, x);
    assert_eq!(added.len(), limits::WASM_BODY_BYTES);
    assert!(exchange.response_trailers.is_empty());
    worker.on_log(&slot, &mut state, &mut exchange);
    let wrong = "wrong-phase";
    for (hook, expected) in [
        ("on-request-headers", &[wrong, wrong][..]),
        ("on-request-trailers", &[wrong, wrong, "ok", "ok"]),
        ("on-response-trailers", &["ok", "ok", "too-large"]),
        ("on-log", &[wrong]),
    ] {
        assert_eq!(answers(&exchange, hook), expected, "{hook}");
    }
}

#[test]
fn a_filter_wants_less_or_more_of_a_stream() {
    let slot = script(&[
        "wants on-request-headers on-request-body",
        "on-request-headers set-interest wants on-response-headers response-body=buffered",
        "on-response-headers set-interest wants on-log request-body=buffered",
        "on-log set-interest wants on-request-headers",
    ]);
    let (worker, mut state, mut exchange) = (worker(), SlotState::default(), stream("/", &[]));
    let interest = |state: &SlotState| state.interest(&slot);
    assert!(interest(&state).wants.contains(Phases::REQUEST_BODY));
    worker.on_request_headers(&slot, &mut state, &mut exchange, false);
    let wants = interest(&state).wants;
    assert!(wants.contains(Phases::RESPONSE_HEADERS) && !wants.contains(Phases::REQUEST_BODY));
    assert_eq!(interest(&state).response_body, BodyMode::Buffered);
    worker.on_response_headers(&slot, &mut state, &mut exchange, false);
    assert!(interest(&state).wants.contains(Phases::LOG));
    assert_eq!(
        interest(&state).request_body,
        BodyMode::Streamed,
        "its head has gone on"
    );
    assert_eq!(
        interest(&state).response_body,
        BodyMode::Streamed,
        "its head has not"
    );
    worker.on_log(&slot, &mut state, &mut exchange);
    assert!(
        interest(&state).wants.contains(Phases::LOG),
        "there is no next hook"
    );
    assert!(
        SlotState::default()
            .interest(&slot)
            .wants
            .contains(Phases::REQUEST_BODY)
    );
}

#[test]
fn how_a_body_comes_is_settled_with_its_head() {
    let buffered =
        "set-interest wants on-response-body response-body=buffered request-body=buffered";
    let slot = script(&[
        "wants on-request-body on-response-headers",
        &format!("on-request-body {buffered}"),
        &format!("on-response-body {buffered} on-request-body"),
    ]);
    let (worker, mut exchange) = (worker(), stream("/", &[]));
    for (has_begun, expected) in [(false, BodyMode::Buffered), (true, BodyMode::Streamed)] {
        let mut state = SlotState::default();
        state.settle_response(has_begun);
        let body = || Bytes::from_static(b"x");
        worker.on_request_body(&slot, &mut state, &mut exchange, body(), false);
        let interest = state.interest(&slot);
        assert_eq!(interest.response_body, expected, "{has_begun}");
        assert_eq!(interest.request_body, BodyMode::Streamed, "{has_begun}");
        let wants = interest.wants;
        assert_eq!(wants.contains(Phases::RESPONSE_BODY), !has_begun);
        assert!(!wants.contains(Phases::REQUEST_BODY), "less can be wanted");
        worker.on_response_body(&slot, &mut state, &mut exchange, body(), false);
        let wants = state.interest(&slot).wants;
        assert_eq!(wants.contains(Phases::RESPONSE_BODY), !has_begun);
        assert!(!wants.contains(Phases::REQUEST_BODY), "and not more again");
    }
}

#[test]
fn the_limit_of_a_body_is_limited() {
    for (word, limit) in [
        ("", None),
        (" request-body-limit=9", Some(9)),
        (" request-body-limit=max", Some(u32::MAX)),
        (
            " on-request-body request-body-limit=max",
            Some(limits::WASM_HELD_BODY_BYTES),
        ),
    ] {
        let slot = script(&[&format!("wants{word}")]);
        assert_eq!(slot.interest(Variant::BASE).request_body_limit, limit);
    }
}

#[test]
fn expressions_match_all_of_a_text_as_those_of_routes_do() {
    let slot = script(&[
        "wants on-log",
        "on-log matches a+ aaa",
        "on-log matches a+ aab",
        "on-log matches [0-9]+ 12",
    ]);
    let exchange = run(&slot, stream("/", &[]));
    assert_eq!(answers(&exchange, "on-log"), ["true", "false", "true"]);
    let refused = refusal_of("script", &configuration(&["wants", "on-log matches ( x"]));
    assert!(refused.to_string().contains("missing \")\""), "{refused}");
}

#[test]
fn a_match_takes_no_more_than_a_call_may() {
    let run = |expression: &str, length: usize| {
        let operation = format!("on-request-headers matches {expression} bytes:{length}");
        let slot = script(&["wants on-request-headers", &operation]);
        let (mut exchange, mut state) = (stream("/", &[]), SlotState::default());
        worker().on_request_headers(&slot, &mut state, &mut exchange, true)
    };
    let most = limits::WASM_MATCHED_BYTES;
    assert!(matches!(run("[ab]+", most), Outcome::Next));
    for (outcome, kind, says) in [
        (run("[ab]+", most + 1), FailureKind::Trap, "65537 bytes"),
        // No table holds it, so each byte costs microseconds.
        (
            run(".*b.{400}c.*", most),
            FailureKind::OutOfTime,
            "more than 5ms",
        ),
    ] {
        match outcome {
            Outcome::Failed(failure) if failure.kind == kind => {
                assert!(failure.to_string().contains(says), "{failure}");
            }
            outcome => panic!("{outcome:?}"),
        }
    }
}

#[test]
fn a_filter_knows_what_the_statistics_of_its_chain_begin_with() {
    let slot = slot(
        "script",
        &configuration(&["wants on-log", "on-log prefix"]),
        |spec| {
            spec.stat_prefix = "http.ingress.".to_owned();
        },
    );
    assert_eq!(
        answers(&run(&slot, stream("/", &[])), "on-log"),
        ["http.ingress."]
    );
}

#[test]
fn counters_that_are_named_while_streams_are_served_are_bounded() {
    let services = services();
    let lines = ["wants on-log", "on-log count a.b 2", "on-log count c 1100"];
    let slot = build(&services, "script", &configuration(&lines), |_| {}).unwrap();
    for _ in 0..2 {
        run(&slot, stream("/", &[]));
    }
    let count = |name: &str| services.registry.counter(name).get();
    assert_eq!([count("a.b.0"), count("a.b.1"), count("a.b.2")], [2, 2, 0]);
    assert_eq!(count("c.1021"), 2, "the last that there was room for");
    assert_eq!(count("c.1022"), 0);
}
