//! Which outcomes are tried again, by policy and by what a request asks for.

use super::*;
use crate::route::spec::{HeaderMatchSpec, HeaderTestSpec};

fn head(fields: &[(&str, &str)]) -> Headers {
    let mut headers = Headers::new();
    for (name, value) in fields {
        headers.append_bytes(name.as_bytes(), value.as_bytes());
    }
    headers
}

fn policy(spec: RetrySpec) -> Arc<RetryPolicy> {
    let mut report = Report::default();
    let built = RetryPolicy::build(&spec, &mut report).unwrap();
    report.finish(Arc::new(built)).unwrap()
}

fn on(words: &str) -> Arc<RetryPolicy> {
    policy(RetrySpec {
        retry_on: words.into(),
        retriable_status_codes: vec![404, 425],
        retriable_headers: vec![HeaderMatchSpec {
            name: "X-Again".into(),
            test: HeaderTestSpec::Present(true),
            invert_match: false,
            treat_missing_header_as_empty: false,
        }],
        ..RetrySpec::default()
    })
}

fn retries(words: &str) -> Option<Retries> {
    Retries::of(Some(&on(words)), &head(&[]))
}

#[test]
fn heads_that_are_tried_again() {
    type Fields = [(&'static str, &'static str)];
    let cases: &[(&str, u16, &Fields, bool)] = &[
        ("5xx", 500, &[], true),
        ("5xx", 599, &[], true),
        ("5xx", 499, &[], false),
        ("gateway-error", 500, &[], false),
        ("gateway-error", 502, &[], true),
        ("gateway-error", 503, &[], true),
        ("gateway-error", 504, &[], true),
        ("gateway-error", 505, &[], false),
        ("retriable-4xx", 409, &[], true),
        ("retriable-4xx", 404, &[], false),
        ("retriable-status-codes", 404, &[], true),
        ("retriable-status-codes", 500, &[], false),
        ("5xx", 404, &[], false),
        ("retriable-headers", 200, &[("x-again", "")], true),
        ("retriable-headers", 200, &[], false),
        ("5xx", 200, &[("x-again", "")], false),
        ("5xx", 503, &[("x-envoy-ratelimited", "true")], false),
        (
            "envoy-ratelimited",
            429,
            &[("x-envoy-ratelimited", "")],
            true,
        ),
        ("envoy-ratelimited", 429, &[], false),
        ("cancelled", 200, &[("grpc-status", "1")], true),
        ("deadline-exceeded", 200, &[("grpc-status", "4")], true),
        ("resource-exhausted", 200, &[("grpc-status", "8")], true),
        ("internal", 200, &[("grpc-status", "13")], true),
        ("unavailable", 200, &[("grpc-status", "14")], true),
        ("unavailable", 200, &[("grpc-status", "014")], true),
        ("unavailable", 200, &[("grpc-status", "14x")], false),
        ("unavailable", 200, &[("grpc-status", "13")], false),
        ("unavailable,internal", 200, &[("grpc-status", "13")], true),
        ("unavailable", 200, &[("grpc-status", "0")], false),
        ("unavailable", 503, &[], false),
        ("connect-failure,refused-stream,reset", 503, &[], false),
    ];
    for (words, status, fields, again) in cases {
        let retries = retries(words).unwrap();
        let wants = retries.wants_head(*status, &head(fields));
        assert_eq!(wants, *again, "{words} {status} {fields:?}");
    }
}

#[test]
fn failures_that_are_tried_again() {
    use Failure::{Connect, Overflow, PerTryTimeout, Refused, Reset};
    let all = [
        Overflow,
        Connect,
        Refused,
        Reset { sent: false },
        Reset { sent: true },
        PerTryTimeout,
    ];
    let cases: &[(&str, &[Failure])] = &[
        ("5xx", &all[1..]),
        ("gateway-error", &all[1..]),
        ("reset", &all[1..]),
        ("connect-failure", &[Connect]),
        ("refused-stream", &[Refused]),
        ("reset-before-request", &[Connect, Reset { sent: false }]),
        (
            "retriable-4xx,retriable-status-codes,retriable-headers",
            &[],
        ),
        ("unavailable,internal,cancelled", &[]),
    ];
    for (words, again) in cases {
        for failure in all {
            let verdict = retries(words).unwrap().after_failure(failure);
            let expected = if again.contains(&failure) {
                Verdict::Retry
            } else {
                Verdict::Pass
            };
            assert_eq!(verdict, expected, "{words} {failure:?}");
        }
    }
}

#[test]
fn unknown_words_are_told_and_ignored() {
    let (on, unknown) = RetryOn::parse("5xx, no-such ,,unavailable,5XX");
    assert_eq!(on, RetryOn::FIVE_XX.with(RetryOn::UNAVAILABLE));
    assert_eq!(unknown, ["no-such", "5XX"]);
    assert!(retries("no-such").is_none());
    assert!(retries("").is_none());
}

#[test]
fn a_request_may_ask_for_more() {
    let asks = |fields: &[(&str, &str)]| Retries::of(None, &head(fields));
    assert!(asks(&[("x-envoy-max-retries", "3")]).is_none());
    assert!(
        asks(&[("x-envoy-retry-on", "unavailable")]).is_none(),
        "a word of the other header"
    );
    let mut retries = asks(&[("x-envoy-retry-on", "5xx"), ("x-envoy-max-retries", "2")]).unwrap();
    let none = head(&[]);
    let verdicts: Vec<_> = (0..3).map(|_| retries.after_head(500, &none)).collect();
    assert_eq!(
        verdicts,
        [Verdict::Retry, Verdict::Retry, Verdict::Exhausted]
    );
    // 2 more than 32 bits have.
    let large = ("x-envoy-max-retries", "4294967298");
    let mut retries = asks(&[("x-envoy-retry-on", "5xx"), large]).unwrap();
    let verdicts: Vec<_> = (0..3).map(|_| retries.after_head(500, &none)).collect();
    assert_eq!(
        verdicts,
        [Verdict::Retry, Verdict::Retry, Verdict::Exhausted]
    );
    let mut retries = asks(&[("x-envoy-retry-grpc-on", "unavailable")]).unwrap();
    let unavailable = head(&[("grpc-status", "14")]);
    assert_eq!(retries.after_head(200, &unavailable), Verdict::Retry);
    assert_eq!(retries.after_head(200, &unavailable), Verdict::Exhausted);
    assert_eq!(retries.after_head(200, &none), Verdict::Pass);
    let retries = asks(&[
        (
            "x-envoy-retry-on",
            "retriable-status-codes,retriable-headers",
        ),
        ("x-envoy-retriable-status-codes", "418, x ,420"),
        ("x-envoy-retriable-header-names", "X-One, x-two"),
    ]);
    let retries = retries.unwrap();
    assert!(retries.wants_head(418, &none) && retries.wants_head(420, &none));
    assert!(!retries.wants_head(419, &none));
    assert!(retries.wants_head(200, &head(&[("x-two", "")])));
}

#[test]
fn a_policy_may_be_for_some_requests_alone() {
    let some = policy(RetrySpec {
        retry_on: "5xx".into(),
        retriable_request_headers: vec![HeaderMatchSpec {
            name: ":method".into(),
            test: HeaderTestSpec::Legacy(crate::route::spec::StringPatternSpec::Exact(
                "GET".into(),
            )),
            invert_match: false,
            treat_missing_header_as_empty: false,
        }],
        ..RetrySpec::default()
    });
    assert!(Retries::of(Some(&some), &head(&[(":method", "GET")])).is_some());
    assert!(Retries::of(Some(&some), &head(&[(":method", "POST")])).is_none());
}

#[test]
fn waits_stay_below_a_bound_that_doubles() {
    let mut retries = retries("5xx").unwrap();
    let mut bounds = Vec::new();
    for _ in 0..6 {
        // The largest remainder shows the bound.
        let interval = u64::try_from(retries.interval.as_millis()).unwrap();
        let Wait::Exponential(wait) = retries.wait(None, UNIX_EPOCH, interval - 1) else {
            panic!("nothing says how long");
        };
        bounds.push(wait.as_millis() + 1);
    }
    assert_eq!(bounds, [25, 50, 100, 200, 250, 250]);
}

#[test]
fn an_upstream_may_say_how_long() {
    let spec = RetrySpec {
        retry_on: "5xx".into(),
        rate_limited: Some(RateLimitedSpec {
            headers: vec![
                ResetHeaderSpec {
                    name: "Retry-After".into(),
                    is_timestamp: false,
                },
                ResetHeaderSpec {
                    name: "X-Reset".into(),
                    is_timestamp: true,
                },
            ],
            max_interval: Some(Duration::from_secs(10)),
        }),
        ..RetrySpec::default()
    };
    let policy = policy(spec);
    let wall = UNIX_EPOCH + Duration::from_secs(1000);
    let wait = |fields: &[(&str, &str)], random| {
        let mut retries = Retries::of(Some(&policy), &head(&[])).unwrap();
        retries.wait(Some(&head(fields)), wall, random)
    };
    let limited =
        |seconds: u64, ms: u64| Wait::RateLimited(Duration::from_millis(seconds * 1000 + ms));
    assert_eq!(wait(&[("retry-after", "2")], 0), limited(2, 0));
    assert_eq!(wait(&[("retry-after", "2")], 999), limited(2, 999));
    assert_eq!(wait(&[("retry-after", "2")], 1000), limited(2, 0));
    assert_eq!(wait(&[("x-reset", "1003")], 0), limited(3, 0));
    assert_eq!(
        wait(&[("retry-after", "11"), ("x-reset", "1004")], 0),
        limited(4, 0)
    );
    for nonsense in ["11", "soon", "0", "-1"] {
        let wait = wait(&[("retry-after", nonsense)], 0);
        assert_eq!(wait, Wait::Exponential(Duration::ZERO), "{nonsense}");
    }
    assert_eq!(
        wait(&[("x-reset", "999")], 0),
        Wait::Exponential(Duration::ZERO)
    );
}

#[test]
fn a_longest_wait_below_the_first_is_refused() {
    let mut report = Report::default();
    let spec = RetrySpec {
        back_off: Some((Duration::from_secs(2), Some(Duration::from_secs(1)))),
        ..RetrySpec::default()
    };
    assert!(RetryPolicy::build(&spec, &mut report).is_none());
    let errors = report.finish(()).unwrap_err();
    let error = errors.iter().next().unwrap();
    assert_eq!(error.path.to_string(), "retry_back_off.max_interval");
}

#[test]
fn runtime_values_switch_retries_off_and_say_how_long_the_first_wait_is() {
    let mut retries = retries("5xx").unwrap();
    retries.switch_off();
    assert_eq!(retries.after_head(503, &head(&[])), Verdict::Pass);
    let waits = |spec: RetrySpec| {
        let mut retries = Retries::of(Some(&policy(spec)), &head(&[])).unwrap();
        retries.begin_with(Duration::from_millis(400));
        // The largest number below each bound.
        let mut wait = || retries.wait(None, UNIX_EPOCH, 400 * 1024 - 1).get();
        [wait(), wait(), wait()].map(|wait| wait.as_millis())
    };
    let words = RetrySpec {
        retry_on: "5xx".into(),
        ..RetrySpec::default()
    };
    assert_eq!(waits(words.clone()), [399, 799, 1599]);
    let own = RetrySpec {
        back_off: Some((Duration::from_millis(100), None)),
        ..words
    };
    assert_eq!(waits(own), [99, 199, 399], "the policy's own counts");
}
