//! The way of a request to an upstream.
//!
//! Owns what lies between a route and a connection: the cluster, the head as the upstream is to see
//! it, the connection, the loop over attempts, and the statistics of the outcome. Does not own what
//! an attempt leaves to the next ([`super::attempts`]), the conversation on a connection
//! ([`super::conversation`]), connections themselves (`upstream::pool`), or replies
//! ([`super::stream`]).

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;

use super::attempts::Attempts;
use super::conversation::{Ended, converse};
use super::counts::count_response;
use super::deadlines::Deadlines;
use super::error::{Error, Kind, Side, UNCERTIFIABLE_HOST, of_http2};
use super::h2 as h2_glue;
use super::hedge::{Beside, gives_way, go_on, over_relay};
use super::io::{Frame, H1Reader, H1Writer, Reader, Writer};
use super::policies::{self, Policies};
use super::record::{self, Record};
use super::sending::H2Writer;
use super::side::{
    Asked, Await, UpstreamSide, http2_response_rules, outcome, response_rules, stream_end,
};
use super::stream::{Acted, Stream, Tunnel};
use super::timer::after;
use super::tracked;
use super::upstream_log;
use super::{control, demand, mirror, refusal};
use crate::clock;
use crate::exchange::{Exchange, Protocol};
use crate::h1::encode::TargetForm;
use crate::h1::head::HeadParser;
use crate::h1::{BodyLength, encode};
use crate::headers::{Headers, Known, KnownSet, NameCase, NameFormat};
use crate::route::{self, Action, Forward, Mirror, RequestTimes, Route, Times};
use crate::socket::Socket;
use crate::upstream::{
    self, Aim, Avoid, Cluster, ClusterSpec, ClusterStats, Endpoint, ErrorKind, Http1Lease,
    Http2Lease, Lease, Priority, RawLease, Release, Resource, StreamEnd, Wish, note_endpoint,
};
use crate::wasm;

/// A connection, the buffer to read into and the one to write from, and what counts its bytes.
type Http1Parts<'io> = (
    &'io mut Socket,
    &'io mut BytesMut,
    &'io mut BytesMut,
    &'io ClusterStats,
);

/// Control headers about attempts: they are for this proxy alone.
const CONTROL: KnownSet = KnownSet::of(&[
    Known::XEnvoyRetryOn,
    Known::XEnvoyRetryGrpcOn,
    Known::XEnvoyMaxRetries,
    Known::XEnvoyHedgeOnPerTryTimeout,
    Known::XEnvoyRetriableHeaderNames,
    Known::XEnvoyRetriableStatusCodes,
    Known::XEnvoyUpstreamAltStatName,
]);
/// How much of a request's body is read for nothing, to keep a connection.
const DISCARDED_BODY_BYTES: u64 = 64 * 1024;

/// Sends the request to the cluster that the terminal filter or the route names, and the response
/// to the client; again where route and outcome say so.
///
/// # Errors
/// Whatever keeps the client from getting the upstream's whole response.
pub(crate) async fn proxy(
    stream: &mut Stream<'_, '_>,
    choice: wasm::Upstream,
) -> Result<Acted, Error> {
    note_received(stream);
    let mut place = None;
    let (attempts, mut limits) = plan(stream, &choice, &mut place)?;
    if stream.duration == Some(Duration::ZERO) {
        // However quick the upstream is, it would be too late.
        let received = stream.has_whole_request();
        return Err(Kind::MaxDuration { received }.into());
    }
    let result = try_on(stream, attempts, &mut limits).await;
    let is_out_of_time = result.as_ref().is_err_and(tracked::is_late);
    attempts.let_others_go();
    record::end_overtaken(stream, attempts, &limits, is_out_of_time);
    result
}

/// Makes one attempt after another, until one of them is the last.
async fn try_on(
    stream: &mut Stream<'_, '_>,
    attempts: &mut Attempts<'_>,
    limits: &mut Deadlines,
) -> Result<Acted, Error> {
    loop {
        let winner = attempts.beside.as_mut().and_then(|b| b.take_winner());
        let result = match winner {
            Some(winner) => Box::pin(go_on(stream, attempts, limits, winner)).await,
            None => {
                attempts.begin(stream.chain.exchange, limits);
                attempts.record = Record::beginning(stream.around, attempts.cluster);
                attempt(stream, attempts, limits).await
            }
        };
        limits.end_try();
        record::end(stream, attempts, limits, &result);
        let wait = match result {
            Ok(Ended::Whole) => return Ok(Acted::Answered),
            Ok(Ended::Replaced(reply)) => {
                stream.reply(*reply).await?;
                return Ok(Acted::Answered);
            }
            Ok(Ended::Redirected(followed)) => {
                let body = followed.with_body.then(|| attempts.kept.take_whole());
                return Ok(Acted::Redirected(followed.next, body.flatten()));
            }
            Ok(Ended::Again(wait)) => Some(wait),
            Ok(Ended::Late) => attempts.after_late(stream.chain.exchange, stream.around.worker),
            Ok(Ended::GivesWay | Ended::Overtaken) => None,
            Err(error) => {
                note_failure(stream, attempts, &error);
                let wait = after_failure(stream, attempts, &error);
                if wait.is_none() && !gives_way(stream, attempts, &error) {
                    tracked::count_late(stream, attempts, limits, &error);
                    give_up(stream, attempts, &error).await;
                    return Err(error);
                }
                wait
            }
        };
        rest(stream, attempts, limits, wait).await?;
    }
}

/// Sends the request once.
async fn attempt(
    stream: &mut Stream<'_, '_>,
    attempts: &mut Attempts<'_>,
    limits: &mut Deadlines,
) -> Result<Ended, Error> {
    let mut beside = attempts.beside.take();
    let (lease, failed) = acquire(stream, attempts, beside.as_deref_mut(), limits).await;
    attempts.beside = beside;
    if let Some(endpoint) = failed {
        note_endpoint(stream.chain.exchange, attempts.cluster, &endpoint);
        attempts.note_endpoint(&endpoint);
    }
    let Some(lease) = lease? else {
        return Ok(Ended::Overtaken);
    };
    note_connection(stream.chain.exchange, &lease);
    if stream.around.manager.scheme_of_upstream {
        let is_tls = lease.facts().tls.is_some();
        let scheme: &[u8] = if is_tls { b"https" } else { b"http" };
        let request = &mut stream.chain.exchange.request;
        request.set_known(Known::Scheme, scheme);
    }
    for_endpoint(stream, lease.endpoint().hostname.as_deref());
    attempts.connected(stream.chain.exchange, &lease);
    upstream_log::ready(stream.around, stream.chain.exchange, &attempts.record);
    limits.connected(attempts.cluster.spec().max_stream_duration);
    if stream.is_broken() {
        lease.leave();
        return Err(Kind::BrokenBody.into());
    }
    match lease {
        // What is rare is apart, so that an ordinary request is not as large.
        lease if attempts.beside.is_some() => {
            Box::pin(over_relay(stream, attempts, limits, lease)).await
        }
        Lease::Http1(lease) => over_http1(stream, attempts, limits, lease).await,
        Lease::Http2(lease) => over_http2(stream, attempts, limits, lease).await,
        Lease::Raw(lease) => Box::pin(over_tcp(stream, attempts, limits, lease)).await,
    }
}

/// Waits for a connection, for as long as the request has time, the client is there, and no attempt in
/// `beside` has an answer. Where there is none, the endpoint that it would have led to.
async fn acquire(
    stream: &mut Stream<'_, '_>,
    attempts: &Attempts<'_>,
    mut beside: Option<&mut Beside>,
    limits: &Deadlines,
) -> (Result<Option<Lease>, Error>, Option<Arc<Endpoint>>) {
    let worker = stream.around.worker;
    let criteria = &stream.around.snapshot.criteria;
    let avoids = attempts.avoids(stream.chain.exchange);
    let is_unwanted = |endpoint: &Endpoint| {
        avoids.is_some_and(|avoids| {
            let mut of_metadata = avoids.criteria.iter().filter_map(|at| criteria.get(*at));
            (avoids.tried && attempts.was_tried(endpoint))
                || (avoids.canaries && endpoint.is_canary())
                || of_metadata.any(|criteria| criteria.are_met_by(endpoint.metadata()))
        })
    };
    let shows_client = stream.around.manager.shows_client;
    let demand =
        match demand::of_request(attempts.cluster.spec(), stream.chain.exchange, shows_client) {
            Ok(demand) => demand,
            Err(error) => return (Err(error), None),
        };
    let of_route = attempts.criteria.and_then(|index| criteria.get(index));
    let (cluster, exchange) = (attempts.cluster, &*stream.chain.exchange);
    let aim = Aim::of(cluster, exchange, of_route, worker.index);
    let wish = Wish {
        demand: demand.as_ref(),
        hash: attempts.hash,
        avoid: avoids.map(|avoids| Avoid {
            is_unwanted: &is_unwanted,
            attempts: avoids.attempts,
        }),
        tried_levels: attempts.left_out(stream.chain.exchange),
        ..aim.wish()
    };
    let terminated = stream.ends_http();
    let (cluster, priority) = (attempts.cluster, attempts.priority);
    let acquire = async {
        if terminated {
            let connected = worker.pools.connect(cluster, priority, &wish).await;
            connected.map(|lease| Lease::Raw(Box::new(lease)))
        } else {
            worker.pools.acquire(cluster, priority, &wish).await
        }
    };
    let mut acquire = std::pin::pin!(acquire);
    let group = stream.group.map(|group| group.shard(worker.index));
    let stats = cluster.stats(worker.index);
    let (reader, down, timer) = (&mut stream.reader, &mut stream.down, &mut *stream.timer);
    let chain = &mut stream.chain;
    let mut host = None;
    // The clock is only looked at by those that have to wait.
    let mut since = None;
    let acquired = poll_fn(|cx| {
        if let Some(beside) = &mut beside {
            let jury = attempts.jury(stats, group, chain.exchange);
            if beside.poll(cx, false, &jury).is_ready() {
                return Poll::Ready(Ok(None));
            }
        }
        if let Poll::Ready(lease) = acquire.as_mut().poll(cx) {
            let has_endpoint = lease.as_ref().err().is_none_or(|e| e.endpoint.is_some());
            let waited = since.map_or(Duration::ZERO, |since| clock::now() - since);
            chain.exchange.upstream.waited = has_endpoint.then_some(waited);
            return Poll::Ready(lease.map(Some).map_err(|error| {
                host = led_to(&error);
                Error::of_acquire(error, aim.status(cluster))
            }));
        }
        since.get_or_insert_with(clock::now);
        if let Poll::Ready(kind) = down.poll_closed(cx, reader) {
            return Poll::Ready(Err(kind.into()));
        }
        let (deadline, late) = limits.next();
        let over = chain.poll_deadline(cx, timer, deadline);
        over.map(|()| Err(limits.error(late)))
    })
    .await;
    (acquired, host)
}

/// The endpoint that a connection would have led to. What waits in a queue or is turned away from it
/// has none yet.
fn led_to(error: &upstream::Error) -> Option<Arc<Endpoint>> {
    let was_queued = matches!(
        error.kind,
        ErrorKind::Overflow(
            Resource::Pending
                | Resource::Connections
                | Resource::ConnectionsOfHost
                | Resource::Pools
        )
    );
    error.endpoint.clone().filter(|_| !was_queued)
}

/// Whether the request is sent again after `error`, and after which wait.
fn after_failure(
    stream: &mut Stream<'_, '_>,
    attempts: &mut Attempts<'_>,
    error: &Error,
) -> Option<Duration> {
    if stream.responding {
        return None;
    }
    attempts.after_failure(error, stream.chain.exchange, stream.around.worker)
}

/// Waits before the next attempt, or without `wait` for those that go on, for as long as the request
/// has time and the client is there.
async fn rest(
    stream: &mut Stream<'_, '_>,
    attempts: &mut Attempts<'_>,
    limits: &Deadlines,
    wait: Option<Duration>,
) -> Result<(), Error> {
    if wait == Some(Duration::ZERO) {
        return Ok(());
    }
    let until = after(clock::now(), wait);
    let (deadline, late) = limits.next();
    let in_time = until.is_some_and(|until| deadline.is_none_or(|deadline| until < deadline));
    let index = stream.around.worker.index;
    let mut beside = attempts.beside.take();
    if beside.as_ref().is_some_and(|beside| beside.has_winner()) {
        attempts.beside = beside;
        return Ok(());
    }
    let group = stream.group.map(|group| group.shard(index));
    let stats = attempts.cluster.stats(index);
    let (reader, down, timer) = (&mut stream.reader, &mut stream.down, &mut *stream.timer);
    let chain = &mut stream.chain;
    let rested = poll_fn(|cx| {
        if let Some(beside) = &mut beside {
            let jury = attempts.jury(stats, group, chain.exchange);
            if let Poll::Ready(won) = beside.poll(cx, wait.is_none(), &jury) {
                return Poll::Ready(won);
            }
        }
        if let Poll::Ready(kind) = down.poll_closed(cx, reader) {
            return Poll::Ready(Err(kind.into()));
        }
        let (at, result) = if in_time {
            (until, Ok(()))
        } else {
            (deadline, Err(limits.error(late)))
        };
        chain.poll_deadline(cx, timer, at).map(|()| result)
    })
    .await;
    if let Err(
        error @ Error {
            kind: Kind::RequestTimeout(_),
        },
    ) = &rested
    {
        let jury = attempts.jury(stats, group, chain.exchange);
        for _ in 0..beside.as_ref().map_or(0, |beside| beside.len()) {
            stats.upstream_rq_timeout.inc();
            jury.failed(error);
        }
        if let Some(beside) = &beside {
            beside.time_out();
        }
    }
    attempts.beside = beside;
    rested
}

/// Ends the last attempt with what the client is to be told.
async fn give_up(stream: &mut Stream<'_, '_>, attempts: &mut Attempts<'_>, error: &Error) {
    // What the cluster itself sets an end to is no answer of it, as in Envoy.
    let is_answer = !matches!(error.kind, Kind::UpstreamDuration { .. });
    if is_answer && !stream.responding && !stream.has_interim && error.side() == Side::Upstream {
        let stats = attempts.cluster.stats(stream.around.worker.index);
        let jury = attempts.jury(stats, stream.group(), stream.chain.exchange);
        jury.failed(error);
        // Those that go on beside it end with it.
        for _ in 0..attempts.others() {
            stats.upstream_rq_timeout.inc();
            jury.failed(error);
        }
        if let Some(beside) = &attempts.beside {
            beside.time_out();
        }
        mirror::finish(stream, &mut attempts.kept).await;
        let given_up = attempts.kept.take_given_up();
        stats.retry_or_shadow_abandoned.add(given_up.into());
    }
    if matches!(
        error.kind,
        Kind::ConnectFailure(_) | Kind::ConnectTimeout | Kind::UncertifiableHost
    ) {
        take_ready_body(stream).await;
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

/// Notes that all of the request is there, where no upload will: what limits the wait for an answer
/// runs from then on.
fn note_received(stream: &mut Stream<'_, '_>) {
    if stream.has_whole_request() {
        let timing = &mut stream.chain.exchange.timing;
        timing.request_received.get_or_insert_with(clock::now);
    }
}

/// Chooses the cluster, decides how long and how often it is tried, and makes the request's head the
/// upstream's. The attempts are made in `place`: they are too large to be moved.
fn plan<'a, 'p>(
    stream: &mut Stream<'a, '_>,
    choice: &wasm::Upstream,
    place: &'p mut Option<Attempts<'a>>,
) -> Result<(&'p mut Attempts<'a>, Deadlines), Error> {
    let around = stream.around;
    let route = stream.route;
    let forward = route.and_then(|route| match &route.action {
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
    note_cluster(exchange, cluster);
    let group = route.and_then(|route| route.virtual_cluster(&exchange.request));
    exchange.virtual_cluster = group.and_then(|(name, _)| name.cloned());
    let group = group.map(|(_, counts)| counts);
    stream.group = group.map(|group| &**group);
    control::check(around, &exchange.request)?;
    if let Some(why) = refusal::of_cluster(around, index, cluster) {
        let stats = cluster.stats(around.worker.index);
        let group = group.map(|group| group.shard(around.worker.index));
        count_response(stats, group, exchange, 503);
        return Err(why.into());
    }
    let says = Policies::new(route, around.snapshot.policies(index));
    let hash = says.hash(cluster, exchange, &mut stream.cookies);
    let policy = says.retry();
    let retries = policies::retries(around, policy, &exchange.request);
    let times = forward.map_or_else(Times::of_no_route, |forward| forward.times);
    let times = times.of_request(
        &mut exchange.request,
        (choice.timeout, around.manager.respects_expected_timeout),
        policy.map(|policy| &**policy),
    );
    let alternative = exchange
        .request
        .remove_known(Known::XEnvoyUpstreamRqTimeoutAltResponse);
    let hedges = policies::hedges(&exchange.request, forward);
    let mut told = times;
    if hedges {
        // A try that takes too long may still be the one: it is told the time of all.
        told.per_try = None;
    }
    let attempts = place.insert(Attempts::new(cluster, priority(forward), told, retries));
    attempts.hash = hash;
    attempts.group = stream.group;
    attempts.criteria = route.and_then(|route| route.criteria(pick));
    attempts.follow(
        forward,
        policy.map(|policy| &**policy),
        around.manager.envoy_headers,
        around.listener.kept_limit(stream.down.is_http2()),
    );
    stream.tells_attempts = attempts.tells_client();
    let exchange = &mut *stream.chain.exchange;
    exchange.upstream.attempts = 1;
    attempts.announce(&mut exchange.request, 1, Duration::ZERO);
    if let Some(route) = route {
        around.worker.with_scratch(|scratch| {
            route.finalize_request(exchange, pick, around.manager.envoy_headers, scratch);
        });
    }
    exchange.request.remove_any(CONTROL);
    if stream.tunnel.is_none() {
        copy(stream, says.mirrors(), attempts, times.total);
    }
    let late_status = if alternative { 204 } else { 504 };
    let limits = bound(stream, attempts, times, (late_status, hedges));
    Ok((attempts, limits))
}

/// Notes in the exchange which cluster the request goes to.
fn note_cluster(exchange: &mut Exchange, cluster: &Cluster) {
    let (upstream, spec) = (&mut exchange.upstream, cluster.spec());
    let noted = upstream.cluster.as_ref();
    if noted.is_some_and(|noted| Arc::ptr_eq(noted, &cluster.name)) {
        // With the route.
        return;
    }
    upstream.cluster = Some(Arc::clone(&cluster.name));
    upstream.cluster_metadata.clone_from(&spec.metadata);
    upstream.cluster_alias.clone_from(&spec.alt_stat_name);
}

/// Starts the copies of the request.
fn copy(
    stream: &mut Stream<'_, '_>,
    mirrors: &[Mirror],
    attempts: &mut Attempts<'_>,
    total: Option<Duration>,
) {
    if !mirrors.is_empty() {
        let copies = mirror::start(stream, mirrors, attempts.priority, total);
        attempts.copy_to(copies);
    }
}

/// When the request and its tries have to end.
fn bound(
    stream: &Stream<'_, '_>,
    attempts: &mut Attempts<'_>,
    mut times: RequestTimes,
    (late_status, hedges): (u16, bool),
) -> Deadlines {
    if hedges && !attempts.has_retries() {
        // A try that nothing follows has as long as there is.
        (times.per_try, times.per_try_idle) = (None, None);
    }
    let has_limit = times.per_try.is_some() || times.per_try_idle.is_some();
    if hedges && has_limit && stream.tunnel.is_none() && !stream.ends_http() {
        attempts.hedge();
    }
    Deadlines::new(stream, times, late_status)
}

fn priority(forward: Option<&Forward>) -> Priority {
    match forward.map(|forward| forward.priority) {
        Some(route::Priority::High) => Priority::High,
        Some(route::Priority::Default) | None => Priority::Default,
    }
}

/// What of the head and of the statistics waits for the endpoint.
fn for_endpoint(stream: &mut Stream<'_, '_>, hostname: Option<&str>) {
    if let Some(group) = stream.group() {
        group.upstream_rq_total.inc();
    }
    if let Some(route) = stream.route {
        let exchange = &mut *stream.chain.exchange;
        let envoy_headers = stream.around.manager.envoy_headers;
        stream.around.worker.with_scratch(|scratch| {
            route.finalize_for_endpoint(exchange, hostname, envoy_headers, scratch);
        });
    }
}

/// Notes in the exchange which connection the request takes.
fn note_connection(exchange: &mut Exchange, lease: &Lease) {
    note_endpoint(exchange, lease.cluster(), lease.endpoint());
    let facts = lease.facts();
    let upstream = &mut exchange.upstream;
    upstream.local = facts.local;
    upstream.connection_id = Some(facts.connection_id);
    upstream.tls.clone_from(&facts.tls);
    upstream.protocol = match lease {
        Lease::Http1(_) => Some(Protocol::Http11),
        Lease::Http2(_) => Some(Protocol::Http2),
        Lease::Raw(_) => None,
    };
}

/// Notes in exchange and statistics why an attempt got no answer.
fn note_failure(stream: &mut Stream<'_, '_>, attempts: &Attempts<'_>, error: &Error) {
    let stats = attempts.cluster.stats(stream.around.worker.index);
    match &error.kind {
        Kind::ConnectFailure(why) => stream.chain.exchange.upstream.failure = Some(why.clone()),
        Kind::UncertifiableHost => {
            stream.chain.exchange.upstream.failure = Some(UNCERTIFIABLE_HOST.into());
        }
        Kind::RequestTimeout(_) => {
            stats.upstream_rq_timeout.inc();
            if let Some(group) = stream.group() {
                group.upstream_rq_timeout.inc();
            }
        }
        Kind::PerTryTimeout(_) => stats.upstream_rq_per_try_timeout.inc(),
        Kind::PerTryIdle(_) => stats.upstream_rq_per_try_idle_timeout.inc(),
        Kind::UpstreamDuration { .. } => stats.upstream_rq_max_duration_reached.inc(),
        _ => {}
    }
}

async fn over_http1(
    stream: &mut Stream<'_, '_>,
    attempts: &mut Attempts<'_>,
    limits: &mut Deadlines,
    mut lease: Http1Lease,
) -> Result<Ended, Error> {
    let cluster = attempts.cluster;
    let spec = cluster.spec();
    let exchange = &mut *stream.chain.exchange;
    let kept = spec.http1_names;
    if kept.is_kept() {
        // The names of the response; those of the request are the client's.
        exchange.response.spell(kept);
    }
    let opening = (stream.incoming.has_body, stream.tunnel);
    let request = &mut exchange.request;
    let Some(mut upstream) = open_http1(lease.parts(), request, opening, spec) else {
        lease.release(Release::Reuse);
        return Err(Kind::Unencodable.into());
    };
    let stats = cluster.stats(stream.around.worker.index);
    let talk = converse(stream, stats, limits, attempts, (&mut upstream, None));
    let (result, kept) = talk.await;
    drop(upstream);
    lease.record(outcome(attempts.judged, &result));
    lease.note_end(stream.chain.exchange.timing.ended);
    lease.release(kept);
    result
}

/// The upstream's side of a stream on an HTTP/1 connection, its head on the way; none where the head
/// cannot be said in HTTP/1.
pub(super) fn open_http1<'io>(
    (socket, read_buf, write_buf, stats): Http1Parts<'io>,
    request: &mut Headers,
    (has_body, tunnel): (bool, Option<Tunnel>),
    spec: &ClusterSpec,
) -> Option<UpstreamSide<'io>> {
    match spec.http1_names {
        NameFormat::Case(NameCase::Lower) | NameFormat::Kept(_) | NameFormat::KeptWithReason(_) => {
        }
        NameFormat::Case(case) => request.spell_unkept(case),
    }
    let form = if spec.http1_absolute_target {
        TargetForm::Absolute
    } else {
        TargetForm::Origin
    };
    let framing = request_framing(request, has_body, tunnel);
    let fields = encode::encode_request_to(write_buf, request, framing, form).ok()?;
    let trailers = spec.http1_trailers;
    let (read_half, write_half) = socket.split();
    let mut writer = H1Writer::new(write_half, write_buf, trailers)
        .counted_by(&stats.upstream_cx_tx_bytes_total);
    writer.note_fields(fields);
    let reader =
        H1Reader::new(read_half, read_buf, trailers).counted_by(&stats.upstream_cx_rx_bytes_total);
    if tunnel.is_some() {
        writer.begin_tunnel();
    } else {
        writer.begin(framing);
    }
    Some(UpstreamSide {
        asked: Asked::of(request, tunnel),
        rules: response_rules(spec),
        reader: Some(Reader::H1(reader)),
        writer: Writer::H1(writer),
        head: Await::Http1(HeadParser::new()),
        interim: false,
    })
}

async fn over_http2(
    stream: &mut Stream<'_, '_>,
    attempts: &mut Attempts<'_>,
    limits: &mut Deadlines,
    mut lease: Http2Lease,
) -> Result<Ended, Error> {
    let cluster = attempts.cluster;
    let request = &stream.chain.exchange.request;
    let opening = (stream.incoming.has_body, stream.tunnel);
    let mut upstream = open_http2(&mut lease, request, opening, cluster.spec())?;
    let stats = cluster.stats(stream.around.worker.index);
    let talk = converse(stream, stats, limits, attempts, (&mut upstream, None));
    let (result, kept) = talk.await;
    drop(upstream);
    lease.note_end(match &result {
        Ok(_) if kept == Release::Reuse => StreamEnd::Whole,
        Ok(_) => StreamEnd::Left,
        Err(error) => stream_end(&error.kind),
    });
    lease.record(outcome(attempts.judged, &result));
    result
}

/// The upstream's side of a new stream on an HTTP/2 connection.
pub(super) fn open_http2(
    lease: &mut Http2Lease,
    request: &Headers,
    (has_body, tunnel): (bool, Option<Tunnel>),
    spec: &ClusterSpec,
) -> Result<UpstreamSide<'static>, Error> {
    let (head, length) = match tunnel {
        Some(_) => (h2_glue::tunnel_to(request), BodyLength::None),
        None => (
            h2_glue::request_to(request),
            request_framing(request, has_body, None),
        ),
    };
    let Some((head, target)) = head else {
        return Err(Kind::Unencodable.into());
    };
    if target.is_some() && !lease.long_targets().has_room() {
        return Err(Kind::Overflow.into());
    }
    let sent = lease.sender().send_request(head, !has_body);
    let (response, body) = sent.map_err(|error| of_http2(&error))?;
    if let Some(target) = target {
        let stream = body.stream_id().as_u32();
        lease.long_targets().add(stream, target);
    }
    lease.note_end(StreamEnd::Left);
    Ok(UpstreamSide {
        asked: Asked::of(request, tunnel),
        rules: http2_response_rules(spec),
        reader: None,
        writer: Writer::H2(H2Writer::opening(body, Rc::clone(lease.backlog()), length)),
        head: Await::Http2(response),
        interim: false,
    })
}

/// A `CONNECT` that ends here: the bytes behind it, on a connection of their own.
async fn over_tcp(
    stream: &mut Stream<'_, '_>,
    attempts: &mut Attempts<'_>,
    limits: &mut Deadlines,
    mut lease: Box<RawLease>,
) -> Result<Ended, Error> {
    let cluster = attempts.cluster;
    let mut read_buf = stream.around.worker.take_buffer();
    let mut write_buf = stream.around.worker.take_buffer();
    if let Some(header) = stream.route.and_then(Route::proxy_header) {
        let connection = &stream.chain.exchange.connection;
        let ends = connection.remote.ip().zip(connection.local.ip());
        write_buf.extend_from_slice(&header.bytes(ends, &[]));
    }
    let mut fails = cluster
        .spec()
        .closes_on_failure
        .then(|| Box::pin(lease.ended_by_health()));
    let (read_half, write_half) = lease.socket().split();
    let stats = cluster.stats(stream.around.worker.index);
    let mut reader = H1Reader::new(read_half, &mut read_buf, false)
        .counted_by(&stats.upstream_cx_rx_bytes_total);
    // A peer that speaks no HTTP may well mean its end.
    reader.begin_tunnel(false);
    let mut writer = H1Writer::new(write_half, &mut write_buf, false)
        .counted_by(&stats.upstream_cx_tx_bytes_total);
    writer.begin_tunnel();
    let mut upstream = UpstreamSide {
        asked: Asked::of(&stream.chain.exchange.request, stream.tunnel),
        rules: response_rules(cluster.spec()),
        reader: Some(Reader::H1(reader)),
        writer: Writer::H1(writer),
        head: Await::Accepted,
        interim: false,
    };
    let talked = {
        let talk = converse(stream, stats, limits, attempts, (&mut upstream, None));
        let mut talk = std::pin::pin!(talk);
        poll_fn(|cx| match (talk.as_mut().poll(cx), &mut fails) {
            (Poll::Ready(ended), _) => Poll::Ready(Some(ended)),
            (Poll::Pending, Some(fails)) => fails.as_mut().poll(cx).map(|()| None),
            (Poll::Pending, None) => Poll::Pending,
        })
        .await
    };
    let (result, kept) = talked.unwrap_or_else(|| {
        attempts.record.carried = upstream.carried();
        (Err(Kind::UpstreamClosed.into()), Release::Cut)
    });
    drop(upstream);
    stream.around.worker.put_buffer(read_buf);
    stream.around.worker.put_buffer(write_buf);
    // Behind the other end's last byte it is this side that closes, as in Envoy.
    if kept == Release::CutByPeer {
        lease.closed_by_peer();
    }
    lease.record(outcome(attempts.judged, &result));
    result
}

/// How the request's body is framed for an HTTP/1 upstream. What follows the opening of a tunnel is
/// no body, whatever the client said: its length stays in the head, as in Envoy.
fn request_framing(request: &Headers, has_body: bool, tunnel: Option<Tunnel>) -> BodyLength {
    let length = request.known(Known::ContentLength);
    let length = length.and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
    match length {
        Some(length) if has_body || length == 0 => BodyLength::Length(length),
        None if has_body && tunnel.is_none() => BodyLength::Chunked,
        _ => BodyLength::None,
    }
}
