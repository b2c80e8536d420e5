//! One block of HTTP fields: a request's or response's head, or its trailers.
//!
//! Owns the flat representation that the whole data path shares: all bytes of a block lie in one
//! arena and the fields are spans into it, in the order in which they arrived. A block is reused
//! for every request of a connection, so a head costs no allocation once its buffers have grown.
//! Names are lower case. Pseudo-header fields (`:method`, `:path`, …) are ordinary fields here, as
//! in Envoy, and `host` is an alias of `:authority`.
//!
//! Does not own: parsing (`h1`), limits on what the network may send (`limits`), or what
//! headers mean (`http::hygiene`).

mod name;
mod spelling;

pub use name::{InvalidName, Known, KnownSet, Name, is_token_byte, is_valid_value};
pub use spelling::{NameCase, NameFormat};

use spelling::Spellings;

/// How many bytes of overwritten values may lie in the arena before it is compacted.
const GARBAGE_LIMIT: usize = 16 * 1024;

#[derive(Clone, Copy, Debug)]
struct Entry {
    known: Option<Known>,
    name_len: u16,
    name_at: u32,
    value_at: u32,
    value_len: u32,
}

/// A block of fields. See the module's page.
#[derive(Clone, Debug, Default)]
pub struct Headers {
    arena: Vec<u8>,
    entries: Vec<Entry>,
    present: u128,
    /// Known names that may have several fields; all others have one at most.
    repeated: u128,
    garbage: usize,
    /// How names are spelled that did not come in a spelling of their own.
    case: NameCase,
    /// Names as they came, where they are kept.
    spellings: Option<Box<Spellings>>,
    grown: Extent,
}

/// How much of a block something is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Fields.
    pub fields: usize,
    /// Bytes of their names and values.
    pub bytes: usize,
}

/// One field of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name, where the proxy knows it.
    pub known: Option<Known>,
    /// The lower-case name.
    pub name: &'a [u8],
    /// The value, without the white space around it.
    pub value: &'a [u8],
}

impl Headers {
    /// An empty block.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            arena: Vec::new(),
            entries: Vec::new(),
            present: 0,
            repeated: 0,
            garbage: 0,
            case: NameCase::Lower,
            spellings: None,
            grown: Extent {
                fields: 0,
                bytes: 0,
            },
        }
    }

    /// Takes all fields out and keeps the buffers.
    pub fn clear(&mut self) {
        self.arena.clear();
        self.entries.clear();
        self.present = 0;
        self.repeated = 0;
        self.garbage = 0;
        self.grown = Extent::default();
        if let Some(spellings) = &mut self.spellings {
            spellings.clear();
        }
    }

    /// How many bytes its buffers have, filled or not.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.arena.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    /// By how much filters have made the block larger than it came.
    #[must_use]
    pub const fn grown(&self) -> Extent {
        self.grown
    }

    /// Notes that.
    pub const fn note_grown(&mut self, grown: Extent) {
        self.grown = grown;
    }

    /// Says how names are spelled from now on, and forgets how they came.
    pub fn spell(&mut self, format: NameFormat) {
        match format {
            NameFormat::Case(case) => {
                self.case = case;
                self.spellings = None;
            }
            NameFormat::Kept(others) => self.spellings = Some(Box::new(Spellings::new(others))),
            NameFormat::KeptWithReason(others) => {
                let mut spellings = Spellings::new(others);
                spellings.reason = Some(Vec::new());
                self.spellings = Some(Box::new(spellings));
            }
        }
    }

    /// Says how names are spelled that are not kept as they came.
    pub const fn spell_unkept(&mut self, case: NameCase) {
        self.case = case;
    }

    /// Whether names are kept as they came.
    #[must_use]
    pub const fn keeps_spellings(&self) -> bool {
        self.spellings.is_some()
    }

    /// Takes note of a name as it came, where they are kept.
    pub fn remember_spelling(&mut self, name: &[u8]) {
        if let Some(spellings) = &mut self.spellings {
            spellings.remember(name);
        }
    }

    /// Takes note of the reason phrase of a response, where it is kept.
    pub fn remember_reason(&mut self, reason: &[u8]) {
        let kept = self.spellings.as_mut().and_then(|s| s.reason.as_mut());
        if let Some(kept) = kept {
            reason.clone_into(kept);
        }
    }

    /// The reason phrase, where one was kept.
    #[must_use]
    pub fn reason(&self) -> Option<&[u8]> {
        let kept = self.spellings.as_ref()?.reason.as_deref()?;
        (!kept.is_empty()).then_some(kept)
    }

    /// Whether every name is written in lower case.
    #[must_use]
    pub const fn is_lower_case(&self) -> bool {
        matches!(self.case, NameCase::Lower) && self.spellings.is_none()
    }

    /// Appends a lower-case name as it is spelled.
    pub fn write_name(&self, name: &[u8], out: &mut impl Extend<u8>) {
        match &self.spellings {
            None => self.case.write(name, out),
            Some(spellings) => match spellings.find(name) {
                Some(spelled) => out.extend(spelled.iter().copied()),
                None => spellings.others.write(name, out),
            },
        }
    }

    /// How many fields there are, pseudo-header fields included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no field.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of all names and values together.
    #[must_use]
    pub fn byte_size(&self) -> usize {
        self.iter()
            .map(|field| field.name.len() + field.value.len())
            .sum()
    }

    /// How many bytes its values and the names that are not known take, with those that were replaced or
    /// removed since.
    #[must_use]
    pub const fn stored(&self) -> usize {
        self.arena.len()
    }

    /// Whether any name or value may have NUL, CR or LF. False is certain; true can also come of a
    /// value that has since been replaced or removed.
    #[must_use]
    pub fn may_break_lines(&self) -> bool {
        !is_valid_value(&self.arena)
    }

    /// The value of the first field of that name.
    #[must_use]
    pub fn get(&self, name: &Name) -> Option<&[u8]> {
        match name {
            Name::Known(known) => self.known(*known),
            Name::Other(bytes) => self
                .entries
                .iter()
                .find(|entry| entry.known.is_none() && self.name_of(entry) == &**bytes)
                .map(|entry| self.value_of(entry)),
        }
    }

    /// The value of the first field of that known name.
    #[must_use]
    #[inline]
    pub fn known(&self, known: Known) -> Option<&[u8]> {
        if self.present & known.bit() == 0 {
            return None;
        }
        self.entries
            .iter()
            .find(|entry| entry.known == Some(known))
            .map(|entry| self.value_of(entry))
    }

    /// The values of all fields of that name, in order.
    pub fn get_all<'a>(&'a self, name: &'a Name) -> impl Iterator<Item = &'a [u8]> {
        self.entries
            .iter()
            .filter(move |entry| self.is_named(entry, name))
            .map(|entry| self.value_of(entry))
    }

    /// The values of all fields of that known name, in order.
    pub fn known_all(&self, known: Known) -> impl Iterator<Item = &[u8]> {
        self.entries
            .iter()
            .filter(move |entry| entry.known == Some(known))
            .map(|entry| self.value_of(entry))
    }

    /// The one value of that known name which is not empty: none where several lines have one, since
    /// together they say something else (RFC 9110 §5.3).
    #[must_use]
    pub fn sole(&self, known: Known) -> Option<&[u8]> {
        if !self.has(known) {
            return None;
        }
        let mut values = self.known_all(known).filter(|value| !value.is_empty());
        let first = values.next();
        first.filter(|_| values.next().is_none())
    }

    /// Whether the message is gRPC: `application/grpc`, alone or with a `+` and a message format. Several
    /// lines of `content-type` are one value (RFC 9110 §5.3).
    #[must_use]
    pub fn is_grpc(&self) -> bool {
        if !self.has(Known::ContentType) {
            return false;
        }
        let values = self.known_all(Known::ContentType);
        let mut values = values.filter(|value| !value.is_empty());
        let first = values.next();
        let rest = first.and_then(|value| value.strip_prefix(b"application/grpc"));
        match rest {
            Some([]) => values.next().is_none(),
            Some(rest) => rest.starts_with(b"+"),
            None => false,
        }
    }

    /// Whether a field of that name is there.
    #[must_use]
    pub fn contains(&self, name: &Name) -> bool {
        match name {
            Name::Known(known) => self.has(*known),
            Name::Other(_) => self.get(name).is_some(),
        }
    }

    /// Whether a field of that known name is there.
    #[must_use]
    #[inline]
    pub const fn has(&self, known: Known) -> bool {
        self.present & known.bit() != 0
    }

    /// Whether a field of any of these names is there.
    #[must_use]
    #[inline]
    pub const fn has_any(&self, names: KnownSet) -> bool {
        self.present & names.0 != 0
    }

    /// All fields in order.
    pub fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        self.entries.iter().map(|entry| Field {
            known: entry.known,
            name: self.name_of(entry),
            value: self.value_of(entry),
        })
    }

    /// Adds a field behind the others.
    pub fn append(&mut self, name: &Name, value: &[u8]) {
        match name {
            Name::Known(known) => self.append_known(*known, value),
            Name::Other(bytes) => self.append_other(bytes, value),
        }
    }

    /// Adds a field of a known name behind the others.
    pub fn append_known(&mut self, known: Known, value: &[u8]) {
        let (value_at, value_len) = self.store(value);
        self.repeated |= self.present & known.bit();
        self.present |= known.bit();
        self.entries.push(Entry {
            known: Some(known),
            name_len: 0,
            name_at: 0,
            value_at,
            value_len,
        });
    }

    /// Adds a field whose name is lower-case bytes, as a parser has them.
    pub fn append_bytes(&mut self, name: &[u8], value: &[u8]) {
        match Known::find(name) {
            Some(known) => self.append_known(known, value),
            None => self.append_other(name, value),
        }
    }

    /// Adds a field whose name is lower-case bytes for which [`Known::find`] has no answer.
    pub fn append_other(&mut self, name: &[u8], value: &[u8]) {
        let (name_at, name_len) = self.store(name);
        let (value_at, value_len) = self.store(value);
        let name_len = u16::try_from(name_len).unwrap_or(u16::MAX);
        self.entries.push(Entry {
            known: None,
            name_len,
            name_at,
            value_at,
            value_len,
        });
    }

    /// Adds a field, or its value to the field that there is, behind a comma (RFC 9110 §5.3), where `joins` says that
    /// such a name has one line. Neither an empty value nor one that is added to an empty one brings a comma.
    pub fn append_joined(&mut self, name: &Name, value: &[u8], joins: impl Fn(Known) -> bool) {
        let there = match name {
            Name::Known(known) if joins(*known) && self.has(*known) => self
                .entries
                .iter()
                .position(|entry| entry.known == Some(*known)),
            _ => None,
        };
        let Some(at) = there else {
            return self.append(name, value);
        };
        if value.is_empty() {
            return;
        }
        let (value_at, _) = self.store(&[]);
        let Self { arena, entries, .. } = self;
        let Some(entry) = entries.get_mut(at) else {
            return;
        };
        if entry.value_len > 0 {
            let old = entry.value_at as usize;
            arena.extend_from_within(old..old + entry.value_len as usize);
            arena.push(b',');
        }
        arena.extend_from_slice(value);
        self.garbage += entry.value_len as usize;
        entry.value_at = value_at;
        let joined = arena.len().saturating_sub(value_at as usize);
        entry.value_len = u32::try_from(joined).unwrap_or(u32::MAX);
        self.compact_if_wasteful();
    }

    /// Puts one field of that name in place of all that there are, where the first of them stood.
    pub fn set(&mut self, name: &Name, value: &[u8]) {
        let Some(first) = self
            .entries
            .iter()
            .position(|entry| self.is_named(entry, name))
        else {
            self.append(name, value);
            return;
        };
        self.replace(first, value);
        let is_alone = matches!(name, Name::Known(known) if self.repeated & known.bit() == 0);
        if !is_alone {
            self.remove_after(first, name);
            if let Name::Known(known) = name {
                self.repeated &= !known.bit();
            }
        }
        self.compact_if_wasteful();
    }

    /// Makes one field of each known name that `joins` and that was sent several times: the values
    /// joined by a comma (RFC 9110 §5.3) but for empty ones, where the first of them stood.
    pub fn join_repeated(&mut self, joins: impl Fn(Known) -> bool) {
        if self.repeated == 0 {
            return;
        }
        let (mut seen, mut repeated) = (0_u128, 0_u128);
        for known in self.entries.iter().filter_map(|entry| entry.known) {
            repeated |= seen & known.bit();
            seen |= known.bit();
        }
        for known in Known::ALL
            .iter()
            .copied()
            .filter(|known| repeated & known.bit() != 0)
        {
            if joins(known) {
                let values = self.known_all(known).filter(|value| !value.is_empty());
                let values: Vec<&[u8]> = values.collect();
                let joined = values.join(&b","[..]);
                self.set_known(known, &joined);
            }
        }
    }

    /// [`Headers::set`] for a known name.
    pub fn set_known(&mut self, known: Known, value: &[u8]) {
        if !self.has(known) {
            self.append_known(known, value);
        } else if self.repeated & known.bit() == 0 {
            let mut entries = self.entries.iter();
            if let Some(at) = entries.position(|entry| entry.known == Some(known)) {
                self.replace(at, value);
                self.compact_if_wasteful();
            }
        } else {
            self.set(&Name::Known(known), value);
        }
    }

    /// Gives the field at that place another value.
    fn replace(&mut self, at: usize, value: &[u8]) {
        let (value_at, value_len) = self.store(value);
        if let Some(entry) = self.entries.get_mut(at) {
            self.garbage += entry.value_len as usize;
            entry.value_at = value_at;
            entry.value_len = value_len;
        }
    }

    /// Takes all fields of that name out. Says whether there was one.
    pub fn remove(&mut self, name: &Name) -> bool {
        match name {
            Name::Known(known) => self.remove_known(*known),
            Name::Other(_) => {
                let before = self.entries.len();
                self.remove_after(usize::MAX, name);
                before != self.entries.len()
            }
        }
    }

    /// Takes all fields of that known name out. Says whether there was one.
    pub fn remove_known(&mut self, known: Known) -> bool {
        if !self.has(known) {
            return false;
        }
        self.entries.retain(|entry| entry.known != Some(known));
        self.present &= !known.bit();
        self.repeated &= !known.bit();
        true
    }

    /// Takes all fields of these names out.
    pub fn remove_any(&mut self, names: KnownSet) {
        if self.has_any(names) {
            let is_left = |known: Known| known.bit() & names.0 == 0;
            self.entries.retain(|entry| entry.known.is_none_or(is_left));
            self.present &= !names.0;
            self.repeated &= !names.0;
        }
    }

    /// Keeps the fields for which `keep` answers true.
    pub fn retain(&mut self, mut keep: impl FnMut(Field<'_>) -> bool) {
        let Self {
            arena,
            entries,
            present,
            ..
        } = self;
        *present = 0;
        entries.retain(|entry| {
            let field = Field {
                known: entry.known,
                name: name_in(arena, entry),
                value: value_in(arena, entry),
            };
            let keep = keep(field);
            if keep && let Some(known) = entry.known {
                *present |= known.bit();
            }
            keep
        });
    }

    /// Removes every field of `name` except the one at index `kept`.
    fn remove_after(&mut self, kept: usize, name: &Name) {
        let mut index = 0;
        let Self { arena, entries, .. } = self;
        entries.retain(|entry| {
            let here = index;
            index += 1;
            here == kept
                || match name {
                    Name::Known(known) => entry.known != Some(*known),
                    Name::Other(bytes) => {
                        entry.known.is_some() || name_in(arena, entry) != &**bytes
                    }
                }
        });
    }

    fn is_named(&self, entry: &Entry, name: &Name) -> bool {
        match name {
            Name::Known(known) => entry.known == Some(*known),
            Name::Other(bytes) => entry.known.is_none() && self.name_of(entry) == &**bytes,
        }
    }

    fn store(&mut self, bytes: &[u8]) -> (u32, u32) {
        let at = u32::try_from(self.arena.len()).unwrap_or(u32::MAX);
        self.arena.extend_from_slice(bytes);
        (at, u32::try_from(bytes.len()).unwrap_or(u32::MAX))
    }

    fn compact_if_wasteful(&mut self) {
        if self.garbage <= GARBAGE_LIMIT {
            return;
        }
        let mut fresh = Self::new();
        for field in self.iter() {
            match field.known {
                Some(known) => fresh.append_known(known, field.value),
                None => fresh.append_other(field.name, field.value),
            }
        }
        fresh.case = self.case;
        fresh.spellings = self.spellings.take();
        fresh.grown = self.grown;
        *self = fresh;
    }

    fn name_of<'a>(&'a self, entry: &'a Entry) -> &'a [u8] {
        name_in(&self.arena, entry)
    }

    fn value_of(&self, entry: &Entry) -> &[u8] {
        value_in(&self.arena, entry)
    }
}

fn name_in<'a>(arena: &'a [u8], entry: &Entry) -> &'a [u8] {
    match entry.known {
        Some(known) => known.as_str().as_bytes(),
        None => {
            let at = entry.name_at as usize;
            arena
                .get(at..at + usize::from(entry.name_len))
                .unwrap_or_default()
        }
    }
}

fn value_in<'a>(arena: &'a [u8], entry: &Entry) -> &'a [u8] {
    let at = entry.value_at as usize;
    arena
        .get(at..at + entry.value_len as usize)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_comma_stands_between_two_values_only() {
        let joins = |known| known == Known::Vary;
        for (field, there, added, expected) in [
            ("vary", Some("a"), "b", vec!["a,b"]),
            ("vary", Some(""), "b", vec!["b"]),
            ("vary", Some("a"), "", vec!["a"]),
            ("vary", Some(""), "", vec![""]),
            ("vary", None, "b", vec!["b"]),
            ("vary", None, "", vec![""]),
            ("set-cookie", Some("a"), "b", vec!["a", "b"]),
            ("set-cookie", Some(""), "", vec!["", ""]),
            ("x-own", Some("a"), "b", vec!["a", "b"]),
        ] {
            let mut headers = Headers::new();
            headers.append_bytes(b"x-first", b"1");
            if let Some(there) = there {
                headers.append_bytes(field.as_bytes(), there.as_bytes());
            }
            headers.append_bytes(b"x-last", b"2");
            headers.append_joined(&name(field), added.as_bytes(), joins);
            let mut left = listed(&headers);
            left.retain(|(name, _)| name == field);
            let left: Vec<_> = left.iter().map(|(_, value)| value.as_str()).collect();
            assert_eq!(left, expected, "{field}: {there:?} and {added:?}");
            assert_eq!(headers.get(&name("x-first")), Some(&b"1"[..]));
            assert_eq!(headers.get(&name("x-last")), Some(&b"2"[..]));
        }
    }

    fn listed(headers: &Headers) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        headers
            .iter()
            .map(|field| (text(field.name), text(field.value)))
            .collect()
    }

    #[test]
    fn set_keeps_the_first_place_and_drops_the_rest() {
        let mut headers = Headers::new();
        headers.append(&name("a"), b"1");
        headers.append(&name("X-Forwarded-For"), b"2");
        headers.append(&name("a"), b"3");
        headers.set(&name("A"), b"4");
        let expected = [("a", "4"), ("x-forwarded-for", "2")];
        assert_eq!(
            listed(&headers),
            expected.map(|(n, v)| (n.to_owned(), v.to_owned()))
        );
    }

    #[test]
    fn several_lines_are_one_value() {
        for (lines, sole, is_grpc) in [
            (&[][..], None, false),
            (&["application/grpc"][..], Some("application/grpc"), true),
            (
                &["application/grpc+proto"],
                Some("application/grpc+proto"),
                true,
            ),
            (
                &["application/grpc-web"],
                Some("application/grpc-web"),
                false,
            ),
            (&["application/grpc", "text/plain"], None, false),
            (&["application/grpc+proto", "text/plain"], None, true),
            (&["text/plain", "application/grpc"], None, false),
            (
                &["", "application/grpc", ""],
                Some("application/grpc"),
                true,
            ),
            (&["", ""], None, false),
        ] {
            let mut headers = Headers::new();
            for line in lines {
                headers.append_known(Known::ContentType, line.as_bytes());
            }
            assert_eq!(
                headers.sole(Known::ContentType),
                sole.map(str::as_bytes),
                "{lines:?}"
            );
            assert_eq!(headers.is_grpc(), is_grpc, "{lines:?}");
        }
    }

    #[test]
    fn removal_forgets_presence() {
        let mut headers = Headers::new();
        headers.append_known(Known::Te, b"trailers");
        headers.append_known(Known::Te, b"gzip");
        headers.append_bytes(b"other", b"x");
        assert!(headers.remove(&name("te")));
        assert!(!headers.has(Known::Te));
        assert!(!headers.remove(&name("te")));
        headers.retain(|field| field.known.is_some());
        assert!(headers.is_empty());
    }

    #[test]
    fn overwriting_for_ever_does_not_grow() {
        let mut headers = Headers::new();
        let value = [b'v'; 1000];
        for _ in 0..1000 {
            headers.set(&name("x-loop"), &value);
        }
        assert_eq!(headers.get(&name("x-loop")), Some(&value[..]));
        assert!(
            headers.arena.len() < 3 * GARBAGE_LIMIT,
            "{}",
            headers.arena.len()
        );
    }

    /// What may be done to a block, to one of a few names.
    #[derive(Clone, Debug)]
    enum Deed {
        Append(usize),
        Set(usize),
        Remove(usize),
        RemoveAny(usize),
        Retain(usize),
        Join,
    }

    const NAMES: [&str; 4] = ["te", "via", "x-forwarded-for", "x-own"];

    /// The same on a list, one field after the other.
    fn do_to(list: &mut Vec<(String, String)>, deed: &Deed, value: &str) {
        let is = |at: usize| move |field: &(String, String)| field.0 == NAMES[at];
        match *deed {
            Deed::Append(at) => list.push((NAMES[at].to_owned(), value.to_owned())),
            Deed::Set(at) => match list.iter().position(is(at)) {
                Some(first) => {
                    list[first].1 = value.to_owned();
                    let mut seen = 0;
                    list.retain(|field| {
                        seen += 1;
                        seen - 1 == first || field.0 != NAMES[at]
                    });
                }
                None => list.push((NAMES[at].to_owned(), value.to_owned())),
            },
            Deed::Remove(at) | Deed::Retain(at) => list.retain(|field| !is(at)(field)),
            Deed::RemoveAny(at) => {
                list.retain(|field| !is(at)(field) && field.0 != NAMES[0]);
            }
            Deed::Join => {
                for at in 0..3 {
                    let of = list.iter().filter(|field| is(at)(field));
                    let values: Vec<_> = of.map(|field| field.1.clone()).collect();
                    if values.len() > 1 {
                        do_to(list, &Deed::Set(at), &values.join(","));
                    }
                }
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn a_block_is_a_list_of_fields(
            deeds in proptest::collection::vec((0..6_usize, 0..NAMES.len()), 0..30),
        ) {
            let known = |at: usize| Known::find(NAMES[at].as_bytes());
            let (mut block, mut list) = (Headers::new(), Vec::new());
            for (number, (kind, at)) in deeds.into_iter().enumerate() {
                let (value, name) = (format!("v{number}"), name(NAMES[at]));
                let deed = match (kind, known(at)) {
                    (0, _) => Deed::Append(at),
                    (1, _) => Deed::Set(at),
                    (2, _) => Deed::Remove(at),
                    (3, Some(_)) => Deed::RemoveAny(at),
                    (4, _) => Deed::Retain(at),
                    _ => Deed::Join,
                };
                match deed {
                    Deed::Append(_) => block.append(&name, value.as_bytes()),
                    Deed::Set(_) => block.set(&name, value.as_bytes()),
                    Deed::Remove(_) => {
                        block.remove(&name);
                    }
                    Deed::RemoveAny(at) => {
                        let names = known(at).into_iter().chain([Known::Te]);
                        block.remove_any(KnownSet::of(&names.collect::<Vec<_>>()));
                    }
                    Deed::Retain(at) => block.retain(|field| field.name != NAMES[at].as_bytes()),
                    Deed::Join => block.join_repeated(|_| true),
                }
                do_to(&mut list, &deed, &value);
                assert_eq!(listed(&block), list, "after {deed:?}");
                for name in &NAMES[..3] {
                    let is_there = list.iter().any(|field| field.0 == *name);
                    let known = Known::find(name.as_bytes()).unwrap();
                    assert_eq!(block.has(known), is_there);
                }
            }
        }
    }
}
