//! The host side of the contract: what a guest may call.
//!
//! Owns the imports of the world `filter`, one file an interface. A mistake of a guest is an error
//! that it can handle, or is without effect where the contract has no error: a host function neither
//! panics nor traps, and whatever a guest can make the host hold has a limit.
//!
//! Interfaces that move bytes (`http-stream`, `log-sink`, `regex`) are linked by hand rather than through the
//! generated traits: those would copy every argument and result into a vector of its own, where
//! these functions borrow from the guest's memory and lower from a buffer that is reused. The names
//! and types are checked against the contract whenever a component is linked.

mod answer;
pub(super) mod fields;
mod health;
mod http_stream;
mod log;
mod log_sink;
mod metrics;
mod regex;
mod runtime;
mod setup;
mod token_bucket;

use wasmtime::component::{HasSelf, Linker};

use super::bindings;
use super::state::State;
use crate::limits;

/// Adds all interfaces of the contract.
pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    bindings::types::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    bindings::answer::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    bindings::setup::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    bindings::log::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    bindings::token_bucket::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    bindings::metrics::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    bindings::health::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    bindings::runtime::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    http_stream::link(linker)?;
    regex::link(linker)?;
    log_sink::link(linker)
}

impl bindings::types::Host for State {}

/// Why something is not looked up or opened outside of `configure`.
const TOO_LATE: &str = "only while the filter is being configured";

/// Checks a text that a guest passes while it is being configured.
fn check_text(state: &State, text: &str) -> Result<(), String> {
    if state.hook != super::state::Hook::Configure {
        return Err(TOO_LATE.to_owned());
    }
    if text.len() > limits::WASM_TEXT_BYTES {
        return Err(format!("longer than {} bytes", limits::WASM_TEXT_BYTES));
    }
    Ok(())
}

/// Puts `value` into a table that a guest fills, and answers its id. An equal value keeps its id.
fn intern<T>(
    table: &mut Vec<T>,
    value: T,
    is_same: impl Fn(&T, &T) -> bool,
) -> Result<u32, String> {
    let index = match table.iter().position(|old| is_same(old, &value)) {
        Some(index) => index,
        None if table.len() >= limits::WASM_INTERNED => {
            return Err(format!("more than {} of them", limits::WASM_INTERNED));
        }
        None => {
            table.push(value);
            table.len() - 1
        }
    };
    u32::try_from(index).map_err(|error| error.to_string())
}

/// What an id that a guest passes stands for.
fn look_up<T>(table: &[T], id: u32) -> Option<&T> {
    table.get(usize::try_from(id).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_bounded_and_keep_ids() {
        let mut table = Vec::new();
        for value in 0..limits::WASM_INTERNED {
            assert_eq!(intern(&mut table, value, PartialEq::eq), Ok(value as u32));
        }
        assert_eq!(intern(&mut table, 7, PartialEq::eq), Ok(7));
        let error = intern(&mut table, usize::MAX, PartialEq::eq).unwrap_err();
        assert_eq!(
            error,
            format!("more than {} of them", limits::WASM_INTERNED)
        );
        assert_eq!(look_up(&table, 3), Some(&3));
        assert_eq!(look_up(&table, u32::MAX), None);
    }
}
