//! Which of many keys a text begins with.
//!
//! Owns a compressed trie over bytes, laid out flat: a lookup goes from node to node along the text,
//! however many keys there are, and allocates nothing. Called by `index` for paths and by `domains`
//! for host names, from the back for suffixes. Does not own what the keys stand for.

use std::collections::VecDeque;
use std::ops::Range;

/// A node that no key ends at.
const NONE: u32 = u32::MAX;
/// So many children are told apart within their parent.
const NEAR: usize = 16;

#[cfg(test)]
thread_local! {
    /// Nodes of tries and candidates of indices that lookups of this thread have looked at.
    pub(super) static LOOKED_AT: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// How much `look` looks at.
#[cfg(test)]
pub(super) fn looked_at(look: impl FnOnce()) -> usize {
    LOOKED_AT.set(0);
    look();
    LOOKED_AT.get()
}

/// Keys, each with a number.
#[derive(Debug, Default)]
pub(super) struct Trie {
    /// The root first; the children of a node lie side by side.
    nodes: Box<[Node]>,
    /// The byte that leads to each node.
    firsts: Box<[u8]>,
    labels: Box<[u8]>,
}

/// Half a cache line, which is most of what a step along a text touches.
#[derive(Clone, Copy, Debug)]
struct Node {
    /// Bytes that follow the one that led here, in `labels`.
    label: u32,
    label_length: u16,
    child_count: u16,
    children: u32,
    value: u32,
    /// The bytes that lead to the children, where there are no more than [`NEAR`]; the first again in
    /// the places that are left.
    near: [u8; NEAR],
}

impl Trie {
    /// A trie of `keys`, sorted and no two equal. A value is anything but `u32::MAX`.
    pub(super) fn new(keys: &[(Vec<u8>, u32)]) -> Self {
        if keys.is_empty() {
            return Self::default();
        }
        let mut nodes = vec![Node::EMPTY];
        let mut firsts = vec![0];
        let mut labels = Vec::new();
        // Nodes whose keys are known: the node, its keys, how many bytes lead to it.
        let mut open = VecDeque::from([(0, 0..keys.len(), 0)]);
        while let Some((index, range, depth)) = open.pop_front() {
            let mut range: Range<usize> = range;
            let group = keys.get(range.clone()).unwrap_or_default();
            let mut shared = shared(group, depth);
            // The rest of one that is longer is the label of an only child.
            shared = shared.get(..usize::from(u16::MAX)).unwrap_or(shared);
            let children = nodes.len();
            let mut node = Node {
                label: size(labels.len()),
                label_length: u16::try_from(shared.len()).unwrap_or(u16::MAX),
                children: size(children),
                ..Node::EMPTY
            };
            labels.extend_from_slice(shared);
            let depth = depth + shared.len();
            if let Some((key, value)) = group.first()
                && key.len() == depth
            {
                node.value = *value;
                range.start += 1;
            }
            while let Some((key, _)) = keys.get(range.clone()).and_then(<[_]>::first)
                && let Some(first) = key.get(depth)
            {
                let rest = keys.get(range.clone()).unwrap_or_default();
                let count = rest.partition_point(|(key, _)| key.get(depth) == Some(first));
                open.push_back((nodes.len(), range.start..range.start + count, depth + 1));
                nodes.push(Node::EMPTY);
                firsts.push(*first);
                node.child_count += 1;
                range.start += count;
            }
            let leading = firsts.get(children..).unwrap_or_default();
            node.near = [leading.first().copied().unwrap_or_default(); NEAR];
            for (near, first) in node.near.iter_mut().zip(leading) {
                *near = *first;
            }
            if let Some(slot) = nodes.get_mut(index) {
                *slot = node;
            }
        }
        Self {
            nodes: nodes.into(),
            firsts: firsts.into(),
            labels: labels.into(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Calls `found` with the length and the value of every key that `text` begins with, the
    /// shortest first.
    #[inline]
    pub(super) fn each(
        &self,
        mut text: impl Iterator<Item = u8>,
        mut found: impl FnMut(usize, u32),
    ) {
        let mut at = 0;
        let mut index = 0;
        while let Some(node) = self.nodes.get(index) {
            #[cfg(test)]
            LOOKED_AT.set(LOOKED_AT.get() + 1);
            let start = node.label as usize;
            let label = self
                .labels
                .get(start..start + usize::from(node.label_length));
            for byte in label.unwrap_or_default() {
                if text.next() != Some(*byte) {
                    return;
                }
            }
            at += usize::from(node.label_length);
            if node.value != NONE {
                found(at, node.value);
            }
            let Some(byte) = text.next() else {
                return;
            };
            let Some(child) = self.child(node, byte) else {
                return;
            };
            at += 1;
            index = child;
        }
    }
}

impl Trie {
    /// The child that `byte` leads to.
    #[inline]
    fn child(&self, node: &Node, byte: u8) -> Option<usize> {
        let start = node.children as usize;
        let count = usize::from(node.child_count);
        if count > NEAR {
            let firsts = self.firsts.get(start..start + count);
            return Some(start + memchr::memchr(byte, firsts.unwrap_or_default())?);
        }
        // The lowest byte that is `byte` becomes the lowest with its upper bit set, and all at once.
        const ONES: u128 = u128::from_le_bytes([1; NEAR]);
        let differs = u128::from_le_bytes(node.near) ^ (ONES * u128::from(byte));
        let equal = differs.wrapping_sub(ONES) & !differs & (ONES << 7);
        (equal != 0 && count > 0).then(|| start + (equal.trailing_zeros() / 8) as usize)
    }
}

impl Node {
    const EMPTY: Self = Self {
        label: 0,
        label_length: 0,
        child_count: 0,
        children: 0,
        value: NONE,
        near: [0; NEAR],
    };
}

/// What all keys of a sorted group have in common behind their first `depth` bytes.
fn shared(group: &[(Vec<u8>, u32)], depth: usize) -> &[u8] {
    let (Some((first, _)), Some((last, _))) = (group.first(), group.last()) else {
        return b"";
    };
    let pairs = first.iter().zip(last).skip(depth);
    let length = pairs.take_while(|(one, other)| one == other).count();
    first.get(depth..depth + length).unwrap_or_default()
}

/// Offsets are small: a configuration has a limit.
fn size(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(NONE)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn trie(keys: &BTreeMap<Vec<u8>, u32>) -> Trie {
        let keys: Vec<_> = keys
            .iter()
            .map(|(key, value)| (key.clone(), *value))
            .collect();
        Trie::new(&keys)
    }

    fn found(trie: &Trie, text: &[u8]) -> Vec<(usize, u32)> {
        let mut found = Vec::new();
        trie.each(text.iter().copied(), |length, value| {
            found.push((length, value))
        });
        found
    }

    #[test]
    fn every_key_that_leads_to_a_text_is_found() {
        let keys = ["", "/", "/api", "/api/v1", "/apple", "/b"];
        let keys = keys
            .iter()
            .zip(0..)
            .map(|(key, value)| (key.as_bytes().to_vec(), value));
        let trie = trie(&keys.collect());
        assert_eq!(found(&trie, b"/api/v1/x"), [(0, 0), (1, 1), (4, 2), (7, 3)]);
        assert_eq!(found(&trie, b"/apple"), [(0, 0), (1, 1), (6, 4)]);
        assert_eq!(found(&trie, b"/ap"), [(0, 0), (1, 1)]);
        assert_eq!(found(&trie, b"x"), [(0, 0)]);
        assert_eq!(found(&Trie::new(&[]), b"x"), []);
    }

    #[test]
    fn a_node_may_have_any_number_of_children_and_a_label_of_any_length() {
        for count in [1, NEAR, NEAR + 1, 256] {
            let keys: BTreeMap<_, _> = (0..count)
                .map(|n| (vec![b'/', n as u8], n as u32))
                .collect();
            let trie = trie(&keys);
            for n in 0..=255 {
                let expected: &[_] = if n < count { &[(2, n as u32)] } else { &[] };
                assert_eq!(found(&trie, &[b'/', n as u8]), expected, "{n} of {count}");
            }
        }
        let long = "x".repeat(usize::from(u16::MAX) * 2 + 5);
        let keys = [(long.clone().into_bytes(), 1), (b"xx".to_vec(), 0)];
        let trie = trie(&keys.into());
        let text = format!("{long}y");
        assert_eq!(found(&trie, text.as_bytes()), [(2, 0), (long.len(), 1)]);
        assert_eq!(found(&trie, &text.as_bytes()[1..]), [(2, 0)]);
    }

    proptest! {
        #[test]
        fn the_same_as_looking_at_every_key(
            keys in proptest::collection::btree_map("[ab/]{0,6}", 0_u32..1000, 0..24),
            text in "[ab/]{0,8}",
        ) {
            let keys: BTreeMap<Vec<u8>, u32> =
                keys.into_iter().map(|(key, value)| (key.into_bytes(), value)).collect();
            let expected: Vec<_> = keys
                .iter()
                .filter(|(key, _)| text.as_bytes().starts_with(key))
                .map(|(key, value)| (key.len(), *value))
                .collect();
            prop_assert_eq!(found(&trie(&keys), text.as_bytes()), expected);
        }
    }
}
