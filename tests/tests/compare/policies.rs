//! Policies that have others in them, alternatives among subsets, and requests that are dropped. Endpoints
//! answer with their names; the one that is chosen where nobody asks for another is always `a`.

use nuncio_tests::compare::case::{Case, Group};

pub(crate) fn group() -> Group {
    let mut cases = named();
    cases.extend(subsets());
    cases.extend(dropped());
    Group::new("policies", include_str!("../../cases/policies.yaml"), cases)
}

fn named() -> Vec<Case> {
    let case = |name: &str, path: &str, field: &str, to: &str| {
        Case::get(name, path, &format!("{field}: {to}\r\n"))
    };
    let to = |name: &str, to: &str| case(name, "/named", "x-to", to);
    let again = |name: &str, to: &str| case(name, "/named_again", "x-to", to);
    let (a, b, c) = (
        "127.0.0.1:@PORT:a@",
        "127.0.0.1:@PORT:b@",
        "127.0.0.1:@PORT:sick@",
    );
    let nobody = "127.0.0.1:@PORT:nobody@";
    vec![
        Case::get("nobody named", "/named", ""),
        to("one named", b),
        to("one named that is not well", c),
        to("one named that is not there", "127.0.0.1:1"),
        to("words", "what is this"),
        to("empty", ""),
        to("two named", &format!("{b},{a}")),
        to(
            "two named, the first not there",
            &format!("127.0.0.1:1,{b}"),
        ),
        to("with blanks and holes", &format!(" , ,{b} , {a}")),
        to("quoted", &format!("\"{b}\"")),
        Case::get(
            "in two lines",
            "/named",
            &format!("x-to: 127.0.0.1:1\r\nx-to: {b}\r\n"),
        ),
        case("by the second source", "/named", "x-kept", b),
        Case::get(
            "by both sources",
            "/named",
            &format!("x-kept: {b}\r\nx-to: {c}\r\n"),
        ),
        case(
            "the next one for the next attempt",
            "/named_again",
            "x-to",
            &format!("{nobody},{b}"),
        ),
        again(
            "over those that are not there",
            &format!("{nobody},127.0.0.1:1,{b}"),
        ),
        again("nobody for the next attempt", nobody),
        case(
            "with subsets inside",
            "/named_subset",
            "x-to",
            "127.0.0.1:1",
        ),
        case("rather than a subset", "/named_subset", "x-to", c),
        case("with another one inside", "/named_twice", "x-to", b),
        case("of another one inside", "/named_twice", "x-inner", b),
    ]
}

fn subsets() -> Vec<Case> {
    [
        "/subset_two",
        "/subset_nine",
        "/subset_more_keys",
        "/subset_no_more_keys",
        "/subset_hashed",
        "/subset_none",
        "/subset_empty",
        "/subset_empty_any",
        "/list_second",
        "/list_both",
        "/list_nothing",
        "/list_no_list",
        "/list_others",
        "/list_untaken",
        "/list_fallback",
    ]
    .iter()
    .map(|path| Case::get(path, path, ""))
    .chain([Case::admin(
        "GET /stats?filter=lb_subsets_(selected|fallback)",
        &["cluster."],
    )])
    .collect()
}

fn dropped() -> Vec<Case> {
    vec![
        Case::get("all dropped", "/drop_all", ""),
        Case::get("nearly all dropped", "/drop_most", ""),
        Case::get("none dropped", "/drop_none", ""),
        Case::get("none dropped, unsaid", "/drop_unsaid", ""),
        Case::get("all dropped of names", "/drop_names", ""),
        Case::get("dropped, not tried again", "/drop_again", ""),
        Case::get("out for maintenance as well", "/drop_maintained", ""),
        Case::request("dropped with a body", "POST", "/drop_all", "", "content"),
        Case::get(
            "dropped, gRPC",
            "/drop_all",
            "content-type: application/grpc\r\n",
        ),
        Case::get("dropped without further words", "/drop_all", "").at("quiet"),
        Case::get("nearly all dropped without further words", "/drop_most", "").at("quiet"),
        Case::admin(
            "GET /stats?filter=cluster.drop_(all|most|none|names|maintained).upstream_rq_(503|completed|total|maint)",
            &["cluster."],
        ),
    ]
}
