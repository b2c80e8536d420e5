//! `envoy.filters.http.stateful_session`: the requests of a session go to the endpoint that its first
//! one went to. The client carries its address, in a cookie or a header field, as Envoy writes it.
//!
//! The choice is the proxy's: the filter leaves the address as metadata, which the proxy reads.

mod config;
#[cfg(test)]
mod tests;
mod token;

use nuncio_filter_config::base64;
use nuncio_sdk::{
    Attribute, Counter, Error, Filter, Flow, Format, HeaderName, Interest, RequestHeaders,
    ResponseHeaders, Result, RouteConfig, Setup,
};

pub use config::{Config, SessionState, State};

/// Where the proxy looks for an endpoint that a request is to go to.
const NAMESPACE: &str = "nuncio.upstream";
/// Its address.
const HOST: &str = "host";
/// The status of the answer where that one may not be used, and no other is to be.
const STRICT: &str = "strict";
/// The longest address that a request is sent to: paths of Unix sockets are shorter.
const ADDRESS_BYTES: usize = 256;
/// What stands for a longer one: nobody's address.
const NOBODY: &[u8] = b"-";
/// What stands in an envelope in front of the endpoint's own value.
const ENCLOSED: &[u8] = b"UV:";
/// The flag of a response that is there because no endpoint could be used.
const NO_ENDPOINT: &[u8] = b"UH";

/// The filter.
#[derive(Debug)]
pub struct StatefulSession {
    /// None where requests are no sessions.
    kept: Option<Kept>,
    /// The status where a session's endpoint may not be used; none where another one is then.
    strict: Option<String>,
    facts: Facts,
    counters: Option<Counters>,
}

/// What is asked about a request.
#[derive(Debug)]
struct Facts {
    path: HeaderName,
    endpoint: Attribute,
    /// When it came, in seconds.
    time: Format,
    flags: Attribute,
}

/// Where the client keeps the address.
#[derive(Debug)]
enum Kept {
    Cookie {
        name: String,
        /// Seconds; 0 for as long as the client runs.
        ttl: u64,
        path: String,
        /// What is behind the value in `set-cookie`.
        rest: String,
        cookie: HeaderName,
        set_cookie: HeaderName,
    },
    Header(HeaderName),
    /// In front of a value of the endpoint's own.
    Envelope(HeaderName),
}

/// What became of requests, where somebody wants to know.
#[derive(Debug)]
struct Counters {
    routed: Counter,
    failed_open: Counter,
    failed_closed: Counter,
    no_session: Counter,
}

/// One request.
#[derive(Debug, Default)]
pub struct Stream {
    /// Whether it can be one of a session.
    counts: bool,
    /// The address that it brought.
    address: Option<Vec<u8>>,
}

impl Filter for StatefulSession {
    type Config = Config;
    type Stream = Stream;

    fn configure(config: Config, setup: &mut Setup) -> Result<Self> {
        let counters = match config.stat_prefix.as_str() {
            "" => None,
            prefix => Some(Counters::open(prefix, setup)?),
        };
        Self::new(config, counters, setup)
    }

    fn configure_route(&self, config: &RouteConfig<'_>, setup: &mut Setup) -> Result<Self> {
        let written: config::RouteConfig = config.read()?;
        // As in Envoy nothing is counted there.
        match (written.disabled, written.stateful_session) {
            (Some(true), None) => Self::new(Config::default(), None, setup),
            (None, Some(config)) => Self::new(config, None, setup),
            _ => Err(Error::msg(
                "one of `disabled: true` and `stateful_session` must be set",
            )),
        }
    }

    fn interest(&self) -> Interest {
        let mut interest = Interest::new();
        if self.kept.is_some() {
            interest = interest.request_headers();
        }
        if self.kept.is_some() || self.counters.is_some() {
            interest = interest.response_headers();
        }
        interest
    }

    fn on_request_headers(&self, stream: &mut Stream, cx: &mut RequestHeaders<'_>) -> Result<Flow> {
        let Some(kept) = &self.kept else {
            return Ok(Flow::Next);
        };
        let path = cx.request().get(self.facts.path).unwrap_or_default();
        stream.counts = kept.counts_for(&path);
        if !stream.counts {
            return Ok(Flow::Next);
        }
        stream.address = kept.address(&self.facts, cx);
        if let Some(address) = &stream.address {
            let is_one = address.len() <= ADDRESS_BYTES;
            let host = if is_one { address } else { NOBODY };
            cx.set_metadata(NAMESPACE, HOST, host)?;
            if let Some(status) = &self.strict {
                cx.set_metadata(NAMESPACE, STRICT, status.as_bytes())?;
            }
        }
        Ok(Flow::Next)
    }

    fn on_response_headers(
        &self,
        stream: &mut Stream,
        cx: &mut ResponseHeaders<'_>,
    ) -> Result<Flow> {
        let endpoint = cx.attribute(self.facts.endpoint);
        let kept = self.kept.as_ref().filter(|_| stream.counts);
        if let Some(counters) = &self.counters {
            let what = match (kept, &endpoint) {
                (None, Some(_)) => Some(counters.no_session),
                (Some(_), Some(_)) if stream.address == endpoint => Some(counters.routed),
                (Some(_), Some(_)) if self.strict.is_none() => Some(counters.failed_open),
                (Some(_), None) if self.strict.is_some() && self.had_nobody(cx) => {
                    Some(counters.failed_closed)
                }
                _ => None,
            };
            if let Some(counter) = what {
                counter.inc();
            }
        }
        if let (Some(kept), Some(endpoint)) = (kept, endpoint)
            && (kept.is_envelope() || stream.address.as_ref() != Some(&endpoint))
        {
            kept.keep(&endpoint, &self.facts, cx)?;
        }
        Ok(Flow::Next)
    }
}

impl StatefulSession {
    fn new(config: Config, counters: Option<Counters>, setup: &mut Setup) -> Result<Self> {
        let status = match config.status_on_strict_destination_not_found {
            0 => 503,
            status @ 200..=599 => status,
            status => {
                return Err(Error::msg(format!(
                    "`status_on_strict_destination_not_found` is from 200 to 599, not {status}"
                )));
            }
        };
        let kept = match config.session_state.map(|state| state.typed_config) {
            None => None,
            Some(State::Header { name }) => Some(Kept::Header(setup.header_name(&name)?)),
            Some(State::Envelope { header }) => {
                Some(Kept::Envelope(setup.header_name(&header.name)?))
            }
            Some(State::Cookie { cookie }) => Some(Kept::cookie(cookie, setup)?),
        };
        Ok(Self {
            kept,
            strict: config.strict.then(|| status.to_string()),
            facts: Facts {
                path: setup.header_name(":path")?,
                endpoint: setup.attribute("upstream.address")?,
                time: setup.format("%START_TIME(%s)%")?,
                flags: setup.attribute("response.flags")?,
            },
            counters,
        })
    }

    /// Whether the response is there because no endpoint could be used.
    fn had_nobody(&self, cx: &ResponseHeaders<'_>) -> bool {
        let flags = cx.attribute(self.facts.flags).unwrap_or_default();
        flags
            .split(|byte| *byte == b',')
            .any(|flag| flag == NO_ENDPOINT)
    }
}

impl Counters {
    fn open(name: &str, setup: &mut Setup) -> Result<Self> {
        let prefix = setup.stat_prefix();
        let mut counter = |what| setup.counter(&format!("{prefix}stateful_session.{name}.{what}"));
        Ok(Self {
            routed: counter("routed")?,
            failed_open: counter("failed_open")?,
            failed_closed: counter("failed_closed")?,
            no_session: counter("no_session")?,
        })
    }
}

impl Kept {
    fn cookie(written: config::Cookie, setup: &mut Setup) -> Result<Self> {
        if written.name.is_empty() {
            return Err(Error::msg("a cookie needs a `name`"));
        }
        let ttl = written.ttl.map_or(0, |ttl| ttl.0.as_secs());
        let mut rest = String::new();
        let mut attribute = |name: &str, value: &str| {
            rest.push_str("; ");
            rest.push_str(name);
            if !value.is_empty() {
                rest.push('=');
                rest.push_str(value);
            }
        };
        if ttl > 0 {
            attribute("Max-Age", &ttl.to_string());
        }
        if !written.path.is_empty() {
            attribute("Path", &written.path);
        }
        for written in &written.attributes {
            attribute(&written.name, &written.value);
        }
        attribute("HttpOnly", "");
        Ok(Self::Cookie {
            name: written.name,
            ttl,
            path: written.path,
            rest,
            cookie: setup.header_name("cookie")?,
            set_cookie: setup.header_name("set-cookie")?,
        })
    }

    /// Whether a request for that target can be one of a session.
    fn counts_for(&self, target: &[u8]) -> bool {
        let Self::Cookie { path, .. } = self else {
            return true;
        };
        let rest = target.strip_prefix(path.as_bytes());
        rest.is_some_and(|rest| {
            path.is_empty()
                || path.ends_with('/')
                || matches!(rest.first(), None | Some(b'/' | b'?' | b'#'))
        })
    }

    /// Whether the endpoint's own value is to be given back to it.
    const fn is_envelope(&self) -> bool {
        matches!(self, Self::Envelope(_))
    }

    /// The address that a request brings along. An envelope is opened.
    fn address(&self, facts: &Facts, cx: &mut RequestHeaders<'_>) -> Option<Vec<u8>> {
        let address = match self {
            Self::Header(name) => base64::decode(&cx.request().get(*name)?)?,
            Self::Envelope(name) => {
                let (address, value) = opened(&cx.request().get(*name)?)?;
                // As in Envoy it stands at the end then.
                cx.request_mut().remove(*name).ok()?;
                cx.request_mut().append(*name, &value).ok()?;
                address
            }
            Self::Cookie { name, cookie, .. } => {
                let lines = cx.request().get_all(*cookie);
                let value = lines
                    .iter()
                    .find_map(|line| cookie_value(line, name.as_bytes()))?;
                token::read(&base64::decode(value)?, seconds(&cx.render(facts.time)))?
            }
        };
        (!address.is_empty()).then_some(address)
    }

    /// Lets the client keep the address of the endpoint.
    fn keep(&self, endpoint: &[u8], facts: &Facts, cx: &mut ResponseHeaders<'_>) -> Result<()> {
        let mut text = Vec::new();
        match self {
            Self::Header(name) => {
                base64::encode(endpoint, &mut text);
                cx.response_mut().set(*name, &text)?;
            }
            Self::Envelope(name) => {
                // Without one value of the endpoint's own there is no session.
                let values = cx.response().get_all(*name);
                if let [value] = &*values {
                    base64::encode(endpoint, &mut text);
                    text.push(b';');
                    text.extend_from_slice(ENCLOSED);
                    base64::encode(value, &mut text);
                    cx.response_mut().remove(*name)?;
                    cx.response_mut().append(*name, &text)?;
                }
            }
            Self::Cookie {
                name,
                ttl,
                rest,
                set_cookie,
                ..
            } => {
                let expires = (*ttl > 0).then(|| seconds(&cx.render(facts.time)) + ttl);
                text.extend_from_slice(name.as_bytes());
                text.extend_from_slice(b"=\"");
                base64::encode(&token::write(endpoint, expires), &mut text);
                text.push(b'"');
                text.extend_from_slice(rest.as_bytes());
                cx.response_mut().append(*set_cookie, &text)?;
            }
        }
        Ok(())
    }
}

/// The address on an envelope, and the value in it; none where it holds none. As in Envoy an address that
/// cannot be read does not keep it closed.
fn opened(envelope: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut parts = envelope
        .split(|byte| *byte == b';')
        .filter(|part| !part.is_empty());
    let address = base64::decode(parts.next()?).unwrap_or_default();
    let value = parts.find_map(|part| part.strip_prefix(ENCLOSED))?;
    let value = base64::decode(value).filter(|value| !value.is_empty())?;
    Some((address, value))
}

fn seconds(rendered: &[u8]) -> u64 {
    let text = std::str::from_utf8(rendered).unwrap_or_default();
    text.parse().unwrap_or(0)
}

/// The value of a cookie in a line of them, without quotes around it.
fn cookie_value<'l>(line: &'l [u8], name: &[u8]) -> Option<&'l [u8]> {
    let mut pairs = line.split(|byte| *byte == b';');
    pairs.find_map(|pair| {
        // As in Envoy blanks behind a value are its own, and then it is none.
        let value = pair
            .trim_ascii_start()
            .strip_prefix(name)?
            .strip_prefix(b"=")?;
        let inner = value
            .strip_prefix(b"\"")
            .and_then(|value| value.strip_suffix(b"\""));
        Some(inner.unwrap_or(value))
    })
}

nuncio_sdk::export_filter!(StatefulSession);
