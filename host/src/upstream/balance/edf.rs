//! Earliest-deadline-first scheduling: choices in proportion to weights, evenly spread.
//!
//! Owns the queue of deadlines. An item of weight `w` comes up every `1/w` units of time; of items
//! that are due together the one that was chosen longest ago comes first. Called by the weighted
//! forms of round robin and least request.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// Beyond this the clock is set back, so that steps of small size are not lost in rounding.
const REBASE: f64 = 1e6;

/// Which of several weighted items is next. Items are known by their index.
#[derive(Debug)]
pub struct Edf {
    queue: BinaryHeap<Reverse<Entry>>,
    now: f64,
    order: u64,
}

#[derive(Debug)]
struct Entry {
    deadline: f64,
    order: u64,
    item: usize,
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        self.deadline
            .total_cmp(&other.deadline)
            .then(self.order.cmp(&other.order))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

impl Edf {
    /// Items of these weights, each above 0, of which none was chosen yet.
    #[must_use]
    pub fn new(weights: impl IntoIterator<Item = f64>) -> Self {
        let entry = |(item, weight): (usize, f64)| {
            Reverse(Entry {
                deadline: 1.0 / weight,
                order: item as u64,
                item,
            })
        };
        let queue: BinaryHeap<_> = weights.into_iter().enumerate().map(entry).collect();
        Self {
            order: queue.len() as u64,
            queue,
            now: 0.0,
        }
    }

    /// The item that is due. Its next turn comes by the weight that it has now.
    pub fn pick(&mut self, weight: impl FnOnce(usize) -> f64) -> Option<usize> {
        let mut top = self.queue.peek_mut()?;
        let Reverse(entry) = &mut *top;
        let item = entry.item;
        self.now = entry.deadline;
        entry.deadline = self.now + 1.0 / weight(item);
        entry.order = self.order;
        self.order += 1;
        drop(top);
        if self.now > REBASE {
            self.rebase();
        }
        Some(item)
    }

    #[cold]
    fn rebase(&mut self) {
        let mut entries = std::mem::take(&mut self.queue).into_vec();
        for Reverse(entry) in &mut entries {
            entry.deadline -= self.now;
        }
        self.now = 0.0;
        self.queue = entries.into();
    }
}
