//! What the tests of this part share: requests, exchanges and specs in few words.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, LazyLock};

use super::action::{Pick, Route};
use super::facts::Facts;
use super::mutation::{AppendAction, Scratch};
use super::rewrite::EnvoyHeaders;
use super::spec::{
    ActionSpec, ClustersSpec, DirectSpec, ForwardSpec, HeaderAddSpec, MatchSpec, MutationSpec,
    PathSpec, RouteSpec, TableSpec, VirtualHostSpec,
};
use super::table::Table;
use crate::clock;
use crate::exchange::{Connection, Exchange, Metadata, Protocol, Timing};
use crate::headers::{Headers, Known, Name};
use crate::observe::format::Format;

/// The head of a `GET` over clear text.
pub(super) fn request(host: &str, path: &str, fields: &[(&str, &str)]) -> Headers {
    let mut head = Headers::new();
    head.append_known(Known::Method, b"GET");
    head.append_known(Known::Authority, host.as_bytes());
    head.append_known(Known::Path, path.as_bytes());
    for (name, value) in fields {
        head.append(&Name::parse(name.as_bytes()).unwrap(), value.as_bytes());
    }
    head
}

/// An exchange with that request.
pub(super) fn exchange(request: Headers) -> Exchange {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let connection = Connection {
        listener: "listener".into(),
        ..Connection::between(address, address)
    };
    let timing = Timing::starting(clock::now(), clock::wall());
    let mut exchange = Exchange::new(Arc::new(connection), Protocol::Http11, timing, 1);
    exchange.request = request;
    exchange
}

/// What a request over clear text says that no filter has seen; the stream's number is 0.
pub(super) fn facts(request: &Headers) -> Facts<'_> {
    static NONE: LazyLock<Metadata> = LazyLock::new(Metadata::default);
    Facts {
        request,
        random: 0,
        tls: None,
        metadata: &NONE,
    }
}

/// All fields as `name: value`.
pub(super) fn lines(head: &Headers) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    head.iter()
        .map(|field| format!("{}: {}", text(field.name), text(field.value)))
        .collect()
}

/// The fields that do not stand in `before`.
pub(super) fn added(before: &Headers, after: &Headers) -> Vec<String> {
    let before = lines(before);
    lines(after)
        .into_iter()
        .filter(|line| !before.contains(line))
        .collect()
}

pub(super) fn add(name: &str, value: &str, action: AppendAction) -> HeaderAddSpec {
    HeaderAddSpec {
        name: name.to_owned(),
        value: Format::text(value, false).unwrap(),
        action,
        keep_empty_value: false,
    }
}

pub(super) fn mutations(add: Vec<HeaderAddSpec>, remove: &[&str]) -> MutationSpec {
    MutationSpec {
        add,
        remove: remove.iter().map(|name| (*name).to_owned()).collect(),
    }
}

pub(super) fn route(matches: MatchSpec, action: ActionSpec) -> RouteSpec {
    RouteSpec {
        name: String::new(),
        matches,
        action,
        request_headers: MutationSpec::default(),
        response_headers: MutationSpec::default(),
        variants: None,
        metadata: None,
        stats: None,
    }
}

pub(super) fn prefix(prefix: &str) -> MatchSpec {
    MatchSpec::path(PathSpec::Prefix(prefix.to_owned()))
}

pub(super) fn direct(body: &str) -> ActionSpec {
    ActionSpec::Direct(DirectSpec {
        status: 200,
        body: body.to_owned().into(),
        body_format: None,
    })
}

pub(super) fn to_cluster(name: &str) -> ForwardSpec {
    ForwardSpec::to(ClustersSpec::Cluster(name.to_owned()))
}

pub(super) fn virtual_host(
    name: &str,
    domains: &[&str],
    routes: Vec<RouteSpec>,
) -> VirtualHostSpec {
    VirtualHostSpec {
        name: name.to_owned(),
        domains: domains.iter().map(|domain| (*domain).to_owned()).collect(),
        routes,
        ..VirtualHostSpec::default()
    }
}

pub(super) fn table_spec(virtual_hosts: Vec<VirtualHostSpec>) -> TableSpec {
    TableSpec {
        name: "rc".to_owned(),
        virtual_hosts,
        ..TableSpec::default()
    }
}

/// The clusters `c0`, `c1` and `c2`.
pub(super) fn clusters(name: &str) -> Option<usize> {
    ["c0", "c1", "c2"].iter().position(|known| *known == name)
}

pub(super) fn build(spec: &TableSpec) -> Table {
    match Table::new(spec, &clusters) {
        Ok(table) => table,
        Err(errors) => panic!("{errors:?}"),
    }
}

/// What is chosen on a route.
pub(super) fn pick(route: &Route, exchange: &Exchange, random: u64) -> Pick {
    let by_name = |name: &[u8]| clusters(str::from_utf8(name).unwrap());
    route.pick(exchange, random, &by_name).unwrap()
}

/// The request's head as it goes upstream.
pub(super) fn finalize(
    route: &Route,
    exchange: &mut Exchange,
    random: u64,
    envoy_headers: EnvoyHeaders,
) {
    let pick = pick(route, exchange, random);
    route.finalize_request(exchange, pick, envoy_headers, &mut Scratch::default());
}

/// A table with one virtual host for everything.
pub(super) fn table(routes: Vec<RouteSpec>) -> Table {
    build(&table_spec(vec![virtual_host("all", &["*"], routes)]))
}

/// What is wrong with a table, as `path: message`.
pub(super) fn problems(spec: &TableSpec) -> Vec<String> {
    let errors = Table::new(spec, &clusters).err();
    errors
        .iter()
        .flatten()
        .map(|error| format!("{}: {}", error.path, error.problem))
        .collect()
}
