//! An attempt in a task of its own, so that others can run beside it (`hedge_policy`).
//!
//! Owns the connection of that attempt, and the two bounded queues between its task and the stream's:
//! the request's body one way, heads and body of the response the other. On the stream's side it looks
//! like any other upstream ([`UpstreamSide`]); letting go of that ends the attempt. Made by
//! [`super::hedge`] for requests that may be hedged, and for no others. Does not own which attempt
//! wins (`hedge` too).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::task::AbortHandle;

use super::attempts::judged;
use super::error::{Error, Kind};
use super::forward::{open_http1, open_http2};
use super::io::{Frame, ReadError, Reader, WriteError, Writer};
use super::pump::Direction;
use super::side::{Answer, Asked, Await, Came, UpstreamSide, cut, status_of, stream_end};
use crate::exchange::Carried;
use crate::h1::ResponseRules;
use crate::headers::Headers;
use crate::limits;
use crate::upstream::{Cluster, Endpoint, Lease, Outcome, Release, StreamEnd};

/// A piece of the request's body.
enum Piece {
    Data(Bytes),
    End(Option<Box<Headers>>),
}

/// What came of the response.
enum Event {
    Head(Came, Box<Headers>),
    Data(Bytes),
    End(Option<Box<Headers>>),
    /// There will be no head.
    Failed(Kind),
    /// The body breaks off.
    Broken(ReadError),
}

/// A queue that is full once it holds [`limits::RELAY_BYTES`].
struct Queue<T> {
    items: VecDeque<T>,
    bytes: usize,
}

impl<T> Queue<T> {
    const fn has_room(&self) -> bool {
        self.bytes < limits::RELAY_BYTES
    }

    fn push(&mut self, item: T, bytes: usize) {
        self.items.push_back(item);
        self.bytes += bytes;
    }

    fn pop(&mut self, bytes: impl FnOnce(&T) -> usize) -> Option<T> {
        let item = self.items.pop_front()?;
        self.bytes -= bytes(&item);
        Some(item)
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            items: VecDeque::new(),
            bytes: 0,
        }
    }
}

impl Piece {
    const fn len(&self) -> usize {
        match self {
            Self::Data(data) => data.len(),
            Self::End(_) => 0,
        }
    }
}

impl Event {
    fn len(&self) -> usize {
        match self {
            Self::Data(data) => data.len(),
            Self::Head(_, head) => head.byte_size(),
            Self::End(_) | Self::Failed(_) | Self::Broken(_) => 0,
        }
    }
}

/// Who is woken when something was put into a queue, or taken out of it.
#[derive(Default)]
struct Sleeper(Cell<Option<Waker>>);

impl Sleeper {
    fn sleep(&self, cx: &Context<'_>) {
        self.0.set(Some(cx.waker().clone()));
    }

    fn wake(&self) {
        if let Some(waker) = self.0.take() {
            waker.wake();
        }
    }
}

/// What the attempt's task and the stream's share.
struct Between {
    cluster: Arc<Cluster>,
    endpoint: Arc<Endpoint>,
    /// Whether it is known what became of the request.
    recorded: Cell<bool>,
    up: RefCell<Queue<Piece>>,
    down: RefCell<Queue<Event>>,
    /// Whether the upstream may have seen any of the request.
    sent: Cell<bool>,
    /// Whether the try has taken too long, and goes on all the same.
    late: Cell<bool>,
    /// What went over the wire so far; none over HTTP/2.
    carried: Cell<Option<Carried>>,
    task: Sleeper,
    stream: Sleeper,
}

impl Between {
    fn new(cluster: &Arc<Cluster>, endpoint: &Arc<Endpoint>) -> Self {
        Self {
            cluster: Arc::clone(cluster),
            endpoint: Arc::clone(endpoint),
            recorded: Cell::default(),
            up: RefCell::default(),
            down: RefCell::default(),
            sent: Cell::default(),
            late: Cell::default(),
            carried: Cell::new(Some(Carried::default())),
            task: Sleeper::default(),
            stream: Sleeper::default(),
        }
    }

    /// Counts what became of the request, once. Outlier detection has been told of one that was late.
    fn record(&self, outcome: Outcome) {
        if self.recorded.replace(true) {
            return;
        }
        if self.late.get() {
            self.cluster.record_late(&self.endpoint, outcome);
        } else {
            self.cluster.record(&self.endpoint, outcome);
        }
    }

    fn tell(&self, event: Event) {
        let bytes = event.len();
        self.down.borrow_mut().push(event, bytes);
        self.stream.wake();
    }
}

/// The stream's end of an attempt.
pub(super) struct Relay {
    between: Rc<Between>,
    task: AbortHandle,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Relay {
    /// Notes that the try has taken too long, and goes on all the same.
    pub(super) fn note_late(&self) {
        self.between.late.set(true);
    }

    /// Notes that the time of the whole request is over.
    pub(super) fn note_timeout(&self) {
        self.between.record(Outcome::Timeout);
    }

    /// The next head of the response, in place of `into`.
    pub(super) fn poll_head(
        &self,
        cx: &Context<'_>,
        into: &mut Headers,
    ) -> Poll<Result<Came, Kind>> {
        let event = self.between.down.borrow_mut().pop(Event::len);
        self.between.task.wake();
        match event {
            Some(Event::Head(came, head)) => {
                *into = *head;
                Poll::Ready(Ok(came))
            }
            Some(Event::Failed(kind)) => Poll::Ready(Err(kind)),
            // Nothing else comes before the final head, and nobody asks behind it.
            Some(Event::Data(_) | Event::End(_) | Event::Broken(_)) => {
                Poll::Ready(Err(Kind::UpstreamProtocol))
            }
            None => {
                self.between.stream.sleep(cx);
                Poll::Pending
            }
        }
    }
}

/// Where the response's body comes from.
pub(crate) struct RelayReader {
    relay: Rc<Relay>,
    at_end: bool,
}

impl RelayReader {
    pub(super) fn poll_frame(
        &mut self,
        cx: &Context<'_>,
        trailers: &mut Headers,
    ) -> Poll<Result<Frame, ReadError>> {
        let between = &self.relay.between;
        let event = between.down.borrow_mut().pop(Event::len);
        between.task.wake();
        Poll::Ready(match event {
            Some(Event::Data(data)) => Ok(Frame::Data(data)),
            Some(Event::End(block)) => {
                self.at_end = true;
                Ok(match block {
                    Some(block) => {
                        *trailers = *block;
                        Frame::Trailers
                    }
                    None => Frame::End,
                })
            }
            Some(Event::Broken(error)) => Err(error),
            Some(Event::Head(..) | Event::Failed(_)) => Err(ReadError::Closed),
            None => {
                between.stream.sleep(cx);
                return Poll::Pending;
            }
        })
    }

    pub(super) const fn is_at_end(&self) -> bool {
        self.at_end
    }

    pub(super) fn carried(&self) -> Option<Carried> {
        self.relay.between.carried.get()
    }
}

/// Where the request's body goes.
pub(crate) struct RelayWriter(Rc<Relay>);

impl RelayWriter {
    pub(super) fn push(&self, data: Bytes) {
        let bytes = data.len();
        self.put(Piece::Data(data), bytes);
    }

    pub(super) fn push_end(&self, trailers: Option<&Headers>) {
        let trailers = trailers.map(|block| Box::new(block.clone()));
        self.put(Piece::End(trailers), 0);
    }

    fn put(&self, piece: Piece, bytes: usize) {
        let between = &self.0.between;
        between.up.borrow_mut().push(piece, bytes);
        between.task.wake();
    }

    pub(super) fn has_room(&self) -> bool {
        self.0.between.up.borrow().has_room()
    }

    pub(super) fn has_written(&self) -> bool {
        self.0.between.sent.get()
    }

    pub(super) fn carried(&self) -> Option<Carried> {
        self.0.between.carried.get()
    }

    /// Ready when more can be taken.
    pub(super) fn poll_flush(&self, cx: &Context<'_>) -> Poll<()> {
        if self.has_room() {
            return Poll::Ready(());
        }
        self.0.between.stream.sleep(cx);
        Poll::Pending
    }
}

/// A request that is about to be sent.
pub(super) struct Errand {
    pub(super) cluster: Arc<Cluster>,
    pub(super) head: Headers,
    /// An empty block, of the kind that the response's head is read into.
    pub(super) response: Headers,
    pub(super) has_body: bool,
}

/// Sends a request on a connection, in a task of its own.
pub(super) fn start(lease: Lease, errand: Errand) -> UpstreamSide<'static> {
    let between = Rc::new(Between::new(&errand.cluster, lease.endpoint()));
    let asked = Asked::of(&errand.head, None);
    let run = run(lease, errand, Rc::clone(&between));
    let task = tokio::task::spawn_local(run).abort_handle();
    let relay = Rc::new(Relay { between, task });
    UpstreamSide {
        asked,
        rules: ResponseRules::default(),
        reader: Some(Reader::Relayed(RelayReader {
            relay: Rc::clone(&relay),
            at_end: false,
        })),
        writer: Writer::Relayed(RelayWriter(Rc::clone(&relay))),
        head: Await::Relayed(relay),
        interim: false,
    }
}

async fn run(lease: Lease, mut errand: Errand, between: Rc<Between>) {
    let opening = (errand.has_body, None);
    let cluster = Arc::clone(&errand.cluster);
    match lease {
        Lease::Http1(mut lease) => {
            let opened = open_http1(lease.parts(), &mut errand.head, opening, cluster.spec());
            let Some(upstream) = opened else {
                lease.release(Release::Reuse);
                return between.tell(Event::Failed(Kind::Unencodable));
            };
            let mut talk = Talk::new(upstream, errand, &between);
            talk.until(Talk::poll_head).await;
            let read = talk.answer.is_some() && talk.until(Talk::poll_body).await;
            let release = match talk.answer {
                Some(answer) if read => answer.release(talk.has_sent(), true),
                _ => cut(talk.end),
            };
            drop(talk);
            lease.release(release);
        }
        Lease::Http2(mut lease) => {
            match open_http2(&mut lease, &errand.head, opening, cluster.spec()) {
                Ok(upstream) => {
                    let mut talk = Talk::new(upstream, errand, &between);
                    talk.until(Talk::poll_head).await;
                    let read = talk.answer.is_some() && talk.until(Talk::poll_body).await;
                    let is_whole = read && talk.has_sent();
                    let end = if is_whole { StreamEnd::Whole } else { talk.end };
                    drop(talk);
                    lease.note_end(end);
                }
                Err(error) => between.tell(Event::Failed(error.kind)),
            }
        }
        // Only for tunnels, which are not hedged.
        Lease::Raw(_) => between.tell(Event::Failed(Kind::Unencodable)),
    }
}

/// The attempt's own conversation with its upstream.
struct Talk<'a, 'io> {
    upstream: UpstreamSide<'io>,
    errand: Errand,
    between: &'a Between,
    read_all: bool,
    sent_all: bool,
    broken: bool,
    /// Whether that is because a filter has changed how long the body is.
    off: bool,
    /// How it ended that the response was not read to its end.
    end: StreamEnd,
    answer: Option<Answer>,
}

impl<'a, 'io> Talk<'a, 'io> {
    const fn new(upstream: UpstreamSide<'io>, errand: Errand, between: &'a Between) -> Self {
        Self {
            upstream,
            read_all: !errand.has_body,
            errand,
            between,
            sent_all: false,
            broken: false,
            off: false,
            end: StreamEnd::Left,
            answer: None,
        }
    }

    /// Polls until that is ready, and notes what has gone over the wire.
    async fn until<T>(&mut self, poll: fn(&mut Self, &mut Context<'_>) -> Poll<T>) -> T {
        poll_fn(|cx| {
            let polled = poll(self, cx);
            self.between.carried.set(self.upstream.carried());
            polled
        })
        .await
    }

    /// Ready once the final head is there or there will be none.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.between.task.sleep(cx);
        self.poll_up(cx);
        if self.off {
            let kind = Kind::LengthChanged(Direction::Request);
            self.between.tell(Event::Failed(kind));
            return Poll::Ready(());
        }
        loop {
            let into = &mut self.errand.response;
            let Poll::Ready(came) = self.upstream.poll_head(cx, into) else {
                return Poll::Pending;
            };
            match came {
                // More than the stream takes: it would not pass them on either.
                Ok(Came::Interim(_)) if !self.between.down.borrow().has_room() => {}
                Ok(came) => {
                    let head = Box::new(into.clone());
                    if let Came::Final(answer) = came {
                        let heads = (&self.errand.head, &*head);
                        let status = status_of(&head);
                        self.between
                            .record(judged(&self.errand.cluster, heads, status));
                        self.answer = Some(answer);
                        // What trailers are read into next.
                        into.clear();
                    }
                    self.between.tell(Event::Head(came, head));
                    if self.answer.is_some() {
                        return Poll::Ready(());
                    }
                }
                Err(kind) => {
                    self.end = stream_end(&kind);
                    self.between.record(Outcome::Reset);
                    self.between.tell(Event::Failed(kind));
                    return Poll::Ready(());
                }
            }
        }
    }

    /// Whether all of the request is with the upstream.
    const fn has_sent(&self) -> bool {
        self.sent_all && !self.broken
    }

    /// Ready once the response has ended: whether all of it was read.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        self.between.task.sleep(cx);
        self.poll_up(cx);
        if self.off {
            // Of a response to what was no whole request, too, there is no more.
            self.between.tell(Event::Broken(ReadError::Closed));
            return Poll::Ready(false);
        }
        while self.between.down.borrow().has_room() {
            let trailers = &mut self.errand.response;
            let Some(reader) = &mut self.upstream.reader else {
                return Poll::Ready(false);
            };
            let Poll::Ready(frame) = reader.poll_frame(cx, trailers) else {
                return Poll::Pending;
            };
            match frame {
                Ok(Frame::Data(data)) => self.between.tell(Event::Data(data)),
                Ok(Frame::End) => {
                    self.between.tell(Event::End(None));
                    return Poll::Ready(true);
                }
                Ok(Frame::Trailers) => {
                    let block = Box::new(trailers.clone());
                    self.between.tell(Event::End(Some(block)));
                    return Poll::Ready(true);
                }
                Err(error) => {
                    self.end = stream_end(&Error::of_response_body(&error).kind);
                    self.between.tell(Event::Broken(error));
                    return Poll::Ready(false);
                }
            }
        }
        Poll::Pending
    }

    /// Moves what is there of the request's body.
    fn poll_up(&mut self, cx: &mut Context<'_>) {
        let writer = &mut self.upstream.writer;
        while !self.sent_all {
            let mut starved = false;
            while !self.read_all && writer.has_room() {
                let piece = self.between.up.borrow_mut().pop(Piece::len);
                match piece {
                    Some(Piece::Data(data)) => writer.push_changed(data),
                    Some(Piece::End(trailers)) => {
                        self.read_all = true;
                        writer.push_end(trailers.as_deref());
                    }
                    None => {
                        starved = true;
                        break;
                    }
                }
                self.between.stream.wake();
            }
            let flushed = writer.poll_flush(cx);
            self.between.sent.set(writer.has_written());
            match flushed {
                Poll::Ready(Ok(())) if self.read_all => self.sent_all = true,
                Poll::Ready(Ok(())) if !starved => {}
                Poll::Ready(Ok(())) | Poll::Pending => break,
                Poll::Ready(Err(WriteError::Length)) => {
                    (self.sent_all, self.broken) = (true, true);
                    self.off = true;
                }
                // The answer will say why.
                Poll::Ready(Err(_)) => (self.sent_all, self.broken) = (true, true),
            }
        }
    }
}
