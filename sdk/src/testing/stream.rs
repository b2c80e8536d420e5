//! A stream of the fake host: a test plays the connection manager and calls the hooks.

use std::cell::RefCell;
use std::rc::Rc;

use super::world::{Exchange, World};
use crate::error::Result;
use crate::filter::{BodyMode, Filter, Interest, Phase};
use crate::flow::Flow;
use crate::host::fake::within;
use crate::host::{Block, RouteKind};
use crate::instance::{Instance, Step};

/// One stream through one filter.
///
/// A hook that the filter's [`Interest`] does not name is not called; its data arrives all the same.
/// The stream ends, and its state is freed, when it is dropped.
pub struct Stream<F: Filter> {
    world: Rc<RefCell<World>>,
    instance: Rc<Instance<F>>,
    of: u32,
    interest: Interest,
    state: u32,
    exchange: Exchange,
}

impl<F: Filter> Stream<F> {
    pub(super) fn new(
        world: Rc<RefCell<World>>,
        instance: Rc<Instance<F>>,
        of: u32,
        interest: Interest,
    ) -> Self {
        Self {
            world,
            instance,
            of,
            interest,
            state: 0,
            exchange: Exchange::default(),
        }
    }

    /// The head of the request arrives.
    ///
    /// # Errors
    /// The filter's own.
    pub fn on_request_headers(&mut self, head: &[(&str, &str)], end: bool) -> Result<Flow> {
        self.exchange.arrive(Block::RequestHeaders, head);
        self.exchange.hold(&[Block::RequestHeaders]);
        let of = self.of;
        self.run(Phase::RequestHeaders, |instance, _| {
            instance.on_request_headers(of, end)
        })
    }

    /// The wait that the filter has asked for is over.
    ///
    /// # Errors
    /// The filter's own.
    pub fn on_resume(&mut self, end: bool) -> Result<Flow> {
        self.exchange.hold(&[Block::RequestHeaders]);
        let (instance, of, state) = (Rc::clone(&self.instance), self.of, self.state);
        let step = self.lend(|| instance.on_resume(of, state, end));
        self.state = step.state;
        step.then
    }

    /// A chunk of the request's body arrives; or all of it, if the filter wants it buffered.
    ///
    /// # Errors
    /// The filter's own.
    pub fn on_request_body(&mut self, chunk: &[u8], end: bool) -> Result<Flow> {
        self.exchange.body = Some(chunk.to_vec());
        self.exchange
            .hold(match self.interest().request_body_mode() {
                BodyMode::Streamed => &[],
                BodyMode::Buffered => &[Block::RequestHeaders],
            });
        let (of, chunk) = (self.of, chunk.to_vec());
        self.run(Phase::RequestBody, |instance, s| {
            instance.on_request_body(of, s, chunk, end)
        })
    }

    /// The trailers of the request arrive.
    ///
    /// # Errors
    /// The filter's own.
    pub fn on_request_trailers(&mut self, trailers: &[(&str, &str)]) -> Result<Flow> {
        self.exchange.body = None;
        self.exchange.arrive(Block::RequestTrailers, trailers);
        self.exchange.hold(&[Block::RequestTrailers]);
        let of = self.of;
        self.run(Phase::RequestTrailers, |instance, s| {
            instance.on_request_trailers(of, s)
        })
    }

    /// The head of the response arrives.
    ///
    /// # Errors
    /// The filter's own.
    pub fn on_response_headers(&mut self, head: &[(&str, &str)], end: bool) -> Result<Flow> {
        self.exchange.body = None;
        self.exchange.arrive(Block::ResponseHeaders, head);
        self.exchange.hold(&[Block::ResponseHeaders]);
        let of = self.of;
        self.run(Phase::ResponseHeaders, |instance, s| {
            instance.on_response_headers(of, s, end)
        })
    }

    /// A chunk of the response's body arrives; or all of it, if the filter wants it buffered.
    ///
    /// # Errors
    /// The filter's own.
    pub fn on_response_body(&mut self, chunk: &[u8], end: bool) -> Result<()> {
        self.exchange.body = Some(chunk.to_vec());
        self.exchange
            .hold(match self.interest().response_body_mode() {
                BodyMode::Streamed => &[],
                BodyMode::Buffered => &[Block::ResponseHeaders],
            });
        let (of, chunk) = (self.of, chunk.to_vec());
        self.run(Phase::ResponseBody, |instance, s| {
            instance.on_response_body(of, s, chunk, end)
        })
        .map(drop)
    }

    /// The trailers of the response arrive.
    ///
    /// # Errors
    /// The filter's own.
    pub fn on_response_trailers(&mut self, trailers: &[(&str, &str)]) -> Result<()> {
        self.exchange.body = None;
        self.exchange.arrive(Block::ResponseTrailers, trailers);
        let interest = self.interest();
        let is_whole = interest.wants(Phase::ResponseBody)
            && interest.response_body_mode() == BodyMode::Buffered;
        self.exchange.hold(match is_whole {
            true => &[Block::ResponseTrailers, Block::ResponseHeaders],
            false => &[Block::ResponseTrailers],
        });
        let of = self.of;
        self.run(Phase::ResponseTrailers, |instance, s| {
            instance.on_response_trailers(of, s)
        })
        .map(drop)
    }

    /// The stream has ended.
    pub fn on_log(&mut self) {
        self.exchange.body = None;
        self.exchange.hold(&[]);
        if self.interest().wants(Phase::Log) {
            let (instance, of, state) = (Rc::clone(&self.instance), self.of, self.state);
            self.lend(|| instance.on_log(of, state));
        }
    }

    /// What `Exchange::attribute` answers for a name from now on.
    pub fn set_attribute(&mut self, name: &str, value: &str) {
        self.exchange
            .attributes
            .insert(name.to_owned(), value.as_bytes().to_vec());
    }

    /// What the matched route does; at first it forwards.
    pub const fn set_route(&mut self, kind: Option<RouteKind>) {
        self.exchange.route = kind;
    }

    /// Leaves a value, as a filter before this one would.
    pub fn set_metadata(&mut self, namespace: &str, key: &str, value: &str) {
        let key = (namespace.to_owned(), key.to_owned());
        self.exchange
            .metadata
            .insert(key, value.as_bytes().to_vec());
    }

    /// A value that was left.
    #[must_use]
    pub fn metadata(&self, namespace: &str, key: &str) -> Option<String> {
        let key = (namespace.to_owned(), key.to_owned());
        self.exchange.metadata.get(&key).map(|value| text(value))
    }

    /// First value of a request header.
    #[must_use]
    pub fn request_header(&self, name: &str) -> Option<String> {
        self.exchange.first(Block::RequestHeaders, name)
    }

    /// First value of a response header.
    #[must_use]
    pub fn response_header(&self, name: &str) -> Option<String> {
        self.exchange.first(Block::ResponseHeaders, name)
    }

    /// The request's headers, in order.
    #[must_use]
    pub fn request_headers(&self) -> Vec<(String, String)> {
        self.exchange.block(Block::RequestHeaders)
    }

    /// The request's trailers, in order.
    #[must_use]
    pub fn request_trailers(&self) -> Vec<(String, String)> {
        self.exchange.block(Block::RequestTrailers)
    }

    /// The response's headers, in order.
    #[must_use]
    pub fn response_headers(&self) -> Vec<(String, String)> {
        self.exchange.block(Block::ResponseHeaders)
    }

    /// The response's trailers, in order.
    #[must_use]
    pub fn response_trailers(&self) -> Vec<(String, String)> {
        self.exchange.block(Block::ResponseTrailers)
    }

    /// The chunk of the last body hook, as it goes on.
    #[must_use]
    pub fn body(&self) -> Option<&[u8]> {
        self.exchange.body.as_deref()
    }

    /// What the filter has added to the body in front of trailers.
    #[must_use]
    pub fn added_body(&self) -> &[u8] {
        &self.exchange.added
    }

    /// What the filter wants of this stream: what its configuration wants, unless a hook said
    /// otherwise.
    #[must_use]
    pub fn interest(&self) -> Interest {
        self.exchange.interest.unwrap_or(self.interest)
    }

    /// The response flags that the filter has set itself, in their order.
    #[must_use]
    pub fn response_flags(&self) -> &[String] {
        &self.exchange.response_flags
    }

    /// At how many bytes in a second the response's body is sent on; none where the filter has not said so.
    #[must_use]
    pub const fn response_rate(&self) -> Option<u64> {
        self.exchange.response_rate
    }

    /// Whether the filter has said that the request is about nothing but health.
    #[must_use]
    pub const fn is_health_check(&self) -> bool {
        self.exchange.is_health_check
    }

    /// Whether the filter has asked for the route to be matched again.
    #[must_use]
    pub const fn route_cache_cleared(&self) -> bool {
        self.exchange.route_cache_cleared
    }

    fn run(&mut self, phase: Phase, hook: impl FnOnce(&Instance<F>, u32) -> Step) -> Result<Flow> {
        if !self.interest().wants(phase) {
            return Ok(Flow::Next);
        }
        let (instance, state) = (Rc::clone(&self.instance), self.state);
        let step = self.lend(|| hook(&instance, state));
        self.state = step.state;
        step.then
    }

    /// Lends the exchange to the world while a hook runs.
    fn lend<R>(&mut self, hook: impl FnOnce() -> R) -> R {
        self.world.borrow_mut().current = Some(std::mem::take(&mut self.exchange));
        let result = within(&self.world, hook);
        self.exchange = self.world.borrow_mut().current.take().unwrap_or_default();
        result
    }
}

impl<F: Filter> Drop for Stream<F> {
    fn drop(&mut self) {
        if self.state != 0 {
            within(&self.world, || self.instance.on_done(self.state));
        }
        self.world.borrow_mut().let_go(&self.exchange.holding);
    }
}

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
