//! Field lines: names, values, and the bytes that neither may have.
//!
//! Owns the syntax of RFC 9110 §5 as heads and trailer sections share it. Does not own what any field
//! means.

use crate::headers::{Headers, Known, is_token_byte};

/// Names up to this length are put into lower case on the stack; longer ones are rare.
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

/// Cuts a line without its end into name (as it came) and value (trimmed), and checks both.
pub(super) fn split(line: &[u8]) -> Result<(&[u8], &[u8]), BadField> {
    let colon = line.iter().position(|byte| lower_token(*byte) == 0);
    let Some((name, [b':', value @ ..])) = colon.and_then(|colon| line.split_at_checked(colon))
    else {
        return Err(if line.iter().any(|byte| is_control(*byte)) {
            BadField::Control
        } else {
            BadField::Syntax
        });
    };
    if name.is_empty() || name.len() > usize::from(u16::MAX) {
        return Err(BadField::Syntax);
    }
    if has_control(value) {
        return Err(BadField::Control);
    }
    Ok((name, trim(value)))
}

/// Calls `then` with `name` in lower case.
pub(super) fn with_lower_case<T>(name: &[u8], then: impl FnOnce(&[u8]) -> T) -> T {
    let mut short = [0; SHORT_NAME];
    match short.get_mut(..name.len()) {
        Some(lower) => {
            for (to, from) in lower.iter_mut().zip(name) {
                *to = lower_token(*from);
            }
            then(lower)
        }
        None => then(&name.to_ascii_lowercase()),
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
