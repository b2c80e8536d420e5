//! The pages of the admin server, one function each, and the table that names them.

use std::fmt::Write;

use http::StatusCode;
use regex::Regex;
use serde_json::{Value, json};

use super::{Admin, Page, certificates, drain, logging};
use crate::address::Address;
use crate::clock;
use crate::observe::expose::{self, Buckets, Selection};
use crate::observe::metrics::{Memory, ServerState};
use crate::server::report;

/// A page: where it is, what it does, whether it needs POST, and what makes it.
pub(super) struct Entry {
    pub(super) path: &'static str,
    help: &'static str,
    pub(super) changes: bool,
    /// Whether the parameters may stand in the body.
    pub(super) takes_form: bool,
    /// The parameters that it knows, where others would be a mistake; none where it looks at none, or at
    /// any.
    parameters: &'static [&'static str],
    pub(super) render: fn(&Admin, &Query) -> Page,
}

const fn shows(
    path: &'static str,
    help: &'static str,
    render: fn(&Admin, &Query) -> Page,
) -> Entry {
    Entry {
        path,
        help,
        changes: false,
        takes_form: false,
        parameters: &[],
        render,
    }
}

impl Entry {
    const fn taking(self, parameters: &'static [&'static str]) -> Self {
        Self { parameters, ..self }
    }

    /// What is said to parameters that it does not know: who wrote them means something by them.
    pub(super) fn objection(&self, query: &Query) -> Option<String> {
        if self.parameters.is_empty() {
            return None;
        }
        let mut names = query.0.iter().map(|(name, _)| name.as_str());
        let unknown = names.find(|name| !self.parameters.contains(name))?;
        let known = self.parameters.join(", ");
        Some(format!(
            "unknown parameter \"{unknown}\", {} has {known}\n",
            self.path
        ))
    }
}

/// One that changes something.
const fn posts(
    path: &'static str,
    help: &'static str,
    render: fn(&Admin, &Query) -> Page,
) -> Entry {
    Entry {
        changes: true,
        ..shows(path, help, render)
    }
}

/// What selects among statistics, and how they are shown. Readouts of text and statistics that are hidden are
/// there to be asked for, as scrapers do, and there are none.
const SELECTS: &[&str] = &[
    "filter",
    "format",
    "hidden",
    "histogram_buckets",
    "invert_filter",
    "text_readouts",
    "type",
    "usedonly",
];

/// Every page, in the order of `/help`.
pub(super) const PAGES: &[Entry] = &[
    shows("/", "Admin home page", home),
    shows("/certs", "print certs on machine", certs),
    shows("/clusters", "upstream cluster status", clusters).taking(&["filter", "format"]),
    shows(
        "/config_dump",
        "dump the running configuration",
        config_dump,
    )
    .taking(&["name_regex", "resource"]),
    posts(
        "/drain_listeners",
        "drain listeners: at once, or over the drain time with 'graceful'; those for inbound traffic \
         alone with 'inboundonly'; without ever stopping them with 'skip_exit'",
        drain::page,
    )
    .taking(&["graceful", "inboundonly", "skip_exit"]),
    posts(
        "/healthcheck/fail",
        "cause the server to fail health checks",
        healthcheck_fail,
    ),
    posts(
        "/healthcheck/ok",
        "cause the server to pass health checks",
        healthcheck_ok,
    ),
    shows("/help", "print out list of admin commands", help),
    shows(
        "/hot_restart_version",
        "print the hot restart compatibility version",
        hot_restart_version,
    ),
    shows("/init_dump", "dump current Envoy init manager information", init_dump),
    shows("/listeners", "print listener info", listeners).taking(&["format"]),
    Entry {
        takes_form: true,
        ..posts("/logging", "query/change logging levels", logging_page)
    },
    shows("/memory", "print current allocation/heap usage", memory),
    posts("/quitquitquit", "drain and exit the server", quit),
    shows(
        "/ready",
        "print server state, return 200 if LIVE, otherwise return 503",
        ready,
    ),
    posts(
        "/reset_counters",
        "reset all counters to zero",
        reset_counters,
    ),
    shows("/runtime", "print runtime values", runtime),
    Entry {
        takes_form: true,
        ..posts(
            "/runtime_modify",
            "Adds or modifies runtime values as passed in query parameters. To delete a previously \
               added key, use an empty string as the value. Note that deletion only applies to \
               overrides added via this endpoint; values loaded from disk can be modified via \
               override but not deleted. E.g. \
               ?key1=value1&key2=value2...",
            runtime_modify,
        )
    },
    shows(
        "/server_info",
        "print server version/status information",
        server_info,
    ),
    shows("/stats", "print server stats", stats).taking(SELECTS),
    shows(
        "/stats/prometheus",
        "print server stats in prometheus format",
        prometheus,
    )
    .taking(SELECTS),
];

/// The query of a request, decoded.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Of a query or a form.
    pub(super) fn of(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| {
                    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(key), decode(value))
                })
                .collect(),
        )
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of it, in order.
    pub(super) fn pairs(&self) -> &[(String, String)] {
        &self.0
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    fn selection(&self) -> Result<Selection, String> {
        Selection::parse(&expose::Words {
            filter: self.get("filter"),
            inverts: self.has("invert_filter"),
            used_only: self.has("usedonly"),
            kind: self.get("type"),
            buckets: self.get("histogram_buckets"),
        })
    }

    /// A regular expression, where there is one.
    fn pattern(&self, key: &str) -> Result<Option<Regex>, Page> {
        match self.get(key) {
            None | Some("") => Ok(None),
            Some(text) => Regex::new(text).map(Some).map_err(|error| {
                let message = format!("invalid regular expression in \"{key}\": {error}\n");
                Page::text(message).with(StatusCode::BAD_REQUEST)
            }),
        }
    }
}

/// Percent-decodes a part of a query; what is not an escape stays.
fn decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, behind @ ..] = rest {
        let digit = |at: usize| {
            behind
                .get(at)
                .and_then(|digit| char::from(*digit).to_digit(16))
        };
        match (byte, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).unwrap_or_default());
                rest = behind.get(2..).unwrap_or_default();
                continue;
            }
            (b'+', ..) => out.push(b' '),
            _ => out.push(*byte),
        }
        rest = behind;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The button of `/runtime_modify`, which wants a key: the field's name is what is sent, so it is given the
/// key's words before that.
const RUNTIME_FORM: &str = "<form method=post action=runtime_modify \
    onsubmit=\"this.elements[1].name=this.elements[0].value\">\
    <input placeholder=key required> <input placeholder=value> <button>runtime_modify</button></form>";

fn home(_: &Admin, _: &Query) -> Page {
    let mut rows = String::new();
    for page in PAGES {
        let target = if page.path == "/runtime_modify" {
            RUNTIME_FORM.to_owned()
        } else if page.changes {
            format!(
                "<form method=post action={0}><button>{0}</button></form>",
                page.path.trim_start_matches('/')
            )
        } else {
            format!("<a href=\"{0}\">{0}</a>", page.path)
        };
        // Writing to a string cannot fail.
        let _infallible = writeln!(rows, "<tr><td>{target}</td><td>{}</td></tr>", page.help);
    }
    Page::html(format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>nuncio admin</title>\n\
         <style>body{{font:16px system-ui;margin:2em}}td{{padding:.2em 1em .2em 0}}\
         form{{margin:0}}</style>\n<h1>nuncio {}</h1>\n<table>\n{rows}</table>\n",
        env!("CARGO_PKG_VERSION")
    ))
}

fn certs(admin: &Admin, _: &Query) -> Page {
    Page::json(&certificates::list(&admin.contexts))
}

/// The list of pages as text.
pub(super) fn help_text() -> String {
    let mut text = String::new();
    for page in PAGES {
        let post = if page.changes { " (POST)" } else { "" };
        let _infallible = writeln!(text, "  {}{post}: {}", page.path, page.help);
    }
    text
}

fn help(_: &Admin, _: &Query) -> Page {
    Page::text(format!("admin commands are:\n{}", help_text()))
}

fn ready(admin: &Admin, _: &Query) -> Page {
    let state = admin.state();
    let status = if state == ServerState::Live {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    Page::text(format!("{}\n", name_of(state))).with(status)
}

/// As `/ready` says it.
const fn name_of(state: ServerState) -> &'static str {
    match state {
        ServerState::Live => "LIVE",
        ServerState::Draining => "DRAINING",
        ServerState::PreInitializing => "PRE_INITIALIZING",
        ServerState::Initializing => "INITIALIZING",
    }
}

/// There is no hot restart: what listens is handed on by the kernel, or by who starts the process.
fn hot_restart_version(_: &Admin, _: &Query) -> Page {
    Page::text("disabled".to_owned())
}

/// What is not ready yet: nothing, once there are pages.
fn init_dump(_: &Admin, _: &Query) -> Page {
    Page::json(&json!({}))
}

fn quit(admin: &Admin, _: &Query) -> Page {
    admin.quit.notify_one();
    Page::text("OK\n".to_owned())
}

fn healthcheck_fail(admin: &Admin, _: &Query) -> Page {
    admin.tell_to_fail(true);
    Page::text("OK\n".to_owned())
}

fn healthcheck_ok(admin: &Admin, _: &Query) -> Page {
    admin.tell_to_fail(false);
    Page::text("OK\n".to_owned())
}

fn logging_page(_: &Admin, query: &Query) -> Page {
    logging::page(query)
}

/// As far as the kernel counts it: the allocator is not asked.
fn memory(_: &Admin, _: &Query) -> Page {
    let memory = Memory::read();
    Page::json(&json!({
        "allocated": memory.anonymous.to_string(),
        "heap_size": memory.anonymous.to_string(),
        "pageheap_free": "0",
        "pageheap_unmapped": "0",
        "total_physical_bytes": memory.resident.to_string(),
        "total_thread_cache": "0",
    }))
}

fn reset_counters(admin: &Admin, _: &Query) -> Page {
    admin.registry.reset_counters();
    Page::text("OK\n".to_owned())
}

fn listeners(admin: &Admin, query: &Query) -> Page {
    let bound = admin.snapshot.listeners.iter().zip(&admin.listeners);
    if query.get("format") == Some("json") {
        let statuses: Vec<Value> = bound
            .map(|(listener, addresses)| {
                let mut addresses = addresses.iter().map(|address| match address {
                    Address::Ip(address) => json!({ "socket_address": {
                        "address": address.ip().to_string(), "port_value": address.port(),
                    } }),
                    Address::Unix(path) => json!({ "pipe": { "path": &**path } }),
                });
                let mut status = json!({
                    "name": &*listener.name,
                    "local_address": addresses.next(),
                });
                let more: Vec<Value> = addresses.collect();
                if let (false, Some(status)) = (more.is_empty(), status.as_object_mut()) {
                    status.insert("additional_local_addresses".to_owned(), more.into());
                }
                status
            })
            .collect();
        return Page::json(&json!({ "listener_statuses": statuses }));
    }
    let mut text = String::new();
    for (listener, addresses) in bound {
        for address in addresses {
            let _infallible = writeln!(text, "{}::{address}", listener.name);
        }
    }
    Page::text(text)
}

fn clusters(admin: &Admin, query: &Query) -> Page {
    let filter = match query.pattern("filter") {
        Ok(filter) => filter,
        Err(page) => return page,
    };
    let all = admin.snapshot.clusters.iter();
    let shown = all.filter(|cluster| {
        filter
            .as_ref()
            .is_none_or(|filter| filter.is_match(&cluster.name))
    });
    if query.get("format") == Some("json") {
        let statuses: Vec<Value> = shown.map(|cluster| report::json(cluster)).collect();
        return Page::json(&json!({ "cluster_statuses": statuses }));
    }
    let mut text = String::new();
    for cluster in shown {
        report::text(cluster, &mut text);
    }
    Page::text(text)
}

fn config_dump(admin: &Admin, query: &Query) -> Page {
    let named = match query.pattern("name_regex") {
        Ok(named) => named,
        Err(page) => return page,
    };
    let mut dump = super::config_dump::of(&admin.config, admin.since);
    if let Some(named) = named {
        super::config_dump::keep_named(&mut dump, &named);
    }
    match query.get("resource") {
        None | Some("") => Page::json(&dump),
        Some("bootstrap") => Page::text("bootstrap is not a repeated field\n".to_owned())
            .with(StatusCode::BAD_REQUEST),
        Some(resource) => match super::config_dump::part(&dump, resource) {
            Some(part) => Page::json(&part),
            None => Page::text(format!("{resource} not found in config dump\n"))
                .with(StatusCode::NOT_FOUND),
        },
    }
}

fn runtime(admin: &Admin, _: &Query) -> Page {
    let shown = admin.values.layered();
    let entries: serde_json::Map<String, Value> = shown
        .entries
        .into_iter()
        .map(|(key, (counts, of_layers))| {
            let entry = json!({ "final_value": counts, "layer_values": of_layers });
            (key, entry)
        })
        .collect();
    Page::json(&json!({ "layers": shown.layers, "entries": entries }))
}

fn runtime_modify(admin: &Admin, query: &Query) -> Page {
    if query.is_empty() {
        let usage = "usage: /runtime_modify?key1=value1&key2=value2&keyN=valueN\n\
                     \x20      or send the parameters as form values\n\
                     use an empty value to remove a previously added override";
        return Page::text(usage.to_owned()).with(StatusCode::BAD_REQUEST);
    }
    match admin.values.modify(query.pairs()) {
        Ok(()) => Page::text("OK\n".to_owned()),
        Err(error) => Page::text(error.to_string()).with(StatusCode::SERVICE_UNAVAILABLE),
    }
}

fn server_info(admin: &Admin, _: &Query) -> Page {
    let uptime = clock::now().duration_since(admin.started).as_secs();
    let mut flags = json!({
        "concurrency": admin.options.workers,
        "drain_time": format!("{}s", admin.options.drain_time.as_secs()),
    });
    if let Some(flags) = flags.as_object_mut() {
        let shown = admin.options.shown.iter();
        flags.extend(shown.map(|(name, value)| ((*name).to_owned(), value.as_str().into())));
    }
    Page::json(&json!({
        "version": format!("nuncio/{}", env!("CARGO_PKG_VERSION")),
        "state": name_of(admin.state()),
        "uptime_current_epoch": format!("{uptime}s"),
        "uptime_all_epochs": format!("{uptime}s"),
        "hot_restart_version": "disabled",
        "command_line_options": flags,
        "node": admin.node,
    }))
}

fn stats(admin: &Admin, query: &Query) -> Page {
    let selection = match query.selection() {
        Ok(selection) => selection,
        Err(message) => return Page::text(message).with(StatusCode::BAD_REQUEST),
    };
    match query.get("format") {
        Some("prometheus" | "openmetrics") => prometheus(admin, query),
        Some("json") => Page::json(&expose::json(&admin.registry, &selection)),
        None | Some("text") => Page::text(expose::text(&admin.registry, &selection)),
        Some(other) => Page::text(format!(
            "usage: /stats?format=(text|json|prometheus|openmetrics)\n\nunknown format \"{other}\"\n"
        ))
        .with(StatusCode::BAD_REQUEST),
    }
}

fn prometheus(admin: &Admin, query: &Query) -> Page {
    let unsupported = |selection: &Selection, openmetrics: bool| match selection.buckets() {
        None | Some(Buckets::Cumulative) => false,
        Some(Buckets::Summary) => openmetrics,
        Some(Buckets::Disjoint) => true,
    };
    let openmetrics = query.get("format") == Some("openmetrics");
    match query.selection() {
        Ok(selection) if unsupported(&selection, openmetrics) => {
            let message = "unsupported prometheus histogram bucket mode\n".to_owned();
            Page::text(message).with(StatusCode::BAD_REQUEST)
        }
        Ok(selection) if openmetrics => Page {
            content_type: expose::OPENMETRICS_CONTENT_TYPE,
            ..Page::text(expose::openmetrics(&admin.registry, &selection))
        },
        Ok(selection) => Page::text(expose::prometheus(&admin.registry, &selection)),
        Err(message) => Page::text(message).with(StatusCode::BAD_REQUEST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_that_are_not_known_are_named() {
        let page = |path: &str| PAGES.iter().find(|page| page.path == path).unwrap();
        for (path, query, objection) in [
            ("/stats", "filter=a&usedonly", None),
            ("/stats", "histogram_buckets=cumulative", None),
            ("/stats", "buckets=cumulative", Some("buckets")),
            ("/config_dump", "resource=static_clusters", None),
            ("/config_dump", "mask=x", Some("mask")),
            ("/clusters", "filter=a&format=json", None),
            ("/ready", "again", None),
            ("/runtime_modify", "any=1", None),
        ] {
            let said = page(path).objection(&Query::of(query));
            let expected =
                objection.map(|name| format!("unknown parameter \"{name}\", {path} has "));
            assert_eq!(said.is_some(), expected.is_some(), "{path}?{query}");
            assert!(
                said.unwrap_or_default()
                    .starts_with(&expected.unwrap_or_default())
            );
        }
    }

    #[test]
    fn queries_are_decoded() {
        let query = Query::of("filter=a%2Eb+c%zz&usedonly");
        assert_eq!(query.get("filter"), Some("a.b c%zz"));
        assert!(query.has("usedonly"));
        assert!(!query.has("type"));
    }
}
