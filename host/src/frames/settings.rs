//! What a peer may say in `SETTINGS`, as far as the codec does not hold it to that.
//!
//! Owns how many entries a frame may have, and the values that may not change, or not be said at all by
//! that side. Does not own what the settings mean, which is the codec's. Called by `watch`.

use super::FrameHead;
use super::custom::{ENABLE_CONNECT_PROTOCOL, ENABLE_PUSH, ENTRY, MAX_CONCURRENT_STREAMS};
use super::watch::{Fault, Peer};
use crate::limits;

/// RFC 9218 §2.1.
const NO_RFC7540_PRIORITIES: u16 = 9;

/// Follows the settings of a peer. Of several values in one frame the last counts.
#[derive(Debug)]
pub(super) struct Settings {
    peer: Peer,
    /// How much of the payload of this frame is to come.
    left: usize,
    entry: [u8; ENTRY],
    /// How much of the next entry is there.
    filled: usize,
    said: Said,
    /// How many streams it takes at once, where it has said that.
    streams: Option<u32>,
    /// What counts of the frames before, once there was one.
    agreed: Option<Agreed>,
}

/// What the frame at hand says.
#[derive(Clone, Copy, Debug, Default)]
struct Said {
    push: Option<u32>,
    connect: Option<u32>,
    no_priorities: Option<u32>,
    streams: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Agreed {
    has_connect: bool,
    no_priorities: u32,
}

impl Settings {
    /// For a connection whose first frame is to come.
    pub(super) const fn of(peer: Peer) -> Self {
        Self {
            peer,
            left: 0,
            entry: [0; ENTRY],
            filled: 0,
            said: Said {
                push: None,
                connect: None,
                no_priorities: None,
                streams: None,
            },
            streams: None,
            agreed: None,
        }
    }

    /// How many streams it takes at once, where it has said that.
    pub(super) const fn streams(&self) -> Option<u32> {
        self.streams
    }

    /// Takes the head of any frame. The first one of a connection says settings (RFC 9113 §3.4).
    pub(super) fn begin(&mut self, frame: FrameHead) -> Result<(), Fault> {
        let says = frame.kind == FrameHead::SETTINGS && frame.flags & FrameHead::ACK == 0;
        if !says {
            return match self.agreed {
                Some(_) => Ok(()),
                None => Err(Fault::Preface),
            };
        }
        let length = frame.length as usize;
        if length / ENTRY > limits::HTTP2_SETTINGS {
            return Err(Fault::Settings);
        }
        (self.left, self.filled, self.said) = (length, 0, Said::default());
        if length == 0 {
            return self.end();
        }
        Ok(())
    }

    /// Whether a part of a payload is to be read.
    pub(super) const fn is_open(&self) -> bool {
        self.left > 0
    }

    /// Reads the next part of a payload.
    pub(super) fn read(&mut self, part: &[u8]) -> Result<(), Fault> {
        for byte in part {
            if let Some(place) = self.entry.get_mut(self.filled) {
                *place = *byte;
            }
            self.filled += 1;
            if self.filled == ENTRY {
                self.filled = 0;
                self.note();
            }
        }
        self.left = self.left.saturating_sub(part.len());
        if self.left == 0 {
            return self.end();
        }
        Ok(())
    }

    const fn note(&mut self) {
        let [a, b, value @ ..] = self.entry;
        let value = Some(u32::from_be_bytes(value));
        match u16::from_be_bytes([a, b]) {
            ENABLE_PUSH => self.said.push = value,
            ENABLE_CONNECT_PROTOCOL => self.said.connect = value,
            NO_RFC7540_PRIORITIES => self.said.no_priorities = value,
            MAX_CONCURRENT_STREAMS => self.said.streams = value,
            _ => {}
        }
    }

    fn end(&mut self) -> Result<(), Fault> {
        let said = self.said;
        let is_first = self.agreed.is_none();
        let mut agreed = self.agreed.unwrap_or_default();
        if let Some(value) = said.no_priorities {
            if value > 1 || (!is_first && value != agreed.no_priorities) {
                return Err(Fault::Settings);
            }
            agreed.no_priorities = value;
        }
        // A server pushes, and nobody to it; and it may not take back what it has offered.
        if self.peer == Peer::Server {
            if said.push.is_some_and(|push| push != 0) {
                return Err(Fault::Settings);
            }
            if let Some(value) = said.connect {
                if agreed.has_connect && value == 0 {
                    return Err(Fault::Settings);
                }
                agreed.has_connect |= value == 1;
            }
        }
        self.streams = said.streams.or(self.streams);
        self.agreed = Some(agreed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a frame says.
    type Entries = &'static [(u16, u32)];

    /// What becomes of settings in some frames that come in pieces of this size.
    fn said(peer: Peer, frames: &[Entries], cut: usize) -> Result<(), Fault> {
        let mut settings = Settings::of(peer);
        for entries in frames {
            let payload: Vec<u8> = entries
                .iter()
                .flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat())
                .collect();
            settings.begin(FrameHead {
                length: payload.len() as u32,
                kind: FrameHead::SETTINGS,
                flags: 0,
                stream: 0,
            })?;
            for part in payload.chunks(cut) {
                assert!(settings.is_open());
                settings.read(part)?;
            }
            assert!(!settings.is_open());
        }
        Ok(())
    }

    #[test]
    fn settings_are_held_to_what_may_be_said() {
        const NONE: Entries = &[];
        const MANY: Entries = &[(3, 1); 33];
        let refused = Err(Fault::Settings);
        let table: &[(&[Entries], _, _)] = &[
            (&[NONE], Ok(()), Ok(())),
            (&[&[(9, 1)]], Ok(()), Ok(())),
            (&[&[(9, 2)]], refused, refused),
            (&[&[(9, 1)], &[(9, 1)], NONE], Ok(()), Ok(())),
            (&[&[(9, 1)], &[(9, 0)]], refused, refused),
            (&[NONE, &[(9, 0)]], Ok(()), Ok(())),
            (&[NONE, &[(9, 1)]], refused, refused),
            (&[&[(9, 0), (9, 1)], &[(9, 1)]], Ok(()), Ok(())),
            (&[&[(3, 1); 32]], Ok(()), Ok(())),
            (&[MANY], refused, refused),
            (&[NONE, MANY], refused, refused),
            (&[&[(2, 1)]], Ok(()), refused),
            (&[&[(2, 0)]], Ok(()), Ok(())),
            (&[&[(2, 1), (2, 0)]], Ok(()), Ok(())),
            (&[&[(8, 1)], &[(8, 1)]], Ok(()), Ok(())),
            (&[&[(8, 1)], NONE, &[(8, 0)]], Ok(()), refused),
            (&[&[(8, 1), (8, 0)]], Ok(()), Ok(())),
        ];
        for (frames, of_client, of_server) in table {
            for cut in [1, 4, 6, 1000] {
                assert_eq!(said(Peer::Client, frames, cut), *of_client, "{frames:?}");
                assert_eq!(said(Peer::Server, frames, cut), *of_server, "{frames:?}");
            }
        }
    }

    #[test]
    fn settings_come_first() {
        let frame = |kind, flags| FrameHead {
            length: 0,
            kind,
            flags,
            stream: 0,
        };
        for (kind, flags) in [
            (FrameHead::HEADERS, 0),
            (FrameHead::SETTINGS, FrameHead::ACK),
        ] {
            let mut settings = Settings::of(Peer::Client);
            assert_eq!(settings.begin(frame(kind, flags)), Err(Fault::Preface));
            let mut settings = Settings::of(Peer::Client);
            settings.begin(frame(FrameHead::SETTINGS, 0)).unwrap();
            assert_eq!(settings.begin(frame(kind, flags)), Ok(()));
        }
    }
}
