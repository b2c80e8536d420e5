//! The gRPC call of a health check: `grpc.health.v1.Health/Check`.
//!
//! Owns the connection to one endpoint and the two messages, which are too small for a codec of
//! their own. Called by `health::watch`, which limits the time. Does not own: what a result means
//! (`state`).

use std::rc::Rc;

use ::http::header::{CONTENT_TYPE, TE, USER_AGENT};
use ::http::uri::{Authority, Scheme};
use ::http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};
use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};

use super::http::{AGENT, no_answer};
use super::http2::{Error, Sender, introduce};
use super::state::{Failure, Verdict};
use crate::limits;
use crate::upstream::connect::Target;
use crate::upstream::spec::GrpcProbe;

const PATH: &str = "/grpc.health.v1.Health/Check";
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// `HealthCheckResponse.ServingStatus.SERVING`.
const SERVING: u64 = 1;

/// Asks one endpoint how it is, by gRPC.
pub(super) struct GrpcProber {
    check: Rc<GrpcProbe>,
    reuse: bool,
    target: Target,
    connection: Option<Sender>,
}

impl GrpcProber {
    /// Will do `check` at `target`; `reuse` says whether the connection is kept.
    pub(super) const fn new(check: Rc<GrpcProbe>, reuse: bool, target: Target) -> Self {
        Self {
            check,
            reuse,
            target,
            connection: None,
        }
    }

    /// Asks once. Must run inside a `LocalSet` or a `LocalRuntime`.
    pub(super) async fn probe(&mut self) -> Verdict {
        let mut result = self.ask().await;
        if result.as_ref().is_err_and(Error::is_unsent) {
            // The endpoint closed a kept connection meanwhile, as it may: that says nothing.
            self.disconnect();
            result = self.ask().await;
        }
        if !self.reuse || result.is_err() {
            self.disconnect();
        }
        result.unwrap_or_else(|error| no_answer(&self.target, &error))
    }

    /// Closes the connection.
    pub(super) fn disconnect(&mut self) {
        self.connection = None;
    }

    async fn ask(&mut self) -> Result<Verdict, Error> {
        let open = self.connection.take().filter(|c| !c.is_closed());
        let sender = match open {
            Some(sender) => self.connection.insert(sender),
            None => self.connection.insert(introduce(&self.target).await?),
        };
        sender.ready().await?;
        let response = sender
            .send_request(request(&self.check, self.target.scheme())?)
            .await?;
        let mut status = grpc_status(response.headers());
        let is_ok = response.status().as_u16() == 200;
        let mut body = response.into_body();
        let mut message = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame?;
            if let Some(data) = frame.data_ref() {
                message.extend_from_slice(data);
            }
            if let Some(trailers) = frame.trailers_ref() {
                status = status.or_else(|| grpc_status(trailers));
            }
            if message.len() > limits::HEALTH_CHECK_BODY_BYTES {
                break;
            }
        }
        Ok(match (is_ok, status, serving_status(&message)) {
            (true, Some(0), Some(SERVING)) => Verdict::Passed,
            _ => Verdict::Failed(Failure::NotServing),
        })
    }
}

fn request(check: &GrpcProbe, scheme: Scheme) -> Result<Request<Full<Bytes>>, ::http::Error> {
    let authority = Authority::try_from(check.authority.as_bytes())?;
    let uri = Uri::builder()
        .scheme(scheme)
        .authority(authority)
        .path_and_query(PATH)
        .build()?;
    Request::post(uri)
        .header(CONTENT_TYPE, GRPC)
        .header(TE, HeaderValue::from_static("trailers"))
        .header(USER_AGENT, AGENT)
        .body(Full::new(message(&check.service)))
}

/// A `HealthCheckRequest` in its frame.
fn message(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        // Field 1, a text.
        message.put_u8(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            message.put_u8(u8::try_from(length & 0x7f).unwrap_or(0) | 0x80);
            length >>= 7;
        }
        message.put_u8(u8::try_from(length).unwrap_or(0));
        message.put_slice(service.as_bytes());
    }
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(0));
    framed.put_slice(&message);
    framed.freeze()
}

fn grpc_status(headers: &HeaderMap) -> Option<u32> {
    headers.get(STATUS)?.to_str().ok()?.parse().ok()
}

/// `HealthCheckResponse.status` of an uncompressed message in its frame; 0 where it has none.
fn serving_status(framed: &[u8]) -> Option<u64> {
    let (head, message) = framed.split_first_chunk::<5>()?;
    let [compressed, length @ ..] = *head;
    if compressed != 0 || u32::from_be_bytes(length) as usize != message.len() {
        return None;
    }
    match message {
        [] => Some(0),
        // Field 1, a number of one byte; there are no larger ones.
        [0x08, status] if *status < 0x80 => Some(u64::from(*status)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_framed_and_read() {
        assert_eq!(&message("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&message("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        let long = message(&"x".repeat(300));
        assert_eq!(long[5..8], [0x0a, 0xac, 0x02]);
        for (framed, status) in [
            (&[0, 0, 0, 0, 2, 8, 1][..], Some(1)),
            (&[0, 0, 0, 0, 2, 8, 2], Some(2)),
            (&[0, 0, 0, 0, 0], Some(0)),
            (&[1, 0, 0, 0, 2, 8, 1], None),
            (&[0, 0, 0, 0, 3, 8, 1], None),
            (&[0, 0, 0], None),
        ] {
            assert_eq!(serving_status(framed), status, "{framed:?}");
        }
    }
}
