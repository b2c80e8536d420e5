//! The application log: what the proxy says about itself, on standard error.
//!
//! Owns Envoy's flags for it (`--log-level`, `--component-log-level`, `--log-format`), the start of
//! the log, and the change of levels while it runs. A component is the target of an event, such as
//! `upstream` or `http`; an event without one belongs to the module of this crate that it is in.
//!
//! Does not own: access logs (`observe::access_log`).

use std::io::{self, IsTerminal as _};
use std::sync::OnceLock;

use tracing::level_filters::LevelFilter;
use tracing::subscriber::SetGlobalDefaultError;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{Layer, Registry, fmt, reload};

mod components;
mod pattern;
#[cfg(test)]
mod tests;

use components::{COMPONENTS, LIBRARIES};
use pattern::Pattern;

use crate::nearest::nearest;

/// The pattern of a line where `--log-format` gives none.
pub const DEFAULT_FORMAT: &str = "[%Y-%m-%d %T.%e][%t][%^%l%$][%n] %v";

/// How the log starts.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    /// `--log-level`: the least severe level that is logged.
    pub level: &'a str,
    /// `--component-log-level`: `component:level` pairs with commas, or nothing.
    pub components: &'a str,
    /// `--log-format`: a pattern in spdlog's letters; [`DEFAULT_FORMAT`] where there is none.
    pub format: Option<&'a str>,
}

/// Why the log cannot be started or changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not the name of a level.
    #[error("unknown log level \"{0}\", one of trace, debug, info, warning, error, critical, off")]
    Level(String),
    /// Not the name of a component.
    #[error("unknown log component \"{name}\"{}", hint(.nearest))]
    Component {
        /// As written.
        name: String,
        /// The name that it is nearest to.
        nearest: Option<&'static str>,
    },
    /// A pair without a colon.
    #[error("component log level \"{0}\" is not COMPONENT:LEVEL")]
    Pair(String),
    /// A letter that has no meaning in a pattern.
    #[error("unknown conversion \"%{conversion}\" at byte {position} of the log format")]
    Conversion {
        /// What stands behind the percent sign.
        conversion: String,
        /// Where the percent sign stands.
        position: usize,
    },
    /// Something else in the process has taken the place of the log.
    #[error("the log is started already")]
    Started(#[source] SetGlobalDefaultError),
    /// The levels are changed before the log is started.
    #[error("the log is not running")]
    NotRunning,
    /// The levels are changed after the log's end.
    #[error("change the levels of the log")]
    Ended(#[source] reload::Error),
}

fn hint(nearest: &Option<&'static str>) -> String {
    nearest.map_or_else(String::new, |name| format!(", did you mean \"{name}\"?"))
}

/// The running log's levels.
static LEVELS: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// Starts the log for the whole process.
///
/// # Errors
/// When a level, a component or the pattern does not parse, or the log is started already.
pub fn start(settings: &Settings<'_>) -> Result<(), Error> {
    let levels = levels(settings.level, settings.components)?;
    let (filter, handle) = reload::Layer::new(levels);
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let pattern = Pattern::new(settings.format.unwrap_or(DEFAULT_FORMAT), colour)?;
    let lines = fmt::layer().with_writer(io::stderr).event_format(pattern);
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(filter));
    tracing::subscriber::set_global_default(subscriber).map_err(Error::Started)?;
    // Only one call can come here: the one that became the default.
    let _first = LEVELS.set(handle);
    Ok(())
}

/// Changes the levels of the running log; the words are those of [`Settings`].
///
/// # Errors
/// When a level or a component does not parse, or the log is not running.
pub fn change(level: &str, components: &str) -> Result<(), Error> {
    let levels = levels(level, components)?;
    let handle = LEVELS.get().ok_or(Error::NotRunning)?;
    handle.reload(levels).map_err(Error::Ended)
}

/// The filter for a level and for exceptions from it. Libraries keep to warnings unless they are
/// named: at `debug` a compiler or a codec would bury everything else.
fn levels(level: &str, exceptions: &str) -> Result<Targets, Error> {
    let everywhere = parse_level(level)?;
    let mut targets = Targets::new().with_default(everywhere.min(LevelFilter::WARN));
    targets = targets.with_target(env!("CARGO_CRATE_NAME"), everywhere);
    targets = targets.with_targets(COMPONENTS.iter().map(|name| (*name, everywhere)));
    for pair in exceptions
        .split(',')
        .map(str::trim)
        .filter(|pair| !pair.is_empty())
    {
        let (name, level) = pair
            .split_once(':')
            .ok_or_else(|| Error::Pair(pair.to_owned()))?;
        let level = parse_level(level)?;
        let known = COMPONENTS.iter().chain(LIBRARIES);
        let Some(name) = known.clone().find(|known| **known == name) else {
            let nearest = nearest(name, known.copied());
            return Err(Error::Component {
                name: name.to_owned(),
                nearest,
            });
        };
        let module = format!("{}::{name}", env!("CARGO_CRATE_NAME"));
        targets = targets.with_target(*name, level).with_target(module, level);
    }
    Ok(targets)
}

fn parse_level(name: &str) -> Result<LevelFilter, Error> {
    Ok(match name {
        "trace" => LevelFilter::TRACE,
        "debug" => LevelFilter::DEBUG,
        "info" => LevelFilter::INFO,
        "warning" | "warn" => LevelFilter::WARN,
        // Nothing is logged above an error: what is critical ends the process with a message.
        "error" | "critical" => LevelFilter::ERROR,
        "off" => LevelFilter::OFF,
        _ => return Err(Error::Level(name.to_owned())),
    })
}
