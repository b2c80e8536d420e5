//! One instance of a filter: a store, the guest in it, and how it is called.
//!
//! Owns starting (within limits from the first instruction on), lending the exchange for the length
//! of a call, and telling a failure's kind. An instance whose call failed must not be called again:
//! `instances` drops it.

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use wasmtime::Store;

use super::bindings::{Filter, Guest};
use super::lines::Rate;
use super::outcome::{Failure, FailureKind};
use super::slot::{Interest, Shared};
use super::state::{Hook, State, at_tick};
use crate::exchange::{Connection, Exchange, Protocol, Timing};
use crate::{clock, limits};

/// An instance.
pub(super) struct Instance {
    store: Store<State>,
    filter: Filter,
    config: u32,
    worker: usize,
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
    /// Starts and configures an instance for that worker.
    pub(super) fn start(
        shared: &Arc<Shared>,
        worker: usize,
        rate: Rate,
    ) -> Result<Self, NotStarted> {
        let engine = &shared.engine;
        let mut store = Store::new(engine.inner(), State::new(Arc::clone(shared), rate));
        store.limiter(|state| &mut state.memory);
        store.set_hostcall_fuel(limits::WASM_LIFT_BYTES);
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
        store.data_mut().interest = interest.into();
        let stats = shared.stats.shard(worker);
        stats.created.inc();
        stats.active.inc();
        Ok(Self {
            store,
            filter,
            config,
            worker,
        })
    }

    /// What this instance said that it wants.
    pub(super) fn interest(&self) -> Interest {
        self.store.data().interest
    }

    /// Makes what the first instance of the filter wanted count here too.
    pub(super) fn adopt(&mut self, interest: Interest) {
        let state = self.store.data_mut();
        if state.interest != interest {
            let shared = Arc::clone(&state.shared);
            shared.report_difference(&state.lines);
            state.interest = interest;
        }
    }

    /// Calls the guest about a stream. The exchange is its own again when this returns, whatever
    /// happened.
    #[inline]
    pub(super) fn call<R>(
        &mut self,
        hook: Hook,
        lent: Option<(&mut Box<Exchange>, &Blank)>,
        call: impl FnOnce(&Guest, &mut Store<State>, u32) -> wasmtime::Result<R>,
    ) -> Result<R, Failure> {
        let store = &mut self.store;
        let state = store.data_mut();
        let cpu = state.shared.limits.cpu_per_call;
        state.begin(hook, cpu);
        state.shared.engine.ticker().wake();
        state.shared.stats.shard(self.worker).calls.inc();
        store.set_epoch_deadline(1);
        let guest = self.filter.nuncio_filter_http_filter();
        let answer = match lent {
            Some((exchange, blank)) => {
                store.data_mut().exchange = Some(std::mem::replace(exchange, blank.take()));
                let answer = call(guest, store, self.config);
                if let Some(lent) = store.data_mut().exchange.take() {
                    blank.put(std::mem::replace(exchange, lent));
                }
                answer
            }
            None => call(guest, store, self.config),
        };
        answer.map_err(|error| {
            let state = store.data_mut();
            state.lines.flush_all();
            Failure::of_call(&error, state)
        })
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
    let connection = Connection {
        id: 0,
        direct_remote: nowhere,
        local: nowhere,
        listener: "".into(),
        filter_chain: "".into(),
        tls: None,
    };
    let timing = Timing::starting(clock::now(), clock::wall());
    Box::new(Exchange::new(
        Arc::new(connection),
        Protocol::Http11,
        timing,
        0,
    ))
}
