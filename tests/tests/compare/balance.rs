//! Which endpoint a request goes to: priorities, health, panics, localities, consistent hashing,
//! subsets and outlier detection. Endpoints answer with their names. Each has its path.

use nuncio_tests::compare::case::{Case, Group, Step, request};
use nuncio_tests::h2_client::H2Send;

/// Clusters, and routes that ask for subsets, in which the choice does not depend on chance.
const CERTAIN: [&str; 64] = [
    "first_level",
    "second_level",
    "third_level",
    "level_gap",
    "draining",
    "timed_out",
    "degraded_alone",
    "degraded_spare",
    "degraded_or_level",
    "overprovisioned",
    "by_weight",
    "panic",
    "no_panic",
    "no_panic_levels",
    "fail_on_panic",
    "threshold",
    "rounded_threshold",
    "empty_level",
    "localities",
    "sick_locality",
    "ring_one",
    "ring_second_level",
    "ring_panic",
    "ring_no_panic",
    "ring_degraded",
    "ring_degraded_sick",
    "ring_degraded_sick_calm",
    "ring_degraded_level",
    "maglev_degraded",
    "maglev_degraded_sick",
    "maglev_degraded_sick_calm",
    "maglev_degraded_level",
    "maglev_one",
    "maglev_zones",
    "maglev_small",
    "subset_nobody",
    "subset_default",
    "subset_default_two",
    "subset_default_lost",
    "subset_panic",
    "subset_any",
    "subset_list",
    "subset_list_whole",
    "subset_sick",
    "subset_numbers",
    "typed_round_robin",
    "typed_fail_on_panic",
    "typed_localities",
    "typed_least",
    "typed_ring",
    "typed_maglev",
    "wants_one",
    "wants_two",
    "wants_number",
    "wants_nine",
    "wants_prod",
    "wants_no_stage",
    "wants_both",
    "wants_fewer",
    "wants_fewer_of_none",
    "wants_other",
    "wants_nothing",
    "wants_merged",
    "wants_overridden",
];

/// Clusters with outlier detection, whose endpoint is asked so often in a row.
const FAILING: [(&str, usize); 8] = [
    ("bad_answers", 3),
    ("bad_gateway", 2),
    ("not_enforced", 3),
    ("too_many_out", 3),
    ("always_one", 2),
    ("cannot_connect", 2),
    ("cannot_connect_split", 2),
    ("bad_then_level", 2),
];

pub(crate) fn group() -> Group {
    let mut cases: Vec<Case> = CERTAIN
        .iter()
        .map(|cluster| asked(cluster, cluster, 2))
        .collect();
    cases.extend(
        FAILING
            .iter()
            .map(|(cluster, times)| asked(cluster, cluster, *times)),
    );
    cases.extend(placed());
    cases.extend(named());
    cases.extend(made());
    cases.extend([
        Case::admin(
            "GET /stats?filter=(lb_healthy_panic|membership_|lb_subsets_(selected|fallback)|none_healthy)",
            &["cluster."],
        ),
        Case::admin("GET /stats?filter=(ring_hash_lb|maglev_lb)", &["cluster."]),
        Case::admin(
            "GET /stats?filter=outlier_detection.ejections_(active|consecutive|enforced|overflow|total)",
            &["cluster."],
        ),
        Case::admin(
            "GET /stats?filter=outlier_detection.ejections_detected_(cons|fail|local|succ)",
            &["cluster."],
        ),
        Case::admin("GET /clusters", OUTLIERS),
        // By now everybody knows that the first level is out.
        asked("bad_then_level, ejected", "bad_then_level", 2),
        asked("bad_answers, ejected", "bad_answers", 1),
    ]);
    Group::new("balance", include_str!("../../cases/balance.yaml"), cases)
}

/// What `/clusters` says about averages, and in which place.
const OUTLIERS: &[&str] = &["bad_answers::outlier", "bad_answers::default_priority"];

/// Asked so often, one request after the other on one connection.
fn asked(name: &str, cluster: &str, times: usize) -> Case {
    let path = format!("/{cluster}");
    let exchange = [
        Step::Send(request("GET", &path, "", "")),
        Step::Receive { to_head: false },
    ];
    let steps = exchange.iter().cycle().take(2 * times);
    Case::steps(name, steps.cloned().collect())
}

/// Requests that name their endpoint, and what filters are told of the one that was chosen.
fn named() -> Vec<Case> {
    let to = |name: &str, path: &str, ports: &[&str]| {
        let named: Vec<_> = ports
            .iter()
            .map(|port| format!("127.0.0.1:{port}"))
            .collect();
        let line = format!("x-to: {}\r\n", named.join(","));
        Case::get(name, path, &line)
    };
    let (b, nobody) = ("@PORT:b@", "@PORT:nobody@");
    vec![
        Case::get("chosen by the policy", "/chosen", ""),
        to("chosen by name", "/chosen", &[b]),
        to("chosen by the second name", "/chosen", &["1", b]),
        to("chosen by none of the names", "/chosen", &["1", "2"]),
        to("chosen and not there", "/chosen", &[nobody, b]),
        to(
            "chosen, not there, and chosen again",
            "/chosen_again",
            &[nobody, b],
        ),
        to(
            "chosen, not there, and nobody else",
            "/chosen_again",
            &[nobody],
        ),
        to("chosen of nobody", "/chosen_nowhere", &[b]),
    ]
}

/// Cookies that are made for clients that have none, where a policy hashes by them.
fn made() -> Vec<Case> {
    let mut cases = Vec::new();
    for path in [
        "/made",
        "/made_for_now",
        "/made_twice",
        "/made_unless",
        "/not_made",
        "/made_for_nobody",
    ] {
        for line in [
            "",
            "Cookie: made=1\r\n",
            "Cookie: made=\r\n",
            "X-Key: 1\r\n",
        ] {
            cases.push(Case::get(&format!("{path} with {line:?}"), path, line));
        }
    }
    let get = H2Send::new("GET", "/made").base("http://a.example");
    cases.push(Case::http2("/made over HTTP/2", get));
    cases
}

/// Where requests with these keys go, in clusters that hash.
fn placed() -> Vec<Case> {
    let clusters = [
        "ring_keys",
        "ring_weights",
        "ring_murmur",
        "maglev_keys",
        "maglev_weights",
        "ring_degraded_panic",
        "ring_degraded_some",
        "ring_degraded_next",
        "maglev_degraded_panic",
        "maglev_degraded_some",
        "maglev_degraded_next",
    ];
    let of_cluster = |cluster: &str| {
        let cases = (0..6).map(|user| {
            let name = format!("{cluster} user-{user}");
            Case::get(
                &name,
                &format!("/{cluster}"),
                &format!("x-key: user-{user}\r\n"),
            )
        });
        cases.collect::<Vec<_>>()
    };
    clusters.into_iter().flat_map(of_cluster).collect()
}
