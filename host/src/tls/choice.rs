//! Which of several certificates a client gets.
//!
//! Owns the index by name and the order of the choice, which are Envoy's: an exact name, then the
//! wildcard of its parent, then the first certificate; among those of one name the first that is not of
//! RSA, for a client that can do without RSA. A lookup is the same for one certificate and for
//! thousands. Pure.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::certificate::Certificate;

/// How well a certificate suits a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// Not at all: the client cannot check its key.
    None,
    /// Where there is nothing better: an RSA key for a client that can do without.
    Fallback,
    /// Perfectly.
    Good,
}

/// Certificates by the names in them.
#[derive(Debug)]
pub(super) struct Index {
    /// By name in lower case; a wildcard `*.a` under `.a`. In the order of the configuration.
    by_name: HashMap<Box<str>, Vec<usize>>,
    count: usize,
    /// `full_scan_certs_on_sni_mismatch`.
    scans_on_mismatch: bool,
}

impl Index {
    pub(super) fn new(certificates: &[&Certificate], scans_on_mismatch: bool) -> Self {
        let mut index = Self {
            by_name: HashMap::new(),
            count: certificates.len(),
            scans_on_mismatch,
        };
        for (at, certificate) in certificates.iter().enumerate() {
            for name in names(certificate) {
                index.by_name.entry(name.into()).or_default().push(at);
            }
        }
        index
    }

    /// The certificate for a client that asked for `name`, or for none; one of those that there are,
    /// the first if need be.
    pub(super) fn choose(&self, name: Option<&str>, fit: impl Fn(usize) -> Fit) -> usize {
        let best = |among: &mut dyn Iterator<Item = usize>| {
            let mut fallback = None;
            for at in among {
                match fit(at) {
                    Fit::Good => return Some(at),
                    Fit::Fallback => fallback = fallback.or(Some(at)),
                    Fit::None => {}
                }
            }
            fallback
        };
        let of_name = |name: &str| {
            let found = self.by_name.get(name)?;
            best(&mut found.iter().copied())
        };
        let Some(name) = name else {
            return best(&mut (0..self.count)).unwrap_or_default();
        };
        let name = lower(name);
        let wildcard = || {
            // A dot at the very beginning or end leads no parent.
            let dot = name.get(1..)?.find('.')? + 1;
            let parent = name.get(dot..).filter(|parent| parent.len() > 1)?;
            of_name(parent)
        };
        let named = of_name(&name).or_else(wildcard);
        if named.is_none() && self.scans_on_mismatch {
            return best(&mut (0..self.count)).unwrap_or_default();
        }
        named.unwrap_or_default()
    }
}

/// The names that a certificate is found by: its alternative names, or else its common name.
fn names(certificate: &Certificate) -> impl Iterator<Item = String> {
    let alternative = certificate.names.dns.iter();
    let common = certificate.common_name.iter();
    let common = common.filter(|_| certificate.names.dns.is_empty());
    alternative.chain(common).map(|name| {
        let parent = name.strip_prefix('*').filter(|rest| rest.starts_with('.'));
        parent.unwrap_or(name).to_ascii_lowercase()
    })
}

fn lower(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    fn certificate(names: &[&str], common: &str) -> Certificate {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common);
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        Certificate::parse(made.der()).unwrap()
    }

    #[test]
    fn names_lead_to_certificates_as_in_envoy() {
        let made = [
            certificate(&["first.test"], "unused.test"),
            certificate(&["a.test", "*.a.test"], ""),
            certificate(&["x.a.test"], ""),
            certificate(&[], "Common.test"),
            certificate(&["a.test"], ""),
        ];
        for scans in [false, true] {
            let index = Index::new(&made.each_ref(), scans);
            for (name, chosen) in [
                (None, 0),
                (Some("first.test"), 0),
                (Some("a.test"), 1),
                (Some("A.Test"), 1),
                (Some("y.a.test"), 1),
                (Some("x.a.test"), 2),
                (Some("z.y.a.test"), 0),
                (Some("common.test"), 3),
                (Some("unused.test"), 0),
                (Some("nobody.test"), 0),
                (Some("test"), 0),
                (Some("test."), 0),
                (Some(""), 0),
                (Some("."), 0),
            ] {
                assert_eq!(index.choose(name, |_| Fit::Good), chosen, "{name:?}");
            }
        }
    }

    #[test]
    fn keys_count_within_a_name() {
        let same = [
            certificate(&["a.test"], ""),
            certificate(&["a.test"], ""),
            certificate(&["b.test"], ""),
            certificate(&["*.test"], ""),
        ];
        let choose = |name: Option<&str>, scans: bool, fits: [Fit; 4]| {
            Index::new(&same.each_ref(), scans).choose(name, |at| fits[at])
        };
        let (no, fallback, good) = (Fit::None, Fit::Fallback, Fit::Good);
        for (name, scans, fits, chosen) in [
            (Some("a.test"), false, [fallback, good, good, good], 1),
            (Some("a.test"), false, [good, good, good, good], 0),
            (Some("a.test"), false, [fallback, fallback, good, good], 0),
            (Some("a.test"), false, [no, fallback, good, good], 1),
            // None of the name: its parent's wildcard, and then the first.
            (Some("a.test"), false, [no, no, good, good], 3),
            (Some("a.test"), false, [no, no, good, no], 0),
            (Some("a.test"), true, [no, no, good, no], 2),
            (Some("other"), false, [no, good, good, good], 0),
            (Some("other"), true, [no, fallback, good, good], 2),
            (None, false, [fallback, no, good, no], 2),
            (None, false, [no, no, no, no], 0),
        ] {
            assert_eq!(choose(name, scans, fits), chosen, "{name:?} {fits:?}");
        }
    }

    #[test]
    fn a_choice_costs_the_same_for_thousands() {
        // How many certificates are looked at for each of these clients, among so many.
        let looked_at = |count: usize| {
            let made: Vec<Certificate> = (0..count)
                .map(|number| {
                    let wildcard = format!("*.w{number}.test");
                    certificate(&[&format!("n{number}.test"), &wildcard], "")
                })
                .collect();
            let index = Index::new(&made.iter().collect::<Vec<_>>(), false);
            let last = count - 1;
            let names = [
                "n0.test".to_owned(),
                format!("n{last}.test"),
                format!("x.w{last}.test"),
                "nobody.test".to_owned(),
            ];
            names.map(|name| {
                let looks = std::cell::Cell::new(0);
                let chosen = index.choose(Some(&name), |_| {
                    looks.set(looks.get() + 1);
                    Fit::Good
                });
                let is_last = name.contains(&last.to_string());
                assert_eq!(chosen, if is_last { last } else { 0 }, "{name}");
                looks.get()
            })
        };
        assert_eq!(looked_at(1000), [1, 1, 1, 0]);
        assert_eq!(looked_at(2), [1, 1, 1, 0]);
    }
}
