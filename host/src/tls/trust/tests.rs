//! Who is trusted, by certificates that are made here.

use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use super::*;
use crate::tls::{ParametersSpec, Version};

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn authority(name: &str, issuer: Option<&Issuer>, key: KeyPair) -> Issuer {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    match issuer {
        None => CertifiedIssuer::self_signed(params, key).unwrap(),
        Some(issuer) => CertifiedIssuer::signed_by(params, key, issuer).unwrap(),
    }
}

fn new_key() -> KeyPair {
    KeyPair::generate().unwrap()
}

fn trust(root: &Issuer, most: Option<usize>) -> Trust {
    let parameters = Parameters::new(&ParametersSpec {
        min: Version::Tls12,
        max: Version::Tls13,
        ciphers: &[],
        groups: &[],
        signatures: &[],
        alpn: &[],
    });
    let spec = TrustSpec {
        authorities: Some(Source::Inline(root.pem().into_bytes().into())),
        max_depth: most,
        ..TrustSpec::default()
    };
    Trust::load(&spec, &parameters.unwrap()).unwrap()
}

/// Whether a peer with that leaf and these certificates above it is trusted in 2027.
fn trusts(trust: &Trust, leaf: &CertificateDer<'_>, rest: &[&Issuer]) -> bool {
    let now = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000));
    let above = rest.iter().map(|one| one.der().clone());
    let chain: Vec<_> = std::iter::once(leaf.clone()).chain(above).collect();
    trust.trusts_client(&chain, now)
}

#[test]
fn a_long_way_is_not_made_short_by_others_certificates() {
    let root = authority("root", None, new_key());
    let first = authority("first", Some(&root), new_key());
    let second = authority("second", Some(&first), new_key());
    let leaf = params("leaf").signed_by(&new_key(), &second).unwrap();
    // Of the second one's name and the root's hand, by its own words; anybody can make it.
    let another_root = authority("root", None, new_key());
    let decoy = authority("second", Some(&another_root), new_key());
    for (most, trusted) in [(0, false), (1, false), (2, false), (3, true), (9, true)] {
        let trust = trust(&root, Some(most));
        for rest in [
            &[&second, &first][..],
            &[&first, &second],
            &[&decoy, &second, &first],
            &[&second, &decoy, &first, &another_root],
        ] {
            assert_eq!(
                trusts(&trust, leaf.der(), rest),
                trusted,
                "{most} {}",
                rest.len()
            );
        }
    }
    assert!(trusts(
        &trust(&root, None),
        leaf.der(),
        &[&decoy, &second, &first]
    ));
}

#[test]
fn a_short_way_counts_wherever_it_is() {
    let root = authority("root", None, new_key());
    let first = authority("first", Some(&root), new_key());
    let pem = new_key().serialize_pem();
    let key = || KeyPair::from_pem(&pem).unwrap();
    let long = authority("second", Some(&first), key());
    let short = authority("second", Some(&root), key());
    let leaf = params("leaf").signed_by(&new_key(), &long).unwrap();
    let trust = trust(&root, Some(2));
    for rest in [
        &[&long, &first, &short][..],
        &[&short, &long, &first],
        &[&short],
    ] {
        assert!(trusts(&trust, leaf.der(), rest), "{}", rest.len());
    }
    assert!(!trusts(&trust, leaf.der(), &[&long, &first]));
}

#[test]
fn a_list_of_what_was_revoked_needs_an_authority() {
    let spec = TrustSpec {
        revoked: Some(Source::Inline(b"list".as_slice().into())),
        ..TrustSpec::default()
    };
    let root = authority("root", None, new_key());
    let parameters = trust(&root, None).parameters;
    let (part, error) = Trust::load(&spec, &parameters).unwrap_err();
    assert_eq!(part, Part::Revoked);
    assert!(matches!(error, Error::RevokedWithoutAuthorities));
}
