//! How busy a pool is, and whether it wants connections ahead of need.
//!
//! Owns the arithmetic of `preconnect_policy`, which is Envoy's. Pure.

/// How many connections one request may start ahead of need, as in Envoy.
pub(super) const PRECONNECTED_AT_ONCE: u32 = 3;

/// What a pool has and what it is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    /// Requests that wait.
    pub(super) pending: u64,
    /// Requests that have a connection.
    pub(super) active: u64,
    /// Requests that connections could take which are there.
    pub(super) free: u64,
    /// Requests that connections could take which are being opened.
    pub(super) coming: u64,
}

impl Load {
    /// Adds that of another pool.
    pub(super) const fn add(&mut self, other: &Self) {
        self.pending += other.pending;
        self.active += other.active;
        self.free += other.free;
        self.coming += other.coming;
    }

    /// Whether there should be more connections for `ratio` of them to each request, of which
    /// `anticipated` more are about to come.
    #[expect(clippy::cast_precision_loss, reason = "there are not 2^53 requests")]
    pub(super) fn wants_more(&self, ratio: f64, anticipated: u64) -> bool {
        let asked = self.pending + self.active + anticipated;
        let room = self.free + self.coming + self.active;
        asked as f64 * ratio > room as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_envoys() {
        for (pending, active, free, coming, ratio, anticipated, wanted) in [
            (0, 0, 0, 0, 1.0, 0, false),
            (1, 0, 0, 0, 1.0, 0, true),
            (1, 0, 0, 1, 1.0, 0, false),
            (1, 0, 0, 1, 1.5, 0, true),
            (1, 0, 0, 2, 1.5, 0, false),
            (0, 4, 1, 0, 1.5, 0, true),
            (0, 4, 2, 0, 1.5, 0, false),
            (0, 0, 1, 0, 2.0, 1, true),
            (0, 0, 2, 0, 2.0, 1, false),
        ] {
            let load = Load {
                pending,
                active,
                free,
                coming,
            };
            assert_eq!(
                load.wants_more(ratio, anticipated),
                wanted,
                "{load:?} {ratio}"
            );
        }
    }
}
