//! The trait that a filter implements, and the declaration of what it wants to see.

use serde::de::DeserializeOwned;

use crate::context::{
    Log, RequestBody, RequestHeaders, RequestTrailers, ResponseBody, ResponseHeaders,
    ResponseTrailers,
};
use crate::error::Result;
use crate::flow::Flow;
use crate::route_config::RouteConfig;
use crate::setup::Setup;

/// An HTTP filter, as one configuration of it.
///
/// The proxy makes one for each configuration and worker, and calls the hooks that
/// [`interest`](Self::interest) names. A worker is one thread, so nothing here is shared: cells do
/// where a value must change.
///
/// An `Err` from a hook is a failure of the filter: the proxy logs it and does what the filter's
/// `failure_policy` says, which is to answer 503 unless the configuration says to go on without the
/// filter. A panic is a failure too, but costs the instance, and with it the state of every stream
/// that it served.
pub trait Filter: Sized + 'static {
    /// The configuration, as it is written in the proxy's. Where none is written it is read from
    /// `null` or from an empty object, whichever the type takes; `()` is for a filter without one.
    type Config: DeserializeOwned;

    /// What is kept for one stream, from its first hook to its end. A filter that keeps nothing
    /// names `()`, and then it costs nothing.
    type Stream: Default + 'static;

    /// Checks the configuration and looks up what the hooks need.
    ///
    /// # Errors
    /// An error refuses the whole configuration of the proxy, with its message.
    fn configure(config: Self::Config, setup: &mut Setup) -> Result<Self>;

    /// What takes the place of this configuration for routes that have one of their own for the
    /// filter. By default the most specific that is written, of the same type as the filter's own.
    ///
    /// A filter that takes another type for routes, or puts several levels together, does so here;
    /// `self` is the filter as it is configured for all other routes. What is answered has its own
    /// [`interest`](Self::interest), and serves the same streams: where a filter has a route matched
    /// again, a stream goes on with the other configuration and the state that it has.
    ///
    /// # Errors
    /// An error refuses the whole configuration of the proxy, with its message.
    fn configure_route(&self, config: &RouteConfig<'_>, setup: &mut Setup) -> Result<Self> {
        Self::configure(config.read()?, setup)
    }

    /// The hooks to be called; the others cost nothing.
    fn interest(&self) -> Interest;

    /// The head of the request has arrived.
    ///
    /// # Errors
    /// See [`Filter`].
    fn on_request_headers(
        &self,
        stream: &mut Self::Stream,
        cx: &mut RequestHeaders<'_>,
    ) -> Result<Flow> {
        let _ = (stream, cx);
        Ok(Flow::Next)
    }

    /// The wait that a hook has asked for ([`Flow::Wait`]) is over. Everything is as in
    /// [`on_request_headers`](Self::on_request_headers), and the same may be answered. Called whether or not [`interest`](Self::interest)
    /// names it.
    ///
    /// # Errors
    /// See [`Filter`].
    fn on_resume(&self, stream: &mut Self::Stream, cx: &mut RequestHeaders<'_>) -> Result<Flow> {
        let _ = (stream, cx);
        Ok(Flow::Next)
    }

    /// A chunk of the request's body, or all of it: see [`BodyMode`].
    ///
    /// # Errors
    /// See [`Filter`].
    fn on_request_body(&self, stream: &mut Self::Stream, cx: &mut RequestBody<'_>) -> Result<Flow> {
        let _ = (stream, cx);
        Ok(Flow::Next)
    }

    /// The trailers of the request, if it has any.
    ///
    /// # Errors
    /// See [`Filter`].
    fn on_request_trailers(
        &self,
        stream: &mut Self::Stream,
        cx: &mut RequestTrailers<'_>,
    ) -> Result<Flow> {
        let _ = (stream, cx);
        Ok(Flow::Next)
    }

    /// The head of the response has arrived, or was made by a filter or by the proxy.
    ///
    /// # Errors
    /// See [`Filter`].
    fn on_response_headers(
        &self,
        stream: &mut Self::Stream,
        cx: &mut ResponseHeaders<'_>,
    ) -> Result<Flow> {
        let _ = (stream, cx);
        Ok(Flow::Next)
    }

    /// A chunk of the response's body, or all of it: see [`BodyMode`].
    ///
    /// # Errors
    /// See [`Filter`]. The head may have been sent, and then the stream is reset.
    fn on_response_body(&self, stream: &mut Self::Stream, cx: &mut ResponseBody<'_>) -> Result<()> {
        let _ = (stream, cx);
        Ok(())
    }

    /// The trailers of the response, if it has any.
    ///
    /// # Errors
    /// See [`Filter`]. The head may have been sent, and then the stream is reset.
    fn on_response_trailers(
        &self,
        stream: &mut Self::Stream,
        cx: &mut ResponseTrailers<'_>,
    ) -> Result<()> {
        let _ = (stream, cx);
        Ok(())
    }

    /// The stream has ended, well or badly, and everything about it is known.
    ///
    /// # Errors
    /// An error is logged and has no other effect.
    fn on_log(&self, stream: &mut Self::Stream, cx: &mut Log<'_>) -> Result<()> {
        let _ = (stream, cx);
        Ok(())
    }
}

/// How a body reaches the filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyMode {
    /// Chunk by chunk, as it arrives.
    #[default]
    Streamed,
    /// Once, whole. The headers are held back until then, so they can still be changed. A body above
    /// the limit is answered with 413 (request) or 500 (response).
    Buffered,
}

/// The hooks that a configuration wants to be called for.
///
/// ```
/// use nuncio_sdk::{BodyMode, Interest};
///
/// let interest = Interest::new().request_headers().request_body(BodyMode::Buffered);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    phases: u8,
    request_body: BodyMode,
    response_body: BodyMode,
    request_body_limit: Option<u32>,
}

/// A phase of a stream, as a bit of [`Interest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    RequestHeaders = 1,
    RequestBody = 1 << 1,
    RequestTrailers = 1 << 2,
    ResponseHeaders = 1 << 3,
    ResponseBody = 1 << 4,
    ResponseTrailers = 1 << 5,
    Log = 1 << 6,
}

impl Interest {
    /// No hook.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            phases: 0,
            request_body: BodyMode::Streamed,
            response_body: BodyMode::Streamed,
            request_body_limit: None,
        }
    }

    const fn with(mut self, phase: Phase) -> Self {
        self.phases |= phase as u8;
        self
    }

    /// And [`Filter::on_request_headers`].
    #[must_use]
    pub const fn request_headers(self) -> Self {
        self.with(Phase::RequestHeaders)
    }

    /// And [`Filter::on_request_body`].
    #[must_use]
    pub const fn request_body(mut self, mode: BodyMode) -> Self {
        self.request_body = mode;
        self.with(Phase::RequestBody)
    }

    /// Holds the request back until its whole body is there, without a look at it, so that what is
    /// behind this filter gets it in one go.
    #[must_use]
    pub const fn whole_request(mut self) -> Self {
        self.request_body = BodyMode::Buffered;
        self
    }

    /// How many bytes a request's buffered body may have, in place of what the proxy's configuration
    /// says.
    #[must_use]
    pub const fn request_body_limit(mut self, bytes: u32) -> Self {
        self.request_body_limit = Some(bytes);
        self
    }

    /// And [`Filter::on_request_trailers`].
    #[must_use]
    pub const fn request_trailers(self) -> Self {
        self.with(Phase::RequestTrailers)
    }

    /// And [`Filter::on_response_headers`].
    #[must_use]
    pub const fn response_headers(self) -> Self {
        self.with(Phase::ResponseHeaders)
    }

    /// And [`Filter::on_response_body`].
    #[must_use]
    pub const fn response_body(mut self, mode: BodyMode) -> Self {
        self.response_body = mode;
        self.with(Phase::ResponseBody)
    }

    /// And [`Filter::on_response_trailers`].
    #[must_use]
    pub const fn response_trailers(self) -> Self {
        self.with(Phase::ResponseTrailers)
    }

    /// And [`Filter::on_log`].
    #[must_use]
    pub const fn log(self) -> Self {
        self.with(Phase::Log)
    }
}

/// What a host asks.
#[cfg(any(target_arch = "wasm32", feature = "testing"))]
impl Interest {
    pub(crate) const fn wants(self, phase: Phase) -> bool {
        self.phases & phase as u8 != 0
    }

    pub(crate) const fn request_body_mode(self) -> BodyMode {
        self.request_body
    }

    #[cfg(target_arch = "wasm32")]
    pub(crate) const fn limit_of_request_body(self) -> Option<u32> {
        self.request_body_limit
    }

    pub(crate) const fn response_body_mode(self) -> BodyMode {
        self.response_body
    }
}
