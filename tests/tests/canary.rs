//! The example `examples/canary`: who gets the new version, and that it can be changed while the proxy
//! runs.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use nuncio_tests::admin;
use nuncio_tests::client::Connection;
use nuncio_tests::process::{Binary, Proxy};

const EXAMPLE: &str = include_str!("../../examples/canary/envoy.yaml");

/// The example with ports of its own.
fn start() -> Proxy {
    let mut template = EXAMPLE.to_owned();
    for (port, name) in [
        ("9901", "admin"),
        ("10000", "listener"),
        ("9001", "stable"),
        ("9002", "canary"),
    ] {
        let from = format!("port_value: {port} ");
        assert!(template.contains(&from), "{port}");
        template = template.replace(&from, &format!("port_value: @PORT:{name}@ "));
    }
    Proxy::start(&Binary::nuncio(), &template)
}

fn set(proxy: &Proxy, split: &str, canary: u32) {
    let stable = 100 - canary;
    let query = format!("split.{split}.canary={canary}&split.{split}.stable={stable}");
    admin::modify(proxy, &query);
}

/// Whether the canary answers.
fn is_canary(connection: &mut Connection, fields: &str) -> bool {
    let request = format!("GET / HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n");
    let answer = connection.exchange(request.as_bytes()).text();
    assert!(answer == "canary\\n" || answer == "stable\\n", "{answer}");
    answer == "canary\\n"
}

/// Which of 400 users get the canary.
fn cohort(connection: &mut Connection) -> BTreeSet<u32> {
    let users = 0..400;
    users
        .filter(|user| is_canary(connection, &format!("X-User: user-{user}\r\n")))
        .collect()
}

#[test]
fn testers_get_the_canary_always_and_others_never() {
    let proxy = start();
    let mut connection = Connection::open(proxy.address("listener"));
    for (fields, canary) in [
        ("X-Canary: always\r\n", true),
        ("X-Canary: sometimes\r\n", false),
        ("Cookie: canary=always\r\n", true),
        ("Cookie: a=b; canary=always; c=d\r\n", true),
        ("Cookie: canary=never\r\n", false),
        ("Cookie: xcanary=always\r\n", false),
        ("X-User: ann\r\n", false),
        ("", false),
    ] {
        assert_eq!(is_canary(&mut connection, fields), canary, "{fields}");
    }
    let counted = ["canary.upstream_rq_200", "upstream_rq_200"];
    assert_eq!(admin::stats(&proxy, "cluster.canary.", counted), [3, 3]);
    assert_eq!(admin::stats(&proxy, "cluster.stable.", counted), [0, 5]);
}

#[test]
fn a_cohort_of_users_only_grows() {
    let proxy = start();
    let mut connection = Connection::open(proxy.address("listener"));
    let mut before = BTreeSet::new();
    for percent in [0, 5, 20, 50, 100] {
        set(&proxy, "users", percent);
        let now = cohort(&mut connection);
        assert_eq!(cohort(&mut connection), now, "users stay where they are");
        assert!(before.is_subset(&now), "nobody falls out at {percent} %");
        assert!(before.len() < now.len() || percent == 0, "{percent} %");
        before = now;
    }
    assert_eq!(before.len(), 400);
    // Back at once, and to the same users as before.
    set(&proxy, "users", 20);
    let some = cohort(&mut connection);
    set(&proxy, "users", 0);
    assert!(cohort(&mut connection).is_empty());
    set(&proxy, "users", 20);
    assert_eq!(cohort(&mut connection), some);
}

#[test]
fn a_share_of_requests_follows_the_weights() {
    const REQUESTS: u32 = 2000;
    let proxy = start();
    let mut connection = Connection::open(proxy.address("listener"));
    for percent in [0, 25, 100] {
        set(&proxy, "requests", percent);
        let mut canary = 0;
        for _ in 0..REQUESTS {
            canary += u32::from(is_canary(&mut connection, ""));
        }
        // Hoeffding's inequality: further off than 147 of 2000 with a probability below 1e-9.
        let expected = REQUESTS * percent / 100;
        let slack = if percent == 25 { 147 } else { 0 };
        assert!(
            canary.abs_diff(expected) <= slack,
            "{canary} of {REQUESTS} at {percent} %"
        );
    }
}

#[test]
fn the_script_shifts_traffic() {
    let proxy = start();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/canary/shift");
    let output = Command::new(script)
        .args(["0", "100", "0"])
        .env("ADMIN", proxy.address("admin").to_string())
        .env("FRONT", proxy.address("listener").to_string())
        .env("REQUESTS", "5")
        .output();
    let output = output.expect("bash and curl are there");
    let text = String::from_utf8_lossy(&output.stdout);
    let expected = "0 %: 0 of 5 users, 0 of 5 requests\n\
                    100 %: 5 of 5 users, 5 of 5 requests\n\
                    0 %: 0 of 5 users, 0 of 5 requests\n";
    assert_eq!(
        text,
        expected,
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
