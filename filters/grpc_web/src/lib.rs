//! `envoy.filters.http.grpc_web`: makes requests of gRPC-Web clients gRPC, and the responses gRPC-Web.
//!
//! The bodies are the same but for two things: a client that cannot take bytes gets, or sends, base64,
//! and the trailers of a response are the last frame of its body.

mod frames;
#[cfg(test)]
mod tests;

use frames::Frames;
use nuncio_filter_config::{base64, charge, is_grpc, method_of};
use nuncio_sdk::{
    Attribute, BodyMode, Exchange, Filter, Flow, HeaderName, Interest, LocalReply, RequestBody,
    RequestHeaders, ResponseBody, ResponseHeaders, ResponseTrailers, Result, Setup,
};
use serde::Deserialize;

/// `envoy.extensions.filters.http.grpc_web.v3.GrpcWeb`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The type URL, if the proxy hands it over.
    #[serde(default, rename = "@type")]
    _type: Option<String>,
}

/// The filter.
#[derive(Debug)]
pub struct GrpcWeb {
    content_type: HeaderName,
    content_length: HeaderName,
    accept: HeaderName,
    te: HeaderName,
    accept_encoding: HeaderName,
    status: HeaderName,
    grpc_status: HeaderName,
    grpc_message: HeaderName,
    path: HeaderName,
    cluster: Attribute,
}

/// What is known of a stream.
#[derive(Debug, Default)]
pub struct Stream {
    /// Base64 of the request that is not decoded yet.
    pending: Vec<u8>,
    /// Whether the client wants base64.
    text_response: bool,
    /// Whether the response is not gRPC.
    foreign: bool,
    /// What the names of the stream's statistics begin with; empty where it has none.
    statistics: String,
    frames: Frames,
}

const GRPC_WEB: &[u8] = b"application/grpc-web";
const GRPC_WEB_PROTO: &[u8] = b"application/grpc-web+proto";
const GRPC_WEB_TEXT: &[u8] = b"application/grpc-web-text";
const GRPC_WEB_TEXT_PROTO: &[u8] = b"application/grpc-web-text+proto";
/// How much of a response that is not gRPC becomes `grpc-message`, as in Envoy.
const MESSAGE_BYTES: usize = 16 * 1024;

impl Filter for GrpcWeb {
    type Config = Config;
    type Stream = Stream;

    fn configure(_: Config, setup: &mut Setup) -> Result<Self> {
        Ok(Self {
            content_type: setup.header_name("content-type")?,
            content_length: setup.header_name("content-length")?,
            accept: setup.header_name("accept")?,
            te: setup.header_name("te")?,
            accept_encoding: setup.header_name("grpc-accept-encoding")?,
            status: setup.header_name(":status")?,
            grpc_status: setup.header_name("grpc-status")?,
            grpc_message: setup.header_name("grpc-message")?,
            path: setup.header_name(":path")?,
            cluster: setup.attribute("upstream.cluster")?,
        })
    }

    fn interest(&self) -> Interest {
        Interest::new().request_headers()
    }

    fn on_request_headers(&self, stream: &mut Stream, cx: &mut RequestHeaders<'_>) -> Result<Flow> {
        let content_type = cx.request().get(self.content_type).unwrap_or_default();
        let is_text = match content_type.as_slice() {
            GRPC_WEB | GRPC_WEB_PROTO => false,
            GRPC_WEB_TEXT | GRPC_WEB_TEXT_PROTO => true,
            _ => return Ok(Flow::Next),
        };
        let accept = cx.request().get(self.accept).unwrap_or_default();
        stream.statistics = self.statistics(cx).unwrap_or_default();
        stream.text_response = matches!(accept.as_slice(), GRPC_WEB_TEXT | GRPC_WEB_TEXT_PROTO);
        let mut request = cx.request_mut();
        // The length of base64, or of a body that HTTP/2 frames anew.
        request.remove(self.content_length)?;
        request.set(self.content_type, "application/grpc")?;
        request.set(self.te, "trailers")?;
        if !request.contains(self.accept_encoding) {
            request.set(self.accept_encoding, "identity")?;
        }
        let mut interest = Interest::new().response_headers().response_trailers();
        if is_text {
            interest = interest.request_body(BodyMode::Streamed);
        }
        if stream.text_response {
            interest = interest.response_body(BodyMode::Streamed);
        }
        cx.set_interest(interest);
        Ok(Flow::Next)
    }

    fn on_request_body(&self, stream: &mut Stream, cx: &mut RequestBody<'_>) -> Result<Flow> {
        stream.pending.extend_from_slice(cx.chunk());
        let whole = stream.pending.len() / 4 * 4;
        if cx.end_of_stream() && whole < stream.pending.len() {
            return Ok(bad_request("grpc_base_64_decode_failed_bad_size").into());
        }
        let ready = stream.pending.get(..whole).unwrap_or_default();
        let Some(data) = base64::decode(ready) else {
            return Ok(bad_request("grpc_base_64_decode_failed").into());
        };
        stream.pending.drain(..whole);
        cx.replace(data)?;
        Ok(Flow::Next)
    }

    fn on_response_headers(
        &self,
        stream: &mut Stream,
        cx: &mut ResponseHeaders<'_>,
    ) -> Result<Flow> {
        stream.charge(cx.response().get(self.grpc_status), cx);
        stream.foreign = !self.is_grpc(cx);
        let content_type = match stream.text_response {
            true => GRPC_WEB_TEXT_PROTO,
            false => GRPC_WEB_PROTO,
        };
        let mut response = cx.response_mut();
        response.set(self.content_type, content_type)?;
        // The trailers are yet to come to what it counts.
        response.remove(self.content_length)?;
        if stream.foreign && !cx.end_of_stream() {
            let whole = Interest::new().response_body(BodyMode::Buffered);
            cx.set_interest(whole);
        }
        Ok(Flow::Next)
    }

    fn on_response_body(&self, stream: &mut Stream, cx: &mut ResponseBody<'_>) -> Result<()> {
        if stream.foreign {
            return self.make_message(cx);
        }
        let mut text = Vec::new();
        stream.frames.encode(cx.chunk(), &mut text);
        cx.replace(text)?;
        Ok(())
    }

    fn on_response_trailers(
        &self,
        stream: &mut Stream,
        cx: &mut ResponseTrailers<'_>,
    ) -> Result<()> {
        stream.charge(cx.trailers().get(self.grpc_status), cx);
        let frame = frames::of_trailers(&cx.trailers().entries());
        cx.clear_trailers()?;
        if stream.frames.is_within() {
            // What follows would be read as the rest of the message. A client that gets no last frame knows
            // that there is something missing.
            return Ok(());
        }
        if stream.text_response {
            let mut text = Vec::new();
            base64::encode(&frame, &mut text);
            cx.add_body(text)?;
        } else {
            cx.add_body(frame)?;
        }
        Ok(())
    }
}

impl Stream {
    /// Counts the end of the call, by its status.
    fn charge(&self, status: Option<Vec<u8>>, exchange: &Exchange<'_>) {
        if !self.statistics.is_empty() {
            charge(&self.statistics, status.as_deref(), exchange);
        }
    }
}

impl GrpcWeb {
    /// What the names of a request's statistics begin with, where it is for a method and a cluster.
    fn statistics(&self, cx: &RequestHeaders<'_>) -> Option<String> {
        let cluster = String::from_utf8(cx.attribute(self.cluster)?).ok()?;
        let path = cx.request().get_str(self.path)?;
        let (service, method) = method_of(&path)?;
        Some(format!("cluster.{cluster}.grpc-web.{service}.{method}"))
    }

    /// Whether the response is one of gRPC, or of gRPC-Web already.
    fn is_grpc(&self, cx: &ResponseHeaders<'_>) -> bool {
        let response = cx.response();
        if cx.end_of_stream() {
            return response.contains(self.grpc_status);
        }
        if response.get(self.status).as_deref() != Some(b"200") {
            return false;
        }
        let content_type = response.get(self.content_type).unwrap_or_default();
        is_grpc(&content_type)
            || [GRPC_WEB_PROTO, GRPC_WEB_TEXT_PROTO].contains(&content_type.as_slice())
    }

    /// Makes a response that is not gRPC a failure of gRPC, with what it says as the message.
    fn make_message(&self, cx: &mut ResponseBody<'_>) -> Result<()> {
        let status = cx.response().get(self.status).unwrap_or_default();
        let (message, _) = cx.chunk().split_at(cx.chunk().len().min(MESSAGE_BYTES));
        let message = percent_encoded(message);
        cx.replace("")?;
        let mut response = cx.response_mut();
        response.set(self.grpc_message, message)?;
        response.set(self.grpc_status, grpc_status(&status))?;
        Ok(())
    }
}

fn bad_request(details: &str) -> LocalReply {
    LocalReply::new(400)
        .with_body("Bad gRPC-web request, invalid base64 data.")
        .with_details(details)
}

/// The status of gRPC that stands for one of HTTP (gRPC, "HTTP to gRPC status code mapping").
const fn grpc_status(status: &[u8]) -> &'static str {
    match status {
        b"400" => "13",
        b"401" => "16",
        b"403" => "7",
        b"404" => "12",
        b"429" | b"502" | b"503" | b"504" => "14",
        _ => "2",
    }
}

/// `grpc-message`: what is not printable ASCII, and `%`, as `%XX`.
fn percent_encoded(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len());
    for byte in message {
        if (b' '..=b'~').contains(byte) && *byte != b'%' {
            out.push(*byte);
        } else {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
    out
}

nuncio_sdk::export_filter!(GrpcWeb);
