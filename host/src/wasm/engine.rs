//! The engine that all filters share.
//!
//! Owns Wasmtime's settings, what a guest may import, and the ticking thread. Built once by
//! `server`; compiles components and starts instances for the rest of `wasm`.
//!
//! The settings: synchronous calls on the caller's stack; epochs instead of fuel, because they cost
//! one comparison where fuel counts every block; a pool of slots, so that an instance starts without
//! a system call for each of its parts; memories that are mapped copy-on-write from the component.
//! The address space of a slot is small, so bounds are checked in code: that costs a guest a few
//! percent and keeps the proxy's virtual size printable.

use std::sync::Arc;

use wasmtime::component::Linker;
use wasmtime::{
    Config, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, WasmBacktraceDetails,
};

use super::cache::{Cache, Fingerprint};
use super::error::Error;
use super::places::Places;
use super::state::State;
use super::ticker::Ticker;
use super::{host, wasi};
use crate::limits;

/// Bytes behind a memory that trap, so that small offsets need no check of their own.
const GUARD_BYTES: u64 = 64 * 1024;
/// Bytes of an instance that the pool may keep resident for its next user instead of asking the
/// system for zeroes: what a small guest touches.
const KEEP_RESIDENT_BYTES: usize = 64 * 1024;
/// Frames of a guest's stack that a failure reports.
const BACKTRACE_FRAMES: std::num::NonZeroUsize = std::num::NonZeroUsize::new(16).unwrap();

/// The shared engine.
pub struct Engine {
    inner: wasmtime::Engine,
    linker: Linker<State>,
    ticker: Ticker,
    fingerprint: Fingerprint,
    cache: Cache,
    places: Arc<Places>,
}

impl Engine {
    /// Makes the engine and starts its ticking thread, which sleeps while no guest runs.
    ///
    /// # Errors
    /// When the address space for [`limits::WASM_INSTANCES`] instances or the thread is not to be
    /// had.
    pub fn new(cache: Cache) -> Result<Self, Error> {
        let inner =
            wasmtime::Engine::new(&config()).map_err(|error| Error::Engine(error.into()))?;
        let linker = linker(&inner).map_err(|error| Error::Engine(error.into()))?;
        let ticker = Ticker::start(inner.weak()).map_err(Error::Thread)?;
        let fingerprint = Fingerprint::of(inner.precompile_compatibility_hash());
        Ok(Self {
            inner,
            linker,
            ticker,
            fingerprint,
            cache,
            places: Arc::default(),
        })
    }

    pub(super) const fn inner(&self) -> &wasmtime::Engine {
        &self.inner
    }

    pub(super) const fn linker(&self) -> &Linker<State> {
        &self.linker
    }

    pub(super) const fn ticker(&self) -> &Ticker {
        &self.ticker
    }

    pub(super) const fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// Who has how many of its instances.
    pub(super) const fn places(&self) -> &Arc<Places> {
        &self.places
    }

    /// Where compiled components are kept.
    #[must_use]
    pub const fn cache(&self) -> &Cache {
        &self.cache
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("cache", &self.cache)
            .finish_non_exhaustive()
    }
}

fn config() -> Config {
    let mut config = Config::new();
    config
        .concurrency_support(false)
        .epoch_interruption(true)
        .cranelift_opt_level(OptLevel::Speed)
        .max_wasm_stack(limits::WASM_STACK_BYTES)
        .memory_reservation(limits::WASM_MEMORY_BYTES_MAX as u64)
        .memory_guard_size(GUARD_BYTES)
        .guard_before_linear_memory(false)
        .memory_init_cow(true)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .wasm_backtrace_max_frames(Some(BACKTRACE_FRAMES))
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool()));
    config
}

fn pool() -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(limits::WASM_INSTANCES)
        // Most components have three or four core instances and one memory.
        .total_core_instances(limits::WASM_INSTANCES.saturating_mul(4))
        .total_memories(limits::WASM_INSTANCES)
        .total_tables(limits::WASM_INSTANCES.saturating_mul(2))
        .max_core_instances_per_component(limits::WASM_CORE_INSTANCES)
        .max_memories_per_component(limits::WASM_MEMORIES)
        .max_tables_per_component(limits::WASM_TABLES)
        .max_tables_per_module(limits::WASM_TABLES)
        .max_memory_size(limits::WASM_MEMORY_BYTES_MAX)
        .table_elements(limits::WASM_TABLE_ELEMENTS)
        .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
        .table_keep_resident(KEEP_RESIDENT_BYTES)
        .max_unused_warm_slots(0);
    pool
}

fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    host::link(&mut linker)?;
    wasi::link(&mut linker)?;
    Ok(linker)
}
