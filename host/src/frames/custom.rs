//! Settings that a file adds to those of the codec, which has no way to say what it does not know.
//!
//! Owns [`CustomSettings`] and their way into the first frame of this side: in front of the codec's own, so that
//! these count where both say the same one (RFC 9113 §6.5.3), as in Envoy; of the size of field lists, which
//! binds nobody, the file's is said alone. Does not own what settings make this side do. Called by `tapped`.

use std::sync::Arc;

use super::{FrameHead, HEAD};

/// Bytes of an entry (RFC 9113 §6.5.1).
pub(crate) const ENTRY: usize = 6;

/// Identifiers that are known here (RFC 9113 §6.5.2, RFC 8441 §3).
pub(crate) const HEADER_TABLE_SIZE: u16 = 1;
pub(crate) const ENABLE_PUSH: u16 = 2;
pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 3;
pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;
pub(crate) const MAX_FRAME_SIZE: u16 = 5;
pub(crate) const MAX_HEADER_LIST_SIZE: u16 = 6;
pub(crate) const ENABLE_CONNECT_PROTOCOL: u16 = 8;

/// `custom_settings_parameters`: identifiers, none of them twice, and values. Mostly there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CustomSettings(Option<Arc<[(u16, u32)]>>);

impl CustomSettings {
    /// In this order.
    #[must_use]
    pub fn new(settings: &[(u16, u32)]) -> Self {
        Self((!settings.is_empty()).then(|| settings.into()))
    }

    /// What they say of an identifier.
    pub(crate) fn get(&self, identifier: u16) -> Option<u32> {
        let settings = self.0.as_deref().unwrap_or_default();
        let found = settings.iter().find(|(known, _)| *known == identifier);
        found.map(|(_, value)| *value)
    }

    /// What adds them to what this side says first, behind `skip` bytes; none where there is nothing to add.
    pub(super) fn greeting(&self, skip: usize) -> Option<Box<Greeting>> {
        let settings = self.0.clone()?;
        Some(Box::new(Greeting {
            settings,
            skip,
            bytes: Vec::new(),
            ready: None,
        }))
    }
}

/// What this side says first, until the transport has taken it.
#[derive(Debug)]
pub(super) struct Greeting {
    settings: Arc<[(u16, u32)]>,
    /// Bytes in front of the frame.
    skip: usize,
    bytes: Vec<u8>,
    /// How much the transport has taken, once the frame is there.
    ready: Option<usize>,
}

impl Greeting {
    /// Takes what belongs to it, and says how much that was; none where the frame is there.
    pub(super) fn take(&mut self, from: &[u8]) -> Option<usize> {
        if self.ready.is_some() {
            return None;
        }
        let part = from.len().min(self.missing());
        self.bytes.extend_from_slice(from.get(..part)?);
        if self.missing() == 0 {
            self.add();
            self.ready = Some(0);
        }
        Some(part)
    }

    /// How much of the frame, or of its head, is to come.
    fn missing(&self) -> usize {
        let frame = self.bytes.get(self.skip..).unwrap_or_default();
        let length = FrameHead::front(frame).map_or(0, |head| head.length as usize);
        (self.skip + HEAD + length).saturating_sub(self.bytes.len())
    }

    fn add(&mut self) {
        let frame = self.bytes.split_off(self.skip);
        let (Some(head), Some(payload)) = (FrameHead::front(&frame), frame.get(HEAD..)) else {
            return;
        };
        let settings = self.settings.iter();
        let mut entries: Vec<u8> = settings
            .flat_map(|(identifier, value)| {
                let ([a, b], [c, d, e, f]) = (identifier.to_be_bytes(), value.to_be_bytes());
                [a, b, c, d, e, f]
            })
            .collect();
        let is_said = |identifier| self.settings.iter().any(|(known, _)| *known == identifier);
        let lists = MAX_HEADER_LIST_SIZE.to_be_bytes();
        for entry in payload.chunks(ENTRY) {
            if !(entry.starts_with(&lists) && is_said(MAX_HEADER_LIST_SIZE)) {
                entries.extend_from_slice(entry);
            }
        }
        let length = u32::try_from(entries.len()).unwrap_or(u32::MAX);
        self.bytes
            .extend_from_slice(&FrameHead { length, ..head }.write());
        self.bytes.extend_from_slice(&entries);
    }

    /// What the transport is to take, once the frame is there.
    pub(super) fn waiting(&self) -> Option<&[u8]> {
        self.bytes.get(self.ready?..)
    }

    /// Notes that it has taken some of that. Whether it has taken all.
    pub(super) const fn sent(&mut self, count: usize) -> bool {
        let Some(ready) = &mut self.ready else {
            return false;
        };
        *ready += count;
        *ready >= self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::PREFACE;

    type Entries = &'static [(u16, u32)];

    fn settings(entries: &[(u16, u32)]) -> Vec<u8> {
        let mut bytes = vec![
            0,
            0,
            (entries.len() * ENTRY) as u8,
            FrameHead::SETTINGS,
            0,
            0,
            0,
            0,
            0,
        ];
        for (identifier, value) in entries {
            bytes.extend(identifier.to_be_bytes());
            bytes.extend(value.to_be_bytes());
        }
        bytes
    }

    #[test]
    fn settings_come_in_front_of_the_codecs() {
        let own = [(4, 70_000), (6, 100), (3, 7)];
        let table: &[(Entries, Entries)] = &[
            (&[(100, 7)], &[(100, 7), (4, 70_000), (6, 100), (3, 7)]),
            (&[(6, 9), (4, 1)], &[(6, 9), (4, 1), (4, 70_000), (3, 7)]),
        ];
        for (custom, expected) in table {
            for preface in [&b""[..], PREFACE] {
                for cut in [1, 2, 7, 24, 1000] {
                    let custom = CustomSettings::new(custom);
                    let mut greeting = custom.greeting(preface.len()).unwrap();
                    let behind = b"behind";
                    let said = [preface, &settings(&own), behind].concat();
                    let mut left = &said[..];
                    while let Some(taken) = greeting.take(&left[..cut.min(left.len())]) {
                        assert!(taken > 0);
                        left = &left[taken..];
                    }
                    assert_eq!(left, behind, "cut at {cut}");
                    let whole = [preface, &settings(expected)].concat();
                    assert_eq!(greeting.waiting(), Some(&whole[..]));
                    assert!(!greeting.sent(3));
                    assert_eq!(greeting.waiting(), Some(&whole[3..]));
                    assert!(greeting.sent(whole.len() - 3));
                }
            }
        }
    }

    #[test]
    fn nothing_is_added_to_nothing() {
        assert!(CustomSettings::new(&[]).greeting(0).is_none());
        assert_eq!(CustomSettings::default().get(4), None);
        assert_eq!(CustomSettings::new(&[(5, 20_000)]).get(5), Some(20_000));
    }
}
