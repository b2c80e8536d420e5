//! `wasi:io`: streams that are always ready, and polls that never wait.

use wasmtime::component::{ComponentType, Linker, Lower, Resource, WasmList};

use super::super::lines::Stream;
use super::super::state::State;
use super::{Context, hand_out, resource};

/// An `input-stream`: at its end from the beginning.
pub(super) struct InputStream;
/// An `output-stream`: its number is [`OUT`] or [`ERROR`].
pub(super) struct OutputStream;
/// A `pollable`: its number is [`READY`] or [`LATER`].
pub(super) struct Pollable;
/// An `error` of a stream. There never is one.
struct IoError;

/// Standard output.
pub(super) const OUT: u32 = 0;
/// Standard error.
pub(super) const ERROR: u32 = 1;
/// Ready now.
pub(super) const READY: u32 = 0;
/// Ready at a later time, which no hook can wait for.
pub(super) const LATER: u32 = 1;

/// Bytes that a guest may write at once.
const WRITE_BYTES: u64 = 64 * 1024;

/// `stream-error`.
#[derive(ComponentType, Lower)]
#[component(variant)]
enum StreamError {
    #[component(name = "last-operation-failed")]
    #[expect(dead_code, reason = "a case of the interface that does not occur")]
    LastOperationFailed(Resource<IoError>),
    #[component(name = "closed")]
    Closed,
}

/// A guest wanted to wait.
#[derive(Debug, thiserror::Error)]
#[error("the guest wanted to wait for time to pass, which a hook may not")]
struct WouldBlock;

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut error = linker.instance("wasi:io/error@0.2.0")?;
    resource::<IoError>(&mut error, "error")?;
    error.func_wrap(
        "[method]error.to-debug-string",
        |_, (_,): (Resource<IoError>,)| Ok((String::new(),)),
    )?;
    link_poll(linker)?;
    let mut streams = linker.instance("wasi:io/streams@0.2.0")?;
    resource::<InputStream>(&mut streams, "input-stream")?;
    resource::<OutputStream>(&mut streams, "output-stream")?;
    link_input(linker)?;
    link_output(linker)
}

fn link_poll(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut poll = linker.instance("wasi:io/poll@0.2.0")?;
    resource::<Pollable>(&mut poll, "pollable")?;
    poll.func_wrap(
        "[method]pollable.ready",
        |_, (pollable,): (Resource<Pollable>,)| Ok((pollable.rep() == READY,)),
    )?;
    poll.func_wrap(
        "[method]pollable.block",
        |_, (pollable,): (Resource<Pollable>,)| {
            if pollable.rep() == READY {
                Ok(())
            } else {
                Err(WouldBlock.into())
            }
        },
    )?;
    poll.func_wrap("poll", |_, (pollables,): (Vec<Resource<Pollable>>,)| {
        let ready: Vec<u32> = (0..)
            .zip(&pollables)
            .filter(|(_, pollable)| pollable.rep() == READY)
            .map(|(index, _)| index)
            .collect();
        if ready.is_empty() {
            Err(WouldBlock.into())
        } else {
            Ok((ready,))
        }
    })
}

fn link_input(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut streams = linker.instance("wasi:io/streams@0.2.0")?;
    for read in [
        "[method]input-stream.read",
        "[method]input-stream.blocking-read",
    ] {
        streams.func_wrap(read, |_, (_, _): (Resource<InputStream>, u64)| {
            Ok((Err::<Vec<u8>, _>(StreamError::Closed),))
        })?;
    }
    for skip in [
        "[method]input-stream.skip",
        "[method]input-stream.blocking-skip",
    ] {
        streams.func_wrap(skip, |_, (_, _): (Resource<InputStream>, u64)| {
            Ok((Err::<u64, _>(StreamError::Closed),))
        })?;
    }
    streams.func_wrap(
        "[method]input-stream.subscribe",
        |mut cx: Context<'_>, (_,): (Resource<InputStream>,)| {
            Ok((hand_out::<Pollable>(&mut cx, READY)?,))
        },
    )
}

fn link_output(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut streams = linker.instance("wasi:io/streams@0.2.0")?;
    streams.func_wrap(
        "[method]output-stream.check-write",
        |_, (_,): (Resource<OutputStream>,)| Ok((Ok::<_, StreamError>(WRITE_BYTES),)),
    )?;
    for write in [
        "[method]output-stream.write",
        "[method]output-stream.blocking-write-and-flush",
    ] {
        streams.func_wrap(
            write,
            |mut cx: Context<'_>, (to, bytes): (Resource<OutputStream>, WasmList<u8>)| {
                let kept = bytes.as_le_slice(&cx);
                let kept = kept.get(..WRITE_BYTES as usize).unwrap_or(kept).to_vec();
                cx.data_mut().lines.print(stream(&to), &kept);
                Ok((Ok::<_, StreamError>(()),))
            },
        )?;
    }
    for flush in [
        "[method]output-stream.flush",
        "[method]output-stream.blocking-flush",
    ] {
        streams.func_wrap(flush, |_, (_,): (Resource<OutputStream>,)| {
            Ok((Ok::<_, StreamError>(()),))
        })?;
    }
    for zeroes in [
        "[method]output-stream.write-zeroes",
        "[method]output-stream.blocking-write-zeroes-and-flush",
    ] {
        streams.func_wrap(zeroes, |_, (_, _): (Resource<OutputStream>, u64)| {
            Ok((Ok::<_, StreamError>(()),))
        })?;
    }
    for splice in [
        "[method]output-stream.splice",
        "[method]output-stream.blocking-splice",
    ] {
        type Params = (Resource<OutputStream>, Resource<InputStream>, u64);
        streams.func_wrap(splice, |_, (_, _, _): Params| {
            Ok((Err::<u64, _>(StreamError::Closed),))
        })?;
    }
    streams.func_wrap(
        "[method]output-stream.subscribe",
        |mut cx: Context<'_>, (_,): (Resource<OutputStream>,)| {
            Ok((hand_out::<Pollable>(&mut cx, READY)?,))
        },
    )
}

fn stream(of: &Resource<OutputStream>) -> Stream {
    if of.rep() == ERROR {
        Stream::Error
    } else {
        Stream::Out
    }
}
