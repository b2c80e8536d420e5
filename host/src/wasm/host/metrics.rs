//! `metrics`: a filter's own counters in the proxy's statistics.

use super::super::bindings::metrics::Host;
use super::super::state::State;
use super::{check_text, intern, look_up};

impl Host for State {
    fn open_counter(&mut self, name: String) -> Result<u32, String> {
        check_text(self, &name)?;
        let valid = |byte: u8| byte.is_ascii_graphic();
        if name.is_empty() || !name.bytes().all(valid) {
            return Err(format!(
                "counter name \"{}\" has other than visible ASCII characters",
                name.escape_debug()
            ));
        }
        let counter = self.shared.counter(&name);
        // Two names are two counters, so there is nothing to compare: each call takes a place.
        intern(&mut self.opened.counters, counter, |_, _| false)
    }

    fn add(&mut self, to: u32, n: u64) {
        if let Some(counter) = look_up(&self.opened.counters, to) {
            counter.add(n);
        }
    }
}
