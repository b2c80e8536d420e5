//! `envoy.filters.http.router`: the filter that ends a chain. It sends the request upstream, and
//! leaves all that to the proxy: the route's cluster, timeouts, redirects and direct responses.

use nuncio_sdk::{Filter, Flow, Interest, RequestHeaders, Result, Setup, Upstream};
use serde::Deserialize;

/// `envoy.extensions.filters.http.router.v3.Router`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The type URL, if the proxy hands it over.
    #[serde(default, rename = "@type")]
    _type: Option<String>,
    /// What the proxy itself does not add, so it reads this too.
    #[serde(default, rename = "suppress_envoy_headers")]
    _suppress_envoy_headers: bool,
    /// The proxy itself reads these as well.
    #[serde(default, rename = "start_child_span")]
    _start_child_span: bool,
    #[serde(default, rename = "respect_expected_rq_timeout")]
    _respect_expected_rq_timeout: bool,
    #[serde(default, rename = "strict_check_headers")]
    _strict_check_headers: Vec<String>,
    #[serde(default, rename = "dynamic_stats")]
    _dynamic_stats: Option<bool>,
    #[serde(default, rename = "suppress_grpc_request_failure_code_stats")]
    _suppress_grpc_request_failure_code_stats: bool,
}

/// The filter.
#[derive(Debug)]
pub struct Router;

impl Filter for Router {
    type Config = Config;
    type Stream = ();

    fn configure(_: Config, _: &mut Setup) -> Result<Self> {
        Ok(Self)
    }

    fn interest(&self) -> Interest {
        Interest::new().request_headers()
    }

    fn on_request_headers(&self, _: &mut (), _: &mut RequestHeaders<'_>) -> Result<Flow> {
        Ok(Flow::Forward(Upstream::of_route()))
    }
}

nuncio_sdk::export_filter!(Router);

#[cfg(test)]
mod tests {
    use super::*;
    use nuncio_sdk::testing::{Host, json};

    #[test]
    fn it_forwards_as_the_route_says() {
        let filter = Host::new()
            .configure::<Router>(json!({}))
            .expect("a good configuration");
        let flow = filter
            .stream()
            .on_request_headers(&[(":method", "GET"), (":path", "/")], true);
        assert_eq!(flow, Ok(Flow::Forward(Upstream::of_route())));
        assert_eq!(filter.interest(), Interest::new().request_headers());
    }

    #[test]
    fn a_field_that_it_does_not_know_is_an_error() {
        let host = Host::new();
        let typed = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
            "suppress_envoy_headers": true,
        });
        assert!(host.configure::<Router>(typed).is_ok());
        let refused = host
            .configure::<Router>(json!({ "upstream_log": true }))
            .err();
        assert!(refused.is_some_and(|error| error.to_string().contains("upstream_log")));
    }
}
