//! `nuncio routes`: which route a request takes, and why.
//!
//! Owns the arguments, and what is asked of which table. Does not own the reading of a request
//! ([`request`]), the answer ([`answer`]), how it is shown ([`show`]) or test files ([`suite`]).

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};

use super::{EXIT_FAILURE, serve};
use crate::build;
use crate::config::listener::{FilterChain, NetworkFilterConfig};
use crate::config::route::RouteConfiguration;
use crate::config::route_tests::ClientCertificate;
use crate::config::{self, Loaded, Source};
use crate::route::Table;
use crate::runtime::{ConnectionManager, Service, Snapshot};
use request::Asked;
use show::Paint;

mod answer;
mod request;
mod show;
mod suite;

/// What `nuncio routes` can do.
#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Say which route a request takes and why, or run a file of tests
    #[command(after_long_help = HELP)]
    Check(CheckArgs),
}

const HELP: &str = "\
Examples:
  nuncio routes check envoy.yaml --request http://shop.example.com/cart
  nuncio routes check envoy.yaml --request 'POST https://shop.example.com/cart?step=2' \\
      -H 'x-version: 2' -H 'cookie: cohort=b'
  nuncio routes check envoy.yaml --tests routes.test.yaml

A request is a method (GET unless it is there) and a URL. https:// means that the client came over
TLS, or that a proxy before this one says so. The answer names the virtual host and its domain, each
route before the one that is taken with the criterion that the request does not meet, and what the
route does: the cluster, what the upstream sees, where the client is sent. Nothing is sent anywhere.
Path and host are first made what the connection manager makes of them (normalize_path and its like);
tests are asked of the table alone, as in Envoy's tool.

A test file is that of Envoy's router_check_tool:

  tests:
  - test_name: the cart of version 2
    input:
      authority: shop.example.com
      path: /cart?step=2
      method: POST                       # GET unless it is there
      ssl: true                          # over TLS
      internal: true                     # x-envoy-internal
      random_value: 42                   # what is left to chance
      client_certificate: VALIDATED      # or PRESENTED
      additional_request_headers: [{ key: x-version, value: '2' }]
      additional_response_headers: []
    validate:                            # all are optional
      cluster_name: cart-v2
      virtual_host_name: shop
      route_name: cart
      host_rewrite: cart.internal
      path_rewrite: /v2/cart?step=2
      path_redirect: ''                  # a URL; empty for no redirect
      status: 200                        # of a redirect or direct response
      request_header_matches: [{ name: x-team, string_match: { exact: shop } }]
      response_header_matches: []

Exit codes: 0 when a request has a route or all tests pass, 1 when not or when the configuration is
wrong, 2 for a wrong command line.";

/// The flags of `nuncio routes check`.
#[derive(Args, Debug)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["request", "tests"])))]
pub(super) struct CheckArgs {
    /// The configuration: Envoy's bootstrap, YAML or JSON
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// A request, such as 'GET http://shop.example.com/cart'
    #[arg(short = 'r', long, value_name = "REQUEST")]
    request: Option<String>,
    /// A field of the request, such as 'x-version: 2'; may be repeated
    #[arg(
        short = 'H',
        long = "header",
        value_name = "FIELD",
        requires = "request"
    )]
    headers: Vec<String>,
    /// A file of tests
    #[arg(short = 't', long, value_name = "FILE", conflicts_with = "request")]
    tests: Option<PathBuf>,
    /// The stream's number, which decides what is left to chance
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 0,
        conflicts_with = "tests"
    )]
    random: u64,
    /// The certificate that the client sent over TLS
    #[arg(long, value_enum, value_name = "WHICH", default_value_t = Certificate::None, conflicts_with = "tests")]
    client_certificate: Certificate,
    /// Only the routes of this listener
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// With tests: show how each route was chosen, not only where a test fails
    #[arg(long, requires = "tests")]
    details: bool,
    /// With tests: fail where fewer of the routes than this are taken by a test, in percent
    #[arg(long, value_name = "PERCENT", requires = "tests", value_parser = clap::value_parser!(u8).range(0..=100))]
    fail_under: Option<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Certificate {
    /// None
    None,
    /// One that was not checked, or not found good
    Presented,
    /// One that was found good
    Validated,
}

impl From<Certificate> for ClientCertificate {
    fn from(certificate: Certificate) -> Self {
        match certificate {
            Certificate::None => Self::None,
            Certificate::Presented => Self::Presented,
            Certificate::Validated => Self::Validated,
        }
    }
}

/// The routes of one listener.
struct Routing {
    /// The listener's name.
    listener: String,
    /// As they were written.
    written: RouteConfiguration,
    table: Arc<Table>,
    /// What the table is a part of.
    snapshot: Arc<Snapshot>,
    manager: Arc<ConnectionManager>,
    /// The listener's; 0 where it has none.
    port: u16,
    lines: Lines,
}

/// Runs `nuncio routes`.
pub(super) fn run(command: &Command) -> anyhow::Result<ExitCode> {
    let Command::Check(args) = command;
    let paint = Paint::new(io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none());
    // A request that makes no sense is told before the configuration is looked at.
    let asked = match &args.request {
        Some(text) => match Asked::parse(text, &args.headers, args.client_certificate.into()) {
            Ok(asked) => Some(asked.with_random(args.random)),
            Err(error) => {
                writeln!(io::stderr(), "error: {error:#}")?;
                return Ok(ExitCode::from(EXIT_USAGE));
            }
        },
        None => None,
    };
    let Some(mut routings) = load(args)? else {
        return Ok(ExitCode::from(EXIT_FAILURE));
    };
    if let Some(name) = &args.listener {
        routings.retain(|routing| routing.listener == *name);
        if routings.is_empty() {
            bail!(
                "no listener \"{name}\" with routes in {}",
                args.file.display()
            );
        }
    }
    if routings.is_empty() {
        bail!("no listener with routes in {}", args.file.display());
    }
    let good = match answer_all(args, asked.as_ref(), &routings, paint) {
        // Who reads has seen enough.
        Err(error) if is_unread(&error) => true,
        good => good?,
    };
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(EXIT_FAILURE)
    })
}

fn is_unread(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Answers to the request, or runs the tests; whether all is well.
fn answer_all(
    args: &CheckArgs,
    asked: Option<&Asked>,
    routings: &[Routing],
    paint: Paint,
) -> anyhow::Result<bool> {
    let mut out = io::stdout().lock();
    Ok(match (asked, &args.tests) {
        (Some(asked), _) => ask(asked, routings, paint, &mut out)?,
        (None, Some(tests)) => {
            let read = Source::read(tests);
            let source = read.with_context(|| format!("read the tests {}", tests.display()))?;
            match config::load_route_tests(source) {
                Ok(tests) => {
                    let options = suite::Options {
                        details: args.details,
                        fail_under: args.fail_under,
                    };
                    suite::run(&tests, routings, options, paint, &mut out)?
                }
                Err(errors) => {
                    let colour = io::stderr().is_terminal();
                    write!(io::stderr(), "{}", errors.render(colour))?;
                    false
                }
            }
        }
        (None, None) => false,
    })
}

/// The command line is wrong; clap's own code for that.
const EXIT_USAGE: u8 = 2;

/// Answers for each table; whether every one has a route.
fn ask(
    asked: &Asked,
    routings: &[Routing],
    paint: Paint,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let mut found = true;
    writeln!(out, "{}", paint.bold(&asked.to_string()))?;
    for routing in routings {
        let admitted = match asked.admitted(&routing.manager.hygiene, routing.port) {
            Ok(admitted) => admitted,
            Err(turned) => {
                found = false;
                write!(
                    out,
                    "{}",
                    show::NotServed {
                        turned: &turned,
                        routing,
                        paint
                    }
                )?;
                continue;
            }
        };
        let answer = answer::answer(&admitted, routing);
        found &= answer.has_route();
        write!(
            out,
            "{}",
            show::Shown {
                answer: &answer,
                routing,
                asked: &admitted,
                is_changed: admitted.to_string() != asked.to_string(),
                paint
            }
        )?;
    }
    Ok(found)
}

/// The tables of a configuration, which is built whole, so that what is wrong with it is told.
fn load(args: &CheckArgs) -> anyhow::Result<Option<Vec<Routing>>> {
    let source = Source::read(&args.file)?;
    let settings = build::Settings {
        workers: 1,
        flush_interval: Duration::ZERO,
        service_node: None,
        service_cluster: None,
    };
    let mut written = Vec::new();
    let built = serve::load_with(vec![source], &settings, |loaded| {
        written = routes_of(loaded)
    })?;
    let Some(built) = built else {
        return Ok(None);
    };
    let listeners = built.snapshot.listeners.iter();
    let chains = listeners.flat_map(|listener| listener.chains.iter().map(move |c| (listener, c)));
    let routings = chains
        .zip(written)
        .filter_map(|((listener, chain), written)| {
            let Service::Http(http) = &chain.service else {
                return None;
            };
            let (written, lines) = written?;
            Some(Routing {
                listener: listener.name.to_string(),
                written,
                table: Arc::clone(&http.manager.routes.load()),
                snapshot: Arc::clone(&built.snapshot),
                manager: Arc::clone(&http.manager),
                port: listener.address.ip().map_or(0, |address| address.port()),
                lines,
            })
        });
    Ok(Some(routings.collect()))
}

/// The line of each route, by virtual host and route.
type Lines = Vec<Vec<Option<u32>>>;

/// The routes of each filter chain, where it has any.
fn routes_of(loaded: &Loaded) -> Vec<Option<(RouteConfiguration, Lines)>> {
    let root = loaded.document.root();
    let places = root.field("static_resources").field("listeners");
    let mut routes = Vec::new();
    for (index, listener) in loaded
        .bootstrap
        .static_resources
        .listeners
        .iter()
        .enumerate()
    {
        let place = places.index(index);
        let chains = place.field("filter_chains");
        for (index, chain) in listener.filter_chains.iter().enumerate() {
            routes.push(routes_of_chain(chain, chains.index(index)));
        }
        if let Some(chain) = &listener.default_filter_chain {
            routes.push(routes_of_chain(chain, place.field("default_filter_chain")));
        }
    }
    routes
}

fn routes_of_chain(
    chain: &FilterChain,
    place: config::Place<'_>,
) -> Option<(RouteConfiguration, Lines)> {
    let managers = chain.filters.iter().enumerate();
    let mut managers = managers.filter_map(|(index, filter)| match &filter.typed_config {
        NetworkFilterConfig::HttpConnectionManager(manager) => Some((index, manager)),
        _ => None,
    });
    let (index, manager) = managers.next()?;
    let written = manager.route_config();
    let place = place.field("filters").index(index).field("typed_config");
    Some((written.clone(), lines(written, place.field("route_config"))))
}

fn lines(written: &RouteConfiguration, place: config::Place<'_>) -> Lines {
    let place = place.field("virtual_hosts");
    let hosts = written.virtual_hosts.iter().enumerate();
    let hosts = hosts.map(|(index, host)| {
        let place = place.index(index).field("routes");
        let line = |index| place.index(index).span().map(config::Span::line);
        (0..host.routes.len()).map(line).collect()
    });
    hosts.collect()
}
