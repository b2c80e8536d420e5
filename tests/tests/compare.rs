//! Nuncio against Envoy: the same configuration, the same bytes, the same answer.
//!
//! `cargo test -p nuncio-tests --test compare -- WORD…` runs the cases whose name contains a word;
//! `--list` lists them, `--show` prints what Envoy does in each, `--self` compares Envoy with itself.
//! The cases are tables in `compare/`, their configurations are in `cases/`, and deliberate
//! differences are in `cases/differences.txt`.

#[path = "compare/actions.rs"]
mod actions;
#[path = "compare/admin.rs"]
mod admin;
#[path = "compare/attempts.rs"]
mod attempts;
#[path = "compare/balance.rs"]
mod balance;
#[path = "compare/chains.rs"]
mod chains;
#[path = "compare/cluster_policies.rs"]
mod cluster_policies;
#[path = "compare/codecs.rs"]
mod codecs;
#[path = "compare/connect.rs"]
mod connect;
#[path = "compare/connection.rs"]
mod connection;
#[path = "compare/cors.rs"]
mod cors;
#[path = "compare/counts.rs"]
mod counts;
#[path = "compare/csrf.rs"]
mod csrf;
#[path = "compare/described.rs"]
mod described;
#[path = "compare/destinations.rs"]
mod destinations;
#[path = "compare/differential_h2.rs"]
mod differential_h2;
#[path = "compare/documentation.rs"]
mod documentation;
#[path = "compare/edges.rs"]
mod edges;
#[path = "compare/endings.rs"]
mod endings;
#[path = "compare/entries.rs"]
mod entries;
#[path = "compare/expressions.rs"]
mod expressions;
#[path = "compare/fields.rs"]
mod fields;
#[path = "compare/files.rs"]
mod files;
#[path = "compare/filter_values.rs"]
mod filter_values;
#[path = "compare/filtered_replies.rs"]
mod filtered_replies;
#[path = "compare/filters.rs"]
mod filters;
#[path = "compare/frames.rs"]
mod frames;
#[path = "compare/framing.rs"]
mod framing;
#[path = "compare/grpc_bridge.rs"]
mod grpc_bridge;
#[path = "compare/grpc_web.rs"]
mod grpc_web;
#[path = "compare/hcm.rs"]
mod hcm;
#[path = "compare/hcm_codecs.rs"]
mod hcm_codecs;
#[path = "compare/hcm_heads.rs"]
mod hcm_heads;
#[path = "compare/hcm_options.rs"]
mod hcm_options;
#[path = "compare/hcm_replies.rs"]
mod hcm_replies;
#[path = "compare/health.rs"]
mod health;
#[path = "compare/hops.rs"]
mod hops;
#[path = "compare/interim.rs"]
mod interim;
#[path = "compare/joined.rs"]
mod joined;
#[path = "compare/large.rs"]
mod large;
#[path = "compare/limits.rs"]
mod limits;
#[path = "compare/local_reply.rs"]
mod local_reply;
#[path = "compare/logs.rs"]
mod logs;
#[path = "compare/matchers.rs"]
mod matchers;
#[path = "compare/matching.rs"]
mod matching;
#[path = "compare/mirrors.rs"]
mod mirrors;
#[path = "compare/mutation.rs"]
mod mutation;
#[path = "compare/older.rs"]
mod older;
#[path = "compare/per_route.rs"]
mod per_route;
#[path = "compare/policies.rs"]
mod policies;
#[path = "compare/pools.rs"]
mod pools;
#[path = "compare/redirects.rs"]
mod redirects;
#[path = "compare/refusals.rs"]
mod refusals;
#[path = "compare/replies.rs"]
mod replies;
#[path = "compare/responses.rs"]
mod responses;
#[path = "compare/retries.rs"]
mod retries;
#[path = "compare/routing.rs"]
mod routing;
#[path = "compare/sessions.rs"]
mod sessions;
#[path = "compare/statistics.rs"]
mod statistics;
#[path = "compare/syntax.rs"]
mod syntax;
#[path = "compare/tcp.rs"]
mod tcp;
#[path = "compare/tls.rs"]
mod tls;
#[path = "compare/tls_upstream.rs"]
mod tls_upstream;
#[path = "compare/told_certificates.rs"]
mod told_certificates;
#[path = "compare/tunnels.rs"]
mod tunnels;
#[path = "compare/upgrades.rs"]
mod upgrades;
#[path = "compare/wire.rs"]
mod wire;
#[path = "compare/zones.rs"]
mod zones;

use std::process::ExitCode;

use nuncio_tests::compare::case::Group;
use nuncio_tests::compare::report;

const BASIC: &str = include_str!("../cases/basic.yaml");

fn main() -> ExitCode {
    let mut groups = of_messages();
    groups.extend(of_what_becomes_of_them());
    groups.extend(of_files());
    report::main(groups, include_str!("../cases/differences.txt"))
}

/// What keeps a file out, or lets it in.
fn of_files() -> [Group; 8] {
    [
        fields::group(),
        files::group(),
        told_certificates::group(),
        tunnels::group(),
        statistics::group(),
        statistics::few(),
        chains::trees(),
        cluster_policies::group(),
    ]
}

fn of_messages() -> Vec<Group> {
    vec![
        framing::group(),
        admin::group(),
        filter_values::group(),
        endings::group(),
        codecs::group(),
        wire::group(),
        joined::group(),
        large::group(),
        frames::group(),
        differential_h2::requests(),
        differential_h2::answers(),
        edges::group(),
        syntax::headers(),
        syntax::request_lines(),
        responses::group(),
        connection::group(),
        local_reply::group(),
        filtered_replies::group(),
        replies::group(),
        routing::group(),
        matching::group(),
        matchers::group(),
        expressions::group(),
        mutation::group(),
        mutation::most_specific(),
        mutation::of_connections(),
        hops::forwarding(),
        hops::h2_to_h1(),
        hops::h1_to_h2(),
        hops::h2_to_h2(),
        hops::lines(),
        limits::group(),
        hcm_heads::paths(),
        hcm_heads::runtime_paths(),
        hcm_heads::hosts(),
        hcm_heads::clients(),
        hcm_heads::insiders(),
        hcm_heads::fields(),
        hcm_codecs::http10(),
        hcm_codecs::strictness(),
        hcm_codecs::timeouts(),
        hcm_codecs::spelling(),
        hcm_codecs::response_heads(),
        hcm_replies::local_replies(),
        hcm_replies::log_filters(),
        hcm_options::proxy_status(),
        hcm_options::early(),
        hcm_options::log_entries(),
        hcm_options::reasons(),
    ]
}

fn of_what_becomes_of_them() -> Vec<Group> {
    vec![
        retries::group(),
        interim::group(),
        attempts::group(),
        mirrors::group(),
        redirects::group(),
        older::group(),
        logs::group(),
        entries::group(),
        described::heads(),
        described::logs(),
        tcp::group(),
        chains::group(),
        actions::group(),
        per_route::group(),
        cors::group(),
        counts::group(),
        refusals::group(),
        csrf::group(),
        grpc_web::group(),
        grpc_bridge::group(),
        documentation::group(),
        filters::group(),
        health::group(),
        pools::group(),
        balance::group(),
        upgrades::group(),
        connect::group(),
        destinations::group(),
        sessions::group(),
        policies::group(),
        zones::group(),
        tls::group(),
        tls_upstream::group(),
    ]
}
