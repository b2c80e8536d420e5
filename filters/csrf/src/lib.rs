//! `envoy.filters.http.csrf`: refuses requests that change something and come from a page of another
//! site.

#[cfg(test)]
mod tests;

use nuncio_filter_config::{Fraction, Match, RuntimeFraction, Sampler, StringMatcher};
use nuncio_sdk::{
    Counter, Filter, Flow, HeaderName, Interest, LocalReply, RequestHeaders, Result, Setup,
};
use serde::Deserialize;

/// `envoy.extensions.filters.http.csrf.v3.CsrfPolicy`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The type URL, if the proxy hands it over.
    #[serde(default, rename = "@type")]
    _type: Option<String>,
    /// For how many requests the policy is followed.
    pub filter_enabled: RuntimeFraction,
    /// For how many of the others it is only counted; for none where it is absent.
    #[serde(default)]
    pub shadow_enabled: Option<RuntimeFraction>,
    /// Origins that may, besides the request's own host.
    #[serde(default)]
    pub additional_origins: Vec<StringMatcher>,
}

/// The filter.
#[derive(Debug)]
pub struct Csrf {
    enabled: Sampler,
    shadow: Sampler,
    origins: Vec<Match>,
    method: HeaderName,
    host: HeaderName,
    origin: HeaderName,
    referer: HeaderName,
    missing: Counter,
    invalid: Counter,
    valid: Counter,
}

impl Filter for Csrf {
    type Config = Config;
    type Stream = ();

    fn configure(config: Config, setup: &mut Setup) -> Result<Self> {
        let prefix = format!("{}csrf.", setup.stat_prefix());
        let origins = config.additional_origins.into_iter();
        let origins: Result<Vec<Match>> = origins.map(|origin| origin.look_up(setup)).collect();
        Ok(Self {
            enabled: Sampler::of(Some(&config.filter_enabled), Fraction::NONE),
            shadow: Sampler::of(config.shadow_enabled.as_ref(), Fraction::NONE),
            origins: origins?,
            method: setup.header_name(":method")?,
            host: setup.header_name(":authority")?,
            origin: setup.header_name("origin")?,
            referer: setup.header_name("referer")?,
            missing: setup.counter(&format!("{prefix}missing_source_origin"))?,
            invalid: setup.counter(&format!("{prefix}request_invalid"))?,
            valid: setup.counter(&format!("{prefix}request_valid"))?,
        })
    }

    fn interest(&self) -> Interest {
        if self.enabled.never() && self.shadow.never() {
            return Interest::new();
        }
        Interest::new().request_headers()
    }

    fn on_request_headers(&self, _: &mut (), cx: &mut RequestHeaders<'_>) -> Result<Flow> {
        let enabled = self.enabled.sample();
        if !enabled && !self.shadow.sample() {
            return Ok(Flow::Next);
        }
        let request = cx.request();
        let method = request.get(self.method).unwrap_or_default();
        if !matches!(&*method, b"POST" | b"PUT" | b"DELETE" | b"PATCH") {
            return Ok(Flow::Next);
        }
        let host = request.get(self.host).unwrap_or_default();
        let origin = request.get(self.origin).filter(|origin| !origin.is_empty());
        let source = origin.or_else(|| request.get(self.referer));
        // An origin that is opaque says so (RFC 6454 §7.1), and then no other field counts.
        match source.filter(|source| !matches!(&**source, b"" | b"null")) {
            None => self.missing.inc(),
            Some(source) if self.may(host_of(&source), host_of(&host)) => {
                self.valid.inc();
                return Ok(Flow::Next);
            }
            Some(_) => self.invalid.inc(),
        }
        if !enabled {
            return Ok(Flow::Next);
        }
        let reply = LocalReply::new(403)
            .with_body("Invalid origin")
            .with_details("csrf_origin_mismatch");
        Ok(reply.into())
    }
}

impl Csrf {
    fn may(&self, source: &[u8], host: &[u8]) -> bool {
        source == host || self.origins.iter().any(|origin| origin.matches(source))
    }
}

/// Host and port of an absolute URL; of what is none, all of it.
fn host_of(url: &[u8]) -> &[u8] {
    let Some(at) = url.windows(3).position(|part| part == b"://") else {
        return url;
    };
    let rest = url.get(at + 3..).unwrap_or_default();
    let mut parts = rest.split(|byte| matches!(byte, b'/' | b'?'));
    let authority = parts.next().unwrap_or_default();
    let mut parts = authority.rsplit(|byte| *byte == b'@');
    match parts.next() {
        Some(host) if !host.is_empty() && !host.contains(&b'#') => host,
        _ => url,
    }
}

nuncio_sdk::export_filter!(Csrf);
