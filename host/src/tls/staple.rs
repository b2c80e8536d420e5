//! What an authority says of a certificate (OCSP, RFC 6960): a response that is handed to clients with
//! the certificate itself.
//!
//! Owns reading as much of one as decides whether it is handed out. Whether it is signed is for the
//! client to see.

use x509_parser::prelude::FromDer as _;
use x509_parser::time::ASN1Time;

use super::der::{contents, tagged, value};

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BYTES: u8 = 0x04;
/// The first tag that counts only in its place.
const TAGGED: u8 = 0xa0;

/// A response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Staple {
    /// The serial number that it is about.
    serial: Box<[u8]>,
    /// The second at which there is a newer one.
    next: Option<i64>,
}

/// What becomes of certificates whose response does not help: `ocsp_staple_policy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StaplePolicy {
    /// They are shown alone.
    #[default]
    Lenient,
    /// They are not shown if they have one that is old.
    Strict,
    /// They are not shown without one that is good.
    Must,
}

/// What a client gets beside a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stapled {
    /// The response.
    Good,
    /// Nothing.
    None,
    /// Not even the certificate.
    Refused,
}

impl StaplePolicy {
    /// What a client gets that takes responses, where there is one, good or not, or none.
    pub(super) const fn apply(self, is_good: Option<bool>) -> Stapled {
        match (self, is_good) {
            (_, Some(true)) => Stapled::Good,
            (Self::Lenient, _) | (Self::Strict, None) => Stapled::None,
            (Self::Strict, Some(false)) | (Self::Must, _) => Stapled::Refused,
        }
    }
}

impl Staple {
    /// Reads one.
    ///
    /// # Errors
    /// What it is not.
    pub(super) fn parse(der: &[u8]) -> Result<Self, &'static str> {
        let mut response = contents(der).ok_or("not an OCSP response")?;
        let (_, status) = value(&mut response).ok_or("not an OCSP response")?;
        if status != [0] {
            return Err("an OCSP response that tells of an error");
        }
        let said = Self::said(response).ok_or("not a basic OCSP response")?;
        let mut said = said;
        let single = value(&mut said).map(|(_, single)| single);
        let single = single.filter(|_| said.is_empty());
        let single = single.ok_or("an OCSP response that is not about one certificate")?;
        Self::of(single).ok_or("not a basic OCSP response")
    }

    /// The list of what is said.
    fn said(mut response: &[u8]) -> Option<&[u8]> {
        let mut bytes = contents(tagged(&mut response, TAGGED)?)?;
        let _kind = value(&mut bytes)?;
        let mut basic = contents(tagged(&mut bytes, BYTES)?)?;
        let mut data = tagged(&mut basic, SEQUENCE)?;
        let _version = tagged(&mut data, TAGGED);
        let _who = value(&mut data)?;
        let _when = value(&mut data)?;
        tagged(&mut data, SEQUENCE)
    }

    fn of(mut single: &[u8]) -> Option<Self> {
        let mut id = tagged(&mut single, SEQUENCE)?;
        let _algorithm = value(&mut id)?;
        let _issuer = value(&mut id)?;
        let _key = value(&mut id)?;
        let serial = tagged(&mut id, INTEGER)?;
        let _status = value(&mut single)?;
        let _since = value(&mut single)?;
        let next = tagged(&mut single, TAGGED);
        let next = next.map(|time| ASN1Time::from_der(time).map(|(_, time)| time.timestamp()));
        Some(Self {
            serial: serial.into(),
            next: next.transpose().ok()?,
        })
    }

    /// Whether it is about the certificate of that serial number.
    pub(super) fn is_about(&self, serial: &[u8]) -> bool {
        *self.serial == *serial
    }

    /// Whether it counts. One that does not say until when does not.
    pub(super) fn is_good(&self, now: i64) -> bool {
        self.next.is_some_and(|next| now <= next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One value.
    fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let contents = parts.concat();
        let length = u8::try_from(contents.len()).unwrap();
        let long = (length >= 0x80).then_some(0x81);
        let head = [Some(tag), long, Some(length)];
        head.into_iter().flatten().chain(contents).collect()
    }

    fn single(next: Option<&str>) -> Vec<u8> {
        let id = der(
            SEQUENCE,
            &[
                &der(SEQUENCE, &[]),
                &der(BYTES, &[]),
                &der(BYTES, &[]),
                &der(INTEGER, &[&[9]]),
            ],
        );
        let since = der(0x18, &[b"20200101000000Z"]);
        let next = next.map(|next| der(TAGGED, &[&der(0x18, &[next.as_bytes()])]));
        der(
            SEQUENCE,
            &[&id, &[0x80, 0], &since, &next.unwrap_or_default()],
        )
    }

    fn response(status: u8, singles: &[Vec<u8>]) -> Vec<u8> {
        let singles: Vec<&[u8]> = singles.iter().map(Vec::as_slice).collect();
        let data = der(
            SEQUENCE,
            &[
                &der(0xa2, &[&der(BYTES, &[b"k"])]),
                &der(0x18, &[b"20200101000000Z"]),
                &der(SEQUENCE, &singles),
            ],
        );
        let basic = der(SEQUENCE, &[&data]);
        let bytes = der(SEQUENCE, &[&der(6, &[&[0x2a]]), &der(BYTES, &[&basic])]);
        der(SEQUENCE, &[&der(10, &[&[status]]), &der(TAGGED, &[&bytes])])
    }

    #[test]
    fn a_response_is_read() {
        let staple = Staple::parse(&response(0, &[single(Some("20300101000000Z"))])).unwrap();
        assert!(staple.is_about(&[9]) && !staple.is_about(&[8]));
        let end = 1_893_456_000;
        assert!(staple.is_good(end) && !staple.is_good(end + 1));
        let endless = Staple::parse(&response(0, &[single(None)])).unwrap();
        assert!(!endless.is_good(0));
    }

    #[test]
    fn what_is_none_is_told() {
        let two = [single(None), single(None)];
        for (bytes, told) in [
            (&b""[..], "not an OCSP response"),
            (b"text", "not an OCSP response"),
            (&response(6, &[]), "an OCSP response that tells of an error"),
            (
                &response(0, &[]),
                "an OCSP response that is not about one certificate",
            ),
            (
                &response(0, &two),
                "an OCSP response that is not about one certificate",
            ),
            (
                &response(0, &[der(SEQUENCE, &[])]),
                "not a basic OCSP response",
            ),
            (
                &der(SEQUENCE, &[&der(10, &[&[0]])]),
                "not a basic OCSP response",
            ),
        ] {
            assert_eq!(Staple::parse(bytes), Err(told), "{bytes:?}");
        }
    }

    #[test]
    fn a_policy_says_who_is_refused() {
        use StaplePolicy::{Lenient, Must, Strict};
        for (policy, none, old) in [
            (Lenient, Stapled::None, Stapled::None),
            (Strict, Stapled::None, Stapled::Refused),
            (Must, Stapled::Refused, Stapled::Refused),
        ] {
            assert_eq!(policy.apply(Some(true)), Stapled::Good);
            assert_eq!(policy.apply(None), none);
            assert_eq!(policy.apply(Some(false)), old);
        }
    }
}
