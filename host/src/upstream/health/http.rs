//! The HTTP request of a health check.
//!
//! Owns the connection to one endpoint's health check address, kept from check to check where the
//! settings say so. Called by `health::watch`, which limits the time. Does not own: what a result
//! means (`state`).

use ::http::header::{HOST, USER_AGENT};
use ::http::uri::{Authority, Scheme};
use ::http::{HeaderName, HeaderValue, Request, Response, Uri};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;

use super::state::{Failure, Verdict, judge};
use crate::address::Address;
use crate::limits;
use crate::upstream::connect;
use crate::upstream::spec::HttpProbe;

/// What Envoy's health checker calls itself.
pub(super) const AGENT: HeaderValue = HeaderValue::from_static("Envoy/HC");

/// With this header an endpoint says that it would rather have less to do.
const DEGRADED: HeaderName = HeaderName::from_static("x-envoy-degraded");

/// Asks one endpoint how it is, by HTTP.
pub(super) struct HttpProber {
    check: HttpProbe,
    reuse: bool,
    address: Address,
    connection: Option<Sender>,
}

enum Sender {
    Http1(http1::SendRequest<Empty<Bytes>>),
    Http2(http2::SendRequest<Empty<Bytes>>),
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

impl HttpProber {
    /// Will do `check` at `address`; `reuse` says whether the connection is kept.
    pub(super) fn new(check: HttpProbe, reuse: bool, address: Address) -> Self {
        Self {
            check,
            reuse,
            address,
            connection: None,
        }
    }

    /// Asks once. Must run inside a `LocalSet`.
    pub(super) async fn probe(&mut self) -> Verdict {
        let is_fresh = !self.is_connected();
        let mut result = self.ask().await;
        if result.is_err() && !is_fresh {
            // The endpoint may have closed a kept connection just now: that says nothing.
            self.disconnect();
            result = self.ask().await;
        }
        match result {
            Ok((status, is_degraded)) => match judge(&self.check, status) {
                Verdict::Passed if is_degraded => Verdict::Degraded,
                verdict => verdict,
            },
            Err(error) => {
                self.disconnect();
                tracing::debug!(
                    target: "hc",
                    address = %self.address,
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

    async fn ask(&mut self) -> Result<(u16, bool), Error> {
        if !self.is_connected() {
            self.connection = None;
        }
        let sender = match &mut self.connection {
            Some(sender) => sender,
            None => self
                .connection
                .insert(introduce(&self.address, self.check.http2).await?),
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
        let was_read = read_to_end(&mut response).await?;
        if !self.reuse || !was_read {
            self.disconnect();
        }
        let is_degraded = response.headers().contains_key(DEGRADED);
        Ok((response.status().as_u16(), is_degraded))
    }
}

async fn introduce(address: &Address, over_http2: bool) -> Result<Sender, Error> {
    let stream = TokioIo::new(connect::open(address).await?);
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

fn http1_request(check: &HttpProbe) -> Result<Request<Empty<Bytes>>, ::http::Error> {
    Request::builder()
        .method(&check.method)
        .uri(Uri::from(check.path.clone()))
        .header(HOST, &check.host)
        .header(USER_AGENT, AGENT)
        .body(Empty::new())
        .map(|request| changed(request, check))
}

/// The request with the headers that the settings add and take away.
fn changed(mut request: Request<Empty<Bytes>>, check: &HttpProbe) -> Request<Empty<Bytes>> {
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

fn http2_request(check: &HttpProbe) -> Result<Request<Empty<Bytes>>, ::http::Error> {
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
        .body(Empty::new())
        .map(|request| changed(request, check))
}

/// Reads the body; false if it is longer than anybody should send here.
async fn read_to_end(response: &mut Response<Incoming>) -> Result<bool, hyper::Error> {
    let mut left = limits::HEALTH_CHECK_BODY_BYTES;
    while let Some(frame) = response.body_mut().frame().await {
        let length = frame?.data_ref().map_or(0, Bytes::len);
        let Some(rest) = left.checked_sub(length) else {
            return Ok(false);
        };
        left = rest;
    }
    Ok(true)
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
