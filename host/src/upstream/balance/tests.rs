use std::cell::RefCell;
use std::num::NonZeroU32;

use proptest::prelude::*;

use super::layout::{Member, State};
use super::*;
use crate::address::Address;
use crate::upstream::metadata::{Criteria, HASH_KEY, Metadata, Value};
use crate::upstream::spec::{
    Balancing, Fallback, Hashing, Locality, Policy, SelectorFallback, SubsetSelector, SubsetSpec,
    Traits,
};

/// An endpoint for a test.
#[derive(Clone)]
struct Given {
    state: State,
    is_excluded: bool,
    traits: Traits,
}

fn healthy() -> Given {
    Given {
        state: State::Healthy,
        is_excluded: false,
        traits: Traits::default(),
    }
}

impl Given {
    fn failed(mut self) -> Self {
        self.state = State::Unhealthy;
        self
    }

    fn degraded(mut self) -> Self {
        self.state = State::Degraded;
        self
    }

    fn weight(mut self, weight: u32) -> Self {
        self.traits.weight = weight;
        self
    }

    fn level(mut self, level: u32) -> Self {
        self.traits.level = level;
        self
    }

    fn zone(mut self, zone: &str, weight: u32) -> Self {
        let locality = Locality {
            zone: zone.into(),
            ..Locality::default()
        };
        self.traits.locality = Arc::new(locality);
        self.traits.locality_weight = weight;
        self
    }

    fn with(mut self, key: &str, value: Value) -> Self {
        self.traits.metadata.insert(key.into(), value);
        self
    }
}

fn plan(balancing: &Balancing, given: &[Given]) -> Arc<Plan> {
    let address = |port| Address::Ip(([127, 0, 0, 1], port).into());
    let addresses: Vec<_> = (21_001..).map(address).take(given.len()).collect();
    let members: Vec<Member<'_>> = (0_u32..)
        .zip(given)
        .zip(&addresses)
        .map(|((index, given), address)| Member {
            index,
            address,
            traits: &given.traits,
            weight: given.traits.weight,
            state: given.state,
            is_excluded: given.is_excluded,
        })
        .collect();
    Arc::new(Plan::new(balancing, &members, None))
}

/// What the balancer asks about, by index.
#[derive(Default)]
struct Fake {
    weights: Vec<f64>,
    active: RefCell<Vec<u64>>,
    unwanted: Vec<u32>,
    notes: RefCell<Vec<Note>>,
}

impl Fake {
    fn of(given: &[Given]) -> Self {
        Self {
            weights: given.iter().map(|g| f64::from(g.traits.weight)).collect(),
            active: vec![0; given.len()].into(),
            ..Self::default()
        }
    }
}

impl Busy for Fake {
    fn active(&self, index: u32) -> u64 {
        self.active.borrow()[index as usize]
    }

    fn total_active(&self) -> u64 {
        self.active.borrow().iter().sum()
    }
}

impl Hosts for Fake {
    fn weight(&self, index: u32) -> f64 {
        self.weights[index as usize]
    }

    fn is_unwanted(&self, index: u32) -> bool {
        self.unwanted.contains(&index)
    }

    fn note(&self, note: Note) {
        self.notes.borrow_mut().push(note);
    }
}

/// A balancer with all that it asks about.
struct Trial {
    balancer: Balancer,
    fake: Fake,
    random: Random,
    size: usize,
}

impl Trial {
    fn new(balancing: &Balancing, given: &[Given]) -> Self {
        Self {
            balancer: Balancer::new(plan(balancing, given), 0, false),
            fake: Fake::of(given),
            random: Random::new(1),
            size: given.len(),
        }
    }

    fn policy(policy: Policy, given: &[Given]) -> Self {
        Self::new(&balancing(policy), given)
    }

    fn pick(&mut self) -> Option<u32> {
        self.wish(&Wish::default())
    }

    fn wish(&mut self, wish: &Wish<'_>) -> Option<u32> {
        self.balancer.pick(&mut self.random, wish, &self.fake)
    }

    fn sequence(&mut self, n: usize) -> Vec<u32> {
        (0..n).map(|_| self.pick().unwrap()).collect()
    }

    fn counts(&mut self, n: usize) -> Vec<usize> {
        let picks = self.sequence(n);
        self.tally(&picks)
    }

    fn tally(&self, picks: &[u32]) -> Vec<usize> {
        (0..self.size)
            .map(|i| picks.iter().filter(|p| **p as usize == i).count())
            .collect()
    }
}

fn balancing(policy: Policy) -> Balancing {
    Balancing {
        policy,
        ..Balancing::default()
    }
}

fn weighted(weights: &[u32]) -> Vec<Given> {
    weights.iter().map(|w| healthy().weight(*w)).collect()
}

const ROUND_ROBIN: Policy = Policy::RoundRobin;

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

fn hashed(hash: u64) -> Wish<'static> {
    Wish {
        hash: Some(hash),
        ..Wish::default()
    }
}

#[test]
fn a_hash_always_finds_the_same_endpoint_and_keys_move_it() {
    let ring = |by_hostname| Policy::Ring {
        ring: ring::RingSpec::default(),
        hashing: Hashing {
            by_hostname,
            balance_factor: None,
        },
    };
    let mut named = weighted(&[1, 1, 1]);
    for (i, given) in named.iter_mut().enumerate() {
        given.traits.hostname = Some(format!("host-{i}").into());
    }
    let keyed: Vec<Given> = (0..3)
        .map(|i| {
            named[i]
                .clone()
                .with(HASH_KEY, Value::text(&format!("key-{i}")))
        })
        .collect();
    let mut places = Vec::new();
    for (policy, given) in [
        (ring(false), &named),
        (ring(true), &named),
        (ring(true), &keyed),
    ] {
        let mut trial = Trial::policy(policy, given);
        let mut place = |hash: u64| trial.wish(&hashed(hash << 58)).unwrap();
        let all: Vec<u32> = (0..64).map(&mut place).collect();
        assert_eq!(all, (0..64).map(place).collect::<Vec<_>>());
        places.push(all);
    }
    assert!(places[0] != places[1] && places[1] != places[2]);
    let mut trial = Trial::policy(ring(false), &named);
    assert!(
        trial.counts(3000).iter().all(|n| *n > 700),
        "no hash, by chance"
    );
}

/// Where Envoy 1.40 sent requests with the header `x-key: user-0` to `user-59`, hashed by that
/// header, among five endpoints at 127.0.0.1:21001 and the ports behind it.
const PLACEMENT: &str = "\
ring: 434120213440410001234030224310032123202331000431044420144301
weights: 434420213443434002244133244334334123202434400433044443344333
small ring: 333133230330330332123433333443233343321344303433333443334333
murmur: 010322321341404421144121203122324442021000044330424311403233
host names: 110230412234211400424020332431002303420204302301124142223034
keys: 230330313043114121042121323022241012121032210341122303112302
levels: 004020303440030320000000240000030400232000000003000000324000
maglev: 103334113422244130204344311014313214324310140223132424124223
maglev weights: 133334113422244434204344311314343244344334143223132424324223
small maglev: 343042424434011113334242113131224410221314421401224234041421
maglev host names: 223344030140310441024322204202244000304324043440131233020044
maglev zones: 103010110010114130200310311011013011100310140010101424121221
";

fn ring_of(minimum: u64, maximum: u64, murmur: bool, by_hostname: bool) -> Balancing {
    let hashing = Hashing {
        by_hostname,
        balance_factor: None,
    };
    let ring = ring::RingSpec {
        minimum,
        maximum,
        murmur,
    };
    balancing(Policy::Ring { ring, hashing })
}

fn maglev_of(size: u64, by_hostname: bool) -> Balancing {
    let hashing = Hashing {
        by_hostname,
        balance_factor: None,
    };
    balancing(Policy::Maglev { size, hashing })
}

fn placed(balancing: &Balancing, given: &[Given]) -> String {
    let mut trial = Trial::new(balancing, given);
    let place = |user: u32| {
        let hash = xxhash_rust::xxh64::xxh64(format!("user-{user}").as_bytes(), 0);
        trial.wish(&hashed(hash)).unwrap().to_string()
    };
    (0..60).map(place).collect()
}

#[test]
fn placement_is_envoys() {
    let default = || ring_of(1024, 8 << 20, false, false);
    let zones = Balancing {
        by_locality: true,
        ..maglev_of(65_537, false)
    };
    let equal = weighted(&[1; 5]);
    let rising = weighted(&[1, 2, 3, 4, 5]);
    let mut named = equal.clone();
    let mut keyed = equal.clone();
    for i in 0..5 {
        named[i].traits.hostname = Some(format!("host-{i}.example").into());
        keyed[i] = keyed[i]
            .clone()
            .with(HASH_KEY, Value::text(&format!("key-{i}")));
    }
    let in_zones = [
        healthy().zone("b", 3),
        healthy().zone("b", 3),
        healthy().zone("a", 1),
        healthy().zone("a", 1).weight(2),
        healthy().zone("a", 1),
    ];
    let p1 = || healthy().level(1);
    let levels = [healthy(), healthy().failed(), p1(), p1(), p1()];
    let cases: [(&str, Balancing, &[Given]); 12] = [
        ("ring", default(), &equal[..]),
        ("weights", default(), &rising),
        ("small ring", ring_of(7, 11, false, false), &rising),
        ("murmur", ring_of(1024, 8 << 20, true, false), &equal),
        ("host names", ring_of(1024, 8 << 20, false, true), &named),
        ("keys", default(), &keyed),
        ("levels", default(), &levels),
        ("maglev", maglev_of(65_537, false), &equal),
        ("maglev weights", maglev_of(65_537, false), &rising),
        ("small maglev", maglev_of(11, false), &rising),
        ("maglev host names", maglev_of(65_537, true), &named),
        ("maglev zones", zones, &in_zones),
    ];
    let ours: String = cases
        .iter()
        .map(|(name, balancing, given)| format!("{name}: {}\n", placed(balancing, given)))
        .collect();
    assert_eq!(ours, PLACEMENT);
}

#[test]
fn table_sizes_are_envoys() {
    let rising = weighted(&[1, 2, 3, 4, 5]);
    let ring = |minimum, maximum| Policy::Ring {
        ring: ring::RingSpec {
            minimum,
            maximum,
            murmur: false,
        },
        hashing: Hashing::DEFAULT,
    };
    let sizes = |policy| {
        let plan = plan(&balancing(policy), &rising);
        let sizes = plan.tables().map(|table| match table.places() {
            table::Places::Ring(ring) => ring.sizes(),
            table::Places::Maglev(maglev) => (0, maglev.sizes().0, maglev.sizes().1),
        });
        sizes.collect::<Vec<_>>()
    };
    assert_eq!(sizes(ring(1024, 8 << 20)), [(1035, 69, 345)]);
    assert_eq!(sizes(ring(7, 11)), [(11, 1, 3)]);
    assert_eq!(sizes(Policy::MAGLEV), [(0, 4370, 21_845)]);
}

#[test]
fn weights_and_localities_size_the_shares_of_a_table() {
    let size = 65_537;
    let share = |balancing: &Balancing, given: &[Given]| {
        let mut trial = Trial::new(balancing, given);
        let picks: Vec<u32> = (0..size).map(|h| trial.wish(&hashed(h)).unwrap()).collect();
        trial.tally(&picks)
    };
    let near = |is: usize, part: f64| (is as f64 - part * size as f64).abs() < 10.0;
    let counts = share(&balancing(Policy::MAGLEV), &weighted(&[1, 3]));
    assert!(near(counts[0], 0.25) && near(counts[1], 0.75), "{counts:?}");
    let by_locality = Balancing {
        by_locality: true,
        ..balancing(Policy::MAGLEV)
    };
    let given = [
        healthy().zone("a", 1),
        healthy().zone("b", 3),
        healthy().zone("b", 3),
        healthy().zone("c", 0),
    ];
    let counts = share(&by_locality, &given);
    assert!(
        near(counts[0], 0.25) && near(counts[1], 0.375),
        "{counts:?}"
    );
    assert_eq!(counts[3], 0);
}

#[test]
fn bounded_load_moves_on() {
    let policy = Policy::Maglev {
        size: 251,
        hashing: Hashing {
            by_hostname: false,
            balance_factor: NonZeroU32::new(150),
        },
    };
    let mut trial = Trial::policy(policy, &weighted(&[1, 1, 1, 1]));
    for _ in 0..400 {
        let index = trial.wish(&hashed(5)).unwrap();
        trial.fake.active.borrow_mut()[index as usize] += 1;
    }
    let active = trial.fake.active.borrow().clone();
    assert!(active.iter().all(|n| *n <= 152), "{active:?}");
}

fn criteria(pairs: &[(&str, &str)]) -> Criteria {
    let pair = |(key, value): &(&str, &str)| ((*key).into(), Value::text(value));
    Criteria::new(pairs.iter().map(pair))
}

fn selector(keys: &[&str]) -> SubsetSelector {
    SubsetSelector {
        keys: keys.iter().map(|key| (*key).into()).collect(),
        is_single: false,
        fallback: None,
    }
}

fn subsets(spec: SubsetSpec) -> Balancing {
    Balancing {
        subsets: Some(spec),
        ..Balancing::default()
    }
}

/// Two of version 1 (one of them in stage "prod"), two of version 2.
fn versions() -> Vec<Given> {
    vec![
        healthy()
            .with("version", Value::text("1"))
            .with("stage", Value::text("prod")),
        healthy()
            .with("version", Value::text("1"))
            .with("stage", Value::text("dev")),
        healthy()
            .with("version", Value::text("2"))
            .with("stage", Value::text("prod")),
        healthy().with("version", Value::text("2")),
    ]
}

fn asked(trial: &mut Trial, pairs: &[(&str, &str)], n: usize) -> Option<Vec<usize>> {
    let criteria = criteria(pairs);
    let wish = Wish {
        criteria: Some(&criteria),
        ..Wish::default()
    };
    let picks: Option<Vec<u32>> = (0..n).map(|_| trial.wish(&wish)).collect();
    picks.map(|picks| trial.tally(&picks))
}

#[test]
fn subsets_are_what_selectors_say() {
    let spec = SubsetSpec {
        selectors: vec![selector(&["version"]), selector(&["stage", "version"])],
        ..SubsetSpec::default()
    };
    let mut trial = Trial::new(&subsets(spec), &versions());
    let plan = Arc::clone(&trial.balancer.plan);
    assert_eq!(plan.subsets().unwrap().criteria().count(), 5);
    for (pairs, expected) in [
        (&[("version", "1")][..], Some(vec![2, 2, 0, 0])),
        (&[("version", "2")], Some(vec![0, 0, 2, 2])),
        (
            &[("version", "2"), ("stage", "prod")],
            Some(vec![0, 0, 4, 0]),
        ),
        (&[("version", "3")], None),
        (&[("stage", "prod")], None),
        (&[("version", "1"), ("other", "x")], None),
        (&[], None),
    ] {
        assert_eq!(asked(&mut trial, pairs, 4), expected, "{pairs:?}");
    }
    assert_eq!(trial.pick(), None, "no criteria, no fallback");
}

#[test]
fn fallbacks_take_the_place_of_subsets() {
    let of = |fallback| SubsetSpec {
        fallback,
        default: Some(criteria(&[("version", "2")])),
        selectors: vec![selector(&["version"])],
        ..SubsetSpec::default()
    };
    for (fallback, expected, noted) in [
        (Fallback::Nobody, None, 0),
        (Fallback::Any, Some(vec![1, 1, 1, 1]), 4),
        (Fallback::Default, Some(vec![0, 0, 2, 2]), 4),
    ] {
        let mut trial = Trial::new(&subsets(of(fallback)), &versions());
        assert_eq!(asked(&mut trial, &[("version", "9")], 4), expected);
        assert_eq!(trial.fake.notes.borrow().len(), noted);
        let plain: Option<Vec<u32>> = (0..4).map(|_| trial.pick()).collect();
        assert_eq!(plain.map(|picks| trial.tally(&picks)), expected);
    }
    let mut lost = of(Fallback::Default);
    lost.default = Some(criteria(&[("version", "7")]));
    assert_eq!(Trial::new(&subsets(lost.clone()), &versions()).pick(), None);
    lost.any_in_panic = true;
    let mut trial = Trial::new(&subsets(lost), &versions());
    assert!(trial.pick().is_some());
    // As in Envoy the empty subset panics before it is found to have nobody.
    assert_eq!(
        *trial.fake.notes.borrow(),
        [Note::Panic, Note::FallbackPanic]
    );
}

#[test]
fn selectors_have_fallbacks_of_their_own() {
    let with = |keys: &[&str], fallback| SubsetSelector {
        fallback: Some(fallback),
        ..selector(keys)
    };
    let spec = SubsetSpec {
        fallback: Fallback::Default,
        default: Some(criteria(&[("stage", "dev")])),
        selectors: vec![
            with(&["version"], SelectorFallback::Cluster(Fallback::Any)),
            with(&["stage"], SelectorFallback::Cluster(Fallback::Nobody)),
            with(
                &["stage", "version"],
                SelectorFallback::Keys(vec!["version".into()]),
            ),
        ],
        ..SubsetSpec::default()
    };
    let mut trial = Trial::new(&subsets(spec), &versions());
    for (pairs, expected) in [
        (&[("version", "9")][..], Some(vec![1, 1, 1, 1])),
        (&[("stage", "none")], None),
        // Fewer keys: version 2 alone, and where that is not there either, its selector's fallback.
        (
            &[("stage", "none"), ("version", "2")],
            Some(vec![0, 0, 2, 2]),
        ),
        (
            &[("stage", "none"), ("version", "9")],
            Some(vec![1, 1, 1, 1]),
        ),
        (&[("other", "x")], Some(vec![0, 4, 0, 0])),
    ] {
        assert_eq!(asked(&mut trial, pairs, 4), expected, "{pairs:?}");
    }
}

#[test]
fn lists_stand_for_their_values_where_asked() {
    let list = Value::List(vec![Value::text("1"), Value::text("2")]);
    let given = [
        healthy().with("version", list),
        healthy().with("version", Value::text("2")),
    ];
    for (list_is_any, expected) in [(true, Some(vec![2, 2])), (false, Some(vec![0, 4]))] {
        let spec = SubsetSpec {
            selectors: vec![selector(&["version"])],
            list_is_any,
            ..SubsetSpec::default()
        };
        let mut trial = Trial::new(&subsets(spec), &given);
        assert_eq!(asked(&mut trial, &[("version", "2")], 4), expected);
        let one = asked(&mut trial, &[("version", "1")], 2);
        assert_eq!(one, list_is_any.then(|| vec![2, 0]));
    }
}

#[test]
fn single_endpoints_and_sick_subsets() {
    let mut single = selector(&["version"]);
    single.is_single = true;
    let spec = |selector| SubsetSpec {
        selectors: vec![selector],
        ..SubsetSpec::default()
    };
    let mut trial = Trial::new(&subsets(spec(single)), &versions());
    assert_eq!(
        asked(&mut trial, &[("version", "1")], 4),
        Some(vec![4, 0, 0, 0])
    );
    // All of a subset failed: it panics by itself, the others do not.
    let mut given = versions();
    given[0] = given[0].clone().failed();
    given[1] = given[1].clone().failed();
    let mut trial = Trial::new(&subsets(spec(selector(&["version"]))), &given);
    assert_eq!(
        asked(&mut trial, &[("version", "1")], 4),
        Some(vec![2, 2, 0, 0])
    );
    let panics = |trial: &Trial| {
        let notes = trial.fake.notes.borrow();
        notes.iter().filter(|note| **note == Note::Panic).count()
    };
    assert_eq!(panics(&trial), 4);
    assert_eq!(
        asked(&mut trial, &[("version", "2")], 4),
        Some(vec![0, 0, 2, 2])
    );
    assert_eq!(panics(&trial), 4);
}

#[test]
fn subsets_scale_the_weights_of_localities() {
    let given = [
        healthy().zone("a", 4).with("v", Value::text("1")),
        healthy().zone("a", 4),
        healthy().zone("b", 4).with("v", Value::text("1")),
    ];
    let of = |keeps: bool, scales: bool| Balancing {
        by_locality: true,
        ..subsets(SubsetSpec {
            selectors: vec![selector(&["v"])],
            keeps_locality_weights: keeps,
            scales_locality_weights: scales,
            ..SubsetSpec::default()
        })
    };
    for (keeps, scales, expected) in [
        (false, false, vec![15, 0, 15]),
        (true, false, vec![15, 0, 15]),
        (true, true, vec![10, 0, 20]),
    ] {
        let mut trial = Trial::new(&of(keeps, scales), &given);
        assert_eq!(asked(&mut trial, &[("v", "1")], 30), Some(expected));
    }
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

#[test]
fn an_empty_metadata_is_in_no_subset() {
    let spec = SubsetSpec {
        selectors: vec![selector(&["v"])],
        ..SubsetSpec::default()
    };
    let given = [healthy()];
    assert_eq!(given[0].traits.metadata, Metadata::new());
    let plan = plan(&subsets(spec), &given);
    assert_eq!(plan.subsets().unwrap().criteria().count(), 0);
}
