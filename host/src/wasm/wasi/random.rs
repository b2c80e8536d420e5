//! `wasi:random`: the system's randomness, for secrets too.

use wasmtime::component::Linker;

use super::super::state::State;
use crate::limits;

/// The system gave no randomness, or the guest wanted too much at once.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the system has no randomness: {0}")]
    System(getrandom::Error),
    #[error(
        "the guest wanted more than {} random bytes at once",
        limits::WASM_RANDOM_BYTES
    )]
    TooMuch,
}

fn fill(bytes: &mut [u8]) -> wasmtime::Result<()> {
    getrandom::fill(bytes).map_err(|error| Error::System(error).into())
}

fn number() -> wasmtime::Result<u64> {
    let mut bytes = [0; 8];
    fill(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}

fn many(length: u64) -> wasmtime::Result<Vec<u8>> {
    let length = usize::try_from(length)
        .ok()
        .filter(|_| length <= limits::WASM_RANDOM_BYTES);
    let mut bytes = vec![0; length.ok_or(Error::TooMuch)?];
    fill(&mut bytes)?;
    Ok(bytes)
}

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut random = linker.instance("wasi:random/random@0.2.0")?;
    random.func_wrap("get-random-bytes", |_, (length,): (u64,)| {
        Ok((many(length)?,))
    })?;
    random.func_wrap("get-random-u64", |_, (): ()| Ok((number()?,)))?;
    let mut insecure = linker.instance("wasi:random/insecure@0.2.0")?;
    insecure.func_wrap("get-insecure-random-bytes", |_, (length,): (u64,)| {
        Ok((many(length)?,))
    })?;
    insecure.func_wrap("get-insecure-random-u64", |_, (): ()| Ok((number()?,)))?;
    linker
        .instance("wasi:random/insecure-seed@0.2.0")?
        .func_wrap("insecure-seed", |_, (): ()| Ok(((number()?, number()?),)))
}
