//! What is made of request heads: paths that lead nowhere else, and clients that nobody can invent.

use std::net::{IpAddr, SocketAddr};

use nuncio::address::Address;
use nuncio::headers::{Headers, Known};
use nuncio::http::client_address::{ClientAddress, Detection};
use nuncio::http::path::{EscapedSlashes, Normalized, PathRules};

/// Takes the first byte of `data` as rules and the rest as a `:path`. What comes out may not change
/// when it is normalised again, has no dot segments and no backslashes where that was asked for, and
/// keeps its query.
pub fn path(data: &[u8]) {
    let Some((choice, rest)) = data.split_first() else {
        return;
    };
    let rules = PathRules {
        normalize: choice & 1 != 0,
        merge_slashes: choice & 2 != 0,
        escaped_slashes: match choice >> 2 & 3 {
            0 => EscapedSlashes::Keep,
            1 => EscapedSlashes::Reject,
            2 => EscapedSlashes::Redirect,
            _ => EscapedSlashes::Forward,
        },
    };
    // What the codecs let through, and nothing else.
    let visible = rest
        .iter()
        .copied()
        .filter(|byte| matches!(byte, 0x21..=0x7e));
    let target: Vec<u8> = std::iter::once(b'/').chain(visible).collect();
    let served = match rules.apply(&target) {
        Normalized::Unchanged => target.clone(),
        Normalized::Changed(path) => path,
        Normalized::Redirect(path) => {
            assert_eq!(rules.escaped_slashes, EscapedSlashes::Redirect);
            path
        }
        Normalized::Refused(_) => {
            assert!(rules.normalize || rules.escaped_slashes == EscapedSlashes::Reject);
            return;
        }
    };
    let (before, after) = (split(&target), split(&served));
    assert_eq!(before.1, after.1, "the query is left alone");
    assert!(after.0.starts_with(b"/"));
    if !rules.normalize {
        return;
    }
    assert!(!after.0.contains(&b'\\'));
    for segment in after.0.split(|byte| *byte == b'/') {
        assert!(segment != b"." && segment != b"..");
    }
    let only = PathRules {
        normalize: true,
        ..PathRules::default()
    };
    match only.apply(&served) {
        Normalized::Unchanged => {}
        Normalized::Changed(again) => assert_eq!(again, served),
        Normalized::Redirect(_) | Normalized::Refused(_) => panic!("a served path is refused"),
    }
}

/// Takes `data` as `x-forwarded-for`. At the edge without trusted hops the peer is the client,
/// whatever the list says; elsewhere the client is one of the list, or the peer.
pub fn client(data: &[u8]) {
    let peer: SocketAddr = "192.0.2.1:1".parse().expect("an address");
    let peer = Address::from(peer);
    let mut head = Headers::new();
    head.append_known(Known::XForwardedFor, data);
    let edge = ClientAddress::Edge {
        trusted_hops: 0,
        skip_append: false,
    };
    let client = edge.find(&head, &peer).expect("nothing is demanded");
    assert_eq!(client.address, peer);
    assert!(!client.may_be_internal);
    for trusted in 0..3 {
        let hops = Detection::Hops {
            trusted,
            skip_append: true,
        };
        let told = ClientAddress::Told([hops].into());
        let client = told.find(&head, &peer).expect("nothing is demanded");
        assert!(!client.may_be_internal || (trusted == 0 && !data.contains(&b',')));
        let named = data.split(|byte| *byte == b',').any(|entry| {
            let text = std::str::from_utf8(entry.trim_ascii());
            let named = text.ok().and_then(|text| text.parse::<IpAddr>().ok());
            named.is_some() && named == client.address.ip().map(|address| address.ip())
        });
        assert!(named || client.address == peer);
    }
}

fn split(target: &[u8]) -> (&[u8], &[u8]) {
    let end = target.iter().position(|byte| *byte == b'?');
    target.split_at(end.unwrap_or(target.len()))
}
