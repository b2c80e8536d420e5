//! `envoy.filters.http.grpc_http1_bridge`: lets clients that speak HTTP/1 call gRPC services.
//!
//! What such a client cannot read are trailers: it gets the whole response at once, with the status of
//! the call in its head. One that knows nothing of gRPC may send a message alone, and gets one.
//! Calls are counted by `grpc_stats`, not here.

#[cfg(test)]
mod tests;

use nuncio_filter_config::is_grpc;
use nuncio_sdk::{
    Attribute, BodyMode, Filter, Flow, HeaderName, Interest, RequestBody, RequestHeaders,
    ResponseBody, ResponseHeaders, ResponseTrailers, Result, Setup,
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
    /// Whether a request with a message of Protobuf becomes a call.
    pub upgrade_protobuf_to_grpc: bool,
}

/// What says that a request has such a message.
const PROTOBUF: &[u8] = b"application/x-protobuf";
/// Bytes in front of a message: a flag, which says that it is not compressed, and the length.
const FRAME: usize = 5;

/// The filter.
#[derive(Debug)]
pub struct Bridge {
    drops_query: bool,
    upgrades: bool,
    content_type: HeaderName,
    content_length: HeaderName,
    path: HeaderName,
    status: HeaderName,
    grpc_status: HeaderName,
    grpc_message: HeaderName,
    protocol: Attribute,
}

/// What is known of a call.
#[derive(Debug, Default)]
pub struct Call {
    /// Whether it came as a message alone, and its client wants no more of the answer.
    is_bare: bool,
}

impl Filter for Bridge {
    type Config = Config;
    type Stream = Call;

    fn configure(config: Config, setup: &mut Setup) -> Result<Self> {
        Ok(Self {
            drops_query: config.ignore_query_parameters,
            upgrades: config.upgrade_protobuf_to_grpc,
            content_type: setup.header_name("content-type")?,
            content_length: setup.header_name("content-length")?,
            path: setup.header_name(":path")?,
            status: setup.header_name(":status")?,
            grpc_status: setup.header_name("grpc-status")?,
            grpc_message: setup.header_name("grpc-message")?,
            protocol: setup.attribute("request.protocol")?,
        })
    }

    fn interest(&self) -> Interest {
        Interest::new().request_headers()
    }

    fn on_request_headers(&self, call: &mut Call, cx: &mut RequestHeaders<'_>) -> Result<Flow> {
        let content_type = cx.request().get(self.content_type).unwrap_or_default();
        let is_bare = self.upgrades && content_type == PROTOBUF;
        if is_bare {
            self.upgrade(cx)?;
        } else if !is_grpc(&content_type) {
            return Ok(Flow::Next);
        }
        // As in Envoy, what comes over HTTP/2 is called a call by now, and is none.
        let protocol = cx.attribute(self.protocol).unwrap_or_default();
        if !protocol.starts_with(b"HTTP/1") {
            return Ok(Flow::Next);
        }
        if self.drops_query {
            let path = cx.request().get(self.path).unwrap_or_default();
            if let Some(path) = path.split(|byte| *byte == b'?').next() {
                cx.request_mut().set(self.path, path)?;
            }
        }
        let mut interest = Interest::new()
            .response_headers()
            .response_body(BodyMode::Buffered)
            .response_trailers();
        call.is_bare = is_bare;
        if is_bare {
            interest = interest.request_body(BodyMode::Buffered);
        }
        cx.set_interest(interest);
        Ok(Flow::Next)
    }

    fn on_request_body(&self, call: &mut Call, cx: &mut RequestBody<'_>) -> Result<Flow> {
        if call.is_bare {
            let message = cx.chunk();
            let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
            let framed = [&[0][..], &length.to_be_bytes(), message].concat();
            cx.replace(framed)?;
        }
        Ok(Flow::Next)
    }

    fn on_response_headers(&self, call: &mut Call, cx: &mut ResponseHeaders<'_>) -> Result<Flow> {
        if call.is_bare {
            let content_type = cx.response().get(self.content_type).unwrap_or_default();
            call.is_bare = is_grpc(&content_type);
        }
        Ok(Flow::Next)
    }

    fn on_response_body(&self, call: &mut Call, cx: &mut ResponseBody<'_>) -> Result<()> {
        if call.is_bare {
            let message = cx.chunk().get(FRAME..).unwrap_or_default().to_vec();
            cx.replace(message)?;
        }
        Ok(())
    }

    fn on_response_trailers(&self, _: &mut Call, cx: &mut ResponseTrailers<'_>) -> Result<()> {
        let status = cx.trailers().get(self.grpc_status);
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
    /// Makes the head of a request with a message that of a call, for which there may be another route.
    fn upgrade(&self, cx: &mut RequestHeaders<'_>) -> Result<()> {
        let mut request = cx.request_mut();
        request.set(self.content_type, "application/grpc")?;
        request.remove(self.content_length)?;
        cx.clear_route_cache()?;
        Ok(())
    }
}

nuncio_sdk::export_filter!(Bridge);
