//! What the first bytes of a connection say, without taking them.
//!
//! Owns the parsers of the listener filters, each a pure function of the bytes that are there so far:
//! [`hello`] for TLS, [`request_line`] for HTTP, [`proxy_header`] for the PROXY protocol. Does not own
//! how the bytes come (`super::filters`). Public for the fuzz targets.

pub mod hello;
pub mod proxy_header;
pub mod request_line;

/// What a parser makes of the bytes so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sniffed<T> {
    /// More bytes may tell.
    Partial,
    /// It is something else, whatever follows.
    Other,
    /// It is that.
    Found(T),
}

/// Takes integers and fields with a length in front out of bytes; none where they end too early.
#[derive(Clone, Copy, Debug)]
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    /// A number of `width` bytes, at most 4.
    fn number(&mut self, width: usize) -> Option<usize> {
        let bytes = self.take(width)?;
        Some(
            bytes
                .iter()
                .fold(0, |number, byte| number << 8 | usize::from(*byte)),
        )
    }

    /// A field with its length in front, a number of `width` bytes.
    fn field(&mut self, width: usize) -> Option<Self> {
        let length = self.number(width)?;
        self.take(length).map(Self)
    }

    const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
