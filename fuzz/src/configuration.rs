//! Configurations and formats: any text is read or refused, with its place, and what was read reads the
//! same when it is written again.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use nuncio::config::{self, Source};
use nuncio::exchange::{Connection, Exchange, Protocol, Timing};
use nuncio::observe::format::Format;

/// Takes `data` as a configuration. Its errors can be shown; without errors its canonical form says the
/// same.
pub fn document(data: &[u8]) {
    let loaded = match config::load(vec![Source::inline("fuzz.yaml", data)]) {
        Ok(loaded) => loaded,
        Err(diagnostics) => {
            assert!(!diagnostics.to_string().is_empty());
            return;
        }
    };
    assert!(!loaded.diagnostics.to_string().contains('\0'));
    if loaded.diagnostics.has_errors() {
        return;
    }
    let canonical = config::json::to_string(&loaded.bootstrap);
    let again = config::load(vec![Source::inline("canonical.json", canonical.as_str())]);
    let again = again.unwrap_or_else(|errors| panic!("{errors}\nin {canonical}"));
    assert!(
        !again.diagnostics.has_errors(),
        "{}\nin {canonical}",
        again.diagnostics
    );
    assert_eq!(config::json::to_string(&again.bootstrap), canonical);
}

/// Takes `data` as a format string, and makes a log line and a header of a request with it.
pub fn format(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let exchange = exchange();
    for omit_empty in [false, true] {
        let format = match Format::text(text, omit_empty) {
            Ok(format) => format,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                continue;
            }
        };
        let mut out = Vec::new();
        format.render(&exchange, &mut out);
        if format.is_constant() {
            let mut again = Vec::new();
            format.render(&exchange, &mut again);
            assert_eq!(out, again);
        }
        out.clear();
        format.render_header(&exchange, &mut out);
    }
}

/// A request with something in every place that a format can name.
pub(crate) fn exchange() -> Exchange {
    let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let connection = Arc::new(Connection {
        listener: "main".into(),
        ..Connection::between(address(1), address(2))
    });
    let timing = Timing::starting(Instant::now(), SystemTime::UNIX_EPOCH);
    let mut exchange = Exchange::new(connection, Protocol::Http11, timing, 1);
    for (name, value) in [
        (":method", "GET"),
        (":path", "/p?q"),
        (":authority", "a.example"),
        (":scheme", "http"),
        ("a", "1"),
    ] {
        exchange
            .request
            .append_bytes(name.as_bytes(), value.as_bytes());
    }
    exchange.response.append_bytes(b":status", b"200");
    exchange.response.append_bytes(b"b", b"2");
    exchange.status = 200;
    exchange
}
