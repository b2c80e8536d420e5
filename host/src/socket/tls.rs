//! TLS over a socket: a transport of [`Socket`](super::Socket).
//!
//! Owns what a TLS session makes different from a plain byte stream: that bytes may wait in it that the
//! system knows nothing of, on both ways; that its two halves are one object; and that it says that it
//! ends (`close_notify`), whatever way it ends. Does not own the handshake (`tls`).
//!
//! An end of the stream without `close_notify` is taken for an end, as in Envoy: what relies on the
//! difference, HTTP and most protocols over TLS, says by itself where a message ends.

use std::cell::{Cell, RefCell, RefMut};
use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustls::{ClientConnection, ServerConnection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsStream;

use super::{Event, Socket};

/// A TLS session and the socket under it.
pub struct Tls {
    /// Both halves are borrowed at once by one task, which never holds on to the session.
    stream: RefCell<TlsStream<Socket>>,
    /// Whether the peer is to see a reset, and so no `close_notify`.
    resets: Cell<bool>,
}

/// What is there at once, without waiting: blocking I/O for a session on a socket that does not block.
struct AtOnce<'a>(&'a Socket);

impl Read for AtOnce<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(into)
    }
}

impl Write for AtOnce<'_> {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.0.try_write(from)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Tls {
    pub(super) fn new(stream: TlsStream<Socket>) -> Self {
        Self {
            stream: RefCell::new(stream),
            resets: Cell::new(false),
        }
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.stream.borrow().get_ref().0.local_addr()
    }

    /// What is under it.
    pub(super) fn transport(&mut self) -> &mut Socket {
        match self.stream.get_mut() {
            TlsStream::Client(stream) => stream.get_mut().0,
            TlsStream::Server(stream) => stream.get_mut().0,
        }
    }

    pub(super) fn was_told(&self, event: Event) -> bool {
        self.stream.borrow().get_ref().0.was_told(event)
    }

    pub(super) fn reset_on_drop(&self) {
        self.resets.set(true);
        self.stream.borrow().get_ref().0.reset_on_drop();
    }

    pub(super) fn try_read(&self, into: &mut [u8]) -> io::Result<usize> {
        let mut stream = self.stream();
        let (socket, session) = parts(&mut stream);
        loop {
            match session.content(into) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                read => return read,
            }
            let read = session.take_in(&mut AtOnce(socket))?;
            session.answer(&mut AtOnce(socket));
            if read == 0 {
                return Ok(0);
            }
        }
    }

    /// Ready when a read may say something: at once where the session has content, or has ended.
    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut stream = self.stream();
        let (socket, session) = parts(&mut stream);
        if session.has_news() {
            return Poll::Ready(Ok(()));
        }
        socket.poll_read_ready(cx)
    }

    fn stream(&self) -> RefMut<'_, TlsStream<Socket>> {
        self.stream.borrow_mut()
    }

    pub(super) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut stream = self.stream();
        let polled = Pin::new(&mut *stream).poll_read(cx, into);
        let (socket, session) = parts(&mut stream);
        session.answer(&mut AtOnce(socket));
        match polled {
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Poll::Ready(Ok(()))
            }
            polled => polled,
        }
    }

    pub(super) fn poll_write(&self, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.stream()).poll_write(cx, from)
    }

    pub(super) fn poll_write_vectored(
        &self,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.stream()).poll_write_vectored(cx, from)
    }

    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream()).poll_flush(cx)
    }

    pub(super) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream()).poll_shutdown(cx)
    }
}

/// What both sides of a session have.
trait Session {
    /// Takes content that waits in the session.
    fn content(&mut self, into: &mut [u8]) -> io::Result<usize>;
    /// Reads records; 0 is the end.
    fn take_in(&mut self, from: &mut dyn Read) -> io::Result<usize>;
    /// Whether there is content, an end, or an error that a read will tell.
    fn has_news(&mut self) -> bool;
    /// Sends what the session has to say to what it has read, such as that it does not negotiate again, as
    /// far as `to` takes it: nobody else may have anything to send for long.
    fn answer(&mut self, to: &mut dyn Write);
    /// Says that this is the end, as far as `to` takes it.
    fn farewell(&mut self, to: &mut dyn Write);
}

macro_rules! sessions {
    ($($type:ty),+) => { $(
        impl Session for $type {
            fn content(&mut self, into: &mut [u8]) -> io::Result<usize> {
                self.reader().read(into)
            }

            fn take_in(&mut self, from: &mut dyn Read) -> io::Result<usize> {
                let read = self.read_tls(from)?;
                let state = self.process_new_packets();
                state.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                Ok(read)
            }

            fn has_news(&mut self) -> bool {
                self.process_new_packets().map_or(true, |state| {
                    state.plaintext_bytes_to_read() > 0 || state.peer_has_closed()
                })
            }

            fn answer(&mut self, to: &mut dyn Write) {
                while self.wants_write() && matches!(self.write_tls(to), Ok(1..)) {}
            }

            fn farewell(&mut self, to: &mut dyn Write) {
                self.send_close_notify();
                self.answer(to);
            }
        }
    )+ };
}

sessions!(ServerConnection, ClientConnection);

fn parts(stream: &mut TlsStream<Socket>) -> (&mut Socket, &mut dyn Session) {
    match stream {
        TlsStream::Client(stream) => {
            let (socket, session) = stream.get_mut();
            (socket, session)
        }
        TlsStream::Server(stream) => {
            let (socket, session) = stream.get_mut();
            (socket, session)
        }
    }
}

impl Drop for Tls {
    /// Tells the peer that this is the end, as far as the system takes it without waiting: it would take
    /// a truncated stream for an attack otherwise.
    fn drop(&mut self) {
        if !self.resets.get() {
            let (socket, session) = parts(self.stream.get_mut());
            session.farewell(&mut AtOnce(socket));
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}
