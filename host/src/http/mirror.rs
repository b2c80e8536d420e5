//! Copies of requests for other clusters (`request_mirror_policies`).
//!
//! Owns a copy from its head to the end of the response, which nobody gets to see: it is read and
//! counted. A copy is a task of its own and gets the body as it goes to the upstream; it never fails the
//! request. How many there are at once is up to the circuit breakers of their cluster. Called by
//! [`super::forward`]. Does not own which requests are copied (`route`), nor how far a copy may fall
//! behind ([`super::copies`]).

use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use super::attempts::judged;
use super::copies::{self, Copy, Intake, Piece, Source};
use super::demand;
use super::error::{Error, Kind};
use super::forward::{open_http1, open_http2};
use super::hygiene::append_list;
use super::io::{Frame, WriteError, Writer};
use super::kept::Kept;
use super::pump::{Direction, filtered};
use super::reply::decimal;
use super::side::{Answer, UpstreamSide, cut, outcome, status_of, stream_end};
use super::stream::Stream;
use super::tracked::{self, Sizes};
use crate::clock;
use crate::headers::{Headers, Known};
use crate::limits;
use crate::route::Mirror;
use crate::timer::{Timer, after};
use crate::upstream::{
    Cluster, ClusterStats, Demand, Lease, Outcome, Pools, Priority, Release, StreamEnd, Wish,
};

/// What is added to the host of a copy.
const SUFFIX: &[u8] = b"-shadow";
/// Pieces of a body that are handed to copies before they have a turn.
const FRAMES_AT_ONCE: usize = 4;

/// Starts the copies of a request whose head is the upstream's, and which may take `total` with all its
/// tries. What comes of the body goes to those in the answer.
pub(super) fn start(
    stream: &mut Stream<'_, '_>,
    mirrors: &[Mirror],
    priority: Priority,
    total: Option<Duration>,
) -> Vec<Copy> {
    let mut copies = Vec::new();
    // Without any limit a cluster that never answers would keep all its copies.
    let timeout = total.or_else(|| stream.idle_timeout());
    let random = stream.random;
    for mirror in mirrors.iter().filter(|mirror| mirror.takes(random)) {
        let request = &stream.chain.exchange.request;
        let clusters = &stream.around.snapshot;
        let Some(cluster) = mirror.cluster(
            request,
            |index| clusters.clusters.get(index),
            |name| clusters.clusters.get(clusters.cluster_index(name)?),
        ) else {
            continue;
        };
        let shows_client = stream.around.manager.shows_client;
        let demand = match demand::of_request(cluster.spec(), stream.chain.exchange, shows_client) {
            Ok(demand) => demand,
            Err(error) => {
                let stats = cluster.stats(stream.around.worker.index);
                count(stats, error.reply().status);
                continue;
            }
        };
        let has_body = stream.incoming.has_body;
        let (copy, body) = copies::body();
        let errand = Errand {
            pools: Rc::clone(&stream.around.worker.pools),
            worker: stream.around.worker.index,
            cluster: Arc::clone(cluster),
            priority,
            demand,
            destination: cluster.destination(stream.chain.exchange, stream.around.worker.index),
            head: head_of(stream, mirror, total),
            has_body,
            body,
            sizes: Sizes::default(),
            time: Time {
                timeout,
                sent_at: clock::now(),
                deadline: None,
            },
            timer: Timer::default(),
        };
        tokio::task::spawn_local(errand.run());
        if has_body {
            copies.push(copy);
        }
    }
    copies
}

/// Lets the copies of a request have the rest of its body for as long as it keeps coming, a second at
/// most: that the upstream has failed is nothing to them. What does not come in that time they lose.
pub(super) async fn finish(stream: &mut Stream<'_, '_>, kept: &mut Kept) {
    if !kept.has_copies() {
        return;
    }
    // Nobody else needs it any more.
    kept.forget();
    if let Some(whole) = stream.chain.take_request_body() {
        kept.put_whole(whole, &stream.chain.exchange.request_trailers);
    }
    let (chain, reader, timer) = (&mut stream.chain, &mut stream.reader, &mut *stream.timer);
    let end = after(clock::now(), Some(limits::MIRROR_REST));
    let mut until = after(clock::now(), Some(limits::MIRROR_PAUSE));
    poll_fn(|cx| {
        for _ in 0..FRAMES_AT_ONCE {
            if !kept.has_copies() {
                return Poll::Ready(());
            }
            ready!(kept.poll_room(cx));
            match reader.poll_frame(cx, &mut chain.exchange.request_trailers) {
                Poll::Ready(Ok(frame)) => {
                    // The client gets its answer now: what a filter has against the rest is nothing to it.
                    let Ok((content, ended)) = filtered(Direction::Request, frame, chain) else {
                        return Poll::Ready(());
                    };
                    if ended.is_some() {
                        chain.exchange.timing.request_received = Some(clock::now());
                    }
                    kept.take(
                        &content,
                        ended,
                        chain.forwarded_trailers(Direction::Request),
                    );
                    until = after(clock::now(), Some(limits::MIRROR_PAUSE));
                }
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => return timer.poll(cx, until.min(end)),
            }
        }
        if end.is_some_and(|end| clock::now() >= end) {
            return Poll::Ready(());
        }
        // The copies are to send it meanwhile.
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The head of a copy: it says that it is one, and comes from this proxy. It is sent once, and may take
/// as long as all tries of the request.
fn head_of(stream: &mut Stream<'_, '_>, mirror: &Mirror, total: Option<Duration>) -> Headers {
    let worker = stream.around.worker;
    let exchange = &mut *stream.chain.exchange;
    let mut head = exchange.request.clone();
    if !mirror.changes.is_empty() {
        // What is changed is the request of an exchange, whose facts formats may show.
        std::mem::swap(&mut exchange.request, &mut head);
        worker.with_scratch(|scratch| mirror.changes.apply(exchange, scratch));
        std::mem::swap(&mut exchange.request, &mut head);
    }
    if let Some(host) = &mirror.host {
        head.set_known(Known::Authority, host);
    } else if mirror.shadow_suffix
        && let Some(host) = head.known(Known::Authority)
    {
        let at = port_at(host);
        let (name, port) = host.split_at_checked(at).unwrap_or((host, b""));
        let host = [name, SUFFIX, port].concat();
        head.set_known(Known::Authority, &host);
    }
    head.set_known(Known::XEnvoyInternal, b"true");
    if let Some(total) = total {
        let ms = u64::try_from(total.as_millis()).unwrap_or(u64::MAX);
        let mut room = [0; 20];
        head.set_known(Known::XEnvoyExpectedRqTimeoutMs, decimal(ms, &mut room));
    }
    let address = stream
        .around
        .manager
        .hygiene
        .machine_address
        .or_else(|| exchange.connection.local.ip().map(|local| local.ip()))
        .unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    append_list(
        &mut head,
        Known::XForwardedFor,
        address.to_string().as_bytes(),
        b",",
    );
    head
}

/// Where the port of a host begins, its colon included; the host's end where there is none.
fn port_at(host: &[u8]) -> usize {
    let colon = host.iter().rposition(|byte| *byte == b':');
    let port = colon.and_then(|at| Some((at, host.get(at + 1..)?)));
    match port {
        Some((at, digits)) if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => at,
        _ => host.len(),
    }
}

/// A copy on its way.
struct Errand {
    pools: Rc<Pools>,
    worker: usize,
    cluster: Arc<Cluster>,
    priority: Priority,
    /// What it asks of its connection.
    demand: Option<Demand>,
    /// Where it goes, where the cluster asks requests.
    destination: Option<SocketAddr>,
    head: Headers,
    has_body: bool,
    body: Intake,
    /// What it has carried.
    sizes: Sizes,
    time: Time,
    timer: Timer,
}

/// How long a copy may take.
struct Time {
    timeout: Option<Duration>,
    /// When all of the request was there, from which on the upstream's time is counted.
    sent_at: Instant,
    /// When the response has to be over, once the request is.
    deadline: Option<Instant>,
}

impl Time {
    /// It runs from then on.
    fn begin(&mut self, at: Instant) {
        self.sent_at = at;
        self.deadline = after(at, self.timeout);
    }

    /// Looks whether all of the request has come, whatever the upstream has taken of it.
    fn look(&mut self, source: Source) -> Result<(), Error> {
        match source {
            Source::Open => Ok(()),
            Source::Whole(at) => {
                self.begin(at);
                Ok(())
            }
            Source::Gone => Err(Kind::DownstreamClosed.into()),
        }
    }

    fn took(&self) -> Duration {
        clock::now().saturating_duration_since(self.sent_at)
    }
}

/// How far a copy is.
struct Progress {
    read_all: bool,
    sent_all: bool,
    broken: bool,
    answer: Option<Answer>,
    status: u16,
    /// What the answer says about its endpoint.
    judged: Outcome,
}

impl Progress {
    const fn new() -> Self {
        Self {
            read_all: false,
            sent_all: false,
            broken: false,
            answer: None,
            status: 0,
            judged: Outcome::Abandoned,
        }
    }

    /// Whether all of the request is with the upstream.
    const fn has_sent(&self) -> bool {
        self.sent_all && !self.broken
    }
}

impl Errand {
    async fn run(mut self) {
        if !self.has_body {
            self.time.begin(self.time.sent_at);
        }
        let began = tracked::beginning(&self.cluster, self.worker);
        let result = self.send().await;
        self.count_tracked(began, &result);
        let stats = self.cluster.stats(self.worker);
        match result {
            Ok(status) => {
                count(stats, status);
                let took = u64::try_from(self.time.took().as_millis()).unwrap_or(u64::MAX);
                stats.upstream_rq_time.record(took);
                stats.internal_upstream_rq_time.record(took);
            }
            Err(error) => {
                match error.kind {
                    // The request itself has ended early.
                    Kind::DownstreamClosed => return,
                    Kind::RequestTimeout(_) => stats.upstream_rq_timeout.inc(),
                    _ => {}
                }
                count(stats, error.reply().status);
            }
        }
    }

    /// Counts what only some clusters do: there is one attempt, whose time is the copy's.
    fn count_tracked(&self, began: Option<Instant>, result: &Result<u16, Error>) {
        if result.as_ref().is_err_and(Error::finds_nobody) {
            return;
        }
        let at = (&*self.cluster, self.worker);
        let is_late = result.as_ref().is_err_and(tracked::is_late);
        let began = began.filter(|_| !is_late);
        tracked::count_attempt(at, &self.head, self.sizes, (began, None));
        if is_late || result.is_ok() {
            let took = self.time.took().as_millis();
            tracked::count_request(&self.cluster, self.worker, took, self.time.timeout);
        }
    }

    /// A connection to send it on.
    async fn acquire(&mut self) -> Result<Lease, Error> {
        let wish = Wish {
            demand: self.demand.as_ref(),
            destination: self.destination,
            ..Wish::default()
        };
        let mut acquire = pin!(self.pools.acquire(&self.cluster, self.priority, &wish));
        poll_fn(|cx| {
            if let Poll::Ready(lease) = acquire.as_mut().poll(cx) {
                return Poll::Ready(lease.map_err(Error::from));
            }
            if self.has_body {
                self.time.look(self.body.source(cx))?;
            }
            let late = Err(Kind::RequestTimeout(504).into());
            self.timer.poll(cx, self.time.deadline).map(|()| late)
        })
        .await
    }

    /// Sends the request and reads the response to its end: its status.
    async fn send(&mut self) -> Result<u16, Error> {
        let lease = self.acquire().await?;
        let opening = (self.has_body, None);
        let cluster = Arc::clone(&self.cluster);
        match lease {
            Lease::Http1(mut lease) => {
                let opened = open_http1(lease.parts(), &mut self.head, opening, cluster.spec());
                let Some(mut upstream) = opened else {
                    lease.release(Release::Reuse);
                    return Err(Kind::Unencodable.into());
                };
                let mut progress = Progress::new();
                let result = self.talk(&mut upstream, &mut progress).await;
                lease.record(outcome(progress.judged, &result));
                lease.release(match (&result, progress.answer) {
                    (Ok(_), Some(answer)) => answer.release(progress.has_sent(), true),
                    (Ok(_), None) => Release::Cut,
                    (Err(error), _) => cut(stream_end(&error.kind)),
                });
                result
            }
            Lease::Http2(mut lease) => {
                let mut upstream = open_http2(&mut lease, &self.head, opening, cluster.spec())?;
                let mut progress = Progress::new();
                let result = self.talk(&mut upstream, &mut progress).await;
                drop(upstream);
                lease.note_end(match &result {
                    Ok(_) if progress.has_sent() => StreamEnd::Whole,
                    Ok(_) => StreamEnd::Left,
                    Err(error) => stream_end(&error.kind),
                });
                lease.record(outcome(progress.judged, &result));
                result
            }
            // Only for tunnels, which are not copied.
            Lease::Raw(_) => Err(Kind::Unencodable.into()),
        }
    }

    async fn talk(
        &mut self,
        upstream: &mut UpstreamSide<'_>,
        progress: &mut Progress,
    ) -> Result<u16, Error> {
        if !self.has_body {
            progress.read_all = true;
        }
        let mut response = Headers::new();
        poll_fn(|cx| {
            self.poll_up(cx, upstream, progress)?;
            let wanted = self.cluster.sizes(self.worker).is_some();
            let sizes = wanted.then_some(&mut self.sizes);
            let of = (&*self.cluster, &self.head);
            let at = (&mut *progress, &mut response, sizes);
            if let Poll::Ready(done) = poll_down(cx, upstream, of, at) {
                return Poll::Ready(done);
            }
            let late = Err(Kind::RequestTimeout(504).into());
            self.timer.poll(cx, self.time.deadline).map(|()| late)
        })
        .await
    }

    /// Moves what is there of the body.
    fn poll_up(
        &mut self,
        cx: &mut Context<'_>,
        upstream: &mut UpstreamSide<'_>,
        progress: &mut Progress,
    ) -> Result<(), Error> {
        let writer = &mut upstream.writer;
        while !progress.sent_all {
            let mut starved = false;
            while !progress.read_all && writer.has_room() {
                match self.body.poll_next(cx) {
                    Poll::Ready(Some(Piece::Data(data))) => {
                        self.sizes.sent += data.len() as u64;
                        writer.push_changed(data);
                    }
                    Poll::Ready(Some(Piece::End(trailers))) => {
                        progress.read_all = true;
                        self.time.look(self.body.source(cx))?;
                        writer.push_end(trailers.as_deref());
                    }
                    Poll::Ready(None) => return Err(Kind::DownstreamClosed.into()),
                    Poll::Pending => {
                        starved = true;
                        break;
                    }
                }
            }
            match writer.poll_flush(cx) {
                Poll::Ready(Ok(())) if progress.read_all => progress.sent_all = true,
                Poll::Ready(Ok(())) if !starved => {}
                Poll::Ready(Ok(())) | Poll::Pending => break,
                Poll::Ready(Err(WriteError::Length)) => {
                    return Err(Kind::LengthChanged(Direction::Request).into());
                }
                // The answer will say why.
                Poll::Ready(Err(_)) => {
                    progress.sent_all = true;
                    progress.broken = true;
                }
            }
        }
        if !progress.read_all {
            self.time.look(self.body.source(cx))?;
        }
        Ok(())
    }
}

/// Counts a response to a copy, or one made in its place: the proxy itself has asked.
fn count(stats: &ClusterStats, status: u16) {
    stats.upstream_rq_completed.inc();
    stats.upstream_rq_by_code.record(status);
    stats.internal_upstream_rq_completed.inc();
    stats.internal_upstream_rq_by_code.record(status);
}

/// Reads the response on; ready with its status at its end.
fn poll_down(
    cx: &mut Context<'_>,
    upstream: &mut UpstreamSide<'_>,
    (cluster, request): (&Cluster, &Headers),
    (progress, response, mut sizes): (&mut Progress, &mut Headers, Option<&mut Sizes>),
) -> Poll<Result<u16, Error>> {
    if progress.answer.is_none() {
        let answer = ready!(upstream.poll_final_head(cx, response)).map_err(Error::from)?;
        if let Some(sizes) = &mut sizes {
            sizes.note_head(
                response,
                answer.body,
                matches!(upstream.writer, Writer::H1(_)),
            );
        }
        progress.answer = Some(answer);
        progress.status = status_of(response);
        progress.judged = judged(cluster, (request, response), progress.status);
        if answer.is_empty {
            return Poll::Ready(Ok(progress.status));
        }
        response.clear();
    }
    let Some(reader) = &mut upstream.reader else {
        return Poll::Pending;
    };
    loop {
        let frame = ready!(reader.poll_frame(cx, response));
        match frame.map_err(|error| Error::of_response_body(&error))? {
            Frame::Data(data) => {
                if let Some(sizes) = &mut sizes {
                    sizes.received += data.len() as u64;
                }
            }
            Frame::End | Frame::Trailers => return Poll::Ready(Ok(progress.status)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_told_from_an_address() {
        let table = [
            ("a.example", 9),
            ("a.example:80", 9),
            ("a.example:", 10),
            ("[::1]", 5),
            ("[::1]:80", 5),
            ("", 0),
        ];
        for (host, at) in table {
            assert_eq!(port_at(host.as_bytes()), at, "{host}");
        }
    }
}
