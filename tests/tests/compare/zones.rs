//! Zone-aware routing: where requests stay, and what is counted. Which endpoint of a zone is chosen is left to
//! chance and not compared, nor are shares: `--test balancing` measures those.

use nuncio_tests::compare::case::{Case, Group, Step, request};

const CLUSTERS: [&str; 22] = [
    "all_stay",
    "more_here",
    "least_stay",
    "random_stay",
    "too_few",
    "too_few_well",
    "small_enough",
    "none_here",
    "one_zone",
    "one_other_zone",
    "sick_here",
    "none_well",
    "panics",
    "none_stay",
    "forced",
    "forced_older",
    "forced_enough",
    "forced_sick",
    "by_weight",
    "by_weight_random",
    "second_level",
    "weighted",
];

pub(crate) fn group() -> Group {
    let mut cases: Vec<Case> = CLUSTERS.iter().map(|cluster| asked(cluster)).collect();
    cases.extend([
        Case::admin("GET /stats?filter=lb_zone_(routing|no)", &["cluster."]),
        Case::admin("GET /stats?filter=lb_zone_cluster_too_small", &["cluster."]),
        Case::admin("GET /stats?filter=lb_healthy_panic", &["cluster."]),
    ]);
    Group::new("zones", include_str!("../../cases/zones.yaml"), cases)
}

/// Asked four times on one connection.
fn asked(cluster: &str) -> Case {
    let exchange = [
        Step::Send(request("GET", &format!("/{cluster}"), "", "")),
        Step::Receive { to_head: false },
    ];
    let steps = exchange.iter().cycle().take(8);
    Case::steps(cluster, steps.cloned().collect()).without_log()
}
