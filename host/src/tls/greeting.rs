//! A client's first message, and how who is refused is taken leave of.
//!
//! Owns reading the message, with no more of what follows than the library has room for, and the end of a
//! connection whose handshake failed. Does not own what the message leads to: that is `super::server`'s.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustls::server::{Accepted, Acceptor};
use rustls::{AlertDescription, Error, InvalidMessage};
use tokio::io::{AsyncRead as _, AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _, ReadBuf};

use super::server::Failure;
use crate::limits;
use crate::socket::Socket;

/// What a record of a handshake begins with (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;
/// Bytes of a record's head: its kind, a version, its length.
const HEAD: usize = 5;
/// What is read at once.
const READ: usize = 4096;

/// A client's first message.
pub(super) struct Greeting {
    /// As the library has it.
    pub(super) accepted: Accepted,
    /// The records that it came in, as far as anything of them counts.
    pub(super) seen: Vec<u8>,
}

/// Reads it. What is no handshake of TLS gets no answer, as in Envoy; what is broken gets an alert.
pub(super) async fn read(socket: &mut Socket) -> Result<Greeting, Failure> {
    let (mut acceptor, mut seen) = (Acceptor::default(), Vec::new());
    let mut records = Records::default();
    let accepted = poll_fn(|cx| poll(&mut acceptor, &mut records, &mut seen, socket, cx)).await?;
    Ok(Greeting { accepted, seen })
}

fn poll(
    acceptor: &mut Acceptor,
    records: &mut Records,
    seen: &mut Vec<u8>,
    socket: &mut Socket,
    cx: &mut Context<'_>,
) -> Poll<Result<Accepted, Failure>> {
    loop {
        let mut room = [0; READ];
        let most = records.most();
        let mut read = ReadBuf::new(room.get_mut(..most).unwrap_or_default());
        ready!(Pin::new(&mut *socket).poll_read(cx, &mut read))?;
        let mut bytes = read.filled();
        match bytes.first() {
            None => return Poll::Ready(Err(io::Error::from(io::ErrorKind::UnexpectedEof).into())),
            Some(first) if seen.is_empty() && *first != HANDSHAKE => {
                return Poll::Ready(Err(Failure::NotTls));
            }
            // One that is longer than any honest one says nothing that counts here.
            Some(_) if seen.len() <= limits::HELLO_RECORDS_BYTES => seen.extend_from_slice(bytes),
            Some(_) => {}
        }
        records.advance(bytes);
        let mut is_full = false;
        while !bytes.is_empty() && !is_full {
            is_full = acceptor.read_tls(&mut bytes).is_err();
        }
        let mut said = Vec::new();
        let error = match acceptor.accept() {
            Ok(Some(accepted)) => return Poll::Ready(Ok(accepted)),
            Ok(None) if !is_full => continue,
            Ok(None) => Error::from(InvalidMessage::HandshakePayloadTooLarge),
            Err((error, mut alert)) => {
                // Writing to memory cannot fail.
                let _written = alert.write_all(&mut said);
                error
            }
        };
        if said.is_empty() {
            said.extend(fatal(word(&error)));
        }
        // What the client does not take at once is lost.
        let _sent = Pin::new(&mut *socket).poll_write(cx, &said);
        return Poll::Ready(Err(error.into()));
    }
}

/// What a client is told where the library has no word for it, as by Envoy.
const fn word(error: &Error) -> AlertDescription {
    match error {
        Error::InvalidMessage(InvalidMessage::HandshakePayloadTooLarge) => {
            AlertDescription::IllegalParameter
        }
        _ => AlertDescription::UnexpectedMessage,
    }
}

/// An alert in clear text.
fn fatal(why: AlertDescription) -> [u8; 7] {
    const ALERT: u8 = 21;
    const FATAL: u8 = 2;
    [ALERT, 3, 3, 0, 2, FATAL, why.into()]
}

/// How far the records of a message have come. The library takes a record, and joins messages that are in
/// several: what it is given beyond a record it may have no room for.
#[derive(Debug, Default)]
struct Records {
    has_begun: bool,
    /// Bytes that the record still has.
    left: usize,
    /// The next record's head, as far as it has come.
    head: [u8; HEAD],
    of_head: usize,
}

impl Records {
    /// How many bytes to read next. Almost every message comes with the first ones.
    fn most(&self) -> usize {
        match (self.has_begun, self.left) {
            (false, _) => READ,
            (true, 0) => HEAD - self.of_head,
            (true, left) => left.min(READ),
        }
    }

    fn advance(&mut self, mut bytes: &[u8]) {
        self.has_begun |= !bytes.is_empty();
        while let Some((first, rest)) = bytes.split_first() {
            if self.left > 0 {
                let of_record = self.left.min(bytes.len());
                self.left -= of_record;
                bytes = bytes.get(of_record..).unwrap_or_default();
                continue;
            }
            if let Some(place) = self.head.get_mut(self.of_head) {
                *place = *first;
            }
            self.of_head += 1;
            if self.of_head == HEAD {
                let [.., high, low] = self.head;
                (self.left, self.of_head) = (usize::from(u16::from_be_bytes([high, low])), 0);
            }
            bytes = rest;
        }
    }
}

/// Tells a client in clear text that its handshake has failed.
pub(super) async fn alert(socket: &mut Socket, why: AlertDescription) {
    // A client that is gone does not want to know.
    let _sent = socket.write_all(&fatal(why)).await;
}

/// Ends the connection of a client that was refused. It may still be sending: a socket that is closed with
/// unread data would be reset, and the client might never learn why.
pub(super) async fn part(mut socket: Socket) {
    if socket.shutdown().await.is_err() {
        return;
    }
    let rest = async {
        let (mut room, mut dropped) = (vec![0; READ], 0);
        while dropped < limits::TLS_FAREWELL_BYTES
            && let Ok(read @ 1..) = socket.read(&mut room).await
        {
            dropped += read;
        }
    };
    let _late = tokio::time::timeout(limits::TLS_FAREWELL, rest).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sizes that would be read of records with those lengths, if all of it were there.
    fn reads(lengths: &[u16]) -> Vec<usize> {
        let mut sent = Vec::new();
        for length in lengths {
            sent.extend([HANDSHAKE, 3, 1]);
            sent.extend(length.to_be_bytes());
            sent.resize(sent.len() + usize::from(*length), 0);
        }
        let (mut records, mut sizes) = (Records::default(), Vec::new());
        let mut rest = &sent[..];
        while !rest.is_empty() {
            let read = records.most().min(rest.len());
            assert!(read > 0);
            records.advance(&rest[..read]);
            rest = &rest[read..];
            sizes.push(read);
        }
        assert_eq!(records.left, 0);
        sizes
    }

    #[test]
    fn what_is_read_after_the_first_bytes_ends_with_a_record() {
        assert_eq!(reads(&[300]), [305]);
        assert_eq!(reads(&[300, 4000, 200]), [READ, 214, HEAD, 200]);
        assert_eq!(reads(&[0, 0, 5000]), [READ, 5015 - READ]);
        let long = 16384;
        let read = [READ, READ, READ, READ, HEAD, HEAD, 3616];
        assert_eq!(reads(&[long, 3616]), read);
    }

    #[test]
    fn a_head_may_come_in_parts() {
        let mut records = Records::default();
        for (byte, most) in [(HANDSHAKE, 4), (3, 3), (1, 2), (2, 1), (1, 513)] {
            records.advance(&[byte]);
            assert_eq!(records.most(), most);
        }
    }
}
