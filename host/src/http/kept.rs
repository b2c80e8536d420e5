//! A request's body as it went to an upstream, so that it can go to another.
//!
//! Owns the copy and its limit: a body that is longer cannot be sent again, and is not kept any
//! more. What large pieces are made of is shared with whoever else has them; small ones are copied, since what they
//! lie in, a read buffer, may be many times as large. Filled and read by
//! [`super::pump`], or filled with what is there whole by [`super::conversation`]; [`super::mirror`] fills it for copies
//! that go on alone. [`super::attempts`] says what is kept, and how much of it.

use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};

use super::copies::{Copies, Copy};
use super::io::Frame;
use super::whole::Whole;
use crate::headers::Headers;

/// A piece shorter than this is copied, so that it does not hold a whole read buffer, of which another part
/// may be of another stream.
const SMALL: usize = 8 * 1024;
/// As much memory as is taken at once for small pieces, at most.
const TAIL_MAX: usize = 64 * 1024;

/// See the module's page.
#[derive(Default)]
pub(super) struct Kept {
    pieces: Vec<Bytes>,
    /// Small pieces, behind those.
    tail: BytesMut,
    length: usize,
    state: State,
    is_too_long: bool,
    /// Who else gets what goes upstream.
    copies: Copies,
    /// Whether the body has ended, and if so, whether with trailers.
    end: Option<bool>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Nothing is kept, and nothing has come that would have been.
    #[default]
    Off,
    /// Up to that many bytes are.
    On(usize),
    /// Some of the body has come and is not here.
    Lost,
}

impl Kept {
    /// Keeps what comes from now on, up to `limit` bytes; a larger limit than before takes its place.
    pub(super) fn keep(&mut self, limit: usize) {
        self.state = match self.state {
            State::Off => State::On(limit),
            State::On(before) => State::On(before.max(limit)),
            State::Lost => State::Lost,
        };
    }

    /// Hands what goes upstream from now on to these as well, with `limit` bytes before each.
    pub(super) fn copy_to(&mut self, copies: Vec<Copy>, limit: usize) {
        self.copies = Copies::new(copies, limit);
    }

    /// Ready where more may be taken, as far as copies are concerned.
    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.copies.is_empty() {
            return Poll::Ready(());
        }
        self.copies.poll_room(cx)
    }

    /// Whether anybody still waits for what goes upstream.
    pub(super) const fn has_copies(&self) -> bool {
        !self.copies.is_empty()
    }

    /// Takes a body that was read before as a whole, with the block that its trailers are in.
    pub(super) fn put_whole(&mut self, whole: Whole, trailers: &Headers) {
        self.copies.push(&whole.content);
        self.copies.finish(whole.has_trailers.then_some(trailers));
        self.length = whole.content.len();
        if !whole.content.is_empty() {
            self.pieces.push(whole.content);
        }
        self.end = Some(whole.has_trailers);
        self.state = State::On(self.length);
    }

    /// Whether the body can be sent from its beginning on.
    pub(super) fn is_replayable(&self) -> bool {
        self.state != State::Lost
    }

    /// Lets everything go. The body cannot be sent again.
    pub(super) fn forget(&mut self) {
        self.pieces = Vec::new();
        self.tail = BytesMut::new();
        self.state = State::Lost;
    }

    /// How many copies were given up since this was asked.
    pub(super) const fn take_given_up(&mut self) -> u32 {
        self.copies.take_given_up()
    }

    /// Takes what goes upstream now: content, and where the body ends behind it, whether with trailers.
    pub(super) fn take(
        &mut self,
        content: &Bytes,
        ended: Option<bool>,
        trailers: Option<&Headers>,
    ) {
        if !content.is_empty() {
            self.push(content);
        }
        if let Some(has_trailers) = ended {
            self.finish(trailers.filter(|_| has_trailers));
        }
    }

    /// Takes a piece that goes upstream now.
    pub(super) fn push(&mut self, data: &Bytes) {
        if data.len() < SMALL && !self.copies.is_empty() {
            self.copies.push(&Bytes::copy_from_slice(data));
        } else {
            self.copies.push(data);
        }
        match self.state {
            State::Off => self.state = State::Lost,
            State::On(limit) if self.length + data.len() > limit => {
                self.forget();
                self.is_too_long = true;
            }
            State::On(_) => {
                self.length += data.len();
                if data.len() < SMALL {
                    self.put_small(data);
                } else {
                    self.settle();
                    self.pieces.push(data.clone());
                }
            }
            State::Lost => {}
        }
    }

    /// Copies a piece behind those before it, in memory that is at most twice as large as all there is.
    fn put_small(&mut self, data: &[u8]) {
        if self.tail.capacity() - self.tail.len() < data.len() {
            self.settle();
            let size = self.length.min(TAIL_MAX).max(data.len());
            self.tail = BytesMut::with_capacity(size);
        }
        self.tail.extend_from_slice(data);
    }

    /// Whether the body became too long to be kept; told once.
    pub(super) const fn take_too_long(&mut self) -> bool {
        std::mem::replace(&mut self.is_too_long, false)
    }

    /// The body has ended.
    pub(super) fn finish(&mut self, trailers: Option<&Headers>) {
        self.copies.finish(trailers);
        self.end = Some(trailers.is_some());
        if self.state == State::Off {
            // There was no content: an end can be said again.
            self.state = State::On(0);
        }
    }

    /// Makes the small pieces one, so that the body can be read from its beginning.
    pub(super) fn settle(&mut self) {
        if !self.tail.is_empty() {
            self.pieces.push(self.tail.split().freeze());
        }
    }

    /// The whole body, where all of it is here; nothing of it stays.
    pub(super) fn take_whole(&mut self) -> Option<Whole> {
        let has_trailers = self.end.filter(|_| self.state != State::Lost)?;
        self.settle();
        let pieces = std::mem::take(&mut self.pieces);
        let content = match &pieces[..] {
            [one] => one.clone(),
            several => several.concat().into(),
        };
        Some(Whole {
            content,
            has_trailers,
        })
    }

    /// Whether all of the body is here.
    pub(super) fn is_whole(&self) -> bool {
        self.end.is_some() && self.state != State::Lost
    }

    /// How many frames were kept: where one stands that has sent all of them.
    pub(super) fn frames(&self) -> usize {
        self.pieces.len()
    }

    /// The frame at `at`; none where the body goes on beyond what is here.
    pub(super) fn frame(&self, at: usize) -> Option<Frame> {
        if let Some(piece) = self.pieces.get(at) {
            return Some(Frame::Data(piece.clone()));
        }
        self.end.map(|has_trailers| {
            if has_trailers {
                Frame::Trailers
            } else {
                Frame::End
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::http::copies;

    fn replay(kept: &mut Kept) -> (Vec<u8>, Option<bool>) {
        kept.settle();
        let mut content = Vec::new();
        for at in 0.. {
            match kept.frame(at) {
                Some(Frame::Data(data)) => content.extend_from_slice(&data),
                Some(Frame::End) => return (content, Some(false)),
                Some(Frame::Trailers) => return (content, Some(true)),
                None => return (content, None),
            }
        }
        unreachable!("a body has an end");
    }

    #[test]
    fn what_was_pushed_comes_again_in_its_order() {
        let mut kept = Kept::default();
        kept.keep(100_000);
        let mut all = Vec::new();
        for (index, length) in [1, 2000, 3, 1023, 1024, 5, 5, 9000, 1].iter().enumerate() {
            let piece = vec![u8::try_from(index).unwrap(); *length];
            all.extend_from_slice(&piece);
            kept.push(&piece.into());
            assert_eq!(replay(&mut kept), (all.clone(), None));
        }
        kept.finish(Some(&Headers::new()));
        assert_eq!(replay(&mut kept), (all, Some(true)));
        assert!(kept.is_replayable());
    }

    #[test]
    fn small_pieces_hold_no_buffer_that_they_were_read_into() {
        const BUFFER: usize = 32 * 1024;
        for (length, is_held) in [(1, false), (1024, false), (SMALL - 1, false), (SMALL, true)] {
            let buffer: Arc<[u8]> = vec![7; BUFFER].into();
            let (copy, _intake) = copies::body();
            let mut kept = Kept::default();
            kept.keep(BUFFER);
            kept.copy_to(vec![copy], BUFFER);
            let piece = Bytes::from_owner(Arc::clone(&buffer)).split_to(length);
            for _ in 0..3 {
                kept.push(&piece);
            }
            drop(piece);
            assert_eq!(Arc::strong_count(&buffer) > 1, is_held, "{length}");
            assert_eq!(replay(&mut kept), (vec![7; 3 * length], None));
        }
    }

    #[test]
    fn what_is_kept_of_small_pieces_has_memory_of_their_size() {
        for length in [1, 100, 1500, SMALL - 1] {
            let mut kept = Kept::default();
            kept.keep(usize::MAX);
            let piece = Bytes::from(vec![0; length]);
            for _ in 0..200_000 / length {
                kept.push(&piece);
                let spare = kept.tail.capacity() - kept.tail.len();
                assert!(spare <= kept.length.min(TAIL_MAX), "{length}");
            }
            assert!(kept.pieces.len() <= 50, "{length}: {}", kept.pieces.len());
        }
    }

    #[test]
    fn a_body_above_the_limit_is_lost_and_told_once() {
        let mut kept = Kept::default();
        kept.keep(4);
        kept.push(&Bytes::from_static(b"1234"));
        assert!(!kept.take_too_long() && kept.is_replayable());
        kept.push(&Bytes::from_static(b"5"));
        assert!(kept.take_too_long());
        kept.push(&Bytes::from_static(b"6"));
        kept.finish(None);
        assert!(!kept.take_too_long());
        assert!(!kept.is_replayable());
    }

    #[test]
    fn without_keeping_only_a_body_that_never_came_can_be_sent_again() {
        let mut kept = Kept::default();
        assert!(kept.is_replayable());
        kept.push(&Bytes::from_static(b"1"));
        assert!(!kept.is_replayable());
        let mut empty = Kept::default();
        empty.finish(None);
        assert!(empty.is_replayable());
        assert_eq!(replay(&mut empty), (Vec::new(), Some(false)));
    }
}
