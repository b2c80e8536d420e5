//! The conversation with an upstream.
//!
//! Owns the way of a request from its route to a connection ([`proxy`]), and then both directions at
//! once until the response has ended ([`Conversation`]): one task, polled as one, so neither side
//! can wait for the other. Does not own connections (`upstream::pool`) nor replies
//! ([`super::stream`]).

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::error::{Error, Kind};
use super::h1::head::HeadParser;
use super::h1::{BodyLength, HeadLimits, MethodKind, encode};
use super::h2 as h2_glue;
use super::hygiene;
use super::io::{Frame, H1Reader, H1Writer, H2Reader, H2Writer, Reader, Writer};
use super::phases::{Chain, Walk, Whole};
use super::pump::{Direction, Pump, PumpError};
use super::reply::{Reply, decimal};
use super::stream::{Ended, Stream, Surroundings};
use super::timer::after;
use crate::clock;
use crate::exchange::{Exchange, Protocol};
use crate::headers::{Headers, Known};
use crate::route::{self, Action, EnvoyHeaders};
use crate::upstream::{
    Cluster, ClusterStats, ErrorKind, Http1Lease, Http2Lease, Lease, Outcome, Priority, Release,
    Resource,
};
use crate::wasm;

/// How much of a request's body is read for nothing, to keep a connection.
const DISCARDED_BODY_BYTES: u64 = 64 * 1024;
/// The timeout of a request that a filter forwards without a route: Envoy's default of routes.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15);

/// Sends the request to the cluster that the terminal filter or the route names, and the response
/// to the client.
///
/// # Errors
/// Whatever keeps the client from getting the upstream's whole response.
pub(crate) async fn proxy(
    stream: &mut Stream<'_, '_>,
    choice: wasm::Upstream,
) -> Result<(), Error> {
    let plan = plan(stream, &choice)?;
    let worker = stream.around.worker;
    let exchange = &mut *stream.chain.exchange;
    exchange.upstream.cluster = Some(Arc::clone(&plan.cluster.name));
    exchange.upstream.attempts = 1;
    let mut limits = Deadlines::new(stream, plan.timeout);
    let mut host = None;
    let acquired = {
        let acquire = worker.pools.acquire(&plan.cluster, plan.priority);
        let mut acquire = std::pin::pin!(acquire);
        let (reader, down, timer) = (&mut stream.reader, &mut stream.down, &mut *stream.timer);
        let watch = !stream.incoming.has_body;
        poll_fn(|cx| {
            if let Poll::Ready(lease) = acquire.as_mut().poll(cx) {
                return Poll::Ready(lease.map_err(|error| {
                    // What waits in a queue or is turned away from it has no endpoint yet.
                    if !matches!(
                        error.kind,
                        ErrorKind::Overflow(Resource::Pending | Resource::Connections)
                    ) {
                        host = error.endpoint.clone();
                    }
                    Error::from(error)
                }));
            }
            if watch && down.poll_closed(cx, reader).is_ready() {
                return Poll::Ready(Err(Kind::DownstreamClosed.into()));
            }
            let (deadline, kind) = limits.next();
            timer.poll(cx, deadline).map(|()| Err(kind.error()))
        })
        .await
    };
    let lease = match acquired {
        Ok(lease) => lease,
        Err(error) => {
            if let Some(endpoint) = host {
                let upstream = &mut stream.chain.exchange.upstream;
                upstream.host = Some(endpoint.address);
                upstream.hostname.clone_from(&endpoint.hostname);
            }
            note_failure(stream, &plan, &error);
            if matches!(error.kind, Kind::ConnectFailure(_) | Kind::ConnectTimeout) {
                take_ready_body(stream).await;
            }
            return Err(error);
        }
    };
    note_connection(stream.chain.exchange, &lease);
    let result = match lease {
        Lease::Http1(lease) => over_http1(stream, &plan, &mut limits, lease).await,
        Lease::Http2(lease) => over_http2(stream, &plan, &mut limits, lease).await,
    };
    match result {
        Ok(None) => Ok(()),
        Ok(Some(reply)) => stream.reply(*reply).await,
        Err(error) => {
            note_failure(stream, &plan, &error);
            Err(error)
        }
    }
}

/// Takes in as much of the request's body as is there already: a client that has sent all of it may
/// keep its connection.
async fn take_ready_body(stream: &mut Stream<'_, '_>) {
    let exchange = &mut *stream.chain.exchange;
    poll_fn(|cx| {
        while !stream.reader.is_at_end() {
            match stream.reader.poll_frame(cx, &mut exchange.request_trailers) {
                Poll::Ready(Ok(Frame::Data(data))) => exchange.bytes_received += data.len() as u64,
                Poll::Ready(Ok(Frame::End | Frame::Trailers) | Err(_)) | Poll::Pending => break,
            }
            if exchange.bytes_received > DISCARDED_BODY_BYTES {
                break;
            }
        }
        Poll::Ready(())
    })
    .await;
}

/// What is decided about a request before a connection is there.
struct Plan {
    cluster: Arc<Cluster>,
    priority: Priority,
    timeout: Option<Duration>,
}

/// Chooses the cluster and makes the request's head the upstream's: rewrites, mutations,
/// `x-envoy-expected-rq-timeout-ms`.
fn plan(stream: &mut Stream<'_, '_>, choice: &wasm::Upstream) -> Result<Plan, Error> {
    let around = stream.around;
    let route = stream.route.clone();
    let forward = route.as_ref().and_then(|route| match &route.action {
        Action::Forward(forward) => Some(forward),
        Action::Redirect(_) | Action::Direct(_) => None,
    });
    let not_found = forward.map_or(503, |forward| forward.cluster_not_found_status);
    let target = route.as_ref().and_then(|route| route.target(stream.random));
    let cluster = match (&choice.cluster, target) {
        (Some(name), _) => around.snapshot.cluster_named(name),
        (None, Some(target)) => target
            .cluster
            .index
            .and_then(|index| around.snapshot.clusters.get(index)),
        (None, None) => return Err(Kind::NoRoute.into()),
    };
    let Some(cluster) = cluster else {
        return Err(Kind::NoCluster(not_found).into());
    };
    let timeout = match choice.timeout {
        Some(timeout) => (!timeout.is_zero()).then_some(timeout),
        None => forward.map_or(Some(DEFAULT_TIMEOUT), |forward| forward.timeout),
    };
    let exchange = &mut *stream.chain.exchange;
    if let Some(timeout) = timeout {
        let mut room = [0; 20];
        let ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let text = decimal(ms, &mut room);
        exchange
            .request
            .set_known(Known::XEnvoyExpectedRqTimeoutMs, text);
    }
    if let Some(route) = &route {
        let random = stream.random;
        around.worker.with_scratch(|scratch| {
            route.finalize_request(exchange, random, EnvoyHeaders::Add, scratch);
        });
    }
    Ok(Plan {
        cluster: Arc::clone(cluster),
        priority: match forward.map(|forward| forward.priority) {
            Some(route::Priority::High) => Priority::High,
            Some(route::Priority::Default) | None => Priority::Default,
        },
        timeout,
    })
}

/// Notes in the exchange which connection the request takes.
fn note_connection(exchange: &mut Exchange, lease: &Lease) {
    let endpoint = lease.endpoint();
    let facts = lease.facts();
    let upstream = &mut exchange.upstream;
    upstream.host = Some(endpoint.address);
    upstream.hostname.clone_from(&endpoint.hostname);
    upstream.local = facts.local;
    upstream.connection_id = Some(facts.connection_id);
    upstream.protocol = Some(match lease {
        Lease::Http1(_) => Protocol::Http11,
        Lease::Http2(_) => Protocol::Http2,
    });
}

/// Notes in exchange and statistics why the upstream's answer did not come.
fn note_failure(stream: &mut Stream<'_, '_>, plan: &Plan, error: &Error) {
    let stats = plan.cluster.stats(stream.around.worker.index);
    match &error.kind {
        Kind::ConnectFailure(why) => stream.chain.exchange.upstream.failure = Some(why.clone()),
        Kind::RequestTimeout => stats.upstream_rq_timeout.inc(),
        Kind::UpstreamReset | Kind::UpstreamRefused => stats.upstream_rq_rx_reset.inc(),
        Kind::DownstreamClosed | Kind::DownstreamFraming(_) => stats.upstream_rq_tx_reset.inc(),
        _ => {}
    }
    if !stream.responding && !matches!(error.kind, Kind::DownstreamClosed) {
        let status = error.reply().status;
        count_response(stats, &stream.chain.exchange.request, status);
    }
}

/// Counts a response of the cluster, or one made in its place; `internal.` or `external.` by who
/// asked.
fn count_response(stats: &ClusterStats, request: &Headers, status: u16) {
    stats.upstream_rq_completed.inc();
    stats.upstream_rq_by_code.record(status);
    if request.has(Known::XEnvoyInternal) {
        stats.internal_upstream_rq_by_code.record(status);
    } else {
        stats.external_upstream_rq_by_code.record(status);
    }
}

/// When the stream has to end.
pub(crate) struct Deadlines {
    timeout: Option<Duration>,
    route: Option<Instant>,
    idle_after: Option<Duration>,
    idle: Option<Instant>,
}

/// Which of the deadlines it was.
#[derive(Clone, Copy)]
enum Late {
    Route,
    Idle,
}

impl Late {
    fn error(self) -> Error {
        match self {
            Self::Route => Kind::RequestTimeout,
            Self::Idle => Kind::StreamIdle,
        }
        .into()
    }
}

impl Deadlines {
    fn new(stream: &Stream<'_, '_>, timeout: Option<Duration>) -> Self {
        let started = stream.chain.exchange.timing.started;
        let idle_after = stream.around.manager.stream_idle_timeout;
        let mut limits = Self {
            timeout,
            route: None,
            idle_after,
            idle: after(started, idle_after),
        };
        if !stream.incoming.has_body {
            limits.request_ended(started);
        }
        limits
    }

    /// The route's timeout runs from the end of the request.
    fn request_ended(&mut self, now: Instant) {
        self.route = after(now, self.timeout);
    }

    fn active(&mut self, now: Instant) {
        self.idle = after(now, self.idle_after);
    }

    fn next(&self) -> (Option<Instant>, Late) {
        match (self.route, self.idle) {
            (Some(route), Some(idle)) if idle < route => (Some(idle), Late::Idle),
            (Some(route), _) => (Some(route), Late::Route),
            (None, idle) => (idle, Late::Idle),
        }
    }
}

async fn over_http1(
    stream: &mut Stream<'_, '_>,
    plan: &Plan,
    limits: &mut Deadlines,
    mut lease: Http1Lease,
) -> Result<Option<Box<Reply>>, Error> {
    let trailers = plan.cluster.spec().http1_trailers;
    let framing = request_framing(stream);
    let (socket, read_buf, write_buf) = lease.parts();
    let encoded = encode::encode_request(write_buf, &stream.chain.exchange.request, framing);
    if encoded.is_err() {
        lease.release(Release::Reuse);
        return Err(Kind::Unencodable.into());
    }
    let (read_half, write_half) = socket.split();
    let mut writer = H1Writer::new(write_half, write_buf, trailers);
    writer.begin(framing);
    let upstream = UpstreamSide {
        reader: Some(Reader::H1(H1Reader::new(read_half, read_buf, trailers))),
        writer: Writer::H1(writer),
        head: Await::Http1(HeadParser::new()),
    };
    let (result, kept) = converse(stream, plan, limits, upstream).await;
    lease.record(if result.is_ok() {
        outcome(stream)
    } else {
        failed(&result)
    });
    lease.release(kept);
    result
}

async fn over_http2(
    stream: &mut Stream<'_, '_>,
    plan: &Plan,
    limits: &mut Deadlines,
    mut lease: Http2Lease,
) -> Result<Option<Box<Reply>>, Error> {
    let Some(head) = h2_glue::request_to(&stream.chain.exchange.request) else {
        return Err(Kind::Unencodable.into());
    };
    let end = !stream.incoming.has_body;
    let (response, body) = match lease.sender().send_request(head, end) {
        Ok(sent) => sent,
        Err(error) => return Err(before_head(&error).into()),
    };
    let upstream = UpstreamSide {
        reader: None,
        writer: Writer::H2(H2Writer::new(body)),
        head: Await::Http2(response),
    };
    let (result, _) = converse(stream, plan, limits, upstream).await;
    lease.record(if result.is_ok() {
        outcome(stream)
    } else {
        failed(&result)
    });
    result
}

const fn outcome(stream: &Stream<'_, '_>) -> Outcome {
    if stream.chain.exchange.status >= 500 {
        Outcome::Error
    } else {
        Outcome::Success
    }
}

fn failed(result: &Result<Option<Box<Reply>>, Error>) -> Outcome {
    match result {
        Err(Error {
            kind: Kind::RequestTimeout,
            ..
        }) => Outcome::Timeout,
        _ => Outcome::Error,
    }
}

/// How the request's body is framed for an HTTP/1 upstream.
fn request_framing(stream: &Stream<'_, '_>) -> BodyLength {
    if !stream.incoming.has_body {
        let request = &stream.chain.exchange.request;
        return match request.known(Known::ContentLength) {
            Some(b"0") => BodyLength::Length(0),
            _ => BodyLength::None,
        };
    }
    let length = stream.chain.exchange.request.known(Known::ContentLength);
    let length = length.and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
    length.map_or(BodyLength::Chunked, BodyLength::Length)
}

/// The upstream's side of one stream.
struct UpstreamSide<'io> {
    /// Where the response comes from; on HTTP/2 once its head is there.
    reader: Option<Reader<'io>>,
    writer: Writer<'io>,
    head: Await,
}

/// How the response's head is waited for.
enum Await {
    Http1(HeadParser),
    Http2(h2::client::ResponseFuture),
    Done,
}

/// What the response's head says about its body.
#[derive(Clone, Copy)]
struct Answer {
    body: BodyLength,
    keep_alive: bool,
}

impl UpstreamSide<'_> {
    /// Reads the head of the final response into `into`. Interim responses are dropped: Envoy does
    /// not forward them either.
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        method: MethodKind,
        into: &mut Headers,
    ) -> Poll<Result<Answer, Kind>> {
        match &mut self.head {
            Await::Http1(parser) => {
                let Some(Reader::H1(reader)) = &mut self.reader else {
                    return Poll::Pending;
                };
                let answer = std::task::ready!(poll_http1_head(cx, parser, reader, method, into))?;
                self.head = Await::Done;
                Poll::Ready(Ok(answer))
            }
            Await::Http2(response) => {
                let response = std::task::ready!(std::pin::Pin::new(response).poll(cx));
                let (parts, body) = response.map_err(|error| before_head(&error))?.into_parts();
                h2_glue::response_from(&parts, into);
                if into.len() > HeadLimits::RESPONSE.fields as usize + 1 {
                    return Poll::Ready(Err(Kind::UpstreamReset));
                }
                let ended = body.is_end_stream();
                self.reader = Some(Reader::H2(H2Reader::new(body)));
                self.head = Await::Done;
                let body = if ended {
                    BodyLength::None
                } else {
                    length_of(into)
                };
                Poll::Ready(Ok(Answer {
                    body,
                    keep_alive: true,
                }))
            }
            Await::Done => Poll::Pending,
        }
    }
}

/// The length that an HTTP/2 response declares.
fn length_of(headers: &Headers) -> BodyLength {
    let declared = headers.known(Known::ContentLength);
    let length = declared.and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
    length.map_or(BodyLength::Chunked, BodyLength::Length)
}

fn poll_http1_head(
    cx: &mut Context<'_>,
    parser: &mut HeadParser,
    reader: &mut H1Reader<'_>,
    method: MethodKind,
    into: &mut Headers,
) -> Poll<Result<Answer, Kind>> {
    loop {
        let limits = HeadLimits::RESPONSE;
        match parser.response(reader.buf, limits, method, into) {
            Ok(Some(head)) => {
                bytes::Buf::advance(reader.buf, head.consumed);
                match head.status {
                    // Nothing asked for another protocol.
                    101 => return Poll::Ready(Err(Kind::UpstreamProtocol)),
                    100..=199 => continue,
                    _ => {}
                }
                reader.expect(head.body, limits);
                return Poll::Ready(Ok(Answer {
                    body: head.body,
                    keep_alive: head.keep_alive,
                }));
            }
            Ok(None) => {}
            Err(_) => return Poll::Ready(Err(Kind::UpstreamProtocol)),
        }
        match std::task::ready!(reader.poll_fill(cx)) {
            Ok(0) | Err(_) if parser.has_started() => {
                return Poll::Ready(Err(Kind::UpstreamProtocol));
            }
            Ok(0) | Err(_) => return Poll::Ready(Err(Kind::UpstreamClosed)),
            Ok(_) => {}
        }
    }
}

/// What an HTTP/2 failure before the head means.
fn before_head(error: &h2::Error) -> Kind {
    if error.is_reset() && error.is_remote() {
        match error.reason() {
            Some(h2::Reason::REFUSED_STREAM) => Kind::UpstreamRefused,
            _ => Kind::UpstreamReset,
        }
    } else if error.is_io() || error.is_go_away() {
        Kind::UpstreamClosed
    } else {
        Kind::UpstreamProtocol
    }
}

/// Both directions of a stream, until the response has ended.
struct Conversation<'a> {
    around: Surroundings<'a>,
    stats: &'a ClusterStats,
    upload: Upload,
    download: Download,
    answer: Option<Answer>,
}

enum Upload {
    /// On its way.
    Running(Pump),
    /// All of it is with the upstream.
    Done,
    /// The upstream stopped reading; its answer will say why.
    Broken,
}

enum Download {
    Head,
    /// A filter wants the whole body.
    Whole {
        slot: usize,
        content: BytesMut,
    },
    Body(Pump),
    Ended,
    /// A filter answers in the upstream's place.
    Replaced(Box<Reply>),
}

async fn converse(
    stream: &mut Stream<'_, '_>,
    plan: &Plan,
    limits: &mut Deadlines,
    mut upstream: UpstreamSide<'_>,
) -> (Result<Option<Box<Reply>>, Error>, Release) {
    let worker = stream.around.worker;
    let mut talk = Conversation {
        around: stream.around,
        stats: plan.cluster.stats(worker.index),
        upload: Upload::Running(begin_upload(stream, &mut upstream.writer)),
        download: Download::Head,
        answer: None,
    };
    let result = poll_fn(|cx| talk.poll(cx, stream, limits, &mut upstream)).await;
    let read_all = upstream.reader.as_ref().is_some_and(Reader::is_finished);
    let kept = match (&result, &talk.upload, talk.answer) {
        (Ok(()), Upload::Done, Some(answer)) if answer.keep_alive && read_all => Release::Reuse,
        (Ok(()), _, Some(answer)) if !answer.keep_alive => Release::ClosedByPeer,
        (
            Err(Error {
                kind: Kind::UpstreamClosed,
                ..
            }),
            ..,
        ) => Release::ClosedByPeer,
        _ => Release::Close,
    };
    let result = result.map(|()| match talk.download {
        Download::Replaced(reply) => Some(reply),
        _ => None,
    });
    (result, kept)
}

/// Pushes what is there of the request's body; the head is in the writer already.
fn begin_upload(stream: &mut Stream<'_, '_>, writer: &mut Writer<'_>) -> Pump {
    if let Some(whole) = stream.chain.take_request_body() {
        let trailers = &stream.chain.exchange.request_trailers;
        if !whole.content.is_empty() {
            writer.push(whole.content);
        }
        writer.push_end(whole.has_trailers.then_some(trailers));
        return Pump::flushing(Direction::Request);
    }
    if stream.incoming.has_body {
        Pump::new(Direction::Request)
    } else {
        Pump::flushing(Direction::Request)
    }
}

impl Conversation<'_> {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream<'_, '_>,
        limits: &mut Deadlines,
        upstream: &mut UpstreamSide<'_>,
    ) -> Poll<Result<(), Error>> {
        self.poll_upload(cx, stream, limits, upstream)?;
        while self.poll_download(cx, stream, limits, upstream)?.is_ready() {
            if matches!(self.download, Download::Ended | Download::Replaced(_)) {
                return Poll::Ready(Ok(()));
            }
        }
        let (deadline, late) = limits.next();
        stream.timer.poll(cx, deadline).map(|()| Err(late.error()))
    }

    fn poll_upload(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream<'_, '_>,
        limits: &mut Deadlines,
        upstream: &mut UpstreamSide<'_>,
    ) -> Result<(), Error> {
        if let Upload::Running(pump) = &mut self.upload {
            let before = pump.frames();
            let had_read_all = pump.has_read_all();
            let polled = pump.pump(
                cx,
                &mut stream.reader,
                &mut upstream.writer,
                &mut stream.chain,
            );
            if pump.frames() != before {
                let now = clock::now();
                limits.active(now);
                if pump.has_read_all() && !had_read_all {
                    stream.chain.exchange.timing.request_received = Some(now);
                    limits.request_ended(now);
                }
            }
            match polled {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(())) => {
                    let now = clock::now();
                    let timing = &mut stream.chain.exchange.timing;
                    timing.upstream_sent_first.get_or_insert(now);
                    timing.upstream_sent = Some(now);
                    if timing.request_received.is_none() {
                        timing.request_received = Some(now);
                        limits.request_ended(now);
                    }
                    self.upload = Upload::Done;
                }
                Poll::Ready(Err(PumpError::Read(error))) => {
                    return Err(Error::of_request_body(&error));
                }
                Poll::Ready(Err(PumpError::Write(_))) => self.upload = Upload::Broken,
                Poll::Ready(Err(PumpError::Filter(error))) => return Err(error),
            }
        }
        if matches!(self.upload, Upload::Done)
            && stream.down.poll_closed(cx, &mut stream.reader).is_ready()
        {
            return Err(Kind::DownstreamClosed.into());
        }
        Ok(())
    }

    /// One step of the response. Ready when there may be another.
    fn poll_download(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream<'_, '_>,
        limits: &mut Deadlines,
        upstream: &mut UpstreamSide<'_>,
    ) -> Result<Poll<()>, Error> {
        match &mut self.download {
            Download::Head => {
                let method = stream.incoming.method;
                let into = &mut stream.chain.exchange.response;
                let Poll::Ready(answer) = upstream.poll_head(cx, method, into) else {
                    return Ok(Poll::Pending);
                };
                let answer = answer.map_err(Error::from)?;
                let now = clock::now();
                limits.active(now);
                self.answer = Some(answer);
                self.download = self.head_came(stream, answer, now)?;
            }
            Download::Whole { slot, content } => {
                let Some(reader) = &mut upstream.reader else {
                    return Ok(Poll::Pending);
                };
                let limit = self.around.listener.buffer_limit;
                let trailers = stream.chain.trailers_mut(Direction::Response);
                let Poll::Ready(frame) = reader.poll_frame(cx, trailers) else {
                    return Ok(Poll::Pending);
                };
                limits.active(clock::now());
                let has_trailers = match frame.map_err(|error| Error::of_response_body(&error))? {
                    Frame::Data(data) if content.len() + data.len() > limit => {
                        return Err(Kind::ResponseTooLarge.into());
                    }
                    Frame::Data(data) => {
                        content.extend_from_slice(&data);
                        return Ok(Poll::Ready(()));
                    }
                    Frame::End => false,
                    Frame::Trailers => true,
                };
                let whole = Whole {
                    content: content.split().freeze(),
                    has_trailers,
                };
                let slot = *slot;
                self.download = Self::body_came(stream, slot, whole)?;
            }
            Download::Body(pump) => {
                let Some(reader) = &mut upstream.reader else {
                    return Ok(Poll::Pending);
                };
                let Some(writer) = stream.down.writer() else {
                    return Ok(Poll::Pending);
                };
                let before = pump.frames();
                let polled = pump.pump(cx, reader, writer, &mut stream.chain);
                if pump.frames() != before {
                    limits.active(clock::now());
                }
                match polled {
                    Poll::Pending => return Ok(Poll::Pending),
                    Poll::Ready(Ok(())) => self.download = Download::Ended,
                    Poll::Ready(Err(PumpError::Read(error))) => {
                        return Err(Error::of_response_body(&error));
                    }
                    Poll::Ready(Err(PumpError::Write(error))) => {
                        return Err(Error::of_response_write(&error));
                    }
                    Poll::Ready(Err(PumpError::Filter(error))) => return Err(error),
                }
            }
            Download::Ended | Download::Replaced(_) => {}
        }
        Ok(Poll::Ready(()))
    }

    /// The head of the response is there: statistics, hygiene, the route's mutations, the filters.
    fn head_came(
        &self,
        stream: &mut Stream<'_, '_>,
        answer: Answer,
        now: Instant,
    ) -> Result<Download, Error> {
        let exchange = &mut *stream.chain.exchange;
        exchange.timing.upstream_received_first = Some(now);
        exchange.status = status_of(&exchange.response);
        exchange.details = Some("via_upstream".into());
        count_response(self.stats, &exchange.request, exchange.status);
        let since = exchange
            .timing
            .request_received
            .unwrap_or(exchange.timing.started);
        let took = u64::try_from(now.duration_since(since).as_millis()).unwrap_or(u64::MAX);
        self.stats.upstream_rq_time.record(took);
        hygiene::upstream_response(&mut exchange.response);
        let mut room = [0; 20];
        let took = decimal(took, &mut room);
        if exchange.timing.request_received.is_some() {
            exchange
                .response
                .set_known(Known::XEnvoyUpstreamServiceTime, took);
        }
        if let Some(route) = &stream.route {
            let random = stream.random;
            let worker = self.around.worker;
            worker.with_scratch(|scratch| route.finalize_response(exchange, random, scratch));
        }
        let end = answer.body.is_empty();
        match stream.chain.response(stream.chain.len(), end, None)? {
            Walk::Done => {
                begin_response(stream, answer.body)?;
                Ok(Download::Body(body_pump(end)))
            }
            Walk::NeedBody { slot } => Ok(Download::Whole {
                slot,
                content: BytesMut::new(),
            }),
            Walk::Reply(reply) => Ok(Download::Replaced(reply)),
        }
    }

    /// The whole body that a filter asked for is there.
    fn body_came(
        stream: &mut Stream<'_, '_>,
        slot: usize,
        mut whole: Whole,
    ) -> Result<Download, Error> {
        if let Walk::Reply(reply) = stream.chain.response_with_body(slot, &mut whole)? {
            return Ok(Download::Replaced(reply));
        }
        let length = whole.content.len() as u64;
        let source =
            if whole.has_trailers || !stream.chain.exchange.response.has(Known::ContentLength) {
                BodyLength::Chunked
            } else {
                BodyLength::Length(length)
            };
        begin_response(stream, source)?;
        let bodiless = stream.is_bodiless();
        let Chain { exchange, .. } = &mut stream.chain;
        if let Some(writer) = stream.down.writer()
            && !bodiless
        {
            exchange.bytes_sent += length;
            if !whole.content.is_empty() {
                writer.push(whole.content);
            }
            writer.push_end(whole.has_trailers.then_some(&exchange.response_trailers));
        }
        Ok(Download::Body(Pump::flushing(Direction::Response)))
    }
}

/// The pump of a response's body; without one there is only the head to flush.
const fn body_pump(end: bool) -> Pump {
    if end {
        Pump::flushing(Direction::Response)
    } else {
        Pump::new(Direction::Response)
    }
}

/// Sends the response's head downstream.
fn begin_response(stream: &mut Stream<'_, '_>, body: BodyLength) -> Result<(), Error> {
    let close = stream.must_close();
    stream.ended = if close { Ended::Close } else { Ended::Reusable };
    let framing = stream.framing(body);
    stream.send_head(framing, close, body.is_empty())
}

fn status_of(response: &Headers) -> u16 {
    let text = response
        .known(Known::Status)
        .and_then(|text| std::str::from_utf8(text).ok());
    text.and_then(|text| text.parse().ok()).unwrap_or(502)
}
