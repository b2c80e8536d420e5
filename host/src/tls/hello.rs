//! The `ClientHello` of TLS (RFC 8446 §4.1.2): what a client asks for before anything is encrypted.
//!
//! Owns finding the server name, the application protocols, whether TLS 1.3 is spoken, and whether a proof that
//! the certificate still counts is wanted. A hello may come in several records and each of those in several pieces.
//! Nothing else of it is judged: that is the handshake's. Called by the listener filter, and by the
//! handshake for what its library does not tell.

use std::borrow::Cow;

use crate::sniffed::{Bytes, Sniffed};

/// A record that carries a handshake.
const HANDSHAKE: u8 = 22;
/// The first byte of every version of the record layer.
const MAJOR: u8 = 3;
/// Most bytes that a record of clear text carries (RFC 8446 §5.1).
const RECORD_MAX: usize = 1 << 14;
/// The type of a `ClientHello` among handshake messages, and the length of their head.
const CLIENT_HELLO: u8 = 1;
const MESSAGE_HEAD: usize = 4;
const RANDOM: usize = 32;
const SERVER_NAME: usize = 0;
const HOST_NAME: u8 = 0;
const HOST_NAME_MAX: usize = 255;
const ALPN: usize = 16;
const STATUS_REQUEST: usize = 5;
const SUPPORTED_VERSIONS: usize = 43;
/// TLS 1.3, as it is offered.
const TLS_13: usize = 0x0304;
/// The kind of proof that there is (RFC 6066 §8).
const OCSP: u8 = 1;

/// What a client asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// The host that it wants to reach, in lower case.
    pub server_name: Option<Box<str>>,
    /// The protocols that it offers, the one it likes best first.
    pub protocols: Vec<Box<str>>,
    /// Whether it takes an OCSP response.
    pub takes_staple: bool,
    /// Whether it speaks TLS 1.3.
    pub speaks_13: bool,
}

/// Reads what there is of a `ClientHello`.
#[must_use]
pub fn parse(bytes: &[u8]) -> Sniffed<Hello> {
    let Some(message) = message(bytes) else {
        return Sniffed::Other;
    };
    let mut rest = Bytes(&message);
    let (Some(kind), length) = (rest.byte(), rest.number(3)) else {
        return Sniffed::Partial;
    };
    if kind != CLIENT_HELLO {
        return Sniffed::Other;
    }
    match length.map(|length| rest.take(length)) {
        None | Some(None) => Sniffed::Partial,
        Some(Some(body)) => hello(Bytes(body)).map_or(Sniffed::Other, Sniffed::Found),
    }
}

/// How long the message that begins there is, with its head; none before that is known.
#[must_use]
pub fn length(bytes: &[u8]) -> Option<usize> {
    let message = message(bytes)?;
    let mut rest = Bytes(&message);
    rest.byte()?;
    Some(MESSAGE_HEAD + rest.number(3)?)
}

/// What has come of the first handshake message, its records put together; none where it is not one.
fn message(bytes: &[u8]) -> Option<Cow<'_, [u8]>> {
    let mut rest = Bytes(bytes);
    let mut whole = Cow::Borrowed(&[] as &[u8]);
    while let Some(kind) = rest.byte() {
        let major = rest.byte();
        let _minor = rest.byte();
        let length = rest.number(2);
        let is_one = kind == HANDSHAKE
            && major.is_none_or(|major| major == MAJOR)
            && length.is_none_or(|length| (1..=RECORD_MAX).contains(&length));
        if !is_one {
            // What follows the message is no matter.
            return is_complete(&whole).then_some(whole);
        }
        let Some(length) = length else { break };
        let there = rest.0.len().min(length);
        let part = rest.take(there).unwrap_or_default();
        if whole.is_empty() {
            whole = Cow::Borrowed(part);
        } else {
            whole.to_mut().extend_from_slice(part);
        }
        if there < length || is_complete(&whole) {
            break;
        }
    }
    Some(whole)
}

/// Whether a handshake message is there to its end.
fn is_complete(message: &[u8]) -> bool {
    let mut rest = Bytes(message);
    rest.byte().is_some() && rest.field(3).is_some()
}

fn hello(mut body: Bytes<'_>) -> Option<Hello> {
    let mut hello = Hello::default();
    let _legacy_version = body.number(2)?;
    body.take(RANDOM)?;
    let _session = body.field(1)?;
    let _ciphers = body.field(2)?;
    let _compressions = body.field(1)?;
    if body.is_empty() {
        return Some(hello);
    }
    let mut extensions = body.field(2)?;
    while !extensions.is_empty() {
        let kind = extensions.number(2)?;
        let extension = extensions.field(2)?;
        match kind {
            SERVER_NAME => hello.server_name = server_name(extension)?,
            ALPN => hello.protocols = protocols(extension)?,
            SUPPORTED_VERSIONS => hello.speaks_13 = offers(extension, TLS_13),
            STATUS_REQUEST => hello.takes_staple = extension.0.first() == Some(&OCSP),
            _ => {}
        }
    }
    Some(hello)
}

/// The host of a list of names, which holds one (RFC 6066 §3). The outer none is for a broken list.
#[expect(clippy::option_option, reason = "an absent name is not a broken list")]
fn server_name(mut extension: Bytes<'_>) -> Option<Option<Box<str>>> {
    let mut names = extension.field(2)?;
    let kind = names.byte()?;
    let name = names.field(2)?.0;
    let is_name = kind == HOST_NAME
        && names.is_empty()
        && (1..=HOST_NAME_MAX).contains(&name.len())
        && !name.contains(&0);
    let name = is_name.then(|| String::from_utf8_lossy(name).to_ascii_lowercase())?;
    Some(Some(name.into()))
}

/// Whether a list of versions has that one. What is wrong with the list is for others to find.
fn offers(mut extension: Bytes<'_>, version: usize) -> bool {
    let mut versions = extension.field(1).unwrap_or(Bytes(&[]));
    std::iter::from_fn(|| versions.number(2)).any(|offered| offered == version)
}

fn protocols(mut extension: Bytes<'_>) -> Option<Vec<Box<str>>> {
    let mut list = extension.field(2)?;
    let mut protocols = Vec::new();
    while !list.is_empty() {
        let protocol = list.field(1).filter(|protocol| !protocol.is_empty())?;
        protocols.push(String::from_utf8_lossy(protocol.0).into());
    }
    Some(protocols)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn field(width: usize, bytes: &[u8]) -> Vec<u8> {
        let length = bytes.len().to_be_bytes();
        [&length[length.len() - width..], bytes].concat()
    }

    fn extension(kind: u16, bytes: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &field(2, bytes)].concat()
    }

    fn named(name: &[u8]) -> Vec<u8> {
        extension(0, &field(2, &[&[0][..], &field(2, name)].concat()))
    }

    fn offering(protocols: &[&str]) -> Vec<u8> {
        let list: Vec<u8> = protocols
            .iter()
            .flat_map(|protocol| field(1, protocol.as_bytes()))
            .collect();
        extension(16, &field(2, &list))
    }

    /// A whole message with these extensions.
    fn message(extensions: &[u8]) -> Vec<u8> {
        let head = [&[3, 3][..], &[7; 32]].concat();
        let body = [
            &head[..],
            &field(1, b""),
            &field(2, &[0x13, 1]),
            &field(1, &[0]),
            &field(2, extensions),
        ]
        .concat();
        [&[1][..], &field(3, &body)].concat()
    }

    fn record(bytes: &[u8]) -> Vec<u8> {
        [&[22, 3, 1][..], &field(2, bytes)].concat()
    }

    fn records(message: &[u8], size: usize) -> Vec<u8> {
        message.chunks(size).flat_map(record).collect()
    }

    fn found(name: Option<&str>, protocols: &[&str]) -> Sniffed<Hello> {
        Sniffed::Found(Hello {
            server_name: name.map(Into::into),
            protocols: protocols.iter().map(|text| (*text).into()).collect(),
            ..Hello::default()
        })
    }

    #[test]
    fn the_name_and_the_protocols_are_found() {
        let extensions = [
            extension(43, &[2, 3, 3]),
            named(b"A.Example"),
            offering(&["h2", "http/1.1"]),
        ]
        .concat();
        let whole = message(&extensions);
        let wanted = found(Some("a.example"), &["h2", "http/1.1"]);
        assert_eq!(parse(&record(&whole)), wanted);
        assert_eq!(parse(&[&record(&whole)[..], b"more"].concat()), wanted);
        assert_eq!(parse(&record(&message(&[]))), found(None, &[]));
        assert_eq!(length(&record(&whole)), Some(whole.len()));
    }

    #[test]
    fn who_takes_a_staple_is_known() {
        for (wanted, takes) in [
            (&[1, 0, 0, 0, 0][..], true),
            (&[2, 0, 0], false),
            (&[], false),
        ] {
            let whole = record(&message(&extension(5, wanted)));
            let Sniffed::Found(hello) = parse(&whole) else {
                panic!("{wanted:?}");
            };
            assert_eq!(hello.takes_staple, takes, "{wanted:?}");
        }
    }

    #[test]
    fn who_speaks_the_newest_version_is_known() {
        for (versions, speaks) in [
            (&[2, 3, 4][..], true),
            (&[6, 0x7f, 28, 3, 3, 3, 4], true),
            (&[2, 3, 3], false),
            (&[3, 3, 4, 3], true),
            (&[4, 3, 4], false),
            (&[0], false),
            (&[], false),
        ] {
            let whole = record(&message(&extension(43, versions)));
            let Sniffed::Found(hello) = parse(&whole) else {
                panic!("{versions:?}");
            };
            assert_eq!(hello.speaks_13, speaks, "{versions:?}");
        }
    }

    #[test]
    fn pieces_and_records_are_put_together() {
        let whole = message(&[named(b"a.example"), offering(&["h2"])].concat());
        for size in [1, 2, 3, 4, 5, 60, whole.len()] {
            let bytes = records(&whole, size);
            for end in 0..bytes.len() {
                assert_eq!(parse(&bytes[..end]), Sniffed::Partial, "{size} {end}");
            }
            assert_eq!(parse(&bytes), found(Some("a.example"), &["h2"]), "{size}");
        }
    }

    #[test]
    fn what_is_none_is_known_early() {
        for bytes in [
            &b"G"[..],
            b"GET / HTTP/1.1\r\n",
            b"\x16\x02",
            b"\x15\x03\x01\x00\x02",
            b"\x16\x03\x01\x00\x00",
            b"\x16\x03\x01\x40\x01",
            b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",
            // Another record before the message is there.
            b"\x16\x03\x01\x00\x01\x01\x17",
        ] {
            assert_eq!(parse(bytes), Sniffed::Other, "{bytes:?}");
        }
        for broken in [
            named(b""),
            named(b"a\0b"),
            named(&[b'a'; 256]),
            extension(0, &[]),
            extension(16, &field(2, &[0])),
            extension(16, &field(2, &[5, b'h'])),
            vec![0, 0, 0, 9],
        ] {
            assert_eq!(
                parse(&record(&message(&broken))),
                Sniffed::Other,
                "{broken:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_a_beginning_never_says_something_else(
            bytes in proptest::collection::vec(any::<u8>(), 0..64),
            flips in proptest::collection::vec((0_usize..200, any::<u8>()), 0..4),
            size in 1_usize..80,
        ) {
            let mut mutated = records(&message(&[named(b"a.example"), bytes].concat()), size);
            for (at, byte) in flips {
                if let Some(slot) = mutated.get_mut(at) {
                    *slot = byte;
                }
            }
            let whole = parse(&mutated);
            for end in 0..mutated.len() {
                let part = parse(&mutated[..end]);
                prop_assert!(part == Sniffed::Partial || part == whole, "{part:?} then {whole:?}");
            }
        }
    }
}
