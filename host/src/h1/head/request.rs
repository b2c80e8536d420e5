//! Request heads: the request line, the target's four forms, and the checks that need all fields.

use crate::exchange::Protocol;
use crate::headers::{Headers, Known, is_token_byte};
use crate::uri::is_path_byte;

use super::super::field;
use super::super::{BodyLength, MethodKind, RequestRules, Underscores, words};
use super::facts::Coding;
use super::{HeadParser, Reject, RequestHead, Stage, is_host, window};

/// The methods that Envoy's parser knows; any other is refused.
const METHODS: &[&[u8]] = &[
    b"GET",
    b"POST",
    b"PUT",
    b"HEAD",
    b"DELETE",
    b"OPTIONS",
    b"PATCH",
    b"CONNECT",
    b"TRACE",
    b"ACL",
    b"BIND",
    b"CHECKOUT",
    b"COPY",
    b"LINK",
    b"LOCK",
    b"MERGE",
    b"MKACTIVITY",
    b"MKCALENDAR",
    b"MKCOL",
    b"MOVE",
    b"NOTIFY",
    b"PROPFIND",
    b"PROPPATCH",
    b"PURGE",
    b"QUERY",
    b"REBIND",
    b"REPORT",
    b"SEARCH",
    b"SOURCE",
    b"SUBSCRIBE",
    b"UNBIND",
    b"UNLINK",
    b"UNLOCK",
    b"UNSUBSCRIBE",
];

impl HeadParser {
    pub(super) fn read_request(
        &mut self,
        buf: &[u8],
        rules: &RequestRules,
        headers: &mut Headers,
    ) -> Result<Option<RequestHead>, Reject> {
        let seen = window(buf, rules.limits.bytes);
        if self.stage == Stage::Before {
            while let Some([b'\r', b'\n', ..]) = seen.get(self.line..) {
                self.line += 2;
            }
            match seen.get(self.line..) {
                None | Some([] | [b'\r']) => return incomplete(seen, buf),
                Some([b'A'..=b'Z', ..]) => {}
                Some([first, ..]) if rules.allow_custom_methods && is_token_byte(*first) => {}
                Some(_) => return Err(Reject::Malformed),
            }
            headers.clear();
            if rules.names.is_kept() {
                headers.spell(rules.names);
            }
            self.stage = Stage::StartLine;
        }
        if self.stage == Stage::StartLine {
            let Some((line, _)) = self.strict_line(seen)? else {
                return incomplete(seen, buf);
            };
            self.request_line(line, rules, headers)?;
            self.stage = Stage::Fields;
        }
        while let Some((line, is_plain)) = self.strict_line(seen)? {
            if line.is_empty() {
                return self.finish_request(rules, headers).map(Some);
            }
            self.request_field(line, is_plain, rules, headers)?;
        }
        incomplete(seen, buf)
    }

    /// The next line without its end, which must be CRLF, and whether it is known to have no control byte.
    fn strict_line<'a>(&mut self, seen: &'a [u8]) -> Result<Option<(&'a [u8], bool)>, Reject> {
        if let Some(line) = self.plain_line(seen) {
            return Ok(Some((line, true)));
        }
        let Some(line) = self.next_line(seen) else {
            return Ok(None);
        };
        let line = line.strip_suffix(b"\r\n").ok_or(Reject::Malformed)?;
        Ok(Some((line, false)))
    }

    fn request_line(
        &mut self,
        line: &[u8],
        rules: &RequestRules,
        headers: &mut Headers,
    ) -> Result<(), Reject> {
        let space = words::find(b' ', line).ok_or(Reject::Malformed)?;
        let (method, rest) = line.split_at_checked(space).ok_or(Reject::Malformed)?;
        let is_custom = || !method.is_empty() && method.iter().all(|byte| is_token_byte(*byte));
        let accepted = METHODS.contains(&method) || (rules.allow_custom_methods && is_custom());
        if !accepted {
            return Err(Reject::Malformed);
        }
        let rest = rest.get(1..).unwrap_or_default();
        let (target, version) = match rest.strip_suffix(b" HTTP/1.1") {
            Some(target) => (target, &b"HTTP/1.1"[..]),
            None => {
                match memchr::memrchr(b' ', rest).and_then(|space| rest.split_at_checked(space)) {
                    Some((target, version)) => (target, version.get(1..).unwrap_or_default()),
                    None => (rest, &b""[..]),
                }
            }
        };
        let is_visible =
            words::run_above::<{ b' ' + 1 }>(target) == target.len() && target.is_ascii();
        if target.is_empty() || !is_visible {
            let control = target.iter().any(|byte| field::is_control(*byte));
            return Err(if control {
                Reject::InvalidCharacters
            } else {
                Reject::Malformed
            });
        }
        headers.append_known(Known::Method, method);
        if method == b"CONNECT" {
            self.facts.set_connect();
            if !is_host_and_port(target, Port::Required) {
                return Err(Reject::InvalidTarget);
            }
            headers.append_known(Known::Authority, target);
        } else {
            self.target(method, target, rules, headers)?;
        }
        headers.append_known(Known::Scheme, self.scheme_of(target));
        self.version(version, rules)
    }

    /// The scheme of a target; empty where it says none.
    const fn scheme_of(&self, target: &[u8]) -> &'static [u8] {
        match target {
            _ if !self.facts.is_absolute() => b"",
            [_, _, _, _, b's' | b'S', ..] => b"https",
            _ => b"http",
        }
    }

    fn version(&mut self, version: &[u8], rules: &RequestRules) -> Result<(), Reject> {
        match version {
            b"HTTP/1.1" => Ok(()),
            b"HTTP/1.0" if rules.accept_http_10 => {
                self.facts.set_http_10();
                Ok(())
            }
            // HTTP/0.9 has a request line without a version.
            [] | [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
                Err(Reject::LowVersion)
            }
            _ => Err(Reject::Malformed),
        }
    }

    /// Reads a target that is not `CONNECT`'s (RFC 9112 §3.2) into `:path` and `:authority`. Where
    /// `host` has to say the authority, an empty one takes its place in the order for now.
    fn target(
        &mut self,
        method: &[u8],
        target: &[u8],
        rules: &RequestRules,
        headers: &mut Headers,
    ) -> Result<(), Reject> {
        if words::find(b'#', target).is_some() {
            self.facts.set_fragment();
        }
        let origin_form = match target {
            [b'/', ..] => true,
            b"*" => method == b"OPTIONS",
            _ => false,
        };
        if origin_form {
            headers.append_known(Known::Path, target);
            headers.append_known(Known::Authority, b"");
            return Ok(());
        }
        if let [b'*', ..] = target {
            return Err(Reject::InvalidTarget);
        }
        let (authority, path) = absolute_form(target)?;
        if rules.allow_absolute_url {
            self.facts.set_absolute();
            headers.append_known(Known::Path, if path.is_empty() { b"/" } else { path });
            headers.append_known(Known::Authority, authority);
        } else {
            headers.append_known(Known::Path, target);
            headers.append_known(Known::Authority, b"");
        }
        Ok(())
    }

    fn request_field(
        &mut self,
        line: &[u8],
        is_plain: bool,
        rules: &RequestRules,
        headers: &mut Headers,
    ) -> Result<(), Reject> {
        self.facts.lines += 1;
        if self.facts.lines > rules.limits.fields {
            return Err(Reject::TooManyFields);
        }
        if rules.names.is_kept() {
            headers.remember_spelling(field::name(line));
        }
        field::read(line, is_plain, |known, name, value| {
            self.facts.count(name, value);
            match known {
                Some(Known::Authority) => self.host(value, headers)?,
                Some(Known::TransferEncoding) => self.facts.note(Known::TransferEncoding, value)?,
                Some(known) => {
                    self.facts.note(known, value)?;
                    headers.append_known(known, value);
                }
                None => match rules.underscores.on(name) {
                    Underscores::Allow => headers.append_other(name, value),
                    Underscores::Reject => return Err(Reject::Underscore),
                    Underscores::Drop => {
                        self.facts.dropped = self.facts.dropped.saturating_add(1);
                    }
                },
            }
            Ok(())
        })
    }

    /// Takes the `host` line. A second one is refused even if it is equal: parties that differ on
    /// which of two counts must not differ on whether there are two (RFC 9112 §3.2).
    fn host(&mut self, value: &[u8], headers: &mut Headers) -> Result<(), Reject> {
        if self.facts.has_host() || !is_host(value) {
            return Err(Reject::InvalidAuthority);
        }
        self.facts.set_host();
        if !self.facts.is_absolute() && !self.facts.is_connect() {
            headers.set_known(Known::Authority, value);
        }
        Ok(())
    }

    fn finish_request(
        &self,
        rules: &RequestRules,
        headers: &mut Headers,
    ) -> Result<RequestHead, Reject> {
        let facts = &self.facts;
        let (coding, mut length) = (facts.coding, facts.length);
        if rules.allow_chunked_length && coding == Coding::Chunked && length.is_some() {
            headers.remove_known(Known::ContentLength);
            length = None;
        }
        let body = match (coding, length) {
            (Coding::Chunked | Coding::Unsupported, Some(_)) => {
                return Err(Reject::LengthAndChunked);
            }
            (Coding::Unsupported, None) => return Err(Reject::TransferEncoding),
            // RFC 9112 §6.1: chunks from HTTP/1.0 mean that somebody on the way did not understand.
            (Coding::Chunked, None) if facts.is_connect() || facts.is_http_10() => {
                return Err(Reject::TransferEncoding);
            }
            (Coding::None, Some(1..)) if facts.is_connect() => return Err(Reject::BodyOfConnect),
            (Coding::None, Some(0)) if facts.is_connect() => BodyLength::None,
            (Coding::Chunked, None) => BodyLength::Chunked,
            (Coding::None, Some(length)) => BodyLength::Length(length),
            (Coding::None, None) => BodyLength::None,
        };
        if !facts.has_host() && !facts.is_absolute() && !facts.is_connect() {
            if !facts.is_http_10() || rules.default_host_for_http_10.is_empty() {
                headers.remove_known(Known::Authority);
                headers.remove_known(Known::Scheme);
                return Err(Reject::MissingHost);
            }
            headers.set_known(Known::Authority, &rules.default_host_for_http_10);
        }
        if facts.has_fragment() {
            return Err(Reject::Fragment);
        }
        Ok(RequestHead {
            consumed: self.line,
            field_bytes: facts.bytes,
            version: if facts.is_http_10() {
                Protocol::Http10
            } else {
                Protocol::Http11
            },
            method: MethodKind::of(headers.known(Known::Method).unwrap_or_default()),
            body,
            keep_alive: facts.keep_alive(),
            // An HTTP/1.0 client cannot read an informational response (RFC 9110 §15.2).
            expect_continue: !facts.is_http_10()
                && headers
                    .sole(Known::Expect)
                    .is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue")),
            upgrade: facts.wants_upgrade() && facts.has_upgrade(),
            dropped: facts.dropped,
        })
    }
}

/// The answer when the end of a head is not within `seen`, which `buf` may go beyond.
fn incomplete<T>(seen: &[u8], buf: &[u8]) -> Result<Option<T>, Reject> {
    if seen.len() < buf.len() {
        Err(Reject::HeadTooLarge)
    } else {
        Ok(None)
    }
}

/// Cuts `scheme://authority[path]` apart. The path may be empty or begin with `?`.
fn absolute_form(target: &[u8]) -> Result<(&[u8], &[u8]), Reject> {
    let separator = memchr::memmem::find(target, b"://").ok_or(Reject::Malformed)?;
    let (scheme, rest) = target
        .split_at_checked(separator)
        .ok_or(Reject::Malformed)?;
    if !scheme.iter().all(u8::is_ascii_alphabetic) || scheme.is_empty() {
        return Err(Reject::Malformed);
    }
    if !scheme.eq_ignore_ascii_case(b"http") && !scheme.eq_ignore_ascii_case(b"https") {
        return Err(Reject::InvalidScheme);
    }
    let rest = rest.get(3..).unwrap_or_default();
    let end = rest
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?' | b'#'));
    let (authority, path) = rest
        .split_at_checked(end.unwrap_or(rest.len()))
        .unwrap_or((rest, b""));
    if path.first() == Some(&b'#') {
        return Err(Reject::Malformed);
    }
    // User information is refused rather than taken out (RFC 9110 §4.2.4): it serves to mislead.
    if !is_host_and_port(authority, Port::Optional) {
        return Err(Reject::InvalidTarget);
    }
    Ok((authority, path))
}

/// Whether a target needs a port.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Port {
    Optional,
    Required,
}

/// Whether `authority` is a name or an address, in brackets if of IPv6, and a port of 16 bits.
pub(super) fn is_host_and_port(authority: &[u8], port: Port) -> bool {
    let host_end = match authority {
        [b'[', ..] => memchr::memchr(b']', authority).map(|bracket| bracket + 1),
        _ => Some(memchr::memchr(b':', authority).unwrap_or(authority.len())),
    };
    let Some((host, rest)) = host_end.and_then(|end| authority.split_at_checked(end)) else {
        return false;
    };
    let host_is_valid = match host {
        [b'[', address @ .., b']'] => {
            str::from_utf8(address).is_ok_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok())
        }
        [] => false,
        // No underscore, as in Envoy; `host` may have one.
        name => name
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.')),
    };
    let port_is_valid = match rest {
        [] => port == Port::Optional,
        [b':', digits @ ..] => {
            digits.len() <= 5
                && super::super::decimal(digits).is_some_and(|port| port <= u64::from(u16::MAX))
        }
        _ => false,
    };
    host_is_valid && port_is_valid
}

/// Whether `byte` may stand in `host`: what Envoy takes, without `@`, since user information in
/// `host` serves only to mislead (RFC 9110 §7.2 has no place for it).
pub(super) fn is_host_byte(byte: u8) -> bool {
    HOST_BYTES.get(usize::from(byte)).is_some_and(|is| *is)
}

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
static HOST_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let one = byte as u8;
        table[byte] = matches!(one, b'[' | b']') || (is_path_byte(one) && one != b'@');
        byte += 1;
    }
    table
};

#[cfg(test)]
pub(super) mod tests;
