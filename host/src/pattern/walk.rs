//! The table that many expressions are matched with at once.
//!
//! Owns its form, which is made for texts that share long fixed parts, as paths do: where only one
//! text can go on, a walk compares it in one step instead of byte by byte, and what is left is small
//! enough to stay near the processor. Made once out of a complete automaton. Does not own what the
//! expressions are, nor how many share a table (`pattern`).

use std::collections::HashMap;
use std::ops::Range;

use regex_automata::dfa::{Automaton, dense};
use regex_automata::util::primitives::StateID;

/// The next state where nothing matches any more: it is no place of the table and no run.
const DEAD: u32 = u32::MAX;
/// A run is at least so long: a shorter one is quicker in the table.
const RUN: usize = 3;
/// And at most, which also ends a loop of states that nothing matches behind.
const LONGEST_RUN: usize = 256;

/// An automaton whose states are places in one table, or runs.
#[derive(Debug)]
pub(super) struct Walk {
    start: u32,
    /// The column of each byte.
    columns: [u8; 256],
    /// A row for each state: first which of `matches` it has, then the next state for each column. A
    /// number behind the table's end is a run's, or [`DEAD`].
    table: Box<[u32]>,
    runs: Box<[Run]>,
    texts: Box<[u8]>,
    /// Expressions that match where the text ends in a state, ascending. The first are none.
    matches: Box<[Box<[u32]>]>,
}

/// The only text that a state goes on with.
#[derive(Debug)]
struct Run {
    text: Range<u32>,
    next: u32,
}

impl Walk {
    /// What `automaton` does from `start` on. `None` where numbers do not suffice.
    pub(super) fn new(automaton: &dense::DFA<Vec<u32>>, start: StateID) -> Option<Self> {
        Builder::new(automaton)?.walk(start)
    }

    /// Calls `found` with the position of every expression that matches all of `text`.
    #[inline]
    pub(super) fn each_match(&self, text: &[u8], mut found: impl FnMut(usize)) {
        let mut state = self.start;
        let mut rest = text;
        loop {
            // A state of the table has a row, and a run has none.
            let Some(matches) = self.table.get(state as usize) else {
                let Some((next, behind)) = self.run(state, rest) else {
                    return;
                };
                (state, rest) = (next, behind);
                continue;
            };
            let Some((byte, behind)) = rest.split_first() else {
                let matches = self.matches.get(*matches as usize);
                for expression in matches.map_or(&[][..], |matches| matches) {
                    found(*expression as usize);
                }
                return;
            };
            let column = u32::from(self.columns.get(usize::from(*byte)).copied().unwrap_or(0));
            let next = self.table.get((state + column) as usize);
            (state, rest) = (next.copied().unwrap_or(DEAD), behind);
        }
    }

    /// The state behind a run and what of `text` it leaves, if `text` goes on with it.
    #[inline]
    fn run<'t>(&self, state: u32, text: &'t [u8]) -> Option<(u32, &'t [u8])> {
        let run = self.runs.get(state as usize - self.table.len())?;
        let wanted = self
            .texts
            .get(run.text.start as usize..run.text.end as usize)?;
        Some((run.next, text.strip_prefix(wanted)?))
    }
}

/// A table in the making.
struct Builder<'a> {
    automaton: &'a dense::DFA<Vec<u32>>,
    columns: [u8; 256],
    /// A byte of each column, and of how many bytes it is the column.
    bytes: Vec<(u8, usize)>,
    rows: States,
    runs: States,
    /// The text of each run and the state behind it.
    ways: Vec<(Range<u32>, StateID)>,
    texts: Vec<u8>,
}

/// States in the order in which they were met.
#[derive(Default)]
struct States {
    all: Vec<StateID>,
    numbers: HashMap<StateID, usize>,
}

impl<'a> Builder<'a> {
    /// `None` where more columns are needed than a byte can tell.
    fn new(automaton: &'a dense::DFA<Vec<u32>>) -> Option<Self> {
        let classes = automaton.byte_classes();
        let mut columns = [0; 256];
        let mut bytes: Vec<(u8, usize)> = Vec::new();
        for (byte, column) in (0..=u8::MAX).zip(&mut columns) {
            let same = |(known, _): &(u8, usize)| classes.get(*known) == classes.get(byte);
            let number = bytes.iter().position(same).unwrap_or(bytes.len());
            match bytes.get_mut(number) {
                Some((_, width)) => *width += 1,
                None => bytes.push((byte, 1)),
            }
            // The first column of a row is not a byte's.
            *column = u8::try_from(number + 1).ok()?;
        }
        Some(Self {
            automaton,
            columns,
            bytes,
            rows: States::default(),
            runs: States::default(),
            ways: Vec::new(),
            texts: Vec::new(),
        })
    }

    fn walk(mut self, start: StateID) -> Option<Walk> {
        self.meet(start)?;
        let mut looked_at = 0;
        while let Some(state) = self.rows.all.get(looked_at).copied() {
            looked_at += 1;
            for next in self.nexts(state) {
                self.meet(next)?;
            }
        }
        let width = self.bytes.len() + 1;
        let length = self.rows.all.len() * width;
        let place = |state: StateID| -> Option<u32> {
            if self.automaton.is_dead_state(state) {
                return Some(DEAD);
            }
            let row = self.rows.number(state).map(|row| row * width);
            let place = row.or_else(|| Some(length + self.runs.number(state)?))?;
            u32::try_from(place).ok()
        };
        let mut table = Vec::with_capacity(length);
        let mut matches = vec![Box::default()];
        for state in &self.rows.all {
            let here = self.matches(*state);
            if here.is_empty() {
                table.push(0);
            } else {
                table.push(u32::try_from(matches.len()).ok()?);
                matches.push(here);
            }
            for next in self.nexts(*state) {
                table.push(place(next)?);
            }
        }
        let ways = self.ways.iter();
        let runs = ways.map(|(text, next)| {
            Some(Run {
                text: text.clone(),
                next: place(*next)?,
            })
        });
        Some(Walk {
            start: place(start)?,
            columns: self.columns,
            runs: runs.collect::<Option<_>>()?,
            table: table.into(),
            texts: self.texts.into(),
            matches: matches.into(),
        })
    }

    /// Gives a state its place, and the one behind it where it is a run.
    fn meet(&mut self, mut state: StateID) -> Option<()> {
        while !self.automaton.is_dead_state(state)
            && self.rows.number(state).is_none()
            && self.runs.number(state).is_none()
        {
            let start = self.texts.len();
            let behind = self.follow(state);
            if self.texts.len() < start + RUN {
                self.texts.truncate(start);
                self.rows.add(state);
                return Some(());
            }
            let text = u32::try_from(start).ok()?..u32::try_from(self.texts.len()).ok()?;
            self.runs.add(state);
            self.ways.push((text, behind));
            state = behind;
        }
        Some(())
    }

    /// Adds to `texts` all that can follow, as long as that is one byte, and says which state is
    /// behind it.
    fn follow(&mut self, mut state: StateID) -> StateID {
        for _ in 0..LONGEST_RUN {
            let Some((byte, next)) = self.only(state) else {
                break;
            };
            self.texts.push(byte);
            state = next;
        }
        state
    }

    /// The only byte that a state goes on with, and must.
    fn only(&self, state: StateID) -> Option<(u8, StateID)> {
        let nexts = self.bytes.iter().zip(self.nexts(state));
        let mut live = nexts.filter(|(_, next)| !self.automaton.is_dead_state(*next));
        match (live.next(), live.next()) {
            (Some(((byte, 1), next)), None) if self.matches(state).is_empty() => {
                Some((*byte, next))
            }
            _ => None,
        }
    }

    fn nexts(&self, state: StateID) -> Vec<StateID> {
        let bytes = self.bytes.iter();
        bytes
            .map(|(byte, _)| self.automaton.next_state(state, *byte))
            .collect()
    }

    /// The expressions that match where the text ends.
    fn matches(&self, state: StateID) -> Box<[u32]> {
        let end = self.automaton.next_eoi_state(state);
        if !self.automaton.is_match_state(end) {
            return Box::default();
        }
        (0..self.automaton.match_len(end))
            .map(|index| self.automaton.match_pattern(end, index).as_u32())
            .collect()
    }
}

impl States {
    fn add(&mut self, state: StateID) {
        self.numbers.insert(state, self.all.len());
        self.all.push(state);
    }

    fn number(&self, state: StateID) -> Option<usize> {
        self.numbers.get(&state).copied()
    }
}
