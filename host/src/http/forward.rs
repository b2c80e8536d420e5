//! The way of a request to an upstream.
//!
//! Owns what lies between a route and a connection: the cluster, the head as the upstream is to see
//! it, the connection, and the statistics of the outcome. Does not own the conversation on that
//! connection ([`super::conversation`]), connections themselves (`upstream::pool`), or replies
//! ([`super::stream`]).

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::conversation::{Await, Deadlines, UpstreamSide, before_head, converse};
use super::error::{Error, Kind};
use super::h1::encode::TargetForm;
use super::h1::head::HeadParser;
use super::h1::{BodyLength, encode};
use super::h2 as h2_glue;
use super::io::{Frame, H1Reader, H1Writer, H2Writer, Reader, Writer};
use super::reply::{Reply, decimal};
use super::stream::Stream;
use crate::exchange::{Exchange, Protocol};
use crate::headers::{Known, NameCase, NameFormat};
use crate::observe::metrics::VirtualClusterStats;
use crate::route::{self, Action, EnvoyHeaders};
use crate::upstream::{
    Cluster, ClusterStats, ErrorKind, Http1Lease, Http2Lease, Lease, Outcome, Priority, Release,
    Resource, Wish,
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
    let wish = Wish {
        hash: plan.hash,
        criteria: plan
            .criteria
            .and_then(|index| stream.around.snapshot.criteria.get(index)),
        ..Wish::default()
    };
    let acquired = {
        let acquire = worker.pools.acquire(&plan.cluster, plan.priority, &wish);
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
    for_endpoint(stream, lease.endpoint().hostname.as_deref());
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
    /// What consistent balancing places the request by.
    hash: Option<u64>,
    /// Which subset it asks for: an index into the snapshot's list.
    criteria: Option<usize>,
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
    let pick = stream.pick;
    let index = match (&choice.cluster, forward) {
        (Some(name), _) => around.snapshot.cluster_index(name),
        (None, Some(_)) => pick.cluster,
        (None, None) => return Err(Kind::NoRoute.into()),
    };
    let cluster = index.and_then(|index| Some((index, around.snapshot.clusters.get(index)?)));
    let Some((index, cluster)) = cluster else {
        return Err(Kind::NoCluster(not_found).into());
    };
    let exchange = &mut *stream.chain.exchange;
    let group = route
        .as_ref()
        .and_then(|route| route.virtual_cluster(&exchange.request));
    stream.group = group.map(Arc::clone);
    let maintenance = around.snapshot.maintenance(index);
    if maintenance > 0 && around.worker.random() % 100 < maintenance {
        let stats = cluster.stats(around.worker.index);
        stats.upstream_rq_maintenance_mode.inc();
        let group = group.map(|group| group.shard(around.worker.index));
        count_response(stats, group, exchange, 503);
        return Err(Kind::Maintenance.into());
    }
    let timeout = match choice.timeout {
        Some(timeout) => (!timeout.is_zero()).then_some(timeout),
        None => forward.map_or(Some(DEFAULT_TIMEOUT), |forward| forward.timeout),
    };
    let hashing = route.as_ref().filter(|_| cluster.wants_hash());
    let hash = hashing.and_then(|route| route.hash(exchange, &mut stream.cookies));
    let envoy_headers = around.manager.envoy_headers;
    if let Some(timeout) = timeout
        && envoy_headers == EnvoyHeaders::Add
    {
        let mut room = [0; 20];
        let ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let text = decimal(ms, &mut room);
        exchange
            .request
            .set_known(Known::XEnvoyExpectedRqTimeoutMs, text);
    }
    if let Some(route) = &route {
        around.worker.with_scratch(|scratch| {
            route.finalize_request(exchange, pick, envoy_headers, scratch);
        });
    }
    Ok(Plan {
        cluster: Arc::clone(cluster),
        priority: match forward.map(|forward| forward.priority) {
            Some(route::Priority::High) => Priority::High,
            Some(route::Priority::Default) | None => Priority::Default,
        },
        timeout,
        hash,
        criteria: route.as_ref().and_then(|route| route.criteria(pick)),
    })
}

/// What of the head and of the statistics waits for the endpoint.
fn for_endpoint(stream: &mut Stream<'_, '_>, hostname: Option<&str>) {
    if let Some(group) = stream.group() {
        group.upstream_rq_total.inc();
    }
    if let Some(route) = &stream.route {
        let exchange = &mut *stream.chain.exchange;
        let envoy_headers = stream.around.manager.envoy_headers;
        stream.around.worker.with_scratch(|scratch| {
            route.finalize_for_endpoint(exchange, hostname, envoy_headers, scratch);
        });
    }
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
        Kind::RequestTimeout => {
            stats.upstream_rq_timeout.inc();
            if let Some(group) = stream.group() {
                group.upstream_rq_timeout.inc();
            }
        }
        Kind::UpstreamReset | Kind::UpstreamRefused => stats.upstream_rq_rx_reset.inc(),
        Kind::DownstreamClosed | Kind::DownstreamFraming(_) | Kind::Answered(_) => {
            stats.upstream_rq_tx_reset.inc();
        }
        _ => {}
    }
    let theirs = matches!(error.kind, Kind::DownstreamClosed | Kind::Answered(_));
    if !stream.responding && !theirs {
        let status = error.reply().status;
        count_response(stats, stream.group(), stream.chain.exchange, status);
    }
}

/// Counts a response of the cluster, or one made in its place: `internal.` or `external.` by who
/// asked, `canary.` where the upstream says that it is one, and in the group of the virtual host.
pub(super) fn count_response(
    stats: &ClusterStats,
    group: Option<&VirtualClusterStats>,
    exchange: &Exchange,
    status: u16,
) {
    stats.upstream_rq_completed.inc();
    stats.upstream_rq_by_code.record(status);
    if exchange.request.has(Known::XEnvoyInternal) {
        stats.internal_upstream_rq_completed.inc();
        stats.internal_upstream_rq_by_code.record(status);
    } else {
        stats.external_upstream_rq_completed.inc();
        stats.external_upstream_rq_by_code.record(status);
    }
    if is_canary(exchange) {
        stats.canary_upstream_rq_completed.inc();
        stats.canary_upstream_rq_by_code.record(status);
    }
    if let Some(group) = group {
        group.upstream_rq_completed.inc();
        group.upstream_rq_by_code.record(status);
    }
}

/// Counts how long the upstream took, in ms.
pub(super) fn count_time(
    stats: &ClusterStats,
    group: Option<&VirtualClusterStats>,
    exchange: &Exchange,
    took: u64,
) {
    stats.upstream_rq_time.record(took);
    if exchange.request.has(Known::XEnvoyInternal) {
        stats.internal_upstream_rq_time.record(took);
    } else {
        stats.external_upstream_rq_time.record(took);
    }
    if is_canary(exchange) {
        stats.canary_upstream_rq_time.record(took);
    }
    if let Some(group) = group {
        group.upstream_rq_time.record(took);
    }
}

/// Whether the response comes from a version that is being tried.
fn is_canary(exchange: &Exchange) -> bool {
    exchange.response.known(Known::XEnvoyUpstreamCanary) == Some(b"true")
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
    let spec = plan.cluster.spec();
    let exchange = &mut *stream.chain.exchange;
    match spec.http1_names {
        NameFormat::Case(NameCase::Lower) => {}
        NameFormat::Case(case) => exchange.request.spell_unkept(case),
        // The names of the response; those of the request are the client's.
        kept @ NameFormat::Kept(_) => exchange.response.spell(kept),
    }
    let form = if spec.http1_absolute_target {
        TargetForm::Absolute
    } else {
        TargetForm::Origin
    };
    let encoded = encode::encode_request_to(write_buf, &exchange.request, framing, form);
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
    let stats = plan.cluster.stats(stream.around.worker.index);
    let (result, kept) = converse(stream, stats, limits, upstream).await;
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
    let stats = plan.cluster.stats(stream.around.worker.index);
    let (result, _) = converse(stream, stats, limits, upstream).await;
    lease.record(if result.is_ok() {
        outcome(stream)
    } else {
        failed(&result)
    });
    result
}

const fn outcome(stream: &Stream<'_, '_>) -> Outcome {
    Outcome::Answered(stream.chain.exchange.status)
}

fn failed(result: &Result<Option<Box<Reply>>, Error>) -> Outcome {
    match result {
        Err(Error {
            kind: Kind::RequestTimeout,
            ..
        }) => Outcome::Timeout,
        _ => Outcome::Reset,
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
