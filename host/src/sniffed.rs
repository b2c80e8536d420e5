//! What the first bytes of a connection say: a verdict, and a reader of fields.
//!
//! Owns what parsers of such bytes have in common, whichever part of the proxy they belong to.

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
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    /// A number of `width` bytes, at most 4.
    pub(crate) fn number(&mut self, width: usize) -> Option<usize> {
        let bytes = self.take(width)?;
        Some(
            bytes
                .iter()
                .fold(0, |number, byte| number << 8 | usize::from(*byte)),
        )
    }

    /// A field with its length in front, a number of `width` bytes.
    pub(crate) fn field(&mut self, width: usize) -> Option<Self> {
        let length = self.number(width)?;
        self.take(length).map(Self)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
