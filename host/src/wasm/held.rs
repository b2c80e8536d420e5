//! Gauges that streams hold up.
//!
//! Owns one such hold, which ends when it is dropped. It goes with the stream and not with the guest, so
//! that one that traps leaves nothing behind. Made by `host`, kept by `instances`.

use crate::observe::stats::SharedGauge;

/// A gauge that stands higher by one.
#[derive(Debug)]
pub(super) struct Held(SharedGauge);

impl Held {
    /// Raises it, where it stands below `limit`.
    pub(super) fn raise(gauge: &SharedGauge, limit: i64) -> Option<Self> {
        gauge.inc_below(limit).then(|| Self(gauge.clone()))
    }

    /// Whether it is that one.
    pub(super) fn is(&self, gauge: &SharedGauge) -> bool {
        self.0.is(gauge)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dec();
    }
}
