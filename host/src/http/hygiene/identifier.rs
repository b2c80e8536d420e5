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
    let bits = (random & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let digits = |shift: u32| hexadecimal((bits >> shift) as u32);
    let (time, version, variant, node) = (digits(96), digits(64), digits(32), digits(0));
    let mut text = [b'-'; 36];
    text[..8].copy_from_slice(&time);
    text[9..13].copy_from_slice(&version[..4]);
    text[14..18].copy_from_slice(&version[4..]);
    text[19..23].copy_from_slice(&variant[..4]);
    text[24..28].copy_from_slice(&variant[4..]);
    text[28..].copy_from_slice(&node);
    text
}

/// The digits of a number, all at once: each nibble is put into a byte of its own, and those above nine get
/// what is between `9` and `a`.
const fn hexadecimal(number: u32) -> [u8; 8] {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let mut nibbles = number as u64;
    nibbles = (nibbles | nibbles << 16) & 0x0000_ffff_0000_ffff;
    nibbles = (nibbles | nibbles << 8) & 0x00ff_00ff_00ff_00ff;
    nibbles = (nibbles | nibbles << 4) & (ONES * 0xf);
    let letters = ((nibbles + ONES * 6) >> 4) & ONES;
    (nibbles + ONES * b'0' as u64 + letters * (b'a' - b'9' - 1) as u64).to_be_bytes()
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
        let text = uuid(0x0123_4567_89ab_cdef_fedc_ba98_7654_3210);
        let text = String::from_utf8(text.to_vec()).unwrap();
        assert_eq!(text, "01234567-89ab-4def-bedc-ba9876543210");
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
