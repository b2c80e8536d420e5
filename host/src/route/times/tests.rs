//! The time that a request has, by its route and its own headers.

use super::*;
use crate::route::spec::StreamDurationSpec;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn head(fields: &[(&str, &str)]) -> Headers {
    let mut headers = Headers::new();
    for (name, value) in fields {
        headers.append_bytes(name.as_bytes(), value.as_bytes());
    }
    headers
}

fn text(headers: &Headers, known: Known) -> Option<String> {
    let value = headers.known(known)?;
    Some(String::from_utf8_lossy(value).into_owned())
}

#[test]
fn the_timeout_is_the_routes_unless_the_request_says_another() {
    let route = |timeout| {
        Times::build(&TimesSpec {
            timeout,
            ..TimesSpec::UNSET
        })
    };
    let total = |times: Times, fields: &[(&str, &str)], chosen| {
        let mut request = head(fields);
        let times = times.of_request(&mut request, (chosen, false), None);
        assert!(!request.has(Known::XEnvoyUpstreamRqTimeoutMs));
        times.total
    };
    let asks = |ms| [("x-envoy-upstream-rq-timeout-ms", ms)];
    assert_eq!(total(route(None), &[], None), Some(ms(15_000)));
    assert_eq!(total(route(Some(ms(0))), &[], None), None);
    assert_eq!(total(route(Some(ms(70))), &[], None), Some(ms(70)));
    assert_eq!(total(route(Some(ms(70))), &asks("80"), None), Some(ms(80)));
    assert_eq!(total(route(Some(ms(70))), &asks("0"), None), None);
    assert_eq!(total(route(Some(ms(70))), &asks("x"), None), Some(ms(70)));
    assert_eq!(total(route(Some(ms(70))), &[], Some(ms(90))), Some(ms(90)));
    assert_eq!(total(route(Some(ms(70))), &[], Some(ms(0))), None);
}

#[test]
fn a_try_has_a_limit_only_below_that_of_all() {
    let times = |total, per_try: &str| {
        let route = Times::build(&TimesSpec {
            timeout: Some(ms(total)),
            ..TimesSpec::UNSET
        });
        let mut request = head(&[("x-envoy-upstream-rq-per-try-timeout-ms", per_try)]);
        let times = route.of_request(&mut request, (None, false), None);
        assert!(!request.has(Known::XEnvoyUpstreamRqPerTryTimeoutMs));
        times.per_try
    };
    assert_eq!(times(100, "99"), Some(ms(99)));
    assert_eq!(times(100, "100"), None);
    assert_eq!(times(0, "100"), Some(ms(100)));
    assert_eq!(times(100, "0"), None);
}

#[test]
fn the_upstream_is_told_what_is_left() {
    let told = |total, per_try, elapsed| {
        let times = RequestTimes {
            total,
            per_try,
            ..RequestTimes::default()
        };
        times.expected(ms(elapsed))
    };
    let says = |text: &str| Some(ms(text.parse().unwrap()));
    assert_eq!(told(Some(ms(100)), None, 0), says("100"));
    assert_eq!(told(Some(ms(100)), Some(ms(30)), 0), says("30"));
    assert_eq!(told(Some(ms(100)), Some(ms(30)), 80), says("20"));
    assert_eq!(told(Some(ms(100)), Some(ms(30)), 100), says("1"));
    assert_eq!(told(None, Some(ms(30)), 500), says("30"));
    assert_eq!(told(None, None, 0), None);
}

#[test]
fn a_grpc_request_may_set_its_timeout() {
    let route = |max, offset| {
        Times::build(&TimesSpec {
            timeout: Some(ms(70)),
            max_grpc_timeout: max,
            grpc_timeout_offset: offset,
            ..TimesSpec::UNSET
        })
    };
    let told = |times: Times, kind: &str, timeout: &str| {
        let mut request = head(&[("content-type", kind), ("grpc-timeout", timeout)]);
        let of = times.of_request(&mut request, (None, false), None);
        if let Some(expected) = of.expected(ms(0)) {
            of.tell_grpc(&mut request, expected);
        }
        (of.total, text(&request, Known::GrpcTimeout).unwrap())
    };
    let grpc = "application/grpc+proto";
    let unlimited = route(Some(ms(0)), None);
    assert_eq!(
        told(unlimited, grpc, "200m"),
        (Some(ms(200)), "200m".into())
    );
    assert_eq!(
        told(unlimited, grpc, "2S"),
        (Some(ms(2000)), "2000m".into())
    );
    assert_eq!(told(unlimited, grpc, "1500u"), (Some(ms(2)), "2m".into()));
    assert_eq!(told(unlimited, grpc, "soon"), (None, "soon".into()));
    assert_eq!(
        told(unlimited, "text/plain", "2S"),
        (Some(ms(70)), "2S".into())
    );
    let limited = route(Some(ms(1000)), Some(ms(50)));
    assert_eq!(told(limited, grpc, "200m"), (Some(ms(150)), "150m".into()));
    assert_eq!(told(limited, grpc, "50m"), (Some(ms(50)), "50m".into()));
    assert_eq!(told(limited, grpc, "9S"), (Some(ms(1000)), "1000m".into()));
    assert_eq!(
        told(route(None, None), grpc, "9S"),
        (Some(ms(70)), "9S".into())
    );
}

#[test]
fn streams_have_a_duration_by_route_manager_or_request() {
    let route = |max, grpc_max, grpc_offset| {
        Times::build(&TimesSpec {
            max_stream_duration: Some(StreamDurationSpec {
                max_stream_duration: max,
                grpc_timeout_header_max: grpc_max,
                grpc_timeout_header_offset: grpc_offset,
            }),
            ..TimesSpec::UNSET
        })
    };
    let manager = Some(ms(500));
    let plain = |times: Times| times.stream_duration(&mut head(&[]), manager);
    assert_eq!(plain(Times::of_no_route()), manager);
    assert_eq!(plain(route(None, None, None)), manager);
    assert_eq!(plain(route(Some(ms(70)), None, None)), Some(ms(70)));
    assert_eq!(plain(route(Some(ms(0)), None, None)), None);
    assert_eq!(plain(route(Some(ms(70)), Some(ms(5)), None)), Some(ms(70)));
    let told = |times: Times, fields: &[(&str, &str)]| {
        let mut request = head(fields);
        let limit = times.stream_duration(&mut request, manager);
        (limit, text(&request, Known::GrpcTimeout))
    };
    let content_type = ("content-type", "application/grpc");
    let grpc = |times: Times, asked: &str| {
        let (limit, told) = told(times, &[content_type, ("grpc-timeout", asked)]);
        (limit, told.unwrap())
    };
    let short = route(Some(ms(70)), None, None);
    let untold = (Some(ms(70)), Some("70m".into()));
    assert_eq!(told(short, &[content_type]), untold);
    assert_eq!(told(short, &[]), (Some(ms(70)), None), "it is no gRPC");
    let asked = ("grpc-timeout", "9S");
    let endless = route(Some(ms(0)), None, None);
    let as_asked = (None, Some("9S".into()));
    assert_eq!(told(endless, &[content_type, asked]), as_asked);
    let of_manager = (Some(ms(500)), Some("500m".into()));
    assert_eq!(told(route(None, None, None), &[content_type]), of_manager);
    let any = Some(ms(0));
    assert_eq!(
        grpc(route(None, any, None), "9S"),
        (Some(ms(9000)), "9000m".into())
    );
    assert_eq!(
        grpc(route(None, Some(ms(80)), None), "9S"),
        (Some(ms(80)), "80m".into())
    );
    assert_eq!(
        grpc(route(None, any, Some(ms(100))), "9S"),
        (Some(ms(8900)), "8900m".into())
    );
    assert_eq!(
        grpc(route(None, any, Some(ms(100))), "50m"),
        (Some(ms(0)), "0m".into())
    );
    assert_eq!(
        grpc(route(Some(ms(70)), None, None), "9S"),
        (Some(ms(70)), "70m".into())
    );
    for too_many in ["999999999S", "10000000000m"] {
        let as_if_none = (Some(ms(500)), "500m".into());
        assert_eq!(grpc(route(None, any, None), too_many), as_if_none);
    }
    let without = route(Some(ms(70)), None, None).of_request(&mut head(&[]), (None, false), None);
    assert_eq!(without.total, None, "it takes the place of the timeout");
}

#[test]
fn a_proxys_time_counts_before_the_clients_where_it_is_heeded() {
    let client = ("x-envoy-upstream-rq-timeout-ms", "5");
    let proxy = ("x-envoy-expected-rq-timeout-ms", "7");
    for (fields, heeds, total, stays) in [
        (&[client, proxy][..], true, 7, true),
        (&[client, proxy], false, 5, false),
        (&[client], true, 5, false),
        (&[proxy], true, 7, false),
        (
            &[client, ("x-envoy-expected-rq-timeout-ms", "soon")],
            true,
            15_000,
            true,
        ),
    ] {
        let mut request = head(fields);
        let times = Times::of_no_route().of_request(&mut request, (None, heeds), None);
        assert_eq!(times.total, Some(ms(total)), "{fields:?} {heeds}");
        assert_eq!(
            request.has(Known::XEnvoyUpstreamRqTimeoutMs),
            stays,
            "{fields:?} {heeds}"
        );
    }
}

#[test]
fn long_grpc_timeouts_change_their_unit() {
    let said = |ms| {
        let mut request = head(&[]);
        set_grpc_timeout(&mut request, Duration::from_millis(ms));
        text(&request, Known::GrpcTimeout).unwrap()
    };
    assert_eq!(said(99_999_999), "99999999m");
    assert_eq!(said(100_000_000), "100000S");
    assert_eq!(said(100_000_000_000), "1666666M");
    assert_eq!(said(1_000_000_000_000_000_000), "99999999H");
}
