//! The Huffman code of HPACK (RFC 7541 §5.2 and appendix B), read and written.
//!
//! The code is canonical: codes of one length follow each other in the order of their bytes, and
//! longer ones behind shorter ones. So the lengths say all of it.

/// The longest code.
const LONGEST: usize = 30;
/// The shortest one.
const SHORTEST: usize = 5;
/// Bytes, and the end of a string, which nobody may send.
const SYMBOLS: usize = 257;

/// How many bits the code of each symbol has.
#[rustfmt::skip]
const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

/// The codes of one length. Codes stand at the upper end of 32 bits.
#[derive(Clone, Copy)]
struct Step {
    bits: u32,
    first: u32,
    /// Everything up to here that is no shorter code is one of these.
    last: u32,
    /// Where in [`ORDER`] the first one is.
    at: usize,
}

const STEPS: [Step; LONGEST - SHORTEST + 1] = steps();
/// The symbols in the order of their codes.
const ORDER: [u16; SYMBOLS] = order();

#[expect(clippy::indexing_slicing, reason = "computed when this is compiled")]
const fn steps() -> [Step; LONGEST - SHORTEST + 1] {
    let none = Step {
        bits: 0,
        first: 0,
        last: 0,
        at: 0,
    };
    let mut steps = [none; LONGEST - SHORTEST + 1];
    let (mut code, mut at, mut bits) = (0_u64, 0, SHORTEST);
    while bits <= LONGEST {
        let mut count = 0;
        let mut symbol = 0;
        while symbol < SYMBOLS {
            count += (LENGTHS[symbol] as usize == bits) as usize;
            symbol += 1;
        }
        let first = code << (32 - bits);
        code += count as u64;
        steps[bits - SHORTEST] = Step {
            bits: bits as u32,
            first: first as u32,
            last: ((code << (32 - bits)) - 1) as u32,
            at,
        };
        at += count;
        code <<= 1;
        bits += 1;
    }
    steps
}

#[expect(clippy::indexing_slicing, reason = "computed when this is compiled")]
const fn order() -> [u16; SYMBOLS] {
    let mut order = [0; SYMBOLS];
    let (mut at, mut bits) = (0, SHORTEST);
    while bits <= LONGEST {
        let mut symbol = 0;
        while symbol < SYMBOLS {
            if LENGTHS[symbol] as usize == bits {
                order[at] = symbol as u16;
                at += 1;
            }
            symbol += 1;
        }
        bits += 1;
    }
    order
}

/// The codes of symbols, at the lower end of their bits.
const CODES: [u32; SYMBOLS] = codes();

#[expect(clippy::indexing_slicing, reason = "computed when this is compiled")]
const fn codes() -> [u32; SYMBOLS] {
    let mut codes = [0; SYMBOLS];
    let mut at = 0;
    while at < SYMBOLS {
        let symbol = ORDER[at] as usize;
        let step = STEPS[LENGTHS[symbol] as usize - SHORTEST];
        codes[symbol] = (step.first >> (32 - step.bits)) + (at - step.at) as u32;
        at += 1;
    }
    codes
}

/// Calls `each` with the bytes that `code` stands for; none where it is no such code, or ends in
/// anything but less than eight ones.
pub(super) fn decode(code: &[u8], mut each: impl FnMut(u8)) -> Option<()> {
    let mut rest = code.iter();
    let (mut held, mut bits) = (0_u64, 0_u32);
    loop {
        while bits <= u64::BITS - 8 {
            let Some(byte) = rest.next() else { break };
            held = held << 8 | u64::from(*byte);
            bits += 8;
        }
        // Ones follow the end, as if there were more of the padding.
        let window = match bits.checked_sub(32) {
            Some(behind) => held >> behind,
            None => (held << 32 | u64::from(u32::MAX)) >> bits,
        } as u32;
        if bits < 8 && window == u32::MAX {
            return Some(());
        }
        let step = STEPS.iter().find(|step| window <= step.last)?;
        bits = bits.checked_sub(step.bits)?;
        let behind = (window - step.first) >> (32 - step.bits);
        let symbol = ORDER.get(step.at + behind as usize)?;
        each(u8::try_from(*symbol).ok()?);
    }
}

/// Writes what [`decode`] reads.
pub(crate) fn encode(text: &[u8]) -> Vec<u8> {
    let (mut coded, mut held, mut bits) = (Vec::new(), 0_u64, 0);
    let code = |byte: &u8| {
        let at = usize::from(*byte);
        CODES.get(at).zip(LENGTHS.get(at))
    };
    for (code, length) in text.iter().filter_map(code) {
        held = held << *length | u64::from(*code);
        bits += u32::from(*length);
        while bits >= 8 {
            bits -= 8;
            coded.push((held >> bits) as u8);
        }
    }
    if bits > 0 {
        coded.push((held << (8 - bits)) as u8 | (0xff >> bits));
    }
    coded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(code: &[u8]) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        decode(code, |byte| text.push(byte))?;
        Some(text)
    }

    #[test]
    fn the_examples_of_the_standard_are_read() {
        let examples: [(&str, &[u8]); 6] = [
            (
                "www.example.com",
                &[
                    0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff,
                ],
            ),
            ("no-cache", &[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf]),
            (
                "custom-key",
                &[0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xa9, 0x7d, 0x7f],
            ),
            ("302", &[0x64, 0x02]),
            (
                "Mon, 21 Oct 2013 20:13:21 GMT",
                &[
                    0xd0, 0x7a, 0xbe, 0x94, 0x10, 0x54, 0xd4, 0x44, 0xa8, 0x20, 0x05, 0x95, 0x04,
                    0x0b, 0x81, 0x66, 0xe0, 0x82, 0xa6, 0x2d, 0x1b, 0xff,
                ],
            ),
            ("", &[]),
        ];
        for (text, code) in examples {
            assert_eq!(decoded(code).as_deref(), Some(text.as_bytes()), "{text}");
            assert_eq!(encode(text.as_bytes()), code, "{text}");
        }
    }

    #[test]
    fn what_is_no_code_is_refused() {
        for (what, code) in [
            ("padding of eight bits", &[0x64, 0x02, 0xff][..]),
            ("padding of zeros", &[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbe]),
            ("the end of a string", &[0xff, 0xff, 0xff, 0xff]),
            ("a code that is cut off", &[0xff, 0xc0]),
        ] {
            assert_eq!(decoded(code), None, "{what}");
        }
    }

    proptest! {
        #[test]
        fn every_text_comes_back(text: Vec<u8>) {
            prop_assert_eq!(decoded(&encode(&text)), Some(text));
        }
    }
}
