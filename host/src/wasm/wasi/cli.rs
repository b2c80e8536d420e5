//! `wasi:cli`: no environment, no arguments, no terminal; the standard streams; exit is a failure.

use wasmtime::component::{Linker, Resource};

use super::super::state::State;
use super::io::{ERROR, InputStream, OUT, OutputStream};
use super::{Context, hand_out, resource};

/// A guest ended its program.
#[derive(Debug, thiserror::Error)]
#[error("the guest called exit with status {0}")]
pub(in crate::wasm) struct Exit(u8);

struct TerminalInput;
struct TerminalOutput;

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut environment = linker.instance("wasi:cli/environment@0.2.0")?;
    environment.func_wrap("get-environment", |_, (): ()| {
        Ok((Vec::<(String, String)>::new(),))
    })?;
    environment.func_wrap("get-arguments", |_, (): ()| Ok((Vec::<String>::new(),)))?;
    environment.func_wrap("initial-cwd", |_, (): ()| Ok((None::<String>,)))?;

    let mut exit = linker.instance("wasi:cli/exit@0.2.0")?;
    exit.func_wrap(
        "exit",
        |_, (status,): (Result<(), ()>,)| -> wasmtime::Result<()> {
            Err(Exit(u8::from(status.is_err())).into())
        },
    )?;
    exit.func_wrap(
        "exit-with-code",
        |_, (code,): (u8,)| -> wasmtime::Result<()> { Err(Exit(code).into()) },
    )?;

    linker
        .instance("wasi:cli/stdin@0.2.0")?
        .func_wrap("get-stdin", |mut cx: Context<'_>, (): ()| {
            Ok((hand_out::<InputStream>(&mut cx, 0)?,))
        })?;
    linker
        .instance("wasi:cli/stdout@0.2.0")?
        .func_wrap("get-stdout", |mut cx: Context<'_>, (): ()| {
            Ok((hand_out::<OutputStream>(&mut cx, OUT)?,))
        })?;
    linker
        .instance("wasi:cli/stderr@0.2.0")?
        .func_wrap("get-stderr", |mut cx: Context<'_>, (): ()| {
            Ok((hand_out::<OutputStream>(&mut cx, ERROR)?,))
        })?;

    let mut input = linker.instance("wasi:cli/terminal-input@0.2.0")?;
    resource::<TerminalInput>(&mut input, "terminal-input")?;
    let mut output = linker.instance("wasi:cli/terminal-output@0.2.0")?;
    resource::<TerminalOutput>(&mut output, "terminal-output")?;
    linker
        .instance("wasi:cli/terminal-stdin@0.2.0")?
        .func_wrap("get-terminal-stdin", |_, (): ()| {
            Ok((None::<Resource<TerminalInput>>,))
        })?;
    linker
        .instance("wasi:cli/terminal-stdout@0.2.0")?
        .func_wrap("get-terminal-stdout", |_, (): ()| {
            Ok((None::<Resource<TerminalOutput>>,))
        })?;
    linker
        .instance("wasi:cli/terminal-stderr@0.2.0")?
        .func_wrap("get-terminal-stderr", |_, (): ()| {
            Ok((None::<Resource<TerminalOutput>>,))
        })
}
