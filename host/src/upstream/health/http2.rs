//! The HTTP/2 request of a health check.
//!
//! Owns the connection to one endpoint's health check address, kept from check to check where the
//! settings say so. Called by `health::watch`, which limits the time. Does not own: what a result
//! means (`state`).

use std::rc::Rc;

use ::http::uri::{Authority, Scheme};
use ::http::{HeaderValue, Request, Response, Uri};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::TokioIo;

use super::http::{Answer, Body, CLUSTER, DEGRADED, fields, no_answer};
use super::state::Verdict;
use crate::tls::Inside;
use crate::upstream::connect::Target;
use crate::upstream::spec::HttpProbe;

/// Asks one endpoint how it is, by HTTP/2.
pub(super) struct Http2Prober {
    check: Rc<HttpProbe>,
    reuse: bool,
    target: Target,
    connection: Option<Sender>,
}

/// A connection that takes questions.
pub(super) type Sender = http2::SendRequest<Full<Bytes>>;

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

impl Http2Prober {
    /// Will do `check` at `target`; `reuse` says whether the connection is kept.
    pub(super) const fn new(check: Rc<HttpProbe>, reuse: bool, target: Target) -> Self {
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
        result.unwrap_or_else(|error| {
            self.disconnect();
            no_answer(&self.target, &error)
        })
    }

    /// Closes the connection.
    pub(super) fn disconnect(&mut self) {
        self.connection = None;
    }

    async fn ask(&mut self) -> Result<Verdict, Error> {
        let open = self.connection.take().filter(|sender| !sender.is_closed());
        let sender = match open {
            Some(sender) => self.connection.insert(sender),
            None => self.connection.insert(introduce(&self.target).await?),
        };
        sender.ready().await?;
        let mut response = sender
            .send_request(request(&self.check, self.target.scheme())?)
            .await?;
        let mut body = Body::new(&self.check);
        let is_whole = read(&mut response, &mut body).await?;
        if !self.reuse || !is_whole {
            self.disconnect();
        }
        let headers = response.headers();
        let answer = Answer {
            status: response.status().as_u16(),
            cluster: headers.get(CLUSTER).map_or(&[], HeaderValue::as_bytes),
            is_degraded: headers.contains_key(DEGRADED),
        };
        Ok(answer.verdict(&self.check, body.seen()))
    }
}

/// Connects, and speaks HTTP/2 from then on.
pub(super) async fn introduce(target: &Target) -> Result<Sender, Error> {
    let stream = Box::pin(target.connect(Inside::Http2)).await?;
    let (sender, connection) = http2::handshake(Local, TokioIo::new(stream)).await?;
    // It ends when the sender is dropped; how it ends was told to it.
    tokio::task::spawn_local(connection);
    Ok(sender)
}

fn request(check: &HttpProbe, scheme: Scheme) -> Result<Request<Full<Bytes>>, ::http::Error> {
    // A cluster's name need not have the form of an authority; then it goes as `host`.
    let (uri, host) = match Authority::try_from(check.host.as_bytes()) {
        Ok(authority) => {
            let uri = Uri::builder()
                .scheme(scheme)
                .authority(authority)
                .path_and_query(check.path.clone())
                .build()?;
            (uri, None)
        }
        Err(_) => (Uri::from(check.path.clone()), Some(&check.host)),
    };
    let mut request = Request::new(Full::new(check.send.clone()));
    *request.method_mut() = check.method.clone();
    *request.uri_mut() = uri;
    *request.headers_mut() = fields(check, host);
    Ok(request)
}

/// Reads the body; whether it came to its end.
async fn read(response: &mut Response<Incoming>, body: &mut Body) -> Result<bool, hyper::Error> {
    while let Some(frame) = response.body_mut().frame().await {
        let frame = frame?;
        if frame.data_ref().is_some_and(|data| !body.take(data)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Runs the tasks of HTTP/2 connections on this thread.
#[derive(Clone, Copy, Debug)]
struct Local;

impl<F: Future + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(async move {
            task.await;
        });
    }
}
