//! Runtime values that filters go by: faults, limits, and policies that are switched while the proxy runs.

use nuncio_tests::compare::case::{Case, Group, Step};

const SHOP: &str = "x-envoy-downstream-service-cluster: shop\r\n";

pub(crate) fn group() -> Group {
    let mut cases = faults();
    cases.extend(limits());
    cases.extend(policies());
    cases.extend(gates());
    Group::new(
        "filter values",
        include_str!("../../cases/filter_values.yaml"),
        cases,
    )
}

/// Changes a value.
fn set(change: &'static str) -> Case {
    Case::admin(change, &[])
}

fn faults() -> Vec<Case> {
    let asked = |name: &str| Case::get(name, "/x", "").at("faults");
    let of_shop = |name: &str| Case::get(name, "/x", SHOP).at("faults");
    let counted = &["http.faults.fault."];
    vec![
        asked("no fault"),
        set("POST /runtime_modify?fault.http.abort.abort_percent=100"),
        asked("aborted"),
        of_shop("a service has a value of its own, which is not there"),
        set("POST /runtime_modify?mine.status=429"),
        asked("with another status"),
        set("POST /runtime_modify?fault.http.shop.abort.abort_percent=100"),
        of_shop("aborted for a service"),
        set("POST /runtime_modify?fault.http.shop.abort.http_status=404"),
        of_shop("with its own status"),
        set("POST /runtime_modify?fault.http.abort.abort_percent="),
        asked("no fault again"),
        set("POST /runtime_modify?fault.http.delay.fixed_delay_percent=100"),
        asked("held up"),
        set("POST /runtime_modify?fault.http.delay.fixed_duration_ms=1"),
        asked("held up for a moment"),
        set("POST /runtime_modify?fault.http.delay.fixed_duration_ms=0"),
        asked("held up for no time"),
        set("POST /runtime_modify?fault.http.delay.fixed_duration_ms="),
        set("POST /runtime_modify?fault.http.max_active_faults=0"),
        asked("none may have a fault"),
        set("POST /runtime_modify?fault.http.max_active_faults=1"),
        set("POST /runtime_modify?fault.http.abort.abort_percent=100&more"),
        asked("held up and aborted is one fault"),
        set("POST /runtime_modify?fault.http.max_active_faults=9"),
        set("POST /runtime_modify?fault.http.abort.abort_percent=0"),
        set("POST /runtime_modify?fault.http.delay.fixed_delay_percent=0"),
        set("POST /runtime_modify?fault.http.rate_limit.response_percent=100"),
        asked("slow"),
        of_shop("slow, of a service"),
        set("POST /runtime_modify?fault.http.rate_limit.response_percent=0"),
        of_shop("slow no more"),
        Case::admin("GET /stats?filter=^http.faults.fault", counted)
            .once("http.faults.fault.active_faults: 0"),
    ]
}

fn limits() -> Vec<Case> {
    let asked = |name: &str| Case::get(name, "/x", "").at("limited");
    vec![
        asked("limit: off"),
        asked("limit: off, again"),
        set("POST /runtime_modify?limit.enabled=100"),
        asked("limit: within"),
        asked("limit: beyond"),
        set("POST /runtime_modify?limit.enforced=0"),
        asked("limit: not enforced"),
        Case::admin("GET /stats?filter=http_local_rate_limit", &[]),
    ]
}

fn policies() -> Vec<Case> {
    let foreign = "Origin: http://elsewhere.example\r\nContent-Length: 0\r\n";
    let post = |name: &str| Case::request(name, "POST", "/x", foreign, "").at("forged");
    vec![
        post("csrf: off"),
        set("POST /runtime_modify?csrf.enabled=100"),
        post("csrf: on"),
        set("POST /runtime_modify?csrf.enabled=0"),
        post("csrf: off again"),
    ]
}

fn gates() -> Vec<Case> {
    let asked = |name: &str, at| {
        Case::steps(name, vec![Step::ReceiveToEnd])
            .without_log()
            .at(at)
    };
    vec![
        asked("connections: off", "gate"),
        asked("connections: off, again", "gate"),
        set("POST /runtime_modify?gate.on=yes"),
        asked("connections: within", "gate"),
        asked("connections: beyond", "gate"),
        set("POST /runtime_modify?gate.on=0"),
        asked("connections: off at last", "gate"),
        Case::admin("GET /stats?filter=^local_rate_limit", &[]),
    ]
}
