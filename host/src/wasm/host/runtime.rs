//! `runtime`: numbers that an operator changes while the proxy runs.

use super::super::bindings::runtime::{Fraction, Host};
use super::super::state::State;
use crate::values::Entry;

impl Host for State {
    fn has_layers(&mut self) -> bool {
        self.shared.values().has_layers()
    }

    fn integer(&mut self, key: String) -> Option<u64> {
        self.shared.values().named(&key).and_then(Entry::integer)
    }

    fn share(&mut self, key: String) -> Option<Fraction> {
        let share = self.shared.values().named(&key).and_then(Entry::share)?;
        Some(Fraction {
            numerator: share.numerator(),
            denominator: share.denominator(),
        })
    }
}
