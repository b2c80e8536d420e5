//! Picks a fraction of requests at random.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

use nuncio_sdk::runtime;

use crate::scalar::{Fraction, RuntimeFraction};

/// So many of so many, picked at random.
#[derive(Debug)]
pub struct Sampler {
    fraction: Fraction,
    /// The runtime value that counts in its place; none where there cannot be one.
    key: Option<String>,
    /// State of a SplitMix64 generator: what is picked need not be secret, only spread.
    random: Cell<u64>,
}

impl Sampler {
    /// With a seed of its own.
    #[must_use]
    pub fn new(fraction: Fraction) -> Self {
        Self::seeded(fraction, RandomState::new().hash_one(0))
    }

    /// With the fraction that a runtime value may change; `otherwise` where nothing is written.
    #[must_use]
    pub fn of(written: Option<&RuntimeFraction>, otherwise: Fraction) -> Self {
        let fraction = written.map_or(otherwise, |written| written.default_value);
        let key = written.map_or("", |written| written.runtime_key.as_str());
        Self::new(fraction).keyed(key)
    }

    /// The same where the runtime value `key` counts, if there is one.
    #[must_use]
    pub fn keyed(mut self, key: &str) -> Self {
        self.key = (!key.is_empty() && runtime::has_layers()).then(|| key.to_owned());
        self
    }

    fn seeded(fraction: Fraction, seed: u64) -> Self {
        Self {
            fraction,
            key: None,
            random: Cell::new(seed),
        }
    }

    /// Whether nothing is ever picked.
    #[must_use]
    pub const fn never(&self) -> bool {
        self.fraction.numerator() == 0 && self.key.is_none()
    }

    /// Whether this one is picked.
    #[must_use]
    pub fn sample(&self) -> bool {
        self.sample_keyed(self.fraction, self.key.as_deref())
    }

    /// Whether this one is picked, where it is another fraction for once, in whose place the runtime value
    /// `key` counts.
    #[must_use]
    pub fn sample_keyed(&self, fraction: Fraction, key: Option<&str>) -> bool {
        let share = key.and_then(runtime::share);
        let (numerator, denominator) = match share {
            Some(share) => (share.numerator, share.denominator),
            None => (fraction.numerator(), fraction.denominator()),
        };
        if numerator >= denominator {
            return true;
        }
        if numerator == 0 {
            return false;
        }
        self.next() % u64::from(denominator) < u64::from(numerator)
    }

    fn next(&self) -> u64 {
        let state = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picked(json: &str, of: usize) -> usize {
        let fraction = serde_json::from_str(json).unwrap();
        let sampler = Sampler::seeded(fraction, 42);
        (0..of).filter(|_| sampler.sample()).count()
    }

    #[test]
    fn all_and_none_are_exact() {
        assert_eq!(picked(r#"{"numerator": 100}"#, 1000), 1000);
        assert_eq!(picked(r#"{"numerator": 150}"#, 1000), 1000);
        assert_eq!(
            picked(r#"{"numerator": 1000000, "denominator": "MILLION"}"#, 1000),
            1000
        );
        assert_eq!(picked("{}", 1000), 0);
    }

    #[test]
    fn without_layers_a_key_changes_nothing() {
        let sampler = Sampler::new(Fraction::NONE).keyed("key");
        assert!(sampler.never() && !sampler.sample());
    }

    #[test]
    fn a_fraction_comes_near() {
        for (json, expected) in [
            (r#"{"numerator": 50}"#, 50_000),
            (r#"{"numerator": 1}"#, 1000),
            (
                r#"{"numerator": 2500, "denominator": "TEN_THOUSAND"}"#,
                25_000,
            ),
        ] {
            let picked = picked(json, 100_000);
            assert!(picked.abs_diff(expected) < 400, "{json}: {picked}");
        }
    }
}
