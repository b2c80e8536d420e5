//! The TCP connection of a health check.
//!
//! Owns what is sent and what has to come back. Called by `health::watch`, which limits the time.
//! Does not own: what a result means (`state`).

use std::io;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::state::{Failure, Verdict};
use super::{has_all, has_ended};
use crate::limits;
use crate::socket::Socket;
use crate::tls::Inside;
use crate::upstream::connect::Target;
use crate::upstream::spec::TcpProbe;

/// Asks one endpoint how it is, by TCP.
pub(super) struct TcpProber {
    check: Rc<TcpProbe>,
    reuse: bool,
    target: Target,
    connection: Option<Socket>,
}

impl TcpProber {
    /// Will do `check` at `target`; `reuse` says whether the connection is kept.
    pub(super) const fn new(check: Rc<TcpProbe>, reuse: bool, target: Target) -> Self {
        Self {
            check,
            reuse,
            target,
            connection: None,
        }
    }

    /// Asks once.
    pub(super) async fn probe(&mut self) -> Verdict {
        if self.connection.as_mut().is_some_and(has_ended) {
            // The endpoint closed a kept connection meanwhile, as it may: that says nothing.
            self.disconnect();
        }
        let result = self.ask().await;
        // Without an answer to wait for, as in Envoy, each check connects anew.
        if !self.reuse || self.check.receive.is_empty() || !matches!(result, Ok(true)) {
            self.disconnect();
        }
        match result {
            Ok(true) => Verdict::Passed,
            Ok(false) => Verdict::Failed(Failure::Mismatch),
            Err(_) => Verdict::Failed(Failure::Network),
        }
    }

    /// Closes the connection.
    pub(super) fn disconnect(&mut self) {
        self.connection = None;
    }

    /// The connection that is kept.
    pub(super) const fn kept(&mut self) -> Option<&mut Socket> {
        self.connection.as_mut()
    }

    /// Whether the expected answer came before more than anybody should send.
    async fn ask(&mut self) -> io::Result<bool> {
        let stream = match &mut self.connection {
            Some(stream) => stream,
            None => self
                .connection
                .insert(Box::pin(self.target.connect(Inside::Bytes)).await?),
        };
        stream.write_all(&self.check.send).await?;
        let mut received = Vec::new();
        while !has_all(&self.check.receive, &received) {
            if stream.read_buf(&mut received).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if received.len() > limits::HEALTH_CHECK_BODY_BYTES {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
