//! The filter `health_check`, and a proxy that is told to fail.

use nuncio_tests::compare::case::{Case, Group};
use nuncio_tests::h2_client::H2Send;
use nuncio_tests::origin::Reply;

const HEALTH: &str = include_str!("../../cases/health.yaml");

const DEGRADED: &str = "HTTP/1.1 418 x\r\nX-Envoy-Degraded: yes\r\nContent-Length: 3\r\n\r\nbad";
const BROKEN: &str = "HTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n";

const COUNTED: &[&str] = &[
    "http.ingress.downstream_rq_1xx",
    "http.ingress.downstream_rq_2xx",
    "http.ingress.downstream_rq_4xx",
    "http.ingress.downstream_rq_5xx",
    "http.ingress.downstream_rq_completed",
    "http.ingress.downstream_rq_total",
    "http.ingress.downstream_cx_drain_close",
    "http.ingress.rq_direct_response",
    "http.ingress.rq_total",
    "cluster.origin.upstream_rq_total",
    "cluster.origin.upstream_rq_completed",
    "cluster.origin.upstream_rq_200",
    "cluster.origin.upstream_rq_418",
];

pub(crate) fn group() -> Group {
    let mut cases = questions("well");
    cases.push(Case::admin("GET /stats?filter=(rq_|cx_drain)", COUNTED));
    cases.push(Case::admin("GET /healthcheck/fail", &[]));
    cases.push(Case::admin("POST /healthcheck/fail", &[]));
    cases.push(Case::admin("GET /ready", &[]));
    cases.extend(questions("failing"));
    cases.push(Case::admin("GET /stats?filter=rq_|cx_drain", COUNTED));
    for path in ["/own", "/others"] {
        let name = format!("failing, of a listener whose clients stay, {path}");
        cases.push(Case::get(&name, path, "").at("alone").without_log());
    }
    cases.push(Case::admin("POST /healthcheck/ok", &[]));
    cases.push(Case::admin("GET /ready?again", &[]));
    cases.push(Case::get("well again, a question", "/own", ""));
    cases.push(Case::get("well again, others", "/others", ""));
    cases.push(
        Case::admin(
            "GET /stats?filter=^http.(ingress|quiet|alone).(health_check|tracing.health_check)",
            &[],
        )
        .once("http.ingress.downstream_rq_active: 0"),
    );
    Group::new("health filter", HEALTH, cases)
}

fn questions(when: &str) -> Vec<Case> {
    let named = |name: &str| format!("{when}, {name}");
    let degraded = || Reply::bytes(DEGRADED);
    vec![
        Case::get(&named("answered"), "/own", ""),
        Case::request(&named("answered, HEAD"), "HEAD", "/own", "", ""),
        Case::request(
            &named("answered, a body"),
            "POST",
            "/own",
            "Content-Length: 3\r\n",
            "abc",
        ),
        Case::request(
            &named("answered, chunks and trailers"),
            "POST",
            "/own",
            "Transfer-Encoding: chunked\r\n",
            "3\r\nabc\r\n0\r\nx-a: b\r\n\r\n",
        ),
        Case::get(
            &named("answered, gRPC"),
            "/own",
            "Content-Type: application/grpc\r\n",
        ),
        Case::http2(&named("answered over HTTP/2"), H2Send::new("GET", "/own")),
        Case::get(&named("others"), "/others", ""),
        Case::get(&named("others, answered here"), "/direct", ""),
        Case::http2(&named("others over HTTP/2"), H2Send::new("GET", "/others")),
        Case::get(&named("passed through"), "/passed", ""),
        Case::get(&named("passed through, an error"), "/passed", "").reply(degraded()),
        Case::get(&named("to be remembered"), "/cached", ""),
        Case::get(&named("remembered"), "/cached", "").reply(Reply::bytes(BROKEN)),
        Case::get(&named("an error to be remembered"), "/degraded", "").reply(degraded()),
        Case::get(&named("an error remembered"), "/degraded", "").any_order(),
        Case::get(&named("enough of a cluster"), "/half", ""),
        Case::get(&named("not enough of a cluster"), "/more", ""),
        Case::get(&named("an empty cluster"), "/empty", ""),
        Case::get(&named("none of an empty cluster"), "/none", ""),
        Case::get(&named("no such cluster"), "/absent", ""),
        Case::get(&named("not logged"), "/own", "").at("quiet"),
        Case::get(&named("passed through, not logged"), "/passed", "").at("quiet"),
        Case::get(&named("others, logged"), "/others", "").at("quiet"),
    ]
}
