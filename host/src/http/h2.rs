//! HTTP/2 glue: between the `h2` crate's header maps and [`Headers`].
//!
//! Owns the translation both ways and nothing of the protocol, which is the crate's.

use bytes::Bytes;
use h2::ext::Protocol as ExtendedProtocol;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Response, StatusCode, Uri};

use crate::headers::{Headers, Known};

/// How a body ends.
#[derive(Debug)]
pub(crate) enum End {
    /// With the flag on the last DATA frame.
    Plain,
    /// With trailers.
    Trailers(HeaderMap),
}

/// Adds the fields of `map` to `block`.
pub(crate) fn fields_from(map: &HeaderMap, block: &mut Headers) {
    for (name, value) in map {
        block.append_bytes(name.as_str().as_bytes(), value.as_bytes());
    }
}

/// Fills `block` with the head of a request, pseudo-header fields first. Cookie fields, which
/// HTTP/2 may split, become one again (RFC 9113 §8.2.3).
pub(crate) fn request_from(request: &http::request::Parts, block: &mut Headers) {
    block.clear();
    block.append_known(Known::Method, request.method.as_str().as_bytes());
    if let Some(protocol) = request.extensions.get::<ExtendedProtocol>() {
        block.append_known(Known::Protocol, protocol.as_str().as_bytes());
    }
    if let Some(path) = request.uri.path_and_query() {
        block.append_known(Known::Path, path.as_str().as_bytes());
    }
    let authority = match request.uri.authority() {
        Some(authority) => Some(authority.as_str().as_bytes()),
        None => request
            .headers
            .get(http::header::HOST)
            .map(HeaderValue::as_bytes),
    };
    if let Some(authority) = authority {
        block.append_known(Known::Authority, authority);
    }
    let scheme = request.uri.scheme_str().unwrap_or("http");
    block.append_known(Known::Scheme, scheme.as_bytes());
    let mut cookie: Vec<u8> = Vec::new();
    for (name, value) in &request.headers {
        if name == http::header::HOST {
            continue;
        }
        if name == http::header::COOKIE {
            if !cookie.is_empty() {
                cookie.extend_from_slice(b"; ");
            }
            cookie.extend_from_slice(value.as_bytes());
            block.set_known(Known::Cookie, &cookie);
            continue;
        }
        block.append_bytes(name.as_str().as_bytes(), value.as_bytes());
    }
}

/// Fills `block` with the head of a response.
pub(crate) fn response_from(response: &http::response::Parts, block: &mut Headers) {
    block.clear();
    block.append_known(Known::Status, response.status.as_str().as_bytes());
    fields_from(&response.headers, block);
}

/// Makes an extended CONNECT (RFC 8441 §5) what it would be over HTTP/1, so that filters and routes
/// see one form of an upgrade.
pub(crate) fn upgrade_from_connect(block: &mut Headers) {
    let Some(kind) = block.known(Known::Protocol).map(<[u8]>::to_vec) else {
        return;
    };
    block.remove_known(Known::Protocol);
    block.set_known(Known::Method, b"GET");
    block.set_known(Known::Upgrade, &kind);
    block.set_known(Known::Connection, b"upgrade");
}

/// Makes the response to an extended CONNECT what it would be over HTTP/1.
pub(crate) fn switch_from_connect(kind: &[u8], block: &mut Headers) {
    if block.known(Known::Status) == Some(b"200") {
        block.set_known(Known::Status, b"101");
        block.set_known(Known::Upgrade, kind);
        block.set_known(Known::Connection, b"upgrade");
    }
}

/// The head of a request that opens a tunnel: a CONNECT, or the extended one that stands for the
/// upgrade in `block`.
pub(crate) fn tunnel_to(block: &Headers) -> Option<Request<()>> {
    let mut request = match block.known(Known::Upgrade) {
        Some(kind) => {
            let mut request = request_to(block)?;
            let kind = std::str::from_utf8(kind).ok()?;
            request
                .extensions_mut()
                .insert(ExtendedProtocol::from(kind));
            request
        }
        None => {
            let authority = Authority::try_from(block.known(Known::Authority)?).ok()?;
            let mut request = Request::new(());
            *request.uri_mut() = Uri::builder().authority(authority).build().ok()?;
            *request.version_mut() = http::Version::HTTP_2;
            fields_to(block, request.headers_mut());
            request
        }
    };
    *request.method_mut() = Method::CONNECT;
    Some(request)
}

/// The head of a request; none where a filter or the client made it one that HTTP/2 cannot say.
pub(crate) fn request_to(block: &Headers) -> Option<Request<()>> {
    let method = Method::from_bytes(block.known(Known::Method)?).ok()?;
    let authority = Authority::try_from(block.known(Known::Authority)?).ok()?;
    let path = PathAndQuery::try_from(block.known(Known::Path)?).ok()?;
    let uri = Uri::builder()
        .scheme(match block.known(Known::Scheme) {
            Some(b"https") => Scheme::HTTPS,
            _ => Scheme::HTTP,
        })
        .authority(authority)
        .path_and_query(path)
        .build()
        .ok()?;
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.version_mut() = http::Version::HTTP_2;
    fields_to(block, request.headers_mut());
    Some(request)
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
/// (RFC 9113 §8.2.2); hygiene has taken them out, a filter may have put one back.
fn fields_to(block: &Headers, map: &mut HeaderMap) {
    map.reserve(block.len());
    for field in block.iter() {
        let forbidden = field.known.is_some_and(|known| {
            known.is_pseudo()
                || matches!(
                    known,
                    Known::Connection
                        | Known::KeepAlive
                        | Known::ProxyConnection
                        | Known::TransferEncoding
                        | Known::Upgrade
                )
        });
        if forbidden {
            continue;
        }
        let name = match field.known {
            Some(known) => HeaderName::from_static(known.as_str()),
            None => match HeaderName::from_bytes(field.name) {
                Ok(name) => name,
                Err(_) => continue,
            },
        };
        if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::copy_from_slice(field.value)) {
            map.append(name, value);
        }
    }
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
        request_from(&request.into_parts().0, &mut block);
        assert_eq!(block.known(Known::Cookie), Some(&b"a=1; b=2"[..]));
        assert_eq!(block.known(Known::Authority), Some(&b"example.com"[..]));
        assert_eq!(block.known(Known::Path), Some(&b"/p?q"[..]));
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
        request_from(&request.into_parts().0, &mut block);
        upgrade_from_connect(&mut block);
        assert_eq!(block.known(Known::Method), Some(&b"GET"[..]));
        assert_eq!(block.known(Known::Upgrade), Some(&b"websocket"[..]));
        let request = tunnel_to(&block).unwrap();
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
        let request = tunnel_to(&block).unwrap();
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
