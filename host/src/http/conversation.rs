//! Both directions of a stream between a client and an upstream connection, until the response has
//! ended.
//!
//! Owns the joint poll: the request's body up, the response's head and body down, the deadlines and
//! the client that goes away, in one task, so that neither side can wait for the other. Does not own
//! which connection it is ([`super::forward`]) nor how bodies move ([`super::pump`]).

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::attempts::Attempts;
use super::counts::{count_response, count_time};
use super::deadlines::{Deadlines, Late};
use super::error::{Error, Kind};
use super::h2 as h2_glue;
use super::hygiene;
use super::io::{Frame, ReadError, Reader, WriteError, Writer};
use super::phases::Walk;
use super::pump::{Direction, Pump, PumpError};
use super::record::Apart;
use super::redirect::Followed;
use super::reply::{Reply, decimal};
use super::side::{Answer, Came, UpstreamSide, cut, status_of, stream_end};
use super::stream::{self, Behind, Stream, Surroundings, Tunnel};
use super::tracked;
use super::upstream_log;
use super::whole::Whole;
use crate::clock::{self, Turn};
use crate::exchange::{Exchange, LogType, Protocol};
use crate::h1::{BodyLength, MethodKind};
use crate::headers::{Headers, Known, Name};
use crate::route::EnvoyHeaders;
use crate::upstream::{ClusterStats, FlowControl, Release};

/// How a conversation ended.
pub(super) enum Ended {
    /// The client has the whole response.
    Whole,
    /// A filter answers in the upstream's place.
    Replaced(Box<Reply>),
    /// The response is not passed on: the request is sent again, after this wait.
    Again(Duration),
    /// The response is followed by another request.
    Redirected(Followed),
    /// It takes too long, and goes on beside the next attempt.
    Late,
    /// The response is not passed on, because another attempt may bring a better one.
    GivesWay,
    /// Another attempt has answered before it had a connection.
    Overtaken,
}

/// Both directions of a stream, until the response has ended.
struct Conversation<'a, 'r> {
    around: Surroundings<'a>,
    stats: &'a ClusterStats,
    flow: FlowControl<'a>,
    attempts: &'a mut Attempts<'r>,
    upload: Upload,
    download: Download,
    answer: Option<Answer>,
    /// How many interim responses came.
    interims: u32,
    /// A head that came before the conversation, or from another attempt.
    begun: Option<Came>,
    turn: Turn,
}

enum Upload {
    /// What follows the request waits until the upstream has opened the tunnel.
    Held,
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
    /// Something else than this response is for the client.
    Over(Ended),
}

/// Runs the conversation to its end, and answers what becomes of an HTTP/1 connection. `begun` is the
/// head that has come where the request was sent before.
pub(super) async fn converse(
    stream: &mut Stream<'_, '_>,
    stats: &ClusterStats,
    limits: &mut Deadlines,
    attempts: &mut Attempts<'_>,
    (upstream, begun): (&mut UpstreamSide<'_>, Option<Came>),
) -> (Result<Ended, Error>, Release) {
    let mut talk = Conversation {
        around: stream.around,
        stats,
        flow: FlowControl::new(
            (
                &stream
                    .around
                    .stats
                    .downstream_flow_control_paused_reading_total,
                &stream
                    .around
                    .stats
                    .downstream_flow_control_resumed_reading_total,
            ),
            stats,
        ),
        upload: if begun.is_some() {
            Upload::Done
        } else if stream.tunnel.is_some() {
            Upload::Held
        } else {
            Upload::Running(begin_upload(stream, attempts))
        },
        download: Download::Head,
        answer: None,
        interims: 0,
        begun,
        attempts,
        turn: Turn::default(),
    };
    let result = poll_fn(|cx| talk.poll(cx, stream, limits, upstream)).await;
    let read_all = upstream.reader.as_ref().is_some_and(Reader::is_at_end);
    let lost = upstream.reader.as_ref().is_some_and(Reader::has_lost_peer);
    let kept = match (&result, talk.answer) {
        (Ok(()), Some(answer)) => answer.release(matches!(talk.upload, Upload::Done), read_all),
        (Ok(()), None) => Release::Cut,
        (Err(_), _) if lost => Release::CutByPeer,
        (Err(error), _) => cut(stream_end(&error.kind)),
    };
    if let Err(Error {
        kind: Kind::UpstreamProtocol,
    }) = &result
    {
        match &mut upstream.writer {
            Writer::H1(_) => stats.upstream_cx_protocol_error.inc(),
            // Its connection counts what concerns all of it.
            Writer::H2(writer) => writer.reset(h2::Reason::PROTOCOL_ERROR),
            Writer::Relayed(_) => {}
        }
    }
    if matches!(talk.download, Download::Ended) {
        stream.note_ended(talk.turn.known());
    }
    talk.attempts.note_sent(upstream.writer.has_written());
    talk.attempts.record.carried = upstream.carried();
    talk.attempts.note_interim(upstream.interim);
    let result = result.map(|()| match talk.download {
        Download::Over(ended) => ended,
        _ => Ended::Whole,
    });
    (result, kept)
}

/// The request's body from its beginning on; the head is in the writer already.
fn begin_upload(stream: &mut Stream<'_, '_>, attempts: &mut Attempts<'_>) -> Pump {
    if let Some(whole) = stream.chain.take_request_body() {
        let trailers = &stream.chain.exchange.request_trailers;
        attempts.kept.put_whole(whole, trailers);
    }
    if stream.incoming.has_body {
        attempts.kept.settle();
        Pump::request()
    } else {
        Pump::flushing(Direction::Request)
    }
}

impl Conversation<'_, '_> {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream<'_, '_>,
        limits: &mut Deadlines,
        upstream: &mut UpstreamSide<'_>,
    ) -> Poll<Result<(), Error>> {
        self.turn.begin();
        self.poll_upload(cx, stream, limits, upstream)?;
        if matches!(self.download, Download::Head) {
            self.poll_beside(cx, stream, upstream);
        }
        while self.poll_download(cx, stream, limits, upstream)?.is_ready() {
            if matches!(self.download, Download::Ended | Download::Over(_)) {
                return Poll::Ready(Ok(()));
            }
        }
        // Behind the response: a client that has all of it may leave.
        if matches!(self.upload, Upload::Done | Upload::Broken)
            && let Poll::Ready(kind) = stream.down.poll_closed(cx, &mut stream.reader)
        {
            return Poll::Ready(Err(kind.into()));
        }
        let (deadline, late) = limits.next();
        let over = stream.chain.poll_deadline(cx, stream.timer, deadline);
        over.map(|()| {
            let is_idle = late == Late::Idle && matches!(self.upload, Upload::Done);
            if is_idle && stream.has_whole_response() {
                stream.drop_rest();
                return Ok(());
            }
            Err(limits.error(late))
        })
    }

    fn poll_upload(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream<'_, '_>,
        limits: &mut Deadlines,
        upstream: &mut UpstreamSide<'_>,
    ) -> Result<(), Error> {
        if matches!(self.upload, Upload::Held) {
            return poll_held(cx, stream, upstream);
        }
        if let Upload::Running(pump) = &mut self.upload {
            let before = pump.moved();
            let had_come_whole = pump.is_whole();
            let polled = pump.pump(
                cx,
                &mut stream.reader,
                &mut upstream.writer,
                &mut stream.chain,
                Some(&mut self.attempts.kept),
            );
            let is_stopped = polled.is_pending() && pump.is_stopped(&upstream.writer);
            self.flow
                .note_up(is_stopped && upstream.writer.is_backed_up());
            self.attempts.note_given_up(self.stats);
            self.attempts.record.sizes.sent = pump.content();
            if pump.moved() != before {
                let now = self.turn.now();
                limits.active(now);
                if pump.is_whole() && !had_come_whole {
                    let timing = &mut stream.chain.exchange.timing;
                    timing.request_received = Some(limits.request_came(now));
                }
            }
            let timing = &mut stream.chain.exchange.timing;
            let most = self.around.listener.buffer_limit;
            // What comes through a tunnel is no request, and its end comes behind it.
            let is_owed =
                is_stopped && stream.tunnel.is_none() && timing.request_received.is_none();
            if is_owed && stream.reader.has_rest(cx, most) {
                // All of it has come, although the upstream takes no more.
                timing.request_received = Some(limits.request_came(self.turn.now()));
            }
            match polled {
                Poll::Pending => {
                    let timing = &mut stream.chain.exchange.timing;
                    if timing.upstream_sent_first.is_none() && upstream.writer.has_written() {
                        timing.upstream_sent_first = Some(self.turn.now());
                    }
                    let is_here =
                        pump.is_whole() || stream.chain.exchange.timing.request_received.is_some();
                    if is_owed && !is_here && stream.reader.has_lost_peer() {
                        return Err(Kind::DownstreamClosed.into());
                    }
                    return left_by_client(cx, stream, is_here, is_stopped || pump.is_cut());
                }
                Poll::Ready(Ok(())) => {
                    let now = self.turn.now();
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
                Poll::Ready(Err(PumpError::Write(WriteError::Length))) => {
                    return Err(Kind::LengthChanged(Direction::Request).into());
                }
                Poll::Ready(Err(PumpError::Write(_))) => self.upload = Upload::Broken,
                Poll::Ready(Err(PumpError::Filter(error))) => return Err(error),
            }
        }
        Ok(())
    }

    /// Looks whether an attempt that had taken too long has its answer now. Then it takes the place of
    /// this one.
    fn poll_beside(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream<'_, '_>,
        upstream: &mut UpstreamSide<'_>,
    ) {
        let Some(mut beside) = self.attempts.beside.take() else {
            return;
        };
        let index = self.around.worker.index;
        let group = stream.group.map(|group| group.shard(index));
        let jury = self.attempts.jury(self.stats, group, stream.chain.exchange);
        // Whether one has won is asked next; this attempt is there, so it is not the last.
        let _ready = beside.poll(cx, false, &jury);
        if let Some(winner) = beside.take_winner() {
            let exchange = &mut *stream.chain.exchange;
            self.attempts
                .end_retries(&winner, exchange, self.around.worker);
            self.attempts.record.carried = upstream.carried();
            beside.overtake(Apart::of(exchange, &mut self.attempts.record));
            let (side, came) = winner.into_exchange(exchange, &mut self.attempts.record);
            *upstream = side;
            self.upload = Upload::Done;
            self.begun = Some(came);
        }
        self.attempts.beside = Some(beside);
    }

    /// One step of the response. Ready when there may be another.
    fn poll_download(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream<'_, '_>,
        limits: &mut Deadlines,
        upstream: &mut UpstreamSide<'_>,
    ) -> Result<Poll<()>, Error> {
        if upstream.interim && matches!(self.download, Download::Head | Download::Whole { .. }) {
            flush_interim(cx, stream)?;
        }
        match &mut self.download {
            Download::Head => return self.poll_answer(cx, stream, limits, upstream),
            Download::Whole { slot, content } => {
                let Some(reader) = &mut upstream.reader else {
                    return Ok(Poll::Pending);
                };
                let limit = self.around.listener.buffer_limit;
                let trailers = stream.chain.trailers_mut(Direction::Response);
                let Poll::Ready(frame) = reader.poll_frame(cx, trailers) else {
                    return Ok(Poll::Pending);
                };
                limits.active(self.turn.now());
                let has_trailers = match frame.map_err(|error| Error::of_response_body(&error))? {
                    Frame::Data(data) if content.len() + data.len() > limit => {
                        return Err(Kind::ResponseTooLarge.into());
                    }
                    Frame::Data(data) => {
                        content.extend_from_slice(&data);
                        self.attempts.record.sizes.received = content.len() as u64;
                        return Ok(Poll::Ready(()));
                    }
                    Frame::End => false,
                    Frame::Trailers => true,
                };
                stream.chain.join_trailers(Direction::Response);
                let whole = Whole {
                    content: content.split().freeze(),
                    has_trailers,
                };
                let slot = *slot;
                self.download = self.body_came(stream, slot, whole)?;
            }
            Download::Body(pump) => {
                let Some(reader) = &mut upstream.reader else {
                    return Ok(Poll::Pending);
                };
                let Some(writer) = stream.down.writer() else {
                    return Ok(Poll::Pending);
                };
                let (before, was_whole) = (pump.moved(), pump.is_whole());
                let polled = pump.pump(cx, reader, writer, &mut stream.chain, None);
                self.attempts.record.sizes.note_received(pump.content());
                let is_stopped = polled.is_pending() && pump.is_stopped(writer);
                self.flow.note_down(is_stopped);
                let is_cut = matches!(polled, Poll::Ready(Err(PumpError::Read(_))));
                let became_whole = !was_whole && pump.is_whole() && !is_cut;
                if pump.moved() != before {
                    let now = self.turn.now();
                    if pump.has_read_all() {
                        limits.response_ended(now);
                    } else {
                        limits.active(now);
                    }
                    if became_whole {
                        self.response_came(stream, now);
                    }
                }
                match polled {
                    Poll::Pending if is_stopped => {
                        self.left_by_upstream(cx, stream, upstream)?;
                        return Ok(Poll::Pending);
                    }
                    Poll::Pending => return Ok(Poll::Pending),
                    Poll::Ready(Ok(())) => self.download = Download::Ended,
                    Poll::Ready(Err(PumpError::Read(error))) => {
                        return Err(broken_off(stream, &error));
                    }
                    Poll::Ready(Err(PumpError::Write(error))) => {
                        return Err(Error::of_response_write(&error));
                    }
                    Poll::Ready(Err(PumpError::Filter(error))) => return Err(error),
                }
            }
            Download::Ended | Download::Over(_) => {}
        }
        Ok(Poll::Ready(()))
    }

    /// Looks whether an HTTP/2 upstream has given up a stream that nothing is read from, because the client
    /// takes nothing. Where all of its response has come before that, the client gets it, and else over HTTP/2 what
    /// it has room for.
    fn left_by_upstream(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream<'_, '_>,
        upstream: &mut UpstreamSide<'_>,
    ) -> Result<(), Error> {
        let (Download::Body(pump), Some(reader)) = (&mut self.download, &mut upstream.reader)
        else {
            return Ok(());
        };
        if upstream.writer.poll_reset(cx).is_ready()
            && let Some(fault) = reader.fault(cx)
        {
            if let Some(writer @ Writer::H2(_)) = stream.down.writer() {
                pump.take_rest(cx, reader, writer, &mut stream.chain)?;
            }
            return Err(broken_off(stream, &fault));
        }
        Ok(())
    }

    /// The response's head, once it is there. Ready when there may be more.
    fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream<'_, '_>,
        limits: &mut Deadlines,
        upstream: &mut UpstreamSide<'_>,
    ) -> Result<Poll<()>, Error> {
        let exchange = &mut *stream.chain.exchange;
        let came = match self.begun.take() {
            Some(came) => came,
            None => match upstream.poll_head(cx, &mut exchange.response) {
                Poll::Ready(came) => came.map_err(Error::from)?,
                Poll::Pending => return Ok(Poll::Pending),
            },
        };
        let answer = match came {
            Came::Final(answer) => answer,
            Came::Interim(status) => {
                limits.active(self.turn.now());
                // It has answered: no other is asked.
                limits.answered();
                return self.interim_came(stream, status);
            }
        };
        if upstream.asked.is_for_upgrade()
            && let (Writer::H2(_), Some(kind)) =
                (&upstream.writer, exchange.request.known(Known::Upgrade))
        {
            h2_glue::switch_from_connect(kind, &mut exchange.response);
        }
        if upstream.asked.is_for_head_alone() && stream.incoming.method != MethodKind::Head {
            // A filter has made it a HEAD: of what the answer would have been nothing comes.
            exchange.response.remove_known(Known::ContentLength);
        }
        if self
            .attempts
            .cluster
            .sizes(self.around.worker.index)
            .is_some()
        {
            let is_http1 = exchange.upstream.protocol == Some(Protocol::Http11);
            let sizes = &mut self.attempts.record.sizes;
            sizes.note_head(&stream.chain.exchange.response, answer.body, is_http1);
        }
        if upstream_log::are_wanted(stream.around) {
            let head = stream.chain.exchange.response.clone();
            self.attempts.record.answered = Some(Box::new(head));
        }
        let now = self.turn.now();
        limits.active(now);
        limits.answered();
        self.answer = Some(answer);
        let timing = &mut stream.chain.exchange.timing;
        timing.upstream_received_first = Some(now);
        timing.upstream_received = answer.is_empty.then_some(now);
        if matches!(self.upload, Upload::Held) && stream.reader.has_come_whole(cx) {
            // A tunnel whose client has ended its side already.
            timing.request_received = Some(timing.started);
        }
        if let Some(instead) = self.instead(stream, upstream.interim) {
            self.download = Download::Over(instead);
            return Ok(Poll::Ready(()));
        }
        self.attempts.let_others_go();
        self.download = self.head_came(stream, answer, now)?;
        if stream.opens_tunnel() && matches!(self.download, Download::Body(_)) {
            limits.tunnel_opened();
            if stream.around.manager.early_logs.at_tunnel {
                stream.chain.log(LogType::TunnelEstablished);
            }
            // Its bytes are nothing that could be sent again.
            self.attempts.kept.forget();
            self.upload = Upload::Running(begin_upload(stream, self.attempts));
            self.poll_upload(cx, stream, limits, upstream)?;
        }
        Ok(Poll::Ready(()))
    }

    /// An interim response is there.
    fn interim_came(
        &mut self,
        stream: &mut Stream<'_, '_>,
        status: u16,
    ) -> Result<Poll<()>, Error> {
        self.attempts.let_others_go();
        self.interims = self.interims.saturating_add(1);
        stream.pass_interim(self.stats, status, self.interims)?;
        Ok(Poll::Ready(()))
    }

    /// What happens in place of passing the response on whose head is there, if something does.
    fn instead(&mut self, stream: &mut Stream<'_, '_>, interim: bool) -> Option<Ended> {
        let exchange = &mut *stream.chain.exchange;
        exchange.status = status_of(&exchange.response);
        self.attempts.judge(exchange);
        self.attempts.note_interim(interim);
        let instead = self.attempts.after_head(exchange, self.around.worker);
        instead.or_else(|| self.follow_redirect(stream).map(Ended::Redirected))
    }

    /// The request that follows the response, where that is a redirect that is followed here.
    fn follow_redirect(&self, stream: &mut Stream<'_, '_>) -> Option<Followed> {
        let redirects = self.attempts.redirects(stream.chain.exchange.status)?;
        // A tunnel has no end that would be there.
        let has_all = stream.tunnel.is_none()
            && stream.has_whole_request()
            && (!stream.incoming.has_body || self.attempts.kept.is_whole());
        let leads = stream.chain.exchange.response.has(Known::Location);
        let followed = if has_all && leads {
            stream.redirect(redirects)
        } else {
            None
        };
        if followed.is_some() {
            self.stats.upstream_internal_redirect_succeeded_total.inc();
        } else {
            self.stats.upstream_internal_redirect_failed_total.inc();
        }
        followed
    }

    /// The head of the response is there: statistics, hygiene, the route's mutations, the filters.
    fn head_came(
        &mut self,
        stream: &mut Stream<'_, '_>,
        answer: Answer,
        now: Instant,
    ) -> Result<Download, Error> {
        let exchange = &mut *stream.chain.exchange;
        exchange.details = Some("via_upstream".into());
        hygiene::end_of_hop_in_response(&mut exchange.response, exchange.status == 101);
        // Over HTTP/2 any other answer is one like that to an ordinary request, as in Envoy.
        let refused = stream.tunnel == Some(Tunnel::WebSocket)
            && exchange.upstream.protocol != Some(Protocol::Http2)
            && exchange.status != 101
            && exchange.status < 400;
        if refused {
            let reply = unswitched(exchange.status, &exchange.response);
            return Ok(Download::Over(Ended::Replaced(Box::new(reply))));
        }
        let index = self.around.worker.index;
        let group = stream.group.map(|group| group.shard(index));
        count_response(self.stats, group, exchange, exchange.status);
        let took = took(exchange, stream.begun, now);
        let mut room = [0; 20];
        let took = decimal(took, &mut room);
        let shown = self.around.manager.envoy_headers == EnvoyHeaders::Add;
        if shown && exchange.timing.request_received.is_some() {
            exchange
                .response
                .set_known(Known::XEnvoyUpstreamServiceTime, took);
        }
        for cookie in &stream.cookies {
            exchange.response.append_known(Known::SetCookie, cookie);
        }
        if let Some(route) = stream.route {
            let pick = stream.pick;
            let worker = self.around.worker;
            worker.with_scratch(|scratch| route.finalize_response(exchange, pick, scratch));
        }
        // As in Envoy the route's changes leave it alone.
        self.attempts.tell_client(exchange);
        // What comes behind a head that has no body is nobody's; where the upstream has said so it has to
        // end there.
        let end = answer.is_empty || (stream.is_bodiless() && !answer.is_bare);
        if end {
            self.response_came(stream, now);
        }
        match stream.chain.response(stream.chain.len(), end, None)? {
            Walk::Done => {
                let body = still(answer.body, &stream.chain.exchange.response);
                // A filter may have made it such a head.
                let behind = match (stream.is_bodiless(), answer.is_bare) {
                    _ if end => Behind::Nothing,
                    (false, _) => Behind::Content,
                    (true, true) => Behind::End,
                    (true, false) => Behind::Nothing,
                };
                begin_response(stream, body, behind, self.now_behind(stream))?;
                Ok(Download::Body(match behind {
                    Behind::Nothing => Pump::flushing(Direction::Response),
                    Behind::End | Behind::Content => {
                        Pump::response(&mut stream.chain, self.around.listener.buffer_limit)
                    }
                }))
            }
            Walk::NeedBody { slot } => Ok(Download::Whole {
                slot,
                content: BytesMut::new(),
            }),
            Walk::Reply(reply) => Ok(Download::Over(Ended::Replaced(reply))),
        }
    }

    /// The time behind the filters of a response, which may have taken some.
    fn now_behind(&mut self, stream: &Stream<'_, '_>) -> Instant {
        if stream.chain.len() > 1 {
            self.turn.begin();
        }
        self.turn.now()
    }

    /// All of the response is there: how long it took is known. Envoy does not say so of one that came
    /// before the request's end.
    fn response_came(&self, stream: &mut Stream<'_, '_>, now: Instant) {
        let exchange = &mut *stream.chain.exchange;
        exchange.timing.upstream_received = Some(now);
        let index = self.around.worker.index;
        let took = took(exchange, stream.begun, now);
        if stream.tunnel.is_none() {
            let (cluster, limit) = (self.attempts.cluster, self.attempts.times.total);
            tracked::count_request(cluster, index, took.into(), limit);
        }
        if exchange.timing.request_received.is_some() {
            let group = stream.group.map(|group| group.shard(index));
            count_time(self.stats, group, exchange, took);
        }
    }

    /// The whole body that a filter asked for is there.
    fn body_came(
        &mut self,
        stream: &mut Stream<'_, '_>,
        slot: usize,
        mut whole: Whole,
    ) -> Result<Download, Error> {
        let now = self.turn.now();
        self.response_came(stream, now);
        if let Walk::Reply(reply) = stream.chain.response_with_body(slot, &mut whole)? {
            return Ok(Download::Over(Ended::Replaced(reply)));
        }
        let length = whole.content.len() as u64;
        let source =
            if whole.has_trailers || !stream.chain.exchange.response.has(Known::ContentLength) {
                BodyLength::Chunked
            } else {
                BodyLength::Length(length)
            };
        let bodiless = stream.is_bodiless();
        let behind = if source.is_empty() {
            Behind::Nothing
        } else {
            Behind::Content
        };
        begin_response(stream, source, behind, self.now_behind(stream))?;
        let pump = match stream.down.writer() {
            Some(writer) if !bodiless => Pump::whole(whole, writer, &mut stream.chain),
            _ => Pump::flushing(Direction::Response),
        };
        Ok(Download::Body(pump))
    }
}

/// How long the upstream has taken until now, in ms, for the request that began then.
fn took(exchange: &Exchange, begun: Instant, now: Instant) -> u64 {
    let timing = &exchange.timing;
    let since = timing.request_received.unwrap_or(timing.started).max(begun);
    u64::try_from(now.saturating_duration_since(since).as_millis()).unwrap_or(u64::MAX)
}

/// Sends the head of a request whose body waits until the upstream has opened the tunnel.
fn poll_held(
    cx: &mut Context<'_>,
    stream: &mut Stream<'_, '_>,
    upstream: &mut UpstreamSide<'_>,
) -> Result<(), Error> {
    let flushed = upstream.writer.poll_flush(cx);
    if let Poll::Ready(kind) = stream.down.poll_closed(cx, &mut stream.reader) {
        return Err(kind.into());
    }
    if let Poll::Ready(Ok(())) = flushed {
        let timing = &mut stream.chain.exchange.timing;
        timing.upstream_sent_first.get_or_insert_with(clock::now);
    }
    Ok(())
}

/// Looks whether the client is gone before the upstream has taken what has come of the request.
fn left_by_client(
    cx: &mut Context<'_>,
    stream: &mut Stream<'_, '_>,
    is_here: bool,
    is_stopped: bool,
) -> Result<(), Error> {
    let left = if is_here {
        stream.down.poll_closed(cx, &mut stream.reader)
    } else if is_stopped {
        stream.down.poll_broken(cx, &mut stream.reader)
    } else {
        Poll::Pending
    };
    match left {
        Poll::Ready(kind) => Err(kind.into()),
        Poll::Pending => Ok(()),
    }
}

/// The error of a response that has no end.
fn broken_off(stream: &Stream<'_, '_>, error: &ReadError) -> Error {
    match error {
        ReadError::Closed if stream.opens_tunnel() => Kind::UpstreamClosed.into(),
        error => Error::of_response_body(error),
    }
}

/// How a body is framed once the filters have seen the head: one that took the length out is going to
/// change it.
fn still(body: BodyLength, response: &Headers) -> BodyLength {
    match body {
        BodyLength::Length(1..) if !response.has(Known::ContentLength) => BodyLength::Chunked,
        body => body,
    }
}

/// Sends what the client could not take yet of an interim response.
fn flush_interim(cx: &mut Context<'_>, stream: &mut Stream<'_, '_>) -> Result<(), Error> {
    if let Some(writer) = stream.down.writer()
        && let Poll::Ready(Err(error)) = writer.poll_flush(cx)
    {
        return Err(Error::of_response_write(&error));
    }
    Ok(())
}

/// Sends the response's head downstream, and with it the end where nothing is `behind` it.
fn begin_response(
    stream: &mut Stream<'_, '_>,
    body: BodyLength,
    behind: Behind,
    now: Instant,
) -> Result<(), Error> {
    let close = stream.must_close();
    stream.ended = if close {
        stream::Ended::Close
    } else {
        stream::Ended::Reusable
    };
    let framing = stream.framing(body);
    // A tunnel is not announced to be closed.
    let says_close = close && !stream.opens_tunnel();
    stream.send_head(framing, (says_close, behind), now)
}

/// What a client gets for a WebSocket that the upstream has answered as any other request: Envoy
/// passes the head on, without what described the body.
fn unswitched(status: u16, response: &Headers) -> Reply {
    let mut reply = Reply::new(status, "websocket_handshake_unsuccessful");
    for field in response.iter() {
        let left_out = field
            .known
            .is_some_and(|known| known.is_pseudo() || known == Known::ContentLength);
        if left_out {
            continue;
        }
        if let Ok(name) = Name::parse(field.name) {
            reply = reply.header(name, field.value);
        }
    }
    reply
}
