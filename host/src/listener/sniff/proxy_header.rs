//! The header of the PROXY protocol, versions 1 and 2: whom a connection is really from.
//!
//! Owns the grammar of both (the protocol's text, sections 2.1 and 2.2) as strictly as Envoy has it.
//! Does not own what is believed of it (`super::super::filters`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Bytes, Sniffed};

/// What version 1 begins with.
const V1: &[u8] = b"PROXY ";
/// Longest line of version 1, its end included.
const V1_MAX: usize = 107;
/// What version 2 begins with.
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes of version 2 before addresses: the signature, the command, the family, a length.
const V2_HEAD: usize = 16;
/// The longest header there can be.
pub const LENGTH_MAX: usize = V2_HEAD + u16::MAX as usize;

/// Which of the two it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A line of text.
    V1,
    /// Bytes.
    V2,
}

/// A header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Its version.
    pub version: Version,
    /// How many bytes it takes.
    pub length: usize,
    /// The client's address, and the one that it connected to; none where the proxy before speaks for
    /// itself, or does not know.
    pub addresses: Option<(SocketAddr, SocketAddr)>,
    /// What else version 2 carries: fields of a type, a length and a value.
    pub fields: Fields<'a>,
}

/// The fields of a header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// Each type and value; none in place of one that does not fit.
    pub fn iter(self) -> impl Iterator<Item = Option<(u8, &'a [u8])>> {
        let mut rest = Bytes(self.0);
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let field = rest.byte().zip(rest.field(2));
            if field.is_none() {
                rest = Bytes(&[]);
            }
            Some(field.map(|(kind, value)| (kind, value.0)))
        })
    }
}

/// Which versions are looked for.
#[derive(Clone, Copy, Debug)]
pub struct Versions {
    /// Version 1.
    pub v1: bool,
    /// Version 2.
    pub v2: bool,
}

impl Versions {
    /// Both.
    pub const ALL: Self = Self { v1: true, v2: true };
}

/// How long the header of version 2 is that begins there; none before that is known.
#[must_use]
pub fn length(bytes: &[u8]) -> Option<usize> {
    let mut rest = Bytes(bytes.strip_prefix(V2)?);
    rest.take(2)?;
    Some(V2_HEAD + rest.number(2)?)
}

/// Reads what there is of a header of one of these versions.
///
/// # Errors
/// The version that a broken header claims to be.
pub fn parse(bytes: &[u8], versions: Versions) -> Result<Sniffed<Header<'_>>, Version> {
    if versions.v1 && bytes.starts_with(V1) {
        return v1(bytes).ok_or(Version::V1);
    }
    if versions.v2 && bytes.starts_with(V2) {
        return v2(bytes).ok_or(Version::V2);
    }
    if versions.v1 && V1.starts_with(bytes) || versions.v2 && V2.starts_with(bytes) {
        return Ok(Sniffed::Partial);
    }
    Ok(Sniffed::Other)
}

fn v1(bytes: &[u8]) -> Option<Sniffed<Header<'_>>> {
    let there = bytes.get(..V1_MAX.min(bytes.len()))?;
    let Some(end) = there.windows(2).position(|pair| pair == b"\r\n") else {
        return (bytes.len() < V1_MAX).then_some(Sniffed::Partial);
    };
    let line = std::str::from_utf8(there.get(V1.len()..end)?).ok()?;
    let found = |addresses| {
        Sniffed::Found(Header {
            version: Version::V1,
            length: end + 2,
            addresses,
            fields: Fields::default(),
        })
    };
    let mut words = line.split(' ');
    let kind = words.next()?;
    if kind == "UNKNOWN" {
        return Some(found(None));
    }
    let is_v4 = match kind {
        "TCP4" => true,
        "TCP6" => false,
        _ => return None,
    };
    let ip = |word: &str| {
        let ip = word.parse::<IpAddr>().ok()?;
        (ip.is_ipv4() == is_v4).then_some(ip)
    };
    let (from, to) = (ip(words.next()?)?, ip(words.next()?)?);
    let (from_port, to_port) = (port(words.next()?)?, port(words.next()?)?);
    let addresses = (
        SocketAddr::new(from, from_port),
        SocketAddr::new(to, to_port),
    );
    words.next().is_none().then(|| found(Some(addresses)))
}

/// A port in digits alone.
fn port(word: &str) -> Option<u16> {
    let is_number = word.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| word.parse().ok())?
}

fn v2(bytes: &[u8]) -> Option<Sniffed<Header<'_>>> {
    const VERSION: u8 = 0x20;
    const LOCAL: u8 = VERSION;
    const PROXY: u8 = VERSION | 1;
    let mut rest = Bytes(bytes);
    rest.take(V2.len())?;
    let Some(command) = rest.byte() else {
        return Some(Sniffed::Partial);
    };
    if command != LOCAL && command != PROXY {
        return None;
    }
    let (Some(family), Some(length)) = (rest.byte(), rest.number(2)) else {
        return Some(Sniffed::Partial);
    };
    let Some(body) = rest.take(length) else {
        return Some(Sniffed::Partial);
    };
    let mut body = Bytes(body);
    let addresses = match command {
        // The proxy itself, such as its health check; what else there is does not count.
        LOCAL => {
            body = Bytes(&[]);
            None
        }
        _ => Some(v2_addresses(family, &mut body)?),
    };
    Some(Sniffed::Found(Header {
        version: Version::V2,
        length: V2_HEAD + length,
        addresses,
        fields: Fields(body.0),
    }))
}

/// The addresses of version 2, of the families that a client can have.
fn v2_addresses(family: u8, body: &mut Bytes<'_>) -> Option<(SocketAddr, SocketAddr)> {
    // Streams or datagrams.
    if !matches!(family & 0x0f, 1 | 2) {
        return None;
    }
    let (from, to): (IpAddr, IpAddr) = match family >> 4 {
        1 => (v4(body)?.into(), v4(body)?.into()),
        2 => (v6(body)?.into(), v6(body)?.into()),
        _ => return None,
    };
    let mut port = || u16::try_from(body.number(2)?).ok();
    Some((SocketAddr::new(from, port()?), SocketAddr::new(to, port()?)))
}

fn v4(body: &mut Bytes<'_>) -> Option<Ipv4Addr> {
    let octets: [u8; 4] = body.take(4)?.try_into().ok()?;
    Some(octets.into())
}

fn v6(body: &mut Bytes<'_>) -> Option<Ipv6Addr> {
    let octets: [u8; 16] = body.take(16)?.try_into().ok()?;
    Some(octets.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Addresses = Option<(SocketAddr, SocketAddr)>;

    fn header(bytes: &[u8]) -> Option<(Version, usize, Addresses)> {
        match parse(bytes, Versions::ALL) {
            Ok(Sniffed::Found(header)) => Some((header.version, header.length, header.addresses)),
            _ => None,
        }
    }

    fn pair(from: &str, to: &str) -> Addresses {
        Some((from.parse().unwrap(), to.parse().unwrap()))
    }

    fn second(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [V2, &[command, family], &length, body].concat()
    }

    const FOUR: &[u8] = &[1, 2, 3, 4, 5, 6, 7, 8, 0, 111, 0, 222];

    #[test]
    fn lines_are_read() {
        let line = b"PROXY TCP4 1.2.3.4 5.6.7.8 111 222\r\nGET";
        let addresses = pair("1.2.3.4:111", "5.6.7.8:222");
        assert_eq!(header(line), Some((Version::V1, 36, addresses)));
        let line = b"PROXY TCP6 2001:db8::1 ::2 0 65535\r\n";
        let addresses = pair("[2001:db8::1]:0", "[::2]:65535");
        assert_eq!(header(line), Some((Version::V1, line.len(), addresses)));
        for line in ["PROXY UNKNOWN\r\n", "PROXY UNKNOWN what ever it is\r\n"] {
            let found = header(line.as_bytes());
            assert_eq!(found, Some((Version::V1, line.len(), None)));
        }
    }

    #[test]
    fn broken_lines_are_refused() {
        for line in [
            "PROXY \r\n",
            "PROXY TCP5 1.2.3.4 5.6.7.8 1 2\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n",
            "PROXY TCP4 1.2.3.4  5.6.7.8 1 2\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 +1 2\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 -1 2\r\n",
            "PROXY TCP4 ::1 ::2 1 2\r\n",
            "PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n",
            "PROXY TCP4 1.2.3.400 5.6.7.8 1 2\r\n",
            "PROXY tcp4 1.2.3.4 5.6.7.8 1 2\r\n",
        ] {
            assert_eq!(
                parse(line.as_bytes(), Versions::ALL),
                Err(Version::V1),
                "{line:?}"
            );
        }
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
        assert_eq!(parse(long.as_bytes(), Versions::ALL), Err(Version::V1));
        assert_eq!(
            parse(&[V1, &[b'x'; 101]].concat(), Versions::ALL),
            Err(Version::V1)
        );
        assert_eq!(
            parse(&[V1, &[b'x'; 100]].concat(), Versions::ALL),
            Ok(Sniffed::Partial)
        );
    }

    #[test]
    fn bytes_are_read() {
        let fields = [2, 0, 3, b'a', b'b', b'c', 0xe0, 0, 0];
        let bytes = second(0x21, 0x11, &[FOUR, &fields].concat());
        let addresses = pair("1.2.3.4:111", "5.6.7.8:222");
        assert_eq!(header(&bytes), Some((Version::V2, bytes.len(), addresses)));
        let Ok(Sniffed::Found(found)) = parse(&bytes, Versions::ALL) else {
            panic!("a header")
        };
        assert_eq!(length(&bytes), Some(bytes.len()));
        assert_eq!(length(&bytes[..15]), None);
        let fields: Vec<_> = found.fields.iter().collect();
        assert_eq!(fields, [Some((2, &b"abc"[..])), Some((0xe0, &b""[..]))]);
        let six = [&[0; 15][..], &[1], &[0; 15], &[2], &[0, 1, 0, 2]].concat();
        let bytes = second(0x21, 0x22, &six);
        let addresses = pair("[::1]:1", "[::2]:2");
        assert_eq!(header(&bytes), Some((Version::V2, bytes.len(), addresses)));
        for (family, body) in [(0, &b""[..]), (0x11, FOUR), (0x31, b"whatever")] {
            let bytes = second(0x20, family, body);
            assert_eq!(header(&bytes), Some((Version::V2, bytes.len(), None)));
        }
    }

    #[test]
    fn broken_bytes_are_refused() {
        for (command, family, body) in [
            (0x22, 0x11, FOUR),
            (0x31, 0x11, FOUR),
            (0x11, 0x11, FOUR),
            (0x21, 0x00, FOUR),
            (0x21, 0x10, FOUR),
            (0x21, 0x13, FOUR),
            (0x21, 0x31, &[0; 216]),
            (0x21, 0x21, FOUR),
            (0x21, 0x11, &[1, 2]),
        ] {
            let bytes = second(command, family, body);
            assert_eq!(
                parse(&bytes, Versions::ALL),
                Err(Version::V2),
                "{command:x} {family:x}"
            );
        }
        let cut = second(0x21, 0x11, &[FOUR, &[2, 0, 9, b'x']].concat());
        let Ok(Sniffed::Found(found)) = parse(&cut, Versions::ALL) else {
            panic!("a header")
        };
        assert_eq!(found.fields.iter().collect::<Vec<_>>(), [None]);
    }

    #[test]
    fn other_protocols_are_known_early() {
        for bytes in [&b"GET"[..], b"PROXX", b"\r\n\r\nG", b"\x16\x03"] {
            assert_eq!(parse(bytes, Versions::ALL), Ok(Sniffed::Other), "{bytes:?}");
        }
        let second = Versions {
            v1: false,
            v2: true,
        };
        assert_eq!(parse(b"PRO", second), Ok(Sniffed::Other));
        assert_eq!(parse(b"\r\n", second), Ok(Sniffed::Partial));
    }

    proptest! {
        #[test]
        fn a_beginning_never_says_something_else(
            version2: bool,
            tail in proptest::collection::vec(any::<u8>(), 0..40),
            flips in proptest::collection::vec((0_usize..60, any::<u8>()), 0..3),
        ) {
            let mut bytes = match version2 {
                true => second(0x21, 0x11, &[FOUR, &tail].concat()),
                false => [b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", &tail[..]].concat(),
            };
            for (at, byte) in flips {
                if let Some(slot) = bytes.get_mut(at) {
                    *slot = byte;
                }
            }
            let whole = parse(&bytes, Versions::ALL);
            for end in 0..bytes.len() {
                let part = parse(&bytes[..end], Versions::ALL);
                let same = matches!(part, Ok(Sniffed::Partial)) || part == whole;
                prop_assert!(same, "{part:?} then {whole:?}");
            }
        }
    }
}
