//! What a request is for, made canonical: its path and its host.
//!
//! Owns what the rules make of both in the head. Does not own how a path is normalized (`http::path`).

use super::{HostPort, HygieneRules};
use crate::headers::{Headers, Known};
use crate::http::path::{Normalized, PathRules};
use crate::uri::split_port;

/// What becomes of a request by its path alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathVerdict {
    Serve,
    /// The client has to ask for the path that is in the head now.
    Redirect,
    Refuse,
}

/// Makes the path what the rules say. The path that the client is sent to, or that is served, is in
/// the head then.
pub(crate) fn normalize_path(rules: PathRules, headers: &mut Headers) -> PathVerdict {
    if rules.is_off() {
        return PathVerdict::Serve;
    }
    let Some(path) = headers.known(Known::Path) else {
        return PathVerdict::Serve;
    };
    match rules.apply(path) {
        Normalized::Unchanged => PathVerdict::Serve,
        Normalized::Changed(path) => {
            headers.set_known(Known::Path, &path);
            PathVerdict::Serve
        }
        Normalized::Redirect(path) => {
            headers.set_known(Known::Path, &path);
            PathVerdict::Redirect
        }
        Normalized::Refused(path) => {
            headers.set_known(Known::Path, &path);
            PathVerdict::Refuse
        }
    }
}

/// Makes `host` what the rules say.
pub(crate) fn normalize_host(rules: &HygieneRules, headers: &mut Headers, local_port: u16) {
    if !rules.strip_host_dot && rules.host_port == HostPort::Keep {
        return;
    }
    let Some(host) = headers.known(Known::Authority) else {
        return;
    };
    let (mut name, mut port) = split_port(host);
    if rules.strip_host_dot
        && let [undotted @ .., b'.'] = name
    {
        name = undotted;
    }
    let number = port
        .get(1..)
        .and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<u32>().ok());
    let strip = match rules.host_port {
        HostPort::Keep => false,
        HostPort::StripMatching => number == Some(u32::from(local_port)),
        HostPort::StripAny => number.is_some(),
    };
    if strip {
        port = b"";
    }
    if name.len() + port.len() != host.len() {
        let changed = [name, port].concat();
        headers.set_known(Known::Authority, &changed);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{head, rules};
    use super::*;

    #[test]
    fn ports_and_dots_of_hosts_are_stripped() {
        let stripped = |host: &str, host_port, strip_host_dot| {
            let rules = HygieneRules {
                host_port,
                strip_host_dot,
                ..rules()
            };
            let mut headers = head(&[(":authority", host)]);
            normalize_host(&rules, &mut headers, 8080);
            String::from_utf8(headers.known(Known::Authority).unwrap().to_vec()).unwrap()
        };
        for (host, matching, any) in [
            ("a.com:8080", "a.com", "a.com"),
            ("a.com:80", "a.com:80", "a.com"),
            ("a.com:", "a.com:", "a.com:"),
            ("a.com:x", "a.com:x", "a.com:x"),
            ("a.com", "a.com", "a.com"),
            ("[::1]:8080", "[::1]", "[::1]"),
            ("[::1]", "[::1]", "[::1]"),
            ("a.com:1:8080", "a.com:1", "a.com:1"),
        ] {
            assert_eq!(stripped(host, HostPort::Keep, false), host);
            assert_eq!(stripped(host, HostPort::StripMatching, false), matching);
            assert_eq!(stripped(host, HostPort::StripAny, false), any);
        }
        for (host, expected) in [
            ("a.com.", "a.com"),
            ("a.com.:80", "a.com:80"),
            ("a.com..", "a.com."),
            ("a.com", "a.com"),
            (".", ""),
        ] {
            assert_eq!(stripped(host, HostPort::Keep, true), expected);
        }
        assert_eq!(stripped("a.com.:80", HostPort::StripAny, true), "a.com");
    }
}
