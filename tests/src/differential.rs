//! HTTP/1 that is made up, sent to Envoy and to nuncio alike: does nuncio take what Envoy refuses?
//!
//! Owns messages that a seed makes odd in a place or several ([`requests`], [`answers`]), the
//! configurations that they go through ([`variants`]), one conversation with a proxy ([`lane`]), a reader
//! that forgives nothing ([`reading`]), the verdict on what both proxies did ([`judge`]), the differences
//! that are documented ([`documented`]) and the hunt, which looks again at what differs and makes it small
//! ([`hunt`]). Called by `tests/differential.rs`.
//!
//! Other than in [`crate::compare`], nuncio may be stricter than Envoy in any message, for the reasons that
//! `docs/differences.md` has.

pub mod answers;
pub mod documented;
pub mod hunt;
pub mod judge;
pub mod lane;
pub mod reading;
pub mod requests;
pub mod variants;
mod words;

use crate::chance::Chance;
use reading::Asked;

/// What one side sends, in the pieces that it comes in.
pub type Pieces = Vec<Vec<u8>>;

/// What is sent through both proxies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Which of [`variants::ALL`] it goes through.
    pub variant: usize,
    /// What the client sends.
    pub client: Pieces,
    /// What the upstream answers to it; plain answers to each request where there is none.
    pub answer: Option<Answer>,
}

/// What an upstream answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What the request is, as far as answers depend on it.
    pub asked: Asked,
    /// The bytes.
    pub pieces: Pieces,
    /// Whether the connection ends behind them.
    pub ends: bool,
}

impl Case {
    /// The bytes that are made up: what can be made smaller.
    #[must_use]
    pub fn subject(&self) -> &Pieces {
        match &self.answer {
            Some(answer) => &answer.pieces,
            None => &self.client,
        }
    }

    /// The same with other bytes.
    #[must_use]
    pub fn with_subject(&self, pieces: Pieces) -> Self {
        let mut case = self.clone();
        match &mut case.answer {
            Some(answer) => answer.pieces = pieces,
            None => case.client = pieces,
        }
        case
    }
}

/// Cuts bytes into pieces, mostly into one.
fn cut(chance: &mut Chance, bytes: &[u8]) -> Pieces {
    if bytes.len() < 2 || !chance.of_myriad(4_000) {
        return vec![bytes.to_vec()];
    }
    let count = chance.of(&[1, 1, 2, 3]);
    let mut places: Vec<usize> = (0..count)
        .map(|_| 1 + chance.below(bytes.len() - 1))
        .collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.dedup();
    let ranges = places.windows(2);
    ranges
        .map(|range| bytes[range[0]..range[1]].to_vec())
        .collect()
}

/// A head with the empty line that ends it, and what is behind it.
fn cut_head(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(4).position(|part| part == b"\r\n\r\n")?;
    Some(bytes.split_at(end + 4))
}
