//! `MAGLEV`: a table of a prime size in which each endpoint has its share of places.
//!
//! Owns Envoy's table, place by place, so that a fleet of both sends a request to the same endpoint
//! (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", section 3.4,
//! with weights). Called by `table`. Does not own: weights and keys of endpoints, or the hash of a
//! request.

use xxhash_rust::xxh64::xxh64;

/// `table_size` where the file has none.
pub const DEFAULT_SIZE: u64 = 65_537;

/// No endpoint is at that place yet.
const FREE: u32 = u32::MAX;

/// A table of places.
#[derive(Debug, Default)]
pub struct Maglev {
    places: Vec<u32>,
    /// Fewest and most places of an endpoint.
    range: (u64, u64),
}

/// An endpoint while the table is being filled.
struct Claimant {
    owner: u32,
    share: f64,
    /// It has a turn once its share, times the number of rounds, is as much.
    due: f64,
    next: u64,
    skip: u64,
    places: u64,
}

impl Maglev {
    /// Of endpoints with these keys and shares. `size` is prime, so that every endpoint's walk
    /// comes by all places.
    #[must_use]
    pub fn new(size: u64, members: &[(&str, f64)]) -> Self {
        let largest = members
            .iter()
            .fold(0.0_f64, |most, (_, share)| most.max(*share));
        if members.is_empty() || size < 2 || largest <= 0.0 {
            return Self::default();
        }
        if members.len() == 1 {
            // One place is as good as many.
            return Self {
                places: vec![0],
                range: (1, 1),
            };
        }
        // The order in which endpoints have their turns must not depend on that of the file.
        let mut sorted: Vec<(u32, &str, f64)> = (0..)
            .zip(members)
            .map(|(owner, (key, share))| (owner, *key, *share))
            .collect();
        sorted.sort_by_key(|(_, key, _)| *key);
        let mut claimants: Vec<Claimant> = sorted
            .into_iter()
            .map(|(owner, key, share)| Claimant {
                owner,
                share,
                due: 0.0,
                next: xxh64(key.as_bytes(), 0) % size,
                skip: xxh64(key.as_bytes(), 1) % (size - 1) + 1,
                places: 0,
            })
            .collect();
        let mut places = vec![FREE; usize::try_from(size).unwrap_or(0)];
        let mut left = places.len();
        let mut round = 0.0_f64;
        while left > 0 {
            round += 1.0;
            for claimant in &mut claimants {
                if left == 0 {
                    break;
                }
                if round * claimant.share < claimant.due {
                    continue;
                }
                claimant.due += largest;
                claimant.claim(&mut places);
                left -= 1;
            }
        }
        let counts = || claimants.iter().map(|claimant| claimant.places);
        Self {
            range: (counts().min().unwrap_or(0), counts().max().unwrap_or(0)),
            places,
        }
    }

    /// Who takes `hash`. The `attempt`-th retry takes that of a very different hash.
    #[must_use]
    pub fn lookup(&self, hash: u64, attempt: u32) -> Option<u32> {
        let hash = if attempt == 0 {
            hash
        } else {
            hash ^ u64::from(attempt).wrapping_neg()
        };
        let at = hash.checked_rem(self.places.len() as u64)?;
        self.places.get(usize::try_from(at).ok()?).copied()
    }

    /// The fewest and most places that one endpoint has.
    #[must_use]
    pub const fn sizes(&self) -> (u64, u64) {
        self.range
    }
}

impl Claimant {
    /// Takes the next free place of its walk. There is one.
    fn claim(&mut self, places: &mut [u32]) {
        let size = places.len() as u64;
        loop {
            let at = self.next;
            self.next = (at + self.skip) % size;
            let place = usize::try_from(at).ok().and_then(|at| places.get_mut(at));
            match place {
                Some(place) if *place == FREE => {
                    *place = self.owner;
                    self.places += 1;
                    return;
                }
                Some(_) => {}
                None => return,
            }
        }
    }
}

/// Whether `number` is prime, as a table's size has to be.
#[must_use]
pub fn is_prime(number: u64) -> bool {
    number >= 2
        && (2..)
            .take_while(|divisor| divisor * divisor <= number)
            .all(|divisor| !number.is_multiple_of(divisor))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table(size: u64, keys: &[&str], weights: &[u32]) -> Maglev {
        let sum: f64 = weights.iter().map(|w| f64::from(*w)).sum();
        let members: Vec<(&str, f64)> = keys
            .iter()
            .zip(weights)
            .map(|(key, weight)| (*key, f64::from(*weight) / sum))
            .collect();
        Maglev::new(size, &members)
    }

    #[test]
    fn primes_are_told() {
        let primes: Vec<u64> = (0..30).filter(|n| is_prime(*n)).collect();
        assert_eq!(primes, [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]);
        assert!(is_prime(DEFAULT_SIZE) && is_prime(5_000_011) && !is_prime(5_000_013));
    }

    #[test]
    fn shares_are_kept_to_a_place() {
        let maglev = table(DEFAULT_SIZE, &["a", "b", "c", "d"], &[1, 1, 1, 1]);
        assert_eq!(maglev.sizes(), (16_384, 16_385));
        let maglev = table(DEFAULT_SIZE, &["a", "b"], &[1, 3]);
        let (least, most) = maglev.sizes();
        assert_eq!(least + most, DEFAULT_SIZE);
        assert!(most.abs_diff(3 * least) <= 4, "{least} {most}");
    }

    #[test]
    fn retries_go_elsewhere_and_nobody_is_nowhere() {
        let maglev = table(97, &["a", "b", "c"], &[1, 1, 1]);
        // By Envoy's rule the first retry flips all bits.
        let flipped = usize::try_from(!5_u64 % 97).unwrap();
        assert_eq!(maglev.lookup(5, 1), Some(maglev.places[flipped]));
        assert_eq!(Maglev::new(97, &[]).lookup(5, 0), None);
    }

    proptest! {
        #[test]
        fn the_order_of_the_file_does_not_matter(
            n in 1_usize..12, rotation in 0_usize..12, hash in any::<u64>(),
        ) {
            let keys: Vec<String> = (0..n).map(|i| format!("10.0.0.{i}:80")).collect();
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            let mut rotated = keys.clone();
            rotated.rotate_left(rotation % n);
            let ones = vec![1; n];
            let (a, b) = (table(251, &keys, &ones), table(251, &rotated, &ones));
            prop_assert_eq!(
                keys[a.lookup(hash, 0).unwrap() as usize],
                rotated[b.lookup(hash, 0).unwrap() as usize]
            );
        }

        #[test]
        fn every_place_is_taken(weights in prop::collection::vec(1_u32..50, 1..10)) {
            let keys: Vec<String> = (0..weights.len()).map(|i| format!("h{i}")).collect();
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            let maglev = table(251, &keys, &weights);
            let is_owner = |owner: u32| (owner as usize) < weights.len();
            let is_taken = |hash| maglev.lookup(hash, 0).is_some_and(is_owner);
            prop_assert!((0..251).all(is_taken));
        }
    }
}
