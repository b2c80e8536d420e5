//! Levels, panics, localities, and endpoints that a request would rather not have.

use super::*;

#[test]
fn panic_spreads_over_all_and_threshold_0_over_the_healthy() {
    let given = [healthy().failed(), healthy(), healthy().failed()];
    let mut trial = Trial::policy(ROUND_ROBIN, &given);
    assert_eq!(trial.counts(200), [67, 67, 66]);
    assert_eq!(trial.fake.notes.borrow().len(), 200);
    let calm = Balancing {
        panic_threshold: 0,
        ..Balancing::default()
    };
    assert_eq!(Trial::new(&calm, &given).counts(200), [0, 200, 0]);
    let strict = Balancing {
        fails_on_panic: true,
        ..Balancing::default()
    };
    let mut trial = Trial::new(&strict, &given);
    assert_eq!(trial.pick(), None);
    assert_eq!(*trial.fake.notes.borrow(), [Note::Panic]);
}

#[test]
fn nobody_to_choose_is_none() {
    let calm = |policy| Balancing {
        panic_threshold: 0,
        ..balancing(policy)
    };
    let ring = Policy::Ring {
        ring: ring::RingSpec::default(),
        hashing: Hashing::DEFAULT,
    };
    for policy in [
        ROUND_ROBIN,
        Policy::LEAST_REQUEST,
        Policy::Random,
        Policy::MAGLEV,
        ring,
    ] {
        assert_eq!(Trial::policy(policy, &[]).pick(), None);
        let failed = [healthy().failed(), healthy().weight(2).failed()];
        assert_eq!(Trial::new(&calm(policy), &failed).pick(), None);
        assert!(Trial::policy(policy, &failed).pick().is_some(), "a panic");
    }
}

#[test]
fn levels_share_as_their_health_says() {
    let p0 = [healthy(), healthy().failed()];
    let p1 = [healthy().level(1), healthy().level(1)];
    let given = [&p0[..], &p1[..]].concat();
    let counts = Trial::policy(ROUND_ROBIN, &given).counts(20_000);
    // 1 of 2, overprovisioned: 70 %.
    assert!((13_700..14_300).contains(&counts[0]), "{counts:?}");
    assert_eq!(counts[1], 0);
    assert!(counts[2].abs_diff(counts[3]) <= 1, "{counts:?}");

    let eager = Balancing {
        overprovisioning: 200,
        ..Balancing::default()
    };
    assert_eq!(Trial::new(&eager, &given).counts(100), [100, 0, 0, 0]);
    // By weight 9 of 10 are healthy, and that is enough.
    let by_weight = Balancing {
        weighs_health: true,
        ..Balancing::default()
    };
    let given = [
        healthy().weight(9),
        healthy().failed(),
        healthy().level(1),
        healthy().level(1),
    ];
    assert_eq!(Trial::new(&by_weight, &given).counts(50), [50, 0, 0, 0]);
}

#[test]
fn degraded_endpoints_take_what_healthy_ones_cannot() {
    let given = [healthy(), healthy().degraded()];
    let counts = Trial::policy(ROUND_ROBIN, &given).counts(10_000);
    assert!((6_800..7_200).contains(&counts[0]), "{counts:?}");
    let given = [healthy(), healthy(), healthy(), healthy().degraded()];
    assert_eq!(
        Trial::policy(ROUND_ROBIN, &given).counts(30),
        [10, 10, 10, 0]
    );
    let given = [healthy().degraded(), healthy().failed()];
    let calm = Balancing {
        panic_threshold: 0,
        ..Balancing::default()
    };
    assert_eq!(Trial::new(&calm, &given).counts(10), [10, 0]);
}

#[test]
fn excluded_endpoints_do_not_count_for_health() {
    let mut excluded = healthy().failed();
    excluded.is_excluded = true;
    let given = [healthy(), excluded.clone(), excluded, healthy().level(1)];
    assert_eq!(Trial::policy(ROUND_ROBIN, &given).counts(10), [10, 0, 0, 0]);
}

#[test]
fn localities_are_chosen_by_weight_and_health() {
    let by_locality = Balancing {
        by_locality: true,
        ..Balancing::default()
    };
    let given = [
        healthy().zone("b", 4),
        healthy().zone("a", 1),
        healthy().zone("b", 4),
    ];
    assert_eq!(Trial::new(&by_locality, &given).counts(100), [40, 20, 40]);
    let plain = Balancing::default();
    assert_eq!(Trial::new(&plain, &given).counts(99), [33, 33, 33]);
    // One of two in "b", overprovisioned: 4 times 0.7 against 1.
    let given = [
        healthy().zone("b", 4),
        healthy().zone("a", 1),
        healthy().zone("b", 4).failed(),
        healthy().zone("c", 0),
    ];
    let counts = Trial::new(&by_locality, &given).counts(380);
    assert!(
        counts[0].abs_diff(280) <= 1 && counts[1].abs_diff(100) <= 1,
        "{counts:?}"
    );
    assert_eq!(counts[2..], [0, 0]);
}

#[test]
fn unwanted_endpoints_are_passed_over_while_attempts_last() {
    let unwanted = |_: &crate::upstream::Endpoint| true;
    let avoid = |attempts| Wish {
        avoid: Some(crate::upstream::Avoid {
            is_unwanted: &unwanted,
            attempts,
        }),
        ..Wish::default()
    };
    let mut trial = Trial::policy(ROUND_ROBIN, &weighted(&[1, 1, 1, 1]));
    trial.fake.unwanted = vec![0, 1, 3];
    assert_eq!(trial.wish(&avoid(5)), Some(2));
    assert_eq!(trial.wish(&avoid(0)), Some(3));
    assert_eq!(trial.wish(&avoid(1)), Some(1), "the last choice stands");
    let mut trial = Trial::policy(Policy::MAGLEV, &weighted(&[1, 1, 1, 1]));
    for hash in 0..50 {
        let hash = Some(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(hash));
        trial.fake.unwanted.clear();
        let home = trial.wish(&Wish { hash, ..avoid(0) }).unwrap();
        trial.fake.unwanted = vec![home];
        let other = trial.wish(&Wish { hash, ..avoid(20) }).unwrap();
        assert_ne!(home, other);
        assert_eq!(trial.wish(&Wish { hash, ..avoid(20) }), Some(other));
    }
}

#[test]
fn tried_levels_are_left_out_until_none_is_left() {
    let given = [healthy(), healthy().level(1), healthy().level(2)];
    let mut trial = Trial::policy(ROUND_ROBIN, &given);
    let tried = std::cell::Cell::new(Levels::default());
    for expected in [0, 1, 2] {
        let wish = Wish {
            tried_levels: Some(&tried),
            ..Wish::default()
        };
        assert_eq!(trial.wish(&wish), Some(expected));
        tried.set(tried.get().with(expected));
    }
    let wish = Wish {
        tried_levels: Some(&tried),
        ..Wish::default()
    };
    assert_eq!(trial.wish(&wish), Some(0));
    assert!(tried.get().is_empty());
}
