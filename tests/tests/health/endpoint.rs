//! Endpoints that a test plays check by check: over HTTP/1.1, TCP and gRPC.

use std::future::poll_fn;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc;
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Response};
use tokio::sync::Mutex;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// How long a check may be in coming.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the endpoint does with a check.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    /// Over HTTP: a status, with more fields, each with its line end.
    Status(u16, &'static str),
    /// Over HTTP: a status with a body.
    Body(u16, &'static str),
    /// Over TCP: these bytes.
    Bytes(&'static [u8]),
    /// By gRPC: a `ServingStatus`.
    Serving(u8),
    /// By gRPC: a status without a message.
    Grpc(u8),
    /// By gRPC: a status of HTTP.
    Plain(u16),
    /// By gRPC: no message, and a status behind it.
    Empty,
    /// By gRPC: the stream alone is reset.
    ResetStream,
    /// Closes the connection.
    Close,
    /// Resets the connection.
    Reset,
    /// Says nothing until the checker gives up.
    Silence,
}

/// One that a test plays.
pub(crate) trait Endpoint {
    fn port(&self) -> u16;
    /// Waits for the next check. Its connection stays.
    fn check(&mut self);
    fn answer(&mut self, answer: Answer);
    /// Forgets the connection of the last check: the next one is on another.
    fn forget(&mut self);
}

/// Over HTTP/1.1, or over TCP where checks end otherwise.
pub(crate) struct Plain {
    listener: TcpListener,
    connection: Option<TcpStream>,
    /// How a check ends.
    end: &'static [u8],
}

impl Plain {
    pub(crate) fn http() -> Self {
        Self::ending(b"\r\n\r\n")
    }

    pub(crate) fn tcp() -> Self {
        Self::ending(b"PING")
    }

    fn ending(end: &'static [u8]) -> Self {
        Self {
            listener: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(),
            connection: None,
            end,
        }
    }
}

impl Endpoint for Plain {
    fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    fn check(&mut self) {
        loop {
            let mut stream = match self.connection.take() {
                Some(stream) => stream,
                None => self.listener.accept().unwrap().0,
            };
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(self.end) && stream.read(&mut byte).unwrap_or(0) == 1 {
                head.push(byte[0]);
            }
            if head.ends_with(self.end) {
                self.connection = Some(stream);
                return;
            }
        }
    }

    fn answer(&mut self, answer: Answer) {
        let mut send = |bytes: &[u8]| self.connection.as_mut().unwrap().write_all(bytes).unwrap();
        match answer {
            Answer::Status(status, fields) => {
                let head = format!("HTTP/1.1 {status} x\r\n{fields}content-length: 0\r\n\r\n");
                send(head.as_bytes());
            }
            Answer::Body(status, body) => {
                let length = body.len();
                let text = format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\n\r\n{body}");
                send(text.as_bytes());
            }
            Answer::Bytes(bytes) => send(bytes),
            Answer::Close => self.connection = None,
            Answer::Reset => {
                let socket = socket2::Socket::from(self.connection.take().unwrap());
                socket.set_linger(Some(Duration::ZERO)).unwrap();
            }
            Answer::Silence => {
                // The end of the connection is how the checker gives up.
                let mut stream = self.connection.take().unwrap();
                while stream.read(&mut [0; 64]).is_ok_and(|count| count > 0) {}
            }
            other => panic!("{other:?} is gRPC's"),
        }
    }

    fn forget(&mut self) {
        self.connection = None;
    }
}

/// By gRPC.
pub(crate) struct Grpc {
    port: u16,
    checks: mpsc::Receiver<()>,
    answers: Sender<Answer>,
    _serving: JoinHandle<()>,
}

type Answers = Arc<Mutex<Receiver<Answer>>>;

impl Grpc {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (told, checks) = mpsc::channel();
        let (answers, mut asked) = channel(1);
        let serving = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                listener.set_nonblocking(true).unwrap();
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    // Checks come one after another: nobody else wants answers meanwhile.
                    asked = serve(stream, &told, asked).await;
                    if asked.is_closed() {
                        return;
                    }
                }
            });
        });
        Self {
            port,
            checks,
            answers,
            _serving: serving,
        }
    }
}

/// Serves a connection to its end.
async fn serve(
    stream: tokio::net::TcpStream,
    told: &mpsc::Sender<()>,
    asked: Receiver<Answer>,
) -> Receiver<Answer> {
    let asked: Answers = Arc::new(Mutex::new(asked));
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return give_back(asked);
    };
    let mut tasks = tokio::task::JoinSet::new();
    loop {
        let next = poll_fn(|cx| {
            if let Poll::Ready(accepted) = connection.poll_accept(cx) {
                return Poll::Ready(accepted.and_then(Result::ok).map(Ok));
            }
            match tasks.poll_join_next(cx) {
                Poll::Ready(Some(ended)) => Poll::Ready(Some(Err(ended.unwrap()))),
                Poll::Ready(None) | Poll::Pending => Poll::Pending,
            }
        });
        match next.await {
            Some(Ok((_, respond))) => {
                let _nobody_waits = told.send(());
                tasks.spawn(answer(respond, Arc::clone(&asked)));
            }
            Some(Err(Then::Keep)) => {}
            Some(Err(Then::Close)) | None => break,
        }
    }
    drop(connection);
    tasks.shutdown().await;
    give_back(asked)
}

fn give_back(asked: Answers) -> Receiver<Answer> {
    Arc::into_inner(asked).unwrap().into_inner()
}

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Keep,
    Close,
}

async fn answer(mut respond: SendResponse<Bytes>, asked: Answers) -> Then {
    let Some(answer) = asked.lock().await.recv().await else {
        return Then::Close;
    };
    let head = |status: u16| {
        let grpc = HeaderValue::from_static("application/grpc");
        let response = Response::builder().status(status);
        response.header("content-type", grpc).body(()).unwrap()
    };
    match answer {
        Answer::Serving(status) => {
            let mut stream = respond.send_response(head(200), false).unwrap();
            let message = Bytes::copy_from_slice(&[0, 0, 0, 0, 2, 8, status]);
            stream.send_data(message, false).unwrap();
            stream.send_trailers(ok()).unwrap();
        }
        Answer::Empty => {
            let mut stream = respond.send_response(head(200), false).unwrap();
            stream.send_trailers(ok()).unwrap();
        }
        Answer::Grpc(status) => {
            let mut head = head(200);
            head.headers_mut()
                .insert("grpc-status", HeaderValue::from(u16::from(status)));
            respond.send_response(head, true).unwrap();
        }
        Answer::Plain(status) => {
            respond.send_response(head(status), true).unwrap();
        }
        Answer::ResetStream => respond.send_reset(h2::Reason::INTERNAL_ERROR),
        Answer::Silence => {
            drop(poll_fn(|cx| respond.poll_reset(cx)).await);
        }
        Answer::Close | Answer::Reset => return Then::Close,
        other => panic!("{other:?} is not gRPC's"),
    }
    Then::Keep
}

fn ok() -> HeaderMap {
    [("grpc-status", "0")]
        .into_iter()
        .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
        .collect()
}

impl Endpoint for Grpc {
    fn port(&self) -> u16 {
        self.port
    }

    fn check(&mut self) {
        self.checks.recv_timeout(PATIENCE).unwrap();
    }

    fn answer(&mut self, answer: Answer) {
        self.answers.blocking_send(answer).unwrap();
    }

    fn forget(&mut self) {}
}
