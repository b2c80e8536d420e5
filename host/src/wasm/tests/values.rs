//! What streams hold up together, and runtime values, as a guest that follows a script sees them.

use super::super::SlotState;
use super::super::slot::Isolation;
use super::contract::{answers, configuration, run};
use super::*;
use crate::values::{Layer, LayerSpec, Values};

#[test]
fn a_gauge_is_held_up_by_streams_and_let_go_of_by_the_host() {
    for isolation in [Isolation::Shared, Isolation::Exclusive] {
        let services = services();
        let hook = "on-request-headers hold test.held 2";
        let lines = [
            "wants on-request-headers on-log",
            hook,
            hook,
            "on-log hold test.held 9",
        ];
        let slot = build(&services, "script", &configuration(&lines), |spec| {
            spec.isolation = isolation;
        });
        let slot = slot.unwrap();
        let worker = worker();
        let level = || services.registry.gauge("test.held").get();
        let mut streams: Vec<_> = (0..3)
            .map(|_| (SlotState::default(), stream("/", &[])))
            .collect();
        for (state, exchange) in &mut streams {
            worker.on_request_headers(&slot, state, exchange, true);
        }
        let answered = streams
            .iter()
            .map(|(_, exchange)| answers(exchange, "on-request-headers"));
        let answered: Vec<_> = answered.collect();
        assert_eq!(answered, [["true"; 2], ["true"; 2], ["false"; 2]]);
        assert_eq!(level(), 2);
        for (state, exchange) in &mut streams {
            worker.on_log(&slot, state, exchange);
            worker.on_done(&slot, state);
        }
        assert_eq!(level(), 0, "{isolation:?}");
        let read = services.registry.read();
        assert!(read["test.held"].reading.is_used());
    }
}

#[test]
fn runtime_values_are_seen_as_they_are_now() {
    let mut services = services();
    let lines = ["wants on-log", "on-log runtime a", "on-log runtime b"];
    let look = |services: &Services| {
        let slot = build(services, "script", &configuration(&lines), |_| {}).unwrap();
        answers(&run(&slot, stream("/", &[])), "on-log")
    };
    assert_eq!(look(&services), ["false None None"; 2]);
    let admin = LayerSpec {
        name: "admin".to_owned(),
        layer: Layer::Admin,
    };
    services.values = Arc::new(Values::new(vec![admin]));
    let set = |key: &str, value: &str| {
        let change = (key.to_owned(), value.to_owned());
        services.values.modify(&[change]).unwrap();
    };
    assert_eq!(look(&services), ["true None None"; 2]);
    set("a", "7");
    set("b", "{numerator: 1, denominator: MILLION}");
    let expected = [
        "true Some(7) Some((7, 100))",
        "true None Some((1, 1000000))",
    ];
    assert_eq!(look(&services), expected);
}
