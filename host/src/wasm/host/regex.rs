//! `regex`: expressions that the proxy compiles, matches and replaces for filters, as it does for routes.
//!
//! Compiled once for all instances of a filter and kept with it.

use std::sync::Arc;

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, WasmList};

use super::super::state::State;
use super::{check_text, intern, look_up};
use crate::headers::Headers;
use crate::limits;
use crate::pattern::Pattern;

type Context<'a> = StoreContextMut<'a, State>;

/// Adds the interface.
pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut interface = linker.instance("nuncio:filter/regex@0.1.0")?;
    interface.func_wrap(
        "compile",
        |mut cx: Context<'_>, (expression,): (String,)| Ok((compile(cx.data_mut(), expression),)),
    )?;
    interface.func_wrap(
        "matches",
        |mut cx: Context<'_>, (of, text): (u32, WasmList<u8>)| {
            admit(&mut cx, &text)?;
            let pattern = look_up(&cx.data().opened.patterns, of);
            let matches = pattern.is_some_and(|pattern| pattern.matches(text.as_le_slice(&cx)));
            matched(cx.data_mut());
            Ok((matches,))
        },
    )?;
    interface.func_wrap(
        "compile-substitution",
        |mut cx: Context<'_>, (expression, with): (String, String)| {
            Ok((compile_substitution(cx.data_mut(), expression, with),))
        },
    )?;
    interface.func_wrap(
        "substitute",
        |mut cx: Context<'_>, (of, text): (u32, WasmList<u8>)| {
            admit(&mut cx, &text)?;
            let mut out = Vec::new();
            if let Some(substitution) = look_up(&cx.data().opened.substitutions, of) {
                let text = text.as_le_slice(&cx);
                substitution.write_within(text, &mut out, limits::WASM_BODY_BYTES);
            }
            matched(cx.data_mut());
            Ok((out,))
        },
    )
}

/// No answer would be right: an expression that is to find something bad must not miss it.
#[derive(Debug, thiserror::Error)]
#[error("match an expression: the text has {length} bytes, and {limit} are the most")]
struct TextTooLong {
    length: usize,
    limit: usize,
}

/// Looks how long a text is before an expression is matched, and counts the time of a long one.
fn admit(cx: &mut Context<'_>, text: &WasmList<u8>) -> wasmtime::Result<()> {
    let length = text.as_le_slice(&*cx).len();
    if length > limits::WASM_MATCHED_BYTES {
        let limit = longest(cx.data());
        if length > limit {
            return Err(TextTooLong { length, limit }.into());
        }
    }
    if length > limits::WASM_COUNTED_BYTES && cx.data().shared.limits.counts_matches {
        cx.data_mut().count_time();
    }
    Ok(())
}

/// What a built-in filter matches takes as long as with an expression of a route, which nobody counts either.
fn matched(state: &mut State) {
    if !state.shared.limits.counts_matches {
        state.forgive_time();
    }
}

/// How long a text may be in a stream with heads that are longer than others' may be.
fn longest(state: &State) -> usize {
    let heads = state.exchange.iter().flat_map(|exchange| {
        let trailers = [&exchange.request_trailers, &exchange.response_trailers];
        trailers
            .into_iter()
            .chain([&exchange.request, &exchange.response])
    });
    let longest = heads.map(Headers::byte_size).max();
    longest.unwrap_or(0).max(limits::WASM_MATCHED_BYTES)
}

fn compile_substitution(
    state: &mut State,
    expression: String,
    with: String,
) -> Result<u32, String> {
    check_text(state, &expression)?;
    check_text(state, &with)?;
    let substitution = state.shared.substitution(expression, with)?;
    intern(&mut state.opened.substitutions, substitution, Arc::ptr_eq)
}

fn compile(state: &mut State, expression: String) -> Result<u32, String> {
    check_text(state, &expression)?;
    let pattern = state.shared.pattern(expression)?;
    intern(&mut state.opened.patterns, pattern, Pattern::is)
}
