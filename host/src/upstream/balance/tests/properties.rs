//! What holds for all endpoints and policies.

use proptest::prelude::*;

use super::*;

fn policies() -> impl Strategy<Value = Policy> {
    prop_oneof![
        Just(ROUND_ROBIN),
        Just(Policy::LEAST_REQUEST),
        Just(Policy::Random),
        Just(Policy::Maglev {
            size: 251,
            hashing: Hashing::DEFAULT
        }),
    ]
}

proptest! {
    #[test]
    fn weights_are_kept_exactly_over_whole_rounds(
        weights in prop::collection::vec(1_u32..40, 1..12),
        rounds in 1_usize..6,
    ) {
        let total: usize = weights.iter().map(|w| *w as usize).sum();
        let counts = Trial::policy(ROUND_ROBIN, &weighted(&weights)).counts(total * rounds);
        let expected: Vec<_> = weights.iter().map(|w| *w as usize * rounds).collect();
        prop_assert_eq!(counts, expected);
    }

    #[test]
    fn at_every_moment_each_is_near_its_share(
        weights in prop::collection::vec(1_u32..1000, 2..10),
        n in 1_usize..3000,
    ) {
        let counts = Trial::policy(ROUND_ROBIN, &weighted(&weights)).counts(n);
        let total: f64 = weights.iter().map(|w| f64::from(*w)).sum();
        for (i, count) in counts.into_iter().enumerate() {
            let share = n as f64 * f64::from(weights[i]) / total;
            prop_assert!((count as f64 - share).abs() <= weights.len() as f64, "{i}: {count} of {share}");
        }
    }

    #[test]
    fn the_unhealthy_are_chosen_in_panic_alone(
        given in prop::collection::vec((1_u32..9, 0_u8..3, 0_u32..3), 0..20),
        panic_threshold in 0_u32..100,
        policy in policies(),
        seed in any::<u64>(),
    ) {
        let given: Vec<Given> = given
            .into_iter()
            .map(|(weight, state, level)| {
                let given = healthy().weight(weight).level(level);
                match state {
                    0 => given,
                    1 => given.degraded(),
                    _ => given.failed(),
                }
            })
            .collect();
        let mut trial = Trial::new(&Balancing { panic_threshold, ..balancing(policy) }, &given);
        trial.random = Random::new(seed);
        for _ in 0..50 {
            trial.fake.notes.borrow_mut().clear();
            let picked = trial.pick();
            let panicked = trial.fake.notes.borrow().contains(&Note::Panic);
            if let Some(index) = picked {
                let state = given[index as usize].state;
                prop_assert!(panicked || state != State::Unhealthy);
            } else {
                // A table has no degraded endpoints, as in Envoy.
                let usable = |given: &Given| given.state == State::Healthy;
                prop_assert!(
                    policy.wants_hash() || panicked || !given.iter().any(usable),
                );
            }
        }
    }

    #[test]
    fn a_subset_has_only_those_that_match(
        values in prop::collection::vec((0_u8..3, any::<bool>()), 1..12),
        wanted in 0_u8..4,
    ) {
        let given: Vec<Given> = values
            .iter()
            .map(|(value, is_healthy)| {
                let given = healthy().with("v", Value::Number(f64::from(*value)));
                if *is_healthy { given } else { given.failed() }
            })
            .collect();
        let spec = SubsetSpec { selectors: vec![selector(&["v"])], ..SubsetSpec::default() };
        let mut trial = Trial::new(&subsets(spec), &given);
        let criteria = Criteria::new([("v".into(), Value::Number(f64::from(wanted)))]);
        let wish = Wish { criteria: Some(&criteria), ..Wish::default() };
        for _ in 0..20 {
            match trial.wish(&wish) {
                Some(index) => prop_assert_eq!(values[index as usize].0, wanted),
                None => prop_assert!(values.iter().all(|(value, _)| *value != wanted)),
            }
        }
    }

    #[test]
    fn random_numbers_stay_below_their_bound(seed in any::<u64>(), bound in 1_u64..) {
        let mut random = Random::new(seed);
        for _ in 0..20 {
            prop_assert!(random.below(bound) < bound);
        }
    }
}

#[test]
fn the_schedule_survives_a_long_life() {
    let mut trial = Trial::policy(ROUND_ROBIN, &weighted(&[1, 2]));
    trial.counts(3_000_000);
    assert_eq!(trial.counts(3_000_000), [1_000_000, 2_000_000]);
}
