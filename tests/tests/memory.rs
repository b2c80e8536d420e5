//! What large tables take: resident memory of a proxy with many routes, against one with few.

use nuncio_tests::admin;
use nuncio_tests::process::{Binary, Proxy, Setup};

const SIMPLE: &str = include_str!("../fixtures/simple.yaml");
const ROUTES: u64 = 10_000;
/// Bytes that a plain route may take, all that is kept for it included.
const PER_ROUTE: u64 = 3 * 1024;

/// Resident memory with so many routes, and what the last of them answers.
fn resident(routes: u64) -> u64 {
    let lines: String = (0..routes)
        .map(|n| {
            format!(
                "              - match: {{ prefix: /api/v{}/service-{}/resource-{n}/ }}\n                route: {{ cluster: origin }}\n",
                n % 3,
                n % 97
            )
        })
        .collect();
    let template = SIMPLE.replace(
        "              routes:\n",
        &format!("              routes:\n{lines}"),
    );
    let setup = Setup::for_template(&template);
    let proxy = Proxy::start_with(&Binary::nuncio(), &template, setup);
    admin::stat(&proxy, "server.memory_allocated")
}

#[test]
fn a_route_takes_little_memory() {
    let (few, many) = (resident(10), resident(ROUTES));
    let each = many.saturating_sub(few) / ROUTES;
    println!("{few} bytes with few routes, {many} with many: {each} for each");
    assert!(each <= PER_ROUTE, "{each} bytes for each route");
}
