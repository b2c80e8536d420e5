//! `envoy.filters.http.buffer`: holds a request back until its whole body is there, so that an upstream
//! gets it in one go. The body stays with the proxy: this filter only says how large it may be.

use nuncio_filter_config::UInt32;
use nuncio_sdk::{Error, Filter, Interest, Result, RouteConfig, Setup};
use serde::Deserialize;

/// `envoy.extensions.filters.http.buffer.v3.Buffer`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The type URL, if the proxy hands it over.
    #[serde(default, rename = "@type")]
    _type: Option<String>,
    /// More bytes are answered with 413.
    pub max_request_bytes: UInt32,
}

/// `envoy.extensions.filters.http.buffer.v3.BufferPerRoute`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteLimit {
    /// The type URL, if the proxy hands it over.
    #[serde(default, rename = "@type")]
    _type: Option<String>,
    /// Nothing is held back.
    pub disabled: Option<bool>,
    /// Another size.
    pub buffer: Option<Config>,
}

/// The filter.
#[derive(Debug)]
pub struct Buffer {
    /// The size of the largest body; none where nothing is held back.
    limit: Option<u32>,
}

impl Filter for Buffer {
    type Config = Config;
    type Stream = ();

    fn configure(config: Config, _: &mut Setup) -> Result<Self> {
        match config.max_request_bytes.0 {
            0 => Err(Error::msg("`max_request_bytes` must be greater than 0")),
            limit => Ok(Self { limit: Some(limit) }),
        }
    }

    fn configure_route(&self, config: &RouteConfig<'_>, setup: &mut Setup) -> Result<Self> {
        let written: RouteLimit = config.read()?;
        match (written.disabled, written.buffer) {
            (Some(true), None) => Ok(Self { limit: None }),
            (None, Some(buffer)) => Self::configure(buffer, setup),
            _ => Err(Error::msg(
                "one of `disabled: true` and `buffer` must be set",
            )),
        }
    }

    fn interest(&self) -> Interest {
        match self.limit {
            Some(limit) => Interest::new().whole_request().request_body_limit(limit),
            None => Interest::new(),
        }
    }
}

nuncio_sdk::export_filter!(Buffer);

#[cfg(test)]
mod tests {
    use super::*;
    use nuncio_sdk::testing::{Host, json};

    #[test]
    fn it_holds_a_request_back_up_to_a_size() {
        let filter = Host::new()
            .configure::<Buffer>(json!({ "max_request_bytes": 10 }))
            .expect("a good configuration");
        let held = |limit| Interest::new().whole_request().request_body_limit(limit);
        assert_eq!(filter.interest(), held(10));
        let other = json!({ "buffer": { "max_request_bytes": 20 } });
        for (route, expected) in [
            (json!({ "disabled": true }), Some(Interest::new())),
            (other, Some(held(20))),
            (json!({ "disabled": false }), None),
            (json!({}), None),
            (json!({ "max_request_bytes": 1 }), None),
        ] {
            let configured = filter.for_route(std::slice::from_ref(&route)).ok();
            assert_eq!(
                configured.map(|filter| filter.interest()),
                expected,
                "{route}"
            );
        }
    }

    #[test]
    fn a_size_is_needed() {
        for document in [json!({}), json!({ "max_request_bytes": 0 })] {
            assert!(Host::new().configure::<Buffer>(document).is_err());
        }
    }
}
