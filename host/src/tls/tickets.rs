//! Session tickets: sessions that clients keep for this side (RFC 5077, RFC 8446 §4.6.1).
//!
//! Owns the keys that a configuration names, by which several proxies resume each other's sessions, and
//! how long a session counts. A session is resumed only where as much is asked of clients as where it
//! began. Keys that nobody names are the library's.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use aws_lc_rs::cipher::{
    AES_256, DecryptionContext, PaddedBlockDecryptingKey, PaddedBlockEncryptingKey,
    UnboundCipherKey,
};
use aws_lc_rs::{hmac, iv};
use rustls::server::{ProducesTickets, ServerConfig, StoresServerSessions};

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
        let spec = whence.get().map_err(|error| (Part::Tickets, error))?;
        let paths = spec.keys.iter().filter_map(Source::path);
        paths.for_each(|path| files.add(path));
        let (mut keys, mut content) = (Vec::new(), Vec::new());
        for (at, source) in spec.keys.iter().enumerate() {
            let part = match whence {
                Whence::Here(_) => Part::TicketKey(at),
                Whence::Secret(_) => Part::Tickets,
            };
            let wrong = |error| (part, error);
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

impl Tickets {
    /// A ticket of a session that began at that second.
    fn make(&self, plain: &[u8], began: i64) -> Option<Vec<u8>> {
        let plain = [&self.context[..], &stamped(plain, began)].concat();
        match &self.maker {
            Maker::Keys(keys) => keys.encrypt(&plain),
            Maker::Library(library) => library.encrypt(&plain),
        }
    }

    /// The session, and the second at which it began.
    fn open(&self, ticket: &[u8]) -> Option<(Vec<u8>, i64)> {
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

/// What the handshakes of a context have in common, where sessions end in time.
#[derive(Debug)]
pub(super) struct Resumption {
    pub(super) tickets: Option<Arc<Tickets>>,
    pub(super) kept: Arc<Kept>,
}

impl Resumption {
    /// The same settings for one handshake, in which a session that is resumed stays as old as it is: it
    /// would be new again with each ticket otherwise.
    pub(super) fn of_one(&self, config: &ServerConfig) -> Arc<ServerConfig> {
        let mut config = config.clone();
        let began = Arc::new(AtomicI64::new(NEVER));
        if let Some(tickets) = &self.tickets {
            config.ticketer = Arc::new(OfOne {
                of_all: Arc::clone(tickets),
                began: Arc::clone(&began),
            });
        }
        config.session_storage = Arc::new(OfOne {
            of_all: Arc::clone(&self.kept),
            began,
        });
        Arc::new(config)
    }
}

/// What a handshake goes by, and when the session began that it resumes: the oldest of those that the
/// client offers.
#[derive(Debug)]
struct OfOne<T> {
    of_all: Arc<T>,
    began: Arc<AtomicI64>,
}

/// The second of a session that has not begun.
const NEVER: i64 = i64::MAX;

impl<T> OfOne<T> {
    /// When the session began: now, where none is resumed.
    fn began(&self) -> i64 {
        self.began.load(Ordering::Relaxed).min(seconds())
    }

    fn resumed(&self, (session, began): (Vec<u8>, i64)) -> Vec<u8> {
        self.began.fetch_min(began, Ordering::Relaxed);
        session
    }
}

impl ProducesTickets for OfOne<Tickets> {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        let age = seconds().saturating_sub(self.began());
        let left = self.of_all.lifetime.as_secs();
        let left = left.saturating_sub(u64::try_from(age).unwrap_or_default());
        u32::try_from(left).map_or(WEEK, |left| left.min(WEEK))
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.of_all.make(plain, self.began())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.of_all.open(ticket).map(|found| self.resumed(found))
    }
}

impl StoresServerSessions for OfOne<Kept> {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        let value = stamped(&value, self.began());
        self.of_all.sessions.put(key, value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let found = self.of_all.sessions.get(key)?;
        let found = fresh(&found, self.of_all.lifetime);
        found.map(|found| self.resumed(found))
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        let found = self.of_all.sessions.take(key)?;
        let found = fresh(&found, self.of_all.lifetime);
        found.map(|found| self.resumed(found))
    }

    fn can_cache(&self) -> bool {
        self.of_all.sessions.can_cache()
    }
}

/// A session with the second at which it began.
fn stamped(session: &[u8], began: i64) -> Vec<u8> {
    [&began.to_be_bytes()[..], session].concat()
}

/// The session and when it began, unless that is too long ago.
fn fresh(stamped: &[u8], lifetime: Duration) -> Option<(Vec<u8>, i64)> {
    let (began, session) = stamped.split_first_chunk::<MADE>()?;
    let began = i64::from_be_bytes(*began);
    let age = seconds().saturating_sub(began);
    let most = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
    (age <= most).then(|| (session.to_vec(), began))
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

    fn tickets(names: &[u8], context: u8, lifetime: u64) -> OfOne<Tickets> {
        let tickets = Tickets {
            maker: Maker::Keys(Arc::new(keys(names))),
            context: [context; CONTEXT],
            lifetime: Duration::from_secs(lifetime),
        };
        of_one(&Arc::new(tickets))
    }

    /// Another handshake of the same context.
    fn of_one<T>(of_all: &Arc<T>) -> OfOne<T> {
        OfOne {
            of_all: Arc::clone(of_all),
            began: Arc::new(AtomicI64::new(NEVER)),
        }
    }

    #[test]
    fn a_session_stays_as_old_as_it_is() {
        let first = tickets(&[1], 0, 60);
        let began = seconds() - 50;
        let old = first.of_all.make(b"session", began).unwrap();
        let second = of_one(&first.of_all);
        assert_eq!(second.decrypt(&old).unwrap(), b"session");
        assert!(second.lifetime() <= 10);
        let next = second.encrypt(b"session").unwrap();
        assert_eq!(first.of_all.open(&next).unwrap().1, began);
        let older = first.of_all.make(b"session", began - 20).unwrap();
        assert_eq!(of_one(&first.of_all).decrypt(&older), None);
        // A session of its own is as young as it can be.
        let own = of_one(&first.of_all).encrypt(b"session").unwrap();
        assert!(first.of_all.open(&own).unwrap().1 > began + 40);
    }

    #[test]
    fn sessions_that_are_kept_end_too() {
        let kept = Arc::new(Kept {
            sessions: rustls::server::ServerSessionMemoryCache::new(8),
            lifetime: Duration::from_secs(60),
        });
        let handshake = of_one(&kept);
        assert!(handshake.put(b"a".to_vec(), b"session".to_vec()));
        assert_eq!(handshake.get(b"a").unwrap(), b"session");
        let old = stamped(b"session", seconds() - 90);
        assert!(kept.sessions.put(b"b".to_vec(), old));
        assert_eq!(of_one(&kept).get(b"b"), None);
        assert_eq!(of_one(&kept).take(b"b"), None);
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
