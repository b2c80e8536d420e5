//! `log`: lines of a filter in the proxy's log.

use super::super::bindings::log::{Host, Level};
use super::super::lines;
use super::super::state::State;

impl Host for State {
    fn max_level(&mut self) -> Option<Level> {
        lines::Level::most_verbose().map(Level::from)
    }

    fn write(&mut self, level: Level, message: String) {
        self.lines.write(level.into(), &message);
    }
}

impl From<Level> for lines::Level {
    fn from(level: Level) -> Self {
        match level {
            Level::Trace => Self::Trace,
            Level::Debug => Self::Debug,
            Level::Info => Self::Info,
            Level::Warn => Self::Warn,
            Level::Error => Self::Error,
        }
    }
}

impl From<lines::Level> for Level {
    fn from(level: lines::Level) -> Self {
        match level {
            lines::Level::Trace => Self::Trace,
            lines::Level::Debug => Self::Debug,
            lines::Level::Info => Self::Info,
            lines::Level::Warn => Self::Warn,
            lines::Level::Error => Self::Error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_map_both_ways() {
        for level in [
            Level::Trace,
            Level::Debug,
            Level::Info,
            Level::Warn,
            Level::Error,
        ] {
            assert_eq!(Level::from(lines::Level::from(level)) as u8, level as u8);
        }
    }
}
