//! The application log: what the proxy says about itself, on standard error.
//!
//! Owns Envoy's flags for it (`--log-level`, `--component-log-level`, `--log-format`), the start of
//! the log, and the change of levels while it runs. A component is the target of an event, such as
//! `upstream` or `http`; an event without one belongs to the module of this crate that it is in.
//!
//! Does not own: access logs (`observe::access_log`).

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _};
use std::sync::{Mutex, OnceLock, PoisonError};

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

impl Error {
    /// Whether what somebody has written is wrong.
    #[must_use]
    pub const fn is_of_settings(&self) -> bool {
        match self {
            Self::Level(_) | Self::Component { .. } | Self::Pair(_) | Self::Conversion { .. } => {
                true
            }
            Self::Started(_) | Self::NotRunning | Self::Ended(_) => false,
        }
    }
}

fn hint(nearest: &Option<&'static str>) -> String {
    nearest.map_or_else(String::new, |name| format!(", did you mean \"{name}\"?"))
}

/// The running log's levels.
static RUNNING: OnceLock<Running> = OnceLock::new();

struct Running {
    handle: reload::Handle<Targets, Registry>,
    levels: Mutex<Levels>,
}

/// What is changed while the log runs.
#[derive(Clone, Debug)]
pub enum Change<'a> {
    /// Everything to one level.
    All(&'a str),
    /// Components, each to a level of its own; all of them or, with an error, none.
    Some(Vec<(&'a str, &'a str)>),
}

/// Starts the log for the whole process.
///
/// # Errors
/// When a level, a component or the pattern does not parse, or the log is started already.
pub fn start(settings: &Settings<'_>) -> Result<(), Error> {
    let levels = Levels::parse(settings.level, settings.components)?;
    let (filter, handle) = reload::Layer::new(levels.targets());
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let pattern = Pattern::new(settings.format.unwrap_or(DEFAULT_FORMAT), colour)?;
    let lines = fmt::layer().with_writer(io::stderr).event_format(pattern);
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(filter));
    tracing::subscriber::set_global_default(subscriber).map_err(Error::Started)?;
    // Only one call can come here: the one that became the default.
    let _first = RUNNING.set(Running {
        handle,
        levels: Mutex::new(levels),
    });
    Ok(())
}

/// Changes the levels of the running log.
///
/// # Errors
/// When a level or a component does not parse, or the log is not running.
pub fn change(change: &Change<'_>) -> Result<(), Error> {
    let running = RUNNING.get().ok_or(Error::NotRunning)?;
    let mut levels = running
        .levels
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let changed = levels.after(change)?;
    running
        .handle
        .reload(changed.targets())
        .map_err(Error::Ended)?;
    *levels = changed;
    Ok(())
}

/// What is logged of each component: names and levels, in the order of the names.
#[must_use]
pub fn shown() -> Vec<(&'static str, &'static str)> {
    let levels = RUNNING.get().map(|running| &running.levels);
    levels.map_or_else(Vec::new, |levels| {
        let levels = levels.lock().unwrap_or_else(PoisonError::into_inner);
        levels.of_components().collect()
    })
}

/// What is logged. Libraries keep to warnings unless they are named: at `debug` a compiler or a codec
/// would bury everything else.
#[derive(Clone, Debug)]
struct Levels {
    everywhere: Level,
    exceptions: BTreeMap<&'static str, Level>,
}

impl Levels {
    /// A level, and exceptions from it as `component:level` pairs with commas.
    fn parse(level: &str, exceptions: &str) -> Result<Self, Error> {
        let mut levels = Self {
            everywhere: Level::parse(level)?,
            exceptions: BTreeMap::new(),
        };
        let pairs = exceptions.split(',').map(str::trim);
        for pair in pairs.filter(|pair| !pair.is_empty()) {
            let (name, level) = pair
                .split_once(':')
                .ok_or_else(|| Error::Pair(pair.to_owned()))?;
            levels.set(name, level)?;
        }
        Ok(levels)
    }

    fn set(&mut self, name: &str, level: &str) -> Result<(), Error> {
        let level = Level::parse(level)?;
        let known = COMPONENTS.iter().chain(LIBRARIES);
        let Some(name) = known.clone().find(|known| **known == name) else {
            let nearest = nearest(name, known.copied());
            return Err(Error::Component {
                name: name.to_owned(),
                nearest,
            });
        };
        self.exceptions.insert(name, level);
        Ok(())
    }

    fn after(&self, change: &Change<'_>) -> Result<Self, Error> {
        match change {
            Change::All(level) => Self::parse(level, ""),
            Change::Some(pairs) => {
                let mut changed = self.clone();
                for (name, level) in pairs {
                    changed.set(name, level)?;
                }
                Ok(changed)
            }
        }
    }

    fn of_components(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        COMPONENTS.iter().map(|name| {
            let level = self.exceptions.get(name).unwrap_or(&self.everywhere);
            (*name, level.as_str())
        })
    }

    /// The same as a filter.
    fn targets(&self) -> Targets {
        let everywhere = self.everywhere.filter();
        let mut targets = Targets::new().with_default(everywhere.min(LevelFilter::WARN));
        targets = targets.with_target(env!("CARGO_CRATE_NAME"), everywhere);
        targets = targets.with_targets(COMPONENTS.iter().map(|name| (*name, everywhere)));
        for (name, level) in &self.exceptions {
            let module = format!("{}::{name}", env!("CARGO_CRATE_NAME"));
            let level = level.filter();
            targets = targets.with_target(*name, level).with_target(module, level);
        }
        targets
    }
}

/// A level, by Envoy's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Trace,
    Debug,
    Info,
    Warning,
    Error,
    Critical,
    Off,
}

impl Level {
    fn parse(name: &str) -> Result<Self, Error> {
        Ok(match name {
            "trace" => Self::Trace,
            "debug" => Self::Debug,
            "info" => Self::Info,
            "warning" | "warn" => Self::Warning,
            "error" => Self::Error,
            "critical" => Self::Critical,
            "off" => Self::Off,
            _ => return Err(Error::Level(name.to_owned())),
        })
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
            Self::Off => "off",
        }
    }

    const fn filter(self) -> LevelFilter {
        match self {
            Self::Trace => LevelFilter::TRACE,
            Self::Debug => LevelFilter::DEBUG,
            Self::Info => LevelFilter::INFO,
            Self::Warning => LevelFilter::WARN,
            // Nothing is logged above an error: what is critical ends the process with a message.
            Self::Error | Self::Critical => LevelFilter::ERROR,
            Self::Off => LevelFilter::OFF,
        }
    }
}
