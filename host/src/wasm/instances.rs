//! A worker's instances of all filters, and the calls of their hooks.
//!
//! Owns which instance serves which stream (the filter's isolation), the replacement of instances
//! that failed, and the end of instances whose filter is gone. `http` calls a hook for each phase that
//! a filter wants, in the chain's order, and [`Instances::on_done`] at the end of each stream.
//!
//! An instance is started when it is first needed, on the worker's own thread: starting one costs
//! some 20 µs and its `configure`. Where that is long, the replacement of one that failed has to wait
//! ([`Rest`]), so that a filter which fails again and again does not take the worker from others. State that a guest keeps for a stream belongs to one instance; the
//! generation in [`SlotState`] tells whether it is still that one.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use wasmtime::Store;

use super::bindings::{Flow, Guest};
use super::held::Held;
use super::instance::{Blank, Instance};
use super::lines::{Lines, Rate};
use super::outcome::{self, Failure, FailureKind, Outcome, Scene};
use super::slot::{FilterSlot, Interest, Isolation, Slot};
use super::state::{Hook, State};
use super::ticker::thread_cpu;
use crate::exchange::Exchange;
use crate::variant::Variant;
use crate::{clock, limits};

/// A worker's instances.
pub struct Instances {
    worker: usize,
    pools: RefCell<HashMap<u64, Pool, BuildHasherDefault<IdHasher>>>,
    blank: Blank,
}

/// What one stream has of one slot.
#[derive(Default)]
pub struct SlotState {
    /// The guest's token for the stream; 0 for none.
    token: u32,
    /// The instance that the token belongs to.
    generation: u32,
    /// Whether the filter failed and is left out.
    skipped: bool,
    /// Which of the filter's configurations counts.
    variant: Variant,
    /// What the filter wants of the stream, where it has said so itself.
    interest: Option<Interest>,
    /// Whether it is settled how the response's body comes to it: its head has.
    response_settled: bool,
    /// How often it has waited.
    waits: u32,
    /// The gauges that it holds up.
    held: Vec<Held>,
    /// The stream's own instance, where the filter's isolation gives it one.
    own: Option<Box<Instance>>,
}

impl SlotState {
    /// Which of the filter's configurations counts from now on.
    pub const fn set_variant(&mut self, variant: Variant) {
        self.variant = variant;
    }

    /// The configuration that counts.
    #[must_use]
    pub const fn variant(&self) -> Variant {
        self.variant
    }

    /// Notes whether the response's head has come to the filter, or to its place in the chain.
    pub const fn settle_response(&mut self, settled: bool) {
        self.response_settled = settled;
    }

    /// Takes up what the filter said in a hook, where it wanted `before`.
    fn take_up(&mut self, hook: Hook, before: Interest, wanted: Interest) {
        let request = !matches!(hook, Hook::RequestHeaders | Hook::Resume);
        let response =
            self.response_settled || matches!(hook, Hook::ResponseBody | Hook::ResponseTrailers);
        self.interest = Some(wanted.settled(before, request, response));
    }

    /// What the filter wants of the stream now.
    #[must_use]
    #[inline]
    pub fn interest(&self, slot: &FilterSlot) -> Interest {
        if self.skipped {
            return Interest::default();
        }
        match self.interest {
            Some(interest) => interest,
            None => slot.interest(self.variant),
        }
    }
}

impl std::fmt::Debug for SlotState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SlotState")
            .field("token", &self.token)
            .field("generation", &self.generation)
            .field("skipped", &self.skipped)
            .field("variant", &self.variant)
            .field("interest", &self.interest)
            .field("own", &self.own.is_some())
            .finish()
    }
}

/// A worker's instances of one filter.
struct Pool {
    slot: Weak<Slot>,
    lines: Lines,
    rate: Rate,
    /// The one that all streams share.
    shared: Option<Instance>,
    /// How many shared ones there have been.
    generation: u32,
    /// Exclusive ones that no stream has, in the boxes in which streams hold them.
    #[expect(clippy::vec_box, reason = "moved in and out of streams as they are")]
    idle: Vec<Box<Instance>>,
    rest: Rest,
}

impl Instances {
    /// Those of worker `index`, none yet.
    #[must_use]
    pub fn new(index: usize) -> Self {
        Self {
            worker: index,
            pools: RefCell::default(),
            blank: Blank::default(),
        }
    }

    /// Starts an instance of the filter if there is none, so that the first request need not wait for
    /// it. A failure shows when that request comes.
    pub fn warm(&self, slot: &FilterSlot) {
        let mut pools = self.pools.borrow_mut();
        let pool = pool_of(&mut pools, slot.slot());
        let started = match slot.slot().shared.isolation {
            Isolation::Shared => pool.shared(slot.slot(), self.worker).map(|_| ()),
            Isolation::Exclusive if pool.idle.is_empty() => pool
                .start(slot.slot(), self.worker)
                .map(|instance| pool.idle.push(Box::new(instance))),
            Isolation::Exclusive | Isolation::Fresh => Ok(()),
        };
        // The next call tries again, and reports it.
        drop(started);
    }

    /// Ends the instances of filters that no configuration and no stream has any more. To be called
    /// when the worker takes a new snapshot, and when the last stream of an old one has ended.
    pub fn sweep(&self) {
        self.pools
            .borrow_mut()
            .retain(|_, pool| pool.slot.strong_count() > 0);
    }

    /// The head of a request. `end` says whether there is neither body nor trailers.
    pub fn on_request_headers(
        &self,
        slot: &FilterSlot,
        state: &mut SlotState,
        exchange: &mut Box<Exchange>,
        end: bool,
    ) -> Outcome {
        self.step(
            slot,
            state,
            Hook::RequestHeaders,
            exchange,
            |guest, store, config, _| guest.call_on_request_headers(store, config, end),
        )
    }

    /// The wait that the filter has asked for in a hook of the request's head is over.
    pub fn on_resume(
        &self,
        slot: &FilterSlot,
        state: &mut SlotState,
        exchange: &mut Box<Exchange>,
        end: bool,
    ) -> Outcome {
        self.step(
            slot,
            state,
            Hook::Resume,
            exchange,
            |guest, store, config, token| guest.call_on_resume(store, config, token, end),
        )
    }

    /// A chunk of a request's body, or the whole of it. Answers what takes its place.
    pub fn on_request_body(
        &self,
        slot: &FilterSlot,
        state: &mut SlotState,
        exchange: &mut Box<Exchange>,
        chunk: Bytes,
        end: bool,
    ) -> (Bytes, Outcome) {
        self.body(
            slot,
            state,
            Hook::RequestBody,
            exchange,
            chunk,
            |guest, store, config, token, chunk| {
                guest.call_on_request_body(store, config, token, chunk, end)
            },
        )
    }

    /// The trailers of a request. Answers what is to be sent in front of them.
    pub fn on_request_trailers(
        &self,
        slot: &FilterSlot,
        state: &mut SlotState,
        exchange: &mut Box<Exchange>,
    ) -> (Bytes, Outcome) {
        self.trailers(
            slot,
            state,
            Hook::RequestTrailers,
            exchange,
            |guest, store, config, token| guest.call_on_request_trailers(store, config, token),
        )
    }

    /// The head of a response. `end` says whether there is neither body nor trailers.
    pub fn on_response_headers(
        &self,
        slot: &FilterSlot,
        state: &mut SlotState,
        exchange: &mut Box<Exchange>,
        end: bool,
    ) -> Outcome {
        self.step(
            slot,
            state,
            Hook::ResponseHeaders,
            exchange,
            |guest, store, config, token| guest.call_on_response_headers(store, config, token, end),
        )
    }

    /// A chunk of a response's body, or the whole of it. Answers what takes its place.
    pub fn on_response_body(
        &self,
        slot: &FilterSlot,
        state: &mut SlotState,
        exchange: &mut Box<Exchange>,
        chunk: Bytes,
        end: bool,
    ) -> (Bytes, Outcome) {
        self.body(
            slot,
            state,
            Hook::ResponseBody,
            exchange,
            chunk,
            |guest, store, config, token, chunk| {
                guest.call_on_response_body(store, config, token, chunk, end)
            },
        )
    }

    /// The trailers of a response. Answers what is to be sent in front of them.
    pub fn on_response_trailers(
        &self,
        slot: &FilterSlot,
        state: &mut SlotState,
        exchange: &mut Box<Exchange>,
    ) -> (Bytes, Outcome) {
        self.trailers(
            slot,
            state,
            Hook::ResponseTrailers,
            exchange,
            |guest, store, config, token| guest.call_on_response_trailers(store, config, token),
        )
    }

    /// The stream has ended. Nothing can be changed any more, so there is no outcome.
    pub fn on_log(&self, slot: &FilterSlot, state: &mut SlotState, exchange: &mut Box<Exchange>) {
        if state.skipped {
            return;
        }
        let lent = Some((exchange, &self.blank));
        let logged = self.call(
            slot,
            state,
            Hook::Log,
            lent,
            |guest, store, config, token| guest.call_on_log(store, config, token),
        );
        if let Err(failure) = logged {
            self.settle(slot, state, Hook::Log, failure);
        }
    }

    /// The stream is gone: the guest frees what it kept for it, and its own instance goes back.
    /// Called last, once for each slot that a hook was called of.
    pub fn on_done(&self, slot: &FilterSlot, state: &mut SlotState) {
        let slot_of = slot.slot();
        if state.token != 0 && self.has_state(slot_of, state) {
            let done = self.call(
                slot,
                state,
                Hook::Done,
                None,
                |guest, store, config, token| guest.call_on_done(store, config, token),
            );
            if let Err(failure) = done {
                self.settle(slot, state, Hook::Done, failure);
            }
        }
        state.token = 0;
        state.held.clear();
        if let Some(instance) = state.own.take()
            && slot_of.shared.isolation == Isolation::Exclusive
        {
            let mut pools = self.pools.borrow_mut();
            let pool = pool_of(&mut pools, slot_of);
            if pool.idle.len() < limits::WASM_IDLE_INSTANCES {
                pool.idle.push(instance);
            }
        }
    }

    /// Whether the instance that the stream's token belongs to lives.
    fn has_state(&self, slot: &Slot, state: &SlotState) -> bool {
        match slot.shared.isolation {
            Isolation::Shared => {
                self.pools.borrow().get(&slot.id).is_some_and(|pool| {
                    pool.shared.is_some() && pool.generation == state.generation
                })
            }
            Isolation::Exclusive | Isolation::Fresh => state.own.is_some(),
        }
    }

    #[inline]
    fn step(
        &self,
        slot: &FilterSlot,
        state: &mut SlotState,
        hook: Hook,
        exchange: &mut Box<Exchange>,
        call: impl FnOnce(&Guest, &mut Store<State>, u32, u32) -> wasmtime::Result<Flow>,
    ) -> Outcome {
        if state.skipped {
            return Outcome::Next;
        }
        let lent = Some((exchange, &self.blank));
        let answered = self.call(slot, state, hook, lent, |guest, store, config, token| {
            store.data_mut().token = token;
            let flow = call(guest, store, config, token)?;
            let said = store.data_mut();
            Ok((said.token, flow, said.said.take()))
        });
        let answer = answered.and_then(|(token, flow, said)| {
            state.token = token;
            let outcome = outcome::read(hook, flow, said, slot.limits().block)?;
            if matches!(outcome, Outcome::Wait(_)) {
                state.waits += 1;
                if state.waits > limits::WASM_WAITS {
                    return Err(outcome::too_many_waits());
                }
            }
            Ok(outcome)
        });
        answer.unwrap_or_else(|failure| self.settle(slot, state, hook, failure))
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "a hook's parts, and the call itself"
    )]
    fn body(
        &self,
        slot: &FilterSlot,
        state: &mut SlotState,
        hook: Hook,
        exchange: &mut Box<Exchange>,
        chunk: Bytes,
        call: impl FnOnce(&Guest, &mut Store<State>, u32, u32, &[u8]) -> wasmtime::Result<Flow>,
    ) -> (Bytes, Outcome) {
        let mut replaced = None;
        let outcome = self.step(
            slot,
            state,
            hook,
            exchange,
            |guest, store, config, token| {
                let flow = call(guest, store, config, token, &chunk);
                replaced = store.data_mut().replaced.take();
                flow
            },
        );
        // A filter that failed has not had a say.
        let replaced = replaced.filter(|_| !state.skipped);
        (replaced.map_or(chunk, Bytes::from), outcome)
    }

    fn trailers(
        &self,
        slot: &FilterSlot,
        state: &mut SlotState,
        hook: Hook,
        exchange: &mut Box<Exchange>,
        call: impl FnOnce(&Guest, &mut Store<State>, u32, u32) -> wasmtime::Result<Flow>,
    ) -> (Bytes, Outcome) {
        let mut added = Vec::new();
        let outcome = self.step(
            slot,
            state,
            hook,
            exchange,
            |guest, store, config, token| {
                let flow = call(guest, store, config, token);
                added = std::mem::take(&mut store.data_mut().added);
                flow
            },
        );
        if state.skipped {
            // A filter that failed has not had a say.
            added.clear();
        }
        (added.into(), outcome)
    }

    /// Calls the instance that serves the stream, and drops it where the call failed.
    #[inline]
    fn call<R>(
        &self,
        slot: &FilterSlot,
        state: &mut SlotState,
        hook: Hook,
        lent: Option<(&mut Box<Exchange>, &Blank)>,
        call: impl FnOnce(&Guest, &mut Store<State>, u32, u32) -> wasmtime::Result<R>,
    ) -> Result<R, Failure> {
        let about = (&**slot.slot(), state.variant, state.interest(slot));
        let slot = slot.slot();
        let token = state.token;
        let held = std::mem::take(&mut state.held);
        let mut pools = self.pools.borrow_mut();
        let pool = pool_of(&mut pools, slot);
        if slot.shared.isolation == Isolation::Shared {
            let generation = pool.generation;
            let instance = pool.shared(slot, self.worker)?;
            if token != 0 && state.generation != generation {
                state.token = 0;
                return Err(state_lost());
            }
            state.generation = generation;
            instance.lend_held(held);
            let answer = instance.call(hook, about, lent, |guest, store, config| {
                call(guest, store, config, token)
            });
            state.held = instance.take_held();
            if let Some(wanted) = instance.take_wanted() {
                state.take_up(hook, about.2, wanted);
            }
            if answer.is_err() {
                state.token = 0;
                pool.drop_shared();
                pool.rest.after_failure(clock::now());
            }
            return answer;
        }
        let own = match &mut state.own {
            Some(own) => own,
            None if token != 0 => {
                state.token = 0;
                return Err(state_lost());
            }
            none => none.insert(pool.take_own(slot, self.worker)?),
        };
        own.lend_held(held);
        let answer = own.call(hook, about, lent, |guest, store, config| {
            call(guest, store, config, token)
        });
        state.held = own.take_held();
        if let Some(wanted) = own.take_wanted() {
            state.take_up(hook, about.2, wanted);
        }
        if answer.is_err() {
            state.token = 0;
            state.own = None;
            if slot.shared.isolation == Isolation::Exclusive {
                pool.rest.after_failure(clock::now());
            }
        }
        answer
    }

    #[cold]
    fn settle(
        &self,
        slot: &FilterSlot,
        state: &mut SlotState,
        hook: Hook,
        failure: Failure,
    ) -> Outcome {
        let slot = slot.slot();
        let mut pools = self.pools.borrow_mut();
        let scene = Scene {
            hook,
            policy: slot.shared.failure_policy,
            stats: slot.shared.stats.shard(self.worker),
            lines: &mut pool_of(&mut pools, slot).lines,
        };
        outcome::settle(failure, scene, &mut state.skipped)
    }
}

impl std::fmt::Debug for Instances {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instances")
            .field("worker", &self.worker)
            .finish_non_exhaustive()
    }
}

fn state_lost() -> Failure {
    Failure::new(
        FailureKind::StateLost,
        "the instance that had the stream's state is gone",
    )
}

type Pools = HashMap<u64, Pool, BuildHasherDefault<IdHasher>>;

#[inline]
fn pool_of<'a>(pools: &'a mut Pools, slot: &Arc<Slot>) -> &'a mut Pool {
    pools.entry(slot.id).or_insert_with(|| Pool::new(slot))
}

impl Pool {
    fn new(slot: &Arc<Slot>) -> Self {
        let rate = Rate::default();
        Self {
            slot: Arc::downgrade(slot),
            lines: Lines::new(Arc::clone(&slot.shared.name), rate.clone()),
            rate,
            shared: None,
            generation: 0,
            idle: Vec::new(),
            rest: Rest::default(),
        }
    }

    fn start(&mut self, slot: &Slot, worker: usize) -> Result<Instance, Failure> {
        let now = clock::now();
        if let Some(left) = self.rest.left(now) {
            let text = format!("a new instance has to wait for {left:?}: starting one takes long");
            return Err(Failure::new(FailureKind::NotStarted, text));
        }
        let before = thread_cpu();
        let started = Instance::start(&slot.shared, worker, self.rate.clone());
        self.rest.started(thread_cpu().saturating_sub(before));
        if started.is_err() {
            self.rest.after_failure(now);
        }
        let (instance, interest) = started?;
        instance.compare(interest, slot.interests.first());
        Ok(instance)
    }

    #[inline]
    fn shared(&mut self, slot: &Slot, worker: usize) -> Result<&mut Instance, Failure> {
        if self.shared.is_none() {
            self.shared = Some(self.start(slot, worker)?);
        }
        self.shared.as_mut().ok_or_else(state_lost)
    }

    fn drop_shared(&mut self) {
        self.shared = None;
        self.generation = self.generation.wrapping_add(1);
    }

    fn take_own(&mut self, slot: &Slot, worker: usize) -> Result<Box<Instance>, Failure> {
        match self.idle.pop() {
            Some(instance) => Ok(instance),
            None => self.start(slot, worker).map(Box::new),
        }
    }
}

/// How long a filter that failed waits for its next instance: not at all where starting one is
/// quick, else so long that starting takes a tenth of the worker's time at most.
#[derive(Debug, Default)]
struct Rest {
    /// Processor time that the last start took.
    cost: Duration,
    until: Option<Instant>,
}

impl Rest {
    fn started(&mut self, cost: Duration) {
        *self = Self { cost, until: None };
    }

    fn after_failure(&mut self, now: Instant) {
        let slow = self.cost > limits::WASM_QUICK_START;
        self.until = slow.then(|| now + self.cost * limits::WASM_REST_FACTOR);
    }

    /// The rest of the wait.
    fn left(&self, now: Instant) -> Option<Duration> {
        self.until?
            .checked_duration_since(now)
            .filter(|left| !left.is_zero())
    }
}

/// Spreads slot numbers, which are dense already.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0.rotate_left(8) ^ u64::from(*byte));
        }
    }

    fn write_u64(&mut self, id: u64) {
        // Fibonacci hashing: the table takes its control bits from the top.
        self.0 = id.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_filter_that_starts_slowly_has_to_rest() {
        let now = clock::now();
        let ms = Duration::from_millis;
        let mut rest = Rest::default();
        rest.started(limits::WASM_QUICK_START);
        rest.after_failure(now);
        assert_eq!(rest.left(now), None);
        rest.started(ms(50));
        assert_eq!(rest.left(now), None, "nothing failed");
        rest.after_failure(now);
        assert_eq!(rest.left(now), Some(ms(450)));
        assert_eq!(rest.left(now + ms(449)), Some(ms(1)));
        assert_eq!(rest.left(now + ms(450)), None);
    }

    #[test]
    fn slots_spread_over_the_table() {
        let hash = |id: u64| {
            let mut hasher = IdHasher::default();
            hasher.write_u64(id);
            hasher.finish()
        };
        let tops: std::collections::HashSet<u64> = (0..64).map(|id| hash(id) >> 57).collect();
        assert!(tops.len() > 32, "{}", tops.len());
    }
}
