//! What a field block of HPACK (RFC 7541) says of `:path`, read beside the codec.
//!
//! The codec keeps a target in a type that has no place for some bytes: it refuses those that RFC
//! 3986 does not know, though clients send them, and leaves out a fragment, though the request must
//! be refused for it. It forgets a scheme that is none. Owns as much of the table of indexed
//! fields as that takes: sizes and names, and of values such targets. Does not own whether a block
//! is good: the codec refuses those that are not. Called by `heads`.

use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;

use crate::frames::WHOLE;
use crate::frames::hpack::{Rest, Text, form, integer};

/// The size of the table before anybody says otherwise (RFC 9113 §6.5.2).
const TABLE_BYTES: usize = 4096;
/// What a field counts above its name and its value (RFC 7541 §4.1).
const FIELD_BYTES: usize = 32;
const PATH: &[u8] = b":path";
const SCHEME: &[u8] = b":scheme";

/// The lengths of the names in the static table (RFC 7541 appendix A).
#[rustfmt::skip]
const STATIC: [u8; 61] = [
    10, 7, 7, 5, 5, 7, 7, 7, 7, 7, 7, 7, 7, 7, 14, 15, 15, 13, 6, 27,
    3, 5, 13, 13, 19, 16, 16, 14, 16, 13, 12, 6, 4, 4, 6, 7, 4, 4, 8, 17,
    13, 8, 19, 13, 4, 8, 12, 18, 19, 5, 7, 7, 11, 6, 10, 25, 17, 10, 4, 3,
    16,
];
/// Those that are `:path`, counted from 1.
const STATIC_PATHS: [usize; 2] = [4, 5];
/// The last of those that begin with a colon.
const STATIC_PSEUDO: usize = 14;

/// Whether the codec has no place for it in a target.
const fn is_odd(byte: u8) -> bool {
    matches!(byte, b'#' | b'<' | b'>' | b'"' | b'`' | 0x80..)
}

/// What a block has for the codec to be kept from.
#[derive(Debug, Default)]
pub(super) struct Odd {
    /// The target, where it has odd bytes.
    pub(super) target: Option<Rc<[u8]>>,
    /// Where in the block there are such strings, with their lengths, and what they are.
    pub(super) strings: Vec<(Range<usize>, Rc<[u8]>)>,
    /// Whether there is a pseudo-header field, or one that is called [`WHOLE`]: neither may stand in trailers.
    pub(super) has_unfit: bool,
    /// Whether there is a `:scheme` that says nothing, which the codec forgets where there is no `:authority`.
    pub(super) has_empty_scheme: bool,
}

#[derive(Clone, Copy, Debug)]
struct Name {
    length: usize,
    is_path: bool,
    is_pseudo: bool,
    is_whole: bool,
}

/// An indexed field.
#[derive(Debug)]
struct Entry {
    name: Name,
    size: usize,
    odd: Option<Rc<[u8]>>,
}

/// Follows the blocks that a peer sends on one connection.
#[derive(Debug)]
pub(super) struct Targets {
    /// The newest one first.
    table: VecDeque<Entry>,
    size: usize,
    room: usize,
}

impl Targets {
    /// For a connection whose first block is to come.
    pub(super) const fn new() -> Self {
        Self {
            table: VecDeque::new(),
            size: 0,
            room: TABLE_BYTES,
        }
    }

    /// Reads the fields at the front of `rest` that are whole, which are taken from it. What is left is the
    /// beginning of one, or nothing that can be read. `odd` counts from where `rest` begins.
    pub(super) fn read(&mut self, rest: &mut &[u8], odd: &mut Odd) {
        let whole = *rest;
        loop {
            let mut ahead = Rest(rest);
            if self.field(&mut ahead, whole.len(), odd).is_none() {
                return;
            }
            *rest = ahead.0;
        }
    }

    /// Reads one field of a block of `whole` bytes.
    fn field(&mut self, rest: &mut Rest<'_>, whole: usize, odd: &mut Odd) -> Option<()> {
        match rest.form()? {
            form::INDEXED => {
                let index = rest.integer(7)?;
                let entry = self.entry(index)?;
                let name = self.name(index)?;
                odd.has_unfit |= name.is_pseudo || name.is_whole;
                if let Some(target) = entry.and_then(|entry| entry.odd.clone()) {
                    odd.target = Some(target);
                }
            }
            form::INSERTED => self.literal(rest, 6, whole, odd)?,
            form::RESIZED => {
                self.room = rest.integer(5)?;
                self.shrink(self.room);
            }
            _ => self.literal(rest, 4, whole, odd)?,
        }
        Some(())
    }

    /// Reads a field whose value is written out, and whose name's index has a prefix of so many bits: six
    /// where it goes into the table.
    fn literal(
        &mut self,
        rest: &mut Rest<'_>,
        prefix: u32,
        whole: usize,
        odd: &mut Odd,
    ) -> Option<()> {
        let is_indexed = prefix == 6;
        let name = match rest.integer(prefix)? {
            0 => as_name(rest.text()?)?,
            index => self.name(index)?,
        };
        odd.has_unfit |= name.is_pseudo || name.is_whole;
        let from = whole - rest.0.len();
        let value = rest.text()?;
        let to = whole - rest.0.len();
        // Others of that length may not be empty either.
        odd.has_empty_scheme |=
            name.is_pseudo && name.length == SCHEME.len() && value.bytes.is_empty();
        if !is_indexed && !name.is_path {
            return Some(());
        }
        let (length, is_odd) = measure(value)?;
        let target = match name.is_path && is_odd {
            true => Some(value.read()?),
            false => None,
        };
        if let Some(target) = &target {
            odd.strings.push((from..to, Rc::clone(target)));
            odd.target = Some(Rc::clone(target));
        }
        if is_indexed {
            self.insert(Entry {
                name,
                size: name.length + length + FIELD_BYTES,
                odd: target,
            });
        }
        Some(())
    }

    /// The field at `index` of both tables: none inside for one of the static ones.
    fn entry(&self, index: usize) -> Option<Option<&Entry>> {
        match index.checked_sub(STATIC.len() + 1) {
            Some(behind) => self.table.get(behind).map(Some),
            None => (index > 0).then_some(None),
        }
    }

    fn name(&self, index: usize) -> Option<Name> {
        if let Some(entry) = self.entry(index)? {
            return Some(entry.name);
        }
        let length = STATIC.get(index.checked_sub(1)?)?;
        Some(Name {
            length: usize::from(*length),
            is_path: STATIC_PATHS.contains(&index),
            is_pseudo: index <= STATIC_PSEUDO,
            is_whole: false,
        })
    }

    /// One that is larger than the table empties it (RFC 7541 §4.4).
    fn insert(&mut self, entry: Entry) {
        self.shrink(self.room.saturating_sub(entry.size));
        if entry.size <= self.room {
            self.size += entry.size;
            self.table.push_front(entry);
        }
    }

    fn shrink(&mut self, room: usize) {
        while self.size > room {
            let Some(oldest) = self.table.pop_back() else {
                return;
            };
            self.size -= oldest.size;
        }
    }
}

impl Odd {
    /// `block`, where it has this, with another target of the same length, which has no odd bytes: the
    /// codec's table stays the same as the client's.
    pub(super) fn veil(&self, block: &[u8]) -> Vec<u8> {
        let mut veiled = Vec::with_capacity(block.len() + 2 * self.strings.len());
        let mut copied = 0;
        for (place, text) in &self.strings {
            veiled.extend_from_slice(block.get(copied..place.start).unwrap_or_default());
            integer(text.len(), 7, &mut veiled);
            veiled.extend(
                text.iter()
                    .map(|byte| if is_odd(*byte) { b'_' } else { *byte }),
            );
            copied = place.end;
        }
        veiled.extend_from_slice(block.get(copied..).unwrap_or_default());
        veiled
    }
}

/// Its length, and whether there are odd bytes in it.
fn measure(text: Text<'_>) -> Option<(usize, bool)> {
    if !text.is_coded {
        let has_odd = text.bytes.iter().any(|byte| is_odd(*byte));
        return Some((text.bytes.len(), has_odd));
    }
    let (mut length, mut has_odd) = (0, false);
    text.each(|byte| {
        length += 1;
        has_odd |= is_odd(byte);
    })?;
    Some((length, has_odd))
}

fn as_name(text: Text<'_>) -> Option<Name> {
    if !text.is_coded {
        return Some(Name {
            length: text.bytes.len(),
            is_path: text.bytes == PATH,
            is_pseudo: text.bytes.starts_with(b":"),
            is_whole: text.bytes == WHOLE.as_bytes(),
        });
    }
    let (mut length, mut is_path, mut is_pseudo, mut is_whole) = (0, true, false, true);
    text.each(|byte| {
        is_path &= PATH.get(length) == Some(&byte);
        is_whole &= WHOLE.as_bytes().get(length) == Some(&byte);
        is_pseudo |= length == 0 && byte == b':';
        length += 1;
    })?;
    is_path &= length == PATH.len();
    is_whole &= length == WHOLE.len();
    Some(Name {
        length,
        is_path,
        is_pseudo,
        is_whole,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frames::hpack::encode;

    /// A field as a peer may write it.
    #[derive(Clone, Debug)]
    struct Field {
        name: &'static str,
        value: String,
        form: Form,
        /// Whether the name, where the tables have it, is an index.
        by_index: bool,
        coded: bool,
    }

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Form {
        Indexed,
        Plain,
        Never,
        /// The table changes its size in front of it.
        Resized(usize),
    }

    /// The writing side, with a table of whole fields.
    struct Writer {
        table: Vec<(&'static str, String)>,
        room: usize,
    }

    impl Writer {
        fn fit(&mut self) {
            let size = |table: &[(&str, String)]| -> usize {
                table.iter().map(|(n, v)| n.len() + v.len() + 32).sum()
            };
            while size(&self.table) > self.room {
                self.table.pop();
            }
        }

        fn write(&mut self, field: &Field, block: &mut Vec<u8>) {
            if let Form::Resized(room) = field.form {
                self.room = room;
                self.fit();
                number(room, 0x20, 5, block);
            }
            let same =
                |(name, value): &(&str, String)| *name == field.name && *value == field.value;
            if let (true, Some(at)) = (field.by_index, self.table.iter().position(same)) {
                return number(62 + at, 0x80, 7, block);
            }
            let named = self.table.iter().position(|(name, _)| *name == field.name);
            let fixed = [(":path", 5), ("x-a", 0), ("accept", 19)];
            let fixed = fixed
                .iter()
                .find(|(name, at)| *name == field.name && *at > 0);
            let index = match (field.by_index, named, fixed) {
                (true, Some(at), _) => 62 + at,
                (true, None, Some((_, at))) => *at,
                _ => 0,
            };
            match field.form {
                Form::Indexed | Form::Resized(_) => number(index, 0x40, 6, block),
                Form::Plain => number(index, 0, 4, block),
                Form::Never => number(index, 0x10, 4, block),
            }
            for text in (index == 0)
                .then_some(field.name)
                .into_iter()
                .chain([&*field.value])
            {
                if field.coded {
                    let code = encode(text.as_bytes());
                    number(code.len(), 0x80, 7, block);
                    block.extend(code);
                } else {
                    number(text.len(), 0, 7, block);
                    block.extend(text.as_bytes());
                }
            }
            if matches!(field.form, Form::Indexed | Form::Resized(_)) {
                self.table.insert(0, (field.name, field.value.clone()));
                self.fit();
            }
        }
    }

    /// An integer whose byte has `first` in front of the prefix.
    fn number(value: usize, first: u8, prefix: u32, block: &mut Vec<u8>) {
        let at = block.len();
        integer(value, prefix, block);
        block[at] |= first;
    }

    /// The target that is read of a block, and the block without odd bytes; none where it is none.
    fn read(targets: &mut Targets, block: &[u8]) -> Option<(Option<Vec<u8>>, Vec<u8>)> {
        let (mut rest, mut odd) = (block, Odd::default());
        targets.read(&mut rest, &mut odd);
        let target = odd.target.as_ref().map(|target| target.to_vec());
        rest.is_empty().then(|| (target, odd.veil(block)))
    }

    fn field() -> impl Strategy<Value = Field> {
        let name = prop::sample::select(vec![":path", "x-a", "accept", ":pathx", ":pat"]);
        let value = prop_oneof!["/[a-c]{0,2}[#<]?", "/[ -~]{0,40}", "[a-z`]{300,330}"];
        let form = prop_oneof![
            4 => Just(Form::Indexed),
            2 => Just(Form::Plain),
            1 => Just(Form::Never),
            1 => (0usize..600).prop_map(Form::Resized),
        ];
        (name, value, form, any::<bool>(), any::<bool>()).prop_map(
            |(name, value, form, by_index, coded)| Field {
                name,
                value,
                form,
                by_index,
                coded,
            },
        )
    }

    proptest! {
        #[test]
        fn targets_are_found_however_they_are_written(
            blocks in prop::collection::vec(prop::collection::vec(field(), 0..6), 1..30),
        ) {
            let mut writer = Writer { table: Vec::new(), room: TABLE_BYTES };
            let mut targets = Targets::new();
            let mut behind = Targets::new();
            for fields in blocks {
                let mut block = Vec::new();
                for field in &fields {
                    writer.write(field, &mut block);
                }
                let is_odd = |field: &&Field| field.name == ":path" && field.value.bytes().any(is_odd);
                let expected = fields.iter().rfind(is_odd).map(|field| field.value.as_bytes().to_vec());
                let (target, veiled) = read(&mut targets, &block).unwrap();
                prop_assert_eq!(target, expected, "{:?}", fields);
                let sizes = writer.table.iter().map(|(name, value)| name.len() + value.len() + 32);
                prop_assert_eq!(targets.size, sizes.sum::<usize>());
                // Who reads what is made of it sees no such target, and has the same table.
                prop_assert_eq!(read(&mut behind, &veiled), Some((None, veiled)));
                let sizes = |targets: &Targets| -> Vec<usize> {
                    targets.table.iter().map(|entry| entry.size).collect()
                };
                prop_assert_eq!(sizes(&targets), sizes(&behind));
            }
        }

        #[test]
        fn blocks_are_read_in_parts_too(
            fields in prop::collection::vec(field(), 0..9),
            part in 1usize..50,
        ) {
            let mut writer = Writer { table: Vec::new(), room: TABLE_BYTES };
            let mut block = Vec::new();
            for field in &fields {
                writer.write(field, &mut block);
            }
            let mut whole = Targets::new();
            let (target, _) = read(&mut whole, &block).unwrap();
            let (mut parts, mut left, mut odd) = (Targets::new(), Vec::new(), Odd::default());
            for part in block.chunks(part) {
                left.extend(part);
                let mut rest = &*left;
                parts.read(&mut rest, &mut odd);
                left = rest.to_vec();
            }
            prop_assert!(left.is_empty());
            prop_assert_eq!(odd.target.map(|target| target.to_vec()), target);
            prop_assert_eq!(parts.size, whole.size);
        }

        #[test]
        fn any_bytes_are_read_or_refused(blocks: Vec<Vec<u8>>) {
            let mut targets = Targets::new();
            for block in blocks {
                let _read = read(&mut targets, &block);
                prop_assert!(targets.size <= targets.room);
            }
        }
    }

    #[test]
    fn the_examples_of_the_standard_are_read() {
        // RFC 7541 C.4: three requests that share a table.
        let blocks: [&[u8]; 3] = [
            &[
                0x82, 0x86, 0x84, 0x41, 0x8c, 0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab,
                0x90, 0xf4, 0xff,
            ],
            &[
                0x82, 0x86, 0x84, 0xbe, 0x58, 0x86, 0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf,
            ],
            &[
                0x82, 0x87, 0x85, 0xbf, 0x40, 0x88, 0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xa9, 0x7d, 0x7f,
                0x89, 0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xb8, 0xe8, 0xb4, 0xbf,
            ],
        ];
        let mut targets = Targets::new();
        for (block, size) in blocks.into_iter().zip([57, 110, 164]) {
            assert_eq!(read(&mut targets, block), Some((None, block.to_vec())));
            assert_eq!(targets.size, size);
        }
    }

    #[test]
    fn what_is_no_block_is_refused() {
        for (what, block) in [
            ("the index 0", &[0x80][..]),
            ("an index that is not there", &[0xbe]),
            ("a name that is not there", &[0x7e, 0x00]),
            (
                "an integer that does not end",
                &[0xff, 0x80, 0x80, 0x80, 0x80, 0x01],
            ),
            ("an integer that is cut off", &[0xff]),
            ("a value that is cut off", &[0x44, 0x05, b'/']),
            ("a name that is missing", &[0x40]),
            ("a code that is none", &[0x44, 0x81, 0x00]),
        ] {
            assert_eq!(read(&mut Targets::new(), block), None, "{what}");
        }
    }
}
