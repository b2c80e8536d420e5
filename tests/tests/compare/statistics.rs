//! What a configuration says about statistics as a whole: which there are, what of their names is a label,
//! and where buckets end.

use nuncio_tests::compare::case::{Case, Group};

pub(crate) fn group() -> Group {
    let mut cases = vec![Case::get("a request", "/up", "")];
    cases.extend(asked(&[
        "GET /stats?filter=^(server|cluster.origin.membership|http.main.downstream_rq_[0-9]xx|http.main.downstream_cx_total)",
        "GET /stats/prometheus?filter=^cluster.origin.upstream_rq_(200|2xx|total|timeout)",
        "GET /stats/prometheus?filter=^listener.a_listener.downstream_cx_total",
        "GET /stats/prometheus?filter=^listener.a_listener.http.main.downstream_rq_",
        "GET /stats/prometheus?filter=^http.main.downstream_rq_([0-9]xx|total)",
        "GET /stats/prometheus?filter=^cluster.origin.upstream_cx_length_ms",
        "GET /stats?filter=^cluster.origin.upstream_cx_length_ms&histogram_buckets=cumulative",
    ]));
    Group::new(
        "statistics",
        include_str!("../../cases/statistics.yaml"),
        cases,
    )
}

/// Without Envoy's own labels.
pub(crate) fn few() -> Group {
    let mut cases = vec![Case::get("a request", "/up", "")];
    cases.extend(asked(&[
        "GET /stats?filter=^(cluster.origin.upstream_rq_(200|2xx|total)|cluster.origin.upstream_cx_total|http.main|server.)",
        "GET /stats/prometheus?filter=^cluster.origin.upstream_rq_(200|2xx|total)",
        "GET /stats/prometheus?filter=^http.main.downstream_(rq_2xx|cx_total)",
    ]));
    let template = include_str!("../../cases/statistics_few.yaml");
    Group::new("few statistics", template, cases)
}

fn asked(requests: &'static [&'static str]) -> impl Iterator<Item = Case> {
    requests.iter().map(|request| Case::admin(request, &[]))
}
