//! HTTP/2 glue: between the `h2` crate's header maps and [`Headers`].
//!
//! Owns the translation both ways and nothing of the protocol, which is the crate's.

use std::fmt::Write as _;
use std::sync::LazyLock;

use bytes::{Bytes, BytesMut};
use h2::ext::Protocol as ExtendedProtocol;
use http::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Response, StatusCode, Uri};

use crate::frames::targets::STAND_IN;
use crate::h1::decimal;
use crate::h1::head::is_host;
use crate::headers::{Headers, Known, is_valid_value};

/// As many bytes as the crate has a place for in a target.
const PATH_BYTES: usize = 65_534;
/// How many bytes of a head's values lie together.
const SHARED_BYTES: usize = 512;

/// How a body ends.
#[derive(Debug)]
pub(crate) enum End {
    /// With the flag on the last DATA frame.
    Plain,
    /// With trailers.
    Trailers(HeaderMap),
}

/// Why a message is malformed (RFC 9113 §8.1.1) in a way that the crate does not look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// `:scheme` is nothing that could be one.
    #[error("its scheme is none")]
    Scheme,
    /// `:path` does not begin with a slash, and it is no OPTIONS of the whole server.
    #[error("its target is none")]
    Target,
    /// It is for no host, for one that is none, or for several.
    #[error("its host is none")]
    Host,
    /// `:protocol` is nothing that could be a field's value, which it becomes.
    #[error("its protocol is none")]
    Protocol,
    /// It is a 101, which HTTP/2 has not (RFC 9113 §8.6).
    #[error("its status is none")]
    Status,
    /// It has a field that nothing can be called.
    #[error("a name is none")]
    Name,
    /// It says more than once how long it is, or what is no length, or one that it cannot have.
    #[error("it has more than one length, or none that it could have")]
    Length,
}

/// Adds the fields of `map` to `block`.
fn fields_from(map: &HeaderMap, block: &mut Headers) -> Result<(), Malformed> {
    for (name, value) in map {
        append(name, value, block)?;
    }
    Ok(())
}

/// Adds a field to `block`.
///
/// # Errors
/// When it is malformed.
pub(crate) fn append(
    name: &HeaderName,
    value: &HeaderValue,
    block: &mut Headers,
) -> Result<(), Malformed> {
    let name = name.as_str().as_bytes();
    // The crate takes it for a letter of names.
    if memchr::memchr(b'"', name).is_some() {
        return Err(Malformed::Name);
    }
    block.append_bytes(name, value.as_bytes());
    Ok(())
}

/// Fills `block` with the head of a request, pseudo-header fields first. Cookie fields, which
/// HTTP/2 may split, become one again (RFC 9113 §8.2.3).
///
/// # Errors
/// When it is malformed.
pub(crate) fn request_from(
    request: &http::request::Parts,
    block: &mut Headers,
) -> Result<(), Malformed> {
    block.clear();
    block.append_known(Known::Method, request.method.as_str().as_bytes());
    if let Some(protocol) = request.extensions.get::<ExtendedProtocol>() {
        let protocol = protocol.as_str().as_bytes();
        if protocol.is_empty() || !is_valid_value(protocol) {
            return Err(Malformed::Protocol);
        }
        block.append_known(Known::Protocol, protocol);
    }
    if let Some(path) = request.uri.path_and_query() {
        let path = path.as_str();
        let is_server = path == "*" && request.method == Method::OPTIONS;
        if !path.starts_with('/') && !is_server {
            return Err(Malformed::Target);
        }
        block.append_known(Known::Path, path.as_bytes());
    }
    let authority = match request.uri.authority() {
        Some(authority) => Some(authority.as_str().as_bytes()),
        None => request.headers.get(HOST).map(HeaderValue::as_bytes),
    };
    let is_named = |host: &[u8]| !host.is_empty() && is_host(host);
    if let Some(authority) = authority {
        if !is_named(authority) {
            return Err(Malformed::Host);
        }
        block.append_known(Known::Authority, authority);
    }
    let scheme = request.uri.scheme_str();
    if scheme.is_some_and(|scheme| !is_scheme(scheme.as_bytes())) {
        return Err(Malformed::Scheme);
    }
    // CONNECT has none.
    let scheme = scheme.unwrap_or_default();
    block.append_known(Known::Scheme, scheme_in_lower_case(scheme).as_bytes());
    let mut cookie: Vec<u8> = Vec::new();
    let (mut hosts, mut lengths) = (0, 0);
    for (name, value) in &request.headers {
        if name == HOST {
            // Beside `:authority` it does not count, but has to be one.
            hosts += 1;
            if hosts > 1 || !is_named(value.as_bytes()) {
                return Err(Malformed::Host);
            }
            continue;
        }
        if name == CONTENT_LENGTH {
            // Parties that differ on which of two counts must not differ on whether there are two.
            lengths += 1;
            if lengths > 1 || decimal(value.as_bytes()).is_none() {
                return Err(Malformed::Length);
            }
        }
        if name == http::header::COOKIE {
            if !cookie.is_empty() {
                cookie.extend_from_slice(b"; ");
            }
            cookie.extend_from_slice(value.as_bytes());
            continue;
        }
        append(name, value, block)?;
    }
    if !cookie.is_empty() {
        block.append_known(Known::Cookie, &cookie);
    }
    Ok(())
}

/// Schemes are the same in any letters (RFC 3986 §3.1); two are known everywhere.
fn scheme_in_lower_case(scheme: &str) -> &str {
    let same = |known: &&&str| known.eq_ignore_ascii_case(scheme);
    ["http", "https"]
        .iter()
        .find(same)
        .copied()
        .unwrap_or(scheme)
}

/// Whether it is what a URL may begin with (RFC 3986 §3.1). The crate takes more.
fn is_scheme(scheme: &[u8]) -> bool {
    let goes_on = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
    scheme.first().is_some_and(u8::is_ascii_alphabetic) && scheme.iter().all(goes_on)
}

/// Fills `block` with the head of a response, where each field that Envoy has one line of is one.
///
/// # Errors
/// When it is malformed.
pub(crate) fn response_from(
    response: &http::response::Parts,
    block: &mut Headers,
) -> Result<(), Malformed> {
    if response.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Malformed::Status);
    }
    block.clear();
    block.append_known(Known::Status, response.status.as_str().as_bytes());
    fields_from(&response.headers, block)?;
    block.join_repeated(Known::joins_in_response);
    let mut lengths = response.headers.get_all(CONTENT_LENGTH).iter();
    let Some(length) = lengths.next() else {
        return Ok(());
    };
    match decimal(length.as_bytes()) {
        Some(_) if lengths.next().is_some() || response.status.is_informational() => {
            Err(Malformed::Length)
        }
        Some(_) if response.status != StatusCode::NO_CONTENT => Ok(()),
        Some(0) => {
            block.remove_known(Known::ContentLength);
            Ok(())
        }
        _ => Err(Malformed::Length),
    }
}

/// Makes an extended CONNECT (RFC 8441 §5) what it would be over HTTP/1, so that filters and routes
/// see one form of an upgrade. Whether it is one.
pub(crate) fn upgrade_from_connect(block: &mut Headers) -> bool {
    let Some(kind) = block.known(Known::Protocol).map(<[u8]>::to_vec) else {
        return false;
    };
    block.remove_known(Known::Protocol);
    block.set_known(Known::Method, b"GET");
    block.set_known(Known::Upgrade, &kind);
    block.set_known(Known::Connection, b"upgrade");
    true
}

/// Makes the response to an extended CONNECT what it would be over HTTP/1.
pub(crate) fn switch_from_connect(kind: &[u8], block: &mut Headers) {
    if block.known(Known::Status) == Some(b"200") {
        block.set_known(Known::Status, b"101");
        block.set_known(Known::Upgrade, kind);
        block.set_known(Known::Connection, b"upgrade");
    }
}

/// The head of a request as the crate gets it, and its target where that is too long for the crate, which gets
/// [`STAND_IN`] then.
pub(crate) type Opening = (Request<()>, Option<Box<str>>);

/// The head of a request that opens a tunnel: a CONNECT, or the extended one that stands for the
/// upgrade in `block`.
pub(crate) fn tunnel_to(block: &Headers) -> Option<Opening> {
    let (mut request, target) = match block.known(Known::Upgrade) {
        Some(kind) => {
            let (mut request, target) = request_to(block)?;
            let kind = std::str::from_utf8(kind).ok()?;
            request
                .extensions_mut()
                .insert(ExtendedProtocol::from(kind));
            (request, target)
        }
        None => {
            let authority = Authority::try_from(block.known(Known::Authority)?).ok()?;
            let mut request = Request::new(());
            *request.uri_mut() = Uri::builder().authority(authority).build().ok()?;
            *request.version_mut() = http::Version::HTTP_2;
            fields_to(block, request.headers_mut());
            (request, None)
        }
    };
    *request.method_mut() = Method::CONNECT;
    Some((request, target))
}

/// The head of a request; none where a filter or the client made it one that HTTP/2 cannot say.
pub(crate) fn request_to(block: &Headers) -> Option<Opening> {
    let method = Method::from_bytes(block.known(Known::Method)?).ok()?;
    let host = block.known(Known::Authority)?;
    let (path, target) = path_to(block.known(Known::Path)?)?;
    let is_https = block.known(Known::Scheme) == Some(b"https");
    let mut request = Request::new(());
    match Authority::try_from(host) {
        Ok(authority) => {
            let scheme = if is_https {
                Scheme::HTTPS
            } else {
                Scheme::HTTP
            };
            let uri = Uri::builder().scheme(scheme).authority(authority);
            *request.uri_mut() = uri.path_and_query(path).build().ok()?;
            *request.version_mut() = http::Version::HTTP_2;
        }
        // The crate knows no scheme without an authority: this one becomes `http`.
        Err(_) if is_https => return None,
        Err(_) => {
            *request.uri_mut() = Uri::from(path);
            *request.version_mut() = http::Version::HTTP_11;
        }
    }
    *request.method_mut() = method;
    fields_to(block, request.headers_mut());
    if request.uri().authority().is_none() && !host.is_empty() {
        // Its place where it comes from HTTP/1 (RFC 9113 §8.3.1).
        let host = HeaderValue::from_bytes(host).ok()?;
        request.headers_mut().insert(HOST, host);
    }
    Some((request, target))
}

/// A target for the crate, and the true one where that is too long for it.
fn path_to(path: &[u8]) -> Option<(PathAndQuery, Option<Box<str>>)> {
    if let Ok(path) = PathAndQuery::try_from(path) {
        return Some((path, None));
    }
    let encoded = encoded(path);
    if let Ok(path) = PathAndQuery::try_from(&*encoded) {
        return Some((path, None));
    }
    let is_of_target = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
    let is_long = encoded.len() > PATH_BYTES && encoded.starts_with('/');
    (is_long && encoded.bytes().all(is_of_target))
        .then(|| (PathAndQuery::from_static(STAND_IN), Some(encoded.into())))
}

/// What the crate does not know as a part of a target is percent-encoded, which means the same (RFC 3986 §2.1).
fn encoded(path: &[u8]) -> String {
    let mut encoded = String::with_capacity(path.len() + 8);
    for byte in path {
        match byte {
            b'"' | b'<' | b'>' | b'`' | 0x80.. => {
                let _infallible = write!(encoded, "%{byte:02X}");
            }
            byte => encoded.push(char::from(*byte)),
        }
    }
    encoded
}

/// The head of a response. That to an upgrade is 200 here (RFC 8441 §5).
pub(crate) fn response_to(status: u16, block: &Headers) -> Response<()> {
    let status = if status == 101 { 200 } else { status };
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    fields_to(block, response.headers_mut());
    response
}

/// The trailers of either.
pub(crate) fn trailers(block: &Headers) -> HeaderMap {
    let mut map = HeaderMap::new();
    fields_to(block, &mut map);
    map
}

/// Copies the fields that HTTP/2 may carry. Connection-specific ones may not be there
/// (RFC 9113 §8.2.2); hygiene has taken them out, a route or a filter may have put one back.
fn fields_to(block: &Headers, map: &mut HeaderMap) {
    map.reserve(block.len());
    // Short values lie in one allocation. The encoder keeps some of them in its table for as long as the connection
    // lasts, and with them all of that: it is to be no larger than what the table itself would take for one.
    let mut values = BytesMut::with_capacity(SHARED_BYTES);
    for field in block.iter() {
        let name = match field.known {
            Some(known) => name_of(known),
            None => HeaderName::from_bytes(field.name).ok(),
        };
        let Some(name) = name else {
            continue;
        };
        if field.known == Some(Known::Te) && field.value != b"trailers" {
            continue;
        }
        let value = if field.value.len() <= values.capacity() {
            values.extend_from_slice(field.value);
            values.split().freeze()
        } else {
            Bytes::copy_from_slice(field.value)
        };
        if let Ok(value) = HeaderValue::from_maybe_shared(value) {
            map.append(name, value);
        }
    }
}

/// A known name as the crate has it; none of one that is no field of HTTP/2.
fn name_of(known: Known) -> Option<HeaderName> {
    static NAMES: LazyLock<Box<[Option<HeaderName>]>> = LazyLock::new(|| {
        let names = Known::ALL.iter().map(|known| {
            let forbidden = matches!(
                known,
                Known::Connection
                    | Known::KeepAlive
                    | Known::ProxyConnection
                    | Known::TransferEncoding
                    | Known::Upgrade
            );
            let is_field = !known.is_pseudo() && !forbidden;
            is_field.then(|| HeaderName::from_static(known.as_str()))
        });
        names.collect()
    });
    NAMES.get(known as usize)?.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_cookies_become_one_and_host_becomes_authority() {
        let request = Request::builder()
            .uri("/p?q")
            .header("cookie", "a=1")
            .header("x-a", "1")
            .header("cookie", "b=2")
            .header("host", "example.com")
            .body(())
            .unwrap();
        let mut block = Headers::new();
        request_from(&request.into_parts().0, &mut block).unwrap();
        assert_eq!(block.known(Known::Cookie), Some(&b"a=1; b=2"[..]));
        assert_eq!(block.known(Known::Authority), Some(&b"example.com"[..]));
        assert_eq!(block.known(Known::Path), Some(&b"/p?q"[..]));
    }

    fn read(uri: &str, protocol: Option<&str>, fields: &[(&str, &str)]) -> Result<(), Malformed> {
        let mut request = Request::builder().uri(uri);
        for (name, value) in fields {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            request = request.header(*name, value);
        }
        if let Some(protocol) = protocol {
            request = request.extension(ExtendedProtocol::from(protocol));
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        request_from(&parts, &mut Headers::new())
    }

    #[test]
    fn a_host_is_one_wherever_it_stands() {
        for host in ["a", "a_b:80", "[::1]:80", "a%41", "a:b:c", "a!$&'()*+,;=~"] {
            assert_eq!(read("/", None, &[("host", host)]), Ok(()), "{host}");
            let beside = read("http://a/", None, &[("host", host)]);
            assert_eq!(beside, Ok(()), "{host}");
        }
        for host in [
            "", "a/b", "a?b#c", "a b", "u@a", "a\\b", "a\"", "<a>", "a|b", "\u{e9}",
        ] {
            for uri in ["/", "http://a/"] {
                let refused = read(uri, None, &[("host", host)]);
                assert_eq!(refused, Err(Malformed::Host), "{uri} {host}");
            }
        }
        for uri in ["/", "http://a/"] {
            let two = read(uri, None, &[("host", "a"), ("host", "a")]);
            assert_eq!(two, Err(Malformed::Host), "{uri}");
        }
        assert_eq!(read("http://u@a/", None, &[]), Err(Malformed::Host));
        // What has none at all is answered, by who knows what with.
        assert_eq!(read("/", None, &[]), Ok(()));
    }

    #[test]
    fn schemes_targets_and_names_are_what_they_may_be() {
        let scheme = |scheme: &str| {
            let uri = format!("{scheme}://a/");
            let (parts, ()) = Request::builder().uri(uri).body(()).unwrap().into_parts();
            let mut block = Headers::new();
            request_from(&parts, &mut block)?;
            Ok(block.known(Known::Scheme).unwrap().to_vec())
        };
        assert_eq!(scheme("HTTPS"), Ok(b"https".to_vec()));
        assert_eq!(scheme("a+b-c.1"), Ok(b"a+b-c.1".to_vec()));
        for odd in ["1a", "+a", "-", ".", "a~"] {
            assert_eq!(scheme(odd), Err(Malformed::Scheme), "{odd}");
        }
        for (method, target, expected) in [
            ("OPTIONS", "*", Ok(())),
            ("GET", "*", Err(Malformed::Target)),
            ("GET", "/?", Ok(())),
            ("GET", "?", Err(Malformed::Target)),
        ] {
            let request = Request::builder().method(method);
            let request = request.uri(Uri::from(PathAndQuery::from_static(target)));
            let request = request.header("host", "a").body(()).unwrap();
            let read = request_from(&request.into_parts().0, &mut Headers::new());
            assert_eq!(read, expected, "{method} {target}");
        }
        let quoted = HeaderName::from_lowercase(b"a\"b").unwrap();
        let request = Request::builder().uri("http://a/").header(quoted, "c");
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let read = request_from(&parts, &mut Headers::new());
        assert_eq!(read, Err(Malformed::Name));
    }

    #[test]
    fn a_response_has_a_length_that_it_can_have() {
        let read = |status: u16, lengths: &[&str]| {
            let mut response = Response::builder().status(status);
            for length in lengths {
                response = response.header("content-length", *length);
            }
            let mut block = Headers::new();
            let (parts, ()) = response.body(()).unwrap().into_parts();
            response_from(&parts, &mut block)?;
            Ok(block.has(Known::ContentLength))
        };
        assert_eq!(read(200, &[]), Ok(false));
        assert_eq!(read(200, &["3"]), Ok(true));
        assert_eq!(read(304, &["3"]), Ok(true));
        assert_eq!(read(204, &["0"]), Ok(false));
        assert_eq!(read(101, &[]), Err(Malformed::Status));
        for (status, lengths) in [
            (200, &["3", "3"][..]),
            (200, &[""]),
            (200, &["+3"]),
            (200, &["3,3"]),
            (204, &["3"]),
            (103, &["0"]),
        ] {
            assert_eq!(
                read(status, lengths),
                Err(Malformed::Length),
                "{status} {lengths:?}"
            );
        }
    }

    #[test]
    fn a_protocol_is_a_value_and_a_length_is_one() {
        let of = |protocol| read("http://a/", Some(protocol), &[]);
        for protocol in ["websocket", "a/1", "web socket"] {
            assert_eq!(of(protocol), Ok(()), "{protocol}");
        }
        for protocol in ["", "websocket\r\nx: y", "a\nb", "a\0b"] {
            assert_eq!(of(protocol), Err(Malformed::Protocol), "{protocol:?}");
        }
        let length = ("content-length", "5");
        assert_eq!(read("http://a/", None, &[length]), Ok(()));
        let two = read("http://a/", None, &[length, length]);
        assert_eq!(two, Err(Malformed::Length));
        let none = read("http://a/", None, &[("content-length", "")]);
        assert_eq!(none, Err(Malformed::Length));
    }

    #[test]
    fn what_the_crate_does_not_know_of_targets_and_hosts_is_sent_otherwise() {
        let sent = |host: &[u8], path: &[u8], scheme: &[u8]| {
            let mut block = Headers::new();
            block.append_known(Known::Method, b"GET");
            block.append_known(Known::Scheme, scheme);
            block.append_known(Known::Authority, host);
            block.append_known(Known::Path, path);
            let (request, target) = request_to(&block)?;
            let host = request.headers().get("host").cloned();
            let host = host.map(|host| host.to_str().unwrap().to_owned());
            Some((
                target.map_or_else(|| request.uri().to_string(), String::from),
                host,
            ))
        };
        for (path, expected) in [
            (&b"/a{b}|^\\?c={d}|`"[..], "http://a/a{b}|^\\?c={d}|`"),
            (&b"/a<b>`"[..], "http://a/a%3Cb%3E%60"),
            (&b"/?q=\"x\"&r=<y>"[..], "http://a/?q=%22x%22&r=%3Cy%3E"),
            (&b"/\xc3\x28<"[..], "http://a/%C3(%3C"),
        ] {
            let expected = Some((expected.to_owned(), None));
            assert_eq!(sent(b"a", path, b"http"), expected);
        }
        let long = |length: usize| [b"/", &vec![b'a'; length - 1][..]].concat();
        for path in [&b"/a b"[..], b"/a\r\nb", b"a"] {
            assert_eq!(sent(b"a", path, b"http"), None);
            let behind = [&long(65_535), path].concat();
            let is_sent = sent(b"a", &behind, b"http").is_some();
            assert_eq!(is_sent, path == b"a", "{}", path.escape_ascii());
        }
        for path in [b"/a#", &b"a"[..], b"?"] {
            assert_eq!(sent(b"a", &[path, &long(65_535)].concat(), b"http"), None);
        }
        for (length, host) in [(65_534, "http://a"), (65_535, ""), (200_000, "")] {
            let path = long(length);
            let expected = format!("{host}{}", String::from_utf8(path.clone()).unwrap());
            assert!(sent(b"a", &path, b"http") == Some((expected, None)));
        }
        let odd = [&b"/<"[..], &long(65_534)].concat();
        let (target, _) = sent(b"a", &odd, b"http").unwrap();
        assert!(target.starts_with("/%3C/aa"));
        assert_eq!(sent(b"", b"/p", b"http"), Some(("/p".to_owned(), None)));
        for host in ["a%41", "a:b:c", "[::1"] {
            let expected = Some(("/p".to_owned(), Some(host.to_owned())));
            assert_eq!(sent(host.as_bytes(), b"/p", b"http"), expected);
            assert_eq!(sent(host.as_bytes(), b"/p", b"https"), None);
        }
    }

    #[test]
    fn an_extended_connect_is_an_upgrade_and_back() {
        let mut request = Request::builder()
            .method(Method::CONNECT)
            .uri("http://a.example/chat")
            .body(())
            .unwrap();
        let websocket = ExtendedProtocol::from_static("websocket");
        request.extensions_mut().insert(websocket);
        let mut block = Headers::new();
        request_from(&request.into_parts().0, &mut block).unwrap();
        upgrade_from_connect(&mut block);
        assert_eq!(block.known(Known::Method), Some(&b"GET"[..]));
        assert_eq!(block.known(Known::Upgrade), Some(&b"websocket"[..]));
        let (request, _) = tunnel_to(&block).unwrap();
        assert_eq!(request.method(), Method::CONNECT);
        assert_eq!(request.uri(), "http://a.example/chat");
        let kind = request.extensions().get::<ExtendedProtocol>();
        assert_eq!(kind.unwrap().as_str(), "websocket");
        assert!(request.headers().is_empty());

        let mut block = Headers::new();
        block.append_known(Known::Status, b"200");
        switch_from_connect(b"websocket", &mut block);
        assert_eq!(block.known(Known::Status), Some(&b"101"[..]));
        assert_eq!(response_to(101, &block).status(), 200);
    }

    #[test]
    fn a_connect_has_an_authority_alone() {
        let mut block = Headers::new();
        block.append_known(Known::Method, b"CONNECT");
        block.append_known(Known::Authority, b"a.example:443");
        let (request, _) = tunnel_to(&block).unwrap();
        assert_eq!(request.method(), Method::CONNECT);
        assert_eq!(request.uri(), "a.example:443");
    }

    #[test]
    fn connection_specific_fields_never_leave() {
        let mut block = Headers::new();
        block.append_known(Known::Status, b"200");
        block.append_known(Known::Connection, b"close");
        block.append_known(Known::TransferEncoding, b"chunked");
        block.append_bytes(b"x-a", b"1");
        let response = response_to(200, &block);
        assert_eq!(response.headers().len(), 1);
    }
}
