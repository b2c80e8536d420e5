//! Counts the length-prefixed messages of gRPC in a stream of bytes, without keeping any of them.

/// Bytes in front of a message: a flag and the length.
const HEAD: u8 = 5;

/// Where in a stream of messages the last byte was.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    /// Bytes of the head that have come.
    head: u8,
    /// The length, as far as it has come.
    length: u32,
    /// Bytes of the message that are yet to come.
    left: usize,
}

impl Messages {
    /// Takes more of the stream; how many messages began in it.
    pub(crate) fn take(&mut self, mut data: &[u8]) -> u64 {
        let mut begun = 0;
        loop {
            let skipped = self.left.min(data.len());
            self.left -= skipped;
            data = data.get(skipped..).unwrap_or_default();
            let Some((byte, rest)) = data.split_first() else {
                return begun;
            };
            data = rest;
            if self.head > 0 {
                self.length = self.length << 8 | u32::from(*byte);
            }
            self.head += 1;
            if self.head == HEAD {
                begun += 1;
                self.left = self.length as usize;
                (self.head, self.length) = (0, 0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_wherever_the_chunks_end() {
        let stream = b"\0\0\0\0\x02ab\x01\0\0\0\0\0\0\0\0\x01c\0\0";
        for size in 1..=stream.len() {
            let mut messages = Messages::default();
            let counts = stream.chunks(size).map(|chunk| messages.take(chunk));
            assert_eq!(counts.sum::<u64>(), 3, "{size}");
        }
    }
}
