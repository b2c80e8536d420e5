//! `envoy.filters.http.cors`: answers preflight requests of browsers in the upstream's place, and
//! says in responses which other origins may read them.
//!
//! What it does is configured at virtual hosts and routes; where nothing is, it is not called.

mod config;
#[cfg(test)]
mod tests;

use nuncio_filter_config::{Fraction, Match, Sampler};
use nuncio_sdk::{
    Counter, Error, Filter, Flow, HeaderName, Interest, LocalReply, RequestHeaders,
    ResponseHeaders, Result, RouteConfig, RouteKind, Setup,
};

pub use config::{Config, Policy};

/// The filter.
#[derive(Debug)]
pub struct Cors {
    rules: Option<Rules>,
}

/// What a route says.
#[derive(Debug)]
struct Rules {
    allowed: Vec<Match>,
    allow_methods: String,
    allow_headers: String,
    expose_headers: String,
    max_age: String,
    credentials: bool,
    enabled: Sampler,
    shadow: Sampler,
    private_network: bool,
    forward_not_matching: bool,
    names: Names,
    origin_valid: Counter,
    origin_invalid: Counter,
}

#[derive(Debug)]
struct Names {
    method: HeaderName,
    origin: HeaderName,
    request_method: HeaderName,
    request_private_network: HeaderName,
    allow_origin: HeaderName,
    allow_credentials: HeaderName,
    expose_headers: HeaderName,
}

/// The origin of a request whose response says that it may be read from there; so does the answer to
/// a preflight.
#[derive(Debug, Default)]
pub struct Stream {
    origin: Vec<u8>,
}

impl Filter for Cors {
    type Config = Config;
    type Stream = Stream;

    fn configure(_: Config, setup: &mut Setup) -> Result<Self> {
        // Its counters are shown from the start, as in Envoy.
        counters(setup)?;
        Ok(Self { rules: None })
    }

    fn configure_route(&self, config: &RouteConfig<'_>, setup: &mut Setup) -> Result<Self> {
        let policies: Result<Vec<Policy>> =
            config.levels().iter().map(|level| level.read()).collect();
        Ok(Self {
            rules: Some(Rules::new(&policies?, setup)?),
        })
    }

    fn interest(&self) -> Interest {
        match &self.rules {
            Some(rules) if !rules.enabled.never() || !rules.shadow.never() => {
                Interest::new().request_headers()
            }
            _ => Interest::new(),
        }
    }

    fn on_request_headers(&self, stream: &mut Stream, cx: &mut RequestHeaders<'_>) -> Result<Flow> {
        let Some(rules) = &self.rules else {
            return Ok(Flow::Next);
        };
        let enabled = rules.enabled.sample();
        if !enabled && !rules.shadow.sample() {
            return Ok(Flow::Next);
        }
        // Two origins are none that is allowed, and no less.
        let origin = cx.request().get_all(rules.names.origin).join(&b","[..]);
        if origin.is_empty() || cx.route() != Some(RouteKind::Forward) {
            return Ok(Flow::Next);
        }
        let is_preflight = rules.is_preflight(cx);
        if !rules.allows(&origin) {
            rules.origin_invalid.inc();
            if enabled && is_preflight && !rules.forward_not_matching {
                return Ok(rules.answer(None, cx).into());
            }
            return Ok(Flow::Next);
        }
        rules.origin_valid.inc();
        if !enabled {
            return Ok(Flow::Next);
        }
        let flow = match is_preflight {
            true => rules.answer(Some(&origin), cx).into(),
            false => Flow::Next,
        };
        stream.origin = origin;
        cx.set_interest(Interest::new().response_headers());
        Ok(flow)
    }

    fn on_response_headers(
        &self,
        stream: &mut Stream,
        cx: &mut ResponseHeaders<'_>,
    ) -> Result<Flow> {
        let Some(rules) = &self.rules else {
            return Ok(Flow::Next);
        };
        let mut response = cx.response_mut();
        response.set(rules.names.allow_origin, &stream.origin)?;
        if rules.credentials {
            response.set(rules.names.allow_credentials, "true")?;
        }
        if !rules.expose_headers.is_empty() {
            response.set(rules.names.expose_headers, &rules.expose_headers)?;
        }
        Ok(Flow::Next)
    }
}

impl Rules {
    /// `policies` are those of the route configuration, the virtual host, and so on inwards. Each
    /// field is that of the most specific policy which has it; how many requests are concerned, of
    /// the most specific policy.
    fn new(policies: &[Policy], setup: &mut Setup) -> Result<Self> {
        let has_new = policies.iter().any(|policy| !policy.is_old());
        let policies: Vec<&Policy> = policies
            .iter()
            .filter(|policy| !(has_new && policy.is_old()))
            .rev()
            .collect();
        let Some(nearest) = policies.first() else {
            return Err(Error::msg("there is no policy"));
        };
        let text = |field: fn(&Policy) -> &String| {
            let given = policies.iter().map(|policy| field(policy));
            let given = given.filter(|text| !text.is_empty());
            given.take(1).cloned().collect::<String>()
        };
        let flag =
            |field: fn(&Policy) -> Option<bool>| policies.iter().find_map(|policy| field(policy));
        let matchers = policies
            .iter()
            .map(|policy| &policy.allow_origin_string_match);
        let matchers = matchers
            .filter(|matchers| !matchers.is_empty())
            .take(1)
            .flatten();
        let allowed: Result<Vec<Match>> = matchers
            .map(|matcher| matcher.clone().look_up(setup))
            .collect();
        let (origin_valid, origin_invalid) = counters(setup)?;
        Ok(Self {
            allowed: allowed?,
            allow_methods: text(|policy| &policy.allow_methods),
            allow_headers: text(|policy| &policy.allow_headers),
            expose_headers: text(|policy| &policy.expose_headers),
            max_age: text(|policy| &policy.max_age),
            credentials: flag(|policy| policy.allow_credentials).unwrap_or(false),
            enabled: Sampler::of(nearest.filter_enabled.as_ref(), Fraction::ALL),
            shadow: Sampler::of(nearest.shadow_enabled.as_ref(), Fraction::NONE),
            private_network: flag(|policy| policy.allow_private_network_access).unwrap_or(false),
            forward_not_matching: flag(|policy| policy.forward_not_matching_preflights)
                .unwrap_or(true),
            names: Names::look_up(setup)?,
            origin_valid,
            origin_invalid,
        })
    }

    /// Whether a script of that origin may see responses.
    fn allows(&self, origin: &[u8]) -> bool {
        let mut allowed = self.allowed.iter();
        allowed.any(|allowed| allowed.matches(b"*") || allowed.matches(origin))
    }

    fn is_preflight(&self, cx: &RequestHeaders<'_>) -> bool {
        let request = cx.request();
        request.get(self.names.method).as_deref() == Some(b"OPTIONS")
            && request
                .get(self.names.request_method)
                .is_some_and(|method| !method.is_empty())
    }

    /// The answer to a preflight, which the upstream does not see; `origin` is one that is allowed.
    fn answer(&self, origin: Option<&[u8]>, cx: &RequestHeaders<'_>) -> LocalReply {
        let mut reply = LocalReply::new(200)
            .with_details("cors_response")
            .whatever_route_says();
        if let Some(origin) = origin {
            reply = reply.with_header("access-control-allow-origin", origin);
        }
        if self.credentials {
            reply = reply.with_header("access-control-allow-credentials", "true");
        }
        for (name, value) in [
            ("access-control-allow-methods", &self.allow_methods),
            ("access-control-allow-headers", &self.allow_headers),
            ("access-control-max-age", &self.max_age),
        ] {
            if !value.is_empty() {
                reply = reply.with_header(name, value.as_str());
            }
        }
        let asks = cx.request().get(self.names.request_private_network);
        if self.private_network && asks.as_deref() == Some(b"true") {
            reply = reply.with_header("access-control-allow-private-network", "true");
        }
        reply
    }
}

impl Names {
    fn look_up(setup: &mut Setup) -> Result<Self> {
        Ok(Self {
            method: setup.header_name(":method")?,
            origin: setup.header_name("origin")?,
            request_method: setup.header_name("access-control-request-method")?,
            request_private_network: setup.header_name("access-control-request-private-network")?,
            allow_origin: setup.header_name("access-control-allow-origin")?,
            allow_credentials: setup.header_name("access-control-allow-credentials")?,
            expose_headers: setup.header_name("access-control-expose-headers")?,
        })
    }
}

fn counters(setup: &mut Setup) -> Result<(Counter, Counter)> {
    let prefix = setup.stat_prefix();
    let mut counter = |name| setup.counter(&format!("{prefix}cors.{name}"));
    Ok((counter("origin_valid")?, counter("origin_invalid")?))
}

nuncio_sdk::export_filter!(Cors);
