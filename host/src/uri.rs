//! What URIs are made of (RFC 3986): which bytes stand for themselves, and where a port begins.
//!
//! Called by whoever reads or checks a part of one. Does not own targets (`h1`), templates or rewrites
//! (`route`).

/// Whether `byte` may stand in a segment of a path (§3.3, `pchar`), a percent sign in front of anything.
pub(crate) const fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.'
                | b'_'
                | b'~'
                | b'%'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
                | b':'
                | b'@'
        )
}

/// Whether `byte` may stand in a path or a query (§3.3 and §3.4).
pub(crate) const fn is_path_or_query_byte(byte: u8) -> bool {
    is_path_byte(byte) || matches!(byte, b'/' | b'?')
}

/// Parts a host from its port, which begins with the colon and may be empty. The colons of an
/// address in brackets are not one.
pub(crate) fn split_port(host: &[u8]) -> (&[u8], &[u8]) {
    let colon = memchr::memrchr(b':', host);
    let at = colon.filter(|at| memchr::memrchr(b']', host).is_none_or(|bracket| bracket < *at));
    host.split_at_checked(at.unwrap_or(host.len()))
        .unwrap_or((host, b""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_those_of_the_standard() {
        const SUB_DELIMS: &[u8] = b"!$&'()*+,;=";
        for byte in 0..=u8::MAX {
            let unreserved = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            let path = unreserved || SUB_DELIMS.contains(&byte) || b":@%".contains(&byte);
            assert_eq!(is_path_byte(byte), path, "{byte:#x}");
            let query = path || b"/?".contains(&byte);
            assert_eq!(is_path_or_query_byte(byte), query, "{byte:#x}");
        }
    }

    #[test]
    fn a_port_is_behind_the_last_colon_outside_of_brackets() {
        for (host, name, port) in [
            ("a", "a", ""),
            ("a:80", "a", ":80"),
            ("a:", "a", ":"),
            ("a:b:80", "a:b", ":80"),
            ("[::1]", "[::1]", ""),
            ("[::1]:80", "[::1]", ":80"),
            ("", "", ""),
        ] {
            let expected = (name.as_bytes(), port.as_bytes());
            assert_eq!(split_port(host.as_bytes()), expected, "{host}");
        }
    }
}
