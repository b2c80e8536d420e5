//! Who the client is: the peer, or the one that trusted proxies vouch for.
//!
//! Owns `use_remote_address`, `xff_num_trusted_hops` and `original_ip_detection_extensions` as pure
//! functions of the request's head and the peer's address. Called by `hygiene`. Does not own what
//! is written into the head because of it.

use std::net::{IpAddr, SocketAddr};

use crate::address::Address;
use crate::headers::{Headers, Known, Name};
use crate::runtime::Cidr;

/// Where the client's address comes from.
#[derive(Clone, Debug)]
pub enum ClientAddress {
    /// `use_remote_address`: the proxy is at the edge.
    Edge {
        /// `xff_num_trusted_hops`: proxies in front of it whose `x-forwarded-for` counts.
        trusted_hops: u32,
        /// `skip_xff_append`.
        skip_append: bool,
    },
    /// A proxy before this one knows; the first that tells.
    Told(Box<[Detection]>),
}

/// How a proxy before this one tells the client's address (`original_ip_detection_extensions`).
#[derive(Clone, Debug)]
pub enum Detection {
    /// By its place in `x-forwarded-for`.
    Hops {
        /// Addresses at the end of the list that are passed over.
        trusted: u32,
        /// Whether the peer is not added to the list.
        skip_append: bool,
    },
    /// The last of `x-forwarded-for` that is no proxy's.
    Proxies {
        /// Addresses of proxies.
        trusted: Box<[Cidr]>,
        /// Whether the peer is not added to the list.
        skip_append: bool,
    },
    /// In a field of its own.
    Header {
        /// The field.
        name: Name,
        /// Whether such an address may be an internal one.
        may_be_internal: bool,
        /// The status that a request without an address is answered with; none: it is served.
        reject: Option<u16>,
    },
}

/// What is known about the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its address; port 0 where only the address is known.
    pub address: Address,
    /// Whether it is internal where its address is.
    pub may_be_internal: bool,
    /// How often the peer is added to `x-forwarded-for`: by each rule that was asked and says so.
    pub appends: u32,
}

impl ClientAddress {
    /// Whether the proxy is at the edge of what is trusted.
    #[must_use]
    pub const fn is_edge(&self) -> bool {
        matches!(self, Self::Edge { .. })
    }

    /// Whether nothing counts that a request says of who sent it, and how.
    #[must_use]
    pub const fn trusts_nobody(&self) -> bool {
        matches!(
            self,
            Self::Edge {
                trusted_hops: 0,
                ..
            }
        )
    }

    /// Finds the client whose request came from `peer`.
    ///
    /// # Errors
    /// The status to refuse the request with, where it has to tell an address and does not.
    pub fn find(&self, head: &Headers, peer: &Address) -> Result<Client, u16> {
        match self {
            Self::Edge {
                trusted_hops,
                skip_append,
            } => {
                // The peer itself is the first hop and not in the list yet.
                let told = trusted_hops
                    .checked_sub(1)
                    .and_then(|skip| nth_from_right(head, skip));
                Ok(Client {
                    address: told.map_or_else(|| peer.clone(), |told| at(told.ip)),
                    may_be_internal: !head.has(Known::XForwardedFor),
                    appends: u32::from(!skip_append),
                })
            }
            Self::Told(detections) => {
                let mut client = Client {
                    address: peer.clone(),
                    may_be_internal: false,
                    appends: 0,
                };
                for detection in detections {
                    client.appends += u32::from(detection.appends());
                    if let Some((ip, may_be_internal)) = detection.find(head, peer)? {
                        client.address = at(ip);
                        client.may_be_internal = may_be_internal;
                        break;
                    }
                }
                Ok(client)
            }
        }
    }
}

impl Detection {
    /// Whether the peer is added to `x-forwarded-for`.
    const fn appends(&self) -> bool {
        match self {
            Self::Hops { skip_append, .. } | Self::Proxies { skip_append, .. } => !*skip_append,
            Self::Header { .. } => false,
        }
    }

    /// The client's address and whether it may be an internal one.
    fn find(&self, head: &Headers, peer: &Address) -> Result<Option<(IpAddr, bool)>, u16> {
        match self {
            Self::Hops { trusted, .. } => {
                let told = nth_from_right(head, *trusted);
                Ok(told.map(|told| (told.ip, told.is_alone && *trusted == 0)))
            }
            Self::Proxies { trusted, .. } => {
                let is_proxy = |ip: IpAddr| trusted.iter().any(|range| range.contains(ip));
                if !peer.ip().is_some_and(|peer| is_proxy(peer.ip())) {
                    return Ok(None);
                }
                Ok(last_untrusted(head, is_proxy).map(|told| (told.ip, told.is_alone)))
            }
            Self::Header {
                name,
                may_be_internal,
                reject,
            } => match (head.get(name).and_then(address), reject) {
                (Some(ip), _) => Ok(Some((ip, *may_be_internal))),
                (None, Some(status)) => Err(*status),
                (None, None) => Ok(None),
            },
        }
    }
}

/// An address without a port.
const fn at(ip: IpAddr) -> Address {
    Address::Ip(SocketAddr::new(ip, 0))
}

fn address(text: &[u8]) -> Option<IpAddr> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// An address of `x-forwarded-for`.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    ip: IpAddr,
    /// Whether the list has no other one in front of it.
    is_alone: bool,
}

/// The address that `skip` others follow in `x-forwarded-for`.
fn nth_from_right(head: &Headers, skip: u32) -> Option<Told> {
    let mut entries = list(head)?.rsplit(|byte| *byte == b',');
    let entry = entries.nth(usize::try_from(skip).ok()?)?;
    Some(Told {
        ip: address(entry.trim_ascii())?,
        is_alone: entries.next().is_none(),
    })
}

/// The last address that no proxy has, or the first of all where they all are proxies'. What stands
/// in front of something that is no address does not count.
fn last_untrusted(head: &Headers, is_proxy: impl Fn(IpAddr) -> bool) -> Option<Told> {
    let mut found = None;
    let list = list(head)?;
    let is_alone = memchr::memchr(b',', list).is_none();
    for entry in list.rsplit(|byte| *byte == b',') {
        let Some(ip) = address(entry.trim_ascii()) else {
            break;
        };
        found = Some(Told { ip, is_alone });
        if !is_proxy(ip) {
            break;
        }
    }
    found
}

/// `x-forwarded-for`; several lines of it were joined before.
fn list(head: &Headers) -> Option<&[u8]> {
    head.known(Known::XForwardedFor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(forwarded: Option<&str>) -> Headers {
        let mut head = Headers::new();
        if let Some(list) = forwarded {
            head.append_known(Known::XForwardedFor, list.as_bytes());
        }
        head
    }

    fn peer() -> Address {
        Address::Ip("192.0.2.9:4000".parse().unwrap())
    }

    /// Address, whether it may be internal, how often the peer is added.
    fn found(rules: &ClientAddress, head: &Headers) -> Result<(String, bool, u32), u16> {
        let client = rules.find(head, &peer())?;
        Ok((
            client.address.to_string(),
            client.may_be_internal,
            client.appends,
        ))
    }

    #[test]
    fn at_the_edge_the_peer_is_the_client_unless_a_hop_vouches_for_another() {
        let edge = |trusted_hops| ClientAddress::Edge {
            trusted_hops,
            skip_append: false,
        };
        for (hops, list, address, may_be_internal) in [
            (0, None, "192.0.2.9:4000", true),
            (0, Some("10.0.0.1"), "192.0.2.9:4000", false),
            (1, Some("1.2.3.4, 5.6.7.8"), "5.6.7.8:0", false),
            (2, Some("1.2.3.4, 5.6.7.8"), "1.2.3.4:0", false),
            (3, Some("1.2.3.4, 5.6.7.8"), "192.0.2.9:4000", false),
            (1, None, "192.0.2.9:4000", true),
            (1, Some("bogus"), "192.0.2.9:4000", false),
        ] {
            assert_eq!(
                found(&edge(hops), &head(list)),
                Ok((address.to_owned(), may_be_internal, 1)),
                "{hops} {list:?}"
            );
        }
    }

    #[test]
    fn inside_the_list_tells_the_client() {
        let told = |trusted| {
            let hops = Detection::Hops {
                trusted,
                skip_append: true,
            };
            ClientAddress::Told([hops].into())
        };
        for (hops, list, address, may_be_internal) in [
            (0, None, "192.0.2.9:4000", false),
            (0, Some("10.0.0.1"), "10.0.0.1:0", true),
            (0, Some(" 10.0.0.1\t"), "10.0.0.1:0", true),
            (0, Some("::1"), "[::1]:0", true),
            (0, Some("1.1.1.1, 10.0.0.1"), "10.0.0.1:0", false),
            (1, Some("1.1.1.1, 10.0.0.1"), "1.1.1.1:0", false),
            (1, Some("1.1.1.1"), "192.0.2.9:4000", false),
            (0, Some("1.1.1.1,"), "192.0.2.9:4000", false),
            (0, Some("10.0.0.1:80"), "192.0.2.9:4000", false),
        ] {
            assert_eq!(
                found(&told(hops), &head(list)),
                Ok((address.to_owned(), may_be_internal, 0)),
                "{hops} {list:?}"
            );
        }
    }

    #[test]
    fn proxies_are_passed_over_by_their_addresses() {
        let range = |text: &str, prefix| Cidr {
            address: text.parse().unwrap(),
            prefix,
        };
        let told = |trusted: Box<[Cidr]>| {
            let proxies = Detection::Proxies {
                trusted,
                skip_append: false,
            };
            ClientAddress::Told([proxies].into())
        };
        let rules = told([range("192.0.2.0", 24), range("10.0.0.0", 8)].into());
        for (list, expected) in [
            ("1.1.1.1, 2.2.2.2, 10.0.0.1", "2.2.2.2:0"),
            ("10.0.0.2, 10.0.0.1", "10.0.0.2:0"),
            ("1.1.1.1, bogus, 10.0.0.1", "10.0.0.1:0"),
        ] {
            assert_eq!(
                found(&rules, &head(Some(list))),
                Ok((expected.to_owned(), false, 1)),
                "{list}"
            );
        }
        let stranger = told([range("10.0.0.0", 8)].into());
        assert_eq!(
            found(&stranger, &head(Some("1.1.1.1"))),
            Ok(("192.0.2.9:4000".to_owned(), false, 1))
        );
    }

    #[test]
    fn a_field_of_its_own_may_be_demanded() {
        let rules = |reject| {
            let header = Detection::Header {
                name: Name::parse(b"x-client").unwrap(),
                may_be_internal: true,
                reject,
            };
            ClientAddress::Told([header].into())
        };
        let mut with = Headers::new();
        with.append_bytes(b"x-client", b"10.0.0.1");
        assert_eq!(
            found(&rules(Some(403)), &with),
            Ok(("10.0.0.1:0".to_owned(), true, 0))
        );
        assert_eq!(found(&rules(Some(403)), &Headers::new()), Err(403));
        assert_eq!(
            found(&rules(None), &Headers::new()),
            Ok(("192.0.2.9:4000".to_owned(), false, 0))
        );
    }
}
