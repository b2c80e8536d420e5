//! A scripted HTTP/2 upstream server (cleartext, prior knowledge).
//!
//! Owns a thread with a runtime, the queue of replies and the record of what came in. What a proxy says that is not
//! HTTP/2 the library finds, and the server tells. Called by the suites and by [`crate::compare`].

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request, Response};
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use crate::client::PATIENCE;
use crate::complaints::Complaints;
use crate::message::summary;

/// A request as it was received.
#[derive(Clone, Debug)]
pub struct H2Request {
    /// `METHOD path`, `:scheme` and `:authority`, header lines, body and trailers, one a line.
    pub lines: Vec<String>,
}

/// What the origin answers to one request.
#[derive(Clone, Debug)]
pub struct H2Reply {
    interims: Vec<(u16, Vec<(String, String)>)>,
    status: u16,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
    trailers: Vec<(String, String)>,
    reset: Option<Reason>,
    echoes: bool,
    at_head: bool,
}

impl H2Reply {
    /// A response without body.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self {
            interims: Vec::new(),
            status,
            headers: Vec::new(),
            body: None,
            trailers: Vec::new(),
            reset: None,
            echoes: false,
            at_head: false,
        }
    }

    /// `200` at once, with the request's body and trailers, each frame as soon as it comes.
    #[must_use]
    pub fn echo() -> Self {
        Self {
            echoes: true,
            ..Self::status(200)
        }
    }

    /// Begins to answer when the request's head is there, without waiting for its body.
    #[must_use]
    pub fn at_head(mut self) -> Self {
        self.at_head = true;
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sends an interim response before, with these headers.
    #[must_use]
    pub fn after_interim(mut self, status: u16, headers: &[(&str, &str)]) -> Self {
        let headers = headers.iter();
        let headers = headers.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        self.interims.push((status, headers.collect()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = Some(body.as_ref().to_vec());
        self
    }

    /// Adds a trailer.
    #[must_use]
    pub fn trailer(mut self, name: &str, value: &str) -> Self {
        self.trailers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Resets the stream instead of ending it. Without a body, it is reset before any header.
    #[must_use]
    pub fn reset(mut self, reason: Reason) -> Self {
        self.reset = Some(reason);
        self
    }
}

#[derive(Debug, Default)]
struct Record {
    replies: VecDeque<H2Reply>,
    requests: Vec<H2Request>,
    connections: usize,
    arrived: usize,
    pending: usize,
}

#[derive(Debug, Default)]
struct Shared {
    record: Mutex<Record>,
    changed: Condvar,
    complaints: Complaints,
}

/// The server; it ends when this value does, and the test with it where a proxy has sent what is not HTTP/2.
#[derive(Debug)]
pub struct H2Origin {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl H2Origin {
    /// Listens on a port; 0 lets the system choose.
    #[must_use]
    pub fn start_on(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .unwrap_or_else(|error| panic!("listening on port {port}: {error}"));
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let shared = Arc::new(Shared::default());
        let serving = Arc::clone(&shared);
        let (stop, stopped) = oneshot::channel();
        let serve = move || run(listener, serving, stopped);
        let thread = shared.complaints.thread(serve);
        Self {
            address,
            shared,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Replies to the next requests, in order. Requests after them get a plain 200.
    pub fn reply_with(&self, replies: impl IntoIterator<Item = H2Reply>) {
        self.shared.record.lock().unwrap().replies = replies.into_iter().collect();
    }

    /// Requests since the last call, those that were reset included. Waits until none is half read, at most
    /// [`PATIENCE`], and ends the test then.
    #[must_use]
    pub fn take_requests(&self) -> Vec<H2Request> {
        let guard = self.shared.record.lock().unwrap();
        let (mut record, _) = self
            .shared
            .changed
            .wait_timeout_while(guard, PATIENCE, |r| r.pending > 0)
            .unwrap();
        let requests = std::mem::take(&mut record.requests);
        let pending = record.pending;
        drop(record);
        assert_eq!(pending, 0, "requests are half read after {PATIENCE:?}");
        requests
    }

    /// What came since the last call and is not HTTP/2, for who expects that.
    #[must_use]
    pub fn take_complaints(&self) -> Vec<String> {
        self.shared.complaints.take()
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

impl Drop for H2Origin {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("its panics are complaints");
        }
        self.shared.complaints.expect_none();
    }
}

fn run(listener: TcpListener, shared: Arc<Shared>, stopped: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let local = LocalSet::new();
    local.spawn_local(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        while let Ok((stream, _)) = listener.accept().await {
            shared.record.lock().unwrap().connections += 1;
            let serving = serve(stream, Arc::clone(&shared));
            shared.complaints.task(serving);
        }
    });
    drop(runtime.block_on(local.run_until(stopped)));
}

async fn serve(stream: tokio::net::TcpStream, shared: Arc<Shared>) {
    drop(stream.set_nodelay(true));
    let mut builder = h2::server::Builder::new();
    builder.enable_connect_protocol();
    let ended = async {
        let mut connection = builder.handshake(stream).await?;
        while let Some(next) = connection.accept().await {
            let (request, respond) = next?;
            let answering = answer(request, respond, Arc::clone(&shared));
            shared.complaints.task(answering);
        }
        Ok(())
    };
    if let Err(error) = ended.await {
        shared.complaints.note_h2(&error);
    }
}

async fn answer(request: Request<RecvStream>, respond: SendResponse<Bytes>, shared: Arc<Shared>) {
    let (head, mut body) = request.into_parts();
    let mut lines = vec![
        format!(
            "{} {} HTTP/2",
            head.method,
            head.uri.path_and_query().map_or("", |p| p.as_str())
        ),
        format!(":scheme {}", head.uri.scheme_str().unwrap_or("-")),
        format!(
            ":authority {}",
            head.uri.authority().map_or("-", |a| a.as_str())
        ),
    ];
    if let Some(protocol) = head.extensions.get::<h2::ext::Protocol>() {
        lines.push(format!(":protocol {}", protocol.as_str()));
    }
    lines.extend(header_lines(&head.headers, ""));
    let early = {
        let mut record = shared.record.lock().unwrap();
        record.arrived += 1;
        let next = record.replies.front();
        let early = next.is_some_and(|reply| reply.echoes || reply.at_head);
        let reply = early.then(|| record.replies.pop_front()).flatten();
        if early {
            let lines = std::mem::take(&mut lines);
            record.requests.push(H2Request { lines });
        } else {
            record.pending += 1;
        }
        reply
    };
    match early {
        Some(reply) if reply.echoes => {
            drop(echo(body, respond).await);
            return;
        }
        Some(reply) => {
            drop(send(respond, reply).await);
            return;
        }
        None => {}
    }
    match read_body(&mut body).await {
        Ok((bytes, trailers)) => {
            lines.push(format!("[body] {}", summary(&bytes)));
            lines.extend(
                trailers
                    .iter()
                    .flat_map(|trailers| header_lines(trailers, "trailer ")),
            );
        }
        Err(error) => {
            shared.complaints.note_h2(&error);
            lines.push(format!("[body] {error}"));
        }
    }
    let reply = {
        let mut record = shared.record.lock().unwrap();
        record.requests.push(H2Request { lines });
        record.pending -= 1;
        shared.changed.notify_all();
        record.replies.pop_front()
    };
    let ordinary = || {
        H2Reply::status(200)
            .header("content-length", "2")
            .body("ok")
    };
    // The peer may have gone away: its side of the story is what a test looks at.
    drop(send(respond, reply.unwrap_or_else(ordinary)).await);
}

/// Answers with what comes.
async fn echo(mut body: RecvStream, mut respond: SendResponse<Bytes>) -> Result<(), h2::Error> {
    let mut stream = respond.send_response(Response::new(()), false)?;
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        // The end is told by the flag.
        if !data.is_empty() {
            stream.send_data(data, false)?;
        }
    }
    match body.trailers().await? {
        Some(trailers) => stream.send_trailers(trailers),
        None => stream.send_data(Bytes::new(), true),
    }
}

async fn send(mut respond: SendResponse<Bytes>, reply: H2Reply) -> Result<(), h2::Error> {
    for (status, headers) in &reply.interims {
        let mut interim = Response::builder().status(*status);
        for (name, value) in headers {
            interim = interim.header(name, value);
        }
        respond.send_informational(interim.body(()).unwrap())?;
    }
    if let (Some(reason), None) = (reply.reset, &reply.body) {
        respond.send_reset(reason);
        return Ok(());
    }
    let mut response = Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(name, value);
    }
    let response = response.body(()).unwrap();
    let ends_with_head = reply.body.is_none() && reply.trailers.is_empty();
    let mut stream = respond.send_response(response, ends_with_head)?;
    if let Some(body) = reply.body {
        let last = reply.trailers.is_empty() && reply.reset.is_none();
        stream.send_data(body.into(), last)?;
    }
    if let Some(reason) = reply.reset {
        // A reset drops what is still queued: let the connection's task write that first.
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
        stream.send_reset(reason);
    } else if !reply.trailers.is_empty() {
        let mut trailers = HeaderMap::new();
        for (name, value) in &reply.trailers {
            let name: http::HeaderName = name.parse().unwrap();
            trailers.append(name, value.parse().unwrap());
        }
        stream.send_trailers(trailers)?;
    }
    Ok(())
}

/// Reads a body to its end.
pub(crate) async fn read_body(
    body: &mut RecvStream,
) -> Result<(Vec<u8>, Option<HeaderMap>), h2::Error> {
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        bytes.extend_from_slice(&data);
        body.flow_control().release_capacity(data.len())?;
    }
    Ok((bytes, body.trailers().await?))
}

pub(crate) fn header_lines(headers: &HeaderMap, prefix: &str) -> Vec<String> {
    let line = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        format!("{prefix}{name}: {}", value.as_bytes().escape_ascii())
    };
    headers.iter().map(line).collect()
}
