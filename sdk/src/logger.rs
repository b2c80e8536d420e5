//! The backend of the `log` crate: lines go to the proxy's log, under the filter's name.
//!
//! The proxy's level can change at any time, and asking costs an import, so it is asked at most once
//! a hook, and only when something is logged.

use std::cell::Cell;

use log::{LevelFilter, Log, Metadata, Record};

use crate::host::{Current, Host};

struct Logger;

static LOGGER: Logger = Logger;

thread_local! {
    /// The proxy's level, once it is known in this hook.
    static LEVEL: Cell<Option<LevelFilter>> = const { Cell::new(None) };
}

/// Makes the logger the program's, unless it has one.
pub(crate) fn install() {
    if log::set_logger(&LOGGER).is_ok() {
        log::set_max_level(LevelFilter::Trace);
    }
}

/// A hook begins: what is known about the level is out of date.
#[inline]
pub(crate) fn begin_hook() {
    LEVEL.set(None);
}

fn level() -> LevelFilter {
    LEVEL.get().unwrap_or_else(|| {
        let level = Current.max_level();
        LEVEL.set(Some(level));
        level
    })
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        match record.args().as_str() {
            Some(message) => Current.log(record.level(), message),
            None => Current.log(record.level(), &record.args().to_string()),
        }
    }

    fn flush(&self) {}
}
