//! One instance of a component: its configurations, and the state of the streams that it serves.
//!
//! It is what [`export_filter!`](crate::export_filter) puts behind the exports, and what the fake
//! host drives, so both run the same code. The proxy never enters an instance twice at a time.

use std::cell::RefCell;
use std::{fmt, mem};

use serde::de::DeserializeOwned;

use crate::context::{
    Log, RequestBody, RequestHeaders, RequestTrailers, ResponseBody, ResponseHeaders,
    ResponseTrailers,
};
use crate::error::{Error, Result};
use crate::filter::{Filter, Interest};
use crate::flow::Flow;
use crate::logger;
use crate::route_config::{RouteConfig, RouteLevel};
use crate::setup::Setup;

/// The configurations and streams of one instance.
pub struct Instance<F: Filter> {
    configs: RefCell<Vec<F>>,
    streams: RefCell<Slab<F::Stream>>,
}

/// What a hook answers: the state's token, and what becomes of the stream or why the filter failed.
pub(crate) struct Step {
    pub(crate) state: u32,
    pub(crate) then: Result<Flow>,
}

impl<F: Filter> Instance<F> {
    /// Whether a stream has no state, and so needs no place to keep it.
    const STATELESS: bool = size_of::<F::Stream>() == 0 && !mem::needs_drop::<F::Stream>();

    /// Nothing configured, no streams.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            configs: RefCell::new(Vec::new()),
            streams: RefCell::new(Slab::new()),
        }
    }

    pub(crate) fn configure(&self, document: &str) -> Result<(u32, Interest)> {
        logger::install();
        logger::begin_hook();
        let filter = F::configure(read(document)?, &mut Setup::new())?;
        self.keep(filter)
    }

    pub(crate) fn configure_route(
        &self,
        of: u32,
        levels: &[RouteLevel],
    ) -> Result<(u32, Interest)> {
        let filter = self.with_filter(of, |filter| {
            filter.configure_route(&RouteConfig::new(levels), &mut Setup::new())
        })?;
        self.keep(filter)
    }

    fn keep(&self, filter: F) -> Result<(u32, Interest)> {
        let interest = filter.interest();
        let mut configs = self.configs.try_borrow_mut()?;
        let number = u32::try_from(configs.len())?;
        configs.push(filter);
        Ok((number, interest))
    }

    #[inline]
    pub(crate) fn on_request_headers(&self, of: u32, end_of_stream: bool) -> Step {
        self.step(of, 0, |filter, stream| {
            filter.on_request_headers(stream, &mut RequestHeaders::new(end_of_stream))
        })
    }

    #[inline]
    pub(crate) fn on_resume(&self, of: u32, s: u32, end_of_stream: bool) -> Step {
        self.step(of, s, |filter, stream| {
            filter.on_resume(stream, &mut RequestHeaders::new(end_of_stream))
        })
    }

    #[inline]
    pub(crate) fn on_request_body(&self, of: u32, s: u32, chunk: Vec<u8>, end: bool) -> Step {
        self.step(of, s, |filter, stream| {
            filter.on_request_body(stream, &mut RequestBody::new(chunk, end))
        })
    }

    #[inline]
    pub(crate) fn on_request_trailers(&self, of: u32, s: u32) -> Step {
        self.step(of, s, |filter, stream| {
            filter.on_request_trailers(stream, &mut RequestTrailers::new())
        })
    }

    #[inline]
    pub(crate) fn on_response_headers(&self, of: u32, s: u32, end_of_stream: bool) -> Step {
        self.step(of, s, |filter, stream| {
            filter.on_response_headers(stream, &mut ResponseHeaders::new(end_of_stream))
        })
    }

    #[inline]
    pub(crate) fn on_response_body(&self, of: u32, s: u32, chunk: Vec<u8>, end: bool) -> Step {
        self.step(of, s, |filter, stream| {
            filter.on_response_body(stream, &mut ResponseBody::new(chunk, end))?;
            Ok(Flow::Next)
        })
    }

    #[inline]
    pub(crate) fn on_response_trailers(&self, of: u32, s: u32) -> Step {
        self.step(of, s, |filter, stream| {
            filter.on_response_trailers(stream, &mut ResponseTrailers::new())?;
            Ok(Flow::Next)
        })
    }

    #[inline]
    pub(crate) fn on_log(&self, of: u32, s: u32) {
        // No token comes back from this hook, so a state that was not kept before is not kept now.
        let ended = if s == 0 || Self::STATELESS {
            self.with_filter(of, |filter| {
                filter.on_log(&mut F::Stream::default(), &mut Log::new())
            })
        } else {
            self.step(of, s, |filter, stream| {
                filter.on_log(stream, &mut Log::new())?;
                Ok(Flow::Next)
            })
            .then
            .map(drop)
        };
        if let Err(error) = ended {
            log::error!("{error}");
        }
    }

    #[inline]
    pub(crate) fn on_done(&self, s: u32) {
        let freed = self
            .streams
            .try_borrow_mut()
            .ok()
            .and_then(|mut streams| streams.take(s));
        // The author's `drop` runs last, when nothing is borrowed.
        drop(freed);
    }

    /// Runs a hook with the stream's state, which is made where there is none yet.
    #[inline]
    fn step(
        &self,
        of: u32,
        state: u32,
        hook: impl FnOnce(&F, &mut F::Stream) -> Result<Flow>,
    ) -> Step {
        if Self::STATELESS {
            let then = self.with_filter(of, |filter| hook(filter, &mut F::Stream::default()));
            return Step { state: 0, then };
        }
        let mut streams = match self.streams.try_borrow_mut() {
            Ok(streams) => streams,
            Err(error) => {
                return Step {
                    state,
                    then: Err(error.into()),
                };
            }
        };
        let state = if state == 0 {
            streams.insert(F::Stream::default())
        } else {
            state
        };
        let then = match streams.get_mut(state) {
            Some(stream) => self.with_filter(of, |filter| hook(filter, stream)),
            None => Err(Error::msg(format!("there is no stream with state {state}"))),
        };
        Step { state, then }
    }

    #[inline]
    fn with_filter<R>(&self, of: u32, hook: impl FnOnce(&F) -> Result<R>) -> Result<R> {
        logger::begin_hook();
        let configs = self.configs.try_borrow()?;
        match configs.get(of as usize) {
            Some(filter) => hook(filter),
            None => Err(Error::msg(format!("there is no configuration {of}"))),
        }
    }

    /// How many streams have state.
    #[cfg(all(feature = "testing", not(target_arch = "wasm32")))]
    pub(crate) fn live_streams(&self) -> usize {
        self.streams.borrow().live()
    }
}

/// Reads a configuration. None at all is `null`, for which an author's type may have a field-less
/// struct, a map, an `Option` or `()`: whichever form of nothing it takes is fine.
pub(crate) fn read<C: DeserializeOwned>(document: &str) -> Result<C, BadConfiguration> {
    let parse = |document| {
        let mut json = serde_json::Deserializer::from_str(document);
        serde_path_to_error::deserialize(&mut json).map_err(BadConfiguration::new)
    };
    match document.trim_ascii() {
        "" | "null" | "{}" => parse("null").or_else(|_cause| parse("{}")),
        document => parse(document),
    }
}

/// What is wrong with a configuration, and where in it.
#[derive(Debug)]
pub(crate) struct BadConfiguration(String);

impl BadConfiguration {
    fn new(error: serde_path_to_error::Error<serde_json::Error>) -> Self {
        let path = error.path().to_string();
        let reason = error.into_inner().to_string();
        // The position is one in the JSON that the proxy has made, which nobody sees.
        let reason = reason
            .rsplit_once(" at line ")
            .map_or(&*reason, |(reason, _)| reason);
        Self(match path.as_str() {
            "." => reason.to_owned(),
            path => format!("{path}: {reason}"),
        })
    }
}

impl fmt::Display for BadConfiguration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadConfiguration {}

impl<F: Filter> Default for Instance<F> {
    fn default() -> Self {
        Self::new()
    }
}

/// States by token. A token is the place plus one, for 0 means that there is no state; a place is
/// used again, so a busy instance allocates nothing.
struct Slab<S> {
    places: Vec<Option<S>>,
    free: Vec<u32>,
}

impl<S> Slab<S> {
    const fn new() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
        }
    }

    /// The token; 0 if there are more streams than numbers.
    fn insert(&mut self, state: S) -> u32 {
        if let Some(token) = self.free.pop()
            && let Some(place) = self.place(token)
        {
            *place = Some(state);
            return token;
        }
        self.places.push(Some(state));
        u32::try_from(self.places.len()).unwrap_or(0)
    }

    fn get_mut(&mut self, token: u32) -> Option<&mut S> {
        self.place(token)?.as_mut()
    }

    fn take(&mut self, token: u32) -> Option<S> {
        let state = self.place(token)?.take()?;
        self.free.push(token);
        Some(state)
    }

    fn place(&mut self, token: u32) -> Option<&mut Option<S>> {
        self.places.get_mut((token as usize).checked_sub(1)?)
    }

    #[cfg(all(feature = "testing", not(target_arch = "wasm32")))]
    const fn live(&self) -> usize {
        self.places.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_read_as_any_form_of_nothing() {
        for document in ["", "null", "{}", " {}\n"] {
            assert!(read::<()>(document).is_ok(), "{document:?}");
            assert_eq!(read::<Option<u8>>(document).unwrap(), None, "{document:?}");
            let map: std::collections::BTreeMap<u8, u8> = read(document).unwrap();
            assert!(map.is_empty(), "{document:?}");
        }
        assert_eq!(read::<Option<u8>>("7").unwrap(), Some(7));
        assert!(read::<u8>("null").is_err());
    }

    #[test]
    fn an_error_says_where_it_is() {
        type Table = std::collections::BTreeMap<String, Vec<u8>>;
        for (document, expected) in [
            (
                r#"{"a": [1], "b": [1, "x"]}"#,
                "b[1]: invalid type: string \"x\", expected u8",
            ),
            ("[]", "invalid type: sequence, expected a map"),
            ("", ""),
        ] {
            let refused = read::<Table>(document).err().map(|error| error.to_string());
            assert_eq!(refused.unwrap_or_default(), expected, "{document}");
        }
    }

    #[test]
    fn a_place_is_used_again() {
        let mut slab = Slab::new();
        let (a, b) = (slab.insert('a'), slab.insert('b'));
        assert_eq!((a, b), (1, 2));
        assert_eq!(slab.take(a), Some('a'));
        assert_eq!(slab.insert('c'), a);
        assert_eq!(slab.get_mut(a), Some(&mut 'c'));
        assert_eq!(slab.get_mut(b), Some(&mut 'b'));
        assert_eq!(slab.live(), 2);
    }

    #[test]
    fn a_token_that_stands_for_nothing_is_harmless() {
        let mut slab = Slab::new();
        let token = slab.insert('a');
        assert_eq!(slab.take(token), Some('a'));
        for token in [0, token, 2, u32::MAX] {
            assert_eq!(slab.take(token), None);
            assert_eq!(slab.get_mut(token), None);
        }
        assert_eq!(slab.insert('b'), token);
        assert_eq!(slab.insert('c'), token + 1);
    }
}
