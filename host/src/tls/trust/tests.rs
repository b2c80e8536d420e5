//! Who is trusted, by certificates that are made here.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    IsCa, KeyIdMethod, KeyPair, RevokedCertParams,
};

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
    loaded(&TrustSpec {
        max_depth: most,
        ..spec(root)
    })
}

fn spec(root: &Issuer) -> TrustSpec {
    TrustSpec {
        authorities: Some(Source::Inline(root.pem().into_bytes().into())),
        ..TrustSpec::default()
    }
}

fn loaded(spec: &TrustSpec) -> Trust {
    let parameters = Parameters::new(&ParametersSpec {
        min: Version::Tls12,
        max: Version::Tls13,
        ciphers: &[],
        groups: &[],
        signatures: &[],
        alpn: &[],
    });
    Trust::load(spec, &parameters.unwrap()).unwrap()
}

/// Whether a peer with that leaf and these certificates above it is trusted in 2027.
fn trusts(trust: &Trust, leaf: &CertificateDer<'_>, rest: &[&Issuer]) -> bool {
    let above = rest.iter().map(|one| one.der().clone());
    let chain: Vec<_> = std::iter::once(leaf.clone()).chain(above).collect();
    trust.trusts_client(&chain, now())
}

fn now() -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000))
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

/// A list of that authority's which takes back a certificate and counts until the beginning of a year.
fn list(issuer: &Issuer, serial: u64, until: i32) -> Option<Source> {
    let list = CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(2020, 1, 1),
        next_update: rcgen::date_time_ymd(until, 1, 1),
        crl_number: 1.into(),
        issuing_distribution_point: None,
        revoked_certs: vec![RevokedCertParams {
            serial_number: serial.into(),
            revocation_time: rcgen::date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        }],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let pem = list.signed_by(issuer).unwrap().pem().unwrap();
    Some(Source::Inline(pem.into_bytes().into()))
}

#[test]
fn where_no_time_counts_that_of_a_list_does_not_either() {
    let root = authority("root", None, new_key());
    let until = |year: i32, is_ca: IsCa| {
        let mut params = params("leaf");
        params.serial_number = Some(7.into());
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        params.is_ca = is_ca;
        params.signed_by(&new_key(), &root).unwrap()
    };
    // Certificates of authorities are not judged by the library.
    let ca = IsCa::Ca(BasicConstraints::Unconstrained);
    for is_ca in [IsCa::NoCa, ca] {
        for (leaf_until, list_until, revoked, strict) in [
            (2999, 2999, 8, true),
            (2999, 2021, 8, false),
            (2022, 2999, 8, false),
            (2022, 2021, 8, false),
            (2999, 2999, 7, false),
            (2999, 2021, 7, false),
            (2022, 2021, 7, false),
        ] {
            let leaf = until(leaf_until, is_ca);
            for allow_expired in [false, true] {
                let trust = loaded(&TrustSpec {
                    revoked: list(&root, revoked, list_until),
                    allow_expired,
                    ..spec(&root)
                });
                assert_eq!(
                    trusts(&trust, leaf.der(), &[]),
                    strict || (allow_expired && revoked == 8),
                    "until {leaf_until}, list until {list_until} of {revoked}, {allow_expired}"
                );
            }
        }
    }
}

#[test]
fn what_was_never_valid_together_is_told_as_that() {
    let root = authority("root", None, new_key());
    let mut inner = params("inner");
    inner.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    inner.not_before = rcgen::date_time_ymd(2023, 1, 1);
    let inner = CertifiedIssuer::signed_by(inner, new_key(), &root).unwrap();
    let mut early = params("leaf");
    early.not_before = rcgen::date_time_ymd(2020, 1, 1);
    early.not_after = rcgen::date_time_ymd(2022, 1, 1);
    let leaf = early.signed_by(&new_key(), &inner).unwrap();
    let trust = loaded(&TrustSpec {
        allow_expired: true,
        ..spec(&root)
    });
    let checked = trust.check_server(leaf.der(), &[inner.der().clone()], now());
    let Err(rustls::Error::InvalidCertificate(CertificateError::Other(error))) = checked else {
        panic!("{checked:?}")
    };
    assert_eq!(error.0.downcast_ref(), Some(&Refusal::Times));
}

#[test]
fn two_that_ask_the_same_are_the_same() {
    let (root, other) = (
        authority("root", None, new_key()),
        authority("root", None, new_key()),
    );
    let asks = |change: &dyn Fn(&mut TrustSpec)| {
        let mut spec = spec(&root);
        change(&mut spec);
        loaded(&spec)
    };
    let named = |words: &'static str| {
        move |spec: &mut TrustSpec| {
            let name = SubjectName::new(words, Arc::new(|_| true));
            spec.names = vec![name];
        }
    };
    let changes: [&dyn Fn(&mut TrustSpec); 11] = [
        &|_| (),
        &|spec| spec.authorities = self::spec(&other).authorities,
        &|spec| spec.revoked = list(&root, 8, 2999),
        &|spec| spec.revoked_leaf_only = true,
        &|spec| spec.hashes = vec![[1; 32]],
        &|spec| spec.keys = vec![[1; 32]],
        &named("a"),
        &named("b"),
        &|spec| spec.max_depth = Some(1),
        &|spec| spec.allow_expired = true,
        &|spec| spec.accept_untrusted = true,
    ];
    for (at, change) in changes.iter().enumerate() {
        let trust = asks(change);
        for (other_at, other) in changes.iter().enumerate() {
            // Lists are signed anew each time, by a digest that may differ.
            if at != other_at || at != 2 {
                assert_eq!(
                    trust.is_same(&asks(other)),
                    at == other_at,
                    "{at} {other_at}"
                );
            }
        }
    }
}
