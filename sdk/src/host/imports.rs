//! The imports of the component: each call is one import.

use super::{Block, BucketSettings, Host, Members, RouteKind, Share, Target};
use crate::bindings::nuncio::filter::{
    health, http_stream, log as proxy_log, log_sink, metrics, regex, runtime, setup, token_bucket,
    types,
};
use crate::error::HostError;
use crate::filter::Interest;

/// The proxy that runs this instance.
pub(crate) struct Current;

impl Host for Current {
    fn intern_header(&self, name: &str) -> Result<u32, String> {
        setup::intern_header(name)
    }

    fn find_attribute(&self, name: &str) -> Result<u32, String> {
        setup::find_attribute(name)
    }

    fn compile_format(&self, text: &str) -> Result<u32, String> {
        setup::compile_format(text)
    }

    fn compile_json_format(&self, document: &str, omit_empty: bool) -> Result<u32, String> {
        setup::compile_json_format(document, omit_empty)
    }

    fn open_sink(&self, target: &Target) -> Result<u32, String> {
        log_sink::open(&match target {
            Target::File(path) => log_sink::Target::File(path.clone()),
            Target::Stdout => log_sink::Target::Stdout,
            Target::Stderr => log_sink::Target::Stderr,
        })
    }

    fn open_bucket(&self, key: &str, how: BucketSettings) -> Result<u32, String> {
        let settings = token_bucket::Settings {
            max_tokens: how.max_tokens,
            tokens_per_fill: how.tokens_per_fill,
            fill_interval_ns: u64::try_from(how.fill_interval.as_nanos()).unwrap_or(u64::MAX),
        };
        token_bucket::open(key, settings)
    }

    fn open_counter(&self, name: &str) -> Result<u32, String> {
        metrics::open_counter(name)
    }

    fn open_gauge(&self, name: &str) -> Result<u32, String> {
        metrics::open_gauge(name)
    }

    fn stat_prefix(&self) -> String {
        metrics::prefix()
    }

    fn compile_pattern(&self, expression: &str) -> Result<u32, String> {
        regex::compile(expression)
    }

    fn compile_substitution(&self, expression: &str, with: &str) -> Result<u32, String> {
        regex::compile_substitution(expression, with)
    }

    #[inline]
    fn get(&self, at: Block, name: u32) -> Option<Vec<u8>> {
        http_stream::get(at.into(), name)
    }

    #[inline]
    fn get_each(&self, at: Block, names: &[u32]) -> Vec<u8> {
        http_stream::get_each(at.into(), names)
    }

    #[inline]
    fn get_all(&self, at: Block, name: u32) -> Vec<Vec<u8>> {
        http_stream::get_all(at.into(), name)
    }

    #[inline]
    fn entries(&self, at: Block) -> Vec<(Vec<u8>, Vec<u8>)> {
        http_stream::entries(at.into())
    }

    #[inline]
    fn set(&self, at: Block, name: u32, value: &[u8]) -> Result<(), HostError> {
        http_stream::set(at.into(), name, value).map_err(HostError::from)
    }

    #[inline]
    fn append(&self, at: Block, name: u32, value: &[u8]) -> Result<(), HostError> {
        http_stream::append(at.into(), name, value).map_err(HostError::from)
    }

    #[inline]
    fn remove(&self, at: Block, name: u32) -> Result<(), HostError> {
        http_stream::remove(at.into(), name).map_err(HostError::from)
    }

    #[inline]
    fn attribute(&self, id: u32) -> Option<Vec<u8>> {
        http_stream::get_attribute(id)
    }

    #[inline]
    fn render(&self, format: u32) -> Vec<u8> {
        http_stream::render(format)
    }

    fn set_metadata(&self, namespace: &str, key: &str, value: &[u8]) -> Result<(), HostError> {
        http_stream::set_metadata(namespace, key, value).map_err(HostError::from)
    }

    fn metadata(&self, namespace: &str, key: &str) -> Option<Vec<u8>> {
        http_stream::metadata(namespace, key)
    }

    #[inline]
    fn replace_body(&self, body: &[u8]) -> Result<(), HostError> {
        http_stream::replace_body(body).map_err(HostError::from)
    }

    fn clear(&self, at: Block) -> Result<(), HostError> {
        http_stream::clear(at.into()).map_err(HostError::from)
    }

    fn add_body(&self, body: &[u8]) -> Result<(), HostError> {
        http_stream::add_body(body).map_err(HostError::from)
    }

    fn set_response_flag(&self, short_name: &str) {
        http_stream::set_response_flag(short_name);
    }

    fn limit_response_rate(&self, bytes_per_second: u64) {
        http_stream::limit_response_rate(bytes_per_second);
    }

    fn set_interest(&self, interest: Interest) {
        http_stream::set_interest(interest.into());
    }

    fn route(&self) -> Option<RouteKind> {
        http_stream::route().map(|kind| match kind {
            http_stream::RouteKind::Forward => RouteKind::Forward,
            http_stream::RouteKind::Redirect => RouteKind::Redirect,
            http_stream::RouteKind::DirectResponse => RouteKind::DirectResponse,
        })
    }

    fn clear_route_cache(&self) -> Result<(), HostError> {
        http_stream::clear_route_cache().map_err(HostError::from)
    }

    fn max_level(&self) -> log::LevelFilter {
        proxy_log::max_level().map_or(log::LevelFilter::Off, |level| match level {
            proxy_log::Level::Trace => log::LevelFilter::Trace,
            proxy_log::Level::Debug => log::LevelFilter::Debug,
            proxy_log::Level::Info => log::LevelFilter::Info,
            proxy_log::Level::Warn => log::LevelFilter::Warn,
            proxy_log::Level::Error => log::LevelFilter::Error,
        })
    }

    fn log(&self, level: log::Level, message: &str) {
        let level = match level {
            log::Level::Trace => proxy_log::Level::Trace,
            log::Level::Debug => proxy_log::Level::Debug,
            log::Level::Info => proxy_log::Level::Info,
            log::Level::Warn => proxy_log::Level::Warn,
            log::Level::Error => proxy_log::Level::Error,
        };
        proxy_log::write(level, message);
    }

    #[inline]
    fn write(&self, sink: u32, line: &[u8]) {
        log_sink::write(sink, line);
    }

    #[inline]
    fn write_format(&self, sink: u32, format: u32) {
        log_sink::write_format(sink, format);
    }

    #[inline]
    fn take(&self, bucket: u32, tokens: u32) -> bool {
        token_bucket::take(bucket, tokens)
    }

    #[inline]
    fn add(&self, counter: u32, n: u64) {
        metrics::add(counter, n);
    }

    fn count(&self, name: &str, n: u64) {
        metrics::count(name, n);
    }

    fn hold(&self, gauge: u32, limit: u64) -> bool {
        metrics::hold(gauge, limit)
    }

    fn has_runtime_layers(&self) -> bool {
        runtime::has_layers()
    }

    fn runtime_integer(&self, key: &str) -> Option<u64> {
        runtime::integer(key)
    }

    fn runtime_share(&self, key: &str) -> Option<Share> {
        runtime::share(key).map(|share| Share {
            numerator: share.numerator,
            denominator: share.denominator,
        })
    }

    fn is_failing(&self) -> bool {
        health::is_failing()
    }

    fn members(&self, cluster: &str) -> Option<Members> {
        health::members(cluster).map(|members| Members {
            total: members.total,
            healthy: members.healthy,
            degraded: members.degraded,
        })
    }

    fn own_cluster(&self) -> String {
        health::own_cluster()
    }

    fn set_health_check(&self) {
        health::set_health_check();
    }

    #[inline]
    fn matches(&self, pattern: u32, text: &[u8]) -> bool {
        regex::matches(pattern, text)
    }

    fn substitute(&self, substitution: u32, text: &[u8]) -> Vec<u8> {
        regex::substitute(substitution, text)
    }
}

impl From<Block> for types::Block {
    #[inline]
    fn from(block: Block) -> Self {
        match block {
            Block::RequestHeaders => Self::RequestHeaders,
            Block::RequestTrailers => Self::RequestTrailers,
            Block::ResponseHeaders => Self::ResponseHeaders,
            Block::ResponseTrailers => Self::ResponseTrailers,
        }
    }
}

impl From<http_stream::Error> for HostError {
    fn from(error: http_stream::Error) -> Self {
        match error {
            http_stream::Error::WrongPhase => Self::WrongPhase,
            http_stream::Error::Immutable => Self::Immutable,
            http_stream::Error::TooLarge => Self::TooLarge,
            http_stream::Error::InvalidValue => Self::InvalidValue,
        }
    }
}
