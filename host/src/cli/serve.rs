//! The main form: load a configuration, say what is wrong with it, serve it.

use std::io::{self, IsTerminal, Write};
use std::num::NonZero;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;

use super::{EXIT_CUT, EXIT_FAILURE, EXIT_FORCED, LogArgs, Mode, ServeArgs, seconds};
use crate::admin::Admin;
use crate::build::{self, Built};
use crate::config::{self, Loaded, Source};
use crate::observe::log;
use crate::server::{self, Options, Stopped};

/// Runs what the flags say.
pub(super) fn run(args: &ServeArgs, give_back: fn()) -> anyhow::Result<ExitCode> {
    start_log(&args.log)?;
    let mut sources = Vec::new();
    if let Some(path) = &args.config_path {
        sources.push(Source::read(path)?);
    }
    if let Some(text) = &args.config_yaml {
        sources.push(Source::inline("--config-yaml", text.as_bytes().to_vec()));
    }
    let settings = build::Settings {
        workers: workers(args.concurrency),
        flush_interval: Duration::from_millis(u64::from(args.file_flush_interval_msec)),
        service_node: args.service_node.clone(),
        service_cluster: args.service_cluster.clone(),
    };
    let Some(built) = load(sources, &settings)? else {
        return Ok(ExitCode::from(EXIT_FAILURE));
    };
    if args.mode == Mode::Validate {
        let name = args
            .config_path
            .as_deref()
            .unwrap_or_else(|| Path::new("--config-yaml"));
        writeln!(io::stdout(), "configuration '{}' OK", name.display())?;
        return Ok(ExitCode::SUCCESS);
    }
    give_back();
    let options = Options {
        workers: settings.workers,
        drain_time: seconds(args.drain_time_s),
        shown: shown(args),
    };
    serve(built, &options, |_| {})
}

/// What `/server_info` shows of the flags, beside what is in [`Options`] itself.
fn shown(args: &ServeArgs) -> Vec<(&'static str, String)> {
    let text = |given: &Option<String>| given.clone().unwrap_or_default();
    let path = args.config_path.as_deref();
    vec![
        (
            "config_path",
            path.map_or_else(String::new, |path| path.display().to_string()),
        ),
        // It may have keys in it, which `/config_dump` does not show either.
        (
            "config_yaml",
            text(&args.config_yaml.as_ref().map(|_| "[redacted]".to_owned())),
        ),
        ("log_level", args.log.log_level.clone()),
        ("component_log_level", args.log.component_log_level.clone()),
        ("log_format", text(&args.log.log_format)),
        ("service_cluster", text(&args.service_cluster)),
        ("service_node", text(&args.service_node)),
        ("mode", "Serve".to_owned()),
    ]
}

/// Serves until a signal, and turns how it ended into an exit code.
pub(super) fn serve(
    built: Built,
    options: &Options,
    ready: impl FnOnce(&Admin),
) -> anyhow::Result<ExitCode> {
    Ok(match server::run(built, options, ready)? {
        Stopped::Drained => ExitCode::SUCCESS,
        Stopped::Cut => ExitCode::from(EXIT_CUT),
        Stopped::Forced => ExitCode::from(EXIT_FORCED),
    })
}

/// Loads and builds a configuration; prints its warnings, or all its errors and answers none.
pub(super) fn load(
    sources: Vec<Source>,
    settings: &build::Settings,
) -> anyhow::Result<Option<Built>> {
    load_with(sources, settings, |_| {})
}

/// As [`load`], with a look at the configuration as it was written.
pub(super) fn load_with(
    sources: Vec<Source>,
    settings: &build::Settings,
    look: impl FnOnce(&Loaded),
) -> anyhow::Result<Option<Built>> {
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let built = config::load(sources).and_then(|loaded| {
        look(&loaded);
        build::build(loaded, settings)
    });
    match built {
        Ok((built, warnings)) => {
            if !warnings.is_empty() {
                write!(io::stderr(), "{}", warnings.render(colour))?;
            }
            Ok(Some(built))
        }
        Err(errors) => {
            write!(io::stderr(), "{}", errors.render(colour))?;
            Ok(None)
        }
    }
}

/// Starts the application log.
pub(super) fn start_log(args: &LogArgs) -> anyhow::Result<()> {
    log::start(&log::Settings {
        level: &args.log_level,
        components: &args.component_log_level,
        format: args.log_format.as_deref(),
    })
    .context("start the log")
}

/// How many workers there are: as asked, else one for each hardware thread. 0 is 1, as in Envoy.
pub(super) fn workers(asked: Option<u32>) -> usize {
    match asked {
        Some(asked) => (asked as usize).max(1),
        None => std::thread::available_parallelism().map_or(1, NonZero::get),
    }
}
