//! `RING_HASH`: endpoints at many points of a ring, each taking the stretch before its points.
//!
//! Owns Envoy's ring, point by point, so that a fleet of both sends a request to the same place.
//! Called by `table`. Does not own: weights and keys of endpoints, or the hash of a request.

use xxhash_rust::xxh64::xxh64;

use super::murmur;

/// How a ring is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingSpec {
    /// `minimum_ring_size`: 1024 points.
    pub minimum: u64,
    /// `maximum_ring_size`: 8 Mi points.
    pub maximum: u64,
    /// `hash_function: MURMUR_HASH_2`, instead of xxHash64.
    pub murmur: bool,
}

impl Default for RingSpec {
    fn default() -> Self {
        Self {
            minimum: 1024,
            maximum: 8 * 1024 * 1024,
            murmur: false,
        }
    }
}

/// A ring. Points and their owners lie apart: the search reads only the former.
#[derive(Debug, Default)]
pub struct Ring {
    points: Vec<u64>,
    owners: Vec<u32>,
    /// Fewest and most points of an endpoint.
    range: (u64, u64),
}

impl Ring {
    /// Of endpoints with these keys and shares, which add up to 1.
    #[must_use]
    pub fn new(spec: RingSpec, members: &[(&str, f64)]) -> Self {
        let least = members
            .iter()
            .fold(1.0_f64, |least, (_, share)| least.min(*share));
        if members.is_empty() {
            return Self::default();
        }
        // The lightest endpoint has a whole number of points, unless that would be too many.
        #[expect(clippy::cast_precision_loss, reason = "sizes are below 2^24")]
        let (minimum, maximum) = (spec.minimum as f64, spec.maximum as f64);
        let scale = ((least * minimum).ceil() / least).min(maximum);
        let mut entries = Vec::new();
        let mut range = (u64::MAX, 0);
        let mut key = String::new();
        // Running sums, in floating point as Envoy has them: fractions carry over to the next.
        let (mut made, mut due) = (0.0_f64, 0.0_f64);
        for (owner, (name, share)) in (0_u32..).zip(members) {
            due += scale * share;
            let mut own = 0_u64;
            while made < due {
                key.clear();
                key.push_str(name);
                key.push('_');
                key.push_str(&own.to_string());
                let point = if spec.murmur {
                    murmur::hash(key.as_bytes(), murmur::STD_SEED)
                } else {
                    xxh64(key.as_bytes(), 0)
                };
                entries.push((point, owner));
                own += 1;
                made += 1.0;
            }
            range = (range.0.min(own), range.1.max(own));
        }
        entries.sort_unstable_by_key(|(point, _)| *point);
        let (points, owners) = entries.into_iter().unzip();
        Self {
            points,
            owners,
            range,
        }
    }

    /// Who takes `hash`: the owner of the first point that is not before it. The `attempt`-th
    /// retry takes the point that lies as many further on.
    #[must_use]
    pub fn lookup(&self, hash: u64, attempt: u32) -> Option<u32> {
        let at = self.points.partition_point(|point| *point < hash);
        // Behind the last point the ring begins anew.
        let at = if at == self.points.len() { 0 } else { at };
        let at = (at + attempt as usize).checked_rem(self.owners.len())?;
        self.owners.get(at).copied()
    }

    /// How many points there are, and the fewest and most that one endpoint has.
    #[must_use]
    pub const fn sizes(&self) -> (usize, u64, u64) {
        (self.points.len(), self.range.0, self.range.1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spec(minimum: u64, maximum: u64) -> RingSpec {
        RingSpec {
            minimum,
            maximum,
            murmur: false,
        }
    }

    #[test]
    fn a_small_ring_is_envoys() {
        // Worked through by hand: xxHash64 of "10.0.0.1:1_0" and so on, in order.
        let members = [("10.0.0.1:1", 0.5), ("10.0.0.2:1", 0.5)];
        let ring = Ring::new(spec(4, 4), &members);
        let mut expected: Vec<(u64, u32)> = [
            ("10.0.0.1:1_0", 0),
            ("10.0.0.1:1_1", 0),
            ("10.0.0.2:1_0", 1),
            ("10.0.0.2:1_1", 1),
        ]
        .map(|(key, owner)| (xxh64(key.as_bytes(), 0), owner))
        .into();
        expected.sort_unstable();
        for (i, (point, owner)) in expected.iter().enumerate() {
            assert_eq!(ring.lookup(*point, 0), Some(*owner));
            let next = expected[(i + 1) % 4].1;
            assert_eq!(ring.lookup(point.wrapping_add(1), 0), Some(next));
            assert_eq!(ring.lookup(*point, 1), Some(next));
            assert_eq!(ring.lookup(*point, 4), Some(*owner));
        }
        assert_eq!(ring.lookup(0, 0), Some(expected[0].1));
        assert_eq!(ring.lookup(u64::MAX, 0), Some(expected[0].1));
    }

    #[test]
    fn fractions_of_points_carry_over() {
        let members: Vec<(String, f64)> = (0..4).map(|i| (format!("h{i}"), 0.25)).collect();
        let members: Vec<(&str, f64)> = members.iter().map(|(k, w)| (&**k, *w)).collect();
        let ring = Ring::new(spec(1, 6), &members);
        assert_eq!(ring.sizes(), (4, 1, 1), "one each is enough");
        let ring = Ring::new(spec(6, 6), &members);
        // 1.5 each: 2, 1, 2, 1.
        assert_eq!(ring.sizes(), (6, 1, 2));
        assert_eq!(Ring::new(spec(1024, 2048), &[]).lookup(1, 0), None);
    }

    #[test]
    fn murmur_gives_another_ring() {
        let members = [("a", 0.5), ("b", 0.5)];
        let murmur = Ring::new(
            RingSpec {
                murmur: true,
                ..RingSpec::default()
            },
            &members,
        );
        let plain = Ring::new(RingSpec::default(), &members);
        assert_eq!(murmur.sizes(), plain.sizes());
        assert_ne!(murmur.points, plain.points);
        assert!(
            murmur
                .points
                .contains(&murmur::hash(b"a_0", murmur::STD_SEED))
        );
    }

    proptest! {
        #[test]
        fn a_lookup_is_the_walk_around_the_ring(
            weights in prop::collection::vec(1_u32..20, 1..8),
            hashes in prop::collection::vec(any::<u64>(), 1..50),
        ) {
            let sum: f64 = weights.iter().map(|w| f64::from(*w)).sum();
            let keys: Vec<String> = (0..weights.len()).map(|i| format!("host-{i}")).collect();
            let members: Vec<(&str, f64)> = keys
                .iter()
                .zip(&weights)
                .map(|(key, weight)| (&**key, f64::from(*weight) / sum))
                .collect();
            let ring = Ring::new(spec(64, 4096), &members);
            let mut points: Vec<(u64, u32)> =
                ring.points.iter().copied().zip(ring.owners.iter().copied()).collect();
            points.sort_unstable();
            for hash in hashes {
                let walked = points.iter().find(|(point, _)| *point >= hash).unwrap_or(&points[0]);
                prop_assert_eq!(ring.lookup(hash, 0), Some(walked.1));
            }
        }

        #[test]
        fn who_leaves_takes_only_its_own_stretches(
            n in 2_usize..8,
            gone in 0_usize..8,
            hashes in prop::collection::vec(any::<u64>(), 1..200),
        ) {
            let keys: Vec<String> = (0..n).map(|i| format!("10.0.0.{i}:80")).collect();
            // The sizes are chosen so that each has 100 points before and after.
            let of = |keys: &[&String]| {
                let share = 1.0 / keys.len() as f64;
                let members: Vec<(&str, f64)> = keys.iter().map(|key| (key.as_str(), share)).collect();
                let size = 100 * keys.len() as u64;
                Ring::new(spec(size, size), &members)
            };
            let gone = gone % n;
            let all: Vec<&String> = keys.iter().collect();
            let rest: Vec<&String> = (0..n).filter(|i| *i != gone).map(|i| &keys[i]).collect();
            let (before, after) = (of(&all), of(&rest));
            prop_assume!(before.sizes().1 == before.sizes().2 && after.sizes().1 == after.sizes().2);
            for hash in hashes {
                let was = all[before.lookup(hash, 0).unwrap() as usize];
                let is = rest[after.lookup(hash, 0).unwrap() as usize];
                prop_assert!(was == is || *was == keys[gone]);
            }
        }
    }
}
