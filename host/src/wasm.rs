//! The Wasm side: filters as components, from a file to the outcome of a hook.
//!
//! Owns the engine, the compile cache, the instances, the host side of the contract in `wit/` and
//! what a guest's failure costs. `build` makes a [`FilterSlot`] for each filter of a configuration;
//! a worker has one [`Instances`] and calls its hooks for each stream; `http` acts on the
//! [`Outcome`].
//!
//! Does not own: which filters a chain has and their order, what a reply looks like on the wire,
//! formats and sinks (`observe`).
//!
//! The hops of a call: `Instances::on_…` → `Instance::call` → the guest → `host::*` → back, then
//! `outcome::settle` where it failed.

mod bindings;
mod cache;
mod component;
mod engine;
mod error;
mod held;
mod host;
mod instance;
mod instances;
mod lines;
mod outcome;
mod places;
mod slot;
mod state;
mod ticker;
mod wasi;

pub use cache::Cache;
pub use component::Component;
pub use engine::Engine;
pub use error::{Error, LoadError};
pub use instances::{Instances, SlotState};
pub use outcome::{Failure, FailureKind, LocalReply, Outcome, Upstream};
pub use slot::{
    BodyMode, FailurePolicy, FilterSlot, Grants, Interest, Isolation, Limits, Phases, RouteConfig,
    Services, SlotBuilder, SlotSpec, WasmStats,
};

#[cfg(test)]
mod tests;
