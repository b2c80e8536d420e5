//! What can go wrong before a filter runs.
//!
//! Owns the errors of loading a component and of starting a filter; their texts are for the person
//! who wrote the configuration or the filter. What goes wrong while a stream is served is
//! `outcome::Failure`.

use std::error::Error as StdError;
use std::path::PathBuf;

use super::outcome::Failure;

/// A cause that Wasmtime gave.
pub(super) type Cause = Box<dyn StdError + Send + Sync>;

/// Why the engine or a filter did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The engine's settings do not fit this machine.
    #[error("start the wasm engine")]
    Engine(#[source] Cause),
    /// No thread for the engine's clock.
    #[error("start the thread that interrupts filters")]
    Thread(#[source] std::io::Error),
    /// The component cannot be used.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The filter refused its configuration, in its own words.
    #[error("configure filter \"{filter}\": {message}")]
    Refused {
        /// The filter's name.
        filter: String,
        /// What the filter answered.
        message: String,
    },
    /// The filter failed while it was started or configured.
    #[error("start filter \"{filter}\"")]
    Start {
        /// The filter's name.
        filter: String,
        /// How it failed.
        #[source]
        failure: Failure,
    },
    /// `limits` outside of what the proxy gives.
    #[error("start filter \"{filter}\": {limit} must be between {least} and {most}")]
    Limit {
        /// The filter's name.
        filter: String,
        /// Which one.
        limit: &'static str,
        /// The least, with its unit.
        least: &'static str,
        /// The most, with its unit.
        most: &'static str,
    },
}

/// Why a component cannot be used as a filter.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("read component \"{}\"", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not WebAssembly at all.
    #[error("load component \"{name}\": it is not a WebAssembly component")]
    NotWasm {
        /// The file, or what else it is known by.
        name: String,
    },
    /// A module, not a component.
    #[error(
        "load component \"{name}\": it is a core module, not a component; build it for the target \
         wasm32-wasip2, or wrap it with `wasm-tools component new`"
    )]
    CoreModule {
        /// The file, or what else it is known by.
        name: String,
    },
    /// It does not compile.
    #[error("compile component \"{name}\"")]
    Compile {
        /// The file, or what else it is known by.
        name: String,
        /// What the compiler said.
        source: Cause,
    },
    /// A `.cwasm` of another engine.
    #[error(
        "load precompiled component \"{name}\": it was compiled for another version or machine; \
         give the .wasm instead"
    )]
    Precompiled {
        /// The file.
        name: String,
        /// What the engine said.
        source: Cause,
    },
    /// Precompiled code from elsewhere than a file that the operator named.
    #[error(
        "load component \"{name}\": precompiled code is taken from a local file alone; give the \
         .wasm instead"
    )]
    PrecompiledRefused {
        /// What it is known by.
        name: String,
    },
    /// Built for another version of the contract.
    #[error(
        "load component \"{name}\": it was built for {found}, and this proxy speaks {spoken}; \
         rebuild it with the matching version of nuncio-sdk or of wit/filter.wit"
    )]
    Contract {
        /// The file, or what else it is known by.
        name: String,
        /// The import or export that says so.
        found: String,
        /// What this proxy speaks.
        spoken: &'static str,
    },
    /// It is no filter.
    #[error(
        "load component \"{name}\": it does not export {wanted}, so it is no HTTP filter; with \
         nuncio-sdk, call its export macro once"
    )]
    NotFilter {
        /// The file, or what else it is known by.
        name: String,
        /// The export that is missing.
        wanted: &'static str,
    },
    /// It wants what no filter gets.
    #[error("load component \"{name}\": it imports {import}, {reason}")]
    Import {
        /// The file, or what else it is known by.
        name: String,
        /// The import.
        import: String,
        /// Why not, and what to do.
        reason: &'static str,
    },
    /// Its imports or exports have the right names and wrong types.
    #[error("link component \"{name}\": it does not fit the contract {spoken}")]
    Link {
        /// The file, or what else it is known by.
        name: String,
        /// What this proxy speaks.
        spoken: &'static str,
        /// What does not fit.
        source: Cause,
    },
}
