//! The Mersenne Twister MT19937 (Matsumoto and Nishimura 1998): the order in which Envoy looks for
//! another endpoint where one is too busy.
//!
//! Owns the generator as C++'s `std::mt19937` has it. Called by `table`; nothing else here is random
//! in this way, see [`super::Random`].

const LENGTH: usize = 624;
const MIDDLE: usize = 397;

/// A generator. It lives as long as one search.
pub(super) struct Twister {
    state: [u32; LENGTH],
    at: usize,
}

impl Twister {
    /// The sequence that follows from `seed`.
    #[must_use]
    pub(super) fn new(seed: u32) -> Self {
        let mut state = [0; LENGTH];
        let mut last = seed;
        for (i, word) in (0_u32..).zip(&mut state) {
            if i > 0 {
                last = (last ^ (last >> 30))
                    .wrapping_mul(1_812_433_253)
                    .wrapping_add(i);
            }
            *word = last;
        }
        Self { state, at: LENGTH }
    }

    fn word(&self, at: usize) -> u32 {
        self.state.get(at % LENGTH).copied().unwrap_or_default()
    }

    fn refill(&mut self) {
        for at in 0..LENGTH {
            let mixed = self.word(at) & 0x8000_0000 | self.word(at + 1) & 0x7fff_ffff;
            let odd = if mixed & 1 == 1 { 0x9908_b0df } else { 0 };
            let word = self.word(at + MIDDLE) ^ (mixed >> 1) ^ odd;
            if let Some(slot) = self.state.get_mut(at) {
                *slot = word;
            }
        }
        self.at = 0;
    }

    /// The next number, any of all.
    pub(super) fn next_u32(&mut self) -> u32 {
        if self.at >= LENGTH {
            self.refill();
        }
        let mut word = self.word(self.at);
        self.at += 1;
        word ^= word >> 11;
        word ^= word << 7 & 0x9d2c_5680;
        word ^= word << 15 & 0xefc6_0000;
        word ^ word >> 18
    }

    /// A number below `bound`, or 0 where that is 0, drawn as Envoy draws it.
    pub(super) fn below(&mut self, bound: u32) -> u32 {
        let Some(width) = (1_u64 << 32).checked_div(u64::from(bound)) else {
            return 0;
        };
        loop {
            let drawn = u64::from(self.next_u32()) / width;
            if drawn < u64::from(bound) {
                return u32::try_from(drawn).unwrap_or(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_that_of_the_c_plus_plus_library() {
        // The first three numbers and the thousand-and-first, of `std::mt19937`.
        for (seed, expected) in [
            (
                5489,
                [3_499_211_612, 581_869_302, 3_890_346_734, 2_500_741_117],
            ),
            (
                1,
                [1_791_095_845, 4_282_876_139, 3_093_770_124, 375_733_240],
            ),
            (
                0xcafe_f00d,
                [3_064_114_318, 4_128_846_693, 3_837_868_903, 2_221_797_511],
            ),
        ] {
            let mut twister = Twister::new(seed);
            let drawn: Vec<u32> = (0..=1000).map(|_| twister.next_u32()).collect();
            assert_eq!([drawn[0], drawn[1], drawn[2], drawn[1000]], expected);
        }
    }

    #[test]
    fn numbers_stay_below_their_bound() {
        let mut twister = Twister::new(3);
        assert_eq!(twister.below(0), 0);
        for bound in [1, 2, 3, 10, 0x8000_0001, u32::MAX] {
            assert!((0..100).all(|_| twister.below(bound) < bound));
        }
    }
}
