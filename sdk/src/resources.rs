//! What outlives a stream: counters, gauges, token buckets and log sinks, which all workers share, and
//! regular expressions. They come from [`Setup`](crate::Setup).

use crate::host::{Current, Host};

/// A counter in the proxy's statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Counter(pub(crate) u32);

impl Counter {
    /// One more.
    #[inline]
    pub fn inc(self) {
        self.add(1);
    }

    /// `n` more.
    #[inline]
    pub fn add(self, n: u64) {
        Current.add(self.0, n);
    }
}

/// A gauge in the proxy's statistics: how many streams hold it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Gauge(pub(crate) u32);

impl Gauge {
    /// Holds it up by one until the current stream has ended, where it stands below `limit`: whether it
    /// does. True at once where this stream holds it up already.
    #[must_use]
    pub fn hold(self, limit: u64) -> bool {
        Current.hold(self.0, limit)
    }
}

/// A token bucket, exact to the token across all workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenBucket(pub(crate) u32);

impl TokenBucket {
    /// Takes `tokens`, or takes none and answers false.
    #[inline]
    #[must_use]
    pub fn take(self, tokens: u32) -> bool {
        Current.take(self.0, tokens)
    }
}

/// A regular expression that the proxy has compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pattern(pub(crate) u32);

impl Pattern {
    /// Whether it matches all of `text`.
    #[inline]
    #[must_use]
    pub fn matches(self, text: &[u8]) -> bool {
        Current.matches(self.0, text)
    }
}

/// What is replaced of texts, and by what; the proxy has compiled it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Substitution(pub(crate) u32);

impl Substitution {
    /// `text` with every match replaced; at most 1 MiB.
    #[must_use]
    pub fn apply(self, text: &[u8]) -> Vec<u8> {
        Current.substitute(self.0, text)
    }
}

/// An output for access logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sink(pub(crate) u32);

impl Sink {
    /// Hands bytes over; a line brings its own line end. Never blocks: what does not fit into the
    /// sink's buffer is counted and lost.
    #[inline]
    pub fn write(self, line: &[u8]) {
        Current.write(self.0, line);
    }
}
