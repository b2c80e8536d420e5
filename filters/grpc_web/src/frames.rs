//! The length-prefixed messages of gRPC in a stream of bytes.

/// Bytes in front of a message: a flag and the length.
const HEAD: usize = 5;
/// The flag of a frame that holds trailers.
const TRAILERS: u8 = 0x80;

/// Cuts a stream into messages.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    pending: Vec<u8>,
}

impl Frames {
    /// Takes more of the stream, and calls `each` for each message that is whole now, with its head.
    pub(crate) fn take(&mut self, data: &[u8], mut each: impl FnMut(&[u8])) {
        self.pending.extend_from_slice(data);
        let mut taken = 0;
        while let Some(rest) = self.pending.get(taken..)
            && let Some((&[_, a, b, c, d], _)) = rest.split_first_chunk::<HEAD>()
        {
            let length = u32::from_be_bytes([a, b, c, d]) as usize;
            let Some(message) = rest.get(..HEAD.saturating_add(length)) else {
                break;
            };
            each(message);
            taken += message.len();
        }
        self.pending.drain(..taken);
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
    fn messages_are_cut_wherever_the_chunks_end() {
        let stream = b"\0\0\0\0\x02ab\x01\0\0\0\0\0\0\0\0\x01c\0\0";
        for size in 1..=stream.len() {
            let mut frames = Frames::default();
            let mut found = Vec::new();
            for chunk in stream.chunks(size) {
                frames.take(chunk, |message| found.push(message.to_vec()));
            }
            let expected: [&[u8]; 3] = [b"\0\0\0\0\x02ab", b"\x01\0\0\0\0", b"\0\0\0\0\x01c"];
            assert_eq!(found, expected, "{size}");
            assert_eq!(frames.pending, b"\0\0");
        }
    }

    #[test]
    fn trailers_become_a_frame() {
        let field = |name: &str, value: &str| (name.into(), value.into());
        let frame = of_trailers(&[field("grpc-status", "0"), field("x", "y")]);
        assert_eq!(frame, b"\x80\0\0\0\x14grpc-status:0\r\nx:y\r\n");
    }
}
