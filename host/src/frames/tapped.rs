//! A connection whose bytes are looked at on their way between transport and codec.
//!
//! Owns the delegation to the socket, in both directions. What is looked for is a [`Tap`]'s.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

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
}

/// A connection, and who looks at its bytes.
pub(crate) struct Tapped<T> {
    socket: Socket,
    tap: T,
}

impl<T: Tap> Tapped<T> {
    pub(crate) const fn new(socket: Socket, tap: T) -> Self {
        Self { socket, tap }
    }
}

impl<T: Tap> AsyncRead for Tapped<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.tap.poll_read(&mut this.socket, cx, into)
    }
}

impl<T: Tap> AsyncWrite for Tapped<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let wrote = ready!(Pin::new(&mut this.socket).poll_write(cx, from))?;
        this.tap.sent(from.get(..wrote).unwrap_or_default());
        Poll::Ready(Ok(wrote))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let wrote = ready!(Pin::new(&mut this.socket).poll_write_vectored(cx, from))?;
        let mut left = wrote;
        for slice in from {
            let part = slice.len().min(left);
            this.tap.sent(slice.get(..part).unwrap_or_default());
            left -= part;
        }
        Poll::Ready(Ok(wrote))
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}
