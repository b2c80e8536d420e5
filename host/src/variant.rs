//! Which configuration of each filter of a chain a route has.
//!
//! Owns the numbers that stand for it, so that a route need not know what a filter is and the chain
//! not what a route is: `build` makes them, a route carries them, `http::phases` and `wasm` look a
//! filter's configuration up by them.

use std::sync::Arc;

/// Which of a filter's configurations counts, and whether the filter is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Variant(u32);

/// One for each filter of a chain, in its order; none where every filter is as the chain has it.
pub type Variants = Option<Arc<[Variant]>>;

/// The bit that says that the filter is left out. With it an index is beyond every list.
const OFF: u32 = 1 << 31;

impl Variant {
    /// The filter as its chain configures it.
    pub const BASE: Self = Self(0);

    /// The configuration with that number, of which there are fewer than two thousand millions.
    #[must_use]
    pub const fn new(index: u32) -> Self {
        Self(index & !OFF)
    }

    /// The same, left out.
    #[must_use]
    pub const fn off(self) -> Self {
        Self(self.0 | OFF)
    }

    /// Whether the filter is left out.
    #[must_use]
    pub const fn is_off(self) -> bool {
        self.0 & OFF != 0
    }

    /// Index into the filter's configurations; beyond them where it is left out.
    #[must_use]
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// What counts for a stream that had this one, once its route has `next`: the new configuration.
    /// Whether the filter is left out was decided when the stream began, as in Envoy.
    #[must_use]
    pub const fn followed_by(self, next: Self) -> Self {
        Self((next.0 & !OFF) | (self.0 & OFF))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_is_left_out_has_no_configuration() {
        let variant = Variant::new(3);
        assert_eq!((variant.index(), variant.is_off()), (3, false));
        assert!(variant.off().is_off());
        assert!(variant.off().index() > u32::MAX as usize / 2);
        assert_eq!(Variant::default(), Variant::BASE);
    }

    #[test]
    fn a_stream_keeps_its_filters_and_changes_their_configuration() {
        let (one, two) = (Variant::new(1), Variant::new(2));
        assert_eq!(one.followed_by(two), two);
        assert_eq!(one.followed_by(two.off()), two);
        assert_eq!(one.off().followed_by(two), two.off());
        assert_eq!(one.off().followed_by(Variant::BASE), Variant::BASE.off());
    }
}
