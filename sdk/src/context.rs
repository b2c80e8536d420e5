//! What a hook is given: one type a phase, so that what a phase does not allow does not compile.
//!
//! All of them give access to what every phase has, by [`Exchange`].

use std::ops::{Deref, DerefMut};

use crate::error::HostError;
use crate::exchange::{Exchange, Fields, FieldsMut};
use crate::host::{Block, Current, Host};

/// The head of the request, in [`Filter::on_request_headers`](crate::Filter::on_request_headers).
#[derive(Debug)]
pub struct RequestHeaders<'a> {
    exchange: Exchange<'a>,
    end_of_stream: bool,
}

impl RequestHeaders<'_> {
    #[inline]
    pub(crate) const fn new(end_of_stream: bool) -> Self {
        Self {
            exchange: Exchange::current(),
            end_of_stream,
        }
    }

    /// Whether the request has neither a body nor trailers.
    #[inline]
    #[must_use]
    pub const fn end_of_stream(&self) -> bool {
        self.end_of_stream
    }

    /// The request's headers, with `:method`, `:scheme`, `:authority` and `:path`.
    #[inline]
    #[must_use]
    pub const fn request(&self) -> Fields<'_> {
        Fields::at(Block::RequestHeaders)
    }

    /// The request's headers, to be changed.
    #[inline]
    #[must_use]
    pub const fn request_mut(&mut self) -> FieldsMut<'_> {
        FieldsMut::at(Block::RequestHeaders)
    }

    /// Has the route matched again after this hook, because what it is matched on has changed.
    ///
    /// # Errors
    /// [`HostError::WrongPhase`].
    pub fn clear_route_cache(&mut self) -> Result<(), HostError> {
        Current.clear_route_cache()
    }
}

/// A chunk of the request's body or all of it, in
/// [`Filter::on_request_body`](crate::Filter::on_request_body).
#[derive(Debug)]
pub struct RequestBody<'a> {
    exchange: Exchange<'a>,
    chunk: Vec<u8>,
    end_of_stream: bool,
}

impl RequestBody<'_> {
    #[inline]
    pub(crate) const fn new(chunk: Vec<u8>, end_of_stream: bool) -> Self {
        Self {
            exchange: Exchange::current(),
            chunk,
            end_of_stream,
        }
    }

    /// Whether nothing follows, no trailers either.
    #[inline]
    #[must_use]
    pub const fn end_of_stream(&self) -> bool {
        self.end_of_stream
    }

    /// The bytes as they arrived.
    #[inline]
    #[must_use]
    pub fn chunk(&self) -> &[u8] {
        &self.chunk
    }

    /// Sends these bytes on in place of the chunk. None is fine.
    ///
    /// # Errors
    /// [`HostError::TooLarge`].
    pub fn replace(&mut self, body: impl AsRef<[u8]>) -> Result<(), HostError> {
        Current.replace_body(body.as_ref())
    }

    /// The request's headers.
    #[inline]
    #[must_use]
    pub const fn request(&self) -> Fields<'_> {
        Fields::at(Block::RequestHeaders)
    }

    /// The request's headers, to be changed; which a body that is streamed does not allow, for they
    /// have been sent.
    #[inline]
    #[must_use]
    pub const fn request_mut(&mut self) -> FieldsMut<'_> {
        FieldsMut::at(Block::RequestHeaders)
    }

    /// Has the route matched again after this hook. Only for a body that is buffered.
    ///
    /// # Errors
    /// [`HostError::WrongPhase`].
    pub fn clear_route_cache(&mut self) -> Result<(), HostError> {
        Current.clear_route_cache()
    }
}

/// The trailers of the request, in
/// [`Filter::on_request_trailers`](crate::Filter::on_request_trailers).
#[derive(Debug)]
pub struct RequestTrailers<'a> {
    exchange: Exchange<'a>,
}

impl RequestTrailers<'_> {
    #[inline]
    pub(crate) const fn new() -> Self {
        Self {
            exchange: Exchange::current(),
        }
    }

    /// The request's headers.
    #[inline]
    #[must_use]
    pub const fn request(&self) -> Fields<'_> {
        Fields::at(Block::RequestHeaders)
    }

    /// The request's trailers.
    #[inline]
    #[must_use]
    pub const fn trailers(&self) -> Fields<'_> {
        Fields::at(Block::RequestTrailers)
    }

    /// The request's trailers, to be changed.
    #[inline]
    #[must_use]
    pub const fn trailers_mut(&mut self) -> FieldsMut<'_> {
        FieldsMut::at(Block::RequestTrailers)
    }

    /// Takes all trailers out: none are sent on.
    ///
    /// # Errors
    /// [`HostError::WrongPhase`].
    pub fn clear_trailers(&mut self) -> Result<(), HostError> {
        Current.clear(Block::RequestTrailers)
    }

    /// Sends more of the body, in front of the trailers.
    ///
    /// # Errors
    /// [`HostError::TooLarge`].
    pub fn add_body(&mut self, body: impl AsRef<[u8]>) -> Result<(), HostError> {
        Current.add_body(body.as_ref())
    }
}

/// The head of the response, in
/// [`Filter::on_response_headers`](crate::Filter::on_response_headers).
#[derive(Debug)]
pub struct ResponseHeaders<'a> {
    exchange: Exchange<'a>,
    end_of_stream: bool,
}

impl ResponseHeaders<'_> {
    #[inline]
    pub(crate) const fn new(end_of_stream: bool) -> Self {
        Self {
            exchange: Exchange::current(),
            end_of_stream,
        }
    }

    /// Whether the response has neither a body nor trailers.
    #[inline]
    #[must_use]
    pub const fn end_of_stream(&self) -> bool {
        self.end_of_stream
    }

    /// The request's headers, as they were sent upstream.
    #[inline]
    #[must_use]
    pub const fn request(&self) -> Fields<'_> {
        Fields::at(Block::RequestHeaders)
    }

    /// The response's headers, with `:status`.
    #[inline]
    #[must_use]
    pub const fn response(&self) -> Fields<'_> {
        Fields::at(Block::ResponseHeaders)
    }

    /// The response's headers, to be changed.
    #[inline]
    #[must_use]
    pub const fn response_mut(&mut self) -> FieldsMut<'_> {
        FieldsMut::at(Block::ResponseHeaders)
    }
}

/// A chunk of the response's body or all of it, in
/// [`Filter::on_response_body`](crate::Filter::on_response_body).
#[derive(Debug)]
pub struct ResponseBody<'a> {
    exchange: Exchange<'a>,
    chunk: Vec<u8>,
    end_of_stream: bool,
}

impl ResponseBody<'_> {
    #[inline]
    pub(crate) const fn new(chunk: Vec<u8>, end_of_stream: bool) -> Self {
        Self {
            exchange: Exchange::current(),
            chunk,
            end_of_stream,
        }
    }

    /// Whether nothing follows, no trailers either.
    #[inline]
    #[must_use]
    pub const fn end_of_stream(&self) -> bool {
        self.end_of_stream
    }

    /// The bytes as they arrived.
    #[inline]
    #[must_use]
    pub fn chunk(&self) -> &[u8] {
        &self.chunk
    }

    /// Sends these bytes on in place of the chunk. None is fine.
    ///
    /// # Errors
    /// [`HostError::TooLarge`].
    pub fn replace(&mut self, body: impl AsRef<[u8]>) -> Result<(), HostError> {
        Current.replace_body(body.as_ref())
    }

    /// The request's headers, as they were sent upstream.
    #[inline]
    #[must_use]
    pub const fn request(&self) -> Fields<'_> {
        Fields::at(Block::RequestHeaders)
    }

    /// The response's headers.
    #[inline]
    #[must_use]
    pub const fn response(&self) -> Fields<'_> {
        Fields::at(Block::ResponseHeaders)
    }

    /// The response's headers, to be changed; which a body that is streamed does not allow, for they
    /// have been sent.
    #[inline]
    #[must_use]
    pub const fn response_mut(&mut self) -> FieldsMut<'_> {
        FieldsMut::at(Block::ResponseHeaders)
    }
}

/// The trailers of the response, in
/// [`Filter::on_response_trailers`](crate::Filter::on_response_trailers).
#[derive(Debug)]
pub struct ResponseTrailers<'a> {
    exchange: Exchange<'a>,
}

impl ResponseTrailers<'_> {
    #[inline]
    pub(crate) const fn new() -> Self {
        Self {
            exchange: Exchange::current(),
        }
    }

    /// The request's headers, as they were sent upstream.
    #[inline]
    #[must_use]
    pub const fn request(&self) -> Fields<'_> {
        Fields::at(Block::RequestHeaders)
    }

    /// The response's headers.
    #[inline]
    #[must_use]
    pub const fn response(&self) -> Fields<'_> {
        Fields::at(Block::ResponseHeaders)
    }

    /// The response's headers, to be changed; which only a body that is buffered allows.
    #[inline]
    #[must_use]
    pub const fn response_mut(&mut self) -> FieldsMut<'_> {
        FieldsMut::at(Block::ResponseHeaders)
    }

    /// The response's trailers.
    #[inline]
    #[must_use]
    pub const fn trailers(&self) -> Fields<'_> {
        Fields::at(Block::ResponseTrailers)
    }

    /// The response's trailers, to be changed.
    #[inline]
    #[must_use]
    pub const fn trailers_mut(&mut self) -> FieldsMut<'_> {
        FieldsMut::at(Block::ResponseTrailers)
    }

    /// Takes all trailers out: none are sent on.
    ///
    /// # Errors
    /// [`HostError::WrongPhase`].
    pub fn clear_trailers(&mut self) -> Result<(), HostError> {
        Current.clear(Block::ResponseTrailers)
    }

    /// Sends more of the body, in front of the trailers.
    ///
    /// # Errors
    /// [`HostError::TooLarge`].
    pub fn add_body(&mut self, body: impl AsRef<[u8]>) -> Result<(), HostError> {
        Current.add_body(body.as_ref())
    }
}

/// The whole stream once it has ended, in [`Filter::on_log`](crate::Filter::on_log). Blocks that
/// never came are empty.
#[derive(Debug)]
pub struct Log<'a> {
    exchange: Exchange<'a>,
}

impl Log<'_> {
    #[inline]
    pub(crate) const fn new() -> Self {
        Self {
            exchange: Exchange::current(),
        }
    }

    /// The request's headers, as they were sent upstream.
    #[inline]
    #[must_use]
    pub const fn request(&self) -> Fields<'_> {
        Fields::at(Block::RequestHeaders)
    }

    /// The request's trailers.
    #[inline]
    #[must_use]
    pub const fn request_trailers(&self) -> Fields<'_> {
        Fields::at(Block::RequestTrailers)
    }

    /// The response's headers, as they were sent downstream.
    #[inline]
    #[must_use]
    pub const fn response(&self) -> Fields<'_> {
        Fields::at(Block::ResponseHeaders)
    }

    /// The response's trailers.
    #[inline]
    #[must_use]
    pub const fn response_trailers(&self) -> Fields<'_> {
        Fields::at(Block::ResponseTrailers)
    }
}

macro_rules! gives_access_to_the_exchange {
    ($($context:ident)+) => {$(
        impl<'a> Deref for $context<'a> {
            type Target = Exchange<'a>;

            #[inline]
            fn deref(&self) -> &Self::Target {
                &self.exchange
            }
        }

        impl DerefMut for $context<'_> {
            #[inline]
            fn deref_mut(&mut self) -> &mut Self::Target {
                &mut self.exchange
            }
        }
    )+};
}

gives_access_to_the_exchange! {
    RequestHeaders RequestBody RequestTrailers ResponseHeaders ResponseBody ResponseTrailers Log
}
