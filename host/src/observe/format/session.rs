//! What a TLS session and its certificates stand for in a log line.
//!
//! Owns the facts and how each is written, for both sides: `DOWNSTREAM_TLS_…`, `UPSTREAM_PEER_…` and the
//! like. Called for operators of that kind. Does not own the facts themselves (`exchange`).

use std::time::{Duration, UNIX_EPOCH};

use crate::certificate::{Certificate, hex, sha1, sha256};
use crate::exchange::{Exchange, Tls};

use super::digits::push_ip;
use super::time::TimeFormat;

/// Whose session it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Downstream,
    Upstream,
}

/// Whose certificate it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// That of this proxy.
    Local,
    /// That of the other end.
    Peer,
}

/// What is written.
#[derive(Clone, Debug)]
pub(super) enum Fact {
    Version,
    Cipher,
    Group,
    Subject(Whose),
    Issuer,
    Serial,
    Sha256,
    Sha1,
    Dns(Whose),
    Uri(Whose),
    Email(Whose),
    Ip(Whose),
    From(TimeFormat),
    Until(TimeFormat),
    /// The certificate as PEM, with what a URL may not have escaped.
    Pem,
    ChainSha256,
    ChainSha1,
    ChainSerials,
}

/// Appends the fact; false, with nothing appended, when the session has none, or there is no session.
pub(super) fn write(exchange: &Exchange, side: Side, fact: &Fact, out: &mut Vec<u8>) -> bool {
    let session = match side {
        Side::Downstream => exchange.connection.tls.as_deref(),
        Side::Upstream => exchange.upstream.tls.as_deref(),
    };
    session.is_some_and(|session| write_fact(session, fact, out))
}

fn write_fact(session: &Tls, fact: &Fact, out: &mut Vec<u8>) -> bool {
    let certificate = |whose| match whose {
        Whose::Local => session.local.as_deref(),
        Whose::Peer => session.peer.as_ref().map(|peer| &peer.certificate),
    };
    let peer = certificate(Whose::Peer);
    match fact {
        Fact::Version => text(out, Some(session.version)),
        Fact::Cipher => text(out, Some(session.cipher)),
        Fact::Group => text(out, Some(session.group)),
        Fact::Subject(whose) => text(out, certificate(*whose).map(|one| &*one.subject)),
        Fact::Issuer => text(out, peer.map(|one| &*one.issuer)),
        Fact::Serial => text(out, peer.map(|one| &*one.serial)),
        Fact::Sha256 => text(out, peer.map(|one| hex(&one.sha256)).as_deref()),
        Fact::Sha1 => text(out, peer.map(|one| hex(&sha1(&one.der))).as_deref()),
        Fact::Dns(whose) => list(out, certificate(*whose), |one| &one.names.dns),
        Fact::Uri(whose) => list(out, certificate(*whose), |one| &one.names.uri),
        Fact::Email(whose) => list(out, certificate(*whose), |one| &one.names.email),
        Fact::Ip(whose) => {
            let addresses = certificate(*whose).map(|one| &*one.names.ip);
            join(out, addresses.unwrap_or_default(), |out, ip| {
                push_ip(out, *ip)
            })
        }
        Fact::From(format) => moment(out, peer.map(|one| one.not_before), format),
        Fact::Until(format) => moment(out, peer.map(|one| one.not_after), format),
        Fact::Pem => text(out, peer.map(Certificate::url_encoded_pem).as_deref()),
        Fact::ChainSha256 => join(out, &chain(session), |out, der| {
            out.extend_from_slice(hex(&sha256(der)).as_bytes());
        }),
        Fact::ChainSha1 => join(out, &chain(session), |out, der| {
            out.extend_from_slice(hex(&sha1(der)).as_bytes());
        }),
        Fact::ChainSerials => join(out, &chain(session), |out, der| {
            if let Ok(certificate) = Certificate::parse(der) {
                out.extend_from_slice(certificate.serial.as_bytes());
            }
        }),
    }
}

/// All certificates of the peer, its own first.
fn chain(session: &Tls) -> Vec<&[u8]> {
    let peer = session.peer.iter();
    peer.flat_map(|peer| {
        let rest = peer.chain.iter().map(|der| &**der);
        std::iter::once(&*peer.certificate.der).chain(rest)
    })
    .collect()
}

fn text(out: &mut Vec<u8>, text: Option<&str>) -> bool {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return false;
    };
    out.extend_from_slice(text.as_bytes());
    true
}

fn list(
    out: &mut Vec<u8>,
    certificate: Option<&Certificate>,
    names: fn(&Certificate) -> &Vec<String>,
) -> bool {
    let names = certificate.map(names).map(Vec::as_slice);
    join(out, names.unwrap_or_default(), |out, name| {
        out.extend_from_slice(name.as_bytes());
    })
}

fn join<T>(out: &mut Vec<u8>, items: &[T], write: impl Fn(&mut Vec<u8>, &T)) -> bool {
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    !items.is_empty()
}

fn moment(out: &mut Vec<u8>, second: Option<i64>, format: &TimeFormat) -> bool {
    let Some(second) = second.and_then(|second| u64::try_from(second).ok()) else {
        return false;
    };
    let moment = UNIX_EPOCH.checked_add(Duration::from_secs(second));
    moment.is_some_and(|moment| {
        format.write(moment, out);
        true
    })
}
