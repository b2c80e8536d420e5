//! `wasi:clocks`: the proxy's clocks. A guest may look at them, not wait for them.

use std::sync::LazyLock;
use std::time::{Instant, UNIX_EPOCH};

use wasmtime::component::{ComponentType, Linker, Lower};

use super::super::state::State;
use super::io::{LATER, Pollable, READY};
use super::{Context, hand_out};
use crate::clock;

/// Where the monotonic clock of guests begins.
static ORIGIN: LazyLock<Instant> = LazyLock::new(clock::now);

/// `datetime`.
#[derive(ComponentType, Lower)]
#[component(record)]
struct Datetime {
    seconds: u64,
    nanoseconds: u32,
}

fn now() -> u64 {
    let origin = *ORIGIN;
    let since = clock::now().saturating_duration_since(origin);
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut monotonic = linker.instance("wasi:clocks/monotonic-clock@0.2.0")?;
    monotonic.func_wrap("now", |_, (): ()| Ok((now(),)))?;
    monotonic.func_wrap("resolution", |_, (): ()| Ok((1_u64,)))?;
    monotonic.func_wrap(
        "subscribe-instant",
        |mut cx: Context<'_>, (when,): (u64,)| {
            let rep = if when <= now() { READY } else { LATER };
            Ok((hand_out::<Pollable>(&mut cx, rep)?,))
        },
    )?;
    monotonic.func_wrap(
        "subscribe-duration",
        |mut cx: Context<'_>, (wait,): (u64,)| {
            let rep = if wait == 0 { READY } else { LATER };
            Ok((hand_out::<Pollable>(&mut cx, rep)?,))
        },
    )?;
    let mut wall = linker.instance("wasi:clocks/wall-clock@0.2.0")?;
    wall.func_wrap("now", |_, (): ()| {
        let since = clock::wall().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok((Datetime {
            seconds: since.as_secs(),
            nanoseconds: since.subsec_nanos(),
        },))
    })?;
    wall.func_wrap("resolution", |_, (): ()| {
        Ok((Datetime {
            seconds: 0,
            nanoseconds: 1,
        },))
    })
}
