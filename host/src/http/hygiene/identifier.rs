//! `x-request-id`: who gives a request its identifier, and what that is made of.

use super::HygieneRules;
use crate::headers::{Headers, Known};

/// Keeps the identifier that a request has, or gives it one made of `id`.
pub(super) fn request_id(rules: &HygieneRules, headers: &mut Headers, edge: bool, id: u128) {
    if !rules.generate_request_id {
        return;
    }
    let given = headers
        .known(Known::XRequestId)
        .filter(|given| !given.is_empty());
    match given {
        Some(given) if !edge || rules.preserve_external_request_id => {
            if edge
                && rules.pack_trace_reason
                && let Some(cleared) = without_trace_reason(given)
            {
                headers.set_known(Known::XRequestId, &cleared);
            }
        }
        Some(_) | None => headers.set_known(Known::XRequestId, &uuid(id)),
    }
}

/// A UUID with the digit that says why its request is traced set to "not at all", where it says
/// something else: nobody outside decides that.
fn without_trace_reason(id: &[u8]) -> Option<[u8; 36]> {
    let mut id: [u8; 36] = id.try_into().ok()?;
    let [.., reason] = id.first_chunk_mut::<15>()?;
    if *reason == b'4' {
        return None;
    }
    *reason = b'4';
    Some(id)
}

/// Text of a version 4 UUID (RFC 9562 §5.4) made of 122 of the random bits.
fn uuid(random: u128) -> [u8; 36] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let bits = (random & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let mut text = [b'-'; 36];
    let mut shift = 128;
    for (index, byte) in text.iter_mut().enumerate() {
        if matches!(index, 8 | 13 | 18 | 23) {
            continue;
        }
        shift -= 4;
        let digit = ((bits >> shift) & 0xf) as usize;
        *byte = HEX.get(digit).copied().unwrap_or(b'0');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuid_has_version_and_variant() {
        let text = String::from_utf8(uuid(u128::MAX).to_vec()).unwrap();
        assert_eq!(text, "ffffffff-ffff-4fff-bfff-ffffffffffff");
        let text = String::from_utf8(uuid(0).to_vec()).unwrap();
        assert_eq!(text, "00000000-0000-4000-8000-000000000000");
    }

    #[test]
    fn a_trace_reason_from_outside_is_cleared() {
        let id = b"ffffffff-ffff-9fff-bfff-ffffffffffff";
        assert_eq!(
            without_trace_reason(id).as_ref().map(|id| &id[..]),
            Some(&b"ffffffff-ffff-4fff-bfff-ffffffffffff"[..])
        );
        assert_eq!(without_trace_reason(&uuid(7)), None);
        assert_eq!(without_trace_reason(b"mine"), None);
    }
}
