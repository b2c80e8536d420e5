//! The calls into the proxy, behind one seam.
//!
//! [`Current`] is the imports of the component when built for WebAssembly, so a call costs nothing
//! more than the import, and natively the fake host of the running test, if there is one. Nothing
//! else in this crate knows the difference.

use std::time::Duration;

use crate::error::HostError;
use crate::filter::Interest;

#[cfg(all(not(target_arch = "wasm32"), not(feature = "testing")))]
mod absent;
#[cfg(all(not(target_arch = "wasm32"), feature = "testing"))]
pub(crate) mod fake;
#[cfg(target_arch = "wasm32")]
mod imports;

#[cfg(all(not(target_arch = "wasm32"), not(feature = "testing")))]
pub(crate) use absent::Current;
#[cfg(all(not(target_arch = "wasm32"), feature = "testing"))]
pub(crate) use fake::Current;
#[cfg(target_arch = "wasm32")]
pub(crate) use imports::Current;

/// The four blocks of fields of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Block {
    RequestHeaders,
    RequestTrailers,
    ResponseHeaders,
    ResponseTrailers,
}

/// What the matched route does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RouteKind {
    /// Sends the request to a cluster.
    Forward,
    /// Answers with a redirect.
    Redirect,
    /// Answers with what is configured.
    DirectResponse,
}

/// Where a log sink writes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A file, by its path.
    File(String),
    /// Standard output of the proxy.
    Stdout,
    /// Standard error of the proxy.
    Stderr,
}

/// How a token bucket fills. It starts full, and refills continuously in whole tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketSettings {
    /// At least 1.
    pub max_tokens: u32,
    /// At least 1.
    pub tokens_per_fill: u32,
    /// At least 50 ms.
    pub fill_interval: Duration,
}

/// How many endpoints a cluster has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// All of them.
    pub total: u32,
    /// Those that can be used, without the degraded ones.
    pub healthy: u32,
    /// Those that say that they would rather have less to do.
    pub degraded: u32,
}

/// A share of all requests: `numerator` of `denominator`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// How many; more than there are is all of them.
    pub numerator: u32,
    /// Of how many; not 0.
    pub denominator: u32,
}

/// The imports of the contract. Names and meaning are those of `wit/filter.wit`.
pub(crate) trait Host {
    fn intern_header(&self, name: &str) -> Result<u32, String>;
    fn find_attribute(&self, name: &str) -> Result<u32, String>;
    fn compile_format(&self, text: &str) -> Result<u32, String>;
    fn compile_json_format(&self, document: &str, omit_empty: bool) -> Result<u32, String>;
    fn open_sink(&self, target: &Target) -> Result<u32, String>;
    fn open_bucket(&self, key: &str, how: BucketSettings) -> Result<u32, String>;
    fn open_counter(&self, name: &str) -> Result<u32, String>;
    fn open_gauge(&self, name: &str) -> Result<u32, String>;
    fn stat_prefix(&self) -> String;
    fn compile_pattern(&self, expression: &str) -> Result<u32, String>;
    fn compile_substitution(&self, expression: &str, with: &str) -> Result<u32, String>;

    fn get(&self, at: Block, name: u32) -> Option<Vec<u8>>;
    fn get_each(&self, at: Block, names: &[u32]) -> Vec<u8>;
    fn get_all(&self, at: Block, name: u32) -> Vec<Vec<u8>>;
    fn entries(&self, at: Block) -> Vec<(Vec<u8>, Vec<u8>)>;
    fn set(&self, at: Block, name: u32, value: &[u8]) -> Result<(), HostError>;
    fn append(&self, at: Block, name: u32, value: &[u8]) -> Result<(), HostError>;
    fn remove(&self, at: Block, name: u32) -> Result<(), HostError>;

    fn attribute(&self, id: u32) -> Option<Vec<u8>>;
    fn render(&self, format: u32) -> Vec<u8>;
    fn set_metadata(&self, namespace: &str, key: &str, value: &[u8]) -> Result<(), HostError>;
    fn metadata(&self, namespace: &str, key: &str) -> Option<Vec<u8>>;
    fn replace_body(&self, body: &[u8]) -> Result<(), HostError>;
    fn clear(&self, at: Block) -> Result<(), HostError>;
    fn add_body(&self, body: &[u8]) -> Result<(), HostError>;
    fn set_response_flag(&self, short_name: &str);
    fn limit_response_rate(&self, bytes_per_second: u64);
    fn set_interest(&self, interest: Interest);
    fn route(&self) -> Option<RouteKind>;
    fn clear_route_cache(&self) -> Result<(), HostError>;

    fn max_level(&self) -> log::LevelFilter;
    fn log(&self, level: log::Level, message: &str);
    fn write(&self, sink: u32, line: &[u8]);
    fn write_format(&self, sink: u32, format: u32);
    fn take(&self, bucket: u32, tokens: u32) -> bool;
    fn add(&self, counter: u32, n: u64);
    fn count(&self, name: &str, n: u64);
    fn hold(&self, gauge: u32, limit: u64) -> bool;
    fn has_runtime_layers(&self) -> bool;
    fn runtime_integer(&self, key: &str) -> Option<u64>;
    fn runtime_share(&self, key: &str) -> Option<Share>;
    fn is_failing(&self) -> bool;
    fn members(&self, cluster: &str) -> Option<Members>;
    fn own_cluster(&self) -> String;
    fn set_health_check(&self);
    fn matches(&self, pattern: u32, text: &[u8]) -> bool;
    fn substitute(&self, substitution: u32, text: &[u8]) -> Vec<u8>;
}
