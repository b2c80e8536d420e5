//! Consistent hashing.

use super::*;

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
