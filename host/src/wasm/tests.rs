//! The whole of `wasm` with real guests, which are in `tests/guests`.
//!
//! Owns what the tests share: the guests, compiled once a process, one engine, streams to call hooks
//! about, and a log that can be read. One file a subject.

mod contract;
mod faults;
mod isolation;
mod loading;
mod routes;
mod values;

#[path = "../../../tests/guests/compile.rs"]
mod compile;

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use tracing::field::{Field, Visit};

use super::{Cache, Component, Engine, FilterSlot, Instances, Services, SlotSpec};
use crate::address::Address;
use crate::clock;
use crate::exchange::{Connection, Exchange, Protocol, Timing};
use crate::headers::{Headers, Name};
use crate::observe::access_log::Sinks;
use crate::observe::registry::Registry;

/// The folder of the compiled guests.
fn guests() -> &'static Path {
    static GUESTS: LazyLock<PathBuf> = LazyLock::new(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let manifest = root.join("tests/guests/Cargo.toml").canonicalize().unwrap();
        compile::compile(&manifest, &root.join("target/guests")).unwrap()
    });
    &GUESTS
}

/// The bytes of a guest.
fn guest(name: &str) -> Vec<u8> {
    std::fs::read(guests().join(name).with_extension("wasm")).unwrap()
}

fn engine() -> &'static Arc<Engine> {
    static ENGINE: LazyLock<Arc<Engine>> =
        LazyLock::new(|| Arc::new(Engine::new(Cache::none()).unwrap()));
    &ENGINE
}

/// A guest, compiled to machine code once a process.
fn component(name: &str) -> Component {
    static COMPILED: LazyLock<Mutex<HashMap<String, Component>>> = LazyLock::new(Mutex::default);
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    let load = || Component::from_bytes(engine(), name, &guest(name)).unwrap();
    compiled.entry(name.to_owned()).or_insert_with(load).clone()
}

/// Parts of a proxy with one worker, new each time: filters of one name share statistics.
fn services() -> Services {
    let registry = Arc::new(Registry::new(1));
    let sinks = Arc::new(Sinks::new(Duration::from_millis(1), &registry));
    Services {
        registry,
        sinks,
        vitals: Arc::default(),
        values: Arc::default(),
    }
}

/// A filter with that guest, after `change`.
fn slot(name: &str, configuration: &str, change: impl FnOnce(&mut SlotSpec)) -> FilterSlot {
    build(&services(), name, configuration, change).unwrap()
}

fn build(
    services: &Services,
    name: &str,
    configuration: &str,
    change: impl FnOnce(&mut SlotSpec),
) -> Result<FilterSlot, super::Error> {
    let mut spec = SlotSpec::new(name, configuration);
    change(&mut spec);
    FilterSlot::build(engine(), &component(name), spec, services)
}

/// Why a filter with that configuration cannot be built.
fn refusal_of(name: &str, configuration: &str) -> super::Error {
    build(&services(), name, configuration, |_| {}).unwrap_err()
}

/// The only worker.
fn worker() -> Instances {
    Instances::new(0)
}

/// A stream whose request has that path and those fields.
fn stream(path: &str, fields: &[(&str, &str)]) -> Box<Exchange> {
    let connection = Connection {
        id: 7,
        listener: "l".into(),
        ..Connection::between(
            Address::Ip("127.0.0.1:5".parse().unwrap()),
            Address::Ip("127.0.0.1:6".parse().unwrap()),
        )
    };
    let timing = Timing::starting(clock::now(), clock::wall());
    let mut exchange = Box::new(Exchange::new(
        Arc::new(connection),
        Protocol::Http11,
        timing,
        1,
    ));
    let pseudo = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "a"),
        (":path", path),
    ];
    for (name, value) in pseudo.iter().chain(fields) {
        exchange
            .request
            .append_bytes(name.as_bytes(), value.as_bytes());
    }
    exchange.response.append_bytes(b":status", b"200");
    exchange.status = 200;
    exchange
}

fn field(headers: &Headers, name: &str) -> Option<String> {
    let value = headers.get(&Name::parse(name.as_bytes()).unwrap())?;
    Some(String::from_utf8(value.to_vec()).unwrap())
}

/// Lines that were logged while `run` ran on this thread: `LEVEL message`.
fn logged<R>(run: impl FnOnce() -> R) -> (R, Vec<String>) {
    let log = Arc::new(Log::default());
    let result = tracing::subscriber::with_default(Arc::clone(&log), run);
    let lines = log.0.lock().unwrap().clone();
    (result, lines)
}

#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl tracing::Subscriber for Log {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "wasm" && *metadata.level() <= tracing::Level::DEBUG
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 += &format!(" {value:?}");
        }
    }
}

#[test]
fn slots_are_shared_between_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<FilterSlot>();
    shared::<Component>();
    shared::<Engine>();
    shared::<super::Error>();
}
