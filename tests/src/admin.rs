//! What a proxy's admin interface says.
//!
//! Called by the suites. The interface is `@PORT:admin@` of the configuration.

use crate::client::{self, Connection};
use crate::process::Proxy;

/// The text of a page.
#[must_use]
pub fn page(proxy: &Proxy, path: &str) -> String {
    let page = client::get(proxy.address("admin"), path);
    assert_eq!(page.status(), 200, "{path}: {}", page.text());
    String::from_utf8(page.body).expect("pages are text")
}

/// The value of a counter or gauge; 0 for one that is not there.
#[must_use]
pub fn stat(proxy: &Proxy, name: &str) -> u64 {
    let text = page(proxy, &format!("/stats?filter={name}"));
    let mut lines = text.lines().filter_map(|line| line.split_once(": "));
    let value = lines.find(|(found, _)| *found == name);
    value.map_or(0, |(_, value)| value.parse().expect("a counter or a gauge"))
}

/// Sets runtime values; an empty one is taken out.
pub fn modify(proxy: &Proxy, changes: &str) {
    let path = format!("/runtime_modify?{changes}");
    let request = format!("POST {path} HTTP/1.1\r\nHost: admin\r\nContent-Length: 0\r\n\r\n");
    let answer = Connection::open(proxy.address("admin")).exchange(request.as_bytes());
    assert_eq!(
        (answer.status(), answer.body.as_slice()),
        (200, &b"OK\n"[..])
    );
}

/// Several of them, whose names begin with `prefix`.
#[must_use]
pub fn stats<const N: usize>(proxy: &Proxy, prefix: &str, names: [&str; N]) -> [u64; N] {
    names.map(|name| stat(proxy, &format!("{prefix}{name}")))
}
