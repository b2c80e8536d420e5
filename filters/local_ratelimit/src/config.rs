//! `envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit`.

use nuncio_filter_config::{Duration, HeaderValueOption, RuntimeFraction, Status, UInt32};
use serde::Deserialize;

/// The message.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The type URL, if the proxy hands it over.
    #[serde(default, rename = "@type")]
    _type: Option<String>,
    /// Before `.http_local_rate_limit` in the names of the statistics.
    pub stat_prefix: String,
    /// The response's status; 429 where it is absent or below 400.
    pub status: Option<Status>,
    /// The limit; without one nothing is limited.
    pub token_bucket: Option<TokenBucket>,
    /// Of how many requests a token is taken. None, where it is absent.
    pub filter_enabled: Option<RuntimeFraction>,
    /// Of how many requests above the limit are answered. None, where it is absent.
    pub filter_enforced: Option<RuntimeFraction>,
    /// To the request, where it is above the limit and goes on.
    #[serde(default)]
    pub request_headers_to_add_when_not_enforced: Vec<HeaderValueOption>,
    /// To the response that this filter makes.
    #[serde(default)]
    pub response_headers_to_add: Vec<HeaderValueOption>,
    /// gRPC status `RESOURCE_EXHAUSTED` in place of `UNAVAILABLE`.
    #[serde(default)]
    pub rate_limited_as_resource_exhausted: bool,
}

/// `envoy.type.v3.TokenBucket`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenBucket {
    /// How many it holds; 0 lets nothing through.
    pub max_tokens: UInt32,
    /// At least 1.
    #[serde(default = "one")]
    pub tokens_per_fill: UInt32,
    /// At least 50 ms.
    pub fill_interval: Duration,
}

const fn one() -> UInt32 {
    UInt32(1)
}
