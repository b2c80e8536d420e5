//! Tells the upstream and the access log which tenant a request is from, by its API key.

use std::collections::BTreeMap;

use nuncio_sdk::{
    Counter, Filter, Flow, HeaderName, Interest, LocalReply, RequestHeaders, ResponseHeaders,
    Result, RouteConfig, Setup,
};
use serde::Deserialize;

/// What is written under `configuration`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// API keys and whom they belong to.
    tenants: BTreeMap<String, String>,
    /// Whether a request needs a key.
    #[serde(default)]
    required: bool,
}

/// What is written for some routes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ForRoute {
    /// Whether a request needs a key there.
    required: bool,
}

struct Tenants {
    by_key: BTreeMap<Vec<u8>, Tenant>,
    required: bool,
    api_key: HeaderName,
    tenant: HeaderName,
    refused: Counter,
}

#[derive(Clone)]
struct Tenant {
    name: String,
    requests: Counter,
}

impl Filter for Tenants {
    type Config = Config;
    /// Whom the stream belongs to, from the request to the response.
    type Stream = Option<String>;

    fn configure(config: Config, setup: &mut Setup) -> Result<Self> {
        let mut by_key = BTreeMap::new();
        for (key, name) in config.tenants {
            let requests = setup.counter(&format!("tenant.{name}.requests"))?;
            by_key.insert(key.into_bytes(), Tenant { name, requests });
        }
        Ok(Self {
            by_key,
            required: config.required,
            api_key: setup.header_name("x-api-key")?,
            tenant: setup.header_name("x-tenant")?,
            refused: setup.counter("tenant.refused")?,
        })
    }

    /// Some routes need a key, or need none; the keys are the same everywhere.
    fn configure_route(&self, config: &RouteConfig<'_>, _: &mut Setup) -> Result<Self> {
        let ForRoute { required } = config.read()?;
        Ok(Self { by_key: self.by_key.clone(), required, ..*self })
    }

    fn interest(&self) -> Interest {
        Interest::new().request_headers().response_headers()
    }

    fn on_request_headers(
        &self,
        stream: &mut Option<String>,
        cx: &mut RequestHeaders<'_>,
    ) -> Result<Flow> {
        let Some(key) = cx.request().get(self.api_key) else {
            if self.required {
                return Ok(self.refuse("key_missing", "an x-api-key header is needed\n"));
            }
            // Nobody else may say who a tenant is.
            cx.request_mut().remove(self.tenant)?;
            return Ok(Flow::Next);
        };
        let Some(tenant) = self.by_key.get(&key) else {
            return Ok(self.refuse("key_unknown", "this x-api-key is not known\n"));
        };
        tenant.requests.inc();
        cx.request_mut().set(self.tenant, &tenant.name)?;
        cx.request_mut().remove(self.api_key)?;
        cx.set_metadata("tenant", "name", &tenant.name)?;
        *stream = Some(tenant.name.clone());
        Ok(Flow::Next)
    }

    fn on_response_headers(
        &self,
        stream: &mut Option<String>,
        cx: &mut ResponseHeaders<'_>,
    ) -> Result<Flow> {
        if let Some(name) = stream {
            cx.response_mut().set(self.tenant, name)?;
        }
        Ok(Flow::Next)
    }
}

impl Tenants {
    fn refuse(&self, details: &str, message: &str) -> Flow {
        self.refused.inc();
        log::info!("refused: {details}");
        LocalReply::new(403).with_body(message).with_details(details).into()
    }
}

nuncio_sdk::export_filter!(Tenants);

#[cfg(test)]
mod tests {
    use nuncio_sdk::testing::{Configured, Host, json};

    use super::*;

    fn filter(host: &Host, required: bool) -> Configured<Tenants> {
        let config = json!({ "tenants": { "alpha-1": "alpha" }, "required": required });
        host.configure(config).expect("a good configuration")
    }

    #[test]
    fn a_known_key_names_the_tenant() {
        let host = Host::new();
        let filter = filter(&host, true);
        let mut stream = filter.stream();
        let head = [(":path", "/"), ("x-api-key", "alpha-1"), ("x-tenant", "beta")];
        assert_eq!(stream.on_request_headers(&head, true), Ok(Flow::Next));
        assert_eq!(stream.request_header("x-tenant").as_deref(), Some("alpha"));
        assert_eq!(stream.request_header("x-api-key"), None);
        assert_eq!(stream.metadata("tenant", "name").as_deref(), Some("alpha"));
        assert_eq!(stream.on_response_headers(&[(":status", "200")], false), Ok(Flow::Next));
        assert_eq!(stream.response_header("x-tenant").as_deref(), Some("alpha"));
        assert_eq!(host.counter("tenant.alpha.requests"), Some(1));
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let host = Host::new();
        let head = [(":path", "/"), ("x-api-key", "alpha-2")];
        let flow = filter(&host, false).stream().on_request_headers(&head, true);
        let expected = LocalReply::new(403)
            .with_body("this x-api-key is not known\n")
            .with_details("key_unknown");
        assert_eq!(flow, Ok(expected.into()));
        assert_eq!(host.counter("tenant.refused"), Some(1));
        assert_eq!(host.log_lines(), [(log::Level::Info, "refused: key_unknown".to_owned())]);
    }

    #[test]
    fn without_a_key_nobody_can_claim_to_be_a_tenant() {
        let host = Host::new();
        let head = [(":path", "/"), ("x-tenant", "alpha")];
        let filter = filter(&host, false);
        let mut stream = filter.stream();
        assert_eq!(stream.on_request_headers(&head, true), Ok(Flow::Next));
        assert_eq!(stream.request_header("x-tenant"), None);
        assert_eq!(stream.on_response_headers(&[(":status", "200")], true), Ok(Flow::Next));
        assert_eq!(stream.response_header("x-tenant"), None);
    }

    #[test]
    fn a_key_can_be_required() {
        let flow = filter(&Host::new(), true).stream().on_request_headers(&[(":path", "/")], true);
        assert!(matches!(flow, Ok(Flow::Reply(reply)) if reply.status == 403));
    }

    #[test]
    fn a_route_can_require_a_key() {
        let host = Host::new();
        let admin = filter(&host, false)
            .for_route(&[json!({ "required": true })])
            .expect("a good configuration for a route");
        let flow = admin.stream().on_request_headers(&[(":path", "/admin")], true);
        assert!(matches!(flow, Ok(Flow::Reply(reply)) if reply.status == 403));
        let head = [(":path", "/admin"), ("x-api-key", "alpha-1")];
        assert_eq!(admin.stream().on_request_headers(&head, true), Ok(Flow::Next));
    }

    #[test]
    fn a_misspelt_configuration_is_refused() {
        let refused = Host::new().configure::<Tenants>(json!({ "tenant": {} })).err();
        assert!(refused.is_some_and(|error| error.to_string().contains("`tenant`")));
    }
}
