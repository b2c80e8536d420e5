//! The admin server: what operators and Prometheus ask.
//!
//! Owns the pages, under Envoy's paths and in Envoy's formats. It runs on the control thread, so a
//! scrape never costs a request anything. Does not own what the pages show: statistics are
//! `observe`'s, clusters are `upstream`'s.

use std::cell::{Cell, OnceCell};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::future::{Ready, ready};
use futures_util::stream::{Once, once};
use http::header::{self, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::address::Address;
use crate::build::Built;
use crate::clock;
use crate::limits::ADMIN_FORM_BYTES;
use crate::listener::{self, Listening};
use crate::observe::metrics::{ServerState, ServerStats};
use crate::observe::registry::Registry;
use crate::route::TextCondition;
use crate::runtime::{ListenAddress, Snapshot, SocketSettings};
use crate::server::Options;
use crate::tls::Contexts;
use crate::values::Values;

mod certificates;
mod config_dump;
mod drain;
mod logging;
mod pages;

pub(crate) use drain::Directions;
use drain::Stops;

/// Connections of the admin server that may wait to be accepted.
const BACKLOG: u32 = 128;

/// What the pages show.
pub struct Admin {
    snapshot: Arc<Snapshot>,
    registry: Arc<Registry>,
    listeners: Vec<Vec<Address>>,
    address: OnceCell<SocketAddr>,
    /// `allow_paths`: which paths are answered; all where there is none.
    allowed: Arc<[TextCondition]>,
    /// The configuration as the text of JSON, for `/config_dump`.
    config: Arc<str>,
    node: serde_json::Value,
    values: Arc<Values>,
    contexts: Arc<Contexts>,
    options: Options,
    state: Cell<ServerState>,
    stats: Arc<ServerStats>,
    started: Instant,
    /// The same for people.
    since: jiff::Timestamp,
    quit: Notify,
    stops: Rc<Stops>,
}

impl Admin {
    pub(crate) fn new(built: &Built, options: &Options, listeners: Vec<Vec<Address>>) -> Self {
        Self {
            snapshot: Arc::clone(&built.snapshot),
            registry: Arc::clone(&built.registry),
            listeners,
            address: OnceCell::new(),
            allowed: Arc::clone(&built.admin_paths),
            config: Arc::clone(&built.config_dump),
            node: built.node.clone(),
            values: Arc::clone(&built.values),
            contexts: Arc::clone(&built.contexts),
            options: options.clone(),
            state: Cell::new(ServerState::PreInitializing),
            stats: Arc::clone(&built.server_stats),
            started: clock::now(),
            since: jiff::Timestamp::try_from(clock::wall()).unwrap_or_default(),
            quit: Notify::new(),
            stops: Rc::default(),
        }
    }

    /// Where each listener really listens, in the order of the configuration.
    #[must_use]
    pub fn listeners(&self) -> &[Vec<Address>] {
        &self.listeners
    }

    /// Where the admin server really listens, if there is one.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.address.get().copied()
    }

    pub(crate) fn set_address(&self, address: SocketAddr) {
        // Set once, before anybody can ask.
        let _first = self.address.set(address);
    }

    pub(crate) fn set_state(&self, state: ServerState) {
        self.state.set(state);
        self.stats.set_state(self.state());
    }

    /// What the process is doing: one that is told to fail seems to drain.
    fn state(&self) -> ServerState {
        match self.state.get() {
            ServerState::Live if self.snapshot.vitals.is_told_to_fail() => ServerState::Draining,
            state => state,
        }
    }

    /// Says from now on that the proxy is not well, or that it is again.
    fn tell_to_fail(&self, is_failing: bool) {
        self.snapshot.vitals.tell_to_fail(is_failing);
        self.stats.set_state(self.state());
    }

    /// Which listeners are to accept no more connections (`/drain_listeners`).
    pub(crate) fn stops(&self) -> &Stops {
        &self.stops
    }

    /// The path of a request, with its query, where it is not to be answered (`allow_paths`).
    fn forbidden<'u>(&self, uri: &'u Uri) -> Option<&'u str> {
        if self.allowed.is_empty() {
            return None;
        }
        let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let mut allowed = self.allowed.iter();
        (!allowed.any(|allowed| allowed.matches(path.as_bytes()))).then_some(path)
    }

    /// Waits until somebody has asked for the end (`/quitquitquit`).
    pub(crate) async fn quit(&self) {
        self.quit.notified().await;
    }
}

/// Listens on `address` and serves from there until the control thread ends.
///
/// # Errors
/// Those of binding the address.
pub(crate) async fn listen(admin: Rc<Admin>, address: SocketAddr) -> io::Result<SocketAddr> {
    let settings = SocketSettings {
        backlog: BACKLOG,
        ..SocketSettings::default()
    };
    let mut sockets = listener::bind(&ListenAddress::from(address), &settings, 1)?;
    let Some(Listening::Tcp(socket)) = sockets.pop() else {
        return Err(io::ErrorKind::AddrNotAvailable.into());
    };
    let socket = TcpListener::from_std(socket)?;
    let bound = socket.local_addr()?;
    tokio::task::spawn_local(accept(admin, socket));
    Ok(bound)
}

async fn accept(admin: Rc<Admin>, socket: TcpListener) {
    let mut failures = listener::Failures::default();
    loop {
        match socket.accept().await {
            Ok((stream, _)) => {
                let admin = Rc::clone(&admin);
                tokio::task::spawn_local(async move {
                    let service = service_fn(|request| {
                        let admin = Rc::clone(&admin);
                        async move { Ok::<_, Infallible>(answer(&admin, request).await) }
                    });
                    let served = http1::Builder::new()
                        .timer(TokioTimer::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                    if let Err(error) = served {
                        tracing::debug!(target: "admin", "serve an admin connection: {error}");
                    }
                });
            }
            Err(error) => failures.rest("admin", &error).await,
        }
    }
}

/// One answer.
struct Page {
    status: StatusCode,
    content_type: &'static str,
    body: String,
}

impl Page {
    const fn text(body: String) -> Self {
        Self {
            status: StatusCode::OK,
            content_type: "text/plain; charset=UTF-8",
            body,
        }
    }

    fn json(value: &serde_json::Value) -> Self {
        let mut body = serde_json::to_string_pretty(value).unwrap_or_default();
        body.push('\n');
        Self {
            status: StatusCode::OK,
            content_type: "application/json",
            body,
        }
    }

    const fn html(body: String) -> Self {
        Self {
            status: StatusCode::OK,
            content_type: "text/html; charset=UTF-8",
            body,
        }
    }

    const fn with(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }
}

/// A body that does not say its length: Envoy's pages are chunked.
type Chunked = StreamBody<Once<Ready<Result<Frame<Bytes>, Infallible>>>>;

async fn answer(admin: &Admin, request: Request<Incoming>) -> Response<Chunked> {
    let page = route(admin, request).await;
    let frame = Frame::data(Bytes::from(page.body));
    let mut response = Response::new(StreamBody::new(once(ready(Ok(frame)))));
    *response.status_mut() = page.status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(page.content_type),
    );
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, max-age=0"),
    );
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    // The library would put it at the end.
    if let Ok(date) = HeaderValue::from_str(&httpdate::fmt_http_date(clock::wall())) {
        headers.insert(header::DATE, date);
    }
    headers.insert(header::SERVER, HeaderValue::from_static("envoy"));
    response
}

async fn route(admin: &Admin, request: Request<Incoming>) -> Page {
    if let Some(path) = admin.forbidden(request.uri()) {
        let body = format!("request to path {path} not allowed");
        return Page::text(body).with(StatusCode::FORBIDDEN);
    }
    let path = request.uri().path();
    let Some(page) = pages::PAGES.iter().find(|page| page.path == path) else {
        let body = format!("invalid path. admin commands are:\n{}", pages::help_text());
        return Page::text(body).with(StatusCode::NOT_FOUND);
    };
    if page.changes && request.method() != Method::POST {
        let body = format!("Method {} not allowed, POST required.", request.method());
        return Page::text(body).with(StatusCode::METHOD_NOT_ALLOWED);
    }
    let mut query = pages::Query::of(request.uri().query().unwrap_or_default());
    if page.takes_form && query.is_empty() {
        let body = Limited::new(request.into_body(), ADMIN_FORM_BYTES);
        match body.collect().await {
            Ok(form) => query = pages::Query::of(&String::from_utf8_lossy(&form.to_bytes())),
            Err(error) => {
                let body = format!("read the form: {error}\n");
                return Page::text(body).with(StatusCode::BAD_REQUEST);
            }
        }
    }
    if let Some(objection) = page.objection(&query) {
        return Page::text(objection).with(StatusCode::BAD_REQUEST);
    }
    (page.render)(admin, &query)
}
