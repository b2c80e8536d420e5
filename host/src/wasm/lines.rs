//! What filters, and failures of filters, say in the proxy's log.
//!
//! Owns the bounds: the length of a line and how many an instance may write in a second. Guests reach
//! it through `host::log` and through their standard output and error (`wasi::io`); `outcome` reports
//! failures through it. Does not own the log itself (`tracing`).

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::limits;

/// The logger that Envoy has for this.
const TARGET: &str = "wasm";

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

macro_rules! at_level {
    ($level:expr, $macro:ident, $($rest:tt)*) => {
        match $level {
            Level::Trace => tracing::$macro!(target: TARGET, tracing::Level::TRACE, $($rest)*),
            Level::Debug => tracing::$macro!(target: TARGET, tracing::Level::DEBUG, $($rest)*),
            Level::Info => tracing::$macro!(target: TARGET, tracing::Level::INFO, $($rest)*),
            Level::Warn => tracing::$macro!(target: TARGET, tracing::Level::WARN, $($rest)*),
            Level::Error => tracing::$macro!(target: TARGET, tracing::Level::ERROR, $($rest)*),
        }
    };
}

impl Level {
    /// From the most to the least verbose.
    const ALL: [Self; 5] = [
        Self::Trace,
        Self::Debug,
        Self::Info,
        Self::Warn,
        Self::Error,
    ];

    fn is_enabled(self) -> bool {
        at_level!(self, enabled, {})
    }

    /// The most verbose level that is written now.
    pub(super) fn most_verbose() -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.is_enabled())
    }
}

/// The lines of one instance. All instances of a filter on one worker share the rate.
#[derive(Debug)]
pub(super) struct Lines {
    filter: Arc<str>,
    rate: Rate,
    /// What the guest wrote to its standard output and error, up to the next line feed.
    partial: [Vec<u8>; 2],
}

impl Lines {
    pub(super) const fn new(filter: Arc<str>, rate: Rate) -> Self {
        Self {
            filter,
            rate,
            partial: [Vec::new(), Vec::new()],
        }
    }

    /// Writes a line, unless it is too much.
    pub(super) fn write(&self, level: Level, message: &str) {
        if !level.is_enabled() {
            return;
        }
        match self.rate.take(crate::clock::now()) {
            Verdict::Write => {}
            Verdict::WriteAfter(lost) => {
                let filter = &*self.filter;
                tracing::warn!(target: TARGET, filter, "{lost} lines of this filter were left out");
            }
            Verdict::LeaveOut => return,
        }
        let filter = &*self.filter;
        let message = cut(message);
        at_level!(level, event, filter, "{message}");
    }

    /// Takes what a guest wrote to a stream; each full line becomes a line of the log.
    pub(super) fn print(&mut self, stream: Stream, mut bytes: &[u8]) {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            let (line, rest) = bytes.split_at(end);
            self.gather(stream, line);
            self.flush(stream);
            bytes = rest.get(1..).unwrap_or_default();
        }
        self.gather(stream, bytes);
    }

    /// Writes what a guest has printed without a line feed.
    pub(super) fn flush_all(&mut self) {
        for stream in [Stream::Out, Stream::Error] {
            if self.partial.iter().any(|partial| !partial.is_empty()) {
                self.flush(stream);
            }
        }
    }

    fn partial(&mut self, stream: Stream) -> &mut Vec<u8> {
        let [out, error] = &mut self.partial;
        match stream {
            Stream::Out => out,
            Stream::Error => error,
        }
    }

    fn gather(&mut self, stream: Stream, bytes: &[u8]) {
        let partial = self.partial(stream);
        // One byte more than fits, so that the cut is seen.
        let room = (limits::WASM_LOG_LINE_BYTES + 1).saturating_sub(partial.len());
        partial.extend(bytes.iter().take(room));
    }

    fn flush(&mut self, stream: Stream) {
        let line = std::mem::take(self.partial(stream));
        if !line.is_empty() {
            let level = match stream {
                Stream::Out => Level::Info,
                Stream::Error => Level::Warn,
            };
            self.write(level, &String::from_utf8_lossy(&line));
        }
    }
}

/// A stream of a guest's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    /// Its lines are information.
    Out,
    /// Its lines are warnings: a panic's message comes here.
    Error,
}

/// The part of `message` that fits into a line.
fn cut(message: &str) -> std::borrow::Cow<'_, str> {
    if message.len() <= limits::WASM_LOG_LINE_BYTES {
        return message.into();
    }
    let end = message.floor_char_boundary(limits::WASM_LOG_LINE_BYTES);
    let (kept, _) = message.split_at(end);
    format!("{kept}…").into()
}

/// What becomes of a line.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Write,
    /// The first line after so many were left out.
    WriteAfter(u64),
    LeaveOut,
}

/// At most [`limits::WASM_LOG_LINES_PER_SECOND`], counted in whole seconds from the first line. A
/// clone is the same one.
#[derive(Clone, Debug, Default)]
pub(super) struct Rate(Rc<RefCell<Window>>);

#[derive(Debug, Default)]
struct Window {
    since: Option<Instant>,
    written: u32,
    lost: u64,
}

impl Rate {
    fn take(&self, now: Instant) -> Verdict {
        let mut window = self.0.borrow_mut();
        let fresh = window
            .since
            .is_none_or(|since| now.saturating_duration_since(since) >= Duration::from_secs(1));
        if fresh {
            window.since = Some(now);
            window.written = 0;
        }
        if window.written == limits::WASM_LOG_LINES_PER_SECOND {
            window.lost += 1;
            return Verdict::LeaveOut;
        }
        window.written += 1;
        match std::mem::take(&mut window.lost) {
            0 => Verdict::Write,
            lost => Verdict::WriteAfter(lost),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_counted() {
        let rate = Rate::default();
        let start = crate::clock::now();
        let written = (0..250)
            .filter(|_| rate.take(start) == Verdict::Write)
            .count();
        assert_eq!(written, limits::WASM_LOG_LINES_PER_SECOND as usize);
        let later = start + Duration::from_secs(1);
        assert_eq!(rate.take(later), Verdict::WriteAfter(150));
        assert_eq!(rate.take(later), Verdict::Write);
    }

    #[test]
    fn long_lines_are_cut_between_characters() {
        assert_eq!(cut("short"), "short");
        let long = "é".repeat(limits::WASM_LOG_LINE_BYTES);
        let cut = cut(&long);
        assert!(cut.ends_with("é…") && cut.len() <= limits::WASM_LOG_LINE_BYTES + "…".len());
    }

    #[test]
    fn output_is_gathered_to_lines_and_bounded() {
        let mut lines = Lines::new("f".into(), Rate::default());
        lines.print(Stream::Out, b"one\ntw");
        assert_eq!(lines.partial(Stream::Out), b"tw");
        lines.print(Stream::Error, b"other");
        lines.print(Stream::Out, b"o\n");
        assert!(lines.partial(Stream::Out).is_empty());
        assert_eq!(lines.partial(Stream::Error), b"other");
        lines.print(Stream::Out, &vec![b'x'; 10 * limits::WASM_LOG_LINE_BYTES]);
        assert_eq!(
            lines.partial(Stream::Out).len(),
            limits::WASM_LOG_LINE_BYTES + 1
        );
        lines.flush_all();
        assert!(lines.partial.iter().all(Vec::is_empty));
    }
}
