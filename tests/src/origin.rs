//! A scripted HTTP/1.1 upstream server.
//!
//! Owns a listener, one thread for each connection, the queue of replies and the record of what
//! came in. It answers with exactly the bytes it was given, also when those are not HTTP, and judges
//! nothing but whether requests are HTTP/1.1: the rest is the suites' part. Called by the suites and by
//! [`crate::compare`].

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::thread;
use std::time::Duration;

use socket2::SockRef;

use crate::client::PATIENCE;
use crate::complaints::Complaints;
use crate::message::{self, Kind, Message};

/// Something that a reply waits for until the test opens it.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// Lets every waiting and every later reply through.
    pub fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    /// Waits for [`Gate::open`], at most [`PATIENCE`].
    pub fn wait(&self) {
        let guard = self.0.0.lock().unwrap();
        drop(
            self.0
                .1
                .wait_timeout_while(guard, PATIENCE, |open| !*open)
                .unwrap(),
        );
    }
}

/// One step of a reply.
#[derive(Clone, Debug)]
pub enum Act {
    /// Sends bytes.
    Send(Vec<u8>),
    /// Sends that many bytes, all of them `x`, made as they are sent.
    Fill(usize),
    /// Waits for a gate.
    Wait(Gate),
    /// Lets time pass, where how late an answer comes is what a test is about.
    Pause(Duration),
    /// Reads until so many bytes have come since the request's head, or since the connection began.
    Read(usize),
    /// Ends this direction of the connection.
    HalfClose,
    /// Ends the connection in order.
    Close,
    /// Ends the connection with a TCP reset.
    Reset,
    /// Reads on and never answers.
    Hang,
    /// Sends back what comes after the request's head, byte by byte as it comes and until the peer
    /// ends the connection: the framing of the request becomes that of the reply. For a reply
    /// [`Reply::at_head`] that has sent a head.
    Echo,
}

impl Act {
    fn waits_for(&self, gate: &Gate) -> bool {
        matches!(self, Self::Wait(own) if Arc::ptr_eq(&own.0, &gate.0))
    }
}

/// What the origin does with one request.
#[derive(Clone, Debug)]
pub struct Reply {
    acts: Vec<Act>,
    at_head: bool,
}

impl Reply {
    /// Sends bytes and keeps the connection.
    #[must_use]
    pub fn bytes(bytes: impl AsRef<[u8]>) -> Self {
        Self {
            acts: vec![Act::Send(bytes.as_ref().to_vec())],
            at_head: false,
        }
    }

    /// Sends nothing yet; to be continued with [`Reply::then`].
    #[must_use]
    pub fn nothing() -> Self {
        Self {
            acts: Vec::new(),
            at_head: false,
        }
    }

    /// Adds a step.
    #[must_use]
    pub fn then(mut self, act: Act) -> Self {
        self.acts.push(act);
        self
    }

    /// Adds the orderly end of the connection.
    #[must_use]
    pub fn close(self) -> Self {
        self.then(Act::Close)
    }

    /// Begins to answer when the request's head is there, without waiting for its body.
    #[must_use]
    pub fn at_head(mut self) -> Self {
        self.at_head = true;
        self
    }

    /// The same, waiting for `to` where it waits for `from`.
    #[must_use]
    pub fn with_gate(mut self, from: &Gate, to: &Gate) -> Self {
        for act in &mut self.acts {
            if act.waits_for(from) {
                *act = Act::Wait(to.clone());
            }
        }
        self
    }

    /// Whether it waits for that gate.
    #[must_use]
    pub fn waits_for(&self, gate: &Gate) -> bool {
        self.acts.iter().any(|act| act.waits_for(gate))
    }

    /// Whether one of its steps is the last of the connection.
    fn ends_the_connection(&self) -> bool {
        let is_last = |act: &Act| matches!(act, Act::Close | Act::Reset | Act::Hang | Act::Echo);
        self.acts.iter().any(is_last)
    }

    /// `200` in chunks that are those of the request, trailers included, each as soon as it comes.
    #[must_use]
    pub fn echo_chunks() -> Self {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
        Self::bytes(head).at_head().then(Act::Echo)
    }

    /// `200` with a two-byte body, or what is right for a HEAD request; with the request's own body
    /// where the target is [`ECHO_PATH`].
    fn ordinary(request: &Message) -> Self {
        let body = if request.target() == ECHO_PATH {
            &request.body
        } else {
            b"ok".as_slice()
        };
        let mut bytes = Vec::new();
        let _infallible = write!(
            bytes,
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        if request.method() != "HEAD" {
            bytes.extend_from_slice(body);
        }
        Self::bytes(bytes)
    }
}

#[derive(Debug, Default)]
struct Record {
    replies: VecDeque<Reply>,
    /// With their number in the order of arrival: a later one may be complete earlier.
    requests: Vec<(usize, Message)>,
    health_checks: Vec<Message>,
    health_status: Option<u16>,
    connections: usize,
    /// Those that have not ended. Each is owned by who serves it, alone: it has to end when that one lets go of it.
    open: Vec<Weak<TcpStream>>,
    /// How many of these are at a reply that waits for something else than its peer.
    performing: usize,
    arrived: usize,
    pending: usize,
    stopped: bool,
    takes_bytes: bool,
}

impl Record {
    /// Whether a connection may still read what its peer has sent.
    fn is_reading(&self) -> bool {
        let open = self.open.iter().filter(|stream| stream.strong_count() > 0);
        open.count() > self.performing
    }
}

#[derive(Debug, Default)]
struct Shared {
    record: Mutex<Record>,
    changed: Condvar,
    complaints: Complaints,
}

/// The server. Its listener and its connections end with it, and the test where a request was not HTTP/1.1.
#[derive(Debug)]
pub struct Origin {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// Target whose requests get their own body back.
pub const ECHO_PATH: &str = "/echo";

/// Path of the health checks that [`Origin::answer_health_checks`] answers.
pub const HEALTH_PATH: &str = "/healthz";

impl Origin {
    /// Listens on a port of the system's choice.
    #[must_use]
    pub fn start() -> Self {
        Self::start_on(0)
    }

    /// Listens on a port.
    #[must_use]
    pub fn start_on(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .unwrap_or_else(|error| panic!("listening on port {port}: {error}"));
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut record = accepting.record.lock().unwrap();
                if record.stopped {
                    return;
                }
                let Ok(stream) = stream else { continue };
                record.connections += 1;
                record.open.retain(|other| other.strong_count() > 0);
                let stream = Arc::new(stream);
                record.open.push(Arc::downgrade(&stream));
                let shared = Arc::clone(&accepting);
                let serve = move || {
                    serve(&stream, &shared);
                    drop(stream);
                    let _record = shared.record.lock().unwrap();
                    shared.changed.notify_all();
                };
                drop(accepting.complaints.thread(serve));
            }
        });
        Self { address, shared }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Replies to the next requests, in order. Requests after them get a plain 200.
    pub fn reply_with(&self, replies: impl IntoIterator<Item = Reply>) {
        self.shared.record.lock().unwrap().replies = replies.into_iter().collect();
    }

    /// From now on connections may end before they have carried a head: in bytes that are not HTTP's.
    pub fn take_bytes(&self) {
        self.shared.record.lock().unwrap().takes_bytes = true;
    }

    /// Answers `GET /healthz` with that status from now on, apart from the other replies.
    pub fn answer_health_checks(&self, status: u16) {
        self.shared.record.lock().unwrap().health_status = Some(status);
    }

    /// Requests that came since the last call, those cut off by the client included, health checks
    /// excluded. Waits until no request is half read, at most [`PATIENCE`], and ends the test then: what is still
    /// coming would be missing, and nobody would know.
    #[must_use]
    pub fn take_requests(&self) -> Vec<Message> {
        let guard = self.shared.record.lock().unwrap();
        let (mut record, _) = self
            .shared
            .changed
            .wait_timeout_while(guard, PATIENCE, |r| r.pending > 0)
            .unwrap();
        let mut requests = std::mem::take(&mut record.requests);
        let pending = record.pending;
        drop(record);
        assert_eq!(pending, 0, "requests are half read after {PATIENCE:?}");
        requests.sort_by_key(|(number, _)| *number);
        requests.into_iter().map(|(_, message)| message).collect()
    }

    /// What came since the last call and is not HTTP/1.1, for who expects that.
    #[must_use]
    pub fn take_complaints(&self) -> Vec<String> {
        self.shared.complaints.take()
    }

    /// The health checks that came so far.
    #[must_use]
    pub fn health_checks(&self) -> Vec<Message> {
        self.shared.record.lock().unwrap().health_checks.clone()
    }

    /// Waits until that many requests have arrived in all, at least with their head.
    pub fn wait_for_requests(&self, count: usize) {
        let guard = self.shared.record.lock().unwrap();
        let (record, result) = self
            .shared
            .changed
            .wait_timeout_while(guard, PATIENCE, |r| r.arrived < count)
            .unwrap();
        let arrived = record.arrived;
        // A test that fails here still lets the server end.
        drop(record);
        assert!(!result.timed_out(), "{arrived} of {count} requests arrived");
    }

    /// How many requests have arrived so far, at least with their head.
    #[must_use]
    pub fn arrived(&self) -> usize {
        self.shared.record.lock().unwrap().arrived
    }

    /// How many connections were accepted so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.record.lock().unwrap().connections
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        let mut record = self.shared.record.lock().unwrap();
        record.stopped = true;
        for stream in record.open.iter().filter_map(Weak::upgrade) {
            // What has come is still read. It may have ended by itself.
            drop(stream.shutdown(Shutdown::Read));
        }
        let changed = &self.shared.changed;
        drop(
            changed
                .wait_timeout_while(record, PATIENCE, |r| r.is_reading())
                .unwrap(),
        );
        // Wakes the accepting thread so that the listener is closed.
        drop(TcpStream::connect(self.address));
        self.shared.complaints.expect_none();
    }
}

/// What is still to be done for a request that was read.
enum Due {
    /// Nothing, the reply was sent at the head.
    Nothing,
    /// The ordinary reply.
    Ordinary,
    /// A reply from the script.
    Scripted(Reply),
}

fn serve(stream: &TcpStream, shared: &Shared) {
    drop(stream.set_nodelay(true));
    let mut buffer = Vec::new();
    while let Some((message, due)) = read_request(stream, &mut buffer, shared) {
        let reply = match due {
            Due::Nothing => continue,
            Due::Ordinary => Reply::ordinary(&message),
            Due::Scripted(reply) => reply,
        };
        if !perform(stream, &mut buffer, reply.acts, shared) {
            return;
        }
    }
}

/// Reads one request and records it; `None` when the connection ended.
fn read_request(
    mut stream: &TcpStream,
    buffer: &mut Vec<u8>,
    shared: &Shared,
) -> Option<(Message, Due)> {
    let mut due = None;
    let mut number = 0;
    let mut ended = false;
    loop {
        let head_is_there = buffer.windows(4).any(|window| window == b"\r\n\r\n");
        if due.is_none() && head_is_there && !is_health_check(buffer) {
            let (count, reply) = begin(shared);
            number = count;
            match reply {
                Some(reply) if reply.at_head => {
                    let is_last = reply.ends_the_connection();
                    if is_last {
                        // Nobody reads the rest of the request.
                        settle(shared, None);
                    }
                    let mut body = behind_head(buffer).to_vec();
                    let read = body.len();
                    let goes_on = perform(stream, &mut body, reply.acts, shared);
                    buffer.extend_from_slice(&body[read..]);
                    if !goes_on {
                        if !is_last {
                            settle(shared, None);
                        }
                        return None;
                    }
                    due = Some(Due::Nothing);
                }
                Some(reply) => due = Some(Due::Scripted(reply)),
                None => due = Some(Due::Ordinary),
            }
        }
        match message::read(buffer, Kind::Request, ended) {
            Ok(Some((message, used))) => {
                buffer.drain(..used);
                let Some(due) = due else {
                    let reply = health_reply(shared, message.clone());
                    return Some((message, Due::Scripted(reply)));
                };
                settle(shared, Some((number, message.clone())));
                return message.complete.then_some((message, due));
            }
            Ok(None) if ended => return None,
            Ok(None) => {}
            Err(why) => {
                if due.is_some() {
                    settle(shared, None);
                }
                let record = shared.record.lock().unwrap();
                // Who is cut off by the end of a test may have been at a head.
                if !(ended && (record.stopped || record.takes_bytes)) {
                    let why = format!("a proxy sent what is not HTTP/1.1: {why}");
                    shared.complaints.note(why);
                }
                return None;
            }
        }
        let mut bytes = [0; 16 * 1024];
        match stream.read(&mut bytes) {
            Ok(count) if count > 0 => buffer.extend_from_slice(&bytes[..count]),
            _ => ended = true,
        }
    }
}

/// Notes that a request began: its number, and its reply if the script has one.
fn begin(shared: &Shared) -> (usize, Option<Reply>) {
    let mut record = shared.record.lock().unwrap();
    record.arrived += 1;
    record.pending += 1;
    shared.changed.notify_all();
    (record.arrived, record.replies.pop_front())
}

fn settle(shared: &Shared, message: Option<(usize, Message)>) {
    let mut record = shared.record.lock().unwrap();
    record.pending -= 1;
    record.requests.extend(message);
    drop(record);
    shared.changed.notify_all();
}

fn is_health_check(buffer: &[u8]) -> bool {
    buffer.starts_with(format!("GET {HEALTH_PATH} ").as_bytes())
}

fn health_reply(shared: &Shared, message: Message) -> Reply {
    let mut record = shared.record.lock().unwrap();
    record.health_checks.push(message);
    let status = record.health_status.unwrap_or(200);
    Reply::bytes(format!(
        "HTTP/1.1 {status} Health\r\ncontent-length: 0\r\n\r\n"
    ))
}

/// What was read behind a request's head.
fn behind_head(buffer: &[u8]) -> &[u8] {
    let end = buffer.windows(4).position(|window| window == b"\r\n\r\n");
    end.map_or(&[], |end| &buffer[end + 4..])
}

/// Performs acts; false when the connection ended with them. `read` is what was read so far, and what
/// is read on the way is added to it.
fn perform(stream: &TcpStream, read: &mut Vec<u8>, acts: Vec<Act>, shared: &Shared) -> bool {
    let count = |by: isize| {
        let mut record = shared.record.lock().unwrap();
        record.performing = record.performing.saturating_add_signed(by);
        shared.changed.notify_all();
    };
    // What an end of reading does not end. Others are over at once, and what has come is read behind them.
    let waits = |act: &Act| matches!(act, Act::Wait(_) | Act::Pause(_) | Act::Fill(_));
    let by = isize::from(acts.iter().any(waits));
    count(by);
    let goes_on = perform_all(stream, read, acts);
    count(-by);
    goes_on
}

fn perform_all(mut stream: &TcpStream, read: &mut Vec<u8>, acts: Vec<Act>) -> bool {
    for act in acts {
        match act {
            Act::Send(bytes) => {
                if stream.write_all(&bytes).is_err() {
                    return false;
                }
            }
            Act::Fill(count) => {
                let block = [b'x'; 16 * 1024];
                let mut left = count;
                while left > 0 {
                    let part = left.min(block.len());
                    if stream.write_all(&block[..part]).is_err() {
                        return false;
                    }
                    left -= part;
                }
            }
            Act::Wait(gate) => gate.wait(),
            Act::Pause(time) => thread::sleep(time),
            Act::Read(count) => {
                while read.len() < count {
                    if read_more(stream, read) == 0 {
                        return false;
                    }
                }
            }
            Act::HalfClose => drop(stream.shutdown(Shutdown::Write)),
            Act::Close => {
                drop(stream.shutdown(Shutdown::Both));
                return false;
            }
            Act::Reset => {
                drop(SockRef::from(stream).set_linger(Some(Duration::ZERO)));
                return false;
            }
            Act::Echo => {
                let mut sent = 0;
                while stream.write_all(&read[sent..]).is_ok() {
                    sent = read.len();
                    if read_more(stream, read) == 0 {
                        break;
                    }
                }
                return false;
            }
            Act::Hang => {
                while read_more(stream, read) > 0 {}
                return false;
            }
        }
    }
    true
}

/// Adds what comes next to `read`; 0 at the end.
fn read_more(mut stream: &TcpStream, read: &mut Vec<u8>) -> usize {
    let mut bytes = [0; 16 * 1024];
    let count = stream.read(&mut bytes).unwrap_or_default();
    read.extend_from_slice(&bytes[..count]);
    count
}

/// A listener that never accepts and whose queue is full: connecting to it takes for ever.
#[derive(Debug)]
pub struct BlackHole {
    _listener: socket2::Socket,
    _waiting: Vec<socket2::Socket>,
}

impl BlackHole {
    /// Listens on a port and fills its queue.
    #[must_use]
    pub fn start_on(port: u16) -> Self {
        use socket2::{Domain, Socket, Type};
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into();
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.set_reuse_address(true).unwrap();
        listener.bind(&address).unwrap();
        listener.listen(0).unwrap();
        // Linux completes the handshake of one more connection than the backlog says.
        let waiting = (0..3).map(|_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            drop(socket.connect(&address));
            socket
        });
        let waiting = waiting.collect();
        Self {
            _listener: listener,
            _waiting: waiting,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Connection, Received};
    use crate::eventually;

    #[test]
    fn replies_follow_the_script_and_requests_are_kept() {
        let origin = Origin::start();
        origin.reply_with([
            Reply::bytes("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
            Reply::nothing().then(Act::Reset),
        ]);
        let mut connection = Connection::open(origin.address());
        let first = connection.exchange(b"GET /first HTTP/1.1\r\nX-A: 1\r\n\r\n");
        assert_eq!(first.status(), 404);
        connection.send(b"POST /second HTTP/1.1\r\nContent-Length: 2\r\n\r\nab");
        assert!(matches!(
            connection.receive(Kind::Response),
            Received::Reset
        ));
        let mut connection = Connection::open(origin.address());
        assert_eq!(
            connection
                .exchange(b"HEAD /third HTTP/1.1\r\n\r\n")
                .status(),
            200
        );
        let requests = origin.take_requests();
        let targets: Vec<&str> = requests.iter().map(Message::target).collect();
        assert_eq!(targets, ["/first", "/second", "/third"]);
        assert_eq!(requests[0].header("x-a"), Some("1"));
        assert_eq!(requests[1].text(), "ab");
        assert_eq!(origin.connections(), 2);
    }

    #[test]
    fn a_request_that_is_cut_off_is_kept_as_such() {
        let origin = Origin::start();
        let mut connection = Connection::open(origin.address());
        connection.send(b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc");
        origin.wait_for_requests(1);
        drop(connection);
        let requests = origin.take_requests();
        assert!(!requests[0].complete);
        assert_eq!(requests[0].text(), "abc");
    }

    #[test]
    fn what_is_not_http_ends_the_test() {
        let origin = Origin::start();
        let mut connection = Connection::open(origin.address());
        connection.send(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nno size\r\n");
        origin.wait_for_requests(1);
        let dropped = std::panic::catch_unwind(move || drop(origin));
        let panic = dropped.expect_err("the drop tells");
        let said = panic.downcast_ref::<String>().unwrap();
        assert!(said.contains("what is not HTTP/1.1"), "{said}");
    }

    #[test]
    fn what_is_left_behind_a_body_is_told() {
        let origin = Origin::start();
        let mut connection = Connection::open(origin.address());
        let request = b"GET / HTTP/1.1\r\n\r\nbody";
        assert_eq!(connection.exchange(request).status(), 200);
        drop(connection);
        eventually("the server has something against it", || {
            origin.take_complaints().len() == 1
        });
    }

    #[test]
    fn what_has_come_when_the_server_ends_is_looked_at() {
        let origin = Origin::start();
        let gate = Gate::default();
        origin.reply_with([Reply::nothing().then(Act::Wait(gate.clone()))]);
        let mut held = Connection::open(origin.address());
        held.send(b"GET / HTTP/1.1\r\n\r\n");
        origin.wait_for_requests(1);
        let mut broken = Connection::open(origin.address());
        let request = b"GET / HTTP/1.1\r\n\r\n";
        assert_eq!(broken.exchange(request).status(), 200);
        broken.send(b"no request\r\n\r\n");
        let dropped = std::panic::catch_unwind(move || drop(origin));
        assert!(dropped.is_err());
        gate.open();
    }

    #[test]
    fn a_request_that_is_half_read_is_waited_for() {
        let origin = Origin::start();
        let mut connection = Connection::open(origin.address());
        connection.send(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\na");
        origin.wait_for_requests(1);
        let requests = thread::scope(|scope| {
            let taking = scope.spawn(|| origin.take_requests());
            connection.send(b"b");
            taking.join().unwrap()
        });
        assert_eq!(requests[0].text(), "ab");
    }

    #[test]
    fn a_gate_holds_a_reply_back() {
        let origin = Origin::start();
        let gate = Gate::default();
        let reply = Reply::bytes("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na");
        origin.reply_with([reply
            .then(Act::Wait(gate.clone()))
            .then(Act::Send(b"b".into()))]);
        let mut connection = Connection::open(origin.address());
        connection.send(b"GET / HTTP/1.1\r\n\r\n");
        origin.wait_for_requests(1);
        gate.open();
        assert_eq!(connection.receive(Kind::Response).message().text(), "ab");
    }

    #[test]
    fn health_checks_are_apart() {
        let origin = Origin::start();
        origin.answer_health_checks(503);
        let mut connection = Connection::open(origin.address());
        assert_eq!(
            connection
                .exchange(b"GET /healthz HTTP/1.1\r\n\r\n")
                .status(),
            503
        );
        assert!(origin.take_requests().is_empty());
        assert_eq!(origin.health_checks().len(), 1);
    }
}
