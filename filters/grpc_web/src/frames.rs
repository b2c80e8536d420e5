//! The length-prefixed messages of gRPC in a stream of bytes.

use crate::base64;

/// Bytes in front of a message: a flag and the length.
const HEAD: usize = 5;
/// The flag of a frame that holds trailers.
const TRAILERS: u8 = 0x80;

/// Makes a stream base64, each message with its head by itself, as the bytes come: at most two wait.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    /// The head of the message, as far as it has come.
    head: Vec<u8>,
    /// Bytes of its content that are still to come.
    left: usize,
    /// Bytes that are no whole group yet.
    waiting: Vec<u8>,
}

impl Frames {
    /// Whether the stream is within a message.
    pub(crate) const fn is_within(&self) -> bool {
        !self.head.is_empty()
    }

    /// Takes more of the stream, and appends what it is as text.
    pub(crate) fn encode(&mut self, mut data: &[u8], text: &mut Vec<u8>) {
        while !data.is_empty() {
            let of_head = HEAD - self.head.len();
            let length = if of_head > 0 { of_head } else { self.left };
            let (part, rest) = data.split_at(length.min(data.len()));
            data = rest;
            self.waiting.extend_from_slice(part);
            if of_head > 0 {
                self.head.extend_from_slice(part);
                if let [_, a, b, c, d] = self.head[..] {
                    self.left = u32::from_be_bytes([a, b, c, d]) as usize;
                }
            } else {
                self.left -= part.len();
            }
            let ends = self.head.len() == HEAD && self.left == 0;
            let ready = if ends {
                self.waiting.len()
            } else {
                self.waiting.len() / 3 * 3
            };
            base64::encode(self.waiting.get(..ready).unwrap_or_default(), text);
            self.waiting.drain(..ready);
            if ends {
                self.head.clear();
            }
        }
    }
}

/// The frame that stands for trailers at the end of a body.
pub(crate) fn of_trailers(trailers: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in trailers {
        block.extend_from_slice(name);
        block.push(b':');
        block.extend_from_slice(value);
        block.extend_from_slice(b"\r\n");
    }
    let length = u32::try_from(block.len()).unwrap_or(u32::MAX);
    let mut frame = vec![TRAILERS];
    frame.extend_from_slice(&length.to_be_bytes());
    frame.append(&mut block);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_text_by_themselves_wherever_the_chunks_end() {
        let messages: [&[u8]; 4] = [
            b"\0\0\0\0\x02ab",
            b"\x01\0\0\0\0",
            b"\0\0\0\0\x01c",
            b"\0\0",
        ];
        let mut expected = Vec::new();
        for message in &messages[..3] {
            base64::encode(message, &mut expected);
        }
        let stream = messages.concat();
        for size in 1..=stream.len() {
            let mut frames = Frames::default();
            let mut text = Vec::new();
            for chunk in stream.chunks(size) {
                frames.encode(chunk, &mut text);
                assert!(frames.waiting.len() < 3, "{size}");
            }
            assert_eq!(text, expected, "{size}");
            assert!(frames.is_within(), "{size}");
            assert_eq!(frames.waiting, b"\0\0");
        }
    }

    #[test]
    fn a_message_of_any_length_does_not_wait_for_its_end() {
        let mut frames = Frames::default();
        assert!(!frames.is_within());
        let mut text = Vec::new();
        frames.encode(b"\0\x7f\xff\xff\xff", &mut text);
        for _ in 0..100 {
            frames.encode(&[1; 30_000], &mut text);
            assert!(frames.waiting.len() < 3);
        }
        assert_eq!(text.len(), 3_000_005 / 3 * 4);
    }

    #[test]
    fn trailers_become_a_frame() {
        let field = |name: &str, value: &str| (name.into(), value.into());
        let frame = of_trailers(&[field("grpc-status", "0"), field("x", "y")]);
        assert_eq!(frame, b"\x80\0\0\0\x14grpc-status:0\r\nx:y\r\n");
    }
}
