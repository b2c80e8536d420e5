//! An HTTP/2 upstream that answers frame by frame: with what no library sends.
//!
//! Owns a listener, one thread for each connection and the queue of replies. It looks at no head and
//! keeps no state of streams: a reply is for stream 1, so a connection is for one request
//! (`max_requests_per_connection: 1`). Called by [`crate::compare`].

use std::collections::VecDeque;
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::client::PATIENCE;
use crate::complaints::Complaints;
use crate::frames::{self, FrameConnection, Next, flag, kind};

type Replies = Arc<Mutex<VecDeque<Vec<u8>>>>;

/// The server; it takes no more connections when this value is dropped.
#[derive(Debug)]
pub struct FramesOrigin {
    address: SocketAddr,
    first: Arc<Mutex<Vec<u8>>>,
    /// Those of the case at hand. A connection keeps the ones that it began with: what an earlier case has left on its
    /// way takes none of a later one's.
    replies: Arc<Mutex<Replies>>,
    stopped: Arc<AtomicBool>,
    complaints: Complaints,
}

impl FramesOrigin {
    /// Listens on a port; 0 lets the system choose.
    #[must_use]
    pub fn start_on(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .unwrap_or_else(|error| panic!("listening on port {port}: {error}"));
        let origin = Self {
            address: listener.local_addr().unwrap(),
            first: Arc::new(Mutex::new(frames::settings(&[]))),
            replies: Arc::default(),
            stopped: Arc::default(),
            complaints: Complaints::default(),
        };
        let (replies, stopped) = (Arc::clone(&origin.replies), Arc::clone(&origin.stopped));
        let first = Arc::clone(&origin.first);
        let complaints = origin.complaints.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let replies = Arc::clone(&replies.lock().unwrap());
                let first = first.lock().unwrap().clone();
                let told = complaints.clone();
                drop(complaints.thread(move || serve(stream, &first, &replies, &told)));
            }
        });
        origin
    }

    /// Says this first on each connection from now on, in place of empty settings.
    pub fn begin_with(&self, first: Vec<u8>) {
        *self.first.lock().unwrap() = first;
    }

    /// Answers the next requests with these frames, in order. Requests after them get a plain 200.
    pub fn reply_with(&self, replies: impl IntoIterator<Item = Vec<u8>>) {
        let replies: VecDeque<Vec<u8>> = replies.into_iter().collect();
        *self.replies.lock().unwrap() = Arc::new(Mutex::new(replies));
    }
}

impl Drop for FramesOrigin {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        // Wakes the accepting thread so that the listener is closed.
        drop(TcpStream::connect(self.address));
        self.complaints.expect_none();
    }
}

/// Answers each request when its stream has ended.
fn serve(mut stream: TcpStream, first: &[u8], replies: &Replies, complaints: &Complaints) {
    let mut preface = [0; frames::PREFACE.len()];
    drop(stream.set_read_timeout(Some(PATIENCE)));
    if stream.read_exact(&mut preface).is_err() {
        return;
    }
    if preface != frames::PREFACE {
        let began = preface.escape_ascii();
        complaints.note(format!("a proxy began HTTP/2 with {began}"));
        return;
    }
    let mut connection = FrameConnection::over(stream);
    connection.send(first);
    while let Next::Frame(frame) = connection.next() {
        let acknowledges = frame.flags & flag::ACK != 0;
        match frame.kind {
            kind::SETTINGS if !acknowledges => {
                connection.send(&frames::frame(kind::SETTINGS, flag::ACK, 0, b""));
            }
            kind::PING if !acknowledges => {
                connection.send(&frames::frame(kind::PING, flag::ACK, 0, &frame.payload));
            }
            kind::HEADERS | kind::DATA if frame.ends(frame.stream) => {
                let reply = replies.lock().unwrap().pop_front();
                let ordinary = || frames::headers(1, flag::END_STREAM, &[(":status", "200")]);
                connection.send(&reply.unwrap_or_else(ordinary));
            }
            _ => {}
        }
    }
}
