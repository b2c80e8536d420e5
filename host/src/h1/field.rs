//! Field lines: names, values, and the bytes that neither may have.
//!
//! Owns the syntax of RFC 9110 §5 as heads and trailer sections share it. Does not own what any field
//! means.

use crate::headers::{Headers, Known, is_token_byte};

use super::words;

/// Names up to this length are put into lower case on the stack; longer ones are rare, and none is known.
const SHORT_NAME: usize = 64;

/// Each byte's lower-case form if it may stand in a field name, else 0.
#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
static LOWER_TOKEN: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        if is_token_byte(byte as u8) {
            table[byte] = (byte as u8).to_ascii_lowercase();
        }
        byte += 1;
    }
    table
};

/// What is wrong with a field line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadField {
    /// The name, the colon, or the space around them.
    Syntax,
    /// A control byte.
    Control,
}

/// Reads a line without its end and calls `then` with what its name is known as, its name and its
/// trimmed value. A name that is known comes as it is spelled, any other in lower case.
///
/// `is_plain` says that the line is known to have no control byte, not even a tab. Then a name that is
/// known needs no look at its single bytes; for others one pass both checks a name and changes its
/// case.
pub(super) fn read<T, E: From<BadField>>(
    line: &[u8],
    is_plain: bool,
    then: impl FnOnce(Option<Known>, &[u8], &[u8]) -> Result<T, E>,
) -> Result<T, E> {
    if is_plain
        && let Some((name, [_colon, value @ ..])) =
            words::find(b':', line).and_then(|colon| line.split_at_checked(colon))
        && let Some(known) = Known::find_in_any_case(name)
    {
        return then(Some(known), name, trim(value));
    }
    let mut short = [0; SHORT_NAME];
    let mut length = 0;
    for (to, from) in short.iter_mut().zip(line) {
        *to = lower_token(*from);
        if *to == 0 {
            break;
        }
        length += 1;
    }
    if length == SHORT_NAME {
        let length = line
            .iter()
            .take_while(|byte| lower_token(**byte) != 0)
            .count();
        let (name, rest) = line.split_at_checked(length).unwrap_or_default();
        let value = value(name, rest).map_err(|bad| classify(bad, line))?;
        return then(None, &name.to_ascii_lowercase(), value);
    }
    let name = short.get(..length).unwrap_or_default();
    let rest = line.get(length..).unwrap_or_default();
    let value = value(name, rest).map_err(|bad| classify(bad, line))?;
    // What was not found in any case need not be looked for again.
    let known = if is_plain { None } else { Known::find(name) };
    then(known, name, value)
}

/// The name of a line as it is spelled.
pub(super) fn name(line: &[u8]) -> &[u8] {
    let end = words::find(b':', line).unwrap_or(line.len());
    line.get(..end).unwrap_or_default()
}

/// The value in `rest`, which begins behind `name`.
fn value<'a>(name: &[u8], rest: &'a [u8]) -> Result<&'a [u8], BadField> {
    let [b':', value @ ..] = rest else {
        return Err(BadField::Syntax);
    };
    if name.is_empty() || name.len() > usize::from(u16::MAX) {
        return Err(BadField::Syntax);
    }
    if has_control(value) {
        return Err(BadField::Control);
    }
    Ok(trim(value))
}

/// A control byte anywhere is the graver fault, as in Envoy, which looks for them first.
fn classify(bad: BadField, line: &[u8]) -> BadField {
    if has_control(line) {
        BadField::Control
    } else {
        bad
    }
}

fn lower_token(byte: u8) -> u8 {
    LOWER_TOKEN
        .get(usize::from(byte))
        .copied()
        .unwrap_or_default()
}

/// Whether `byte` may not stand in a field value or anywhere else in a head (RFC 9110 §5.5).
pub(super) const fn is_control(byte: u8) -> bool {
    (byte < b' ' && byte != b'\t') || byte == 0x7f
}

/// Whether any byte is a control byte. No early exit, so that it is compiled to vector instructions.
pub(super) fn has_control(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .fold(false, |found, byte| found | is_control(*byte))
}

/// Without the optional white space at both ends (`OWS`, RFC 9110 §5.6.3).
pub(super) fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// The members of a comma-separated list, trimmed.
pub(super) fn members(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|byte| *byte == b',').map(trim)
}

/// Adds a field to a block; `known` is what the name was found to be.
pub(super) fn append(headers: &mut Headers, known: Option<Known>, name: &[u8], value: &[u8]) {
    match known {
        Some(known) => headers.append_known(known, value),
        None => headers.append_other(name, value),
    }
}
