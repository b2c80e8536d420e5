//! What no library makes for the tests: certificates of version 1, and OCSP responses.
//!
//! Owns as much of DER as these need. Called by [`crate::tls`].

use rcgen::{CertifiedIssuer, KeyPair, SigningKey as _};

const INTEGER: u8 = 0x02;
const BITS: u8 = 0x03;
const BYTES: u8 = 0x04;
const NULL: u8 = 0x05;
const OBJECT: u8 = 0x06;
const ENUMERATED: u8 = 0x0a;
const TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// What is tagged by its place, such as the version of a certificate (0) and its extensions (3).
const TAGGED: u8 = 0xa0;

/// One value.
fn value(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = contents.len();
    let mut value = vec![tag];
    match length {
        0..0x80 => value.push(u8::try_from(length).unwrap()),
        0x80..0x100 => value.extend([0x81, u8::try_from(length).unwrap()]),
        _ => {
            value.push(0x82);
            value.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
    }
    value.extend(contents);
    value
}

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    value(SEQUENCE, &parts.concat())
}

/// The contents of a value, and what comes behind it.
fn open(der: &[u8]) -> (&[u8], &[u8]) {
    let (head, length) = match der[1] {
        0x81 => (3, usize::from(der[2])),
        0x82 => (4, usize::from(u16::from_be_bytes([der[2], der[3]]))),
        short => (2, usize::from(short)),
    };
    (&der[head..head + length], &der[head + length..])
}

/// The values of a sequence.
fn parts(der: &[u8]) -> Vec<&[u8]> {
    let (mut rest, _) = open(der);
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let (_, behind) = open(rest);
        parts.push(&rest[..rest.len() - behind.len()]);
        rest = behind;
    }
    parts
}

/// The same certificate as one of version 1: without extensions.
#[must_use]
pub(crate) fn of_version_1(certificate: &[u8], issuer: &CertifiedIssuer<'_, KeyPair>) -> Vec<u8> {
    let whole = parts(certificate);
    let of_later = [TAGGED, TAGGED + 3];
    let mut content = parts(whole[0]);
    content.retain(|part| !of_later.contains(&part[0]));
    let content = sequence(&content);
    let signature = issuer.key().sign(&content).unwrap();
    let signature = [&[0], &signature[..]].concat();
    sequence(&[&content, whole[1], &value(BITS, &signature)])
}

/// What an authority says of a certificate: that it is good until the beginning of `year`. Nobody signs
/// it, for who hands it out does not look.
#[must_use]
pub(crate) fn good_until(year: u16, certificate: &[u8]) -> Vec<u8> {
    let whole = parts(certificate);
    let serial = parts(whole[0])[1];
    let sha1 = sequence(&[&value(OBJECT, &[0x2b, 14, 3, 2, 26]), &value(NULL, &[])]);
    let nobody = value(BYTES, &[0; 20]);
    let id = sequence(&[&sha1, &nobody, &nobody, serial]);
    let time = |year: u16| value(TIME, format!("{year}0101000000Z").as_bytes());
    let next = value(TAGGED, &time(year));
    let single = sequence(&[&id, &[0x80, 0], &time(2020), &next]);
    let by_key = value(TAGGED + 2, &nobody);
    let said = sequence(&[&by_key, &time(2020), &sequence(&[&single])]);
    let basic = sequence(&[&said, whole[1], &value(BITS, &[0; 65])]);
    let kind = value(OBJECT, &[0x2b, 6, 1, 5, 5, 7, 48, 1, 1]);
    let response = sequence(&[&kind, &value(BYTES, &basic)]);
    let successful = value(ENUMERATED, &[0]);
    debug_assert_eq!(serial[0], INTEGER);
    sequence(&[&successful, &value(TAGGED, &response)])
}
