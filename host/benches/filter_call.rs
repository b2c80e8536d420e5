//! What one filter costs a request, without the proxy around it: the host's part of each call, the
//! boundary, and a small guest that reads two fields and adds two.
//!
//! Run with `cargo bench --bench filter_call`. Prints nanoseconds of a request, the least of several
//! rounds, and fails where the whole is above [`MOST`].

#![expect(clippy::print_stdout, reason = "its output is the result")]

use std::error::Error;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nuncio::clock;
use nuncio::exchange::{Connection, Exchange, Protocol, Timing};
use nuncio::observe::access_log::Sinks;
use nuncio::observe::registry::Registry;
use nuncio::wasm::{
    Cache, Component, Engine, FilterSlot, Instances, Isolation, Outcome, Services, SlotSpec,
    SlotState,
};

#[path = "../../tests/guests/compile.rs"]
mod compile;

/// Requests of a round.
const REQUESTS: u32 = 100_000;
/// Rounds, of which the fastest counts: the others were disturbed.
const ROUNDS: u32 = 7;
/// What a filter that reads two fields and adds two may cost.
const MOST: Duration = Duration::from_nanos(1500);

/// A request as a browser sends it.
const FIELDS: &[(&str, &str)] = &[
    (":method", "GET"),
    (":scheme", "http"),
    (":authority", "shop.example.com"),
    (":path", "/api/v1/items?page=2"),
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0",
    ),
    ("accept", "application/json"),
    ("accept-language", "en-GB,en;q=0.5"),
    ("accept-encoding", "gzip, deflate, br"),
    ("x-request-id", "1f0c0e0e-7c34-4a7f-9d36-0a5ac2cf9d1a"),
    ("x-forwarded-for", "192.0.2.7"),
    ("x-forwarded-proto", "https"),
    ("cookie", "session=0123456789abcdef"),
];

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let manifest = root.join("tests/guests/Cargo.toml").canonicalize()?;
    let guests = compile::compile(&manifest, &root.join("target/guests"))?;
    let engine = Arc::new(Engine::new(Cache::none())?);
    let component = Component::from_file(&engine, &guests.join("headers.wasm"))?;
    let registry = Arc::new(Registry::new(1));
    let sinks = Arc::new(Sinks::new(Duration::from_secs(1), &registry));
    let services = Services {
        registry,
        sinks,
        vitals: Arc::default(),
        values: Arc::default(),
    };

    let mut exchange = exchange();
    let base = fastest(|| fill(&mut exchange));
    println!(
        "a request's fields                     {:6} ns, taken off below",
        base.as_nanos()
    );
    let mut whole = Duration::ZERO;
    for isolation in [Isolation::Shared, Isolation::Exclusive, Isolation::Fresh] {
        let mut spec = SlotSpec::new("headers", "");
        spec.isolation = isolation;
        let slot = FilterSlot::build(&engine, &component, spec, &services)?;
        let worker = Instances::new(0);
        let spent = fastest(|| {
            fill(&mut exchange);
            let mut state = SlotState::default();
            let request = worker.on_request_headers(&slot, &mut state, &mut exchange, true);
            let response = worker.on_response_headers(&slot, &mut state, &mut exchange, true);
            worker.on_done(&slot, &mut state);
            assert!(matches!(
                (request, response),
                (Outcome::Next, Outcome::Next)
            ));
        });
        let spent = spent.saturating_sub(base);
        println!(
            "two fields read, two added, {:9}  {:6} ns",
            format!("{isolation:?}"),
            spent.as_nanos()
        );
        if isolation == Isolation::Shared {
            whole = spent;
        }
    }
    if whole > MOST {
        return Err(format!("a filter costs {whole:?}, more than {MOST:?}").into());
    }
    Ok(())
}

fn exchange() -> Box<Exchange> {
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], 80));
    let connection = Connection::between(address, address);
    let timing = Timing::starting(clock::now(), clock::wall());
    Box::new(Exchange::new(
        Arc::new(connection),
        Protocol::Http11,
        timing,
        1,
    ))
}

fn fill(exchange: &mut Exchange) {
    exchange.request.clear();
    exchange.response.clear();
    for (name, value) in black_box(FIELDS) {
        exchange
            .request
            .append_bytes(name.as_bytes(), value.as_bytes());
    }
    exchange.response.append_bytes(b":status", b"200");
    exchange
        .response
        .append_bytes(b"content-type", b"application/json");
}

/// The time of one run, in the fastest round.
fn fastest(mut run: impl FnMut()) -> Duration {
    let rounds = (0..ROUNDS).map(|_| {
        let started = clock::now();
        for _ in 0..REQUESTS {
            run();
        }
        started.elapsed() / REQUESTS
    });
    rounds.min().unwrap_or_default()
}
