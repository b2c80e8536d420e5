//! What sessions agreed on, counted by name: `ssl.ciphers.<name>` and the like.
//!
//! Owns the counters, one for each name that there is. Called at the end of a handshake.

use std::borrow::Cow;

use rustls::SignatureScheme;

use super::parameters::{cipher_names, group_names, signature_names};
use crate::exchange::Tls;
use crate::observe::stats::{Counter, Name, Reading, SharedCounter, Stats};

/// Versions that there are.
const VERSIONS: [&str; 2] = ["TLSv1.2", "TLSv1.3"];

/// Sessions by what they agreed on. One thread writes.
#[derive(Debug)]
pub struct Negotiated {
    ciphers: ByName,
    versions: ByName,
    groups: ByName,
}

/// A counter for each of some names.
#[derive(Debug)]
struct ByName(Box<[(&'static str, Counter)]>);

impl ByName {
    fn new(names: impl Iterator<Item = &'static str>) -> Self {
        Self(names.map(|name| (name, Counter::new())).collect())
    }

    fn count(&self, name: &str) {
        if let Some((_, counter)) = self.0.iter().find(|(known, _)| *known == name) {
            counter.inc();
        }
    }

    /// Those that were counted once, as in Envoy, which makes them then.
    fn visit(
        &self,
        (before, label): (&'static str, &'static str),
        visit: &mut dyn FnMut(Name, Reading),
    ) {
        for (value, counter) in &self.0 {
            if counter.get() > 0 {
                let name = Name::Labelled {
                    before,
                    label,
                    value: Cow::Borrowed(value),
                    after: "",
                };
                visit(name, Reading::Counter(counter.get()));
            }
        }
    }
}

impl Default for Negotiated {
    fn default() -> Self {
        Self {
            ciphers: ByName::new(cipher_names()),
            versions: ByName::new(VERSIONS.into_iter()),
            groups: ByName::new(group_names()),
        }
    }
}

impl Negotiated {
    /// Counts a session.
    pub fn count(&self, session: &Tls) {
        self.ciphers.count(session.cipher);
        self.versions.count(session.version);
        self.groups.count(session.group);
    }
}

impl Stats for Negotiated {
    fn visit(&self, visit: &mut dyn FnMut(Name, Reading)) {
        self.ciphers
            .visit(("ssl.ciphers", "envoy_ssl_cipher"), visit);
        self.groups.visit(("ssl.curves", "envoy_ssl_curve"), visit);
        self.versions
            .visit(("ssl.versions", "envoy_ssl_version"), visit);
    }
}

/// Signatures of peers that were found good, by their schemes. The library tells of them where they are
/// checked and nowhere else, so any thread writes, and sessions that are resumed do not count.
#[derive(Debug)]
pub struct Signatures(Box<[(SignatureScheme, &'static str, SharedCounter)]>);

impl Default for Signatures {
    fn default() -> Self {
        let names = signature_names();
        Self(
            names
                .map(|(scheme, name)| (scheme, name, SharedCounter::default()))
                .collect(),
        )
    }
}

impl Signatures {
    /// Counts one.
    pub(super) fn count(&self, scheme: SignatureScheme) {
        if let Some((.., counter)) = self.0.iter().find(|(known, ..)| *known == scheme) {
            counter.inc();
        }
    }
}

impl Stats for Signatures {
    fn visit(&self, visit: &mut dyn FnMut(Name, Reading)) {
        for (_, value, counter) in self.0.iter().filter(|(.., counter)| counter.get() > 0) {
            let name = Name::Labelled {
                before: "ssl.sigalgs",
                label: "envoy_ssl_sigalg",
                value: Cow::Borrowed(value),
                after: "",
            };
            visit(name, Reading::Counter(counter.get()));
        }
    }
}
