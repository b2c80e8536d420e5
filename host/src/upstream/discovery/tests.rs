//! Membership, as answers about names come in.

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::clock;
use crate::upstream::balance::layout::State;
use crate::upstream::spec::StatedHealth;

const CHECKED: Checks = Checks {
    active: true,
    passive: false,
    limited: false,
};

fn ip(n: u8) -> IpAddr {
    [127, 0, 0, n].into()
}

fn ips(of: &[u8]) -> Answer {
    (of.iter().map(|n| ip(*n)).collect(), None).into()
}

fn addresses(membership: &Membership) -> Vec<String> {
    membership
        .endpoints()
        .iter()
        .map(|endpoint| endpoint.now_at().to_string())
        .collect()
}

#[test]
fn endpoints_that_are_found_again_stay_the_same() {
    let mut targets = [DnsTarget::new("a", 80)];
    let mut membership = Membership::resolved(1, Checks::default(), true);
    let change = membership.answer(&targets, 0, ips(&[1, 2]));
    assert_eq!(
        change,
        Change {
            added: 2,
            ..Change::default()
        }
    );
    let kept = Arc::clone(&membership.endpoints()[1]);
    assert_eq!(kept.hostname.as_deref(), Some("a"));
    assert!(kept.passes_checks());

    assert!(
        !membership.answer(&targets, 0, ips(&[2, 1])).is_any(),
        "only rotated"
    );
    let change = membership.answer(&targets, 0, ips(&[3, 2]));
    assert_eq!(
        change,
        Change {
            added: 1,
            removed: 1,
            altered: false
        }
    );
    assert_eq!(addresses(&membership), ["127.0.0.3:80", "127.0.0.2:80"]);
    assert!(Arc::ptr_eq(&kept, &membership.endpoints()[1]));

    Arc::make_mut(&mut targets[0].traits).weight = 7;
    let change = membership.answer(&targets, 0, ips(&[2]));
    assert_eq!(
        change,
        Change {
            added: 0,
            removed: 1,
            altered: true
        }
    );
    assert_eq!(kept.weight(), 7);
    let change = membership.answer(&targets, 0, Answer::default());
    assert_eq!((change.removed, membership.endpoints().len()), (1, 0));
}

#[test]
fn names_that_share_an_address_share_the_endpoint() {
    let targets = [
        DnsTarget::new("a", 80),
        DnsTarget::new("b", 80),
        DnsTarget::new("a", 81),
    ];
    let mut membership = Membership::resolved(3, Checks::default(), true);
    membership.answer(&targets, 1, ips(&[1, 2]));
    membership.answer(&targets, 0, ips(&[1]));
    membership.answer(&targets, 2, ips(&[1]));
    assert_eq!(
        addresses(&membership),
        ["127.0.0.1:80", "127.0.0.2:80", "127.0.0.1:81"]
    );
    let change = membership.answer(&targets, 0, Answer::default());
    assert_eq!(
        (change.added, change.removed),
        (1, 1),
        "it is the other name's"
    );
    assert_eq!(membership.endpoints()[0].hostname.as_deref(), Some("b"));
    let change = membership.answer(&targets, 1, Answer::default());
    assert_eq!((change.added, change.removed), (0, 2));
}

#[test]
fn a_healthy_endpoint_outlives_its_disappearance_until_a_check_fails() {
    let targets = [DnsTarget::new("a", 80)];
    for keeps_healthy in [true, false] {
        let mut membership = Membership::resolved(1, CHECKED, keeps_healthy);
        membership.answer(&targets, 0, ips(&[1, 2]));
        let [passing, failing] = &membership.endpoints()[..] else {
            panic!("two")
        };
        let (passing, failing) = (Arc::clone(passing), Arc::clone(failing));
        assert!(!passing.passes_checks(), "nobody has looked yet");
        passing
            .health()
            .clear(Health::FAILED_ACTIVE_HC | Health::PENDING_ACTIVE_HC);
        let change = membership.answer(&targets, 0, Answer::default());
        if !keeps_healthy {
            assert_eq!(change.removed, 2);
            continue;
        }
        assert_eq!(
            change,
            Change {
                added: 0,
                removed: 1,
                altered: true
            }
        );
        assert!(Arc::ptr_eq(&passing, &membership.endpoints()[0]));
        assert!(passing.health().has(Health::PENDING_DYNAMIC_REMOVAL));
        assert!(!failing.health().has(Health::PENDING_DYNAMIC_REMOVAL));

        let change = membership.answer(&targets, 0, ips(&[1]));
        assert!(change.altered && !passing.health().has(Health::PENDING_DYNAMIC_REMOVAL));
        membership.answer(&targets, 0, Answer::default());
        assert!(!membership.drop_failed().is_any());
        passing.health().set(Health::FAILED_ACTIVE_HC);
        assert_eq!(membership.drop_failed().removed, 1);
    }
}

#[test]
fn failures_back_off_and_an_answer_ends_it() {
    let mut random = Random::new(3);
    let seconds = Duration::from_secs;
    let spec = DnsSpec {
        failure_base: Some(seconds(2)),
        ..DnsSpec::default()
    };
    let mut schedule = Schedule::new(spec);
    for most in [2, 4, 8, 16, 20, 20] {
        let wait = schedule.failed(&mut random);
        assert!(
            wait <= seconds(most) && wait >= seconds(most) / 2,
            "{wait:?} of {most}"
        );
        assert!(schedule.is_failing());
    }
    assert_eq!(
        schedule.answered(clock::now(), None, &mut random),
        seconds(5)
    );
    assert!(!schedule.is_failing());
    assert!(schedule.failed(&mut random) <= seconds(2));
    let mut plain = Schedule::new(DnsSpec::default());
    assert_eq!(
        (plain.failed(&mut random), plain.failed(&mut random)),
        (seconds(5), seconds(5))
    );
}

proptest! {
    #[test]
    fn jitter_stays_within_its_bound(seed in any::<u64>(), jitter in 0_u64..100_000) {
        let mut random = Random::new(seed);
        let jitter = Duration::from_micros(jitter);
        let mut schedule = Schedule::new(DnsSpec { jitter, ..DnsSpec::default() });
        let wait = schedule.answered(clock::now(), None, &mut random);
        prop_assert!(wait >= Duration::from_secs(5) && wait <= Duration::from_secs(5) + jitter);
    }

    #[test]
    fn membership_is_the_union_of_the_answers(
        answers in prop::collection::vec((0_usize..3, prop::collection::vec(0_u8..6, 0..5)), 1..12)
    ) {
        let targets = ["a", "b", "c"].map(|name| DnsTarget::new(name, 80));
        let mut membership = Membership::resolved(3, Checks::default(), true);
        let mut last = [const { Vec::new() }; 3];
        let mut size = 0;
        for (index, answer) in answers {
            let change = membership.answer(&targets, index, ips(&answer));
            last[index] = answer;
            let union: HashSet<u8> = last.iter().flatten().copied().collect();
            prop_assert_eq!(membership.endpoints().len(), union.len());
            prop_assert_eq!(size + change.added - change.removed, union.len());
            size = union.len();
        }
    }
}

#[test]
fn an_address_that_moves_to_another_name_gets_what_is_known_about_that() {
    let near = Traits {
        level: 1,
        ..Traits::default()
    };
    let mut targets = [DnsTarget::new("a", 80), DnsTarget::new("b", 80)];
    targets[1].traits = Arc::new(near);
    let mut membership = Membership::resolved(2, CHECKED, true);
    membership.answer(&targets, 0, ips(&[1]));
    let before = Arc::clone(&membership.endpoints()[0]);
    before
        .health()
        .clear(Health::FAILED_ACTIVE_HC | Health::PENDING_ACTIVE_HC);
    before
        .health()
        .set(Health::DEGRADED_ACTIVE_HC | Health::FAILED_OUTLIER_CHECK);
    membership.answer(&targets, 1, ips(&[1]));
    assert_eq!(
        membership.endpoints()[0].level(),
        0,
        "the first name counts"
    );
    let change = membership.answer(&targets, 0, Answer::default());
    assert_eq!((change.added, change.removed), (1, 1));
    let now = Arc::clone(&membership.endpoints()[0]);
    assert_eq!((now.level(), now.now_at()), (1, before.now_at()));
    assert!(now.passes_checks() && now.health().has(Health::DEGRADED_ACTIVE_HC));
    assert!(!now.is_awaiting_check() && !now.health().has(Health::FAILED_OUTLIER_CHECK));
}

#[test]
fn one_endpoint_moves_from_address_to_address() {
    let targets = [DnsTarget::new("a", 80)];
    let mut membership = Membership::logical(Checks::default());
    assert!(!membership.answer(&targets, 0, Answer::default()).is_any());
    assert_eq!(membership.answer(&targets, 0, ips(&[1, 2])).added, 1);
    let endpoint = Arc::clone(&membership.endpoints()[0]);
    assert!(!membership.answer(&targets, 0, ips(&[1, 3])).is_any());
    let change = membership.answer(&targets, 0, ips(&[2, 1]));
    let moved = Change {
        altered: true,
        ..Change::default()
    };
    assert_eq!(change, moved);
    assert_eq!(addresses(&membership), ["127.0.0.2:80"]);
    assert!(Arc::ptr_eq(&endpoint, &membership.endpoints()[0]));
    assert!(!membership.answer(&targets, 0, Answer::default()).is_any());
}

#[test]
fn services_have_their_own_ports_weights_and_levels() {
    let mut targets = [DnsTarget::new("_a._tcp.b", 0)];
    Arc::make_mut(&mut targets[0].traits).level = 1;
    let service = |last: u8, port, weight, rank| Found {
        ip: ip(last),
        service: Some(crate::upstream::dns::Service { port, weight, rank }),
    };
    let answer = |found: &[Found]| Answer {
        found: found.to_vec(),
        ttl: None,
    };
    let mut membership = Membership::resolved(1, Checks::default(), true);
    let found = [
        service(1, 81, 0, 0),
        service(1, 82, 7, 0),
        service(2, 81, 1, 500),
    ];
    membership.answer(&targets, 0, answer(&found));
    let seen: Vec<_> = membership
        .endpoints()
        .iter()
        .map(|e| (e.now_at().to_string(), e.weight(), e.level()))
        .collect();
    let expected = [
        ("127.0.0.1:81", 1, 1),
        ("127.0.0.1:82", 7, 1),
        ("127.0.0.2:81", 1, 127),
    ];
    assert_eq!(seen, expected.map(|(a, w, l)| (a.to_owned(), w, l)));
    let first = Arc::clone(&membership.endpoints()[0]);
    let heavier = [service(1, 81, 9, 0), service(1, 82, 7, 1), found[2]];
    let change = membership.answer(&targets, 0, answer(&heavier));
    assert_eq!((change.added, change.removed, change.altered), (1, 1, true));
    assert!(Arc::ptr_eq(&first, &membership.endpoints()[0]) && first.weight() == 9);
    assert_eq!(membership.endpoints()[1].level(), 2);
}

#[test]
fn a_list_takes_the_place_of_another() {
    let at = |last: u8, weight, stated| StaticEndpoint {
        address: SocketAddr::from((ip(last), 80)).into(),
        traits: Arc::new(Traits {
            weight,
            stated,
            ..Traits::default()
        }),
    };
    let mut membership = Membership::given(Vec::new(), Checks::default(), true);
    let (well, away) = (StatedHealth::Healthy, StatedHealth::Draining);
    assert_eq!(
        membership
            .assign(&[at(1, 1, well), at(2, 1, well), at(1, 9, well)])
            .added,
        2
    );
    let second = Arc::clone(&membership.endpoints()[1]);
    let change = membership.assign(&[at(2, 3, away), at(3, 1, well)]);
    assert_eq!((change.added, change.removed, change.altered), (1, 1, true));
    assert!(Arc::ptr_eq(&second, &membership.endpoints()[0]));
    assert_eq!((second.weight(), second.stated()), (3, away));
    assert_eq!(second.state(), State::Unhealthy);
    assert!(
        !membership
            .assign(&[at(2, 3, away), at(3, 1, well)])
            .is_any()
    );
    assert!(membership.assign(&[at(2, 3, well), at(3, 1, well)]).altered);
    assert_eq!(second.state(), State::Healthy);
}

#[test]
fn an_answer_says_when_to_ask_again() {
    let seconds = Duration::from_secs;
    let mut random = Random::new(1);
    for (respects_ttl, least, ttl, wait) in [
        (false, 0, Some(30), 5),
        (true, 0, Some(30), 30),
        (true, 0, Some(0), 5),
        (true, 0, None, 5),
        (true, 60, Some(30), 60),
    ] {
        let mut schedule = Schedule::new(DnsSpec {
            respects_ttl,
            min_refresh: seconds(least),
            ..DnsSpec::default()
        });
        let now = clock::now();
        assert_eq!(schedule.answered_at(), None);
        let ttl = ttl.map(seconds);
        assert_eq!(schedule.answered(now, ttl, &mut random), seconds(wait));
        assert_eq!(schedule.answered_at(), Some(now));
    }
}
