//! One conversation with a proxy: a client, an upstream of its own, and what each of them got.
//!
//! Owns the sockets and when a conversation is over: when its connection has ended, or when nothing has
//! moved for some time. That time is only a guess, so [`super::hunt`] looks at what differs again, with more
//! of it.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{sleep, timeout};

use super::reading::{self, End};
use super::{Answer, Case, Pieces, cut_head};

/// Between two pieces, so that they come in reads of their own.
const BETWEEN: Duration = Duration::from_millis(4);
/// How long upstream connections may take to end by themselves when their client has gone.
const ENDING: Duration = Duration::from_millis(50);
/// The request that asks, behind each generated answer, whether the upstream connection was left clean.
const PROBE: &[u8] = b"GET /probe HTTP/1.1\r\nHost: p\r\n\r\n";
const PROBE_PATH: &[u8] = b"GET /probe ";
const PROBE_ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nprobe";

/// How a client's connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It did not.
    Open,
    /// In order.
    Closed,
    /// With a reset.
    Reset,
}

/// What a client got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// What followed them.
    pub ending: Ending,
}

/// All that is seen of a case at one proxy.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What the client got.
    pub client: Heard,
    /// What came over each upstream connection.
    pub upstream: Vec<Vec<u8>>,
    /// How often the upstream was asked for the generated answer.
    pub asked: usize,
    /// What the probe got, where there was one, and whether its connection had carried a request before.
    pub probe: Option<(Heard, bool)>,
}

/// A lane of one proxy.
#[derive(Debug)]
pub(super) struct Lane(Rc<State>);

#[derive(Debug)]
struct State {
    last: Cell<Instant>,
    moved: Notify,
    answer: RefCell<Option<Answer>>,
    connections: RefCell<Vec<Vec<u8>>>,
    tasks: RefCell<Vec<JoinHandle<()>>>,
    live: Cell<usize>,
    asked: Cell<usize>,
    probe_was_second: Cell<bool>,
    served: Cell<usize>,
}

impl Lane {
    /// Listens for the proxy.
    pub(super) async fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind(upstream).await.expect("the port is free");
        let state = Rc::new(State {
            last: Cell::new(Instant::now()),
            moved: Notify::new(),
            answer: RefCell::default(),
            connections: RefCell::default(),
            tasks: RefCell::default(),
            live: Cell::new(0),
            asked: Cell::new(0),
            probe_was_second: Cell::new(false),
            served: Cell::new(0),
        });
        let accepting = Rc::clone(&state);
        spawn_local(async move {
            while let Ok((socket, _)) = listener.accept().await {
                accepting.serve(socket);
            }
        });
        Self(state)
    }

    /// Plays a case against the proxy that listens at `address`. It is over when nothing has moved for
    /// `quiet`.
    pub(super) async fn play(&self, address: SocketAddr, case: &Case, quiet: Duration) -> Seen {
        let state = &self.0;
        state.answer.replace(case.answer.clone());
        let client = state.talk(address, &case.client, quiet, |_| false).await;
        let probe = if case.answer.is_some() {
            let is_whole = |bytes: &[u8]| bytes.ends_with(b"probe");
            let heard = state
                .talk(address, &vec![PROBE.to_vec()], quiet * 3, is_whole)
                .await;
            Some((heard, state.probe_was_second.take()))
        } else {
            None
        };
        state.clean().await;
        Seen {
            client,
            upstream: state.connections.take(),
            asked: state.asked.take(),
            probe,
        }
    }
}

impl State {
    fn touch(&self) {
        self.last.set(Instant::now());
        self.moved.notify_one();
    }

    async fn talk(
        &self,
        address: SocketAddr,
        pieces: &Pieces,
        quiet: Duration,
        is_whole: fn(&[u8]) -> bool,
    ) -> Heard {
        let socket = TcpStream::connect(address)
            .await
            .expect("the proxy listens");
        let _best_effort = socket.set_nodelay(true);
        self.touch();
        let (mut reader, mut writer) = socket.into_split();
        let heard = Rc::new(RefCell::new(Heard {
            bytes: Vec::new(),
            ending: Ending::Open,
        }));
        let hearing = Rc::clone(&heard);
        let moved = Rc::new(Notify::new());
        let moving = Rc::clone(&moved);
        let last = Rc::new(Cell::new(Instant::now()));
        let lasting = Rc::clone(&last);
        let reading = spawn_local(async move {
            let mut buffer = vec![0; 16 * 1024];
            loop {
                let ending = match reader.read(&mut buffer).await {
                    Ok(0) => Ending::Closed,
                    Ok(count) => {
                        hearing
                            .borrow_mut()
                            .bytes
                            .extend_from_slice(&buffer[..count]);
                        Ending::Open
                    }
                    Err(_) => Ending::Reset,
                };
                hearing.borrow_mut().ending = ending;
                lasting.set(Instant::now());
                moving.notify_one();
                if ending != Ending::Open {
                    return;
                }
            }
        });
        for (at, piece) in pieces.iter().enumerate() {
            if at > 0 {
                sleep(BETWEEN).await;
            }
            if writer.write_all(piece).await.is_err() {
                break;
            }
            self.touch();
        }
        loop {
            {
                let heard = heard.borrow();
                if heard.ending != Ending::Open || is_whole(&heard.bytes) {
                    break;
                }
            }
            let since = self.last.get().max(last.get()).elapsed();
            let Some(left) = quiet.checked_sub(since) else {
                break;
            };
            let _either = timeout(left, moved.notified()).await;
        }
        reading.abort();
        let _gone = reading.await;
        drop(writer);
        heard.replace(Heard {
            bytes: Vec::new(),
            ending: Ending::Open,
        })
    }

    /// Lets upstream connections end by themselves, then ends them.
    async fn clean(&self) {
        let deadline = Instant::now() + ENDING;
        while self.live.get() > 0 {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                break;
            };
            let _either = timeout(left, self.moved.notified()).await;
        }
        let ended = self.live.replace(0);
        for task in self.tasks.take() {
            task.abort();
            let _gone = task.await;
        }
        if ended > 0 {
            // The proxy hears of it before it is asked again.
            sleep(BETWEEN).await;
        }
        self.served.set(0);
    }

    fn serve(self: &Rc<Self>, mut socket: TcpStream) {
        let state = Rc::clone(self);
        let number = {
            let mut connections = state.connections.borrow_mut();
            connections.push(Vec::new());
            connections.len() - 1
        };
        self.live.set(self.live.get() + 1);
        self.touch();
        let task = spawn_local(async move {
            let _best_effort = socket.set_nodelay(true);
            let mut buffer = vec![0; 16 * 1024];
            let mut upstream = Upstream::default();
            while let Ok(count @ 1..) = socket.read(&mut buffer).await {
                state.touch();
                state.connections.borrow_mut()[number].extend_from_slice(&buffer[..count]);
                upstream.received.extend_from_slice(&buffer[..count]);
                if !upstream.answer(&state, &mut socket).await {
                    break;
                }
            }
            drop(socket);
            state.live.set(state.live.get().saturating_sub(1));
            state.touch();
        });
        self.tasks.borrow_mut().push(task);
    }
}

/// One connection of a proxy to its upstream.
#[derive(Debug, Default)]
struct Upstream {
    received: Vec<u8>,
    /// How many requests were answered.
    answered: usize,
    /// Whether `100 Continue` was sent for the next one.
    continued: bool,
    /// Whether what comes is no request any more.
    tunnel: bool,
}

impl Upstream {
    /// Answers what is there; false where the connection is to end.
    async fn answer(&mut self, state: &State, socket: &mut TcpStream) -> bool {
        let answer = state.answer.borrow().clone();
        match answer {
            _ if self.tunnel => true,
            None => {
                let bytes = self.ordinary(state);
                socket.write_all(&bytes).await.is_ok()
            }
            Some(answer) => self.generated(&answer, state, socket).await,
        }
    }

    /// Answers each whole request in an ordinary way, and says so where what came is none.
    fn ordinary(&mut self, state: &State) -> Vec<u8> {
        let stream = reading::requests(&self.received);
        let mut bytes = Vec::new();
        for message in stream.messages.iter().skip(self.answered) {
            if message.end == End::Cut {
                let waits = message
                    .values("expect")
                    .any(|value| value == b"100-continue");
                if waits && !self.continued && stream.flaw.is_none() {
                    self.continued = true;
                    bytes.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
                }
                break;
            }
            self.answered += 1;
            self.continued = false;
            state.served.set(state.served.get() + 1);
            if message.end == End::Tunnel {
                self.tunnel = true;
                let to = message
                    .values("upgrade")
                    .next()
                    .unwrap_or_default()
                    .escape_ascii();
                bytes.extend_from_slice(if message.method() == b"CONNECT" {
                    b"HTTP/1.1 200 OK\r\n\r\n"
                } else {
                    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                });
                if message.method() != b"CONNECT" {
                    bytes.extend_from_slice(format!("Upgrade: {to}\r\n\r\n").as_bytes());
                }
                return bytes;
            }
            let number = state.served.get();
            let body = if message.method() == b"HEAD" {
                ""
            } else {
                "ok"
            };
            let text =
                format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-N: {number}\r\n\r\n{body}");
            bytes.extend_from_slice(text.as_bytes());
        }
        if stream.flaw.is_some() {
            self.tunnel = true;
            bytes.extend_from_slice(b"HTTP/1.1 599 Ill\r\nContent-Length: 0\r\n\r\n");
        }
        bytes
    }

    /// Gives the generated answer to the first request, and a probe its own.
    async fn generated(&mut self, answer: &Answer, state: &State, socket: &mut TcpStream) -> bool {
        let Some((head, rest)) = cut_head(&self.received) else {
            return true;
        };
        if head.starts_with(PROBE_PATH) {
            state.probe_was_second.set(self.answered > 0);
            self.answered += 1;
            self.received = rest.to_vec();
            return socket.write_all(PROBE_ANSWER).await.is_ok();
        }
        let waits = head.windows(12).any(|part| part == b"100-continue");
        let stream = reading::requests(&self.received);
        let is_whole = stream.whole().next().is_some();
        if self.continued {
            // It has been answered before its body came.
            if is_whole {
                self.received.clear();
                self.continued = false;
            }
            return true;
        }
        if !is_whole && !waits {
            return true;
        }
        if is_whole {
            self.received.clear();
        } else {
            self.continued = true;
        }
        self.answered += 1;
        state.asked.set(state.asked.get() + 1);
        self.tunnel = stream
            .messages
            .first()
            .is_some_and(|message| message.end == End::Tunnel);
        for (at, piece) in answer.pieces.iter().enumerate() {
            if at > 0 {
                sleep(BETWEEN).await;
            }
            if socket.write_all(piece).await.is_err() {
                return false;
            }
            state.touch();
        }
        if answer.ends {
            sleep(BETWEEN).await;
        }
        !answer.ends
    }
}
