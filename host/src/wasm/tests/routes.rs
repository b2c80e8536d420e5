//! Configurations of routes, with a guest that shows which one its hooks are called with.

use super::super::{
    Error, Isolation, Outcome, Phases, RouteConfig, SlotBuilder, SlotState, WasmStats,
};
use super::*;
use crate::observe::stats::Sharded;
use crate::variant::Variant;

fn started(configuration: &str, change: impl FnOnce(&mut SlotSpec)) -> SlotBuilder {
    let mut spec = SlotSpec::new("routes", format!("\"{configuration}\""));
    change(&mut spec);
    FilterSlot::start(engine(), &component("routes"), spec, &services()).unwrap()
}

/// What is written at places with these numbers.
fn levels(written: &[(u32, &str)]) -> Vec<RouteConfig> {
    let levels = written.iter();
    levels
        .map(|(id, text)| RouteConfig {
            id: *id,
            document: format!("\"{text}\"").into(),
        })
        .collect()
}

fn shown(exchange: &Exchange, hook: &str) -> Option<String> {
    let value = exchange.metadata.get("routes", hook)?;
    Some(String::from_utf8(value.to_vec()).unwrap())
}

/// How many instances there have been, on the worker and while the filter was built.
fn created(stats: &Sharded<WasmStats>) -> u64 {
    stats.shard(0).created.get() + stats.shard(1).created.get()
}

/// Calls the hooks that the filter wants of one stream.
fn run(worker: &Instances, slot: &FilterSlot, state: &mut SlotState) -> (Box<Exchange>, Outcome) {
    let mut exchange = stream("/", &[]);
    let mut last = Outcome::Next;
    if state.interest(slot).wants.contains(Phases::REQUEST_HEADERS) {
        last = worker.on_request_headers(slot, state, &mut exchange, true);
    }
    if state
        .interest(slot)
        .wants
        .contains(Phases::RESPONSE_HEADERS)
    {
        last = worker.on_response_headers(slot, state, &mut exchange, true);
    }
    if state.interest(slot).wants.contains(Phases::LOG) {
        worker.on_log(slot, state, &mut exchange);
    }
    worker.on_done(slot, state);
    (exchange, last)
}

#[test]
fn each_configuration_wants_its_own_hooks() {
    let mut builder = started("request", |_| {});
    let host = builder.for_route(levels(&[(7, "response log")])).unwrap();
    let route = builder
        .for_route(levels(&[(7, "response log"), (9, "log")]))
        .unwrap();
    let slot = builder.finish();
    let worker = worker();
    for (variant, expected) in [
        (Variant::BASE, [Some("request state 0"), None, None]),
        (
            host,
            [
                None,
                Some("request | 7: response log state 0"),
                Some("request | 7: response log state 1"),
            ],
        ),
        (
            route,
            [
                None,
                None,
                Some("request | 7: response log | 9: log state 0"),
            ],
        ),
        (route.off(), [None; 3]),
        (Variant::BASE.off(), [None; 3]),
    ] {
        let mut state = SlotState::default();
        state.set_variant(variant);
        let (exchange, _) = run(&worker, &slot, &mut state);
        let found = ["request", "response", "log"].map(|hook| shown(&exchange, hook));
        assert_eq!(
            found.each_ref().map(Option::as_deref),
            expected,
            "{variant:?}"
        );
    }
    assert_eq!(created(slot.stats()), 2, "no instance but the first two");
}

#[test]
fn a_stream_keeps_its_state_when_its_route_changes() {
    let mut builder = started("request response", |_| {});
    let variant = builder.for_route(levels(&[(1, "response")])).unwrap();
    let slot = builder.finish();
    let (worker, mut state, mut exchange) = (worker(), SlotState::default(), stream("/", &[]));
    worker.on_request_headers(&slot, &mut state, &mut exchange, true);
    state.set_variant(state.variant().followed_by(variant));
    worker.on_response_headers(&slot, &mut state, &mut exchange, true);
    let expected = "request response | 1: response state 1";
    assert_eq!(shown(&exchange, "response").as_deref(), Some(expected));
}

#[test]
fn a_configuration_that_is_refused_says_why() {
    let mut builder = started("request", |_| {});
    let refused = builder.for_route(levels(&[(1, "refuse")])).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "configure filter \"routes\": not this one"
    );
    // The instance that said so is used on.
    assert!(builder.for_route(levels(&[(1, "request")])).is_ok());
    assert_eq!(created(builder.stats()), 1);
}

#[test]
fn a_trap_in_a_configuration_of_a_route_costs_the_instance_alone() {
    let mut builder = started("request", |_| {});
    let failed = builder.for_route(levels(&[(1, "panic")])).unwrap_err();
    assert!(matches!(failed, Error::Start { .. }), "{failed}");
    assert!(builder.for_route(levels(&[(1, "request")])).is_ok());
    assert_eq!(created(builder.stats()), 2);
}

#[test]
fn a_later_instance_that_refuses_fails_the_streams_of_these_routes() {
    for isolation in [Isolation::Shared, Isolation::Exclusive, Isolation::Fresh] {
        let mut builder = started("request", |spec| spec.isolation = isolation);
        let variant = builder.for_route(levels(&[(1, "request once")])).unwrap();
        let slot = builder.finish();
        let worker = worker();
        let mut state = SlotState::default();
        state.set_variant(variant);
        let ((_, outcome), lines) = logged(|| run(&worker, &slot, &mut state));
        assert!(
            matches!(outcome, Outcome::Failed(_)),
            "{isolation:?}: {outcome:?}"
        );
        assert!(
            lines.iter().any(|line| line.contains("not twice")),
            "{lines:?}"
        );
        // Other routes are as well as before.
        let (exchange, outcome) = run(&worker, &slot, &mut SlotState::default());
        assert!(
            matches!(outcome, Outcome::Next),
            "{isolation:?}: {outcome:?}"
        );
        assert_eq!(
            shown(&exchange, "request").as_deref(),
            Some("request state 0")
        );
    }
}

#[test]
fn what_the_first_instance_wants_counts_for_routes_too() {
    let mut builder = started("request", |_| {});
    let variant = builder.for_route(levels(&[(1, "differ")])).unwrap();
    let slot = builder.finish();
    let wants = slot.interest(variant).wants;
    assert!(wants.contains(Phases::RESPONSE_HEADERS) && !wants.contains(Phases::REQUEST_HEADERS));
    let worker = worker();
    let mut state = SlotState::default();
    state.set_variant(variant);
    let ((exchange, _), lines) = logged(|| run(&worker, &slot, &mut state));
    assert!(shown(&exchange, "response").is_some());
    assert!(
        lines
            .iter()
            .any(|line| line.contains("answered differently")),
        "{lines:?}"
    );
}

#[test]
fn a_filter_that_takes_nothing_for_routes_says_so() {
    let spec = SlotSpec::new("headers", "");
    let mut builder =
        FilterSlot::start(engine(), &component("headers"), spec, &services()).unwrap();
    let refused = builder.for_route(levels(&[(1, "x")])).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "configure filter \"headers\": nothing for routes"
    );
}
