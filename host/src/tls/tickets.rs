//! Session tickets: sessions that clients keep for this side (RFC 5077, RFC 8446 §4.6.1).
//!
//! Owns the keys that a configuration names, by which several proxies resume each other's sessions, and
//! how long a session counts. A session is resumed only where as much is asked of clients as where it
//! began. Keys that nobody names are the library's.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::cipher::{
    AES_256, DecryptionContext, PaddedBlockDecryptingKey, PaddedBlockEncryptingKey,
    UnboundCipherKey,
};
use aws_lc_rs::{hmac, iv};
use rustls::server::{ProducesTickets, StoresServerSessions};

use super::context::{Files, seconds};
use super::error::{Error, Part};
use super::secret::Whence;
use super::source::Source;
use crate::certificate::sha256;

/// Bytes of a key: its name, a key for the proof of what a ticket says, and one that hides it.
const KEY_BYTES: usize = NAME + PROOF + HIDING;
const NAME: usize = 16;
const PROOF: usize = 32;
const HIDING: usize = 32;
const IV: usize = 16;
/// The longest time that a client may be told (RFC 8446 §4.6.1), in seconds.
const WEEK: u32 = 7 * 24 * 60 * 60;
/// In front of what a ticket says: what is asked of clients, and when it was made.
const CONTEXT: usize = 32;
const MADE: usize = 8;

/// `session_ticket_keys`, before the files were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TicketSpec {
    /// The keys. The first one makes tickets, all of them are known.
    pub keys: Vec<Source>,
}

/// The keys of a configuration.
#[derive(Debug)]
pub(super) struct TicketKeys {
    keys: Box<[Key]>,
    /// Of all keys, to tell whether others were read.
    content: [u8; 32],
}

struct Key {
    name: [u8; NAME],
    proof: hmac::Key,
    hides: PaddedBlockEncryptingKey,
    shows: PaddedBlockDecryptingKey,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

impl TicketKeys {
    /// Reads them from wherever they are, and notes in `files` what was read.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(super) fn read(
        whence: &Whence<TicketSpec>,
        files: &mut Files,
    ) -> Result<Self, (Part, Error)> {
        whence.file().into_iter().for_each(|path| files.add(path));
        let spec = whence.get().map_err(|error| (Part::Secret, error))?;
        let paths = spec.keys.iter().filter_map(Source::path);
        paths.for_each(|path| files.add(path));
        let (mut keys, mut content) = (Vec::new(), Vec::new());
        for (at, source) in spec.keys.iter().enumerate() {
            let wrong = |error| (Part::TicketKey(at), error);
            let bytes = source.read().map_err(wrong)?;
            let key = Key::new(&bytes).ok_or_else(|| {
                wrong(Error::Malformed {
                    from: source.to_string(),
                    problem: format!(
                        "a key of session tickets has {KEY_BYTES} bytes, and this has {}",
                        bytes.len()
                    ),
                })
            })?;
            keys.push(key);
            content.extend(sha256(&bytes));
        }
        Ok(Self {
            keys: keys.into(),
            content: sha256(&content),
        })
    }

    /// Whether the same was read for both.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.content == other.content
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.keys.first()?.encrypt(plain)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let key = self.keys.iter().find(|key| ticket.starts_with(&key.name))?;
        key.decrypt(ticket)
    }
}

impl Key {
    /// None where `bytes` are too many or too few.
    fn new(bytes: &[u8]) -> Option<Self> {
        let (name, rest) = bytes.split_first_chunk::<NAME>()?;
        let (proof, hiding) = rest.split_first_chunk::<PROOF>()?;
        if hiding.len() != HIDING {
            return None;
        }
        let raw = || UnboundCipherKey::new(&AES_256, hiding);
        Some(Self {
            name: *name,
            proof: hmac::Key::new(hmac::HMAC_SHA256, proof),
            hides: PaddedBlockEncryptingKey::cbc_pkcs7(raw().ok()?).ok()?,
            shows: PaddedBlockDecryptingKey::cbc_pkcs7(raw().ok()?).ok()?,
        })
    }

    /// Name, vector, what it says, proof: the form that RFC 5077 §4 recommends.
    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut hidden = plain.to_vec();
        let context = self.hides.encrypt(&mut hidden).ok()?;
        let vector: &[u8] = (&context).try_into().ok()?;
        let mut ticket = [&self.name[..], vector, &hidden].concat();
        let proof = hmac::sign(&self.proof, &ticket);
        ticket.extend_from_slice(proof.as_ref());
        Some(ticket)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (said, proof) = ticket.split_last_chunk::<PROOF>()?;
        hmac::verify(&self.proof, said, proof).ok()?;
        let (vector, hidden) = said.get(NAME..)?.split_first_chunk::<IV>()?;
        let context = DecryptionContext::Iv128(iv::FixedLength::from(*vector));
        let mut hidden = hidden.to_vec();
        let plain = self.shows.decrypt(&mut hidden, context).ok()?;
        Some(plain.to_vec())
    }
}

/// What makes tickets.
#[derive(Debug)]
pub(super) enum Maker {
    /// Keys of the configuration.
    Keys(Arc<TicketKeys>),
    /// The library, with keys of its own.
    Library(Arc<dyn ProducesTickets>),
}

/// Tickets that count for some time, where as much is asked of clients as where they were made.
#[derive(Debug)]
pub(super) struct Tickets {
    pub(super) maker: Maker,
    /// Of all that is asked of clients.
    pub(super) context: [u8; CONTEXT],
    pub(super) lifetime: Duration,
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        let seconds = u32::try_from(self.lifetime.as_secs());
        seconds.map_or(WEEK, |seconds| seconds.min(WEEK))
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let plain = [&self.context[..], &stamped(plain)].concat();
        match &self.maker {
            Maker::Keys(keys) => keys.encrypt(&plain),
            Maker::Library(library) => library.encrypt(&plain),
        }
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let plain = match &self.maker {
            Maker::Keys(keys) => keys.decrypt(ticket),
            Maker::Library(library) => library.decrypt(ticket),
        };
        let plain = plain?;
        let (context, plain) = plain.split_first_chunk::<CONTEXT>()?;
        (*context == self.context).then(|| fresh(plain, self.lifetime))?
    }
}

/// Sessions that are kept here, for some time.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) sessions: Arc<dyn StoresServerSessions>,
    pub(super) lifetime: Duration,
}

impl StoresServerSessions for Kept {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.sessions.put(key, stamped(&value))
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        fresh(&self.sessions.get(key)?, self.lifetime)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        fresh(&self.sessions.take(key)?, self.lifetime)
    }

    fn can_cache(&self) -> bool {
        self.sessions.can_cache()
    }
}

/// A session with the second at which it began.
fn stamped(session: &[u8]) -> Vec<u8> {
    [&seconds().to_be_bytes()[..], session].concat()
}

/// The session, unless it is too old.
fn fresh(stamped: &[u8], lifetime: Duration) -> Option<Vec<u8>> {
    let (made, session) = stamped.split_first_chunk::<MADE>()?;
    let age = seconds().saturating_sub(i64::from_be_bytes(*made));
    let most = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
    (age <= most).then(|| session.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(names: &[u8]) -> TicketKeys {
        let sources = names
            .iter()
            .map(|name| Source::Inline(vec![*name; KEY_BYTES].into()));
        let spec = TicketSpec {
            keys: sources.collect(),
        };
        TicketKeys::read(&Whence::Here(spec), &mut Files::default()).unwrap()
    }

    fn tickets(names: &[u8], context: u8, lifetime: u64) -> Tickets {
        Tickets {
            maker: Maker::Keys(Arc::new(keys(names))),
            context: [context; CONTEXT],
            lifetime: Duration::from_secs(lifetime),
        }
    }

    #[test]
    fn the_first_key_makes_tickets_and_all_are_known() {
        let made = tickets(&[1, 2], 0, 60).encrypt(b"session").unwrap();
        assert!(!made.windows(7).any(|part| part == b"session"));
        for (names, known) in [(&[1][..], true), (&[2, 1], true), (&[2], false)] {
            let found = tickets(names, 0, 60).decrypt(&made);
            assert_eq!(found.is_some(), known, "{names:?}");
            assert!(found.is_none_or(|session| session == b"session"));
        }
    }

    #[test]
    fn a_ticket_is_of_one_context() {
        let made = tickets(&[1], 7, 60).encrypt(b"session").unwrap();
        assert_eq!(tickets(&[1], 8, 60).decrypt(&made), None);
    }

    #[test]
    fn a_ticket_that_was_changed_is_none() {
        let tickets = tickets(&[1], 0, 60);
        let made = tickets.encrypt(b"session").unwrap();
        for at in 0..made.len() {
            let mut changed = made.clone();
            changed[at] ^= 1;
            assert_eq!(tickets.decrypt(&changed), None, "{at}");
            assert_eq!(tickets.decrypt(&made[..at]), None, "{at}");
        }
    }

    #[test]
    fn sessions_end() {
        let old = |age: i64| [&(seconds() - age).to_be_bytes()[..], b"session"].concat();
        let minute = Duration::from_secs(60);
        assert!(fresh(&old(50), minute).is_some());
        assert_eq!(fresh(&old(90), minute), None);
        assert_eq!(fresh(b"short", minute), None);
    }

    #[test]
    fn a_key_has_its_length() {
        for length in [1, KEY_BYTES - 1, KEY_BYTES + 1] {
            let spec = TicketSpec {
                keys: vec![Source::Inline(vec![0; length].into())],
            };
            let read = TicketKeys::read(&Whence::Here(spec), &mut Files::default());
            let (part, error) = read.unwrap_err();
            assert_eq!(part, Part::TicketKey(0));
            assert!(error.to_string().contains("has 80 bytes, and this has"));
        }
    }
}
