//! A fake host: runs a filter's hooks natively, in `cargo test`, with no proxy.
//!
//! It keeps what a host keeps, so a test asserts on what came of a hook and not on which calls it
//! made: headers, replies, metadata, log lines, counters, sinks. Time stands still unless the test
//! moves it.
//!
//! ```
//! use nuncio_sdk::testing::{Host, json};
//! # use nuncio_sdk::*;
//! # struct Tag(HeaderName);
//! # impl Filter for Tag {
//! #     type Config = serde_json::Value;
//! #     type Stream = ();
//! #     fn configure(config: Self::Config, setup: &mut Setup) -> Result<Self> {
//! #         Ok(Self(setup.header_name(config["header"].as_str().unwrap_or_default())?))
//! #     }
//! #     fn interest(&self) -> Interest { Interest::new().request_headers() }
//! #     fn on_request_headers(&self, _: &mut (), cx: &mut RequestHeaders<'_>) -> Result<Flow> {
//! #         cx.request_mut().set(self.0, "1")?;
//! #         Ok(Flow::Next)
//! #     }
//! # }
//!
//! let host = Host::new();
//! let filter = host.configure::<Tag>(json!({ "header": "x-tag" })).expect("a good configuration");
//! let mut stream = filter.stream();
//! let flow = stream.on_request_headers(&[(":method", "GET"), (":path", "/")], true);
//! assert_eq!(flow, Ok(Flow::Next));
//! assert_eq!(stream.request_header("x-tag"), Some("1".to_owned()));
//! ```
//!
//! What it does not do: it has no routes and no upstream, does not limit sizes, and of Envoy's
//! command operators it knows those that read headers and metadata; give the others a value by
//! [`Host::set_operator`].

mod format;
mod stream;
#[cfg(test)]
mod tests;
pub(crate) mod world;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

pub use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::filter::{Filter, Interest};
use crate::host::fake::within;
use crate::host::{Members, Share, Target};
use crate::instance::Instance;
use crate::route_config::RouteLevel;
use world::World;

pub use stream::Stream;

/// A proxy for tests. Filters that are configured on one host share its counters, token buckets and
/// sinks, as the workers of a proxy do.
#[derive(Clone, Default)]
pub struct Host {
    world: Rc<RefCell<World>>,
}

impl Host {
    /// A host that logs everything and grants every log sink.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes an instance of the filter with one configuration.
    ///
    /// # Errors
    /// What `configure` answers, or that the document does not fit the filter's `Config`.
    pub fn configure<F: Filter>(&self, document: Value) -> Result<Configured<F>> {
        let instance = Rc::new(Instance::new());
        let document = document.to_string();
        self.world.borrow_mut().configuring = true;
        let configured = within(&self.world, || instance.configure(&document));
        self.world.borrow_mut().configuring = false;
        let (of, interest) = configured?;
        Ok(Configured {
            world: Rc::clone(&self.world),
            instance,
            of,
            interest,
        })
    }

    /// Lets time pass: token buckets fill.
    pub fn advance(&self, by: Duration) {
        self.world.borrow_mut().now += by;
    }

    /// Sets the most verbose level that is written; at first all are.
    pub fn set_max_level(&self, level: log::LevelFilter) {
        self.world.borrow_mut().max_level = level;
    }

    /// What formats show for a command operator, such as `DURATION` or `START_TIME`, in every stream.
    pub fn set_operator(&self, name: &str, value: &str) {
        self.world
            .borrow_mut()
            .operators
            .insert(name.to_owned(), value.to_owned());
    }

    /// Says that the proxy is to be sent no more requests, or that it is again.
    pub fn set_failing(&self, is_failing: bool) {
        self.world.borrow_mut().is_failing = is_failing;
    }

    /// Adds a cluster, or changes how its endpoints are.
    pub fn set_members(&self, cluster: &str, members: Members) {
        let clusters = &mut self.world.borrow_mut().members;
        clusters.insert(cluster.to_owned(), members);
    }

    /// What the proxy's own cluster is called; at first it has no name.
    pub fn set_own_cluster(&self, name: &str) {
        name.clone_into(&mut self.world.borrow_mut().own_cluster);
    }

    /// Gives a runtime value, or takes it away. With the first one there are layers.
    pub fn set_runtime(&self, key: &str, value: Option<RuntimeValue>) {
        let mut world = self.world.borrow_mut();
        let values = world.runtime.get_or_insert_default();
        match value {
            Some(value) => values.insert(key.to_owned(), value),
            None => values.remove(key),
        };
    }

    /// How many streams hold a gauge up; none if no filter has opened it.
    #[must_use]
    pub fn gauge(&self, name: &str) -> Option<u64> {
        self.world.borrow().gauges.get(name).copied()
    }

    /// The lines that were logged, with their level.
    #[must_use]
    pub fn log_lines(&self) -> Vec<(log::Level, String)> {
        self.world.borrow().log.clone()
    }

    /// What a counter stands at; none if no filter has opened it.
    #[must_use]
    pub fn counter(&self, name: &str) -> Option<u64> {
        self.world.borrow().counters.get(name).copied()
    }

    /// What was written to a sink, as text; none if no filter has opened it.
    #[must_use]
    pub fn sink(&self, target: &Target) -> Option<String> {
        let world = self.world.borrow();
        let (_, written) = world.sinks.iter().find(|(open, _)| open == target)?;
        Some(String::from_utf8_lossy(written).into_owned())
    }

    /// Makes opening a sink fail from now on, as where the configuration does not grant it.
    pub fn refuse_sink(&self, target: Target) {
        self.world.borrow_mut().refused_sinks.push(target);
    }
}

/// A runtime value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuntimeValue {
    /// A whole number, which is a percentage to who asks for a share.
    Integer(u64),
    /// A share of all requests, which is no number.
    Share(Share),
}

/// A filter with its configuration, ready to serve streams.
pub struct Configured<F: Filter> {
    world: Rc<RefCell<World>>,
    instance: Rc<Instance<F>>,
    of: u32,
    interest: Interest,
}

impl<F: Filter> Configured<F> {
    /// A new stream, with no headers yet.
    #[must_use]
    pub fn stream(&self) -> Stream<F> {
        Stream::new(
            Rc::clone(&self.world),
            Rc::clone(&self.instance),
            self.of,
            self.interest,
        )
    }

    /// The filter as it is configured for a route with these documents, from the route configuration
    /// inwards: the last is the most specific. Its streams are those of the same instance.
    ///
    /// # Errors
    /// What `configure_route` answers.
    pub fn for_route(&self, documents: &[Value]) -> Result<Self> {
        let levels: Vec<RouteLevel> = (1..)
            .zip(documents)
            .map(|(id, document)| RouteLevel::new(id, document.to_string()))
            .collect();
        self.world.borrow_mut().configuring = true;
        let configured = within(&self.world, || {
            self.instance.configure_route(self.of, &levels)
        });
        self.world.borrow_mut().configuring = false;
        let (of, interest) = configured?;
        Ok(Self {
            world: Rc::clone(&self.world),
            instance: Rc::clone(&self.instance),
            of,
            interest,
        })
    }

    /// The hooks that the filter wants.
    #[must_use]
    pub const fn interest(&self) -> Interest {
        self.interest
    }

    /// How many streams have state in the instance.
    #[must_use]
    pub fn live_streams(&self) -> usize {
        self.instance.live_streams()
    }
}

/// So that a result can be compared as a whole, by its message.
impl PartialEq for Error {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}
