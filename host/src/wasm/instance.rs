//! One instance of a filter: a store, the guest in it, and how it is called.
//!
//! Owns starting (within limits from the first instruction on), lending the exchange for the length
//! of a call, and telling a failure's kind. An instance whose call failed must not be called again:
//! `instances` drops it.

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use wasmtime::Store;

use super::bindings::types::RouteConfig as WitRouteConfig;
use super::bindings::{Filter, Guest};
use super::held::Held;
use super::lines::Rate;
use super::outcome::{Failure, FailureKind};
use super::places::Place;
use super::slot::{Interest, Isolation, RouteConfig, Shared, Slot};
use super::state::{Hook, State, at_tick};
use crate::exchange::{Connection, Exchange, Protocol, Timing};
use crate::variant::Variant;
use crate::{clock, limits};

/// An instance.
pub(super) struct Instance {
    store: Store<State>,
    filter: Filter,
    /// The guest's number for the chain's configuration.
    config: u32,
    /// Its numbers for those of routes, as far as they have been needed.
    routes: Vec<Option<u32>>,
    worker: usize,
    /// Held for as long as this lives.
    _place: Place,
}

/// Why there is no instance.
#[derive(Debug)]
pub(super) enum NotStarted {
    /// The filter refused its configuration.
    Refused(String),
    /// It failed.
    Failed(Failure),
}

impl From<NotStarted> for Failure {
    fn from(why: NotStarted) -> Self {
        let text = match why {
            NotStarted::Refused(message) => {
                format!("a new instance refused the configuration: {message}")
            }
            NotStarted::Failed(failure) => format!("no new instance: {failure}"),
        };
        Self::new(FailureKind::NotStarted, text)
    }
}

impl Instance {
    /// Starts an instance for that worker and configures it for its chain. Answers what it wants, too.
    pub(super) fn start(
        shared: &Arc<Shared>,
        worker: usize,
        rate: Rate,
    ) -> Result<(Self, Interest), NotStarted> {
        let engine = &shared.engine;
        let is_own = shared.isolation != Isolation::Shared;
        let place = Place::take(engine.places(), &shared.places, is_own).map_err(|full| {
            NotStarted::Failed(Failure::new(FailureKind::NotStarted, full.to_string()))
        })?;
        let mut store = Store::new(engine.inner(), State::new(Arc::clone(shared), rate));
        store.limiter(|state| &mut state.memory);
        store.set_hostcall_fuel(shared.limits.lifted);
        store.epoch_deadline_callback(at_tick);
        store.set_epoch_deadline(1);
        store
            .data_mut()
            .begin(Hook::Configure, limits::WASM_CPU_CONFIGURE);
        engine.ticker().wake();
        let started = shared
            .component
            .code()
            .instantiate(&mut store)
            .and_then(|filter| {
                let configured = filter
                    .nuncio_filter_http_filter()
                    .call_configure(&mut store, &shared.configuration)?;
                Ok((filter, configured))
            });
        store.data_mut().lines.flush_all();
        let (filter, configured) = match started {
            Ok(started) => started,
            Err(error) => {
                return Err(NotStarted::Failed(Failure::of_call(&error, store.data())));
            }
        };
        let (config, interest) = configured.map_err(NotStarted::Refused)?;
        let stats = shared.stats.shard(worker);
        stats.created.inc();
        stats.active.inc();
        let instance = Self {
            store,
            filter,
            config,
            routes: Vec::new(),
            worker,
            _place: place,
        };
        Ok((instance, interest.into()))
    }

    /// Configures the guest for routes. Answers its number for that, and what it wants.
    pub(super) fn configure_route(
        &mut self,
        levels: &[RouteConfig],
    ) -> Result<(u32, Interest), NotStarted> {
        let levels: Vec<_> = levels.iter().map(WitRouteConfig::from).collect();
        let store = &mut self.store;
        let state = store.data_mut();
        state.begin(Hook::Configure, limits::WASM_CPU_CONFIGURE);
        state.shared.engine.ticker().wake();
        store.set_epoch_deadline(1);
        let guest = self.filter.nuncio_filter_http_filter();
        let answer = guest.call_configure_route(&mut *store, self.config, &levels);
        let state = store.data_mut();
        state.lines.flush_all();
        let configured =
            answer.map_err(|error| NotStarted::Failed(Failure::of_call(&error, state)))?;
        let (config, interest) = configured.map_err(NotStarted::Refused)?;
        Ok((config, interest.into()))
    }

    /// Says so where this instance wants something else than the first one of the filter did, which
    /// counts.
    pub(super) fn compare(&self, interest: Interest, first: Option<&Interest>) {
        if first != Some(&interest) {
            let state = self.store.data();
            state.shared.report_difference(&state.lines);
        }
    }

    /// The guest's number for that configuration, which it is asked for where it has not been yet.
    #[inline]
    fn config_for(&mut self, slot: &Slot, variant: Variant) -> Result<u32, Failure> {
        let Some(index) = variant.index().checked_sub(1) else {
            return Ok(self.config);
        };
        match self.routes.get(index) {
            Some(Some(config)) => Ok(*config),
            _ => self.ask_for(slot, index),
        }
    }

    #[cold]
    fn ask_for(&mut self, slot: &Slot, index: usize) -> Result<u32, Failure> {
        // One that is left out has none, and is asked for only to free the state that it kept before.
        let Some(levels) = slot.routes.get(index) else {
            return Ok(self.config);
        };
        let (config, interest) = self.configure_route(levels)?;
        self.compare(interest, slot.interests.get(index + 1));
        if self.routes.len() <= index {
            self.routes.resize(index + 1, None);
        }
        if let Some(place) = self.routes.get_mut(index) {
            *place = Some(config);
        }
        Ok(config)
    }

    /// What the guest said in its last call that it wants of the stream from now on.
    #[inline]
    pub(super) fn take_wanted(&mut self) -> Option<Interest> {
        self.store.data_mut().wanted.take()
    }

    /// Lets the guest know of the gauges that it holds up for the stream.
    #[inline]
    pub(super) fn lend_held(&mut self, held: Vec<Held>) {
        self.store.data_mut().held = held;
    }

    /// Those that it holds up now.
    #[inline]
    pub(super) fn take_held(&mut self) -> Vec<Held> {
        std::mem::take(&mut self.store.data_mut().held)
    }

    /// Calls the guest about a stream. The exchange is its own again when this returns, whatever
    /// happened.
    #[inline]
    pub(super) fn call<R>(
        &mut self,
        hook: Hook,
        (slot, variant, interest): (&Slot, Variant, Interest),
        lent: Option<(&mut Box<Exchange>, &Blank)>,
        call: impl FnOnce(&Guest, &mut Store<State>, u32) -> wasmtime::Result<R>,
    ) -> Result<R, Failure> {
        let config = self.config_for(slot, variant)?;
        let store = &mut self.store;
        let state = store.data_mut();
        state.interest = interest;
        let cpu = state.shared.limits.cpu_per_call;
        state.begin(hook, cpu);
        state.shared.engine.ticker().wake();
        state.shared.stats.shard(self.worker).calls.inc();
        store.set_epoch_deadline(1);
        let guest = self.filter.nuncio_filter_http_filter();
        let answer = match lent {
            Some((exchange, blank)) => {
                store.data_mut().exchange = Some(std::mem::replace(exchange, blank.take()));
                let answer = call(guest, store, config);
                if let Some(lent) = store.data_mut().exchange.take() {
                    blank.put(std::mem::replace(exchange, lent));
                }
                answer
            }
            None => call(guest, store, config),
        };
        answer.map_err(|error| {
            let state = store.data_mut();
            state.lines.flush_all();
            Failure::of_call(&error, state)
        })
    }
}

impl From<&RouteConfig> for WitRouteConfig {
    fn from(level: &RouteConfig) -> Self {
        Self {
            id: level.id,
            document: level.document.to_string(),
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.store
            .data()
            .shared
            .stats
            .shard(self.worker)
            .active
            .dec();
    }
}

/// An exchange that stands in for one that is lent.
#[derive(Default)]
pub(super) struct Blank(Cell<Option<Box<Exchange>>>);

impl Blank {
    fn take(&self) -> Box<Exchange> {
        self.0.take().unwrap_or_else(blank)
    }

    fn put(&self, exchange: Box<Exchange>) {
        self.0.set(Some(exchange));
    }
}

#[cold]
fn blank() -> Box<Exchange> {
    let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let connection = Connection::between(nowhere, nowhere);
    let timing = Timing::starting(clock::now(), clock::wall());
    Box::new(Exchange::new(
        Arc::new(connection),
        Protocol::Http11,
        timing,
        0,
    ))
}
