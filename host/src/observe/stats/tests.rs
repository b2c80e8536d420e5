//! Tests of the cells and of the sum over shards.

use super::*;

stats! {
    /// For these tests.
    struct Sample {
        counter total,
        gauge active,
        histogram time,
        classes downstream_rq,
        codes upstream_rq,
        counter nested = "health_check.attempt",
        shared_gauge members,
    }
}

fn listed(stats: &dyn Stats) -> BTreeMap<String, Reading> {
    let mut all = BTreeMap::new();
    stats.visit(&mut |name, reading| {
        assert_eq!(
            all.insert(name.to_string(), reading),
            None,
            "{name} came twice"
        );
    });
    all
}

fn counter(all: &BTreeMap<String, Reading>, name: &str) -> Option<u64> {
    match all.get(name) {
        Some(Reading::Counter(value)) => Some(*value),
        _ => None,
    }
}

#[test]
fn shards_are_summed() {
    let stats = Sharded::<Sample>::new(2);
    stats.shard(0).total.inc();
    stats.shard(1).total.add(2);
    stats.shard(2).total.add(4);
    stats.shard(0).active.inc();
    stats.shard(1).active.add(-3);
    stats.shard(1).upstream_rq.record(503);
    stats.shard(0).upstream_rq.record(503);
    stats.shard(2).nested.inc();
    stats.shard(0).time.record(7);
    stats.shard(1).time.record(8);
    let all = listed(&stats);
    assert_eq!(counter(&all, "total"), Some(7));
    assert_eq!(counter(&all, "health_check.attempt"), Some(1));
    assert_eq!(
        all["active"],
        Reading::Gauge {
            value: -2,
            used: true
        }
    );
    assert_eq!(
        all["members"],
        Reading::Gauge {
            value: 0,
            used: false
        }
    );
    assert_eq!(counter(&all, "upstream_rq_503"), Some(2));
    assert_eq!(counter(&all, "upstream_rq_5xx"), Some(2));
    assert_eq!(counter(&all, "upstream_rq_2xx"), None);
    assert_eq!(counter(&all, "downstream_rq_2xx"), Some(0));
    let Reading::Histogram(time) = &all["time"] else {
        panic!("time is no histogram")
    };
    assert_eq!((time.count(), time.sum()), (2, 15));
    assert!(
        std::ptr::eq(stats.shard(2), stats.shard(99)),
        "beyond the workers is control"
    );
}

#[test]
fn shards_lie_apart() {
    let stats = Sharded::<Sample>::new(2);
    let (a, b) = (
        std::ptr::from_ref(stats.shard(0)),
        std::ptr::from_ref(stats.shard(1)),
    );
    assert!((b as usize).abs_diff(a as usize) >= size_of::<Sample>().next_multiple_of(128));
    assert_eq!(a as usize % 128, 0);
}

#[test]
fn codes_and_classes_take_every_status() {
    let codes = Codes::default();
    let classes = Classes::default();
    for status in 0..=1000 {
        codes.record(status);
        classes.record(status);
    }
    let mut all = BTreeMap::new();
    codes.visit("rq", &mut |name, reading| {
        all.insert(name.to_string(), reading);
    });
    assert_eq!(all.len(), 500 + 5 + 1);
    assert_eq!(all["rq_100"], Reading::Counter(1));
    assert_eq!(all["rq_5xx"], Reading::Counter(100));
    assert_eq!(all["rq_unknown"], Reading::Counter(1001 - 500));
    classes.visit("rq", &mut |name, reading| {
        assert_eq!(reading, Reading::Counter(100), "{name}");
    });
}

#[test]
fn gauges_remember_that_they_were_used() {
    let gauge = Gauge::default();
    assert!(!gauge.is_used());
    gauge.inc();
    gauge.dec();
    assert!(gauge.is_used());
    assert_eq!(gauge.get(), 0);
    gauge.set(-5);
    gauge.add(-1);
    assert_eq!(gauge.get(), -6);
    let shared = SharedGauge::default();
    shared.clone().add(-2);
    shared.inc();
    assert_eq!(shared.get(), -1);
}

#[test]
fn shared_counters_are_exact_across_threads() {
    let counter = SharedCounter::default();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..1000).for_each(|_| counter.inc()));
        }
    });
    assert_eq!(counter.get(), 4000);
}
