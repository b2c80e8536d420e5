//! The HTTP request of a health check.
//!
//! Owns the connection to one endpoint's health check address, kept from check to check where the
//! settings say so. Called by `health::watch`, which limits the time. Does not own: what a result
//! means (`state`).

use ::http::header::{HOST, USER_AGENT};
use ::http::uri::{Authority, Scheme};
use ::http::{HeaderName, HeaderValue, Request, Response, Uri};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;

use super::has_all;
use super::state::{Failure, Verdict, judge};
use crate::limits;
use crate::tls::Inside;
use crate::upstream::connect::Target;
use crate::upstream::spec::{HttpProbe, ServiceCheck};

/// What Envoy's health checker calls itself.
pub(super) const AGENT: HeaderValue = HeaderValue::from_static("Envoy/HC");

/// With this header an endpoint says that it would rather have less to do.
const DEGRADED: HeaderName = HeaderName::from_static("x-envoy-degraded");

/// What an endpoint calls its cluster.
const CLUSTER: HeaderName = HeaderName::from_static("x-envoy-upstream-healthchecked-cluster");

/// Asks one endpoint how it is, by HTTP.
pub(super) struct HttpProber {
    check: HttpProbe,
    reuse: bool,
    target: Target,
    connection: Option<Sender>,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("connecting")]
    Connect(#[from] std::io::Error),
    #[error("asking")]
    Http(#[from] hyper::Error),
    #[error("making the request")]
    Request(#[from] ::http::Error),
}

impl Error {
    /// Whether the connection was over before anything was asked.
    pub(super) fn is_unsent(&self) -> bool {
        matches!(self, Self::Http(error) if error.is_canceled() || error.is_closed())
    }
}

impl HttpProber {
    /// Will do `check` at `address`; `reuse` says whether the connection is kept.
    pub(super) fn new(check: HttpProbe, reuse: bool, target: Target) -> Self {
        Self {
            check,
            reuse,
            target,
            connection: None,
        }
    }

    /// Asks once. Must run inside a `LocalSet`.
    pub(super) async fn probe(&mut self) -> Verdict {
        let mut result = self.ask().await;
        if result.as_ref().is_err_and(Error::is_unsent) {
            // The endpoint closed a kept connection meanwhile, as it may: that says nothing.
            self.disconnect();
            result = self.ask().await;
        }
        match result {
            Ok(verdict) => verdict,
            Err(error) => {
                self.disconnect();
                tracing::debug!(
                    target: "hc",
                    address = %self.target,
                    error = &error as &dyn std::error::Error,
                    "no answer to a health check",
                );
                Verdict::Failed(Failure::Network)
            }
        }
    }

    /// Closes the connection.
    pub(super) fn disconnect(&mut self) {
        self.connection = None;
    }

    fn is_connected(&self) -> bool {
        match &self.connection {
            Some(Sender::Http1(sender)) => !sender.is_closed(),
            Some(Sender::Http2(sender)) => !sender.is_closed(),
            None => false,
        }
    }

    async fn ask(&mut self) -> Result<Verdict, Error> {
        if !self.is_connected() {
            self.connection = None;
        }
        let sender = match &mut self.connection {
            Some(sender) => sender,
            None => self
                .connection
                .insert(introduce(&self.target, self.check.http2).await?),
        };
        let mut response = match sender {
            Sender::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(http1_request(&self.check)?).await?
            }
            Sender::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(http2_request(&self.check)?).await?
            }
        };
        let body = read(&mut response, &self.check).await?;
        if !self.reuse || body.is_none() {
            self.disconnect();
        }
        Ok(verdict(&self.check, &response, &body.unwrap_or_default()))
    }
}

/// What a response says with its head and so much of its body.
fn verdict(check: &HttpProbe, response: &Response<Incoming>, body: &[u8]) -> Verdict {
    let (status, headers) = (response.status().as_u16(), response.headers());
    let verdict = judge(check, status);
    if verdict != Verdict::Passed {
        return verdict;
    }
    let of_cluster = |service: &ServiceCheck| {
        let name = headers.get(CLUSTER).map_or(&[][..], HeaderValue::as_bytes);
        service.is_right(name)
    };
    if !has_all(&check.receive, body) || !check.service.as_ref().is_none_or(of_cluster) {
        return Verdict::Failed(Failure::WrongAnswer(status));
    }
    if headers.contains_key(DEGRADED) {
        return Verdict::Degraded;
    }
    verdict
}

/// What is spoken inside of TLS.
const fn inside(over_http2: bool) -> Inside {
    if over_http2 {
        Inside::Http2
    } else {
        Inside::Http1
    }
}

async fn introduce(target: &Target, over_http2: bool) -> Result<Sender, Error> {
    let stream = TokioIo::new(target.connect(inside(over_http2)).await?);
    // The connections' tasks end when the sender is dropped; how they end was told to it.
    if over_http2 {
        let (sender, connection) = http2::handshake(Local, stream).await?;
        tokio::task::spawn_local(connection);
        Ok(Sender::Http2(sender))
    } else {
        let (sender, connection) = http1::handshake(stream).await?;
        tokio::task::spawn_local(connection);
        Ok(Sender::Http1(sender))
    }
}

fn http1_request(check: &HttpProbe) -> Result<Request<Full<Bytes>>, ::http::Error> {
    Request::builder()
        .method(&check.method)
        .uri(Uri::from(check.path.clone()))
        .header(HOST, &check.host)
        .header(USER_AGENT, AGENT)
        .body(Full::new(check.send.clone()))
        .map(|request| changed(request, check))
}

/// The request with the headers that the settings add and take away.
fn changed(mut request: Request<Full<Bytes>>, check: &HttpProbe) -> Request<Full<Bytes>> {
    let headers = request.headers_mut();
    for (name, value, replaces) in &check.add {
        if *replaces {
            headers.insert(name, value.clone());
        } else {
            headers.append(name, value.clone());
        }
    }
    for name in &check.remove {
        headers.remove(name);
    }
    request
}

fn http2_request(check: &HttpProbe) -> Result<Request<Full<Bytes>>, ::http::Error> {
    let request = Request::builder()
        .method(&check.method)
        .header(USER_AGENT, AGENT);
    // A cluster's name need not have the form of an authority; then it goes as `host`.
    let request = match Authority::try_from(check.host.as_bytes()) {
        Ok(authority) => request.uri(
            Uri::builder()
                .scheme(Scheme::HTTP)
                .authority(authority)
                .path_and_query(check.path.clone())
                .build()?,
        ),
        Err(_) => request
            .uri(Uri::from(check.path.clone()))
            .header(HOST, &check.host),
    };
    request
        .body(Full::new(check.send.clone()))
        .map(|request| changed(request, check))
}

/// Reads the body, and gives what is looked at of it; nothing if it is longer than anybody should send
/// here.
async fn read(
    response: &mut Response<Incoming>,
    check: &HttpProbe,
) -> Result<Option<Vec<u8>>, hyper::Error> {
    let most = match check.response_buffer {
        _ if check.receive.is_empty() => 0,
        0 => limits::HEALTH_CHECK_BODY_BYTES,
        size => size,
    };
    let (mut kept, mut length) = (Vec::new(), 0);
    while let Some(frame) = response.body_mut().frame().await {
        let frame = frame?;
        let data = frame.data_ref().map_or(&[][..], |data| &**data);
        length += data.len();
        if length > limits::HEALTH_CHECK_BODY_BYTES {
            return Ok(None);
        }
        let room = most.saturating_sub(kept.len());
        kept.extend(data.iter().take(room));
    }
    Ok(Some(kept))
}

/// Runs the tasks of HTTP/2 connections on this thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Local;

impl<F: Future + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(async move {
            task.await;
        });
    }
}
