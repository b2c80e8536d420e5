//! Calls of gRPC: which requests are some, which method they are for, and how their ends are counted.

use nuncio_sdk::Exchange;

/// Whether a request or response of this `content-type` is gRPC.
#[must_use]
pub fn is_grpc(content_type: &[u8]) -> bool {
    let rest = content_type.strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"+"))
}

/// Service and method of a path, `/<service>/<method>`.
#[must_use]
pub fn method_of(path: &str) -> Option<(&str, &str)> {
    let path = path.split('?').next()?;
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    (!method.contains('/')).then_some((service, method))
}

/// Counts the end of a call by its status, where there is one, under names that begin with `prefix`.
pub fn charge(prefix: &str, status: Option<&[u8]>, exchange: &Exchange<'_>) {
    let Some(status) = status else {
        return;
    };
    let status = String::from_utf8_lossy(status);
    let outcome = match status.parse() {
        Ok(0_u64) => "success",
        _ => "failure",
    };
    for name in [&*status, outcome, "total"] {
        exchange.count(&format!("{prefix}.{name}"), 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_of_grpc() {
        for (content_type, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc-web", false),
            ("application/grpc; x", false),
            ("", false),
        ] {
            assert_eq!(is_grpc(content_type.as_bytes()), expected, "{content_type}");
        }
    }

    #[test]
    fn paths_of_methods() {
        for (path, expected) in [
            ("/a.S/M", Some(("a.S", "M"))),
            ("/a.S/M?q=/", Some(("a.S", "M"))),
            ("/a.S", None),
            ("/a/b/c", None),
            ("a/b", None),
            ("", None),
        ] {
            assert_eq!(method_of(path), expected, "{path}");
        }
    }
}
