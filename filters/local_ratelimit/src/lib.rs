//! `envoy.filters.http.local_ratelimit`: takes a token for each request from a bucket that all
//! workers share, and answers 429 when there is none.

mod config;
mod headers;
#[cfg(test)]
mod tests;

use std::time::Duration;

use nuncio_filter_config::{Fraction, Sampler};
use nuncio_sdk::{
    BucketSettings, Counter, Error, Exchange, Filter, Flow, Interest, LocalReply, RequestHeaders,
    Result, RouteConfig, Setup,
};

pub use config::{Config, TokenBucket};
use headers::HeadersToAdd;

/// The body of the response, and `%RESPONSE_CODE_DETAILS%`.
const RATE_LIMITED: &str = "local_rate_limited";
/// gRPC's `RESOURCE_EXHAUSTED`.
const RESOURCE_EXHAUSTED: u32 = 8;
/// The shortest `fill_interval`, as in Envoy.
const SHORTEST_FILL: Duration = Duration::from_millis(50);

/// The filter.
#[derive(Debug)]
pub struct LocalRateLimit {
    limit: Limit,
    enabled: Sampler,
    enforced: Sampler,
    status: u16,
    grpc_status: Option<u32>,
    to_response: HeadersToAdd,
    to_request: HeadersToAdd,
    counters: Counters,
}

/// What is let through.
#[derive(Debug)]
enum Limit {
    Everything,
    Nothing,
    Tokens(nuncio_sdk::TokenBucket),
}

#[derive(Debug)]
struct Counters {
    enabled: Counter,
    enforced: Counter,
    ok: Counter,
    rate_limited: Counter,
}

impl Filter for LocalRateLimit {
    type Config = Config;
    type Stream = ();

    fn configure(config: Config, setup: &mut Setup) -> Result<Self> {
        Self::with_bucket("default", config, setup)
    }

    /// In place of the filter's own, with a bucket for all routes that it is written for.
    fn configure_route(&self, config: &RouteConfig<'_>, setup: &mut Setup) -> Result<Self> {
        Self::with_bucket(&format!("route {}", config.id()), config.read()?, setup)
    }

    fn interest(&self) -> Interest {
        if self.enabled.never() {
            Interest::new()
        } else {
            Interest::new().request_headers()
        }
    }

    fn on_request_headers(&self, _: &mut (), cx: &mut RequestHeaders<'_>) -> Result<Flow> {
        if !self.enabled.sample() {
            return Ok(Flow::Next);
        }
        self.counters.enabled.inc();
        if self.limit.admits() {
            self.counters.ok.inc();
            return Ok(Flow::Next);
        }
        self.counters.rate_limited.inc();
        if !self.enforced.sample() {
            self.to_request.add_to_request(cx)?;
            return Ok(Flow::Next);
        }
        self.counters.enforced.inc();
        Ok(self.reply(cx).into())
    }
}

impl LocalRateLimit {
    fn with_bucket(key: &str, config: Config, setup: &mut Setup) -> Result<Self> {
        if config.stat_prefix.is_empty() {
            return Err(Error::msg("`stat_prefix` is empty"));
        }
        let limit = Limit::look_up(key, config.token_bucket.as_ref(), setup)?;
        let (enabled, enforced) = (
            Sampler::of(config.filter_enabled.as_ref(), Fraction::NONE),
            Sampler::of(config.filter_enforced.as_ref(), Fraction::NONE),
        );
        Ok(Self {
            limit,
            enabled,
            enforced,
            status: config
                .status
                .map_or(429, |status| if status.0 < 400 { 429 } else { status.0 }),
            grpc_status: config
                .rate_limited_as_resource_exhausted
                .then_some(RESOURCE_EXHAUSTED),
            to_response: HeadersToAdd::look_up(config.response_headers_to_add, setup)?,
            to_request: HeadersToAdd::look_up(
                config.request_headers_to_add_when_not_enforced,
                setup,
            )?,
            counters: Counters::open(&config.stat_prefix, setup)?,
        })
    }

    fn reply(&self, exchange: &Exchange<'_>) -> LocalReply {
        let mut reply = LocalReply::new(self.status)
            .with_body(RATE_LIMITED)
            .with_details(RATE_LIMITED)
            .with_response_flag("RL");
        reply.grpc_status = self.grpc_status;
        reply.headers = self.to_response.for_reply(exchange);
        reply
    }
}

impl Limit {
    fn look_up(key: &str, bucket: Option<&TokenBucket>, setup: &mut Setup) -> Result<Self> {
        let Some(bucket) = bucket else {
            return Ok(Self::Everything);
        };
        let fill_interval = bucket.fill_interval.0;
        if fill_interval < SHORTEST_FILL {
            return Err(Error::msg(
                "local rate limit token bucket fill timer must be >= 50ms (`token_bucket.fill_interval`)",
            ));
        }
        if bucket.tokens_per_fill.0 == 0 {
            return Err(Error::msg(
                "`token_bucket.tokens_per_fill` must be greater than 0",
            ));
        }
        if bucket.max_tokens.0 == 0 {
            return Ok(Self::Nothing);
        }
        let how = BucketSettings {
            max_tokens: bucket.max_tokens.0,
            tokens_per_fill: bucket.tokens_per_fill.0,
            fill_interval,
        };
        setup.token_bucket(key, how).map(Self::Tokens)
    }

    fn admits(&self) -> bool {
        match self {
            Self::Everything => true,
            Self::Nothing => false,
            Self::Tokens(bucket) => bucket.take(1),
        }
    }
}

impl Counters {
    fn open(prefix: &str, setup: &mut Setup) -> Result<Self> {
        let mut counter = |name| setup.counter(&format!("{prefix}.http_local_rate_limit.{name}"));
        // Envoy shows this one too; it counts descriptors, of which there are none here.
        counter("shadow_mode")?;
        Ok(Self {
            enabled: counter("enabled")?,
            enforced: counter("enforced")?,
            ok: counter("ok")?,
            rate_limited: counter("rate_limited")?,
        })
    }
}

nuncio_sdk::export_filter!(LocalRateLimit);
