//! Response heads: the status line, folded lines, and the rules on bodies that hang on the status.

use crate::exchange::Protocol;
use crate::headers::{Headers, Known};

use super::super::field;
use super::super::{BodyLength, HeadLimits, MethodKind, ResponseRules};
use super::facts::Coding;
use super::{BadResponse, HeadParser, ResponseHead, Stage, window};

/// What is known of a line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LineKind {
    /// It has no control byte, not even a tab.
    Plain,
    /// It was sent as several, whose ends are still in it.
    Folded,
    Other,
}

impl HeadParser {
    pub(super) fn read_response(
        &mut self,
        buf: &[u8],
        rules: ResponseRules,
        request: MethodKind,
        headers: &mut Headers,
    ) -> Result<Option<ResponseHead>, BadResponse> {
        let limits = rules.limits;
        let seen = window(buf, limits.bytes);
        if self.stage == Stage::Before {
            if seen.is_empty() {
                return incomplete(seen, buf);
            }
            headers.clear();
            self.stage = Stage::StartLine;
        }
        if self.stage == Stage::StartLine {
            if !seen
                .iter()
                .zip(b"HTTP/1.")
                .all(|(byte, expected)| byte == expected)
            {
                return Err(BadResponse::Malformed);
            }
            let Some(line) = self.next_line(seen) else {
                return incomplete(seen, buf);
            };
            self.status_line(without_end(line), headers)?;
            self.stage = Stage::Fields;
        }
        while let Some((line, kind)) = self.logical_line(seen) {
            if line.is_empty() {
                return self.finish_response(rules, request, headers).map(Some);
            }
            match kind {
                LineKind::Folded => {
                    self.response_field(&unfolded(line), kind, (limits, headers))?;
                }
                LineKind::Plain | LineKind::Other => {
                    self.response_field(line, kind, (limits, headers))?;
                }
            }
        }
        incomplete(seen, buf)
    }

    /// The next line, with those that continue it (RFC 9112 §5.2), without its end. That none continues it
    /// shows only in the byte behind it.
    fn logical_line<'a>(&mut self, seen: &'a [u8]) -> Option<(&'a [u8], LineKind)> {
        let start = self.line;
        if let Some(line) = self.plain_line(seen) {
            match seen.get(self.line) {
                Some(b' ' | b'\t') | None if !line.is_empty() => self.line = start,
                _ => return Some((line, LineKind::Plain)),
            }
        }
        // What was looked through before may have line ends in it.
        let is_resumed = self.scanned > start;
        loop {
            let Some(line) = self.next_line(seen) else {
                self.line = start;
                return None;
            };
            let is_first = self.line == start + line.len();
            if is_first && without_end(line).is_empty() {
                return Some((&[], LineKind::Other));
            }
            match seen.get(self.line) {
                Some(b' ' | b'\t') => {}
                Some(_) => {
                    let whole = without_end(seen.get(start..self.line)?);
                    let has_ends = || memchr::memchr(b'\n', whole).is_some();
                    let kind = match !is_first || (is_resumed && has_ends()) {
                        true => LineKind::Folded,
                        false => LineKind::Other,
                    };
                    return Some((whole, kind));
                }
                None => {
                    self.line = start;
                    self.scanned = seen.len().saturating_sub(1);
                    return None;
                }
            }
        }
    }

    fn status_line(&mut self, line: &[u8], headers: &mut Headers) -> Result<(), BadResponse> {
        let Some((minor @ b'0'..=b'9', rest)) =
            line.strip_prefix(b"HTTP/1.").and_then(<[u8]>::split_first)
        else {
            return Err(BadResponse::Malformed);
        };
        match minor {
            b'0' => self.facts.set_http_10(),
            b'1' => {}
            // It may mean something by that which is not known here.
            _ => self.facts.set_close(),
        }
        // Many origins leave the space out when they have no reason phrase.
        let (code, reason) = match rest {
            [b' ', a, b, c] => ([*a, *b, *c], &b""[..]),
            [b' ', a, b, c, b' ', reason @ ..] => ([*a, *b, *c], reason),
            _ => return Err(BadResponse::Malformed),
        };
        if field::has_control(reason) {
            return Err(BadResponse::InvalidCharacters);
        }
        if !matches!(code, [b'1'..=b'9', b'0'..=b'9', b'0'..=b'9']) {
            return Err(BadResponse::Malformed);
        }
        headers.append_known(Known::Status, &code);
        headers.remember_reason(reason);
        Ok(())
    }

    fn response_field(
        &mut self,
        line: &[u8],
        kind: LineKind,
        (limits, headers): (HeadLimits, &mut Headers),
    ) -> Result<(), BadResponse> {
        self.facts.lines += 1;
        if self.facts.lines > limits.fields {
            return Err(BadResponse::TooManyFields);
        }
        if headers.keeps_spellings() {
            headers.remember_spelling(field::name(line));
        }
        field::read(line, kind == LineKind::Plain, |known, name, value| {
            self.facts.count(name, value);
            if let Some(known) = known {
                // Framing that hides in a continued line is meant for somebody.
                let framing = matches!(known, Known::ContentLength | Known::TransferEncoding);
                if framing && kind == LineKind::Folded {
                    return Err(BadResponse::Malformed);
                }
                self.facts.note(known, value)?;
            }
            if known != Some(Known::TransferEncoding) {
                field::append(headers, known, name, value);
            }
            Ok(())
        })
    }

    fn finish_response(
        &self,
        rules: ResponseRules,
        request: MethodKind,
        headers: &mut Headers,
    ) -> Result<ResponseHead, BadResponse> {
        let facts = &self.facts;
        let status = headers
            .known(Known::Status)
            .and_then(super::super::decimal)
            .and_then(|status| u16::try_from(status).ok())
            .ok_or(BadResponse::Malformed)?;
        match (facts.coding, facts.length) {
            (Coding::Chunked, Some(_)) if rules.allow_chunked_length => {
                headers.remove_known(Known::ContentLength);
            }
            (Coding::Chunked | Coding::Unsupported, Some(_)) => {
                return Err(BadResponse::LengthAndChunked);
            }
            (Coding::Unsupported, None) => return Err(BadResponse::TransferEncoding),
            (Coding::Chunked, None) | (Coding::None, _) => {}
        }
        let tunnel = request == MethodKind::Connect && (200..300).contains(&status);
        let body = if status < 200 || status == 204 || tunnel {
            if facts.coding != Coding::None || facts.length.is_some_and(|length| length > 0) {
                return Err(BadResponse::BodyForbidden);
            }
            headers.remove_known(Known::ContentLength);
            BodyLength::None
        } else if request == MethodKind::Head || status == 304 {
            BodyLength::None
        } else {
            match (facts.coding, facts.length) {
                (Coding::Chunked | Coding::Unsupported, _) => BodyLength::Chunked,
                (Coding::None, Some(length)) => BodyLength::Length(length),
                (Coding::None, None) => BodyLength::UntilClose,
            }
        };
        // RFC 9112 §6.1: after chunks from HTTP/1.0 the connection is closed.
        let doubtful = facts.is_http_10() && facts.coding == Coding::Chunked;
        Ok(ResponseHead {
            consumed: self.line,
            field_bytes: self.facts.bytes,
            version: if facts.is_http_10() {
                Protocol::Http10
            } else {
                Protocol::Http11
            },
            status,
            body,
            keep_alive: facts.keep_alive() && body != BodyLength::UntilClose && !doubtful,
        })
    }
}

/// The answer when the end of a head is not within `seen`, which `buf` may go beyond.
fn incomplete<T>(seen: &[u8], buf: &[u8]) -> Result<Option<T>, BadResponse> {
    if seen.len() < buf.len() {
        Err(BadResponse::TooLarge)
    } else {
        Ok(None)
    }
}

/// A line without its end, CRLF or LF.
fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// A line with the line ends in its middle taken out; the white space behind each stays.
fn unfolded(line: &[u8]) -> Vec<u8> {
    let mut whole = Vec::with_capacity(line.len());
    for part in line.split_inclusive(|byte| *byte == b'\n') {
        whole.extend_from_slice(without_end(part));
    }
    whole
}

#[cfg(test)]
pub(super) mod tests;
