//! Which fields a guest may change, and into what.
//!
//! Owns the rules that keep a message well formed whatever a guest does: how a body is framed and
//! what concerns one connection alone belong to the proxy, pseudo-header fields stay valid, and a
//! block stays within its limits. Pure; `http_stream` and the checks of local replies use it.

use super::super::bindings::http_stream::Error;
use crate::headers::{Extent, Headers, Known, Name, is_token_byte, is_valid_value};

/// What a guest wants to do with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::wasm) enum Change {
    Set,
    Append,
    Remove,
}

/// Changes a field of a request's head. In all, no more than `most` is added to it.
pub(super) fn change_request(
    headers: &mut Headers,
    name: &Name,
    value: &[u8],
    (change, most): (Change, Extent),
) -> Result<(), Error> {
    if let Name::Known(known) = name
        && known.is_pseudo()
    {
        let valid: fn(&[u8]) -> bool = match known {
            // What a tunnel is asked for by is decided before filters see it.
            Known::Method if headers.known(Known::Method) == Some(b"CONNECT") => {
                return Err(Error::Immutable);
            }
            Known::Method => is_method,
            Known::Scheme => is_scheme,
            Known::Authority => is_authority,
            Known::Path => is_path,
            _ => return Err(Error::Immutable),
        };
        if change != Change::Set || !headers.has(*known) {
            return Err(Error::Immutable);
        }
        if !valid(value) {
            return Err(Error::InvalidValue);
        }
    }
    change_field(
        headers,
        name,
        value,
        (change, most),
        Known::joins_in_request,
    )
}

/// Changes a field of a response's head. Answers the status where it is changed.
pub(super) fn change_response(
    headers: &mut Headers,
    name: &Name,
    value: &[u8],
    (change, most): (Change, Extent),
) -> Result<Option<u16>, Error> {
    let mut status = None;
    if name.is_pseudo() {
        if *name != Name::Known(Known::Status) || change != Change::Set {
            return Err(Error::Immutable);
        }
        status = Some(final_status(value).ok_or(Error::InvalidValue)?);
    }
    change_field(
        headers,
        name,
        value,
        (change, most),
        Known::joins_in_response,
    )?;
    Ok(status)
}

/// Changes a field of trailers.
pub(super) fn change_trailers(
    headers: &mut Headers,
    name: &Name,
    value: &[u8],
    (change, most): (Change, Extent),
) -> Result<(), Error> {
    if name.is_pseudo() {
        return Err(Error::Immutable);
    }
    change_field(
        headers,
        name,
        value,
        (change, most),
        Known::joins_in_trailers,
    )
}

/// Whether a local reply of a guest may have this field.
pub(in crate::wasm) fn is_allowed_in_reply(name: &Name) -> bool {
    !name.is_pseudo() && !is_the_proxys(name, Change::Set)
}

fn change_field(
    headers: &mut Headers,
    name: &Name,
    value: &[u8],
    (change, most): (Change, Extent),
    joins: fn(Known) -> bool,
) -> Result<(), Error> {
    if is_the_proxys(name, change) && !is_te_trailers(name, value, change) {
        return Err(Error::Immutable);
    }
    if change == Change::Remove {
        let grown = less(headers.grown(), extent_of(headers, name));
        headers.note_grown(grown);
        headers.remove(name);
        return Ok(());
    }
    if !is_valid_value(value) {
        return Err(Error::InvalidValue);
    }
    let value = trim(value);
    let before = headers.grown();
    let grown = Extent {
        fields: before.fields + 1,
        bytes: before.bytes + name.as_bytes().len() + value.len(),
    };
    let grown = match change {
        Change::Set => less(grown, extent_of(headers, name)),
        Change::Append | Change::Remove => grown,
    };
    if grown.fields > most.fields || grown.bytes > most.bytes {
        return Err(Error::TooLarge);
    }
    headers.note_grown(grown);
    match change {
        Change::Set => headers.set(name, value),
        Change::Append => headers.append_joined(name, value, joins),
        Change::Remove => {}
    }
    Ok(())
}

/// What the fields of that name are of the block.
fn extent_of(headers: &Headers, name: &Name) -> Extent {
    let length = name.as_bytes().len();
    headers
        .get_all(name)
        .fold(Extent::default(), |sum, value| Extent {
            fields: sum.fields + 1,
            bytes: sum.bytes + length + value.len(),
        })
}

/// One without the other. What was there before filters came is no room for them.
const fn less(from: Extent, gone: Extent) -> Extent {
    Extent {
        fields: from.fields.saturating_sub(gone.fields),
        bytes: from.bytes.saturating_sub(gone.bytes),
    }
}

/// `te: trailers` says that a sender can take trailers, which holds for the proxy too, and gRPC asks
/// for it (RFC 9113 §8.2.2 allows no other value).
fn is_te_trailers(name: &Name, value: &[u8], change: Change) -> bool {
    *name == Name::Known(Known::Te) && change == Change::Set && value == b"trailers"
}

/// Whether the field is the proxy's own: framing (RFC 9112 §6) and what concerns one connection
/// (RFC 9110 §7.6.1). A filter that changes the length of a streamed body may take
/// `content-length` out, and `te` may go.
fn is_the_proxys(name: &Name, change: Change) -> bool {
    match name {
        Name::Known(Known::ContentLength | Known::Te) => change != Change::Remove,
        Name::Known(
            Known::TransferEncoding
            | Known::Connection
            | Known::KeepAlive
            | Known::ProxyConnection
            | Known::Upgrade
            | Known::Http2Settings
            | Known::Trailer
            | Known::Expect,
        ) => true,
        _ => false,
    }
}

/// A status that ends an exchange.
fn final_status(value: &[u8]) -> Option<u16> {
    let status = std::str::from_utf8(value).ok()?;
    let status: u16 = (value.len() == 3).then(|| status.parse().ok())??;
    is_final(status).then_some(status)
}

/// Whether a filter may answer with this status: 200 to 599.
pub(in crate::wasm) const fn is_final(status: u16) -> bool {
    matches!(status, 200..=599)
}

fn trim(value: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let Some(first) = value.iter().position(|byte| !is_blank(byte)) else {
        return &[];
    };
    let last = value
        .iter()
        .rposition(|byte| !is_blank(byte))
        .unwrap_or(first);
    value.get(first..=last).unwrap_or_default()
}

/// A token (RFC 9110 §9.1), but not the method of a tunnel.
fn is_method(value: &[u8]) -> bool {
    !value.is_empty() && value != b"CONNECT" && value.iter().all(|byte| is_token_byte(*byte))
}

/// RFC 3986 §3.1, of the two that a proxy forwards.
fn is_scheme(value: &[u8]) -> bool {
    matches!(value, b"http" | b"https")
}

/// No space, control or delimiter of the parts around it (RFC 3986 §3.2).
fn is_authority(value: &[u8]) -> bool {
    !value.is_empty()
        && value
            .iter()
            .all(|byte| byte.is_ascii_graphic() && !b"/?#@\\".contains(byte))
}

/// The origin form (RFC 9112 §3.2.1), or `*`. Bytes above ASCII pass, as they do from clients.
fn is_path(value: &[u8]) -> bool {
    let visible = |byte: &u8| *byte > b' ' && *byte != 0x7f && *byte != b'#';
    value == b"*" || (value.first() == Some(&b'/') && value.iter().all(visible))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits;

    const MOST: Extent = Extent {
        fields: limits::WASM_BLOCK_FIELDS,
        bytes: limits::WASM_BLOCK_BYTES,
    };

    fn name(text: &str) -> Name {
        Name::parse(text.as_bytes()).unwrap()
    }

    fn request() -> Headers {
        let mut headers = Headers::new();
        for (field, value) in [
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "a"),
            (":path", "/"),
        ] {
            headers.append_bytes(field.as_bytes(), value.as_bytes());
        }
        headers.append_bytes(b"content-length", b"3");
        headers.append_bytes(b"te", b"trailers");
        headers
    }

    #[test]
    fn the_rules_of_a_request() {
        use Change::{Append, Remove, Set};
        use Error::{Immutable, InvalidValue};
        for (field, value, how, expected) in [
            (":method", "POST", Set, None),
            (":method", "P ST", Set, Some(InvalidValue)),
            (":method", "", Set, Some(InvalidValue)),
            (":method", "CONNECT", Set, Some(InvalidValue)),
            (":method", "", Remove, Some(Immutable)),
            (":scheme", "https", Set, None),
            (":scheme", "ftp", Set, Some(InvalidValue)),
            (":authority", "b:80", Set, None),
            ("host", "[::1]:80", Set, None),
            ("host", "a/b", Set, Some(InvalidValue)),
            ("host", "user@a", Set, Some(InvalidValue)),
            ("host", "b", Append, Some(Immutable)),
            ("host", "", Remove, Some(Immutable)),
            (":path", "/x?y=%20", Set, None),
            (":path", "/x y", Set, Some(InvalidValue)),
            (":path", "x", Set, Some(InvalidValue)),
            (":path", "*", Set, None),
            (":status", "200", Set, Some(Immutable)),
            (":protocol", "websocket", Set, Some(Immutable)),
            ("content-length", "4", Set, Some(Immutable)),
            ("content-length", "4", Append, Some(Immutable)),
            ("content-length", "", Remove, None),
            ("transfer-encoding", "chunked", Append, Some(Immutable)),
            ("connection", "", Remove, Some(Immutable)),
            ("te", "", Remove, None),
            ("te", "gzip", Set, Some(Immutable)),
            ("te", "trailers", Set, None),
            ("te", "trailers", Append, Some(Immutable)),
            ("x-mine", "1", Append, None),
            ("x-mine", "a\r\nb", Set, Some(InvalidValue)),
            ("x-mine", "a\0", Append, Some(InvalidValue)),
        ] {
            let changed =
                change_request(&mut request(), &name(field), value.as_bytes(), (how, MOST));
            assert_eq!(changed.err(), expected, "{how:?} {field}: {value}");
        }
    }

    #[test]
    fn what_is_appended_joins_the_line_that_a_head_has_of_it() {
        let mut headers = request();
        for value in ["a", "", "b"] {
            for field in ["accept", "x-own"] {
                let change = (Change::Append, MOST);
                change_request(&mut headers, &name(field), value.as_bytes(), change).unwrap();
            }
        }
        let all = |field| {
            headers
                .get_all(&name(field))
                .collect::<Vec<_>>()
                .join(&b'|')
        };
        assert_eq!(all("accept"), b"a,b");
        assert_eq!(all("x-own"), b"a||b");
    }

    #[test]
    fn a_tunnel_stays_one() {
        let mut headers = request();
        headers.set_known(Known::Method, b"CONNECT");
        for method in ["GET", "CONNECT"] {
            let name = name(":method");
            let changed =
                change_request(&mut headers, &name, method.as_bytes(), (Change::Set, MOST));
            assert_eq!(changed.err(), Some(Error::Immutable), "{method}");
        }
    }

    #[test]
    fn the_rules_of_a_response() {
        use Change::{Append, Remove, Set};
        use Error::{Immutable, InvalidValue};
        let mut headers = Headers::new();
        headers.append_known(Known::Status, b"200");
        let mut change = |field, value: &str, how| {
            change_response(&mut headers, &name(field), value.as_bytes(), (how, MOST))
        };
        assert_eq!(change(":status", "404", Set).unwrap(), Some(404));
        for bad in ["100", "600", "0404", "4o4", "", "+40"] {
            assert_eq!(
                change(":status", bad, Set).unwrap_err(),
                InvalidValue,
                "{bad}"
            );
        }
        assert_eq!(change(":status", "404", Append).unwrap_err(), Immutable);
        assert_eq!(change(":status", "", Remove).unwrap_err(), Immutable);
        assert_eq!(change(":path", "/", Set).unwrap_err(), Immutable);
        assert_eq!(
            change("transfer-encoding", "", Remove).unwrap_err(),
            Immutable
        );
        assert_eq!(change("set-cookie", "a=b", Append).unwrap(), None);
        assert_eq!(headers.known(Known::Status), Some(&b"404"[..]));
    }

    #[test]
    fn the_rules_of_trailers() {
        let mut headers = Headers::new();
        let mut change =
            |field, how| change_trailers(&mut headers, &name(field), b"v", (how, MOST));
        assert!(change("grpc-status", Change::Set).is_ok());
        assert_eq!(change("host", Change::Set).unwrap_err(), Error::Immutable);
        assert_eq!(
            change("content-length", Change::Append).unwrap_err(),
            Error::Immutable
        );
        assert_eq!(
            change("trailer", Change::Append).unwrap_err(),
            Error::Immutable
        );
    }

    #[test]
    fn a_block_is_bounded_in_bytes_and_fields() {
        let mut headers = Headers::new();
        let value = vec![b'v'; limits::WASM_BLOCK_BYTES];
        let too_long = change_trailers(&mut headers, &name("a"), &value, (Change::Set, MOST));
        assert_eq!(too_long.unwrap_err(), Error::TooLarge);
        for _ in 0..limits::WASM_BLOCK_FIELDS {
            change_trailers(&mut headers, &name("a"), b"", (Change::Append, MOST)).unwrap();
        }
        let one_more = change_trailers(&mut headers, &name("a"), b"", (Change::Append, MOST));
        assert_eq!(one_more.unwrap_err(), Error::TooLarge);
        change_trailers(&mut headers, &name("a"), b"", (Change::Remove, MOST)).unwrap();
        change_trailers(
            &mut headers,
            &name("a"),
            b" \t v \t",
            (Change::Append, MOST),
        )
        .unwrap();
        assert_eq!(
            headers.get(&name("a")),
            Some(&b"v"[..]),
            "blanks around a value are no part of it"
        );
    }

    #[test]
    fn what_came_is_none_of_what_filters_may_add() {
        let mut headers = Headers::new();
        let much = vec![b'v'; 2 * limits::WASM_BLOCK_BYTES];
        headers.append_bytes(b"x-large", &much);
        for _ in 0..2 * limits::WASM_BLOCK_FIELDS {
            headers.append_bytes(b"x-many", b"");
        }
        let value = vec![b'v'; limits::WASM_BLOCK_BYTES / 2];
        // Set again and again it is one.
        for _ in 0..5 {
            change_trailers(&mut headers, &name("x-mine"), &value, (Change::Set, MOST)).unwrap();
        }
        let more = change_trailers(
            &mut headers,
            &name("x-mine"),
            &value,
            (Change::Append, MOST),
        );
        assert_eq!(more.unwrap_err(), Error::TooLarge);
        // Nor is what goes.
        change_trailers(&mut headers, &name("x-large"), b"", (Change::Remove, MOST)).unwrap();
        let instead = change_trailers(&mut headers, &name("x-large"), &much, (Change::Set, MOST));
        assert_eq!(instead.unwrap_err(), Error::TooLarge);
    }

    proptest! {
        #[test]
        fn no_value_splits_a_message(value in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut headers = request();
            for field in [":path", ":authority", ":method", "x-mine"] {
                // Refused or not, what is there afterwards is checked.
                let _refused = change_request(&mut headers, &name(field), &value, (Change::Set, MOST));
            }
            for field in headers.iter() {
                prop_assert!(is_valid_value(field.value));
                if field.known.is_some_and(Known::is_pseudo) {
                    prop_assert!(!field.value.is_empty() && !field.value.contains(&b' '));
                }
            }
        }
    }
}
