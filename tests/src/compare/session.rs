//! What clients of `stateful_session` keep, and the cookies that a `hash_policy` makes, in words.
//!
//! Owns the forms in which addresses are sent, and reading them off responses: `@SESSION(address)@` and
//! `@SESSION(address;expires)@` are what a cookie has, `@BASE64(text)@` is text as it is. Envelopes are the fields
//! `x-own` and `x-received` of the cases.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The text with what is sent in the place of words.
#[must_use]
pub fn encode(text: &str) -> String {
    let mut encoded = text.to_owned();
    for (opening, message) in [("@SESSION(", true), ("@BASE64(", false)] {
        while let Some((before, rest)) = encoded.split_once(opening) {
            let (inner, after) = rest.split_once(")@").expect("a word ends with )@");
            let value = if message {
                token(inner)
            } else {
                inner.as_bytes().to_vec()
            };
            encoded = format!("{before}{}{after}", STANDARD.encode(value));
        }
    }
    encoded
}

/// The message of an address, and behind a semicolon when it expires.
fn token(words: &str) -> Vec<u8> {
    let (address, expires) = words.split_once(';').unwrap_or((words, ""));
    let length = u8::try_from(address.len()).expect("addresses are short");
    let mut message = [&[0x0a, length], address.as_bytes()].concat();
    if !expires.is_empty() {
        let mut number: u64 = expires.parse().expect("a number of seconds");
        message.push(0x10);
        while number >= 0x80 {
            message.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        message.push(number as u8);
    }
    message
}

/// A line in which a session that the client is to keep is told in words; others as they are. When a
/// cookie expires depends on the time, so that is only told to be there.
#[must_use]
pub fn decode(line: &str) -> String {
    let words = |value: &str| {
        // Of the addresses of a connection, which are others each time.
        if value.len() == 16 && value.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Some("a hash".to_owned());
        }
        let bytes = STANDARD.decode(value).ok()?;
        let address = match bytes.as_slice() {
            [0x0a, length, rest @ ..] => {
                let (address, rest) = rest.split_at_checked(usize::from(*length))?;
                let expires = if rest.is_empty() {
                    ""
                } else {
                    " until some time"
                };
                return Some(format!("session {}{expires}", address.escape_ascii()));
            }
            address => address,
        };
        Some(format!("address {}", address.escape_ascii()))
    };
    let cookie = line
        .strip_prefix("client: set-cookie: ")
        .and_then(|cookie| {
            let (name, rest) = cookie.split_once("=\\\"")?;
            let (value, rest) = rest.split_once("\\\"")?;
            Some(format!(
                "client: set-cookie: {name}=<{}>{rest}",
                words(value)?
            ))
        });
    let field = || {
        let value = line.strip_prefix("client: x-session: ")?;
        Some(format!("client: x-session: <{}>", words(value)?))
    };
    let envelope = || {
        let prefixes = ["client: x-own: ", "client: x-received: "];
        let (prefix, value) = prefixes
            .iter()
            .find_map(|prefix| Some((prefix, line.strip_prefix(prefix)?)))?;
        let parts: Vec<_> = value.split(';').map(part).collect();
        Some(format!("{prefix}{}", parts.join(";")))
    };
    cookie
        .or_else(field)
        .or_else(envelope)
        .unwrap_or_else(|| line.to_owned())
}

/// A part of an envelope, in words where it is base64.
fn part(part: &str) -> String {
    let (flag, value) = part
        .strip_prefix("UV:")
        .map_or(("", part), |value| ("UV:", value));
    match STANDARD.decode(value) {
        Ok(bytes) if !bytes.is_empty() => format!("{flag}<{}>", bytes.escape_ascii()),
        _ => part.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_sent_as_messages_and_come_back() {
        let sent = encode("cookie: s=@SESSION(1.2.3.4:80;300)@; t=@SESSION(a)@; u=@BASE64(a)@");
        let expected = "cookie: s=CgoxLjIuMy40OjgwEKwC; t=CgFh; u=YQ==";
        assert_eq!(sent, expected);
        for (line, words) in [
            (
                "client: set-cookie: s=\\\"CgoxLjIuMy40OjgwEKwC\\\"; HttpOnly",
                "client: set-cookie: s=<session 1.2.3.4:80 until some time>; HttpOnly",
            ),
            (
                "client: set-cookie: s=\\\"CgFh\\\"; HttpOnly",
                "client: set-cookie: s=<session a>; HttpOnly",
            ),
            ("client: x-session: YQ==", "client: x-session: <address a>"),
            ("client: set-cookie: s=1", "client: set-cookie: s=1"),
            (
                "client: set-cookie: s=\\\"0123456789abcdef\\\"; HttpOnly",
                "client: set-cookie: s=<a hash>; HttpOnly",
            ),
            (
                "client: x-own: YQ==;UV:Yg==;c",
                "client: x-own: <a>;UV:<b>;c",
            ),
        ] {
            assert_eq!(decode(line), words);
        }
    }
}
