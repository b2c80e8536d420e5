//! What a filter looks up while it is being configured, to use it by number later.

use crate::error::{Refused, Result};
use crate::host::{BucketSettings, Current, Host, Target};
use crate::resources::{Counter, Gauge, Pattern, Sink, Substitution, TokenBucket};

/// A header name that the proxy has looked up once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HeaderName(pub(crate) u32);

/// An attribute of the stream, such as `source.address`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Attribute(pub(crate) u32);

/// A compiled format, such as `%REQ(:path)%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Format(pub(crate) u32);

/// The proxy, while a filter is being configured.
#[derive(Debug)]
pub struct Setup {
    _private: (),
}

impl Setup {
    pub(crate) const fn new() -> Self {
        Self { _private: () }
    }

    /// Looks a header name up. `host` is `:authority`; pseudo-header fields are names too.
    ///
    /// # Errors
    /// Not a name that HTTP allows.
    pub fn header_name(&mut self, name: &str) -> Result<HeaderName> {
        match Current.intern_header(name) {
            Ok(id) => Ok(HeaderName(id)),
            Err(reason) => Err(Refused::new("look up header", name, reason).into()),
        }
    }

    /// Looks an attribute up by its name. The filter author's guide lists them.
    ///
    /// # Errors
    /// No such attribute.
    pub fn attribute(&mut self, name: &str) -> Result<Attribute> {
        match Current.find_attribute(name) {
            Ok(id) => Ok(Attribute(id)),
            Err(reason) => Err(Refused::new("look up attribute", name, reason).into()),
        }
    }

    /// Compiles a text with Envoy's command operators, such as `%REQ(:path)%`.
    ///
    /// # Errors
    /// Not a format, with the place.
    pub fn format(&mut self, text: &str) -> Result<Format> {
        match Current.compile_format(text) {
            Ok(id) => Ok(Format(id)),
            Err(reason) => Err(Refused::new("compile format", text, reason).into()),
        }
    }

    /// Compiles a JSON object whose strings are formats. It renders as one line; what is missing is
    /// `null`, or left out with `omit_empty`.
    ///
    /// # Errors
    /// Not a JSON object, or a string in it is not a format.
    pub fn json_format(&mut self, document: &str, omit_empty: bool) -> Result<Format> {
        match Current.compile_json_format(document, omit_empty) {
            Ok(id) => Ok(Format(id)),
            Err(reason) => Err(Refused::new("compile JSON format", document, reason).into()),
        }
    }

    /// Opens an output for access logs, of those that the proxy grants to the filter. The same target
    /// opened twice is the same sink.
    ///
    /// # Errors
    /// Not granted, or the file cannot be opened.
    pub fn log_sink(&mut self, target: &Target) -> Result<Sink> {
        match Current.open_sink(target) {
            Ok(id) => Ok(Sink(id)),
            Err(reason) => {
                let subject = match target {
                    Target::File(path) => path,
                    Target::Stdout => "stdout",
                    Target::Stderr => "stderr",
                };
                Err(Refused::new("open log sink", subject, reason).into())
            }
        }
    }

    /// Opens a token bucket that all workers share. The same `key` is the same bucket in every
    /// instance of this filter.
    ///
    /// # Errors
    /// Settings that are out of bounds, or a key that was opened with others.
    pub fn token_bucket(&mut self, key: &str, how: BucketSettings) -> Result<TokenBucket> {
        match Current.open_bucket(key, how) {
            Ok(id) => Ok(TokenBucket(id)),
            Err(reason) => Err(Refused::new("open token bucket", key, reason).into()),
        }
    }

    /// Opens a counter in the proxy's statistics. `name` is the whole name of the statistic.
    ///
    /// # Errors
    /// Not a name, or too many counters.
    pub fn counter(&mut self, name: &str) -> Result<Counter> {
        match Current.open_counter(name) {
            Ok(id) => Ok(Counter(id)),
            Err(reason) => Err(Refused::new("open counter", name, reason).into()),
        }
    }

    /// Opens a gauge in the proxy's statistics. `name` is the whole name of the statistic.
    ///
    /// # Errors
    /// Not a name, or too many gauges.
    pub fn gauge(&mut self, name: &str) -> Result<Gauge> {
        match Current.open_gauge(name) {
            Ok(id) => Ok(Gauge(id)),
            Err(reason) => Err(Refused::new("open gauge", name, reason).into()),
        }
    }

    /// What the statistics of the filter's chain begin with: `http.<stat_prefix>.`
    #[must_use]
    pub fn stat_prefix(&self) -> String {
        Current.stat_prefix()
    }

    /// What the proxy's own cluster is called (`node.cluster`); empty where it has no name.
    #[must_use]
    pub fn own_cluster(&self) -> String {
        Current.own_cluster()
    }

    /// Compiles a regular expression in RE2's syntax.
    ///
    /// # Errors
    /// Not an expression, or one that is too large.
    pub fn pattern(&mut self, expression: &str) -> Result<Pattern> {
        match Current.compile_pattern(expression) {
            Ok(id) => Ok(Pattern(id)),
            Err(reason) => {
                Err(Refused::new("compile regular expression", expression, reason).into())
            }
        }
    }

    /// Compiles a regular expression in RE2's syntax with what takes the place of its matches: a text in
    /// which `\1` is the first group, `\0` all of the match and `\\` a backslash.
    ///
    /// # Errors
    /// Not an expression, one that is too large, or a text with what is none of these behind a backslash.
    pub fn substitution(&mut self, expression: &str, with: &str) -> Result<Substitution> {
        match Current.compile_substitution(expression, with) {
            Ok(id) => Ok(Substitution(id)),
            Err(reason) => Err(Refused::new("compile substitution", expression, reason).into()),
        }
    }
}
