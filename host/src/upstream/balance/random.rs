//! `RANDOM`: any, evenly.

use super::Random;

/// One of `len` candidates.
pub fn pick(len: usize, random: &mut Random) -> Option<usize> {
    (len > 0).then(|| random.index(len))
}
