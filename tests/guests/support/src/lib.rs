//! What the guests have in common: the contract as `wit-bindgen` has it, and hooks that do nothing.
//!
//! The guests do without `nuncio-sdk`, which would not let them misbehave.

wit_bindgen::generate!({
    path: "../../../wit",
    world: "filter",
    pub_export_macro: true,
    default_bindings_module: "support",
    export_macro_name: "export_bindings",
});

pub use exports::nuncio::filter::http_filter::Guest;
pub use nuncio::filter::{
    http_stream, log, log_sink, metrics, regex, runtime, setup, token_bucket, types,
};
pub use types::{BodyMode, Interest, LocalReply, Phases, RouteConfig, Upstream};

use nuncio::filter::answer;

/// What a hook answers, with what it says beyond the flow.
pub struct Step {
    pub state: u32,
    pub then: Flow,
}

#[derive(Clone)]
pub enum Flow {
    Next,
    Reply(LocalReply),
    Forward(Upstream),
    Fail(String),
    Wait(u64),
    /// Nothing but the number.
    Bare(types::Flow),
}

impl Step {
    pub fn tell(self) -> types::Flow {
        answer::keep(self.state);
        match self.then {
            Flow::Next => types::Flow::Next,
            Flow::Reply(reply) => {
                answer::reply(&reply);
                types::Flow::Reply
            }
            Flow::Forward(upstream) => {
                answer::forward(&upstream);
                types::Flow::Forward
            }
            Flow::Fail(message) => {
                answer::fail(&message);
                types::Flow::Fail
            }
            Flow::Wait(ms) => {
                answer::wait(ms);
                types::Flow::Wait
            }
            Flow::Bare(flow) => flow,
        }
    }
}

/// A filter that does nothing, except where it says otherwise.
pub trait Filter {
    fn configure(document: &str) -> Result<Interest, String>;
    fn configure_route(_of: u32, _levels: &[RouteConfig]) -> Result<(u32, Interest), String> {
        Err("nothing for routes".to_owned())
    }
    fn on_request_headers(_end: bool) -> Step {
        next(0)
    }
    fn on_resume(state: u32, _end: bool) -> Step {
        next(state)
    }
    fn on_request_body(state: u32, _chunk: Vec<u8>, _end: bool) -> Step {
        next(state)
    }
    fn on_request_trailers(state: u32) -> Step {
        next(state)
    }
    fn on_response_headers(state: u32, _end: bool) -> Step {
        next(state)
    }
    fn on_response_body(state: u32, _chunk: Vec<u8>, _end: bool) -> Step {
        next(state)
    }
    fn on_response_trailers(state: u32) -> Step {
        next(state)
    }
    fn on_log(_state: u32) {}
    fn on_done(_state: u32) {}
}

/// On to the next filter.
pub fn next(state: u32) -> Step {
    Step {
        state,
        then: Flow::Next,
    }
}

/// Wants these hooks, and bodies in chunks.
pub fn wants(wants: Phases) -> Interest {
    Interest {
        wants,
        request_body: BodyMode::Streamed,
        response_body: BodyMode::Streamed,
        request_body_limit: None,
    }
}

/// The text in a JSON string, of which `\n` is the only escape.
pub fn text_of(document: &str) -> String {
    document.trim().trim_matches('"').replace("\\n", "\n")
}

/// Exports a [`Filter`].
#[macro_export]
macro_rules! export {
    ($filter:ty) => {
        struct Exported;

        impl $crate::Guest for Exported {
            fn configure(document: String) -> Result<(u32, $crate::Interest), String> {
                <$filter as $crate::Filter>::configure(&document).map(|interest| (0, interest))
            }
            fn configure_route(
                of: u32,
                levels: Vec<$crate::RouteConfig>,
            ) -> Result<(u32, $crate::Interest), String> {
                <$filter as $crate::Filter>::configure_route(of, &levels)
            }
            fn on_request_headers(_: u32, end: bool) -> $crate::types::Flow {
                <$filter as $crate::Filter>::on_request_headers(end).tell()
            }
            fn on_resume(_: u32, state: u32, end: bool) -> $crate::types::Flow {
                <$filter as $crate::Filter>::on_resume(state, end).tell()
            }
            fn on_request_body(_: u32, state: u32, chunk: Vec<u8>, end: bool) -> $crate::types::Flow {
                <$filter as $crate::Filter>::on_request_body(state, chunk, end).tell()
            }
            fn on_request_trailers(_: u32, state: u32) -> $crate::types::Flow {
                <$filter as $crate::Filter>::on_request_trailers(state).tell()
            }
            fn on_response_headers(_: u32, state: u32, end: bool) -> $crate::types::Flow {
                <$filter as $crate::Filter>::on_response_headers(state, end).tell()
            }
            fn on_response_body(_: u32, state: u32, chunk: Vec<u8>, end: bool) -> $crate::types::Flow {
                <$filter as $crate::Filter>::on_response_body(state, chunk, end).tell()
            }
            fn on_response_trailers(_: u32, state: u32) -> $crate::types::Flow {
                <$filter as $crate::Filter>::on_response_trailers(state).tell()
            }
            fn on_log(_: u32, state: u32) {
                <$filter as $crate::Filter>::on_log(state)
            }
            fn on_done(_: u32, state: u32) {
                <$filter as $crate::Filter>::on_done(state)
            }
        }

        $crate::export_bindings!(Exported with_types_in $crate);
    };
}
