//! `http-stream`: the stream that the current hook is about.
//!
//! Reading never fails: what is not there is none or empty. Changing is checked: the block must
//! still be held back ([`super::fields`] has the rules for fields), and what the guest adds is
//! bounded.

use std::sync::Arc;

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, WasmList};

use super::super::bindings::http_stream::{Error, RouteKind};
use super::super::bindings::types::{Block, Interest};
use super::super::outcome::flag_named;
use super::super::state::{Hook, State};
use super::fields::{self, Change};
use super::look_up;
use crate::exchange::{self, Exchange, Rate};
use crate::headers::Headers;
use crate::limits;

type Context<'a> = StoreContextMut<'a, State>;
type Bytes = Arc<Vec<u8>>;
type Answer = wasmtime::Result<(Result<(), Error>,)>;

/// Adds the interface.
pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut interface = linker.instance("nuncio:filter/http-stream@0.1.0")?;
    interface.func_wrap("get", get)?;
    interface.func_wrap("get-each", get_each)?;
    interface.func_wrap("get-all", |cx: Context<'_>, (at, name): (Block, u32)| {
        Ok((get_all(cx.data(), at, name),))
    })?;
    interface.func_wrap("entries", |cx: Context<'_>, (at,): (Block,)| {
        Ok((entries(cx.data(), at),))
    })?;
    interface.func_wrap(
        "set",
        |cx: Context<'_>, (at, name, value): (Block, u32, WasmList<u8>)| {
            change(cx, at, name, Some(value), Change::Set)
        },
    )?;
    interface.func_wrap(
        "append",
        |cx: Context<'_>, (at, name, value): (Block, u32, WasmList<u8>)| {
            change(cx, at, name, Some(value), Change::Append)
        },
    )?;
    interface.func_wrap("remove", |cx: Context<'_>, (at, name): (Block, u32)| {
        change(cx, at, name, None, Change::Remove)
    })?;
    interface.func_wrap("get-attribute", get_attribute)?;
    interface.func_wrap("render", render)?;
    interface.func_wrap("set-metadata", set_metadata)?;
    interface.func_wrap("metadata", metadata)?;
    interface.func_wrap("replace-body", replace_body)?;
    interface.func_wrap("clear", |mut cx: Context<'_>, (at,): (Block,)| {
        Ok((clear(cx.data_mut(), at),))
    })?;
    interface.func_wrap("add-body", add_body)?;
    interface.func_wrap(
        "set-response-flag",
        |mut cx: Context<'_>, (short,): (String,)| {
            if let Some(exchange) = &mut cx.data_mut().exchange {
                exchange.flags.insert_early(flag_named(&short));
            }
            Ok(())
        },
    )?;
    interface.func_wrap(
        "limit-response-rate",
        |mut cx: Context<'_>, (bytes_per_second,): (u64,)| {
            limit_response_rate(cx.data_mut(), bytes_per_second);
            Ok(())
        },
    )?;
    interface.func_wrap(
        "set-interest",
        |mut cx: Context<'_>, (interest,): (Interest,)| {
            cx.data_mut().want(interest.into());
            Ok(())
        },
    )?;
    interface.func_wrap("route", |cx: Context<'_>, (): ()| {
        let kind = cx
            .data()
            .exchange
            .as_ref()
            .and_then(|exchange| exchange.route_kind);
        Ok((kind.map(RouteKind::from),))
    })?;
    interface.func_wrap("clear-route-cache", |mut cx: Context<'_>, (): ()| {
        Ok((clear_route_cache(cx.data_mut()),))
    })
}

fn block(exchange: &Exchange, at: Block) -> &Headers {
    match at {
        Block::RequestHeaders => &exchange.request,
        Block::RequestTrailers => &exchange.request_trailers,
        Block::ResponseHeaders => &exchange.response,
        Block::ResponseTrailers => &exchange.response_trailers,
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the shape that the linker wants")]
fn get(mut cx: Context<'_>, (at, name): (Block, u32)) -> wasmtime::Result<(Option<Bytes>,)> {
    let state = cx.data_mut();
    let (Some(exchange), Some(name)) = (&state.exchange, look_up(&state.opened.names, name)) else {
        return Ok((None,));
    };
    let Some(value) = block(exchange, at).get(name) else {
        return Ok((None,));
    };
    Ok((Some(State::lower(&mut state.outgoing, value)),))
}

#[expect(clippy::unnecessary_wraps, reason = "the shape that the linker wants")]
fn get_each(
    mut cx: Context<'_>,
    (at, names): (Block, WasmList<u32>),
) -> wasmtime::Result<(Bytes,)> {
    // The guest's memory cannot be borrowed while the store is written.
    let mut ids = [0; limits::WASM_NAMES_AT_ONCE];
    let asked = names.as_le_slice(&cx);
    for (id, asked) in ids.iter_mut().zip(asked) {
        *id = u32::from_le(*asked);
    }
    let ids = ids.get(..asked.len()).unwrap_or_default();
    let state = cx.data_mut();
    let packed = Arc::make_mut(&mut state.outgoing);
    packed.clear();
    packed.resize(size_of_val(ids), 0xff);
    if let Some(exchange) = &state.exchange {
        let block = block(exchange, at);
        for (index, id) in ids.iter().enumerate() {
            let Some(value) = look_up(&state.opened.names, *id).and_then(|name| block.get(name))
            else {
                continue;
            };
            let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
            let place = packed.iter_mut().skip(index * size_of::<u32>());
            for (to, from) in place.zip(length.to_le_bytes()) {
                *to = from;
            }
            packed.extend_from_slice(value);
        }
    }
    Ok((Arc::clone(&state.outgoing),))
}

fn get_all(state: &State, at: Block, name: u32) -> Vec<Vec<u8>> {
    let (Some(exchange), Some(name)) = (&state.exchange, look_up(&state.opened.names, name)) else {
        return Vec::new();
    };
    block(exchange, at)
        .get_all(name)
        .map(<[u8]>::to_vec)
        .collect()
}

fn entries(state: &State, at: Block) -> Vec<(Vec<u8>, Vec<u8>)> {
    let Some(exchange) = &state.exchange else {
        return Vec::new();
    };
    let fields = block(exchange, at).iter();
    fields
        .map(|field| (field.name.to_vec(), field.value.to_vec()))
        .collect()
}

/// Changes a field. The exchange steps out of the store meanwhile, so that the value can be borrowed
/// from the guest's memory, which the store holds.
fn change(
    mut cx: Context<'_>,
    at: Block,
    name: u32,
    value: Option<WasmList<u8>>,
    change: Change,
) -> Answer {
    let Some(mut exchange) = cx.data_mut().exchange.take() else {
        return Ok((Err(Error::WrongPhase),));
    };
    let value = value
        .as_ref()
        .map_or(&[][..], |value| value.as_le_slice(&cx));
    let answer = apply(cx.data(), &mut exchange, at, name, value, change);
    cx.data_mut().exchange = Some(exchange);
    Ok((answer,))
}

fn apply(
    state: &State,
    exchange: &mut Exchange,
    at: Block,
    name: u32,
    value: &[u8],
    change: Change,
) -> Result<(), Error> {
    let name = look_up(&state.opened.names, name).ok_or(Error::InvalidValue)?;
    let change = (change, state.shared.limits.block);
    match at {
        Block::RequestHeaders if state.holds_request_head() => {
            fields::change_request(&mut exchange.request, name, value, change)
        }
        Block::ResponseHeaders if state.holds_response_head() => {
            let status = fields::change_response(&mut exchange.response, name, value, change)?;
            if let Some(status) = status {
                exchange.status = status;
            }
            Ok(())
        }
        Block::RequestTrailers if state.hook == Hook::RequestTrailers => {
            fields::change_trailers(&mut exchange.request_trailers, name, value, change)
        }
        Block::ResponseTrailers if state.hook == Hook::ResponseTrailers => {
            fields::change_trailers(&mut exchange.response_trailers, name, value, change)
        }
        _ => Err(Error::WrongPhase),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the shape that the linker wants")]
fn get_attribute(mut cx: Context<'_>, (id,): (u32,)) -> wasmtime::Result<(Option<Bytes>,)> {
    let state = cx.data_mut();
    let (Some(exchange), Some(attribute)) =
        (&state.exchange, look_up(&state.opened.attributes, id))
    else {
        return Ok((None,));
    };
    let bytes = Arc::make_mut(&mut state.outgoing);
    bytes.clear();
    let is_known = attribute.value(exchange, bytes);
    Ok((is_known.then(|| Arc::clone(&state.outgoing)),))
}

#[expect(clippy::unnecessary_wraps, reason = "the shape that the linker wants")]
fn render(mut cx: Context<'_>, (id,): (u32,)) -> wasmtime::Result<(Bytes,)> {
    let state = cx.data_mut();
    let bytes = Arc::make_mut(&mut state.outgoing);
    bytes.clear();
    if let (Some(exchange), Some(format)) = (&state.exchange, look_up(&state.opened.formats, id)) {
        format.render_header(exchange, bytes);
    }
    Ok((Arc::clone(&state.outgoing),))
}

#[expect(clippy::unnecessary_wraps, reason = "the shape that the linker wants")]
fn set_metadata(
    mut cx: Context<'_>,
    (namespace, key, value): (String, String, WasmList<u8>),
) -> Answer {
    let Some(mut exchange) = cx.data_mut().exchange.take() else {
        return Ok((Err(Error::WrongPhase),));
    };
    let value = value.as_le_slice(&cx);
    let metadata = &mut exchange.metadata;
    let old = metadata.get(&namespace, &key);
    let replaced = old.map_or(0, |old| namespace.len() + key.len() + old.len());
    let added = namespace.len() + key.len() + value.len();
    let most = cx.data().shared.limits.metadata;
    let fits = metadata.byte_size() - replaced + added <= most;
    if fits {
        metadata.set(&namespace, &key, value);
    }
    cx.data_mut().exchange = Some(exchange);
    Ok((fits.then_some(()).ok_or(Error::TooLarge),))
}

#[expect(clippy::unnecessary_wraps, reason = "the shape that the linker wants")]
fn metadata(
    mut cx: Context<'_>,
    (namespace, key): (String, String),
) -> wasmtime::Result<(Option<Bytes>,)> {
    let state = cx.data_mut();
    let exchange = state.exchange.as_ref();
    let Some(value) = exchange.and_then(|exchange| exchange.metadata.get(&namespace, &key)) else {
        return Ok((None,));
    };
    Ok((Some(State::lower(&mut state.outgoing, value)),))
}

#[expect(clippy::unnecessary_wraps, reason = "the shape that the linker wants")]
fn replace_body(mut cx: Context<'_>, (body,): (WasmList<u8>,)) -> Answer {
    if !matches!(cx.data().hook, Hook::RequestBody | Hook::ResponseBody) {
        return Ok((Err(Error::WrongPhase),));
    }
    let body = body.as_le_slice(&cx);
    if body.len() > limits::WASM_BODY_BYTES {
        return Ok((Err(Error::TooLarge),));
    }
    let body = body.to_vec();
    cx.data_mut().replaced = Some(body);
    Ok((Ok(()),))
}

fn clear(state: &mut State, at: Block) -> Result<(), Error> {
    let exchange = state.exchange.as_mut().ok_or(Error::WrongPhase)?;
    match (at, state.hook) {
        (Block::RequestTrailers, Hook::RequestTrailers) => exchange.request_trailers.clear(),
        (Block::ResponseTrailers, Hook::ResponseTrailers) => exchange.response_trailers.clear(),
        _ => return Err(Error::WrongPhase),
    }
    Ok(())
}

#[expect(clippy::unnecessary_wraps, reason = "the shape that the linker wants")]
fn add_body(mut cx: Context<'_>, (body,): (WasmList<u8>,)) -> Answer {
    if !matches!(
        cx.data().hook,
        Hook::RequestTrailers | Hook::ResponseTrailers
    ) {
        return Ok((Err(Error::WrongPhase),));
    }
    let mut added = std::mem::take(&mut cx.data_mut().added);
    let body = body.as_le_slice(&cx);
    let fits = added.len() + body.len() <= limits::WASM_BODY_BYTES;
    if fits {
        added.extend_from_slice(body);
    }
    cx.data_mut().added = added;
    Ok((fits.then_some(()).ok_or(Error::TooLarge),))
}

fn limit_response_rate(state: &mut State, bytes_per_second: u64) {
    let holds = state.hook.is_of_request() || state.hook == Hook::ResponseHeaders;
    let Some(exchange) = state.exchange.as_mut().filter(|_| holds) else {
        return;
    };
    let rate = Rate::from_now(bytes_per_second);
    match &mut exchange.response_rate {
        Some(set) if set.bytes_per_second <= rate.bytes_per_second => {}
        set => *set = Some(rate),
    }
}

fn clear_route_cache(state: &mut State) -> Result<(), Error> {
    let holds = state.holds_request_head();
    match &mut state.exchange {
        Some(exchange) if holds => {
            exchange.route_cache_cleared = true;
            Ok(())
        }
        _ => Err(Error::WrongPhase),
    }
}

impl From<exchange::RouteKind> for RouteKind {
    fn from(kind: exchange::RouteKind) -> Self {
        match kind {
            exchange::RouteKind::Forward => Self::Forward,
            exchange::RouteKind::Redirect => Self::Redirect,
            exchange::RouteKind::DirectResponse => Self::DirectResponse,
        }
    }
}
