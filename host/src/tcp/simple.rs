//! The echo and the fixed answer: network filters that need no upstream.
//!
//! Owns `envoy.filters.network.echo` and `envoy.filters.network.direct_response`. Called by
//! `listener`.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::socket::Socket;

/// What is read at once, and sent back: what one record of TLS carries, so that it stays one.
const ECHO: usize = 16 * 1024;
/// What is read at once of what nobody wants.
const READ: usize = 4 * 1024;
/// How long the client of a fixed answer may take to end its side.
const LINGER: Duration = Duration::from_secs(1);

/// Sends back what comes, until the client ends. `_open` is let go of then.
pub(crate) async fn echo(mut socket: Socket, _open: impl Sized) {
    let mut room = vec![0; ECHO];
    while let Ok(read @ 1..) = socket.read(&mut room).await {
        let part = room.get(..read).unwrap_or_default();
        if socket.write_all(part).await.is_err() || socket.flush().await.is_err() {
            return;
        }
    }
}

/// Sends `response` and closes, whatever the client has to say. `_open` is let go of then.
pub(crate) async fn answer(mut socket: Socket, response: Bytes, _open: impl Sized) {
    // A client that is gone does not want it.
    if socket.write_all(&response).await.is_err() || socket.shutdown().await.is_err() {
        return;
    }
    // Data that nobody has read would make the end a reset, and the answer be thrown away.
    let mut room = vec![0; READ];
    let rest = async { while let Ok(1..) = socket.read(&mut room).await {} };
    let _late = tokio::time::timeout(LINGER, rest).await;
}
