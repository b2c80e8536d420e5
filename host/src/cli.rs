//! The command line: arguments, subcommands, exit codes.
//!
//! Owns what a person types and what they are told. Does not own anything that runs.
//!
//! Exit codes: 0 after a clean end, 1 when the configuration is wrong, the server cannot start or a
//! check fails, 2 for a wrong command line, 3 when the drain time was over before all requests
//! were, 130 after a second signal.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};

use crate::observe::log;

mod demo;
mod routes;
mod serve;

/// Runs Envoy's configuration, with WebAssembly components as the HTTP filter chain.
#[derive(Parser, Debug)]
#[command(
    name = "nuncio",
    version = version(),
    about,
    after_help = EXAMPLES,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArgs,
}

const EXAMPLES: &str = "\
Examples:
  nuncio -c envoy.yaml                     serve the configuration in envoy.yaml
  nuncio -c envoy.yaml --mode validate     check it: every error at once, with its place
  nuncio routes check envoy.yaml --request http://shop.example.com/cart
                                           say which route a request takes, and why
  nuncio demo                              a proxy, an upstream and filters, with requests to try
  nuncio -c envoy.yaml -l debug --component-log-level upstream:trace

Signals: SIGTERM and SIGINT finish the requests in flight (up to --drain-time-s) and exit 0;
a second one exits at once. SIGUSR1 opens the access logs anew.";

#[derive(Subcommand, Debug)]
enum Command {
    /// Serve an embedded example with an embedded upstream, and print requests to try
    Demo(DemoArgs),
    /// Look into the routes of a configuration
    #[command(subcommand)]
    Routes(routes::Command),
}

/// What `--mode` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Check the configuration and serve it
    Serve,
    /// Check the configuration and exit: 0 when it is good, 1 when it is not
    Validate,
}

/// The flags of the main form; names and meanings are Envoy's.
#[derive(Args, Debug)]
pub struct ServeArgs {
    /// The configuration: Envoy's bootstrap, YAML or JSON
    #[arg(
        short = 'c',
        long,
        value_name = "FILE",
        required_unless_present = "config_yaml"
    )]
    config_path: Option<PathBuf>,
    /// Configuration as text, merged over the file's
    #[arg(long, value_name = "YAML")]
    config_yaml: Option<String>,
    /// What to do with the configuration
    #[arg(long, value_enum, default_value_t = Mode::Serve)]
    mode: Mode,
    /// Worker threads [default: one for each hardware thread]
    #[arg(long, value_name = "N")]
    concurrency: Option<u32>,
    /// How long requests in flight may take after the first SIGTERM or SIGINT, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 25)]
    drain_time_s: u32,
    /// Name of this node, in place of the file's node.id
    #[arg(long, value_name = "NAME")]
    service_node: Option<String>,
    /// Name of this node's cluster, in place of the file's node.cluster
    #[arg(long, value_name = "NAME")]
    service_cluster: Option<String>,
    /// How long access-log lines may wait before they are written, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 1000)]
    file_flush_interval_msec: u32,
    /// Accepted for Envoy's sake: there is no hot restart to disable
    #[arg(long, hide = true)]
    disable_hot_restart: bool,
    /// Accepted for Envoy's sake: there is no shared memory to name
    #[arg(long, hide = true)]
    use_dynamic_base_id: bool,
    #[command(flatten)]
    log: LogArgs,
}

/// The flags of the application log.
#[derive(Args, Debug, Clone)]
pub struct LogArgs {
    /// Least severe level that is logged: trace, debug, info, warning, error, critical, off
    #[arg(short = 'l', long, value_name = "LEVEL", default_value = "info")]
    log_level: String,
    /// Levels of single components, such as upstream:debug,wasm:trace
    #[arg(long, value_name = "LIST", default_value = "")]
    component_log_level: String,
    /// Pattern of a log line, in spdlog's letters: %Y %m %d %T %e %t %l %n %v …
    #[arg(long, value_name = "PATTERN")]
    log_format: Option<String>,
}

/// The flags of `nuncio demo`.
#[derive(Args, Debug)]
pub struct DemoArgs {
    /// Port of the proxy; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 10000)]
    port: u16,
    /// Port of the admin server; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 9901)]
    admin_port: u16,
    #[command(flatten)]
    log: LogArgs,
}

/// `--version`: what this is, what it runs filters with, and which contract it speaks.
const fn version() -> &'static str {
    concat!(
        env!("CARGO_PKG_VERSION"),
        " (wasmtime 48, filter contract nuncio:filter@0.1.0)"
    )
}

/// Flags of Envoy that mean nothing here.
const OF_ENVOY: &[&str] = &[
    "--admin-address-path",
    "--allow-unknown-fields",
    "--allow-unknown-static-fields",
    "--base-id",
    "--base-id-path",
    "--bootstrap-version",
    "--cpuset-threads",
    "--disable-extensions",
    "--drain-strategy",
    "--enable-core-dump",
    "--enable-fine-grain-logging",
    "--enable-mutex-tracing",
    "--file-flush-min-size-kb",
    "--hot-restart-version",
    "--ignore-unknown-dynamic-fields",
    "--local-address-ip-version",
    "--log-format-escaped",
    "--log-path",
    "--parent-shutdown-time-s",
    "--reject-unknown-dynamic-fields",
    "--restart-epoch",
    "--service-zone",
    "--skip-deprecated-logs",
    "--skip-hot-restart-on-no-parent",
    "--skip-hot-restart-parent-stats",
    "--socket-mode",
    "--socket-path",
    "--stats-tag",
];

/// Reads the command line; ends the process where that is wrong, or asks for a text.
#[must_use]
pub fn parse() -> Cli {
    Cli::try_parse().unwrap_or_else(|error| unsupported(&error).unwrap_or(error).exit())
}

/// What is said of a flag that Envoy has.
fn unsupported(error: &clap::Error) -> Option<clap::Error> {
    if error.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let name = flag.split('=').next().unwrap_or_default();
    let message = format!("not supported by nuncio: Envoy's flag '{name}'");
    let is_of_envoy = OF_ENVOY.contains(&name);
    is_of_envoy.then(|| Cli::command().error(ErrorKind::UnknownArgument, message))
}

/// Does what the command line says. `give_back` has the allocator give back what is free: a
/// configuration that was read leaves much of that.
#[must_use]
pub fn run(cli: Cli, give_back: fn()) -> ExitCode {
    let ended = match cli.command {
        Some(Command::Demo(args)) => demo::run(&args),
        Some(Command::Routes(command)) => routes::run(&command),
        None => serve::run(&cli.serve, give_back),
    };
    match ended {
        Ok(code) => code,
        Err(error) => {
            let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            let label = if colour {
                "\x1b[1;31merror\x1b[0m"
            } else {
                "error"
            };
            // Without standard error there is nobody to tell.
            let _best_effort = writeln!(io::stderr(), "{label}: {error:#}");
            let is_of_flags = error
                .downcast_ref::<log::Error>()
                .is_some_and(log::Error::is_of_settings);
            ExitCode::from(if is_of_flags {
                EXIT_USAGE
            } else {
                EXIT_FAILURE
            })
        }
    }
}

/// The configuration is wrong, or the server cannot start.
const EXIT_FAILURE: u8 = 1;
/// The command line is wrong; the library for it says the same.
const EXIT_USAGE: u8 = 2;
/// The drain time was over first.
const EXIT_CUT: u8 = 3;
/// A second signal; what shells report for SIGINT.
const EXIT_FORCED: u8 = 130;

/// `--drain-time-s` and its default as a duration.
const fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(seconds as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn envoys_flags_are_understood() {
        let cli = Cli::try_parse_from([
            "nuncio",
            "-c",
            "envoy.yaml",
            "--concurrency",
            "2",
            "-l",
            "debug",
            "--mode",
            "validate",
            "--component-log-level",
            "upstream:trace",
            "--drain-time-s",
            "5",
            "--disable-hot-restart",
        ])
        .unwrap();
        assert_eq!(cli.serve.mode, Mode::Validate);
        assert_eq!(cli.serve.concurrency, Some(2));
        assert_eq!(cli.serve.drain_time_s, 5);
        Cli::try_parse_from(["nuncio"]).unwrap_err();
        Cli::try_parse_from(["nuncio", "demo"]).unwrap();
    }

    #[test]
    fn envoys_other_flags_are_told_from_mistakes() {
        let said = |flag: &str| {
            let error = Cli::try_parse_from(["nuncio", "-c", "x", flag]).unwrap_err();
            unsupported(&error).map(|error| error.to_string())
        };
        for flag in OF_ENVOY {
            let text = said(flag).unwrap();
            let wanted = format!("not supported by nuncio: Envoy's flag '{flag}'");
            assert!(text.contains(&wanted), "{text}");
            assert!(said(&format!("{flag}=1")).unwrap().contains(&wanted));
        }
        assert_eq!(said("--no-such-flag"), None);
    }
}
