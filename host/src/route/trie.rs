//! Which of many keys a text begins with.
//!
//! Owns a compressed trie over bytes, laid out flat: a lookup goes from node to node along the text,
//! however many keys there are, and allocates nothing. Called by `index` for paths and by `domains`
//! for host names, from the back for suffixes. Does not own what the keys stand for.

use std::collections::VecDeque;
use std::ops::Range;

/// A node that no key ends at.
const NONE: u32 = u32::MAX;

/// Keys, each with a number.
#[derive(Debug, Default)]
pub(super) struct Trie {
    /// The root first; the children of a node lie side by side.
    nodes: Box<[Node]>,
    /// The byte that leads to each node.
    firsts: Box<[u8]>,
    labels: Box<[u8]>,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    /// Bytes that follow the one that led here, in `labels`.
    label: u32,
    label_length: u32,
    children: u32,
    child_count: u32,
    value: u32,
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
            let shared = shared(group, depth);
            let mut node = Node {
                label: size(labels.len()),
                label_length: size(shared.len()),
                children: size(nodes.len()),
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
            let start = node.label as usize;
            let label = self.labels.get(start..start + node.label_length as usize);
            for byte in label.unwrap_or_default() {
                if text.next() != Some(*byte) {
                    return;
                }
            }
            at += node.label_length as usize;
            if node.value != NONE {
                found(at, node.value);
            }
            let Some(byte) = text.next() else {
                return;
            };
            let start = node.children as usize;
            let firsts = self.firsts.get(start..start + node.child_count as usize);
            let Some(child) = memchr::memchr(byte, firsts.unwrap_or_default()) else {
                return;
            };
            at += 1;
            index = start + child;
        }
    }
}

impl Node {
    const EMPTY: Self = Self {
        label: 0,
        label_length: 0,
        children: 0,
        child_count: 0,
        value: NONE,
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
