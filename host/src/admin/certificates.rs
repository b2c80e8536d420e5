//! The certificates of all TLS contexts as JSON, in Envoy's form: `/certs`.
//!
//! Owns the form alone. Called by the page.

use serde_json::{Value, json};

use crate::certificate::Certificate;
use crate::tls::{Contexts, days_left};

/// All of them, context by context.
pub(super) fn list(contexts: &Contexts) -> Value {
    let now = jiff::Timestamp::try_from(crate::clock::wall()).unwrap_or_default();
    let now = now.as_second();
    let contexts = contexts.all();
    let all: Vec<Value> = contexts
        .iter()
        .map(|context| {
            let trust = context.trust();
            let authorities = trust.iter().flat_map(|trust| {
                let certificates = trust.authorities().iter();
                certificates.map(|certificate| one(trust.path(), certificate, now))
            });
            let identities = context.identities();
            let own = identities
                .iter()
                .map(|own| one(&own.path, &own.certificate, now));
            json!({
                "ca_cert": authorities.collect::<Vec<Value>>(),
                "cert_chain": own.collect::<Vec<Value>>(),
            })
        })
        .collect();
    json!({ "certificates": all })
}

fn one(path: &str, certificate: &Certificate, now: i64) -> Value {
    let names = &certificate.names;
    let named = |kind: &str, names: &[String]| {
        let names = names.iter().map(|name| json!({ kind: name }));
        names.collect::<Vec<Value>>()
    };
    let addresses = names
        .ip
        .iter()
        .map(|ip| json!({ "ip_address": ip.to_string() }));
    let mut all = named("dns", &names.dns);
    all.extend(named("uri", &names.uri));
    all.extend(addresses);
    let when = |second| {
        jiff::Timestamp::from_second(second)
            .unwrap_or_default()
            .to_string()
    };
    json!({
        "path": path,
        "serial_number": certificate.serial,
        "subject_alt_names": all,
        "days_until_expiration": days_left(certificate.not_after, now).to_string(),
        "valid_from": when(certificate.not_before),
        "expiration_time": when(certificate.not_after),
    })
}
