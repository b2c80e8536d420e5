//! Numbers and addresses as text, without the formatting machinery and its cost.
//!
//! Owns the writers that the rest of the formatter shares. Called for every line of an access log.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};

/// Appends `value` in decimal.
pub(in crate::observe) fn push_u64(out: &mut Vec<u8>, value: u64) {
    // Most numbers of a log line are statuses, octets and short durations.
    if let Ok(small @ 0..10) = u8::try_from(value) {
        out.push(b'0' + small);
        return;
    }
    let mut digits = [0_u8; 20];
    let mut rest = value;
    let mut used = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or_default();
        rest /= 10;
        used += 1;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(digits.len() - used..).unwrap_or_default());
}

/// Appends `value` in decimal, with at least `width` digits (at most ten) filled up with `pad`.
pub(super) fn push_padded(out: &mut Vec<u8>, value: u32, width: usize, pad: u8) {
    let start = out.len();
    push_u64(out, u64::from(value));
    let missing = width.saturating_sub(out.len() - start).min(10);
    if missing > 0 {
        out.extend(std::iter::repeat_n(pad, missing));
        if let Some(written) = out.get_mut(start..) {
            written.rotate_right(missing);
        }
    }
}

/// Appends the two digits of a value below 100.
pub(super) fn push_two(out: &mut Vec<u8>, value: u32) {
    let digit = |value: u32| b'0' + u8::try_from(value % 10).unwrap_or_default();
    out.extend_from_slice(&[digit(value / 10), digit(value)]);
}

fn push_octet(out: &mut Vec<u8>, octet: u8) {
    let (hundreds, tens, ones) = (
        b'0' + octet / 100,
        b'0' + octet / 10 % 10,
        b'0' + octet % 10,
    );
    match octet {
        0..10 => out.push(ones),
        10..100 => out.extend_from_slice(&[tens, ones]),
        100.. => out.extend_from_slice(&[hundreds, tens, ones]),
    }
}

/// Appends an address without a port; an IPv6 one without brackets.
pub(super) fn push_ip(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            push_octet(out, a);
            for octet in [b, c, d] {
                out.push(b'.');
                push_octet(out, octet);
            }
        }
        // Writing to a vector does not fail.
        IpAddr::V6(ip) => drop(write!(out, "{ip}")),
    }
}

/// Appends an address with its port, an IPv6 one in brackets.
pub(super) fn push_address(out: &mut Vec<u8>, address: SocketAddr) {
    let v6 = address.is_ipv6();
    if v6 {
        out.push(b'[');
    }
    push_ip(out, address.ip());
    out.extend_from_slice(if v6 { b"]:" } else { b":" });
    push_u64(out, u64::from(address.port()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn padding() {
        assert_eq!(written(|out| push_padded(out, 7, 3, b'0')), "007");
        assert_eq!(written(|out| push_padded(out, 7, 2, b' ')), " 7");
        assert_eq!(written(|out| push_padded(out, 1234, 3, b'0')), "1234");
        assert_eq!(written(|out| push_two(out, 5)), "05");
    }

    proptest! {
        #[test]
        fn numbers_are_written_as_the_standard_library_does(value: u64) {
            prop_assert_eq!(written(|out| push_u64(out, value)), value.to_string());
        }

        #[test]
        fn addresses_are_written_as_the_standard_library_does(address: SocketAddr) {
            let plain = SocketAddr::new(address.ip(), address.port());
            prop_assert_eq!(written(|out| push_address(out, plain)), plain.to_string());
        }
    }
}
