//! The exports of the component, over [`Instance`].

use crate::bindings::exports::nuncio::filter::http_filter::Guest;
use crate::bindings::nuncio::filter::{answer, types};
use crate::filter::{BodyMode, Filter, Interest, Phase};
use crate::flow::{Flow, LocalReply, Upstream};
use crate::instance::{Instance, Step};
use crate::route_config::RouteLevel;

/// A component that has its one instance of `Filter`; [`export_filter!`](crate::export_filter) makes
/// it.
pub trait Component {
    /// The author's filter.
    type Filter: Filter;

    /// Lends the instance.
    fn with<R>(hook: impl FnOnce(&Instance<Self::Filter>) -> R) -> R;
}

impl<C: Component> Guest for C {
    fn configure(document: String) -> Result<(u32, types::Interest), String> {
        C::with(|instance| instance.configure(&document))
            .map(|(of, interest)| (of, interest.into()))
            .map_err(|error| error.to_string())
    }

    fn configure_route(
        of: u32,
        levels: Vec<types::RouteConfig>,
    ) -> Result<(u32, types::Interest), String> {
        let levels: Vec<RouteLevel> = levels
            .into_iter()
            .map(|level| RouteLevel::new(level.id, level.document))
            .collect();
        C::with(|instance| instance.configure_route(of, &levels))
            .map(|(of, interest)| (of, interest.into()))
            .map_err(|error| error.to_string())
    }

    #[inline]
    fn on_request_headers(of: u32, end_of_stream: bool) -> types::Flow {
        answer(
            0,
            C::with(|instance| instance.on_request_headers(of, end_of_stream)),
        )
    }

    #[inline]
    fn on_resume(of: u32, s: u32, end_of_stream: bool) -> types::Flow {
        answer(
            s,
            C::with(|instance| instance.on_resume(of, s, end_of_stream)),
        )
    }

    #[inline]
    fn on_request_body(of: u32, s: u32, chunk: Vec<u8>, end_of_stream: bool) -> types::Flow {
        answer(
            s,
            C::with(|instance| instance.on_request_body(of, s, chunk, end_of_stream)),
        )
    }

    #[inline]
    fn on_request_trailers(of: u32, s: u32) -> types::Flow {
        answer(s, C::with(|instance| instance.on_request_trailers(of, s)))
    }

    #[inline]
    fn on_response_headers(of: u32, s: u32, end_of_stream: bool) -> types::Flow {
        answer(
            s,
            C::with(|instance| instance.on_response_headers(of, s, end_of_stream)),
        )
    }

    #[inline]
    fn on_response_body(of: u32, s: u32, chunk: Vec<u8>, end_of_stream: bool) -> types::Flow {
        answer(
            s,
            C::with(|instance| instance.on_response_body(of, s, chunk, end_of_stream)),
        )
    }

    #[inline]
    fn on_response_trailers(of: u32, s: u32) -> types::Flow {
        answer(s, C::with(|instance| instance.on_response_trailers(of, s)))
    }

    #[inline]
    fn on_log(of: u32, s: u32) {
        C::with(|instance| instance.on_log(of, s));
    }

    #[inline]
    fn on_done(_of: u32, s: u32) {
        C::with(|instance| instance.on_done(s));
    }
}

impl From<Interest> for types::Interest {
    fn from(interest: Interest) -> Self {
        let phases = [
            (Phase::RequestHeaders, types::Phases::REQUEST_HEADERS),
            (Phase::RequestBody, types::Phases::REQUEST_BODY),
            (Phase::RequestTrailers, types::Phases::REQUEST_TRAILERS),
            (Phase::ResponseHeaders, types::Phases::RESPONSE_HEADERS),
            (Phase::ResponseBody, types::Phases::RESPONSE_BODY),
            (Phase::ResponseTrailers, types::Phases::RESPONSE_TRAILERS),
            (Phase::Log, types::Phases::LOG),
        ];
        Self {
            wants: phases
                .into_iter()
                .filter(|(phase, _)| interest.wants(*phase))
                .fold(types::Phases::empty(), |all, (_, phase)| all | phase),
            request_body: interest.request_body_mode().into(),
            response_body: interest.response_body_mode().into(),
            request_body_limit: interest.limit_of_request_body(),
        }
    }
}

impl From<BodyMode> for types::BodyMode {
    fn from(mode: BodyMode) -> Self {
        match mode {
            BodyMode::Streamed => Self::Streamed,
            BodyMode::Buffered => Self::Buffered,
        }
    }
}

/// Tells the proxy what it does not know yet. `kept` is the token that it has.
// Merged into each export, so that the usual answers are not copied on their way.
#[inline(always)]
fn answer(kept: u32, step: Step) -> types::Flow {
    if step.state != kept {
        answer::keep(step.state);
    }
    match step.then {
        Ok(Flow::Next) => types::Flow::Next,
        Ok(Flow::Forward(upstream)) => {
            if upstream != Upstream::of_route() {
                answer::forward(&upstream.into());
            }
            types::Flow::Forward
        }
        Ok(Flow::Reply(reply)) => {
            answer::reply(&(*reply).into());
            types::Flow::Reply
        }
        Ok(Flow::Wait(time)) => {
            answer::wait(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
            types::Flow::Wait
        }
        Err(error) => {
            answer::fail(&error.to_string());
            types::Flow::Fail
        }
    }
}

impl From<LocalReply> for types::LocalReply {
    fn from(reply: LocalReply) -> Self {
        Self {
            status: reply.status,
            headers: reply.headers,
            body: reply.body,
            details: reply.details,
            grpc_status: reply.grpc_status,
            response_flag: reply.response_flag,
            of_route: reply.of_route,
        }
    }
}

impl From<Upstream> for types::Upstream {
    #[inline]
    fn from(upstream: Upstream) -> Self {
        Self {
            cluster: upstream.cluster,
            timeout_ms: upstream
                .timeout
                .map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}
