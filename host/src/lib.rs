//! Nuncio: an L7 proxy that runs Envoy's configuration, with WebAssembly components as its HTTP
//! filter chain.
//!
//! In reading order; a lower row may name a higher one's output, never its module. The bridges are
//! `build` and `server`.
//!
//! | module | owns |
//! | --- | --- |
//! | [`cli`] | arguments, subcommands, exit codes |
//! | [`server`] | the life of the process: start, serve, drain, stop |
//! | [`config`] | what was written: Envoy's v3 model, and errors with their places |
//! | [`build`] | from what was written to what runs, the only place where it can be refused |
//! | [`runtime`] | what runs: a snapshot, immutable |
//! | `listener` | sockets and accepting |
//! | [`tls`] | TLS: certificates, trust, handshakes |
//! | [`http`] | connections, the request function, bodies, hygiene, local replies |
//! | `tcp` | connections that are not HTTP's: the TCP proxy, echo, a fixed answer, gates |
//! | [`route`] | tables and matchers |
//! | [`upstream`] | clusters, discovery, balancing, health, breakers, pools |
//! | [`wasm`] | components, instances, the host side of the contract |
//! | [`observe`] | statistics, formats, access logs, the application log |
//! | [`admin`] | the admin pages |
//! | [`values`] | runtime values: what an operator changes while the proxy runs |
//! | `worker` | one thread's own world |
//! | [`address`], [`headers`], [`h1`], [`exchange`], [`variant`], [`socket`], [`socket_option`], [`certificate`], [`watched`], [`clock`], [`limits`], [`keepalive`], [`log_filter`], [`metadata`], `timer`, `bucket`, `nearest`, `pattern`, `filters`, `frames`, `uri` | leaves |
//!
//! The hops of a request: `listener::accept` → `http::connection::serve` → `http::stream::handle` →
//! `http::phases::request` → `http::forward::proxy` → `upstream::pool::acquire` →
//! `http::pump::pump`. A filter's hook is three more: `wasm::instances` → `wasm::instance` →
//! `wasm::host`.

pub mod address;
pub mod admin;
mod bucket;
pub mod build;
pub mod certificate;
pub mod cli;
pub mod clock;
pub mod config;
pub mod exchange;
mod filters;
mod frames;
pub mod h1;
pub mod headers;
pub mod http;
pub mod keepalive;
pub mod limits;
pub mod listener;
pub mod log_filter;
pub mod metadata;
mod nearest;
pub mod observe;
mod pattern;
pub mod proxy_header;
pub mod route;
pub mod runtime;
pub mod server;
mod sniffed;
pub mod socket;
pub mod socket_option;
mod tcp;
mod timer;
pub mod tls;
pub mod upstream;
mod uri;
pub mod values;
pub mod variant;
pub mod vitals;
pub mod wasm;
pub mod watched;
mod worker;
