//! The HTTP/1 request of a health check.
//!
//! Owns the connection to one endpoint's health check address, kept from check to check where the
//! settings say so. A check costs a write and a read and no allocation: the request is written down
//! once for all endpoints, and what an answer is read with is lent. Called by `health::watch`, which
//! limits the time. Does not own: the syntax (`h1`), or what a result means (`state`).

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;

use ::http::header::CONTENT_LENGTH;
use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::has_ended;
use super::http::{Answer, Body, CLUSTER, DEGRADED, fields, no_answer};
use super::state::Verdict;
use crate::h1::body::{BodyError, Decoded, Decoder};
use crate::h1::encode::announces_no_body;
use crate::h1::head::{BadResponse, HeadParser, ResponseHead};
use crate::h1::{HeadLimits, MethodKind, ResponseRules};
use crate::headers::Headers;
use crate::limits;
use crate::socket::Socket;
use crate::tls::Inside;
use crate::upstream::connect::Target;
use crate::upstream::spec::HttpProbe;

/// What all endpoints of a cluster are asked.
pub(super) struct Question {
    check: HttpProbe,
    method: MethodKind,
    bytes: Vec<u8>,
    reuse: bool,
}

/// What an answer is read with, lent to one at a time. Those that come in pieces may need others.
#[derive(Default)]
pub(super) struct Desks(Cell<Option<Box<Desk>>>);

#[derive(Default)]
struct Desk {
    parser: HeadParser,
    head: Headers,
    read: BytesMut,
    trailers: Headers,
}

/// Asks one endpoint how it is, by HTTP/1.
pub(super) struct Http1Prober {
    question: Rc<Question>,
    desks: Rc<Desks>,
    target: Target,
    connection: Option<Socket>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("connecting")]
    Connect(#[source] io::Error),
    #[error("asking on a kept connection")]
    AskAgain(#[source] io::Error),
    #[error("asking")]
    Ask(#[source] io::Error),
    #[error("reading the answer")]
    Read(#[source] io::Error),
    #[error("reading the answer's head")]
    Head(#[from] BadResponse),
    #[error("reading the answer's body")]
    Body(#[from] BodyError),
}

impl Question {
    /// The request of `check`; `reuse` says whether connections are kept.
    pub(super) fn new(check: HttpProbe, reuse: bool) -> Self {
        let method = check.method.as_str();
        let mut fields = fields(&check, Some(&check.host));
        if !check.send.is_empty() || announces_no_body(method.as_bytes()) {
            fields.insert(CONTENT_LENGTH, check.send.len().into());
        }
        let mut bytes = format!("{method} {} HTTP/1.1\r\n", check.path).into_bytes();
        for (name, value) in &fields {
            bytes.extend_from_slice(name.as_str().as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&check.send);
        Self {
            method: MethodKind::of(method.as_bytes()),
            check,
            bytes,
            reuse,
        }
    }
}

impl Desks {
    fn take(&self) -> Box<Desk> {
        self.0.take().unwrap_or_default()
    }

    fn put(&self, mut desk: Box<Desk>) {
        if desk.read.capacity() <= limits::IDLE_BUFFER_BYTES {
            desk.read.clear();
            self.0.set(Some(desk));
        }
    }
}

impl Http1Prober {
    /// Will ask `question` at `target`.
    pub(super) const fn new(question: Rc<Question>, desks: Rc<Desks>, target: Target) -> Self {
        Self {
            question,
            desks,
            target,
            connection: None,
        }
    }

    /// Asks once.
    pub(super) async fn probe(&mut self) -> Verdict {
        if self.connection.as_mut().is_some_and(has_ended) {
            // The endpoint closed a kept connection meanwhile, as it may: that says nothing.
            self.disconnect();
        }
        let mut result = self.ask().await;
        if matches!(result, Err(Error::AskAgain(_))) {
            // The same, seen a little later.
            result = self.ask().await;
        }
        result.unwrap_or_else(|error| no_answer(&self.target, &error))
    }

    /// Closes the connection.
    pub(super) fn disconnect(&mut self) {
        self.connection = None;
    }

    /// The connection that is kept.
    pub(super) const fn kept(&mut self) -> Option<&mut Socket> {
        self.connection.as_mut()
    }

    /// Asks, and keeps the connection if it can carry another question.
    async fn ask(&mut self) -> Result<Verdict, Error> {
        let question = &*self.question;
        let kept = self.connection.take();
        let failed = if kept.is_some() {
            Error::AskAgain
        } else {
            Error::Ask
        };
        let mut socket = match kept {
            Some(socket) => socket,
            // Most checks need no connection, and no room for how one is made.
            None => Box::pin(self.target.connect(Inside::Http1))
                .await
                .map_err(Error::Connect)?,
        };
        socket.write_all(&question.bytes).await.map_err(failed)?;
        socket.flush().await.map_err(Error::Ask)?;
        poll_fn(|cx| socket.poll_read_ready(cx))
            .await
            .map_err(Error::Read)?;
        let mut desk = self.desks.take();
        let (verdict, is_reusable) = desk.answer(&mut socket, question).await?;
        self.desks.put(desk);
        if question.reuse && is_reusable {
            self.connection = Some(socket);
        }
        Ok(verdict)
    }
}

impl Desk {
    /// What the answer says, and whether another can follow it.
    async fn answer(
        &mut self,
        socket: &mut Socket,
        question: &Question,
    ) -> Result<(Verdict, bool), Error> {
        let head = self.head(socket, question.method).await?;
        let mut body = Body::new(&question.check);
        let is_whole = self.body(socket, head, &mut body).await?;
        let of_name = |name: &str| {
            let mut fields = self.head.iter();
            let found = fields.find(|field| field.name == name.as_bytes());
            found.map(|field| field.value)
        };
        let answer = Answer {
            status: head.status,
            cluster: of_name(CLUSTER).unwrap_or_default(),
            is_degraded: of_name(DEGRADED).is_some(),
        };
        let verdict = answer.verdict(&question.check, body.seen());
        // After 101 the connection is another protocol's.
        let is_http = head.status != 101 && head.keep_alive;
        let is_reusable = is_whole && is_http && self.read.is_empty();
        Ok((verdict, is_reusable))
    }

    /// Reads the head of the last response; others only announce it.
    async fn head(
        &mut self,
        socket: &mut Socket,
        method: MethodKind,
    ) -> Result<ResponseHead, Error> {
        loop {
            let (parser, rules) = (&mut self.parser, ResponseRules::default());
            let parsed = parser.response(&self.read, rules, method, &mut self.head)?;
            match parsed {
                Some(head) => {
                    self.read.advance(head.consumed);
                    if head.status == 101 || head.status >= 200 {
                        return Ok(head);
                    }
                }
                None => self.fill(socket).await?,
            }
        }
    }

    /// Reads the body; whether it came to its end.
    async fn body(
        &mut self,
        socket: &mut Socket,
        head: ResponseHead,
        body: &mut Body,
    ) -> Result<bool, Error> {
        let mut decoder = Decoder::new(head.body, HeadLimits::RESPONSE);
        loop {
            match decoder.decode(&mut self.read, &mut self.trailers)? {
                Decoded::Data(data) if !body.take(&data) => return Ok(false),
                Decoded::Data(_) => {}
                Decoded::Trailers | Decoded::End => return Ok(true),
                Decoded::NeedMore => match self.fill(socket).await {
                    Err(Error::Read(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                        return Ok(decoder.finish().map(|()| true)?);
                    }
                    filled => filled?,
                },
            }
        }
    }

    /// Reads some more.
    async fn fill(&mut self, socket: &mut Socket) -> Result<(), Error> {
        self.read.reserve(limits::HEALTH_CHECK_READ_BYTES);
        match socket.read_buf(&mut self.read).await {
            Ok(0) => Err(Error::Read(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => Ok(()),
            Err(error) => Err(Error::Read(error)),
        }
    }
}
