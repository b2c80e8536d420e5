//! Routing tables from any text: they are built or refused, and a lookup finds what a walk finds.
//!
//! A text is a line for each virtual host (`d` and its domain) and for each of its routes, a letter
//! and what the path is: `p`refix, `e`xact, `s`eparated prefix, `r`egex, URI `t`emplate, `c`onnect; in
//! upper case without regard to case. To the route before `h name value` adds a header, `x` a rewrite
//! of its template, `w` one of its prefix, `v expression replacement` one by an expression, and
//! `a name format` a field for its upstream. Behind an empty line come requests: method, host, path, and
//! fields as `name: value`.

use std::sync::Arc;

use nuncio::exchange::Metadata;
use nuncio::headers::{Headers, Known, Name, is_valid_value};
use nuncio::observe::format::Format;
use nuncio::route::spec::{
    ActionSpec, ClustersSpec, ForwardSpec, HeaderAddSpec, HeaderMatchSpec, HeaderTestSpec,
    MatchSpec, MutationSpec, PathSpec, RegexRewriteSpec, RouteSpec, StringMatchSpec,
    StringPatternSpec, TableSpec, VirtualHostSpec,
};
use nuncio::route::{AppendAction, EnvoyHeaders, Facts, Pick, Route, Scratch, Table};

use crate::configuration::exchange;

/// Routes of one table; more only make a run slow.
const ROUTES: usize = 200;
/// Of those, regular expressions and templates, which take the time of a run to compile.
const PATTERNS: usize = 12;

/// Builds a table and asks it for what its own routes are about.
pub fn build(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let spec = table(text.lines());
    if let Ok(table) = Table::new(&spec, &|_| Some(0)) {
        let hosts = spec.virtual_hosts.iter();
        let domains = hosts.clone().flat_map(|host| &host.domains);
        let paths = hosts.flat_map(|host| &host.routes).map(path_of);
        for (domain, path) in domains.cycle().zip(paths) {
            compare(&table, &head("GET", domain, path, ""));
            compare(&table, &head("GET", domain, &format!("{path}/x"), ""));
        }
    }
}

/// Looks requests up in a table.
pub fn matches(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.lines();
    let spec = table(lines.by_ref().take_while(|line| !line.is_empty()));
    let Ok(table) = Table::new(&spec, &|_| Some(0)) else {
        return;
    };
    for line in lines.take(ROUTES) {
        let mut words = line.splitn(4, ' ');
        let mut word = || words.next().unwrap_or_default();
        let (method, host, path, field) = (word(), word(), word(), word());
        compare(&table, &head(method, host, path, field));
    }
}

/// The index finds what a walk from the first route to the last finds.
fn compare(table: &Table, head: &Headers) {
    let metadata = Metadata::default();
    let facts = Facts {
        request: head,
        random: 0,
        tls: None,
        metadata: &metadata,
    };
    let found = table.find(&facts);
    let walked = table.trace(&facts).route;
    assert_eq!(found.map(Arc::as_ptr), walked.map(Arc::as_ptr), "{head:?}");
    if let Some(route) = found {
        rewrite(route, head);
    }
}

/// What a route makes of a head can be sent.
fn rewrite(route: &Route, head: &Headers) {
    let mut exchange = exchange();
    exchange.request = head.clone();
    let mut scratch = Scratch::default();
    route.finalize_request(
        &mut exchange,
        Pick::default(),
        EnvoyHeaders::Add,
        &mut scratch,
    );
    for field in exchange.request.iter() {
        assert!(is_valid_value(field.value), "{:?}", exchange.request);
    }
}

fn head(method: &str, host: &str, path: &str, field: &str) -> Headers {
    let mut head = Headers::new();
    let mut put = |known, value: &str| {
        if !value.is_empty() && is_valid_value(value.as_bytes()) {
            head.append_known(known, value.as_bytes());
        }
    };
    put(Known::Method, method);
    put(Known::Authority, host);
    put(Known::Path, path);
    if let Some((name, value)) = field.split_once(": ")
        && let Ok(name) = Name::parse(name.as_bytes())
        && is_valid_value(value.as_bytes())
    {
        head.append(&name, value.as_bytes());
    }
    head
}

fn table<'t>(lines: impl Iterator<Item = &'t str>) -> TableSpec {
    let (mut hosts, mut patterns) = (Vec::new(), 0);
    for line in lines.take(ROUTES) {
        let (kind, text) = line.split_at_checked(1).unwrap_or_default();
        let text = text.strip_prefix(' ').unwrap_or(text).to_owned();
        if kind == "d" || hosts.is_empty() {
            hosts.push(VirtualHostSpec {
                name: "v".to_owned(),
                domains: vec![if kind == "d" {
                    text.clone()
                } else {
                    "*".to_owned()
                }],
                ..VirtualHostSpec::default()
            });
        }
        let Some(host) = hosts.last_mut() else {
            continue;
        };
        if matches!(kind, "r" | "R" | "t" | "T" | "v") {
            patterns += 1;
            if patterns > PATTERNS {
                continue;
            }
        }
        let path = match kind.to_ascii_lowercase().as_str() {
            "p" => PathSpec::Prefix(text),
            "e" => PathSpec::Path(text),
            "s" => PathSpec::PathSeparatedPrefix(text),
            "r" => PathSpec::SafeRegex(text),
            "t" => PathSpec::Template(text),
            "c" => PathSpec::Connect,
            other => {
                if let Some(route) = host.routes.last_mut() {
                    change(route, other, text);
                }
                continue;
            }
        };
        host.routes.push(RouteSpec {
            name: String::new(),
            matches: MatchSpec {
                case_sensitive: kind != kind.to_ascii_uppercase(),
                ..MatchSpec::path(path)
            },
            action: ActionSpec::Forward(ForwardSpec::to(ClustersSpec::Cluster("c".to_owned()))),
            variants: None,
            metadata: None,
            stats: None,
            request_headers: MutationSpec::default(),
            response_headers: MutationSpec::default(),
        });
    }
    TableSpec {
        virtual_hosts: hosts,
        ..TableSpec::default()
    }
}

fn change(route: &mut RouteSpec, kind: &str, text: String) {
    let (first, second) = text.split_once(' ').unwrap_or((&text, ""));
    match (kind, &mut route.action) {
        ("x", ActionSpec::Forward(forward)) => forward.path_template_rewrite = text,
        ("w", ActionSpec::Forward(forward)) => forward.prefix_rewrite = text,
        ("v", ActionSpec::Forward(forward)) => {
            forward.regex_rewrite = Some(RegexRewriteSpec {
                pattern: first.to_owned(),
                substitution: second.to_owned(),
            });
        }
        ("a", _) => {
            if let Ok(value) = Format::text(second, false) {
                route.request_headers.add.push(HeaderAddSpec {
                    name: first.to_owned(),
                    value,
                    action: AppendAction::AppendIfExistsOrAdd,
                    keep_empty_value: second.is_empty(),
                });
            }
        }
        ("h", _) => {
            let pattern = StringPatternSpec::Exact(second.to_owned());
            route.matches.headers.push(HeaderMatchSpec {
                name: first.to_owned(),
                test: HeaderTestSpec::String(StringMatchSpec {
                    pattern,
                    ignore_case: false,
                }),
                invert_match: false,
                treat_missing_header_as_empty: false,
            });
        }
        _ => {}
    }
}

/// A path that has to do with what the route matches.
fn path_of(route: &RouteSpec) -> &str {
    match &route.matches.path {
        PathSpec::Prefix(text)
        | PathSpec::Path(text)
        | PathSpec::PathSeparatedPrefix(text)
        | PathSpec::SafeRegex(text)
        | PathSpec::Template(text) => text,
        PathSpec::Connect => "",
    }
}
