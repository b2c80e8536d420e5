//! What a guest's faults cost: the stream or the filter, by the failure policy, and nothing else.

use super::super::outcome::{FailureKind, Outcome};
use super::super::slot::{FailurePolicy, WasmStats};
use super::super::{LocalReply, SlotState};
use super::*;
use crate::limits;

fn faulty(plan: &str, policy: FailurePolicy) -> FilterSlot {
    slot("faults", &format!("\"{plan}\""), |spec| {
        spec.failure_policy = policy;
        spec.limits.memory = 4 * 1024 * 1024;
        // Who runs out of something else has all the time that there can be, on a slow machine too.
        if !["loops", "floods"]
            .iter()
            .any(|endless| plan.contains(endless))
        {
            spec.limits.cpu_per_call = limits::WASM_CPU_CONFIGURE;
        }
    })
}

/// One hook about one stream.
fn request(
    worker: &Instances,
    slot: &FilterSlot,
    exchange: &mut Box<Exchange>,
) -> (Outcome, SlotState) {
    let mut state = SlotState::default();
    let outcome = worker.on_request_headers(slot, &mut state, exchange, true);
    (outcome, state)
}

fn stats(slot: &FilterSlot) -> &WasmStats {
    slot.stats().shard(0)
}

/// Faults in `on-request-headers`, what they are counted as, and what the log says.
const FAULTS: &[(&str, FailureKind, &str)] = &[
    ("panics", FailureKind::Trap, "unreachable"),
    ("divides-by-zero", FailureKind::Trap, "unreachable"),
    (
        "recurses",
        FailureKind::Trap,
        "out of bounds memory access; in faults::recurse",
    ),
    (
        "exits",
        FailureKind::Trap,
        "the guest called exit with status 1",
    ),
    (
        "sleeps",
        FailureKind::Trap,
        "wanted to wait for time to pass",
    ),
    (
        "hoards-handles",
        FailureKind::Trap,
        "more than 256 WASI handles",
    ),
    (
        "loops",
        FailureKind::OutOfTime,
        "used more than 5ms of processor time; in faults::act",
    ),
    (
        "allocates",
        FailureKind::OutOfMemory,
        "needed more than 4096 KiB of memory",
    ),
    ("fails", FailureKind::Reported, "the filter says so"),
    (
        "replies-with-status-0",
        FailureKind::InvalidAnswer,
        "status 0",
    ),
    (
        "replies-with-status-999",
        FailureKind::InvalidAnswer,
        "status 999",
    ),
    ("replies-with-a-bad-name", FailureKind::InvalidAnswer, "x a"),
    (
        "replies-with-a-split-value",
        FailureKind::InvalidAnswer,
        "line end",
    ),
    (
        "replies-with-framing",
        FailureKind::InvalidAnswer,
        "transfer-encoding",
    ),
    (
        "replies-with-a-huge-header",
        FailureKind::InvalidAnswer,
        "fields of",
    ),
    (
        "replies-with-too-much-for-the-host",
        FailureKind::OutOfMemory,
        "4096 KiB",
    ),
];

#[test]
fn a_fault_fails_the_stream_or_leaves_the_filter_out() {
    for (fault, kind, says) in FAULTS {
        for policy in [FailurePolicy::FailClosed, FailurePolicy::FailOpen] {
            let slot = faulty(&format!("on-request-headers {fault}"), policy);
            let worker = worker();
            let mut exchange = stream("/bad", &[]);
            let ((outcome, mut state), lines) = logged(|| request(&worker, &slot, &mut exchange));
            assert_eq!(
                field(&exchange.request, ":path").as_deref(),
                Some("/bad"),
                "lent back"
            );
            let line = lines.last().unwrap();
            assert!(
                line.contains(says) && line.contains("on-request-headers failed"),
                "{lines:?}"
            );
            match (policy, outcome) {
                (FailurePolicy::FailClosed, Outcome::Failed(failure)) => {
                    assert_eq!(failure.kind, *kind, "{failure}");
                    assert!(line.starts_with("ERROR"), "{line}");
                }
                (FailurePolicy::FailOpen, Outcome::Next) => {
                    assert!(line.starts_with("WARN"), "{line}");
                    let calls = stats(&slot).calls.get();
                    let next = worker.on_response_headers(&slot, &mut state, &mut exchange, true);
                    assert!(matches!(next, Outcome::Next));
                    assert_eq!(
                        stats(&slot).calls.get(),
                        calls,
                        "left out for the whole stream"
                    );
                }
                (_, outcome) => panic!("{fault} under {policy:?}: {outcome:?}"),
            }
            worker.on_done(&slot, &mut state);
            // Others are served as if nothing had been.
            let mut good = stream("/good", &[("x-good", "")]);
            let (outcome, mut state) = request(&worker, &slot, &mut good);
            assert!(matches!(outcome, Outcome::Next), "{fault}: {outcome:?}");
            worker.on_done(&slot, &mut state);
            assert_eq!(stats(&slot).active.get(), 1, "{fault}");
        }
    }
}

#[test]
fn faults_are_counted_by_kind() {
    for (fault, kind, _) in FAULTS {
        let slot = faulty(
            &format!("on-request-headers {fault}"),
            FailurePolicy::FailClosed,
        );
        let worker = worker();
        for _ in 0..3 {
            request(&worker, &slot, &mut stream("/", &[]));
        }
        let stats = stats(&slot);
        let counts = [
            stats.traps.get(),
            stats.out_of_time.get(),
            stats.out_of_memory.get(),
            stats.reported_failures.get(),
            stats.invalid_answers.get(),
        ];
        let expected = match kind {
            FailureKind::Trap => [3, 0, 0, 0, 0],
            FailureKind::OutOfTime => [0, 3, 0, 0, 0],
            FailureKind::OutOfMemory => [0, 0, 3, 0, 0],
            FailureKind::Reported => [0, 0, 0, 3, 0],
            _ => [0, 0, 0, 0, 3],
        };
        assert_eq!(counts, expected, "{fault}");
        let lives_on = matches!(kind, FailureKind::Reported | FailureKind::InvalidAnswer);
        assert_eq!(stats.created.get(), if lives_on { 1 } else { 3 }, "{fault}");
    }
}

#[test]
fn every_hook_is_covered_by_the_policy() {
    let mut state = SlotState::default();
    for hook in [
        "on-request-headers",
        "on-request-body",
        "on-request-trailers",
        "on-response-headers",
        "on-response-body",
        "on-response-trailers",
    ] {
        let slot = faulty(&format!("{hook} panics"), FailurePolicy::FailClosed);
        let worker = worker();
        let mut exchange = stream("/", &[]);
        let chunk = || bytes::Bytes::from_static(b"chunk");
        let mut failed = Vec::new();
        let mut note = |name: &'static str, outcome: Outcome| {
            if matches!(outcome, Outcome::Failed(_)) {
                failed.push(name);
            }
        };
        let (x, s) = (&mut exchange, &mut state);
        note(
            "on-request-headers",
            worker.on_request_headers(&slot, s, x, false),
        );
        let (body, outcome) = worker.on_request_body(&slot, s, x, chunk(), false);
        assert_eq!(body, chunk());
        note("on-request-body", outcome);
        note(
            "on-request-trailers",
            worker.on_request_trailers(&slot, s, x).1,
        );
        note(
            "on-response-headers",
            worker.on_response_headers(&slot, s, x, false),
        );
        let (body, outcome) = worker.on_response_body(&slot, s, x, chunk(), true);
        assert_eq!(body, chunk());
        note("on-response-body", outcome);
        note(
            "on-response-trailers",
            worker.on_response_trailers(&slot, s, x).1,
        );
        // The state that was kept before the trap is lost, and that is a failure too.
        assert_eq!(failed.first(), Some(&hook));
        assert!(stats(&slot).traps.get() == 1, "{hook}");
        state = SlotState::default();
    }
}

#[test]
fn the_log_and_the_end_of_a_stream_may_fail() {
    for hook in ["on-log", "on-done"] {
        let slot = faulty(&format!("{hook} panics"), FailurePolicy::FailClosed);
        let worker = worker();
        let mut exchange = stream("/", &[]);
        let (outcome, mut state) = request(&worker, &slot, &mut exchange);
        assert!(matches!(outcome, Outcome::Next));
        let ((), lines) = logged(|| {
            worker.on_log(&slot, &mut state, &mut exchange);
            worker.on_done(&slot, &mut state);
        });
        let failed = format!("{hook} failed");
        assert_eq!(
            lines.iter().filter(|line| line.contains(&failed)).count(),
            1,
            "{lines:?}"
        );
        assert_eq!(
            (stats(&slot).traps.get(), stats(&slot).active.get()),
            (1, 0)
        );
    }
}

#[test]
fn answers_in_the_wrong_hook_fail_the_stream() {
    for (plan, says) in [
        (
            "on-response-headers forwards",
            "`forward` in other than on-request-headers and on-resume",
        ),
        (
            "on-response-body replies",
            "when the response's head was gone",
        ),
        (
            "on-response-trailers replies",
            "when the response's head was gone",
        ),
    ] {
        let slot = faulty(plan, FailurePolicy::FailClosed);
        let worker = worker();
        let (mut exchange, mut state) = (stream("/", &[]), SlotState::default());
        let (x, s) = (&mut exchange, &mut state);
        let outcomes = [
            worker.on_response_headers(&slot, s, x, false),
            worker
                .on_response_body(&slot, s, x, bytes::Bytes::new(), true)
                .1,
            worker.on_response_trailers(&slot, s, x).1,
        ];
        let failures: Vec<String> = outcomes
            .iter()
            .filter_map(|outcome| match outcome {
                Outcome::Failed(failure) => Some(failure.to_string()),
                _ => None,
            })
            .collect();
        assert!(
            failures.len() == 1 && failures[0].contains(says),
            "{plan}: {failures:?}"
        );
    }
}

#[test]
fn a_reply_arrives() {
    let slot = faulty("on-response-headers replies", FailurePolicy::FailClosed);
    let (mut exchange, mut state) = (stream("/", &[]), SlotState::default());
    let outcome = worker().on_response_headers(&slot, &mut state, &mut exchange, false);
    let Outcome::Reply(LocalReply {
        status,
        body,
        details,
        ..
    }) = outcome
    else {
        panic!("{outcome:?}")
    };
    assert_eq!(
        (status, body.as_slice(), details.as_str()),
        (403, &b"no"[..], "fault")
    );
}

#[test]
fn what_a_filter_says_when_configured_refuses_the_configuration() {
    let refused = refusal_of("faults", "\"configure fails\"");
    assert_eq!(
        refused.to_string(),
        "configure filter \"faults\": the filter says so"
    );
    for (plan, says) in [
        ("configure panics", "unreachable"),
        ("configure loops", "used more than 1s of processor time"),
        ("configure allocates", "needed more than 16384 KiB"),
        ("configure exits", "exit with status 1"),
    ] {
        let failed = refusal_of("faults", &format!("\"{plan}\""));
        assert_eq!(failed.to_string(), "start filter \"faults\"");
        let source = std::error::Error::source(&failed).unwrap().to_string();
        assert!(source.contains(says), "{plan}: {source}");
    }
}

#[test]
fn standard_streams_are_lines_of_the_log() {
    let slot = faulty("on-request-headers prints", FailurePolicy::FailClosed);
    let mut exchange = stream("/", &[]);
    let ((outcome, _), lines) = logged(|| request(&worker(), &slot, &mut exchange));
    assert!(matches!(outcome, Outcome::Next), "{outcome:?}");
    assert_eq!(lines, ["INFO printed to stdout", "WARN printed to stderr"]);
    let ((), lines) = logged(|| {
        let slot = faulty("on-request-headers panics", FailurePolicy::FailClosed);
        request(&worker(), &slot, &mut stream("/", &[]));
    });
    assert!(
        lines.iter().any(|line| line.contains("as the test wants")),
        "{lines:?}"
    );
}

#[test]
fn a_flood_of_lines_is_cut() {
    let slot = faulty("on-request-headers floods", FailurePolicy::FailClosed);
    let ((outcome, _), lines) = logged(|| request(&worker(), &slot, &mut stream("/", &[])));
    assert!(!matches!(outcome, Outcome::Reply(_)), "{outcome:?}");
    let most = 4 * limits::WASM_LOG_LINES_PER_SECOND as usize;
    assert!((90..most).contains(&lines.len()), "{}", lines.len());
}

#[test]
fn what_the_system_gives_a_guest() {
    for (fault, result) in [
        ("reads-stdin", "Ok(0)"),
        ("reads-the-environment", "0 0"),
        ("draws-randomness", "true"),
    ] {
        let slot = faulty(
            &format!("on-request-headers {fault}"),
            FailurePolicy::FailClosed,
        );
        let mut exchange = stream("/", &[]);
        let (outcome, _) = request(&worker(), &slot, &mut exchange);
        assert!(matches!(outcome, Outcome::Next), "{fault}: {outcome:?}");
        assert_eq!(
            field(&exchange.request, "x-result").as_deref(),
            Some(result),
            "{fault}"
        );
    }
    let mut exchange = stream("/", &[]);
    let slot = faulty("on-request-headers opens-a-file", FailurePolicy::FailClosed);
    request(&worker(), &slot, &mut exchange);
    let error = field(&exchange.request, "x-result").unwrap();
    assert!(error.starts_with("error: "), "{error}");
    let slot = faulty(
        "on-request-headers looks-at-clocks",
        FailurePolicy::FailClosed,
    );
    request(&worker(), &slot, &mut exchange);
    let seen = field(&exchange.request, "x-result").unwrap();
    let year = seen.strip_prefix("true ").unwrap().parse::<u32>().unwrap();
    assert!((2024..2200).contains(&year), "{year}");
}

#[test]
fn a_loop_is_interrupted_soon() {
    let slot = faulty("on-request-headers loops", FailurePolicy::FailClosed);
    let worker = worker();
    worker.warm(&slot);
    let before = super::super::ticker::thread_cpu();
    request(&worker, &slot, &mut stream("/", &[]));
    let used = super::super::ticker::thread_cpu() - before;
    // Ticks may come late on a busy machine, but a late tick is also a longer budget of wall time:
    // what is bounded is processor time.
    assert!(
        (Duration::from_millis(5)..Duration::from_millis(200)).contains(&used),
        "{used:?}"
    );
}

#[test]
fn sixteen_slots_use_a_component_that_was_compiled_once() {
    let slots: Vec<_> = (0..16)
        .map(|_| faulty("on-request-headers replies", FailurePolicy::FailClosed))
        .collect();
    let worker = worker();
    for slot in &slots {
        let (outcome, _) = request(&worker, slot, &mut stream("/", &[]));
        assert!(matches!(outcome, Outcome::Reply(_)));
    }
}
