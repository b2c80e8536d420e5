//! What the fields of a head say about framing and the connection.
//!
//! Owns the reading of `content-length`, `transfer-encoding`, `connection`, `upgrade` and `expect`.
//! Does not own what follows from them: that differs between `request` and `response`.

use crate::headers::Known;

use super::super::decimal;
use super::super::field::{BadField, members};

/// What `transfer-encoding` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Coding {
    /// The field is not there.
    #[default]
    None,
    /// `chunked`, alone and once.
    Chunked,
    /// Anything else.
    Unsupported,
}

/// What Envoy counts of a line beside name and value when it reads it: the colon and the end.
pub(super) const LINE_BYTES: u64 = 3;

/// What the lines of a head have said so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts {
    pub(super) lines: u32,
    pub(super) length: Option<u64>,
    pub(super) coding: Coding,
    /// Fields that were left out for the underscores in their names.
    pub(super) dropped: u16,
    /// Bytes of their names and values, and [`LINE_BYTES`] for each, whatever became of them.
    pub(super) bytes: u64,
    marks: u16,
}

macro_rules! marks {
    ($($name:ident, $set:ident = $bit:literal;)+) => {
        impl Facts {
            $(
                pub(super) const fn $name(&self) -> bool { self.marks & (1 << $bit) != 0 }
                pub(super) const fn $set(&mut self) { self.marks |= 1 << $bit; }
            )+
        }
    };
}

marks! {
    has_host, set_host = 0;
    has_fragment, set_fragment = 1;
    is_absolute, set_absolute = 2;
    is_http_10, set_http_10 = 3;
    is_connect, set_connect = 4;
    wants_close, set_close = 5;
    wants_keep_alive, set_keep_alive = 6;
    wants_upgrade, set_upgrade = 7;
    has_upgrade, set_has_upgrade = 8;
}

impl Facts {
    /// Counts a field.
    pub(super) const fn count(&mut self, name: &[u8], value: &[u8]) {
        self.bytes += (name.len() + value.len()) as u64 + LINE_BYTES;
    }

    /// Takes note of a field that framing depends on. `Err`: its value cannot be accepted.
    pub(super) fn note(&mut self, known: Known, value: &[u8]) -> Result<(), BadField> {
        match known {
            Known::ContentLength => match (self.length, decimal(value)) {
                (None, Some(length)) => self.length = Some(length),
                (Some(_), _) | (None, None) => return Err(BadField::Syntax),
            },
            Known::TransferEncoding => {
                let chunked = value.eq_ignore_ascii_case(b"chunked");
                self.coding = match self.coding {
                    Coding::None if chunked => Coding::Chunked,
                    Coding::None | Coding::Chunked | Coding::Unsupported => Coding::Unsupported,
                };
            }
            Known::Connection => {
                for member in members(value) {
                    if member.eq_ignore_ascii_case(b"close") {
                        self.set_close();
                    } else if member.eq_ignore_ascii_case(b"keep-alive") {
                        self.set_keep_alive();
                    } else if member.eq_ignore_ascii_case(b"upgrade") {
                        self.set_upgrade();
                    }
                }
            }
            Known::ProxyConnection
                if members(value).any(|member| member.eq_ignore_ascii_case(b"close")) =>
            {
                self.set_close();
            }
            Known::Upgrade if !value.eq_ignore_ascii_case(b"h2c") => self.set_has_upgrade(),
            _ => {}
        }
        Ok(())
    }

    /// Whether the connection stays open after the message, by its version and `connection`.
    pub(super) const fn keep_alive(&self) -> bool {
        !self.wants_close() && (!self.is_http_10() || self.wants_keep_alive())
    }
}
