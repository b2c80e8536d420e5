//! The parts of WASI 0.2 that a filter gets.
//!
//! Owns a host side that never blocks, because a hook runs on a worker's thread: standard output and
//! error are lines of the proxy's log, standard input is at its end, there are no files, no
//! environment and no arguments; clocks and randomness are real. A guest that wants to wait for time
//! to pass traps, and so does one that exits. Nothing else is linked, so a component that imports
//! more is refused when it is loaded.
//!
//! Written by hand, a handful of functions an interface: a ready-made implementation blocks on its
//! own runtime inside of stream and poll calls. WASI's versions from 0.2.0 on are served alike.

mod cli;
mod clocks;
mod filesystem;
mod io;
mod random;

use wasmtime::component::Linker;

use super::state::State;

pub(super) use cli::Exit;

type Context<'a> = wasmtime::StoreContextMut<'a, State>;

/// Adds all of it.
pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    io::link(linker)?;
    cli::link(linker)?;
    clocks::link(linker)?;
    random::link(linker)?;
    filesystem::link(linker)
}

/// Adds a resource of which handles are counted.
fn resource<T: 'static>(
    interface: &mut wasmtime::component::LinkerInstance<'_, State>,
    name: &str,
) -> wasmtime::Result<()> {
    let ty = wasmtime::component::ResourceType::host::<T>();
    interface.resource(name, ty, |mut cx, _| {
        let handles = &mut cx.data_mut().handles;
        *handles = handles.saturating_sub(1);
        Ok(())
    })
}

/// Too many handles.
#[derive(Debug, thiserror::Error)]
#[error(
    "the guest holds more than {} WASI handles",
    crate::limits::WASM_HANDLES
)]
struct TooManyHandles;

/// A handle for `rep`.
fn hand_out<T: 'static>(
    cx: &mut Context<'_>,
    rep: u32,
) -> wasmtime::Result<wasmtime::component::Resource<T>> {
    let handles = &mut cx.data_mut().handles;
    if *handles >= crate::limits::WASM_HANDLES {
        return Err(TooManyHandles.into());
    }
    *handles += 1;
    Ok(wasmtime::component::Resource::new_own(rep))
}
