//! A look into DER where no parser has what is wanted: raw parts of what was signed, and OCSP.

use x509_parser::asn1_rs::{Any, FromDer as _};

/// The next value: the whole, and its contents.
pub(super) fn value<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let before = *rest;
    let (after, found) = Any::from_der(before).ok()?;
    *rest = after;
    let whole = before.get(..before.len().checked_sub(after.len())?)?;
    Some((whole, found.data))
}

/// The contents of the next value, if it begins with that byte, which says what it is.
pub(super) fn tagged<'a>(rest: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    rest.starts_with(&[tag])
        .then(|| value(rest))?
        .map(|(_, contents)| contents)
}

/// The contents of the first value.
pub(super) fn contents(mut der: &[u8]) -> Option<&[u8]> {
    value(&mut der).map(|(_, contents)| contents)
}

/// A string of bits that has whole bytes.
pub(super) fn whole_bytes(bits: &[u8]) -> Option<&[u8]> {
    let (unused, bytes) = bits.split_first()?;
    (*unused == 0).then_some(bytes)
}
