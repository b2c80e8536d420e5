//! A share of all requests (`RuntimeFractionalPercent`).
//!
//! Owns the draw: the stream's number decides, so that a request gets the same answer each time.

use super::super::error::{Problem, Report};
use super::super::spec::FractionSpec;

/// How many of `denominator` requests are taken; the denominator is not zero.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    numerator: u64,
    denominator: u64,
}

impl Share {
    pub(super) fn build(spec: &FractionSpec, report: &mut Report) -> Option<Self> {
        if spec.denominator == 0 {
            return report.error(Problem::Denominator);
        }
        Some(Self {
            numerator: spec.numerator.into(),
            denominator: spec.denominator.into(),
        })
    }

    /// What counts now.
    const fn current(&self) -> Self {
        *self
    }

    /// Whether the request of the stream with that number is taken.
    pub(super) fn takes(&self, random: u64) -> bool {
        let now = self.current();
        random
            .checked_rem(now.denominator)
            .is_some_and(|drawn| drawn < now.numerator)
    }
}
