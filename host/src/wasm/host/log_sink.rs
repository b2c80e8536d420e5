//! `log-sink`: outputs for access logs.
//!
//! A filter opens what its configuration grants and nothing else: a file's name from a guest would
//! otherwise be a way to write anywhere.

use std::sync::Arc;

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, WasmList};

use super::super::bindings::log_sink::Target;
use super::super::state::State;
use super::{check_text, intern, look_up};
use crate::observe::access_log;

type Context<'a> = StoreContextMut<'a, State>;

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut interface = linker.instance("nuncio:filter/log-sink@0.1.0")?;
    interface.func_wrap("open", |mut cx: Context<'_>, (target,): (Target,)| {
        Ok((open(cx.data_mut(), target),))
    })?;
    interface.func_wrap(
        "write",
        |cx: Context<'_>, (to, line): (u32, WasmList<u8>)| {
            if let Some(sink) = look_up(&cx.data().opened.sinks, to) {
                sink.write(line.as_le_slice(&cx));
            }
            Ok(())
        },
    )?;
    interface.func_wrap(
        "write-format",
        |mut cx: Context<'_>, (to, id): (u32, u32)| {
            write_format(cx.data_mut(), to, id);
            Ok(())
        },
    )
}

fn open(state: &mut State, target: Target) -> Result<u32, String> {
    let target = match target {
        Target::File(path) => {
            check_text(state, &path)?;
            access_log::Target::File(path.into())
        }
        Target::Stdout => access_log::Target::Stdout,
        Target::Stderr => access_log::Target::Stderr,
    };
    check_text(state, "")?;
    let sink = state.shared.sink(target)?;
    intern(&mut state.opened.sinks, sink, Arc::ptr_eq)
}

fn write_format(state: &mut State, to: u32, id: u32) {
    let (Some(sink), Some(format), Some(exchange)) = (
        look_up(&state.opened.sinks, to),
        look_up(&state.opened.formats, id),
        &state.exchange,
    ) else {
        return;
    };
    let line = Arc::make_mut(&mut state.outgoing);
    line.clear();
    format.render(exchange, line);
    sink.write(line);
}
