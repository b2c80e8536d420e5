//! What upstreams are told of clients' certificates where a tree of matchers decides that by request.

use nuncio_tests::compare::case::{Case, Group};
use nuncio_tests::h2_client::H2Send;
use nuncio_tests::tls::{Client, with_certificates};

pub(crate) fn group() -> Group {
    let template = include_str!("../../cases/told_certificates.yaml");
    let mut cases = Vec::new();
    for listener in ["told", "tree", "listener"] {
        for mode in [
            "", "append", "set", "keep", "only", "drop", "late", "id", "subject", "plain",
        ] {
            for certificate in [None, Some("client"), Some("other-client")] {
                if listener == "listener" && certificate.is_some() {
                    continue;
                }
                for sent in ["", "X-Forwarded-Client-Cert: Hash=00;Subject=\"CN=x\"\r\n"] {
                    let mode_line = match mode {
                        "" => String::new(),
                        mode => format!("X-Mode: {mode}\r\n"),
                    };
                    let name = format!(
                        "{} at {listener} by {mode:?} says {}",
                        certificate.unwrap_or("nobody"),
                        sent.len()
                    );
                    let case = Case::get(&name, "/", &format!("{mode_line}{sent}")).at(listener);
                    let client = Client {
                        certificate,
                        ..Client::default()
                    };
                    cases.push(match listener {
                        "listener" => case,
                        _ => case.over_tls(client),
                    });
                }
            }
        }
    }
    let two = "X-Mode: append\r\nX-Mode: set\r\n";
    cases.push(Case::get("two modes are one text", "/", two).at("listener"));
    let keep = H2Send::new("GET", "/")
        .header("x-mode", "keep")
        .header("x-forwarded-client-cert", "Hash=00");
    cases.push(Case::http2("over HTTP/2", keep));
    Group::new("told certificates", &with_certificates(template), cases)
}
