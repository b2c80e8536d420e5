//! Which directions between a client and an upstream wait for their receiver, as statistics have it.
//!
//! Owns the counting alone: who reads no more while its receiver takes nothing says so here. Called by `http`
//! and `tcp`.

use super::stats::ClusterStats;
use crate::observe::stats::Counter;

/// See the module's page.
pub struct FlowControl<'a> {
    /// Of who accepted the client: that reading from it was paused, and resumed.
    client: (&'a Counter, &'a Counter),
    cluster: &'a ClusterStats,
    up: bool,
    down: bool,
}

impl<'a> FlowControl<'a> {
    /// That of a stream on which nothing waits. `client` counts that its side is paused, and resumed.
    #[must_use]
    pub const fn new(client: (&'a Counter, &'a Counter), cluster: &'a ClusterStats) -> Self {
        Self {
            client,
            cluster,
            up: false,
            down: false,
        }
    }

    /// Notes whether the client is not read from because the upstream takes nothing.
    #[inline]
    pub fn note_up(&mut self, waits: bool) {
        if waits == self.up {
            return;
        }
        self.up = waits;
        let (paused, resumed) = self.client;
        if waits {
            paused.inc();
            self.cluster.upstream_flow_control_backed_up_total.inc();
        } else {
            resumed.inc();
            self.cluster.upstream_flow_control_drained_total.inc();
        }
    }

    /// Notes whether the upstream is not read from because the client takes nothing.
    #[inline]
    pub fn note_down(&mut self, waits: bool) {
        if waits == self.down {
            return;
        }
        self.down = waits;
        if waits {
            self.cluster
                .upstream_flow_control_paused_reading_total
                .inc();
        } else {
            self.cluster
                .upstream_flow_control_resumed_reading_total
                .inc();
        }
    }
}

impl Drop for FlowControl<'_> {
    /// What is over waits for nothing.
    fn drop(&mut self) {
        self.note_up(false);
        self.note_down(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_direction_is_paused_and_resumed_in_turn() {
        let (paused, resumed, cluster) = (
            Counter::default(),
            Counter::default(),
            ClusterStats::default(),
        );
        let mut flow = FlowControl::new((&paused, &resumed), &cluster);
        for waits in [false, true, true, false, true] {
            flow.note_up(waits);
        }
        flow.note_down(true);
        let all = || {
            [
                &paused,
                &resumed,
                &cluster.upstream_flow_control_backed_up_total,
                &cluster.upstream_flow_control_drained_total,
                &cluster.upstream_flow_control_paused_reading_total,
                &cluster.upstream_flow_control_resumed_reading_total,
            ]
            .map(Counter::get)
        };
        assert_eq!(all(), [2, 1, 2, 1, 1, 0]);
        drop(flow);
        assert_eq!(all(), [2, 2, 2, 2, 1, 1]);
    }
}
