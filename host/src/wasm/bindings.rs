//! What `wit/` says, as Rust: the only place that generates it.
//!
//! Owns no code of its own. `host` implements the imports, `instance` calls the exports, `outcome`
//! reads what they answer; none of the generated types leaves `wasm`.

wasmtime::component::bindgen!({
    path: "../wit",
    world: "filter",
    additional_derives: [PartialEq],
});

pub(super) use self::exports::nuncio::filter::http_filter::{Flow, Guest, Interest};
pub(super) use self::nuncio::filter::{
    answer, health, http_stream, log, log_sink, metrics, runtime, setup, token_bucket, types,
};
