//! The virtual host for a host name.
//!
//! Owns the order in which domains are tried: exact, suffix wildcards from the longest, prefix
//! wildcards from the longest, `*`. Hosts are compared in lower case and with their port. A lookup
//! takes as long as the host name, however many domains there are. Called by `table`. Does not own
//! what a virtual host is.

use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use super::error::{Path, Problem, Report};
use super::trie::Trie;

/// Longest host name that is brought into lower case without an allocation: that of DNS with a
/// port. A longer one that is in lower case already needs none either.
const HOST_BYTES: usize = 272;

/// Indices of virtual hosts by their domains.
#[derive(Debug, Default)]
pub(super) struct Domains {
    exact: HashMap<Box<[u8]>, u32>,
    /// Without the `*`, from the back.
    suffixes: Trie,
    /// Without the `*`.
    prefixes: Trie,
    any: Option<u32>,
}

impl Domains {
    /// The virtual host for `host`, as it stands in `:authority`.
    pub(super) fn find(&self, host: &[u8]) -> Option<usize> {
        self.find_number(host).map(|number| number as usize)
    }

    fn find_number(&self, host: &[u8]) -> Option<u32> {
        if self.exact.is_empty() && self.suffixes.is_empty() && self.prefixes.is_empty() {
            return self.any;
        }
        if !host.iter().any(u8::is_ascii_uppercase) {
            return self.find_lower(host);
        }
        let mut buffer = [0; HOST_BYTES];
        let lower = match buffer.get_mut(..host.len()) {
            Some(lower) => {
                lower.copy_from_slice(host);
                lower.make_ascii_lowercase();
                Cow::Borrowed(&*lower)
            }
            None => Cow::Owned(host.to_ascii_lowercase()),
        };
        self.find_lower(&lower)
    }

    fn find_lower(&self, host: &[u8]) -> Option<u32> {
        if let Some(found) = self.exact.get(host) {
            return Some(*found);
        }
        let bytes = host.iter().copied();
        let suffix = longest(&self.suffixes, bytes.clone().rev(), host.len());
        suffix
            .or_else(|| longest(&self.prefixes, bytes, host.len()))
            .or(self.any)
    }
}

/// The value of the longest key that `host` begins with. A wildcard stands for at least one of its
/// `length` bytes.
fn longest(trie: &Trie, host: impl Iterator<Item = u8>, length: usize) -> Option<u32> {
    let mut longest = None;
    trie.each(host, |fixed, value| {
        if fixed < length {
            longest = Some(value);
        }
    });
    longest
}

/// Which of a virtual host's domains leads to it from a host name.
#[must_use]
pub fn domain_for<'d>(domains: impl Iterator<Item = &'d str>, host: &[u8]) -> Option<&'d str> {
    let domains: Vec<_> = domains.collect();
    let mut builder = Builder::default();
    for (domain, index) in domains.iter().zip(0..) {
        builder.add(domain, index, &mut Report::default());
    }
    domains.get(builder.finish().find(host)?).copied()
}

/// [`Domains`] in the making.
#[derive(Debug, Default)]
pub(super) struct Builder {
    exact: HashMap<Box<[u8]>, u32>,
    suffixes: BTreeMap<Vec<u8>, u32>,
    prefixes: BTreeMap<Vec<u8>, u32>,
    any: Option<u32>,
    first: HashMap<String, Path>,
}

impl Builder {
    /// Adds a domain of the virtual host `index`.
    pub(super) fn add(&mut self, domain: &str, index: u32, report: &mut Report) {
        let domain = domain.to_ascii_lowercase();
        match self.first.entry(domain.clone()) {
            Entry::Vacant(entry) => {
                entry.insert(report.here().clone());
            }
            Entry::Occupied(entry) => {
                let first = entry.get().clone();
                let _: Option<()> = report.error(match &*domain {
                    "*" => Problem::SecondCatchAll { first },
                    _ => Problem::DuplicateDomain { domain, first },
                });
                return;
            }
        }
        if domain == "*" {
            self.any = Some(index);
        } else if let Some(suffix) = domain.strip_prefix('*') {
            self.suffixes.insert(suffix.bytes().rev().collect(), index);
        } else if let Some(prefix) = domain.strip_suffix('*') {
            self.prefixes.insert(prefix.into(), index);
        } else {
            self.exact.insert(domain.into_bytes().into(), index);
        }
    }

    pub(super) fn finish(self) -> Domains {
        let trie = |keys: BTreeMap<_, _>| Trie::new(&keys.into_iter().collect::<Vec<_>>());
        Domains {
            exact: self.exact,
            suffixes: trie(self.suffixes),
            prefixes: trie(self.prefixes),
            any: self.any,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn domains(list: &[&str]) -> Domains {
        let mut report = Report::default();
        let mut builder = Builder::default();
        for (domain, index) in list.iter().zip(0..) {
            builder.add(domain, index, &mut report);
        }
        builder.finish()
    }

    /// The order of Envoy's documentation, looked up one after another.
    fn naive<'a>(list: &[&'a str], host: &str) -> Option<&'a str> {
        let host = host.to_ascii_lowercase();
        let lower = |domain: &str| domain.to_ascii_lowercase();
        let longest = |domains: Vec<&'a str>| domains.into_iter().max_by_key(|domain| domain.len());
        let is_suffix = |domain: &&&str| domain.starts_with('*') && domain.len() > 1;
        let is_prefix = |domain: &&&str| domain.ends_with('*') && !domain.starts_with('*');
        let exact = list
            .iter()
            .filter(|d| !is_suffix(d) && !is_prefix(d) && **d != "*");
        let suffixes = list.iter().filter(is_suffix).filter(|domain| {
            host.len() >= domain.len() && host.ends_with(lower(domain).trim_start_matches("*"))
        });
        let prefixes = list.iter().filter(is_prefix).filter(|domain| {
            host.len() >= domain.len() && host.starts_with(lower(domain).trim_end_matches("*"))
        });
        longest(
            exact
                .filter(|domain| lower(domain) == host)
                .copied()
                .collect(),
        )
        .or_else(|| longest(suffixes.copied().collect()))
        .or_else(|| longest(prefixes.copied().collect()))
        .or_else(|| list.contains(&"*").then_some("*"))
    }

    #[test]
    fn chooses_as_envoy() {
        let list = [
            "a.com",
            "A.net",
            "*.b.com",
            "*.a.b.com",
            "*-x.b.com",
            "foo.*",
            "foo.bar.*",
            "*",
            "x.a.b.com",
            "foo.bar.b.com:8080",
            "*.b.com:8080",
            "f*o.com",
            "*y*",
            "**z",
            "w**",
            "*.",
            ".*",
            "foo.*.*",
        ];
        let domains = domains(&list);
        for (host, expected) in [
            ("a.com", "a.com"),
            ("A.COM", "a.com"),
            ("a.net", "A.net"),
            ("a.com:80", "*"),
            ("a.com.", "*."),
            ("x.b.com", "*.b.com"),
            (".b.com", ".*"),
            ("b.com", "*"),
            ("x.a.b.com", "x.a.b.com"),
            ("y.a.b.com", "*.a.b.com"),
            ("q-x.b.com", "*-x.b.com"),
            ("-x.b.com", "*.b.com"),
            ("foo.b.com", "*.b.com"),
            ("foo.bar.b.com", "*.b.com"),
            ("foo.bar.b.com:8080", "foo.bar.b.com:8080"),
            ("X.B.COM:8080", "*.b.com:8080"),
            ("foo.zzz", "foo.*"),
            ("foo.", "*."),
            ("FOO.BAR.Q", "foo.bar.*"),
            ("f*o.com", "f*o.com"),
            ("fxo.com", "*"),
            ("y*", "*"),
            ("zy*", "*y*"),
            ("q*z", "**z"),
            ("w*", "*"),
            ("w*q", "w**"),
            ("foo.*.q", "foo.*.*"),
            ("", "*"),
        ] {
            let found = domains
                .find(host.as_bytes())
                .and_then(|index| list.get(index));
            assert_eq!(found, Some(&expected), "{host}");
            let named = domain_for(list.iter().copied(), host.as_bytes());
            assert_eq!(named, Some(expected), "{host}");
        }
    }

    #[test]
    fn long_hosts_in_upper_case_are_found() {
        let long = "a".repeat(HOST_BYTES + 1);
        let domains = domains(&[&long, "*.x"]);
        assert_eq!(domains.find(long.to_ascii_uppercase().as_bytes()), Some(0));
        assert_eq!(domains.find(b"Q.X"), Some(1));
        assert_eq!(domains.find(&[0xff, b'.', b'X']), Some(1));
    }

    proptest! {
        #[test]
        fn the_same_as_a_naive_scan(
            list in proptest::collection::hash_set(r"(\*|[ab.]{1,2}|\*[ab.]{1,3}|[ab.]{1,3}\*)", 0..12),
            host in "[abAB.]{0,5}",
        ) {
            let list: Vec<&str> = list.iter().map(String::as_str).collect();
            let found = domains(&list).find(host.as_bytes()).and_then(|index| list.get(index));
            prop_assert_eq!(found.copied(), naive(&list, &host));
        }
    }
}
