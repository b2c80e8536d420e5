//! What no two runs have in common: the date, how long something took, and generated identifiers.
//!
//! Owns which fields of a head these are and the form that each must have to be left out of a comparison;
//! another form stays as it is, and is compared. Called by [`crate::compare`] for lines, and by whoever
//! shows bytes that may hold a head: a checksum of a date is one more date.

use crate::message::summary;

/// What stands in place of a field's value where that is one that no two runs have in common.
#[must_use]
pub fn field(name: &str, value: &str) -> Option<&'static str> {
    Some(match &*name.to_ascii_lowercase() {
        "date" if is_recent_date(value) => "<date>",
        // A retry tells what is left of the usual time.
        "x-envoy-expected-rq-timeout-ms" if value.starts_with("14") && value.len() == 5 => "15000",
        "x-envoy-upstream-service-time" if is_number(value) => "<ms>",
        "x-request-id" if is_uuid4(value) => "<uuid>",
        _ => return None,
    })
}

/// Text for bytes that may hold heads of HTTP/1.1, as [`summary`] has it, without what varies in their lines.
#[must_use]
pub fn raw(bytes: &[u8]) -> String {
    let mut settled = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let (line, after) = rest.split_at(end);
        let replaced = std::str::from_utf8(line).ok().and_then(|line| {
            let (name, value) = line.split_once(": ")?;
            Some(format!("{name}: {}", field(name, value)?))
        });
        settled.extend_from_slice(replaced.as_ref().map_or(line, String::as_bytes));
        settled.extend_from_slice(b"\r\n");
        rest = &after[2..];
    }
    settled.extend_from_slice(rest);
    summary(&settled)
}

/// Digits, at least one.
fn is_number(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit())
}

/// An IMF-fixdate (RFC 9110 §5.6.7) that is not one of the fixtures' dates in 1970.
fn is_recent_date(value: &str) -> bool {
    const FORM: &[u8] = b"Www, 00 Mmm 2000 00:00:00 GMT";
    value.len() == FORM.len()
        && value.bytes().zip(FORM).all(|(byte, form)| match form {
            b'W' | b'M' => byte.is_ascii_uppercase(),
            b'w' | b'm' => byte.is_ascii_lowercase(),
            b'0' => byte.is_ascii_digit(),
            _ => byte == *form,
        })
}

/// An identifier as proxies make them.
#[must_use]
pub fn is_uuid4(value: &str) -> bool {
    const FORM: &[u8] = b"xxxxxxxx-xxxx-4xxx-yxxx-xxxxxxxxxxxx";
    value.len() == FORM.len()
        && value.bytes().zip(FORM).all(|(byte, form)| match form {
            b'x' => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
            b'y' => b"89ab".contains(&byte),
            _ => byte == *form,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_values_of_the_right_form_are_replaced() {
        let table = [
            ("date", "Tue, 24 Nov 2026 03:20:21 GMT", Some("<date>")),
            ("Date", "Tue, 24 Nov 2026 03:20:21 GMT", Some("<date>")),
            ("date", "yesterday", None),
            ("date", "Thu, 01 Jan 1970 00:00:00 GMT", None),
            ("x-date", "Tue, 24 Nov 2026 03:20:21 GMT", None),
            ("x-envoy-upstream-service-time", "12", Some("<ms>")),
            ("x-envoy-upstream-service-time", "x", None),
            ("x-envoy-upstream-service-time", "", None),
            ("x-envoy-expected-rq-timeout-ms", "14998", Some("15000")),
            ("x-envoy-expected-rq-timeout-ms", "1499", None),
            (
                "x-request-id",
                "7beeaf46-515c-4dea-a1e5-443d49190d1d",
                Some("<uuid>"),
            ),
            ("x-request-id", "7beeaf46-515c-1dea-a1e5-443d49190d1d", None),
        ];
        for (name, value, expected) in table {
            assert_eq!(field(name, value), expected, "{name}: {value}");
        }
    }

    #[test]
    fn bytes_at_any_second_read_the_same() {
        let answer = |second: u8, took: u16, body: &str| {
            format!(
                "HTTP/1.1 101 Switching Protocols\r\ndate: Fri, 27 Nov 2026 00:00:{second:02} GMT\r\n\
                 x-envoy-upstream-service-time: {took}\r\nserver: envoy\r\n\r\n{body}"
            )
        };
        let [short, long] = ["hi".to_owned(), "x".repeat(500)];
        for body in [short.as_str(), long.as_str()] {
            let [one, other] =
                [(7, 9), (8, 10)].map(|(second, took)| raw(answer(second, took, body).as_bytes()));
            assert_eq!(one, other);
            assert_ne!(one, raw(answer(7, 9, "other").as_bytes()));
        }
        assert_eq!(
            raw(answer(7, 9, "hi").as_bytes()),
            r"HTTP/1.1 101 Switching Protocols\r\ndate: <date>\r\nx-envoy-upstream-service-time: <ms>\r\nserver: envoy\r\n\r\nhi"
        );
        assert_eq!(raw(b"a\r\n\r\nb\xff"), r"a\r\n\r\nb\xff");
    }
}
