//! What a store holds: everything that the host functions of one instance work on.
//!
//! Owns the stream that is lent to the guest for the length of a call, what the guest opened while
//! it was configured, and the limits that belong to the instance. `instance` fills it before a call
//! and empties it after; `host` and `wasi` read and change it in between.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::{ResourceLimiter, StoreContextMut, UpdateDeadline};

use super::bindings::types::{LocalReply, Upstream};
use super::held::Held;
use super::lines::{Lines, Rate};
use super::slot::{BodyMode, Interest, Phases, Shared};
use super::ticker::{Budget, thread_cpu};
use crate::bucket::TokenBucket;
use crate::exchange::Exchange;
use crate::headers::Name;
use crate::observe::access_log::Sink;
use crate::observe::format::{Attribute, Format};
use crate::observe::stats::{SharedCounter, SharedGauge};
use crate::pattern::{Pattern, Substitution};

/// What a guest is being called for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    Configure,
    RequestHeaders,
    Resume,
    RequestBody,
    RequestTrailers,
    ResponseHeaders,
    ResponseBody,
    ResponseTrailers,
    Log,
    Done,
}

impl Hook {
    /// The name in `wit/`.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Configure => "configure",
            Self::RequestHeaders => "on-request-headers",
            Self::Resume => "on-resume",
            Self::RequestBody => "on-request-body",
            Self::RequestTrailers => "on-request-trailers",
            Self::ResponseHeaders => "on-response-headers",
            Self::ResponseBody => "on-response-body",
            Self::ResponseTrailers => "on-response-trailers",
            Self::Log => "on-log",
            Self::Done => "on-done",
        }
    }

    /// Whether it is about the request.
    pub(super) const fn is_of_request(self) -> bool {
        matches!(
            self,
            Self::RequestHeaders | Self::Resume | Self::RequestBody | Self::RequestTrailers
        )
    }
}

/// The data of a store.
pub(super) struct State {
    /// What all instances of the filter share.
    pub(super) shared: Arc<Shared>,
    /// The call that is under way.
    pub(super) hook: Hook,
    /// What the filter wants of the current stream.
    pub(super) interest: Interest,
    /// What it wants of it from now on, where it has said so.
    pub(super) wanted: Option<Interest>,
    /// The current stream, from the beginning of a hook to its end.
    pub(super) exchange: Option<Box<Exchange>>,
    /// The guest's token for the current stream.
    pub(super) token: u32,
    /// What the guest has said of the answer of the current hook.
    pub(super) said: Option<Box<Said>>,
    /// The gauges that this filter holds up for the current stream.
    pub(super) held: Vec<Held>,
    /// What the guest put in place of the chunk or body of the current hook.
    pub(super) replaced: Option<Vec<u8>>,
    /// What it added to a body in front of the trailers of the current hook.
    pub(super) added: Vec<u8>,
    /// What the guest looked up and opened while it was configured.
    pub(super) opened: Opened,
    /// The instance's lines in the log.
    pub(super) lines: Lines,
    /// WASI handles that the guest holds.
    pub(super) handles: u32,
    pub(super) memory: Memory,
    budget: Budget,
    /// Bytes on their way into the guest. Shared with the value that is being lowered, for no longer
    /// than one host call, so it is written in place and never allocated anew.
    pub(super) outgoing: Arc<Vec<u8>>,
}

/// What an answer says beyond its flow.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) reply: Option<LocalReply>,
    pub(super) forward: Option<Upstream>,
    pub(super) failure: Option<String>,
    pub(super) wait: Duration,
}

/// What ids stand for: each is an index.
#[derive(Debug, Default)]
pub(super) struct Opened {
    pub(super) names: Vec<Name>,
    pub(super) attributes: Vec<Attribute>,
    pub(super) formats: Vec<Arc<Format>>,
    pub(super) sinks: Vec<Arc<Sink>>,
    pub(super) buckets: Vec<Arc<TokenBucket>>,
    pub(super) counters: Vec<SharedCounter>,
    pub(super) gauges: Vec<SharedGauge>,
    pub(super) patterns: Vec<Pattern>,
    pub(super) substitutions: Vec<Arc<Substitution>>,
    /// Counters that were named while streams were served.
    pub(super) counted: HashMap<String, SharedCounter>,
    /// Whether those are all that the filter will ever have: further names are not looked up.
    pub(super) counted_all: bool,
}

impl State {
    pub(super) fn new(shared: Arc<Shared>, rate: Rate) -> Self {
        let memory = Memory {
            limit: shared.limits.memory,
            used: 0,
            refused: false,
        };
        Self {
            lines: Lines::new(Arc::clone(&shared.name), rate),
            shared,
            hook: Hook::Configure,
            interest: Interest::default(),
            wanted: None,
            exchange: None,
            token: 0,
            said: None,
            held: Vec::new(),
            replaced: None,
            added: Vec::new(),
            opened: Opened::default(),
            handles: 0,
            memory,
            budget: Budget::default(),
            outgoing: Arc::default(),
        }
    }

    /// A call begins.
    #[inline]
    pub(super) fn begin(&mut self, hook: Hook, cpu: Duration) {
        self.hook = hook;
        self.said = None;
        self.memory.refused = false;
        self.budget.restart(cpu);
    }

    /// The host begins to do something for the guest that may take long.
    pub(super) fn count_time(&mut self) {
        self.budget.count_from(thread_cpu());
    }

    /// The host has done something that may take long, and is not to be counted.
    pub(super) const fn forgive_time(&mut self) {
        self.budget.count_anew();
    }

    /// A copy of `value` that can be lowered.
    #[inline]
    pub(super) fn lower(outgoing: &mut Arc<Vec<u8>>, value: &[u8]) -> Arc<Vec<u8>> {
        value.clone_into(Arc::make_mut(outgoing));
        Arc::clone(outgoing)
    }

    /// Whether the head of the request can still be changed.
    pub(super) fn holds_request_head(&self) -> bool {
        match self.hook {
            Hook::RequestHeaders | Hook::Resume => true,
            Hook::RequestBody => self.interest.request_body == BodyMode::Buffered,
            _ => false,
        }
    }

    /// Takes up what the filter wants of the stream from now on.
    pub(super) const fn want(&mut self, wanted: Interest) {
        if !matches!(self.hook, Hook::Configure | Hook::Log | Hook::Done) {
            self.wanted = Some(wanted);
        }
    }

    /// Whether the head of the response can still be changed.
    pub(super) fn holds_response_head(&self) -> bool {
        match self.hook {
            Hook::ResponseHeaders => true,
            Hook::ResponseTrailers if !self.interest.wants.contains(Phases::RESPONSE_BODY) => false,
            Hook::ResponseBody | Hook::ResponseTrailers => {
                self.interest.response_body == BodyMode::Buffered
            }
            _ => false,
        }
    }
}

/// A call is over its processor time.
#[derive(Debug, thiserror::Error)]
#[error("the call used more than its processor time")]
pub(super) struct OutOfTime;

/// What the store asks at each tick that a call outlives.
pub(super) fn at_tick(mut cx: StoreContextMut<'_, State>) -> wasmtime::Result<UpdateDeadline> {
    let state = cx.data_mut();
    let ticker = state.shared.engine.ticker();
    if state.budget.has_begun() {
        ticker.hurry();
    } else {
        ticker.wake();
    }
    if state.budget.is_spent(thread_cpu()) {
        return Err(OutOfTime.into());
    }
    Ok(UpdateDeadline::Continue(1))
}

/// The limit on a guest's memories, all of them together, and whether it was met.
#[derive(Debug)]
pub(super) struct Memory {
    limit: usize,
    used: usize,
    pub(super) refused: bool,
}

impl ResourceLimiter for Memory {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let grown = self.used.saturating_sub(current).saturating_add(desired);
        let fits = grown <= self.limit;
        if fits {
            self.used = grown;
        }
        self.refused |= !fits;
        Ok(fits)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= crate::limits::WASM_TABLE_ELEMENTS)
    }
}
