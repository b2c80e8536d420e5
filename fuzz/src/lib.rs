//! Fuzz targets as plain functions: each takes any bytes, and panics where the code under test breaks
//! a promise.
//!
//! `cargo fuzz run <target>` searches for such bytes; `cargo test` runs every target over its corpus
//! with a stable compiler. A target is a row of [`TARGETS`], a binary in `fuzz_targets/` and a folder
//! in `corpus/`.

pub mod configuration;
pub mod filters;
pub mod h1;
pub mod hygiene;
pub mod proxy;
pub mod route;
pub mod sniff;

/// A target: it panics on a fault.
pub type Target = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: &[(&str, Target)] = &[
    ("h1_request", h1::request),
    ("h1_response", h1::response),
    ("h1_chunked", h1::chunked),
    ("path", hygiene::path),
    ("client", hygiene::client),
    ("route_build", route::build),
    ("route_match", route::matches),
    ("config", configuration::document),
    ("format", configuration::format),
    ("client_hello", sniff::client_hello),
    ("proxy_header", sniff::proxy),
    ("http1", proxy::http1),
    ("http2", proxy::http2),
    ("upstream_http1", proxy::upstream_http1),
    ("upstream_http2", proxy::upstream_http2),
    ("grpc_web", filters::grpc_web),
    ("sessions", filters::sessions),
];

/// Runs a target over the files named on the command line, as to reproduce what a fuzzer found.
///
/// # Errors
/// Where a file cannot be read.
pub fn replay(target: Target) -> std::io::Result<()> {
    std::env::args_os()
        .skip(1)
        .try_for_each(|path| std::fs::read(path).map(|data| target(&data)))
}
