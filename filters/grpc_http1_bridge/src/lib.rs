//! `envoy.filters.http.grpc_http1_bridge`: lets clients that speak HTTP/1 call gRPC services.
//!
//! What such a client cannot read are trailers: it gets the whole response at once, with the status of
//! the call in its head.

#[cfg(test)]
mod tests;

use nuncio_filter_config::{charge, is_grpc, method_of};
use nuncio_sdk::{
    Attribute, BodyMode, Filter, Flow, HeaderName, Interest, RequestHeaders, ResponseHeaders,
    ResponseTrailers, Result, Setup,
};
use serde::Deserialize;

/// `envoy.extensions.filters.http.grpc_http1_bridge.v3.Config`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The type URL, if the proxy hands it over.
    #[serde(rename = "@type")]
    _type: Option<String>,
    /// Whether upstreams get no query parameters of bridged calls.
    pub ignore_query_parameters: bool,
}

/// The filter.
#[derive(Debug)]
pub struct Bridge {
    drops_query: bool,
    content_type: HeaderName,
    path: HeaderName,
    status: HeaderName,
    grpc_status: HeaderName,
    grpc_message: HeaderName,
    protocol: Attribute,
    cluster: Attribute,
}

/// What is known of a call.
#[derive(Debug, Default)]
pub struct Call {
    /// Whether its client speaks HTTP/1.
    is_bridged: bool,
    /// What the names of its statistics begin with; empty where it has none.
    statistics: String,
}

impl Filter for Bridge {
    type Config = Config;
    type Stream = Call;

    fn configure(config: Config, setup: &mut Setup) -> Result<Self> {
        Ok(Self {
            drops_query: config.ignore_query_parameters,
            content_type: setup.header_name("content-type")?,
            path: setup.header_name(":path")?,
            status: setup.header_name(":status")?,
            grpc_status: setup.header_name("grpc-status")?,
            grpc_message: setup.header_name("grpc-message")?,
            protocol: setup.attribute("request.protocol")?,
            cluster: setup.attribute("upstream.cluster")?,
        })
    }

    fn interest(&self) -> Interest {
        Interest::new().request_headers()
    }

    fn on_request_headers(&self, call: &mut Call, cx: &mut RequestHeaders<'_>) -> Result<Flow> {
        let content_type = cx.request().get(self.content_type).unwrap_or_default();
        if !is_grpc(&content_type) {
            return Ok(Flow::Next);
        }
        call.statistics = self.statistics(cx).unwrap_or_default();
        let protocol = cx.attribute(self.protocol).unwrap_or_default();
        call.is_bridged = protocol.starts_with(b"HTTP/1");
        let mut interest = Interest::new().response_headers().response_trailers();
        if call.is_bridged {
            interest = interest.response_body(BodyMode::Buffered);
            if self.drops_query {
                let path = cx.request().get(self.path).unwrap_or_default();
                if let Some(path) = path.split(|byte| *byte == b'?').next() {
                    cx.request_mut().set(self.path, path)?;
                }
            }
        }
        cx.set_interest(interest);
        Ok(Flow::Next)
    }

    fn on_response_headers(&self, call: &mut Call, cx: &mut ResponseHeaders<'_>) -> Result<Flow> {
        if !call.statistics.is_empty() {
            let status = cx.response().get(self.grpc_status);
            charge(&call.statistics, status.as_deref(), cx);
        }
        Ok(Flow::Next)
    }

    fn on_response_trailers(&self, call: &mut Call, cx: &mut ResponseTrailers<'_>) -> Result<()> {
        let status = cx.trailers().get(self.grpc_status);
        if !call.statistics.is_empty() {
            charge(&call.statistics, status.as_deref(), cx);
        }
        if !call.is_bridged {
            return Ok(());
        }
        let message = cx.trailers().get(self.grpc_message);
        let mut response = cx.response_mut();
        if let Some(status) = status {
            let number = str::from_utf8(&status)
                .ok()
                .and_then(|text| text.parse().ok());
            if number != Some(0_u64) {
                response.set(self.status, "503")?;
            }
            response.set(self.grpc_status, status)?;
        }
        if let Some(message) = message {
            response.set(self.grpc_message, message)?;
        }
        // Without them the body has a length, by which the client knows that it is whole.
        cx.clear_trailers()?;
        Ok(())
    }
}

impl Bridge {
    /// What the names of a call's statistics begin with, where it is for a method and a cluster.
    fn statistics(&self, cx: &RequestHeaders<'_>) -> Option<String> {
        let cluster = String::from_utf8(cx.attribute(self.cluster)?).ok()?;
        let path = cx.request().get_str(self.path)?;
        let (service, method) = method_of(&path)?;
        Some(format!("cluster.{cluster}.grpc.{service}.{method}"))
    }
}

nuncio_sdk::export_filter!(Bridge);
