//! Numbers that look random, the same ones for a seed.
//!
//! Owns what the suites make things up from, and how many of them are asked for. Called by
//! [`crate::differential`] and by the HTTP/2 groups of the comparison.

use std::env;

/// The variable that asks for another seed and another count.
const WANTED: &str = "NUNCIO_DIFFERENTIAL";

/// Numbers that look random (splitmix64).
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// The numbers of a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.number() % limit as u64) as usize
    }

    /// Whether something happens that does so once in `many` times.
    pub fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    /// Whether something happens that does so in so many of 10 000 cases.
    pub fn of_myriad(&mut self, cases: usize) -> bool {
        self.below(10_000) < cases
    }

    /// One of several.
    pub fn of<T: Copy>(&mut self, several: &[T]) -> T {
        several[self.below(several.len())]
    }

    /// Any byte.
    pub fn byte(&mut self) -> u8 {
        self.below(256) as u8
    }

    /// Puts a byte somewhere into a text.
    pub fn spoil(&mut self, text: &mut Vec<u8>, byte: u8) {
        let at = self.below(text.len() + 1);
        text.insert(at, byte);
    }
}

/// Seed and count that `NUNCIO_DIFFERENTIAL="SEED COUNT"` asks for, or the usual ones.
#[must_use]
pub fn wanted(usual: (u64, usize)) -> (u64, usize) {
    let Ok(text) = env::var(WANTED) else {
        return usual;
    };
    let numbers = text.split_once(' ');
    let numbers = numbers.and_then(|(seed, count)| Some((seed.parse().ok()?, count.parse().ok()?)));
    numbers.unwrap_or_else(|| panic!("{WANTED} is no seed and count: {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::Chance;

    #[test]
    fn a_seed_has_the_same_numbers_each_time() {
        let numbers = |seed| {
            let mut chance = Chance::new(seed);
            [(); 4].map(|()| chance.number())
        };
        assert_eq!(numbers(7), numbers(7));
        assert_ne!(numbers(7), numbers(8));
    }
}
