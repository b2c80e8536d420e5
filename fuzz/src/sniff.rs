//! What is read of the first bytes of a connection: the `ClientHello` of TLS, and the PROXY protocol.

use nuncio::listener::sniff::{Sniffed, hello, proxy_header};

/// A `ClientHello` that comes in pieces: what a part of it says never turns into something else.
pub fn client_hello(data: &[u8]) {
    let whole = hello::parse(data);
    let length = hello::length(data);
    if let Sniffed::Found(found) = &whole {
        assert!(length.is_some(), "a message without a length");
        let name = found.server_name.as_deref().unwrap_or("a");
        assert!(!name.is_empty() && !name.contains('\0'));
        assert!(!name.bytes().any(|byte| byte.is_ascii_uppercase()));
        assert!(found.protocols.iter().all(|name| !name.is_empty()));
    }
    for end in beginnings(data) {
        let part = hello::parse(&data[..end]);
        let is_open = part == Sniffed::Partial;
        assert!(is_open || part == whole, "{part:?} then {whole:?}");
        let part = hello::length(&data[..end]);
        let holds = part.is_none() || part == length || whole == Sniffed::Other;
        assert!(holds, "{part:?} then {length:?}");
    }
}

/// A header of the PROXY protocol that comes in pieces; it is no longer than what there is.
pub fn proxy(data: &[u8]) {
    let parse = |bytes| proxy_header::parse(bytes, proxy_header::Versions::ALL);
    let whole = parse(data);
    if let Ok(Sniffed::Found(header)) = &whole {
        assert!(header.length <= data.len().min(proxy_header::LENGTH_MAX));
        let told = proxy_header::length(data);
        assert!(told.is_none() || told == Some(header.length));
        assert!(header.fields.iter().count() <= header.length);
    }
    for end in beginnings(data) {
        let part = parse(&data[..end]);
        let is_open = part == Ok(Sniffed::Partial);
        assert!(is_open || part == whole, "{part:?} then {whole:?}");
    }
}

/// Where the beginnings end that are looked at: all of the first bytes, some of the later ones.
fn beginnings(data: &[u8]) -> impl Iterator<Item = usize> + use<> {
    let (length, step) = (data.len(), data.len() / 64 + 1);
    (0..length.min(80)).chain((80..length).step_by(step))
}
