//! What ends with a hop: the fields of the connection that a request came on (RFC 9110 §7.6.1), and what they
//! ask for.
//!
//! Owns which members `connection` may have, which upgrades are heard, and that a request is one message of one
//! hop. Does not own what is allowed of what is asked for (`http::stream`).

use super::OF_HOP;
use crate::h1::head::is_host_and_port;
use crate::headers::{Headers, Known, KnownSet, Name};
use crate::route::TextCondition;
use crate::uri::is_path_or_query_byte;

/// Envoy refuses a `connection` header that has this many members, whatever they are.
const CONNECTION_MEMBERS: usize = 10;
/// Envoy refuses a `te` of this many bytes where `connection` names it.
const NAMED_TE_BYTES: usize = 256;

/// What a request alone may say of its hop.
const OF_HOP_IN_REQUEST: KnownSet = KnownSet::of(&[Known::Te, Known::Http2Settings]);

/// Why a request is refused by its head alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// `connection` names a field that may not be removed, or too many: 400.
    ConnectionHeader,
    /// A proxy for UDP is asked for by a path that does not say to whom: 404.
    UdpPath {
        /// Whether the client waits for that protocol.
        upgrades: bool,
    },
    /// `connection` names `host`, without which the request is none: 400.
    MissingHost,
}

/// What the head asks of the connection manager beyond its own request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asks {
    /// Nothing.
    Nothing,
    /// The protocol that `upgrade` names. That field and `connection` stay.
    Upgrade,
}

/// Makes the head of a request one message of one hop: repeated fields are joined, and those of the
/// hop before are taken out. An `upgrade` to h2c or to one of `ignored` is taken for none; without a
/// list, none is: the request is one for a tunnel, and no other without it.
pub(crate) fn end_of_hop(
    headers: &mut Headers,
    ignored: Option<&[TextCondition]>,
) -> Result<Asks, Refusal> {
    headers.join_repeated(Known::joins_in_request);
    let asks = remove_hop_by_hop(headers, ignored)?;
    if headers
        .known(Known::Referer)
        .is_some_and(|referer| !is_reference(referer))
    {
        headers.remove_known(Known::Referer);
    }
    Ok(asks)
}

/// What `connection` says, beside the fields that it names.
#[derive(Clone, Copy, Default)]
struct Said {
    upgrade: bool,
    http2_settings: bool,
    te: bool,
    /// Its members. White space between two commas is one.
    members: usize,
}

impl Said {
    /// Reads `connection`, and takes the fields that it names out.
    fn read(headers: &mut Headers) -> Result<Self, Refusal> {
        let mut said = Self::default();
        let mut nominated: Vec<Name> = Vec::new();
        for value in headers.known_all(Known::Connection) {
            let members = value.split(|byte| *byte == b',');
            said.members += members.filter(|member| !member.is_empty()).count();
            // Two may not count: see below. Nobody looks at any number of names.
            if said.members >= CONNECTION_MEMBERS + 2 {
                return Err(Refusal::ConnectionHeader);
            }
            for token in tokens(value) {
                if token.eq_ignore_ascii_case(b"upgrade") {
                    said.upgrade = true;
                } else if token.eq_ignore_ascii_case(b"http2-settings") {
                    said.http2_settings = true;
                } else if token.eq_ignore_ascii_case(b"te") {
                    said.te = true;
                } else if !token.eq_ignore_ascii_case(b"close")
                    && !token.eq_ignore_ascii_case(b"keep-alive")
                {
                    nominated.push(nominate(token)?);
                }
            }
        }
        for name in &nominated {
            headers.remove(name);
        }
        Ok(said)
    }
}

/// Takes hop-by-hop fields out.
fn remove_hop_by_hop(
    headers: &mut Headers,
    ignored: Option<&[TextCondition]>,
) -> Result<Asks, Refusal> {
    if !headers.has_any(OF_HOP) && !headers.has_any(OF_HOP_IN_REQUEST) {
        return Ok(Asks::Nothing);
    }
    let said = if headers.has(Known::Connection) {
        Said::read(headers)?
    } else {
        Said::default()
    };
    let mut upgrade = said.upgrade && headers.has(Known::Upgrade);
    let mut h2c = false;
    let value = headers.known(Known::Upgrade).unwrap_or_default();
    let udp = value.eq_ignore_ascii_case(b"connect-udp");
    if upgrade && let Some(ignored) = ignored {
        // An offer of h2c may be ignored (RFC 9110 §7.8); the request goes on as HTTP/1.1.
        h2c = value.eq_ignore_ascii_case(b"h2c");
        upgrade = !h2c && !ignored.iter().any(|ignored| ignored.matches(value));
    }
    // What makes such an offer does not count.
    let offers = if h2c {
        1 + usize::from(said.http2_settings)
    } else {
        0
    };
    let te = headers.known(Known::Te).map_or(0, <[u8]>::len);
    let members = said.members.saturating_sub(offers);
    if members >= CONNECTION_MEMBERS || (said.te && te >= NAMED_TE_BYTES) {
        return Err(Refusal::ConnectionHeader);
    }
    // `connection` may well be missing: not every server looks there.
    if udp && !names_udp_peer(headers) {
        return Err(Refusal::UdpPath { upgrades: upgrade });
    }
    let trailers = headers
        .known_all(Known::Te)
        .flat_map(tokens)
        .any(|token| token == b"trailers" || (said.te && token.eq_ignore_ascii_case(b"trailers")));
    let settings = !h2c && (upgrade || !said.http2_settings);
    headers.retain(|field| match field.known {
        Some(Known::Connection | Known::Upgrade) => upgrade,
        Some(Known::KeepAlive | Known::ProxyConnection | Known::TransferEncoding) => false,
        Some(Known::Te) => trailers,
        Some(Known::Http2Settings) => settings,
        _ => true,
    });
    if trailers {
        headers.set_known(Known::Te, b"trailers");
    }
    Ok(if upgrade {
        Asks::Upgrade
    } else {
        Asks::Nothing
    })
}

fn nominate(token: &[u8]) -> Result<Name, Refusal> {
    let name = Name::parse(token).map_err(|_invalid| Refusal::ConnectionHeader)?;
    if name == Name::Known(Known::Authority) && token.first() != Some(&b':') {
        return Err(Refusal::MissingHost);
    }
    let protected = name.is_pseudo()
        || matches!(
            name,
            Name::Known(
                Known::ContentLength
                    | Known::XForwardedFor
                    | Known::XForwardedHost
                    | Known::XForwardedProto
            )
        );
    if protected {
        Err(Refusal::ConnectionHeader)
    } else {
        Ok(name)
    }
}

/// The members of a comma-separated list, trimmed, empty ones left out (RFC 9110 §5.6.1).
pub(crate) fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|token| !token.is_empty())
}

/// Whether the path says whom to speak UDP to (RFC 9298 §3, the default template).
fn names_udp_peer(headers: &Headers) -> bool {
    let path = headers.known(Known::Path).unwrap_or_default();
    let mut parts = path
        .strip_prefix(b"/.well-known/masque/udp/")
        .unwrap_or_default()
        .split(|byte| *byte == b'/');
    let mut named = || parts.next().is_some_and(|part| !part.is_empty());
    named() && named() && parts.next() == Some(b"") && parts.next().is_none()
}

/// Whether `text` is a URL or a part of one (RFC 3986 §4.1), without a fragment and without anybody's
/// name in front of the host: a `referer` that is something else serves to mislead (RFC 9110 §10.1.3).
fn is_reference(text: &[u8]) -> bool {
    let is_part = |part: &[u8]| part.iter().all(|byte| is_path_or_query_byte(*byte));
    let end = text
        .iter()
        .position(|byte| matches!(byte, b':' | b'/' | b'?'))
        .unwrap_or(text.len());
    let (scheme, rest) = text.split_at_checked(end).unwrap_or((text, b""));
    let Some(rest) = rest.strip_prefix(b":") else {
        return is_part(text);
    };
    let [first, others @ ..] = scheme else {
        return false;
    };
    let is_scheme = first.is_ascii_alphabetic()
        && others
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    let Some(rest) = rest.strip_prefix(b"//").filter(|_| is_scheme) else {
        return false;
    };
    let end = rest
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?'))
        .unwrap_or(rest.len());
    let (authority, rest) = rest.split_at_checked(end).unwrap_or((rest, b""));
    is_host_and_port(authority) && is_part(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: &[(&str, &str)]) -> Headers {
        let mut headers = Headers::new();
        for (name, value) in fields {
            headers.append_bytes(name.as_bytes(), value.as_bytes());
        }
        headers
    }

    fn names(headers: &Headers) -> Vec<String> {
        headers
            .iter()
            .map(|f| String::from_utf8_lossy(f.name).into_owned())
            .collect()
    }

    #[test]
    fn hop_by_hop_fields_and_the_named_ones_go() {
        let mut headers = head(&[
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("keep-alive", "5"),
            ("te", "gzip, trailers"),
            ("expect", "100-Continue"),
            ("x-kept", "1"),
        ]);
        assert_eq!(
            remove_hop_by_hop(&mut headers, Some(&[])),
            Ok(Asks::Nothing)
        );
        // Whose `expect` it is to answer is not known here.
        assert_eq!(names(&headers), ["te", "expect", "x-kept"]);
        assert_eq!(headers.known(Known::Te), Some(&b"trailers"[..]));
    }

    #[test]
    fn connection_may_not_name_what_must_stay() {
        for name in ["content-length", "X-Forwarded-For", ":path", "bad name"] {
            let mut headers = head(&[("connection", name)]);
            let refused = remove_hop_by_hop(&mut headers, Some(&[]));
            assert_eq!(refused, Err(Refusal::ConnectionHeader), "{name}");
        }
    }

    #[test]
    fn connection_has_few_members() {
        let refused = |lines: &[(&str, &str)]| {
            let refused = remove_hop_by_hop(&mut head(lines), Some(&[]));
            refused == Err(Refusal::ConnectionHeader)
        };
        for (value, expected) in [
            ("a,b,c,d,e,f,g,h,i", false),
            ("a,b,c,d,e,f,g,h,i,close", true),
            ("a,b,c,d,e,f,g,h,i,te", true),
            (",,,,,,,,,,,,,,", false),
            (" , , , , , , , , , ,", true),
        ] {
            assert_eq!(refused(&[("connection", value)]), expected, "{value}");
        }
        let members = "upgrade,http2-settings,a,b,c,d,e,f,g,h,i";
        assert!(!refused(&[("connection", members), ("upgrade", "h2c")]));
        assert!(refused(&[("connection", members), ("upgrade", "a")]));
        let te = "trailers".repeat(32);
        assert!(refused(&[("connection", "te"), ("te", &te)]));
        assert!(!refused(&[("connection", "a"), ("te", &te)]));
    }

    #[test]
    fn who_asks_for_udp_says_to_whom() {
        for (path, expected) in [
            ("/.well-known/masque/udp/a/1/", true),
            ("/.well-known/masque/udp/a/1", false),
            ("/.well-known/masque/udp/a/1/b", false),
            ("/.well-known/masque/udp//1/", false),
            ("/.well-known/masque/udp/", false),
            ("/", false),
        ] {
            assert_eq!(
                names_udp_peer(&head(&[(":path", path)])),
                expected,
                "{path}"
            );
        }
        assert!(!names_udp_peer(&head(&[])));
    }

    #[test]
    fn upgrades_are_seen_and_h2c_is_ignored() {
        let mut websocket = head(&[("connection", "Upgrade"), ("upgrade", "websocket")]);
        assert_eq!(
            remove_hop_by_hop(&mut websocket, Some(&[])),
            Ok(Asks::Upgrade)
        );
        let fields = [
            ("connection", "Upgrade, HTTP2-Settings"),
            ("upgrade", "h2c"),
            ("http2-settings", "A"),
        ];
        let mut h2c = head(&fields);
        assert_eq!(remove_hop_by_hop(&mut h2c, Some(&[])), Ok(Asks::Nothing));
        assert!(h2c.is_empty());
        let mut other = head(&[fields[0], ("upgrade", "websocket"), fields[2]]);
        assert_eq!(remove_hop_by_hop(&mut other, Some(&[])), Ok(Asks::Upgrade));
        assert_eq!(other.len(), 3);
        // Of an extended CONNECT nothing would be left.
        let mut h2c = head(&fields[..2]);
        assert_eq!(remove_hop_by_hop(&mut h2c, None), Ok(Asks::Upgrade));
        assert_eq!(h2c.known(Known::Upgrade), Some(&b"h2c"[..]));
    }

    #[test]
    fn a_referer_is_a_url_or_a_part_of_one() {
        for text in [
            "",
            "/",
            "/a?b?c",
            "?",
            "a",
            "a.example/b",
            "//a/b",
            "*a",
            "a@b",
            "/a:b",
            "/a%zz",
            "http://a",
            "HTTP://a?x",
            "http://a:080/b?c=d/e:f@g",
            "http://[::1]:80/",
            "h+t.p-1://a/",
        ] {
            assert!(is_reference(text.as_bytes()), "{text}");
        }
        for text in [
            "a b",
            "/a#",
            "/a\"b",
            "/a<b",
            "/a\\b",
            "/a^b",
            "/a`b",
            "/a{b",
            "/a|b",
            "/a[b]",
            "/\u{e9}",
            "a:80",
            "about:blank",
            "http:/a",
            "http://",
            "http:///",
            "://a",
            "1://a",
            "http://a_b/",
            "http://u@a/",
            "http://a:/",
            "http://a:99999/",
            "http://[::1",
            "http://a%41/",
        ] {
            assert!(!is_reference(text.as_bytes()), "{text}");
        }
    }
}
