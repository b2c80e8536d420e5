//! What a cookie holds: Envoy's message of an address and when it expires, in Protobuf's encoding.

/// The number of the field with the address, a text.
const ADDRESS: u64 = 1;
/// The number of the field with the time, a signed number of seconds since 1970; 0 is never.
const EXPIRES: u64 = 2;
/// How deep groups may lie in each other, as in Protobuf's own reader.
const DEPTH: u32 = 100;

/// The message.
pub(crate) fn write(address: &[u8], expires: Option<u64>) -> Vec<u8> {
    let mut message = Vec::with_capacity(address.len() + 8);
    number(ADDRESS << 3 | 2, &mut message);
    number(address.len() as u64, &mut message);
    message.extend_from_slice(address);
    if let Some(expires) = expires {
        number(EXPIRES << 3, &mut message);
        number(expires, &mut message);
    }
    message
}

/// The address in a message, unless that has expired by `now`. What is no message is an address itself,
/// as older proxies wrote it.
pub(crate) fn read(bytes: &[u8], now: u64) -> Option<Vec<u8>> {
    let Some(message) = Message::parse(bytes) else {
        return Some(bytes.to_vec());
    };
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let has_expired = message.expires != 0 && message.expires < now;
    (!has_expired).then(|| message.address.to_vec())
}

#[derive(Default)]
struct Message<'b> {
    address: &'b [u8],
    expires: i64,
}

impl<'b> Message<'b> {
    /// Of two fields of one number the later one counts, and others are passed over.
    fn parse(mut bytes: &'b [u8]) -> Option<Self> {
        let mut message = Self::default();
        while !bytes.is_empty() {
            let tag = take_number(&mut bytes)?;
            match (tag >> 3, tag & 7) {
                (ADDRESS, 2) => {
                    message.address = take_bytes(&mut bytes)?;
                    std::str::from_utf8(message.address).ok()?;
                }
                (EXPIRES, 0) => message.expires = take_number(&mut bytes)?.cast_signed(),
                _ => skip(tag, &mut bytes, DEPTH)?,
            }
        }
        Some(message)
    }
}

/// Passes over what stands behind a tag that says nothing here.
fn skip(tag: u64, bytes: &mut &[u8], depth: u32) -> Option<()> {
    if tag >> 3 == 0 || tag > u64::from(u32::MAX) {
        return None;
    }
    match tag & 7 {
        0 => take_number(bytes).map(drop),
        1 => take(bytes, 8).map(drop),
        2 => take_bytes(bytes).map(drop),
        // A group, up to the tag that ends it.
        3 => loop {
            let inner = take_number(bytes)?;
            if inner & 7 == 4 {
                return (inner >> 3 == tag >> 3).then_some(());
            }
            skip(inner, bytes, depth.checked_sub(1)?)?;
        },
        5 => take(bytes, 4).map(drop),
        _ => None,
    }
}

fn number(mut number: u64, into: &mut Vec<u8>) {
    while number >= 0x80 {
        into.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

fn take<'b>(bytes: &mut &'b [u8], count: usize) -> Option<&'b [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}

fn take_bytes<'b>(bytes: &mut &'b [u8]) -> Option<&'b [u8]> {
    let length = usize::try_from(take_number(bytes)?).ok()?;
    take(bytes, length)
}

/// A number of at most ten bytes.
fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..70).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &[u8] = b"127.0.0.1:21911";

    fn message(before: &[u8], after: &[u8]) -> Vec<u8> {
        [before, b"\x0a\x0f", ONE, after].concat()
    }

    #[test]
    fn messages_come_back_until_they_expire() {
        for expires in [None, Some(7), Some(1_795_680_000)] {
            let message = write(ONE, expires);
            let now = expires.unwrap_or(0);
            assert_eq!(read(&message, now).as_deref(), Some(ONE));
            assert_eq!(read(&message, now + 1).is_none(), expires.is_some());
        }
        assert_eq!(write(b"a", Some(300)), [0x0a, 1, b'a', 0x10, 0xac, 0x02]);
    }

    #[test]
    fn what_envoy_reads_is_read() {
        for (text, read_as) in [
            (message(b"", b""), Some(ONE)),
            (message(b"", b"\x10\x00"), Some(ONE)),
            (message(b"\x10\x05", b""), None),
            (
                message(b"", b"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
                None,
            ),
            (message(b"", b"\x1a\x01x"), Some(ONE)),
            (
                message(b"\x1b\x20\x01\x1c", b"\x25aaaa\x29aaaaaaaa"),
                Some(ONE),
            ),
            (b"\x0a\x00".to_vec(), Some(&b""[..])),
            // An address that happens to be a message without one.
            (b"10.0.0.1:80".to_vec(), Some(b"")),
            (ONE.to_vec(), Some(ONE)),
        ] {
            assert_eq!(read(&text, 1000).as_deref(), read_as, "{text:?}");
        }
    }

    #[test]
    fn what_is_no_message_is_an_address() {
        let deep = [0x1b; 200];
        for text in [
            &b"\x0a\x09short"[..],
            b"\x0a\x01ab",
            b"\x0a\x01\xff",
            b"\xff\xff\xff",
            b"\x1b\x20\x01\x24",
            b"\x02\x01a",
            b"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            &deep,
        ] {
            assert_eq!(read(text, 0).as_deref(), Some(text));
        }
        assert_eq!(read(b"", 0).as_deref(), Some(&b""[..]));
    }
}
