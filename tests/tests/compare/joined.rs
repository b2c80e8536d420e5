//! What is added to a field that Envoy keeps in one line: where a comma stands, and where none.

use nuncio_tests::compare::case::{Case, Group};
use nuncio_tests::config::{Config, HTTP2, cluster, endpoint, filter};
use nuncio_tests::h2_client::H2Send;

/// Fields of requests, of responses, and of both; the last ones have lines of their own.
const FIELDS: [&str; 8] = [
    "accept",
    "user-agent",
    "cache-control",
    "etag",
    "vary",
    "via",
    "cookie",
    "x-own",
];

pub(crate) fn group() -> Group {
    let mut config = Config::new()
        .cluster(cluster("origin", &[endpoint("origin", "")], ""))
        .cluster(cluster("h2", &[endpoint("h2origin", "")], HTTP2))
        .filter(filter(
            "http.header_mutation.v3.HeaderMutation",
            "mutations: { request_mutations: [ { remove: x-none } ] }",
        ));
    let mut cases = Vec::new();
    for field in FIELDS {
        for (path, value) in [("some", "v"), ("none", "")] {
            for (to, cluster) in [("http1", "origin"), ("http2", "h2")] {
                let add = format!(
                    "[ {{ header: {{ key: {field}, value: \"{value}\" }}, keep_empty_value: true }} ]"
                );
                config = config.route(format!(
                    "{{ match: {{ path: /{to}/{field}/{path} }}, route: {{ cluster: {cluster} }}, \
                     request_headers_to_add: {add}, response_headers_to_add: {add} }}"
                ));
            }
            let append = format!(
                "[ {{ append: {{ header: {{ key: {field}, value: \"{value}\" }}, keep_empty_value: true }} }} ]"
            );
            config = config.route(format!(
                "{{ match: {{ path: /filter/{field}/{path} }}, route: {{ cluster: origin }}, \
                 typed_per_filter_config: {{ envoy.filters.http.header_mutation: {{ \
                 \"@type\": type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute, \
                 mutations: {{ request_mutations: {append}, response_mutations: {append} }} }} }} }}"
            ));
            for (there, lines) in [
                ("nothing", String::new()),
                ("an empty line", format!("{field}:\r\n")),
                ("a value", format!("{field}: a\r\n")),
                ("two empty lines", format!("{field}:\r\n").repeat(2)),
                (
                    "a value and an empty line",
                    format!("{field}: a\r\n{field}:\r\n"),
                ),
            ] {
                for to in ["http1", "filter"] {
                    let reply = format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: 2\r\n\r\nok");
                    let name = format!("{to}, {field}: \"{value}\" to {there}");
                    let case = Case::get(&name, &format!("/{to}/{field}/{path}"), &lines);
                    cases.push(case.reply_bytes(reply));
                }
            }
            let name = format!("HTTP/2, {field}: \"{value}\" to an empty line");
            let send = H2Send::new("GET", &format!("/http2/{field}/{path}")).header(field, "");
            cases.push(Case::http2(&name, send));
        }
    }
    let template = config.log("@LOG_FORMAT@").text();
    Group::new("joined fields", &template, cases)
}
