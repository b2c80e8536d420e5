//! Integers and strings of HPACK (RFC 7541 §5), and how far fields reach in a block.
//!
//! Owns their reading, no more bytes of an integer than the codec takes, and their writing. Does not own the table of
//! indexed fields: who reads fields keeps as much of it as it needs.

use std::rc::Rc;

use super::huffman;

/// Bytes of an integer: the codec takes no more.
const INTEGER_BYTES: usize = 5;

/// What a field is, by its first byte: how many zeros that begins with (RFC 7541 §6).
pub(crate) mod form {
    /// One of the tables.
    pub(crate) const INDEXED: u32 = 0;
    /// One that goes into the table.
    pub(crate) const INSERTED: u32 = 1;
    /// None, but another size of the table.
    pub(crate) const RESIZED: u32 = 2;
}

/// What is left of a block.
#[derive(Clone, Copy)]
pub(crate) struct Rest<'a>(pub(crate) &'a [u8]);

impl<'a> Rest<'a> {
    /// How many zeros the next field begins with; see [`form`].
    pub(crate) fn form(&self) -> Option<u32> {
        self.0.first().map(|first| first.leading_zeros())
    }

    /// An integer with a prefix of so many bits (RFC 7541 §5.1).
    #[inline]
    pub(crate) fn integer(&mut self, prefix: u32) -> Option<usize> {
        let full = (1 << prefix) - 1;
        let value = usize::from(self.byte()?) & full;
        if value < full {
            return Some(value);
        }
        self.rest_of_integer(value)
    }

    fn rest_of_integer(&mut self, mut value: usize) -> Option<usize> {
        for at in 0..INTEGER_BYTES - 1 {
            let byte = self.byte()?;
            value += usize::from(byte & 0x7f) << (7 * at);
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// A string (RFC 7541 §5.2).
    #[inline]
    pub(crate) fn text(&mut self) -> Option<Text<'a>> {
        let is_coded = *self.0.first()? >= 0x80;
        let length = self.integer(7)?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(Text { bytes, is_coded })
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }
}

/// A string as it is written.
#[derive(Clone, Copy)]
pub(crate) struct Text<'a> {
    pub(crate) bytes: &'a [u8],
    /// Whether it is in the code of RFC 7541 appendix B.
    pub(crate) is_coded: bool,
}

impl Text<'_> {
    /// Shows its bytes one by one; none where it is in no code.
    #[inline]
    pub(crate) fn each(&self, mut show: impl FnMut(u8)) -> Option<()> {
        if self.is_coded {
            return huffman::decode(self.bytes, show);
        }
        for byte in self.bytes {
            show(*byte);
        }
        Some(())
    }

    /// What it says.
    pub(crate) fn read(&self) -> Option<Rc<[u8]>> {
        if !self.is_coded {
            return Some(self.bytes.into());
        }
        let mut text = Vec::new();
        huffman::decode(self.bytes, |byte| text.push(byte))?;
        Some(text.into())
    }
}

/// How many bytes the field at the front of `block` has, if all of it is there.
pub(crate) fn extent(block: &[u8]) -> Option<usize> {
    let mut rest = Rest(block);
    match rest.form()? {
        form::INDEXED => drop(rest.integer(7)?),
        form::RESIZED => drop(rest.integer(5)?),
        form => {
            let prefix = if form == form::INSERTED { 6 } else { 4 };
            if rest.integer(prefix)? == 0 {
                rest.text()?;
            }
            rest.text()?;
        }
    }
    Some(block.len() - rest.0.len())
}

/// Writes an integer with a prefix of so many bits, the others of whose byte are 0 (RFC 7541 §5.1).
pub(crate) fn integer(value: usize, prefix: u32, into: &mut Vec<u8>) {
    let full = (1 << prefix) - 1;
    let Some(mut rest) = value.checked_sub(full) else {
        return into.push(value as u8);
    };
    into.push(full as u8);
    while rest >= 0x80 {
        into.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    into.push(rest as u8);
}

/// Writes a string, in the code where it is shorter so (RFC 7541 §5.2).
pub(crate) fn text(text: &[u8], into: &mut Vec<u8>) {
    let coded = encode(text);
    let (is_coded, bytes) = if coded.len() < text.len() {
        (0x80, &*coded)
    } else {
        (0, text)
    };
    let at = into.len();
    integer(bytes.len(), 7, into);
    if let Some(first) = into.get_mut(at) {
        *first |= is_coded;
    }
    into.extend_from_slice(bytes);
}

pub(crate) use huffman::encode;
