//! A connection whose bytes are looked at on their way between transport and codec.
//!
//! Owns the delegation to the socket, in both directions, and hands that on when the codec is gone. What is looked
//! for is a [`Tap`]'s; what is added to the settings that the codec sends, a [`Greeting`]'s; what goes otherwise than it
//! says, a [`Rewriting`]'s.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::custom::{CustomSettings, Greeting};
use super::targets::Rewriting;
use crate::socket::Socket;

/// Who looks at the bytes of a connection.
pub(crate) trait Tap: Unpin {
    /// Reads what the codec gets: what has come, or something in its stead.
    fn poll_read(
        &mut self,
        socket: &mut Socket,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>>;

    /// Takes note of bytes that the transport has taken.
    fn sent(&mut self, bytes: &[u8]);

    /// What is to go otherwise than the codec says it, of what it says next.
    fn rewriting(&self) -> Option<Box<Rewriting>> {
        None
    }

    /// Gets the transport when the codec is gone.
    fn leave(&mut self, socket: Socket) {
        drop(socket);
    }
}

/// A connection, and who looks at its bytes.
pub(crate) struct Tapped<T: Tap> {
    /// There to the end.
    socket: Option<Socket>,
    tap: T,
    /// What is said first, until the transport has it; none where that is the codec's.
    greeting: Option<Box<Greeting>>,
    /// There while something goes otherwise.
    rewriting: Option<Box<Rewriting>>,
}

impl<T: Tap> Tapped<T> {
    /// `settings` are added to the frame that the codec sends first, behind a preface of so many bytes.
    pub(crate) fn new(socket: Socket, tap: T, settings: &CustomSettings, preface: usize) -> Self {
        Self {
            socket: Some(socket),
            tap,
            greeting: settings.greeting(preface),
            rewriting: None,
        }
    }

    fn parts(&mut self) -> io::Result<(&mut Socket, &mut T)> {
        let socket = self.socket.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        Ok((socket, &mut self.tap))
    }

    /// Hands the greeting to the transport, as far as it is there.
    fn poll_greet(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let socket = self.socket.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        while let Some(greeting) = &mut self.greeting
            && let Some(waiting) = greeting.waiting()
        {
            let wrote = ready!(Pin::new(&mut *socket).poll_write(cx, waiting))?;
            if wrote == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.tap.sent(waiting.get(..wrote).unwrap_or_default());
            if greeting.sent(wrote) {
                self.greeting = None;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: Tap> Tapped<T> {
    /// Whether something goes otherwise than the codec says it.
    fn is_rewriting(&mut self) -> bool {
        if self.rewriting.is_none() {
            self.rewriting = self.tap.rewriting();
        }
        self.rewriting.is_some()
    }

    /// Hands what waits of that to the transport.
    fn poll_rewritten(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let socket = self.socket.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let Some(rewriting) = &mut self.rewriting else {
            return Poll::Ready(Ok(()));
        };
        while !rewriting.waiting().is_empty() {
            let waiting = rewriting.waiting();
            let wrote = ready!(Pin::new(&mut *socket).poll_write(cx, waiting))?;
            if wrote == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.tap.sent(waiting.get(..wrote).unwrap_or_default());
            rewriting.sent(wrote);
        }
        if rewriting.is_over() {
            self.rewriting = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: Tap> Drop for Tapped<T> {
    fn drop(&mut self) {
        if let Some(socket) = self.socket.take() {
            self.tap.leave(socket);
        }
    }
}

impl<T: Tap> AsyncRead for Tapped<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (socket, tap) = self.get_mut().parts()?;
        tap.poll_read(socket, cx, into)
    }
}

impl<T: Tap> AsyncWrite for Tapped<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Some(greeting) = &mut this.greeting {
            if let Some(taken) = greeting.take(from) {
                return Poll::Ready(Ok(taken));
            }
            ready!(this.poll_greet(cx))?;
        }
        if this.is_rewriting() {
            ready!(this.poll_rewritten(cx))?;
            if let Some(rewriting) = &mut this.rewriting {
                rewriting.take(from);
                return Poll::Ready(Ok(from.len()));
            }
        }
        let (socket, tap) = this.parts()?;
        let wrote = ready!(Pin::new(socket).poll_write(cx, from))?;
        tap.sent(from.get(..wrote).unwrap_or_default());
        Poll::Ready(Ok(wrote))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.greeting.is_some() || self.is_rewriting() {
            let first = from.iter().find(|slice| !slice.is_empty());
            return self.poll_write(cx, first.map_or(&[], |slice| slice));
        }
        let (socket, tap) = self.get_mut().parts()?;
        let wrote = ready!(Pin::new(socket).poll_write_vectored(cx, from))?;
        let mut left = wrote;
        for slice in from {
            let part = slice.len().min(left);
            tap.sent(slice.get(..part).unwrap_or_default());
            left -= part;
        }
        Poll::Ready(Ok(wrote))
    }

    fn is_write_vectored(&self) -> bool {
        self.socket
            .as_ref()
            .is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_greet(cx))?;
        ready!(this.poll_rewritten(cx))?;
        let (socket, _tap) = this.parts()?;
        Pin::new(socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_greet(cx))?;
        ready!(this.poll_rewritten(cx))?;
        let (socket, _tap) = this.parts()?;
        Pin::new(socket).poll_shutdown(cx)
    }
}
