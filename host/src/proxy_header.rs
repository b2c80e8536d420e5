//! The header of the PROXY protocol, which tells a server where its client is.
//!
//! Owns writing it, in version 1 and 2 (<https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>).
//! Pure. Does not own reading it, which listeners do.

use std::net::{IpAddr, SocketAddr};

/// The version of the protocol (`ProxyProtocolConfig.version`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyVersion {
    /// Text.
    V1,
    /// Binary.
    V2,
}

/// What stands behind the addresses in version 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tlv {
    /// Its type.
    pub kind: u8,
    /// Its value, at most 65 535 bytes together with those of all others.
    pub value: Box<[u8]>,
}

/// The headers that a cluster's connections begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// `version`.
    pub version: ProxyVersion,
    /// `added_tlvs`.
    pub tlvs: Vec<Tlv>,
}

/// What version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, and that the connection is the proxy's own.
const LOCAL: u8 = 0x20;
/// Version 2, and that it is made for somebody.
const PROXY: u8 = 0x21;
const TCP_OVER_4: u8 = 0x11;
const TCP_OVER_6: u8 = 0x21;

impl ProxyHeader {
    /// The header for a client at the first address that has connected to the second; without them,
    /// for a connection of our own. `own` are those of the endpoint, which come first and in place of the
    /// cluster's of their types.
    #[must_use]
    pub fn bytes(&self, ends: Option<(SocketAddr, SocketAddr)>, own: &[Tlv]) -> Vec<u8> {
        match self.version {
            ProxyVersion::V1 => text(ends),
            ProxyVersion::V2 => self.binary(ends, own),
        }
    }

    fn binary(&self, ends: Option<(SocketAddr, SocketAddr)>, own: &[Tlv]) -> Vec<u8> {
        let (command, family, mut rest) = match ends.map(same_family) {
            None => (LOCAL, 0, Vec::new()),
            Some((source, destination)) => {
                let mut rest = Vec::new();
                for address in [source, destination] {
                    match address.ip() {
                        IpAddr::V4(ip) => rest.extend_from_slice(&ip.octets()),
                        IpAddr::V6(ip) => rest.extend_from_slice(&ip.octets()),
                    }
                }
                for address in [source, destination] {
                    rest.extend_from_slice(&address.port().to_be_bytes());
                }
                let family = if source.is_ipv4() {
                    TCP_OVER_4
                } else {
                    TCP_OVER_6
                };
                (PROXY, family, rest)
            }
        };
        let is_own = |tlv: &&Tlv| own.iter().any(|own| own.kind == tlv.kind);
        for tlv in own
            .iter()
            .chain(self.tlvs.iter().filter(|tlv| !is_own(tlv)))
        {
            let length = u16::try_from(tlv.value.len()).unwrap_or(u16::MAX);
            rest.push(tlv.kind);
            rest.extend_from_slice(&length.to_be_bytes());
            rest.extend(tlv.value.iter().take(length.into()));
        }
        let length = u16::try_from(rest.len()).unwrap_or(u16::MAX);
        let mut header = SIGNATURE.to_vec();
        header.extend_from_slice(&[command, family]);
        header.extend_from_slice(&length.to_be_bytes());
        header.extend(rest.iter().take(length.into()));
        header
    }
}

fn text(ends: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
    let Some((source, destination)) = ends.map(same_family) else {
        return b"PROXY UNKNOWN\r\n".to_vec();
    };
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.ip(), destination.ip());
    let ports = (source.port(), destination.port());
    format!("PROXY {family} {from} {to} {} {}\r\n", ports.0, ports.1).into_bytes()
}

/// Both as addresses of one family: the header has room for no other pair.
fn same_family((source, destination): (SocketAddr, SocketAddr)) -> (SocketAddr, SocketAddr) {
    let canonical =
        |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let (source, destination) = (canonical(source), canonical(destination));
    if source.is_ipv4() == destination.is_ipv4() {
        return (source, destination);
    }
    let wide = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    (wide(source), wide(destination))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(source: &str, destination: &str) -> Option<(SocketAddr, SocketAddr)> {
        Some((source.parse().unwrap(), destination.parse().unwrap()))
    }

    fn header(version: ProxyVersion, tlvs: Vec<Tlv>) -> ProxyHeader {
        ProxyHeader { version, tlvs }
    }

    #[test]
    fn text_is_a_line() {
        let header = header(ProxyVersion::V1, Vec::new());
        for (ends, expected) in [
            (
                ends("1.2.3.4:5", "6.7.8.9:80"),
                "PROXY TCP4 1.2.3.4 6.7.8.9 5 80\r\n",
            ),
            (
                ends("[::1]:5", "[2001:db8::2]:80"),
                "PROXY TCP6 ::1 2001:db8::2 5 80\r\n",
            ),
            (
                ends("[::ffff:1.2.3.4]:5", "6.7.8.9:80"),
                "PROXY TCP4 1.2.3.4 6.7.8.9 5 80\r\n",
            ),
            (
                ends("1.2.3.4:5", "[::2]:80"),
                "PROXY TCP6 ::ffff:1.2.3.4 ::2 5 80\r\n",
            ),
            (None, "PROXY UNKNOWN\r\n"),
        ] {
            assert_eq!(
                String::from_utf8(header.bytes(ends, &[])).unwrap(),
                expected
            );
        }
    }

    #[test]
    fn binary_has_addresses_and_what_was_added() {
        let plain = header(ProxyVersion::V2, Vec::new());
        let mut expected = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
        expected.extend_from_slice(&[1, 2, 3, 4, 6, 7, 8, 9, 0, 5, 0, 80]);
        assert_eq!(plain.bytes(ends("1.2.3.4:5", "6.7.8.9:80"), &[]), expected);
        assert_eq!(plain.bytes(None, &[]), b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0");
        let tlv = |kind, value: &[u8]| Tlv {
            kind,
            value: value.into(),
        };
        let added = header(ProxyVersion::V2, vec![tlv(0xE0, b"ab")]);
        let bytes = added.bytes(ends("[::1]:5", "[::2]:80"), &[]);
        assert_eq!(bytes[12..16], [0x21, 0x21, 0, 41]);
        assert_eq!(bytes.len(), 16 + 41);
        assert_eq!(bytes[bytes.len() - 5..], [0xE0, 0, 2, b'a', b'b']);
        for (own, expected) in [
            (tlv(0xE1, b"c"), b"\xE1\0\x01c\xE0\0\x02ab".as_slice()),
            (tlv(0xE0, b"c"), b"\xE0\0\x01c"),
        ] {
            assert_eq!(added.bytes(None, &[own])[16..], *expected);
        }
    }
}
