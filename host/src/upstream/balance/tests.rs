use proptest::prelude::*;

use super::*;

fn all(n: usize) -> Vec<u32> {
    (0_u32..).take(n).collect()
}

fn sequence(balancer: &mut Balancer, n: usize) -> Vec<usize> {
    let mut random = Random::new(1);
    (0..n)
        .map(|_| balancer.pick(&mut random, |_| 0).unwrap())
        .collect()
}

fn counts(picks: &[usize], n: usize) -> Vec<usize> {
    (0..n)
        .map(|i| picks.iter().filter(|p| **p == i).count())
        .collect()
}

#[test]
fn equal_endpoints_take_turns_from_the_workers_own_start() {
    for (picks, expected) in [(0, [0, 1, 2, 0, 1, 2, 0]), (1, [1, 2, 0, 1, 2, 0, 1])] {
        let mut balancer = Balancer::new(Policy::RoundRobin, 50.0, &[1, 1, 1], &all(3), picks);
        assert_eq!(sequence(&mut balancer, 7), expected);
        assert_eq!(balancer.picks(), picks + 7);
    }
}

#[test]
fn three_to_one_is_150_to_50() {
    for weights in [[3, 1], [1, 3]] {
        let mut balancer = Balancer::new(Policy::RoundRobin, 50.0, &weights, &all(2), 0);
        let counts = counts(&sequence(&mut balancer, 200), 2);
        assert_eq!(counts, weights.map(|w| 50 * w as usize));
    }
}

#[test]
fn a_new_publication_goes_on_with_the_round() {
    let mut balancer = Balancer::new(Policy::RoundRobin, 50.0, &[1, 1, 1], &all(3), 0);
    assert_eq!(sequence(&mut balancer, 2), [0, 1]);
    let mut balancer = Balancer::new(
        Policy::RoundRobin,
        50.0,
        &[1, 1, 1],
        &all(3),
        balancer.picks(),
    );
    assert_eq!(sequence(&mut balancer, 2), [2, 0]);
}

#[test]
fn panic_is_as_in_envoy() {
    // total, healthy, threshold, panic
    for (total, healthy, threshold, panic) in [
        (0, 0, 50.0, false),
        (1, 0, 50.0, true),
        (1, 0, 0.0, false),
        (2, 1, 50.0, false),
        (3, 1, 50.0, true),
        (3, 1, 33.0, false),
        (3, 1, 33.4, true),
        (3, 2, 66.7, true),
        (4, 3, 100.0, false),
        (10, 4, 50.0, true),
        (10, 5, 50.0, false),
        (2, 1, 1000.0, true),
    ] {
        let balancer = Balancer::new(Policy::Random, threshold, &vec![1; total], &all(healthy), 0);
        assert_eq!(
            balancer.in_panic(),
            panic,
            "{healthy} of {total} with {threshold}"
        );
        let candidates = if panic { total } else { healthy };
        assert_eq!(balancer.candidates.len(), candidates);
    }
}

#[test]
fn panic_spreads_over_all_and_threshold_0_over_the_healthy() {
    let mut balancer = Balancer::new(Policy::RoundRobin, 50.0, &[1; 3], &[1], 0);
    assert_eq!(counts(&sequence(&mut balancer, 200), 3), [67, 67, 66]);
    let mut balancer = Balancer::new(Policy::RoundRobin, 0.0, &[1; 3], &[1], 0);
    assert_eq!(counts(&sequence(&mut balancer, 200), 3), [0, 200, 0]);
}

#[test]
fn nobody_to_choose_is_none() {
    for policy in [Policy::RoundRobin, Policy::LEAST_REQUEST, Policy::Random] {
        let mut random = Random::new(0);
        let mut empty = Balancer::new(policy, 50.0, &[], &[], 3);
        assert_eq!(empty.pick(&mut random, |_| 0), None);
        let mut all_failed = Balancer::new(policy, 0.0, &[1, 2], &[], 3);
        assert_eq!(all_failed.pick(&mut random, |_| 0), None);
    }
}

#[test]
fn least_request_avoids_the_busy() {
    let mut balancer = Balancer::new(Policy::LEAST_REQUEST, 50.0, &[1; 4], &all(4), 0);
    let mut random = Random::new(7);
    let mut active = [0_u64; 4];
    for _ in 0..4000 {
        let i = balancer.pick(&mut random, |i| active[i]).unwrap();
        active[i] += 1;
    }
    let (min, max) = (active.iter().min().unwrap(), active.iter().max().unwrap());
    assert!(max - min < 10, "two choices keep {active:?} level");

    let picks: Vec<_> = (0..4000)
        .map(|_| {
            balancer
                .pick(&mut random, |i| if i == 2 { 100 } else { 0 })
                .unwrap()
        })
        .collect();
    let busy = counts(&picks, 4)[2];
    assert!(
        (150..350).contains(&busy),
        "only two draws of it, 1 in 16, choose it: {busy}"
    );
}

#[test]
fn weighted_least_request_divides_weight_by_load() {
    let policy = |active_request_bias| Policy::LeastRequest {
        choice_count: 2,
        active_request_bias,
    };
    let share = |bias: f64, active: [u64; 2]| {
        let mut balancer = Balancer::new(policy(bias), 50.0, &[3, 1], &all(2), 0);
        let mut random = Random::new(0);
        let picks: Vec<_> = (0..400)
            .map(|_| balancer.pick(&mut random, |i| active[i]).unwrap())
            .collect();
        counts(&picks, 2)[0]
    };
    assert_eq!(share(1.0, [0, 0]), 300);
    assert!((199..=201).contains(&share(1.0, [2, 0])), "3/3 against 1");
    assert_eq!(share(0.0, [2, 0]), 300, "no bias, no load");
    assert!((99..=101).contains(&share(2.0, [2, 0])), "3/9 against 1");
}

#[test]
fn random_is_even_whatever_the_weights() {
    let mut balancer = Balancer::new(Policy::Random, 50.0, &[1, 50, 1], &all(3), 0);
    let counts = counts(&sequence(&mut balancer, 30_000), 3);
    assert!(
        counts.iter().all(|n| (9_500..10_500).contains(n)),
        "{counts:?}"
    );
}

proptest! {
    #[test]
    fn weights_are_kept_exactly_over_whole_rounds(
        weights in prop::collection::vec(1_u32..40, 1..12),
        rounds in 1_usize..6,
    ) {
        let n = weights.len();
        let mut balancer = Balancer::new(Policy::RoundRobin, 50.0, &weights, &all(n), 0);
        let total: usize = weights.iter().map(|w| *w as usize).sum();
        let picks = sequence(&mut balancer, total * rounds);
        let expected: Vec<_> = weights.iter().map(|w| *w as usize * rounds).collect();
        prop_assert_eq!(counts(&picks, n), expected);
    }

    #[test]
    fn at_every_moment_each_is_near_its_share(
        weights in prop::collection::vec(1_u32..1000, 2..10),
        n in 1_usize..3000,
    ) {
        let mut balancer =
            Balancer::new(Policy::RoundRobin, 50.0, &weights, &all(weights.len()), 0);
        let picks = sequence(&mut balancer, n);
        let total: f64 = weights.iter().map(|w| f64::from(*w)).sum();
        for (i, count) in counts(&picks, weights.len()).into_iter().enumerate() {
            let share = n as f64 * f64::from(weights[i]) / total;
            prop_assert!((count as f64 - share).abs() <= weights.len() as f64, "{i}: {count} of {share}");
        }
    }

    #[test]
    fn the_unhealthy_are_chosen_in_panic_alone(
        weights in prop::collection::vec(1_u32..9, 1..20),
        mask in prop::collection::vec(any::<bool>(), 20),
        threshold in 0.0_f64..100.0,
        policy in prop_oneof![
            Just(Policy::RoundRobin), Just(Policy::LEAST_REQUEST), Just(Policy::Random)
        ],
        seed in any::<u64>(),
    ) {
        let healthy: Vec<u32> =
            all(weights.len()).into_iter().filter(|i| mask[*i as usize]).collect();
        let mut balancer = Balancer::new(policy, threshold, &weights, &healthy, seed);
        let mut random = Random::new(seed);
        for _ in 0..50 {
            let picked = balancer.pick(&mut random, |i| i as u64 % 3);
            match picked {
                Some(i) => prop_assert!(
                    i < weights.len() && (balancer.in_panic() || mask[i])
                ),
                None => prop_assert!(healthy.is_empty() && !balancer.in_panic()),
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
    let mut balancer = Balancer::new(Policy::RoundRobin, 50.0, &[1, 2], &all(2), 0);
    let picks = sequence(&mut balancer, 6_000_000);
    assert_eq!(counts(&picks[3_000_000..], 2), [1_000_000, 2_000_000]);
}
