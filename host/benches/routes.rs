//! What a lookup in a routing table costs as the table grows, and what building it costs.
//!
//! Run with `cargo bench --bench routes`. It prints, and asserts nothing: the machine decides. A
//! lookup is `Table::find` with heads that hit routes all over the table.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints its result and may fail"
)]
#![expect(clippy::disallowed_methods, reason = "a bench measures the real time")]

use std::hint::black_box;
use std::time::Instant;

use nuncio::exchange::Metadata;
use nuncio::headers::{Headers, Known, Name};
use nuncio::route::spec::{
    ActionSpec, DirectSpec, HeaderMatchSpec, HeaderTestSpec, MatchSpec, MutationSpec, PathSpec,
    RouteSpec, StringMatchSpec, StringPatternSpec, TableSpec, VirtualHostSpec,
};
use nuncio::route::{Facts, Table};

const SIZES: [usize; 4] = [10, 1_000, 10_000, 100_000];
/// Heads that a measurement goes through, over and over.
const HEADS: usize = 512;

/// What the routes or virtual hosts of a table look like, by their number.
type Shape = fn(usize) -> TableSpec;
/// A head that takes one of them.
type Request = fn(usize) -> Headers;

fn main() {
    let shapes: [(&str, Shape, Request); 8] = [
        ("prefixes", prefixes, |n| head("h", &path(n), &[])),
        ("exact paths", exact, |n| head("h", &path(n), &[])),
        ("separated, ignoring case", folded, |n| {
            head("h", &format!("{}/more", path(n).to_uppercase()), &[])
        }),
        ("mixed, with headers", with_headers, |n| {
            head("h", &path(n), &[("x-version", "2")])
        }),
        ("one in ten a regex", some_regexes, |n| {
            head("h", &format!("{}/123", path(n)), &[])
        }),
        ("URI templates", templates, |n| {
            head("h", &format!("{}/7/end", path(n)), &[])
        }),
        ("exact domains", exact_domains, |n| {
            head(&format!("shop-{n}.example.com"), "/", &[])
        }),
        ("wildcard domains", wildcard_domains, |n| {
            head(&format!("www.shop-{n}.example.com"), "/", &[])
        }),
    ];
    println!(
        "{:26}{:>9}{:>12}{:>10}{:>8}",
        "", "size", "build", "lookup", "× 10"
    );
    for (name, shape, request) in shapes {
        let mut smallest = None;
        for size in SIZES {
            let spec = shape(size);
            let start = Instant::now();
            let table = Table::new(&spec, &|_| None).unwrap();
            let built = start.elapsed();
            let heads: Vec<Headers> = (0..HEADS).map(|at| request(at * 7_919 % size)).collect();
            let lookup = measure(&table, &heads);
            let first = *smallest.get_or_insert(lookup);
            println!(
                "{name:26}{size:>9}{:>9} ms{lookup:>7.0} ns{:>8.1}",
                built.as_millis(),
                lookup / first,
            );
        }
    }
}

/// Nanoseconds of a lookup: the best of some rounds.
fn measure(table: &Table, heads: &[Headers]) -> f64 {
    let metadata = Metadata::default();
    let round = || {
        let start = Instant::now();
        for head in heads {
            let facts = Facts {
                request: black_box(head),
                random: 0,
                tls: None,
                metadata: &metadata,
            };
            assert!(
                black_box(table.find(&facts)).is_some(),
                "{head:?} has no route"
            );
        }
        start.elapsed().as_nanos() as f64 / heads.len() as f64
    };
    (0..200).map(|_| round()).fold(f64::INFINITY, f64::min)
}

fn head(host: &str, path: &str, fields: &[(&str, &str)]) -> Headers {
    let mut head = Headers::new();
    head.append_known(Known::Method, b"GET");
    head.append_known(Known::Scheme, b"http");
    head.append_known(Known::Authority, host.as_bytes());
    head.append_known(Known::Path, path.as_bytes());
    head.append_known(Known::UserAgent, b"bench");
    for (name, value) in fields {
        head.append(&Name::parse(name.as_bytes()).unwrap(), value.as_bytes());
    }
    head
}

/// As services and their resources are called.
fn path(number: usize) -> String {
    format!(
        "/api/v{}/service-{}/resource-{number}",
        number % 3,
        number % 97
    )
}

fn route(matches: MatchSpec) -> RouteSpec {
    RouteSpec {
        name: String::new(),
        matches,
        action: ActionSpec::Direct(DirectSpec {
            status: 200,
            body: bytes::Bytes::new(),
            body_format: None,
        }),
        request_headers: MutationSpec::default(),
        response_headers: MutationSpec::default(),
        variants: None,
        metadata: None,
        stats: None,
    }
}

/// A table with one virtual host, whose last route takes everything.
fn one_host(routes: impl Iterator<Item = MatchSpec>) -> TableSpec {
    let last = MatchSpec::path(PathSpec::Prefix("/".to_owned()));
    table(vec![VirtualHostSpec {
        name: "all".to_owned(),
        domains: vec!["*".to_owned()],
        routes: routes.chain([last]).map(route).collect(),
        ..VirtualHostSpec::default()
    }])
}

fn table(virtual_hosts: Vec<VirtualHostSpec>) -> TableSpec {
    TableSpec {
        virtual_hosts,
        ..TableSpec::default()
    }
}

fn prefixes(size: usize) -> TableSpec {
    one_host((0..size).map(|n| MatchSpec::path(PathSpec::Prefix(path(n)))))
}

fn exact(size: usize) -> TableSpec {
    one_host((0..size).map(|n| MatchSpec::path(PathSpec::Path(path(n)))))
}

fn folded(size: usize) -> TableSpec {
    one_host((0..size).map(|n| MatchSpec {
        case_sensitive: false,
        ..MatchSpec::path(PathSpec::PathSeparatedPrefix(path(n)))
    }))
}

/// Each path three times: for two versions of a header, and for none.
fn with_headers(size: usize) -> TableSpec {
    let version = |wanted: usize| HeaderMatchSpec {
        name: "x-version".to_owned(),
        test: HeaderTestSpec::String(StringMatchSpec {
            pattern: StringPatternSpec::Exact(wanted.to_string()),
            ignore_case: false,
        }),
        invert_match: false,
        treat_missing_header_as_empty: false,
    };
    one_host((0..size).map(move |n| {
        let path = path(n - n % 3);
        let spec = if n % 2 == 0 {
            PathSpec::Path(path)
        } else {
            PathSpec::Prefix(path)
        };
        MatchSpec {
            headers: [1, 2]
                .get(n % 3)
                .map(|wanted| version(*wanted))
                .into_iter()
                .collect(),
            ..MatchSpec::path(spec)
        }
    }))
}

/// Half of the regular expressions have a beginning of their own, half share one with others.
fn some_regexes(size: usize) -> TableSpec {
    one_host((0..size).map(|n| {
        MatchSpec::path(match n % 20 {
            0 => PathSpec::SafeRegex(format!("{}/[0-9]+", path(n))),
            10 => PathSpec::SafeRegex(format!("/api/[^/]+/service-[0-9]+/resource-{n}(/.*)?")),
            _ => PathSpec::Prefix(path(n)),
        })
    }))
}

fn templates(size: usize) -> TableSpec {
    one_host(
        (0..size).map(|n| MatchSpec::path(PathSpec::Template(format!("{}/{{id}}/end", path(n))))),
    )
}

/// Virtual hosts with one domain each.
fn hosts(size: usize, domain: fn(usize) -> String) -> TableSpec {
    let hosts = (0..size).map(|n| VirtualHostSpec {
        name: n.to_string(),
        domains: vec![domain(n)],
        routes: vec![route(MatchSpec::path(PathSpec::Prefix("/".to_owned())))],
        ..VirtualHostSpec::default()
    });
    table(hosts.collect())
}

fn exact_domains(size: usize) -> TableSpec {
    hosts(size, |n| format!("shop-{n}.example.com"))
}

fn wildcard_domains(size: usize) -> TableSpec {
    hosts(size, |n| format!("*.shop-{n}.example.com"))
}
