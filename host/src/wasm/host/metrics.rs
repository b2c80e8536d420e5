//! `metrics`: a filter's own counters in the proxy's statistics.

use super::super::bindings::metrics::Host;
use super::super::held::Held;
use super::super::state::State;
use super::{check_text, intern, look_up};
use crate::limits;
use crate::observe::stats::{SharedCounter, SharedGauge};

impl Host for State {
    fn open_counter(&mut self, name: String) -> Result<u32, String> {
        check_name(self, "counter", &name)?;
        if self.opened.counters.len() >= limits::WASM_INTERNED {
            return Err(format!("more than {} counters", limits::WASM_INTERNED));
        }
        let counter = self.shared.counter(&name)?;
        intern(&mut self.opened.counters, counter, SharedCounter::is)
    }

    fn count(&mut self, name: String, n: u64) {
        let counter = match self.opened.counted.get(&name) {
            Some(counter) => counter,
            // Who calls chooses such names, as by the path of a gRPC call.
            None if name.len() > limits::WASM_COUNTED_NAME_BYTES || !is_name(&name) => return,
            None if self.opened.counted_all => return,
            None => match self.shared.counted(&name) {
                Ok(counter) => self.opened.counted.entry(name).or_insert(counter),
                Err(all) => {
                    self.opened.counted = all;
                    self.opened.counted_all = true;
                    return;
                }
            },
        };
        counter.add(n);
    }

    fn prefix(&mut self) -> String {
        self.shared.stat_prefix.clone()
    }

    fn open_gauge(&mut self, name: String) -> Result<u32, String> {
        check_name(self, "gauge", &name)?;
        let gauge = self.shared.gauge(&name)?;
        intern(&mut self.opened.gauges, gauge, SharedGauge::is)
    }

    fn hold(&mut self, of: u32, limit: u64) -> bool {
        let Some(gauge) = look_up(&self.opened.gauges, of) else {
            return false;
        };
        if self.exchange.is_none() {
            return false;
        }
        if self.held.iter().any(|held| held.is(gauge)) {
            return true;
        }
        let held = Held::raise(gauge, i64::try_from(limit).unwrap_or(i64::MAX));
        let is_held = held.is_some();
        self.held.extend(held);
        is_held
    }

    fn add(&mut self, to: u32, n: u64) {
        if let Some(counter) = look_up(&self.opened.counters, to) {
            counter.add(n);
        }
    }
}

fn check_name(state: &State, what: &str, name: &str) -> Result<(), String> {
    check_text(state, name)?;
    if is_name(name) {
        return Ok(());
    }
    Err(format!(
        "{what} name \"{}\" has other than visible ASCII characters",
        name.escape_debug()
    ))
}

fn is_name(name: &str) -> bool {
    let visible = |byte: u8| byte.is_ascii_graphic();
    !name.is_empty() && name.len() <= limits::WASM_TEXT_BYTES && name.bytes().all(visible)
}
