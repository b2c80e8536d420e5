//! Policies that go by turns, by load or by chance.

use super::*;

#[test]
fn equal_endpoints_take_turns_from_the_workers_own_start() {
    let given = weighted(&[1, 1, 1]);
    for (picks, expected) in [(0, [0, 1, 2, 0, 1, 2, 0]), (1, [1, 2, 0, 1, 2, 0, 1])] {
        let mut trial = Trial::policy(ROUND_ROBIN, &given);
        trial.balancer = Balancer::new(plan(&balancing(ROUND_ROBIN), &given), picks, false);
        assert_eq!(trial.sequence(7), expected);
        assert_eq!(trial.balancer.picks(), picks + 7);
    }
}

#[test]
fn three_to_one_is_150_to_50() {
    for weights in [[3, 1], [1, 3]] {
        let mut trial = Trial::policy(ROUND_ROBIN, &weighted(&weights));
        assert_eq!(trial.counts(200), weights.map(|w| 50 * w as usize));
    }
}

#[test]
fn a_new_publication_goes_on_with_the_round() {
    let given = weighted(&[1, 1, 1]);
    let mut trial = Trial::policy(ROUND_ROBIN, &given);
    assert_eq!(trial.sequence(2), [0, 1]);
    let next = plan(&balancing(ROUND_ROBIN), &given);
    trial.balancer = Balancer::new(next, trial.balancer.picks(), false);
    assert_eq!(trial.sequence(2), [2, 0]);
}

#[test]
fn least_request_avoids_the_busy() {
    let mut trial = Trial::policy(Policy::LEAST_REQUEST, &weighted(&[1; 4]));
    for _ in 0..4000 {
        let index = trial.pick().unwrap();
        trial.fake.active.borrow_mut()[index as usize] += 1;
    }
    let active = trial.fake.active.borrow().clone();
    let (min, max) = (active.iter().min().unwrap(), active.iter().max().unwrap());
    assert!(max - min < 10, "two choices keep {active:?} level");

    *trial.fake.active.borrow_mut() = vec![0, 0, 100, 0];
    let busy = trial.counts(4000)[2];
    assert!(
        (150..350).contains(&busy),
        "only two draws of it, 1 in 16, choose it: {busy}"
    );
    let scan = Policy::LeastRequest {
        choice_count: 2,
        active_request_bias: 1.0,
        full_scan: true,
    };
    let mut trial = Trial::policy(scan, &weighted(&[1; 4]));
    *trial.fake.active.borrow_mut() = vec![7, 3, 100, 3];
    let counts = trial.counts(4000);
    assert_eq!((counts[0], counts[2]), (0, 0));
    assert!(counts[1].abs_diff(counts[3]) < 400, "{counts:?}");
}

#[test]
fn weighted_least_request_divides_weight_by_load() {
    let share = |active_request_bias: f64, active: [u64; 2]| {
        let policy = Policy::LeastRequest {
            choice_count: 2,
            active_request_bias,
            full_scan: false,
        };
        let mut trial = Trial::policy(policy, &weighted(&[3, 1]));
        *trial.fake.active.borrow_mut() = active.into();
        trial.counts(400)[0]
    };
    assert_eq!(share(1.0, [0, 0]), 300);
    assert!((199..=201).contains(&share(1.0, [2, 0])), "3/3 against 1");
    assert_eq!(share(0.0, [2, 0]), 300, "no bias, no load");
    assert!((99..=101).contains(&share(2.0, [2, 0])), "3/9 against 1");
}

#[test]
fn random_is_even_whatever_the_weights() {
    let counts = Trial::policy(Policy::Random, &weighted(&[1, 50, 1])).counts(30_000);
    assert!(
        counts.iter().all(|n| (9_500..10_500).contains(n)),
        "{counts:?}"
    );
}

#[test]
fn weights_that_change_with_time_are_asked_for_again() {
    let given = weighted(&[1, 1]);
    for policy in [ROUND_ROBIN, Policy::LEAST_REQUEST] {
        let mut trial = Trial::policy(policy, &given);
        trial.balancer = Balancer::new(plan(&balancing(policy), &given), 0, true);
        trial.fake.weights = vec![1.0, 0.1];
        let counts = trial.counts(220);
        assert!(counts[1].abs_diff(20) <= 1, "{counts:?}");
        trial.fake.weights = vec![1.0, 1.0];
        trial.counts(20);
        assert_eq!(trial.counts(100), [50, 50]);
    }
}
