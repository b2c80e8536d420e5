//! Connected sockets: the one byte stream that everything above reads and writes.
//!
//! Owns [`Socket`], an enum over the transports, so that the data path works on one concrete type
//! without a box or a virtual call, and each transport is a variant here and nowhere else. Does not
//! own how a socket comes about: that is `listener`'s and `upstream::connect`'s.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream, tcp, unix};
use tokio_rustls::TlsStream;

mod tls;

pub use tls::Tls;

/// A connected socket.
#[derive(Debug)]
pub enum Socket {
    /// Plain TCP.
    Tcp(TcpStream),
    /// TLS, of either side, over another socket.
    Tls(Box<Tls>),
    /// A Unix socket.
    Unix(UnixStream),
}

/// The reading half of a [`Socket`].
#[derive(Debug)]
pub enum ReadHalf<'a> {
    /// Of plain TCP.
    Tcp(tcp::ReadHalf<'a>),
    /// Of TLS.
    Tls(&'a Tls),
    /// Of a Unix socket.
    Unix(unix::ReadHalf<'a>),
}

/// The writing half of a [`Socket`].
#[derive(Debug)]
pub enum WriteHalf<'a> {
    /// Of plain TCP.
    Tcp(tcp::WriteHalf<'a>),
    /// Of TLS.
    Tls(&'a Tls),
    /// Of a Unix socket.
    Unix(unix::WriteHalf<'a>),
}

impl Socket {
    /// This end's address of IP.
    ///
    /// # Errors
    /// Those of the system; [`io::ErrorKind::Unsupported`] for a Unix socket.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.local_addr(),
            Self::Tls(tls) => tls.local_addr(),
            Self::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Reads what is there. No system call is made unless the event loop knows of something.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] where nothing is there; else those of the system.
    pub fn try_read(&self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_read(into),
            Self::Tls(tls) => tls.try_read(into),
            Self::Unix(stream) => stream.try_read(into),
        }
    }

    /// Writes what the system takes at once. For what nobody waits for, such as a farewell.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] where it takes nothing; else those of the system.
    pub fn try_write(&self, from: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write(from),
            Self::Unix(stream) => stream.try_write(from),
            // A session keeps what the system does not take, and so takes part in waiting.
            Self::Tls(_) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Ready when a read would say something.
    ///
    /// # Errors
    /// Those of the system.
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(cx),
            Self::Tls(tls) => tls.poll_read_ready(cx),
            Self::Unix(stream) => stream.poll_read_ready(cx),
        }
    }

    /// Waits until the connection is broken, by a reset for example, whatever the peer has sent before
    /// that nobody has read. An end of what the peer sends is none of it.
    pub async fn broken(&mut self) {
        let mut transport = self;
        let _no_reactor = loop {
            match transport {
                Self::Tcp(stream) => break stream.ready(Interest::ERROR).await,
                Self::Unix(stream) => break stream.ready(Interest::ERROR).await,
                Self::Tls(tls) => transport = tls.transport(),
            }
        };
    }

    /// Whether the event loop has been told so, whatever waits to be read. No system call is made.
    fn was_told(&self, event: Event) -> bool {
        let interest = event.interest();
        match self {
            Self::Tcp(stream) => stream.try_io(interest, || Ok(())).is_ok(),
            Self::Tls(tls) => tls.was_told(event),
            Self::Unix(stream) => stream.try_io(interest, || Ok(())).is_ok(),
        }
    }

    /// Makes the peer see a reset, not an end, when the socket is dropped.
    pub fn reset_on_drop(&self) {
        let socket = match self {
            Self::Tcp(stream) => SockRef::from(stream),
            Self::Tls(tls) => return tls.reset_on_drop(),
            // Its peer sees an end in any case.
            Self::Unix(_) => return,
        };
        // Where it fails the connection is gone already.
        let _gone = socket.set_linger(Some(Duration::ZERO));
    }

    /// Both directions, to be used side by side.
    pub fn split(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        match self {
            Self::Tcp(stream) => {
                let (read, write) = stream.split();
                (ReadHalf::Tcp(read), WriteHalf::Tcp(write))
            }
            Self::Tls(tls) => (ReadHalf::Tls(tls), WriteHalf::Tls(tls)),
            Self::Unix(stream) => {
                let (read, write) = stream.split();
                (ReadHalf::Unix(read), WriteHalf::Unix(write))
            }
        }
    }
}

/// What a connection may come to behind bytes that nobody has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The peer has ended its side, or the connection is broken.
    Ended,
    /// The connection is broken, by a reset for example.
    Broken,
}

impl Event {
    const fn interest(self) -> Interest {
        match self {
            // Nothing here is out of band, and with that comes the end of what is read.
            Self::Ended => Interest::PRIORITY,
            Self::Broken => Interest::ERROR,
        }
    }
}

impl ReadHalf<'_> {
    /// Whether the connection has come to that, as far as the event loop knows, whatever waits to be read.
    /// Nothing wakes who asks.
    #[must_use]
    pub fn was_told(&self, event: Event) -> bool {
        let interest = event.interest();
        match self {
            Self::Tcp(half) => half.as_ref().try_io(interest, || Ok(())).is_ok(),
            Self::Tls(tls) => tls.was_told(event),
            Self::Unix(half) => half.as_ref().try_io(interest, || Ok(())).is_ok(),
        }
    }

    /// Ready when a read would say something.
    ///
    /// # Errors
    /// Those of the system.
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(half) => half.as_ref().poll_read_ready(cx),
            Self::Tls(tls) => tls.poll_read_ready(cx),
            Self::Unix(half) => half.as_ref().poll_read_ready(cx),
        }
    }
}

impl From<UnixStream> for Socket {
    fn from(stream: UnixStream) -> Self {
        Self::Unix(stream)
    }
}

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Self {
        Self::Tcp(stream)
    }
}

impl From<TlsStream<Self>> for Socket {
    /// A session whose handshake is done.
    fn from(stream: TlsStream<Self>) -> Self {
        Self::Tls(Box::new(Tls::new(stream)))
    }
}

/// Implements reading for a type that is an enum over things that read.
macro_rules! reads {
    ($type:ty) => {
        impl AsyncRead for $type {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                into: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    Self::Tcp(stream) => Pin::new(stream).poll_read(cx, into),
                    Self::Tls(tls) => tls.poll_read(cx, into),
                    Self::Unix(stream) => Pin::new(stream).poll_read(cx, into),
                }
            }
        }
    };
}

/// Implements writing for a type that is an enum over things that write.
macro_rules! writes {
    ($type:ty) => {
        impl AsyncWrite for $type {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                from: &[u8],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    Self::Tcp(stream) => Pin::new(stream).poll_write(cx, from),
                    Self::Tls(tls) => tls.poll_write(cx, from),
                    Self::Unix(stream) => Pin::new(stream).poll_write(cx, from),
                }
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                from: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, from),
                    Self::Tls(tls) => tls.poll_write_vectored(cx, from),
                    Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, from),
                }
            }

            fn is_write_vectored(&self) -> bool {
                match self {
                    Self::Tcp(stream) => stream.is_write_vectored(),
                    Self::Tls(_) => true,
                    Self::Unix(stream) => stream.is_write_vectored(),
                }
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
                    Self::Tls(tls) => tls.poll_flush(cx),
                    Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
                }
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
                    Self::Tls(tls) => tls.poll_shutdown(cx),
                    Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
                }
            }
        }
    };
}

reads!(Socket);
writes!(Socket);
reads!(ReadHalf<'_>);
writes!(WriteHalf<'_>);
