//! The downstream side over HTTP/1.1: raw bytes out, exact messages in.
//!
//! Owns one TCP connection, or a TLS one over it, and the bytes read ahead on it. It sends whatever it is given, right or
//! wrong. Called by the suites and by [`crate::compare`].

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use rustls::HandshakeKind;

use crate::message::{self, Kind, Message};
use crate::tls;

/// Longest wait for the next bytes of an answer.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What came next on a connection.
#[derive(Debug)]
pub enum Received {
    /// A message, complete or cut off by the end of the stream.
    Message(Message),
    /// The peer closed in order, nothing was pending.
    Closed,
    /// The peer reset the connection.
    Reset,
    /// Nothing more came in [`PATIENCE`].
    Silence,
    /// Bytes that are not HTTP/1.1, and why.
    Garbage(String),
}

impl Received {
    /// The message, or a panic that says what came instead.
    #[must_use]
    pub fn message(self) -> Message {
        match self {
            Self::Message(message) => message,
            other => panic!("expected a message, got {other:?}"),
        }
    }
}

/// One client connection.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    buffer: Vec<u8>,
    end: Option<End>,
}

/// What carries the bytes.
#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<tls::TlsStream>),
}

impl Stream {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => &stream.sock,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(into),
            Self::Tls(stream) => stream.read(into),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(from),
            Self::Tls(stream) => stream.write(from),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum End {
    Closed,
    Reset,
    Silence,
}

impl Connection {
    /// Connects.
    #[must_use]
    pub fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address);
        Self::over(stream.unwrap_or_else(|error| panic!("connecting to {address}: {error}")))
    }

    /// Uses a connection that is open already.
    #[must_use]
    pub fn over(stream: TcpStream) -> Self {
        be_patient(&stream);
        Self {
            stream: Stream::Plain(stream),
            buffer: Vec::new(),
            end: None,
        }
    }

    /// Shakes hands on a connection that is open already.
    ///
    /// # Errors
    /// Why either side did not want to.
    pub fn over_tls(stream: TcpStream, client: &tls::Client) -> io::Result<Self> {
        be_patient(&stream);
        Ok(Self {
            stream: Stream::Tls(Box::new(client.connect(stream)?)),
            buffer: Vec::new(),
            end: None,
        })
    }

    /// Connects, and shakes hands as a client that may know the server from before.
    ///
    /// # Errors
    /// Why either side did not want to.
    pub fn open_known(address: SocketAddr, client: &tls::Known) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        be_patient(&stream);
        Ok(Self {
            stream: Stream::Tls(Box::new(client.connect(stream)?)),
            buffer: Vec::new(),
            end: None,
        })
    }

    /// Whether the handshake went by a session from before.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        match &self.stream {
            Stream::Plain(_) => false,
            Stream::Tls(stream) => stream.conn.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }

    /// Connects and shakes hands.
    ///
    /// # Errors
    /// Why either side did not want to.
    pub fn open_tls(address: SocketAddr, client: &tls::Client) -> io::Result<Self> {
        Self::over_tls(TcpStream::connect(address)?, client)
    }

    /// What was agreed on; none where it is not TLS.
    #[must_use]
    pub fn agreed(&self) -> Option<String> {
        match &self.stream {
            Stream::Plain(_) => None,
            Stream::Tls(stream) => Some(tls::agreed(&stream.conn)),
        }
    }

    /// The common name of the certificate that the server has shown.
    #[must_use]
    pub fn subject(&self) -> String {
        match &self.stream {
            Stream::Plain(_) => panic!("clear text"),
            Stream::Tls(stream) => tls::common_name(&stream.conn),
        }
    }

    /// Whether the server has said that its stream ends, rather than just ended it.
    #[must_use]
    pub fn was_told_of_the_end(&mut self) -> bool {
        match &mut self.stream {
            Stream::Plain(_) => false,
            Stream::Tls(stream) => stream.conn.process_new_packets().unwrap().peer_has_closed(),
        }
    }

    /// The port of this side.
    #[must_use]
    pub fn local_port(&self) -> u16 {
        self.stream.tcp().local_addr().unwrap().port()
    }

    /// Sends bytes. A peer that stopped reading is no failure: what it answers is what counts.
    pub fn send(&mut self, bytes: &[u8]) {
        let _closed_already = self
            .stream
            .write_all(bytes)
            .and_then(|()| self.stream.flush());
    }

    /// Sends bytes again and again without reading, until the peer has taken none for a while, has
    /// ended the connection, or has taken `limit`; how many it took.
    pub fn send_until_blocked(&mut self, bytes: &[u8], limit: usize) -> usize {
        const BLOCKED: Duration = Duration::from_millis(500);
        self.stream.tcp().set_write_timeout(Some(BLOCKED)).unwrap();
        let (mut taken, mut at) = (0, 0);
        while taken < limit {
            match self.stream.write(&bytes[at..]) {
                Ok(count) => {
                    taken += count;
                    at = (at + count) % bytes.len();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        self.stream.tcp().set_write_timeout(Some(PATIENCE)).unwrap();
        taken
    }

    /// Takes in what has come, without waiting; whether the peer has ended the connection.
    pub fn has_ended(&mut self) -> bool {
        self.stream.tcp().set_nonblocking(true).unwrap();
        let mut before = usize::MAX;
        while self.end.is_none() && self.buffer.len() != before {
            before = self.buffer.len();
            self.read_more();
            if matches!(self.end, Some(End::Silence)) {
                self.end = None;
            }
        }
        self.stream.tcp().set_nonblocking(false).unwrap();
        self.end.is_some()
    }

    /// Ends this side's stream, the other direction stays open.
    pub fn half_close(&mut self) {
        if let Stream::Tls(stream) = &mut self.stream {
            stream.conn.send_close_notify();
            let _closed_already = stream.flush();
        }
        let _closed_already = self.stream.tcp().shutdown(Shutdown::Write);
    }

    /// Sends a request and reads its response.
    pub fn exchange(&mut self, request: &[u8]) -> Message {
        self.send(request);
        let head = request.starts_with(b"HEAD ");
        self.receive(if head {
            Kind::ResponseToHead
        } else {
            Kind::Response
        })
        .message()
    }

    /// Reads the next message.
    pub fn receive(&mut self, kind: Kind) -> Received {
        loop {
            match message::read(&self.buffer, kind, self.end.is_some()) {
                Ok(Some((message, used))) => {
                    self.buffer.drain(..used);
                    return Received::Message(message);
                }
                Ok(None) => {}
                Err(why) => return Received::Garbage(why),
            }
            match self.end {
                None => self.read_more(),
                Some(End::Closed) => return Received::Closed,
                Some(End::Reset) => return Received::Reset,
                Some(End::Silence) => return Received::Silence,
            }
        }
    }

    /// Waits until what has come, and was not taken as a message yet, contains `wanted`.
    pub fn wait_for(&mut self, wanted: &[u8]) {
        while !self.buffer.windows(wanted.len()).any(|part| part == wanted) {
            let (wanted, came) = (wanted.escape_ascii(), self.buffer.escape_ascii());
            assert!(
                self.end.is_none(),
                "{:?} in place of {wanted}: {came}",
                self.end
            );
            self.read_more();
        }
    }

    /// Reads that many bytes, or as many as come before the end.
    pub fn receive_bytes(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count && self.end.is_none() {
            self.read_more();
        }
        let count = count.min(self.buffer.len());
        self.buffer.drain(..count).collect()
    }

    /// Reads all that still comes, and how it ends.
    pub fn receive_to_end(&mut self) -> (Vec<u8>, Received) {
        loop {
            let end = match self.end {
                None => {
                    self.read_more();
                    continue;
                }
                Some(End::Closed) => Received::Closed,
                Some(End::Reset) => Received::Reset,
                Some(End::Silence) => Received::Silence,
            };
            return (std::mem::take(&mut self.buffer), end);
        }
    }

    /// Ends the connection with a TCP reset.
    pub fn reset(self) {
        socket2::SockRef::from(self.stream.tcp())
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    }

    /// Reads until the peer ends the connection; the bytes that came before that are dropped.
    pub fn drain(&mut self) -> Received {
        loop {
            self.buffer.clear();
            match self.end {
                None => self.read_more(),
                Some(End::Closed) => return Received::Closed,
                Some(End::Reset) => return Received::Reset,
                Some(End::Silence) => return Received::Silence,
            }
        }
    }

    fn read_more(&mut self) {
        let mut bytes = [0; 16 * 1024];
        match self.stream.read(&mut bytes) {
            Ok(0) => self.end = Some(End::Closed),
            Ok(count) => self.buffer.extend_from_slice(&bytes[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                self.end = Some(End::Silence);
            }
            // An end that TLS does not say, which is no matter here.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => self.end = Some(End::Closed),
            Err(_) => self.end = Some(End::Reset),
        }
    }
}

fn be_patient(stream: &TcpStream) {
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
}

/// One GET on a connection of its own.
#[must_use]
pub fn get(address: SocketAddr, path: &str) -> Message {
    let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    Connection::open(address).exchange(request.as_bytes())
}
